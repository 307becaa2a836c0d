"""Terms that wait to enter a row's state: each lane fills places of its own, and all enter together once it is full.

To insert a term into a sorted list costs the same for one lane as for all. Where lanes need it at different columns,
most of that work would be for nothing. If the list is long, the queue is sorted too, and then merged into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clreduce.codegen.kernel import Assign, Call, Declare, Loop, Statement
from clreduce.codegen.sorting import Sorting
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable

BLOCK = 8
"""Columns whose terms enter a queue together, at most."""
QUEUED_VALUE = variable(("queued", "values"), 1, Domain.IJ)
QUEUED_INDEX = variable(("queued", "indices"), 1, Domain.IJ, INDEX)


@dataclass(frozen=True)
class Queue:
    """The names and statements of a queue of ``length`` terms per lane, for each row of the register tile."""

    length: int
    empty: str
    """The value, as text, of a place that holds no term: one that never enters."""
    sorting: Sorting | None = None
    """Of a long list: the queue is sorted and merged into it, instead of inserted term by term."""

    def name(self, what: str, r: int) -> str:
        return f"queued_{what}_{r}"

    def declarations(self, rows: int, lanes: int) -> tuple[Statement, ...]:
        return tuple(
            statement
            for r in range(rows)
            for statement in (
                Declare("realv", self.name("values", r), f"(realv)({self.empty})", self.length),
                Declare("inumv", self.name("indices", r), "(inumv)(0)", self.length),
                Declare("inum", self.name("counts", r), "0", lanes),
                Declare("int", self.name("most", r), "0"),
            )
        )

    def marks(self, masks: Sequence[str], lanes: int) -> str:
        """The masks of up to `BLOCK` terms, as one bit for each of them and each lane."""
        sign = "-" if lanes == 1 else ""  # a scalar's truth is 1, a lane's -1
        return f"marks_of({' | '.join(f'({sign}{mask} & (inumv)({1 << c}))' for c, mask in enumerate(masks))})"

    def words(self, cols: int) -> int:
        """Marks that a block of so many columns needs: one for each `BLOCK` of them."""
        return -(-cols // BLOCK)

    def append(self, r: int, marks: str, terms: str, start: int) -> Statement:
        """Put up to `BLOCK` terms, which an array holds side by side, into the queue of those lanes that are marked.

        ``start``: the place of the first one in its block of columns.
        """
        values, indices, counts, most = (self.name(what, r) for what in ("values", "indices", "counts", "most"))
        lists = f"(real*){values}, (inum*){indices}, {counts}, &{most}"
        return Call(f"append_terms({lists}, {marks}, {terms}, (inum)(j + {start}))")

    def short_of(self, places: int, r: int) -> str:
        """The condition that some lane has fewer free places than ``places``."""
        return f"{self.name('most', r)} > {self.length - places}"

    def entered(self, place: str, r: int, body: tuple[Statement, ...], lanes: int) -> tuple[Statement, ...]:
        """``body`` for each place of the queue that some lane has filled, after which it is empty."""
        clear = Assign(f"{self.name('values', r)}[{place}]", f"(realv)({self.empty})")
        return Loop(place, 0, self.name("most", r), (*body, clear)), *self._emptied(place, r, lanes)

    def merged(self, place: str, r: int, values: str, indices: str, lanes: int) -> tuple[Statement, ...]:
        """The queue merged into the arrays ``values`` and ``indices`` of a list, after which it is empty."""
        assert self.sorting is not None
        queued = self.name("values", r)
        lists = f"{values}, {indices}, {queued}, {self.name('indices', r)}" if indices else f"{values}, {queued}"
        return Call(f"enter_terms({lists})"), *self._emptied(place, r, lanes)

    def _emptied(self, place: str, r: int, lanes: int) -> tuple[Statement, ...]:
        counts = Assign(f"{self.name('counts', r)}[{place}]", "0")
        return Loop(place, 0, lanes, (counts,)), Assign(self.name("most", r), "0")
