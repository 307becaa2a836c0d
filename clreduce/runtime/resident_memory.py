"""Buffers of a call whose arrays stay on the device: nothing is copied but what the host gives, such as tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from clreduce.runtime.device import Device
from clreduce.runtime.lent import LentDevice
from clreduce.runtime.memory import Memory
from clreduce.runtime.resident import assign, copied, is_contiguous, is_resident
from clreduce.runtime.resident_kernels import Order
from clreduce.runtime.shared_buffers import SharedBuffers


class ResidentMemory(Memory):
    """The buffers of one call, or of several that run together, on a queue of the caller's.

    Nobody waits for kernels: their last event becomes one of the results'. Arrays of the host are copied when their
    buffers are made, and OpenCL keeps buffers alive until the commands are done that use them.
    """

    def __init__(self, device: LentDevice, shared: SharedBuffers | None = None) -> None:
        super().__init__(device, shared)
        self._place = device.place
        self.order: Order | None = Order(self._place)
        self._in_place = self._cl.mem_flags.COPY_HOST_PTR
        self._by_address = False
        self._written: list[Any] = []
        self._read_there: list[Any] = []
        self._beside: list[tuple[Any, Any]] = []
        """Outputs where no buffer begins, and the arrays that kernels write in their stead."""

    def input(self, array: Any) -> Any:
        """A buffer with the contents of ``array``, which must be contiguous: its own, if it is on the device."""
        if not is_resident(array):
            return super().input(array)
        if array.size == 0:
            return self.scratch(1, array.dtype.name)
        made = self._inputs.get(id(array))
        if made is None:
            made = self._inputs[id(array)] = (self._argument(array), array)
        return made[0]

    def output(self, array: Any, is_read: bool = False) -> Any:
        """The buffer of ``array``, a contiguous array on the device."""
        assert self.order is not None
        data = self._data(array)
        if data is None:  # kernels write beside it
            beside = copied(array, array.dtype) if is_read else self.device.new_array(array.shape, array.dtype)
            self._beside.append((array, beside))
            data, array = beside.base_data, beside
        self.order.after(array)
        self._written.append(array)
        return data

    def scratch(self, length: int, dtype: str) -> Any:
        if self._place.in_order:
            return super().scratch(length, dtype)
        # Memory of a pool may still be in use by kernels that a queue out of order runs later.
        size = max(1, length) * np.dtype(dtype).itemsize
        return self._buffer(self._cl.mem_flags.READ_WRITE, size, None)

    def finish(self) -> None:
        """Make the last event one of the outputs', without a wait."""
        if self._things in self._flight.held:
            assert self.order is not None
            self.order.became(self._written, self._read_there)
            for array, beside in self._beside:
                assign(array, beside)
            self._flight.held.discard(self._things)
            if self._uses_pool:
                self._release_idle()

    def _argument(self, array: Any) -> Any:
        order = self.order
        assert order is not None
        data = self._data(array)
        if data is None:  # an offset that no buffer begins at
            array = copied(array, array.dtype)
            data = array.base_data
        order.after(array)
        self._read_there.append(array)
        return data

    def _data(self, array: Any) -> Any:
        """What a kernel takes for a contiguous array; None where only a copy begins at its offset."""
        assert is_contiguous(array), "arrays are arranged before"
        data, offset = array.base_data, array.offset
        if offset == 0:
            return data
        alignment = self.device.cl_device.mem_base_addr_align // 8
        if offset % alignment or not hasattr(data, "get_sub_region"):
            return None
        region = data.get_sub_region(offset, array.nbytes)
        self._things.kept.append(region)
        return region


def memory_for(device: Device, shared: SharedBuffers | None = None) -> Memory:
    """The memory of a new call on a device; ``shared``: what stays there from one call to the next."""
    return ResidentMemory(device, shared) if isinstance(device, LentDevice) else Memory(device, shared)
