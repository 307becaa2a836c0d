"""Passes over large arrays in several threads: NumPy works outside Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_MOST = 8
"""The most threads: passes over memory gain nothing from more."""


def in_threads(work: Callable[[int, int], None], count: int, size: int) -> None:
    """Call ``work(start, end)`` for the numbers below ``count``, ``size`` at a time, in any order.

    >>> import numpy as np
    >>> squares = np.empty(10)
    >>> def fill(start, end):
    ...     squares[start:end] = np.arange(start, end) ** 2
    >>> in_threads(fill, 10, 4)
    >>> squares[7:]
    array([49., 64., 81.])
    """
    starts = range(0, count, size)
    threads = min(os.cpu_count() or 1, len(starts), _MOST)
    if threads < 2:
        for start in starts:
            work(start, min(start + size, count))
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda start: work(start, min(start + size, count)), starts))


__all__ = ["in_threads"]
