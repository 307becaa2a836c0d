"""Operators of `LazyTensor`: arithmetic, powers, comparisons and what joins truth values."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.errors import ClreduceError, ShapeError
from clreduce.frontends.lazy.base import Recorded, shapes_of
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import FUNCTIONS, constant, constant_value, integer
from clreduce.memo import memoised
from clreduce.ops.arithmetic import add, div, mul, neg, raised, square, sub
from clreduce.ops.compare import equal, less, less_equal, negated, where
from clreduce.ops.derived import scalar_product, truth
from clreduce.ops.indices import difference_of_indices, tally

if TYPE_CHECKING:
    from typing_extensions import Self

Build = Callable[..., Expr]


class Operators(Recorded):
    """Python's operators, each of which gives another `LazyTensor`."""

    __slots__ = ()

    if TYPE_CHECKING:  # what operators need of the methods that classes below add

        def abs(self) -> Self: ...
        def inv(self) -> Self: ...
        def mod(self, n: Any) -> Self: ...
        def floor(self) -> Self: ...
        def norm2(self) -> Self: ...
        def sinxdivx(self) -> Self: ...

    __hash__ = None  # type: ignore[assignment]  # == makes a formula

    def _apply(self, name: str, build: Build, others: tuple[Any, ...], params: tuple[Any, ...] = ()) -> Self:
        """``build(self, *others, *params)`` of real vectors; what does not fit is told in terms of shapes."""
        tensors = (self, *map(self._from, others))
        if any(x.is_complex for x in tensors):
            raise not_complex(name)
        return self._record(built(name, build, tensors, [x._real_expr for x in tensors], params), *tensors[1:])

    def _binary(self, name: str, build: Build, other: Any, reflected: bool = False) -> Self:
        """An arithmetic operator, with the meaning that it has for complex numbers and for indices too."""
        x = self._from(other)
        a, b = (x, self) if reflected else (self, x)
        if x.is_complex:
            result: Self = x._complex_binary(name, a, b)
            return result
        f, g = a.expr, b.expr
        if not f.kind == g.kind == REAL:
            rule, both = _INDEX_RULES.get(name), _as_indices(f, g)
            if rule is not None and both is not None:
                return self._record(rule(*both), x)
            f, g = a._real_expr, b._real_expr
        return self._record(built(name, build, (a, b), (f, g)), x)

    def _compare(self, name: str, mask: Build, other: Any, reflected: bool = False) -> Self:
        """1 where ``mask`` holds, else 0; indices are compared as integers."""
        x = self._from(other)
        if x.is_complex:
            result: Self = x._complex_compare(name, self)
            return result
        a, b = (x, self) if reflected else (self, x)
        f, g = a.expr, b.expr
        if not f.kind == g.kind == REAL:
            f, g = _as_indices(f, g) or (a._real_expr, b._real_expr)
        return self._record(truth(built(name, mask, (a, b), (f, g))), x)

    # ----------------------------------------------------------------------------------------------------- arithmetic

    def __add__(self, other: Any) -> Self:
        return self if is_number(other, 0) else self._binary("+", add, other)

    def __radd__(self, other: Any) -> Self:
        return self if is_number(other, 0) else self._binary("+", add, other, reflected=True)

    def __sub__(self, other: Any) -> Self:
        return self if is_number(other, 0) else self._binary("-", sub, other)

    def __rsub__(self, other: Any) -> Self:
        return -self if is_number(other, 0) else self._binary("-", sub, other, reflected=True)

    def __mul__(self, other: Any) -> Self:
        if is_number(other, 1):
            return self
        return -self if is_number(other, -1) else self._binary("*", mul, other)

    def __rmul__(self, other: Any) -> Self:
        if is_number(other, 1):
            return self
        return -self if is_number(other, -1) else self._binary("*", mul, other, reflected=True)

    def __truediv__(self, other: Any) -> Self:
        return self if is_number(other, 1) else self._binary("/", div, other)

    def __rtruediv__(self, other: Any) -> Self:
        return self.inv() if is_number(other, 1) else self._binary("/", div, other, reflected=True)

    def __floordiv__(self, other: Any) -> Self:
        quotient: Self = self / other
        return quotient.floor()

    def __rfloordiv__(self, other: Any) -> Self:
        quotient: Self = self._from(other) / self
        return quotient.floor()

    def __mod__(self, other: Any) -> Self:
        return self.mod(other)

    def __rmod__(self, other: Any) -> Self:
        result: Self = self._from(other).mod(self)
        return result

    def __neg__(self) -> Self:
        return self._record(_made(neg, self._real_expr))

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self.abs()

    def __pow__(self, exponent: Any) -> Self:
        """Powers. Small integers are multiplied out; 0.5 and -0.5 are roots."""
        if isinstance(exponent, (int, float, np.integer, np.floating)):
            value = float(exponent)
            if value == 2:
                return self._record(_made(square, self._real_expr))
            if abs(value) == 0.5 or value.is_integer():
                return self._record(_made(raised, self._real_expr, constant(value)))
        x = self._from(exponent)
        if x.is_complex:
            result: Self = x._complex_power(self, x)
            return result
        return self._apply("**", FUNCTIONS["Powf"].build, (x,))

    def __rpow__(self, base: Any) -> Self:
        result: Self = self._from(base) ** self
        return result

    def power(self, exponent: Any) -> Self:
        """``self ** exponent``."""
        return self.__pow__(exponent)

    def __or__(self, other: Any) -> Any:
        return self._scalar_product(self, self._from(other))

    def __ror__(self, other: Any) -> Any:
        return self._scalar_product(self._from(other), self)

    def _scalar_product(self, a: Any, b: Any) -> Any:
        if a._count != b._count:
            raise ShapeError(f"| needs vectors of equal length; got tensors of shapes {shapes_of((a, b))}")
        if a.is_complex or b.is_complex:
            return (a * b).sum()
        return a._apply("|", scalar_product, (b,))

    # ---------------------------------------------------------------------------------------- comparisons, truth values

    def __lt__(self, other: Any) -> Self:
        return self._compare("<", less, other)

    def __le__(self, other: Any) -> Self:
        return self._compare("<=", less_equal, other)

    def __gt__(self, other: Any) -> Self:
        return self._compare(">", less, other, reflected=True)

    def __ge__(self, other: Any) -> Self:
        return self._compare(">=", less_equal, other, reflected=True)

    def __eq__(self, other: Any) -> Self:  # type: ignore[override]
        return self._compare("==", equal, other)

    def __ne__(self, other: Any) -> Self:  # type: ignore[override]
        return self._compare("!=", _unequal, other)

    def __and__(self, other: Any) -> Self:
        """1 where both are not 0, else 0. (``|`` is the scalar product; of two masks, ``a + b > 0`` is "or".)"""
        return self._mask().__mul__(self._from(other)._mask())

    def __rand__(self, other: Any) -> Self:
        return self.__and__(other)

    def __invert__(self) -> Self:
        """1 where this is 0, else 0."""
        return self._compare("==", equal, 0)

    def _mask(self) -> Self:
        """1 where this is not 0, else 0."""
        return self._compare("!=", _unequal, 0)


def built(
    name: str, build: Build, tensors: tuple[Any, ...], exprs: Any, params: tuple[Any, ...] = ()
) -> Expr:  # fmt: skip
    """``build(*exprs, *params)``, or its error with the shapes of the tensors."""
    try:
        return _made(build, *exprs, *params)
    except ClreduceError as error:
        message = str(error)
        if not message.startswith(name):
            message = f"{name}: {message}"
        raise type(error)(f"{message}; the tensors have shapes {shapes_of(tensors)}") from None


@memoised(4096)
def _made(build: Build, *given: Any) -> Expr:
    """``build(*given)``. What was recorded lately stays: programs record the same formula again and again."""
    return build(*given)


def mask_of(expr: Expr) -> Expr:
    """The truth value "not 0" of a number; that of a comparison itself, if the number comes from one."""
    if expr.op is where and [constant_value(arg) for arg in expr.args[1:]] == [1, 0]:
        return expr.args[0]
    return negated(equal(expr, constant(0)))


def is_number(value: Any, number: int) -> bool:
    return type(value) in (int, float) and value == number


def not_complex(name: str) -> ShapeError:
    return ShapeError(f"{name} is not defined for complex numbers here; take .real, .imag, abs() or angle() of them")


def _unequal(f: Expr, g: Expr) -> Expr:
    return negated(equal(f, g))


_LARGEST_SUMMAND = 2**24
"""Sums of an index and an integer up to it stay in 32 bits, for all but the last few rows that kernels take."""
_INDEX_RULES: dict[str, Build] = {"+": tally, "-": difference_of_indices}


def _as_indices(f: Expr, g: Expr) -> tuple[Expr, Expr] | None:
    """Both as true integers, if both are indices or whole numbers."""
    found = []
    for expr in (f, g):
        known = constant_value(expr)
        if expr.kind == INDEX:
            found.append(expr)
        elif isinstance(known, Fraction) and known.denominator == 1 and abs(known) < _LARGEST_SUMMAND:
            found.append(integer(int(known)))
        else:
            return None
    return found[0], found[1]
