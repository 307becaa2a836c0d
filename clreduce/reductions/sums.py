"""The sum over j."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clreduce.reductions.reduction import Column, Reduction, Skips, Slot, State, register
from clreduce.typing import Array


def _update(state: State, columns: Sequence[Column]) -> State:
    result = state[0]
    for column in columns:
        result = result + column.values[0]
    return (result,)


def _numpy(values: Array) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return (values.sum(1),)


SUM = register(
    Reduction(
        name="Sum",
        doc="Sum of the terms, component by component; 0 over nothing.",
        slots=lambda dims: (Slot(dims[0], 0.0),),
        update=_update,
        merge=lambda a, b: (a[0] + b[0],),
        finish=lambda state, first: state,
        numpy=_numpy,
        blocked=True,
        tangent=lambda column, residuals, d_values: d_values[0],
        skips=Skips.SMALL,
    )
)
