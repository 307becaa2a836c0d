"""Kernels on arrays that stay on their device: the events that they wait for, and their build from text."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clreduce.errors import OutOfMemoryError
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.kernel_object import KernelObject
from clreduce.runtime.lent import LentDevice, LentQueue
from clreduce.typing import Array, DType

if TYPE_CHECKING:
    import pyopencl as cl
    from pyopencl.array import Array as DeviceArray


class Order:
    """The events that commands on a queue wait for, and the arrays that get the events of these commands."""

    def __init__(self, place: LentQueue) -> None:
        self._place, self._queue = place, place.queue
        self._waiting: list[cl.Event] = []
        self._seen: set[int] = set()
        self.last: cl.Event | None = None

    def after(self, array: DeviceArray) -> None:
        """Let the following commands wait for the commands that write ``array``."""
        events = array.events
        if events:
            self._waiting += events
        queue = array.queue
        if queue is not None and queue.int_ptr != self._queue.int_ptr and queue.int_ptr not in self._seen:
            import pyopencl as cl

            self._seen.add(queue.int_ptr)  # commands of an in-order queue may have no event
            self._waiting.append(cl.enqueue_marker(queue))
            queue.flush()

    @property
    def before(self) -> list[cl.Event] | None:
        """The events that the next command waits for; None if there are none."""
        if self._place.in_order:
            waiting, self._waiting = self._waiting, []
            return waiting or None
        return (self._waiting if self.last is None else [*self._waiting, self.last]) or None

    def launched(self, event: cl.Event) -> None:
        """Record the event of the command that was launched last."""
        self.last = event
        if not self._place.in_order:
            self._waiting = []

    def became(self, written: Sequence[DeviceArray], read: Sequence[DeviceArray] = ()) -> None:
        """Add the event of the last command to the arrays that it writes and, if necessary, to those that it reads."""
        if self.last is None:
            return
        for array in written:
            array.add_event(self.last)
        if not self._place.in_order:  # a later command that writes to these arrays waits for their events
            for array in read:
                array.add_event(self.last)


class _ResidentKernels(threading.local):
    def __init__(self) -> None:
        self.kernels: dict[tuple[str, str, LentDevice], KernelObject] = {}


_OF_THREAD = _ResidentKernels()
_MOST_KERNELS = 512
_PRELUDE = """\
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
"""


def kernel_of_text(source: str, name: str, buffers: int, device: LentDevice) -> KernelObject:
    """This thread's kernel of that name in an OpenCL program; its first ``buffers`` arguments are buffers."""
    key = (source, name, device)
    kernel = _OF_THREAD.kernels.get(key)
    if kernel is None:
        program = PROGRAMS.build(_PRELUDE + source, device, lambda: "a kernel for arrays on the device")
        if len(_OF_THREAD.kernels) >= _MOST_KERNELS:
            _OF_THREAD.kernels.clear()
        kernel = _OF_THREAD.kernels[key] = KernelObject(program, name, buffers, device)
    return kernel


def buffer_with(place: LentQueue, numbers: Array) -> cl.Buffer:
    """A buffer with a copy of ``numbers``, which are on the host."""
    import pyopencl as cl

    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    return cl.Buffer(place.device.context, flags, hostbuf=numbers)


def table_of(place: LentQueue, numbers: Array) -> DeviceArray:
    """A device array with a copy of ``numbers``, which are on the host."""
    from pyopencl.array import Array as DeviceArray

    return DeviceArray(place.queue, numbers.shape, numbers.dtype, data=buffer_with(place, numbers))


def buffer_of(place: LentQueue, nbytes: int) -> cl.Buffer:
    """A buffer on the device for values that are not results."""
    import pyopencl as cl

    try:
        return cl.Buffer(place.device.context, cl.mem_flags.READ_WRITE, nbytes)
    except cl.MemoryError as error:
        raise OutOfMemoryError(f"{place.device} has no memory for {nbytes:,} bytes ({error})") from None


def read(
    order: Order, queue: cl.CommandQueue, buffer: cl.Buffer, start: int, shape: tuple[int, ...], dtype: DType
) -> Array:
    """A copy of the numbers of a buffer from byte ``start`` on, after the last launch has finished."""
    import pyopencl as cl

    view, _ = cl.enqueue_map_buffer(
        queue, buffer, cl.map_flags.READ, start, shape, dtype, wait_for=order.before, is_blocking=True
    )
    numbers: Array = view.copy()
    view.base.release(queue)
    return numbers
