"""`BuiltKernels`: the kernels of a plan, built for each thread at their first use."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clreduce.codegen.kernel import Kernel
from clreduce.codegen.lower import Lowered
from clreduce.codegen.render import render
from clreduce.errors import CompileError
from clreduce.program import MapReduce
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.kernel_object import KernelObject
from clreduce.runtime.profile import Role, building, describe

_written = building("written as OpenCL C")(render)
_KERNELS: dict[str, Callable[[Lowered], Kernel]] = {
    "pair": lambda lowered: lowered.pair,
    "split": lambda lowered: lowered.pair_split,
    "merge": lambda lowered: lowered.merge,
    "join": lambda lowered: lowered.join,
}


class _KernelsOfThread(threading.local):
    """The kernel objects of each thread. Threads cannot share one, because a launch sets its arguments first."""

    def __init__(self) -> None:
        self.kernels: dict[tuple[str, ...], dict[Role, KernelObject]] = {}


class BuiltKernels:
    """The kernels of a program in one layout, on one device."""

    def __init__(self, program: MapReduce, lowered: Lowered, device: Device) -> None:
        self._program, self._lowered, self._device = program, lowered, device
        self._of_thread = _KernelsOfThread()

    def of(self, roles: tuple[str, ...]) -> dict[Role, KernelObject]:
        """The kernel objects of this thread for ``roles``, by role, and the kernels that store values for them.

        Raises `CompileError` if the driver refuses one.
        """
        built: dict[Role, KernelObject] | None = self._of_thread.kernels.get(roles)
        if built is None:
            lowered = self._lowered
            wanted: dict[Role, Kernel] = {}
            if roles[0] in ("pair", "split"):
                wanted = {("stored", n): stored.kernel for n, stored in enumerate(lowered.stored)}
            wanted |= {role: _KERNELS[role](lowered) for role in roles}
            built = self._of_thread.kernels[roles] = {role: self._build(kernel) for role, kernel in wanted.items()}
        return built

    def _build(self, kernel: Kernel) -> KernelObject:
        source, device = _written(kernel), self._device
        program = PROGRAMS.build(source, device, lambda: f"{kernel.name}: {describe(self._program)}")
        built = KernelObject(program, kernel.name, len(kernel.arguments), device)
        if kernel.group > 1 and built.most_items < kernel.group:
            raise CompileError(
                f"{device} runs this kernel in groups of up to {built.most_items} items, because it needs many "
                f"registers; its schedule has group={kernel.group}: choose a smaller group",
                source=source,
            )
        return built
