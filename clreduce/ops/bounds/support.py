"""What rules of bounds share: errors that are counted, where a value is nan, and where nothing is known."""

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
"""Least normal numbers by which a result that is rounded to a subnormal one, or to 0, may differ, and its bound."""
ULPS = 4.0
"""Errors of functions, in ulp, where no more is said: those of the prelude and of OpenCL are smaller."""


def errors(ulps: float) -> int:
    """In ``eps``: of the value, and once more of its bound."""
    return math.ceil(2 * ulps)


def settled(bounds: Sequence[Bounds]) -> list[Bounds]:
    return [b.settled() for b in bounds]


def nan_of(*bounds: Bounds) -> Expr | None:
    """Where an argument is nan."""
    return any_of(*(b.nan for b in bounds))


def no_nan(*bounds: Bounds) -> Expr | None:
    """A mask: no argument is nan; None if none ever is."""
    nan = nan_of(*bounds)
    return None if nan is None else OPS["equal"](nan, constant(0))


def also(a: Expr, b: Expr | None) -> Expr:
    return a if b is None else OPS["logical_and"](a, b)


def is_infinite(f: Expr) -> Expr:
    return OPS["equal"](OPS["abs"](f), constant(INF))


def may_be_infinite(b: Bounds) -> Expr:
    """A mask: an infinity may be among the values."""
    return OPS["logical_or"](is_infinite(b.low), is_infinite(b.high))


def holds_zero(b: Bounds) -> Expr:
    """A mask: 0 may be among the values."""
    return OPS["logical_and"](OPS["less_equal"](b.low, constant(0)), OPS["less_equal"](constant(0), b.high))


def unless(mask: Expr, b: Bounds, nan: bool = False) -> Bounds:
    """Nothing is known where the mask holds; with ``nan``, neither that no value is nan."""
    where = OPS["where"]
    return replace(
        b, low=where(mask, constant(-INF), b.low), high=where(mask, constant(INF), b.high),
        nan=any_of(b.nan, flag(mask)) if nan else b.nan, never_negative=False, never_positive=False,
    )  # fmt: skip


def widened(bounds: Bounds, by: Expr) -> Bounds:
    """Moved outward by a number that is not negative, in the same units as the values."""
    ends = bounds.settled()
    return replace(
        ends, low=ends.low - by, high=ends.high + by, relative=2, absolute=UNDERFLOW, never_negative=False,
        never_positive=False,
    )  # fmt: skip


def folded(function: Callable[[Expr, Expr], Expr], terms: Sequence[Expr]) -> Expr:
    return reduce(function, dict.fromkeys(terms))


def beside(*bounds: Bounds) -> Bounds:
    """What can be said of a value that is one of several; the ends, and ``nan``, are to be filled in."""
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
