"""pyopencl without its caches on disk.

pyopencl keeps pickles, binaries and databases in the home folder. If that folder is read-only, the disk is full, an
entry is damaged or a lock was left behind, then importing, building and launching fail or wait. clreduce has its own
cache (`clreduce.cache`), which does not.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyopencl as cl

KernelBuffer: TypeAlias = "cl.MemoryObjectHolder | cl.SVMPointer"
"""The memory that a kernel reads or writes: a buffer, a part of a pool, or the address of an array of the host."""
_SWITCH = "PYOPENCL_NO_CACHE"
_switching = threading.Lock()


@contextlib.contextmanager
def without_caches() -> Iterator[None]:
    """Switch off the caches of pyopencl if this block imports it first, unless the environment sets them.

    If pyopencl has been imported before, its caches stay as they are, except in `kernel_of`.
    """
    chosen = os.environ.get(_SWITCH)
    if chosen is None:
        os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        if chosen is None:
            os.environ.pop(_SWITCH, None)


def kernel_of(program: cl.Program, name: str) -> cl.Kernel:
    """The ``pyopencl.Kernel`` of a built program.

    pyopencl generates Python code for each kernel and caches it on disk. That cache may be damaged, or locked by
    another process for minutes, so it is switched off meanwhile.
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
                # The module was imported just now, without the cache that kernels of the user's program look for.
                invoker.invoker_cache = _InMemory()
        return kernel


class _InMemory(dict[Any, Any]):
    """A stand-in for a cache of pyopencl that lasts as long as the process."""

    def store_if_not_present(self, key: object, value: object) -> None:
        """Keep ``value`` under ``key`` unless there is a value already."""
        self.setdefault(key, value)
