"""A call that runs again and again with one new array each time: buffers and sizes are made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.runtime.launch import Call, completed
from clreduce.runtime.region import Region
from clreduce.typing import Array

if TYPE_CHECKING:
    from clreduce.runtime.plan import Plan


class Repeated(Call):
    """A call of a plan with one result, in which only the array of ``slot`` changes; the others must not.

    Values that kernels store and that do not depend on that slot are computed once. It belongs to the thread that made
    it.
    """

    def __init__(self, plan: Plan, arrays: Sequence[Array], slot: int, region: Region) -> None:
        """``arrays``: as `Plan` takes them; that of ``slot`` gives shape and dtype, its values do not matter."""
        prepared = plan.prepared(lambda candidate: Call(candidate, region))
        plan = prepared.plan
        super().__init__(plan, region)
        self.kernels = prepared.kernels
        plan.check_indices(region)
        self._vector: Array = np.zeros(arrays[slot].shape, arrays[slot].dtype)
        (output,) = plan.program.outputs
        self._product: Array = np.zeros((*region.batch, region.rows, output.dim), plan.signature.dtype)
        self._launches: list[tuple[Any, ...]] = []
        completed(self.memory, self._record, arrays, slot)

    def _record(self, arrays: Sequence[Array], slot: int) -> None:
        """Make the buffers and note the launches: those of fixed stored values run now, the others each time."""
        plan = self.plan
        supplied = [self._vector if n == slot else array for n, array in enumerate(arrays)]
        buffers, starts = self._slots(supplied)
        changing = plan.program.slots[slot]
        self._input = buffers[changing]
        output_buffers = [self.memory.output(self._product)]
        self._store(buffers, starts)
        self._reduce(buffers, starts, output_buffers)
        fixed = {("stored", n) for n, stored in enumerate(plan.lowered.stored) if changing not in stored.inputs}
        self._run([launch for launch in self._launches if launch[0] in fixed])
        self._launches = [launch for launch in self._launches if launch[0] not in fixed]

    def __call__(self, vector: Array) -> Array:
        """The result for ``vector``, rounded to the plan's precision. The next call overwrites it."""
        completed(self.memory, self._run, self._launches, vector)
        return self._product

    def _launch(self, *launch: Any) -> None:
        self._launches.append(launch)

    def _run(self, launches: Sequence[tuple[Any, ...]], vector: Array | None = None) -> None:
        self.memory.hold()
        if vector is not None:
            self.memory.write(self._input, self._vector, vector)
        for launch in launches:
            super()._launch(*launch)
        self.memory.finish()
