"""`BlockPairs`: the rows and columns of a call in blocks of near points; bounds and visits of pairs of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.options import Options
from clreduce.call.pruning.cutting import CutPartition, Cuts, drawn, named_blocks, pairs_of
from clreduce.call.pruning.index import BLOCK
from clreduce.call.pruning.places import places_of
from clreduce.call.pruning.request import NEVER
from clreduce.call.pruning.sides import Side, side_of
from clreduce.call.pruning.words import WORD, PairsOfBlocks, Words, pairs_of_words, runs_of_words
from clreduce.call.work import Work, arrangement_of
from clreduce.domain import Domain
from clreduce.intervals import Box, bounds_of
from clreduce.ir.bounds import Bounds, Precision
from clreduce.ir.expr import INDEX, REAL, Expr, substitute, topological
from clreduce.ir.op import OPS, constant, position, variable
from clreduce.memo import Memo, memoised
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region
from clreduce.typing import Array

_MASKS = 2**22
"""Words that one kernel makes."""
LEVEL = WORD
"""Blocks that are joined into one block of the next level."""
ONE_LEVEL = 2**23
"""The most pairs of blocks all of which are bounded at once; calls with more get levels of larger blocks."""
_LIKELY_PARENTS = 16
"""Pairs of larger blocks for each block of rows that `BlockPairs.likely` searches."""


@dataclass(frozen=True, eq=False)
class BlockPairs:
    """A call whose rows and columns are in blocks."""

    program: MapReduce
    """The program of the call. Its positions are variables, since kernels see points in another order."""
    arrays: Mapping[Expr, Array]
    """The array of each slot, with rows and columns in the caller's order."""
    options: Options
    dtype: str
    executor: Executor
    rows: Side
    columns: Side
    named: Ranges | None = None
    """The pairs of blocks that the ranges of the call name; None for all."""
    limits: Array | None = None
    """(rows,), in the caller's order: other columns have K terms that are not beyond these, so no result needs a term
    that is; None if nothing is known."""
    visited: list[int] = field(default_factory=list)
    """The number of pairs of each visit."""
    careful: bool = False
    """`Work.careful` of the call."""
    whole: BlockPairs | None = None
    """The call of which these are some rows, if it has formulas and levels in common with them."""

    @classmethod
    def of(
        cls, work: Work, arrays: Sequence[Array], executor: Executor, block: int = BLOCK,
        of_columns: int | None = None,
    ) -> BlockPairs:  # fmt: skip
        """Sort the points of ``work``, which has no batch, into blocks; ``arrays`` has one array for each slot.

        A block has ``block`` rows, and ``of_columns`` columns: by default ``block``, else ``block`` times or divided by
        a power of two.
        """
        region = work.region
        program, by_slot = without_positions(work, arrays)
        cuts, places = Cuts.of(region), places_of(program)
        sides: dict[Domain, Side] = {}
        sizes = {Domain.J: of_columns or block, Domain.I: block}
        for domain in sorted(sizes, key=lambda domain: sizes[domain]):
            parts = {slot: array for slot, array in by_slot.items() if slot.domain == domain}
            sorted_by = [slot for slot in parts if slot in places]
            sides[domain] = side_of(parts, sorted_by, sizes[domain], list(sides.values()), cuts)
        rows, columns = sides[Domain.I], sides[Domain.J]
        named = None if cuts is None else cuts.in_blocks(rows.partition, columns.partition)
        return cls(
            program, by_slot, work.options, work.dtype, executor, rows, columns, named, careful=work.careful
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------------------- levels

    @cached_property
    def levels(self) -> tuple[BlockPairs, ...]:
        """This call, then the same call in larger and larger blocks, until there are few pairs of blocks."""
        whole = self.whole or self
        if self.named is not None or whole.rows.partition.count * whole.columns.partition.count <= ONE_LEVEL:
            return (self,)
        above = None if self.whole is None else self.whole.levels[1]
        columns = self.columns.coarser(LEVEL) if above is None else above.columns
        return (self, *replace(self, rows=self.rows.coarser(LEVEL), columns=columns, whole=above).levels)

    def parts(self, rows: int) -> list[BlockPairs]:
        """This call for up to about ``rows`` of its rows at a time; all of it if ranges name its pairs.

        The parts have the formulas of the whole call, and so its kernels. They count their visits together.
        """
        side = self.rows.partition
        step = -(-side.count // max(1, -(-len(side.order) // rows)))
        step = -(-step // LEVEL**2) * LEVEL**2  # so larger blocks of a part are larger blocks of the call
        if self.named is not None or side.count <= step:
            return [self]
        for slot in self.program.slots:  # what all parts need is computed once, before threads ask for it
            if slot.domain != Domain.P:
                self._side(slot).ordered(slot)
                for level in self.levels:
                    level._side(slot).boxes(slot)
        return [
            replace(self, rows=self.rows.part(start, min(start + step, side.count)), whole=self)
            for start in range(0, side.count, step)
        ]

    def level_of(self, values: Mapping[Expr, Array], number: int) -> dict[Expr, Array]:
        """For each block of rows of a level, the largest of the values (B, D) of the blocks in it."""
        if number == 0:
            return dict(values)
        return {
            leaf: np.maximum.reduceat(array, np.arange(0, len(array), LEVEL**number)) for leaf, array in values.items()
        }

    # --------------------------------------------------------------------------------------------------------- bounds

    @cached_property
    def _boxes(self) -> dict[Expr, Box]:
        return _boxes_around(self._around)

    @cached_property
    def _around(self) -> tuple[tuple[Expr, bool], ...]:
        """The variables that have boxes, each with whether its values may be nan: this decides which kernels run."""
        if self.whole is not None:
            return self.whole._around
        return tuple(
            (slot, slot.kind == REAL and bool(self._side(slot).boxes(slot).nan.any()))
            for slot in self.program.slots
            if slot.domain != Domain.P
        )

    def _side(self, slot: Expr) -> Side:
        return self.rows if slot.domain == Domain.I else self.columns

    @cached_property
    def values(self) -> tuple[Expr, ...]:
        """The formulas as kernels compute them."""
        arrangement = arrangement_of(self.program, self.options)
        arrays = [self.arrays[slot] for slot in self.program.slots]
        moderate = arrangement.slots and not self.careful and arrangement.holds(arrays)
        return (arrangement.moderate if moderate else arrangement.careful).values

    def bounds(self, *values: Expr) -> tuple[Bounds, ...]:
        """The bounds of formulas over pairs of blocks."""
        return _bounds(values, self._around, self.dtype)

    @cached_property
    def ends(self) -> dict[Expr, Array]:
        """The values of the variables of `bounds`: ends of boxes, whether the boxes hold nan, and parameters."""
        known: dict[Expr, Array] = {}
        for slot in self.program.slots:
            if slot.domain == Domain.P:
                known[slot] = self.arrays[slot]
                continue
            box, boxes = self._boxes[slot], self._side(slot).boxes(slot)
            known[box.low], known[box.high] = boxes.low, boxes.high
            if box.nan is not None:
                known[box.nan] = boxes.nan.astype(self.dtype)
        intervals = self.columns.partition.intervals
        known[self.size] = (intervals[:, 1:] - intervals[:, :1]).astype(self.dtype)
        return known

    @cached_property
    def precision(self) -> Precision:
        """The precision of kernels."""
        return Precision.of(self.dtype)

    @cached_property
    def size(self) -> Expr:
        """The number of columns of a block: a variable of blocks of columns."""
        return variable("size", 1, Domain.J)

    def middle(self, *values: Expr) -> list[Expr]:
        """The values of formulas at the centres of both blocks of a pair. They are estimates, not bounds."""
        centres = {
            slot: constant(0.5) * box.low + constant(0.5) * box.high
            for slot, box in self._boxes.items()
            if slot.kind == REAL
        }
        ends = {slot: box.low for slot, box in self._boxes.items() if slot.kind != REAL}
        return list(substitute(values, {**centres, **ends}))

    def over_blocks(
        self, f: Expr, reduction: str, count: int | None = None, further: Mapping[Expr, Array] | None = None,
        parents: PairsOfBlocks | None = None,
    ) -> Array:  # fmt: skip
        """A reduction over blocks of columns, for each block of rows.

        ``further`` holds the values of variables other than `ends`. With ``parents``, pairs of blocks of the next
        level, the reduction is over the pairs of blocks in these only.
        """
        program, leaves = _reduction_of((f,), reduction, count)
        values = {**self.ends, **(further or {})}
        arrays = [np.ascontiguousarray(values[leaf], np.int64 if leaf.kind == INDEX else self.dtype) for leaf in leaves]
        rows, columns = self.rows.partition.count, self.columns.partition.count
        named = self.named if parents is None else parents.as_ranges(LEVEL, rows, columns)
        region = Region(rows, columns, ranges=None if named is None else _checked(named, rows, columns))
        return self._run(program, arrays, region)[0]

    def pairs_where(self, mask: Expr, further: Mapping[Expr, Array] | None = None) -> Ranges:
        """The pairs of blocks for which a mask holds.

        ``further`` holds the values of other variables of blocks of rows. A mask that holds for some values and boxes
        must hold for larger ones, too.
        """
        parents = None
        for number in range(len(self.levels) - 1, 0, -1):
            words = self.levels[number].words_where(mask, self.level_of(further or {}, number), parents)
            parents = pairs_of_words(words)
        return self.as_ranges(self.words_where(mask, further, parents))

    def words_where(
        self, mask: Expr, further: Mapping[Expr, Array] | None = None, parents: PairsOfBlocks | None = None
    ) -> Iterator[Words]:
        """The pairs of blocks for which a mask holds, by rows.

        With ``parents``, pairs of blocks of the next level, only the pairs of blocks in these are tried. A kernel adds
        up powers of two to make a word; each group of 16 blocks of columns is an index of its batch.
        """
        bits = variable("bit", 1, Domain.J)
        program, leaves = _reduction_of((OPS["where"](mask, bits, constant(0)),), "Sum")
        rows, columns = self.rows.partition.count, self.columns.partition.count
        groups = -(-columns // WORD)
        values = {**self.ends, **(further or {}), bits: (2.0 ** np.arange(WORD))[None, :, None]}
        wide = {}
        for leaf in leaves:
            array = np.asarray(values[leaf], np.int64 if leaf.kind == INDEX else self.dtype)
            if leaf.domain == Domain.J and leaf is not bits:
                array = _in_parts(array, WORD)
            elif leaf.domain == Domain.I and parents is not None:
                array = _in_parts(array, LEVEL)
            elif leaf is not bits:
                array = array[None]
            wide[leaf] = array
        last = np.uint16((1 << (columns - (groups - 1) * WORD)) - 1)
        if parents is None:
            most = _MASKS if self.named is None else _MASKS // WORD
            for start, end in _chunks(rows, max(1, most // groups)):
                arrays = [wide[leaf][:, start:end] if leaf.domain == Domain.I else wide[leaf] for leaf in leaves]
                words = self._words(program, arrays, Region(end - start, WORD, (groups,)))
                words[-1] &= last
                by_row = words.T
                if self.named is not None:
                    by_row = by_row & self._named_words((start, end), groups)
                row, group = np.nonzero(by_row)
                yield Words(by_row[row, group], start + row, group)
            return
        for start, end in _chunks_of_rows(parents.row, max(1, _MASKS // LEVEL)):
            at = {Domain.I: parents.row[start:end], Domain.J: parents.column[start:end]}
            arrays = [
                wide[leaf] if leaf is bits or leaf.domain == Domain.P else wide[leaf][at[leaf.domain]]
                for leaf in leaves
            ]
            words = self._words(program, arrays, Region(LEVEL, WORD, (end - start,)))
            words[at[Domain.J] == groups - 1] &= last
            if rows % LEVEL:
                words[at[Domain.I] == rows // LEVEL, rows % LEVEL :] = 0
            place = _by_rows(at[Domain.I])
            ordered, parent = np.zeros(words.size, np.uint16), np.zeros(words.size, np.int64)
            ordered[place], parent[place] = words, np.arange(end - start)[:, None]
            row = np.zeros(words.size, np.int64)
            row[place] = at[Domain.I][:, None] * LEVEL + np.arange(LEVEL)
            nonzero = np.flatnonzero(ordered)
            yield Words(ordered[nonzero], row[nonzero], at[Domain.J][parent[nonzero]])

    def _named_words(self, rows: tuple[int, int], groups: int) -> Array:
        """The pairs that ranges name, as words of shape (rows, groups): a bit for each block of columns."""
        assert self.named is not None, "only ranges name pairs"
        bits = named_blocks(self.named, rows, groups * WORD)
        words: Array = np.packbits(bits, axis=1, bitorder="little").view("<u2").astype(np.uint16)
        return words

    def _words(self, program: MapReduce, arrays: Sequence[Array], region: Region) -> Array:
        """Run a kernel that makes words: an array of shape (batch, rows)."""
        contiguous = [np.ascontiguousarray(array) for array in arrays]
        return self._run(program, contiguous, region)[0][..., 0].astype(np.uint16)

    def as_ranges(self, words: Iterable[Words]) -> Ranges:
        """Pairs of blocks as ranges of rows and columns."""
        row, first, last = runs_of_words(words)
        intervals = self.columns.partition.intervals
        return self._ranges(row, np.stack((intervals[first, 0], intervals[last, 1]), axis=1))

    def ranges(self, pairs: PairsOfBlocks) -> Ranges:
        """Pairs of blocks as ranges of rows and columns."""
        return self._ranges(pairs.row, self.columns.partition.intervals[pairs.column])

    def _ranges(self, row: Array, intervals: Array) -> Ranges:
        blocks = self.rows.partition.intervals
        return Ranges.of(blocks, np.searchsorted(row, np.arange(len(blocks)), side="right"), intervals)

    def likely(self, lowest_first: Expr, count: int) -> PairsOfBlocks:
        """For each block of rows, the ``count`` blocks of columns for which a formula is lowest, or nearly so."""
        parents = None
        for level in reversed(self.levels):
            most = level.columns.partition.count
            wanted = min(count if level is self else max(count, _LIKELY_PARENTS), most)
            places = np.sort(level.over_blocks(lowest_first, "ArgKMin", wanted, parents=parents), axis=1)
            # Kernels pad lists that are short with -1.
            row, at = np.nonzero(places >= 0)
            parents = PairsOfBlocks(row, places[row, at])
        assert parents is not None
        return parents

    @cached_property
    def owner(self) -> Array:
        """The block of each row, in the order of the blocks."""
        intervals = self.rows.partition.intervals
        return np.repeat(np.arange(len(intervals)), intervals[:, 1] - intervals[:, 0])

    def least(self, values: Array) -> Array:
        """The smallest of the values (rows, ..) of each block of rows; nan only if all values of a block are nan."""
        least: Array = np.fmin.reduceat(values, self.rows.partition.intervals[:, 0])
        return least

    # --------------------------------------------------------------------------------------------------------- visits

    def visit(
        self, pairs: Ranges, reduction: str, count: int | None = None, values: Sequence[Expr] | None = None,
        further: Mapping[Expr, Array] | None = None, results: tuple[Array, ...] | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The results of a reduction over some pairs, with rows in the order of the blocks.

        ``values`` are the formulas that are reduced; None for the program's. ``further`` holds the values of variables
        that the program lacks, in the order of the blocks. In lists of indices, infinite terms have the index -1.
        Results are written into ``results`` if it is not None.
        """
        program, leaves = _reduction_of(self.program.values if values is None else tuple(values), reduction, count)
        known = further or {}
        arrays = [
            known[slot] if slot in known
            else self.arrays[slot] if slot.domain == Domain.P else self._side(slot).ordered(slot)
            for slot in leaves
        ]  # fmt: skip
        return self.visit_arrays(
            pairs, program, arrays, len(self.rows.partition.order), len(self.columns.partition.order), results
        )

    def visit_arrays(
        self, pairs: Ranges, program: MapReduce, arrays: Sequence[Array], rows: int, columns: int,
        results: tuple[Array, ...] | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The results of any program over ``pairs``; ``arrays`` has ``rows`` rows and ``columns`` columns."""
        self.visited.append(pairs_of(pairs))
        region = Region(rows, columns, ranges=_checked(pairs, rows, columns))
        return self._run(program, arrays, region, self.options, results)

    def _run(
        self, program: MapReduce, arrays: Sequence[Array], region: Region, options: Options | None = None,
        results: tuple[Array, ...] | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        work = Work(
            program, options or Options(), region, self.dtype, NEVER, completes=False, careful=self.careful
        )  # fmt: skip
        return self.executor.run((work, Memo(), arrays), results)

    def some(self, blocks: Array) -> BlockPairs:
        """This call restricted to the rows of some blocks, in the order of the blocks."""
        intervals = self.rows.partition.intervals[blocks]
        row_numbers = self.rows.partition.order[np.concatenate([np.arange(*interval) for interval in intervals])]
        arrays = {
            slot: array[row_numbers] if slot.domain == Domain.I else array for slot, array in self.arrays.items()
        }  # fmt: skip
        lengths = intervals[:, 1] - intervals[:, 0]
        part = CutPartition(np.arange(len(row_numbers)), self.rows.partition.size, np.cumsum(lengths) - lengths)
        named = None
        if self.named is not None:
            named = drawn(self.named, blocks, np.arange(self.columns.partition.count))
        limits = None if self.limits is None else self.limits[row_numbers]
        return replace(self, arrays=arrays, rows=Side(part, arrays), named=named, limits=limits, visited=[], whole=None)

    @property
    def named_pairs(self) -> Ranges | None:
        """The pairs of rows and columns that ranges name, both in the order of the blocks; None for all."""
        if self.named is None:
            return None
        sides = (self.rows.partition, self.columns.partition)
        edges = [np.append(side.intervals[:, 0], len(side.order)) for side in sides]
        return Ranges(edges[0][self.named.blocks], self.named.owners, edges[1][self.named.pieces])

    def in_order(self, result: Array) -> Array:
        """A result whose rows are in the order of the blocks, in the caller's order."""
        placed = np.empty_like(result)
        placed[self.rows.partition.order] = result
        return placed


_reduction_of = memoised(256)(map_reduce)
"""`map_reduce` for the formulas of blocks, which are those of each part of a call and of its sample."""


@memoised(256)
def _boxes_around(around: tuple[tuple[Expr, bool], ...]) -> dict[Expr, Box]:
    return {slot: Box.around(slot, may_be_nan) for slot, may_be_nan in around}


@memoised(256)
def _bounds(values: tuple[Expr, ...], around: tuple[tuple[Expr, bool], ...], dtype: str) -> tuple[Bounds, ...]:
    return tuple(bounds_of(values, _boxes_around(around), dtype))


def without_positions(
    work: Work, arrays: Sequence[Array], positions: Mapping[Domain, Array] | None = None
) -> tuple[MapReduce, dict[Expr, Array]]:
    """The program of a work with variables in place of positions, and the array of each of its slots.

    ``positions`` has the position of each row and of each column; None for those of the region.
    """
    region, program = work.region, work.program
    by_slot, nodes = dict(zip(program.slots, arrays, strict=True)), set(topological(program.values))
    located: dict[Expr, Expr] = {}
    for domain, first, count in (
        (Domain.I, region.first_row, region.rows), (Domain.J, region.first_column, region.columns),
    ):  # fmt: skip
        if position(domain) in nodes:
            leaf = located[position(domain)] = variable(("position", domain.name), 1, domain, INDEX)
            numbers = np.arange(first, first + count) if positions is None else positions[domain]
            by_slot[leaf] = numbers.reshape(-1, 1)
    if not located:
        return program, by_slot
    values = substitute(program.values, located)
    program, leaves = map_reduce(values, program.reduction.name, program.reduction.count)
    return program, {slot: by_slot[leaf] for slot, leaf in zip(program.slots, leaves, strict=True)}


def _checked(pairs: Ranges, rows: int, columns: int) -> CheckedRanges:
    if not len(pairs.pieces):  # a device has nothing to do, but rows have results
        pairs = Ranges(np.array([[0, rows]]), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
    return CheckedRanges.by_rows(pairs, rows, columns)


def _in_parts(array: Array, length: int) -> Array:
    """(B, D) as (B / length, length, D), rounded up; zeros fill the last part."""
    parts = -(-len(array) // length)
    padded = np.pad(array, ((0, parts * length - len(array)), (0, 0)))
    return padded.reshape(parts, length, array.shape[1])


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _chunks_of_rows(rows: Array, size: int) -> Iterator[tuple[int, int]]:
    """Split ascending numbers into intervals of about ``size``; equal numbers stay together."""
    start = 0
    while start < len(rows):
        end = len(rows) if start + size >= len(rows) else int(np.searchsorted(rows, rows[start + size]))
        if end <= start:
            end = int(np.searchsorted(rows, rows[start], side="right"))
        yield start, end
        start = end


def _by_rows(parents: Array) -> Array:
    """The places of the words of K parents, (K, 16), if words are sorted by blocks of rows, then by groups."""
    first = np.searchsorted(parents, parents)
    count = np.searchsorted(parents, parents, side="right") - first
    places: Array = (first * LEVEL + np.arange(len(parents)) - first)[:, None] + np.arange(LEVEL) * count[:, None]
    return places
