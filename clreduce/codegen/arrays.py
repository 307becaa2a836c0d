"""The choice of the vectors that a kernel computes once and stores in private memory.

Components are computed on demand, and in a rolled loop once per iteration. Without stored vectors, the product of a
matrix and a computed vector would compute that vector again for each row of the matrix. A chain of such products would
cost the product of the lengths instead of their sum.
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
"""The operations per component that an array must save to be worth its memory."""
_TRIFLE = 2
"""A component with at most this many operations is always computed again, because a load costs as much."""
_LONGEST = 1 << 14
"""The number of components of the longest vector that fits into private memory."""


def components_in_arrays(roots: Sequence[Expr], unroll: int) -> int:
    """The number of components in the arrays that a kernel with these formulas has for each pair of its register tile.

    Vectors up to length ``unroll`` do not count: they are usually written out, so they live in registers.
    """
    of_scans = sum(places(node) for node in topological(roots) if is_scan(node) and node.domain & Domain.J)
    return of_scans + sum(
        node.dim for node in vectors_in_arrays(roots) if node.domain & Domain.J and node.dim > unroll
    )  # fmt: skip


def vectors_in_arrays(roots: Sequence[Expr], changes: Callable[[Expr], bool] = lambda _: False) -> frozenset[Expr]:
    """The vectors below ``roots`` that are worth an array, if loops read them.

    A vector is worth an array if its components are read at least twice and take more than a few operations each. In
    addition, one of the reads must repeat it (an ``expand``), or it must contain a sum over components: two plain uses
    of an elementwise vector usually share a loop. ``changes(variable)`` says whether the value of a variable changes
    while the kernel runs. Vectors that depend on such a variable are never stored.
    """
    order = topological(roots)
    price, _ = _prices(order)
    fixed: dict[Expr, bool] = {}
    for node in order:
        fixed[node] = all(fixed[arg] for arg in node.args) and not (node.op.name == "variable" and changes(node))
    reads: dict[Expr, float] = dict.fromkeys(order, 0.0)
    repeats: dict[Expr, float] = dict.fromkeys(order, 0.0)
    outside: set[Expr] = set()
    """Values of i alone that values of pairs read. Each pair would compute them again."""
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
    # Leave out vectors that are cheap to compute from other stored ones, such as the ReLU of a stored vector.
    return _prices(order, keep)[1]


@dataclass(frozen=True, slots=True)
class _Price:
    """The cost of one component of a vector if the scalars below it are known."""

    operations: int
    sums: bool
    """Whether the component contains a sum over components."""


def _prices(order: Sequence[Expr], candidates: Set[Expr] = frozenset()) -> tuple[dict[Expr, _Price], frozenset[Expr]]:
    """The price of a component of each node, and the ``candidates`` that stay expensive if the others are stored.

    Each term of a sum counts as one operation: if it takes more, the summed vector is worth an array itself. A sum of
    which masks leave one term does not count as a sum.
    """
    prices: dict[Expr, _Price] = {}
    in_arrays: set[Expr] = set()
    for node in order:
        if node.op.terms is not None and only_term(node, make_index("k", 0, node.dim - 1)) is None:
            prices[node] = _Price(node.op.terms(*node.args, *node.params), True)
        elif is_scan(node):
            prices[node] = _Price(0, False)  # it has an array of its own
        else:
            below = [prices[arg] for arg in node.args if arg.dim > 1 and arg not in in_arrays]
            own = cost_of_component(node)
            prices[node] = _Price(own + sum(price.operations for price in below), any(price.sums for price in below))
        if node in candidates and prices[node].operations > _TRIFLE:
            in_arrays.add(node)
    return prices, frozenset(in_arrays)


def _repetition(node: Expr, arg: Expr) -> float:
    """The number of times that one pass over the components of ``node`` reads a component of ``arg``."""
    if arg.dim == 1:
        return 1.0
    if node.op.terms is not None:
        return max(1.0, node.dim * node.op.terms(*node.args, *node.params) / arg.dim)
    if is_scan(node):
        parts = Scan.of(node)
        return float(parts.recurrence.steps) if arg in parts.shared else 1.0
    return max(1.0, node.dim / arg.dim) if node.op.name == "expand" else 1.0
