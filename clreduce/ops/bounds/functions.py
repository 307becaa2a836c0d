"""Bounds of functions that grow, fall, are even, or have a least or largest value."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import Any

from clreduce.ir.bounds import Bounds, any_of, flag, larger, smaller
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, constant
from clreduce.ops.bounds.support import (
    ULPS,
    UNDERFLOW,
    Rule,
    errors,
    folded,
    holds_zero,
    is_infinite,
    may_be_infinite,
    nan_of,
    settled,
    sizes,
    unless,
    widened,
)


def monotone(
    *directions: int, domain: tuple[float, float] | None = None, ulps: float = ULPS, of_nan: Bounds | None = None
) -> Rule:
    """The rule of an operation that grows in arguments with direction 1 and falls in those with -1.

    ``ulps`` is its error; 0 means that it is exact. Its value is nan if the first argument is outside ``domain``.
    """

    def rule(node: Expr, *args: Any) -> Bounds:
        bounds, params = settled(args[: len(directions)]), args[len(directions) :]
        first, *others = bounds
        nan = nan_of(*bounds)
        if domain is not None:
            first, outside = _inside(first, *domain)
            nan = any_of(nan, outside)
        ends = [(b.low, b.high)[::d] for b, d in zip([first, *others], directions, strict=True)]
        return Bounds(
            node.op(*(low for low, _ in ends), *params), node.op(*(high for _, high in ends), *params),
            first.precision, nan, errors(ulps), UNDERFLOW if ulps else 0, overflows=ulps > 0,
            never_negative=node.op.never_negative,
        )  # fmt: skip

    return rule


EXPONENT_ULPS = 64.0
"""The error of float32 exponentials: a GPU's 2^(x log2 e) has the error of its rounded exponent, up to |x| 2^-24."""


def _inside(b: Bounds, least: float, most: float) -> tuple[Bounds, Expr | None]:
    """The bounds with both ends moved into [least, most], and a mask of values that may be outside of it."""
    low, high, outside = b.low, b.high, []
    if least > -INF and not (least == 0 and b.never_negative):
        outside.append(flag(OPS["less"](low, constant(least))))
        low, high = larger(low, constant(least)), larger(high, constant(least))
    if most < INF:
        outside.append(flag(OPS["less"](constant(most), high)))
        low, high = smaller(low, constant(most)), smaller(high, constant(most))
    return replace(b, low=low, high=high), any_of(*outside)


def even(direction: int = 1, ulps: float = ULPS) -> Rule:
    """The rule of an operation that grows (1) or falls (-1) with the absolute value of its argument."""

    def rule(node: Expr, arg: Bounds, *params: object) -> Bounds:
        b = arg.settled()
        low, high = sizes(b)[::direction]
        return Bounds(
            node.op(low, *params), node.op(high, *params), b.precision, b.nan, errors(ulps), UNDERFLOW, overflows=True,
            never_negative=node.op.never_negative,
        )  # fmt: skip

    return rule


def magnitude(node: Expr, b: Bounds) -> Bounds:
    """The bounds of the absolute value."""
    low, high = sizes(b)
    return replace(b, low=low, high=high, never_negative=True, never_positive=False)


def within(low: float, high: float, propagates: bool = True, nan_at_infinity: bool = False) -> Rule:
    """The rule of an operation whose values are always between two numbers.

    If it ``propagates``, nan gives nan. With ``nan_at_infinity``, an infinite first argument gives nan, too.
    """

    def rule(node: Expr, *args: object) -> Bounds:
        bounds = [b for b in args if isinstance(b, Bounds)]
        nan = nan_of(*bounds) if propagates else None
        if nan_at_infinity:
            nan = any_of(nan, flag(may_be_infinite(bounds[0].settled())))
        return Bounds(
            constant(low), constant(high), bounds[0].precision, nan, errors(2 * ULPS), UNDERFLOW,
            never_negative=low >= 0,
        )  # fmt: skip

    return rule


def _meets(b: Bounds, place: float, period: float) -> Expr:
    """The mask that ``place``, or a place whole periods away from it, may lie between the bounds."""
    scale = constant(1 / period)
    low, high = ((end - constant(place)) * scale for end in (b.low, b.high))
    slack = (OPS["abs"](b.low) + OPS["abs"](b.high) + 8) * constant(16 * b.precision.eps)
    return OPS["less_equal"](low - slack, OPS["floor"](high + slack))


def wave(top: float) -> Rule:
    """The rule of the sine or cosine, which is 1 at ``top`` and -1 half a period later."""

    def rule(node: Expr, arg: Bounds) -> Bounds:
        b = arg.settled()
        ends = node.op(b.low), node.op(b.high)
        low = OPS["where"](_meets(b, top + math.pi, 2 * math.pi), constant(-1), smaller(*ends))
        high = OPS["where"](_meets(b, top, 2 * math.pi), constant(1), larger(*ends))
        return Bounds(low, high, b.precision, any_of(b.nan, flag(may_be_infinite(b))), errors(ULPS), UNDERFLOW)

    return rule


def tangent(node: Expr, arg: Bounds) -> Bounds:
    """The bounds of the tangent, which grows between its poles."""
    b = arg.settled()
    pole = _meets(b, math.pi / 2, math.pi)
    low = OPS["where"](pole, constant(-INF), node.op(b.low))
    high = OPS["where"](pole, constant(INF), node.op(b.high))
    return Bounds(low, high, b.precision, any_of(b.nan, flag(may_be_infinite(b))), errors(3 * ULPS), UNDERFLOW, True)


def valley(bottom: float, value: float, nan_below_0: bool = False, absolute_error: bool = False) -> Rule:
    """The rule of an operation that falls from 0 to ``bottom``, where it has ``value``, and grows beyond.

    Below 0 it is nan, or nothing is known. With ``absolute_error``, errors are relative to 1 if the value is smaller.
    """

    def rule(node: Expr, arg: Bounds) -> Bounds:
        b = arg.settled()
        (inside, below), at = _inside(b, 0.0, INF), constant(bottom)
        spans = OPS["logical_and"](OPS["less"](inside.low, at), OPS["less"](at, inside.high))
        nearest = smaller(larger(inside.low, at), inside.high)
        low = OPS["where"](spans, constant(value), node.op(nearest))
        high = larger(node.op(inside.low), node.op(inside.high))
        bounds = Bounds(low, high, b.precision, b.nan, errors(ULPS), UNDERFLOW, overflows=True)
        if absolute_error:
            bounds = widened(bounds, constant(errors(ULPS) * b.precision.eps))
        if nan_below_0:
            return replace(bounds, nan=any_of(b.nan, below))
        return bounds if b.never_negative else unless(OPS["less"](b.low, constant(0)), bounds)

    return rule


def reciprocal_root(node: Expr, arg: Bounds) -> Bounds:
    """The bounds of the reciprocal root, which falls from inf but is 0 at 0."""
    b = arg.settled()
    bounds = monotone(-1, domain=(0.0, INF))(OPS["inverse_root"](node.args[0]), b)
    return replace(bounds, low=OPS["where"](OPS["less_equal"](b.low, constant(0)), constant(0), bounds.low))


def positive_only(rule: Rule, nan: bool = True, ulps: float = 0.0) -> Rule:
    """``rule`` for a positive first argument; nothing is known for others. It adds errors of ``ulps`` relative to 1."""

    def whole(node: Expr, arg: Bounds, *params: object) -> Bounds:
        b = arg.settled()
        beyond = OPS["less_equal"](b.low, constant(0))
        inside = replace(b, low=larger(b.low, constant(0)), high=larger(b.high, constant(0)))
        bounds = rule(node, inside, *params)
        if ulps:
            bounds = widened(bounds, constant(errors(ulps) * b.precision.eps))
        return unless(beyond, bounds, nan)

    return whole


def falling_beside_a_pole(ulps: float) -> Rule:
    """The rule of an operation that falls below 0 and above 0. Nothing is known if the argument may be 0."""

    def rule(node: Expr, arg: Bounds, *params: object) -> Bounds:
        b = arg.settled()
        bounds = Bounds(
            node.op(b.high, *params), node.op(b.low, *params), b.precision, b.nan, errors(ulps), UNDERFLOW, True
        )  # fmt: skip
        return unless(holds_zero(b), bounds)

    return rule


def log_of_sum(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    """The bounds of log(e^a + e^b), which grows in both arguments. Errors are relative to the larger one, too."""
    a, b = a.settled(), b.settled()
    bounds = monotone(1, 1)(node, a, b)
    size = larger(larger(a.high, b.high), -larger(a.low, b.low))
    return widened(bounds, larger(size, constant(0)) * constant(errors(ULPS) * a.precision.eps))


def _unless_nan(end: Expr, otherwise: float) -> Expr:
    return OPS["where"](OPS["equal"](end, end), end, constant(otherwise))


def soft_minimum(node: Expr, *args: Bounds) -> Bounds:
    """The bounds of the soft minimum. For gamma > 0 it grows in three numbers and falls with gamma."""
    *terms, gamma = settled(args)
    low = _unless_nan(node.op(*(b.low for b in terms), gamma.high), -INF)
    high = _unless_nan(node.op(*(b.high for b in terms), gamma.low), INF)
    most = reduce(larger, (b.high for b in terms))
    mixed = flag(OPS["logical_and"](is_infinite(reduce(smaller, (b.low for b in terms))), is_infinite(most)))
    nan = any_of(mixed, flag(is_infinite(gamma.high)), nan_of(*terms, gamma))
    size = larger(larger(high, -low), constant(0)) + gamma.high
    bounds = Bounds(low, high, gamma.precision, nan, absolute=UNDERFLOW, overflows=True)
    bounds = widened(bounds, size * constant(errors(3 * ULPS) * gamma.precision.eps))
    return unless(OPS["less_equal"](gamma.low, constant(0)), bounds, nan=True)


def angle(node: Expr, y: Bounds, x: Bounds) -> Bounds:
    """The bounds of the angle of (x, y), from the corners unless the box contains 0 or crosses the cut."""
    y, x = y.settled(), x.settled()
    less, logical_or, zero = OPS["less"], OPS["logical_or"], constant(0)
    corners = [node.op(b, a) for b in (y.low, y.high) for a in (x.low, x.high)]
    whole = logical_or(logical_or(less(zero, y.low), less(y.high, zero)), less(zero, x.low))
    low = OPS["where"](whole, folded(smaller, corners), constant(-math.pi))
    high = OPS["where"](whole, folded(larger, corners), constant(math.pi))
    return Bounds(low, high, x.precision, nan_of(x, y), errors(ULPS), UNDERFLOW)


def falling_scale(node: Expr, arg: Bounds) -> Bounds:
    """The bounds of a power of two that falls with the absolute value; for nan and inf it is the least one."""
    b = arg.settled()
    least, most = sizes(b)
    low = node.op(most)
    if b.nan is not None:
        low = OPS["where"](OPS["less"](constant(0), b.nan), node.op(constant(INF)), low)
    return Bounds(low, node.op(least), b.precision, never_negative=True)
