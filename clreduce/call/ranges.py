"""The checks of the argument ``ranges`` of a call, before any kernel runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clreduce.adapters.adapter import AnyAdapter
from clreduce.adapters.numpy import NUMPY
from clreduce.domain import Domain
from clreduce.errors import DtypeError, ShapeError
from clreduce.runtime.ranges import CheckedRanges
from clreduce.typing import Array

_NAMES = ("ranges_i", "slices_i", "redranges_j", "ranges_j", "slices_j", "redranges_i")
_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))


def check_ranges(given: object, sizes: Mapping[Domain, int], library: AnyAdapter) -> CheckedRanges:
    """The checked ``ranges`` of a call; raises one error that says which array is wrong, and how.

    ``given`` is the tuple ``(ranges_i, slices_i, redranges_j, ranges_j, slices_j, redranges_i)`` of int32 or int64
    arrays of shapes (Mc, 2), (Mc,), (S, 2), (Nc, 2), (Nc,), (S', 2). Rows i in block ``ranges_i[k]`` visit the columns
    j in the intervals ``redranges_j[slices_i[k - 1]:slices_i[k]]``. The other three arrays do this for blocks of j.
    """
    if not isinstance(given, (tuple, list)):
        raise DtypeError(f"ranges must be a tuple of six arrays ({', '.join(_NAMES)}); got {type(given).__name__}")
    if len(given) != len(_NAMES):
        raise ShapeError(f"ranges must be a tuple of six arrays ({', '.join(_NAMES)}); got {len(given)}")
    arrays = [_as_integers(n, value, library) for n, value in enumerate(given)]
    m, n = sizes[Domain.I], sizes[Domain.J]
    _check_half(arrays[:3], 0, ("M", m), ("N", n))
    _check_half(arrays[3:], 3, ("N", n), ("M", m))
    return CheckedRanges({Domain.I: arrays[:3], Domain.J: arrays[3:]}, {Domain.I: m, Domain.J: n})


def _name(n: int) -> str:
    return f"ranges[{n}] ({_NAMES[n]})"


def _as_integers(n: int, value: Any, library: AnyAdapter) -> Array:
    given = value if isinstance(value, np.ndarray) else library.as_array(value)
    if given is None:
        raise DtypeError(
            f"{_name(n)} must be a {library.name} array; got {type(value).__name__}{library.advice(value)}"
        )
    array: Array = NUMPY.to_host(given) if isinstance(given, np.ndarray) else library.to_host(given)
    if array.dtype not in _INTEGERS:
        raise DtypeError(f"{_name(n)} must be int32 or int64; got {array.dtype.name}")
    if array.ndim != (1 if n % 3 == 1 else 2) or (array.ndim == 2 and array.shape[1] != 2):
        wanted = "(blocks,)" if n % 3 == 1 else "(intervals, 2)"
        raise ShapeError(f"{_name(n)} must have shape {wanted}; got {array.shape}")
    return array.astype(np.int64, copy=False)


def _check_half(arrays: Sequence[Array], n: int, rows: tuple[str, int], columns: tuple[str, int]) -> None:
    """Check one triple: blocks of rows, the end of each block's intervals, and the intervals of columns."""
    blocks, slices, intervals = arrays
    _check_intervals(blocks, n, *rows)
    if len(slices) != len(blocks):
        raise ShapeError(f"{_name(n + 1)} needs one entry for each of the {len(blocks)} blocks; got {len(slices)}")
    falling = np.flatnonzero(np.diff(slices, prepend=0) < 0)
    if falling.size:
        k = int(falling[0])
        before = slices[k - 1] if k else 0
        raise ShapeError(
            f"{_name(n + 1)} must hold numbers from 0 that do not decrease; entry {k} is {slices[k]}, after {before}"
        )
    last = int(slices[-1]) if len(slices) else 0
    if last != len(intervals):
        raise ShapeError(f"{_name(n + 1)} must end with {len(intervals)}, the length of {_name(n + 2)}; got {last}")
    _check_intervals(intervals, n + 2, *columns)
    _check_disjoint(blocks, n)


def _check_intervals(intervals: Array, n: int, letter: str, size: int) -> None:
    starts, ends = intervals[:, 0], intervals[:, 1]
    wrong = (starts < 0) | (ends > size) | (starts > ends)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ShapeError(
            f"{_name(n)} must hold intervals [start, end) with 0 <= start <= end <= {letter} = {size}; "
            f"entry {k} is [{starts[k]}, {ends[k]})"
        )


def _check_disjoint(blocks: Array, n: int) -> None:
    """Raise `ShapeError` if two blocks overlap. They may come in any order, and empty blocks may be anywhere."""
    order = np.argsort(blocks[:, 0], kind="stable")
    order = order[(blocks[:, 0] < blocks[:, 1])[order]]
    ordered = blocks[order]
    wrong = np.flatnonzero(ordered[1:, 0] < ordered[:-1, 1])
    if wrong.size:
        first, second = (int(k) for k in order[wrong[0] : wrong[0] + 2])
        raise ShapeError(
            f"{_name(n)} must hold blocks that do not overlap; entry {first} is [{blocks[first, 0]}, "
            f"{blocks[first, 1]}) and entry {second} is [{blocks[second, 0]}, {blocks[second, 1]})"
        )
