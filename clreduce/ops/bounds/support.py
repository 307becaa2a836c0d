"""Helpers of the rules of bounds: counted errors, masks of nan, and values of which nothing is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

from clreduce.ir.bounds import Bounds, any_of, flag, larger
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, constant

Rule = Callable[..., Bounds]
UNDERFLOW = 4
"""The error of a subnormal result, or of one flushed to 0, and of its bound, in units of the least normal number."""
ULPS = 4.0
"""The default error of functions in ulp; those of the prelude and of OpenCL have smaller errors."""


def errors(ulps: float) -> int:
    """The errors in units of ``eps``: those of the value, and those of its bound."""
    return math.ceil(2 * ulps)


def settled(bounds: Sequence[Bounds]) -> list[Bounds]:
    return [b.settled() for b in bounds]


def nan_of(*bounds: Bounds) -> Expr | None:
    """The flag that an argument is nan; None if none can be."""
    return any_of(*(b.nan for b in bounds))


def no_nan(*bounds: Bounds) -> Expr | None:
    """The mask that no argument is nan; None if none can be."""
    nan = nan_of(*bounds)
    return None if nan is None else OPS["equal"](nan, constant(0))


def also(a: Expr, b: Expr | None) -> Expr:
    return a if b is None else OPS["logical_and"](a, b)


def is_infinite(f: Expr) -> Expr:
    return OPS["equal"](OPS["abs"](f), constant(INF))


def may_be_infinite(b: Bounds) -> Expr:
    """The mask that an infinity may be among the values."""
    return OPS["logical_or"](is_infinite(b.low), is_infinite(b.high))


def holds_zero(b: Bounds) -> Expr:
    """The mask that 0 may be among the values."""
    return OPS["logical_and"](OPS["less_equal"](b.low, constant(0)), OPS["less_equal"](constant(0), b.high))


def unless(mask: Expr, b: Bounds, nan: bool = False) -> Bounds:
    """The bounds ``b``, or those of any number where the mask is true; with ``nan``, it may also be nan there."""
    where = OPS["where"]
    return replace(
        b, low=where(mask, constant(-INF), b.low), high=where(mask, constant(INF), b.high),
        nan=any_of(b.nan, flag(mask)) if nan else b.nan, never_negative=False, never_positive=False,
    )  # fmt: skip


def widened(bounds: Bounds, by: Expr) -> Bounds:
    """The bounds moved outward by a nonnegative number, in the units of the values."""
    ends = bounds.settled()
    return replace(
        ends, low=ends.low - by, high=ends.high + by, relative=2, absolute=UNDERFLOW, never_negative=False,
        never_positive=False,
    )  # fmt: skip


def folded(function: Callable[[Expr, Expr], Expr], terms: Sequence[Expr]) -> Expr:
    return reduce(function, dict.fromkeys(terms))


def beside(*bounds: Bounds) -> Bounds:
    """The bounds of one of several values, except the ends and ``nan``, which the caller fills in."""
    return replace(
        bounds[0], nan=None, relative=max(b.relative for b in bounds),
        absolute=max(b.absolute for b in bounds), overflows=any(b.overflows for b in bounds),
        never_negative=all(b.never_negative for b in bounds), never_positive=all(b.never_positive for b in bounds),
    )  # fmt: skip


def sizes(b: Bounds) -> tuple[Expr, Expr]:
    """The least and the largest absolute value."""
    if b.never_negative:
        return b.low, b.high
    if b.never_positive:
        return -b.high, -b.low
    if b.is_point:
        return (OPS["abs"](b.low),) * 2
    return larger(larger(b.low, -b.high), constant(0)), larger(b.high, -b.low)
