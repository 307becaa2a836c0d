"""How columns enter the state of a row: all of a block together, under the reduction's guard if it has one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clreduce.codegen.forms import Forms
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.scopes import Scope
from clreduce.codegen.tree import Call, Expression, If, Statement, joined
from clreduce.codegen.writer import StateText, Writer
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import variable
from clreduce.ir.signs import with_known_signs
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column


class Updates(Writer):
    """The state that rows keep while a program runs, and the statements that update it with blocks of columns."""

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
        # In double precision, sums of single ones need no blocks.
        self.blocked = reduction.blocked and schedule.flush and schedule.tile > 0 and not wide
        self.partial = self.state
        if self.blocked:
            self.partial = StateText(slots, program.outputs, "b", self.unroll, self.keeper.types)
        self.states = {state.stem: state for state in (self.state, self.partial)}

    def padding(self) -> int:
        """Places that arrays of the state have before their components."""
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
        """Stand-ins for the values of so many columns."""
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
        """Whether some of these columns may enter the state, which has changed so many times since the block began."""
        guard, state = self.program.reduction.guard, self.partial.version(version) if version else self.partial.leaves
        assert guard is not None
        return self.in_forms([guard(self.compared_with(state, version), columns)], state)[0]

    def compared_with(self, state: tuple[Expr, ...], version: int) -> tuple[Expr, ...]:
        """What stands for the state where the guard reads it."""
        return state

    def in_forms(self, new: Sequence[Expr], state: Sequence[Expr]) -> tuple[Expr, ...]:
        """What is computed from ``state``, in the forms of the device."""
        extremes = [leaf for leaf, slot in zip(state, self.state.slots, strict=True) if math.isinf(slot.neutral)]
        return tuple(new) if self.wide else self.forms.of_update(new, extremes)

    def update_under_guard(self, columns: Sequence[Column], r: int, scope: Scope) -> None:
        """Append to ``scope``: columns enter the state of row r if the guard says that some of them may."""
        condition = self.holds(self.guard(0, columns), r)
        inner = self.start_pair(scope)
        new = self.in_forms(self.program.reduction.update(self.partial.leaves, columns), self.partial.leaves)
        self.assign_state(self.partial, new, inner, [r])
        scope.statements.append(If(condition, tuple(inner.statements)))
        self.pair = scope

    def holds(self, mask: Expr, r: int) -> Expression:
        """Whether a mask holds in some lane and component."""
        masks = [self.emitter.component(mask, k, r, None) for k in range(mask.dim)]
        return Call("ANY", (joined("||", masks),), "int")

    def compute_short_values(self, cols: int) -> None:
        """Values column by column, then row by row: loads and values of a column stay together in registers."""
        for value in self.values:
            # A product is left to the statement that adds it to the state, where it contracts.
            roots = value.args if value.op.name == "mul" else (value,)
            if value.dim <= self.unroll:
                for c in range(cols):
                    for r in range(self.rows):
                        for root in roots:
                            for k in range(root.dim):
                                self.emitter.component(root, k, r, c)
