"""A sample of a large call, by NumPy: the part of its pairs that would be visited, before any point is sorted.

A few points are drawn, and sorted into blocks as all points would be. The bounds of some pairs of blocks, and the terms
of a few rows, tell which of these pairs would be visited. No kernel runs and no result is computed, so a sample takes
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.pruning.blocks import BlockPairs, without_positions
from clreduce.call.pruning.conditions import Conditions
from clreduce.call.pruning.cutting import CutPartition, Cuts, drawn, named_blocks, pairs_in
from clreduce.call.pruning.exponentials import Exponentials
from clreduce.call.pruning.places import places_of
from clreduce.call.pruning.request import DEFAULT, Pruning
from clreduce.call.pruning.selection import Selection
from clreduce.call.pruning.sides import Side, side_by_side
from clreduce.call.pruning.sums import Sums
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.partition import Boxes, Partition
from clreduce.reductions.reduction import Skips
from clreduce.runtime.ranges import CheckedRanges
from clreduce.runtime.region import Region
from clreduce.typing import Array

_FEWEST_POINTS, _POINTS = 512, 4096
"""Rows and columns that are drawn, at least and at most."""
_OF_PAIRS = 1 / 1024
"""The part of the pairs that these points have."""
_NUMBERS = 2**23
"""The most numbers in a table of all terms that are evaluated; long formulas get fewer points."""
_SMALLEST = 8
"""The fewest points of a block of the sample: a box around fewer says little of that around a block of all points."""
_BLOCKS = 8
"""Blocks of rows whose pairs are bounded."""
_ROWS = 4
"""Rows of each of these blocks whose terms are evaluated."""
_UNKNOWN = 0.5
"""The part that is visited if a sample says nothing."""


class Estimate(NamedTuple):
    """The part of a call that would be visited, judged by a sample."""

    part: float
    """The part of the pairs that would be visited, from 0 to 1."""
    rows: int
    """The rows of the sample; 0 if all of its points are nan or infinite."""
    columns: int


def estimated(
    work: Work, arrays: Sequence[Array], executor: Executor, block: tuple[int, int], limits: Array | None = None
) -> Estimate:
    """The part of a call that would be visited.

    ``block`` has the numbers of rows and of columns in a block of it, ``limits`` those of `BlockPairs.limits`.
    """
    sample = Sample.of(work, arrays, executor, block, limits)
    if sample is None:
        return Estimate(_UNKNOWN, 0, 0)
    with np.errstate(all="ignore"):
        part = _RULES[work.program.reduction.skips](sample)
    return Estimate(part, len(sample.pairs.rows.partition.order), len(sample.pairs.columns.partition.order))


class _Block(NamedTuple):
    """A block of the call."""

    size: int
    """Its points."""
    scale: float
    """Points of the call for each one of the sample."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some points of a call in blocks."""

    pairs: BlockPairs
    """The blocks of columns, and some of the blocks of rows."""
    pruning: Pruning
    scale: float
    """Columns of the call for each one of the sample."""
    named: Array
    """Whether the ranges of the call name a pair of blocks: (blocks of rows, blocks of columns)."""

    @classmethod
    def of(
        cls, work: Work, arrays: Sequence[Array], executor: Executor, block: tuple[int, int],
        limits: Array | None = None,
    ) -> Sample | None:  # fmt: skip
        """Draw points and sort them; None if too few of them are finite."""
        region, rng = work.region, np.random.default_rng(0)
        totals = {Domain.I: region.rows, Domain.J: region.columns}
        count = _points(work)
        drawn_by = {domain: _drawn(rng, total, count) for domain, total in totals.items()}
        arrays = [
            array[drawn_by[slot.domain]] if slot.domain in drawn_by else array
            for slot, array in zip(work.program.slots, arrays, strict=True)
        ]
        first = {Domain.I: region.first_row, Domain.J: region.first_column}
        positions = {domain: first[domain] + numbers for domain, numbers in drawn_by.items()}
        program, small = without_positions(work, arrays, positions)
        sides, blocks, cuts, places = {}, {}, _cuts(region, drawn_by), places_of(program)
        for domain, size in zip(drawn_by, block, strict=True):
            own = {slot: array for slot, array in small.items() if slot.domain == domain}
            points = side_by_side([array for slot, array in own.items() if slot in places])
            smaller = max(_SMALLEST, size * len(points) // totals[domain])
            if cuts is not None:
                near = cuts.partition(domain, points, smaller)
            else:
                nodes = _halved(points, smaller, _BLOCKS if domain == Domain.I else None, rng)
                if not nodes.size:
                    return None
                near = _equal_blocks(nodes)
            blocks[domain] = _Block(size, totals[domain] / len(points))
            sides[domain] = _side(near, own, places, blocks[domain], rng)
        rows, columns = sides[Domain.I], sides[Domain.J]
        named = np.ones((rows.partition.count, columns.partition.count), bool)
        if cuts is not None:
            of_blocks = cuts.in_blocks(rows.partition, columns.partition)
            chosen = np.unique(np.linspace(0, rows.partition.count - 1, _BLOCKS).astype(int))
            named = named_blocks(of_blocks, (0, rows.partition.count), columns.partition.count)[chosen]
            rows = _side(_some(rows.partition, chosen), rows.arrays, places, blocks[Domain.I], rng)
        pairs = BlockPairs(program, small, work.options, work.dtype, executor, rows, columns, careful=work.careful)
        pairs = pairs if limits is None else replace(pairs, limits=limits[drawn_by[Domain.I]])
        return cls(pairs, work.pruning or DEFAULT, blocks[Domain.J].scale, named)

    def part(self, visited: Array) -> float:
        """The part of the pairs in some pairs of blocks, (blocks of rows, blocks of columns)."""
        pairs = np.where(self.named, self.sizes, 0)
        return float((visited * pairs).sum() / max(pairs.sum(), 1))

    @cached_property
    def sizes(self) -> Array:
        """The points of each block of columns."""
        intervals = self.pairs.columns.partition.intervals
        return intervals[:, 1] - intervals[:, 0]

    def over_blocks(self, *formulas: Expr, further: Mapping[Expr, Array] | None = None) -> list[Array]:
        """The values of formulas over pairs of blocks: (blocks of rows, blocks of columns, D) each.

        ``further`` holds the values (blocks of rows, D) of variables other than those of `BlockPairs.ends`.
        """
        return self._evaluated(formulas, {**self.pairs.ends, **(further or {})}, *self.named.shape)

    @cached_property
    def terms(self) -> list[Array]:
        """The terms of some rows of each block, by formula: (blocks of rows, their rows, columns, D) each."""
        rows, columns, program = self.pairs.rows, self.pairs.columns, self.pairs.program
        numbers = np.minimum(rows.partition.intervals[:, :1] + np.arange(_ROWS), rows.partition.intervals[:, 1:] - 1)
        values = {
            slot: rows.ordered(slot)[numbers.ravel()] if slot.domain == Domain.I
            else columns.ordered(slot) if slot.domain == Domain.J else self.pairs.arrays[slot]
            for slot in program.slots
        }  # fmt: skip
        tables = self._evaluated(self.pairs.values, values, numbers.size, len(columns.partition.order))
        return [table.reshape(*numbers.shape, *table.shape[1:]) for table in tables]

    @cached_property
    def is_term(self) -> Array:
        """Whether a column is one of a block of rows: (blocks of rows, 1, columns, 1)."""
        return np.repeat(self.named, self.sizes, axis=1)[:, None, :, None]

    def _evaluated(
        self, formulas: Sequence[Expr], values: Mapping[Expr, Array], rows: int, columns: int
    ) -> list[Array]:
        shapes = {Domain.I: np.s_[:, None], Domain.J: np.s_[None, :], Domain.P: np.s_[None, None]}
        used = [leaf for leaf in topological(formulas) if leaf in values]
        tables = evaluate(formulas, {leaf: values[leaf][shapes[leaf.domain]] for leaf in used}, self.pairs.dtype)
        return [np.broadcast_to(table, (rows, columns, table.shape[-1])) for table in tables]


# ----------------------------------------------------------------------------------------------------------- the points


def _points(work: Work) -> int:
    """The number of rows and of columns to draw."""
    points = min(max(_FEWEST_POINTS, int((pairs_in(work.region) * _OF_PAIRS) ** 0.5)), _POINTS)
    longest = max(node.dim for node in topological(work.program.values))
    return min(points, max(_NUMBERS // (_BLOCKS * _ROWS * longest), 8 * _SMALLEST))


def _drawn(rng: np.random.Generator, total: int, count: int) -> Array:
    """Some of the numbers below ``total``, ascending."""
    return np.sort(rng.choice(total, min(total, count), replace=False))


def _cuts(region: Region, drawn_by: Mapping[Domain, Array]) -> Cuts | None:
    """The pieces into which the ranges of a call cut the points of a sample; None without ranges."""
    if region.pairs is None:
        return None
    rows, columns = drawn_by[Domain.I], drawn_by[Domain.J]
    ranges = CheckedRanges.by_rows(drawn(region.pairs, rows, columns), len(rows), len(columns))
    return Cuts.of(Region(len(rows), len(columns), ranges=ranges))


def _halved(points: Array, size: int, most: int | None, rng: np.random.Generator) -> Array:
    """The numbers of finite points in blocks of about ``size``, (blocks, points), halved along their widest sides.

    Of more than ``most`` blocks, some are left out: one half of each node that is halved from there on.
    """
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    levels = max(round(np.log2(max(len(finite), 1) / size)), 0)
    length = len(finite) >> levels
    nodes = finite[np.arange(length << levels) * len(finite) // max(length << levels, 1)][None]
    for _ in range(levels):
        here = points[nodes]
        widest = (here.max(axis=1) - here.min(axis=1)).argmax(axis=1)
        keys = here[np.arange(len(nodes))[:, None], np.arange(nodes.shape[1]), widest[:, None]]
        half = nodes.shape[1] // 2
        nodes = np.take_along_axis(nodes, np.argpartition(keys, half, axis=1), 1).reshape(-1, 2, half)
        if most is not None and 2 * len(nodes) > most:
            nodes = nodes[np.arange(len(nodes)), rng.integers(0, 2, len(nodes))]
        nodes = nodes.reshape(-1, half)
    blocks: Array = nodes
    return blocks


def _equal_blocks(nodes: Array) -> CutPartition:
    count, length = nodes.shape
    return CutPartition(nodes.ravel(), length, np.arange(count) * length)


def _side(
    near: CutPartition, arrays: Mapping[Expr, Array], places: Collection[Expr], block: _Block, rng: np.random.Generator
) -> Side:
    """Points in blocks, with boxes that are as large as those of the blocks of the call.

    If ``block.scale`` points of the call stand behind each point, a block of the sample stands for a larger one. It is
    cut further into blocks of the call, as if its points were spread evenly; the box of one of them is taken.
    """
    count = np.diff(near.intervals, axis=1)
    cuts = np.round(np.log2(np.maximum(count * block.scale / block.size, 1))).astype(int)
    side, boxes = Side(near, arrays), {}
    for slot, array in arrays.items():
        boxes[slot] = near.boxes(side.ordered(slot))
        if array.dtype.kind == "f":
            boxes[slot] = _grown(boxes[slot], count, block.size)
    slots = [slot for slot in places if slot in boxes and arrays[slot].dtype.kind == "f"]
    if slots and cuts.any():
        low, high = (np.concatenate(ends, axis=1) for ends in zip(*(boxes[slot][:2] for slot in slots), strict=True))
        _cut_boxes(low, high, cuts[:, 0], rng)
        ends = np.cumsum([boxes[slot].low.shape[1] for slot in slots])[:-1]
        for slot, *box in zip(slots, np.split(low, ends, 1), np.split(high, ends, 1), strict=True):
            boxes[slot] = Boxes(box[0], box[1], boxes[slot].nan)
    return Side(near, arrays, boxes=boxes)


def _grown(boxes: Boxes, count: Array, size: int) -> Boxes:
    """Boxes around ``count`` points each, (B, 1), as large as if they had ``size`` points.

    The range of n numbers is, on average, the part (n - 1) / (n + 1) of the interval from which they are drawn.
    """
    few = np.maximum(count, 2)
    growth = np.maximum((few + 1) / (few - 1) * (size - 1) / (size + 1), 1)
    with np.errstate(all="ignore"):
        beyond = ((growth - 1) / 2 * (boxes.high - boxes.low)).astype(boxes.low.dtype)
        low = np.maximum(boxes.low - beyond, boxes.low.min(axis=0))
        high = np.minimum(boxes.high + beyond, boxes.high.max(axis=0))
    return Boxes(low, high, boxes.nan)


def _cut_boxes(low: Array, high: Array, cuts: Array, rng: np.random.Generator) -> None:
    """Halve the widest side of each box as often as ``cuts``, (B,), says, in place, and take one of the halves."""
    for number in range(cuts.max(initial=0)):
        cut = np.flatnonzero(cuts > number)
        side = (high[cut] / 2 - low[cut] / 2).argmax(axis=1)
        middle = low[cut, side] / 2 + high[cut, side] / 2
        upper = rng.integers(0, 2, len(cut)).astype(bool)
        low[cut[upper], side[upper]] = middle[upper]
        high[cut[~upper], side[~upper]] = middle[~upper]


def _some(near: Partition, blocks: Array) -> CutPartition:
    """Some of the blocks."""
    parts = [near.order[start:end] for start, end in near.intervals[blocks]]
    lengths = [len(part) for part in parts]
    return CutPartition(np.concatenate(parts), near.size, np.cumsum(lengths) - lengths)


# ------------------------------------------------------------------------------------------------------------ the rules


def _of_selection(sample: Sample) -> float:
    """A block is visited if it may hold a term up to the K-th of a row."""
    selection = Selection(sample.pairs)
    (low,) = sample.over_blocks(selection.bounds.low)
    terms = -sample.terms[0] if selection.largest else sample.terms[0]
    terms = np.where(sample.is_term & ~np.isnan(terms), terms, np.inf)[..., 0]
    place = min(int(selection.count / sample.scale), terms.shape[-1] - 1)
    limits = np.partition(terms, place, axis=-1)[..., place].max(axis=1)
    if sample.pairs.limits is not None:
        starts = sample.pairs.rows.partition.intervals[:, 0]
        limits = np.minimum(limits, np.maximum.reduceat(selection.known_limits, starts))
    return sample.part(low[..., 0] <= limits[:, None])


def _of_sum(sample: Sample) -> float:
    """A block is visited if its terms do not fit in the tolerance."""
    sums, pruning = Sums(sample.pairs, sample.pruning), sample.pruning
    count: float | Array = 1.0
    (sizes,) = sample.over_blocks(sums.sizes)
    sizes = np.where(sizes > 0, sizes.astype(np.float64) * sample.scale, 0)
    if sample.pairs.program.reduction.name == "Mean":
        count = (sample.named @ sample.sizes)[:, None] * sample.scale

    def part(least: Array) -> float:
        allowed = (pruning.atol * count + pruning.rtol * least) / (1 + pruning.rtol)
        return _beyond_tolerance(sample, (sizes / allowed[:, None]).max(axis=2))

    if not pruning.rtol:
        return part(np.zeros((1, 1)))
    terms = np.where(sample.is_term, sample.terms[0].astype(np.float64), 0)
    least = _least(terms.sum(axis=2) * sample.scale)
    largest = (sizes / (sample.sizes[:, None] * sample.scale)).max(axis=1)
    return _with_near_terms(part, least, np.where(np.isfinite(largest), least + largest, least))


def _of_exponentials(sample: Sample) -> float:
    """A block is visited if its exponentials do not fit in the tolerance."""
    rule, pruning, scale = Exponentials(sample.pairs, sample.pruning), sample.pruning, None
    terms = np.where(sample.is_term, sample.terms[0].astype(np.float64), -np.inf)
    largest = terms.max(axis=2, keepdims=True)
    weights = np.exp(terms - np.where(np.isfinite(largest), largest, 0))
    total = weights.sum(axis=2)
    results = largest[:, :, 0] + np.log(total * sample.scale)
    lower = np.fmin.reduce(results, axis=1)
    if rule.averages:
        scale = sample.over_blocks(rule.size_of_averaged)[0].astype(np.float64).max(axis=(1, 2))[:, None]
        results = (weights * sample.terms[1]).sum(axis=2) / total
    allowed = (pruning.atol + pruning.rtol * _least(results)) / (1 + pruning.rtol)

    def part(lower: Array) -> float:
        (shares,) = sample.over_blocks(rule.share[0], further=rule.needs(lower, scale, allowed))
        return _beyond_tolerance(sample, shares[..., 0].astype(np.float64) * sample.scale)

    highest = sample.over_blocks(rule.highest)[0].max(axis=1)
    return _with_near_terms(part, lower, np.where(highest < np.inf, np.maximum(lower, highest), lower))


def _with_near_terms(part: Callable[[Array], float], by_terms: Array, by_bounds: Array) -> float:
    """The part that is visited, for two estimates of the results.

    A sample lacks most of the columns next to a row. Where these make up its result, the estimate by terms is too low,
    and more seems to be visited than is. The estimate by bounds is too high, so it only says that much is visited.
    """
    result = part(by_terms)
    return result if result < _UNKNOWN or (by_bounds <= by_terms).all() else max(part(by_bounds), _UNKNOWN)


def _least(results: Array) -> Array:
    """The smallest absolute values of the results (blocks, rows, D) of each block; 0 for infinities and nan."""
    least: Array = np.where(np.isfinite(results), np.abs(results), 0).min(axis=1)
    return least


def _beyond_tolerance(sample: Sample, shares: Array) -> float:
    """The part in blocks whose shares of the tolerance, and those of all smaller ones, add up to more than 1."""
    shares = np.where(sample.named & (shares > 0), shares, 0)
    order = np.argsort(shares, axis=1)
    beyond = np.empty(shares.shape, bool)
    np.put_along_axis(beyond, order, ~(np.cumsum(np.take_along_axis(shares, order, 1), axis=1) <= 1), 1)
    return sample.part(beyond)


def _of_condition(sample: Sample) -> float:
    """A block is visited if the condition may hold for some of its terms only, and no other block settles the row."""
    known, holds = sample.over_blocks(*Conditions(sample.pairs).known)
    known = known & sample.named[..., None]
    settling = {"Count": known & False, "Any": known & (holds > 0), "All": known & (holds == 0)}
    settled = settling[sample.pairs.program.reduction.name].any(axis=1).all(axis=1)
    return sample.part(~known[..., 0] & ~settled[:, None])


_RULES: dict[Skips, Callable[[Sample], float]] = {
    Skips.ABOVE: _of_selection, Skips.BELOW: _of_selection, Skips.ZEROS: _of_condition, Skips.HOLDING: _of_condition,
    Skips.SMALL: _of_sum, Skips.SMALL_EXPONENTIALS: _of_exponentials,
}  # fmt: skip
"""The rule of each kind: the part of the pairs that would be visited."""
