"""The switch for deterministic calls, which give the same bits wherever they run."""

from __future__ import annotations

from clreduce.errors import OptionError

PART = 16384
"""The columns of a part of j in a deterministic call, on every device. Sums depend on it."""

_chosen = False


def set_deterministic(deterministic: bool = True) -> None:
    """Make all calls deterministic, so that they give the same bits wherever they run; or, with False, no longer.

    Parameters
    ----------
    deterministic : bool, optional
        Whether calls are deterministic.

    Raises
    ------
    OptionError
        ``deterministic`` is neither True nor False.

    Notes
    -----
    A sum depends on the order in which its terms are added. Usually that order depends on the device: on its number of
    units, on the schedule that tuning found fastest, and on its memory. In a deterministic call it depends on the
    formula and the arrays only: each row adds up its columns in parts of 16384, merged from the first to the last,
    under the default schedule. So results are equal bit by bit

    - each time, in each process, before and after `clreduce.tune`;
    - for any ``max_memory``, and on any number of devices of one kind (the same driver, version and processor);
    - for rows that are computed alone or together with others.

    A deterministic call with ``ranges`` is never cut between columns, because parts are counted along the columns that
    each row visits. It needs memory for all columns and a block of rows; with less it raises `OutOfMemoryError`.
    Devices of different kinds may still differ within rounding. The cost is a few percent on devices for which another
    cut of j would be faster.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.set_deterministic()
    >>> clreduce.set_deterministic(False)
    """
    global _chosen
    if not isinstance(deterministic, bool):
        raise OptionError(f"set_deterministic takes True or False; got {deterministic!r}")
    _chosen = deterministic


def is_deterministic() -> bool:
    """Whether calls without the option ``deterministic`` are deterministic."""
    return _chosen
