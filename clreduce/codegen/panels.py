"""How vectors of i that are too long for registers lie in memory, where each work-item has one row at a time."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.codegen.tree import Binary, Expression, number
from clreduce.ir.index import Position

ROWS_OF_PANEL = 32
"""Rows that stand side by side: one memory transaction of a GPU."""
_AT_ONCE = 4


@dataclass(frozen=True)
class Panel:
    """Component k of `ROWS_OF_PANEL` rows stands side by side, or ``together`` components of each of them."""

    dim: int
    together: int
    """1 or 4: as many as one load takes."""

    @classmethod
    def of(cls, dim: int, dtype: str, schedule: Schedule) -> Panel:
        """The panel of vectors of length ``dim``: four components together where loops of GPUs take four at once."""
        fits = schedule.shape == LOCAL and dtype == "float" and dim % _AT_ONCE == 0
        return cls(dim, _AT_ONCE if fits else 1)

    def start(self, row: Expression) -> tuple[Expression, Expression]:
        """How far from the start of the buffer the panel of a row begins, and how far from there the row does."""
        rows, in_panel = number(ROWS_OF_PANEL), Binary("%", row, number(ROWS_OF_PANEL))
        before = Binary("*", Binary("/", row, rows), number(self.dim * ROWS_OF_PANEL))
        return before, in_panel if self.together == 1 else Binary("*", in_panel, number(self.together))

    def place(self, k: Position) -> Position:
        """How far component k is from the start of its row.

        >>> Panel(100, 1).place(5), Panel(100, 4).place(5)
        (160, 129)
        """
        return k // self.together * (ROWS_OF_PANEL * self.together) + k % self.together
