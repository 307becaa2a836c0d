"""`Region`: a rectangle of pairs, as a value. Every cut of a call is a cut of its region into others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.runtime.ranges import CheckedRanges, Ranges

if TYPE_CHECKING:
    from typing_extensions import Self

Interval = tuple[int, int]
Place = tuple[slice, ...]
"""Where a part of an array is: slices of its first axes."""


@dataclass(frozen=True)
class Region:
    """Rows and columns of a call, at each index of a batch; of these pairs perhaps only those that ranges name.

    Rows and columns keep the numbers that they have in the whole call: row n of the region is number
    ``first_row + n``. No array and no device is in it, and it crosses the border of a process.

    >>> part = Region(rows=100, columns=50).part(rows=(60, 100), columns=(0, 20))
    >>> part.rows, part.columns, part.first_row, part.first_column
    (40, 20, 60, 0)
    """

    rows: int
    columns: int
    batch: tuple[int, ...] = ()
    first_row: int = 0
    first_column: int = 0
    first_index: tuple[int, ...] = ()
    """Of the batch; empty: it begins at its first index."""
    ranges: CheckedRanges | None = None
    """Which pairs of the whole call are visited; None for all."""
    kept: Domain = Domain.I
    """The caller's name for the index of the rows."""
    once: bool = False
    """Whether pairs that the ranges list several times count once: where an index has selected one term."""

    @cached_property
    def count(self) -> int:
        """The number of indices of the batch."""
        return prod(self.batch)

    @cached_property
    def area(self) -> int:
        """The number of pairs of the rectangle, at all indices of the batch."""
        return self.rows * self.columns * self.count

    @property
    def pairs(self) -> Ranges | None:
        """The pairs that are visited, rows and columns numbered from 0 in this region; None for all."""
        if self.ranges is None:
            return None
        pairs = self.ranges.pairs(self.kept, self.once)
        if self.first_row or self.first_column or not self.ranges.spans(self.kept, self.rows, self.columns):
            rows = (self.first_row, self.first_row + self.rows)
            columns = (self.first_column, self.first_column + self.columns)
            return pairs.within(rows, columns)
        return pairs

    def part(
        self, rows: Interval | None = None, columns: Interval | None = None, indices: tuple[Interval, ...] = ()
    ) -> Self:
        """The region of these rows, columns and indices of the batch, each [start, stop) counted in this region.

        ``indices``: one interval for each of the first dimensions of the batch.
        """
        (row, rows_end), (column, columns_end) = rows or (0, self.rows), columns or (0, self.columns)
        begin = self.first_index or (0,) * len(self.batch)
        return replace(
            self,
            rows=rows_end - row,
            columns=columns_end - column,
            batch=(*(stop - start for start, stop in indices), *self.batch[len(indices) :]),
            first_row=self.first_row + row,
            first_column=self.first_column + column,
            first_index=(
                *(first + start for first, (start, _) in zip(begin, indices, strict=False)),
                *begin[len(indices) :],
            ),
        )

    def flipped(self, once: bool = False) -> Self:
        """This region with rows and columns exchanged; ``once``: also count each pair once."""
        return replace(
            self, rows=self.columns, columns=self.rows, first_row=self.first_column, first_column=self.first_row,
            kept=self.kept.swapped(), once=self.once or once,
        )  # fmt: skip

    def parts_of(self, whole: Region, slots: Sequence[Expr], arrays: Sequence[Any]) -> Iterator[tuple[Any, Place]]:
        """Each array of ``whole``, a region that this one is part of, and the place in it that this one reads.

        Dimensions of a batch in which an array has size 1 serve all indices.
        """
        axes = len(self.batch)
        for slot, array in zip(slots, arrays, strict=True):
            place = self.within(whole, slot.domain)
            shared = tuple(
                slice(None) if size == 1 else index for size, index in zip(array.shape[:axes], place, strict=False)
            )
            yield array, shared + place[axes:]

    def within(self, whole: Region, domain: Domain) -> Place:
        """Where the data of this region are in an array (batch.., rows, D), (batch.., columns, D) or (batch.., D).

        The array holds the data of ``whole``, a region that this one is part of; ``domain``: on which index it depends.
        """
        own = self.first_index or (0,) * len(self.batch)
        outer = whole.first_index or (0,) * len(whole.batch)
        place = [slice(a - b, a - b + size) for a, b, size in zip(own, outer, self.batch, strict=True)]
        if domain == Domain.I:
            place.append(slice(self.first_row - whole.first_row, self.first_row - whole.first_row + self.rows))
        elif domain == Domain.J:
            start = self.first_column - whole.first_column
            place.append(slice(start, start + self.columns))
        return tuple(place)
