"""Elementwise functions of one argument, each with its value and slope where it is not smooth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from clreduce.ir.op import Array, Op, constant, elementwise
from clreduce.ops.arithmetic import inv
from clreduce.ops.compare import less, negated

_HALF = constant(Fraction(1, 2))

exp: Op = elementwise(
    "exp", numpy=np.exp, code="exp_{T}({0})", functions=("exp",),
    partials=lambda out, x: (out,),
    spelled="Exp", doc="e^f; Exp(-inf) = 0",
)  # fmt: skip
log: Op = elementwise(
    "log", numpy=np.log, code="log_{T}({0})", functions=("log",),
    partials=lambda out, x: (inv(x),),
    spelled="Log", doc="natural logarithm; Log(0) = -inf with slope +inf, nan below 0", interval=(0.5, 2.0),
)  # fmt: skip
sin: Op = elementwise(
    "sin", numpy=np.sin, code="sin_{T}({0})", functions=("sin",), partials=lambda out, x: (cos(x),),
    spelled="Sin", doc="sine",
)  # fmt: skip
cos: Op = elementwise(
    "cos", numpy=np.cos, code="cos_{T}({0})", functions=("cos",), partials=lambda out, x: (-sin(x),),
    spelled="Cos", doc="cosine",
)  # fmt: skip
sqrt: Op = elementwise(
    "sqrt", numpy=np.sqrt, code="sqrt({0})", partials=lambda out, x: (_HALF * rsqrt(x),),
    spelled="Sqrt", doc="square root; slope 0 at 0 (so that norms have no nan), nan below 0", interval=(0.5, 2.0),
)  # fmt: skip


def _rsqrt(x: Array) -> Array:
    return np.where(x == 0, 0.0, 1 / np.sqrt(x))


rsqrt: Op = elementwise(
    "rsqrt", numpy=_rsqrt, code="rsqrt0_{T}({0})", functions=("rsqrt0",),
    partials=lambda out, x: (-_HALF * (out * out * out),),
    spelled="Rsqrt", doc="1 / Sqrt(f), but 0 with slope 0 at 0; nan below 0", interval=(0.5, 2.0),
)  # fmt: skip
absolute: Op = elementwise(
    "abs", cost=1, numpy=np.abs, code="fabs({0})", partials=lambda out, x: (sign(x),),
    spelled="Abs", doc="|f|; slope 0 at 0", interval=(0.5, 2.0),
)  # fmt: skip
sign: Op = elementwise(
    "sign", cost=1, numpy=np.sign, code="{0} > ({R})(0) ? ({R})(1) : ({0} < ({R})(0) ? ({R})(-1) : {0})", partials=None,
    spelled="Sign", doc="-1, 0 or 1; Sign(0) = 0, slope 0 everywhere", interval=(0.5, 2.0),
)  # fmt: skip


def _step(x: Array) -> Array:
    return np.where(x < 0, 0.0, 1.0)


step: Op = elementwise(
    "step", cost=1, numpy=_step, code="{0} < ({R})(0) ? ({R})(0) : ({R})(1)", partials=None,
    spelled="Step", doc="0 for f < 0, else 1 (1 at 0); slope 0 everywhere", interval=(0.5, 2.0),
)  # fmt: skip


def _relu(x: Array) -> Array:
    return np.where(x < 0, 0.0, x)


relu: Op = elementwise(
    "relu", cost=1, numpy=_relu, code="{0} < ({R})(0) ? ({R})(0) : {0}",
    partials=lambda out, x: (negated(less(x, constant(0))),),
    spelled="ReLU", doc="0 for f < 0, else f; slope 1 at 0", interval=(0.5, 2.0),
)  # fmt: skip
