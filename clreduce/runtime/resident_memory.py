"""The buffers of a call on device arrays. Only arrays of the host, such as tables, are copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.runtime.bindings import KernelBuffer
from clreduce.runtime.device import Device
from clreduce.runtime.lent import LentDevice
from clreduce.runtime.memory import Memory
from clreduce.runtime.resident import assign, copied, is_contiguous, is_resident
from clreduce.runtime.resident_kernels import Order
from clreduce.runtime.shared_buffers import SharedBuffers

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray


class ResidentMemory(Memory):
    """The buffers of one call, or of several calls that run together, on a queue of the caller.

    The call does not wait for its kernels: the results get the event of the last kernel. Arrays of the host are copied
    when their buffers are made. OpenCL keeps buffers alive until all commands that use them have finished.
    """

    def __init__(self, device: LentDevice, shared: SharedBuffers | None = None) -> None:
        super().__init__(device, shared)
        self._place = device.place
        self.order: Order | None = Order(self._place)
        self._in_place = self._cl.mem_flags.COPY_HOST_PTR
        self._by_address = False
        self._written: list[DeviceArray] = []
        self._read_there: list[DeviceArray] = []
        self._beside: list[tuple[DeviceArray, DeviceArray]] = []
        """Outputs at offsets where no buffer can begin, with the arrays that kernels write instead."""

    def input(self, array: Any) -> KernelBuffer:
        """A buffer with the contents of ``array``, which must be contiguous; a device array has its own buffer."""
        if not is_resident(array):
            return super().input(array)
        if array.size == 0:
            return self.scratch(1, array.dtype.name)
        made = self._inputs.get(id(array))
        if made is None:
            made = self._inputs[id(array)] = (self._argument(array), array)
        return made[0]

    def output(self, array: Any, is_read: bool = False) -> KernelBuffer:
        """The buffer of ``array``, a contiguous array on the device."""
        assert self.order is not None
        data = self._data(array)
        if data is None:  # kernels write to another array, which is copied later
            beside = copied(array, array.dtype) if is_read else self.device.new_array(array.shape, array.dtype)
            self._beside.append((array, beside))
            data, array = beside.base_data, beside
            assert data is not None
        self.order.after(array)
        self._written.append(array)
        return data

    def scratch(self, length: int, dtype: str) -> KernelBuffer:
        if self._place.in_order:
            return super().scratch(length, dtype)
        # With an out-of-order queue, kernels of earlier calls may still use memory of a pool.
        size: int = max(1, length) * np.dtype(dtype).itemsize
        return self._buffer(self._cl.mem_flags.READ_WRITE, size, None)

    def finish(self) -> None:
        """Add the last event to the outputs, without a wait."""
        if self._held in self._flight.held:
            assert self.order is not None
            self.order.became(self._written, self._read_there)
            for array, beside in self._beside:
                assign(array, beside)
            self._flight.held.discard(self._held)
            if self._uses_pool:
                self._release_idle()

    def _argument(self, array: DeviceArray) -> KernelBuffer:
        order = self.order
        assert order is not None
        data = self._data(array)
        if data is None:  # no buffer can begin at this offset
            array = copied(array, array.dtype)
            data = array.base_data
            assert data is not None
        order.after(array)
        self._read_there.append(array)
        return data

    def _data(self, array: DeviceArray) -> KernelBuffer | None:
        """The kernel argument of a contiguous array; None if no buffer can begin at its offset."""
        assert is_contiguous(array), "arrays are arranged before"
        data, offset = array.base_data, array.offset
        if offset == 0:
            return data
        alignment = self.device.cl_device.mem_base_addr_align // 8
        if data is None or offset % alignment or not hasattr(data, "get_sub_region"):
            return None
        region: KernelBuffer = data.get_sub_region(offset, array.nbytes)
        self._held.objects.append(region)
        return region


def memory_for(device: Device, shared: SharedBuffers | None = None) -> Memory:
    """The memory of a new call on a device. ``shared`` has buffers that stay there from one call to the next."""
    return ResidentMemory(device, shared) if isinstance(device, LentDevice) else Memory(device, shared)
