"""Inexact rewrites of a formula: faster, with other rounding errors. They apply only if the user asks for them.

Squared distances as dot products: ``|x_i - y_j|^2 = |x_i|^2 + |y_j|^2 - 2 <x_i, y_j>``. The norms are computed once per
i and once per j, so that a pair takes one multiply-add per component in place of a subtraction and a multiply-add.

The cost is cancellation: the absolute error of a squared distance is about ``eps (|x_i|^2 + |y_j|^2)``, even if the
distance is small. So data far from the origin should be centred first, near-ties of distances may be resolved
differently, and slopes of ``Norm2(x - y)`` are inexact between points that are very close. A distance that rounding
makes negative becomes 0. Norms that overflow, and infinities in the data, give nan.
"""

from __future__ import annotations

from collections.abc import Sequence

from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, map_graph
from clreduce.ir.op import OPS

SHORTEST = 8
"""The shortest vectors that are worth a dot product, which takes two additions, a load and a comparison more."""


def with_dot_products(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with squared distances between an i-vector and a j-vector as dot products, unless they are short."""
    return map_graph(roots, lambda node, rebuilt: _as_dot_product(rebuilt) or rebuilt)


def _as_dot_product(node: Expr) -> Expr | None:
    """A sum of squares as norms and a dot product; None if ``node`` is no distance between an i and a j."""
    if node.op.name != "reduce_sum" or node.params[1] < SHORTEST:
        return None
    (squares,) = node.args
    sides = _sides(squares.args[0]) if _is_square(squares) else None
    if sides is None:
        return None
    x, y = sides
    if {x.domain, y.domain} != {Domain.I, Domain.J} or not x.dim == y.dim == squares.dim or {x.kind, y.kind} != {REAL}:
        return None

    def reduce_sum(f: Expr) -> Expr:
        return Expr(node.op, (f,), node.params)

    square = OPS["square"]
    # `larger` ignores a nan in its second argument only, so a nan distance stays.
    return OPS["larger"](reduce_sum(square(x)) + reduce_sum(square(y)) - 2 * reduce_sum(x * y), 0)


def _is_square(node: Expr) -> bool:
    return node.op.name == "square" or (node.op.name == "mul" and node.args[0] is node.args[1])


def _sides(node: Expr) -> tuple[Expr, ...] | None:
    """(x, y) if ``node`` is x - y, perhaps times or divided by a value that all pairs share."""
    scaled: list[tuple[Expr, Expr]] = []
    while node.op.name in ("neg", "mul", "div"):
        changing = [arg for arg in node.args if arg.domain != Domain.P]
        if len(changing) != 1 or (node.op.name == "div" and changing[0] is node.args[1]):
            return None
        if node.op.name != "neg":
            scaled.append((node, changing[0]))
        (node,) = changing
    if node.op.name != "sub":
        return None
    sides = node.args
    for user, part in reversed(scaled):
        sides = tuple(user.op(*(side if arg is part else arg for arg in user.args)) for side in sides)
    return sides
