"""`Plan`: a program that is prepared for one device and one dtype. Its first call builds kernels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from clreduce.codegen.fallback import simpler
from clreduce.codegen.lower import Lowered, lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import Schedule, for_few_columns, narrowed
from clreduce.domain import Domain
from clreduce.errors import CompileError, DeviceError, OutOfMemoryError
from clreduce.ir.expr import INDEX, topological
from clreduce.memo import Memo
from clreduce.program import MapReduce
from clreduce.runtime.blocks import Footprint, Parts, cut_columns
from clreduce.runtime.built_kernels import BuiltKernels
from clreduce.runtime.choices import CHOICES, Case
from clreduce.runtime.cuts import Bytes
from clreduce.runtime.determinism import PART
from clreduce.runtime.device import Device
from clreduce.runtime.launch import Call, FinishCall, Launched, completed
from clreduce.runtime.memory import Memory
from clreduce.runtime.profile import building, describe
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region
from clreduce.runtime.resident_memory import memory_for
from clreduce.runtime.shared_buffers import SharedBuffers
from clreduce.runtime.signature import Signature, signature_of
from clreduce.runtime.slices import Pace
from clreduce.typing import Array

_LOGGER = logging.getLogger("clreduce.schedules")
_LARGEST_INDEX = 2**31 - 2
AnyCall = TypeVar("AnyCall", Call, FinishCall)


class Plan:
    """The kernels of a program for one device. ``plan(arrays, rows, columns)`` computes results, for any sizes.

    Without an explicit ``schedule``, the plan has the one that tuning has chosen for the size class ``few``
    (`few_rows`), or else the default schedule. Without ``measured`` it ignores tuning, and with ``direct_sum`` it does
    not add up in blocks. If the driver refuses a kernel, a plan with a simpler schedule replaces this one permanently.
    An explicit schedule is not replaced; calls then raise `CompileError`.

    Raises `DeviceError` if the device lacks float64 that the plan needs.
    """

    @building("laid out")
    def __init__(
        self,
        program: MapReduce,
        signature: Signature,
        device: Device,
        schedule: Schedule | None = None,
        direct_sum: bool = False,
        few: int = 0,
        measured: bool = True,
    ) -> None:
        if signature.dtype == "float64" and not device.facts.has_double:
            raise DeviceError(
                f"{device} has no float64; use float32 data or another device (clreduce.explain_devices() lists them)"
            )
        if signature.wide and not device.facts.has_double:
            raise DeviceError(
                f"{device} has no float64 to keep sums in; use sum_scheme='kahan_scheme' instead of "
                "dtype_acc='float64', or another device (clreduce.explain_devices() lists them)"
            )
        self.program, self.signature, self.device = program, signature, device
        self.case = Case(program, signature.real, device, direct_sum, few, signature.wide)
        chosen = CHOICES.get(self.case) if schedule is None and measured else None
        self.tuned = chosen is not None
        """Whether tuning has chosen the schedule."""
        self.schedule = schedule or for_few_columns(
            program, narrowed(chosen or self.case.default(), signature.blocks), signature.visits
        )
        self._succession = Succession(schedule is not None)
        self.lowered: Lowered = lower(
            program,
            signature.real,
            self.schedule,
            device.facts.in_full_accuracy if signature.full else device.facts,
            signature.batched,
            signature.blocks > 0,
            signature.wide,
        )
        if _LOGGER.isEnabledFor(logging.DEBUG):
            why = "explicit" if schedule is not None else "tuned" if self.tuned else "default"
            if schedule is None and self.schedule != (chosen or self.case.default()):
                why += ", narrowed for blocks of few rows"
            _LOGGER.debug("%s schedule for %s in %s: %s", why, describe(program), signature.dtype, self.schedule)
        self._has_indices = any(slot.kind == INDEX for slot in program.state_slots) or any(
            node.kind == INDEX for node in topological(program.values)
        )
        size = np.dtype(signature.dtype).itemsize
        self.footprint = Footprint.of(program, self.lowered.inputs, size, self.schedule)
        if 0 < device.facts.most_turns < self.footprint.turns:
            raise DeviceError(
                f"{device} ends the loops of a kernel after {device.facts.most_turns} turns, and this formula may take "
                f"{self.footprint.turns} for one pair: use shorter vectors or another device"
            )
        self._outputs = tuple((out.dim, "int64" if out.kind == INDEX else signature.dtype) for out in program.outputs)
        self.result_sizes = tuple(dim * np.dtype(kind).itemsize for dim, kind in self._outputs)
        """The bytes per row of each result."""
        self.states = tuple(
            (slot.dim, "int64" if slot.kind == INDEX else signature.state_dtype) for slot in program.state_slots
        )  # fmt: skip
        """The length and dtype of each slot of a state."""
        self.state_sizes = tuple(dim * np.dtype(kind).itemsize for dim, kind in self.states)
        self.kernels = BuiltKernels(program, self.lowered, device)
        self._cuts: Memo[tuple[int, int, int], tuple[int, Parts]] = Memo()
        self.pace = Pace(program, device.facts, signature.real, self.schedule.lanes)

    @property
    def source(self) -> str:
        """The OpenCL C of the kernels of a call, in the order in which they run.

        If j is cut, two others replace the last one: a kernel with a different end, which stores states, and a kernel
        that merges the states.
        """
        kernels = [stored.kernel for stored in self.lowered.stored] + [self.lowered.pair]
        return "\n\n".join(render(kernel) for kernel in kernels)

    def __call__(
        self,
        arrays: Sequence[Array],
        rows: int,
        columns: int,
        results: tuple[Array, ...] | None = None,
        batch: tuple[int, ...] = (),
        ranges: Ranges | None = None,
    ) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D), written into ``results`` if it is not None.

        ``arrays`` has a contiguous array of shape (.., rows, D), (.., columns, D) or (.., D) for each slot of the
        program: reals in the plan's dtype, indices as int64. The leading dimensions broadcast to ``batch``, which only
        a plan for batches takes. ``ranges`` are the pairs to visit; only a plan for ranges takes them. The caller has
        checked the shapes.
        """
        visited = None if ranges is None else CheckedRanges.by_rows(ranges, rows, columns)
        return self.run(arrays, Region(rows, columns, batch, ranges=visited), results)

    def run(
        self,
        arrays: Sequence[Array],
        region: Region,
        results: tuple[Array, ...] | None = None,
        parts: Parts | None = None,
        shared: SharedBuffers | None = None,
    ) -> tuple[Array, ...]:
        """The results for a region. ``arrays`` are the data of this region only.

        If the region is a part of a larger call, ``parts`` are the parts of j of that call, and ``shared`` has its
        buffers that stay on the device.
        """
        memory = memory_for(self.device, shared)
        return completed(memory, self._run, arrays, region, results, memory, parts)

    def _run(self, *arguments: Any) -> tuple[Array, ...]:
        return self.launch(*arguments).wait()

    def launch(
        self,
        arrays: Sequence[Array],
        region: Region,
        results: tuple[Array, ...] | None,
        memory: Memory,
        parts: Parts | None = None,
    ) -> Launched:
        """Launch without waiting, in a function that is being `completed`.

        Calls that are waited for together share ``memory``.
        """
        if results is None:
            results = self.new_results(region)
        if region.rows == 0 or 0 in region.batch:
            return Launched(None, results, results)
        self.check_indices(region)
        written = self._as_written(results) if self.signature.wide else results
        call = self.prepared(lambda plan: Call(plan, region, memory, parts))
        call.launch(arrays, written)
        return Launched(call, results, written)

    def new_results(self, region: Region) -> tuple[Array, ...]:
        """New arrays for the results of a region; raises `OutOfMemoryError` if there is no memory for them."""
        shape = (*region.batch, region.rows)
        try:
            new_array = self.device.new_array
            return tuple([new_array((*shape, dim), dtype) for dim, dtype in self._outputs])
        except MemoryError as error:
            raise OutOfMemoryError(
                f"the host has no memory for the result ({error}): call with fewer rows at a time, or let out= be a "
                "numpy.memmap"
            ) from None

    def neutral_state(self, region: Region) -> tuple[Array, ...]:
        """The neutral state of rows before any column: an array (batch.., rows, D) for each slot."""
        shape, slots = (*region.batch, region.rows), self.program.state_slots
        state = []
        for slot, (dim, kind) in zip(slots, self.states, strict=True):
            state.append(self.device.new_array((*shape, dim), kind))
            state[-1].fill(slot.neutral)
        return tuple(state)

    def partial(
        self, arrays: Sequence[Array], region: Region, parts: Parts | None = None, begin: tuple[Array, ...] = (),
        shared: SharedBuffers | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The state of each row after the columns of a region, starting from the state ``begin``.

        The arrays of ``begin`` are updated in place and returned; without them, the neutral state is the start. If
        ``shared`` keeps states, their numbers are on the device only, for the next region and for `finish`.
        """
        if 0 in (region.rows, region.columns, *region.batch):
            return begin or self.neutral_state(region)
        shape = (*region.batch, region.rows)
        state = begin or tuple(self.device.new_array((*shape, dim), kind) for dim, kind in self.states)
        self.check_indices(region)
        if shared is not None:
            shared.begin_states(state)
        memory = memory_for(self.device, shared)
        completed(memory, self._launch_partial, arrays, region, memory, parts, state, bool(begin))
        return state

    def states_of_parts(
        self, arrays: Sequence[Array], region: Region, parts: Parts, states: tuple[Array, ...],
        shared: SharedBuffers | None = None,
    ) -> None:  # fmt: skip
        """Compute a state for each part of j into ``states``, an array (batch.., parts, rows, D) for each slot.

        The region must begin where a part begins.
        """
        self.check_indices(region)
        memory = memory_for(self.device, shared)
        completed(memory, self._launch_partial, arrays, region, memory, parts, states, False, True)

    def finish(
        self, state: Sequence[Array], region: Region, results: tuple[Array, ...] | None = None, parts: int = 1,
        shared: SharedBuffers | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The results of rows, from their ``state`` after all columns of a region.

        If ``parts`` is more than 1, ``state`` has an array (batch.., parts, rows, D) for each slot. The states of the
        parts are merged in the order of a call of the whole region, by the same kernel.
        """
        results = self.new_results(region) if results is None else results
        if region.rows == 0 or 0 in region.batch:
            return results
        memory = memory_for(self.device, shared)
        return completed(memory, self._finish, state, region, results, memory, parts)

    def _finish(
        self, state: Sequence[Array], region: Region, results: tuple[Array, ...], memory: Memory, parts: int
    ) -> tuple[Array, ...]:
        written = self._as_written(results)
        call = self.prepared(lambda plan: FinishCall(plan, region, memory, parts))
        call.launch(state, written)
        return Launched(call, results, written).wait()

    def _as_written(self, results: tuple[Array, ...]) -> tuple[Array, ...]:
        """The arrays that kernels write: the results, or arrays in double precision if states have that precision."""
        if not self.signature.wide:
            return results
        dtype = self.signature.state_dtype
        return tuple(
            result if result.dtype == np.int64 else self.device.new_array(result.shape, dtype) for result in results
        )

    def _launch_partial(
        self, arrays: Sequence[Array], region: Region, memory: Memory, parts: Parts | None, state: Any, resumes: bool,
        apart: bool = False,
    ) -> None:  # fmt: skip
        call = self.prepared(lambda plan: Call(plan, region, memory, parts, True, resumes, apart))
        call.launch(arrays, state)
        memory.finish()

    def fixed_parts(self, columns: int) -> Parts:
        """Parts of j that depend only on the number of columns and the length of a tile."""
        step = max(self.schedule.tile, 1)
        length = max(1, PART // step) * step
        if self.device.facts.most_turns:
            most = max(1, self.device.facts.most_turns // self.footprint.turns) * self.schedule.cols
            length = min(length, most)
        return Parts(max(1, -(-columns // length)), length)

    def cut(self, rows: int, columns: int, count: int) -> tuple[int, Parts]:
        """The number of blocks of rows, and the parts of j, for a call whose batch has ``count`` indices."""
        layout = self._cuts.get((rows, columns, count))
        if layout is None:
            items = -(-rows // self.schedule.group_rows)
            parts = cut_columns(
                items * count,
                columns,
                self.schedule,
                self.device.facts,
                rows * count,
                max(count, 1),
                self.footprint,
                max(1, self.pace.longest // self.schedule.group_rows),
            )
            layout = self._cuts.keep((rows, columns, count), (items, parts))
        return layout

    def parts_of(self, region: Region) -> Parts:
        """The parts into which kernels cut j in a region. With ranges they cut the columns that each block visits."""
        pairs = region.pairs
        if pairs is None or region.rows == 0:
            return self.cut(region.rows, region.columns, region.count)[1]
        return pairs.cut(region.rows, self.schedule, self.device.facts, max(region.count, 1), self.footprint).parts

    def bytes(self, region: Region, parts: Parts, in_place: bool = False) -> Bytes:
        """The memory of a call of a region whose j is cut into ``parts``; tables of ranges do not count.

        With ``in_place``, inputs and results do not count either: the device uses the host's arrays in place.
        """
        count, real = region.count, np.dtype(self.signature.dtype).itemsize
        sizes = {Domain.I: region.rows, Domain.J: region.columns, Domain.P: 1}
        inputs = [
            max(count, 1) * sizes[slot.domain] * slot.dim * (8 if slot.kind == INDEX else real)
            for slot in self.program.slots
        ]
        outputs = [count * region.rows * size for size in self.result_sizes]
        between = [count * stored.length(sizes[stored.domain]) * real for stored in self.lowered.stored]
        number = -(-region.columns // parts.length)
        if number > 1:
            between += [count * number * region.rows * size for size in self.state_sizes]
        if in_place:
            inputs, outputs = [], []
        return Bytes(sum(inputs), sum(outputs), sum(between), max(*inputs, *outputs, *between, 0, 0))

    def check_indices(self, region: Region) -> None:
        """Raise `DeviceError` if indices are too large: kernels store them in integers as wide as the data."""
        if not self._has_indices:
            return
        rows, columns = region.first_row + region.rows, region.first_column + region.columns
        if max(rows, columns) > _LARGEST_INDEX and self.signature.dtype == "float32":
            raise DeviceError(
                f"indices of {max(rows, columns)} rows need 64 bits, and kernels for float32 keep them in 32: "
                "use float64 data"
            )

    def prepared(self, make: Callable[[Plan], AnyCall]) -> AnyCall:
        """The call that ``make`` makes of this plan, with its kernels.

        If the driver refuses the kernels, the call is made of a plan with a simpler schedule. Raises `CompileError` if
        the driver refuses all of them.
        """
        plan = self
        while True:
            while plan._succession.successor is not None:
                plan = plan._succession.successor
            call = make(plan)
            try:
                if plan._succession.last is not None:
                    raise plan._succession.last
                call.kernels = plan.kernels.of(call.roles)
                return call
            except CompileError as error:
                plan = plan._simpler(error)

    def _simpler(self, refusal: CompileError) -> Plan:
        """The plan that replaces this one after the driver has refused its kernels."""
        own = self._succession
        with own.lock:
            if own.successor is None:
                schedule = None if own.is_fixed else simpler(self.schedule)
                if schedule is None:
                    own.last = own.last or own.error(refusal, self.schedule)
                    raise own.last
                plan = Plan(self.program, self.signature, self.device, schedule)
                plan._succession = Succession(False, own.first or refusal, (*own.tried, self.schedule))
                _LOGGER.warning(
                    "the driver of %r refused a kernel; it is built with a simpler schedule, which may be slower: "
                    "%s instead of %s (%s)",
                    self.device, schedule, self.schedule, " ".join(str(refusal).split())[:300],
                )  # fmt: skip
                own.successor = plan
            return own.successor


class Succession:
    """The replacement of a plan whose kernels the driver has refused, and the schedules that were tried before."""

    def __init__(self, is_fixed: bool, first: CompileError | None = None, tried: tuple[Schedule, ...] = ()) -> None:
        self.is_fixed, self.first, self.tried = is_fixed, first, tried
        self.successor: Plan | None = None
        self.last: CompileError | None = None
        """The error that calls raise if there is no simpler schedule."""
        self.lock = threading.Lock()

    def error(self, refusal: CompileError, schedule: Schedule) -> CompileError:
        """The error if there is no replacement: the first refusal, and the schedules that were tried."""
        if self.first is None:
            return refusal
        tried = "".join(f"\n  {refused}" for refused in (*self.tried, schedule))
        return CompileError(
            f"{self.first}\nSimpler schedules were refused, too. Tried:{tried}", source=self.first.source
        )


__all__ = ["Plan", "Signature", "signature_of"]
