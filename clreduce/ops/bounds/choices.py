"""Bounds of choices and comparisons, of integers, and of rounded numbers."""

from __future__ import annotations

from dataclasses import replace

from clreduce.ir.bounds import Bounds, larger, smaller
from clreduce.ir.expr import MASK, Expr
from clreduce.ir.op import OPS, constant, integer
from clreduce.ops.bounds.functions import monotone
from clreduce.ops.bounds.support import UNDERFLOW, Rule, also, beside, folded, nan_of, no_nan, settled


def maximum_of_two(nan_passes: bool, direction: int) -> Rule:
    """The rule of the larger (1) or smaller (-1) of two; if ``nan_passes``, a nan in the second one is ignored."""
    pick = larger if direction > 0 else smaller

    def rule(node: Expr, a: Bounds, b: Bounds) -> Bounds:
        low, high = pick(a.low, b.low), pick(a.high, b.high)
        nan = nan_of(a, b)
        if nan_passes:
            nan = a.nan
            if b.nan is not None:
                some = OPS["less"](constant(0), b.nan)
                if direction > 0:
                    low = OPS["where"](some, a.low, low)
                else:
                    high = OPS["where"](some, a.high, high)
        one = any if direction > 0 else all
        other = all if direction > 0 else any
        safe = not nan_passes or b.nan is None
        return replace(
            beside(a, b), low=low, high=high, nan=nan,
            never_negative=(one if safe else all)((a.never_negative, b.never_negative)),
            never_positive=(other if safe else all)((a.never_positive, b.never_positive)),
        )  # fmt: skip

    return rule


def either_of(surely: Expr, possibly: Expr, yes: Bounds, no: Bounds) -> Bounds:
    """The bounds of a choice. The first alternative is ``surely`` or ``possibly`` chosen."""
    where = OPS["where"]
    if yes.low.kind == MASK:
        low, high = OPS["logical_and"](yes.low, no.low), OPS["logical_or"](yes.high, no.high)
    else:
        low, high = smaller(yes.low, no.low), larger(yes.high, no.high)
    nan = nan_of(yes, no)
    if nan is not None:
        nan = where(surely, yes.nan or constant(0), where(possibly, nan, no.nan or constant(0)))
    return replace(
        beside(yes, no),
        nan=nan,
        low=where(surely, yes.low, where(possibly, low, no.low)),
        high=where(surely, yes.high, where(possibly, high, no.high)),
    )  # fmt: skip


def choice(node: Expr, mask: Bounds, yes: Bounds, no: Bounds) -> Bounds:
    return either_of(mask.low, mask.high, yes, no)


def choice_by_sign(node: Expr, condition: Bounds, yes: Bounds, no: Bounds) -> Bounds:
    """The bounds of ``yes`` if the condition is 0 or more, else of ``no``, also for nan."""
    c, zero = condition.settled(), constant(0)
    surely = also(OPS["less_equal"](zero, c.low), no_nan(c))
    return either_of(surely, OPS["less_equal"](zero, c.high), yes, no)


def choice_by_zero(node: Expr, condition: Bounds, yes: Bounds, no: Bounds) -> Bounds:
    """The bounds of ``yes`` if the condition is not 0, also for nan, else of ``no``."""
    c, zero = condition.settled(), constant(0)
    surely = OPS["logical_or"](OPS["less"](zero, c.low), OPS["less"](c.high, zero))
    never = also(OPS["logical_and"](OPS["equal"](c.low, zero), OPS["equal"](c.high, zero)), no_nan(c))
    return either_of(surely, OPS["logical_not"](never), yes, no)


def clamp_between(node: Expr, f: Bounds, low: Bounds, high: Bounds) -> Bounds:
    """The bounds of a clamped value: the limits if they neither cross nor are nan, else those of all three values."""
    f, low, high = settled((f, low, high))
    where, least = OPS["where"], [f.low, low.low, high.low]
    ordered = also(OPS["less_equal"](low.high, high.low), no_nan(low, high))
    return replace(
        beside(f, low, high),
        nan=nan_of(f, low, high),
        low=where(ordered, smaller(larger(f.low, low.low), high.low), folded(smaller, least)),
        high=where(
            ordered, smaller(larger(f.high, low.high), high.high), folded(larger, [f.high, low.high, high.high])
        ),
    )  # fmt: skip


def step_function(node: Expr, arg: Bounds) -> Bounds:
    """The bounds of the step function: 0 below 0, else 1, also for nan."""
    b = arg.settled()
    bounds = Bounds(node.op(b.low), node.op(b.high), b.precision, never_negative=True)
    if b.nan is None:
        return bounds
    return replace(bounds, high=OPS["where"](OPS["less"](constant(0), b.nan), constant(1), bounds.high))


def comparison(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    """The bounds of less, or of less or equal; both are false for nan."""
    a, b = a.settled(), b.settled()
    return Bounds(also(node.op(a.high, b.low), no_nan(a, b)), node.op(a.low, b.high), a.precision)


def equality(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    a, b = a.settled(), b.settled()
    logical_and, less_equal, equal = OPS["logical_and"], OPS["less_equal"], OPS["equal"]
    possibly = logical_and(less_equal(a.low, b.high), less_equal(b.low, a.high))
    surely = logical_and(logical_and(equal(a.low, b.high), equal(a.high, b.low)), equal(a.low, a.high))
    return Bounds(also(surely, no_nan(a, b)), possibly, a.precision)


def logical(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    return Bounds(node.op(a.low, b.low), node.op(a.high, b.high), a.precision)


def negation(node: Expr, a: Bounds) -> Bounds:
    return Bounds(node.op(a.high), node.op(a.low), a.precision)


def added_indices(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    return Bounds(node.op(a.low, b.low), node.op(a.high, b.high), a.precision)


def subtracted_indices(node: Expr, a: Bounds, b: Bounds) -> Bounds:
    return Bounds(node.op(a.low, b.high), node.op(a.high, b.low), a.precision)


def nearest_index(node: Expr, arg: Bounds) -> Bounds:
    """The bounds of the nearest integer from 0 to 2^31 - 1, which is -1 if there is none."""
    b = arg.settled()
    where, less, most = OPS["where"], OPS["less"], 2**31 - 1
    above = OPS["less_equal"](constant(most), b.high)  # in float32, this number is 2^31, for which there is no index
    outside = OPS["logical_or"](less(b.low, constant(0)), above)
    inside = no_nan(b)
    if inside is not None:
        outside = OPS["logical_or"](outside, OPS["logical_not"](inside))
    low = where(outside, integer(-1), node.op(b.low))
    return Bounds(low, where(above, integer(most), node.op(b.high)), b.precision)


def offset_in_table(node: Expr, label: Bounds, size: int, stride: int, outside: int) -> Bounds:
    """The bounds of an offset in a table. It grows with the label, and is ``outside`` for labels beyond the table."""
    inside = OPS["logical_and"](
        OPS["less_equal"](integer(0), label.low), OPS["less"](label.high, integer(size))
    )  # fmt: skip
    ends = (0, (size - 1) * stride, outside)
    low = OPS["where"](inside, node.op(label.low, size, stride, outside), integer(min(ends)))
    return Bounds(
        low, OPS["where"](inside, node.op(label.high, size, stride, outside), integer(max(ends))), label.precision
    )


def rounding(node: Expr, arg: Bounds, digits: int) -> Bounds:
    """The bounds of a rounded number. It grows; the argument times a power of ten is itself rounded before."""
    return monotone(1, ulps=4)(node, arg.loosened(8, UNDERFLOW), digits)
