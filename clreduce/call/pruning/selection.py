"""Selections: blocks of columns that hold no term of the result are skipped, exactly.

A first visit of a few blocks, which are likely to hold the first K terms, gives a limit of the K-th term of each row. A
block of columns is skipped if its bound is beyond the limits of all rows of a block. The results are those of a call
that visits all pairs, bit by bit: of equal terms, the one with the lowest index is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from clreduce.call.pruning.blocks import LEVEL, BlockPairs
from clreduce.call.pruning.turns import Terms, run_in_turns
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
"""Blocks of the first visit, in addition to the fewest blocks that hold K terms."""
_TOGETHER = 2**13
"""Rows whose results are put in order together: a number that fits in a cache."""
_MOST_GATHERED = 2**22
"""The most columns that are gathered in their original order for one visit."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The steps of one selection, in their order."""

    pairs: BlockPairs
    terms: Terms | None = None
    """Memory for the visits; None for new memory."""

    @cached_property
    def largest(self) -> bool:
        """Whether the largest terms are selected, rather than the smallest."""
        return self.pairs.program.reduction.skips is Skips.BELOW

    @cached_property
    def count(self) -> int:
        """K, the number of terms that are selected."""
        return self.pairs.program.reduction.count or 1

    @cached_property
    def name(self) -> str:
        """The reduction that gives terms and indices."""
        return "KMax_ArgKMax" if self.largest else "KMin_ArgKMin"

    @cached_property
    def bounds(self) -> Bounds:
        """Bounds of the terms of a pair of blocks, as formulas; bounds of minus the terms for the largest ones."""
        (term,) = self.pairs.values
        (bounds,) = self.pairs.bounds(-term if self.largest else term)
        return bounds

    def run(self) -> tuple[Array, Array]:
        """The K terms and their indices, (rows, K) each, with rows in the caller's order.

        A place without a term has the index -1. An array that the reduction does not return is empty. If limits are
        known beforehand (`BlockPairs.limits`), a row has all of its first K terms that are not beyond its limit.
        """
        results = self._new_results(np.dtype(self.pairs.dtype))
        run_in_turns(self.pairs, self.count, lambda part, terms: Selection(part, terms)._put_all(results))
        return results

    def _put_all(self, results: tuple[Array, Array]) -> None:
        """Write the results of these rows into those of all rows.

        The first visit gives a limit of the K-th term of each row. The second one visits the blocks that are not beyond
        it, for K + 1 terms: rows whose last two terms are equal need a third visit.
        """
        if self.pairs.limits is None:
            self._put_up_to(results, self._first_terms())
            return
        blocks = self._blocks_within()
        if len(blocks) == self.pairs.rows.partition.count:
            self._put_limited(results)
            return
        for result, nothing in zip(results, (self._end, -1), strict=True):
            if result.size:
                result[self.pairs.rows.partition.order] = nothing
        if len(blocks):
            self._replace(blocks, results, Selection._limited)

    def _put_limited(self, results: tuple[Array, Array]) -> None:
        self._put_up_to(results, self._first_terms(), self.known_limits)

    def _limited(self) -> tuple[Array, Array]:
        """The results of `run` with limits known beforehand."""
        results = self._new_results(np.dtype(self.pairs.dtype))
        self._put_limited(results)
        return results

    def _put_up_to(self, results: tuple[Array, Array], first: Array, known: Array | None = None) -> None:
        """Write results from the K-th term of each row after the first visit, and from limits known beforehand."""
        limits = first if known is None else np.minimum(first, known)
        pairs = self._not_beyond(limits)
        values, places = self._visit_up_to(pairs, limits)
        self._put_results(results, pairs, values, places)
        beyond = self._signed(values[:, self.count - 1]) > limits
        if known is not None:  # below such a limit, there may be fewer than K terms
            beyond &= first <= known
        if beyond.any():
            # The second kernel may round a term up more than the first one did, and so beyond the limit.
            self._replace(np.unique(self.pairs.owner[beyond]), results, Selection._without_limits)

    def _blocks_within(self) -> Array:
        """The blocks of rows that may have a term within the limits known beforehand, told by larger blocks: (B,)."""
        if self.pairs.named is not None:
            return np.unique(self._not_beyond(self.known_limits).owners)
        pairs, levels = self.pairs, self.pairs.levels
        larger = levels[1] if len(levels) > 1 else replace(
            pairs, rows=pairs.rows.coarser(LEVEL), columns=pairs.columns.coarser(LEVEL), whole=None
        )  # fmt: skip
        selection = Selection(larger)
        within = np.zeros(larger.rows.partition.count, bool)
        within[selection._not_beyond(selection.known_limits).owners] = True
        return np.flatnonzero(np.repeat(within, LEVEL)[: pairs.rows.partition.count])

    @property
    def known_limits(self) -> Array:
        """The limits known beforehand, with the sign of `_signed` and rows in the order of the blocks: (rows,)."""
        assert self.pairs.limits is not None, "limits are known"
        return self._signed(self.pairs.limits[self.pairs.rows.partition.order])

    def _without_limits(self) -> tuple[Array, Array]:
        """The results of `run`, with kernels that take no limits; limits grow until no term exceeds them."""
        limits = self._signed(self.pairs.visit(self._first_visit(), self.name, self.count)[0][:, -1])
        while True:
            pairs = self._not_beyond(limits)
            values, places = self.pairs.visit(pairs, self.name, self.count + 1)
            last = self._signed(values[:, self.count - 1])
            if (last <= limits).all():
                results = self._new_results(values.dtype)
                self._put_results(results, pairs, values, places)
                return results
            limits = np.maximum(last, limits)

    def _replace(
        self, blocks: Array, results: tuple[Array, Array], compute: Callable[[Selection], tuple[Array, Array]]
    ) -> None:
        """Compute the rows of some blocks by themselves, and write them into the results."""
        some = self.pairs.some(blocks)
        intervals = self.pairs.rows.partition.intervals[blocks]
        rows = self.pairs.rows.partition.order[np.concatenate([np.arange(*interval) for interval in intervals])]
        for result, part in zip(results, compute(Selection(some)), strict=True):
            if result.size:
                result[rows] = part
        self.pairs.visited.extend(some.visited)

    @property
    def _end(self) -> float:
        """The number that comes after all terms: inf, or -inf if the largest are selected."""
        return -np.inf if self.largest else np.inf

    def pairs_to_visit(self) -> Ranges:
        """The pairs of blocks that hold all terms of the result, up to rounding."""
        return self._not_beyond(self._first_terms())

    def _signed(self, terms: Array) -> Array:
        """Terms, or minus the terms if the largest are selected: the first term of the result is smallest."""
        return -terms if self.largest else terms

    def _first_terms(self) -> Array:
        """The K-th term of each row after the first visit, with the sign of `_signed`: (rows,)."""
        name, memory = "KMax" if self.largest else "KMin", None
        if self.terms is not None:
            memory = self.terms.first_visit(len(self.pairs.rows.partition.order))
        (values,) = self.pairs.visit(self._first_visit(), name, self.count, results=memory)
        return self._signed(values[:, -1].copy())  # the second visit overwrites the values

    def _first_visit(self) -> Ranges:
        """The blocks of columns whose terms are likely to be among the K first of a block of rows."""
        most = constant(self.bounds.precision.largest)
        middle = OPS["larger"](OPS["smaller"](self.bounds.low, most), -most) + self.bounds.high
        columns = self.pairs.columns.partition
        blocks = -(-self.count * columns.count // len(columns.order)) + _FIRST_VISITS
        return self.pairs.ranges(self.pairs.likely(middle, blocks))

    def _not_beyond(self, limits: Array) -> Ranges:
        """The pairs of blocks with terms that may be as small as the limit of a row, or smaller."""
        limit = variable("limit", 1, Domain.I)
        mask = OPS["less_equal"](self.bounds.low, limit)
        largest = np.maximum.reduceat(limits, self.pairs.rows.partition.intervals[:, 0])[:, None]
        return self.pairs.pairs_where(mask, {limit: largest})

    def _visit_up_to(self, pairs: Ranges, limits: Array) -> tuple[Array, Array]:
        """The first K + 1 terms of each row and their indices; terms beyond the limit of their row are left out."""
        limit = variable("limit of the row", 1, Domain.I)
        (value,) = self.pairs.program.values
        terms = up_to(value, limit, not self.largest)
        further = {limit: np.ascontiguousarray(self._signed(limits))[:, None]}
        memory = None if self.terms is None else self.terms.second_visit(len(limits))
        values, places = self.pairs.visit(pairs, self.name, self.count + 1, [terms], further, memory)
        return values, places

    # -------------------------------------------------------------------------------------------------------- results

    def _put_results(self, results: tuple[Array, Array], visited: Ranges, values: Array, places: Array) -> None:
        """Write results in the caller's order, made from K + 1 terms of each row and their places in the blocks."""
        by_rows = self.pairs.rows.partition.order
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

    def _new_results(self, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        name, shape = self.pairs.program.reduction.name, (len(self.pairs.rows.partition.order), self.count)
        return (
            np.zeros(0, dtype) if name.startswith("Arg") else np.empty(shape, dtype),
            np.empty(shape, np.int64) if "Arg" in name else np.zeros(0, np.int64),
        )

    def _numbers(self, terms: Array, places: Array) -> Array:
        """The caller's numbers of the columns of terms: (rows, K).

        -1 stands for a missing term, and for an infinite one that comes last, which kernels leave out.
        """
        terms, places = terms[:, : self.count], places[:, : self.count]
        numbers = self.pairs.columns.partition.order.take(places)  # the number at place -1 is replaced
        if ((places[:, -1] < 0) | (terms[:, -1] == self._end)).any():
            numbers[(places < 0) | (terms == self._end)] = -1
        return numbers

    def _put(self, results: tuple[Array, Array], rows: Array, terms: Array, numbers: Array) -> None:
        """Write terms and indices into the results of some rows of the caller, equal terms by their index."""
        equal = np.arange(0)
        if self.count > 1:  # the index of infinite terms that come last is -1, for all of them
            equal = np.flatnonzero(((terms[:, 1:] == terms[:, :-1]) & (terms[:, 1:] != self._end)).any(axis=1))
        if len(equal):
            # Numbers of -1 come last.
            keys = np.where(numbers[equal] < 0, np.iinfo(np.int64).max, numbers[equal])
            by = np.lexsort((keys, self._signed(terms[equal])), axis=1)
            terms, numbers = terms.copy(), numbers.copy()
            terms[equal] = np.take_along_axis(terms[equal], by, 1)
            numbers[equal] = np.take_along_axis(numbers[equal], by, 1)
        for result, part in zip(results, (terms, numbers), strict=True):
            if result.size:
                _whole_rows(result)[rows] = _whole_rows(part)

    def _settled(self, visited: Ranges, rows: Array) -> tuple[Array, Array]:
        """Terms and indices of rows whose last term is equal to the one after it.

        These ``rows``, which are ascending places in the order of the blocks, are computed again with columns in their
        original order, so that equal terms with the lowest indices are taken.
        """
        pairs = self.pairs
        values = np.empty((len(rows), self.count), pairs.dtype)
        places = np.empty((len(rows), self.count), np.int64)
        owner, count = pairs.owner[rows], pairs.rows.partition.count
        starts = np.searchsorted(visited.owners, np.arange(count + 1))
        lengths = np.zeros(count, np.int64)
        np.add.at(lengths, visited.owners, visited.pieces[:, 1] - visited.pieces[:, 0])
        blocks = np.unique(owner)
        # Each group of blocks of rows has about `_MOST_GATHERED` columns.
        group = np.cumsum(lengths[blocks]) // _MOST_GATHERED
        program, leaves = map_reduce(pairs.program.values, self.name, self.count)
        for number in np.unique(group):
            of_group = blocks[group == number]
            columns = [self._columns_in_order(visited.pieces[starts[b] : starts[b + 1]]) for b in of_group]
            ends = np.cumsum([len(part) for part in columns])
            of_rows = [rows[owner == b] for b in of_group]
            row_ends = np.cumsum([len(part) for part in of_rows])
            selected_rows, selected_columns = np.concatenate(of_rows), np.concatenate(columns)
            intervals = [
                np.stack((limits - [len(part) for part in parts], limits), axis=1)
                for limits, parts in ((row_ends, of_rows), (ends, columns))
            ]
            part = Ranges.of(intervals[0], np.arange(1, len(of_group) + 1), intervals[1])
            sides = {Domain.I: pairs.rows.partition.order[selected_rows], Domain.J: selected_columns}
            arrays = [
                np.ascontiguousarray(pairs.arrays[slot][sides[slot.domain]])
                if slot.domain in sides
                else pairs.arrays[slot]
                for slot in leaves
            ]
            terms, at = pairs.visit_arrays(part, program, arrays, len(selected_rows), len(selected_columns))
            at[terms == self._end] = -1
            places_in_rows = np.searchsorted(rows, selected_rows)
            values[places_in_rows] = terms
            places[places_in_rows] = np.where(at < 0, -1, selected_columns[at])
        return values, places

    def _columns_in_order(self, pieces: Array) -> Array:
        """The caller's numbers of the columns in some intervals of places, ascending."""
        order = self.pairs.columns.partition.order
        return np.sort(np.concatenate([order[start:end] for start, end in pieces]))


def _whole_rows(array: Array) -> Array:
    """The rows of an array (N, K) as single items, (N,), which NumPy moves in a fifth of the time.

    A view if the array is contiguous.
    """
    array = np.ascontiguousarray(array)
    return array.view(np.dtype((np.void, array.itemsize * array.shape[1])))[:, 0]
