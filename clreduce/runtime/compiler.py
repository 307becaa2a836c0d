"""OpenCL source -> built program, once per source, options and device, and kept on disk for later processes."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from clreduce.cache import cache_folder, clear_folder, entry_name, read_entry, write_entry
from clreduce.errors import CompileError
from clreduce.runtime.device import Device
from clreduce.runtime.profile import building

# Contraction of a*b + c into one FMA; nothing that changes infinities, nans or the order of operations.
OPTIONS = ("-cl-mad-enable", "-cl-std=CL1.2")
_WITHOUT_BUILTINS = "-DPLAIN_OPENCL_C"
_SECONDS_TO_SAVE = 1.0
_LOGGER = logging.getLogger("clreduce.builds")


class ProgramCache:
    """Built programs, the least recently used dropped beyond ``limit``. Safe to use from several threads."""

    def __init__(self, limit: int = 512) -> None:
        self.limit = limit
        self.builds = 0
        """Programs made so far, from source or from disk: for tests and for the curious."""
        self._programs: OrderedDict[tuple[str, Device], Any] = OrderedDict()
        self._unsaved: dict[tuple[str, Device], None] = {}
        self._process: int | None = None
        self._lock = threading.Lock()

    def build(self, source: str, device: Device) -> Any:
        """The ``pyopencl.Program`` of ``source`` on ``device``; raises `CompileError` with the driver's log."""
        key = (source, device)
        with self._lock:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
            program = _from_disk(source, device)
            if program is None:
                start = time.perf_counter()
                program = _from_source(source, device)
                _LOGGER.info(
                    "built a kernel of %d lines in %.2f s for %r",
                    source.count("\n"),
                    time.perf_counter() - start,
                    device,
                )
                self._unsaved[key] = None
                if self._process is None:
                    self._process = os.getpid()
                    atexit.register(self.save)
            self._programs[key] = program
            self.builds += 1
            if len(self._programs) > self.limit:
                self._programs.popitem(last=False)
            return program

    def forget(self, source: str, device: Device) -> None:
        """Drop a program that nobody is going to ask for again: it is neither kept in memory nor written to disk."""
        with self._lock:
            self._programs.pop((source, device), None)
            self._unsaved.pop((source, device), None)

    def save(self) -> None:
        """Keep on disk what was built from source, for as long as a second allows; runs at the end of the process.

        Not at the first call: PoCL compiles a program once more when asked for its binary.
        """
        if self._process != os.getpid() or cache_folder() is None:
            return  # drivers do not survive a fork
        end = time.monotonic() + _SECONDS_TO_SAVE
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        for source, device in reversed(unsaved):
            program = self._programs.get((source, device))
            if program is not None and time.monotonic() < end:
                _to_disk(source, device, program)

    def clear(self) -> None:
        """Forget all programs, on disk too."""
        with self._lock:
            self._programs.clear()
            self._unsaved.clear()
        clear_folder()


PROGRAMS = ProgramCache()


def _entry(source: str, device: Device) -> str:
    return entry_name("program", source, *_options(device), device.identity)


def _options(device: Device) -> list[str]:
    return [*OPTIONS] if device.facts.compiler_builtins else [*OPTIONS, _WITHOUT_BUILTINS]


def _to_disk(source: str, device: Device, program: Any) -> None:
    import pyopencl as cl

    binaries = program.get_info(cl.program_info.BINARIES)
    if len(binaries) == 1:
        write_entry(_entry(source, device), bytes(binaries[0]))


@contextlib.contextmanager
def _silent_compiler() -> Iterator[None]:
    """Keeps from the user what a compiler says of a kernel that it builds, or of a binary that it loads."""
    import pyopencl as cl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        yield


@building("looked for on disk")
def _from_disk(source: str, device: Device) -> Any | None:
    import pyopencl as cl

    binary = read_entry(_entry(source, device))
    if binary is None:
        return None
    with _silent_compiler():
        try:
            program = _from_binary(binary, device)
        except cl.Error:
            return None  # a driver may refuse its own old binaries: the source is at hand
    _LOGGER.debug("read a kernel of %d lines from disk for %r", source.count("\n"), device)
    return program


@building("taken from disk")
def _from_binary(binary: bytes, device: Device) -> Any:
    import pyopencl as cl

    return cl.Program(device.context, [device.cl_device], [binary]).build()


@building("compiled from source")
def _from_source(source: str, device: Device) -> Any:
    import pyopencl as cl

    with _silent_compiler():
        try:
            return cl.Program(device.context, source).build(_options(device))
        except cl.Error as error:
            raise CompileError(
                f"the driver of {device} refused a kernel.\n{error}\n"
                "This is a fault of clreduce or of the driver: please report it with the source "
                "(in the attribute 'source' of this error).",
                source=source,
            ) from None
