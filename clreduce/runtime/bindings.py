"""pyopencl without its caches on disk.

It keeps pickles, binaries and databases in the home folder. Where that folder cannot be written to, the disk is full,
an entry is damaged or a lock was left behind, importing, building and launching would fail or wait. clreduce has a
cache of its own (`clreduce.cache`), which never does.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

_SWITCH = "PYOPENCL_NO_CACHE"
_switching = threading.Lock()


@contextlib.contextmanager
def without_caches() -> Iterator[None]:
    """A first ``import pyopencl`` in this block leaves its caches switched off, unless the environment names them.

    Where a program has imported pyopencl before, its caches stay as they are, but for `kernel_of`.
    """
    chosen = os.environ.get(_SWITCH)
    if chosen is None:
        os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        if chosen is None:
            os.environ.pop(_SWITCH, None)


def kernel_of(program: Any, name: str) -> Any:
    """The ``pyopencl.Kernel`` of a built program.

    What pyopencl writes in Python for each kernel would go through a cache, which may be broken in any way; and where
    another process holds its lock, for minutes. So that cache is off meanwhile.
    """
    import pyopencl as cl

    with _switching:
        before: Any = getattr(cl, "_PYOPENCL_NO_CACHE", False)
        cl._PYOPENCL_NO_CACHE = True
        try:
            kernel = cl.Kernel(program, name)
        finally:
            cl._PYOPENCL_NO_CACHE = before
            invoker: Any = sys.modules.get("pyopencl.invoker")
            if invoker is not None and not before and not hasattr(invoker, "invoker_cache"):
                # It was imported just now, and has left out what the program's own kernels look for.
                invoker.invoker_cache = _InMemory()
        return kernel


class _InMemory(dict[Any, Any]):
    """A cache of pyopencl's that lasts as long as the process."""

    def store_if_not_present(self, key: Any, value: Any) -> None:
        """Keep ``value`` unless there is one."""
        self.setdefault(key, value)
