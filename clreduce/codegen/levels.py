"""Blocked sums on three levels: the current tile, the last tiles, and all before them.

Partial states move up when a level is full. So rounding errors grow with the length of a tile, with the number of tiles
on the middle level, and with how often that was full, which is seldom even for many millions of columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.emit import Scope
from clreduce.codegen.kernel import Assign, Declare, If, Statement
from clreduce.codegen.writer import StateText, Writer
from clreduce.reductions.reduction import Reduction

_TILES = 256
"""Tiles on the middle level."""


@dataclass(frozen=True)
class Levels:
    """The statements that move states up, for the rows of a register tile."""

    writer: Writer
    reduction: Reduction
    total: StateText
    middle: StateText
    tile: StateText

    def declarations(self) -> tuple[Statement, ...]:
        return (*self.middle.declarations(self.writer.rows, self.writer.keeper), Declare("int", "tiles", "0"))

    def flush(self) -> tuple[Statement, ...]:
        """After each tile."""
        scope = self.writer.start_pair()
        self._merge(self.middle, self.tile, scope)
        full = self.writer.start_pair(scope)
        self._merge(self.total, self.middle, full)
        for n in range(len(self.middle.slots)):
            for r in range(self.writer.rows):
                full.statements += self.middle.reset(n, r, self.middle.neutral(n, self.writer.keeper))
        full.statements.append(Assign("tiles", "0"))
        scope.statements.append(If(f"++tiles == {_TILES}", tuple(full.statements)))
        return tuple(scope.statements)

    def drain(self) -> tuple[Statement, ...]:
        """After the last one."""
        scope = self.writer.start_pair()
        self._merge(self.total, self.middle, scope)
        return tuple(scope.statements)

    def _merge(self, earlier: StateText, later: StateText, scope: Scope) -> None:
        """The state of later columns into that of earlier ones."""
        merged = self.reduction.merge(earlier.leaves, later.version(1))
        self.writer.keeper.count_uses(merged)
        self.writer.assign_state(earlier, merged, scope, range(self.writer.rows))
