"""Smallest and largest terms over j, and where they are. nan terms are passed over; ties go to the lowest index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import Op, constant, integer
from clreduce.ops.compare import equal, larger, less, smaller, where
from clreduce.reductions.reduction import Array, Column, Reduction, Slot, State, register

_NOWHERE = -1.0


def _tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
    return where(equal(column.index, residuals[0]), d_values[0], constant(0))


def _declare(name: str, words: str, better: Op, neutral: float, beats: Callable[[Expr, Expr], Expr]) -> None:
    def value_update(state: State, columns: Sequence[Column]) -> State:
        return (reduce(better, [column.values[0] for column in columns], state[0]),)

    def index_update(state: State, columns: Sequence[Column]) -> State:
        best, where_best = state
        for column in columns:
            wins = beats(column.values[0], best)
            best = where(wins, column.values[0], best)
            where_best = where(wins, column.index, where_best)
        return best, where_best

    def guard(state: State, columns: Sequence[Column]) -> Expr:
        return beats(reduce(better, [column.values[0] for column in columns], state[0]), state[0])

    def index_merge(a: State, b: State) -> State:
        wins = beats(b[0], a[0])
        return where(wins, b[0], a[0]), where(wins, b[1], a[1])

    def index_finish(state: State, first: Expr) -> tuple[Expr, ...]:
        # Nothing beat the neutral element: all terms are nan or equal to it, and the first stands for them.
        return (where(less(state[1], integer(0)), first, state[1]),)

    def cleaned(values: Array) -> Array:
        return np.where(np.isnan(values), neutral, values)

    def value_numpy(values: Array) -> tuple[Array, ...]:
        extreme = np.max if neutral < 0 else np.min
        return (extreme(cleaned(values), axis=1, initial=neutral),)

    def index_numpy(values: Array) -> tuple[Array, ...]:
        if values.shape[1] == 0:
            return (np.full((values.shape[0], values.shape[2]), -1, np.int64),)
        return ((np.argmax if neutral < 0 else np.argmin)(cleaned(values), axis=1),)

    register(
        Reduction(
            name=name,
            doc=f"{words} term, component by component; {neutral} over nothing.",
            slots=lambda dims: (Slot(dims[0], neutral),),
            update=value_update,
            merge=lambda a, b: (better(a[0], b[0]),),
            finish=lambda state, first: state,
            numpy=value_numpy,
            tangent=_tangent,
            residual=f"Arg{name}",
        )
    )
    register(
        Reduction(
            name=f"Arg{name}",
            doc=f"Index j of the {words.lower()} term, int64, the lowest of equals; -1 over nothing.",
            slots=lambda dims: (Slot(dims[0], neutral), Slot(dims[0], _NOWHERE, INDEX)),
            update=index_update,
            merge=index_merge,
            finish=index_finish,
            numpy=index_numpy,
            guard=guard,
        )
    )


_declare("Min", "Smallest", smaller, float("inf"), lambda new, best: less(new, best))
_declare("Max", "Largest", larger, float("-inf"), lambda new, best: less(best, new))
