"""The buffers of one call. Arrays of the host are used in place if the device shares the host's memory, else copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.errors import DeviceError, OutOfMemoryError
from clreduce.runtime.bindings import KernelBuffer
from clreduce.runtime.device import Device
from clreduce.runtime.flight import HeldObjects, in_flight
from clreduce.runtime.profile import RECORDER, RecordedCalls
from clreduce.runtime.shared_buffers import SharedBuffers
from clreduce.typing import Array

if TYPE_CHECKING:
    import pyopencl as cl

    from clreduce.runtime.resident_kernels import Order

_MOST_IDLE_BYTES = 1 << 28
"""The most idle memory for temporaries that is kept between calls."""
_OUT_OF_MEMORY = (-4, -5, -6, -61)
"""The OpenCL errors MEM_OBJECT_ALLOCATION_FAILURE, OUT_OF_RESOURCES, OUT_OF_HOST_MEMORY, INVALID_BUFFER_SIZE."""


def without_repeats(array: Array, dimensions: int) -> Array:
    """A view of ``array`` in which batch dimensions (the first ``dimensions``) that repeat numbers have length 1.

    Length 1 serves all indices of the batch.

    >>> without_repeats(np.broadcast_to(np.zeros((1, 4, 2)), (1000, 4, 2)), 1).shape
    (1, 4, 2)
    """
    return array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides[:dimensions])]


class _Unlocked:
    """Presents a read-only array to pyopencl as writable, which it requires. Kernels do not write to inputs."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


class Memory:
    """Makes the buffers of one call, or of several calls that run together.

    They belong to the calling thread: it must `hold` them before it launches the first kernel, and then `finish`.
    """

    def __init__(self, device: Device, shared: SharedBuffers | None = None) -> None:
        """``shared`` has buffers that stay on the device from one call to the next."""
        import pyopencl as cl

        self._cl = cl if RECORDER.get() is None else RecordedCalls(cl)
        self.device, self.driver_error = device, cl.Error
        facts = device.facts
        self._by_address, self._maps = facts.shares_addresses, facts.shares_host_memory and facts.maps_memory
        self._in_place = cl.mem_flags.USE_HOST_PTR if self._maps else cl.mem_flags.COPY_HOST_PTR
        self._maps_early = facts.driver == "pocl"
        self._flight = in_flight(device)
        self.queue: cl.CommandQueue = self._flight.queue
        self.wait = self._flight.wait
        self._uses_pool = False
        self._shared = shared
        self.order: Order | None = None
        """The `Order` of launches, if they wait for more than the order of the queue (`ResidentMemory`); else None."""
        self._asked = 0  # bytes of the last buffer
        self._outputs: list[tuple[KernelBuffer, Array]] = []
        self._inputs: dict[int, tuple[KernelBuffer, object]] = {}
        # If Python released a buffer, it would release its array too, while a kernel may still read there.
        self._held = HeldObjects(self)

    def hold(self) -> None:
        """Keep all buffers alive until the queue has finished, even if the caller is interrupted.

        Call it before the first launch.
        """
        self._flight.held.add(self._held)

    def finish(self) -> None:
        """Wait for the queue. The outputs are in their arrays afterwards."""
        if self._held in self._flight.held:  # otherwise, another call that runs together with this one has waited
            if not self._by_address:
                self._read()
            self._flight.finish(self._held)
            if self._uses_pool:
                self._release_idle()

    def abandon(self) -> None:
        """Release all buffers; the queue must have finished."""
        self._flight.held.discard(self._held)

    def input(self, array: Array) -> KernelBuffer:
        """The buffer from which kernels read ``array``, which must be contiguous. Each array has one."""
        if array.size == 0:
            return self.scratch(1, array.dtype.name)
        if self._by_address:
            return self._address(array)
        made = self._inputs.get(id(array))
        if made is None:
            shared = self._shared
            buffer = None if shared is None else shared.input(array, lambda: self._new_input(array))
            if buffer is None:
                buffer = self._buffer(self._cl.mem_flags.READ_ONLY | self._in_place, array.nbytes, array)
            else:
                self._held.objects.append(buffer)
            made = self._inputs[id(array)] = (buffer, array)  # keeps the array alive, so that its id stays its own
        return made[0]

    def _new_input(self, array: Array) -> KernelBuffer:
        return self._buffer(self._cl.mem_flags.READ_ONLY | self._in_place, array.nbytes, array)

    def output(self, array: Array, is_read: bool = False) -> KernelBuffer:
        """A buffer whose contents `finish` copies into ``array``. With ``is_read``, kernels also read ``array``."""
        if self._by_address:
            return self._address(array)
        flags = self._cl.mem_flags
        if self._shared is not None and not self._maps:
            access, contents_of = flags.READ_WRITE, array if is_read else None
            contents = self._in_place if is_read else 0
            state = self._shared.state(array, lambda: self._buffer(access | contents, array.nbytes, contents_of))
            if state is not None:  # the host does not read it
                self._held.objects.append(state)
                return state
        access = flags.READ_WRITE if is_read else flags.WRITE_ONLY
        if self._maps or is_read:
            buffer = self._buffer(access | self._in_place, array.nbytes, array)
        else:
            buffer = self._buffer(access, array.nbytes, None)
        self._outputs.append((buffer, array))
        return buffer

    def scratch(self, length: int, dtype: str) -> KernelBuffer:
        """A buffer of ``length`` numbers that stays on the device. It may reuse the memory of an earlier call."""
        size = max(1, length) * np.dtype(dtype).itemsize
        self._check_size(size)
        self._uses_pool = True
        buffer: KernelBuffer = self.device.pool.allocate(size)
        self._held.objects.append(buffer)
        return buffer

    def write(self, buffer: KernelBuffer, array: Array, values: Array) -> None:
        """Write ``values`` into an `input` buffer and its ``array``, before kernels run again."""
        if self._by_address or array.size == 0:
            array[...] = values
            return
        queue = self.queue
        if self._maps:
            # The view is the array's own memory. Mapping tells the driver that it changes.
            view, _ = self._cl.enqueue_map_buffer(
                queue, buffer, self._cl.map_flags.WRITE_INVALIDATE_REGION, 0, array.shape, array.dtype
            )
            view[...] = values
            mapped: Any = view.base
            mapped.release(queue)
        else:
            array[...] = values
            self._cl.enqueue_copy(queue, buffer, array, is_blocking=False)

    def _read(self) -> None:
        """Enqueue the commands that make the outputs visible in their arrays."""
        queue = self.queue
        for buffer, array in self._outputs:
            if self._maps:
                # The host must map shared memory before it reads there; nothing is copied. A wait for each map takes as
                # long as a small kernel, but only PoCL is known to allow an array to be released before its map ends.
                # If the shape is a tuple, pyopencl throws and catches, so it is a number here.
                length: Any = array.size
                view, _ = self._cl.enqueue_map_buffer(
                    queue, buffer, self._cl.map_flags.READ, 0, length, array.dtype, is_blocking=not self._maps_early
                )
                mapped: Any = view.base
                mapped.release(queue)
            else:
                self._cl.enqueue_copy(queue, array, buffer, is_blocking=False)

    def _release_idle(self) -> None:
        """Return memory of temporaries to the system if much of it is idle."""
        pool = self.device.pool
        if pool.managed_bytes - pool.active_bytes > _MOST_IDLE_BYTES:
            pool.free_held()

    def _address(self, array: Array) -> KernelBuffer:
        # Intel's driver copies the array of a buffer unless it begins at a page, and NumPy's arrays never do.
        if not array.flags.writeable:
            array = np.asarray(_Unlocked(array))
        argument: KernelBuffer = self._cl.SVM(array)
        self._held.objects.append(argument)
        return argument

    def _buffer(self, flags: int, size: int, array: Array | None) -> KernelBuffer:
        self._check_size(size)
        buffer = self._cl.Buffer(self.device.context, flags, size=0 if array is not None else size, hostbuf=array)
        self._held.objects.append(buffer)
        return buffer

    def _check_size(self, size: int) -> None:
        self._asked = size
        limit = self.device.facts.max_allocation
        if size > limit:
            raise OutOfMemoryError(
                f"an array of {_exact_size(size)} does not fit into one buffer of {self.device}, which takes up to "
                f"{_exact_size(limit)}; call with fewer rows at a time, or use another device"
            )

    def failure(self, error: Exception) -> DeviceError:
        """The exception for an error that the driver has reported."""
        if getattr(error, "code", None) in _OUT_OF_MEMORY:
            return OutOfMemoryError(
                f"{self.device} ran out of memory ({error}); the last buffer that the call asked for has "
                f"{_exact_size(self._asked)}: call with fewer rows at a time, free other arrays there, or use another "
                "device (memory_estimate tells what a call takes)"
            )
        return DeviceError(
            f"the driver of {self.device} failed in a call: {error}. If it fails again, use another device "
            "(clreduce.explain_devices() lists them)"
        )


def _exact_size(size: int) -> str:
    """A number of bytes as exact text, so that a size just above a limit differs from the limit."""
    return f"{size:,} bytes ({size / 2**20:,.0f} MiB)"
