"""Terms that wait to enter a row's state: each lane fills places of its own, and all enter together once it is full.

To insert a term into a sorted list costs the same for one lane as for all. Where lanes need it at different columns,
most of that work would be for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.kernel import Assign, Call, Declare, Loop, Statement
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable

QUEUED_VALUE = variable(("queued", "values"), 1, Domain.IJ)
QUEUED_INDEX = variable(("queued", "indices"), 1, Domain.IJ, INDEX)


@dataclass(frozen=True)
class Queue:
    """The names and statements of a queue of ``length`` terms per lane, for each row of the register tile."""

    length: int
    empty: str
    """The value, as text, of a place that holds no term: one that never enters."""

    def name(self, what: str, r: int) -> str:
        return f"queued_{what}_{r}"

    def declarations(self, rows: int) -> tuple[Statement, ...]:
        return tuple(
            statement
            for r in range(rows)
            for statement in (
                Declare("realv", self.name("values", r), f"(realv)({self.empty})", self.length),
                Declare("inumv", self.name("indices", r), "(inumv)(0)", self.length),
                Declare("inumv", self.name("count", r), "(inumv)(0)"),
            )
        )

    def append(self, r: int, mask: str, value: str, index: str) -> Statement:
        """Put a term into the queue of those lanes where ``mask`` holds."""
        values, indices, count = (self.name(what, r) for what in ("values", "indices", "count"))
        return Call(f"append_lanes((real*){values}, (inum*){indices}, &{count}, {mask}, {value}, {index})")

    def short_of(self, places: int, r: int) -> str:
        """The condition that some lane has fewer free places than ``places``."""
        return f"ANY({self.name('count', r)} > (inumv)({self.length - places}))"

    def reset(self, r: int) -> tuple[Statement, ...]:
        values = self.name("values", r)
        clear = Loop("q", 0, self.length, (Assign(f"{values}[q]", f"(realv)({self.empty})"),))
        return clear, Assign(self.name("count", r), "(inumv)(0)")
