"""Log-Sum-Exp over j, by a running maximum: no overflow, one exponential per term and one per block of columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import Expr
from clreduce.ir.op import constant
from clreduce.ops.arithmetic import difference
from clreduce.ops.compare import both, larger, less, smaller, where
from clreduce.ops.functions import exp, log
from clreduce.reductions.reduction import Array, Column, Reduction, Slot, State, register

_INFINITY = constant(float("inf"))
_MINUS_INFINITY = constant(float("-inf"))


def _shift(maximum: Expr) -> Expr:
    """The maximum where it is finite, else 0: inf - inf never arises, and terms of -inf count as 0."""
    finite = both(less(_MINUS_INFINITY, maximum), less(maximum, _INFINITY))
    return where(finite, maximum, constant(0))


def _weight(term: Expr, shift: Expr) -> Expr:
    """exp(term - shift) for a shift that is the largest term or more.

    Rounding may lift a large term above it, by so much that exp overflows: hence the bound.
    """
    return exp(smaller(difference(term, shift), constant(0)))


def _update(state: State, columns: Sequence[Column]) -> State:
    maximum, scaled = state
    terms = [column.values[0] for column in columns]
    new = reduce(larger, terms, maximum)
    shift = _shift(new)
    result = scaled * _weight(maximum, shift)
    for term in terms:
        result = result + _weight(term, shift)
    return new, result


def _merge(a: State, b: State) -> State:
    new = larger(a[0], b[0])
    shift = _shift(new)
    return new, a[1] * _weight(a[0], shift) + b[1] * _weight(b[0], shift)


def _finish(state: State, first: Expr) -> tuple[Expr, ...]:
    return (state[0] + log(state[1]),)


def _numpy(values: Array) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        maximum = np.where(np.isnan(values), -np.inf, values).max(1, initial=-np.inf)
        shift = np.where(np.isfinite(maximum), maximum, 0)
        return (shift + np.log(np.exp(values - shift[:, None]).sum(1)),)


def _tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
    # A row whose terms are all -inf has no slope: exp(-inf - 0) = 0.
    shift = where(less(_MINUS_INFINITY, residuals[0]), residuals[0], constant(0))
    return _weight(column.values[0], shift) * d_values[0]


LOG_SUM_EXP = register(
    Reduction(
        name="LogSumExp",
        doc="log of the sum of exp of the terms, without overflow; terms of -inf are passed over, -inf over nothing.",
        slots=lambda dims: (Slot(dims[0], float("-inf")), Slot(dims[0], 0.0)),
        update=_update,
        merge=_merge,
        finish=_finish,
        numpy=_numpy,
        blocked=True,
        tangent=_tangent,
        residual="LogSumExp",
    )
)
