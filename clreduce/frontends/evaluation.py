"""`Evaluation`: a program on arrays of certain sizes. It is what runs, and what derivatives are taken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.ranges import Ranges

if TYPE_CHECKING:
    from clreduce.frontends.genred import Routine
    from clreduce.frontends.ranges import CheckedRanges

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A program of a routine (its own, or a derivative's), and all of a call but the numbers."""

    routine: Routine
    """Whose options hold."""
    program: MapReduce
    rows: int
    columns: int
    batch: tuple[int, ...]
    dtype: str
    """The precision of the kernels."""
    device: Device
    ranges: CheckedRanges | None = None
    kept: Domain = Domain.I
    """The caller's name for the index of the rows."""
    once: bool = False
    """Whether pairs that the ranges list twice count once: where an index has selected one term."""

    @property
    def pairs(self) -> Ranges | None:
        """The pairs to visit, by rows; None for all."""
        if self.ranges is None:
            return None
        pairs = self.ranges[self.kept]
        return pairs.once() if self.once else pairs

    def __call__(self, arrays: Sequence[Array], results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D), written into ``results`` if those are given.

        ``arrays``: for each slot of the program a NumPy array (.., rows, D), (.., columns, D) or (.., D), with as many
        batch dimensions as the evaluation, of size 1 where it serves all; reals in ``dtype``, indices in int64.
        """
        pairs = self.pairs
        plan = self.routine.plan_of(
            self.program, self.dtype, self.device, bool(self.batch), self.rows, self.columns, pairs
        )
        arrays = [np.ascontiguousarray(array) for array in arrays]
        return plan(arrays, self.rows, self.columns, results, self.batch, pairs)

    def of(self, program: MapReduce, flipped: bool = False, once: bool = False) -> Evaluation:
        """Another program over the same pairs; ``flipped``: its rows are the columns of this one."""
        # Built by hand: `dataclasses.replace` takes as long as a small kernel.
        rows, columns, kept = self.rows, self.columns, self.kept
        if flipped:
            rows, columns, kept = columns, rows, kept.swapped()
        return Evaluation(
            self.routine, program, rows, columns, self.batch, self.dtype, self.device, self.ranges, kept,
            self.once or once,
        )  # fmt: skip

    def row_sum(self, dim: int) -> Evaluation:
        """The sum over the rows of a result of this one."""
        return Evaluation(self.routine, _row_sum(dim), 1, self.rows, self.batch, self.dtype, self.device)


@lru_cache(maxsize=64)
def _row_sum(dim: int) -> MapReduce:
    return map_reduce([variable(0, dim, Domain.J)], "Sum")[0]
