"""The memory that one call may take."""

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
    """The memory that one leaf may take, in bytes."""

    total: int
    """Bytes of all inputs, outputs and temporaries of a leaf."""
    buffer: int
    """Bytes of its largest buffer."""

    def halved(self) -> Budget:
        """Half of this budget; used after the driver ran out of memory."""
        return Budget(self.total // 2, self.buffer // 2)


VARIABLE = "CLREDUCE_MAX_MEMORY"
"""The environment variable with the memory limit of a call, used if the program sets none."""
_MARGIN = 0.9
"""The fraction of a device's memory that calls may take."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

_chosen: int | None = None
_last_read: tuple[Any, int | None] = (None, None)
# A look-up of an unset variable in os.environ raises and catches, which is slow (see `devices`).
_pairs: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_key: Any = VARIABLE if _pairs is os.environ else os.environ.encodekey(VARIABLE)


def set_max_memory(limit: int | str | None) -> None:
    """Limit the memory that a call takes on its device.

    Parameters
    ----------
    limit : int, str or None
        A number of bytes, or text such as ``"512MB"``; None removes the limit.

    Raises
    ------
    OptionError
        ``limit`` is not a positive number of bytes.

    Notes
    -----
    The arrays, the results and the temporaries of a call count. A call that needs more runs in blocks. Without a limit,
    calls take up to nine tenths of the device's memory, and arrays that a device reads in place do not count. The
    environment variable ``CLREDUCE_MAX_MEMORY`` sets a limit, too; this function overrides it.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.set_max_memory("64MB")
    >>> clreduce.set_max_memory(None)
    """
    global _chosen
    _chosen = None if limit is None else bytes_of(limit, "max_memory")


def memory_limit() -> int | None:
    """The memory limit of a call in bytes, from the program or else from the environment; None for no limit."""
    global _last_read
    if _chosen is not None:
        return _chosen
    text, last = _pairs.get(_key), _last_read
    if text != last[0]:
        value = os.environ.get(VARIABLE, "").strip()
        last = _last_read = (text, bytes_of(value, VARIABLE) if value else None)
    return last[1]


def bytes_of(limit: int | str, name: str) -> int:
    """``limit`` as a number of bytes; raises `OptionError`, which calls it ``name``, for anything else.

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
    """The budget of a leaf on a device: ``limit`` bytes, or the memory of the device less a margin if that is None."""
    facts = device.facts
    buffer = sys.maxsize if facts.shares_addresses and limit is None else facts.max_allocation
    return Budget(int(_MARGIN * facts.global_memory) if limit is None else limit, buffer)
