"""Complex tensors: what is different where components are complex numbers, kept as pairs of reals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS
from clreduce.lazy.applying import Build, built, not_complex
from clreduce.lazy.base import Array
from clreduce.lazy.comparisons import mask_of
from clreduce.lazy.operators import Operators
from clreduce.ops.compare import equal, logical_and, logical_not, where
from clreduce.ops.complex import imaginary, real
from clreduce.ops.shape import expand

if TYPE_CHECKING:
    from clreduce.lazy.types import Value


Tensor = TypeVar("Tensor", bound="ComplexMethods[Any]")
_ARITHMETIC = {"+": "ComplexAdd", "-": "ComplexSubtract", "*": "ComplexMult", "/": "ComplexDivide"}


class ComplexMethods(Operators[Array]):
    """A `LazyTensor` of complex numbers, whose reductions give complex arrays.

    `LazyTensor` makes one of complex data; the parameters are those of `LazyTensor`. Sums, means, products with
    vectors, arithmetic and the methods below are available. What has no meaning for complex numbers raises a
    `ShapeError`.

    Parameters
    ----------
    x, axis, is_complex
        As of `LazyTensor`. Real data become complex numbers with imaginary parts 0, or with ``is_complex=True`` they
        are pairs of real and imaginary parts.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import Vi, Vj
    >>> z = Vi(np.array([[1.0 + 1.0j]])) * Vj(np.array([[1.0], [2.0]]))
    >>> type(z).__name__, z.shape
    ('ComplexLazyTensor', (1, 2, 1))
    >>> z.sum(axis=1)
    array([[3.+3.j]])
    """

    __slots__ = ()
    is_complex = True

    def _of(self, name: str, is_complex: bool, *params: Any, vectors: bool | None = None) -> Any:
        return self._record(FUNCTIONS[name].build(self.expr, *params), is_complex=is_complex, vectors=vectors)

    def _apply(
        self, name: str, build: Build, others: tuple[Any, ...], params: tuple[Any, ...] = (),
        vectors: bool | None = None,
    ) -> Any:  # fmt: skip
        raise not_complex(name)

    @property
    def _truth(self) -> Expr:
        return mask_of(self._mask().expr)

    # ------------------------------------------------------------------------------------------------------ operators

    def _binary(self, name: str, build: Build, other: Any, reflected: bool = False) -> Any:
        x = self._beside(other)
        return self._complex_binary(name, x, self) if reflected else self._complex_binary(name, self, x)

    def _complex_binary(self, name: str, a: Any, b: Any) -> Any:
        """An arithmetic operator between two tensors of which one or both are complex."""
        if name in "*/" and not b.is_complex:
            expr = built(name, FUNCTIONS["Mult" if name == "*" else "Divide"].build, (a, b), _pairs(a, b))
        elif name == "*" and not a.is_complex:
            expr = built(name, FUNCTIONS["Mult"].build, (a, b), _pairs(b, a))
        else:
            expr = built(name, FUNCTIONS[_ARITHMETIC[name]].build, (a, b), (as_complex(a), as_complex(b)))
        return a._record(expr, b, is_complex=True)

    def _compare(self, name: str, mask: Build, other: Any, reflected: bool = False) -> Any:
        return self._complex_compare(name, self._beside(other))

    def _complex_compare(self, name: str, other: Any) -> Any:
        if name not in ("==", "!="):
            raise ShapeError(f"{name}: complex numbers are not ordered; compare .real, .imag or abs()")
        build = _equal if name == "==" else _unequal
        return self._condition(built(name, build, (self, other), (self.expr, as_complex(other))), other)

    def __neg__(self: Tensor) -> Tensor:
        return self._record(-self.expr, is_complex=True)

    def __pow__(self: Tensor, exponent: Value) -> Tensor:
        """Powers: integers of any sign, the square root as 0.5, and others through exp and log, on the main branch."""
        if isinstance(exponent, (int, float, np.integer, np.floating)):
            value = float(exponent)
            if value.is_integer():
                return self._of("ComplexPow", True, int(value))
            if abs(value) == 0.5:
                return self.sqrt() if value > 0 else self.sqrt().inv()
        return self._complex_power(self, self._from(exponent))

    def _complex_power(self, base: Any, exponent: Any) -> Any:
        if not base.is_complex:
            base = base.real2complex()
        at_zero = (exponent.real * 0).where(exponent.real > 0, float("nan"))
        return (exponent * base.log()).exp().where(base._mask(), at_zero)

    # --------------------------------------------------------------------------------------------------------- methods

    @property
    def real(self) -> Any:
        """The real parts."""
        return self._of("ComplexReal", False)

    @property
    def imag(self) -> Any:
        """The imaginary parts."""
        return self._of("ComplexImag", False)

    def angle(self) -> Any:
        """Angles of the complex numbers, in radians.

        Returns
        -------
        LazyTensor
            Real vectors of the same length, in [-pi, pi]; 0 for 0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0j]])).angle().dense().round(3)
        array([[[1.571]]])
        """
        return self._of("ComplexAngle", False)

    def conj(self: Tensor) -> Tensor:
        """Complex conjugates.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0 + 2.0j]])).conj().dense()
        array([[[1.-2.j]]])
        """
        result: Tensor = self._of("Conj", True)
        return result

    def abs(self) -> Any:
        """Absolute values.

        Returns
        -------
        LazyTensor
            Real vectors of the same length. The slope at 0 is 0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0 + 4.0j]])).abs().dense()
        array([[[5.]]])
        """
        return self._of("ComplexAbs", False)

    def exp(self: Tensor) -> Tensor:
        """Exponential of complex numbers.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0j * np.pi]])).exp().dense().real
        array([[[-1.]]])
        """
        result: Tensor = self._of("ComplexExp", True)
        return result

    def log(self: Tensor) -> Tensor:
        """Natural logarithm of complex numbers, on the main branch.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length, with imaginary parts in [-pi, pi].

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0 + 0.0j]])).log().dense()
        array([[[0.+0.j]]])
        """
        result: Tensor = self._of("ComplexLog", True)
        return result

    def sqrt(self: Tensor) -> Tensor:
        """Square root of complex numbers, on the main branch.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length, with real parts of 0 or more.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[-4.0 + 0.0j]])).sqrt().dense()
        array([[[0.+2.j]]])
        """
        result: Tensor = self._of("ComplexSqrt", True)
        return result

    def inv(self: Tensor) -> Tensor:
        """Reciprocals, 1 / z.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[2.0j]])).inv().dense().imag
        array([[[-0.5]]])
        """
        result: Tensor = self._of("ComplexInv", True)
        return result

    def square(self: Tensor) -> Tensor:
        """Squares, z * z.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[2.0j]])).square().dense().real
        array([[[-4.]]])
        """
        result: Tensor = self._of("ComplexPow", True, 2)
        return result

    def sqnorm2(self) -> Any:
        """Squared Euclidean norm of each vector: the sum of the squared absolute values.

        Returns
        -------
        LazyTensor
            A real number for each pair (i, j).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0j, 4.0]])).sqnorm2().dense()
        array([[25.]])
        """
        return self._of("ComplexSquareAbs", False)._over_vectors("Sum")

    def norm2(self) -> Any:
        """Euclidean norm of each vector.

        Returns
        -------
        LazyTensor
            A real number for each pair (i, j).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0j, 4.0]])).norm2().dense()
        array([[5.]])
        """
        return self.sqnorm2().sqrt()

    def sqdist(self, other: Value) -> Any:
        """Squared Euclidean distance to other vectors.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            The other vectors, real or complex.

        Returns
        -------
        LazyTensor
            A real number for each pair (i, j).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> Vi(np.array([[1.0j]])).sqdist(Vj(np.array([[1.0]]))).dense()
        array([[2.]])
        """
        return (self - other).sqnorm2()

    def where(self: Tensor, condition: Value, other: Value = 0) -> Tensor:
        """Values of this tensor where ``condition`` is not 0, and of ``other`` elsewhere.

        Parameters
        ----------
        condition : LazyTensor, array, number or list
            A comparison, or any numbers.
        other : LazyTensor, array, number or list, optional
            The values where the condition is 0, real or complex.

        Returns
        -------
        ComplexLazyTensor
            The chosen values.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> z = Vi(np.array([[1.0j, 2.0]]))
        >>> z.where(z.real > 0).dense()
        array([[[0.+0.j, 2.+0.j]]])
        """
        mask, x = self._beside(condition)._mask(), self._beside(other)
        return self._record(choice(self, mask, x), mask, x, is_complex=True)

    def real2complex(self) -> NoReturn:
        """Refused: this tensor is complex already.

        Raises
        ------
        ShapeError
            Always.
        """
        raise ShapeError("real2complex needs a tensor of real numbers; this one is complex")

    def imag2complex(self) -> NoReturn:
        """Refused: this tensor is complex already.

        Raises
        ------
        ShapeError
            Always.
        """
        raise ShapeError("imag2complex needs a tensor of real numbers; this one is complex")

    def exp1j(self) -> NoReturn:
        """Refused: write ``(1j * z).exp()`` for complex numbers.

        Raises
        ------
        ShapeError
            Always.
        """
        raise ShapeError("exp1j needs a tensor of real numbers; this one is complex: write (1j * z).exp()")

    def _over_vectors(self, name: str) -> Any:
        if name == "Sum":
            return self._of("ComplexSum", True, vectors=False)
        if name == "Mean":
            return self._over_vectors("Sum") / self._count
        raise ShapeError(f"{name} is not defined for complex numbers; reduce .real, .imag or abs() of them")


def as_complex(x: Operators[Array]) -> Expr:
    """The formula of a tensor as complex numbers."""
    expr: Expr = x.expr if x.is_complex else FUNCTIONS["Real2Complex"].build(x._real_expr)
    return expr


def choice(a: Operators[Array], mask: Operators[Array], b: Operators[Array]) -> Expr:
    """a where the truth value ``mask`` is not 0, else b, one of which is complex."""
    count = max(a._count, b._count, mask._count)
    fitted = [x if x.dim == 2 * count else expand(x, 1, count, 2) for x in (as_complex(a), as_complex(b))]
    holds = mask_of(mask.expr)
    holds = holds if holds.dim == 1 else expand(holds, holds.dim, 2, 1)
    return built("where", where, (a, mask, b), (holds, *fitted))


def _equal(f: Expr, g: Expr) -> Expr:
    return logical_and(equal(real(f), real(g)), equal(imaginary(f), imaginary(g)))


def _unequal(f: Expr, g: Expr) -> Expr:
    return logical_not(_equal(f, g))


def _pairs(z: Operators[Array], s: Operators[Array]) -> tuple[Expr, Expr]:
    """A complex and a real vector such that they are multiplied component by component."""
    f, g = z.expr, s._real_expr
    if g.dim > 1:
        f = expand(f, 1, g.dim, 2) if f.dim == 2 else f
        g = expand(g, g.dim, 2, 1)
    return f, g
