"""The update of a row's state: all columns of a block enter together, under the reduction's guard if it has one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clreduce.codegen.forms import Forms
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.scopes import Scope
from clreduce.codegen.tree import Expression, FunctionCall, If, Statement, joined
from clreduce.codegen.writer import StateText, Writer
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import variable
from clreduce.ir.signs import with_known_signs
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column


class Updates(Writer):
    """The state of rows while a program runs, and the statements that update it with blocks of columns."""

    def __init__(
        self,
        program: MapReduce,
        values: tuple[Expr, ...],
        dtype: str,
        schedule: Schedule,
        wide: bool,
        forms: Forms,
    ) -> None:
        super().__init__(dtype, schedule.lanes, schedule.rows, schedule, wide)
        self.program, self.values, self.schedule, self.wide = program, values, schedule, wide
        self.forms = forms
        slots, reduction = program.state_slots, program.reduction
        self.state = StateText(slots, program.outputs, "s", self.unroll, self.keeper.types, self.padding())
        # Sums of float32 terms in double precision need no blocks.
        self.blocked = reduction.blocked and schedule.flush and schedule.tile > 0 and not wide
        self.partial = self.state
        if self.blocked:
            self.partial = StateText(slots, program.outputs, "b", self.unroll, self.keeper.types)
        self.states = {state.stem: state for state in (self.state, self.partial)}

    def padding(self) -> int:
        """The number of places that arrays of the state have before their components."""
        return 0

    @property
    def guarded(self) -> bool:
        """Whether columns are tested before they enter."""
        return self.program.reduction.guard is not None and all(value.dim <= self.unroll for value in self.values)

    def block(self, cols: int) -> tuple[Statement, ...]:
        """One block of columns: loads, values of every pair of the register tile, and the update of the state."""
        scope = self.start_pair()
        self.emitter.cols = self.keeper.cols = cols
        columns = self.columns(cols)
        reduction = self.program.reduction
        if self.guarded:
            self.emitter.count_uses(self.values)
            self.compute_short_values(cols)
            for r in range(self.rows):
                self.update_under_guard(columns, r, scope)
            return tuple(scope.statements)
        groups = [[column] for column in columns] if reduction.keeps_terms else [columns]
        for n, group in enumerate(groups):
            new = with_known_signs(reduction.update(self.partial.version(n), group))
            new = self.in_forms(new, self.partial.version(n))
            self.emitter.count_uses(self.values if self.wide else [*new, *self.values])
            if self.wide:
                self.keeper.count_uses(new)
            if n == 0:
                self.compute_short_values(cols)
            self.assign_state(self.partial, new, scope, range(self.rows), reduction.keeps_terms)
        return tuple(scope.statements)

    def columns(self, cols: int) -> list[Column]:
        """Variables that stand for the values of ``cols`` columns."""
        return [
            Column(
                tuple(
                    variable(("value", n, c), value.dim, value.domain | Domain.J, value.kind)
                    for n, value in enumerate(self.values)
                ),
                variable(("column", c), 1, Domain.J, INDEX),
            )
            for c in range(cols)
        ]

    def guard(self, version: int, columns: Sequence[Column]) -> Expr:
        """The condition that some of these columns may enter the state, in its ``version`` since the block began."""
        guard, state = self.program.reduction.guard, self.partial.version(version) if version else self.partial.leaves
        assert guard is not None
        return self.in_forms([guard(self.compared_with(state, version), columns)], state)[0]

    def compared_with(self, state: tuple[Expr, ...], version: int) -> tuple[Expr, ...]:
        """The state that the guard reads."""
        return state

    def in_forms(self, new: Sequence[Expr], state: Sequence[Expr]) -> tuple[Expr, ...]:
        """Formulas of ``state``, rewritten in the forms of the device."""
        extremes = [leaf for leaf, slot in zip(state, self.state.slots, strict=True) if math.isinf(slot.neutral)]
        return tuple(new) if self.wide else self.forms.of_update(new, extremes)

    def update_under_guard(self, columns: Sequence[Column], r: int, scope: Scope) -> None:
        """Append to ``scope`` statements that enter columns into the state of row r if the guard allows it."""
        condition = self.holds(self.guard(0, columns), r)
        inner = self.start_pair(scope)
        new = self.in_forms(self.program.reduction.update(self.partial.leaves, columns), self.partial.leaves)
        self.assign_state(self.partial, new, inner, [r])
        scope.statements.append(If(condition, tuple(inner.statements)))
        self.pair = scope

    def holds(self, mask: Expr, r: int) -> Expression:
        """The condition that a mask is true in some lane and component."""
        masks = [self.emitter.component(mask, k, r, None) for k in range(mask.dim)]
        return FunctionCall("ANY", (joined("||", masks),), "int")

    def compute_short_values(self, cols: int) -> None:
        """Compute short values column by column, then row by row, so that a column's data stay in registers."""
        for value in self.values:
            # The statement that adds a product to the state computes it, so that the compiler contracts it.
            roots = value.args if value.op.name == "mul" else (value,)
            if value.dim <= self.unroll:
                for c in range(cols):
                    for r in range(self.rows):
                        for root in roots:
                            for k in range(root.dim):
                                self.emitter.component(root, k, r, c)
