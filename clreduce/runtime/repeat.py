"""A call that runs repeatedly on the same arrays, of which one changes. Its buffers and sizes are prepared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.runtime.launch import Call, completed
from clreduce.runtime.region import Region
from clreduce.typing import Array

if TYPE_CHECKING:
    from clreduce.runtime.plan import Plan


class RecordedCall(Call):
    """A call of a plan with one result. Its launches are recorded once and then run any number of times.

    Only the numbers in the array of ``slot`` may change: values that kernels store and that do not depend on that slot
    are computed once. Only the thread that made the object may call it.
    """

    def __init__(self, plan: Plan, arrays: Sequence[object], slot: int, region: Region, result: object) -> None:
        """``arrays`` are those of `Plan.run`; ``result`` is the array that kernels write."""
        prepared = plan.prepared(lambda candidate: Call(candidate, region))
        plan = prepared.plan
        super().__init__(plan, region)
        self.kernels = prepared.kernels
        plan.check_indices(region)
        self._launches: list[tuple[Any, ...]] = []
        completed(self.memory, self._record, arrays, slot, result)

    def _record(self, arrays: Sequence[Any], slot: int, result: Any) -> None:
        """Make the buffers and record the launches. Those of fixed stored values run now, the others in each call."""
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
        """Launch the kernels once more without waiting, in a function that is being `completed`."""
        self.memory.hold()
        self._run(self._launches)

    def _launch(self, *launch: Any) -> None:
        self._launches.append(launch)

    def _run(self, launches: Sequence[tuple[Any, ...]]) -> None:
        for launch in launches:
            super()._launch(*launch)


class Repeated(RecordedCall):
    """A recorded call on arrays of the host. A call takes new numbers for the array of ``slot`` and waits."""

    def __init__(self, plan: Plan, arrays: Sequence[Array], slot: int, region: Region) -> None:
        """``arrays`` are those of `Plan.run`. Of the array of ``slot``, only the shape and dtype matter."""
        self._vector: Array = np.zeros(arrays[slot].shape, arrays[slot].dtype)
        (output,) = plan.program.outputs
        self._product: Array = np.zeros((*region.batch, region.rows, output.dim), plan.signature.dtype)
        own = [self._vector if n == slot else array for n, array in enumerate(arrays)]
        super().__init__(plan, own, slot, region, self._product)

    def __call__(self, vector: Array) -> Array:
        """The result for ``vector``, which is rounded to the plan's precision. The next call overwrites the result."""
        completed(self.memory, self._multiply, vector)
        return self._product

    def _multiply(self, vector: Array) -> None:
        self.memory.hold()
        self.memory.write(self._input, self._vector, vector)
        self._run(self._launches)
        self.memory.finish()
