"""clreduce: symbolic matrices and kernel reductions on any OpenCL device, differentiable, in linear memory.

``out_i = reduction over j of F(x_i, y_j, p)`` for any formula F. The front end for NumPy is `clreduce.numpy`.
Importing this package touches no device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clreduce.config import get_build_folder, set_build_folder, set_verbose
from clreduce.errors import (
    BackendError,
    ClreduceError,
    CompileError,
    ConvergenceWarning,
    DeviceError,
    DtypeError,
    FormulaError,
    NotConverged,
    NotDifferentiableError,
    OptionError,
    OutOfMemoryError,
    ScheduleError,
    ShapeError,
    SolveError,
    StandInError,
    TraceError,
)
from clreduce.runtime.budget import set_max_memory
from clreduce.runtime.determinism import set_deterministic
from clreduce.runtime.device_report import explain_devices
from clreduce.runtime.devices import (
    current_device,
    current_devices,
    devices,
    set_default_device,
    set_default_devices,
    use_device,
    use_devices,
)
from clreduce.runtime.progress import set_progress

if TYPE_CHECKING:
    from clreduce.call.profile import profile
    from clreduce.call.pruning.index import Index
    from clreduce.call.tuning import tune
    from clreduce.dispatching import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj, block
    from clreduce.health import check_health, test_numpy_bindings, test_torch_bindings

__all__ = [
    "BackendError", "ClreduceError", "CompileError", "ConvergenceWarning", "DeviceError", "DtypeError",
    "FormulaError", "Genred", "Index", "KernelSolve", "LazyTensor", "NotConverged", "NotDifferentiableError",
    "OptionError", "OutOfMemoryError", "Pm", "ScheduleError", "ShapeError", "SolveError", "StandInError", "TraceError",
    "Vi", "Vj", "block", "check_health", "clear_caches", "current_device", "current_devices", "devices",
    "explain_devices", "get_build_folder", "profile", "set_build_folder", "set_default_device", "set_default_devices",
    "set_deterministic",
    "set_max_memory", "set_progress", "set_verbose", "test_numpy_bindings", "test_torch_bindings", "tune", "use_device",
    "use_devices",
]  # fmt: skip


def clear_caches() -> None:
    """Remove all plans, built programs and tuned schedules, from memory and from disk.

    Only files that clreduce wrote are removed from the cache folder. The next call builds its kernels again.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.clear_caches()  # doctest: +SKIP
    """
    from clreduce import cache, memo

    memo.forget_all()
    cache.clear()


_ON_DEMAND = {
    "clreduce.call.tuning": ("tune",),
    "clreduce.call.profile": ("profile",),
    "clreduce.call.pruning.index": ("Index",),
    "clreduce.health": ("check_health", "test_numpy_bindings", "test_torch_bindings"),
    "clreduce.dispatching": ("Genred", "KernelSolve", "LazyTensor", "Pm", "Vi", "Vj", "block"),
}
"""Public names by module. These modules import NumPy, Mako or an array library, so they are imported on demand."""
_SUBPACKAGES = ("config", "dask", "jax", "numpy", "sklearn", "torch")


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("clreduce")
        except PackageNotFoundError:  # a bare checkout on PYTHONPATH
            return "0+unknown"
    for module, names in _ON_DEMAND.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"clreduce.{name}")
    raise AttributeError(f"module 'clreduce' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES, "__version__"])
