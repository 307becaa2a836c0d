"""OpenCL drivers: short names and versions from what platforms say, and whether one compiles for this processor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clreduce.runtime.loader import is_writable, pocl_folder_in_use

if TYPE_CHECKING:
    import pyopencl as cl

DRIVER_TITLES = {
    "pocl": "PoCL",
    "intel": "Intel",
    "nvidia": "NVIDIA",
    "amd": "AMD",
    "apple": "Apple",
    "oclgrind": "Oclgrind",
}
REMEDY = (
    'Install drivers for the CPU with: pip install "clreduce[cpu]", or install the OpenCL driver of your '
    "hardware's vendor. A driver that is installed but not found can be named in the environment variable "
    "OCL_ICD_VENDORS (a folder of .icd files, or one .icd file)."
)
NEWER = (
    "Intel's CPU driver does, on AMD's processors too (pip install \"clreduce[cpu]\"), or a newer PoCL may "
    "(Debian, Ubuntu: apt install pocl-opencl-icd; conda: conda install pocl)"
)
ROOM = "Make room there, or name another folder in the environment variable POCL_CACHE_DIR"


def driver_of(platform_text: str) -> str:
    """Short driver name (see `DeviceFacts.driver`) from a platform's name and vendor."""
    text = platform_text.lower()
    if "emulation" in text:  # Intel's FPGA emulator: neither the Intel CPU driver nor an accelerator
        return "other"
    for driver, signs in {
        "oclgrind": ("oclgrind",),
        "pocl": ("pocl", "portable computing language"),
        "nvidia": ("nvidia",),
        "apple": ("apple",),
        "intel": ("intel",),
        "amd": ("amd", "advanced micro devices"),
    }.items():
        if any(sign in text for sign in signs):
            return driver
    return "other"


def leading_numbers(version: str) -> tuple[int, ...]:
    """The first dotted number in a text: ``"3.1+debian"`` -> (3, 1), ``"535.104.05"`` -> (535, 104, 5), none -> ()."""
    found = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()


def llvm_of(platform_version: str) -> int | None:
    """Major LLVM version named in a platform's version, as PoCL does (``"... LLVM 15.0.6 ..."``), or None."""
    found = re.search(r"\bLLVM (\d+)", platform_version)
    return int(found.group(1)) if found else None


def refusal(cl_device: cl.Device) -> str:
    """Why a driver would refuse each and every kernel for this device, in words; "" if it would not.

    The compiler of a PoCL that is older than the processor calls that generic, and knows no such target on x86-64.
    Nothing but an empty kernel tells, and only where PoCL names that target is it worth the time.
    """
    import pyopencl as cl

    platform = cl_device.platform
    if driver_of(f"{platform.name} {platform.vendor}") != "pocl":
        return ""
    if why := why_no_kernel():
        return why
    if not cl_device.version.strip().endswith("-generic"):
        return ""
    try:
        cl.Program(cl.Context([cl_device]), "__kernel void nothing(void) {}").build()
    except cl.Error as error:
        version, llvm = cl_device.driver_version.strip(), llvm_of(platform.version)
        if "unknown target CPU" not in str(error):
            return f"PoCL {version} refuses an empty kernel: {error}"
        compiler = "its compiler" if llvm is None else f"its compiler, LLVM {llvm},"
        return f"PoCL {version} does not work on this processor, which {compiler} does not know. {NEWER}"
    return ""


def why_no_device(title: str) -> str:
    """What may keep a platform from offering its device, to be added to a message; "" if we know of nothing."""
    why = why_no_kernel() if driver_of(title) == "pocl" else ""
    return f"; {why}" if why else ""


def why_no_kernel() -> str:
    """Why PoCL can build no kernel now, in words: it writes each to a folder; "" if it can."""
    folder = pocl_folder_in_use()
    if is_writable(folder):
        return ""
    return f"PoCL keeps kernels in the folder {folder}, which cannot be written, or whose disk is full. {ROOM}"
