"""Caches in memory of limited size, which `forget_all` empties."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_lock = threading.RLock()
"""Held while caches change, but not while a value is made. It is reentrant, because a signal handler may need it in the
thread that holds it."""
_memos: dict[int, weakref.ref[Memo[object, object]]] = {}
_functions: list[Callable[[], None]] = []


class Memo(dict[Key, Value]):
    """A cache of up to ``limit`` values by key; safe to use from several threads.

    It is a dict, because a look-up must cost next to nothing. `keep` and `fetch` make room for new values: the value
    that `keep` or `fetch` has not touched for the longest time is removed first.

    >>> squares = Memo(limit=2)
    >>> [squares.fetch(n, lambda: n * n) for n in (1, 2, 1, 3)]
    [1, 4, 1, 9]
    >>> squares
    {1: 1, 3: 9}
    """

    __slots__ = ("__weakref__", "_making", "limit")

    def __init__(self, limit: int = 64) -> None:
        super().__init__()
        self.limit = limit
        self._making: dict[Key, threading.Event] = {}
        number = id(self)
        _memos[number] = weakref.ref(self, lambda _, forget=_memos.pop: forget(number, None))  # type: ignore

    def keep(self, key: Key, value: Value) -> Value:
        """Store ``value`` under ``key`` and return it."""
        with _lock:
            if key not in self:
                while len(self) >= self.limit:
                    del self[next(iter(self))]
            self[key] = value
        return value

    def fetch(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value under ``key``; if there is none, the result of ``make``, which is stored.

        One thread calls ``make``, and other threads that need the key wait. If ``make`` raises, the next thread calls
        its own ``make``.
        """
        while True:
            with _lock:
                if key in self:
                    value = self[key] = self.pop(key)
                    return value
                made = self._making.get(key)
                if made is None:
                    own = self._making[key] = threading.Event()
                    break
            made.wait()
        try:
            return self.keep(key, make())
        finally:
            with _lock:
                self._making.pop(key, None)
            own.set()


def memoised(limit: int) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """A decorator that caches up to ``limit`` results of a function, by its hashable arguments (see `forget_all`)."""

    def decorated(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        cached = lru_cache(maxsize=limit)(function)
        _functions.append(cached.cache_clear)
        return cached  # type: ignore[return-value]  # that of lru_cache takes any hashable arguments

    return decorated


def forget_all() -> None:
    """Empty all caches: all `Memo` objects, and the results of functions that are `memoised`."""
    for forget in _functions:
        forget()
    for reference in list(_memos.values()):
        memo = reference()
        if memo is not None:
            memo.clear()


def _after_fork() -> None:
    """Reset the locks in a forked child, which has no other threads that could hold them."""
    global _lock
    _lock = threading.RLock()
    for reference in list(_memos.values()):
        memo = reference()
        if memo is not None:
            memo._making.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
