"""Calls of plans: sizes, buffers and launches of kernels, for a single index or for a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import DEBUG
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.codegen.kernel import Kernel
from clreduce.domain import Domain
from clreduce.runtime.blocks import Parts
from clreduce.runtime.memory import Memory, without_repeats
from clreduce.runtime.profile import LAUNCHES, RECORDER, watched
from clreduce.runtime.progress import current
from clreduce.runtime.ranges import Tables, numbered_from
from clreduce.runtime.region import Region
from clreduce.runtime.resident import assign
from clreduce.runtime.resident_memory import memory_for
from clreduce.runtime.slices import in_slices
from clreduce.typing import Array

if TYPE_CHECKING:
    from clreduce.codegen.lower_map import Stored
    from clreduce.runtime.plan import Plan

_Results = TypeVar("_Results")


@dataclass(slots=True)
class Launched:
    """The results of launched kernels, which may still be running."""

    call: Call | FinishCall | None
    """The call; None if there is nothing to compute."""
    results: tuple[Array, ...]
    written: tuple[Array, ...]
    """The arrays that kernels write: the results, or arrays in double precision that are rounded to them."""

    def wait(self) -> tuple[Array, ...]:
        """Wait for the kernels and return the results."""
        if self.call is not None:
            self.call.memory.finish()
            if self.written is not self.results:
                for result, written in zip(self.results, self.written, strict=True):
                    if written is not result:
                        assign(result, written)
        return self.results


def completed(memory: Memory, run: Callable[..., _Results], *arguments: object) -> _Results:
    """The result of ``run(*arguments)``, a function that launches kernels on ``memory`` and waits for them.

    If it raises an exception, no kernel runs any more when the exception reaches the caller, who may use the arrays for
    other purposes. An error of the driver becomes a `DeviceError`.
    """
    wait = memory.wait
    try:
        return run(*arguments)
    except BaseException as error:
        try:
            wait()  # first of all, before another signal can be handled
        except memory.driver_error as lost:  # kernels may still run: the queue keeps the memory
            raise memory.failure(lost) from error
        memory.abandon()
        if isinstance(error, memory.driver_error):
            raise memory.failure(error) from error
        raise


_WHOLE, _SPLIT, _PARTIAL, _JOINED = ("pair",), ("split", "merge"), ("split",), ("split", "join")


class _Launches:
    """Launches of a plan's kernels, for one index or for a batch."""

    def __init__(self, plan: Plan, region: Region, roles: tuple[str, ...], memory: Memory | None) -> None:
        assert plan.signature.batched or not region.batch, "the plan is for one index only"
        assert (plan.signature.blocks > 0) == (region.ranges is not None), "the plan is for other calls"
        self.plan, self.region, self.roles = plan, region, roles
        self.rows, self.columns, self.batch = region.rows, region.columns, region.batch
        self.count = region.count
        self.memory = memory or memory_for(plan.device)
        self.queue = self.memory.queue
        self.kernels: dict[Any, Any] = {}
        """The kernels by role; `Plan.prepared` sets them before the launch."""
        self._tables: dict[str, Any] = {}

    def _launch(self, role: Any, kernel: Kernel, size: tuple[int, int], buffers: Sequence[Any], *sizes: int) -> None:
        group, built = (self.plan.schedule.group, 1), self.kernels[role]
        if RECORDER.get() is not None or LAUNCHES.isEnabledFor(DEBUG):
            built = watched(built, self.plan, role)
        tables = (
            [self._tables[argument.name] for argument in kernel.arguments if argument.name in self._tables]
            if self._tables
            else ()
        )
        arguments = (*buffers, *tables, *sizes)
        order = self.memory.order
        if order is not None:
            sizes_, groups = ((*size, self.count), (*group, 1)) if self.plan.signature.batched else (size, group)
            order.launched(built(self.queue, sizes_, groups, *arguments, wait_for=order.before))
        elif self.plan.signature.batched:
            built(self.queue, (*size, self.count), (*group, 1), *arguments)
        else:
            built(self.queue, size, group, *arguments)

    def _watched(self, role: Any) -> Any:
        """The kernel object of a role."""
        built = self.kernels[role]
        if RECORDER.get() is not None or LAUNCHES.isEnabledFor(DEBUG):
            return watched(built, self.plan, role)
        return built

    def _padded(self, items: int) -> int:
        """``items`` rounded up to whole work-groups; the additional work-items return at once."""
        return -(-items // self.plan.schedule.group) * self.plan.schedule.group


class FinishCall(_Launches):
    """A call that computes results from the states of rows."""

    def __init__(self, plan: Plan, region: Region, memory: Memory, parts: int = 1) -> None:
        """``parts`` is the number of parts of j that have states."""
        super().__init__(plan, region, ("merge",), memory)
        self._parts = parts

    def launch(self, state: Sequence[Array], results: Sequence[Array]) -> None:
        """Launch the kernel that computes ``results`` from ``state``.

        ``state`` has an array (batch.., rows, D) for each slot, or (batch.., parts, rows, D) for several parts.
        """
        memory, region, first = self.memory, self.region, -1
        memory.hold()
        outputs = [memory.output(result) for result in results]
        states = [memory.input(array) for array in state]
        pairs = region.pairs
        if pairs is not None:
            table = numbered_from(region.first_column, pairs.first_columns(self.rows))
            self._tables = {"firsts": memory.input(table)}
        elif self.columns:
            first = region.first_column
        size = (self._padded(self.rows), 1)
        self._launch("merge", self.plan.lowered.merge, size, (*outputs, *states), self.rows, first, self._parts)


_WHOLE, _SPLIT, _PARTIAL, _JOINED = ("pair",), ("split", "merge"), ("split",), ("split", "join")


class Call(_Launches):
    """One call of a plan: its region, its buffers, its launches."""

    def __init__(
        self,
        plan: Plan,
        region: Region,
        memory: Memory | None = None,
        parts: Parts | None = None,
        partial: bool = False,
        resumes: bool = False,
        apart: bool = False,
    ) -> None:
        """Lay out a call of ``plan`` for a region; `launch` starts it.

        Calls that run together share ``memory``. If this call is a leaf of a larger one, ``parts`` are those of the
        larger one. With ``partial`` it computes states instead of results; with ``resumes`` these begin with the states
        after the columns before; with ``apart`` there is a state for each part of j.
        """
        _Launches.__init__(self, plan, region, _WHOLE, memory)  # `super()` takes longer
        self.tables: Tables | None = None
        self.parts: Parts
        columns, pairs = self.columns, region.pairs
        if pairs is not None:
            count, facts = max(self.count, 1), plan.device.facts
            length = 0 if parts is None else parts.length
            self.tables = pairs.cut(self.rows, plan.schedule, facts, count, plan.footprint, length)
            self.items, self.parts = self.tables.count, self.tables.parts
            columns, visited = self.tables.longest, self.tables.visited * count
        else:
            self.items, self.parts = plan.cut(self.rows, columns, self.count)
            if parts is not None:
                self.parts = Parts(max(1, -(-columns // parts.length)), parts.length)
            visited = self.items * columns * self.count
        self._partial, self._resumes = partial, resumes
        if partial:
            self.roles = _JOINED if not apart and (resumes or self.parts.count > 1) else _PARTIAL
        elif self.parts.count > 1:
            self.roles = _SPLIT
        self._columns_of_group = columns
        """The most columns that a work-group visits."""
        self._is_long = visited * plan.schedule.group_rows > plan.pace.most
        """Whether pair kernels are launched in slices."""

    @property
    def temporaries(self) -> int:
        """Bytes on the device besides data and results: values stored for pair kernels, states, tables."""
        tables = () if self.tables is None else self.tables.named(0).values()
        stored = sum(kernel.length(self._stored_size(kernel)) for kernel in self.plan.lowered.stored)
        states = 0 if len(self.roles) == 1 else self.parts.count * self.rows * sum(self.plan.state_sizes)
        own = self.count * (stored * np.dtype(self.plan.signature.dtype).itemsize + states)
        return own + sum(table.nbytes for table in tables)

    def launch(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Launch the kernels that compute ``results``. They are complete after ``memory.finish()``.

        The results of a partial call are states, (batch.., rows, D) for each slot. If it resumes, it also reads them.
        """
        self.memory.hold()
        buffers, starts = self._slots(arrays)
        output, resumes = self.memory.output, self._resumes
        outputs = [output(result, resumes) for result in results]
        if self.tables is not None:
            named = self.tables.named(self.region.first_column)
            self._tables = {name: self.memory.input(table) for name, table in named.items()}
        self._store(buffers, starts)
        self._reduce(buffers, starts, outputs)

    def _slots(self, arrays: Sequence[Array]) -> tuple[dict[Any, Any], dict[Any, Array]]:
        """For each variable its buffer, and the offset in it at which the data of each index of the batch begin."""
        buffers: dict[Any, Any] = {}
        starts: dict[Any, Array] = {}
        for slot, supplied in zip(self.plan.program.slots, arrays, strict=True):
            array = supplied
            if type(array) is np.ndarray and not array.flags.c_contiguous:
                array = np.ascontiguousarray(without_repeats(array, len(self.batch)))
            buffers[slot] = self.memory.input(array)
            if self.plan.signature.batched:
                own = array.shape[: len(self.batch)]
                step = array.size // max(prod(own), 1)
                first = np.arange(prod(own), dtype=np.int64).reshape(own) * step
                starts[slot] = np.broadcast_to(first, self.batch).reshape(-1)
        return buffers, starts

    def _store(self, buffers: dict[Any, Any], starts: dict[Any, Array]) -> None:
        """Compute the values that pair kernels read instead of computing them for each pair."""
        plan = self.plan
        for n, (leaf, stored) in enumerate(zip(plan.lowered.stored_as, plan.lowered.stored, strict=True)):
            size = self._stored_size(stored)
            length = stored.length(size)
            buffers[leaf] = self.memory.scratch(self.count * length, plan.signature.dtype)
            starts[leaf] = np.arange(self.count, dtype=np.int64) * length
            if size:
                inputs = self._arguments(stored.inputs, buffers, starts)
                items = self._padded(-(-size // plan.schedule.lanes))
                sizes = (size, self._origin[stored.domain == Domain.J]) if stored.kernel.origin else (size,)
                self._launch(("stored", n), stored.kernel, (items, 1), (buffers[leaf], *inputs), *sizes)

    def _stored_size(self, stored: Stored) -> int:
        """The number of i or j for which values are stored."""
        if stored.by_task:
            return self.items * self.plan.schedule.group_rows
        return {Domain.I: self.rows, Domain.J: self.columns, Domain.P: 1}[stored.domain]

    @property
    def _origin(self) -> tuple[int, int]:
        return self.region.first_row, self.region.first_column

    def _reduce(self, buffers: dict[Any, Any], starts: dict[Any, Array], outputs: list[Any]) -> None:
        plan, parts = self.plan, self.parts
        inputs = self._arguments(plan.lowered.inputs, buffers, starts)
        size = (self.items * plan.schedule.group, parts.count)
        sizes: tuple[int, ...] = (self.rows, self.items)
        if self.tables is None:
            sizes = (self.rows, self.columns, parts.length)
        if plan.program.has_positions:
            sizes += self._origin
        if len(self.roles) == 1:
            kernel = plan.lowered.pair_split if self._partial else plan.lowered.pair
            self._launch(self.roles[0], kernel, size, (*outputs, *inputs), *sizes)
            return
        states = [self.memory.scratch(self.count * parts.count * self.rows * dim, kind) for dim, kind in plan.states]
        self._launch("split", plan.lowered.pair_split, size, (*states, *inputs), *sizes)
        size = (self._padded(self.rows), 1)
        if self._partial:
            sizes = (self.rows, int(self._resumes), parts.count)
            self._launch("join", plan.lowered.join, size, (*outputs, *states), *sizes)
        else:
            sizes = (self.rows, self.region.first_column if self.columns else -1, parts.count)
            self._launch("merge", plan.lowered.merge, size, (*outputs, *states), *sizes)

    def _arguments(self, inputs: Sequence[Any], buffers: dict[Any, Any], starts: dict[Any, Array]) -> list[Any]:
        """The buffers of a kernel's inputs, and in a batch the table of the offsets at which their data begin."""
        arguments = [buffers[leaf] for leaf in inputs]
        if self.plan.signature.batched:
            table = np.stack([starts[leaf] for leaf in inputs], axis=1) if inputs else np.zeros(1, np.int64)
            arguments.append(self.memory.input(np.ascontiguousarray(table)))
        return arguments

    def _launch(self, role: Any, kernel: Kernel, size: tuple[int, int], buffers: Sequence[Any], *sizes: int) -> None:
        if not self._is_long or role not in ("pair", "split"):
            _Launches._launch(self, role, kernel, size, buffers, *sizes)
            return
        tables = [self._tables[argument.name] for argument in kernel.arguments if argument.name in self._tables]
        self._launch_in_slices(self._watched(role), size, (*buffers, *tables, *sizes))

    def _tell(self, portion: float) -> None:
        """Report the fraction of the call's pairs that was visited."""
        progress = current()
        if progress is not None:
            progress.advance(portion * self.region.area)

    def _launch_in_slices(self, built: Any, size: tuple[int, int], arguments: Sequence[Any]) -> None:
        schedule, device, order = self.plan.schedule, self.plan.device, self.memory.order
        dimensions = 3 if self.plan.signature.batched else 2
        # In a batch, the states of all parts of an index are contiguous, so all parts of an index run together.
        parts = 1 if dimensions == 3 else self.parts.count

        def launch(group: int, groups: int, part: int, own_parts: int, index: int, indices: int) -> None:
            event = built(
                self.queue,
                (groups * schedule.group, own_parts if parts > 1 else size[1], indices)[:dimensions],
                (schedule.group, 1, 1)[:dimensions],
                *arguments,
                global_offset=(group * schedule.group, part, index)[:dimensions],
                wait_for=None if order is None else order.before,
            )
            if order is not None:
                order.launched(event)

        pairs = schedule.group_rows * max(1, self._columns_of_group / parts)
        count = self.count if dimensions == 3 else 1
        in_slices(
            launch, self.memory.wait, self.items, parts, count, pairs, self.plan.pace, device.facts.compute_units,
            self._tell,
        )  # fmt: skip
