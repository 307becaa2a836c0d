"""Complex numbers as pairs of reals: a vector of n of them is the real vector (re, im, re, im, ...) of length 2n.

All names are compositions: taking parts and putting them together is a matter of which component is read, and the rest
is real arithmetic. So derivatives treat (re, im) as independent reals, and none needs a rule here.
Where two complex vectors meet they are equally long, or one of them is a single number (length 2).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import pi

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, NAN, Array, Edge, Op, constant, elementwise, spell
from clreduce.ops.arithmetic import difference, square
from clreduce.ops.bounds.functions import falling_scale
from clreduce.ops.compare import equal, larger, less, where
from clreduce.ops.functions import absolute, exp, log, rsqrt, sqrt
from clreduce.ops.shape import concat, expand, extract, permute, reduce_sum, repeated, zeros
from clreduce.ops.trigonometry import atan2, cos, sin

_HALF = constant(Fraction(1, 2))


def _count(name: str, *numbers: Expr) -> int:
    """The common number of complex numbers of some vectors; raises `ShapeError` if there is none."""
    for z in numbers:
        if z.dim % 2:
            raise ShapeError(f"{name} needs pairs (re, im), a vector of even length; got length {z.dim}")
    dims = {z.dim for z in numbers} - {2}
    if len(dims) > 1:
        lengths = ", ".join(str(z.dim) for z in numbers)
        raise ShapeError(f"{name} needs complex vectors of equal length (or of length 2); got lengths {lengths}")
    return max(dims, default=2) // 2


def _parts(z: Expr) -> tuple[Expr, Expr]:
    """Real and imaginary parts, each half as long."""
    n = z.dim // 2
    apart = permute(z, (n, 2), (1, 0)) if n > 1 else z
    return extract(apart, 0, n), extract(apart, n, n)


def _joined(re: Expr, im: Expr) -> Expr:
    """The complex vector with these parts, which are equally long."""
    both = concat(re, im)
    return permute(both, (2, re.dim), (1, 0)) if re.dim > 1 else both


def _fitted(z: Expr, n: int) -> Expr:
    """A single complex number repeated, if n are needed."""
    return z if z.dim == 2 * n else expand(z, 1, n, 2)


def from_real(f: Expr) -> Expr:
    """f + 0i."""
    return _joined(f, zeros(f.dim))


def from_imaginary(f: Expr) -> Expr:
    """0 + f i."""
    return _joined(zeros(f.dim), f)


def real(z: Expr) -> Expr:
    _count("ComplexReal", z)
    return _parts(z)[0]


def imaginary(z: Expr) -> Expr:
    _count("ComplexImag", z)
    return _parts(z)[1]


def conjugate(z: Expr) -> Expr:
    _count("Conj", z)
    re, im = _parts(z)
    return _joined(re, -im)


def square_modulus(z: Expr) -> Expr:
    _count("ComplexSquareAbs", z)
    return _square_modulus(z)


def _square_modulus(z: Expr) -> Expr:
    re, im = _parts(z)
    return square(re) + square(im)


def modulus(z: Expr) -> Expr:
    """Its slope at 0 is 0, as that of the square root."""
    _count("ComplexAbs", z)
    return sqrt(_square_modulus(z))


def angle(z: Expr) -> Expr:
    _count("ComplexAngle", z)
    re, im = _parts(z)
    return atan2(im, re)


def total_of(z: Expr) -> Expr:
    """The sum of the complex numbers, length 2."""
    n = _count("ComplexSum", z)
    return z if n == 1 else reduce_sum(z, 1, n, 2)


def repeated_number(z: Expr, m: int) -> Expr:
    """One complex number, repeated to a vector of m reals."""
    if z.dim != 2:
        raise ShapeError(f"ComplexSumT repeats one complex number, a vector of length 2; got length {z.dim}")
    if m < 2 or m % 2:
        raise ShapeError(f"ComplexSumT counts reals, so its second argument must be even and 2 or more; got {m}")
    return _fitted(z, m // 2)


def add_complex(z: Expr, w: Expr) -> Expr:
    n = _count("ComplexAdd", z, w)
    return _fitted(z, n) + _fitted(w, n)


def subtract_complex(z: Expr, w: Expr) -> Expr:
    n = _count("ComplexSubtract", z, w)
    return _fitted(z, n) - _fitted(w, n)


def multiply(z: Expr, w: Expr) -> Expr:
    _count("ComplexMult", z, w)
    return _product(z, w)


def _product(z: Expr, w: Expr) -> Expr:
    (a, b), (c, d) = _parts(z), _parts(w)
    return _joined(difference(a * c, b * d), a * d + b * c)


def scale(f: Expr, g: Expr) -> Expr:
    """A real number times a complex vector, in either order."""
    s, z = (g, f) if g.dim == 1 else (f, g)
    if s.dim != 1:
        raise ShapeError(f"ComplexRealScal needs a real of length 1 and a complex vector; got lengths {f.dim}, {g.dim}")
    _count("ComplexRealScal", z)
    return s * z


# --- quotients


def _reciprocal_scale(x: Array) -> Array:
    info = np.finfo(x.dtype)
    size = np.abs(x)
    _, exponent = np.frexp(np.where(np.isfinite(size) & (size > 0), size, info.smallest_subnormal))
    scale = np.ldexp(np.ones_like(size), np.clip(1 - exponent, info.minexp, info.maxexp - 1))
    result: Array = np.where(np.isfinite(size), scale, info.tiny)
    return result


reciprocal_scale: Op = elementwise(
    "reciprocal_scale", bounds=falling_scale, cost=3, numpy=_reciprocal_scale, code="reciprocal_scale_{T}({0})",
    functions=("reciprocal_scale",), partials=None,
)  # fmt: skip
"""A power of two that brings f into [1, 2), where one does. Its slope counts as 0: see `_scale`."""


def _scale(re: Expr, im: Expr) -> Expr:
    """A power of two that brings complex numbers near 1, so that their squares neither over- nor underflow.

    What is computed with it does not depend on it, so derivatives may take it for a constant.
    """
    return reciprocal_scale(larger(absolute(re), absolute(im)))


def _scaled_down(w: Expr) -> tuple[Expr, Expr, Expr]:
    """(c, d, q) such that (c - d i) q is 1 / w, c and d near 1."""
    re, im = _parts(w)
    s = _scale(re, im)
    c, d = s * re, s * im
    return c, d, s / (square(c) + square(d))


def divide(z: Expr, w: Expr) -> Expr:
    """z * conj(w) / |w|^2, w first scaled by a power of two."""
    _count("ComplexDivide", z, w)
    (a, b), (c, d, q) = _parts(z), _scaled_down(w)
    return _joined((a * c + b * d) * q, difference(b * c, a * d) * q)


def inverse(w: Expr) -> Expr:
    _count("ComplexInv", w)
    return _inverse(w)


def _inverse(w: Expr) -> Expr:
    c, d, q = _scaled_down(w)
    return _joined(c * q, -(d * q))


# --- functions


def exponential(z: Expr) -> Expr:
    _count("ComplexExp", z)
    re, im = _parts(z)
    size = exp(re)
    return _joined(size * cos(im), size * sin(im))


def unit(f: Expr) -> Expr:
    """e^(i f) of a real vector."""
    return _joined(cos(f), sin(f))


def logarithm(z: Expr) -> Expr:
    _count("ComplexLog", z)
    re, im = _parts(z)
    return _joined(_HALF * log(square(re) + square(im)), atan2(im, re))


def square_root(z: Expr) -> Expr:
    """The root with a real part of 0 or more; on the cut, the negative real axis, it is the one above."""
    _count("ComplexSqrt", z)
    re, im = _parts(z)
    s = _scale(re, im)
    c, d = s * re, s * im
    left, below = less(re, constant(0)), less(im, constant(0))
    # t is the larger part of the scaled number's root, and the other one has the size |d| / 2t.
    t = sqrt(_HALF * (sqrt(square(c) + square(d)) + where(left, -c, c)))
    other = where(equal(t, constant(0)), constant(0), d / (2 * t))
    size = rsqrt(s)
    return _joined(size * where(left, where(below, -other, other), t), size * where(left, where(below, -t, t), other))


def integer_power(z: Expr, n: int) -> Expr:
    """z^n by repeated squaring; z^0 = 1."""
    count = _count("ComplexPow", z)
    if n == 0:
        return _joined(repeated(constant(1), count), zeros(count))
    base = _inverse(z) if n < 0 else z
    result: Expr | None = None
    for bit in bin(abs(n))[2:]:
        result = None if result is None else _product(result, result)
        if bit == "1":
            result = base if result is None else _product(result, base)
    assert result is not None
    return result


def _spell(name: str, build: Callable[..., Expr], doc: str, arguments: str = "z", parameters: str = "",
           example: tuple[int, ...] = (6,), edges: tuple[Edge, ...] = ()) -> None:  # fmt: skip
    spell(name, build, doc, arguments, parameters, example=example, interval=(0.5, 2.0), edges=edges)


_ZERO = (0.0, 0.0)

_spell("Real2Complex", from_real, "f + 0i", "f", example=(3,))
_spell("Imag2Complex", from_imaginary, "0 + f i", "f", example=(3,))
_spell("ComplexReal", real, "real parts of the complex numbers (re, im, re, im, ...)")
_spell("ComplexImag", imaginary, "imaginary parts")
_spell("Conj", conjugate, "complex conjugate")
_spell("ComplexAbs", modulus, "modulus |z|; slope 0 at 0", edges=(
    Edge((_ZERO,), 0.0, (_ZERO,)), Edge(((INF, 1.0),), INF), Edge(((NAN, 1.0),), NAN)))  # fmt: skip
_spell("ComplexSquareAbs", square_modulus, "|z|^2", edges=(Edge((_ZERO,), 0.0, (_ZERO,)),))
_spell("ComplexAngle", angle, "Atan2(im, re), the argument in [-pi, pi]; 0 with slope nan at 0", edges=(
    Edge((_ZERO,), 0.0, ((NAN, NAN),)), Edge(((0.0, 2.0),), pi / 2, ((-0.5, 0.0),)),
    Edge(((-2.0, 0.0),), pi, ((0.0, -0.5),)), Edge(((-2.0, -0.0),), -pi)))  # fmt: skip
_spell("ComplexSum", total_of, "sum of the complex numbers")
_spell("ComplexSumT", repeated_number, "one complex number repeated to a vector of m reals", "z", "m", (2, 6))
_spell("ComplexAdd", add_complex, "z + w for complex vectors, equally long or one of length 2", "z w", example=(6, 2))
_spell("ComplexSubtract", subtract_complex, "z - w for complex vectors", "z w", example=(2, 6))
_spell("ComplexMult", multiply, "z w for complex vectors", "z w", example=(6, 6))
_spell("ComplexDivide", divide, "z / w for complex vectors; z / 0 is nan", "z w", example=(6, 2), edges=(
    Edge(((1.0, 2.0), _ZERO), (NAN, NAN), ((NAN, NAN), (NAN, NAN))),
    Edge(((1.0, 2.0), (INF, 0.0)), (NAN, NAN))))  # fmt: skip
_spell("ComplexRealScal", scale, "a real number times a complex vector, in either order", "s z", example=(1, 6))
_spell("ComplexInv", inverse, "1 / z; nan at 0", edges=(Edge((_ZERO,), (NAN, NAN), ((NAN, NAN),)),))
_spell("ComplexExp", exponential, "e^z; 0 for a real part of -inf, if the imaginary part is finite", edges=(
    Edge((_ZERO,), (1.0, 0.0), ((1.0, 1.0),)), Edge(((-INF, 3.0),), _ZERO, (_ZERO,)),
    Edge(((-INF, INF),), (NAN, NAN))))  # fmt: skip
_spell("ComplexExp1j", unit, "e^(i f) = Cos(f) + Sin(f) i", "f", example=(3,))
_spell("ComplexLog", logarithm, "principal logarithm, Log|z| + ComplexAngle(z) i; cut at the negative reals", edges=(
    Edge((_ZERO,), (-INF, 0.0)), Edge(((-1.0, 0.0),), (0.0, pi)), Edge(((-1.0, -0.0),), (0.0, -pi))))  # fmt: skip
_spell("ComplexSqrt", square_root, "root with real part 0 or more; cut at the negative reals, slope 0 at 0", edges=(
    Edge((_ZERO,), _ZERO, (_ZERO,)), Edge(((-4.0, 0.0),), (0.0, 2.0)), Edge(((0.0, -2.0),), (1.0, -1.0))))  # fmt: skip
_spell("ComplexPow", integer_power, "z^n for an integer n of any sign; z^0 = 1", "z", "n", (6, 3))
