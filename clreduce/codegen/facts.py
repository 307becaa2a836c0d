"""`DeviceFacts`: the properties of a device for code generation, as plain numbers. Tests need no device."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DeviceFacts:
    """The properties of a device that schedules and kernels depend on."""

    kind: str = "cpu"
    """``"cpu"`` or ``"gpu"`` (anything that is not a CPU counts as a GPU)."""
    driver: str = "pocl"
    """The short driver name: ``pocl``, ``intel``, ``nvidia``, ``amd``, ``apple``, ``oclgrind`` or ``other``."""
    driver_version: tuple[int, ...] = (3, 1)
    """The leading numbers of the driver's version."""
    llvm_version: int | None = None
    """The major version of the LLVM inside the driver, if the driver reports it (PoCL does)."""
    compute_units: int = 2
    native_float_lanes: int = 8
    """The float32 lanes of one hardware vector register of a CPU; 1 on a GPU."""
    native_double_lanes: int = 4
    """The float64 lanes of one hardware vector register; 0 if the device lacks float64."""
    max_group: int = 4096
    """The largest number of work-items in a work-group."""
    local_memory: int = 65536
    """The bytes of local memory of a work-group."""
    global_memory: int = 4 << 30
    """The bytes of device memory."""
    max_allocation: int = 1 << 30
    """The most bytes of a single buffer."""
    has_double: bool = True
    shares_host_memory: bool = True
    """Whether the device reads host memory in place."""
    maps_memory: bool = True
    """Whether the driver maps arrays of the host correctly, as far as trials know; if not, arrays are copied."""
    shares_addresses: bool = False
    """Whether kernels accept any address of the host (fine-grained system SVM), so that they need no buffers."""
    most_turns: int = 0
    """The number of loop iterations after which the driver ends the loops of a kernel; 0 for no limit."""
    most_lanes: int = 16
    """The lanes of the longest vectors that the driver handles correctly, as far as trials know."""
    local_tiles: bool = True
    """Whether the driver handles local memory and barriers inside loops correctly, as far as trials know."""
    compiler_builtins: bool = True
    """Whether kernels may use builtins of the driver's compiler that are not part of OpenCL C."""
    native_functions: tuple[str, ...] = ()
    """Functions of `clreduce.ops.hardware` that a GPU computes within their bounds, as a trial has shown."""
    tables: bool = True
    """Whether exponentials in double precision on a GPU may read a table in local memory."""

    @property
    def in_full_accuracy(self) -> DeviceFacts:
        """These facts for kernels whose functions are all clreduce's own, in full accuracy."""
        return replace(self, native_functions=(), tables=False)

    @property
    def is_limited(self) -> bool:
        """Whether a feature of the driver is switched off because it failed in a trial."""
        return not (self.maps_memory and self.local_tiles and self.compiler_builtins) or self.most_lanes < 16
