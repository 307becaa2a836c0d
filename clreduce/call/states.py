"""`State`: the state of rows after some columns. States of adjacent columns merge; the last state gives the results.

These three steps suffice to spread a call over processes. `State.merge` and `State.finish` need no device: NumPy
evaluates the formulas of the reduction in double precision.
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
    """The state of the rows of a region after its columns: an array (batch.., rows, D) per slot of the reduction.

    It refers to no device and can be pickled.
    """

    work: Work
    """The work; its region consists of these rows and of the columns that they have visited."""
    slots: tuple[Array, ...]

    def merge(self, after: State) -> State:
        """The state after these columns and then the columns of ``after``, which begin where these end.

        Raises `ShapeError` unless both states have the same program and rows, and adjacent columns.
        """
        if not isinstance(after, State):
            raise ShapeError(f"merge needs another state; got {type(after).__name__}")
        ours, theirs = self.work.region, after.work.region
        ends = ours.first_column + ours.columns
        same = (self.work.program, self.work.options, self.work.dtype) == (
            after.work.program, after.work.options, after.work.dtype
        )  # fmt: skip
        rows = (ours.batch, ours.first_row, ours.rows) == (theirs.batch, theirs.first_row, theirs.rows)
        if not (same and rows and ends == theirs.first_column):
            raise ShapeError(
                f"two states merge if they have the same routine, the same rows and adjacent columns; these have rows "
                f"{ours.first_row} to {ours.first_row + ours.rows}, columns {ours.first_column} to {ends}, and rows "
                f"{theirs.first_row} to {theirs.first_row + theirs.rows}, columns {theirs.first_column} to "
                f"{theirs.first_column + theirs.columns}{'' if same else ', and different routines'}"
            )
        work = self.work.on(replace(ours, columns=ours.columns + theirs.columns))
        return State(work, joined(work, self.slots, after.slots))

    def finish(self) -> tuple[Array, ...]:
        """The results of these rows over the columns so far, each of shape (batch.., rows, D)."""
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
    """The merged slots of two states. There may be columns in between that no row visits."""
    return merged(computed(work.program, work.options, moderate=False), before, after)


def merged(program: MapReduce, before: Sequence[Array], after: Sequence[Array]) -> tuple[Array, ...]:
    """The merged state of two states of one program, computed by NumPy, in the dtypes of ``before``."""
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
    """The results of a state, computed by NumPy. ``first`` has the index of each row's first column; -1 for none."""
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
    """Variables for a state, variables for a second state, and 1.

    If states are lists of K terms, the second variables stand for one term, and the number is K.
    """
    slots, reduction = program.state_slots, program.reduction
    count = (reduction.count or 1) if reduction.keeps_terms else 1
    state = tuple(variable(("state", n), slot.dim, Domain.I, slot.kind) for n, slot in enumerate(slots))
    other = tuple(variable(("other", n), slot.dim // count, Domain.I, slot.kind) for n, slot in enumerate(slots))
    return state, other, count


@memoised(256)
def _entering(program: MapReduce) -> tuple[Expr, ...]:
    """The formulas of a list of K terms after one term of another list has entered."""
    state, term, _ = _variables(program)
    column = Column(tuple(slot for slot in term if slot.kind == REAL), term[-1])
    return program.reduction.update(state, [column])
