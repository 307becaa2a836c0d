"""Vectors that are not coordinates: one-hot vectors, values of splines, sequences in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import COSTLY, INF, NAN, Array, Edge, Op, constant, elementwise, iota, spell
from clreduce.ops.arithmetic import square
from clreduce.ops.bounds.functions import soft_minimum
from clreduce.ops.compare import equal, less, less_equal, logical_and, where
from clreduce.ops.derived import truth
from clreduce.ops.functions import clamp, exp, floor
from clreduce.ops.scan import scanned
from clreduce.ops.shape import concat, element, extract


def _scalar(name: str, label: str, f: Expr) -> None:
    if f.dim != 1:
        raise ShapeError(f"{name}: {label} must have length 1; got length {f.dim}")


def one_hot(f: Expr, n: int) -> Expr:
    """n zeros, but 1 at the place nearest to f."""
    _scalar("OneHot", "f", f)
    if n < 1:
        raise ShapeError(f"OneHot: the length of the vector must be 1 or more; got {n}")
    return truth(equal(iota(n), floor(f + 0.5)))


def _ratio(a: Expr, b: Expr) -> Expr:
    """a / b, but 0 where b is 0."""
    empty = equal(b, constant(0))
    return where(empty, constant(0), a / where(empty, constant(1), b))


def b_spline(knots: Expr, x: Expr, k: int) -> Expr:
    """Values at x of the B-splines of degree k, by the recursion of Cox and de Boor."""
    _scalar("BSpline", "x", x)
    if k < 0 or knots.dim < k + 2:
        raise ShapeError(f"BSpline of degree k={k} needs k >= 0 and k + 2 knots or more; got length {knots.dim}")
    n = knots.dim - 1
    starts, ends = extract(knots, 0, n), extract(knots, 1, n)
    values = truth(logical_and(less_equal(starts, x), less(x, ends)))
    # Beyond the knots all values are 0, and stay so: 0 * inf would be nan.
    inside = clamp(x, element(knots, 0), element(knots, n))
    for degree in range(1, k + 1):
        n -= 1
        starts, ends = extract(knots, 0, n), extract(knots, degree + 1, n)
        rising = _ratio(inside - starts, extract(knots, degree, n) - starts)
        falling = _ratio(ends - inside, ends - extract(knots, 1, n))
        values = rising * extract(values, 0, n) + falling * extract(values, 1, n)
    return values


def _soft_min(a: Array, b: Array, c: Array, gamma: Array) -> Array:
    least = np.minimum(np.minimum(a, b), c)
    safe = np.where(np.abs(least) < np.inf, least, 0)
    smooth = safe - gamma * np.log(sum(np.exp((safe - term) / gamma) for term in (a, b, c)))
    return np.where(np.abs(least) < np.inf, smooth, a + b + c)


def _soft_min_partials(out: Expr, a: Expr, b: Expr, c: Expr, gamma: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    exponents = [(out - term) / gamma for term in (a, b, c)]
    u, v, w = (exp(exponent) for exponent in exponents)
    return u, v, w, u * exponents[0] + v * exponents[1] + w * exponents[2]


# Of the three exponentials one is 1. A nan stays among those compared: of two numbers one side gets each.
_LOW, _HIGH = "({1} < {0} ? {1} : {0})", "({1} < {0} ? {0} : {1})"
_LEAST, _OTHER = f"({{2}} < {_LOW} ? {{2}} : {_LOW})", f"({{2}} < {_LOW} ? {_LOW} : {{2}})"
_EXPONENTIALS = " + ".join(f"exp_{{T}}(({_LEAST} - {other}) / {{3}})" for other in (_OTHER, _HIGH))
soft_min: Op = elementwise(
    "soft_min", bounds=soft_minimum, arity=4, cost=5 * COSTLY, numpy=_soft_min, functions=("abs", "exp", "log"),
    code=f"abs_{{T}}({_LEAST}) < ({{R}})(INFINITY) ? {_LEAST} - {{3}} * log_{{T}}(({{R}})(1) + {_EXPONENTIALS}) "
    ": {0} + {1} + {2}",
    partials=_soft_min_partials,
)  # fmt: skip
"""-gamma * Log(Exp(-a / gamma) + Exp(-b / gamma) + Exp(-c / gamma)) without overflow."""


_WRITTEN_OUT = 36
"""The recurrence of two sequences is written out for at most this many pairs of places; otherwise it is two loops."""


def soft_dtw(x: Expr, y: Expr, gamma: Expr) -> Expr:
    """Soft dynamic time warping of two sequences of numbers, for squared distances."""
    _scalar("SoftDTW_SqDist", "gamma", gamma)
    if x.dim * y.dim > _WRITTEN_OUT:
        return _soft_dtw_in_loops(x, y, gamma)
    row: list[Expr] = []
    for k in range(x.dim):
        before, row = row, []
        for column in range(y.dim):
            cost = square(element(x, k) - element(y, column))
            if before and row:
                cost = cost + soft_min(before[column - 1], before[column], row[-1], gamma)
            elif before or row:
                cost = cost + (before or row[-1:])[0]
            row.append(cost)
    return row[-1]


def _soft_dtw_in_loops(x: Expr, y: Expr, gamma: Expr) -> Expr:
    """The distance as a scan over rows whose carry is a row; each row is a scan over its columns."""
    columns = y.dim - 1

    def in_first_row(left: Expr, series: Sequence[Expr], shared: Sequence[Expr]) -> Expr:
        return square(shared[0] - series[0]) + left

    def in_row(left: Expr, series: Sequence[Expr], shared: Sequence[Expr]) -> Expr:
        (corner, above, y_l), (x_k, gamma) = series, shared
        return square(x_k - y_l) + soft_min(corner, above, left, gamma)

    def next_row(above: Expr, series: Sequence[Expr], shared: Sequence[Expr]) -> Expr:
        (x_k,), (y, gamma) = series, shared
        first = square(x_k - element(y, 0)) + element(above, 0)
        if not columns:
            return first
        others = [extract(above, 0, columns), extract(above, 1, columns), extract(y, 1, columns)]
        return concat(first, scanned(in_row, first, columns, others, [x_k, gamma]))

    row = first = square(element(x, 0) - element(y, 0))
    if columns:
        others = scanned(in_first_row, first, columns, [extract(y, 1, columns)], [element(x, 0)])
        row = concat(first, others)
    if x.dim > 1:
        row = scanned(next_row, row, x.dim - 1, [extract(x, 1, x.dim - 1)], [y, gamma], last=True)
    return element(row, columns)


spell(
    "OneHot", one_hot, "n zeros, but 1 at place Floor(f + 1/2), counted from 0, if there is such a place; "
    "slope 0 everywhere", "f", "n", example=(1, 3), edges=(
        Edge((0.5,), (0.0, 1.0, 0.0), (0.0,)), Edge((-0.5,), (1.0, 0.0, 0.0), (0.0,)),
        Edge((-1.0,), (0.0, 0.0, 0.0), (0.0,)), Edge((3.0,), (0.0, 0.0, 0.0), (0.0,)),
        Edge((INF,), (0.0, 0.0, 0.0), (0.0,)), Edge((NAN,), (0.0, 0.0, 0.0), (0.0,)),
    ),
)  # fmt: skip
spell(
    "BSpline", b_spline, "values at x of the D(knots) - k - 1 B-splines of degree k over knots that do not fall; "
    "0 outside [first knot, last knot), slopes at a knot are those to its right", "knots x", "k", example=(6, 1, 2),
    edges=(
        Edge(((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 0.0), (1.0, 0.0, 0.0), (None, 0.0)),
        Edge(((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 1.0), (0.0, 0.0, 0.0), (None, 0.0)),
        Edge(((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), INF), (0.0, 0.0, 0.0), (None, 0.0)),
        Edge(((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), -INF), (0.0, 0.0, 0.0), (None, 0.0)),
        Edge(((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), NAN), (NAN, NAN, NAN)),
    ),
)  # fmt: skip
spell(
    "SoftDTW_SqDist", soft_dtw, "soft dynamic time warping of the sequences x and y with squared distances, for "
    "gamma > 0; R_kl = (x_k - y_l)^2 + softmin of R_(k-1)(l-1), R_(k-1)l and R_k(l-1), where the softmin of a is "
    "-gamma * Log(sum of Exp(-a_n / gamma)); the first row and column add up", "x y gamma", example=(3, 2, 1),
    interval=(0.5, 2.0), edges=(Edge(((1.0, 2.0), (1.0, 2.0), NAN), NAN),),
)  # fmt: skip
