"""Guards against forks after OpenCL was used, which drivers do not survive, and against drivers that abort at exit."""

from __future__ import annotations

import contextlib
import os

from clreduce.errors import DeviceError

_first_process: int | None = None


def note_first_use() -> None:
    """Record that this process uses OpenCL. Children forked from it later cannot use OpenCL."""
    global _first_process
    _first_process = os.getpid()


def check_process() -> None:
    """Raise `DeviceError` in a child forked after OpenCL was used. Call it before taking any lock.

    Drivers have threads, which a fork does not copy: a call in the child would wait for them forever. The same holds
    for locks of clreduce that another thread held during the fork.
    """
    if _first_process is not None and _first_process != os.getpid():
        raise DeviceError(
            f"this process ({os.getpid()}) was forked from process {_first_process} after that one had used OpenCL: "
            "OpenCL drivers do not survive a fork and would hang. Start the workers with "
            "multiprocessing.get_context('spawn') or 'forkserver', or make the first use of clreduce after the fork."
        )


def end_without_drivers() -> None:
    """Let this process, which is about to exit, exit with its status but skip the exit handlers of drivers.

    Some drivers abort a process that exits while a thread is compiling. This needs ``on_exit`` of GNU's C library; with
    other C libraries it does nothing. It flushes the output buffers of C libraries.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError, TypeError):  # TypeError on Windows
        library = ctypes.CDLL(None)
        library.fflush(None)
        # The function that is registered last runs first. It gets the status and ends the process with it.
        library.on_exit(library._exit, None)
