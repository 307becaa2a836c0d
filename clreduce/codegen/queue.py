"""Terms that wait to enter a row's state: each lane fills places of its own, and all enter together once it is full.

To insert a term into a sorted list costs the same for one lane as for all. Where lanes need it at different columns,
most of that work would be for nothing. If the list is long, the queue is sorted too, and then merged into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clreduce.codegen.frame import ORIGIN_J, J
from clreduce.codegen.sorting import Sorting
from clreduce.codegen.tree import (
    Array,
    Assign,
    Binary,
    Call,
    Declare,
    Expression,
    Index,
    Loop,
    Name,
    Run,
    Statement,
    Unary,
    cast,
    joined,
    number,
    plus,
)
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
    empty: Expression
    """The value of a place that holds no term: one that never enters."""
    indexed: bool
    """Whether the list keeps indices beside its terms; without, any number stands for the index of a term."""
    sorting: Sorting | None = None
    """Of a long list: the queue is sorted and merged into it, instead of inserted term by term."""

    def name(self, what: str, r: int) -> Name:
        types = {"values": "realv", "indices": "inumv", "counts": "inum", "most": "int"}
        return Name(f"queued_{what}_{r}", types[what])

    def declarations(self, rows: int, lanes: int) -> tuple[Statement, ...]:
        return tuple(
            statement
            for r in range(rows)
            for statement in (
                Array(self.name("values", r), self.length, cast("realv", self.empty)),
                Array(self.name("indices", r), self.length, cast("inumv", number(0))),
                Array(self.name("counts", r), lanes, number(0)),
                Declare(self.name("most", r), number(0)),
            )
        )

    def marks(self, masks: Sequence[Expression], lanes: int) -> Expression:
        """The masks of up to `BLOCK` terms, as one bit for each of them and each lane."""
        if lanes == 1:  # a scalar's truth is 1, a lane's -1
            masks = [Unary("-", mask) for mask in masks]
        bits = [Binary("&", mask, cast("inumv", number(1 << c))) for c, mask in enumerate(masks)]
        return Call("marks_of", (joined("|", bits),), "marks")

    def words(self, cols: int) -> int:
        """Marks that a block of so many columns needs: one for each `BLOCK` of them."""
        return -(-cols // BLOCK)

    def append(self, r: int, marks: Expression, terms: Expression, start: int) -> Statement:
        """Put up to `BLOCK` terms, which an array holds side by side, into the queue of those lanes that are marked.

        ``start``: the place of the first one in its block of columns.
        """
        values, indices = cast("real*", self.name("values", r)), cast("inum*", self.name("indices", r))
        most = Unary("&", self.name("most", r))
        first = cast("inum", plus(plus(ORIGIN_J, J) if self.indexed else J, number(start)))
        return Run(Call("append_terms", (values, indices, self.name("counts", r), most, marks, terms, first), ""))

    def short_of(self, places: int, r: int) -> Expression:
        """The condition that some lane has fewer free places than ``places``."""
        return Binary(">", self.name("most", r), number(self.length - places))

    def entered(self, place: Name, r: int, body: tuple[Statement, ...], lanes: int) -> tuple[Statement, ...]:
        """``body`` for each place of the queue that some lane has filled, after which it is empty."""
        clear = Assign(Index(self.name("values", r), place), cast("realv", self.empty))
        return Loop(place, number(0), self.name("most", r), (*body, clear)), *self._emptied(place, r, lanes)

    def merged(self, place: Name, r: int, values: Name, indices: Name | None, lanes: int) -> tuple[Statement, ...]:
        """The queue merged into the arrays ``values`` and ``indices`` of a list, after which it is empty."""
        assert self.sorting is not None
        queued = self.name("values", r)
        lists = (values, queued) if indices is None else (values, indices, queued, self.name("indices", r))
        return Run(Call("enter_terms", lists, "")), *self._emptied(place, r, lanes)

    def _emptied(self, place: Name, r: int, lanes: int) -> tuple[Statement, ...]:
        counts = Assign(Index(self.name("counts", r), place), number(0))
        return Loop(place, number(0), number(lanes), (counts,)), Assign(self.name("most", r), number(0))
