"""Executors run works on arrays, whole or in blocks that fit into memory. `OneDevice` is the executor of one device.

`Ready` says how a region is cut into blocks, and `Walk` visits the blocks; both serve every reduction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clreduce.call.feeding import are_plain, as_read, completed_lists, has_sources, with_parameters
from clreduce.call.ready import Ready
from clreduce.call.walk import Walk
from clreduce.call.work import Prepared, Work
from clreduce.errors import OutOfMemoryError, ScheduleError
from clreduce.ir.expr import INDEX
from clreduce.memo import Memo, memoised
from clreduce.runtime import progress
from clreduce.runtime.budget import memory_limit
from clreduce.runtime.cuts import LeafRegion
from clreduce.runtime.device import Device
from clreduce.runtime.launch import completed
from clreduce.runtime.lent import LentDevice
from clreduce.runtime.memory import Memory
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.region import Region
from clreduce.runtime.resident import assign
from clreduce.runtime.resident_memory import memory_for
from clreduce.typing import Array

Job = tuple[Work, Prepared, Sequence[Array]]
"""A work, its cache, and its arrays: one per slot, (.., rows, D), (.., columns, D) or (.., D)."""


class Executor(ABC):
    """Runs works on one or more devices."""

    @abstractmethod
    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D). They are written into ``results`` if it is not None."""

    @abstractmethod
    def partial(self, job: Job, begin: tuple[Array, ...] = ()) -> tuple[Array, ...]:
        """The state of the rows after the columns of a work: an array (batch.., rows, D) per slot of the reduction.

        ``begin`` is the state before these columns; the neutral state if it is empty.
        """

    @abstractmethod
    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        """The results of the rows of ``region``, from their ``state`` after all of its columns.

        ``job`` is the job of the last of these columns.
        """

    @abstractmethod
    def first_device(self) -> Device:
        """The device, or the first of several."""

    @abstractmethod
    def prepare(self, job: Job) -> Ready:
        """The `Ready` of a work on the device, or on the first of several. Nothing runs."""

    @abstractmethod
    def repeats(self, job: Job) -> bool:
        """Whether a work is a single call of a plan on one device. Its launches can then be recorded and repeated."""

    @property
    def serves_threads(self) -> bool:
        """Whether threads that run works on the host's arrays at the same time gain from it."""
        return False

    def for_copies(self, array: object) -> Executor:
        """The executor of works on host copies of ``array`` and others beside it, on the device of ``array``."""
        return self

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        """The results of several independent jobs."""
        return [self.run(job) for job in jobs]


@dataclass(frozen=True)
class OneDevice(Executor):
    """Runs works on one device."""

    device: Device
    limit: int | None = None
    """Bytes that a call may take. None means `memory_limit`, or else the memory of the device."""
    deterministic: bool = False
    """Whether the order of additions depends on the formula and the arrays only (`set_deterministic`)."""

    def __hash__(self) -> int:  # each call looks its work up by it; that of a dataclass takes four times as long
        return id(self.device)

    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        work, prepared, arrays = job
        plain = are_plain(arrays)
        if not plain:
            arrays = with_parameters(work, arrays)
        try:
            ready = self._ready(work, prepared, arrays, plain)
        except ScheduleError as error:
            return self._run_in_tiles((work, prepared, arrays), results, error)
        if work.region.area > ready.plan.pace.most:
            with progress.shown(work.region.area):
                return self._run(work, ready, arrays, results)
        if not plain or ready.tree is not None:
            return self._run(work, ready, arrays, results)
        try:
            computed = ready.plan.run(arrays, work.region, results, ready.parts if self.deterministic else None)
        except OutOfMemoryError as error:
            return self._run_smaller(work, ready, arrays, results, error)
        return completed_lists(work, computed) if work.lists else computed

    def _run(
        self, work: Work, ready: Ready, arrays: Sequence[Array], results: tuple[Array, ...] | None
    ) -> tuple[Array, ...]:
        if ready.tree is None:
            try:
                read = as_read(arrays, work.region)
                return completed_lists(work, ready.plan.run(read, work.region, results, ready.fixed_parts))
            except OutOfMemoryError as error:
                return self._run_smaller(work, ready, arrays, results, error)
        return Walk(work, ready, arrays).run(ready.tree, ready.budget, results)

    def _run_smaller(
        self,
        work: Work,
        ready: Ready,
        arrays: Sequence[Array],
        results: tuple[Array, ...] | None,
        error: OutOfMemoryError,
    ) -> tuple[Array, ...]:
        """The results in smaller blocks, after the driver had no memory for the whole."""
        smaller = ready.smaller(LeafRegion(work.region), ready.budget, error)
        return Walk(work, ready, arrays).run(*smaller, results)

    def _run_in_tiles(self, job: Job, results: tuple[Array, ...] | None, error: ScheduleError) -> tuple[Array, ...]:
        """The results of a work whose rows are too long for a kernel, computed in halves of the components.

        Raises ``error`` if the components cannot be computed separately, or if a single one is too large.
        """
        work, prepared, arrays = job
        length, region, count = work.program.length, work.region, work.program.reduction.count or 1
        if length < 2:
            raise error
        whole = results or tuple(
            self.device.new_array(
                (*region.batch, region.rows, output.dim), "int64" if output.kind == INDEX else work.dtype
            )
            for output in work.program.outputs
        )
        targets = [result.reshape((*region.batch, region.rows, count, length)) for result in whole]
        for start, stop in ((0, length // 2), (length // 2, length)):
            tile, own, slots = prepared.fetch((start, stop), lambda: work.components(start, stop))  # noqa: B023
            for target, part in zip(targets, self.run((tile, own, [arrays[slot] for slot in slots])), strict=True):
                assign(target[..., start:stop], part.reshape((*target.shape[:-1], stop - start)))
        return whole

    def partial(self, job: Job, begin: tuple[Array, ...] = ()) -> tuple[Array, ...]:
        work, prepared, arrays = job
        arrays = with_parameters(work, arrays)
        ready = self._ready(work, prepared, arrays)
        return Walk(work, ready, arrays, begin).state(ready.tree or LeafRegion(work.region), ready.budget)

    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        return completed_lists(job[0].on(region), self.prepare(job).plan.finish(state, region))

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        """Run jobs and wait once for all of them, because a wait takes as long as a small kernel."""
        try:
            ready = [self.prepare(job) for job in jobs]
        except ScheduleError:
            return [self.run(job) for job in jobs]
        if len(jobs) < 2 or any(each.tree is not None or each.sources for each in ready):
            return [self.run(job) for job in jobs]
        memory, area = memory_for(self.device), sum(job[0].region.area for job in jobs)
        try:
            if area > ready[0].plan.pace.most:
                with progress.shown(area):
                    return completed(memory, self._launch_together, jobs, ready, memory)
            return completed(memory, self._launch_together, jobs, ready, memory)
        except OutOfMemoryError:
            return [self.run(job) for job in jobs]

    def _launch_together(self, jobs: Sequence[Job], ready: Sequence[Ready], memory: Memory) -> list[tuple[Array, ...]]:
        launched = [
            each.plan.launch(
                as_read(arrays, work.region), work.region, None, memory, each.parts if self.deterministic else None
            )
            for (work, _, arrays), each in zip(jobs, ready, strict=True)
        ]
        results = [each.wait() for each in launched]
        return [completed_lists(job[0], computed) for job, computed in zip(jobs, results, strict=True)]

    def prepare(self, job: Job) -> Ready:
        work, prepared, arrays = job
        if are_plain(arrays):
            return self._ready(work, prepared, arrays, plain=True)
        return self._ready(work, prepared, with_parameters(work, arrays))

    def first_device(self) -> Device:
        return self.device

    @property
    def serves_threads(self) -> bool:
        # Elsewhere, each work copies its arrays to the device. A limit of memory is that of one work.
        facts = self.device.facts
        in_place = facts.kind == "cpu" and (facts.shares_host_memory or facts.shares_addresses)
        return in_place and self.limit is None and memory_limit() is None and not isinstance(self.device, LentDevice)

    def repeats(self, job: Job) -> bool:
        ready = self.prepare(job)
        return ready.tree is None and not ready.sources and not self.deterministic

    def _ready(self, work: Work, prepared: Prepared, arrays: Sequence[Array], plain: bool = False) -> Ready:
        """The `Ready` of a work for these arrays. It is prepared again if the memory limit has changed, or if plans
        have been forgotten (for example, after tuning found a faster schedule)."""
        moderate = work.arrangement is not None and work.arrangement.holds(arrays)
        limit = self.limit if self.limit is not None else memory_limit()
        sources = not plain and has_sources(arrays)
        in_place = limit is None and (
            (self.device.facts.shares_addresses and (plain or are_plain(arrays))) or isinstance(self.device, LentDevice)
        )
        key = (moderate, in_place, sources)
        ready: Ready | None = prepared.get(key)
        if ready is None or ready.forgotten != PLANS.forgotten or ready.limit != limit:
            forgotten, region = PLANS.forgotten, work.region
            plan = work.plan(self.device, moderate, measured=not self.deterministic)
            if self.deterministic:
                parts = plan.fixed_parts(region.columns)
            else:
                parts = plan.cut(region.rows, region.columns, region.count)[1]
            ready = Ready(forgotten, limit, plan, None, parts, in_place, sources, self.deterministic)
            tree = ready.cut(region, ready.budget, in_place)
            if not isinstance(tree, LeafRegion):
                parts = ready.parts if self.deterministic else plan.parts_of(region)
                ready = replace(ready, tree=tree, parts=parts)
            prepared.keep(key, ready)
        return ready


_PLAIN: Memo[Device, OneDevice] = Memo()


def plain_executor(device: Device) -> OneDevice:
    """`one_device` without options, at less cost per call."""
    return _PLAIN.get(device) or _PLAIN.keep(device, one_device(device))


@memoised(64)
def one_device(device: Device, limit: int | None = None, deterministic: bool = False) -> OneDevice:
    """The executor of a device. Equal arguments give the same object."""
    return OneDevice(device, limit, deterministic)
