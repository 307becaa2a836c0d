"""The machine and its software, as plain values. This module does not touch OpenCL."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

from clreduce.health.records import MachineEntry

PACKAGES = ("numpy", "pyopencl", "mako", "torch")
"""The packages whose versions a report has."""
VARIABLES = re.compile(
    r"(CLREDUCE|POCL|OCL|OPENCL|PYOPENCL|RUSTICL|OCLGRIND|OMP|CL_CONFIG)_.*|(CUDA|ROCR|HIP|GPU)_.*|"
    r"HOME|LD_LIBRARY_PATH|XDG_CACHE_HOME|LOCALAPPDATA"
)
"""The environment variables that affect clreduce, drivers and array libraries."""


def versions() -> dict[str, str | None]:
    """The versions of clreduce and of the packages that it uses; None for a package that is not installed."""
    return {name: version_of(name) for name in ("clreduce", *PACKAGES)}


def version_of(package: str) -> str | None:
    """The installed version of a package, or None. The package is not imported.

    >>> version_of("numpy") is not None, version_of("no-such-package")
    (True, None)
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> MachineEntry:
    """The system, the architecture, the processor, the usable cores and the memory of this machine."""
    return {
        "system": platform.platform(),
        "architecture": platform.machine(),
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory(),
        "python": platform.python_version(),
        "python_executable": sys.executable,
    }


def processor() -> str:
    """The name of the processor: from Linux, else from Python."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """The extensions of the processor by Linux's names, such as ``avx2``; empty if the system does not list them."""
    return frozenset(_cpuinfo("flags").split())


def processor_frequency() -> float | None:
    """The current number of cycles per second; None if the system does not report it."""
    try:
        return 1e6 * float(_cpuinfo("cpu MHz"))
    except ValueError:
        return None


def _cpuinfo(name: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The processor time that a container may use, in cores; None without a limit, or if the limit is unknown."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory() -> int | None:
    """The size of the memory in bytes; None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def environment() -> dict[str, str]:
    """The values of the environment variables that `VARIABLES` describes, by name.

    >>> os.environ["CLREDUCE_EXAMPLE"] = "yes"
    >>> environment().get("CLREDUCE_EXAMPLE")
    'yes'
    >>> del os.environ["CLREDUCE_EXAMPLE"]
    """
    return {name: value for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)}
