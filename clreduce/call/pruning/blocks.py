"""`BlockPairs`: rows and columns of a call in blocks of near points, bounds for each pair of blocks, visits of some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.options import Options
from clreduce.call.pruning.cutting import CutPartition, Cuts, drawn, named_blocks, pairs_of
from clreduce.call.pruning.index import BLOCK, index_of
from clreduce.call.pruning.places import places_of
from clreduce.call.pruning.request import NEVER
from clreduce.call.work import Work, arrangement_of
from clreduce.domain import Domain
from clreduce.intervals import Box, bounds_of
from clreduce.ir.bounds import Bounds, Precision
from clreduce.ir.expr import INDEX, REAL, Expr, substitute, topological
from clreduce.ir.op import OPS, constant, position, variable
from clreduce.memo import Memo
from clreduce.partition import Boxes, Partition, partition
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region
from clreduce.typing import Array

_WORD = 16
"""Blocks of columns that one number of a mask tells of; all sums of powers of two up to 2^16 are exact in float32."""
_MASKS = 2**24
"""Numbers of masks that are made at a time."""


class Side:
    """Points of i, or of j, in the order of their blocks."""

    def __init__(
        self, partition: Partition, arrays: Mapping[Expr, Array], points: Sequence[Array] = (),
        ordered: Mapping[Expr, Array] | None = None, boxes: Mapping[Expr, Boxes] | None = None,
    ) -> None:  # fmt: skip
        """``arrays``: by the variable, in the order that the caller knows; ``points``: those that were sorted;
        ``ordered`` and ``boxes``: as far as they are known."""
        self.partition, self.points, self._given = partition, points, arrays
        self._ordered, self._boxes = dict(ordered or {}), dict(boxes or {})

    def ordered(self, slot: Expr) -> Array:
        """The values of a variable in the order of the blocks."""
        array = self._ordered.get(slot)
        if array is None:
            array = self._ordered[slot] = np.ascontiguousarray(self._given[slot][self.partition.order])
        return array

    def boxes(self, slot: Expr) -> Boxes:
        """The boxes around the values of a variable, one per block."""
        boxes = self._boxes.get(slot)
        if boxes is None:
            boxes = self._boxes[slot] = self.partition.boxes(self.ordered(slot))
        return boxes


@dataclass(frozen=True, eq=False)
class BlockPairs:
    """A call whose rows and columns are in blocks."""

    program: MapReduce
    """Positions are variables in it, for kernels see points in another order."""
    arrays: Mapping[Expr, Array]
    """By slot, in the caller's order."""
    options: Options
    dtype: str
    executor: Executor
    rows: Side
    columns: Side
    named: Ranges | None = None
    """The pairs of blocks that the ranges of the call name; None for all."""
    visited: list[int] = field(default_factory=list)
    """The number of pairs of each visit."""

    @classmethod
    def of(
        cls, work: Work, arrays: Sequence[Array], executor: Executor, block: int = BLOCK
    ) -> BlockPairs:  # fmt: skip
        """``work`` without a batch; ``arrays``: one for each slot."""
        region, program = work.region, work.program
        by_slot = dict(zip(program.slots, arrays, strict=True))
        located: dict[Expr, Expr] = {}
        for domain, first, count in (
            (Domain.I, region.first_row, region.rows), (Domain.J, region.first_column, region.columns),
        ):  # fmt: skip
            if any(node is position(domain) for node in topological(program.values)):
                leaf = located[position(domain)] = variable(("position", domain.name), 1, domain, INDEX)
                by_slot[leaf] = np.arange(first, first + count).reshape(-1, 1)
        if located:
            values = substitute(program.values, located)
            program, given = map_reduce(values, program.reduction.name, program.reduction.count)
            by_slot = {slot: by_slot[leaf] for slot, leaf in zip(program.slots, given, strict=True)}
        sides: list[Side] = []
        cuts = Cuts.of(region)
        places = places_of(program)
        for domain in (Domain.I, Domain.J):
            parts = {slot: array for slot, array in by_slot.items() if slot.domain == domain}
            chosen = [slot for slot in parts if slot in places]
            if cuts is None:
                sides.append(_side(parts, chosen, block, sides))
            else:
                points = [parts[slot] for slot in chosen]
                sides.append(Side(cuts.partition(domain, _joined(points), block), parts, points))
        named = None if cuts is None else cuts.in_blocks(sides[0].partition, sides[1].partition)
        return cls(program, by_slot, work.options, work.dtype, executor, sides[0], sides[1], named)

    # --------------------------------------------------------------------------------------------------------- bounds

    @cached_property
    def _boxes(self) -> dict[Expr, Box]:
        return {
            slot: Box.around(slot, may_be_nan=slot.kind == REAL and bool(self._side(slot).boxes(slot).nan.any()))
            for slot in self.program.slots
            if slot.domain != Domain.P
        }

    def _side(self, slot: Expr) -> Side:
        return self.rows if slot.domain == Domain.I else self.columns

    @cached_property
    def values(self) -> tuple[Expr, ...]:
        """The formulas as kernels compute them."""
        arrangement = arrangement_of(self.program, self.options)
        moderate = arrangement.slots and arrangement.holds([self.arrays[slot] for slot in self.program.slots])
        return (arrangement.moderate if moderate else arrangement.careful).values

    def bounds(self, *values: Expr) -> list[Bounds]:
        """The bounds of formulas over pairs of blocks."""
        return bounds_of(values, self._boxes, self.dtype)

    @cached_property
    def ends(self) -> dict[Expr, Array]:
        """The values of the variables of `bounds`: ends of boxes, whether they hold nan, and parameters."""
        known: dict[Expr, Array] = {}
        for slot in self.program.slots:
            if slot.domain == Domain.P:
                known[slot] = self.arrays[slot]
                continue
            box, boxes = self._boxes[slot], self._side(slot).boxes(slot)
            known[box.low], known[box.high] = boxes.low, boxes.high
            if box.nan is not None:
                known[box.nan] = boxes.nan.astype(self.dtype)
        return known

    @cached_property
    def precision(self) -> Precision:
        """The precision of kernels."""
        return Precision.of(self.dtype)

    @cached_property
    def size(self) -> Expr:
        """How many columns a block has: a variable of blocks of columns."""
        size = variable("size", 1, Domain.J)
        intervals = self.columns.partition.intervals
        self.ends[size] = (intervals[:, 1:] - intervals[:, :1]).astype(self.dtype)
        return size

    def over_blocks(
        self, f: Expr, reduction: str, count: int | None = None, further: Mapping[Expr, Array] | None = None
    ) -> Array:
        """A reduction over blocks of columns, for each block of rows; ``further``: values of other variables."""
        program, given = map_reduce([f], reduction, count)
        values = {**self.ends, **(further or {})}
        arrays = [np.ascontiguousarray(values[leaf], np.int64 if leaf.kind == INDEX else self.dtype) for leaf in given]
        named = None if self.named is None else CheckedRanges.by_rows(self.named)
        region = Region(self.rows.partition.count, self.columns.partition.count, ranges=named)
        return self._run(program, arrays, region)[0]

    def pairs_where(self, mask: Expr, further: Mapping[Expr, Array] | None = None) -> Ranges:
        """The pairs of blocks for which a mask holds."""
        bits = variable("bit", 1, Domain.J)
        program, given = map_reduce([OPS["where"](mask, bits, constant(0))], "Sum")
        columns = self.columns.partition.count
        groups = -(-columns // _WORD)
        number = np.arange(groups * _WORD).reshape(groups, _WORD, 1)
        values = {**self.ends, **(further or {}), bits: np.where(number < columns, 2.0 ** (number % _WORD), 0.0)}
        wide = {}
        for leaf in given:
            array = np.asarray(values[leaf], np.int64 if leaf.kind == INDEX else self.dtype)
            if leaf.domain == Domain.J and leaf is not bits:
                padded = np.pad(array, ((0, groups * _WORD - columns), (0, 0)))
                array = padded.reshape(groups, _WORD, array.shape[1])
            elif leaf is not bits:
                array = array[None]
            wide[leaf] = array
        row, column = [], []
        most = _MASKS if self.named is None else _MASKS // _WORD
        for start, end in _chunks(self.rows.partition.count, max(1, most // groups)):
            arrays = [
                np.ascontiguousarray(wide[leaf][:, start:end] if leaf.domain == Domain.I else wide[leaf])
                for leaf in given
            ]
            words = self._run(program, arrays, Region(end - start, _WORD, (groups,)))[0][..., 0].T
            if self.named is not None:
                words = words.astype(np.int64) & self._named_words((start, end), groups)
            of, group = np.nonzero(words)
            which, bit = np.nonzero((words[of, group].astype(np.int64)[:, None] >> np.arange(_WORD)) & 1)
            row.append(start + of[which])
            column.append(group[which] * _WORD + bit)
        return self.ranges(np.concatenate(row), np.concatenate(column))

    def _named_words(self, rows: tuple[int, int], groups: int) -> Array:
        """(rows, groups): the pairs that ranges name, a bit for each block of columns as in `pairs_where`."""
        assert self.named is not None, "only ranges name pairs"
        bits = named_blocks(self.named, rows, groups * _WORD)
        words: Array = np.packbits(bits, axis=1, bitorder="little").view("<u2").astype(np.int64)
        return words

    def ranges(self, row: Array, column: Array) -> Ranges:
        """Pairs of blocks as ranges of rows and columns; ``row`` is ascending."""
        blocks, intervals = self.rows.partition.intervals, self.columns.partition.intervals
        slices = np.searchsorted(row, np.arange(len(blocks)), side="right")
        return Ranges.of(blocks, slices, intervals[column]).once()

    def likely(self, lowest_first: Expr, count: int) -> Ranges:
        """The ``count`` blocks of columns, for each block of rows, for which a formula is lowest."""
        count = min(count, self.columns.partition.count)
        places = self.over_blocks(lowest_first, "ArgKMin", count)
        row, number = np.nonzero(places >= 0)
        return self.ranges(row, places[row, number])

    @cached_property
    def owner(self) -> Array:
        """The block of each row, in the order of the blocks."""
        intervals = self.rows.partition.intervals
        return np.repeat(np.arange(len(intervals)), intervals[:, 1] - intervals[:, 0])

    def least(self, values: Array) -> Array:
        """The smallest of the values (rows, ..) of each block of rows; nan is passed over if there is another."""
        least: Array = np.fmin.reduceat(values, self.rows.partition.intervals[:, 0])
        return least

    # --------------------------------------------------------------------------------------------------------- visits

    def visit(
        self, pairs: Ranges, reduction: str, count: int | None = None, values: Sequence[Expr] | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The results of a reduction over some pairs, rows in the order of the blocks; ``values``: of other formulas
        than the program's."""
        program, given = map_reduce(self.program.values if values is None else values, reduction, count)
        arrays = [
            self.arrays[slot] if slot.domain == Domain.P else self._side(slot).ordered(slot) for slot in given
        ]  # fmt: skip
        return self.visit_arrays(
            pairs, program, arrays, len(self.rows.partition.order), len(self.columns.partition.order)
        )

    def visit_arrays(
        self, pairs: Ranges, program: MapReduce, arrays: Sequence[Array], rows: int, columns: int
    ) -> tuple[Array, ...]:
        """The results of another program with its arrays, over the same pairs."""
        self.visited.append(pairs_of(pairs))
        if not len(pairs.pieces):  # a device has nothing to do, but rows have results
            pairs = Ranges(np.array([[0, rows]]), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
        region = Region(rows, columns, ranges=CheckedRanges.by_rows(pairs))
        return self._run(program, arrays, region, self.options)

    def _run(
        self, program: MapReduce, arrays: Sequence[Array], region: Region, options: Options | None = None
    ) -> tuple[Array, ...]:
        work = Work(program, options or Options(), region, self.dtype, NEVER)
        return self.executor.run((work, Memo(), arrays))

    def some(self, blocks: Array) -> BlockPairs:
        """This call restricted to the rows of some blocks, in the order of the blocks."""
        intervals = self.rows.partition.intervals[blocks]
        chosen = self.rows.partition.order[np.concatenate([np.arange(*interval) for interval in intervals])]
        arrays = {
            slot: array[chosen] if slot.domain == Domain.I else array for slot, array in self.arrays.items()
        }  # fmt: skip
        lengths = intervals[:, 1] - intervals[:, 0]
        part = CutPartition(np.arange(len(chosen)), self.rows.partition.size, np.cumsum(lengths) - lengths)
        named = None
        if self.named is not None:
            named = drawn(self.named, blocks, np.arange(self.columns.partition.count))
        return replace(self, arrays=arrays, rows=Side(part, arrays), named=named, visited=[])

    @property
    def named_pairs(self) -> Ranges | None:
        """The pairs of rows and columns that ranges name, both in the order of the blocks; None for all."""
        if self.named is None:
            return None
        sides = (self.rows.partition, self.columns.partition)
        edges = [np.append(side.intervals[:, 0], len(side.order)) for side in sides]
        return Ranges(edges[0][self.named.blocks], self.named.owners, edges[1][self.named.pieces])

    def in_order(self, result: Array) -> Array:
        """A result by rows as the caller has them."""
        placed = np.empty_like(result)
        placed[self.rows.partition.order] = result
        return placed


def _side(parts: Mapping[Expr, Array], places: Sequence[Expr], block: int, before: Sequence[Side]) -> Side:
    """The blocks of one index; those of ``before`` where they are of the same points."""
    points = [parts[slot] for slot in places]
    for side in before:
        if len(side.points) == len(points) and all(map(_same, side.points, points)):
            return Side(side.partition, parts, points)
    index = index_of(points[0]) if len(points) == 1 and block % BLOCK == 0 else None
    if index is not None:
        near, ordered, boxes = index.blocks()
        if block == BLOCK:
            return Side(near, parts, points, {places[0]: ordered}, {places[0]: boxes})
        return Side(near.coarser(block // BLOCK), parts, points, {places[0]: ordered})
    return Side(partition(_joined(points), block), parts, points)


def _joined(points: Sequence[Array]) -> Array:
    """The values of several variables side by side, as points."""
    real = [array if array.dtype.kind == "f" else array.astype(np.float64) for array in points]
    return np.concatenate(real, axis=1) if len(real) > 1 else real[0]


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are the same numbers in memory."""
    return a is b or (a.__array_interface__ == b.__array_interface__)


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)
