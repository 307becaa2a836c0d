"""Lists the OpenCL platforms, including drivers that pip or conda installed.

An OpenCL loader looks for drivers once, when a process first lists the platforms. The environment variables that it
reads depend on the loader, so we search its library for their names:

- the loader in pyopencl's wheels for Linux reads ``PYOPENCL_HOME``: a folder with more .icd files in ``.libs``;
- Khronos' loader (Windows, macOS, many Linux distributions) reads ``OCL_ICD_FILENAMES``: a list of libraries;
- ocl-icd as distributions ship it reads ``OCL_ICD_VENDORS`` only: a folder in place of the system's.

The variables are set for the first listing and restored afterwards. If the user has set ``OCL_ICD_VENDORS`` or
``OPENCL_VENDOR_PATH``, nothing is added.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyopencl import Platform

CHOSEN_BY_USER = ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH")
"""Environment variables in which users name their drivers."""
_LIBRARIES_OF_PIP = {"intel-opencl-rt": ("libintelocl.so", "intelocl64.dll")}
"""The possible file names of the driver in each distribution on PyPI."""
_SYSTEM_VENDORS = Path("/etc/OpenCL/vendors")
_LEAST_ROOM = 1 << 20
"""A folder for built kernels needs this many free bytes."""
_replacement: Path | None = None
"""The temporary folder that PoCL uses in place of its own; None if it uses its own."""
_A_DRIVER = re.compile(r"lib(pocl|intelocl|MesaOpenCL|RusticlOpenCL|nvidia-opencl|amdocl|oclgrind)[^/]*\.so")


@dataclass(frozen=True)
class DriverFile:
    """The library of an OpenCL driver that the system's list of drivers does not name."""

    path: Path
    origin: str
    """The package or system that installed it, such as ``"pip's intel-opencl-rt"``."""


def driver_files() -> tuple[DriverFile, ...]:
    """The drivers that pip or conda installed into this Python environment, whether they load or not.

    >>> all(driver.path.is_absolute() for driver in driver_files())
    True
    """
    drivers = [*_of_pyopencl(), *_of_distributions(), *_of_environment()]
    return tuple({driver.path: driver for driver in reversed(drivers)}.values())[::-1]


def list_platforms(cl: ModuleType) -> tuple[list[Platform], tuple[str, ...]]:
    """The OpenCL platforms, and a note on each driver of this environment that was not loaded.

    ``cl`` is pyopencl. Its error passes through if there is no driver at all.
    """
    chosen = [f"{name}={os.environ[name]}" for name in CHOSEN_BY_USER if os.environ.get(name)]
    drivers = driver_files()
    early = _loaded_drivers()
    with contextlib.ExitStack() as stack:
        if not chosen:
            stack.enter_context(_found_by_loader(drivers))
        stack.enter_context(_usable_pocl_cache())
        platforms = cl.get_platforms()
        for platform in platforms:  # PoCL reads its variable at the first query of its devices
            with contextlib.suppress(cl.Error):
                platform.get_devices()
    loaded = _loaded_libraries()
    missing = [driver for driver in drivers if loaded and str(driver.path) not in loaded]
    if chosen:
        why = f"{' and '.join(chosen)} names the drivers to load"
    elif early:
        why = "this process had listed the OpenCL platforms before clreduce did; call clreduce.devices() first"
    else:
        why = "the OpenCL loader could not load it"
    return platforms, tuple(f"{driver.path} ({driver.origin}): not loaded, because {why}" for driver in missing)


# ------------------------------------------------------------------------------------------ where drivers may lie


def _of_pyopencl() -> Iterator[DriverFile]:
    """The drivers that wheels such as PoCL's install into pyopencl's folder."""
    import pyopencl

    folder = Path(pyopencl.__file__).resolve().parent / ".libs"
    for library in _libraries_of(folder, folder):
        yield DriverFile(library, "pip, beside pyopencl")


def _of_distributions() -> Iterator[DriverFile]:
    """The drivers of wheels that are installed according to their metadata, wherever their files are."""
    from importlib import metadata  # on demand: its import takes as long as clreduce's

    for distribution, names in _LIBRARIES_OF_PIP.items():
        try:
            files = metadata.files(distribution) or ()
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name in names:
                # The wheel's .icd file contains a path on the machine that built it.
                path = Path(str(file.locate())).resolve()
                if path.is_file():
                    yield DriverFile(path, f"pip's {distribution}")


def _of_environment() -> Iterator[DriverFile]:
    """The drivers of conda packages. Without help, only conda's own loader finds them."""
    prefix = Path(sys.prefix)
    for library in _libraries_of(prefix / "etc" / "OpenCL" / "vendors", prefix / "lib"):
        yield DriverFile(library, "this environment's etc/OpenCL/vendors")


def _libraries_of(vendors: Path, folder: Path) -> Iterator[Path]:
    """The libraries that .icd files name, absolute or inside ``folder``, if they exist."""
    for icd in sorted(vendors.glob("*.icd")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            library = folder / icd.read_text(encoding="utf-8").strip()
            if library.is_file():
                yield library.resolve()


# --------------------------------------------------------------------------------------------- telling the loader


@contextlib.contextmanager
def _found_by_loader(drivers: tuple[DriverFile, ...]) -> Iterator[None]:
    """Let the OpenCL loader find ``drivers`` too inside this block.

    If no temporary folder can be written to, it finds the drivers of the system only.
    """
    with contextlib.ExitStack() as stack:
        variables = _variables_of_loader() if drivers else frozenset()
        if "PYOPENCL_HOME" in variables:
            home = stack.enter_context(_temporary_folder())
            if home is not None and _write_icds(home / ".libs", drivers, None):
                stack.enter_context(_variable("PYOPENCL_HOME", str(home)))
        elif "OCL_ICD_FILENAMES" in variables:
            names = [os.environ.get("OCL_ICD_FILENAMES", ""), *(str(driver.path) for driver in drivers)]
            if sys.platform == "win32":
                for driver in drivers:  # a driver may need other libraries from its folder
                    stack.enter_context(os.add_dll_directory(str(driver.path.parent)))
            stack.enter_context(_variable("OCL_ICD_FILENAMES", os.pathsep.join(filter(None, names))))
        elif "OCL_ICD_VENDORS" in variables:
            vendors = stack.enter_context(_temporary_folder())
            if vendors is not None and _write_icds(vendors, drivers, _SYSTEM_VENDORS):
                stack.enter_context(_variable("OCL_ICD_VENDORS", str(vendors)))
        yield


def _variables_of_loader() -> frozenset[str]:
    """The environment variables for additional drivers that the loader reads, by the names in its library."""
    known = ("PYOPENCL_HOME", "OCL_ICD_FILENAMES", "OCL_ICD_VENDORS")
    libraries = [Path(path) for path in _loaded_libraries() if "libOpenCL" in Path(path).name]
    if not libraries:  # the system does not list the libraries of a process: assume Khronos' loader
        return frozenset({"OCL_ICD_FILENAMES"})
    text = b""
    for library in libraries:
        with contextlib.suppress(OSError):
            text += library.read_bytes()
    return frozenset(name for name in known if name.encode() in text)


def _write_icds(folder: Path, drivers: tuple[DriverFile, ...], system: Path | None) -> bool:
    """Write .icd files with absolute paths into a folder, and copies of the system's; False if that fails."""
    try:
        folder.mkdir(exist_ok=True)
        for number, driver in enumerate(drivers):
            (folder / f"clreduce-{number}.icd").write_text(str(driver.path), encoding="utf-8")
        for icd in sorted(system.glob("*.icd")) if system is not None else ():
            (folder / icd.name).write_bytes(icd.read_bytes())
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path | None]:
    """An empty folder, removed afterwards; None if none can be made."""
    try:
        folder = temporary_folder("clreduce-drivers-")
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable inside this block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


# ------------------------------------------------------------------------------------------------ PoCL's cache


def pocl_cache_folder() -> Path:
    """The folder in which PoCL stores compiled kernels according to its own rules."""
    chosen = os.environ.get("POCL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base, "pocl", "kcache")
    home = os.environ.get("HOME")
    return Path(home, ".cache", "pocl", "kcache") if home else Path(tempfile.gettempdir(), "pocl", "kcache")


def pocl_folder_in_use() -> Path:
    """The folder that PoCL uses in this process: `pocl_cache_folder`, or a temporary one in place of it.

    >>> is_writable(pocl_folder_in_use())
    True
    """
    return _replacement or pocl_cache_folder()


def is_writable(folder: Path) -> bool:
    """Whether files can be written to ``folder``, or to its nearest existing parent. No file is left there.

    It is False on a disk with less than a megabyte left, too: a driver that stores kernels there would fail.
    """
    try:
        while not folder.exists():
            if folder == folder.parent:
                return False
            folder = folder.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            return False
        if shutil.disk_usage(folder).free < _LEAST_ROOM:
            return False
        with tempfile.TemporaryFile(dir=folder) as file:  # a quota or a limit of the process may still forbid it
            file.write(bytes(1 << 16))
        return True
    except OSError:  # a parent that may not be entered, a full disk
        return False


def temporary_folder(prefix: str) -> Path:
    """A new empty folder of this user that can be written to; raises `OSError` if none can be made."""
    for place in (None, "/var/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):  # gettempdir raises OSError if all of its folders are full
            folder = place or tempfile.gettempdir()
            if is_writable(Path(folder)):
                return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    raise OSError("no folder for temporary files can be written to")


@contextlib.contextmanager
def _usable_pocl_cache() -> Iterator[None]:
    """Give PoCL a folder that it can write to inside this block; without one, PoCL builds no kernel.

    A folder that the user has named is never replaced.
    """
    global _replacement
    if os.environ.get("POCL_CACHE_DIR") or is_writable(pocl_cache_folder()):
        yield
        return
    try:
        _replacement = temporary_folder("clreduce-pocl-")
    except OSError:
        yield
        return
    atexit.register(shutil.rmtree, _replacement, ignore_errors=True)
    with _variable("POCL_CACHE_DIR", str(_replacement)):
        yield


# ------------------------------------------------------------------------------------- what this process has loaded


def _loaded_libraries() -> frozenset[str]:
    """The paths of the libraries in this process; empty if the system does not list them."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line[line.index("/") :] for line in lines if "/" in line)


def _loaded_drivers() -> frozenset[str]:
    """The OpenCL drivers among the loaded libraries. If there are any, the loader has already searched for drivers."""
    return frozenset(path for path in _loaded_libraries() if _A_DRIVER.match(Path(path).name))
