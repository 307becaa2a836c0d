"""Ranges and skipped pairs together: blocks of points that no range cuts, so that ranges name whole pairs of blocks.

Rows are cut where a block of the ranges begins or ends, columns where an interval does. Points are sorted within these
pieces only. Then the pairs of blocks that ranges name are ranges again, over blocks instead of points.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clreduce.domain import Domain
from clreduce.partition import Partition, partition
from clreduce.runtime.ranges import Ranges
from clreduce.runtime.region import Region
from clreduce.typing import Array

_PAIRS_PER_BOUND = 8
"""The fewest pairs for each pair of blocks: to bound a pair of blocks costs as much as to visit some pairs."""
_MOST_BLOCKS = 2**20
"""The most blocks of rows, or of columns: kernels count their parts exactly up to this number."""


@dataclass(frozen=True)
class CutPartition(Partition):
    """Points in blocks of ``size`` or fewer."""

    starts: Array
    """The place in ``order`` at which each block begins."""

    @property
    def count(self) -> int:
        return len(self.starts)

    @property
    def intervals(self) -> Array:
        return np.stack((self.starts, np.append(self.starts[1:], len(self.order))), axis=1)

    def coarser(self, factor: int) -> CutPartition:
        return CutPartition(self.order, self.size * factor, self.starts[::factor])

    def part(self, start: int, end: int) -> CutPartition:
        first, last = np.append(self.starts, len(self.order))[[start, end]]
        return CutPartition(self.order[first:last], self.size, self.starts[start:end] - first)


@dataclass(frozen=True, eq=False)
class Cuts:
    """The pieces into which ranges cut the rows and the columns of a call."""

    pairs: Ranges
    """The pairs that the ranges name, each once."""
    edges: dict[Domain, Array]
    """For each index, the positions at which pieces begin, ascending, and the end of the last one."""

    @classmethod
    def of(cls, region: Region) -> Cuts | None:
        """The cuts of a region; None if it has no ranges, so that all pairs are visited."""
        pairs = region.pairs
        if pairs is None:
            return None
        edges = {
            Domain.I: np.unique(np.append(pairs.blocks, (0, region.rows))),
            Domain.J: np.unique(np.append(pairs.pieces, (0, region.columns))),
        }
        return cls(pairs, edges)

    def obstacle(self, size: int) -> str:
        """The reason why pairs of these ranges cannot be skipped in blocks of ``size`` points; "" if they can."""
        visited = pairs_of(self.pairs)
        if pairs_of(self.pairs.once()) < visited:
            return "the ranges list some pairs several times"
        counts = [int((-(-np.diff(edges) // size)).sum()) for edges in self.edges.values()]
        if max(counts) > _MOST_BLOCKS or counts[0] * counts[1] > max(visited // _PAIRS_PER_BOUND, size**2):
            points = [int(edges[-1]) for edges in self.edges.values()]
            sizes = " and ".join(f"{total / count:.1f}" for total, count in zip(points, counts, strict=True))
            return f"the ranges cut points into small pieces: blocks of rows and columns have {sizes} points on average"
        return ""

    def partition(self, domain: Domain, points: Array, size: int) -> CutPartition:
        """The points of one index, sorted within each piece."""
        orders, starts = [], []
        edges = self.edges[domain]
        for start, end in pairwise(edges):
            near = partition(points[start:end], size)
            orders.append(start + near.order)
            starts.append(start + near.intervals[:, 0])
        nothing = [np.zeros(0, np.int64)]
        return CutPartition(np.concatenate(orders or nothing), size, np.concatenate(starts or nothing))

    def in_blocks(self, rows: Partition, columns: Partition) -> Ranges:
        """The pairs of blocks that the ranges name."""
        return in_blocks(self.pairs, rows, columns)


def in_blocks(pairs: Ranges, rows: Partition, columns: Partition) -> Ranges:
    """The pairs of blocks that hold ``pairs``, which are in the order of the blocks and cut none of these."""
    row_starts, column_starts = rows.intervals[:, 0], columns.intervals[:, 0]
    return Ranges(
        np.searchsorted(row_starts, pairs.blocks), pairs.owners, np.searchsorted(column_starts, pairs.pieces)
    )  # fmt: skip


def drawn(pairs: Ranges, rows: Array, columns: Array) -> Ranges:
    """The pairs of some rows and columns, given by ascending numbers; the results number these from 0."""
    slices = np.searchsorted(pairs.owners, np.arange(len(pairs.blocks)), side="right")
    return Ranges.of(np.searchsorted(rows, pairs.blocks), slices, np.searchsorted(columns, pairs.pieces))


def named_blocks(pairs: Ranges, rows: tuple[int, int], columns: int) -> Array:
    """Whether each pair of blocks is named, (end - start, columns), for ``rows``, an interval (start, end)."""
    inside = pairs.clipped(rows, (0, columns))
    steps = np.zeros((len(inside.blocks) + 1, columns + 1), np.int32)
    np.add.at(steps, (inside.owners, inside.pieces[:, 0]), 1)
    np.add.at(steps, (inside.owners, inside.pieces[:, 1]), -1)
    named = np.cumsum(steps[:, :-1], axis=1) > 0
    owner = np.full(rows[1] - rows[0], len(inside.blocks))
    for number, (start, end) in enumerate(inside.blocks - rows[0]):
        owner[start:end] = number
    result: Array = named[owner]
    return result


def columns_per_row(pairs: Ranges, rows: int) -> Array:
    """The number of columns that each row visits: (rows,)."""
    lengths = pairs.pieces[:, 1] - pairs.pieces[:, 0]
    of_blocks = np.zeros(len(pairs.blocks), np.int64)
    np.add.at(of_blocks, pairs.owners, lengths)
    counts = np.zeros(rows, np.int64)
    for (start, end), count in zip(pairs.blocks, of_blocks, strict=True):
        counts[start:end] = count
    return counts


def pairs_of(pairs: Ranges) -> int:
    """The number of pairs."""
    sizes = pairs.blocks[:, 1] - pairs.blocks[:, 0]
    return int((sizes[pairs.owners] * (pairs.pieces[:, 1] - pairs.pieces[:, 0])).sum())


def pairs_in(region: Region) -> int:
    """The number of pairs that a call over a region visits if it skips none."""
    pairs = region.pairs
    return region.area if pairs is None else pairs_of(pairs) * region.count
