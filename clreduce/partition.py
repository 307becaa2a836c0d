"""Blocks of points that lie near each other, and the boxes around them. On the host, a second for a million points.

A tree of boxes is split at the widest side, as a k-d tree is. All blocks hold ``size`` points but the last, and 2^k
blocks that follow each other from a multiple of 2^k on are one node of the tree: so coarser blocks are their unions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clreduce.errors import ShapeError
from clreduce.typing import Array

_SMALL = 256
"""Points up to which nodes of the tree are split many at a time."""
_TOGETHER = 2**15
"""Points that are split together, so that they fit a cache."""


class Boxes(NamedTuple):
    """The boxes around blocks of points, (B, D) each."""

    low: Array
    high: Array
    nan: Array
    """Whether a component of a point in the block is nan; the ends are those of the others, 0 if there are none."""


@dataclass(frozen=True)
class Partition:
    """Points in the order of their blocks: block k holds ``order[k * size : (k + 1) * size]``, as `intervals` says."""

    order: Array
    """(N,), int64: the number of each point before it was sorted."""
    size: int

    @property
    def count(self) -> int:
        """The number of blocks."""
        return -(-len(self.order) // self.size)

    @property
    def intervals(self) -> Array:
        """The places [start, end) of each block in ``order``: (B, 2), int64."""
        starts = np.arange(self.count) * self.size
        return np.stack((starts, np.minimum(starts + self.size, len(self.order))), axis=1)

    def coarser(self, factor: int) -> Partition:
        """This order in larger blocks, each of ``factor`` of these; a power of two."""
        if factor < 1 or factor & (factor - 1):
            raise ShapeError(f"blocks are joined by powers of two; got {factor}")
        return Partition(self.order, self.size * factor)

    def boxes(self, ordered: Array) -> Boxes:
        """The boxes around the rows of each block of an array (N, D) that is in the order of the blocks already."""
        if ordered.ndim != 2 or len(ordered) != len(self.order):
            raise ShapeError(f"an array of shape {ordered.shape} has no row for each of {len(self.order)} points")
        if not len(ordered):
            return Boxes(ordered, ordered, np.zeros(ordered.shape, bool))
        starts = self.intervals[:, 0]
        low, high = np.fmin.reduceat(ordered, starts), np.fmax.reduceat(ordered, starts)
        nan = np.zeros(low.shape, bool)
        missing = np.isnan(ordered)
        if missing.any():
            nan = np.logical_or.reduceat(missing, starts)
            low, high = (np.where(np.isnan(end), end.dtype.type(0), end) for end in (low, high))
        return Boxes(low, high, nan)


def partition(points: Array, size: int) -> Partition:
    """The points (N, D) in blocks of ``size`` that are near each other; those with nan or infinities come last.

    >>> points = np.array([[0.0], [9.0], [1.0], [8.0], [2.0]])
    >>> near = partition(points, size=2)
    >>> sorted(near.order[:2].tolist()), near.intervals.tolist()
    ([0, 2], [[0, 2], [2, 4], [4, 5]])
    >>> boxes = near.boxes(points[near.order])
    >>> boxes.low[0], boxes.high[0]
    (array([0.]), array([1.]))
    """
    if points.ndim != 2:
        raise ShapeError(f"points are rows of an array (N, D); got shape {points.shape}")
    if size < 1:
        raise ShapeError(f"a block holds one point or more; got size {size}")
    finite = np.isfinite(points).all(axis=1)
    order = np.concatenate((np.flatnonzero(finite), np.flatnonzero(~finite)))
    count = int(finite.sum())
    columns = np.ascontiguousarray(points[order[:count]].T)
    # Depth first, so that what is split next is in the cache still.
    stack = [(0, count)] if count > size and len(columns) else []
    small = size << max(_SMALL // size - 1, 0).bit_length()
    while stack:
        start, end = stack.pop()
        if end - start == small:
            continue
        part = columns[:, start:end]
        blocks = -(-(end - start) // size)
        middle = size << ((blocks - 1).bit_length() - 1)
        # Halves, for the difference of two finite numbers may be infinite.
        widest = int(np.argmax(part.max(axis=1) / 2 - part.min(axis=1) / 2))
        moved = np.argpartition(part[widest], middle - 1)
        columns[:, start:end] = part[:, moved]
        order[start:end] = order[start:end][moved]
        if middle > size:
            stack.append((start, start + middle))
        if end - start - middle > size:
            stack.append((start + middle, end))
    if len(columns):
        _split_together(columns, order, size, small)
    return Partition(order, size)


def _split_together(columns: Array, order: Array, size: int, length: int) -> None:
    """Split all nodes of ``length`` points, which come first, down to ``size`` points, in place.

    Many of them at a time, for a call of NumPy takes as long as some hundred points.
    """
    step = max(_TOGETHER // length, 1) * length
    full = columns.shape[1] // length * length
    for start in range(0, full, step):
        end = min(start + step, full)
        points, places = columns[:, start:end], order[start:end]
        nodes = length
        while nodes > size:
            shaped = points.reshape(len(points), -1, nodes)
            widest = np.argmax(shaped.max(axis=2) / 2 - shaped.min(axis=2) / 2, axis=0)
            moved = np.argpartition(shaped[widest, np.arange(len(widest))], nodes // 2 - 1, axis=1)
            moved += np.arange(0, end - start, nodes)[:, None]
            points, places = points[:, moved.ravel()], places[moved.ravel()]
            nodes //= 2
        order[start:end] = places


__all__ = ["Boxes", "Partition", "partition"]
