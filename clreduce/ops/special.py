"""Sin(x) / x, the error function, the logarithm of the gamma function, and the functions in their derivatives.

These derivatives are families of functions with a parameter n, so that they exist in any order without cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import prod

import numpy as np

from clreduce.ir.bounds import Bounds
from clreduce.ir.expr import Expr
from clreduce.ir.op import COSTLY, INF, NAN, Array, Edge, Op, elementwise
from clreduce.ops.arithmetic import product_text
from clreduce.ops.bounds.functions import even, monotone, positive_only, valley, within


def _number(value: int) -> str:
    """An integer of any size as OpenCL text: a float literal would be a double one."""
    high, low = divmod(abs(value), 10**18)
    text = f"({{R}})({low}L)" if not high else f"({_number(high)} * ({{R}})({10**18}L) + ({{R}})({low}L))"
    return text if value >= 0 else f"(-{text})"


def _polynomial(coefficients: list[int], variable: str) -> str:
    """c0 + v * (c1 + v * (...)) as OpenCL text, coefficients from c0 up."""
    *rest, last = coefficients
    text = _number(last)
    for c in reversed(rest):
        text = f"{_number(c)} + {variable} * ({text})"
    return text


def _by_math(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of Python's ``math`` on arrays."""
    of_each = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(of_each(x), x.dtype)


# --- sin(x) / x

# sin(x) / x is the first of the functions g_n(x) = j_n(x) / x^n, j_n the spherical Bessel functions. They are even and
# smooth, and g_n' = -x g_(n+1): derivatives of any order without the cancellation of (cos(x) - sin(x) / x) / x near 0.
# Below |x| = n + 1 each is a power series, beyond it sin and cos with factors that are polynomials in 1 / x^2.


@cache
def _series_divisors(n: int) -> list[int]:
    """g_n(x) = (1 - u/d_1 (1 - u/d_2 (...))) / (1 * 3 * ... * (2n + 1)), u = x^2: d_k, as many as float64 needs."""
    divisors: list[int] = []
    term = 1.0
    while term > 2.0**-60:
        k = len(divisors) + 1
        divisors.append(2 * k * (2 * n + 2 * k + 1))
        term *= (n + 1) ** 2 / divisors[-1]
    return divisors


@cache
def _far_coefficients(n: int) -> tuple[list[int], list[int]]:
    """g_n(x) = a(w) sin(x)/x + b(w) cos(x), w = 1 / x^2: the coefficients of a and b, from w^0 up.

    By g_(k+1) = w ((2k + 1) g_k - g_(k-1)), from g_0 = sin(x)/x and g_(-1) = cos(x).
    """
    before, now = ([0], [1]), ([1], [0])
    for k in range(n):
        after = []
        for p, q in zip(now, before, strict=True):
            q = [*q, *[0] * (len(p) - len(q))]
            after.append([0, *((2 * k + 1) * pk - qk for pk, qk in zip(p, q, strict=True))])
        before, now = now, (after[0], after[1])
    return now


def _bessel_code(n: int) -> str:
    u, one = "({0} * {0})", "({R})(1)"
    near = one
    for divisor in reversed(_series_divisors(n)):
        near = f"{one} - {u} * ({one} / ({{R}})({divisor})) * ({near})"
    first = prod(range(1, 2 * n + 2, 2))
    a, b = (_polynomial(c, f"({one} / {u})") for c in _far_coefficients(n))
    far = f"({a}) * (sin_{{T}}({{0}}) / {{0}})" + (f" + ({b}) * cos_{{T}}({{0}})" if n else "")
    return f"{u} < ({{R}})({(n + 1) ** 2}) ? ({near}) * ({one} / {_number(first)}) : {far}"


def _bessel_numpy(x: Array, n: int = 0) -> Array:
    u = x * x
    near = np.ones_like(u)
    for divisor in reversed(_series_divisors(n)):
        near = 1 - u / divisor * near
    a, b = (np.polynomial.polynomial.polyval(1 / u, c) for c in _far_coefficients(n))
    far = a * (np.sin(x) / x) + (b * np.cos(x) if n else 0)
    return np.where(u < (n + 1) ** 2, near / prod(range(1, 2 * n + 2, 2)), far).astype(x.dtype)


def _bounds_of_bessel(node: Expr, x: Bounds, n: int) -> Bounds:
    """The value at 0 is the largest one; by how much more rounding may be off where series and sines meet is small."""
    most = 1.01 / prod(range(1, 2 * n + 2, 2))
    return within(-most, most, nan_at_infinity=True)(node, x)


bessel_ratio: Op = elementwise(
    "bessel_ratio", bounds=_bounds_of_bessel, numpy=_bessel_numpy, code=_bessel_code, functions=("sin", "cos"),
    partials=lambda out, x, n: (-(x * bessel_ratio(x, n + 1)),),
)  # fmt: skip
"""j_n(x) / x^n for a parameter n; the derivatives of sin(x) / x consist of these functions."""
sinxdivx: Op = elementwise(
    "sinxdivx", numpy=_bessel_numpy, code=_bessel_code(0), functions=("sin",),
    bounds=within(-0.2173, 1, nan_at_infinity=True),
    partials=lambda out, x: (-(x * bessel_ratio(x, 1)),),
    spelled="SinXDivX", doc="Sin(f) / f; 1 with slope 0 at 0, nan at -inf and inf",
    edges=(Edge((0,), 1, (0,)), Edge((INF,), NAN, (NAN,)), Edge((-INF,), NAN, (NAN,))),
)  # fmt: skip

# --- the error function


@cache
def _gaussian_polynomial(n: int) -> list[int]:
    """p in (d/dx)^n e^(-x^2) = p(x) e^(-x^2), from x^0 up."""
    p = [1]
    for _ in range(n):
        slope = [k * c for k, c in enumerate(p)][1:]
        p = [a - 2 * b for a, b in zip([*slope, 0, 0], [0, *p], strict=False)]
    return p


def _gaussian_code(n: int) -> str:
    gauss = "gauss_{T}({0})"
    p = _polynomial(_gaussian_polynomial(n), "{0}")
    return f"{gauss} == ({{R}})(0) ? ({{R}})(0) : ({p}) * {gauss}" if n else gauss


def _gaussian_numpy(x: Array, n: int) -> Array:
    gauss = np.exp(-x * x)
    p = np.polynomial.polynomial.polyval(x, _gaussian_polynomial(n))
    return np.where(gauss == 0, 0.0, p * gauss).astype(x.dtype)


def _bounds_of_gaussian(node: Expr, x: Bounds, n: int) -> Bounds:
    """Cramer's bound of Hermite polynomials for n > 0. NumPy rounds x^2 once, which e^(-x^2) has up to 373 times."""
    if n == 0:
        return even(-1, ulps=400.0)(node, x, n)
    most = 1.1 * math.sqrt(2.0**n * math.factorial(n))
    return within(-most, most)(node, x)


gaussian_derivative: Op = elementwise(
    "gaussian_derivative", bounds=_bounds_of_gaussian, numpy=_gaussian_numpy, code=_gaussian_code, functions=("gauss",),
    partials=lambda out, x, n: (gaussian_derivative(x, n + 1),),
)  # fmt: skip
"""The n-th derivative of e^(-x^2) for a parameter n: 0 at both infinities."""
_SLOPE_AT_0 = 2 / math.sqrt(math.pi)
erf: Op = elementwise(
    "erf", bounds=monotone(1), cost=6 * COSTLY, numpy=_by_math(math.erf), code="erf_{T}({0})", functions=("erf",),
    partials=lambda out, x: (_SLOPE_AT_0 * gaussian_derivative(x, 0),),
    spelled="Erf", doc="error function, 2 / Sqrt(pi) times the integral of e^-t^2 from 0 to f; -1 at -inf, 1 at inf",
    edges=(Edge((0,), 0, (_SLOPE_AT_0,)), Edge((-INF,), -1, (0,)), Edge((INF,), 1, (0,)), Edge((NAN,), NAN)),
)  # fmt: skip
erfc: Op = elementwise(
    "erfc", bounds=monotone(-1), cost=6 * COSTLY, numpy=_by_math(math.erfc), code="erfc_{T}({0})", functions=("erfc",),
    partials=lambda out, x: (-_SLOPE_AT_0 * gaussian_derivative(x, 0),),
    spelled="Erfc", doc="1 - Erf(f) without cancellation; 2 at -inf, 0 at inf",
    edges=(Edge((0,), 1, (-_SLOPE_AT_0,)), Edge((-INF,), 2, (0,)), Edge((INF,), 0, (0,))),
)  # fmt: skip

# --- the gamma function

_BERNOULLI = tuple(
    Fraction(*ratio)
    for ratio in ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510), (43867, 798))
)
"""The numbers B_2, B_4 ... B_18."""
_EULER = 0.5772156649015329


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (OverflowError, ValueError):  # too large; a pole
        return INF


lgamma: Op = elementwise(
    "lgamma", cost=10 * COSTLY, numpy=_by_math(_lgamma), code="lgamma_{T}({0})", functions=("lgamma",),
    bounds=valley(1.4616321449683622, -0.12148629053584961, absolute_error=True),
    partials=lambda out, x: (digamma(x),),
    spelled="Lgamma", doc="log|Gamma(f)|; inf at 0, at negative integers and at both infinities", interval=(0.5, 2.0),
    edges=(
        Edge((1,), 0, (-_EULER,)), Edge((2,), 0, (1 - _EULER,)), Edge((0,), INF, (-INF,)), Edge((-1,), INF, (NAN,)),
        Edge((INF,), INF, (INF,)), Edge((-INF,), INF, (NAN,)), Edge((NAN,), NAN, (NAN,)),
    ),
)  # fmt: skip


@cache
def _zeta_series(n: int) -> tuple[int, list[Fraction]]:
    """The computation of the sum over k >= 0 of 1 / (y + k)^(n + 1): a number of terms, and then a series in 1 / z with
    z = y + terms.

    The series is that of Euler and Maclaurin, z^-n (1 / n + v (1/2 + v (c_1 + c_2 v^2 + ...))) with v = 1 / z and the
    c_k that are given. Its first term that is left out is below 2^-56 of it. For n = 0 the sum is infinite: with
    -log z instead of 1 / n one has what is finite of it, -digamma(y).
    """
    c = [b * Fraction(math.factorial(2 * k + n - 1), math.factorial(2 * k) * math.factorial(n))
         for k, b in enumerate(_BERNOULLI, 1)]  # fmt: skip
    terms = math.ceil((float(abs(c[-1])) * max(n, 1) * 2.0**56) ** (1 / (2 * len(c))))
    return terms, c[:-1]


@cache
def _cotangent_polynomial(n: int) -> dict[tuple[int, int], int]:
    """(-1)^n times the n-th derivative of c = pi cot(pi x): coefficients of c^i e^k, e = c^2 + pi^2; they are positive.

    They follow from c' = -e and e' = -2 e c.
    """
    p = {(1, 0): 1}
    for _ in range(n):
        slope: dict[tuple[int, int], int] = {}
        for (i, k), factor in p.items():
            if i:
                slope[i - 1, k + 1] = slope.get((i - 1, k + 1), 0) + i * factor
            if k:
                slope[i + 1, k] = slope.get((i + 1, k), 0) + 2 * k * factor
        p = slope
    return p


def _polygamma_code(n: int) -> str:
    y = "({0} < ({R})(0) ? ({R})(1) - {0} : {0})"
    count, series = _zeta_series(n)
    z = f"({y} + {_number(count)})"
    v = f"(({{R}})(1) / {z})"
    tail = ""
    for factor in reversed(series):
        ratio = f"{_number(factor.numerator)} / {_number(factor.denominator)}"
        tail = f"{ratio} + {v} * {v} * ({tail})" if tail else ratio
    tail = f"({{R}})(1) / {_number(n)} + {v} * (({{R}})(1) / ({{R}})(2) + {v} * ({tail}))"
    terms = [f"({{R}})(1) / ({product_text(n + 1, f'({y} + {_number(k)})')})" for k in range(count)]
    zeta = f"{_number(math.factorial(n))} * ({' + '.join(terms)} + ({product_text(n, v)}) * ({tail}))"
    c, e = "pi_cot_{T}({0})", "pi_csc_{T}({0}) * pi_csc_{T}({0})"
    mirror = " + ".join(
        " * ".join([_number(times), *[c] * i, *[e] * k]) for (i, k), times in _cotangent_polynomial(n).items()
    )
    sign = "" if n % 2 else "-"
    return f"{{0}} < ({{R}})(0) ? {sign}({mirror}) - {zeta} : {sign}({zeta})"


def _polygamma_numpy(x: Array, n: int) -> Array:
    """For n = 0 also the digamma function."""
    x64 = x.astype(np.float64)
    y = np.where(x64 < 0, 1 - x64, x64)
    count, series = _zeta_series(n)
    z = y + count
    tail = np.polynomial.polynomial.polyval(1 / z**2, [float(c) for c in series])
    tail = (1 / n if n else -np.log(z)) + (0.5 + tail / z) / z
    zeta = math.factorial(n) * (sum((y + k) ** -(n + 1.0) for k in range(count)) + z ** -float(n) * tail)
    angle = np.pi * (x64 - np.round(x64))
    c, e = np.pi / np.tan(angle), (np.pi / np.sin(angle)) ** 2
    mirror = sum(factor * c**i * e**k for (i, k), factor in _cotangent_polynomial(n).items())
    sign = 1 if n % 2 else -1
    return np.asarray(np.where(x64 < 0, sign * mirror - zeta, sign * zeta), x.dtype)


def _digamma_numpy(x: Array) -> Array:
    at_pole = np.where(x == 0, -np.copysign(np.inf, x), np.nan)
    return np.where((x <= 0) & (x == np.floor(x)), at_pole, _polygamma_numpy(x, 0)).astype(x.dtype)


def _bounds_of_polygamma(node: Expr, x: Bounds, n: int) -> Bounds:
    """Above 0 it grows for even n and falls for odd n; its error is about n ulp."""
    return positive_only(monotone(-1 if n % 2 else 1, ulps=n + 8.0))(node, x, n)


polygamma: Op = elementwise(
    "polygamma", cost=20 * COSTLY, numpy=_polygamma_numpy, code=_polygamma_code, functions=("pi_cot", "pi_csc"),
    bounds=_bounds_of_polygamma,
    partials=lambda out, x, n: (polygamma(x, n + 1),),
)  # fmt: skip
"""The n-th derivative of the digamma function for a parameter n >= 1.

(-1)^(n + 1) inf at 0 and at negative integers, 0 at inf. Above 0 the error is about n ulp; below 0 it is that of the
pole nearest, n! / |x - round(x)|^(n + 1), as poles cancel between each other.
"""
digamma: Op = elementwise(
    "digamma", cost=6 * COSTLY, numpy=_digamma_numpy, code="digamma_{T}({0})", functions=("digamma",),
    bounds=positive_only(monotone(1, ulps=8), ulps=8),
    partials=lambda out, x: (polygamma(x, 1),),
    spelled="Digamma", doc="derivative of Lgamma; -inf at 0, inf at -0, nan at negative integers and at -inf",
    interval=(0.5, 2.0),
    edges=(
        Edge((1,), -_EULER, (math.pi**2 / 6,)), Edge((0,), -INF, (INF,)), Edge((INF,), INF, (0,)),
        Edge((-1,), NAN, (INF,)), Edge((-INF,), NAN, (NAN,)), Edge((NAN,), NAN, (NAN,)),
    ),
)  # fmt: skip
