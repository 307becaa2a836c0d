"""The memory layout of vectors of i that are too long for registers, if each work-item has one row."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.codegen.tree import Binary, Expression, number
from clreduce.ir.index import Position

ROWS_OF_PANEL = 32
"""The number of interleaved rows: one memory transaction of a GPU reads one number of each."""
_AT_ONCE = 4


@dataclass(frozen=True)
class Panel:
    """A layout that interleaves `ROWS_OF_PANEL` rows: component k of all rows is adjacent.

    With ``together`` = 4, groups of four components of a row stay adjacent.
    """

    dim: int
    together: int
    """The number of components that one load takes, 1 or 4."""

    @classmethod
    def of(cls, dim: int, dtype: str, schedule: Schedule) -> Panel:
        """The panel of vectors of length ``dim``. Four components stay together if loops on GPUs take four at once."""
        fits = schedule.shape == LOCAL and dtype == "float" and dim % _AT_ONCE == 0
        return cls(dim, _AT_ONCE if fits else 1)

    def start(self, row: Expression) -> tuple[Expression, Expression]:
        """The offset of the panel of a row in the buffer, and the offset of the row in the panel."""
        rows, in_panel = number(ROWS_OF_PANEL), Binary("%", row, number(ROWS_OF_PANEL))
        before = Binary("*", Binary("/", row, rows), number(self.dim * ROWS_OF_PANEL))
        return before, in_panel if self.together == 1 else Binary("*", in_panel, number(self.together))

    def place(self, k: Position) -> Position:
        """The offset of component k from the start of its row.

        >>> Panel(100, 1).place(5), Panel(100, 4).place(5)
        (160, 129)
        """
        return k // self.together * (ROWS_OF_PANEL * self.together) + k % self.together
