"""How much memory one call may take."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clreduce.errors import OptionError
from clreduce.runtime.device import Device


@dataclass(frozen=True)
class Budget:
    """What one leaf may take."""

    total: int
    """Bytes of what a leaf reads, writes and keeps in between."""
    buffer: int
    """Bytes of one buffer."""

    def halved(self) -> Budget:
        """What is tried after a driver had no more memory."""
        return Budget(self.total // 2, self.buffer // 2)


VARIABLE = "CLREDUCE_MAX_MEMORY"
"""Environment variable with the most bytes that a call may take, where the program says nothing else."""
_MARGIN = 0.9
"""The part of a device's memory that calls may take."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

_chosen: int | None = None
_last_read: tuple[Any, int | None] = (None, None)
# As in `devices`: a look-up of an unset variable in os.environ raises and catches, which takes long.
_pairs: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_key: Any = VARIABLE if _pairs is os.environ else os.environ.encodekey(VARIABLE)


def set_max_memory(limit: int | str | None) -> None:
    """Let no call take more than ``limit`` bytes on its device: a number, or text such as ``"512MB"``; None: no limit.

    A call counts the arrays that it reads, its results and what it keeps in between. One that would take more is cut
    into blocks, whose results are put together. Without a limit, calls take what the device has, less a margin; arrays
    that a device reads in place count as nothing then. The environment variable ``CLREDUCE_MAX_MEMORY`` sets a limit,
    too.

    >>> import clreduce
    >>> clreduce.set_max_memory("64MB")
    >>> clreduce.set_max_memory(None)

    Raises
    ------
    OptionError
        ``limit`` is no positive number of bytes.
    """
    global _chosen
    _chosen = None if limit is None else bytes_of(limit, "max_memory")


def memory_limit() -> int | None:
    """The most bytes that a call may take, as the program or else the environment says; None without a limit."""
    global _last_read
    if _chosen is not None:
        return _chosen
    text, last = _pairs.get(_key), _last_read
    if text != last[0]:
        value = os.environ.get(VARIABLE, "").strip()
        last = _last_read = (text, bytes_of(value, VARIABLE) if value else None)
    return last[1]


def bytes_of(limit: int | str, name: str) -> int:
    """A number of bytes.

    >>> bytes_of("64MB", "max_memory"), bytes_of("1.5 GiB", "max_memory"), bytes_of(100, "max_memory")
    (64000000, 1610612736, 100)
    """
    size = -1.0
    if isinstance(limit, str):
        read = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", limit)
        if read and read[2].upper() in _UNITS:
            size = float(read[1]) * _UNITS[read[2].upper()]
    elif not isinstance(limit, bool) and hasattr(limit, "__index__"):
        size = float(limit)
    if size < 1:
        raise OptionError(f"{name} is a number of bytes, or text such as '512MB' or '2GiB'; got {limit!r}")
    return int(size)


def budget_of(device: Device, limit: int | None) -> Budget:
    """What a leaf may take on a device: ``limit`` bytes, or what is there less a margin."""
    facts = device.facts
    buffer = sys.maxsize if facts.shares_addresses and limit is None else facts.max_allocation
    return Budget(int(_MARGIN * facts.global_memory) if limit is None else limit, buffer)
