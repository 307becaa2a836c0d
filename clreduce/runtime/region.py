"""`Region`: a rectangle of pairs, as a value. To cut a call means to cut its region into smaller regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.typing import SomeArray

if TYPE_CHECKING:
    from typing_extensions import Self

Interval = tuple[int, int]
Slices = tuple[slice, ...]
"""The place of a part of an array: slices of its first axes."""


@dataclass(frozen=True)
class Region:
    """Rows and columns of a call, at each index of a batch. ``ranges`` may restrict their pairs.

    Row n of the region is row ``first_row + n`` of the whole call, and columns are numbered likewise. A region contains
    no array and no device, so it can be sent to another process.

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
    """The first index of the batch; empty if the region begins at index 0 of each batch dimension."""
    ranges: CheckedRanges | None = None
    """The pairs of the whole call that are visited; None for all."""
    row_domain: Domain = Domain.I
    """The caller's index for the rows: ``Domain.I``, or ``Domain.J`` for a reduction over i."""
    once: bool = False
    """Whether pairs that ranges repeat count once, as in derivatives of terms that an index has selected."""

    @cached_property
    def count(self) -> int:
        """The number of indices of the batch."""
        return prod(self.batch)

    @cached_property
    def area(self) -> int:
        """The number of pairs of the rectangle, at all indices of the batch together."""
        return self.rows * self.columns * self.count

    @property
    def pairs(self) -> Ranges | None:
        """The pairs that are visited, rows and columns numbered from 0 in this region; None for all."""
        if self.ranges is None:
            return None
        pairs = self.ranges.pairs(self.row_domain, self.once)
        if self.first_row or self.first_column or not self.ranges.spans(self.row_domain, self.rows, self.columns):
            rows = (self.first_row, self.first_row + self.rows)
            columns = (self.first_column, self.first_column + self.columns)
            return pairs.within(rows, columns)
        return pairs

    def part(
        self, rows: Interval | None = None, columns: Interval | None = None, indices: tuple[Interval, ...] = ()
    ) -> Self:
        """The region of some rows, columns and indices of the batch, as intervals [start, stop) in this region.

        ``indices`` has an interval for each of the first dimensions of the batch. None or nothing means all.
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
        """This region with rows and columns exchanged; with ``once``, repeated pairs count once."""
        return replace(
            self, rows=self.columns, columns=self.rows, first_row=self.first_column, first_column=self.first_row,
            row_domain=self.row_domain.swapped(), once=self.once or once,
        )  # fmt: skip

    def parts_of(
        self, whole: Region, slots: Sequence[Expr], arrays: Sequence[SomeArray]
    ) -> Iterator[tuple[SomeArray, Slices]]:
        """Each array of ``whole``, a region that contains this one, with the place of the part that this region reads.

        A batch dimension of size 1 serves all indices, so it is taken whole.
        """
        axes = len(self.batch)
        for slot, array in zip(slots, arrays, strict=True):
            place = self.within(whole, slot.domain)
            shared = tuple(
                slice(None) if size == 1 else index for size, index in zip(array.shape[:axes], place, strict=False)
            )
            yield array, shared + place[axes:]

    def within(self, whole: Region, domain: Domain) -> Slices:
        """The place of this region's data in an array (batch.., rows, D), (batch.., columns, D) or (batch.., D).

        The array has the data of ``whole``, a region that contains this one, and depends on ``domain``.
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
