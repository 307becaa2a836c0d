"""Selections without visiting all pairs: blocks of columns that hold no term of the result are skipped, exactly.

Rows and columns are sorted into blocks of near points (`clreduce.partition`), and a kernel bounds the terms of each
pair of blocks (`clreduce.intervals`). A block of columns whose bound is beyond the K-th term of every row of a block is
skipped. How large the K-th term may be is found first, by a visit of a few blocks that are likely to hold it.

The results are those of a call that visits all pairs, bit by bit: of terms that are equal, the lowest index is taken.
It is no part of any interface yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.intervals import Box, bounds_of
from clreduce.ir.bounds import Bounds
from clreduce.ir.expr import REAL, Expr, topological
from clreduce.ir.op import OPS, constant, variable
from clreduce.partition import Boxes, Partition, partition
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.plan import signature_of
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.ranges import Ranges

Array = np.ndarray[Any, Any]
SELECTIONS = (
    "Min", "ArgMin", "Min_ArgMin", "Max", "ArgMax", "Max_ArgMax", "KMin", "ArgKMin", "KMin_ArgKMin", "KMax", "ArgKMax",
    "KMax_ArgKMax",
)  # fmt: skip
"""Names of the reductions that select terms."""
BLOCK = 128
"""Points of a block."""
_FIRST_VISITS = 4
"""Blocks that are visited to find how large the K-th term may be, beside those that K terms fill."""
_WORD = 16
"""Blocks of columns that one number of a mask tells of; all sums of powers of two up to 2^16 are exact in float32."""
_MOST_GATHERED = 2**22
"""Columns that are brought into their original order at a time."""


@dataclass(frozen=True)
class Selected:
    """What a pruned call gives."""

    results: tuple[Array, ...]
    """Those of a plan for the same program: (rows, K) each, int64 where they are indices."""
    visited: int
    """Pairs whose terms were computed, those that were visited twice counted twice."""


def select(
    program: MapReduce, arrays: Sequence[Array], rows: int, columns: int, device: Device, block: int = BLOCK
) -> Selected:
    """The results of a selection, the same as ``Plan(program, ...)(arrays, rows, columns)`` gives.

    ``arrays``: for each slot of the program an array (rows, D), (columns, D) or (D,) of float32 or float64, all of one
    dtype. ``block``: how many points are in a block of rows and of columns. Raises `ShapeError` for programs that are
    no selection of numbers by a formula of i and j without positions.
    """
    if not can_prune(program):
        raise ShapeError(
            f"a selection without visiting all pairs is by one of {', '.join(SELECTIONS)}, over a formula of length 1 "
            f"in real variables of i and of j; got {program.reduction.name} of length {program.values[0].dim}"
        )
    if rows == 0 or columns == 0 or not _has_plain_parameters(program, arrays):
        plan = PLANS.get(program, signature_of(arrays[0].dtype), device)
        return Selected(plan(arrays, rows, columns), rows * columns)
    return _Selection(program, tuple(arrays), rows, columns, device, block).run()


def can_prune(program: MapReduce) -> bool:
    """Whether `select` takes the program."""
    nodes = topological(program.values)
    sides = {slot.domain for slot in program.slots}
    return (
        program.reduction.name in SELECTIONS
        and program.values[0].dim == 1
        and {Domain.I, Domain.J} <= sides
        and all(slot.kind == REAL for slot in program.slots)
        and not any(node.op.name == "position" for node in nodes)
    )


def _has_plain_parameters(program: MapReduce, arrays: Sequence[Array]) -> bool:
    """Whether bounds hold: they need parameters that are finite, and 0 or normal."""
    for slot, array in zip(program.slots, arrays, strict=True):
        if slot.domain == Domain.P:
            size = np.abs(array)
            if not ((size == 0) | ((size >= np.finfo(array.dtype).tiny) & (size < np.inf))).all():
                return False
    return True


@dataclass(frozen=True)
class _Selection:
    """One call: its rows and columns in blocks, and the steps of `run`, in their order."""

    program: MapReduce
    arrays: tuple[Array, ...]
    rows: int
    columns: int
    device: Device
    block: int

    # --------------------------------------------------------------------------------------------------- what is given

    @cached_property
    def largest(self) -> bool:
        """Whether the largest terms are selected, rather than the smallest."""
        return "Max" in self.program.reduction.name

    @cached_property
    def count(self) -> int:
        """K."""
        return self.program.reduction.count or 1

    @cached_property
    def dtype(self) -> str:
        return str(self.arrays[0].dtype.name)

    def _partition(self, domain: Domain) -> Partition:
        parts = [a for slot, a in zip(self.program.slots, self.arrays, strict=True) if slot.domain == domain]
        return partition(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0], self.block)

    @cached_property
    def row_blocks(self) -> Partition:
        return self._partition(Domain.I)

    @cached_property
    def column_blocks(self) -> Partition:
        """The same as that of the rows where those are the same points."""
        sides = [
            [id(a) for slot, a in zip(self.program.slots, self.arrays, strict=True) if slot.domain == domain]
            for domain in (Domain.I, Domain.J)
        ]
        return self.row_blocks if sides[0] == sides[1] else self._partition(Domain.J)

    @cached_property
    def ordered(self) -> tuple[Array, ...]:
        """The arrays in the order of the blocks."""
        orders = {Domain.I: self.row_blocks.order, Domain.J: self.column_blocks.order}
        return tuple(
            array[orders[slot.domain]] if slot.domain in orders else array
            for slot, array in zip(self.program.slots, self.arrays, strict=True)
        )

    # --------------------------------------------------------------------------------------------------------- bounds

    @cached_property
    def ends(self) -> dict[Expr, Array]:
        """The values of the variables of `bounds`: ends of boxes, whether they hold nan, and parameters."""
        found: dict[Expr, Array] = {}
        for slot, array in zip(self.program.slots, self.ordered, strict=True):
            if slot.domain == Domain.P:
                found[slot] = array
                continue
            box, boxes = self._box(slot), self._boxes(slot, array)
            found[box.low], found[box.high] = boxes.low, boxes.high
            if box.nan is not None:
                found[box.nan] = boxes.nan.astype(array.dtype)
        return found

    def _boxes(self, slot: Expr, ordered: Array) -> Boxes:
        return (self.row_blocks if slot.domain == Domain.I else self.column_blocks).boxes(ordered)

    def _box(self, slot: Expr) -> Box:
        array = self.arrays[self.program.slots.index(slot)]
        return Box.around(slot, may_be_nan=bool(np.isnan(array).any()))

    @cached_property
    def bounds(self) -> Bounds:
        """Those of the terms of a pair of blocks, in formulas; of their negative, if the largest are selected."""
        boxes = {slot: self._box(slot) for slot in self.program.slots if slot.domain != Domain.P}
        (term,) = self.program.values
        (bounds,) = bounds_of([-term if self.largest else term], boxes, self.dtype)
        return bounds

    def _over_blocks(self, f: Expr, reduction: str, count: int | None, further: dict[Expr, Array], batch: int) -> Array:
        """A reduction over blocks of columns, for each block of rows."""
        program, given = map_reduce([f], reduction, count)
        values = self.ends | further
        arrays = [np.ascontiguousarray(values[slot]) for slot in given]
        signature = signature_of(self.dtype, batched=batch > 0)
        plan = PLANS.get(program, signature, self.device)
        columns = _WORD if batch else self.column_blocks.count
        return plan(arrays, self.row_blocks.count, columns, None, (batch,) if batch else ())[0]

    # ---------------------------------------------------------------------------------------------------------- steps

    def run(self) -> Selected:
        """The first visit tells how large the K-th terms may be, the second one visits what is not beyond."""
        first = self._first_visit()
        limit = self._last_terms(self._run(self._with_count(self.count), first)[0])
        visited = _pairs_of(first)
        # One term more tells where the last one is one of several equal ones.
        program = self._with_count(self.count + 1)
        while True:
            pairs = self._not_beyond(limit)
            values, places = self._run(program, pairs)
            visited += _pairs_of(pairs)
            # Another kernel may round to more than the first one did: what it finds is what limits have to hold for.
            last = self._last_terms(values)
            if (last <= limit).all():
                break
            limit = np.maximum(last, limit)
        places = np.where(places < 0, -1, self.column_blocks.order[places])
        visited += self._settle_ties(pairs, values, places)
        results = self._in_order(values[:, : self.count], places[:, : self.count])
        return Selected(self._of_program(results), visited)

    def _last_terms(self, values: Array) -> Array:
        """Of each block of rows, the K-th term that comes last; negative, if the largest are selected."""
        last = values[:, self.count - 1]
        terms: Array = np.maximum.reduceat(-last if self.largest else last, self.row_blocks.intervals[:, 0])
        return terms

    def _with_count(self, count: int) -> MapReduce:
        name = "KMax_ArgKMax" if self.largest else "KMin_ArgKMin"
        return map_reduce(self.program.values, name, count)[0]

    def _run(self, program: MapReduce, pairs: Ranges, arrays: Sequence[Array] | None = None) -> tuple[Array, ...]:
        given = self.ordered if arrays is None else arrays
        sides = {slot.domain: len(a) for slot, a in zip(self.program.slots, given, strict=True)}
        plan = PLANS.get(program, signature_of(self.dtype, ranges=pairs), self.device)
        contiguous = [np.ascontiguousarray(array) for array in given]
        return plan(contiguous, sides[Domain.I], sides[Domain.J], ranges=pairs)

    def _first_visit(self) -> Ranges:
        """The blocks of columns whose terms are likely to be among the K first of a block of rows."""
        most = self.column_blocks.count
        count = min(-(-self.count // self.block) + _FIRST_VISITS, most)
        middle = OPS["larger"](OPS["smaller"](self.bounds.low, self._limit), -self._limit) + self.bounds.high
        places = self._over_blocks(middle, "ArgKMin", count, {}, 0)
        return self._ranges(np.repeat(np.arange(len(places)), count), np.maximum(places, 0).ravel())

    @cached_property
    def _limit(self) -> Expr:
        return constant(self.bounds.precision.largest)

    def _not_beyond(self, last: Array) -> Ranges:
        """The pairs of blocks some terms of which may come before the last term of a row, or beside it."""
        bits = variable("bit", 1, Domain.J)
        limit = variable("limit", 1, Domain.I)
        mask = OPS["where"](OPS["less_equal"](self.bounds.low, limit), bits, constant(0))
        groups = -(-self.column_blocks.count // _WORD)
        padding = groups * _WORD - self.column_blocks.count
        known = np.arange(groups * _WORD).reshape(groups, _WORD, 1) % _WORD
        bit = np.where(np.arange(groups * _WORD).reshape(known.shape) < self.column_blocks.count, 2.0**known, 0.0)
        further: dict[Expr, Array] = {bits: bit.astype(self.dtype), limit: last[:, None]}
        for leaf, array in self.ends.items():
            if leaf.domain == Domain.J:
                padded = np.pad(array, ((0, padding), (0, 0)))
                further[leaf] = padded.reshape(groups, _WORD, array.shape[1])
            elif leaf.domain == Domain.I:
                further[leaf] = array[None]
            else:
                further[leaf] = array.reshape(1, -1)
        further[limit] = further[limit][None]
        words = self._over_blocks(mask, "Sum", None, further, groups)[..., 0].T  # (row blocks, groups)
        row, group = np.nonzero(words)
        bits_of = (words[row, group].astype(np.int64)[:, None] >> np.arange(_WORD)) & 1
        which, bit_number = np.nonzero(bits_of)
        return self._ranges(row[which], group[which] * _WORD + bit_number)

    def _ranges(self, row: Array, column: Array) -> Ranges:
        """Pairs of blocks as ranges of rows and columns; ``row`` is ascending."""
        blocks, intervals = self.row_blocks.intervals, self.column_blocks.intervals
        slices = np.searchsorted(row, np.arange(len(blocks)), side="right")
        return Ranges.of(blocks, slices, intervals[column]).once()

    # ----------------------------------------------------------------------------------------------------------- ties

    def _settle_ties(self, pairs: Ranges, values: Array, places: Array) -> int:
        """Where the term after the last is equal to it, which ones belong to the result is found again, in place, with
        columns in their original order. Returned is how many pairs that took."""
        before = values[:, : self.count]
        tied = (values[:, self.count] == before[:, -1]) & (places[:, self.count] >= 0)
        rows = np.flatnonzero(tied)
        visited = 0
        owner = rows // self.block
        starts = np.searchsorted(pairs.owners, np.arange(self.row_blocks.count + 1))
        lengths = np.zeros(self.row_blocks.count, np.int64)
        np.add.at(lengths, pairs.owners, pairs.pieces[:, 1] - pairs.pieces[:, 0])
        blocks = np.unique(owner)
        # So many blocks of rows at a time that their columns fit.
        group = np.cumsum(lengths[blocks]) // _MOST_GATHERED
        program = self._with_count(self.count)
        for number in np.unique(group):
            chosen = blocks[group == number]
            columns = [self._columns_in_order(pairs.pieces[starts[b] : starts[b + 1]]) for b in chosen]
            ends = np.cumsum([len(part) for part in columns])
            of_rows = [rows[owner == b] for b in chosen]
            row_ends = np.cumsum([len(part) for part in of_rows])
            selected_rows, selected_columns = np.concatenate(of_rows), np.concatenate(columns)
            intervals = [
                np.stack((limits - [len(part) for part in parts], limits), axis=1)
                for limits, parts in ((row_ends, of_rows), (ends, columns))
            ]
            part = Ranges.of(intervals[0], np.arange(1, len(chosen) + 1), intervals[1])
            sides = {Domain.I: self.row_blocks.order[selected_rows], Domain.J: selected_columns}
            arrays = [
                array[sides[slot.domain]] if slot.domain in sides else array
                for slot, array in zip(self.program.slots, self.arrays, strict=True)
            ]
            found, at = self._run(program, part, arrays)
            values[selected_rows, : self.count] = found
            places[selected_rows, : self.count] = np.where(at < 0, -1, selected_columns[at])
            visited += _pairs_of(part)
        return visited

    def _columns_in_order(self, pieces: Array) -> Array:
        """The original numbers of the columns in some intervals, ascending."""
        order = self.column_blocks.order
        return np.sort(np.concatenate([order[start:end] for start, end in pieces]))

    def _in_order(self, values: Array, places: Array) -> tuple[Array, Array]:
        """By rows of the caller, equal terms by their index."""
        rows = np.flatnonzero((values[:, 1:] == values[:, :-1]).any(axis=1)) if self.count > 1 else np.arange(0)
        if len(rows):
            # Places of -1 come last, and are all there is beyond.
            keys = np.where(places[rows] < 0, np.iinfo(np.int64).max, places[rows])
            sizes = -values[rows] if self.largest else values[rows]
            by = np.lexsort((keys, sizes), axis=1)
            values[rows] = np.take_along_axis(values[rows], by, 1)
            places[rows] = np.take_along_axis(places[rows], by, 1)
        result = np.empty_like(values), np.empty_like(places)
        for target, source in zip(result, (values, places), strict=True):
            target[self.row_blocks.order] = source
        return result

    def _of_program(self, found: tuple[Array, Array]) -> tuple[Array, ...]:
        """Values, indices, or both; where no term is finite, an index is that of a call over all pairs."""
        values, places = found
        name = self.program.reduction.name
        if not name.startswith(("K", "ArgK")) and "Arg" in name:
            empty = np.flatnonzero(places[:, 0] < 0)
            if len(empty):
                arrays = [
                    array[empty] if slot.domain == Domain.I else array
                    for slot, array in zip(self.program.slots, self.arrays, strict=True)
                ]
                plan = PLANS.get(self.program, signature_of(self.dtype), self.device)
                places[empty] = plan(arrays, len(empty), self.columns)[-1]
        if "_" in name:
            return values, places
        return (places,) if name.startswith("Arg") else (values,)


def _pairs_of(pairs: Ranges) -> int:
    sizes = pairs.blocks[:, 1] - pairs.blocks[:, 0]
    return int((sizes[pairs.owners] * (pairs.pieces[:, 1] - pairs.pieces[:, 0])).sum())


__all__ = ["BLOCK", "SELECTIONS", "Selected", "can_prune", "select"]
