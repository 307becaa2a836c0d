"""Whether clreduce works on this machine, in words for a person."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TextIO

import numpy as np

from clreduce.cache import cache_folder, usable_folder
from clreduce.errors import ClreduceError
from clreduce.numpy import Genred
from clreduce.runtime.device import Device
from clreduce.runtime.device_report import explain_devices
from clreduce.runtime.devices import devices, use_device

_ROUNDINGS = 100
"""The error of a healthy result, in units of its dtype's rounding error, at most."""


def check_health(file: TextIO | None = None) -> None:
    """Print the versions at work, the OpenCL devices, the cache folder, and a small result of each device.

    >>> check_health()  # doctest: +ELLIPSIS
    clreduce ...
    result:   ...: right...
    """
    file = file or sys.stdout
    packages = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "pyopencl", "mako"))
    print(f"clreduce {_version('clreduce')}, Python {platform.python_version()}, {packages}", file=file)
    print(f"machine:  {platform.platform()}, {platform.machine()}", file=file)
    root = cache_folder()
    state = "kernels are not kept" if root is None else "usable" if usable_folder("programs") else "cannot be written"
    print(f"cache:    {root} ({state})", file=file)
    print(explain_devices(), file=file)
    try:
        present = devices()
    except ClreduceError:
        return  # explain_devices has said why there is none
    for number, device in enumerate(present):
        for dtype in ("float32", "float64") if device.facts.has_double else ("float32",):
            print(f"result:   device {number}, {dtype}: {_trial(device, dtype)}", file=file)


def test_numpy_bindings() -> None:
    """Print whether a small sum through `clreduce.numpy`, on the current device, is right.

    >>> test_numpy_bindings()
    clreduce with numpy bindings is working!
    """
    _test_bindings("numpy", Genred, np.asarray)


def test_torch_bindings() -> None:
    """Print whether a small sum through `clreduce.torch`, on the current device, is right."""
    import torch

    from clreduce.torch import Genred

    _test_bindings("torch", Genred, torch.asarray)


def _test_bindings(library: str, routine: Callable[..., Any], as_array: Callable[[Any], Any]) -> None:
    x = np.arange(1, 10, dtype=np.float32).reshape(-1, 3)
    y = np.arange(3, 9, dtype=np.float32).reshape(-1, 3)
    found = np.asarray(routine("SqNorm2(x - y)", ["x = Vi(3)", "y = Vj(3)"])(as_array(x), as_array(y)))
    right = np.array([[63.0], [90.0]])
    if np.allclose(found, right):
        print(f"clreduce with {library} bindings is working!")
    else:
        print(f"clreduce with {library} bindings gives wrong numbers: {found.ravel()}, not {right.ravel()}")


# For pytest: they print, they are no tests of ours.
test_numpy_bindings.__test__ = test_torch_bindings.__test__ = False  # type: ignore[attr-defined]


def _trial(device: Device, dtype: str) -> str:
    """What a Gaussian sum over 100 x 200 points gives on a device, in words."""
    rng = np.random.default_rng(0)
    x, y, b = (rng.normal(size=size).astype(dtype) for size in ((100, 3), (200, 3), (200, 1)))
    start = time.perf_counter()
    try:
        with use_device(device):
            found = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], axis=1)(x, y, b)
    except Exception as error:  # a driver may raise anything: that is what a person wants to know
        return f"failed with {type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    exact = np.exp(-((x[:, None].astype(float) - y[None]) ** 2).sum(-1)) @ b.astype(float)
    wrong = float(np.abs(found - exact).max() / np.abs(exact).max())
    verdict = "right" if wrong <= _ROUNDINGS * np.finfo(dtype).eps else "WRONG"
    return f"{verdict}, relative error {wrong:.0e}, first call {seconds:.2f} s"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"
