"""Bounds of sums, products, quotients and powers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from clreduce.ir.bounds import Bounds, any_of, flag, larger, smaller
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, Op, constant, constant_value
from clreduce.ops.bounds.functions import even, falling_beside_a_pole, monotone
from clreduce.ops.bounds.support import (
    ULPS,
    UNDERFLOW,
    errors,
    folded,
    holds_zero,
    is_infinite,
    may_be_infinite,
    nan_of,
    sizes,
    unless,
)


def _same_sign(a: Bounds, b: Bounds) -> bool:
    return (a.never_negative and b.never_negative) or (a.never_positive and b.never_positive)


def sum_of_two(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    """The bounds of a + b. Errors add up if the terms have one sign; terms that may cancel are settled first."""
    if _same_sign(a, b):
        return _added(a, b, node.op(a.low, b.low), node.op(a.high, b.high))
    a, b = _addends(a, b)
    return _added(a, b, node.op(a.low, b.low), node.op(a.high, b.high), *_opposite_infinities(a, b))


def difference_of_two(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    """The bounds of a + (-b)."""
    if _same_sign(a, opposite(b)):
        return _added(a, opposite(b), node.op(a.low, b.high), node.op(a.high, b.low))
    a, b = _addends(a, b)
    c = opposite(b)
    return _added(a, c, node.op(a.low, b.high), node.op(a.high, b.low), *_opposite_infinities(a, c))


def _addends(a: Bounds, b: Bounds) -> tuple[Bounds, Bounds]:
    """The terms without relative errors. After cancellation, the result may be smaller than these errors."""
    a, b = (c.settled() if c.relative else c.clamped() for c in (a, b))
    return a, b


def _opposite_infinities(a: Bounds, b: Bounds) -> list[Expr]:
    logical_and = OPS["logical_and"]
    return [flag(logical_and(is_infinite(x), is_infinite(y))) for x, y in ((a.low, b.high), (a.high, b.low))]


def _added(a: Bounds, b: Bounds, low: Expr, high: Expr, *nan: Expr) -> Bounds:
    return Bounds(
        low, high, a.precision, any_of(a.nan, b.nan, *nan),
        max(a.relative, b.relative) + 1, a.absolute + b.absolute + UNDERFLOW, overflows=True,
        never_negative=a.never_negative and b.never_negative, never_positive=a.never_positive and b.never_positive,
    )  # fmt: skip


def opposite(b: Bounds) -> Bounds:
    """The bounds of -f."""
    return replace(
        b, low=-b.high, high=-b.low, never_negative=b.never_positive, never_positive=b.never_negative
    )  # fmt: skip


def negation(node: Expr, b: Bounds) -> Bounds:
    return opposite(b)


def product_of_two(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    """The bounds of a * b: the least and the largest product of ends, of all four if no sign is known."""
    if node.args[0] is node.args[1]:
        return squared(node, a)
    for arg, c, other in ((node.args[0], a, b), (node.args[1], b, a)):
        value = constant_value(arg)
        if isinstance(value, Fraction) and value and c.is_point and not c.absolute:
            return _multiple(value, c, other)
    a, b = a.settled(), b.settled()
    zero_times_infinity = [flag(OPS["logical_and"](holds_zero(c), may_be_infinite(d))) for c, d in ((a, b), (b, a))]
    nan = any_of(a.nan, b.nan, *zero_times_infinity)
    return replace(_over_corners(node.op, a, b, _corners_of_product(a, b)), nan=nan, relative=2)


def _multiple(factor: Fraction, c: Bounds, b: Bounds) -> Bounds:
    """The bounds of a constant with the bounds ``c`` times a value with the bounds b."""
    b = b.clamped()
    low, high = (c.low * b.low, c.high * b.high) if factor > 0 else (c.low * b.high, c.high * b.low)
    if factor < 0:
        b = opposite(b)
    return replace(
        b, low=low, high=high, relative=b.relative + c.relative + 2, overflows=True,
        absolute=math.ceil(b.absolute * abs(factor)) + UNDERFLOW,
    )  # fmt: skip


Corners = tuple[Sequence[tuple[Expr, Expr]], Sequence[tuple[Expr, Expr]]]
"""The pairs of ends at which the least and the largest value may be."""


def _all_corners(a: Bounds, b: Bounds) -> Corners:
    corners = [(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return corners, corners


def _corners_of_product(a: Bounds, b: Bounds) -> Corners:
    """The corners of a product: all four, two if one sign is known, or one if both are."""
    if a.never_negative and b.never_negative:
        return [(a.low, b.low)], [(a.high, b.high)]
    if a.never_negative:
        return [(a.low, b.low), (a.high, b.low)], [(a.low, b.high), (a.high, b.high)]
    if b.never_negative:
        return [(a.low, b.low), (a.low, b.high)], [(a.high, b.low), (a.high, b.high)]
    return _all_corners(a, b)


def _over_corners(op: Op, a: Bounds, b: Bounds, corners: Corners) -> Bounds:
    """The least and the largest value at the corners. 0 times infinity counts as 0, which is then among the values."""

    def at(x: Expr, y: Expr) -> Expr:
        value = op(x, y)
        return OPS["where"](OPS["equal"](value, value), value, constant(0))

    least, most = corners
    return Bounds(
        folded(smaller, [at(*ends) for ends in least]), folded(larger, [at(*ends) for ends in most]), a.precision,
        absolute=UNDERFLOW, overflows=True, never_negative=_same_sign(a, b),
        never_positive=(a.never_negative and b.never_positive) or (a.never_positive and b.never_negative),
    )  # fmt: skip


def quotient(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    """The bounds of a / b. Nothing is known if b may be 0."""
    value = constant_value(node.args[1])
    if isinstance(value, Fraction) and value and b.is_point and not b.absolute:
        a = a.clamped()
        ends = (a.low / b.low, a.high / b.high) if value > 0 else (a.high / b.low, a.low / b.high)
        bounds = _multiple(1 / value, b, a)
        return replace(bounds, low=ends[0], high=ends[1], relative=bounds.relative + errors(2.5))
    a, b = a.settled(), b.settled()
    logical_and = OPS["logical_and"]
    zero_by_zero = flag(logical_and(holds_zero(a), holds_zero(b)))
    infinite_by_infinite = flag(logical_and(may_be_infinite(a), may_be_infinite(b)))
    nan = any_of(a.nan, b.nan, zero_by_zero, infinite_by_infinite)
    bounds = replace(_over_corners(node.op, a, b, _all_corners(a, b)), nan=nan, relative=errors(3))
    return unless(holds_zero(b), bounds)


def squared(node: Expr, b: Bounds) -> Bounds:
    """The bounds of the square. An error t of x gives an error 2 x t, which is below t or below t relative to x^2."""
    low, high = sizes(b)
    square = OPS["square"]
    return Bounds(
        square(low), square(high), b.precision, b.nan, 2 * b.relative + 2, 2 * b.absolute + UNDERFLOW, overflows=True,
        never_negative=True,
    )  # fmt: skip


def power_of_integer(node: Expr, b: Bounds, exponent: int) -> Bounds:
    """The bounds of an integer power, by the sign and the parity of the exponent."""
    if exponent == 0:
        return Bounds(constant(1), constant(1), b.precision, never_negative=True)
    ulps = abs(exponent) + 3.0
    if exponent % 2 == 0:
        return replace(even(1 if exponent > 0 else -1, ulps)(node, b, exponent), never_negative=True)
    return (monotone(1, ulps=ulps) if exponent > 0 else falling_beside_a_pole(ulps))(node, b, exponent)


def power_of_real(node: Expr, base: Bounds, exponent: Bounds) -> Bounds:
    """The bounds of a power with a nonnegative base, from the corners. nan^0 and 1^nan are 1."""
    a, b = base.settled(), exponent.settled()
    ends = [OPS["abs"](larger(x, constant(0))) for x in (a.low, a.high)]  # 0 rather than -0
    corners = [node.op(x, y) for x in ends for y in (b.low, b.high)]
    low, high = folded(smaller, corners), folded(larger, corners)
    value = constant_value(node.args[1])
    if value is None or (value < 0 and value % 2 == 1):
        # The power of -0 is -inf if the exponent is a negative odd integer.
        pole = OPS["logical_and"](OPS["less_equal"](a.low, constant(0)), OPS["less_equal"](b.low, constant(-1)))
        low = OPS["where"](pole, constant(-INF), low)
    nan = nan_of(a, b)
    if nan is not None:
        some = OPS["less"](constant(0), nan)
        low = OPS["where"](some, smaller(low, constant(1)), low)
        high = OPS["where"](some, larger(high, constant(1)), high)
    bounds = Bounds(low, high, a.precision, nan, errors(ULPS), UNDERFLOW, overflows=True)
    return bounds if a.never_negative else unless(OPS["less"](a.low, constant(0)), bounds, nan=True)
