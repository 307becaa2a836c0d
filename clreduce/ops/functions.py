"""Elementwise functions, most of one argument, each with its value and slope where it is not smooth."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import pi, prod

import numpy as np

from clreduce.ir.op import COSTLY, INF, NAN, Array, Edge, Op, constant, elementwise
from clreduce.ops.arithmetic import inv, square
from clreduce.ops.compare import both, less, less_equal, negated

_HALF = constant(Fraction(1, 2))

exp: Op = elementwise(
    "exp", numpy=np.exp, code="exp_{T}({0})", functions=("exp",),
    partials=lambda out, x: (out,),
    spelled="Exp", doc="e^f; Exp(-inf) = 0",
    edges=(Edge((-INF,), 0, (0,)), Edge((0,), 1, (1,)), Edge((INF,), INF, (INF,)), Edge((NAN,), NAN, (NAN,))),
)  # fmt: skip
expm1: Op = elementwise(
    "expm1", numpy=np.expm1, code="expm1_{T}({0})", functions=("expm1",), partials=lambda out, x: (exp(x),),
    spelled="Expm1", doc="e^f - 1 without cancellation near 0; Expm1(-inf) = -1",
    edges=(Edge((0,), 0, (1,)), Edge((-INF,), -1, (0,)), Edge((1e-30,), 1e-30, (1,))),
)  # fmt: skip
log: Op = elementwise(
    "log", numpy=np.log, code="log_{T}({0})", functions=("log",),
    partials=lambda out, x: (inv(x),),
    spelled="Log", doc="natural logarithm; Log(0) = -inf with slope +inf, nan below 0", interval=(0.5, 2.0),
    edges=(Edge((0,), -INF, (INF,)), Edge((1,), 0, (1,)), Edge((INF,), INF, (0,)), Edge((-1,), NAN)),
)  # fmt: skip
log1p: Op = elementwise(
    "log1p", numpy=np.log1p, code="log1p_{T}({0})", functions=("log1p",), partials=lambda out, x: (inv(1 + x),),
    spelled="Log1p", doc="Log(1 + f) without cancellation near 0; Log1p(-1) = -inf, nan below -1", interval=(-0.5, 2.0),
    edges=(
        Edge((0,), 0, (1,)), Edge((-1,), -INF, (INF,)), Edge((-2,), NAN), Edge((1e-30,), 1e-30, (1,)),
    ),
)  # fmt: skip


def _xlogx(x: Array) -> Array:
    return np.where(x == 0, 0.0, x * np.log(x))


xlogx: Op = elementwise(
    "xlogx", numpy=_xlogx, code="{0} == ({R})(0) ? ({R})(0) : {0} * log_{T}({0})", functions=("log",),
    partials=lambda out, x: (log(x) + 1,),
    spelled="XLogX", doc="f * Log(f); 0 with slope -inf at 0, nan below 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (-INF,)), Edge((1,), 0, (1,)), Edge((INF,), INF, (INF,)), Edge((-1,), NAN, (NAN,)),
    ),
)  # fmt: skip
sqrt: Op = elementwise(
    "sqrt", numpy=np.sqrt, code="sqrt({0})", partials=lambda out, x: (_HALF * rsqrt(x),),
    spelled="Sqrt", doc="square root; slope 0 at 0 (so that norms have no nan), nan below 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (0,)), Edge((INF,), INF, (0,)), Edge((-1,), NAN, (NAN,)), Edge((NAN,), NAN, (NAN,)),
    ),
)  # fmt: skip


def _rsqrt(x: Array) -> Array:
    return np.where(x == 0, 0.0, 1 / np.sqrt(x))


rsqrt: Op = elementwise(
    "rsqrt", numpy=_rsqrt, code="rsqrt0_{T}({0})", functions=("rsqrt0",),
    partials=lambda out, x: (-_HALF * (out * out * out),),
    spelled="Rsqrt", doc="1 / Sqrt(f), but 0 with slope 0 at 0; nan below 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (0,)), Edge((-0.0,), 0, (0,)), Edge((INF,), 0, (0,)), Edge((-1,), NAN, (NAN,)),
        Edge((NAN,), NAN, (NAN,)),
    ),
)  # fmt: skip
absolute: Op = elementwise(
    "abs", cost=1, numpy=np.abs, code="abs_{T}({0})", functions=("abs",), partials=lambda out, x: (sign(x),),
    spelled="Abs", doc="|f|; slope 0 at 0", interval=(0.5, 2.0),
    edges=(Edge((0,), 0, (0,)), Edge((-INF,), INF, (-1,)), Edge((NAN,), NAN, (NAN,))),
)  # fmt: skip
sign: Op = elementwise(
    "sign", cost=1, numpy=np.sign, code="{0} > ({R})(0) ? ({R})(1) : ({0} < ({R})(0) ? ({R})(-1) : {0})", partials=None,
    spelled="Sign", doc="-1, 0 or 1; Sign(0) = 0, slope 0 everywhere", interval=(0.5, 2.0),
    edges=(Edge((0,), 0, (0,)), Edge((-INF,), -1, (0,)), Edge((NAN,), NAN, (0,))),
)  # fmt: skip


def _step(x: Array) -> Array:
    return np.where(x < 0, 0.0, 1.0)


step: Op = elementwise(
    "step", cost=1, numpy=_step, code="{0} < ({R})(0) ? ({R})(0) : ({R})(1)", partials=None,
    spelled="Step", doc="0 for f < 0, else 1 (1 at 0); slope 0 everywhere", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 1, (0,)), Edge((-0.0,), 1, (0,)), Edge((-1e-30,), 0, (0,)), Edge((-INF,), 0, (0,)),
        Edge((INF,), 1, (0,)),
    ),
)  # fmt: skip


def _relu(x: Array) -> Array:
    return np.where(x < 0, 0.0, x)


relu: Op = elementwise(
    "relu", cost=1, numpy=_relu, code="{0} < ({R})(0) ? ({R})(0) : {0}",
    partials=lambda out, x: (negated(less(x, constant(0))),),
    spelled="ReLU", doc="0 for f < 0, else f; slope 1 at 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (1,)), Edge((-1e-30,), 0, (0,)), Edge((-INF,), 0, (0,)), Edge((INF,), INF, (1,)),
        Edge((NAN,), NAN),
    ),
)  # fmt: skip

# --- bounded growth

tanh: Op = elementwise(
    "tanh", numpy=np.tanh, code="tanh_{T}({0})", functions=("tanh",), partials=lambda out, x: (1 - square(out),),
    spelled="Tanh", doc="hyperbolic tangent; -1 at -inf, 1 at inf",
    edges=(Edge((0,), 0, (1,)), Edge((-INF,), -1, (0,)), Edge((30,), 1, (0,)), Edge((NAN,), NAN)),
)  # fmt: skip


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


sigmoid: Op = elementwise(
    "sigmoid", numpy=_sigmoid, code="({R})(1) / (({R})(1) + exp_{T}(-{0}))", functions=("exp",),
    partials=lambda out, x: (out * (1 - out),),
    spelled="Sigmoid", doc="1 / (1 + e^-f); 0 at -inf, 1 at inf",
    edges=(Edge((0,), 0.5, (0.25,)), Edge((-INF,), 0, (0,)), Edge((INF,), 1, (0,))),
)  # fmt: skip

# --- choices


def _clamp(x: Array, low: Array, high: Array) -> Array:
    return np.where(x < low, low, np.where(high < x, high, x))


clamp: Op = elementwise(
    "clamp", arity=3, cost=2, numpy=_clamp, code="{0} < {1} ? {1} : ({2} < {0} ? {2} : {0})",
    partials=lambda out, x, low, high: (
        both(negated(less(x, low)), negated(less(high, x))), less(x, low), both(negated(less(x, low)), less(high, x))
    ),
    spelled="Clamp", doc="a where f < a, b where f > b, else f; slope 1 in f at both ends", arguments="f a b",
    edges=(
        Edge((1, 1, 2), 1, (1, 0, 0)), Edge((2, 1, 2), 2, (1, 0, 0)), Edge((3, 1, 2), 2, (0, 0, 1)),
        Edge((-INF, 1, 2), 1, (0, 1, 0)), Edge((NAN, 1, 2), NAN, (1, 0, 0)), Edge((1, 1, 1), 1, (1, 0, 0)),
    ),
)  # fmt: skip


def _if_else(condition: Array, yes: Array, no: Array) -> Array:
    return np.where(condition >= 0, yes, no)


if_else: Op = elementwise(
    "if_else", arity=3, cost=1, numpy=_if_else, code="{0} >= ({R})(0) ? {1} : {2}",
    partials=lambda out, f, a, b: (None, less_equal(constant(0), f), negated(less_equal(constant(0), f))),
    spelled="IfElse", doc="a where f >= 0, else b; b where f is nan", arguments="f a b",
    edges=(
        Edge((0, 1, 2), 1, (0, 1, 0)), Edge((-1, NAN, 3), 3, (0, 0, 1)), Edge((NAN, 1, 2), 2, (0, 0, 1)),
        Edge((-0.0, 1, INF), 1, (0, 1, 0)),
    ),
)  # fmt: skip

# --- rounding

floor: Op = elementwise(
    "floor", cost=4, numpy=np.floor, code="floor_{T}({0})", functions=("floor",), partials=None,
    spelled="Floor", doc="the largest integer up to f; slope 0 everywhere",
    edges=(Edge((-0.5,), -1, (0,)), Edge((2,), 2, (0,)), Edge((INF,), INF, (0,)), Edge((NAN,), NAN, (0,))),
)  # fmt: skip

_DIGITS = 400
"""Beyond any floating-point number: as good as infinitely many."""


def _round_code(digits: int) -> str:
    # Written as products of integers: a float literal would be a double one, and 10^400 is none.
    blocks, rest = divmod(min(abs(digits), _DIGITS), 18)
    scale = " * ".join(["({R})(1000000000000000000L)"] * blocks + [f"({{R}})({10**rest}L)"])
    if digits < 0:
        units = f"round_{{T}}({{0}} / ({scale}))"
        return f"{units} == ({{R}})(0) ? ({{R}})(0) : {units} * ({scale})"
    scaled = f"{{0}} * ({scale})"
    return f"abs_{{T}}({scaled}) < ({{R}})(INFINITY) ? round_{{T}}({scaled}) / ({scale}) : {{0}}"


def _round_numpy(x: Array, digits: int) -> Array:
    scale = np.power(np.asarray(10, x.dtype), min(abs(digits), _DIGITS), dtype=x.dtype)
    scaled = x / scale if digits < 0 else x * scale
    whole = np.trunc(scaled)
    whole = np.where(np.abs(scaled - whole) >= 0.5, whole + np.sign(scaled), whole)
    if digits < 0:
        return np.where(whole == 0, 0.0, whole * scale)
    return np.where(np.abs(scaled) < np.inf, whole / scale, x)


rounded: Op = elementwise(
    "round", numpy=_round_numpy, code=_round_code, functions=("abs", "round"), partials=None,
    spelled="Round", doc="f rounded to d decimals (d < 0: to tens and so on); halves away from 0, slope 0 everywhere",
    parameters="d", example=(3, 1),
    edges=(
        Edge((2.5, 0), 3, (0,)), Edge((-2.5, 0), -3, (0,)), Edge((0.49999999999999994, 0), 0, (0,)),
        Edge((-35.555, 2), -35.56, (0,)), Edge((NAN, 2), NAN, (0,)), Edge((1e308, 2), 1e308, (0,)),
        Edge((15, -1), 20, (0,)), Edge((25, -1), 30, (0,)), Edge((-35.555, -1), -40, (0,)), Edge((0.1, 400), 0.1, (0,)),
        Edge((0.1, -400), 0, (0,)),
    ),
)  # fmt: skip

# --- angles

sin: Op = elementwise(
    "sin", numpy=np.sin, code="sin_{T}({0})", functions=("sin",), partials=lambda out, x: (cos(x),),
    spelled="Sin", doc="sine",
    edges=(Edge((0,), 0, (1,)), Edge((INF,), NAN, (NAN,))),
)  # fmt: skip
cos: Op = elementwise(
    "cos", numpy=np.cos, code="cos_{T}({0})", functions=("cos",), partials=lambda out, x: (-sin(x),),
    spelled="Cos", doc="cosine",
    edges=(Edge((0,), 1, (0,)), Edge((INF,), NAN, (NAN,))),
)  # fmt: skip
tan: Op = elementwise(
    "tan", cost=2 * COSTLY, numpy=np.tan, code="sin_{T}({0}) / cos_{T}({0})", functions=("sin", "cos"),
    partials=lambda out, x: (1 + square(out),),
    spelled="Tan", doc="tangent", interval=(-1.2, 1.2),
    edges=(Edge((0,), 0, (1,)), Edge((INF,), NAN, (NAN,))),
)  # fmt: skip
asin: Op = elementwise(
    "asin", numpy=np.arcsin, code="asin_{T}({0})", functions=("asin",),
    partials=lambda out, x: (inv(sqrt((1 - x) * (1 + x))),),
    spelled="Asin", doc="arcsine in [-pi/2, pi/2]; slope inf at -1 and 1, nan beyond", interval=(-0.8, 0.8),
    edges=(Edge((1,), pi / 2, (INF,)), Edge((-1,), -pi / 2, (INF,)), Edge((2,), NAN, (NAN,))),
)  # fmt: skip
acos: Op = elementwise(
    "acos", numpy=np.arccos, code="acos_{T}({0})", functions=("acos",),
    partials=lambda out, x: (-inv(sqrt((1 - x) * (1 + x))),),
    spelled="Acos", doc="arccosine in [0, pi]; slope -inf at -1 and 1, nan beyond", interval=(-0.8, 0.8),
    edges=(Edge((1,), 0, (-INF,)), Edge((-1,), pi, (-INF,)), Edge((-2,), NAN, (NAN,))),
)  # fmt: skip
atan: Op = elementwise(
    "atan", numpy=np.arctan, code="atan_{T}({0})", functions=("atan",), partials=lambda out, x: (inv(1 + square(x)),),
    spelled="Atan", doc="arctangent in [-pi/2, pi/2]",
    edges=(Edge((0,), 0, (1,)), Edge((INF,), pi / 2, (0,)), Edge((-INF,), -pi / 2, (0,))),
)  # fmt: skip
atan2: Op = elementwise(
    "atan2", arity=2, numpy=np.arctan2, code="atan2_{T}({0}, {1})", functions=("atan2",),
    partials=lambda out, y, x: (x / (square(x) + square(y)), -(y / (square(x) + square(y)))),
    spelled="Atan2", doc="angle of the point (x, y) = (g, f) in [-pi, pi]; Atan2(0, 0) = 0 with slope nan",
    arguments="f g", interval=(0.5, 2.0),
    edges=(
        Edge((1, 0), pi / 2, (0, -1)), Edge((0, -1), pi, (-1, 0)), Edge((0, 0), 0, (NAN, NAN)),
        Edge((0, 1), 0, (1, 0)),
    ),
)  # fmt: skip

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
    return f"{u} < ({{R}})({(n + 1) ** 2}) ? ({near}) * ({one} / ({{R}})({first}L)) : {far}"


def _polynomial(coefficients: list[int], variable: str) -> str:
    text = "({R})(0)"
    for c in reversed(coefficients):
        text = f"({{R}})({c}L)" if text == "({R})(0)" else f"({{R}})({c}L) + {variable} * ({text})"
    return text


def _bessel_numpy(x: Array, n: int = 0) -> Array:
    u = x * x
    near = np.ones_like(u)
    for divisor in reversed(_series_divisors(n)):
        near = 1 - u / divisor * near
    a, b = (np.polynomial.polynomial.polyval(1 / u, c) for c in _far_coefficients(n))
    far = a * (np.sin(x) / x) + (b * np.cos(x) if n else 0)
    return np.where(u < (n + 1) ** 2, near / prod(range(1, 2 * n + 2, 2)), far).astype(x.dtype)


bessel_ratio: Op = elementwise(
    "bessel_ratio", numpy=_bessel_numpy, code=_bessel_code, functions=("sin", "cos"),
    partials=lambda out, x, n: (-(x * bessel_ratio(x, n + 1)),),
)  # fmt: skip
"""j_n(x) / x^n for a parameter n: what the derivatives of sin(x) / x are made of."""
sinxdivx: Op = elementwise(
    "sinxdivx", numpy=_bessel_numpy, code=_bessel_code(0), functions=("sin",),
    partials=lambda out, x: (-(x * bessel_ratio(x, 1)),),
    spelled="SinXDivX", doc="Sin(f) / f; 1 with slope 0 at 0, nan at -inf and inf",
    edges=(Edge((0,), 1, (0,)), Edge((INF,), NAN, (NAN,)), Edge((-INF,), NAN, (NAN,))),
)  # fmt: skip
