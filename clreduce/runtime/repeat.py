"""A call that runs again and again on the same arrays, of which one changes: buffers and sizes are made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.runtime.launch import Call, completed
from clreduce.runtime.region import Region
from clreduce.typing import Array

if TYPE_CHECKING:
    from clreduce.runtime.plan import Plan


class Recorded(Call):
    """A call of a plan with one result, whose launches are noted once and run any number of times.

    Only the numbers in the array of ``slot`` may change. Values that kernels store and that do not depend on that slot
    are computed once. The call belongs to the thread that made it.
    """

    def __init__(self, plan: Plan, arrays: Sequence[Any], slot: int, region: Region, result: Any) -> None:
        """``arrays``: as `Plan` takes them; ``result``: the array that kernels write."""
        prepared = plan.prepared(lambda candidate: Call(candidate, region))
        plan = prepared.plan
        super().__init__(plan, region)
        self.kernels = prepared.kernels
        plan.check_indices(region)
        self._launches: list[tuple[Any, ...]] = []
        completed(self.memory, self._record, arrays, slot, result)

    def _record(self, arrays: Sequence[Any], slot: int, result: Any) -> None:
        """Make the buffers and note the launches: those of fixed stored values run now, the others each time."""
        plan = self.plan
        buffers, starts = self._slots(arrays)
        changing = plan.program.slots[slot]
        self._input = buffers[changing]
        output_buffers = [self.memory.output(result)]
        self._store(buffers, starts)
        self._reduce(buffers, starts, output_buffers)
        fixed = {("stored", n) for n, stored in enumerate(plan.lowered.stored) if changing not in stored.inputs}
        self.memory.hold()
        self._run([launch for launch in self._launches if launch[0] in fixed])
        self.memory.finish()
        self._launches = [launch for launch in self._launches if launch[0] not in fixed]

    def launch_again(self) -> None:
        """Launch the kernels once more, without a wait; in a function that is being `completed`."""
        self.memory.hold()
        self._run(self._launches)

    def _launch(self, *launch: Any) -> None:
        self._launches.append(launch)

    def _run(self, launches: Sequence[tuple[Any, ...]]) -> None:
        for launch in launches:
            super()._launch(*launch)


class Repeated(Recorded):
    """A recorded call on arrays of the host: called with the new numbers of the array of ``slot``, it waits."""

    def __init__(self, plan: Plan, arrays: Sequence[Array], slot: int, region: Region) -> None:
        """``arrays``: that of ``slot`` gives shape and dtype, its values do not matter."""
        self._vector: Array = np.zeros(arrays[slot].shape, arrays[slot].dtype)
        (output,) = plan.program.outputs
        self._product: Array = np.zeros((*region.batch, region.rows, output.dim), plan.signature.dtype)
        own = [self._vector if n == slot else array for n, array in enumerate(arrays)]
        super().__init__(plan, own, slot, region, self._product)

    def __call__(self, vector: Array) -> Array:
        """The result for ``vector``, rounded to the plan's precision. The next call overwrites it."""
        completed(self.memory, self._multiply, vector)
        return self._product

    def _multiply(self, vector: Array) -> None:
        self.memory.hold()
        self.memory.write(self._input, self._vector, vector)
        self._run(self._launches)
        self.memory.finish()
