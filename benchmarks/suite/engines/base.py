"""What an engine is to the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from suite.problems import Problem

Array = np.ndarray[Any, Any]
Call = Callable[[], tuple[Array, ...]]
Maker = Callable[[Any, list[Array]], Call]
Makers = Mapping[type[Problem], Maker]

TABLE = 2**22
"""Entries of the largest table that a dense engine makes at once. Tables of this size still fit into large caches, and
larger ones were not faster; without the limit those of the larger problems would not fit into memory."""


class Lacking(Exception):
    """The engine has no such routine; the message says what is missing."""


class Engine:
    """Something that computes problems. Making one imports its packages, and raises ImportError without them."""

    name: ClassVar[str]
    package: ClassVar[str]
    """The distribution whose version is reported."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")
    makers: ClassVar[Makers] = {}
    """For each kind of problem the function that, given a problem and its arrays, returns a call without arguments."""

    def __init__(self, threads: int) -> None:
        """Import what is needed, and have it use that many threads."""

    def threads(self) -> int | None:
        """Threads that the engine says it uses; None if it cannot be asked."""
        return None

    def prepare(self, problem: Problem, arrays: list[Array]) -> Call:
        """A call that computes the problem from NumPy arrays and returns new ones; `Lacking` if there is none."""
        if arrays[0].dtype.name not in self.dtypes:
            raise Lacking(f"no {arrays[0].dtype.name}")
        make = self.makers.get(type(problem))
        if make is None:
            raise Lacking("no such routine")
        return make(problem, arrays)


def blocks(rows: int, row_length: int) -> Sequence[slice]:
    """Slices of the rows for which a table with ``row_length`` entries per row has no more than `TABLE` entries."""
    step = rows_at_once(rows, row_length)
    return [slice(begin, begin + step) for begin in range(0, rows, step)]


def rows_at_once(rows: int, row_length: int) -> int:
    return max(1, min(rows, TABLE // row_length))
