"""Buffers of one call: arrays of the host used in place where the device shares its memory, copied where not."""

from __future__ import annotations

from typing import Any

import numpy as np

from clreduce.errors import DeviceError
from clreduce.runtime.device import Device

Array = np.ndarray[Any, Any]
_MOST_IDLE_BYTES = 1 << 28
"""Memory for temporaries that is kept between calls, at most."""


def release_idle(device: Device) -> None:
    """Give memory of temporaries back to the system if much of it is idle; to be called between calls."""
    pool = device.pool
    if pool.managed_bytes - pool.active_bytes > _MOST_IDLE_BYTES:
        pool.free_held()


class _Unlocked:
    """A read-only array for pyopencl, which takes no address of one. Kernels write to outputs only."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


class Memory:
    """Makes the buffers of one call, or of several that run together, and keeps them alive until they are over."""

    def __init__(self, device: Device) -> None:
        import pyopencl as cl

        self._cl, self.device = cl, device
        facts = device.facts
        self._by_address, self._maps = facts.shares_addresses, facts.shares_host_memory and facts.maps_memory
        self._in_place = cl.mem_flags.USE_HOST_PTR if self._maps else cl.mem_flags.COPY_HOST_PTR
        self._results: dict[int, Array] = {}
        self._inputs: dict[int, tuple[Any, Array]] = {}
        # A buffer that Python drops takes its array along, while a kernel may still be reading there.
        self._kept: list[Any] = []

    def input(self, array: Array) -> Any:
        """A buffer that reads ``array``, which must be contiguous: one for each array."""
        if array.size == 0:
            return self.scratch(1, array.dtype.name)
        if self._by_address:
            return self._address(array)
        made = self._inputs.get(id(array))
        if made is None:
            buffer = self._buffer(self._cl.mem_flags.READ_ONLY | self._in_place, array.nbytes, array)
            made = self._inputs[id(array)] = (buffer, array)  # an array that is gone may leave its number to another
        return made[0]

    def output(self, array: Array) -> Any:
        """A buffer whose contents `read` brings into ``array``."""
        if self._by_address:
            return self._address(array)
        if self._maps:
            buffer = self._buffer(self._cl.mem_flags.WRITE_ONLY | self._in_place, array.nbytes, array)
        else:
            buffer = self._buffer(self._cl.mem_flags.WRITE_ONLY, array.nbytes, None)
        self._results[id(buffer)] = array
        return buffer

    def scratch(self, length: int, dtype: str) -> Any:
        """A buffer of ``length`` numbers that stays on the device; its memory may be that of an earlier call."""
        size = max(1, length) * np.dtype(dtype).itemsize
        self._check_size(size)
        buffer = self.device.pool.allocate(size)
        self._kept.append(buffer)
        return buffer

    def write(self, buffer: Any, array: Array, values: Array) -> None:
        """New ``values`` for an `input` buffer and the ``array`` that it was made of, before kernels run again."""
        if self._by_address or array.size == 0:
            array[...] = values
            return
        queue = self.device.queue
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

    def read(self, outputs: list[Any]) -> None:
        """Make the outputs visible in their arrays, once the queue has been waited for."""
        queue = self.device.queue
        for buffer in outputs if not self._by_address else ():
            array = self._results[id(buffer)]
            if self._maps:
                # Mapping is how the host may look at memory it shares; nothing is copied. We wait only once, at the
                # end: each wait wakes threads and costs as much as a small kernel. For a shape that is no number,
                # pyopencl throws and catches.
                length: Any = array.size
                view, _ = self._cl.enqueue_map_buffer(
                    queue, buffer, self._cl.map_flags.READ, 0, length, array.dtype, is_blocking=False
                )
                view.base.release(queue)
            else:
                self._cl.enqueue_copy(queue, array, buffer, is_blocking=False)

    def _address(self, array: Array) -> Any:
        # Intel's driver copies an array behind a buffer unless it begins at a page, as NumPy's never do.
        if not array.flags.writeable:
            array = np.asarray(_Unlocked(array))
        argument = self._cl.SVM(array)
        self._kept.append(argument)
        return argument

    def _buffer(self, flags: int, size: int, array: Array | None) -> Any:
        self._check_size(size)
        buffer = self._cl.Buffer(self.device.context, flags, size=0 if array is not None else size, hostbuf=array)
        self._kept.append(buffer)
        return buffer

    def _check_size(self, size: int) -> None:
        limit = self.device.facts.max_allocation
        if size > limit:
            raise DeviceError(
                f"an array of {size / 2**20:.0f} MiB does not fit into one buffer of {self.device}, "
                f"which takes up to {limit / 2**20:.0f} MiB; call with fewer rows at a time, or use another device"
            )
