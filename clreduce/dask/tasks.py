"""The functions of the tasks of a graph: each takes NumPy arrays or states, and returns states or results."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from clreduce.call.backend import executor_for
from clreduce.call.evaluation import Evaluation
from clreduce.call.executor import Executor, Job, one_device
from clreduce.call.pruning.partial import state_of_part
from clreduce.call.ready import Ready
from clreduce.call.states import State, joined
from clreduce.call.work import Work
from clreduce.errors import DeviceError
from clreduce.ir.expr import REAL
from clreduce.memo import Memo
from clreduce.runtime.device import Device
from clreduce.runtime.devices import VARIABLE, chosen_device, devices, select
from clreduce.runtime.region import Region
from clreduce.typing import Array

RESOURCE = "CLREDUCE_DEVICE"
"""The resource of a worker of ``distributed`` that holds the number of its device."""


@dataclass(frozen=True)
class OnWorker(Executor):
    """Runs works on the device of its process and worker. It can be pickled."""

    backend: str
    device_id: int
    limit: int | None
    """Bytes that a task may take on its device; None for no limit of the call's own."""
    deterministic: bool

    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        return self.here().run(job, results)

    def partial(self, job: Job, begin: tuple[Array, ...] = ()) -> tuple[Array, ...]:
        return self.here().partial(job, begin)

    def finish(self, job: Job, state: tuple[Array, ...], region: Region) -> tuple[Array, ...]:
        return self.here().finish(job, state, region)

    def first_device(self) -> Device:
        return self.here().first_device()

    def prepare(self, job: Job) -> Ready:
        return self.here().prepare(job)

    def repeats(self, job: Job) -> bool:
        return self.here().repeats(job)

    def here(self) -> Executor:
        """The executor of works on this worker."""
        if (self.backend, self.device_id) == ("auto", -1):
            device = device_of_worker()
            if device is not None:
                return one_device(device, self.limit, self.deterministic)
        return executor_for(self.backend, self.device_id, self.limit, self.deterministic)


def device_of_worker() -> Device | None:
    """The device of the worker of ``distributed`` that this thread belongs to; None where nothing tells it from others.

    That is the number among its resources, ``CLREDUCE_DEVICE``; without one, and unless the process has chosen a device
    itself, the worker's name, where it is a number, counts the devices of the driver and kind that are preferred.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        worker = distributed.get_worker()
    except ValueError:  # a thread of no worker
        return None
    resources = worker.state.total_resources
    if RESOURCE in resources:
        number = int(resources[RESOURCE])
        if number < 0:
            raise DeviceError(f"the resource {RESOURCE} of a worker must be the number of its device; got {number}")
        return select(number)
    preferred, chosen_by = chosen_device()
    name = str(worker.name)
    has_chosen = chosen_by != VARIABLE or os.environ.get(VARIABLE, "").strip()
    if has_chosen or not name.isdecimal():
        return None
    peers = [
        device
        for device in devices()
        if (device.platform_name, device.facts.kind) == (preferred.platform_name, preferred.facts.kind)
    ]
    return select(peers[int(name) % len(peers)])


@dataclass(frozen=True, eq=False)
class Compute:
    """The results of a work."""

    executor: OnWorker
    work: Work

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        return Evaluation(self.work, self.executor)(_as_kernels_read(arrays))


@dataclass(frozen=True, eq=False)
class Partial:
    """The state of rows after the columns of a work."""

    executor: OnWorker
    work: Work

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        return state_of_part(self.work, _as_kernels_read(arrays), self.executor)


@dataclass(frozen=True, eq=False)
class PartialBeside:
    """The state of rows after the columns of a work, without terms that cannot matter beside another state of them."""

    executor: OnWorker
    work: Work
    share: float
    """The part of all columns that the work has."""

    def __call__(self, other: tuple[Array, ...], *arrays: Array) -> tuple[Array, ...]:
        return state_of_part(self.work, _as_kernels_read(arrays), self.executor, other, self.share)


@dataclass(frozen=True, eq=False)
class Resume:
    """The state of rows after the columns of a work, in the order of a deterministic call.

    It takes the state after the columns before, unless these are the first, and the arrays.
    """

    executor: OnWorker
    work: Work

    def __call__(self, *states_and_arrays: Array | tuple[Array, ...]) -> tuple[Array, ...]:
        return self.resumed(*self.read(*states_and_arrays))

    def read(self, *states_and_arrays: Array | tuple[Array, ...]) -> tuple[tuple[Array, ...], Job]:
        """The state before, and what is computed."""
        begin = next((each for each in states_and_arrays if isinstance(each, tuple)), ())
        arrays = [each for each in states_and_arrays if not isinstance(each, tuple)]
        return begin, (self.work, Memo(), _as_kernels_read(arrays))

    def resumed(self, begin: tuple[Array, ...], job: Job) -> tuple[Array, ...]:
        length = self.executor.prepare(job).parts.length
        if self.work.region.first_column % length:
            raise DeviceError(
                f"{self.executor.here().first_device()!r} adds up parts of {length} columns, so results would "
                "depend on the chunks: call without deterministic=True, or make one chunk along the reduced axis"
            )
        return self.executor.partial(job, begin)


@dataclass(frozen=True, eq=False)
class ResumeAndFinish(Resume):
    """The results after the last columns of rows."""

    whole: Work
    """These rows with all of their columns."""

    def __call__(self, *states_and_arrays: Array | tuple[Array, ...]) -> tuple[Array, ...]:
        begin, job = self.read(*states_and_arrays)
        return self.executor.finish(job, self.resumed(begin, job), self.whole.region)


@dataclass(frozen=True, eq=False)
class Merge:
    """The state of rows after several blocks of columns, merged in order. It needs no device."""

    work: Work

    def __call__(self, *states: tuple[Array, ...]) -> tuple[Array, ...]:
        return reduce(lambda before, after: joined(self.work, before, after), states)


@dataclass(frozen=True, eq=False)
class Finish:
    """The results of rows whose columns are all reduced, of which there may be none. It needs no device."""

    work: Work

    def __call__(self, *states: tuple[Array, ...]) -> tuple[Array, ...]:
        work = self.work
        if states:
            return State(work, Merge(work)(*states)).finish()
        return State(work, neutral(work)).finish()


def neutral(work: Work) -> tuple[Array, ...]:
    """The state of rows before any column."""
    shape = (*work.region.batch, work.region.rows)
    return tuple(
        np.full((*shape, slot.dim), slot.neutral, work.dtype if slot.kind == REAL else np.int64)
        for slot in work.program.state_slots
    )


def _as_kernels_read(arrays: Sequence[Array]) -> list[Array]:
    """Chunks as kernels read them: memory maps and other kinds become plain arrays."""
    return [np.asarray(array) for array in arrays]
