"""The machine and the software that numbers belong to, and the threads that all engines are given."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.engines.base import Engine

LIBRARIES = ("numpy", "scipy", "pyopencl")  # reported beside the engines' own packages
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_environment() -> dict[str, str]:
    """Environment of a process whose libraries shall use all cores; it counts when they are loaded.

    PoCL's threads are bound to cores: woken together, they may begin on the same one, and lose milliseconds there.
    """
    return {name: str(cores()) for name in THREAD_VARIABLES} | {"POCL_AFFINITY": "1"}


def threads_of(engines: Sequence[Engine]) -> dict[str, int]:
    """Threads by engine, as far as they can be asked, and of each thread pool that is loaded."""
    found = {engine.name: count for engine in engines if (count := engine.threads()) is not None}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return found
    for pool in threadpool_info():
        # Several packages bring their own copy of one library: the least number is the one to know.
        name = f"{pool['internal_api']} ({pool['prefix']})"
        found[name] = min(pool["num_threads"], found.get(name, pool["num_threads"]))
    return found


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of those of the packages that are installed."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's name, from the system where it tells, else as Python knows it."""
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return (names or [platform.processor() or platform.machine()])[0].strip()


def describe(device: Any, engines: Sequence[Engine]) -> dict[str, Any]:
    """What a reader must know to judge the numbers."""
    return {
        "processor": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device.identity,
        "kind": device.facts.kind,
        "versions": versions([*LIBRARIES, *dict.fromkeys(engine.package for engine in engines)]),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
