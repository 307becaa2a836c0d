"""`Bounds`: between which numbers the values of a node lie, as formulas.

Each operation may state one more fact, how its bounds follow from those of its arguments (``Op.bounds``; the rules are
in ``clreduce/ops/bounds.py``). As bounds are formulas, NumPy evaluates them and kernels compute them, like any other.

Bounds are outward: they hold for the exact values and for what a kernel or NumPy computes, in whatever order it adds
up. Rounding errors are counted first, relative to the value in units of ``eps``, and in units of the least normal
number. `Bounds.settled` moves both ends by what has been counted. So a squared distance is widened once, not at each
node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import INF, OPS, constant


@dataclass(frozen=True)
class Precision:
    """What bounds know of the floating-point numbers of kernels."""

    eps: Fraction
    """The distance from 1 to the next number."""
    tiny: Fraction
    """The least normal number; kernels may take smaller ones for 0."""
    largest: Fraction

    @classmethod
    def of(cls, dtype: str) -> Precision:
        """The precision of ``"float32"`` or ``"float64"``.

        >>> Precision.of("float32").eps == Fraction(1, 2**23)
        True
        """
        info = np.finfo(dtype)
        return cls(*(Fraction(float(number)) for number in (info.eps, info.tiny, info.max)))

    def holds(self, value: Fraction | float) -> bool:
        """Whether a constant is a number of this precision, so that it is not rounded."""
        if not isinstance(value, Fraction):
            return True
        dtype = np.float32 if self.eps == Fraction(1, 2**23) else np.float64
        return bool(abs(value) <= self.largest and Fraction(float(dtype(float(value)))) == value)

    def relative_slack(self, count: int) -> Fraction:
        """What ``count`` errors of ``eps``, one on top of the other, are at most, with those of the widening itself."""
        return Fraction(math.expm1((count + 3) * float(self.eps)) * 1.001)


@dataclass(frozen=True)
class Bounds:
    """Between which numbers the values of a node lie. Neither end is nan; a value may be, if ``nan`` says so.

    Of a node that is a truth value, ``low`` says whether it surely holds and ``high`` whether it possibly does; of true
    integers the bounds are exact.
    """

    low: Expr
    high: Expr
    precision: Precision
    nan: Expr | None = None
    """A real number: 0 where no value is nan; None where none ever is."""
    relative: int = 0
    """The true bounds differ from ``low`` and ``high`` by up to so many ``eps``, relative to either end, ..."""
    absolute: int = 0
    """... and by up to so many times the least normal number."""
    overflows: bool = False
    """Whether ``low`` may be inf, or ``high`` -inf, where a value is merely large."""
    never_negative: bool = False
    """Whether no value is below 0, and neither is ``low``."""
    never_positive: bool = False

    @property
    def is_point(self) -> bool:
        """Whether all values are one number, up to rounding."""
        return self.low is self.high

    def clamped(self) -> Bounds:
        """With a lower bound that is never inf, and an upper one that is never -inf: sums of those are never nan."""
        if not self.overflows:
            return self
        largest = constant(self.precision.largest)
        return replace(
            self, overflows=False, low=self.low if self.never_positive else smaller(self.low, largest),
            high=self.high if self.never_negative else larger(self.high, constant(-self.precision.largest)),
        )  # fmt: skip

    def settled(self) -> Bounds:
        """These bounds with no error left to count: both ends move outward by the errors counted so far."""
        if self.low.kind != REAL:
            return self
        ends = self.clamped()
        if not (self.relative or self.absolute):
            return ends
        ratio = self.precision.relative_slack(self.relative)
        slack = constant(self.absolute * self.precision.tiny)
        less, more = constant(1 - ratio), constant(1 + ratio)
        low, high = ends.low, ends.high
        if self.never_negative:
            low, high = larger(low * less - slack, constant(0)), high * more + slack
        elif self.never_positive:
            low, high = low * more - slack, smaller(high * less + slack, constant(0))
        else:
            low, high = smaller(low * less, low * more) - slack, larger(high * less, high * more) + slack
        return replace(ends, low=low, high=high, relative=0, absolute=0)

    def loosened(self, relative: int = 0, absolute: int = 0) -> Bounds:
        """With further errors to count."""
        return replace(self, relative=self.relative + relative, absolute=self.absolute + absolute)

    def fitted(self, dim: int) -> Bounds:
        """Of this length: a scalar is repeated."""

        def repeated(f: Expr) -> Expr:
            return f if f.dim == dim else OPS["expand"](f, 1, dim, 1)

        return replace(
            self, low=repeated(self.low), high=repeated(self.high), nan=None if self.nan is None else repeated(self.nan)
        )  # fmt: skip


def larger(a: Expr, b: Expr) -> Expr:
    """The larger of two numbers or true integers, neither of them nan."""
    return OPS["larger"](a, b) if a.kind == REAL else OPS["where"](OPS["less"](a, b), b, a)


def smaller(a: Expr, b: Expr) -> Expr:
    """The smaller of two numbers or true integers, neither of them nan."""
    return OPS["smaller"](a, b) if a.kind == REAL else OPS["where"](OPS["less"](b, a), b, a)


def flag(mask: Expr) -> Expr:
    """1 where the mask holds, else 0: what `Bounds.nan` is."""
    return OPS["where"](mask, constant(1), constant(0))


def any_of(*flags: Expr | None) -> Expr | None:
    """Whether any of them is set; None: none ever is."""
    known = [one for one in flags if one is not None]
    if not known:
        return None
    result, *others = known
    for other in others:
        if other is not result:
            result = larger(result, other)
    return result


def anything(precision: Precision) -> Bounds:
    """Any number, or nan."""
    return Bounds(constant(-INF), constant(INF), precision, nan=constant(1))


__all__ = ["Bounds", "Precision", "any_of", "anything", "flag", "larger", "smaller"]
