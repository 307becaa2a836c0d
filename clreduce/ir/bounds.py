"""`Bounds`: lower and upper bounds of the values of a node, as formulas.

Each operation may state one more fact: how its bounds follow from those of its arguments (``Op.bounds``; the rules are
in ``clreduce/ops/bounds/``). Bounds are formulas, so NumPy can evaluate them and kernels can compute them.

Bounds hold for the exact values, and for the values that a kernel or NumPy computes in any order of additions. Rounding
errors are first counted, in units of ``eps`` relative to the value, and in units of the least normal number.
`Bounds.settled` then moves both ends by the counted errors. So a squared distance is widened once, not at each node.
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
    """The properties of the floating-point numbers of kernels that bounds need."""

    eps: Fraction
    """The distance from 1 to the next number."""
    tiny: Fraction
    """The least normal number; kernels may flush smaller ones to 0."""
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
        """Whether this precision represents a constant exactly."""
        if not isinstance(value, Fraction):
            return True
        dtype = np.float32 if self.eps == Fraction(1, 2**23) else np.float64
        return bool(abs(value) <= self.largest and Fraction(float(dtype(float(value)))) == value)

    def relative_slack(self, count: int) -> Fraction:
        """An upper bound of ``count`` accumulated errors of ``eps``, including the errors of the widening itself."""
        return Fraction(math.expm1((count + 3) * float(self.eps)) * 1.001)


@dataclass(frozen=True)
class Bounds:
    """Bounds of the values of a node. Neither end is nan; a value may be nan if ``nan`` says so.

    For a truth value, ``low`` is true if it is surely true, and ``high`` if it may be true. Bounds of integers are
    exact.
    """

    low: Expr
    high: Expr
    precision: Precision
    nan: Expr | None = None
    """A real number that is 0 if no value is nan; None if no value can ever be nan."""
    relative: int = 0
    """The counted errors of ``low`` and ``high`` in units of ``eps``, relative to either end."""
    absolute: int = 0
    """The counted errors of ``low`` and ``high`` in units of the least normal number."""
    overflows: bool = False
    """Whether ``low`` may be inf, or ``high`` -inf, although the value is only large."""
    never_negative: bool = False
    """Whether neither a value nor ``low`` is ever below 0."""
    never_positive: bool = False

    @property
    def is_point(self) -> bool:
        """Whether all values are one number, up to rounding."""
        return self.low is self.high

    def clamped(self) -> Bounds:
        """These bounds with a ``low`` that is never inf and a ``high`` that is never -inf: sums are never nan then."""
        if not self.overflows:
            return self
        largest = constant(self.precision.largest)
        return replace(
            self, overflows=False, low=self.low if self.never_positive else smaller(self.low, largest),
            high=self.high if self.never_negative else larger(self.high, constant(-self.precision.largest)),
        )  # fmt: skip

    def settled(self) -> Bounds:
        """These bounds without counted errors: both ends have moved outward by them."""
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
        """These bounds with further counted errors."""
        return replace(self, relative=self.relative + relative, absolute=self.absolute + absolute)

    def fitted(self, dim: int) -> Bounds:
        """These bounds with length ``dim``; a scalar is repeated."""

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
    """1 where the mask is true, else 0; the form of `Bounds.nan`."""
    return OPS["where"](mask, constant(1), constant(0))


def any_of(*flags: Expr | None) -> Expr | None:
    """The flag that any of the flags is set; None if none can be."""
    known = [one for one in flags if one is not None]
    if not known:
        return None
    result, *others = known
    for other in others:
        if other is not result:
            result = larger(result, other)
    return result


def anything(precision: Precision) -> Bounds:
    """Bounds of any number, or nan."""
    return Bounds(constant(-INF), constant(INF), precision, nan=constant(1))


__all__ = ["Bounds", "Precision", "any_of", "anything", "flag", "larger", "smaller"]
