"""Mean and variance over j. The number of terms of a row is an integer, so it is exact for any N."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import NAN, constant, integer
from clreduce.ops.arithmetic import add, difference
from clreduce.ops.compare import equal, where
from clreduce.ops.indices import as_real, tally
from clreduce.ops.shape import concat
from clreduce.reductions.reduction import Column, Reduction, Skips, Slot, State, register
from clreduce.typing import Array

# ------------------------------------------------------------------------------------------------------ mean


def _mean_update(state: State, columns: Sequence[Column]) -> State:
    total, count = state
    for column in columns:
        total = total + column.values[0]
    return total, tally(count, integer(len(columns)))


def _mean_numpy(values: Array) -> tuple[Array, ...]:
    count = values.shape[1]
    with np.errstate(all="ignore"):
        return values.sum(1) / np.float64(count), np.full((len(values), 1), count)


def _mean_tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
    return d_values[0] * (1 / as_real(residuals[1]))


def _declare_mean(name: str, doc: str, outputs: int, internal: bool) -> None:
    register(
        Reduction(
            name=name,
            doc=doc,
            slots=lambda dims: (Slot(dims[0], 0.0), Slot(1, 0.0, INDEX)),
            update=_mean_update,
            merge=lambda a, b: (a[0] + b[0], tally(a[1], b[1])),
            finish=lambda state, first: (state[0] / as_real(state[1]), state[1])[:outputs],
            numpy=lambda values: _mean_numpy(values)[:outputs],
            blocked=True,
            tangent=_mean_tangent,
            residual="Mean_Count",
            skips=Skips.SMALL,
        ),
        internal,
    )


_declare_mean("Mean", "Mean of the terms, component by component; nan over nothing.", 1, False)
_declare_mean("Mean_Count", "Mean, and the number of terms.", 2, True)

# ------------------------------------------------------------------------------------------------------ variance A
# state consists of one term p, the mean of the terms minus p, the mean of their squared deviations, and their number. A
# merge uses the difference of the means, so nothing cancels. The terms are as close to p as to each other, even if all
# are far from 0, so a mean is as accurate as the deviations. A block of columns first becomes a state of its own. The
# state has means instead of sums, so huge terms have a variance whenever the variance itself does not overflow.


def _variance_update(state: State, columns: Sequence[Column]) -> State:
    pivot, mean, spread, count = state
    pivot = where(equal(count, integer(0)), columns[0].values[0], pivot)
    terms = [difference(column.values[0], pivot) for column in columns]
    here = reduce(add, terms) * constant(Fraction(1, len(terms))) if len(terms) > 1 else terms[0]
    total = tally(count, integer(len(terms)))
    each = 1 / as_real(total)
    share = len(terms) * each
    rest = 1 - share
    apart = difference(here, mean)
    spread = rest * spread + apart * (apart * (rest * share))
    for term in terms:
        deviation = difference(term, here)
        spread = spread + deviation * (deviation * each)
    return pivot, mean + apart * share, spread, total


def _variance_merge(a: State, b: State) -> State:
    pivot = where(equal(a[3], integer(0)), b[0], a[0])
    total = tally(a[3], b[3])
    share, rest = as_real(b[3]) / as_real(total), as_real(a[3]) / as_real(total)
    apart = difference(b[1] + difference(b[0], pivot), a[1])
    mean, spread = a[1] + apart * share, rest * a[2] + share * b[2] + apart * (apart * (rest * share))
    empty = equal(b[3], integer(0))
    return pivot, where(empty, a[1], mean), where(empty, a[2], spread), total


def _variance_finish(state: State) -> tuple[Expr, ...]:
    variance = where(equal(state[3], integer(0)), constant(NAN), state[2])
    # With infinities there is no mean and no variance.
    return variance, where(equal(variance, variance), state[0] + state[1], variance), state[3]


def _variance_numpy(values: Array) -> tuple[Array, ...]:
    rows, count, dim = values.shape
    if count == 0:
        nothing = np.full((rows, dim), np.nan)
        return nothing, nothing, np.zeros((rows, 1), np.int64)
    with np.errstate(all="ignore"):
        variance = values.var(1)
        return variance, np.where(np.isnan(variance), np.nan, values.mean(1)), np.full((rows, 1), count)


def _variance_tangents(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> tuple[Expr, Expr]:
    share = 1 / as_real(residuals[2])
    d_value = d_values[0] * share
    return 2 * (column.values[0] - residuals[1]) * d_value, d_value


def _declare_variance(name: str, doc: str, outputs: int, internal: bool) -> None:
    def tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
        of_variance, of_mean = _variance_tangents(column, residuals, d_values)
        return concat(of_variance, of_mean) if outputs > 1 else of_variance

    register(
        Reduction(
            name=name,
            doc=doc,
            slots=lambda dims: (*(Slot(dims[0], 0.0) for _ in range(3)), Slot(1, 0.0, INDEX)),
            update=_variance_update,
            merge=_variance_merge,
            finish=lambda state, first: _variance_finish(state)[:outputs],
            numpy=lambda values: _variance_numpy(values)[:outputs],
            blocked=True,
            tangent=tangent,
            residual="Var_Mean_Count",
        ),
        internal,
    )


_declare_variance(
    "Var",
    "Variance of the terms, component by component: the mean squared deviation from their mean, accurate also where "
    "that is large; nan over nothing and with a term of -inf or inf.",
    1,
    False,
)
_declare_variance("Var_Mean_Count", "Variance, mean, and the number of terms.", 3, True)
