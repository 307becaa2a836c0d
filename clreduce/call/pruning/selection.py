"""Selections: blocks of columns that hold no term of the result are skipped, exactly.

A block of columns whose bound is beyond the K-th term of every row of a block is skipped. How large the K-th term may
be is found first, by a visit of a few blocks that are likely to hold it. The results are those of a call that visits
all pairs, bit by bit: of terms that are equal, the lowest index is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.domain import Domain
from clreduce.ir.bounds import Bounds
from clreduce.ir.op import OPS, constant, variable
from clreduce.program import map_reduce
from clreduce.reductions.reduction import Skips
from clreduce.runtime.ranges import Ranges
from clreduce.typing import Array

_FIRST_VISITS = 4
"""Blocks that are visited to find how large the K-th term may be, beside those that K terms fill."""
_MOST_GATHERED = 2**22
"""Columns that are brought into their original order at a time."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The steps of one selection, in their order."""

    pairs: BlockPairs

    @cached_property
    def largest(self) -> bool:
        """Whether the largest terms are selected, rather than the smallest."""
        return self.pairs.program.reduction.skips is Skips.BELOW

    @cached_property
    def count(self) -> int:
        """K."""
        return self.pairs.program.reduction.count or 1

    @cached_property
    def name(self) -> str:
        """The reduction that gives terms and indices."""
        return "KMax_ArgKMax" if self.largest else "KMin_ArgKMin"

    @cached_property
    def bounds(self) -> Bounds:
        """Bounds of the terms of a pair of blocks, as formulas; of their negative if the largest are selected."""
        (term,) = self.pairs.values
        (bounds,) = self.pairs.bounds(-term if self.largest else term)
        return bounds

    def run(self) -> tuple[Array, Array]:
        """The K terms and their indices, or -1, by the rows of the caller: (rows, K) each; of no shape what the
        reduction does not ask for.

        The first visit tells how large the K-th terms may be, the second one visits what is not beyond.
        """
        limit = self._last_terms(self._visit(self._first_visit(), self.count)[0])
        while True:
            pairs = self._not_beyond(limit)
            # One term more tells where the last one is one of several equal ones.
            values, places = self._visit(pairs, self.count + 1)
            # Another kernel may round to more than the first one did: what it finds is what limits have to hold for.
            last = self._last_terms(values)
            if (last <= limit).all():
                break
            limit = np.maximum(last, limit)
        order = self.pairs.columns.partition.order
        places = np.where(places < 0, -1, order[places]) if (places[:, -1] < 0).any() else order[places]
        self._settle_ties(pairs, values, places)
        return self._in_order(values[:, : self.count], places[:, : self.count])

    @property
    def _end(self) -> float:
        """What comes after all terms."""
        return -np.inf if self.largest else np.inf

    def pairs_to_visit(self) -> Ranges:
        """The pairs of blocks that hold all terms of the result, up to rounding."""
        return self._not_beyond(self._last_terms(self._visit(self._first_visit(), self.count)[0]))

    def _visit(self, pairs: Ranges, count: int) -> tuple[Array, Array]:
        return self._found(self.pairs.visit(pairs, self.name, count))

    def _found(self, results: tuple[Array, ...]) -> tuple[Array, Array]:
        """Terms and indices; -1 where there is no term, or an infinite one that comes last, which kernels leave out."""
        values, places = results
        if (values[:, -1] == self._end).any():
            places[values == self._end] = -1
        return values, places

    def _last_terms(self, values: Array) -> Array:
        """Of each block of rows, the K-th term that comes last; negative, if the largest are selected."""
        last = values[:, self.count - 1]
        terms: Array = np.maximum.reduceat(-last if self.largest else last, self.pairs.rows.partition.intervals[:, 0])
        return terms

    def _first_visit(self) -> Ranges:
        """The blocks of columns whose terms are likely to be among the K first of a block of rows."""
        most = constant(self.bounds.precision.largest)
        middle = OPS["larger"](OPS["smaller"](self.bounds.low, most), -most) + self.bounds.high
        columns = self.pairs.columns.partition
        blocks = -(-self.count * columns.count // len(columns.order)) + _FIRST_VISITS
        return self.pairs.ranges(self.pairs.likely(middle, blocks))

    def _not_beyond(self, last: Array) -> Ranges:
        """The pairs of blocks some terms of which may come before the last term of a row, or beside it."""
        limit = variable("limit", 1, Domain.I)
        return self.pairs.pairs_where(OPS["less_equal"](self.bounds.low, limit), {limit: last[:, None]})

    # ----------------------------------------------------------------------------------------------------------- ties

    def _settle_ties(self, visited: Ranges, values: Array, places: Array) -> None:
        """Where the term after the last is equal to it, which ones belong to the result is found again, in place, with
        columns in their original order."""
        pairs = self.pairs
        before = values[:, : self.count]
        rows = np.flatnonzero((values[:, self.count] == before[:, -1]) & (places[:, self.count] >= 0))
        if not len(rows):
            return
        owner, count = pairs.owner[rows], pairs.rows.partition.count
        starts = np.searchsorted(visited.owners, np.arange(count + 1))
        lengths = np.zeros(count, np.int64)
        np.add.at(lengths, visited.owners, visited.pieces[:, 1] - visited.pieces[:, 0])
        blocks = np.unique(owner)
        # So many blocks of rows at a time that their columns fit.
        group = np.cumsum(lengths[blocks]) // _MOST_GATHERED
        program, given = map_reduce(pairs.program.values, self.name, self.count)
        for number in np.unique(group):
            chosen = blocks[group == number]
            columns = [self._columns_in_order(visited.pieces[starts[b] : starts[b + 1]]) for b in chosen]
            ends = np.cumsum([len(part) for part in columns])
            of_rows = [rows[owner == b] for b in chosen]
            row_ends = np.cumsum([len(part) for part in of_rows])
            selected_rows, selected_columns = np.concatenate(of_rows), np.concatenate(columns)
            intervals = [
                np.stack((limits - [len(part) for part in parts], limits), axis=1)
                for limits, parts in ((row_ends, of_rows), (ends, columns))
            ]
            part = Ranges.of(intervals[0], np.arange(1, len(chosen) + 1), intervals[1])
            sides = {Domain.I: pairs.rows.partition.order[selected_rows], Domain.J: selected_columns}
            arrays = [
                np.ascontiguousarray(pairs.arrays[slot][sides[slot.domain]])
                if slot.domain in sides
                else pairs.arrays[slot]
                for slot in given
            ]
            terms, at = self._found(
                pairs.visit_arrays(part, program, arrays, len(selected_rows), len(selected_columns))
            )
            values[selected_rows, : self.count] = terms
            places[selected_rows, : self.count] = np.where(at < 0, -1, selected_columns[at])

    def _columns_in_order(self, pieces: Array) -> Array:
        """The original numbers of the columns in some intervals, ascending."""
        order = self.pairs.columns.partition.order
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
        nothing, name = np.zeros(0), self.pairs.program.reduction.name
        return (
            nothing if name.startswith("Arg") else self.pairs.in_order(values),
            self.pairs.in_order(places) if "Arg" in name else nothing,
        )
