"""`Evaluation`: a program on arrays of certain sizes. It is what runs, and what derivatives are taken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.call.lists import fill_lists, has_gaps
from clreduce.domain import Domain
from clreduce.errors import DeviceError
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable
from clreduce.memo import Memo, memoised
from clreduce.program import Arrangement, MapReduce, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.launch import Launched, completed
from clreduce.runtime.memory import Memory, without_repeats
from clreduce.runtime.plan import PLANS, Plan
from clreduce.runtime.ranges import Ranges

if TYPE_CHECKING:
    from clreduce.call.ranges import CheckedRanges
    from clreduce.call.routine import Routine

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
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

    @cached_property
    def prepared(self) -> Memo[Any, Any]:
        """What was worked out once and serves each call with such arrays: its plan, and the steps of derivatives."""
        return Memo()

    @cached_property
    def is_residual(self) -> bool:
        """Whether derivatives read its own results as residuals."""
        return self.program.residual == self.program

    @cached_property
    def with_residuals(self) -> Evaluation:
        """What gives the residuals that derivatives read, and its own result first; itself where they read none."""
        residual = self.program.residual
        return self if residual is None or self.is_residual else self.of(residual)

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
        arrays = [array if array.flags.c_contiguous else self._contiguous(array) for array in arrays]
        found = self._plan(arrays, pairs)(arrays, self.rows, self.columns, results, self.batch, pairs)
        return self.completed(found) if self.lists else found

    @cached_property
    def lists(self) -> tuple[int, ...]:
        """Which results are indices of the K best terms."""
        if not self.program.reduction.lists:
            return ()
        return tuple(n for n, output in enumerate(self.program.outputs) if output.kind == INDEX)

    def _contiguous(self, array: Array) -> Array:
        """``array`` as kernels read it; `DeviceError` for a view whose repeated numbers would fit no buffer."""
        once, facts = without_repeats(array, len(self.batch)), self.device.facts
        most = facts.global_memory if facts.shares_addresses else facts.max_allocation
        if 0 in once.strides and once.nbytes > most:
            raise DeviceError(
                f"an array of shape {array.shape} that repeats its numbers (strides {array.strides}) takes "
                f"{once.nbytes:,} bytes as kernels read it, and {self.device} takes up to {most:,}: call with fewer "
                "rows at a time"
            )
        return np.ascontiguousarray(once)

    def completed(self, results: tuple[Array, ...]) -> tuple[Array, ...]:
        """Results of kernels with what those leave to the host, in place: indices of terms that are infinite."""
        for number in self.lists:
            result = results[number]
            if has_gaps(result):
                places = result.reshape((*self.batch, self.rows, self.program.reduction.count, -1))
                fill_lists(places, self.columns, self.pairs)
                if not np.may_share_memory(places, result):
                    result[...] = places.reshape(result.shape)
        return results

    def launch(self, arrays: Sequence[Array], memory: Memory) -> Launched:
        """The same without waiting. ``memory``: that of evaluations which are waited for together with this one."""
        pairs = self.pairs
        arrays = [array if array.flags.c_contiguous else self._contiguous(array) for array in arrays]
        return self._plan(arrays, pairs).launch(arrays, self.rows, self.columns, None, self.batch, pairs, memory)

    def _plan(self, arrays: Sequence[Array], pairs: Ranges | None) -> Plan:
        """Its plan for these arrays. It is looked up again when plans have been forgotten, as for a schedule that is
        found faster."""
        arrangement = self._arrangement
        moderate = arrangement is not None and arrangement.holds(arrays)
        name = "plan for moderate parameters" if moderate else "plan"
        found: tuple[int, Plan] | None = self.prepared.get(name)
        if found is None or found[0] != PLANS.forgotten:
            forgotten, batched = PLANS.forgotten, bool(self.batch)
            plan = self.routine.plan_of(
                self.program, self.dtype, self.device, batched, self.rows, self.columns, pairs, moderate
            )  # fmt: skip
            found = self.prepared.keep(name, (forgotten, plan))
        return found[1]

    @cached_property
    def _arrangement(self) -> Arrangement | None:
        """How products are computed, where that depends on the size of parameters."""
        arrangement = self.routine.arrangement(self.program)
        return arrangement if arrangement.slots else None

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


def together(works: Sequence[tuple[Evaluation, Sequence[Array]]]) -> list[tuple[Array, ...]]:
    """The results of evaluations on one device, which are waited for once: a wait takes as long as a small kernel."""
    if len(works) < 2:
        return [evaluation(arrays) for evaluation, arrays in works]
    memory = Memory(works[0][0].device)
    return completed(memory, _together, works, memory)


def _together(works: Sequence[tuple[Evaluation, Sequence[Array]]], memory: Memory) -> list[tuple[Array, ...]]:
    launched = [evaluation.launch(arrays, memory) for evaluation, arrays in works]
    results = [each.wait() for each in launched]
    for (evaluation, _), found in zip(works, results, strict=True):
        if evaluation.lists:
            evaluation.completed(found)
    return results


@memoised(64)
def _row_sum(dim: int) -> MapReduce:
    return map_reduce([variable(0, dim, Domain.J)], "Sum")[0]
