"""OpenCL drivers: their short names and versions, and whether they compile for this processor."""

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
    """The short name of a driver (see `DeviceFacts.driver`), from a platform's name and vendor."""
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
    match = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()


def llvm_of(platform_version: str) -> int | None:
    """The major LLVM version in a platform's version, such as PoCL's ``"... LLVM 15.0.6 ..."``; None if it has none."""
    match = re.search(r"\bLLVM (\d+)", platform_version)
    return int(match.group(1)) if match else None


def refusal(cl_device: cl.Device) -> str:
    """The reason why a driver would refuse every kernel for this device; "" if it would not.

    If a processor is newer than PoCL's compiler, PoCL chooses the target "generic", which the compiler does not know on
    x86-64. Only a build of an empty kernel reveals this. It takes time, so it is done for that target only.
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
    """A possible reason why a platform has no device, to be appended to a message; "" if none is known."""
    why = why_no_kernel() if driver_of(title) == "pocl" else ""
    return f"; {why}" if why else ""


def why_no_kernel() -> str:
    """The reason why PoCL can build no kernel now: it must write kernels to a folder. "" if it can build them."""
    folder = pocl_folder_in_use()
    if is_writable(folder):
        return ""
    return f"PoCL keeps kernels in the folder {folder}, which cannot be written, or whose disk is full. {ROOM}"
