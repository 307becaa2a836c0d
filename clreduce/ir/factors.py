"""Products of numbers in the order that computes least per pair: what depends on one index alone is multiplied first.

Autodiff multiplies cotangents in the order in which it meets operations: ``g * (k(i, j) * (e_i * b_j))`` takes three
multiplications for each pair, ``k(i, j) * b_j * (g * e_i)`` two. That moves rounding errors, and where products leave
the range of floats, so it is asked for where the order is nobody's choice: in derivatives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
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
        if _is_product(node) and node not in inner:
            new[node] = _gathered(node, inner, new)
        elif node not in inner:
            args = tuple(new[arg] for arg in node.args)
            new[node] = node if args == node.args else Expr(node.op, args, node.params)
    return tuple(new[root] for root in roots)


def _is_product(node: Expr) -> bool:
    return node.op.name == "mul" and node.dim == 1 and all(arg.dim == 1 for arg in node.args)


def _gathered(node: Expr, inner: set[Expr], new: dict[Expr, Expr]) -> Expr:
    factors = [new[factor] for factor in _factors(node, inner)]
    of_pair, of_column, of_row, of_all = (
        [factor for factor in factors if factor.domain == domain]
        for domain in (Domain.IJ, Domain.J, Domain.I, Domain.P)
    )
    parts = of_pair + [_product(group) for group in (of_column, of_all + of_row) if group]
    gathered = _product(parts)
    return gathered if _per_pair(node, inner) > len(parts) - 1 else _in_order(node, inner, new)


def _factors(node: Expr, inner: set[Expr]) -> Iterator[Expr]:
    """What a product and the products within it multiply, from left to right."""
    for arg in node.args:
        if arg in inner:
            yield from _factors(arg, inner)
        else:
            yield arg


def _product(factors: Sequence[Expr]) -> Expr:
    return reduce(mul, factors)


def _per_pair(node: Expr, inner: set[Expr]) -> int:
    """Multiplications per pair of a product as it stands."""
    return (node.domain == Domain.IJ) + sum(_per_pair(arg, inner) for arg in node.args if arg in inner)


def _in_order(node: Expr, inner: set[Expr], new: dict[Expr, Expr]) -> Expr:
    args = tuple(_in_order(arg, inner, new) if arg in inner else new[arg] for arg in node.args)
    return node if args == node.args else Expr(node.op, args, node.params)
