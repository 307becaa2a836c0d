"""How columns enter the state of a row: all of them, those that a guard lets through, or by way of a queue."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clreduce.codegen.forms import Forms
from clreduce.codegen.kernel import Preview
from clreduce.codegen.preview import Limits
from clreduce.codegen.queue import BLOCK, QUEUED_INDEX, QUEUED_VALUE, Queue
from clreduce.codegen.schedule import Schedule, has_queue, padding
from clreduce.codegen.scopes import Scope, literal
from clreduce.codegen.sorting import Sorting
from clreduce.codegen.tree import (
    Array,
    Assign,
    Call,
    Expression,
    If,
    Index,
    Name,
    Statement,
    joined,
    number,
    plus,
    times,
)
from clreduce.codegen.writer import StateText, Writer
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, Expr, exact
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
        self.queue = self._queue()
        self.state = StateText(slots, program.outputs, "s", self.unroll, self.keeper.types, self._padding() or 0)
        # In double precision, sums of single ones need no blocks.
        self.blocked = reduction.blocked and schedule.flush and schedule.tile > 0 and not wide
        self.partial = self.state
        if self.blocked:
            self.partial = StateText(slots, program.outputs, "b", self.unroll, self.keeper.types)
        self.states = {state.stem: state for state in (self.state, self.partial)}
        self.limits: Limits | None = None
        if schedule.preview and self.guarded and reduction.keeps_terms and values[0].dim == 1 and not wide:
            self.limits = Limits(slots[0].neutral, reduction.count or 1)
        self.waiting = Name("", "int")
        """The place of the queue whose term enters."""

    @property
    def guarded(self) -> bool:
        """Whether columns are tested before they enter."""
        return self.program.reduction.guard is not None and all(value.dim <= self.unroll for value in self.values)

    def _padding(self) -> int | None:
        return None if self.wide else padding(self.program, self.schedule)

    def _queue(self) -> Queue | None:
        """A queue for terms that may enter a list, if there is one; for a long list it is sorted."""
        program, schedule = self.program, self.schedule
        if not has_queue(program, schedule):
            return None
        neutral, count = program.state_slots[0].neutral, program.reduction.count or 1
        empty = literal(exact(neutral), self.dtype)
        sorting, before = None, self._padding()
        if before is not None:
            indexed = len(program.state_slots) > 1
            sorting = Sorting(count, before, schedule.queue, neutral > 0, indexed, empty)
        return Queue(schedule.queue, empty, sorting)

    def block(self, cols: int) -> tuple[Statement, ...]:
        """One block of columns: loads, values of every pair of the register tile, and the update of the state."""
        scope = self.start_pair()
        self.emitter.cols = self.keeper.cols = cols
        columns = self._columns(cols)
        reduction = self.program.reduction
        if self.guarded:
            self._guarded_update(columns, scope)
            return tuple(scope.statements)
        groups = [[column] for column in columns] if reduction.keeps_terms else [columns]
        for n, group in enumerate(groups):
            new = with_known_signs(reduction.update(self.partial.version(n), group))
            new = self._in_forms(new, self.partial.version(n))
            self.emitter.count_uses(self.values if self.wide else [*new, *self.values])
            if self.wide:
                self.keeper.count_uses(new)
            if n == 0:
                self._compute_short_values(cols)
            self.assign_state(self.partial, new, scope, range(self.rows), reduction.keeps_terms)
        return tuple(scope.statements)

    def _in_forms(self, new: Sequence[Expr], state: Sequence[Expr]) -> tuple[Expr, ...]:
        """What replaces ``state``, in the forms of the device."""
        extremes = [leaf for leaf, slot in zip(state, self.state.slots, strict=True) if math.isinf(slot.neutral)]
        return tuple(new) if self.wide else self.forms.of_update(new, extremes)

    def _columns(self, cols: int) -> list[Column]:
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

    def preview(self, body: tuple[Statement, ...]) -> Preview:
        """The look at a tile's columns, which sets limits to the lists; ``body``: an update with a block of columns."""
        limits, queue, cols, rows = self.limits, self.queue, self.schedule.cols, range(self.rows)
        assert limits is not None
        scope = self.start_pair()
        self.emitter.cols = cols
        # All values, as where they are visited: what is contracted depends on how often a product is used.
        self.emitter.count_uses(self.values)
        terms = [[self.emitter.component(self.values[0], 0, r, c) for r in rows] for c in range(cols)]
        scope.statements += [limits.first_of(term, r) for column in terms for r, term in enumerate(column)]
        last = tuple(self._last_kept(r) for r in rows)
        visit, enter = (body, ()) if queue is None else self._visit(queue)
        return Preview(
            **limits.sizes(self.schedule.preview, cols),
            last=last,
            body=tuple(scope.statements),
            visit=visit,
            enter=enter,
            words=0 if queue is None else queue.words(cols),
        )

    def _visit(self, queue: Queue) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """A visit to a block of columns that a list may take terms from, and what it has found enters the queue.

        Whether a lane has a term that enters can't be foreseen: a processor would guess wrong, and wait for the terms.
        So those of several blocks are computed first.
        """
        cols, words = self.schedule.cols, queue.words(self.schedule.cols)
        visit = self.start_pair()
        self.emitter.cols = cols
        columns = self._columns(cols)
        self.emitter.count_uses(self.values)
        self._compute_short_values(cols)
        for r in range(self.rows):
            terms, masks = self._candidates(columns, r)
            visit.statements += [
                Assign(Index(Name(f"terms_{r}", "realv"), _of_visit(cols, c)), term) for c, term in enumerate(terms)
            ]
            visit.statements += [
                Assign(_marks(r, words, word), queue.marks(masks[start : start + BLOCK], self.lanes))
                for word, start in enumerate(range(0, cols, BLOCK))
            ]
        enter = self.start_pair()
        for r in range(self.rows):
            enter.statements += [
                queue.append(r, _marks(r, words, word), _terms_from(r, cols, start), start)
                for word, start in enumerate(range(0, cols, BLOCK))
            ]
            enter.statements.append(self._enter_if_full(r, enter))
        return tuple(visit.statements), tuple(enter.statements)

    def _last_kept(self, r: int) -> Expression:
        """The last term of the list of row r."""
        return self.state.name(0, self.state.slots[0].dim - 1, r)

    def _guard(self, version: int, columns: Sequence[Column]) -> Expr:
        """Whether some of these columns may enter the state, which has changed so many times since the block began."""
        guard, state = self.program.reduction.guard, self.partial.version(version) if version else self.partial.leaves
        assert guard is not None
        holds = guard(state if self.limits is None else self.limits.stands_for(state, version), columns)
        return self._in_forms([holds], state)[0]

    def _after_entering(self, r: int, scope: Scope, cols: int) -> None:
        """Once terms of a block of so many columns are in the list of row r: its limit, and whether a look is due.

        ``cols``: 0 where there has been a look.
        """
        if self.limits is not None:
            scope.statements.append(self.limits.lowered(self._last_kept(r), r))
            if cols:
                scope.statements.append(self.limits.entered(1 if self.queue is None else self.queue.length, cols))

    def _update_if_needed(self, columns: Sequence[Column], r: int, scope: Scope) -> None:
        """Columns into the list of row r under its guard: first for all of them, then for each."""
        condition = self._any(self._guard(0, columns), r)
        outer = self.start_pair(scope)
        for n, column in enumerate(columns, 1):
            needed = self._any(self._guard(n, [column]), r)
            inner = self.start_pair(outer)
            new = self.program.reduction.update(self.partial.version(n), [column])
            self.assign_state(self.partial, new, inner, [r], descending=True)
            self._after_entering(r, inner, len(columns))
            outer.statements.append(If(needed, tuple(inner.statements)))
            self.pair = outer
        scope.statements.append(If(condition, tuple(outer.statements)))
        self.pair = scope

    def _guarded_update(self, columns: Sequence[Column], scope: Scope) -> None:
        """The update under the reduction's guard, row by row: first for the block of columns, then for each of them.

        Columns enter one by one if the state keeps terms, for otherwise the text would grow with their number times K.
        """
        reduction = self.program.reduction
        assert reduction.guard is not None
        self.emitter.count_uses(self.values)
        self._compute_short_values(len(columns))
        for r in range(self.rows):
            if self.queue is None and reduction.keeps_terms and len(columns) > 1:
                self._update_if_needed(columns, r, scope)
                continue
            condition = self._any(self._guard(0, columns), r)
            outer = self.start_pair(scope)
            if self.queue is not None:
                self._queued_update(columns, r, outer)
            else:
                new = self._in_forms(reduction.update(self.partial.leaves, columns), self.partial.leaves)
                self.assign_state(self.partial, new, outer, [r], reduction.keeps_terms)
                self._after_entering(r, outer, len(columns))
            scope.statements.append(If(condition, tuple(outer.statements)))
            self.pair = scope

    def _queued_update(self, columns: Sequence[Column], r: int, outer: Scope) -> None:
        """Columns into the queue of row r, in lanes where they may enter the state; a full queue enters."""
        queue = self.queue
        assert queue is not None
        for start in range(0, len(columns), BLOCK):
            terms, masks = self._candidates(columns[start : start + BLOCK], r)
            block = Name(self.emitter.fresh("terms"), "realv")
            outer.statements += [
                Array(block, len(terms), values=tuple(terms)),
                queue.append(r, queue.marks(masks, self.lanes), block, start),
            ]
        # Also after a single column: where a tile ends with some, the next one begins with a whole block.
        outer.statements.append(self._enter_if_full(r, outer, len(columns)))

    def _candidates(self, columns: Sequence[Column], r: int) -> tuple[list[Expression], list[Expression]]:
        """The terms of columns, and masks of the lanes where they may enter the state of row r."""
        emitter = self.emitter
        terms = [emitter.in_lanes(emitter.component(column.values[0], 0, r, None), "realv") for column in columns]
        return terms, [emitter.component(self._guard(0, [column]), 0, r, None) for column in columns]

    def _enter_if_full(self, r: int, outer: Scope, cols: int = 0) -> Statement:
        """A queue of row r without places for another block enters; ``cols``: as for `_after_entering`."""
        assert self.queue is not None
        entering = Scope(outer)
        entering.statements += self.enter_queued(r, outer)
        self._after_entering(r, entering, cols)
        return If(self.queue.short_of(self.schedule.cols, r), tuple(entering.statements))

    def enter_queued(self, r: int, outer: Scope) -> tuple[Statement, ...]:
        """Update the state of row r with all that waits, and empty the queue."""
        reduction, queue = self.program.reduction, self.queue
        assert reduction.guard is not None
        assert queue is not None
        self.waiting = Name(self.emitter.fresh("k"), "int")
        if queue.sorting is not None:
            indices = self.state.array(1, r) if queue.sorting.indexed else None
            return queue.merged(self.waiting, r, self.state.array(0, r), indices, self.lanes)
        turn = self.start_pair(outer)
        state, column = self.partial.version(-1), Column((QUEUED_VALUE,), QUEUED_INDEX)
        needed = self._any(reduction.guard(state, [column]), r)
        inner = self.start_pair(turn)
        self.assign_state(self.partial, reduction.update(state, [column]), inner, [r], descending=True)
        turn.statements.append(If(needed, tuple(inner.statements)))
        self.pair = outer
        return queue.entered(self.waiting, r, tuple(turn.statements), self.lanes)

    def _any(self, mask: Expr, r: int) -> Expression:
        """Whether a mask holds in some lane and component."""
        masks = [self.emitter.component(mask, k, r, None) for k in range(mask.dim)]
        return Call("ANY", (joined("||", masks),), "int")

    def _compute_short_values(self, cols: int) -> None:
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


def _of_visit(count: int, n: int) -> Expression:
    """The n-th of so many numbers that each visit has."""
    return plus(times(Name("visit", "int"), number(count)), number(n))


def _marks(r: int, words: int, word: int) -> Index:
    return Index(Name(f"marks_{r}", "marks"), _of_visit(words, word))


def _terms_from(r: int, cols: int, start: int) -> Expression:
    """The terms of a visit from its column ``start`` on."""
    terms = plus(Name(f"terms_{r}", "realv"), times(Name("visit", "int"), number(cols)))
    return plus(terms, number(start))
