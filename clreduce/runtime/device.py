"""`Device`: one OpenCL device, with its properties, its context, its queues and its memory pool."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.codegen.facts import DeviceFacts
from clreduce.errors import DeviceError
from clreduce.runtime.drivers import DRIVER_TITLES, driver_of, leading_numbers, llvm_of
from clreduce.runtime.process import check_process
from clreduce.runtime.profile import RECORDER, current_recorder, recorded_queue
from clreduce.typing import DType

if TYPE_CHECKING:
    import pyopencl as cl
    from pyopencl.tools import MemoryPool

_MOST_LANES = DeviceFacts().most_lanes
_TURNS_OF_LLVMPIPE = 60_000
"""Mesa's llvmpipe silently ends the loops of a kernel after 65,535 iterations."""


class Device:
    """One OpenCL device, with a context and one in-order queue per thread. Both are made at their first use.

    Devices come from `devices` and are compared by identity: each exists once in a process.
    """

    def __init__(self, cl_device: cl.Device) -> None:
        platform = cl_device.platform
        self.cl_device = cl_device
        self.name: str = cl_device.name.strip()
        self.platform_name: str = platform.name.strip()
        self.platform_version: str = " ".join(platform.version.split())
        self.driver_version: str = cl_device.driver_version.strip()
        self.said: DeviceFacts = _read_facts(cl_device)
        """The properties that the driver reports."""
        self.facts: DeviceFacts = self.said
        """The properties that clreduce relies on: ``said``, without features that failed in a trial."""
        # The device's version is part of the identity: only there PoCL may name the processor that it compiles for.
        self.identity: str = " | ".join(
            (self.platform_name, self.platform_version, self.name, cl_device.version.strip(), self.driver_version)
        )
        """A key for caches: text that changes whenever a compiled program may no longer fit."""
        self._lock = threading.Lock()
        self._context: cl.Context | None = None
        self._pool: MemoryPool | None = None
        self._of_thread = threading.local()

    @property
    def context(self) -> cl.Context:
        """The device's context, shared by all threads.

        Raises `DeviceError` if the driver refuses it, or in a child forked after OpenCL was used.
        """
        check_process()
        if self._context is None:
            import pyopencl as cl

            with self._lock:
                if self._context is None:
                    try:
                        self._context = cl.Context([self.cl_device])
                    except cl.Error as error:
                        raise DeviceError(f"{self!r} gives no context: {error}") from error
        return self._context

    @property
    def queue(self) -> cl.CommandQueue:
        """The in-order queue of the calling thread.

        Raises `DeviceError` if the driver refuses it, or in a child forked after OpenCL was used.
        """
        check_process()
        if RECORDER.get() is not None and current_recorder() is not None:
            return recorded_queue(self)
        queue: cl.CommandQueue | None = getattr(self._of_thread, "queue", None)
        if queue is None:
            import pyopencl as cl

            context = self.context
            try:
                queue = self._of_thread.queue = cl.CommandQueue(context, self.cl_device)
            except cl.Error as error:
                raise DeviceError(f"{self!r} gives no command queue: {error}") from error
        return queue

    @property
    def pool(self) -> MemoryPool:
        """A pool of memory for temporaries, shared by all threads. Later calls reuse the memory of earlier ones."""
        if self._pool is None:
            from pyopencl.tools import ImmediateAllocator, MemoryPool

            queue = self.queue
            with self._lock:
                if self._pool is None:
                    self._pool = MemoryPool(ImmediateAllocator(queue))
        return self._pool

    def new_array(self, shape: tuple[int, ...], dtype: str | DType) -> Any:
        """A new array for a result. Results of this device are in the host's memory."""
        return np.empty(shape, dtype)

    def __repr__(self) -> str:
        facts = self.facts
        driver = DRIVER_TITLES.get(facts.driver, self.platform_name)
        version = ".".join(map(str, facts.driver_version[:2]))
        units = f"{facts.compute_units} unit{'' if facts.compute_units == 1 else 's'}"
        return f"<Device {self.name!r} ({f'{driver} {version}'.strip()}, {facts.kind}, {units})>"


# ------------------------------------------------------------------------------------------ reading a device


def _read_facts(cl_device: cl.Device) -> DeviceFacts:
    import pyopencl as cl

    def ask(name: str, default: int) -> int:
        """An optional property, or ``default``: drivers may refuse deprecated properties and those of extensions."""
        try:
            return int(getattr(cl_device, name))
        except (cl.Error, AttributeError):
            return default

    platform = cl_device.platform
    platform_text = f"{platform.name} {platform.vendor}"
    # The CPU bit decides, because simulators claim every type. An emulator runs on the host, whatever it claims.
    is_cpu = bool(cl_device.type & cl.device_type.CPU) or "emulation" in platform_text.lower()
    has_double = bool(ask("double_fp_config", 0)) or "cl_khr_fp64" in cl_device.extensions.split()
    float_lanes = max(1, ask("native_vector_width_float", 1)) if is_cpu else 1
    double_lanes = max(1, ask("native_vector_width_double", 1)) if is_cpu else 1
    return DeviceFacts(
        kind="cpu" if is_cpu else "gpu",
        driver=driver_of(platform_text),
        driver_version=leading_numbers(cl_device.driver_version),
        llvm_version=llvm_of(platform.version),
        compute_units=cl_device.max_compute_units,
        native_float_lanes=float_lanes,
        native_double_lanes=double_lanes if has_double else 0,
        max_group=cl_device.max_work_group_size,
        local_memory=cl_device.local_mem_size,
        global_memory=cl_device.global_mem_size,
        max_allocation=cl_device.max_mem_alloc_size,
        has_double=has_double,
        most_turns=_TURNS_OF_LLVMPIPE if "llvmpipe" in cl_device.name.lower() else 0,
        shares_host_memory=bool(ask("host_unified_memory", int(is_cpu))),
        # A GPU may access the host's memory by address too, but slowly.
        shares_addresses=is_cpu and bool(ask("svm_capabilities", 0) & cl.device_svm_capabilities.FINE_GRAIN_SYSTEM),
    )


def preference(facts: DeviceFacts) -> tuple[tuple[int, int, int], str]:
    """The sort key of a device (the smallest is used first), and the reason in words.

    GPUs and accelerators come first: those with their own memory, then those that share the host's. A vendor's driver
    comes before PoCL's for the same hardware. CPU drivers follow in the order of their measured speed on kernel sums:
    PoCL with LLVM 15 or newer, Intel, older PoCL, any other; then drivers that handle only shorter vectors, as a trial
    has shown. A simulator comes last. Within a rank, more compute units come first.
    """
    units = -facts.compute_units
    if facts.driver == "oclgrind":
        return (3, 0, units), "a simulator for finding errors: used only if there is no other device"
    if facts.kind != "cpu":
        memory = "shares the host's memory" if facts.shares_host_memory else "has its own memory"
        reason = f"a GPU or accelerator that {memory}, {facts.compute_units} compute units"
        return (int(facts.shares_host_memory), int(facts.driver == "pocl"), units), reason
    rank, reason = _cpu_rank(facts)
    if facts.most_lanes < _MOST_LANES:
        return (2, rank + 4, units), f"{reason}; handles vectors of up to {facts.most_lanes} lanes only"
    return (2, rank, units), reason


def _cpu_rank(facts: DeviceFacts) -> tuple[int, str]:
    if facts.driver == "pocl":
        if facts.llvm_version is None:
            return 2, "PoCL of unknown LLVM version: taken for an old one"
        if facts.llvm_version >= 15:
            return 0, f"PoCL with LLVM {facts.llvm_version}: among the fastest CPU drivers"
        return 2, f"PoCL with LLVM {facts.llvm_version}: slower code than with LLVM 15 or newer"
    if facts.driver == "intel":
        return 1, "Intel's CPU driver: fast, after a recent PoCL"
    return 3, "a CPU driver of unmeasured speed"
