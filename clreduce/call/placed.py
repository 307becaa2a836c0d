"""Calls on device arrays: they run on the arrays' queue, in the caller's context."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clreduce.call.backend import checked_limits, kind_of
from clreduce.call.executor import Executor, Job, OneDevice, one_device
from clreduce.call.ready import Ready
from clreduce.call.runner import HostRunner
from clreduce.errors import BackendError, DeviceError
from clreduce.memo import Memo
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device, devices, select
from clreduce.runtime.region import Region
from clreduce.runtime.resident import first_resident, place_of_array, place_of_arrays
from clreduce.typing import Array


@dataclass(frozen=True)
class WhereArraysAre(Executor):
    """Runs each work on the queue of its first device array.

    A work without device arrays (for example, one whose states are on the host) runs on the current device.
    """

    limit: int | None = None
    deterministic: bool = False

    @contextlib.contextmanager
    def _at(self, arrays: Sequence[Any]) -> Iterator[OneDevice]:
        array = first_resident(arrays)
        if array is None:
            yield one_device(current_device(), self.limit, self.deterministic)
            return
        place = place_of_array(array)
        with place.device.at(place):
            yield one_device(place.device, self.limit, self.deterministic)

    @staticmethod
    def _own(job: Job, executor: OneDevice) -> Job:
        """The job with its cache for that executor."""
        work, prepared, arrays = job
        own = prepared.get(executor)
        return work, prepared.fetch(executor, Memo) if own is None else own, arrays

    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        array = first_resident(job[2])
        if array is None:
            return one_device(current_device(), self.limit, self.deterministic).run(job, results)
        place = place_of_array(array)
        executor = one_device(place.device, self.limit, self.deterministic)
        with place.device.at(place):
            return executor.run(self._own(job, executor), results)

    def partial(self, job: Job, begin: tuple[Array, ...] = ()) -> tuple[Array, ...]:
        with self._at(job[2]) as executor:
            return executor.partial(self._own(job, executor), begin)

    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        with self._at(job[2]) as executor:
            return executor.finish(self._own(job, executor), state, region)

    def prepare(self, job: Job) -> Ready:
        with self._at(job[2]) as executor:
            return executor.prepare(self._own(job, executor))

    def first_device(self) -> Device:
        return current_device()

    def for_copies(self, array: object) -> Executor:
        cl_device = place_of_arrays([array]).device.cl_device
        (listed,) = (device for device in devices() if device.cl_device == cl_device)
        return one_device(select(listed), self.limit, self.deterministic)

    def repeats(self, job: Job) -> bool:
        with self._at(job[2]) as executor:
            return executor.repeats(self._own(job, executor))

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        with self._at([array for job in jobs for array in job[2]]) as executor:
            return executor.run_together([self._own(job, executor) for job in jobs])


class PlacedRunner(HostRunner):
    """Runs evaluations on the devices of their arrays."""

    def executor(
        self, backend: str, device_id: int, max_memory: int | str | None, deterministic: bool | None
    ) -> Executor:
        kind_of(backend, device_id)
        if backend != "auto":
            raise BackendError(f"the call runs on the device of its arrays, so backend must be 'auto'; got {backend!r}")
        if device_id != -1:
            raise DeviceError(f"the call runs on the device of its arrays, so device_id must be -1; got {device_id!r}")
        return WhereArraysAre(*checked_limits(max_memory, deterministic))


PLACED = PlacedRunner()
