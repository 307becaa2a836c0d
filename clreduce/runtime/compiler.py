"""`PROGRAMS` builds OpenCL source once per source, options and device, and stores programs on disk."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from clreduce.cache import cache_folder, entry_name, read_entry, write_entry
from clreduce.errors import CompileError, DeviceError
from clreduce.memo import Memo
from clreduce.runtime.device import Device
from clreduce.runtime.drivers import why_no_kernel
from clreduce.runtime.process import end_without_drivers
from clreduce.runtime.profile import building

if TYPE_CHECKING:
    import pyopencl as cl

# Allow the contraction of a*b + c into one FMA, but no change of infinities, nans or the order of operations.
OPTIONS = ("-cl-mad-enable", "-cl-std=CL1.2")
_WITHOUT_BUILTINS = "-DPLAIN_OPENCL_C"
_SECONDS_TO_SAVE = 0.5
_LOGGER = logging.getLogger("clreduce.builds")


class ProgramCache:
    """A cache of up to ``limit`` built programs, the most recently used ones. Safe to use from several threads."""

    def __init__(self, limit: int = 512) -> None:
        self.builds = 0
        """The number of programs made so far, from source or from disk; for tests and for information."""
        self._programs: Memo[tuple[str, Device, bool], cl.Program] = Memo(limit)
        self._unsaved: Memo[tuple[str, Device], None] = Memo(limit)
        """Programs that were built from source and are not on disk yet."""
        self._building = threading.RLock()
        self._process: int | None = None

    def build(self, source: str, device: Device, what: Callable[[], str] = lambda: "a kernel") -> cl.Program:
        """The ``pyopencl.Program`` of ``source`` on ``device``; raises `CompileError` with the driver's log.

        ``what`` returns a description of the kernel for the log.
        """
        return self._programs.fetch(_key(source, device), lambda: self._made(source, device, what))

    def _made(self, source: str, device: Device, what: Callable[[], str]) -> cl.Program:
        # One at a time: some drivers cannot build several programs at once, and warning filters are global.
        with self._building:
            program = None if _keeps_programs(device) else _from_disk(source, device)
            if program is None:
                if _LOGGER.isEnabledFor(logging.INFO):
                    _LOGGER.info("building %s, for %r", what(), device)
                start = time.perf_counter()
                program = _from_source(source, device)
                seconds = time.perf_counter() - start
                _LOGGER.info("built a kernel of %d lines in %.2f s for %r", source.count("\n"), seconds, device)
                if not _keeps_programs(device):
                    self._unsaved.keep((source, device), None)
                if self._process is None:
                    self._process = os.getpid()
                    atexit.register(self._at_exit)
            self.builds += 1
        return program

    def forget(self, source: str, device: Device) -> None:
        """Drop a program that is not needed again. It will not be written to disk."""
        self._programs.pop(_key(source, device), None)
        self._unsaved.pop((source, device), None)

    def save(self, seconds: float = _SECONDS_TO_SAVE) -> None:
        """Write programs that were built from source to disk, the newest first, for about ``seconds``.

        No thread starts a build meanwhile. If a thread is building already, nothing is saved, because a driver may take
        long.
        """
        if self._process != os.getpid() or cache_folder() is None:
            return
        if not self._building.acquire(blocking=False):
            return
        end = time.monotonic() + seconds
        try:
            for source, device in reversed(list(self._unsaved)):
                program = self._programs.get(_key(source, device))
                if time.monotonic() > end:
                    break
                if program is not None:
                    _to_disk(source, device, program)
            self._unsaved.clear()
        finally:
            self._building.release()

    def _at_exit(self) -> None:
        """Save programs, and keep other threads from building: drivers abort a process that exits during a build."""
        start = time.monotonic()
        if self._process != os.getpid():
            return  # drivers do not survive a fork
        if self._building.acquire(timeout=_SECONDS_TO_SAVE):  # never released: daemon threads wait until the exit
            self.save(start + _SECONDS_TO_SAVE - time.monotonic())
        else:
            end_without_drivers()

    def clear(self) -> None:
        """Forget all programs in memory."""
        self._programs.clear()
        self._unsaved.clear()


PROGRAMS = ProgramCache()


def _entry(source: str, device: Device) -> str:
    return entry_name("program", source, *_options(device), device.identity)


def _key(source: str, device: Device) -> tuple[str, Device, bool]:
    """The key of a program. It contains the use of builtins, which a trial of the device may switch off later."""
    return source, device, device.facts.compiler_builtins


def _options(device: Device) -> list[str]:
    return [*OPTIONS] if device.facts.compiler_builtins else [*OPTIONS, _WITHOUT_BUILTINS]


def _keeps_programs(device: Device) -> bool:
    """Whether the driver has a cache of its own that serves later processes.

    PoCL compiles a program again, for about a second, to return its binary; its own cache makes that useless.
    """
    return device.facts.driver == "pocl"


def _to_disk(source: str, device: Device, program: cl.Program) -> None:
    import pyopencl as cl

    try:
        binaries: Any = program.get_info(cl.program_info.BINARIES)
    except cl.Error as error:  # some drivers return no binaries
        _LOGGER.debug("no binary of a kernel from %r: %s", device, error)
        return
    if len(binaries) == 1:
        write_entry(_entry(source, device), bytes(binaries[0]))


@contextlib.contextmanager
def _silent_compiler() -> Iterator[None]:
    """Hide the compiler's messages about kernels that it builds and binaries that it loads."""
    import pyopencl as cl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        warnings.filterwarnings("ignore", "Pre-build attribute access")  # see `_from_source`
        yield


@building("looked for on disk")
def _from_disk(source: str, device: Device) -> cl.Program | None:
    import pyopencl as cl

    binary = read_entry(_entry(source, device))
    if binary is None:
        return None
    with _silent_compiler():
        try:
            program = _from_binary(binary, device)
        except cl.Error:
            return None  # a driver may refuse its own old binaries; the caller builds from source
    _LOGGER.debug("read a kernel of %d lines from disk for %r", source.count("\n"), device)
    return program


@building("taken from disk")
def _from_binary(binary: bytes, device: Device) -> cl.Program:
    import pyopencl as cl

    program: cl.Program = cl.Program(device.context, [device.cl_device], [binary]).build()
    return program


@building("compiled from source")
def _from_source(source: str, device: Device) -> cl.Program:
    import pyopencl as cl

    with _silent_compiler():
        try:
            program = cl.Program(device.context, source)
            # After a query, the driver alone builds a program, without pyopencl's cache on disk. This holds even if
            # the user's program imported pyopencl before us (see `clreduce.runtime.bindings`).
            program.get_info(cl.program_info.NUM_DEVICES)
            built: cl.Program = program.build(_options(device))
            return built
        except cl.Error as error:
            if device.facts.driver == "pocl" and (why := why_no_kernel()):
                raise DeviceError(f"{device} built no kernel: {why}") from error
            raise CompileError(
                f"the driver of {device} refused a kernel.\n{error}\n"
                "This is a fault of clreduce or of the driver: please report it with the source "
                "(in the attribute 'source' of this error).",
                source=source,
            ) from None
