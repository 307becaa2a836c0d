"""Chunks of a call in the order in which they are stored: boxes tell which pairs matter before points are sorted.

A chunk of rows and a chunk of columns are cut into a few slices of adjacent points each. One pass over the points makes
the boxes around these slices, and NumPy bounds the terms of each pair of slices. If points are stored by their place in
space, most pairs of chunks end here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.pruning.blocks import BlockPairs, without_positions
from clreduce.call.pruning.conditions import Conditions
from clreduce.call.pruning.exponentials import Exponentials
from clreduce.call.pruning.request import DEFAULT
from clreduce.call.pruning.selection import Selection
from clreduce.call.pruning.sides import Side
from clreduce.call.pruning.sums import Sums
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.partition import Boxes, Partition
from clreduce.reductions.reduction import Skips
from clreduce.runtime.region import Interval
from clreduce.typing import Array

SLICES = 16
"""Slices of a chunk."""
_SIDE_BY_SIDE = 64
"""Points that one step of NumPy compares."""
_ROUNDED = 1 + 2.0**-14
"""Room for rounding errors of a sum of bounds."""


@dataclass(frozen=True, eq=False)
class Beside:
    """Facts on the rows of a part of a call, from other columns of that call."""

    limits: Array | None = None
    """(batch.., rows): no result has a term beyond these; None if nothing is known."""
    logarithms: Array | None = None
    """(batch.., rows, D): lower bounds of the logarithm of the sum of all exponentials; None if nothing is known."""
    error: float = 0.0
    """The largest change of that logarithm by all exponentials that the part may leave out."""

    def at(self, index: tuple[int | slice, ...]) -> Beside:
        """The facts on some rows, or on an index of the batch."""
        return replace(
            self, limits=None if self.limits is None else self.limits[index],
            logarithms=None if self.logarithms is None else self.logarithms[index],
        )  # fmt: skip


@dataclass(frozen=True)
class StoredSlices(Partition):
    """Points as they are stored, in slices of nearly equal sizes."""

    edges: Array
    """(S + 1,): where slices begin, and the number of points."""

    @classmethod
    def of(cls, points: int, most: int = SLICES) -> StoredSlices:
        """At most ``most`` slices of some points, none of them empty.

        >>> StoredSlices.of(10, 4).edges
        array([ 0,  2,  5,  7, 10])
        """
        count = max(1, min(most, points))
        return cls(np.zeros(0, np.int64), -(-points // count), np.arange(count + 1) * points // count)

    @property
    def count(self) -> int:
        return len(self.edges) - 1

    @property
    def intervals(self) -> Array:
        return np.stack((self.edges[:-1], self.edges[1:]), axis=1)

    def boxes(self, ordered: Array) -> Boxes:
        ends = [_ends(ordered[start:end]) for start, end in self.intervals]
        low, high, nan = (np.stack(column) for column in zip(*ends, strict=True))
        return Boxes(low, high, nan)


def _ends(points: Array) -> tuple[Array, Array, Array]:
    """The ends of the box around points, and whether components are nan: (D,) each."""
    low, high = _extreme(np.minimum, points), _extreme(np.maximum, points)
    nan = np.isnan(low) if points.dtype.kind == "f" else np.zeros(low.shape, bool)
    if nan.any():
        low, high = np.fmin.reduce(points, axis=0), np.fmax.reduce(points, axis=0)
        low, high = (np.where(np.isnan(end), end.dtype.type(0), end) for end in (low, high))
    return low, high, nan


def _extreme(function: np.ufunc, points: Array) -> Array:
    """The smallest or largest value of each component, (D,): several points side by side make a long vector."""
    whole = len(points) // _SIDE_BY_SIDE * _SIDE_BY_SIDE
    if not whole or not points.flags.c_contiguous:
        few: Array = function.reduce(points, axis=0)
        return few
    wide = points[:whole].reshape(-1, _SIDE_BY_SIDE * points.shape[1])
    each = function.reduce(wide, axis=0).reshape(_SIDE_BY_SIDE, points.shape[1])
    extreme: Array = function.reduce(np.concatenate((each, points[whole:])), axis=0)
    return extreme


@dataclass(frozen=True, eq=False)
class Chunks:
    """A part of a call, which has no batch, in slices of its rows and columns."""

    work: Work
    pairs: BlockPairs

    @classmethod
    def of(cls, work: Work, arrays: Sequence[Array], executor: Executor) -> Chunks:
        """The slices of a work, from its arrays."""
        program, by_slot = without_positions(work, arrays)
        sides = {}
        for domain, points in ((Domain.I, work.region.rows), (Domain.J, work.region.columns)):
            own = {slot: array for slot, array in by_slot.items() if slot.domain == domain}
            sides[domain] = Side(StoredSlices.of(points), own, ordered=own)
        rows, columns = sides[Domain.I], sides[Domain.J]
        pairs = BlockPairs(
            program, by_slot, work.options, work.dtype, executor, rows, columns, careful=work.careful
        )  # fmt: skip
        return cls(work, pairs)

    def window(self, beside: Beside) -> tuple[Interval, Interval] | None:
        """Intervals of rows and of columns that hold all pairs which may matter; None if no pair does."""
        needed = self._needed(beside)
        if not needed.any():
            return None
        rows, columns = (np.flatnonzero(needed.any(axis=axis)) for axis in (1, 0))
        return self._interval(self.pairs.rows, rows), self._interval(self.pairs.columns, columns)

    @staticmethod
    def _interval(side: Side, slices: Array) -> Interval:
        intervals = side.partition.intervals
        return int(intervals[slices[0], 0]), int(intervals[slices[-1], 1])

    def _needed(self, beside: Beside) -> Array:
        """Whether each pair of slices may matter: (slices of rows, slices of columns)."""
        skips = self.work.program.reduction.skips
        everything = np.ones((self.pairs.rows.partition.count, self.pairs.columns.partition.count), bool)
        if skips.selects and beside.limits is not None:
            selection = Selection(self.pairs)
            limits = _signed_limits(selection, beside.limits)
            largest = np.maximum.reduceat(limits, self.pairs.rows.partition.intervals[:, 0])
            within: Array = self._over_pairs(selection.bounds.low)[..., 0] <= largest[:, None]
            return within
        if skips in (Skips.ZEROS, Skips.HOLDING):
            known, holds = map(self._over_pairs, Conditions(self.pairs).known)
            is_settled: Array = known[..., 0].astype(bool) & (holds == (skips is Skips.HOLDING)).all(axis=2)
            return ~is_settled
        if skips is Skips.SMALL:
            is_large: Array = (self.sizes.sum(axis=1) > (self.work.pruning or DEFAULT).atol).any(axis=1)
            return everything & is_large[:, None]
        if skips is Skips.SMALL_EXPONENTIALS and beside.logarithms is not None:
            highest = self._over_pairs(Exponentials(self.pairs, self.work.pruning or DEFAULT).highest)
            starts = self.pairs.rows.partition.intervals[:, 0]
            lower = np.minimum.reduceat(np.nan_to_num(beside.logarithms, nan=-np.inf, posinf=-np.inf), starts)
            sizes = np.diff(self.pairs.columns.partition.intervals, axis=1)
            exponents = highest.astype(np.float64) - lower[:, None]
            with np.errstate(over="ignore", invalid="ignore"):
                sums = np.where(highest > -np.inf, np.exp(exponents) * sizes, 0).sum(axis=1)
            is_small: Array = (_ROUNDED * sums <= -np.expm1(-beside.error)).all(axis=1)
            return everything & ~is_small[:, None]
        return everything

    def needed(self) -> Array:
        """Whether each pair of slices may matter if nothing but boxes is known: (slices of rows, slices of columns)."""
        return self._needed(Beside(limits=self._limits()) if self.work.program.reduction.skips.selects else Beside())

    @cached_property
    def highest(self) -> Array:
        """Upper bounds of the terms of a selection, or of minus the terms if the largest are selected; inf if a term
        may be nan: (slices of rows, slices of columns)."""
        bounds = Selection(self.pairs).bounds
        high = self._over_pairs(bounds.high)[..., 0]
        return high if bounds.nan is None else np.where(self._over_pairs(bounds.nan)[..., 0] > 0, np.inf, high)

    @cached_property
    def sizes(self) -> Array:
        """The largest change of a sum by the terms of each pair: (slices of rows, slices of columns, D), float64."""
        sums = Sums(self.pairs, self.work.pruning or DEFAULT)
        return _ROUNDED * self._over_pairs(sums.sizes).astype(np.float64)

    def _limits(self) -> Array:
        """For each row, a number that at least K of its terms are not beyond, by their bounds: (rows,)."""
        selection = Selection(self.pairs)
        order = np.argsort(self.highest, axis=1)
        sizes = np.diff(self.pairs.columns.partition.intervals, axis=1)[:, 0]
        enough = np.cumsum(sizes[order], axis=1) >= selection.count
        last = np.where(enough.any(axis=1), enough.argmax(axis=1), -1)
        ordered = np.take_along_axis(self.highest, order, axis=1)
        limits = np.where(last < 0, np.inf, ordered[np.arange(len(order)), last])
        intervals = self.pairs.rows.partition.intervals
        of_rows: Array = np.repeat(limits, intervals[:, 1] - intervals[:, 0])
        return -of_rows if selection.largest else of_rows

    def _over_pairs(self, f: Expr) -> Array:
        """A formula in the ends of boxes, for each pair of slices: (slices of rows, slices of columns, D)."""
        (values,) = evaluate([f], self._leaves, self.work.dtype)
        sides = self.pairs.rows.partition.count, self.pairs.columns.partition.count
        return np.broadcast_to(values, (*sides, f.dim))

    @cached_property
    def _leaves(self) -> Mapping[Expr, Array]:
        """The ends of boxes and the parameters, in shapes that broadcast over pairs of slices."""
        leaves = {}
        for leaf, values in self.pairs.ends.items():
            array = np.asarray(
                values, np.int64 if leaf.kind == INDEX else self.work.dtype if leaf.kind == REAL else None
            )
            leaves[leaf] = (
                array[:, None] if leaf.domain == Domain.I else array[None] if leaf.domain == Domain.J else array
            )
        return leaves


def results_over_nothing(work: Work) -> tuple[Array, ...]:
    """The results of rows that have visited no column, as a reduction of pairs that are skipped has them."""
    neutral = {slot.kind: slot.neutral for slot in reversed(work.program.state_slots)}
    return tuple(
        np.full(
            (*work.region.batch, work.region.rows, output.dim), neutral[output.kind],
            np.int64 if output.kind == INDEX else work.dtype,
        )
        for output in work.program.outputs
    )  # fmt: skip


def _signed_limits(selection: Selection, limits: Array) -> Array:
    """Limits in the sign of bounds; inf where nothing is known."""
    return np.nan_to_num(-limits if selection.largest else limits, nan=np.inf, posinf=np.inf, neginf=-np.inf)
