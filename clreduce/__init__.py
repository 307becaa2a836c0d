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
    ScheduleError,
    ShapeError,
    SolveError,
    StandInError,
    TraceError,
)
from clreduce.runtime.device_report import explain_devices
from clreduce.runtime.devices import current_device, devices, set_default_device, use_device

if TYPE_CHECKING:
    from clreduce.frontends.profile import profile
    from clreduce.frontends.tuning import tune
    from clreduce.health import check_health, test_numpy_bindings, test_torch_bindings

__all__ = [
    "BackendError", "ClreduceError", "CompileError", "ConvergenceWarning", "DeviceError", "DtypeError", "FormulaError",
    "NotConverged", "NotDifferentiableError", "OptionError", "ScheduleError", "ShapeError", "SolveError",
    "StandInError", "TraceError", "check_health", "clear_caches", "current_device", "devices", "explain_devices",
    "get_build_folder", "profile", "set_build_folder", "set_default_device", "set_verbose", "test_numpy_bindings",
    "test_torch_bindings", "tune", "use_device",
]  # fmt: skip


def clear_caches() -> None:
    """Forget all plans, built programs and tuned schedules, in memory and on disk.

    Of the files in the cache folder, those that clreduce wrote are removed.
    """
    from clreduce import cache, memo

    memo.forget_all()
    cache.clear()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("clreduce")
        except PackageNotFoundError:  # a bare checkout on PYTHONPATH
            return "0+unknown"
    if name == "tune":  # on demand: front ends import NumPy and Mako
        from clreduce.frontends.tuning import tune

        return tune
    if name == "profile":
        from clreduce.frontends.profile import profile

        return profile
    if name in ("check_health", "test_numpy_bindings", "test_torch_bindings"):
        from clreduce import health

        return getattr(health, name)
    raise AttributeError(f"module 'clreduce' has no attribute {name!r}")
