"""Products of numbers in the order that computes least per pair: what depends on one index alone is multiplied first.

Autodiff multiplies cotangents in the order in which it meets operations: ``g * (k(i, j) * (e_i * b_j))`` takes three
multiplications for each pair, ``k(i, j) * b_j * (g * e_i)`` two. That moves rounding errors, and where products leave
the range of floats, so it is asked for where the order is nobody's choice: in derivatives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import mul

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, topological


def gather_factors(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with each product of numbers regrouped, where fewer multiplications per pair are left then.

    A product that something else reads too stays whole: it is computed anyway.

    >>> from clreduce.ir.op import variable
    >>> from clreduce.ops.functions import exp
    >>> g, e = variable("g", 1, Domain.P), variable("e", 1, Domain.I)
    >>> b, x = variable("b", 1, Domain.J), variable("x", 1, Domain.I)
    >>> gather_factors([g * (exp(b - x) * (e * b))])[0] is exp(b - x) * b * (g * e)
    True
    """
    order = topological(roots)
    uses = Counter(arg for node in order for arg in node.args)
    uses.update(roots)
    inner = {
        arg for node in order if _is_product(node) for arg in node.args if _is_product(arg) and uses[arg] == 1
    }  # fmt: skip
    new: dict[Expr, Expr] = {}
    for node in order:
        args = tuple(new[arg] for arg in node.args)
        new[node] = node if args == node.args else Expr(node.op, args, node.params)
        if _is_product(node) and node not in inner:
            new[node] = _gathered(node, inner, new)
    return tuple(new[root] for root in roots)


def _is_product(node: Expr) -> bool:
    return node.op.name == "mul" and node.dim == 1 and all(arg.dim == 1 for arg in node.args)


def _gathered(node: Expr, inner: set[Expr], new: dict[Expr, Expr]) -> Expr:
    """A product, and the products within it, as one; ``new[node]`` if that saves nothing."""
    factors, per_pair, left = [], 0, [node]
    while left:  # long products nest deeper than Python's calls may
        one = left.pop()
        if one is node or one in inner:
            per_pair += one.domain == Domain.IJ
            left += reversed(one.args)
        else:
            factors.append(new[one])
    of_pair, of_column, of_row, of_all = (
        [factor for factor in factors if factor.domain == domain]
        for domain in (Domain.IJ, Domain.J, Domain.I, Domain.P)
    )
    parts = of_pair + [reduce(mul, group) for group in (of_column, of_all + of_row) if group]
    return reduce(mul, parts) if len(parts) - 1 < per_pair else new[node]
