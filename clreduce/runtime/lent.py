"""`LentDevice`: a device in a context that the caller owns. Kernels use the arrays of that context in place.

A `LentQueue` is such a device with one of the caller's queues. A call enters it, and then launches on that queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from clreduce.errors import DeviceError, OutOfMemoryError
from clreduce.memo import Memo
from clreduce.runtime.device import Device
from clreduce.runtime.devices import devices, passed_over, select
from clreduce.runtime.process import check_process
from clreduce.typing import DType

if TYPE_CHECKING:
    import pyopencl as cl
    from pyopencl.array import Array as DeviceArray
    from pyopencl.tools import MemoryPool
    from pyopencl.typing import Allocator


@dataclass(eq=False)
class LentQueue:
    """A queue of the caller, and the device in its context."""

    device: LentDevice
    queue: cl.CommandQueue
    in_order: bool
    """Whether the queue runs its commands one after the other."""
    allocator: Allocator | None = None
    """The allocator of the memory for results; None for the context."""
    pool: MemoryPool | None = None
    """A memory pool for temporaries. Later calls may reuse its memory if the queue is in order."""
    makers: Memo[tuple[tuple[int, ...], str | DType], Callable[..., DeviceArray]] = field(default_factory=Memo)
    """The functions that make arrays, by shape and dtype."""


class _At:
    """The context manager of `LentDevice.at`. It is a class, because a generator is slower."""

    __slots__ = ("_before", "_now", "_place")

    def __init__(self, now: threading.local, place: LentQueue) -> None:
        self._now, self._place = now, place

    def __enter__(self) -> None:
        self._before = getattr(self._now, "place", None)
        self._now.place = self._place

    def __exit__(self, *error: object) -> None:
        self._now.place = self._before


class LentDevice(Device):
    """A device in a context of the caller; `place_of` makes one for each context."""

    def __init__(self, listed: Device, context: cl.Context) -> None:
        """``listed`` is this device in the list of `devices`, with the results of its trial."""
        super().__init__(listed.cl_device)
        self.identity = listed.identity
        self.said = listed.said
        self.facts = replace(listed.facts, shares_addresses=False, maps_memory=False)
        self._context = context
        self._now = threading.local()

    @property
    def place(self) -> LentQueue:
        """The queue of the call that this thread runs."""
        place: LentQueue = self._now.place
        return place

    def at(self, place: LentQueue) -> _At:
        """Let this thread use the queue of ``place`` inside this block."""
        return _At(self._now, place)

    @property
    def queue(self) -> cl.CommandQueue:
        """The caller's queue."""
        check_process()
        return self.place.queue

    @property
    def pool(self) -> MemoryPool:
        """Memory for temporaries on the caller's queue."""
        place = self.place
        if place.pool is None:
            from pyopencl.tools import ImmediateAllocator, MemoryPool

            place.pool = MemoryPool(ImmediateAllocator(place.queue))
        return place.pool

    def new_array(self, shape: tuple[int, ...], dtype: str | DType) -> DeviceArray:
        """A new array on the device, from the allocator of the call's arrays."""
        place = self.place
        make = place.makers.get((shape, dtype))
        try:
            if make is None:
                make = place.makers.keep((shape, dtype), _maker(place.queue, shape, np.dtype(dtype)))
            return make(allocator=place.allocator)
        except Exception as error:
            if isinstance(error, MemoryError) or type(error).__name__ == "MemoryError":  # pyopencl's is another class
                raise OutOfMemoryError(
                    f"{self} has no memory for a result of shape {shape} ({error}): call with fewer rows at a time"
                ) from None
            raise


def _maker(queue: cl.CommandQueue, shape: tuple[int, ...], dtype: DType) -> Callable[..., DeviceArray]:
    """A function that makes arrays from a template. Without a template, pyopencl would check shapes for each array."""
    import pyopencl as cl
    from pyopencl.array import Array, empty_like

    return partial(empty_like, Array(queue, shape, dtype, data=cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, 1)))


_PLACES: Memo[int, LentQueue] = Memo(256)
_DEVICES: Memo[tuple[int, int], LentDevice] = Memo(64)


def place_of(queue: cl.CommandQueue, allocator: Allocator | None = None) -> LentQueue:
    """The `LentQueue` of a queue of the caller; raises `DeviceError` if clreduce does not use its device.

    It keeps the queue alive, so that no other queue gets the same ``int_ptr``.
    """
    place = _PLACES.get(queue.int_ptr)
    if place is None:
        place = _PLACES.fetch(queue.int_ptr, lambda: _new_place(queue))
    return place if allocator is None else replace(place, allocator=allocator)


def _new_place(queue: cl.CommandQueue) -> LentQueue:
    import pyopencl as cl

    context, cl_device = queue.context, queue.device
    device = _DEVICES.fetch((context.int_ptr, cl_device.int_ptr), lambda: _lent(cl_device, context))
    out_of_order = cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
    return LentQueue(device, queue, not queue.properties & out_of_order)


def _lent(cl_device: cl.Device, context: cl.Context) -> LentDevice:
    for listed in devices():
        if listed.cl_device == cl_device:
            return LentDevice(select(listed), context)
    reasons = "".join(f"\n  passed over: {line}" for line in passed_over())
    raise DeviceError(
        f"the arrays are on {cl_device.name.strip()!r}, a device that clreduce does not use; "
        f"clreduce.explain_devices() lists those that it uses{reasons}"
    )
