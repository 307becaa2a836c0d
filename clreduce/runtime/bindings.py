"""pyopencl without its caches on disk.

It keeps pickles, binaries and databases in the home folder. Where that folder cannot be written to, the disk is full,
an entry is damaged or a lock was left behind, importing, building and launching would fail or wait. clreduce has a
cache of its own (`clreduce.cache`), which never does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

_SWITCH = "PYOPENCL_NO_CACHE"


@contextlib.contextmanager
def without_caches() -> Iterator[None]:
    """A first ``import pyopencl`` in this block leaves its caches switched off, unless the environment names them.

    Where a program has imported pyopencl before, its caches stay as they are: see `kernel_of`.
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
    """The ``pyopencl.Kernel`` of a built program; errors of pyopencl's caches do not come through, its own do."""
    import pyopencl as cl

    try:
        return cl.Kernel(program, name)
    except cl.Error:
        raise
    except Exception:
        # What pyopencl writes in Python for each kernel goes through a cache that is broken here, in whatever way.
        cl._PYOPENCL_NO_CACHE = True
        return cl.Kernel(program, name)
