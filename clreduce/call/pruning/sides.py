"""`Side`: the points of one index of a call, in blocks of near points, and the boxes around these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clreduce.call.pruning.cutting import Cuts
from clreduce.call.pruning.index import index_of
from clreduce.ir.expr import Expr
from clreduce.partition import Boxes, Partition, partition
from clreduce.threads import in_threads
from clreduce.typing import Array

_TOGETHER = 2**17
"""Rows that take longer to gather than another thread takes to start."""


class Side:
    """Points of i, or of j, in the order of their blocks."""

    def __init__(
        self, partition: Partition, arrays: Mapping[Expr, Array], points: Sequence[Array] = (),
        ordered: Mapping[Expr, Array] | None = None, boxes: Mapping[Expr, Boxes] | None = None,
        finer: Side | None = None,
    ) -> None:  # fmt: skip
        """``arrays`` has the values of each variable, in the caller's order; ``points`` are those that were sorted.

        ``ordered`` and ``boxes`` may have the sorted values and the boxes of some variables already. ``finer`` is a
        side in the same order, whose blocks are parts of these.
        """
        self.partition, self.points, self.arrays = partition, points, arrays
        self._ordered, self._boxes, self._finer = dict(ordered or {}), dict(boxes or {}), finer

    def coarser(self, factor: int) -> Side:
        """These points in blocks that are larger by a power of two."""
        return Side(self.partition.coarser(factor), self.arrays, self.points, finer=self)

    def part(self, start: int, end: int) -> Side:
        """The points of the blocks from ``start`` to ``end``, in blocks that keep their order; nothing is copied."""
        near = self.partition.part(start, end)
        first = int(self.partition.intervals[start, 0])
        rows = slice(first, first + len(near.order))
        ordered = {slot: self.ordered(slot)[rows] for slot in self.arrays}
        boxes = {slot: Boxes(*(ends[start:end] for ends in self.boxes(slot))) for slot in self.arrays}
        return Side(near, self.arrays, self.points, ordered, boxes)

    def ordered(self, slot: Expr) -> Array:
        """The values of a variable in the order of the blocks."""
        array = self._ordered.get(slot)
        if array is None:
            known = self._in_finer(slot)
            if known is not None and self._finer is not None:
                array = self._finer.ordered(known)
            else:
                array = _in_order(self.arrays[slot], self.partition.order)
            self._ordered[slot] = array
        return array

    def boxes(self, slot: Expr) -> Boxes:
        """The boxes around the values of a variable, one per block."""
        boxes = self._boxes.get(slot)
        if boxes is None:
            known = self._in_finer(slot)
            if known is not None and self._finer is not None:
                boxes = _joined(self._finer.boxes(known), self.partition.size // self._finer.partition.size)
            else:
                boxes = self.partition.boxes(self.ordered(slot))
            self._boxes[slot] = boxes
        return boxes

    def _in_finer(self, slot: Expr) -> Expr | None:
        """The variable of the finer blocks that has the same array; None if no variable has it."""
        if self._finer is None:
            return None
        array = self.arrays[slot]
        return next((other for other, values in self._finer.arrays.items() if _same(values, array)), None)


def side_of(
    parts: Mapping[Expr, Array], places: Sequence[Expr], block: int, before: Sequence[Side], cuts: Cuts | None
) -> Side:  # fmt: skip
    """Sort the points of one index into blocks.

    If a side of ``before`` has the same points, the blocks are its blocks, or unions of them. No block crosses
    ``cuts``, the positions at which ranges cut the points.
    """
    points = [parts[slot] for slot in places]
    if cuts is not None:
        domain = next(iter(parts)).domain
        return Side(cuts.partition(domain, side_by_side(points), block), parts, points)
    for side in before:
        if len(side.points) == len(points) and all(map(_same, side.points, points)):
            near = side.partition.coarser(max(block // side.partition.size, 1))
            return Side(near, parts, points, finer=side)
    index = index_of(points[0]) if len(points) == 1 else None
    if index is not None:
        near, ordered, boxes = index.blocks()
        known = Side(near, parts, points, {places[0]: ordered}, {places[0]: boxes})
        return known if block <= near.size else known.coarser(block // near.size)
    return Side(partition(side_by_side(points), block), parts, points)


def _in_order(array: Array, order: Array) -> Array:
    """The rows of an array with these numbers."""
    rows = np.empty((len(order), *array.shape[1:]), array.dtype)

    def gather(start: int, end: int) -> None:
        np.take(array, order[start:end], axis=0, out=rows[start:end], mode="clip")  # checked numbers would be copied

    in_threads(gather, len(order), _TOGETHER)
    return rows


def side_by_side(points: Sequence[Array]) -> Array:
    """The values of several variables as points."""
    real = [array if array.dtype.kind == "f" else array.astype(np.float64) for array in points]
    return np.concatenate(real, axis=1) if len(real) > 1 else real[0]


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are one memory, seen in one way."""
    return a is b or (a.__array_interface__ == b.__array_interface__)


def _joined(boxes: Boxes, factor: int) -> Boxes:
    """The boxes around groups of ``factor`` boxes that follow each other."""
    if factor == 1 or not len(boxes.low):
        return boxes
    starts = np.arange(0, len(boxes.low), factor)
    return Boxes(
        np.minimum.reduceat(boxes.low, starts), np.maximum.reduceat(boxes.high, starts),
        np.logical_or.reduceat(boxes.nan, starts),
    )  # fmt: skip
