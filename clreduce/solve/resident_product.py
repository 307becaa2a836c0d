"""`ResidentProduct`: K times a vector on a device, again and again, from one array into another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clreduce.call.evaluation import Evaluation
from clreduce.call.feeding import as_read
from clreduce.runtime.lent import LentQueue
from clreduce.runtime.repeat import RecordedCall
from clreduce.runtime.resident_kernels import Order
from clreduce.runtime.resident_memory import ResidentMemory

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray


class ResidentProduct:
    """Launches of K times ``vector`` into ``result``, two arrays of its own. It belongs to one thread.

    Buffers and arguments are made once, except for products that are computed in blocks.
    """

    def __init__(
        self, place: LentQueue, evaluation: Evaluation, arrays: Sequence[DeviceArray], slot: int, shape: tuple[int, ...]
    ) -> None:
        """``arrays`` has an array for each slot of the evaluation's program; the one of ``slot`` is not read."""
        work, device = evaluation.work, place.device
        self.place, self._evaluation = place, evaluation
        with device.at(place):
            self.vector: Any = device.new_array(shape, work.dtype)
            self.result: Any = device.new_array(shape, work.dtype)
            self._arrays: list[Any] = [self.vector if n == slot else array for n, array in enumerate(arrays)]
            job = (work, evaluation.prepared, self._arrays)
            plan = evaluation.executor.prepare(job).plan
            self.seconds = work.region.area / plan.pace.expected
            """A rough estimate of the time of a product, in seconds."""
            self._recorded: RecordedCall | None = None
            if evaluation.executor.repeats(job):
                read = as_read(self._arrays, work.region)
                self._recorded = RecordedCall(plan, read, slot, work.region, self.result)
                self.memory = self._recorded.memory
            else:
                self.memory = ResidentMemory(device)
        assert self.memory.order is not None
        self.order: Order = self.memory.order
        """The order of these launches and of the launches between them."""

    def launch(self) -> None:
        """Launch one product, without a wait; within ``place``, in a function that is being `completed`."""
        if self._recorded is not None:
            self._recorded.launch_again()
            return
        self.order.became([self.vector])
        self._evaluation(self._arrays, (self.result,))
        self.order.after(self.result)
