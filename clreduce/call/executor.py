"""Executors run works on arrays: at once, or cut into what fits. Here the one for a single device.

What a cut needs is there once, for every reduction: how a region is cut (`Ready`) and the walk over the tree (`Walk`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clreduce.call.feeding import are_plain, as_read, completed_lists, has_sources, with_parameters
from clreduce.call.ready import Ready
from clreduce.call.walk import Walk
from clreduce.call.work import Work
from clreduce.errors import OutOfMemoryError, ScheduleError
from clreduce.ir.expr import INDEX
from clreduce.memo import Memo, memoised
from clreduce.runtime import progress
from clreduce.runtime.budget import memory_limit
from clreduce.runtime.cuts import Leaf
from clreduce.runtime.device import Device
from clreduce.runtime.launch import completed
from clreduce.runtime.lent import LentDevice
from clreduce.runtime.memory import Memory
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.region import Region
from clreduce.runtime.resident import assign
from clreduce.runtime.resident_memory import memory_for
from clreduce.typing import Array

Prepared = Memo[Any, Any]
"""What is kept between runs of one work by one executor."""
Job = tuple[Work, Prepared, Sequence[Array]]
"""A work, what is kept for it, and its arrays: one per slot, (.., rows, D), (.., columns, D) or (.., D)."""


class Executor(ABC):
    """Runs works."""

    @abstractmethod
    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D), written into ``results`` if those are given."""

    @abstractmethod
    def partial(self, job: Job, begin: tuple[Array, ...] = ()) -> tuple[Array, ...]:
        """What rows keep after the columns of a work: an array (batch.., rows, D) for each slot of the reduction.

        ``begin``: what they have kept before these columns.
        """

    @abstractmethod
    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        """The results of rows that have met all columns of a region; ``job``: of the last of these columns."""

    @abstractmethod
    def first_device(self) -> Device:
        """The device; the first of several."""

    @abstractmethod
    def prepare(self, job: Job) -> Ready:
        """How a work runs on the device, the first of several, without running it."""

    @abstractmethod
    def repeats(self, job: Job) -> bool:
        """Whether a work is one call of a plan on one device, whose launches may be recorded and repeated."""

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        """The results of several jobs, none of which needs those of another."""
        return [self.run(job) for job in jobs]


@dataclass(frozen=True)
class OneDevice(Executor):
    """Runs works on one device."""

    device: Device
    limit: int | None = None
    """Bytes that a call may take; None: as many as `memory_limit` says, or the device has."""
    deterministic: bool = False
    """Whether the order of sums follows the formula and the arrays alone (`set_deterministic`)."""

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
        """The results in blocks, after a driver had no memory for the whole."""
        smaller = ready.smaller(Leaf(work.region), ready.budget, error)
        return Walk(work, ready, arrays).run(*smaller, results)

    def _run_in_tiles(self, job: Job, results: tuple[Array, ...] | None, error: ScheduleError) -> tuple[Array, ...]:
        """The results of a work whose rows are too long for a kernel: those of each half of their components.

        The error, where results do not fall apart into components, or one alone is too much.
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
        return Walk(work, ready, arrays, begin).state(ready.tree or Leaf(work.region), ready.budget)

    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        return completed_lists(job[0].on(region), self.prepare(job).plan.finish(state, region))

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        """Run jobs and wait once for all of them, since a wait takes as long as a small kernel."""
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

    def repeats(self, job: Job) -> bool:
        ready = self.prepare(job)
        return ready.tree is None and not ready.sources and not self.deterministic

    def _ready(self, work: Work, prepared: Prepared, arrays: Sequence[Array], plain: bool = False) -> Ready:
        """How the work runs for these arrays. It is worked out again when plans have been forgotten, as for a schedule
        that was found faster, and for another limit."""
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
            if not isinstance(tree, Leaf):
                parts = ready.parts if self.deterministic else plan.parts_of(region)
                ready = replace(ready, tree=tree, parts=parts)
            prepared.keep(key, ready)
        return ready


_PLAIN: Memo[Device, OneDevice] = Memo()


def plain_executor(device: Device) -> OneDevice:
    """`one_device` without options."""
    return _PLAIN.get(device) or _PLAIN.keep(device, one_device(device))


@memoised(64)
def one_device(device: Device, limit: int | None = None, deterministic: bool = False) -> OneDevice:
    """The executor of a device; the same one each time."""
    return OneDevice(device, limit, deterministic)
