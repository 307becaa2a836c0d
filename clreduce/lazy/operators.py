"""Operators of `LazyTensor`: arithmetic, powers and ``|``; those that give conditions are in `comparisons`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.op import FUNCTIONS, constant
from clreduce.lazy.applying import build_once
from clreduce.lazy.base import Array, shapes_of
from clreduce.lazy.comparisons import Comparisons
from clreduce.ops.arithmetic import add, div, mul, neg, raised, square, sub
from clreduce.ops.derived import scalar_product

if TYPE_CHECKING:
    from clreduce.lazy.types import Value


Tensor = TypeVar("Tensor", bound="Operators[Any]")


class Operators(Comparisons[Array]):
    """Python's operators, each of which gives another `LazyTensor`."""

    __slots__ = ()

    def _is_left_by(self, other: Any, neutral: int) -> bool:
        """Whether ``other`` is the neutral number of an operation and this is no condition: then the result is this."""
        return is_number(other, neutral) and not self.is_condition

    def __add__(self: Tensor, other: Value) -> Tensor:
        return self if self._is_left_by(other, 0) else self._binary("+", add, other)

    def __radd__(self: Tensor, other: Value) -> Tensor:
        return self if self._is_left_by(other, 0) else self._binary("+", add, other, reflected=True)

    def __sub__(self: Tensor, other: Value) -> Tensor:
        return self if self._is_left_by(other, 0) else self._binary("-", sub, other)

    def __rsub__(self: Tensor, other: Value) -> Tensor:
        return -self if is_number(other, 0) else self._binary("-", sub, other, reflected=True)

    def __mul__(self: Tensor, other: Value) -> Tensor:
        if self._is_left_by(other, 1):
            return self
        return -self if is_number(other, -1) else self._binary("*", mul, other)

    def __rmul__(self: Tensor, other: Value) -> Tensor:
        if self._is_left_by(other, 1):
            return self
        return -self if is_number(other, -1) else self._binary("*", mul, other, reflected=True)

    def __truediv__(self: Tensor, other: Value) -> Tensor:
        return self if self._is_left_by(other, 1) else self._binary("/", div, other)

    def __rtruediv__(self: Tensor, other: Value) -> Tensor:
        return self.inv() if is_number(other, 1) else self._binary("/", div, other, reflected=True)

    def __floordiv__(self: Tensor, other: Value) -> Tensor:
        quotient: Tensor = self / other
        return quotient.floor()

    def __rfloordiv__(self: Tensor, other: Value) -> Tensor:
        quotient: Tensor = self._from(other) / self
        return quotient.floor()

    def __mod__(self: Tensor, other: Value) -> Tensor:
        return self.mod(other)

    def __rmod__(self: Tensor, other: Value) -> Tensor:
        result: Tensor = self._from(other).mod(self)
        return result

    def __neg__(self: Tensor) -> Tensor:
        return self._record(build_once(neg, self._real_expr))

    def __pos__(self: Tensor) -> Tensor:
        return self

    def __abs__(self: Tensor) -> Tensor:
        return self.abs()

    def __pow__(self: Tensor, exponent: Value) -> Tensor:
        """Powers. Small integers are multiplied out; 0.5 and -0.5 are roots."""
        if isinstance(exponent, (int, float, np.integer, np.floating)):
            value = float(exponent)
            if value == 2:
                return self._record(build_once(square, self._real_expr))
            if abs(value) == 0.5 or value.is_integer():
                return self._record(build_once(raised, self._real_expr, constant(value)))
        x = self._from(exponent)
        if x.is_complex:
            result: Tensor = x._complex_power(self, x)
            return result
        return self._apply("**", FUNCTIONS["Powf"].build, (x,))

    def __rpow__(self: Tensor, base: Value) -> Tensor:
        result: Tensor = self._from(base) ** self
        return result

    def abs(self: Tensor) -> Tensor:
        """Absolute values.

        Returns
        -------
        LazyTensor
            Vectors of the same length. The slope at 0 is 0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[-1.0, 2.0]])).abs().dense()
        array([[[1., 2.]]])
        """
        return self._apply("abs", FUNCTIONS["Abs"].build, ())

    def inv(self: Tensor) -> Tensor:
        """Reciprocals, 1 / x.

        Returns
        -------
        LazyTensor
            Vectors of the same length; inf at 0, -inf at -0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[4.0, 0.0]])).inv().dense()
        array([[[0.25,  inf]]])
        """
        return self._apply("inv", FUNCTIONS["Inv"].build, ())

    def floor(self: Tensor) -> Tensor:
        """The largest integer that is not greater than each value.

        Returns
        -------
        LazyTensor
            Vectors of the same length, whose slope is 0 everywhere.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.5, -1.5]])).floor().dense()
        array([[[ 1., -2.]]])
        """
        return self._apply("floor", FUNCTIONS["Floor"].build, ())

    def mod(self: Tensor, modulus: Value, offset: Value = 0) -> Tensor:
        """Remainder of the division by ``modulus``, in the interval that starts at ``offset``.

        Parameters
        ----------
        modulus : LazyTensor, array, number or list
            The length of the interval.
        offset : LazyTensor, array, number or list, optional
            Its lower end.

        Returns
        -------
        LazyTensor
            Each value less the whole multiple of ``modulus`` that brings it into the interval.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[7.0, -1.0]])).mod(5).dense()
        array([[[2., 4.]]])
        """
        return self._apply("mod", FUNCTIONS["Mod"].build, (modulus, offset))

    def power(self: Tensor, other: Value) -> Tensor:
        """``self ** other``.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            The exponent. Small integers are multiplied out; 0.5 and -0.5 are roots.

        Returns
        -------
        LazyTensor
            The powers. A negative base with an exponent that is not an integer gives nan.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0, 0.0]])).power(2).dense()
        array([[[9., 0.]]])
        """
        return self.__pow__(other)

    def __or__(self: Tensor, other: Value) -> Tensor:
        """The scalar product of vectors; between conditions, whether one of them holds."""
        x = self._beside(other)
        return self.logical_or(x) if self.is_condition and x.is_condition else self._scalar_product(self, x)

    def __ror__(self: Tensor, other: Value) -> Tensor:
        x = self._beside(other)
        return self.logical_or(x) if self.is_condition and x.is_condition else self._scalar_product(x, self)

    def _scalar_product(self, a: Any, b: Any) -> Any:
        if a._count != b._count:
            raise ShapeError(f"| needs vectors of equal length; got tensors of shapes {shapes_of((a, b))}")
        if a.is_complex or b.is_complex:
            return (a * b)._over_vectors("Sum")
        return a._apply("|", scalar_product, (b,), vectors=False)


def is_number(value: object, number: int) -> bool:
    return type(value) in (int, float) and value == number
