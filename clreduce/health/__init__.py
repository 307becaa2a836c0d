"""Whether clreduce works on this machine, in words for a person."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from clreduce.errors import ClreduceError
from clreduce.health.checks import CHECKS, bound_of, run_check
from clreduce.health.report import as_text, survey
from clreduce.numpy import Genred
from clreduce.runtime.device import Device
from clreduce.runtime.devices import devices

__all__ = ["check_health", "test_numpy_bindings", "test_torch_bindings"]


def check_health(file: TextIO | None = None) -> None:
    """Print versions, OpenCL devices, caches, problems with their cures, and whether a small result is right.

    The result is computed on each usable device, in this process. The command ``clreduce selftest`` checks far more, in
    processes of their own.

    Parameters
    ----------
    file : file, optional
        Where the text goes; standard output by default.

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
        return  # the report has said why there is none
    for number, device in enumerate(present):
        for dtype in ("float32", "float64") if device.facts.has_double else ("float32",):
            print(f"result:   device {number}, {dtype}: {_trial(device, dtype)}", file=file)


def _trial(device: Device, dtype: str) -> str:
    """What Gaussian sums give on a device, in words."""
    start = time.perf_counter()
    try:
        error = run_check(CHECKS[0], device, dtype)
    except Exception as problem:  # a driver may raise anything: that is what a person wants to know
        return f"failed with {type(problem).__name__}: {problem}"
    verdict = "right" if error <= bound_of(dtype) else "WRONG"
    return f"{verdict}, relative error {error:.0e}, {time.perf_counter() - start:.2f} s"


def test_numpy_bindings() -> None:
    """Print whether a small sum through `clreduce.numpy` is right on the current device.

    Examples
    --------
    >>> test_numpy_bindings()
    clreduce with numpy bindings is working!
    """
    _test_bindings("numpy", Genred, np.asarray)


def test_torch_bindings() -> None:
    """Print whether a small sum through `clreduce.torch` is right on the current device.

    Examples
    --------
    >>> test_torch_bindings()  # doctest: +SKIP
    clreduce with torch bindings is working!
    """
    import torch

    from clreduce.torch import Genred

    _test_bindings("torch", Genred, torch.asarray)


def _test_bindings(library: str, routine: Callable[..., Any], as_array: Callable[[Any], Any]) -> None:
    x = np.arange(1, 10, dtype=np.float32).reshape(-1, 3)
    y = np.arange(3, 9, dtype=np.float32).reshape(-1, 3)
    result = np.asarray(routine("SqNorm2(x - y)", ["x = Vi(3)", "y = Vj(3)"])(as_array(x), as_array(y)))
    right = np.array([[63.0], [90.0]])
    if np.allclose(result, right):
        print(f"clreduce with {library} bindings is working!")
    else:
        print(f"clreduce with {library} bindings gives wrong numbers: {result.ravel()}, not {right.ravel()}")


# For pytest: they print, they are no tests of ours.
test_numpy_bindings.__test__ = test_torch_bindings.__test__ = False  # type: ignore[attr-defined]
