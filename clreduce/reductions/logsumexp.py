"""Sums of exponentials over j, relative to a running maximum. They cannot overflow, and take one exponential per term
and one per block of columns.

A state is the maximum m of the terms f, and sums of e^(f - m), or of e^(f - m) g with weights g. The reductions here
differ in their sums and in the results that they compute from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import constant
from clreduce.ops.arithmetic import difference
from clreduce.ops.compare import equal, larger, less, logical_and, logical_not, smaller, where
from clreduce.ops.derived import truth
from clreduce.ops.functions import exp, log
from clreduce.ops.shape import concat, extract, summed
from clreduce.reductions.extrema import best_indices, cleaned, first_of_none
from clreduce.reductions.reduction import Column, Reduction, Skips, Slot, State, alias, register
from clreduce.typing import Array

_INFINITY = constant(float("inf"))
_MINUS_INFINITY = constant(float("-inf"))
_NAN = constant(float("nan"))
_ZERO = constant(0)


def _shift(maximum: Expr) -> Expr:
    """The maximum if it is finite, else 0. So inf - inf never occurs, and terms of -inf contribute 0."""
    finite = logical_and(less(_MINUS_INFINITY, maximum), less(maximum, _INFINITY))
    return where(finite, maximum, _ZERO)


def _weight(term: Expr, shift: Expr) -> Expr:
    """exp(term - shift) for a shift that is at least the largest term.

    The difference is bounded by 0, because rounding may make a large term exceed the shift so much that exp overflows.
    """
    return exp(smaller(difference(term, shift), _ZERO))


def _counts(weights: Expr) -> Expr:
    """Whether a term counts, which it does unless all its weights are 0."""
    differs = logical_not(equal(weights, _ZERO))
    return differs if weights.dim == 1 else less(_ZERO, summed(truth(differs)))


# ------------------------------------------------------------------------------------------------------ the monoid


def _term(column: Column, skips: bool) -> Expr:
    term = column.values[0]
    return where(_counts(column.values[1]), term, _MINUS_INFINITY) if skips else term


def _updates(weighted: Sequence[bool], skips: bool, finds: bool) -> Callable[[State, Sequence[Column]], State]:
    """The ``update`` of a reduction. ``weighted`` says for each sum whether it has weights, ``skips`` whether terms of
    weight 0 are left out of the maximum, and ``finds`` whether the state has the index of the maximum, too."""

    def update(state: State, columns: Sequence[Column]) -> State:
        terms = [_term(column, skips) for column in columns]
        new = reduce(larger, terms, state[0])
        shift = _shift(new)
        scale = _weight(state[0], shift)
        sums = [state[1 + n] * scale for n in range(len(weighted))]
        for term, column in zip(terms, columns, strict=True):
            part = _weight(term, shift)
            sums = [s + (part * column.values[1] if w else part) for s, w in zip(sums, weighted, strict=True)]
        if not finds:
            return new, *sums
        best, place = state[0], state[-1]
        for term, column in zip(terms, columns, strict=True):
            place = where(less(best, term), column.index, place)
            best = larger(best, term)
        return new, *sums, place

    return update


def _merges(count: int, finds: bool) -> Callable[[State, State], State]:
    def merge(a: State, b: State) -> State:
        new = larger(a[0], b[0])
        shift = _shift(new)
        of_a, of_b = _weight(a[0], shift), _weight(b[0], shift)
        sums = [a[n] * of_a + b[n] * of_b for n in range(1, 1 + count)]
        return (new, *sums, where(less(a[0], b[0]), b[-1], a[-1])) if finds else (new, *sums)

    return merge


def _sums_numpy(values: Array, weights: Array | None, skips: bool = False) -> tuple[Array, Array, Array]:
    """The maximum m, the sum of e^(f - m), and the weighted sum (0 without weights)."""
    if skips:
        assert weights is not None
        values = np.where((weights != 0).any(2, keepdims=True), values, -np.inf)
    with np.errstate(all="ignore"):
        maximum = cleaned(values, -np.inf).max(1, initial=-np.inf)
        shift = np.where(np.isfinite(maximum), maximum, 0)
        parts = np.exp(np.minimum(values - shift[:, None], 0))
        return maximum, parts.sum(1), np.zeros(()) if weights is None else (parts * weights).sum(1)


def _declare(
    name: str,
    doc: str,
    weighted: Sequence[bool],
    finish: Callable[[State, Expr], tuple[Expr, ...]],
    numpy: Callable[..., tuple[Array, ...]],
    tangent: Callable[[Column, Sequence[Expr], Sequence[Expr]], Expr],
    residual: str,
    *,
    formula2: str = "the weights",
    skips: bool = False,
    finds: bool = False,
    internal: bool = False,
    with_formula2: str = "",
    may_pass_over: Skips = Skips.NONE,
) -> Reduction:
    def slots(dims: tuple[int, ...]) -> tuple[Slot, ...]:
        sums = tuple(Slot(dims[-1] if w else dims[0], 0.0) for w in weighted)
        place = (Slot(dims[0], -1.0, INDEX),) if finds else ()
        return Slot(dims[0], float("-inf")), *sums, *place

    return register(
        Reduction(
            name=name,
            doc=doc,
            slots=slots,
            update=_updates(weighted, skips, finds),
            merge=_merges(len(weighted), finds),
            finish=finish,
            numpy=numpy,
            formula2=formula2,
            scalar=bool(formula2),
            with_formula2=with_formula2,
            blocked=True,
            tangent=tangent,
            residual=residual,
            skips=may_pass_over,
        ),
        internal,
    )


# ------------------------------------------------------------------------------------------------------ LogSumExp


def _log_sum(maximum: Expr, total: Expr) -> Expr:
    """m + log(sum). With a term of inf, the sum only says whether there is a nan."""
    return where(less(maximum, _INFINITY), maximum + log(total), maximum + difference(total, total))


def _log_sum_numpy(maximum: Array, total: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where(maximum < np.inf, maximum + np.log(total), maximum + (total - total))


def _slope(term: Expr, result: Expr) -> Expr:
    """exp(term - result) for a LogSumExp ``result``; 0 if the result is -inf, because then all terms are -inf."""
    return _weight(term, where(equal(result, _MINUS_INFINITY), _ZERO, result))


def _numpy(values: Array) -> tuple[Array, ...]:
    maximum, total, _ = _sums_numpy(values, None)
    return (_log_sum_numpy(maximum, total),)


LOG_SUM_EXP = _declare(
    "LogSumExp",
    "log of the sum of exp of the terms, without overflow, or of exp of the terms times formula2; "
    "terms of -inf are passed over, -inf over nothing.",
    [False],
    lambda state, first: (state[0] + log(state[1]),),
    _numpy,
    lambda column, residuals, d_values: _slope(column.values[0], residuals[0]) * d_values[0],
    "LogSumExp",
    formula2="",
    with_formula2="LogSumExpWeight",
    may_pass_over=Skips.SMALL_EXPONENTIALS,
)

# -------------------------------------------------------------------------------------------- LogSumExp with weights
# d out = e^-out sum_j e^f (g df + dg). With the LogSumExp L of the terms that count, e^(f - L) is one exponential per
# pair, at most 1, and e^(L - out) one per row.


def _weighted_numpy(values: Array, weights: Array) -> tuple[Array, ...]:
    maximum, total, weighted = _sums_numpy(values, weights, skips=True)
    return _log_sum_numpy(maximum, weighted), _log_sum_numpy(maximum, total)


def _weighted_tangents(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> tuple[Expr, Expr]:
    (term, weights), (result, plain), (d_term, d_weights) = column.values, residuals, d_values
    counts = _counts(weights)
    # A term that doesn't count may be larger than all terms that do. If no term counts, all slopes are 0.
    distance = difference(term, where(equal(plain, _MINUS_INFINITY), _INFINITY, plain))
    part = exp(where(counts, smaller(distance, _ZERO), distance))
    scaled = where(counts, part * d_term, _ZERO)
    # If weights cancel, or if all are 0, the result is -inf and has no slope.
    factor = where(equal(result, _MINUS_INFINITY), _ZERO, exp(difference(plain, result)))
    return factor * (weights * scaled + part * d_weights), scaled


_declare(
    "LogSumExpWeight",
    "log of the sum of exp of the terms times formula2, component by component of that; "
    "terms of -inf or of weight 0 are passed over, -inf over nothing, nan for a negative sum.",
    [True],
    lambda state, first: (_log_sum(state[0], state[1]),),
    lambda values, weights: _weighted_numpy(values, weights)[:1],
    lambda column, residuals, d_values: _weighted_tangents(column, residuals, d_values)[0],
    "LogSumExpWeight_LogSumExp",
    skips=True,
)
_declare(
    "LogSumExpWeight_LogSumExp",
    "LogSumExpWeight, and the LogSumExp of the terms that count.",
    [True, False],
    lambda state, first: (_log_sum(state[0], state[1]), state[0] + log(state[2])),
    _weighted_numpy,
    lambda column, residuals, d_values: concat(*_weighted_tangents(column, residuals, d_values)),
    "LogSumExpWeight_LogSumExp",
    skips=True,
    internal=True,
)

# ------------------------------------------------------------------------------------------------------ softmax
# With the LogSumExp L of the terms: d out = sum_j e^(f - L) (dg + (g - out) df).


def _average(state: State) -> Expr:
    return where(less(state[0], _INFINITY), state[1] / state[2], _NAN)


def _average_numpy(values: Array, weights: Array) -> tuple[Array, ...]:
    maximum, total, weighted = _sums_numpy(values, weights)
    with np.errstate(all="ignore"):
        return np.where(maximum < np.inf, weighted / total, np.nan), _log_sum_numpy(maximum, total)


def _average_tangents(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> tuple[Expr, Expr]:
    (term, weights), (result, plain), (d_term, d_weights) = column.values, residuals, d_values
    part = _slope(term, plain)
    scaled = part * d_term
    # This form is better than (g - out) * scaled: the product of cotangent and result is one number per row.
    return weights * scaled - result * scaled + part * d_weights, scaled


_declare(
    "SumSoftMaxWeight",
    "Mean of formula2 under the softmax weights of the terms, the sum of e^f * formula2 divided by the sum of e^f; "
    "terms of -inf are passed over, nan over nothing or with a term of inf.",
    [True, False],
    lambda state, first: (_average(state),),
    lambda values, weights: _average_numpy(values, weights)[:1],
    lambda column, residuals, d_values: _average_tangents(column, residuals, d_values)[0],
    "SumSoftMaxWeight_LogSumExp",
    formula2="the values that are averaged",
    may_pass_over=Skips.SMALL_EXPONENTIALS,
)
_declare(
    "SumSoftMaxWeight_LogSumExp",
    "SumSoftMaxWeight, and the LogSumExp of the terms.",
    [True, False],
    lambda state, first: (_average(state), state[0] + log(state[2])),
    _average_numpy,
    lambda column, residuals, d_values: concat(*_average_tangents(column, residuals, d_values)),
    "SumSoftMaxWeight_LogSumExp",
    formula2="the values that are averaged",
    may_pass_over=Skips.SMALL_EXPONENTIALS,
    internal=True,
)
alias("SoftMax", "SumSoftMaxWeight")

# ------------------------------------------------------------------------------------------------------ raw states


def _declare_raw(name: str, doc: str, formula2: str) -> None:
    """The maximum m and the sum s as one vector: d m is the differential of the largest term, and
    d s = sum_j e^(f - m) (g df + dg) - s dm."""
    weighted = bool(formula2)

    def pair(state: State) -> Expr:
        return concat(state[0], where(less(state[0], _INFINITY), state[1], _NAN))

    def numpy(values: Array, *weights: Array) -> tuple[Array, ...]:
        maximum, total, of_weights = _sums_numpy(values, weights[0] if weights else None)
        total = np.where(maximum < np.inf, of_weights if weights else total, np.nan)
        return np.concatenate([maximum, total], -1), best_indices(values, -np.inf)

    def tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
        term = column.values[0]
        maximum = extract(residuals[0], 0, term.dim)
        total = extract(residuals[0], term.dim, residuals[0].dim - term.dim)
        d_maximum = where(equal(column.index, residuals[1]), d_values[0], _ZERO)
        part = _weight(term, _shift(maximum))
        scaled = part * d_values[0]
        d_total = column.values[1] * scaled + part * d_values[1] if weighted else scaled
        return concat(d_maximum, d_total - total * d_maximum)

    _declare(
        name, doc, [weighted], lambda state, first: (pair(state),), lambda *values: numpy(*values)[:1], tangent,
        f"{name}_ArgMax", formula2=formula2,
    )  # fmt: skip
    _declare(
        f"{name}_ArgMax", f"{name}, and the index of the largest term.", [weighted],
        lambda state, first: (pair(state), first_of_none(state[-1], first)), numpy, tangent,
        f"{name}_ArgMax", finds=True, internal=True, formula2=formula2,
    )  # fmt: skip


_declare_raw(
    "Max_SumShiftExp",
    "The largest term m and the sum of e^(f - m), side by side: LogSumExp is m + log of the sum; "
    "terms of -inf are passed over, -inf and 0 over nothing, the sum is nan with a term of inf.",
    "",
)
_declare_raw(
    "Max_SumShiftExpWeight",
    "The largest term m and the sum of e^(f - m) * formula2, side by side; "
    "terms of -inf are passed over, -inf and 0 over nothing, the sum is nan with a term of inf.",
    "the weights",
)
