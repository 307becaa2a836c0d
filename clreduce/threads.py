"""Passes over large arrays in several threads: NumPy works outside Python's lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context

import numpy as np

_MOST = 8
"""The most threads: passes over memory gain nothing from more."""


class _Turns(threading.local):
    are_taken = False
    """Whether this thread works for `in_threads`."""


_OF_THREAD = _Turns()


def most_threads() -> int:
    """The number of threads that `in_threads` uses for large arrays."""
    return min(os.cpu_count() or 1, _MOST)


def in_threads(work: Callable[[int, int], None], count: int, size: int) -> None:
    """Call ``work(start, end)`` for the numbers below ``count``, ``size`` at a time, in any order.

    After an error, no more calls begin. The caller's thread works, too: alone, where no other thread can start, and in
    calls inside ``work``, whose threads are enough. The threads have the caller's context variables and its
    `numpy.errstate`.

    >>> import numpy as np
    >>> squares = np.empty(10)
    >>> def fill(start, end):
    ...     squares[start:end] = np.arange(start, end) ** 2
    >>> in_threads(fill, 10, 4)
    >>> squares[7:]
    array([49., 64., 81.])
    """
    starts = range(0, count, size)
    threads = min(most_threads(), len(starts))
    if threads < 2 or _OF_THREAD.are_taken:
        for start in starts:
            work(start, min(start + size, count))
        return
    left = deque(starts)
    errors = np.geterr()  # no context variable before NumPy 2

    def take_turns() -> None:
        _OF_THREAD.are_taken = True
        try:
            with np.errstate(**errors):
                while True:
                    try:
                        start = left.popleft()
                    except IndexError:
                        return
                    work(start, min(start + size, count))
        except BaseException:
            left.clear()
            raise
        finally:
            _OF_THREAD.are_taken = False

    with ThreadPoolExecutor(threads - 1) as pool:
        try:
            helpers = []
            # While Python exits, or at the system's limit of threads, no other thread starts.
            with suppress(RuntimeError):
                for _ in range(threads - 1):
                    helpers.append(pool.submit(copy_context().run, take_turns))
            take_turns()
            for helper in helpers:
                helper.result()
        finally:
            left.clear()


__all__ = ["in_threads", "most_threads"]
