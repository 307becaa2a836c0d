"""Complex tensors: what is different where components are complex numbers, kept as pairs of reals."""

from __future__ import annotations

from typing import Any

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS
from clreduce.lazy.operators import Build, Operators, built, mask_of, not_complex
from clreduce.ops.compare import equal, logical_and, logical_not, where
from clreduce.ops.complex import imaginary, real
from clreduce.ops.shape import expand

_ARITHMETIC = {"+": "ComplexAdd", "-": "ComplexSubtract", "*": "ComplexMult", "/": "ComplexDivide"}


class ComplexMethods(Operators):
    """A `LazyTensor` of complex numbers; reductions give complex arrays.

    `LazyTensor` makes one of complex data. What has no meaning for complex numbers raises one error.
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

    def __neg__(self) -> Any:
        return self._record(-self.expr, is_complex=True)

    def __pow__(self, exponent: Any) -> Any:
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
        """The angles, in [-pi, pi]."""
        return self._of("ComplexAngle", False)

    def conj(self) -> Any:
        """The complex conjugates."""
        return self._of("Conj", True)

    def abs(self) -> Any:
        """The absolute values; their slope at 0 is 0."""
        return self._of("ComplexAbs", False)

    def exp(self) -> Any:
        """The exponential."""
        return self._of("ComplexExp", True)

    def log(self) -> Any:
        """The logarithm, its imaginary part in [-pi, pi]."""
        return self._of("ComplexLog", True)

    def sqrt(self) -> Any:
        """The square root, its real part 0 or more."""
        return self._of("ComplexSqrt", True)

    def inv(self) -> Any:
        """1 / z."""
        return self._of("ComplexInv", True)

    def square(self) -> Any:
        """z * z."""
        return self._of("ComplexPow", True, 2)

    def sqnorm2(self) -> Any:
        """The sum of the squared absolute values."""
        return self._of("ComplexSquareAbs", False)._over_vectors("Sum")

    def norm2(self) -> Any:
        """The Euclidean norm of each vector."""
        return self.sqnorm2().sqrt()

    def sqdist(self, other: Any) -> Any:
        """The squared distance to ``other``."""
        return (self - other).sqnorm2()

    def where(self, condition: Any, other: Any = 0) -> Any:
        """This where ``condition`` is not 0, else ``other``."""
        mask, x = self._beside(condition)._mask(), self._beside(other)
        return self._record(choice(self, mask, x), mask, x, is_complex=True)

    def real2complex(self) -> Any:
        raise ShapeError("real2complex takes real numbers; these are complex")

    def imag2complex(self) -> Any:
        raise ShapeError("imag2complex takes real numbers; these are complex")

    def exp1j(self) -> Any:
        raise ShapeError("exp1j takes real numbers; these are complex: write (1j * z).exp()")

    def _over_vectors(self, name: str) -> Any:
        if name == "Sum":
            return self._of("ComplexSum", True, vectors=False)
        if name == "Mean":
            return self._over_vectors("Sum") / self._count
        raise ShapeError(f"{name} is not defined for complex numbers; reduce .real, .imag or abs() of them")


def as_complex(x: Any) -> Expr:
    """The formula of a tensor as complex numbers."""
    expr: Expr = x.expr if x.is_complex else FUNCTIONS["Real2Complex"].build(x._real_expr)
    return expr


def choice(a: Any, mask: Any, b: Any) -> Expr:
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


def _pairs(z: Any, s: Any) -> tuple[Expr, Expr]:
    """A complex and a real vector such that they are multiplied component by component."""
    f, g = z.expr, s._real_expr
    if g.dim > 1:
        f = expand(f, 1, g.dim, 2) if f.dim == 2 else f
        g = expand(g, g.dim, 2, 1)
    return f, g
