"""OpenCL source -> built program, once per source, options and device."""

from __future__ import annotations

import shutil
import threading
import warnings
from collections import OrderedDict
from typing import Any

from clreduce.errors import CompileError, DeviceError
from clreduce.runtime.device import Device

# Contraction of a*b + c into one FMA; nothing that changes infinities, nans or the order of operations.
OPTIONS = ("-cl-mad-enable", "-cl-std=CL1.2")


class ProgramCache:
    """Built programs, the least recently used dropped beyond ``limit``. Safe to use from several threads."""

    def __init__(self, limit: int = 512) -> None:
        self.limit = limit
        self.builds = 0
        """Programs built so far, for tests and for the curious."""
        self._programs: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def build(self, source: str, device: Device) -> Any:
        """The ``pyopencl.Program`` of ``source`` on ``device``; raises `CompileError` with the driver's log."""
        key = (source, device.identity)
        with self._lock:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
            program = self._programs[key] = _build(source, device)
            self.builds += 1
            if len(self._programs) > self.limit:
                self._programs.popitem(last=False)
            return program

    def clear(self) -> None:
        """Forget all programs."""
        with self._lock:
            self._programs.clear()


PROGRAMS = ProgramCache()


def _build(source: str, device: Device) -> Any:
    import pyopencl as cl

    if device.facts.driver == "pocl" and device.facts.kind == "cpu" and not any(map(shutil.which, ("ld", "ld.lld"))):
        # PoCL links each kernel when it first runs, and aborts the whole process if it can't.
        raise DeviceError(
            "the PoCL driver needs a system linker, and there is no 'ld' on PATH; "
            "install binutils (Debian: apt install binutils libc6-dev), or use another driver (CLREDUCE_DEVICE)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        try:
            return cl.Program(device.context, source).build(list(OPTIONS))
        except cl.Error as error:
            raise CompileError(
                f"the driver of {device} refused a kernel.\n{error}\n"
                "This is a fault of clreduce or of the driver: please report it with the source "
                "(in the attribute 'source' of this error).",
                source=source,
            ) from None
