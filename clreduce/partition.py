"""Blocks of points that lie near each other, and the boxes around them. A million points take some tenths of a second.

A tree of boxes is split at the widest side, as a k-d tree is. All blocks hold ``size`` points but the last, and 2^k
blocks that follow each other from a multiple of 2^k on are one node of the tree: so coarser blocks are their unions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from clreduce.errors import ShapeError
from clreduce.threads import in_threads, most_threads
from clreduce.typing import Array

_COARSE, _COARSEST, _MANY = 2**10, 2**14, 2**20
"""Points of coarse blocks, whose boxes shall be as round as those of small ones: `_COARSEST` if there are more than
`_MANY` points, since bounds of their pairs begin with larger blocks, else `_COARSE`."""
_MOST_CUTS = 5
"""The most cuts of a node in one pass over the points."""
_JUDGED = 64
"""The size of the sample, in nodes and in points of each, that decides how often nodes are cut."""
_EVEN = 0.4
"""The least part of a side that three quarters of evenly spread points take up."""
_SHORT = 2**11
"""The most points of a node whose keys are packed into numbers of 32 bits, together with their places."""
_MOST_STEPS = 2**16 - 1
"""Steps that longer nodes are sorted by first."""
_MANY_MOVED = 2**17
"""Points that take longer to move than another thread takes to start."""
_TOGETHER, _TURNS = 2**17, 2
"""The fewest points that are sorted together, and the turns of each thread. In short turns, threads wait for Python's
lock most of the time."""


class Boxes(NamedTuple):
    """The boxes around blocks of points, (B, D) each."""

    low: Array
    high: Array
    nan: Array
    """Whether a component of a point in the block is nan. The ends leave nan out; they are 0 if all points have nan."""


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
        """This order in blocks that are ``factor`` times as large; ``factor`` is a power of two."""
        if factor < 1 or factor & (factor - 1):
            raise ShapeError(f"blocks can be joined by powers of two only; got {factor}")
        return Partition(self.order, self.size * factor)

    def part(self, start: int, end: int) -> Partition:
        """The blocks from ``start`` to ``end``; their points keep the numbers that they have among all points."""
        return Partition(self.order[start * self.size : end * self.size], self.size)

    def boxes(self, ordered: Array) -> Boxes:
        """The boxes around the rows of each block of an array (N, D) that is in the order of the blocks already."""
        if ordered.ndim != 2 or len(ordered) != len(self.order):
            raise ShapeError(
                f"the array needs one row for each of the {len(self.order)} points; got shape {ordered.shape}"
            )
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
    """Sort points (N, D) into blocks of ``size`` near points; points with nan or infinities come last.

    >>> points = np.array([[0.0], [9.0], [1.0], [8.0], [2.0]])
    >>> near = partition(points, size=2)
    >>> sorted(near.order[:2].tolist()), near.intervals.tolist()
    ([0, 2], [[0, 2], [2, 4], [4, 5]])
    >>> boxes = near.boxes(points[near.order])
    >>> boxes.low[0], boxes.high[0]
    (array([0.]), array([1.]))
    """
    if points.ndim != 2:
        raise ShapeError(f"points must be rows of an array (N, D); got shape {points.shape}")
    if size < 1:
        raise ShapeError(f"a block must hold at least one point; got size {size}")
    with np.errstate(under="ignore"):  # half of a subnormal number, whatever the caller lets NumPy raise
        return _partition(points, size)


def _partition(points: Array, size: int) -> Partition:
    columns = np.array(points.T, order="C")  # moved in place
    finite = np.ones(len(points), bool)
    for column in columns:
        finite &= np.isfinite(column)
    order = np.concatenate((np.flatnonzero(finite), np.flatnonzero(~finite)))
    count = int(finite.sum())
    if count < len(points):
        columns = columns[:, order[:count]]
    level = (-(-count // size) - 1).bit_length() if len(columns) and count else 0
    # Coarse blocks are to be as round as small ones: they are cut off first, several cuts at a time.
    coarse = min(level, max(0, ((_COARSE if count <= _MANY else _COARSEST) // size).bit_length() - 1))
    while level > coarse:
        level -= _split(columns, order[:count], size, level, level - coarse)

    def finish(start: int, end: int) -> None:
        for below in range(coarse, 0, -1):
            _split(columns[:, start:end], order[start:end], size, below, 1)

    in_threads(finish, count, max(1, _together(count) // (size << coarse)) * (size << coarse))
    return Partition(order, size)


def _split(columns: Array, order: Array, size: int, level: int, most: int) -> int:
    """Split all nodes of ``size << level`` points, in place. Return the number of new levels: 1 to ``most``.

    A node is cut into several parts along its widest side at once, which takes fewer passes over all points. This is
    done if, for points that are spread evenly, this side stayed the widest one until the last of the cuts.
    """
    capacity = size << level
    whole = len(order) // capacity * capacity
    alike = [
        _Nodes([c[:whole].reshape(-1, capacity) for c in columns], order[:whole].reshape(-1, capacity)),
        _Nodes([c[whole:].reshape(1, -1) for c in columns], order[whole:].reshape(1, -1)),
    ]
    alike = [nodes for nodes in alike if nodes.order.size]
    cuts = 1
    if most > 1:  # most nodes decide for all
        typical = np.median(np.concatenate([nodes.cuts(most) for nodes in alike]))
        cuts = int(np.clip(typical + 0.5, 1, min(most, _MOST_CUTS)))
    for nodes in alike:
        count, length = nodes.order.shape
        if length > capacity >> cuts:
            in_threads(partial(nodes.split, capacity >> cuts), count, max(1, _together(len(order)) // length))
    return cuts


def _together(count: int) -> int:
    """The number of points of ``count`` that are sorted together."""
    return max(_TOGETHER, count // (_TURNS * most_threads()))


@dataclass(frozen=True)
class _Nodes:
    """Nodes of the tree with equal numbers of points."""

    columns: Sequence[Array]
    """The components of the points: (nodes, points) each, views."""
    order: Array
    """The numbers of the points: (nodes, points)."""

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """The least and the largest component of the points of each node, (D, nodes) each."""
        count, length = self.order.shape
        starts = np.arange(0, count * length, length)
        low, high = (
            np.stack([end.reduceat(column.reshape(-1), starts) for column in self.columns])
            for end in (np.minimum, np.maximum)
        )
        return low, high

    @cached_property
    def sides(self) -> Array:
        """Half of each side of the boxes, (D, nodes); the difference of two finite numbers may be infinite."""
        low, high = self.ends
        return high / 2 - low / 2

    def keys(self, nodes: slice | Array) -> Array:
        """The places of the points along the widest side of each of some nodes, from 0 to 1: (nodes, points)."""
        sides = self.sides[:, nodes]
        widest, each = np.argmax(sides, axis=0), np.arange(sides.shape[1])
        low, high = (end[:, nodes][widest, each] for end in self.ends)
        axes = np.unique(widest)
        if len(axes) == 1:
            keys = np.array(self.columns[axes[0]][nodes])
        else:
            keys = np.empty((len(widest), self.order.shape[1]), self.columns[0].dtype)
            for axis in axes:
                of_axis = widest == axis
                keys[of_axis] = self.columns[axis][nodes][of_axis]
        if sides.max(initial=0) > np.finfo(keys.dtype).max / 4:  # a whole side may be infinite
            low, high = low / 2, high / 2
            keys /= 2
        keys -= low[:, None]
        keys /= np.where(high > low, high - low, 1)[:, None]
        return keys

    def cuts(self, level: int) -> Array:
        """The number of times that the widest side of some nodes is cut, if each of ``level`` cuts halves the side that
        is then the widest one."""
        count, length = self.order.shape
        nodes = np.unique(np.linspace(0, count - 1, min(count, _JUDGED)).astype(int))
        sides = np.sort(self.sides[:, nodes], axis=0)[::-1]
        if length == 1 or not sides[0].all():
            return np.ones(1)
        logarithms = np.log2(np.maximum(sides / sides[0], 2.0**-level))
        # In the end, all sides that are cut are equally long, and no longer than the others.
        numbers = np.arange(1, len(sides) + 1)[:, None]
        cuts = -((np.cumsum(logarithms, axis=0) - level) / numbers).max(axis=0)
        # If a few points are far from the others, the sides do not show how the others are spread.
        drawn = np.sort(self.keys(nodes)[:, :: max(1, length // _JUDGED)], axis=1)
        eighth = drawn.shape[1] // 8
        return np.where(drawn[:, -1 - eighth] - drawn[:, eighth] < _EVEN, 1.0, cuts)

    def split(self, step: int, start: int, end: int) -> None:
        """Put the points of the nodes from ``start`` to ``end`` into parts of ``step`` along their widest sides."""
        length = self.order.shape[1]
        moved = _divided(self.keys(slice(start, end)), np.arange(step, length, step) - 1)
        moved += np.arange(end - start)[:, None] * length
        numbers = (*self.columns, self.order)

        def move(first: int, last: int) -> None:
            for each in numbers[first:last]:
                each[start:end] = each[start:end].take(moved)

        in_threads(move, len(numbers), 1 if moved.size >= _MANY_MOVED else len(numbers))


def _divided(keys: Array, ends: Array) -> Array:
    """Per row of keys (nodes, points), from 0 to 1, the places of the points in an order in which each part, up to one
    of the places ``ends``, comes before the next. In short rows, keys that differ by 10^-6 may change places."""
    length = keys.shape[1]
    if length > _SHORT:
        steps = (keys * _MOST_STEPS).astype(np.uint16)
        places: Array = np.argsort(steps, axis=1, kind="stable")  # of 16 bits: a radix sort
        for row in zip(keys, steps, places, strict=True):
            _divide_steps(*row, ends)
        return places
    # Each key with its place in one number of 32 bits: NumPy sorts these fastest.
    bits = (length - 1).bit_length()
    last = min(2 ** (31 - bits), 2**23) - 1  # a number of float32
    packed: Array = (keys * keys.dtype.type(last)).astype(np.int32)
    packed <<= bits
    packed |= np.arange(length, dtype=np.int32)
    if len(ends) == 1:
        packed.partition(ends[0], axis=1)
    else:
        packed.sort(axis=1)
    packed &= (1 << bits) - 1
    return packed.astype(np.intp)


def _divide_steps(keys: Array, steps: Array, places: Array, ends: Array) -> None:
    """Let the places of keys, which are in the order of their steps, be divided at ``ends`` by the keys themselves."""
    cut = np.unique(steps[places[ends]])
    starts, stops = (np.searchsorted(steps, cut, side, sorter=places) for side in ("left", "right"))
    for start, stop in zip(starts, stops, strict=True):
        if stop - start > 1:
            within = places[start:stop]
            own = ends[(start <= ends) & (ends < stop)] - start
            within[:] = within[np.argpartition(keys[within], own)]


__all__ = ["Boxes", "Partition", "partition"]
