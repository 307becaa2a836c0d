"""`KernelObject`: a kernel of a built program; it sets the arguments and starts the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.errors import CompileError
from clreduce.runtime.bindings import KernelBuffer, kernel_of
from clreduce.runtime.device import Device

if TYPE_CHECKING:
    import pyopencl as cl


class KernelObject:
    """A kernel whose first ``buffers`` arguments are buffers and whose others are 64-bit integers.

    One thread only may use it. Arguments are set one by one, because pyopencl's functions for whole lists of arguments
    go through a cache on disk (see `clreduce.runtime.bindings`).
    """

    def __init__(self, program: cl.Program, name: str, buffers: int, device: Device) -> None:
        import pyopencl as cl

        try:
            self._kernel = kernel_of(program, name)
        except cl.Error as error:
            raise CompileError(
                f"{device} gives no kernel {name!r} of a program that it has built: {error}. "
                "Choose another device (CLREDUCE_DEVICE; clreduce.explain_devices() lists them)."
            ) from error
        self._enqueue, self._buffers = cl.enqueue_nd_range_kernel, buffers
        self._set: Callable[[int, Any], None] = self._kernel.set_arg
        self._numbers: tuple[int, ...] = ()
        self._device = device.cl_device

    @property
    def most_items(self) -> int:
        """The most work-items in a group. A kernel that needs many registers has fewer than the device allows."""
        import pyopencl as cl

        return int(self._kernel.get_work_group_info(cl.kernel_work_group_info.WORK_GROUP_SIZE, self._device))

    def __call__(
        self,
        queue: cl.CommandQueue,
        size: tuple[int, ...],
        group: tuple[int, ...] | None,
        *arguments: KernelBuffer | int | None,
        global_offset: tuple[int, ...] | None = None,
        wait_for: list[cl.Event] | None = None,
    ) -> cl.Event:
        """Start ``size`` work-items in groups of ``group``, from ``global_offset`` on; returns the event.

        The kernel waits for the events in ``wait_for``, in addition to the order of the queue.
        """
        set_argument, count = self._set, self._buffers
        for position in range(count):
            set_argument(position, arguments[position])
        numbers: tuple[Any, ...] = arguments[count:]
        if numbers != self._numbers:
            self._set_numbers(numbers)
        return self._enqueue(queue, self._kernel, size, group, global_offset, wait_for)

    def _set_numbers(self, numbers: tuple[int, ...]) -> None:
        """Set the arguments that are numbers, if they changed: pyopencl tries five other types first."""
        self._numbers = ()
        for position, number in enumerate(numbers, self._buffers):
            self._set(position, np.int64(number))
        self._numbers = numbers
