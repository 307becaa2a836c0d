"""Whether calls give the same bits wherever they run."""

from __future__ import annotations

from clreduce.errors import OptionError

PART = 16384
"""Columns of one part of j in a deterministic call, on every device: sums depend on it."""

_chosen = False


def set_deterministic(deterministic: bool = True) -> None:
    """Let all calls give the same bits, or no longer.

    A sum depends on the order in which its terms are added. Usually that order follows the device: how many units it
    has, which schedule was measured to be the fastest, how much memory there is. In a deterministic call it follows
    the formula and the arrays alone: each row adds up its columns in parts of 16384, merged from the first to the last,
    under the default schedule. So results are equal bit by bit

    - each time, in each process, before and after `clreduce.tune`;
    - for any ``max_memory``, and on any number of devices of one kind (the same driver, version and processor);
    - for rows that are computed alone or among others.

    Calls with ``ranges`` are never cut between columns then, for their parts are counted along what each row visits: a
    call needs memory for all its columns and a block of rows, and one that has less raises `OutOfMemoryError`.

    Devices of different kinds differ within rounding. It costs little: a few percent where a device would rather cut j
    in another way.

    >>> import clreduce
    >>> clreduce.set_deterministic()
    >>> clreduce.set_deterministic(False)

    Raises
    ------
    OptionError
        ``deterministic`` is neither True nor False.
    """
    global _chosen
    if not isinstance(deterministic, bool):
        raise OptionError(f"set_deterministic takes True or False; got {deterministic!r}")
    _chosen = deterministic


def is_deterministic() -> bool:
    """Whether calls that say nothing of it are deterministic."""
    return _chosen
