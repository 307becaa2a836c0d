"""What code generation knows of a device: plain numbers, so that it can be tested without one."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DeviceFacts:
    """The properties of a device that schedules and kernels depend on."""

    kind: str = "cpu"
    """``"cpu"`` or ``"gpu"`` (anything that is not a CPU counts as a GPU)."""
    driver: str = "pocl"
    """Short driver name: ``pocl``, ``intel``, ``nvidia``, ``amd``, ``apple``, ``oclgrind`` or ``other``."""
    driver_version: tuple[int, ...] = (3, 1)
    """Leading numbers of the driver's version."""
    llvm_version: int | None = None
    """Major version of the LLVM inside the driver, where it says so (PoCL)."""
    compute_units: int = 2
    native_float_lanes: int = 8
    """Lanes of one hardware vector register of float32 (CPU); 1 on a GPU."""
    native_double_lanes: int = 4
    """Lanes of one hardware vector register of float64; 0 where float64 is missing."""
    max_group: int = 4096
    """Largest number of work-items in a work-group."""
    local_memory: int = 65536
    """Bytes of local memory of a work-group."""
    global_memory: int = 4 << 30
    """Bytes of device memory."""
    max_allocation: int = 1 << 30
    """Bytes that a single buffer may have."""
    has_double: bool = True
    shares_host_memory: bool = True
    """Whether the device reads host memory in place."""
    maps_memory: bool = True
    """Whether the driver was seen to map arrays of the host correctly; where not, arrays are copied."""
    shares_addresses: bool = False
    """Whether kernels take any address of the host (fine-grained system SVM), and buffers are not needed for it."""
    most_turns: int = 0
    """Turns of loops that a kernel may make in all, for the driver ends them there; 0: as many as it likes."""
    most_lanes: int = 16
    """Lanes of the longest vectors that the driver was seen to handle correctly."""
    local_tiles: bool = True
    """Whether the driver was seen to handle local memory and barriers inside loops correctly."""
    compiler_builtins: bool = True
    """Whether kernels may use builtins of the driver's compiler that OpenCL C does not name."""
    native_functions: tuple[str, ...] = ()
    """Functions of `clreduce.ops.hardware` that the device, a GPU, was seen to compute within their bounds."""
    tables: bool = True
    """Whether exponentials in double precision on a GPU may read a table in local memory."""

    @property
    def in_full_accuracy(self) -> DeviceFacts:
        """These facts for kernels whose functions are all clreduce's own, in full accuracy."""
        return replace(self, native_functions=(), tables=False)

    @property
    def is_limited(self) -> bool:
        """Whether something is switched off that the driver offers, for it was seen to fail."""
        return not (self.maps_memory and self.local_tiles and self.compiler_builtins) or self.most_lanes < 16
