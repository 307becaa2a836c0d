"""`State`: what rows keep after some of the columns. States of adjacent columns merge, and a state gives the results.

Code that spreads a call over processes needs these three steps and nothing else. `State.merge` and `State.finish` need
no device: NumPy evaluates the formulas of the reduction in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clreduce.call.feeding import completed_lists
from clreduce.call.work import Work, computed
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import variable
from clreduce.memo import memoised
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column
from clreduce.runtime.ranges import numbered_from
from clreduce.typing import Array


@dataclass(frozen=True)
class State:
    """What the rows of a region keep after its columns: one array (batch.., rows, D) for each slot of the reduction.

    It holds no device, and can be pickled.
    """

    work: Work
    """Its region: these rows, and the columns that they have met."""
    slots: tuple[Array, ...]

    def merge(self, after: State) -> State:
        """The state after these columns and then those of ``after``, which begin where these end.

        `ShapeError` unless both are states of the same rows of one program, and their columns adjacent.
        """
        if not isinstance(after, State):
            raise ShapeError(f"a state merges with another state; got {type(after).__name__}")
        ours, theirs = self.work.region, after.work.region
        ends = ours.first_column + ours.columns
        same = (self.work.program, self.work.options, self.work.dtype) == (
            after.work.program, after.work.options, after.work.dtype
        )  # fmt: skip
        rows = (ours.batch, ours.first_row, ours.rows) == (theirs.batch, theirs.first_row, theirs.rows)
        if not (same and rows and ends == theirs.first_column):
            raise ShapeError(
                f"states merge that are of one program, of the same rows and of adjacent columns; these are of rows "
                f"{ours.first_row} to {ours.first_row + ours.rows}, columns {ours.first_column} to {ends}, and of rows "
                f"{theirs.first_row} to {theirs.first_row + theirs.rows}, columns {theirs.first_column} to "
                f"{theirs.first_column + theirs.columns}{'' if same else ', of different programs'}"
            )
        work = self.work.on(replace(ours, columns=ours.columns + theirs.columns))
        return State(work, joined(work, self.slots, after.slots))

    def finish(self) -> tuple[Array, ...]:
        """The results of these rows, each of shape (batch.., rows, D), if they meet no other columns."""
        work, region = self.work, self.work.region
        program = computed(work.program, work.options, moderate=False)
        pairs = region.pairs
        if pairs is not None:
            first = numbered_from(region.first_column, pairs.first_columns(region.rows))[:, None]
        else:
            first = np.full((1, 1), region.first_column if region.columns else -1)
        results = finished(program, self.slots, first)
        kinds = ["int64" if output.kind == INDEX else work.dtype for output in program.outputs]
        shape = (*region.batch, region.rows)
        with np.errstate(over="ignore"):
            made = tuple(
                np.ascontiguousarray(np.broadcast_to(result, (*shape, output.dim)), kind)
                for result, output, kind in zip(results, program.outputs, kinds, strict=True)
            )
        return completed_lists(work, tuple(array if array.flags.writeable else array.copy() for array in made))


def joined(work: Work, before: Sequence[Array], after: Sequence[Array]) -> tuple[Array, ...]:
    """The slots of a state after some columns and then others, perhaps with a gap in between that no row visits."""
    return merged(computed(work.program, work.options, moderate=False), before, after)


def merged(program: MapReduce, before: Sequence[Array], after: Sequence[Array]) -> tuple[Array, ...]:
    """The state after the columns of one and then those of another, by NumPy; in the dtypes of ``before``."""
    leaves, others, count = _variables(program)
    values = _exact(leaves, before)
    if program.reduction.keeps_terms:
        update = _entering(program)
        for place in range(count):
            terms = [
                array.reshape((*array.shape[:-1], count, array.shape[-1] // count))[..., place, :] for array in after
            ]
            values = dict(zip(leaves, evaluate(update, values | _exact(others, terms)), strict=True))
        results = [values[leaf] for leaf in leaves]
    else:
        results = evaluate(program.reduction.merge(leaves, others), values | _exact(others, after))
    with np.errstate(over="ignore"):
        return tuple(
            np.ascontiguousarray(np.broadcast_to(array, old.shape), old.dtype)
            for array, old in zip(results, before, strict=True)
        )


def finished(program: MapReduce, state: Sequence[Array], first: Array) -> tuple[Array, ...]:
    """The results of a state, by NumPy; ``first``: the index of each row's first column, -1 if it has none."""
    leaves, _, _ = _variables(program)
    index = variable("first", 1, Domain.I, INDEX)
    return tuple(evaluate(program.reduction.finish(leaves, index), {**_exact(leaves, state), index: first}))


def _exact(leaves: Sequence[Expr], arrays: Sequence[Array]) -> dict[Expr, Array]:
    return {
        leaf: np.asarray(array, np.float64 if leaf.kind == REAL else np.int64)
        for leaf, array in zip(leaves, arrays, strict=True)
    }


@memoised(256)
def _variables(program: MapReduce) -> tuple[tuple[Expr, ...], tuple[Expr, ...], int]:
    """Variables for a state, for another one (for one term of it, if states are lists of terms), and their length."""
    slots, reduction = program.state_slots, program.reduction
    count = (reduction.count or 1) if reduction.keeps_terms else 1
    state = tuple(variable(("state", n), slot.dim, Domain.I, slot.kind) for n, slot in enumerate(slots))
    other = tuple(variable(("other", n), slot.dim // count, Domain.I, slot.kind) for n, slot in enumerate(slots))
    return state, other, count


@memoised(256)
def _entering(program: MapReduce) -> tuple[Expr, ...]:
    """The state after one term of another list has entered."""
    state, term, _ = _variables(program)
    column = Column(tuple(slot for slot in term if slot.kind == REAL), term[-1])
    return program.reduction.update(state, [column])
