"""The queue of terms that wait to enter a row's state. Each lane fills its own places; a full queue enters as a whole.

An insertion into a sorted list costs the same for one lane as for all lanes. If lanes need insertions at different
columns, most of this work would be wasted. For a long list, the queue is sorted and then merged into the list.
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
    Declare,
    Expression,
    FunctionCall,
    Loop,
    Name,
    Run,
    Statement,
    Subscript,
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
"""The most columns whose terms enter a queue together."""
QUEUED_VALUE = variable(("queued", "values"), 1, Domain.IJ)
QUEUED_INDEX = variable(("queued", "indices"), 1, Domain.IJ, INDEX)


@dataclass(frozen=True)
class Queue:
    """The names and statements of a queue of ``length`` terms per lane, for each row of the register tile."""

    length: int
    empty: Expression
    """The value of an empty place, which never enters a list."""
    indexed: bool
    """Whether the list has indices beside its terms; if not, the indices in the queue are arbitrary."""
    sorting: Sorting | None = None
    """For a long list, the networks that sort the queue and merge it; None if terms are inserted one by one."""

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
        """The masks of up to `BLOCK` terms, as one bit for each term and lane."""
        if lanes == 1:  # a scalar's truth is 1, a lane's -1
            masks = [Unary("-", mask) for mask in masks]
        bits = [Binary("&", mask, cast("inumv", number(1 << c))) for c, mask in enumerate(masks)]
        return FunctionCall("marks_of", (joined("|", bits),), "marks")

    def words(self, cols: int) -> int:
        """The number of words of marks for a block of ``cols`` columns: one for each `BLOCK` columns."""
        return -(-cols // BLOCK)

    def append(self, r: int, marks: Expression, terms: Expression, start: int) -> Statement:
        """Append up to `BLOCK` terms of an array to the queue, in the marked lanes.

        ``start`` is the place of the first term in its block of columns.
        """
        values, indices = cast("real*", self.name("values", r)), cast("inum*", self.name("indices", r))
        most = Unary("&", self.name("most", r))
        first = cast("inum", plus(plus(ORIGIN_J, J) if self.indexed else J, number(start)))
        return Run(
            FunctionCall("append_terms", (values, indices, self.name("counts", r), most, marks, terms, first), "")
        )

    def short_of(self, places: int, r: int) -> Expression:
        """The condition that some lane has fewer than ``places`` free places."""
        return Binary(">", self.name("most", r), number(self.length - places))

    def entered(self, place: Name, r: int, body: tuple[Statement, ...], lanes: int) -> tuple[Statement, ...]:
        """``body`` for each place that some lane has filled, and statements that empty the queue."""
        clear = Assign(Subscript(self.name("values", r), place), cast("realv", self.empty))
        return Loop(place, number(0), self.name("most", r), (*body, clear)), *self._emptied(place, r, lanes)

    def merged(self, place: Name, r: int, values: Name, indices: Name | None, lanes: int) -> tuple[Statement, ...]:
        """Statements that merge the queue into the arrays ``values`` and ``indices`` of a list, and empty it."""
        assert self.sorting is not None
        queued = self.name("values", r)
        lists = (values, queued) if indices is None else (values, indices, queued, self.name("indices", r))
        return Run(FunctionCall("enter_terms", lists, "")), *self._emptied(place, r, lanes)

    def _emptied(self, place: Name, r: int, lanes: int) -> tuple[Statement, ...]:
        counts = Assign(Subscript(self.name("counts", r), place), number(0))
        return Loop(place, number(0), number(lanes), (counts,)), Assign(self.name("most", r), number(0))
