"""Sums, products, quotients and powers of components; the two arguments are equally long or one has length 1."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import COSTLY, INF, NAN, Array, Edge, Op, as_expr, constant, constant_value, elementwise, spell
from clreduce.ops.bounds.arithmetic import (
    difference_of_two,
    negation,
    power_of_integer,
    power_of_real,
    product_of_two,
    quotient,
    squared,
    sum_of_two,
)
from clreduce.ops.bounds.functions import falling_beside_a_pole, monotone
from clreduce.ops.compare import equal, logical_and, logical_or, where

add: Op = elementwise(
    "add", bounds=sum_of_two, cost=1, arity=2, numpy=np.add, code="{0} + {1}",
    partials=lambda out, a, b: (constant(1), constant(1)),
    spelled="Add", doc="f + g", arguments="f g",
    edges=(Edge((1, 2), 3, (1, 1)), Edge((INF, -INF), NAN, (1, 1)), Edge((NAN, 0), NAN, (1, 1))),
)  # fmt: skip
sub: Op = elementwise(
    "sub", bounds=difference_of_two, cost=1, arity=2, numpy=np.subtract, code="{0} - {1}",
    partials=lambda out, a, b: (constant(1), constant(-1)),
    spelled="Subtract", doc="f - g", arguments="f g",
    edges=(Edge((1, 2), -1, (1, -1)), Edge((INF, INF), NAN, (1, -1)), Edge((0, NAN), NAN, (1, -1))),
)  # fmt: skip
difference: Op = elementwise(
    "difference", bounds=difference_of_two, cost=1, arity=2, numpy=np.subtract, code="{0} - {1}",
    partials=lambda out, a, b: (constant(1), constant(-1)),
)  # fmt: skip
"""a - b where a product a must be rounded first, so that a - a is 0: kernels contract it into no FMA."""
neg: Op = elementwise(
    "neg", bounds=negation, cost=1, numpy=np.negative, code="-{0}",
    partials=lambda out, a: (constant(-1),),
    spelled="Minus", doc="-f",
    edges=(Edge((0,), 0, (-1,)), Edge((INF,), -INF, (-1,)), Edge((NAN,), NAN, (-1,))),
)  # fmt: skip
mul: Op = elementwise(
    "mul", bounds=product_of_two, cost=1, arity=2, numpy=np.multiply, code="{0} * {1}",
    partials=lambda out, a, b: (b, a),
    spelled="Mult", doc="f * g, component by component", arguments="f g",
    edges=(Edge((0, 3), 0, (3, 0)), Edge((INF, 0), NAN, (0, INF))),
)  # fmt: skip
div: Op = elementwise(
    "div", bounds=quotient, arity=2, numpy=np.divide, code="{0} / {1}",
    partials=lambda out, a, b: (inv(b), -(out / b)),
    spelled="Divide", doc="f / g; x/0 is +-inf and 0/0 is nan", arguments="f g", interval=(0.5, 2.0),
    edges=(Edge((1, 0), INF, (INF, -INF)), Edge((-1, 0), -INF), Edge((0, 0), NAN), Edge((1, INF), 0, (0, 0))),
)  # fmt: skip
inv: Op = elementwise(
    "inv", bounds=falling_beside_a_pole(2.5), numpy=np.reciprocal, code="({R})(1) / {0}",
    partials=lambda out, a: (-square(out),),
    spelled="Inv", doc="1 / f; 1/0 is inf", interval=(0.5, 2.0),
    edges=(Edge((0,), INF, (-INF,)), Edge((INF,), 0, (0,))),
)  # fmt: skip
square: Op = elementwise(
    "square", bounds=squared, cost=1, numpy=np.square, code="{0} * {0}",
    partials=lambda out, a: (2 * a,), never_negative=True,
    spelled="Square", doc="f squared",
    edges=(Edge((0,), 0, (0,)), Edge((-INF,), INF, (-INF,))),
)  # fmt: skip

_MULTIPLIED_OUT = 64
"""Powers up to this exponent are computed as products."""


def product_text(exponent: int, factor: str = "{0}") -> str:
    """x^n by repeated squaring, as nested products of a text ``factor``; the compiler shares what is equal."""
    if exponent == 0:
        return "({R})(1)"
    if exponent < 0:
        return f"({{R}})(1) / ({product_text(-exponent, factor)})"
    if exponent == 1:
        return factor
    half = product_text(exponent // 2, factor)
    return f"({half}) * ({half})" + (f" * {factor}" if exponent % 2 else "")


def _power_numpy(value: Array, exponent: int) -> Array:
    return np.power(value, float(exponent))


def _power_partials(out: Expr, base: Expr, exponent: int) -> tuple[Expr | None]:
    return (None,) if exponent == 0 else (exponent * power(base, exponent - 1),)


_integer_power: Op = elementwise(
    "integer_power", bounds=power_of_integer, numpy=_power_numpy, code=product_text, partials=_power_partials,
)  # fmt: skip


def power(base: Expr, exponent: int) -> Expr:
    """base^exponent for an integer exponent of any sign; x^0 = 1 (at 0 too), 0^-1 = inf."""
    if exponent == 1:
        return base
    if abs(exponent) > _MULTIPLIED_OUT:
        return real_power(base, exponent)
    return square(base) if exponent == 2 else _integer_power(base, exponent)


spell("Pow", power, "f^n for an integer n of any sign; f^0 = 1 (at 0 too), 0^-1 = inf", "f", "n",
      interval=(0.5, 2.0), example=(3, 3),
      edges=(
          Edge((0, 0), 1, (0,)), Edge((NAN, 0), 1, (0,)), Edge((0, 1), 0, (1,)), Edge((0, 2), 0, (0,)),
          Edge((0, 3), 0, (0,)), Edge((-INF, 3), -INF, (INF,)), Edge((NAN, 3), NAN, (NAN,)),
          Edge((0, -1), INF, (-INF,)), Edge((0, -2), INF, (-INF,)), Edge((INF, -2), 0, (0,)), Edge((-1, 65), -1, (65,)),
          Edge((0, 65), 0, (0,)), Edge((0, -66), INF, (-INF,)),
      ))  # fmt: skip


_FLAT = ("square", "abs", "sqrt", "reduce_sum", "expand", "add", "mul", "div")
"""The operations through which `flat_zero` looks."""


def flat_zero(f: Expr) -> Expr | None:
    """The formula whose zeros are zeros of f with all its slopes: f itself if it is a sum of squares; else None.

    At such zeros, a chain rule is 0 times a value that may be infinite: `SqDist(x, y)**0.75` has slope 0 if the points
    coincide.
    """
    if f.op.name not in _FLAT:
        return None
    zeros_of: dict[Expr, Expr | None] = {}
    for node in topological([f]):
        zeros_of[node] = _flat_zero(node, [zeros_of[arg] for arg in node.args])
    return zeros_of[f]


def _flat_zero(f: Expr, of_args: Sequence[Expr | None]) -> Expr | None:
    """`flat_zero` of f, given those of its arguments."""
    name = f.op.name
    if name in ("square", "abs"):
        return f
    if name in ("sqrt", "reduce_sum", "expand", "add"):
        return None if None in of_args else f
    if name in ("mul", "div"):
        zeros = [zero for zero in of_args[: 2 if name == "mul" else 1] if zero is not None]
        return zeros[0] if len(zeros) == 1 and zeros[0].dim == f.dim else None
    return None


def unless_flat(base: Expr, slope: Expr) -> Expr:
    """A slope in ``base``, or 0 if ``base`` is a sum of squares that is 0."""
    zero = flat_zero(base)
    return slope if zero is None else where(equal(zero, constant(0)), constant(0), slope)


def _real_power_partials(out: Expr, base: Expr, exponent: Expr) -> tuple[Expr, Expr]:
    from clreduce.ops.functions import log

    zero = constant(0)
    in_base = exponent * real_power(base, exponent - 1)
    in_base = unless_flat(base, where(equal(exponent, zero), zero, in_base))
    # Where out is 0 the slope in the exponent is 0; Log(0) * 0 would make it nan.
    flat = logical_or(equal(out, zero), logical_and(equal(base, zero), equal(exponent, zero)))
    return in_base, where(flat, zero, log(base) * out)


real_power: Op = elementwise(
    "real_power", arity=2, cost=4 * COSTLY, numpy=np.power, code="pow_{T}({0}, {1})", functions=("pow",),
    bounds=power_of_real,
    partials=_real_power_partials,
    spelled="Powf", doc="f^g for a real exponent; nan for a negative base and a fractional exponent; f^0 = 1 also for "
    "f = 0 and nan, with slope 0 in f. Slope 0 in f where f is a sum of squares that is 0, as in SqDist(x, y)**0.75",
    arguments="f g", interval=(0.5, 2.0),
    edges=(
        Edge((0, 2.5), 0, (0, 0)), Edge((0, 0), 1, (0, 0)), Edge((NAN, 0), 1, (0, NAN)),
        Edge((-1, 2.5), NAN, (NAN, NAN)), Edge((4, 0.5), 2, (0.25, None)), Edge((0, 0.5), 0, (INF, 0)),
        Edge((0, -1), INF, (-INF, -INF)), Edge((INF, 2), INF, (INF, INF)), Edge((INF, -2), 0, (0, 0)),
        Edge((INF, 0), 1, (0, INF)), Edge((-INF, 3), -INF, (INF, NAN)), Edge((1, NAN), 1, (NAN, 0)),
    ),
)  # fmt: skip


def _inverse_root_numpy(value: Array) -> Array:
    return np.asarray(1 / np.sqrt(value + value.dtype.type(0)))  # also of -0, whose root is -0


inverse_root: Op = elementwise(
    "inverse_root", numpy=_inverse_root_numpy, code="({R})(1) / sqrt({0} + ({R})(0))", never_negative=True,
    bounds=monotone(-1, domain=(0, INF), ulps=6),
    partials=lambda out, x: (unless_flat(x, constant(Fraction(-1, 2)) * (out * out * out)),),
)  # fmt: skip
"""1 / Sqrt(f), inf with slope -inf at 0: what `f ** -0.5` is."""


def raised(base: Expr | int | float | Fraction, exponent: Expr | int | float | Fraction) -> Expr:
    """base ** exponent as written in a formula: the cheapest form that gives the same number."""
    from clreduce.ops.functions import sqrt

    base, exponent = as_expr(base), as_expr(exponent)
    value = constant_value(exponent)
    if value is not None and value == 0.5:
        return sqrt(base)
    if value is not None and value == -0.5:
        return inverse_root(base)
    if isinstance(value, Fraction) and value.denominator == 1:
        return power(base, int(value))
    return real_power(base, exponent)
