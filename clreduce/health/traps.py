"""Traps of OpenCL installations. Facts of the machine show each of them, and each has a cure."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clreduce.cache import VARIABLE as CACHE_VARIABLE
from clreduce.cache import cache_folder
from clreduce.errors import DeviceError
from clreduce.health.machine import cores, processor_quota, version_of
from clreduce.health.records import ChoiceEntry, DeviceEntry
from clreduce.runtime.loader import CHOSEN_BY_USER, is_writable, pocl_cache_folder
from clreduce.runtime.process import check_process

ERROR, WARNING, HINT = "error", "warning", "hint"
"""The severities of problems: something does not work, works badly, or may work better."""
_GPU_VENDORS = {
    "0x10de": (
        "NVIDIA",
        ("nvidia",),
        "Install NVIDIA's OpenCL driver, of the version of the kernel module (Debian: apt install nvidia-opencl-icd; "
        "Ubuntu: the package libnvidia-compute-<version>, which the driver package brings along).",
    ),
    "0x1002": (
        "AMD",
        ("amd", "advanced micro devices", "radeon"),
        "Install AMD's OpenCL driver (ROCm: the package rocm-opencl-runtime), or Mesa's (Debian, Ubuntu: apt install "
        "mesa-opencl-icd, and set RUSTICL_ENABLE=radeonsi).",
    ),
    "0x8086": (
        "Intel",
        ("intel",),
        "Install Intel's OpenCL driver for GPUs (Debian, Ubuntu: apt install intel-opencl-icd; Fedora: "
        "intel-compute-runtime).",
    ),
}


@dataclass(frozen=True)
class Problem:
    """A fault of this machine, or a setting that could be better."""

    name: str
    """A short name that stays the same between versions, such as ``"linker"``."""
    severity: str
    """``"error"``, ``"warning"`` or ``"hint"``."""
    what: str
    cure: str


@dataclass(frozen=True)
class Scene:
    """The facts that show traps: the list of devices, and the folder of the system's files."""

    devices: Sequence[DeviceEntry] = ()
    """The devices, as in the report of ``clreduce info``."""
    passed_over: Sequence[str] = ()
    driver_files: Sequence[str] = ()
    chosen: ChoiceEntry = field(default_factory=lambda: ChoiceEntry(index=None, reason=""))
    root: Path = Path("/")
    """The folder that contains ``sys``, ``dev`` and ``etc``."""

    def has_pocl(self) -> bool:
        """Whether PoCL is installed on this machine, even if it is not usable."""
        texts = [*self.passed_over, *self.driver_files]
        words = ("pocl", "portable computing language")
        return any(device["driver"] == "pocl" for device in self.devices) or any(
            word in text.lower() for text in texts for word in words
        )


def problems(scene: Scene) -> list[Problem]:
    """The problems of this machine, errors first."""
    recognised = [problem for trap in TRAPS for problem in trap(scene)]
    return sorted(recognised, key=lambda problem: (ERROR, WARNING, HINT).index(problem.severity))


# --------------------------------------------------------------------------------------------------- installation


def _pyopencl(scene: Scene) -> Iterator[Problem]:
    if version_of("pyopencl") is None:
        yield Problem("pyopencl", ERROR, "The package pyopencl is not installed.", "pip install pyopencl")


def _forked(scene: Scene) -> Iterator[Problem]:
    try:
        check_process()
    except DeviceError:
        yield Problem(
            "forked",
            ERROR,
            "This process was forked from a process that had used OpenCL. Drivers do not survive a fork.",
            "Start workers with multiprocessing.get_context('spawn') or 'forkserver', or fork before clreduce is used.",
        )


def _no_device(scene: Scene) -> Iterator[Problem]:
    if not scene.devices and not any(_forked(scene)):
        yield Problem(
            "no_device",
            ERROR,
            "No OpenCL device is usable.",
            'Install the drivers for CPUs that pip has (pip install "clreduce[cpu]"), or the driver of your GPU.',
        )


def _linker(scene: Scene) -> Iterator[Problem]:
    if scene.has_pocl() and not any(map(shutil.which, ("ld", "ld.lld"))):
        yield Problem(
            "linker",
            WARNING if scene.devices else ERROR,
            "PoCL needs the linker 'ld', which is not on PATH.",
            "Install it with a C library to link with (Debian, Ubuntu: apt install gcc; Fedora: dnf install gcc), or "
            'use Intel\'s driver, which needs none (pip install "clreduce[intel]").',
        )


def _chosen_drivers(scene: Scene) -> Iterator[Problem]:
    """A variable that names drivers and so hides all others, or names a missing file."""
    for variable in CHOSEN_BY_USER:
        value = os.environ.get(variable)
        if not value:
            continue
        missing = [part for part in value.split(os.pathsep) if not _exists(Path(part))]
        if missing:
            yield Problem(
                "vendors_missing",
                WARNING if scene.devices else ERROR,
                f"{variable} names {', '.join(missing)}, which does not exist.",
                f"Unset {variable}, or let it name a folder of .icd files or one .icd file that exists.",
            )
            continue
        # A folder replaces the folder of the system; a file replaces all other files.
        folder = scene.root / "etc/OpenCL/vendors"
        hidden = sorted(str(path) for path in _listed(folder, "*.icd") if not _is_among(path, value))
        if hidden:
            yield Problem(
                "vendors",
                HINT if scene.devices else ERROR,
                f"{variable}={value} hides the drivers of {', '.join(hidden)}.",
                f"Unset {variable} to see all drivers.",
            )


def _is_among(path: Path, value: str) -> bool:
    """Whether the value of a variable names this file of a driver, or its folder."""
    return any(path.resolve() in (named := Path(part).resolve(), named / path.name) for part in value.split(os.pathsep))


def _choice(scene: Scene) -> Iterator[Problem]:
    if scene.devices and scene.chosen["index"] is None:
        cure = "Unset CLREDUCE_DEVICE, or give an index, 'cpu', 'gpu', or words of a device's name."
        yield Problem("device_choice", ERROR, f"No device is chosen: {scene.chosen['reason']}", cure)


def _rusticl(scene: Scene) -> Iterator[Problem]:
    if any(re.match(r"rusticl: has no device", line, re.IGNORECASE) for line in scene.passed_over):
        yield Problem(
            "rusticl",
            HINT,
            "Mesa's driver rusticl is installed, but it offers no device.",
            "Set RUSTICL_ENABLE to the drivers that it may use: radeonsi (AMD), iris (Intel), nouveau (NVIDIA), "
            "or llvmpipe (the processor; slow).",
        )


# ------------------------------------------------------------------------------------------------------------ GPUs


def _gpus(scene: Scene) -> Iterator[Problem]:
    """GPUs on the PCI bus that no OpenCL driver offers."""
    for vendor in sorted(_pci_gpus(scene.root)):
        title, words, install = _GPU_VENDORS[vendor]
        texts = [f"{d['name']} {d['platform']} {d['vendor']}" for d in scene.devices if d["kind"] == "gpu"]
        texts += scene.passed_over  # a line there has the reason
        if any(word in text.lower() for text in texts for word in words):
            continue
        what = f"This machine has a GPU of {title}, and no OpenCL driver offers it."
        if vendor == "0x10de" and not _exists(scene.root / "dev/nvidiactl"):
            install = (
                "Its kernel module is not loaded, or this container has no access to the GPU "
                f"(docker run --gpus all). {install}"
            )
        elif vendor == "0x10de" and _nvidia_library(scene.root):
            what += " Its driver is installed, but no file in /etc/OpenCL/vendors names it, as in many containers."
            install = (
                "mkdir -p /etc/OpenCL/vendors && echo libnvidia-opencl.so.1 > /etc/OpenCL/vendors/nvidia.icd "
                "(in Docker also NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
            )
        yield Problem("gpu_without_driver", WARNING, what, install)


def _pci_gpus(root: Path) -> set[str]:
    """The PCI vendors of the display controllers in this machine, if `_GPU_VENDORS` has them."""
    vendors = set()
    for folder in _listed(root / "sys/bus/pci/devices", "*"):
        try:
            vendor, kind = ((folder / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        except (OSError, ValueError):
            continue
        if kind.startswith("0x03") and vendor in _GPU_VENDORS:
            vendors.add(vendor)
    return vendors


def _nvidia_library(root: Path) -> bool:
    folders = (
        "usr/lib",
        "usr/lib64",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/aarch64-linux-gnu",
        "usr/local/nvidia/lib64",
    )
    return any(_exists(root / folder / "libnvidia-opencl.so.1") for folder in folders)


def _permission(scene: Scene) -> Iterator[Problem]:
    """Device files of GPUs that this user may not open."""
    nodes = [*_listed(scene.root / "dev/dri", "renderD*"), scene.root / "dev/kfd"]
    closed = [str(path) for path in nodes if _exists(path) and not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        yield Problem(
            "gpu_permission",
            WARNING,
            f"You have no permission to open {', '.join(closed)}. So drivers cannot use the GPU.",
            'Join the groups that may (sudo usermod -aG render,video "$USER"), and log in again.',
        )


# ---------------------------------------------------------------------------------------------------------- folders


def _pocl_cache(scene: Scene) -> Iterator[Problem]:
    folder = pocl_cache_folder()
    if not scene.has_pocl() or is_writable(folder):
        return
    cure = "Set POCL_CACHE_DIR to a folder that you may write to."
    if os.environ.get("POCL_CACHE_DIR"):
        what = f"PoCL cannot write to {folder}, the folder of POCL_CACHE_DIR. It does not work without such a folder."
        yield Problem("pocl_cache", WARNING if scene.devices else ERROR, what, cure)
    else:
        what = f"PoCL cannot write to {folder}. It gets a temporary folder, so each process compiles all kernels anew."
        yield Problem("pocl_cache", WARNING, what, cure)


def _home(scene: Scene) -> Iterator[Problem]:
    try:
        home = Path.home()
    except RuntimeError:
        yield Problem("home", WARNING, "This user has no home folder.", "Set HOME to a folder that you may write to.")
        return
    if not is_writable(home):
        yield Problem(
            "home",
            WARNING,
            f"The home folder {home} is not writable.",
            f"Set HOME to a folder that you may write to, or set {CACHE_VARIABLE} and, for PoCL, POCL_CACHE_DIR.",
        )


def _cache(scene: Scene) -> Iterator[Problem]:
    folder = cache_folder()
    if folder is not None and not is_writable(folder):
        yield Problem(
            "cache_folder",
            WARNING,
            f"clreduce cannot write to its cache folder {folder}, so each process builds its kernels anew.",
            f"Set {CACHE_VARIABLE} to a folder that you may write to.",
        )


# ------------------------------------------------------------------------------------------------------------ speed


def _quota(scene: Scene) -> Iterator[Problem]:
    """A quota of processor time that is smaller than the number of a driver's threads, which it interrupts."""
    quota = processor_quota(scene.root / "sys/fs/cgroup")
    allowed = min(cores(), quota or cores())
    units = [d["facts"]["compute_units"] for d in scene.devices if d["kind"] == "cpu" and d["driver"] in _THREADED]
    if units and min(units) > max(1.0, allowed) * 1.01:
        yield Problem(
            "cpu_quota",
            WARNING,
            f"CPU drivers start {min(units)} threads or more, but this process may use only {allowed:g} cores.",
            "Give the container its own cores (docker run --cpuset-cpus) instead of a quota. Or, for PoCL, set "
            f"POCL_MAX_PTHREAD_COUNT={max(1, int(allowed))} (from PoCL 5 on: POCL_CPU_MAX_CU_COUNT).",
        )


_THREADED = ("pocl", "intel")


def _waiting_threads(scene: Scene) -> Iterator[Problem]:
    on_cpu = any(d["kind"] == "cpu" and d["index"] == scene.chosen["index"] for d in scene.devices)
    if on_cpu and version_of("torch") and os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        yield Problem(
            "omp_wait_policy",
            HINT,
            "PyTorch's threads keep the cores busy for a while after each of its operations.",
            "Set OMP_WAIT_POLICY=PASSIVE before Python starts, if you use clreduce.torch.",
        )


# ---------------------------------------------------------------------------------------------------------- helpers


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


TRAPS: tuple[Callable[[Scene], Iterator[Problem]], ...] = (
    _pyopencl, _forked, _choice, _linker, _chosen_drivers, _rusticl, _gpus, _permission, _pocl_cache,
    _home, _cache, _quota, _waiting_threads, _no_device,
)  # fmt: skip
