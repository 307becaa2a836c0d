"""`SeveralDevices`: an executor whose devices share a call in proportion to their measured speeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from clreduce.call.executor import Executor, Job, OneDevice, one_device
from clreduce.call.feeding import completed_lists, with_parameters
from clreduce.call.ready import Ready
from clreduce.call.sharing import SharedRun, Sharing, Units
from clreduce.call.walk import Walk
from clreduce.call.work import Prepared, Work
from clreduce.errors import ClreduceError, CompileError, DeviceError, OutOfMemoryError
from clreduce.memo import Memo, memoised
from clreduce.runtime import progress
from clreduce.runtime.device import Device
from clreduce.runtime.region import Region
from clreduce.typing import Array
from clreduce.warning import warn

_WORTH_SHARING = 0.005
"""A call is shared if it takes at least this many seconds on the first device."""
_MANY = 8
"""With this many turns per device, all devices finish at about the same time."""
_LEFT_OUT: Memo[Device, str] = Memo()
"""Devices that have failed, with the error message."""


@dataclass(frozen=True)
class Axis:
    """The axis along which a region is cut into units."""

    kind: Literal["indices", "rows", "columns"]
    units: int
    length: int
    """The number of indices, rows or columns in a unit."""
    step: int
    """The number of units that keep a device busy."""
    dimension: int = 0
    """The dimension of the batch, if ``kind`` is "indices"."""

    @property
    def turns(self) -> int:
        """The number of times that the units keep a device busy."""
        return self.units // self.step

    def part(self, region: Region, units: Units) -> Region:
        """The part of a region that consists of these units."""

        def interval(size: int) -> tuple[int, int]:
            return units[0] * self.length, min(units[1] * self.length, size)

        if self.kind == "rows":
            return region.part(rows=interval(region.rows))
        if self.kind == "columns":
            return region.part(columns=interval(region.columns))
        whole = tuple((0, size) for size in region.batch[: self.dimension])
        return region.part(indices=(*whole, interval(region.batch[self.dimension])))


@dataclass(frozen=True)
class Member:
    """One of the devices that share a call."""

    number: int
    """The position of the device in ``SeveralDevices.devices``."""
    executor: OneDevice
    ready: Ready


@dataclass(frozen=True)
class SeveralDevices(Executor):
    """Devices that share calls by rows, by indices of a batch, or, if there are few rows, by columns.

    A shared call gives each row the bits that its device alone would give. Results on devices of one kind therefore do
    not depend on the number of devices, or on which device computed which rows.
    """

    devices: tuple[Device, ...]
    limit: int | None = None
    """Bytes that a call may take on each device; None as in `OneDevice`."""
    deterministic: bool = False
    """Whether the order of additions depends on the formula and the arrays only (`set_deterministic`)."""

    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        shared = self._shared(job, with_columns=True)
        if shared is None:
            return self._first.run(self._of_first(job), results)
        work, arrays = job[0], with_parameters(job[0], job[2])
        members, axis = shared
        if axis.kind == "columns":
            return self._merged(work, arrays, members, axis, results)
        results = members[0].ready.plan.new_results(work.region) if results is None else results
        self._share_rows(work, arrays, members, axis, results, of_states=False)
        return results

    def partial(self, job: Job, begin: tuple[Array, ...] = ()) -> tuple[Array, ...]:
        shared = None if begin else self._shared(job, with_columns=False)
        if shared is None:
            return self._first.partial(self._of_first(job), begin)
        work, arrays = job[0], with_parameters(job[0], job[2])
        states = shared[0][0].ready.plan.neutral_state(work.region)
        self._share_rows(work, arrays, *shared, states, of_states=True)
        return states

    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        return self._first.finish(self._of_first(job), state, region)

    def first_device(self) -> Device:
        return self._first.device

    def prepare(self, job: Job) -> Ready:
        return self._first.prepare(self._of_first(job))

    def repeats(self, job: Job) -> bool:
        return self._shared(job, with_columns=True) is None and self._first.repeats(self._of_first(job))

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        if all(self._is_small(job) for job in jobs):
            return self._first.run_together([self._of_first(job) for job in jobs])
        return [self.run(job) for job in jobs]

    @property
    def _first(self) -> OneDevice:
        """The executor of the first device that has not failed; it runs small calls."""
        return self._one(self._numbers[0])

    @property
    def _numbers(self) -> list[int]:
        """The numbers of the devices that have not failed; all numbers if all devices have failed."""
        able = [n for n, device in enumerate(self.devices) if device not in _LEFT_OUT]
        return able or list(range(len(self.devices)))

    def _is_small(self, job: Job) -> bool:
        """Whether a call is too short to be worth sharing."""
        self._check_precision(job[0])
        return job[0].region.area < _WORTH_SHARING * _speed(self.prepare(job))

    def _shared(self, job: Job, with_columns: bool) -> tuple[list[Member], Axis] | None:
        """The devices that share a call, and the axis; None if the first device runs it alone."""
        if self._is_small(job) or len(self._numbers) < 2:
            return None
        work, prepared, arrays = job
        members: list[Member] = []
        failures: dict[int, ClreduceError] = {}
        for number in self._numbers:
            executor = self._one(number)
            try:
                ready = executor.prepare((work, self._prepared(prepared, number), arrays))
            except (DeviceError, CompileError) as error:
                failures[number] = error
                continue
            if not self.deterministic:
                ready = replace(ready, parts=ready.plan.parts_of(work.region))
            members.append(Member(number, executor, ready))
        if not members:
            raise failures[min(failures)]
        self._leave_out(failures)
        axis = axis_of(work.region, members, with_columns)
        return None if axis is None or len(members) < 2 else (members, axis)

    def _of_first(self, job: Job) -> Job:
        """The job with the cache of the first device."""
        return job[0], self._prepared(job[1], self._numbers[0]), job[2]

    def _one(self, number: int) -> OneDevice:
        """The executor of one of the devices."""
        return one_device(self.devices[number], self.limit, self.deterministic)

    def _prepared(self, prepared: Prepared, number: int) -> Prepared:
        """The cache of a work on one device."""
        own: Prepared | None = prepared.get(number)
        return prepared.keep(number, Memo()) if own is None else own

    def _check_precision(self, work: Work) -> None:
        """Raise `DeviceError` if a call needs float64 and only some of the devices have it."""
        if work.dtype != "float64" and work.options.dtype_acc != "float64":
            return
        without = [device for device in self.devices if not device.facts.has_double]
        if without and len(without) < len(self.devices):
            raise DeviceError(
                f"the call needs float64, and of the {len(self.devices)} devices in use these have none: "
                f"{', '.join(map(repr, without))}. Use float32 data, or name devices with float64 in use_devices "
                "(clreduce.explain_devices() lists them)"
            )

    def _share_rows(
        self, work: Work, arrays: Sequence[Array], members: Sequence[Member], axis: Axis, targets: tuple[Array, ...],
        of_states: bool,
    ) -> None:  # fmt: skip
        """Compute the results of a region, or its states, into ``targets``."""

        def computation(member: Member) -> Callable[[Units], None]:
            walk = Walk(work, member.ready, arrays)
            walk.write_to(targets, of_states)
            return lambda units: walk.compute(axis.part(work.region, units))

        self._share(work.region, members, axis, computation)

    def _merged(
        self, work: Work, arrays: Sequence[Array], members: Sequence[Member], axis: Axis,
        results: tuple[Array, ...] | None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The results of a region whose devices share the parts of j. One device merges their states in order."""
        region, plan = work.region, members[0].ready.plan
        parts = replace(members[0].ready.parts, count=axis.units, length=axis.length)
        states = tuple(np.empty((*region.batch, parts.count, region.rows, dim), kind) for dim, kind in plan.states)

        def computation(member: Member) -> Callable[[Units], None]:
            walk = Walk(work, member.ready, arrays)

            def compute(units: Units) -> None:
                views = tuple(state[..., units[0] : units[1], :, :] for state in states)
                part = axis.part(region, units)
                member.ready.plan.states_of_parts(walk.arrays_of(part), part, parts, views, walk.shared)

            return compute

        failures = self._share(region, members, axis, computation)
        for member in members:
            if member.number in failures:
                continue
            try:
                merged = member.ready.plan.finish(states, region, results, parts.count)
                return completed_lists(work, merged)
            except (DeviceError, CompileError) as error:
                failures[member.number] = error
        raise failures[min(failures)]

    def _share(
        self, region: Region, members: Sequence[Member], axis: Axis,
        computation: Callable[[Member], Callable[[Units], None]],
    ) -> dict[int, ClreduceError]:  # fmt: skip
        """Compute all units; the result maps the numbers of devices that have failed to their errors."""
        pairs = max(1.0, region.area / axis.units)
        paces = [member.ready.plan.pace for member in members]
        speeds = [_speed(member.ready) / pairs for member in members]
        sharing = Sharing(axis.units, axis.step, speeds, [pace.measured > 0 for pace in paces])
        devices = [member.executor.device for member in members]
        with progress.shown(region.area):
            run = SharedRun(devices, [computation(member) for member in members], sharing)
            run.finish()
        for pace, speed, is_measured in zip(paces, sharing.speeds, sharing.measured, strict=True):
            if is_measured:
                pace.measured = speed * pairs
        failures = {members[n].number: error for n, error in run.failures.items()}
        self._leave_out(failures)
        return failures

    def _leave_out(self, failures: dict[int, ClreduceError]) -> None:
        """Warn of devices that have failed. Later calls do not use them, unless they only ran out of memory."""
        for number, error in failures.items():
            is_permanent = not isinstance(error, OutOfMemoryError)
            if is_permanent:
                _LEFT_OUT.keep(self.devices[number], str(error))
            advice = ", and is left out until clreduce.clear_caches() is called" if is_permanent else ""
            warn(
                f"{self.devices[number]!r} failed in a call; it left its part to the other devices{advice}. {error}",
                RuntimeWarning,
            )


def axis_of(region: Region, members: Sequence[Member], with_columns: bool) -> Axis | None:
    """The axis along which a region is shared; None if no axis keeps all devices busy.

    Columns are cut at the ends of parts of j, and only if the whole call fits into memory.
    """
    units = max(member.executor.device.facts.compute_units for member in members)
    group_rows = max(member.ready.plan.schedule.group_rows for member in members)
    parts = min((member.ready.parts for member in members), key=lambda parts: parts.length)
    groups, count = -(-region.rows // group_rows), region.count
    axes = []
    if count > 1:
        dimension = next(n for n, size in enumerate(region.batch) if size > 1)
        size = region.batch[dimension]
        step = max(1, units // max(1, groups * parts.count * (count // size)))
        axes.append(Axis("indices", size, 1, step, dimension))
    axes.append(Axis("rows", groups, group_rows, max(1, units // (parts.count * max(1, count)))))
    number = -(-region.columns // parts.length)
    fits = not any(member.ready.tree or member.ready.sources for member in members)
    if with_columns and fits and count == 1 and region.ranges is None and number > 1:
        axes.append(Axis("columns", number, parts.length, max(1, units // groups)))
    enough = [axis for axis in axes if axis.turns >= _MANY * len(members)]
    axis = enough[0] if enough else max(axes, key=lambda axis: axis.turns)
    return axis if axis.turns >= len(members) else None


def _speed(ready: Ready) -> float:
    """Pairs per second on a device: measured, or expected if there is no measurement."""
    pace = ready.plan.pace
    return pace.measured or pace.expected


@memoised(64)
def several_devices(
    devices: tuple[Device, ...], limit: int | None = None, deterministic: bool = False
) -> SeveralDevices:
    """The executor of two or more devices. Equal arguments give the same object."""
    return SeveralDevices(devices, limit, deterministic)
