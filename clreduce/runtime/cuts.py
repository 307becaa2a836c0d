"""Cuts a region into a tree whose leaves fit a memory budget. Executors walk the tree.

Cuts in i and between indices of a batch change no bit of a result. Cuts in j lie at the ends of the parts that kernels
make anyway, and states are merged from left to right, so they change no bit either. There are two exceptions: if a call
has one part only, or if ranges select its pairs, sums may differ within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from clreduce.runtime.blocks import Parts
from clreduce.runtime.budget import Budget
from clreduce.runtime.region import Region


@dataclass(frozen=True)
class Bytes:
    """The memory that a leaf takes on the device: arrays that it reads, results, and temporaries."""

    inputs: int
    outputs: int
    temporaries: int
    largest: int
    """The size of the largest buffer."""

    @property
    def total(self) -> int:
        """Inputs, outputs and temporaries together."""
        return self.inputs + self.outputs + self.temporaries

    def fits(self, budget: Budget) -> bool:
        """Whether the leaf fits into a budget."""
        return self.total <= budget.total and self.largest <= budget.buffer


@dataclass(frozen=True)
class LeafRegion:
    """A region that is computed in one call of a plan."""

    region: Region


@dataclass(frozen=True)
class Concatenation:
    """Blocks of rows, or of indices of a batch. Their results lie side by side."""

    region: Region
    children: tuple[Tree, ...]


@dataclass(frozen=True)
class MergedColumns:
    """Blocks of columns. Their states are merged from left to right."""

    region: Region
    children: tuple[LeafRegion, ...]


Tree: TypeAlias = "LeafRegion | Concatenation | MergedColumns"
Cost = Callable[[Region], Bytes]


@dataclass(frozen=True)
class Grain:
    """The granularity of cuts: they lie at multiples of these numbers."""

    rows: int
    """The rows of a work-group."""
    columns: int
    """The columns of one part of j if there are several parts; else of a tile."""


def cut(region: Region, cost: Cost, budget: Budget, grain: Grain) -> Tree | None:
    """The tree of a region; None if not even the smallest leaf fits. ``cost`` gives the memory of a part.

    >>> def cost(part):
    ...     return Bytes(12 * (part.rows + part.columns), 4 * part.rows, 0, 12 * max(part.rows, part.columns))
    >>> tree = cut(Region(10**6, 10**5), cost, Budget(2**22, 2**30), Grain(64, 1024))
    >>> type(tree).__name__, len(tree.children), {part.region.columns for part in leaves(tree)}
    ('Concatenation', 6, {100000})
    """
    if cost(region).fits(budget):
        return LeafRegion(region)
    if region.count > 1:
        return _cut_batch(region, cost, budget, grain)
    rows, columns = _block(region, cost, budget, grain)
    if not rows:
        return None
    blocks = [region.part(rows=part) for part in intervals(region.rows, rows)]
    children: list[Tree] = [
        LeafRegion(block)
        if columns >= block.columns
        else MergedColumns(
            block, tuple(LeafRegion(block.part(columns=part)) for part in intervals(block.columns, columns))
        )
        for block in blocks
    ]
    return children[0] if len(children) == 1 else Concatenation(region, tuple(children))


def leaves(tree: Tree) -> Iterator[LeafRegion]:
    """The leaves of a tree, in order."""
    if isinstance(tree, LeafRegion):
        yield tree
    else:
        for child in tree.children:
            yield from leaves(child)


def intervals(size: int, length: int) -> list[tuple[int, int]]:
    """The interval [0, size) cut into intervals of ``length``; the last may be shorter.

    >>> intervals(10, 4)
    [(0, 4), (4, 8), (8, 10)]
    """
    return [(start, min(start + length, size)) for start in range(0, size, length)]


def _cut_batch(region: Region, cost: Cost, budget: Budget, grain: Grain) -> Tree | None:
    """The tree of a region with a batch: blocks along the first batch dimension with several indices.

    If a single index does not fit, it is cut further.
    """
    axis = next(n for n, size in enumerate(region.batch) if size > 1)
    fixed = tuple((0, size) for size in region.batch[:axis])
    size = _largest(region.batch[axis], 1, lambda n: cost(region.part(indices=(*fixed, (0, n)))).fits(budget))
    children: list[Tree] = []
    for interval in intervals(region.batch[axis], max(size, 1)):
        part = region.part(indices=(*fixed, interval))
        tree: Tree | None = LeafRegion(part) if size else cut(part, cost, budget, grain)
        if tree is None:
            return None
        children.append(tree)
    return Concatenation(region, tuple(children))


def _block(region: Region, cost: Cost, budget: Budget, grain: Grain) -> tuple[int, int]:
    """The rows and columns of a leaf; (0, 0) if none fits.

    The leaf has all columns if they fit together with many rows: then no column is read twice, and no states are
    merged. Otherwise rows and columns take about half of the memory each.
    """

    def fits(rows: int, columns: int, part: Budget = budget) -> bool:
        return cost(region.part(rows=(0, rows), columns=(0, columns))).fits(part)

    rows = _largest(region.rows, grain.rows, lambda n: fits(n, region.columns))
    one_row = min(grain.rows, region.rows)
    half = replace(budget, total=cost(region.part(rows=(0, one_row), columns=(0, 0))).total + budget.total // 2)
    if rows == region.rows or (rows and fits(one_row, region.columns, half)):
        return rows, region.columns
    columns = _largest(region.columns, grain.columns, lambda n: fits(one_row, n, half))
    columns = columns or _largest(region.columns, grain.columns, lambda n: fits(one_row, n))
    if not columns:
        return 0, 0
    return _largest(region.rows, grain.rows, lambda n: fits(n, columns)), columns


def _largest(size: int, step: int, fits: Callable[[int], bool]) -> int:
    """``size`` if it fits, else the largest multiple of ``step`` that fits; 0 if none does."""
    if fits(size):
        return size
    low, high = 0, -(-size // step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle)
    return low * step


def grain_of(parts: Parts, columns: int, group_rows: int, tile: int) -> Grain:
    """The grain of a call whose j is cut into ``parts``."""
    return Grain(group_rows, parts.length if parts.count > 1 else max(1, min(tile, columns)))
