"""Which vectors a kernel computes once and keeps in private memory, so that the cost of a formula is that of its graph.

Components are written on demand. In a rolled loop that is once in each turn: a product of a matrix and a computed
vector would compute that vector again for each row of the matrix, and a chain of such products would cost the product
of its lengths instead of their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from clreduce.codegen.cost import cost_of_component, is_remap
from clreduce.codegen.masks import only_term
from clreduce.codegen.recurrences import is_scan, places
from clreduce.domain import Domain
from clreduce.ir.expr import Expr, topological
from clreduce.ir.index import make_index
from clreduce.ops.scan import Scan

_CHEAP = 8
"""Operations for one component that an array must save to be worth its memory."""
_TRIFLE = 2
"""Operations for one component up to which it is always computed again: a load costs as much."""
_LONGEST = 1 << 14
"""Components of the longest vector that private memory has room for."""


def kept_components(roots: Sequence[Expr], unroll: int) -> int:
    """Components of the arrays that a kernel with these formulas keeps for each pair of its register tile.

    Vectors up to ``unroll`` are usually written out, so they live in registers.
    """
    of_scans = sum(places(node) for node in topological(roots) if is_scan(node) and node.domain & Domain.J)
    return of_scans + sum(
        node.dim for node in vectors_to_keep(roots) if node.domain & Domain.J and node.dim > unroll
    )  # fmt: skip


def vectors_to_keep(roots: Sequence[Expr], changes: Callable[[Expr], bool] = lambda _: False) -> frozenset[Expr]:
    """The vectors below ``roots`` that are worth an array of their own, if loops read them.

    A vector is worth it if its components are read twice or more often and take more than a few operations each. One of
    the reads must repeat it (an ``expand``), or it must hold a sum over components: two plain uses of an elementwise
    vector usually share a loop. ``changes`` says of a variable that its value changes while the kernel runs; what
    depends on one is never kept.
    """
    order = topological(roots)
    price, _ = _prices(order)
    fixed: dict[Expr, bool] = {}
    for node in order:
        fixed[node] = all(fixed[arg] for arg in node.args) and not (node.op.name == "variable" and changes(node))
    reads: dict[Expr, float] = dict.fromkeys(order, 0.0)
    repeats: dict[Expr, float] = dict.fromkeys(order, 0.0)
    outside: set[Expr] = set()
    """Values of i alone that a value of pairs reads: each pair would compute them again."""
    for root in roots:
        reads[root] = repeats[root] = 1.0
    keep: set[Expr] = set()
    for node in reversed(order):
        per_pair = node in outside
        often = max(repeats[node], reads[node] if price[node].sums else 0.0)
        saved = price[node].operations * (max(often, 2.0 if per_pair else 1.0) - 1.0)
        if (
            1 < node.dim <= _LONGEST
            and fixed[node]
            and not is_remap(node)
            and node.op.name not in ("lookup", "scan")
            and saved > _CHEAP
            and price[node].operations > (_TRIFLE if price[node].sums else _CHEAP)
        ):
            keep.add(node)
        once = node.dim == 1 or node in keep
        for arg in node.args:
            often = _repetition(node, arg)
            reads[arg] += often * (1.0 if once else reads[node])
            repeats[arg] = max(repeats[arg], often * (1.0 if once else repeats[node]))
            crosses = bool(node.domain & Domain.J) and not arg.domain & Domain.J
            if arg.dim > 1 and (crosses or (per_pair and is_remap(node))):
                outside.add(arg)
    # Without those that are cheap to compute again from others, such as the ReLU of a kept vector.
    return _prices(order, keep)[1]


@dataclass(frozen=True, slots=True)
class _Price:
    """What one component of a vector takes, the scalars below being known."""

    operations: int
    sums: bool
    """Whether it holds a sum over components."""


def _prices(order: Sequence[Expr], candidates: Set[Expr] = frozenset()) -> tuple[dict[Expr, _Price], frozenset[Expr]]:
    """The price of a component of each node, and those of ``candidates`` that stay expensive once others are kept.

    What a sum adds up counts as one operation for each term: if it takes more, it is worth keeping itself. A sum of
    which masks leave one term is none.
    """
    prices: dict[Expr, _Price] = {}
    in_arrays: set[Expr] = set()
    for node in order:
        if node.op.terms is not None and only_term(node, make_index("k", 0, node.dim - 1)) is None:
            prices[node] = _Price(node.op.terms(*node.args, *node.params), True)
        elif is_scan(node):
            prices[node] = _Price(0, False)  # it stands in an array of its own
        else:
            below = [prices[arg] for arg in node.args if arg.dim > 1 and arg not in in_arrays]
            own = cost_of_component(node)
            prices[node] = _Price(own + sum(price.operations for price in below), any(price.sums for price in below))
        if node in candidates and prices[node].operations > _TRIFLE:
            in_arrays.add(node)
    return prices, frozenset(in_arrays)


def _repetition(node: Expr, arg: Expr) -> float:
    """How often one component of ``arg`` is read for one pass over the components of ``node``."""
    if arg.dim == 1:
        return 1.0
    if node.op.terms is not None:
        return max(1.0, node.dim * node.op.terms(*node.args, *node.params) / arg.dim)
    if is_scan(node):
        parts = Scan.of(node)
        return float(parts.recurrence.steps) if arg in parts.shared else 1.0
    return max(1.0, node.dim / arg.dim) if node.op.name == "expand" else 1.0
