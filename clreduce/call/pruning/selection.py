"""Selections: blocks of columns that hold no term of the result are skipped, exactly.

A block of columns whose bound is beyond the K-th term of every row of a block is skipped. How large the K-th term may
be is found first, by a visit of a few blocks that are likely to hold it. The results are those of a call that visits
all pairs, bit by bit: of terms that are equal, the lowest index is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.codegen.thresholds import up_to
from clreduce.domain import Domain
from clreduce.ir.bounds import Bounds
from clreduce.ir.op import OPS, constant, variable
from clreduce.program import map_reduce
from clreduce.reductions.reduction import Skips
from clreduce.runtime.ranges import Ranges
from clreduce.threads import in_threads
from clreduce.typing import Array

_FIRST_VISITS = 2
"""Blocks that are visited to find how large the K-th term may be, beside those that K terms fill."""
_TOGETHER = 2**13
"""Rows whose results are put in order together: so many stay in a cache."""
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

        The first visit tells how large the K-th term of each row may be, the second one visits what is not beyond. One
        term more tells where the last one is one of several equal ones.
        """
        limits = self._first_terms()
        pairs = self._not_beyond(limits)
        values, places = self._visit_up_to(pairs, limits)
        results = self._results(pairs, values, places)
        beyond = self._signed(values[:, self.count - 1]) > limits
        if beyond.any():
            # Another kernel may round to more than the first one did: what it finds is what limits have to hold for.
            self._replace_blocks(np.unique(self.pairs.owner[beyond]), results)
        return results[0], results[1]

    def _without_limits(self) -> tuple[Array, Array]:
        """What `run` gives, by kernels that need no limit of a row."""
        limits = self._signed(self.pairs.visit(self._first_visit(), self.name, self.count)[0][:, -1])
        while True:
            pairs = self._not_beyond(limits)
            values, places = self.pairs.visit(pairs, self.name, self.count + 1)
            last = self._signed(values[:, self.count - 1])
            if (last <= limits).all():
                return self._results(pairs, values, places)
            limits = np.maximum(last, limits)

    def _replace_blocks(self, blocks: Array, results: tuple[Array, Array]) -> None:
        """Compute the rows of some blocks again, without limits."""
        some = self.pairs.some(blocks)
        intervals = self.pairs.rows.partition.intervals[blocks]
        rows = self.pairs.rows.partition.order[np.concatenate([np.arange(*interval) for interval in intervals])]
        for result, part in zip(results, Selection(some)._without_limits(), strict=True):
            if result.size:
                result[rows] = part
        self.pairs.visited.extend(some.visited)

    @property
    def _end(self) -> float:
        """What comes after all terms."""
        return -np.inf if self.largest else np.inf

    def pairs_to_visit(self) -> Ranges:
        """The pairs of blocks that hold all terms of the result, up to rounding."""
        return self._not_beyond(self._first_terms())

    def _signed(self, terms: Array) -> Array:
        """Terms, or their negative if the largest are selected: what comes first is smallest."""
        return -terms if self.largest else terms

    def _first_terms(self) -> Array:
        """(rows,): the K-th terms after the first visit, as `_signed`."""
        (values,) = self.pairs.visit(self._first_visit(), "KMax" if self.largest else "KMin", self.count)
        return self._signed(values[:, -1])

    def _first_visit(self) -> Ranges:
        """The blocks of columns whose terms are likely to be among the K first of a block of rows."""
        most = constant(self.bounds.precision.largest)
        middle = OPS["larger"](OPS["smaller"](self.bounds.low, most), -most) + self.bounds.high
        columns = self.pairs.columns.partition
        blocks = -(-self.count * columns.count // len(columns.order)) + _FIRST_VISITS
        return self.pairs.ranges(self.pairs.likely(middle, blocks))

    def _not_beyond(self, limits: Array) -> Ranges:
        """The pairs of blocks some terms of which may come before the limit of a row, or beside it."""
        limit = variable("limit", 1, Domain.I)
        mask = OPS["less_equal"](self.bounds.low, limit)
        largest = np.maximum.reduceat(limits, self.pairs.rows.partition.intervals[:, 0])[:, None]
        return self.pairs.pairs_where(mask, {limit: largest})

    def _visit_up_to(self, pairs: Ranges, limits: Array) -> tuple[Array, Array]:
        """K + 1 terms and their indices, as far as they come before the limit of their row, or beside it."""
        limit = variable("limit of the row", 1, Domain.I)
        (value,) = self.pairs.program.values
        terms = up_to(value, limit, not self.largest)
        further = {limit: np.ascontiguousarray(self._signed(limits))[:, None]}
        values, places = self.pairs.visit(pairs, self.name, self.count + 1, [terms], further)
        return values, places

    # -------------------------------------------------------------------------------------------------------- results

    def _results(self, visited: Ranges, values: Array, places: Array) -> tuple[Array, Array]:
        """The results in the caller's order, from K + 1 terms of each row and their places in the order of blocks."""
        by_rows = self.pairs.rows.partition.order
        results = self._new_results(values.dtype)
        tied: list[Array] = []

        def finish(start: int, end: int) -> None:
            terms, numbers = values[start:end, : self.count], self._numbers(values[start:end], places[start:end])
            is_tied = (values[start:end, -1] == terms[:, -1]) & (places[start:end, -1] >= 0)
            if is_tied.any():
                tied.append(start + np.flatnonzero(is_tied))
            self._put(results, by_rows[start:end], terms, numbers)

        in_threads(finish, len(values), _TOGETHER)
        if tied:
            rows = np.sort(np.concatenate(tied))
            self._put(results, by_rows[rows], *self._settled(visited, rows))
        return results

    def _new_results(self, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        name, shape = self.pairs.program.reduction.name, (len(self.pairs.rows.partition.order), self.count)
        return (
            np.zeros(0, dtype) if name.startswith("Arg") else np.empty(shape, dtype),
            np.empty(shape, np.int64) if "Arg" in name else np.zeros(0, np.int64),
        )

    def _numbers(self, terms: Array, places: Array) -> Array:
        """(rows, K): the caller's numbers of columns; -1 where there is no term, or an infinite one that comes last,
        which kernels leave out."""
        terms, places = terms[:, : self.count], places[:, : self.count]
        numbers = self.pairs.columns.partition.order.take(places)  # that of place -1 is replaced
        if ((places[:, -1] < 0) | (terms[:, -1] == self._end)).any():
            numbers[(places < 0) | (terms == self._end)] = -1
        return numbers

    def _put(self, results: tuple[Array, Array], rows: Array, terms: Array, numbers: Array) -> None:
        """Results of some rows of the caller: equal terms by their index."""
        equal = np.flatnonzero((terms[:, 1:] == terms[:, :-1]).any(axis=1)) if self.count > 1 else np.arange(0)
        if len(equal):
            # Numbers of -1 come last, and are all there is beyond.
            keys = np.where(numbers[equal] < 0, np.iinfo(np.int64).max, numbers[equal])
            by = np.lexsort((keys, self._signed(terms[equal])), axis=1)
            terms, numbers = terms.copy(), numbers.copy()
            terms[equal] = np.take_along_axis(terms[equal], by, 1)
            numbers[equal] = np.take_along_axis(numbers[equal], by, 1)
        for result, part in zip(results, (terms, numbers), strict=True):
            if result.size:
                _whole_rows(result)[rows] = _whole_rows(part)

    def _settled(self, visited: Ranges, rows: Array) -> tuple[Array, Array]:
        """Terms and indices of rows whose last term is equal to the one after it: which of them belong to the result is
        found again, with columns in their original order. ``rows``: in the order of the blocks, ascending."""
        pairs = self.pairs
        values = np.empty((len(rows), self.count), pairs.dtype)
        places = np.empty((len(rows), self.count), np.int64)
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
            terms, at = pairs.visit_arrays(part, program, arrays, len(selected_rows), len(selected_columns))
            at[terms == self._end] = -1
            chosen_rows = np.searchsorted(rows, selected_rows)
            values[chosen_rows] = terms
            places[chosen_rows] = np.where(at < 0, -1, selected_columns[at])
        return values, places

    def _columns_in_order(self, pieces: Array) -> Array:
        """The original numbers of the columns in some intervals, ascending."""
        order = self.pairs.columns.partition.order
        return np.sort(np.concatenate([order[start:end] for start, end in pieces]))


def _whole_rows(array: Array) -> Array:
    """Rows (N, K) as single items, which NumPy moves in a fifth of the time: a view where rows are contiguous."""
    array = np.ascontiguousarray(array)
    return array.view(np.dtype((np.void, array.itemsize * array.shape[1])))[:, 0]
