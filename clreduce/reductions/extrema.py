"""The smallest and largest terms over j, and their indices. nan is ignored; ties go to the lowest index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import Op, constant, integer
from clreduce.ops.compare import equal, larger, less, smaller, where
from clreduce.reductions.reduction import Column, Reduction, Skips, Slot, State, alias, register
from clreduce.typing import Array

_NOWHERE = -1.0


def _tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
    return where(equal(column.index, residuals[1]), d_values[0], constant(0))


def first_of_none(index: Expr, first: Expr) -> Expr:
    """The index of an extreme term; ``first`` if all terms are nan or equal to the neutral element."""
    return where(less(index, integer(0)), first, index)


def best_indices(values: Array, neutral: float) -> Array:
    """The index along axis 1 of the largest term (the smallest if ``neutral`` is positive), by NumPy.

    ``values`` has shape (M, N, D), the result (M, D); it is -1 without terms.
    """
    if values.shape[1] == 0:
        return np.full((values.shape[0], values.shape[2]), -1, np.int64)
    return np.asarray((np.argmax if neutral < 0 else np.argmin)(cleaned(values, neutral), axis=1))


def cleaned(values: Array, neutral: float) -> Array:
    """The terms, with ``neutral`` in place of nan."""
    return np.where(np.isnan(values), neutral, values)


def _declare(name: str, words: str, better: Op, neutral: float, beats: Callable[[Expr, Expr], Expr]) -> None:
    def value_update(state: State, columns: Sequence[Column]) -> State:
        return (reduce(better, [column.values[0] for column in columns], state[0]),)

    def index_update(state: State, columns: Sequence[Column]) -> State:
        # The update recomputes what the guard has computed, so that those values need not stay in registers.
        best = reduce(better, [column.values[0] for column in columns], state[0])
        where_best = columns[-1].index
        for column in reversed(columns[:-1]):
            where_best = where(equal(column.values[0], best), column.index, where_best)
        return best, where(beats(best, state[0]), where_best, state[1])

    def guard(state: State, columns: Sequence[Column]) -> Expr:
        return beats(reduce(better, [column.values[0] for column in columns], state[0]), state[0])

    def index_merge(a: State, b: State) -> State:
        wins = beats(b[0], a[0])
        return where(wins, b[0], a[0]), where(wins, b[1], a[1])

    def value_numpy(values: Array) -> Array:
        extreme = np.max if neutral < 0 else np.min
        return np.asarray(extreme(cleaned(values, neutral), axis=1, initial=neutral))

    both = f"{name}_Arg{name}"
    skips = Skips.BELOW if neutral < 0 else Skips.ABOVE
    register(
        Reduction(
            name=name,
            doc=f"{words} term, component by component; {neutral} over nothing.",
            slots=lambda dims: (Slot(dims[0], neutral),),
            update=value_update,
            merge=lambda a, b: (better(a[0], b[0]),),
            finish=lambda state, first: state,
            numpy=lambda values: (value_numpy(values),),
            tangent=_tangent,
            residual=both,
            skips=skips,
        )
    )
    register(
        Reduction(
            name=f"Arg{name}",
            doc=f"Index j of the {words.lower()} term, int64, the lowest of equals; -1 over nothing.",
            slots=lambda dims: (Slot(dims[0], neutral), Slot(dims[0], _NOWHERE, INDEX)),
            update=index_update,
            merge=index_merge,
            finish=lambda state, first: (first_of_none(state[1], first),),
            numpy=lambda values: (best_indices(values, neutral),),
            guard=guard,
            skips=skips,
        )
    )
    register(
        Reduction(
            name=both,
            doc=f"{words} term and its index, as two results; {neutral} and -1 over nothing.",
            slots=lambda dims: (Slot(dims[0], neutral), Slot(dims[0], _NOWHERE, INDEX)),
            update=index_update,
            merge=index_merge,
            finish=lambda state, first: (state[0], first_of_none(state[1], first)),
            numpy=lambda values: (value_numpy(values), best_indices(values, neutral)),
            guard=guard,
            tangent=_tangent,
            residual=both,
            skips=skips,
        )
    )
    alias(f"{name}Arg{name}", both)


_declare("Min", "Smallest", smaller, float("inf"), lambda new, best: less(new, best))
_declare("Max", "Largest", larger, float("-inf"), lambda new, best: less(best, new))
