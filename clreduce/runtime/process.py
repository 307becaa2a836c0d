"""Which process has touched OpenCL, for drivers do not survive a fork; and how one ends, for some drivers abort it."""

from __future__ import annotations

import contextlib
import os

from clreduce.errors import DeviceError

_first_process: int | None = None


def note_first_use() -> None:
    """From now on, children forked from this process cannot use OpenCL."""
    global _first_process
    _first_process = os.getpid()


def check_process() -> None:
    """Raise `DeviceError` in a child forked after OpenCL was touched; to be called before any lock is taken.

    Drivers keep threads, which a fork does not copy: a call in the child would wait for them forever. So might
    a lock of ours that another thread held while forking.
    """
    if _first_process is not None and _first_process != os.getpid():
        raise DeviceError(
            f"this process ({os.getpid()}) was forked from process {_first_process} after that one had used OpenCL: "
            "OpenCL drivers do not survive a fork and would hang. Start the workers with "
            "multiprocessing.get_context('spawn') or 'forkserver', or make the first use of clreduce after the fork."
        )


def end_without_drivers() -> None:
    """Have this process, which is about to exit, do so with its status, but without what drivers do at an exit.

    Some abort the process if one of its threads is compiling then. For the end of a process only; it does nothing where
    the C library has no ``on_exit``, which GNU's has. What C libraries hold back of their output is written now.
    """
    import ctypes

    with contextlib.suppress(AttributeError, OSError, TypeError):  # the last one on Windows
        library = ctypes.CDLL(None)
        library.fflush(None)
        # The last function that is registered runs first. This one takes the status, and ends the process with it.
        library.on_exit(library._exit, None)
