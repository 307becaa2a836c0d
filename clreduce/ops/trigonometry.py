"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from math import pi

import numpy as np

from clreduce.ir.expr import Expr
from clreduce.ir.op import COSTLY, INF, NAN, Edge, Op, constant, elementwise
from clreduce.ops.arithmetic import inv, square
from clreduce.ops.bounds.functions import angle, even, monotone, tangent, wave
from clreduce.ops.compare import less, where
from clreduce.ops.functions import absolute, rsqrt, sqrt

# --- angles

sin: Op = elementwise(
    "sin", numpy=np.sin, code="sin_{T}({0})", functions=("sin",), partials=lambda out, x: (cos(x),),
    bounds=wave(pi / 2),
    spelled="Sin", doc="sine",
    edges=(Edge((0,), 0, (1,)), Edge((INF,), NAN, (NAN,))),
)  # fmt: skip
cos: Op = elementwise(
    "cos", bounds=wave(0.0), numpy=np.cos, code="cos_{T}({0})", functions=("cos",), partials=lambda out, x: (-sin(x),),
    spelled="Cos", doc="cosine",
    edges=(Edge((0,), 1, (0,)), Edge((INF,), NAN, (NAN,))),
)  # fmt: skip
tan: Op = elementwise(
    "tan", bounds=tangent, cost=2 * COSTLY, numpy=np.tan, code="sin_{T}({0}) / cos_{T}({0})", functions=("sin", "cos"),
    partials=lambda out, x: (1 + square(out),),
    spelled="Tan", doc="tangent", interval=(-1.2, 1.2),
    edges=(Edge((0,), 0, (1,)), Edge((INF,), NAN, (NAN,))),
)  # fmt: skip
asin: Op = elementwise(
    "asin", bounds=monotone(1, domain=(-1, 1)), numpy=np.arcsin, code="asin_{T}({0})", functions=("asin",),
    partials=lambda out, x: (inv(sqrt((1 - x) * (1 + x))),),
    spelled="Asin", doc="arcsine in [-pi/2, pi/2]; slope inf at -1 and 1, nan beyond", interval=(-0.8, 0.8),
    edges=(Edge((1,), pi / 2, (INF,)), Edge((-1,), -pi / 2, (INF,)), Edge((2,), NAN, (NAN,))),
)  # fmt: skip
acos: Op = elementwise(
    "acos", bounds=monotone(-1, domain=(-1, 1)), numpy=np.arccos, code="acos_{T}({0})", functions=("acos",),
    partials=lambda out, x: (-inv(sqrt((1 - x) * (1 + x))),),
    spelled="Acos", doc="arccosine in [0, pi]; slope -inf at -1 and 1, nan beyond", interval=(-0.8, 0.8),
    edges=(Edge((1,), 0, (-INF,)), Edge((-1,), pi, (-INF,)), Edge((-2,), NAN, (NAN,))),
)  # fmt: skip
atan: Op = elementwise(
    "atan", numpy=np.arctan, code="atan_{T}({0})", functions=("atan",), partials=lambda out, x: (inv(1 + square(x)),),
    bounds=monotone(1),
    spelled="Atan", doc="arctangent in [-pi/2, pi/2]",
    edges=(Edge((0,), 0, (1,)), Edge((INF,), pi / 2, (0,)), Edge((-INF,), -pi / 2, (0,))),
)  # fmt: skip
atan2: Op = elementwise(
    "atan2", bounds=angle, arity=2, numpy=np.arctan2, code="atan2_{T}({0}, {1})", functions=("atan2",),
    partials=lambda out, y, x: (x / (square(x) + square(y)), -(y / (square(x) + square(y)))),
    spelled="Atan2", doc="angle of the point (x, y) = (g, f) in [-pi, pi]; Atan2(0, 0) = 0 with slope nan",
    arguments="f g", interval=(0.5, 2.0),
    edges=(
        Edge((1, 0), pi / 2, (0, -1)), Edge((0, -1), pi, (-1, 0)), Edge((0, 0), 0, (NAN, NAN)),
        Edge((0, 1), 0, (1, 0)),
    ),
)  # fmt: skip

# --- hyperbolic functions

sinh: Op = elementwise(
    "sinh", bounds=monotone(1), cost=2 * COSTLY, numpy=np.sinh, code="sinh_{T}({0})", functions=("sinh",),
    partials=lambda out, x: (cosh(x),),
    spelled="Sinh", doc="hyperbolic sine",
    edges=(Edge((0,), 0, (1,)), Edge((-INF,), -INF, (INF,)), Edge((INF,), INF, (INF,))),
)  # fmt: skip
cosh: Op = elementwise(
    "cosh", bounds=even(), cost=2 * COSTLY, numpy=np.cosh, code="cosh_{T}({0})", functions=("cosh",),
    partials=lambda out, x: (sinh(x),),
    spelled="Cosh", doc="hyperbolic cosine",
    edges=(Edge((0,), 1, (0,)), Edge((-INF,), INF, (-INF,)), Edge((INF,), INF, (INF,))),
)  # fmt: skip
tanh: Op = elementwise(
    "tanh", numpy=np.tanh, code="tanh_{T}({0})", functions=("tanh",), partials=lambda out, x: (1 - square(out),),
    bounds=monotone(1),
    spelled="Tanh", doc="hyperbolic tangent; -1 at -inf, 1 at inf",
    edges=(Edge((0,), 0, (1,)), Edge((-INF,), -1, (0,)), Edge((30,), 1, (0,)), Edge((NAN,), NAN)),
)  # fmt: skip

_FAR = constant(2**28)
"""From here on x^2 + 1 and x^2 - 1 are x^2, in either precision; x^2 overflows later, and has nan for slopes at inf."""


def _asinh_slope(x: Expr) -> Expr:
    size = absolute(x)
    return where(less(size, _FAR), rsqrt(1 + square(x)), inv(size))


def _acosh_slope(x: Expr) -> Expr:
    return where(less(x, _FAR), inv(sqrt(x - 1) * sqrt(x + 1)), inv(x))


asinh: Op = elementwise(
    "asinh", bounds=monotone(1), cost=4 * COSTLY, numpy=np.arcsinh, code="asinh_{T}({0})", functions=("asinh",),
    partials=lambda out, x: (_asinh_slope(x),),
    spelled="Asinh", doc="inverse of Sinh",
    edges=(Edge((0,), 0, (1,)), Edge((-INF,), -INF, (0,)), Edge((INF,), INF, (0,))),
)  # fmt: skip
acosh: Op = elementwise(
    "acosh", cost=4 * COSTLY, numpy=np.arccosh, code="acosh_{T}({0})", functions=("acosh",),
    bounds=monotone(1, domain=(1, INF)),
    partials=lambda out, x: (_acosh_slope(x),),
    spelled="Acosh", doc="inverse of Cosh, from 0 up; slope inf at 1, nan below", interval=(1.2, 3.0),
    edges=(
        Edge((1,), 0, (INF,)), Edge((INF,), INF, (0,)), Edge((0,), NAN, (NAN,)), Edge((-2,), NAN, (NAN,)),
    ),
)  # fmt: skip
atanh: Op = elementwise(
    "atanh", cost=4 * COSTLY, numpy=np.arctanh, code="atanh_{T}({0})", functions=("atanh",),
    bounds=monotone(1, domain=(-1, 1)),
    partials=lambda out, x: (inv((1 - x) * (1 + x)),),
    spelled="Atanh", doc="inverse of Tanh; +-inf with slope inf at +-1, nan beyond", interval=(-0.8, 0.8),
    edges=(Edge((0,), 0, (1,)), Edge((1,), INF, (INF,)), Edge((-1,), -INF, (INF,)), Edge((2,), NAN)),
)  # fmt: skip
