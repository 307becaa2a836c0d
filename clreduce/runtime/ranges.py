"""Block sparsity: the pairs that a call visits, as arrays, and the tables that its kernels read.

All functions here run in each call, so they take only a few passes of NumPy over the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.runtime.blocks import Footprint, Parts, cut_columns
from clreduce.typing import Array

_MANY_ROWS = 512
"""Blocks with more rows than this count as blocks of this size."""
_FEW_COLUMNS = (128, 256)
"""Kernels that keep lists differ by the number of columns of a row: at most 128, at most 256, or more."""
_WORTH_A_STATE = 16
"""If j is cut, each stored state must be worth at least this many pairs."""


@dataclass(frozen=True)
class Ranges:
    """Blocks of rows, and the intervals of columns that the rows of each block visit. Intervals are [start, end)."""

    blocks: Array
    """(B, 2): disjoint intervals of rows, none of them empty."""
    owners: Array
    """(S,), ascending: the number of the block to which each interval of columns belongs."""
    pieces: Array
    """(S, 2): intervals of columns, none of them empty. The pieces of a block are ordered by their starts, so that the
    first of equal terms is visited first."""

    @property
    def typical(self) -> int:
        """The size of the block of a typical row: a power of two, at most `_MANY_ROWS`."""
        rows = (self.blocks[:, 1] - self.blocks[:, 0]).astype(float)
        mean = math.ceil(float(rows @ rows) / max(float(rows.sum()), 1.0))
        return int(1 << (min(max(mean, 1), _MANY_ROWS) - 1).bit_length())

    @property
    def visits(self) -> int:
        """The first of `_FEW_COLUMNS` that is at least the mean number of columns of a block's rows; 0 if none is."""
        columns = int((self.pieces[:, 1] - self.pieces[:, 0]).sum())
        return next((few for few in _FEW_COLUMNS if columns <= few * len(self.blocks)), 0)

    @classmethod
    def of(cls, blocks: Array, slices: Array, intervals: Array) -> Ranges:
        """Ranges from three checked int64 arrays: ``intervals[slices[k - 1]:slices[k]]`` belong to ``blocks[k]``."""
        owners = np.repeat(np.arange(len(blocks)), np.diff(slices, prepend=0))
        used = blocks[:, 0] < blocks[:, 1]
        used_intervals = (intervals[:, 0] < intervals[:, 1]) & used[owners]
        if not used.all():
            owners = np.cumsum(used)[owners] - 1
            blocks = blocks[used]
        if not used_intervals.all():
            owners, intervals = owners[used_intervals], intervals[used_intervals]
        unsorted = (intervals[1:, 0] < intervals[:-1, 0]) & (owners[1:] == owners[:-1])
        if unsorted.any():
            order = np.lexsort((intervals[:, 0], owners))
            owners, intervals = owners[order], intervals[order]
        return cls(blocks, *_joined(owners, intervals))

    def once(self) -> Ranges:
        """These pairs without repetitions."""
        if len(self.pieces) < 2:
            return self
        # Shift blocks apart, so that one running maximum serves all of them.
        apart = self.owners * (self.pieces.max() + 1)
        reached = np.maximum.accumulate(self.pieces[:, 1] + apart) - apart
        starts = self.pieces[:, 0].copy()
        same = self.owners[1:] == self.owners[:-1]
        starts[1:] = np.where(same, np.maximum(starts[1:], reached[:-1]), starts[1:])
        is_new = starts < self.pieces[:, 1]
        pieces = np.stack((starts, self.pieces[:, 1]), axis=1)
        return Ranges(self.blocks, *_joined(self.owners[is_new], pieces[is_new]))

    def within(self, rows: tuple[int, int], columns: tuple[int, int]) -> Ranges:
        """The pairs in these rows and columns, [start, stop), numbered from ``rows[0]`` and ``columns[0]``."""
        inside = self.clipped(rows, columns)
        return Ranges(inside.blocks - rows[0], inside.owners, inside.pieces - columns[0])

    def clipped(self, rows: tuple[int, int], columns: tuple[int, int]) -> Ranges:
        """The pairs in these rows and columns, [start, stop), with unchanged numbers."""
        blocks, pieces = np.clip(self.blocks, *rows), np.clip(self.pieces, *columns)
        used = blocks[:, 0] < blocks[:, 1]
        chosen = (pieces[:, 0] < pieces[:, 1]) & used[self.owners]
        return Ranges(blocks[used], (np.cumsum(used) - 1)[self.owners[chosen]], pieces[chosen])

    def first_columns(self, rows: int) -> Array:
        """The first column that each row visits, of shape (rows,); -1 for rows that visit none."""
        first = np.full(len(self.blocks), -1)
        owners, at = np.unique(self.owners, return_index=True)
        first[owners] = self.pieces[at, 0]
        by_row = np.full(rows, -1)
        for (start, end), column in zip(self.blocks, first, strict=True):
            by_row[start:end] = column
        return by_row

    def cut(
        self,
        rows: int,
        schedule: Schedule,
        facts: DeviceFacts,
        batch: int,
        footprint: Footprint,
        length: int = 0,
    ) -> Tables:
        """The tables of a call with ``rows`` rows (at least one); all ``batch`` indices of a batch share them.

        ``length`` is the number of columns of a part of j; 0 lets this function choose the parts.
        """
        lengths = self.pieces[:, 1] - self.pieces[:, 0]
        before = np.concatenate(([0], np.cumsum(lengths)))
        firsts = np.searchsorted(self.owners, np.arange(len(self.blocks) + 1))
        gaps = _gaps(self.blocks, rows)
        blocks = np.concatenate((self.blocks, gaps))
        firsts = np.concatenate((firsts, np.full(len(gaps), len(self.pieces))))
        columns = before[firsts[1:]] - before[firsts[:-1]]  # that each block visits
        of, starts, ends = _tasks(blocks, columns, schedule.group_rows)
        total, longest = int(columns[of].sum()), int(columns.max())
        groups = max(1, total // max(longest, 1)) * batch  # as many as would keep the device as busy as these
        parts = Parts(max(1, -(-longest // length)), length) if length else None
        parts = parts or cut_columns(groups, longest, schedule, facts, rows * batch, batch, footprint)
        if parts.count == 1:
            tasks = np.stack((starts, ends, firsts[of], firsts[of + 1]), axis=1)
            return Tables(tasks, self.pieces, len(tasks), parts, longest, total)
        if not (schedule.split or facts.most_turns or length):
            parts = _fewer(parts, longest, total * schedule.group_rows // (_WORTH_A_STATE * rows), schedule)
        pieces, bounds = self._in_parts(lengths, before[:-1] - before[firsts[self.owners]], parts, len(blocks))
        each = np.arange(parts.count)[:, None] + of * parts.count
        tasks = np.stack(np.broadcast_arrays(starts, ends, bounds[each], bounds[each + 1]), axis=2)
        order = np.argsort(blocks[:, 0])
        first_visited = np.full(len(blocks), -1)
        some = firsts[1:] > firsts[:-1]
        first_visited[some] = self.pieces[firsts[:-1][some], 0]
        visited = np.repeat(first_visited[order], (blocks[:, 1] - blocks[:, 0])[order])
        return Tables(tasks, pieces, len(starts), parts, longest, total, visited)

    def _in_parts(self, lengths: Array, offsets: Array, parts: Parts, blocks: int) -> tuple[Array, Array]:
        """The pieces, cut at the ends of parts, and the bounds of the pieces of each (block, part).

        A part consists of ``parts.length`` of the columns that a block visits. ``offsets`` has the number of columns
        that a block visits before each piece.
        """
        first = offsets // parts.length
        count = (offsets + lengths - 1) // parts.length - first + 1
        of = np.repeat(np.arange(len(lengths)), count)
        part = _numbered(count) + first[of]
        base = self.pieces[of, 0] - offsets[of] + part * parts.length
        pieces = np.stack(
            (np.maximum(self.pieces[of, 0], base), np.minimum(self.pieces[of, 1], base + parts.length)), axis=1
        )  # fmt: skip
        bounds = np.searchsorted(self.owners[of] * parts.count + part, np.arange(blocks * parts.count + 1))
        return pieces, bounds


class CheckedRanges:
    """The pairs that a call visits, by rows i and by rows j. Each half is sorted when it is needed."""

    def __init__(self, halves: Mapping[Domain, Sequence[Array]], sizes: Mapping[Domain, int]) -> None:
        """``halves`` has the checked int64 arrays of `Ranges.of` for each index, and ``sizes`` its size."""
        self._halves, self._sizes = halves, sizes
        self._made: dict[tuple[Domain, bool], Ranges] = {}

    def pairs(self, rows: Domain, once: bool = False) -> Ranges:
        """The pairs with these rows; with ``once``, without repetitions."""
        made = self._made.get((rows, once))
        if made is None:
            made = self.pairs(rows).once() if once else Ranges.of(*self._halves[rows])
            self._made[rows, once] = made
        return made

    @classmethod
    def by_rows(cls, ranges: Ranges, rows: int, columns: int) -> CheckedRanges:
        """The pairs of a whole call with these numbers of rows and columns, for reductions of its rows only."""
        made = cls({}, {Domain.I: rows, Domain.J: columns})
        made._made[Domain.I, False] = ranges
        return made

    def only(self, index: Domain, pairs: Ranges) -> CheckedRanges:
        """The pairs of this call restricted to ``pairs``, for reductions of their rows only.

        A process that computes these rows needs nothing else.
        """
        slices = np.searchsorted(pairs.owners, np.arange(len(pairs.blocks)), side="right")
        return CheckedRanges({index: (pairs.blocks, slices, pairs.pieces)}, self._sizes)

    def moved(self, firsts: Mapping[Domain, int]) -> CheckedRanges:
        """These pairs as a part of a larger call; ``firsts`` has the numbers of the first i and j in that call."""
        halves = {
            index: (blocks + firsts[index], slices, intervals + firsts[index.swapped()])
            for index, (blocks, slices, intervals) in self._halves.items()
        }
        return CheckedRanges(halves, {domain: size + firsts[domain] for domain, size in self._sizes.items()})

    def spans(self, index: Domain, rows: int, columns: int) -> bool:
        """Whether the call has exactly this many rows and columns."""
        return self._sizes[index] == rows and self._sizes[index.swapped()] == columns

    def __reduce__(self) -> tuple[object, ...]:
        return CheckedRanges, (self._halves, self._sizes)


@dataclass(frozen=True)
class Tables:
    """The int64 tables that the kernels of one call read."""

    tasks: Array
    """(T, 4), or (P, T, 4) for P parts of j: first row, end of rows, first piece, end of pieces. The longest task comes
    first."""
    pieces: Array
    """(S, 2): intervals of columns."""
    count: int
    """The number T of tasks."""
    parts: Parts
    longest: int
    """The most columns that a task visits."""
    visited: int
    """The number of columns that all tasks visit together."""
    firsts: Array | None = None
    """(rows,): the first column that each row visits, or -1; None if there is one part."""

    def named(self, first_column: int) -> dict[str, Array]:
        """The tables by their names in kernels. ``first_column`` is the number of column 0 in the whole call."""
        tables = {"tasks": self.tasks, "pieces": self.pieces}
        if self.firsts is not None:
            tables["firsts"] = numbered_from(first_column, self.firsts)
        return tables


def numbered_from(first: int, indices: Array) -> Array:
    """``indices`` plus ``first``; -1 stays -1."""
    return np.where(indices < 0, indices, indices + first) if first else indices


def _joined(owners: Array, pieces: Array) -> tuple[Array, Array]:
    """The pieces with adjacent intervals of one block joined, because long pieces run faster."""
    seam = (pieces[1:, 0] == pieces[:-1, 1]) & (owners[1:] == owners[:-1])
    if not seam.any():
        return owners, np.ascontiguousarray(pieces)
    heads = np.concatenate(([True], ~seam))
    tails = np.concatenate((~seam, [True]))
    return owners[heads], np.stack((pieces[heads, 0], pieces[tails, 1]), axis=1)


def _gaps(blocks: Array, rows: int) -> Array:
    """The intervals of rows outside every block."""
    ordered = blocks[np.argsort(blocks[:, 0])]
    starts = np.concatenate(([0], ordered[:, 1]))
    ends = np.concatenate((ordered[:, 0], [rows]))
    gaps: Array = np.stack((starts, ends), axis=1)[starts < ends]
    return gaps


def _tasks(blocks: Array, columns: Array, size: int) -> tuple[Array, Array, Array]:
    """For each task its block, first row and end of rows. The tasks that visit most columns come first."""
    count = -((blocks[:, 0] - blocks[:, 1]) // size)
    order = np.argsort(-columns, kind="stable")
    of = np.repeat(order, count[order])
    starts = blocks[of, 0] + _numbered(count[order]) * size
    return of, starts, np.minimum(starts + size, blocks[of, 1])


def _numbered(counts: Array) -> Array:
    """0, 1, .. counts[0] - 1, 0, 1, .. counts[1] - 1, and so on."""
    before = np.cumsum(counts) - counts
    numbers: Array = np.arange(int(counts.sum())) - np.repeat(before, counts)
    return numbers


def _fewer(parts: Parts, columns: int, most: int, schedule: Schedule) -> Parts:
    """Parts of the same columns, but at most ``most`` of them."""
    if parts.count <= most:
        return parts
    step = max(schedule.tile, 1)
    length = -(-columns // (max(most, 1) * step)) * step
    return Parts(-(-columns // length), length)
