"""Comparisons of a `LazyTensor`, and methods that join and negate conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from clreduce.ir.expr import Expr
from clreduce.ir.op import constant, constant_value
from clreduce.lazy.applying import Applying, Build, built
from clreduce.lazy.base import Array
from clreduce.ops.compare import equal, less, less_equal, logical_and, logical_not, logical_or, where

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Value


Tensor = TypeVar("Tensor", bound="Comparisons[Any]")


class Comparisons(Applying[Array]):
    """Operators and methods that give conditions: 1 where something holds, and 0 elsewhere."""

    __slots__ = ()

    __hash__ = None  # type: ignore[assignment]  # == makes a formula

    def __lt__(self: Tensor, other: Value) -> Tensor:
        return self._compare("<", less, other)

    def __le__(self: Tensor, other: Value) -> Tensor:
        return self._compare("<=", less_equal, other)

    def __gt__(self: Tensor, other: Value) -> Tensor:
        return self._compare(">", less, other, reflected=True)

    def __ge__(self: Tensor, other: Value) -> Tensor:
        return self._compare(">=", less_equal, other, reflected=True)

    def __eq__(self: Tensor, other: object) -> Tensor:  # type: ignore[override]
        return self._compare("==", equal, other)

    def __ne__(self: Tensor, other: object) -> Tensor:  # type: ignore[override]
        return self._compare("!=", _unequal, other)

    def __and__(self: Tensor, other: Value) -> Tensor:
        return self._logical("&", logical_and, other)

    def __xor__(self: Tensor, other: Value) -> Tensor:
        return self._logical("^", _one_of_two, other)

    def __invert__(self: Tensor) -> Tensor:
        return self._condition(logical_not(self._truth))

    __rand__, __rxor__ = __and__, __xor__

    def logical_and(self: Tensor, other: Value) -> Tensor:
        """The condition that both are not 0; between conditions also ``a & b``.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            The second condition, or any numbers.

        Returns
        -------
        LazyTensor
            A condition: 1 where it holds, and 0 elsewhere.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> D = Vi(np.array([[0.0], [3.0]])).sqdist(Vj(np.array([[1.0], [2.0]])))
        >>> (D < 2).logical_and(D > 0).dense()
        array([[ True, False],
               [False,  True]])
        """
        return self._logical("&", logical_and, other)

    def logical_or(self: Tensor, other: Value) -> Tensor:
        """The condition that at least one of them is not 0; between conditions also ``a | b``.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            The second condition, or any numbers.

        Returns
        -------
        LazyTensor
            A condition: 1 where it holds, and 0 elsewhere.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> D = Vi(np.array([[0.0], [3.0]])).sqdist(Vj(np.array([[1.0], [2.0]])))
        >>> ((D < 2) | (D > 3)).dense()
        array([[ True,  True],
               [ True,  True]])
        """
        return self._logical("|", logical_or, other)

    def logical_xor(self: Tensor, other: Value) -> Tensor:
        """The condition that exactly one of them is not 0; between conditions also ``a ^ b``.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            The second condition, or any numbers.

        Returns
        -------
        LazyTensor
            A condition: 1 where it holds, and 0 elsewhere.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> D = Vi(np.array([[0.0], [3.0]])).sqdist(Vj(np.array([[1.0], [2.0]])))
        >>> ((D < 2) ^ (D < 5)).dense()
        array([[False,  True],
               [ True, False]])
        """
        return self._logical("^", _one_of_two, other)

    def logical_not(self: Tensor) -> Tensor:
        """The condition that this tensor is 0; of a condition also ``~a``.

        Returns
        -------
        LazyTensor
            A condition: 1 where it holds, and 0 elsewhere.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[0.0, 2.0]])).logical_not().dense()
        array([[[ True, False]]])
        """
        return ~self

    def _logical(self, name: str, build: Build, other: Any) -> Self:
        x = self._beside(other)
        return self._condition(built(name, build, (self, x), (self._truth, x._truth)), x)

    @property
    def _truth(self) -> Expr:
        """The truth value "not 0"."""
        return mask_of(self._real_expr)

    def _mask(self) -> Self:
        """The condition "not 0"."""
        return self if self.is_condition else self._compare("!=", _unequal, 0)


def mask_of(expr: Expr) -> Expr:
    """The truth value "not 0" of a number; if the number is a comparison's, the truth value of the comparison."""
    if expr.op is where and [constant_value(arg) for arg in expr.args[1:]] == [1, 0]:
        return expr.args[0]
    return logical_not(equal(expr, constant(0)))


def _one_of_two(f: Expr, g: Expr) -> Expr:
    return logical_and(logical_or(f, g), logical_not(logical_and(f, g)))


def _unequal(f: Expr, g: Expr) -> Expr:
    return logical_not(equal(f, g))
