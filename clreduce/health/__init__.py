"""Reports for a person whether clreduce works on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

import numpy as np

from clreduce.errors import ClreduceError
from clreduce.health.checks import CHECKS, bound_of, run_check
from clreduce.health.report import as_text, survey
from clreduce.numpy import Genred
from clreduce.runtime.device import Device
from clreduce.runtime.devices import devices
from clreduce.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_health", "test_numpy_bindings", "test_torch_bindings"]

_TRIAL = "SqNorm2(x - y)", ["x = Vi(3)", "y = Vj(3)"]
"""The formula and the aliases of a small sum."""


def check_health(file: TextIO | None = None) -> None:
    """Print versions, OpenCL devices, caches, problems with their cures, and whether small sums are right.

    The sums are computed on each usable device, in this process. The command ``clreduce selftest`` checks far more, and
    checks each device in a process of its own.

    Parameters
    ----------
    file : file, optional
        The file that gets the text; standard output by default.

    Examples
    --------
    >>> check_health()  # doctest: +ELLIPSIS
    clreduce ...
    result:   ...: right...
    """
    file = file or sys.stdout
    print(as_text(survey(isolated=False)), file=file)
    try:
        present = devices()
    except ClreduceError:
        return  # the report has the reason
    for number, device in enumerate(present):
        for dtype in ("float32", "float64") if device.facts.has_double else ("float32",):
            print(f"result:   device {number}, {dtype}: {_trial(device, dtype)}", file=file)


def _trial(device: Device, dtype: str) -> str:
    """The outcome of Gaussian sums on a device, in words."""
    start = time.perf_counter()
    try:
        error = run_check(CHECKS[0], device, dtype)
    except Exception as problem:  # a driver may raise anything, which is worth a line of the report
        return f"failed with {type(problem).__name__}: {problem}"
    verdict = "right" if error <= bound_of(dtype) else "WRONG"
    return f"{verdict}, relative error {error:.0e}, {time.perf_counter() - start:.2f} s"


def test_numpy_bindings() -> None:
    """Print whether a small sum of `clreduce.numpy` is right on the current device.

    Examples
    --------
    >>> test_numpy_bindings()
    clreduce with numpy bindings is working!
    """
    _test_bindings("numpy", Genred(*_TRIAL))


def test_torch_bindings() -> None:
    """Print whether a small sum of `clreduce.torch` is right on the current device.

    Examples
    --------
    >>> test_torch_bindings()  # doctest: +SKIP
    clreduce with torch bindings is working!
    """
    import torch

    from clreduce.torch import Genred

    routine = Genred(*_TRIAL)
    _test_bindings("torch", lambda x, y: routine(torch.asarray(x), torch.asarray(y)))


def _test_bindings(library: str, compute: Callable[[Array, Array], Array | Tensor]) -> None:
    x = np.arange(1, 10, dtype=np.float32).reshape(-1, 3)
    y = np.arange(3, 9, dtype=np.float32).reshape(-1, 3)
    result = np.asarray(compute(x, y))
    right = np.array([[63.0], [90.0]])
    if np.allclose(result, right):
        print(f"clreduce with {library} bindings is working!")
    else:
        print(f"clreduce with {library} bindings gives wrong numbers: {result.ravel()} instead of {right.ravel()}")


# pytest shall not collect these functions: they print, and their names begin with test_.
test_numpy_bindings.__test__ = test_torch_bindings.__test__ = False  # type: ignore[attr-defined]
