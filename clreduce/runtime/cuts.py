"""How a region is cut: into a tree whose leaves fit a budget. Who walks the tree is an executor.

Cuts in i, and between indices of a batch, change no bit of a result. Those in j are made where the parts end that the
kernels make anyway, and states are merged from left to right: then they change no bit either. Where a call has one part
only, or visits the pairs that ranges name, results of sums differ within rounding.
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
    """What a leaf takes: of arrays that it reads, of results, and of what is kept on the device in between."""

    inputs: int
    outputs: int
    temporaries: int
    largest: int
    """The largest buffer of them."""

    @property
    def total(self) -> int:
        """All of them together."""
        return self.inputs + self.outputs + self.temporaries

    def fits(self, budget: Budget) -> bool:
        """Whether that is in a budget."""
        return self.total <= budget.total and self.largest <= budget.buffer


@dataclass(frozen=True)
class Leaf:
    """A region that is computed at once."""

    region: Region


@dataclass(frozen=True)
class Concatenation:
    """Results that stand side by side: blocks of rows, or of indices of a batch."""

    region: Region
    children: tuple[Tree, ...]


@dataclass(frozen=True)
class Merge:
    """States of blocks of columns, which are merged from left to right."""

    region: Region
    children: tuple[Leaf, ...]


Tree: TypeAlias = "Leaf | Concatenation | Merge"
Cost = Callable[[Region], Bytes]


@dataclass(frozen=True)
class Grain:
    """Where cuts may be: at multiples of these numbers."""

    rows: int
    """Rows of a work-group."""
    columns: int
    """Columns of one part of j, if there are several; else of a tile."""


def cut(region: Region, cost: Cost, budget: Budget, grain: Grain) -> Tree | None:
    """The tree of a region; None if not even its smallest leaf fits. ``cost`` tells what a part of the region takes.

    >>> def cost(part):
    ...     return Bytes(12 * (part.rows + part.columns), 4 * part.rows, 0, 12 * max(part.rows, part.columns))
    >>> tree = cut(Region(10**6, 10**5), cost, Budget(2**22, 2**30), Grain(64, 1024))
    >>> type(tree).__name__, len(tree.children), {part.region.columns for part in leaves(tree)}
    ('Concatenation', 6, {100000})
    """
    if cost(region).fits(budget):
        return Leaf(region)
    if region.count > 1:
        return _cut_batch(region, cost, budget, grain)
    rows, columns = _block(region, cost, budget, grain)
    if not rows:
        return None
    blocks = [region.part(rows=part) for part in intervals(region.rows, rows)]
    children: list[Tree] = [
        Leaf(block)
        if columns >= block.columns
        else Merge(block, tuple(Leaf(block.part(columns=part)) for part in intervals(block.columns, columns)))
        for block in blocks
    ]
    return children[0] if len(children) == 1 else Concatenation(region, tuple(children))


def leaves(tree: Tree) -> Iterator[Leaf]:
    """The leaves of a tree, in order."""
    if isinstance(tree, Leaf):
        yield tree
    else:
        for child in tree.children:
            yield from leaves(child)


def intervals(size: int, length: int) -> list[tuple[int, int]]:
    """[0, size) in intervals of a length, the last perhaps shorter.

    >>> intervals(10, 4)
    [(0, 4), (4, 8), (8, 10)]
    """
    return [(start, min(start + length, size)) for start in range(0, size, length)]


def _cut_batch(region: Region, cost: Cost, budget: Budget, grain: Grain) -> Tree | None:
    """Blocks of indices of the first dimension of the batch that has several; single ones are cut further."""
    axis = next(n for n, size in enumerate(region.batch) if size > 1)
    fixed = tuple((0, size) for size in region.batch[:axis])
    size = _largest(region.batch[axis], 1, lambda n: cost(region.part(indices=(*fixed, (0, n)))).fits(budget))
    children: list[Tree] = []
    for interval in intervals(region.batch[axis], max(size, 1)):
        part = region.part(indices=(*fixed, interval))
        tree: Tree | None = Leaf(part) if size else cut(part, cost, budget, grain)
        if tree is None:
            return None
        children.append(tree)
    return Concatenation(region, tuple(children))


def _block(region: Region, cost: Cost, budget: Budget, grain: Grain) -> tuple[int, int]:
    """Rows and columns of a leaf; (0, 0) if none fits.

    All columns, if there is room for them beside many rows: then no column is read twice and no state is merged. Else
    about as many bytes for rows as for columns.
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
    """The largest multiple of ``step`` below ``size``, or ``size``, that fits; 0 if none does."""
    if fits(size):
        return size
    low, high = 0, -(-size // step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle)
    return low * step


def grain_of(parts: Parts, columns: int, group_rows: int, tile: int) -> Grain:
    """The grain of calls whose j has these parts."""
    return Grain(group_rows, parts.length if parts.count > 1 else max(1, min(tile, columns)))
