"""Completion of K nearest lists: kernels leave out terms of inf (-inf for the largest), and this module adds them."""

from __future__ import annotations

import numpy as np

from clreduce.runtime.ranges import Ranges
from clreduce.runtime.region import Region
from clreduce.typing import Array

_SMALL = 1024
_GAP = np.int64(-1).tobytes()


def has_gaps(indices: Array) -> bool:
    """Whether some index is -1; all others must be nonnegative int64."""
    if indices.size <= _SMALL:  # NumPy's reductions take several microseconds in the midst of a call
        return _GAP in indices.tobytes()
    return bool(indices.min() < 0)


def fill_lists(indices: Array, first_column: int, columns: int, pairs: Ranges | None) -> None:
    """Replace each -1 in a list by the lowest column that is not in the list, in place, while there is such a column.

    ``indices`` has shape (batch.., rows, K, D): a list of K places for each component. A list that contains -1 already
    has all terms that are better than the neutral value, so all other terms have that value or are nan. ``pairs`` says
    which of the ``columns`` each row visits; None means all. Columns are numbered from ``first_column``.
    """
    short = indices[..., -1, :] < 0
    if not short.any():
        return
    lists, count = np.moveaxis(indices, -2, -1), indices.shape[-2]  # (batch.., rows, D, K)
    if pairs is None:
        lists[short] = _filled(lists[short], first_column + np.arange(min(columns, count)))
        return
    for block, (start, end) in enumerate(pairs.blocks):
        rows, missing = lists[..., start:end, :, :], short[..., start:end, :]
        if missing.any():
            rows[missing] = _filled(
                rows[missing], first_column + _first_visited(pairs.pieces[pairs.owners == block], count)
            )


def candidates(region: Region, count: int) -> Array:
    """The lowest ``count`` columns that the rows of a region visit, ascending.

    The shape is (count,) if all rows visit the same columns (shorter if there are fewer columns), else (rows, count).
    A row of (rows, count) is padded with -1.
    """
    pairs, first = region.pairs, region.first_column
    if pairs is None:
        return first + np.arange(min(region.columns, count))
    lowest = np.full((region.rows, count), -1)
    for block, (start, end) in enumerate(pairs.blocks):
        visited = _first_visited(pairs.pieces[pairs.owners == block], count)
        lowest[start:end, : len(visited)] = first + visited
    return lowest


def _first_visited(pieces: Array, count: int) -> Array:
    """The ``count`` lowest columns in the intervals ``pieces`` of shape (S, 2)."""
    if len(pieces) == 0:
        return np.zeros(0, np.int64)
    parts = [np.arange(start, min(end, start + count)) for start, end in pieces]
    return np.unique(np.concatenate(parts))[:count]


def _filled(lists: Array, candidates: Array) -> Array:
    """Lists (S, K) whose trailing -1 are replaced by those ``candidates``, ascending, that are not in the list."""
    if len(candidates) == 0:
        return lists
    at = np.minimum(np.searchsorted(candidates, lists), len(candidates) - 1)
    row, place = np.nonzero(candidates[at] == lists)
    present = np.zeros((len(lists), len(candidates)), bool)
    present[row, at[row, place]] = True
    absent_first = np.argsort(present, axis=1, kind="stable")
    number = len(candidates) - present.sum(1, keepdims=True)
    rank = np.cumsum(lists < 0, axis=1) - 1
    chosen = candidates[np.take_along_axis(absent_first, np.clip(rank, 0, len(candidates) - 1), axis=1)]
    filled: Array = np.where(lists >= 0, lists, np.where(rank < number, chosen, -1))
    return filled
