"""Operators of `LazyTensor`: arithmetic, powers, comparisons and what joins truth values."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.errors import ClreduceError, ShapeError
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import FUNCTIONS, constant, constant_value, integer
from clreduce.lazy.base import Recorded, shapes_of
from clreduce.lazy.leaves import from_number
from clreduce.lazy.mistakes import check_operand, shape_of
from clreduce.memo import memoised
from clreduce.ops.arithmetic import add, div, mul, neg, raised, square, sub
from clreduce.ops.compare import equal, less, less_equal, logical_and, logical_not, logical_or, where
from clreduce.ops.derived import scalar_product, truth
from clreduce.ops.indices import difference_of_indices, tally

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Value

Build = Callable[..., Expr]


Tensor = TypeVar("Tensor", bound="Operators")


class Operators(Recorded):
    """Python's operators, each of which gives another `LazyTensor`."""

    __slots__ = ()

    __hash__ = None  # type: ignore[assignment]  # == makes a formula

    def _apply(
        self, name: str, build: Build, others: tuple[Any, ...], params: tuple[Any, ...] = (),
        vectors: bool | None = None,
    ) -> Self:  # fmt: skip
        """The result of ``build(self, *others, *params)`` on real vectors; an error names the shapes of the tensors.

        ``vectors`` says whether the result has a vector axis; None if it has one whenever an operand has one.
        """
        if not others:
            return self._record(built(name, build, (self,), (self._real_expr,), params), vectors=vectors)
        tensors = (self, *map(self._beside, others))
        if any(x.is_complex for x in tensors):
            raise not_complex(name)
        expr = built(name, build, tensors, [x._real_expr for x in tensors], params)
        return self._record(expr, *tensors[1:], vectors=vectors)

    def _beside(self, value: Any) -> Any:
        """``value`` as an operand beside this tensor. An array of one number has no vector axis then, as in NumPy."""
        if type(value) is type(self):
            return value
        if type(value) in (int, float):
            return self._adopted(from_number(value))
        if isinstance(value, Recorded):
            return self._from(value)
        array = None if isinstance(value, (bool, complex, np.generic)) else self.library.as_array(value)
        value = value if array is None else array
        shape = shape_of(value, self.library)
        if shape in ((1,), (1, 1)):
            tensor = self._from(value if len(shape) == 1 else value.reshape(1))
            tensor._vectors = False
            return tensor
        if len(shape) in (1, 2):
            check_operand(shape, self)
        return self._from(value)

    def _binary(self, name: str, build: Build, other: Any, reflected: bool = False) -> Self:
        """An arithmetic operator, also for complex numbers and for indices."""
        x = self._beside(other)
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
        x = self._beside(other)
        if x.is_complex:
            result: Self = x._complex_compare(name, self)
            return result
        a, b = (x, self) if reflected else (self, x)
        f, g = a.expr, b.expr
        if not f.kind == g.kind == REAL:
            f, g = _as_indices(f, g) or (a._real_expr, b._real_expr)
        return self._condition(built(name, mask, (a, b), (f, g)), x)

    def _condition(self, mask: Expr, *others: Recorded) -> Self:
        """1 where the truth value ``mask`` holds, else 0, as a tensor that is marked as a condition."""
        made = self._record(truth(mask), *others)
        made.is_condition = True
        return made

    # ----------------------------------------------------------------------------------------------------- arithmetic

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
        return self._record(_made(neg, self._real_expr))

    def __pos__(self: Tensor) -> Tensor:
        return self

    def __abs__(self: Tensor) -> Tensor:
        return self.abs()

    def __pow__(self: Tensor, exponent: Value) -> Tensor:
        """Powers. Small integers are multiplied out; 0.5 and -0.5 are roots."""
        if isinstance(exponent, (int, float, np.integer, np.floating)):
            value = float(exponent)
            if value == 2:
                return self._record(_made(square, self._real_expr))
            if abs(value) == 0.5 or value.is_integer():
                return self._record(_made(raised, self._real_expr, constant(value)))
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

    # ---------------------------------------------------------------------------------------- comparisons, truth values

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


def built(
    name: str, build: Build, tensors: tuple[Any, ...], exprs: Any, params: tuple[Any, ...] = ()
) -> Expr:  # fmt: skip
    """``build(*exprs, *params)``. An error is raised again with the shapes of the tensors."""
    try:
        return _made(build, *exprs, *params)
    except ClreduceError as error:
        message = str(error)
        if not message.startswith(name):
            message = f"{name}: {message}"
        raise type(error)(f"{message}; the tensors have shapes {shapes_of(tensors)}") from None


@memoised(4096)
def _made(build: Build, *arguments: Any) -> Expr:
    """``build(*arguments)``. Recent results are kept, because programs record the same formula again and again."""
    return build(*arguments)


def mask_of(expr: Expr) -> Expr:
    """The truth value "not 0" of a number; if the number is a comparison's, the truth value of the comparison."""
    if expr.op is where and [constant_value(arg) for arg in expr.args[1:]] == [1, 0]:
        return expr.args[0]
    return logical_not(equal(expr, constant(0)))


def is_number(value: Any, number: int) -> bool:
    return type(value) in (int, float) and value == number


def not_complex(name: str) -> ShapeError:
    return ShapeError(f"{name} is not defined for complex numbers here; take .real, .imag, abs() or angle() of them")


def _one_of_two(f: Expr, g: Expr) -> Expr:
    return logical_and(logical_or(f, g), logical_not(logical_and(f, g)))


def _unequal(f: Expr, g: Expr) -> Expr:
    return logical_not(equal(f, g))


_LARGEST_SUMMAND = 2**24
"""Sums of an index and an integer up to it stay in 32 bits, for all but the last few rows that kernels take."""
_INDEX_RULES: dict[str, Build] = {"+": tally, "-": difference_of_indices}


def _as_indices(f: Expr, g: Expr) -> tuple[Expr, Expr] | None:
    """Both as true integers, if both are indices or whole numbers."""
    indices = []
    for expr in (f, g):
        known = constant_value(expr)
        if expr.kind == INDEX:
            indices.append(expr)
        elif isinstance(known, Fraction) and known.denominator == 1 and abs(known) < _LARGEST_SUMMAND:
            indices.append(integer(int(known)))
        else:
            return None
    return indices[0], indices[1]
