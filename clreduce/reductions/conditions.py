"""Conditions over j: the number of true terms, whether any is true, whether all are. As in NumPy, nan is true."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import constant, integer
from clreduce.ops.compare import equal, larger, logical_and, logical_not, logical_or, smaller, where
from clreduce.ops.indices import tally
from clreduce.reductions.reduction import Column, Reduction, Skips, Slot, State, register

_ZERO, _ONE = constant(0), constant(1)


def _holds(column: Column) -> Expr:
    return logical_not(equal(column.values[0], _ZERO))


def _count_update(state: State, columns: Sequence[Column]) -> State:
    (count,) = state
    for column in columns:
        count = tally(count, where(_holds(column), integer(1), integer(0)))
    return (count,)


register(
    Reduction(
        name="Count",
        doc="Number of terms that are not 0, int64, component by component; 0 over nothing, nan counts.",
        slots=lambda dims: (Slot(dims[0], 0.0, INDEX),),
        update=_count_update,
        merge=lambda a, b: (tally(a[0], b[0]),),
        finish=lambda state, first: state,
        numpy=lambda values: (np.count_nonzero(values, axis=1),),
        skips=Skips.ZEROS,
    )
)
register(
    Reduction(
        name="Any",
        doc="1 if some term is not 0, else 0, component by component; 0 over nothing, nan counts.",
        slots=lambda dims: (Slot(dims[0], 0.0),),
        update=lambda state, columns: (where(reduce(logical_or, map(_holds, columns)), _ONE, state[0]),),
        merge=lambda a, b: (larger(a[0], b[0]),),
        finish=lambda state, first: state,
        numpy=lambda values: ((values != 0).any(1) * 1.0,),
        skips=Skips.ZEROS,
    )
)
register(
    Reduction(
        name="All",
        doc="1 if all terms are not 0, else 0, component by component; 1 over nothing, nan counts.",
        slots=lambda dims: (Slot(dims[0], 1.0),),
        update=lambda state, columns: (where(reduce(logical_and, map(_holds, columns)), state[0], _ZERO),),
        merge=lambda a, b: (smaller(a[0], b[0]),),
        finish=lambda state, first: state,
        numpy=lambda values: ((values != 0).all(1) * 1.0,),
        skips=Skips.HOLDING,
    )
)
