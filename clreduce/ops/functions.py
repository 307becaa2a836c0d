"""Elementwise functions, most of one argument, each with its value and slope where it is not smooth."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from clreduce.ir.expr import Expr
from clreduce.ir.op import COSTLY, INF, NAN, Array, Edge, Op, constant, elementwise
from clreduce.ops.arithmetic import inv, unless_flat
from clreduce.ops.bounds.arithmetic import difference_of_two
from clreduce.ops.bounds.choices import (
    choice_by_sign,
    choice_by_zero,
    clamp_between,
    maximum_of_two,
    rounding,
    step_function,
)
from clreduce.ops.bounds.functions import EXPONENT_ULPS, log_of_sum, magnitude, monotone, reciprocal_root, valley
from clreduce.ops.compare import equal, less, less_equal, logical_and, logical_not, logical_or

_HALF = constant(Fraction(1, 2))
_LN2, _LN10 = math.log(2), math.log(10)
# --- exponentials and logarithms

exp: Op = elementwise(
    "exp", bounds=monotone(1, ulps=EXPONENT_ULPS), numpy=np.exp, code="exp_{T}({0})", functions=("exp",),
    partials=lambda out, x: (out,), never_negative=True, if_never_positive="exp_never_above_1",
    spelled="Exp", doc="e^f; Exp(-inf) = 0",
    edges=(Edge((-INF,), 0, (0,)), Edge((0,), 1, (1,)), Edge((INF,), INF, (INF,)), Edge((NAN,), NAN, (NAN,))),
)  # fmt: skip
elementwise(
    "exp_never_above_1", numpy=np.exp, code="exp_never_above_1_{T}({0})", functions=("exp_never_above_1",),
    bounds=monotone(1, ulps=EXPONENT_ULPS),
    partials=lambda out, x: (out,), never_negative=True,
)  # fmt: skip
exp2: Op = elementwise(
    "exp2", numpy=np.exp2, code="exp2_{T}({0})", functions=("exp2",), partials=lambda out, x: (_LN2 * out,),
    bounds=monotone(1),
    spelled="Exp2", doc="2^f; Exp2(-inf) = 0",
    edges=(Edge((0,), 1, (_LN2,)), Edge((10,), 1024), Edge((-INF,), 0, (0,)), Edge((INF,), INF, (INF,))),
)  # fmt: skip
expm1: Op = elementwise(
    "expm1", numpy=np.expm1, code="expm1_{T}({0})", functions=("expm1",), partials=lambda out, x: (exp(x),),
    bounds=monotone(1),
    spelled="Expm1", doc="e^f - 1 without cancellation near 0; Expm1(-inf) = -1",
    edges=(Edge((0,), 0, (1,)), Edge((-INF,), -1, (0,)), Edge((1e-30,), 1e-30, (1,))),
)  # fmt: skip
log: Op = elementwise(
    "log", bounds=monotone(1, domain=(0, INF)), numpy=np.log, code="log_{T}({0})", functions=("log",),
    partials=lambda out, x: (inv(x),),
    spelled="Log", doc="natural logarithm; Log(0) = -inf with slope +inf, nan below 0", interval=(0.5, 2.0),
    edges=(Edge((0,), -INF, (INF,)), Edge((1,), 0, (1,)), Edge((INF,), INF, (0,)), Edge((-1,), NAN)),
)  # fmt: skip
log2: Op = elementwise(
    "log2", numpy=np.log2, code="log2_{T}({0})", functions=("log2",), partials=lambda out, x: (1 / _LN2 * inv(x),),
    bounds=monotone(1, domain=(0, INF)),
    spelled="Log2", doc="logarithm to base 2; Log2(0) = -inf with slope +inf, nan below 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), -INF, (INF,)), Edge((1,), 0, (1 / _LN2,)), Edge((8,), 3), Edge((INF,), INF, (0,)),
        Edge((-1,), NAN),
    ),
)  # fmt: skip
log10: Op = elementwise(
    "log10", numpy=np.log10, code="log10_{T}({0})", functions=("log10",), partials=lambda out, x: (1 / _LN10 * inv(x),),
    bounds=monotone(1, domain=(0, INF)),
    spelled="Log10", doc="logarithm to base 10; Log10(0) = -inf with slope +inf, nan below 0", interval=(0.5, 2.0),
    edges=(Edge((0,), -INF, (INF,)), Edge((1,), 0, (1 / _LN10,)), Edge((INF,), INF, (0,)), Edge((-1,), NAN)),
)  # fmt: skip
log1p: Op = elementwise(
    "log1p", numpy=np.log1p, code="log1p_{T}({0})", functions=("log1p",), partials=lambda out, x: (inv(1 + x),),
    bounds=monotone(1, domain=(-1, INF)),
    spelled="Log1p", doc="Log(1 + f) without cancellation near 0; Log1p(-1) = -inf, nan below -1", interval=(-0.5, 2.0),
    edges=(
        Edge((0,), 0, (1,)), Edge((-1,), -INF, (INF,)), Edge((-2,), NAN), Edge((1e-30,), 1e-30, (1,)),
    ),
)  # fmt: skip


def _xlogx(x: Array) -> Array:
    return np.where(x == 0, 0.0, x * np.log(x))


xlogx: Op = elementwise(
    "xlogx", numpy=_xlogx, code="{0} == ({R})(0) ? ({R})(0) : {0} * log_{T}({0})", functions=("log",),
    bounds=valley(1 / math.e, -1 / math.e, nan_below_0=True),
    partials=lambda out, x: (unless_flat(x, log(x) + 1),),
    spelled="XLogX", doc="f * Log(f); 0 with slope -inf at 0 (0 for a sum of squares), nan below 0",
    interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (-INF,)), Edge((1,), 0, (1,)), Edge((INF,), INF, (INF,)), Edge((-1,), NAN, (NAN,)),
    ),
)  # fmt: skip


def _gap(x: Array, y: Array) -> Array:
    return np.where(x == y, 0.0, x - y)


_gap_between: Op = elementwise(
    "gap", bounds=difference_of_two, arity=2, cost=2, numpy=_gap, code="{0} == {1} ? ({R})(0) : {0} - {1}",
    partials=lambda out, x, y: (constant(1), constant(-1)),
)  # fmt: skip
"""x - y, and 0 also between equal infinities."""
logaddexp: Op = elementwise(
    "logaddexp", arity=2, cost=4 * COSTLY, numpy=np.logaddexp, code="logaddexp_{T}({0}, {1})", functions=("logaddexp",),
    bounds=log_of_sum,
    partials=lambda out, x, y: (sigmoid(_gap_between(x, y)), sigmoid(_gap_between(y, x))),
    spelled="Logaddexp", doc="Log(Exp(f) + Exp(g)) without overflow; slopes 1/2 where f = g, at infinities too",
    edges=(
        Edge((0, 0), _LN2, (0.5, 0.5)), Edge((-INF, 1), 1, (0, 1)), Edge((1, -INF), 1, (1, 0)),
        Edge((-INF, -INF), -INF, (0.5, 0.5)), Edge((INF, INF), INF, (0.5, 0.5)), Edge((INF, 0), INF, (1, 0)),
        Edge((INF, -INF), INF, (1, 0)), Edge((NAN, INF), NAN, (NAN, NAN)),
    ),
)  # fmt: skip


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.zeros((), x.dtype))


softplus: Op = elementwise(
    "softplus", bounds=monotone(1), cost=4 * COSTLY, numpy=_softplus, code="softplus_{T}({0})", functions=("softplus",),
    partials=lambda out, x: (sigmoid(x),),
    spelled="Softplus", doc="Log(1 + Exp(f)) without overflow; 0 at -inf, slope Sigmoid(f)",
    edges=(Edge((0,), _LN2, (0.5,)), Edge((-INF,), 0, (0,)), Edge((INF,), INF, (1,)), Edge((NAN,), NAN, (NAN,))),
)  # fmt: skip


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


sigmoid: Op = elementwise(
    "sigmoid", numpy=_sigmoid, code="({R})(1) / (({R})(1) + exp_{T}(-{0}))", functions=("exp",),
    bounds=monotone(1, ulps=EXPONENT_ULPS),
    partials=lambda out, x: (out * (1 - out),),
    spelled="Sigmoid", doc="1 / (1 + e^-f); 0 at -inf, 1 at inf",
    edges=(Edge((0,), 0.5, (0.25,)), Edge((-INF,), 0, (0,)), Edge((INF,), 1, (0,))),
)  # fmt: skip

# --- roots
sqrt: Op = elementwise(
    "sqrt", numpy=np.sqrt, code="sqrt({0})", partials=lambda out, x: (_HALF * rsqrt(x),),
    bounds=monotone(1, domain=(0, INF)),
    spelled="Sqrt", doc="square root; slope 0 at 0 (so that norms have no nan), nan below 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (0,)), Edge((INF,), INF, (0,)), Edge((-1,), NAN, (NAN,)), Edge((NAN,), NAN, (NAN,)),
    ),
)  # fmt: skip


def _rsqrt(x: Array) -> Array:
    return np.where(x == 0, 0.0, 1 / np.sqrt(x))


rsqrt: Op = elementwise(
    "rsqrt", bounds=reciprocal_root, numpy=_rsqrt, code="rsqrt0_{T}({0})", functions=("rsqrt0",),
    partials=lambda out, x: (-_HALF * (out * out * out),),
    spelled="Rsqrt", doc="1 / Sqrt(f), but 0 with slope 0 at 0 (f ** -0.5 is inf there); nan below 0",
    interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (0,)), Edge((-0.0,), 0, (0,)), Edge((INF,), 0, (0,)), Edge((-1,), NAN, (NAN,)),
        Edge((NAN,), NAN, (NAN,)),
    ),
)  # fmt: skip

# --- piecewise linear

absolute: Op = elementwise(
    "abs", cost=1, numpy=np.abs, code="abs_{T}({0})", functions=("abs",), partials=lambda out, x: (sign(x),),
    bounds=magnitude,
    never_negative=True,
    spelled="Abs", doc="|f|; slope 0 at 0", interval=(0.5, 2.0),
    edges=(Edge((0,), 0, (0,)), Edge((-INF,), INF, (-1,)), Edge((NAN,), NAN, (NAN,))),
)  # fmt: skip
sign: Op = elementwise(
    "sign", cost=1, numpy=np.sign, code="{0} > ({R})(0) ? ({R})(1) : ({0} < ({R})(0) ? ({R})(-1) : {0})", partials=None,
    bounds=monotone(1, ulps=0),
    spelled="Sign", doc="-1, 0 or 1; Sign(0) = 0, slope 0 everywhere", interval=(0.5, 2.0),
    edges=(Edge((0,), 0, (0,)), Edge((-INF,), -1, (0,)), Edge((NAN,), NAN, (0,))),
)  # fmt: skip


def _step(x: Array) -> Array:
    return np.where(x < 0, 0.0, 1.0)


step: Op = elementwise(
    "step", bounds=step_function, cost=1, numpy=_step, code="{0} < ({R})(0) ? ({R})(0) : ({R})(1)", partials=None,
    spelled="Step", doc="0 for f < 0, else 1 (1 at 0); slope 0 everywhere", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 1, (0,)), Edge((-0.0,), 1, (0,)), Edge((-1e-30,), 0, (0,)), Edge((-INF,), 0, (0,)),
        Edge((INF,), 1, (0,)),
    ),
)  # fmt: skip


def _relu(x: Array) -> Array:
    return np.where(x < 0, 0.0, x)


relu: Op = elementwise(
    "relu", bounds=monotone(1, ulps=0), cost=1, numpy=_relu, code="{0} < ({R})(0) ? ({R})(0) : {0}",
    partials=lambda out, x: (logical_not(less(x, constant(0))),),
    spelled="ReLU", doc="0 for f < 0, else f; slope 1 at 0", interval=(0.5, 2.0),
    edges=(
        Edge((0,), 0, (1,)), Edge((-1e-30,), 0, (0,)), Edge((-INF,), 0, (0,)), Edge((INF,), INF, (1,)),
        Edge((NAN,), NAN),
    ),
)  # fmt: skip


def _clamp(x: Array, low: Array, high: Array) -> Array:
    return np.where(x < low, low, np.where(high < x, high, x))


clamp: Op = elementwise(
    "clamp", bounds=clamp_between, arity=3, cost=2, numpy=_clamp, code="{0} < {1} ? {1} : ({2} < {0} ? {2} : {0})",
    partials=lambda out, x, low, high: (
        logical_and(logical_not(less(x, low)), logical_not(less(high, x))),
        less(x, low),
        logical_and(logical_not(less(x, low)), less(high, x)),
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
    "if_else", bounds=choice_by_sign, arity=3, cost=1, numpy=_if_else, code="{0} >= ({R})(0) ? {1} : {2}",
    partials=lambda out, f, a, b: (None, less_equal(constant(0), f), logical_not(less_equal(constant(0), f))),
    spelled="IfElse", doc="a where f >= 0, else b; b where f is nan", arguments="f a b",
    edges=(
        Edge((0, 1, 2), 1, (0, 1, 0)), Edge((-1, NAN, 3), 3, (0, 0, 1)), Edge((NAN, 1, 2), 2, (0, 0, 1)),
        Edge((-0.0, 1, INF), 1, (0, 1, 0)),
    ),
)  # fmt: skip


def _choose_nonzero(condition: Array, yes: Array, no: Array) -> Array:
    return np.where(condition != 0, yes, no)


choose_nonzero: Op = elementwise(
    "choose_nonzero", bounds=choice_by_zero, arity=3, cost=1, numpy=_choose_nonzero, code="{0} != ({R})(0) ? {1} : {2}",
    partials=lambda out, c, a, b: (None, logical_not(equal(c, constant(0))), equal(c, constant(0))),
    spelled="Where", doc="a where c is not 0, else b; a where c is nan, slope 0 in c", arguments="c a b",
    edges=(
        Edge((0, NAN, 3), 3, (0, 0, 1)), Edge((-0.0, 2, 3), 3, (0, 0, 1)), Edge((-1, 2, INF), 2, (0, 1, 0)),
        Edge((NAN, 2, 3), 2, (0, 1, 0)),
    ),
)  # fmt: skip
minimum: Op = elementwise(
    "minimum", arity=2, cost=2, numpy=np.minimum, code="(({0} <= {1}) | ({0} != {0})) ? {0} : {1}",
    bounds=maximum_of_two(False, -1),
    partials=lambda out, f, g: _taken(logical_or(less_equal(f, g), logical_not(equal(f, f)))),
    spelled="Minimum", doc="the smaller of f and g; nan if either is, a tie counts as f",
    edges=(
        Edge((1, 1), 1, (1, 0)), Edge((-INF, INF), -INF, (1, 0)), Edge((INF, -INF), -INF, (0, 1)),
        Edge((NAN, 1), NAN, (1, 0)), Edge((1, NAN), NAN, (0, 1)),
    ),
)  # fmt: skip
maximum: Op = elementwise(
    "maximum", arity=2, cost=2, numpy=np.maximum, code="(({0} >= {1}) | ({0} != {0})) ? {0} : {1}",
    bounds=maximum_of_two(False, 1),
    partials=lambda out, f, g: _taken(logical_or(less_equal(g, f), logical_not(equal(f, f)))),
    spelled="Maximum", doc="the larger of f and g; nan if either is, a tie counts as f",
    edges=(
        Edge((1, 1), 1, (1, 0)), Edge((-INF, INF), INF, (0, 1)), Edge((INF, -INF), INF, (1, 0)),
        Edge((NAN, 1), NAN, (1, 0)), Edge((1, NAN), NAN, (0, 1)),
    ),
)  # fmt: skip


def _taken(first: Expr) -> tuple[Expr, Expr]:
    return first, logical_not(first)


# --- rounding

floor: Op = elementwise(
    "floor", cost=4, numpy=np.floor, code="floor_{T}({0})", functions=("floor",), partials=None,
    bounds=monotone(1, ulps=0),
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
    "round", bounds=rounding, numpy=_round_numpy, code=_round_code, functions=("abs", "round"), partials=None,
    spelled="Round", doc="f rounded to d decimals (d < 0: to tens and so on); halves away from 0, slope 0 everywhere",
    parameters="d", example=(3, 1),
    edges=(
        Edge((2.5, 0), 3, (0,)), Edge((-2.5, 0), -3, (0,)), Edge((0.49999999999999994, 0), 0, (0,)),
        Edge((-35.555, 2), -35.56, (0,)), Edge((NAN, 2), NAN, (0,)), Edge((1e308, 2), 1e308, (0,)),
        Edge((15, -1), 20, (0,)), Edge((25, -1), 30, (0,)), Edge((-35.555, -1), -40, (0,)), Edge((0.1, 400), 0.1, (0,)),
        Edge((0.1, -400), 0, (0,)),
    ),
)  # fmt: skip
