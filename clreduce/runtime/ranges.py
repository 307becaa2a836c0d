"""Block sparsity: which pairs a call visits, as arrays; and the tables that the kernels of one call read.

Everything here takes a few passes of NumPy over the arrays: it runs at each call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.runtime.blocks import Footprint, Parts, cut_columns
from clreduce.typing import Array

_MANY_ROWS = 512
"""Rows of a block from which on more make no difference."""
_WORTH_A_STATE = 16
"""Pairs that must stand against each state that is stored where j is cut."""


@dataclass(frozen=True)
class Ranges:
    """Blocks of rows, and for each the intervals of columns that its rows visit. All intervals are [start, end)."""

    blocks: Array
    """(B, 2), disjoint, none empty."""
    owners: Array
    """(S,), ascending: the block that each interval belongs to."""
    pieces: Array
    """(S, 2), none empty; of one block ordered by where they start, so that the lowest of equals is met first."""

    @property
    def typical(self) -> int:
        """Rows of the block that a typical row is in: a power of two, at most `_MANY_ROWS`."""
        rows = (self.blocks[:, 1] - self.blocks[:, 0]).astype(float)
        mean = math.ceil(float(rows @ rows) / max(float(rows.sum()), 1.0))
        return int(1 << (min(max(mean, 1), _MANY_ROWS) - 1).bit_length())

    @classmethod
    def of(cls, blocks: Array, slices: Array, intervals: Array) -> Ranges:
        """From a checked triple of int64 arrays: ``intervals[slices[k - 1]:slices[k]]`` belong to ``blocks[k]``."""
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
        """These pairs, each listed once."""
        if len(self.pieces) < 2:
            return self
        # Blocks are moved apart, so that one running maximum serves all of them.
        apart = self.owners * (self.pieces.max() + 1)
        reached = np.maximum.accumulate(self.pieces[:, 1] + apart) - apart
        starts = self.pieces[:, 0].copy()
        same = self.owners[1:] == self.owners[:-1]
        starts[1:] = np.where(same, np.maximum(starts[1:], reached[:-1]), starts[1:])
        is_new = starts < self.pieces[:, 1]
        pieces = np.stack((starts, self.pieces[:, 1]), axis=1)
        return Ranges(self.blocks, *_joined(self.owners[is_new], pieces[is_new]))

    def within(self, rows: tuple[int, int], columns: tuple[int, int]) -> Ranges:
        """The pairs in these rows and columns, [start, stop), numbered from the first of them."""
        inside = self.clipped(rows, columns)
        return Ranges(inside.blocks - rows[0], inside.owners, inside.pieces - columns[0])

    def clipped(self, rows: tuple[int, int], columns: tuple[int, int]) -> Ranges:
        """The pairs in these rows and columns, [start, stop), numbered as before."""
        blocks, pieces = np.clip(self.blocks, *rows), np.clip(self.pieces, *columns)
        used = blocks[:, 0] < blocks[:, 1]
        chosen = (pieces[:, 0] < pieces[:, 1]) & used[self.owners]
        return Ranges(blocks[used], (np.cumsum(used) - 1)[self.owners[chosen]], pieces[chosen])

    def first_columns(self, rows: int) -> Array:
        """(rows,): the first column that each row visits, or -1."""
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
        """What the kernels of one call read, for ``rows`` rows, one or more, and the same at each index of a batch.

        ``length``: the columns of a part of j, unless it is 0.
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
        """The pieces cut where a part ends, and where the pieces of each (block, part) begin, and the last end.

        A part is ``parts.length`` of the columns that a block visits; ``offsets``: how many it visits before a piece.
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
    """The pairs that a call visits, by the index whose rows are kept; each half is put in order when it is needed."""

    def __init__(self, halves: Mapping[Domain, Sequence[Array]], sizes: Mapping[Domain, int]) -> None:
        """``halves``: by that index, checked int64 arrays as `Ranges.of` takes them; ``sizes``: how many of each."""
        self._halves, self._sizes = halves, sizes
        self._made: dict[tuple[Domain, bool], Ranges] = {}

    def pairs(self, rows: Domain, once: bool = False) -> Ranges:
        """The pairs by these rows; ``once``: each of them once."""
        made = self._made.get((rows, once))
        if made is None:
            made = self.pairs(rows).once() if once else Ranges.of(*self._halves[rows])
            self._made[rows, once] = made
        return made

    @classmethod
    def by_rows(cls, ranges: Ranges) -> CheckedRanges:
        """The pairs of a whole call, known by its rows only."""
        made = cls({}, {})
        made._made[Domain.I, False] = ranges
        return made

    def only(self, index: Domain, pairs: Ranges) -> CheckedRanges:
        """This call restricted to ``pairs`` and known by their rows only: what a process that computes them needs."""
        slices = np.searchsorted(pairs.owners, np.arange(len(pairs.blocks)), side="right")
        return CheckedRanges({index: (pairs.blocks, slices, pairs.pieces)}, self._sizes)

    def moved(self, firsts: Mapping[Domain, int]) -> CheckedRanges:
        """These pairs as part of a larger call, in which the first i and the first j have these numbers."""
        halves = {
            index: (blocks + firsts[index], slices, intervals + firsts[index.swapped()])
            for index, (blocks, slices, intervals) in self._halves.items()
        }
        return CheckedRanges(halves, {domain: size + firsts[domain] for domain, size in self._sizes.items()})

    def spans(self, index: Domain, rows: int, columns: int) -> bool:
        """Whether these are all rows and columns of the call."""
        return not self._sizes or (self._sizes[index] == rows and self._sizes[index.swapped()] == columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return CheckedRanges, (self._halves, self._sizes)


@dataclass(frozen=True)
class Tables:
    """The tables of one call, int64."""

    tasks: Array
    """(T, 4), or (P, T, 4) in P parts of j: first row, end of rows, first piece, end of pieces; the longest first."""
    pieces: Array
    """(S, 2)"""
    count: int
    """T, the number of tasks."""
    parts: Parts
    longest: int
    """Columns that a task visits, at most."""
    visited: int
    """Columns that all tasks visit, added up."""
    firsts: Array | None = None
    """(rows,), where there are several parts: the first column that each row visits, or -1."""

    def named(self, first_column: int) -> dict[str, Array]:
        """The tables by the names that kernels give them; ``first_column``: its number in the whole call."""
        tables = {"tasks": self.tasks, "pieces": self.pieces}
        if self.firsts is not None:
            tables["firsts"] = numbered_from(first_column, self.firsts)
        return tables


def numbered_from(first: int, indices: Array) -> Array:
    """Indices that count from ``first`` on, where -1 stays what it is."""
    return np.where(indices < 0, indices, indices + first) if first else indices


def _joined(owners: Array, pieces: Array) -> tuple[Array, Array]:
    """Without the seams between intervals of one block that touch: long pieces run faster."""
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
    """Per task its block, first row and end of rows: those that visit most columns first, for they take longest."""
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
    """At most so many parts."""
    if parts.count <= most:
        return parts
    step = max(schedule.tile, 1)
    length = -(-columns // (max(most, 1) * step)) * step
    return Parts(-(-columns // length), length)
