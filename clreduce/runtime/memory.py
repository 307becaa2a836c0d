"""Buffers of one call: arrays of the host used in place where the device shares its memory, copied where not."""

from __future__ import annotations

from typing import Any

import numpy as np

from clreduce.errors import DeviceError, OutOfMemoryError
from clreduce.runtime.device import Device
from clreduce.runtime.flight import Things, in_flight
from clreduce.runtime.profile import RECORDER, RecordedCalls
from clreduce.runtime.shared_buffers import SharedBuffers
from clreduce.typing import Array

_MOST_IDLE_BYTES = 1 << 28
"""Memory for temporaries that is kept between calls, at most."""
_OUT_OF_MEMORY = (-4, -5, -6, -61)
"""OpenCL's MEM_OBJECT_ALLOCATION_FAILURE, OUT_OF_RESOURCES, OUT_OF_HOST_MEMORY, INVALID_BUFFER_SIZE."""


def without_repeats(array: Array, dimensions: int) -> Array:
    """A view of ``array``: of its first ``dimensions``, a batch's, those that repeat numbers have length 1.

    That serves all indices of the batch.

    >>> without_repeats(np.broadcast_to(np.zeros((1, 4, 2)), (1000, 4, 2)), 1).shape
    (1, 4, 2)
    """
    return array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides[:dimensions])]


class _Unlocked:
    """A read-only array for pyopencl, which takes no address of one. Kernels write to outputs only."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


class Memory:
    """Makes the buffers of one call, or of several that run together.

    They are the calling thread's: `hold` them before the first kernel is launched, and `finish` in the same thread.
    """

    def __init__(self, device: Device, shared: SharedBuffers | None = None) -> None:
        """``shared``: what stays on the device from one call to the next, where calls follow each other."""
        import pyopencl as cl

        self._cl = cl if RECORDER.get() is None else RecordedCalls(cl)
        self.device, self.driver_error = device, cl.Error
        facts = device.facts
        self._by_address, self._maps = facts.shares_addresses, facts.shares_host_memory and facts.maps_memory
        self._in_place = cl.mem_flags.USE_HOST_PTR if self._maps else cl.mem_flags.COPY_HOST_PTR
        self._maps_early = facts.driver == "pocl"
        self._flight = in_flight(device)
        self.queue: Any = self._flight.queue
        self.wait = self._flight.wait
        self._uses_pool = False
        self._shared = shared
        self.order: Any = None
        """What says what launches wait for, where it is not the queue alone (`ResidentMemory`)."""
        self._asked = 0  # bytes of the last buffer
        self._outputs: list[tuple[Any, Array]] = []
        self._inputs: dict[int, tuple[Any, Array]] = {}
        # A buffer that Python drops takes its array along, while a kernel may still be reading there.
        self._things = Things(self)

    def hold(self) -> None:
        """Keep all of it alive until the queue is done, whatever happens to the caller; before anything is launched."""
        self._flight.held.add(self._things)

    def finish(self) -> None:
        """Wait for the queue, after which the outputs are in their arrays."""
        if self._things in self._flight.held:  # else another of the calls that run together has waited
            if not self._by_address:
                self._read()
            self._flight.finish(self._things)
            if self._uses_pool:
                self._release_idle()

    def abandon(self) -> None:
        """Let go of all of it, where the queue is known to be done."""
        self._flight.held.discard(self._things)

    def input(self, array: Array) -> Any:
        """A buffer that reads ``array``, which must be contiguous: one for each array."""
        if array.size == 0:
            return self.scratch(1, array.dtype.name)
        if self._by_address:
            return self._address(array)
        made = self._inputs.get(id(array))
        if made is None:
            buffer = None if self._shared is None else self._shared.input(array, lambda: self._input(array))
            if buffer is None:
                buffer = self._input(array)
            else:
                self._things.kept.append(buffer)
            made = self._inputs[id(array)] = (buffer, array)  # an array that is gone may leave its number to another
        return made[0]

    def _input(self, array: Array) -> Any:
        return self._buffer(self._cl.mem_flags.READ_ONLY | self._in_place, array.nbytes, array)

    def output(self, array: Array, is_read: bool = False) -> Any:
        """A buffer whose contents `finish` brings into ``array``; ``is_read``: kernels also read what is there."""
        if self._by_address:
            return self._address(array)
        flags = self._cl.mem_flags
        if self._shared is not None and not self._maps:
            access, contents_of = flags.READ_WRITE, array if is_read else None
            contents = self._in_place if is_read else 0
            state = self._shared.state(array, lambda: self._buffer(access | contents, array.nbytes, contents_of))
            if state is not None:  # which nobody reads on the host
                self._things.kept.append(state)
                return state
        access = flags.READ_WRITE if is_read else flags.WRITE_ONLY
        if self._maps or is_read:
            buffer = self._buffer(access | self._in_place, array.nbytes, array)
        else:
            buffer = self._buffer(access, array.nbytes, None)
        self._outputs.append((buffer, array))
        return buffer

    def scratch(self, length: int, dtype: str) -> Any:
        """A buffer of ``length`` numbers that stays on the device; its memory may be that of an earlier call."""
        size = max(1, length) * np.dtype(dtype).itemsize
        self._check_size(size)
        self._uses_pool = True
        buffer = self.device.pool.allocate(size)
        self._things.kept.append(buffer)
        return buffer

    def write(self, buffer: Any, array: Array, values: Array) -> None:
        """New ``values`` for an `input` buffer and the ``array`` that it was made of, before kernels run again."""
        if self._by_address or array.size == 0:
            array[...] = values
            return
        queue = self.queue
        if self._maps:
            # The view is the array's own memory; by mapping it the driver is told that it changes.
            view, _ = self._cl.enqueue_map_buffer(
                queue, buffer, self._cl.map_flags.WRITE_INVALIDATE_REGION, 0, array.shape, array.dtype
            )
            view[...] = values
            view.base.release(queue)
        else:
            array[...] = values
            self._cl.enqueue_copy(queue, buffer, array, is_blocking=False)

    def _read(self) -> None:
        """Have the outputs made visible in their arrays."""
        queue = self.queue
        for buffer, array in self._outputs:
            if self._maps:
                # Mapping is how the host may look at memory it shares; nothing is copied. A wait for each map takes as
                # long as a small kernel, but only PoCL is known to let an array go that has not been mapped yet. For
                # a shape that is no number, pyopencl throws and catches.
                length: Any = array.size
                view, _ = self._cl.enqueue_map_buffer(
                    queue, buffer, self._cl.map_flags.READ, 0, length, array.dtype, is_blocking=not self._maps_early
                )
                view.base.release(queue)
            else:
                self._cl.enqueue_copy(queue, array, buffer, is_blocking=False)

    def _release_idle(self) -> None:
        """Give memory of temporaries back to the system if much of it is idle."""
        pool = self.device.pool
        if pool.managed_bytes - pool.active_bytes > _MOST_IDLE_BYTES:
            pool.free_held()

    def _address(self, array: Array) -> Any:
        # Intel's driver copies an array behind a buffer unless it begins at a page, as NumPy's never do.
        if not array.flags.writeable:
            array = np.asarray(_Unlocked(array))
        argument = self._cl.SVM(array)
        self._things.kept.append(argument)
        return argument

    def _buffer(self, flags: int, size: int, array: Array | None) -> Any:
        self._check_size(size)
        buffer = self._cl.Buffer(self.device.context, flags, size=0 if array is not None else size, hostbuf=array)
        self._things.kept.append(buffer)
        return buffer

    def _check_size(self, size: int) -> None:
        self._asked = size
        limit = self.device.facts.max_allocation
        if size > limit:
            raise OutOfMemoryError(
                f"an array of {_told(size)} does not fit into one buffer of {self.device}, which takes up to "
                f"{_told(limit)}; call with fewer rows at a time, or use another device"
            )

    def failure(self, error: Exception) -> DeviceError:
        """What the caller is told of an error that the driver has reported."""
        if getattr(error, "code", None) in _OUT_OF_MEMORY:
            return OutOfMemoryError(
                f"{self.device} ran out of memory ({error}); the last buffer that the call asked for has "
                f"{_told(self._asked)}: call with fewer rows at a time, free other arrays there, or use another device "
                "(memory_estimate tells what a call takes)"
            )
        return DeviceError(
            f"the driver of {self.device} failed in a call: {error}. If it fails again, use another device "
            "(clreduce.explain_devices() lists them)"
        )


def _told(size: int) -> str:
    """A number of bytes, exact: what is just above a limit is told from it."""
    return f"{size:,} bytes ({size / 2**20:,.0f} MiB)"
