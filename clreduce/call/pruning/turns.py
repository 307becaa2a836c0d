"""Selections of some rows at a time, by several threads.

NumPy's passes for some rows run beside kernels for others. What only one step needs stays small: it is kept in a cache
of the processor, and later turns use its memory again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.runtime.progress import PartOfCall, current, shown, working_for
from clreduce.threads import in_threads
from clreduce.typing import Array

_FEWEST_ROWS, _MOST_ROWS = 2**15, 2**17
"""Rows of a turn. With fewer, the host would spend much of the time between kernels."""
_TERMS = 2**21
"""The most terms of the rows of a turn, unless they are the fewest: so many stay in the cache between two steps."""


class Terms:
    """Memory for the terms of some rows: K of each after the first visit, then K + 1 and their places."""

    def __init__(self, rows: int, count: int, dtype: str) -> None:
        self._rows, self._count = rows, count
        self._values, self._places = np.empty((rows, count + 1), dtype), np.empty((rows, count + 1), np.int64)

    def first_visit(self, rows: int) -> tuple[Array]:
        """Memory for K terms of some rows; the second visit overwrites it."""
        return (self._values.reshape(-1)[: rows * self._count].reshape(rows, self._count),)

    def second_visit(self, rows: int) -> tuple[Array, Array]:
        """Memory for K + 1 terms of some rows, and for their places."""
        return self._values[:rows], self._places[:rows]


def run_in_turns(pairs: BlockPairs, count: int, run: Callable[[BlockPairs, Terms | None], None]) -> None:
    """Call ``run`` for parts of the rows of ``pairs``, with memory for ``count`` terms of each and for one more.

    A single part, such as that of a device to which arrays are copied, has no such memory.
    """
    parts = [pairs]
    if pairs.executor.serves_threads:
        parts = pairs.parts(max(_FEWEST_ROWS, min(_MOST_ROWS, _TERMS // (count + 1))))
    if len(parts) == 1:
        run(pairs, None)
        return
    idle: list[Terms] = []
    most = max(len(part.rows.partition.order) for part in parts)
    area = float(len(pairs.rows.partition.order)) * len(pairs.columns.partition.order)
    with shown(area):
        progress = current()

        def take(start: int, end: int) -> None:
            for part in parts[start:end]:
                try:
                    terms = idle.pop()
                except IndexError:
                    terms = Terms(most, count, pairs.dtype)
                own = None if progress is None else PartOfCall(progress, area / len(parts))
                with working_for(own):
                    run(part, terms)
                if own is not None:
                    own.complete()
                idle.append(terms)

        in_threads(take, len(parts), 1)


__all__ = ["Terms", "run_in_turns"]
