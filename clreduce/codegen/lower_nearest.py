"""The pair kernel of reductions that keep a sorted list of terms for each row: the K nearest.

An insertion takes K comparisons, in all lanes even if only one of them needs it. So terms are tested before they enter.
Terms that pass wait in a queue (`queue.py`), and long lists take a whole queue at once (`sorting.py`). For short
formulas, a prefilter skips most blocks of columns (`prefilter.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.frame import TILE_BEGIN, J
from clreduce.codegen.kernel import Helper
from clreduce.codegen.lower_pairs import PairLowering
from clreduce.codegen.prefilter import FILTERED_END, Prefilter
from clreduce.codegen.queue import BLOCK, QUEUED_INDEX, QUEUED_VALUE, Queue
from clreduce.codegen.schedule import Schedule, has_queue, padding
from clreduce.codegen.scopes import Scope, literal
from clreduce.codegen.sorting import Sorting
from clreduce.codegen.thresholds import start_of, within
from clreduce.codegen.tree import (
    Array,
    Assign,
    Expression,
    If,
    Let,
    Name,
    Statement,
    Subscript,
    cast,
    number,
    plus,
    times,
)
from clreduce.codegen.writer import pointer_to
from clreduce.ir.expr import Expr, exact
from clreduce.ir.index import Position
from clreduce.ops.shape import expand
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column


class NearestLowering(PairLowering):
    """Makes the kernel that visits all pairs and keeps a list of terms for each row."""

    def __init__(
        self,
        program: MapReduce,
        values: tuple[Expr, ...],
        panels: frozenset[Expr],
        dtype: str,
        schedule: Schedule,
        facts: DeviceFacts,
        ranged: bool,
        wide: bool,
        limit: Expr | None = None,
    ) -> None:
        """``limit`` is the variable that terms of a row must not exceed, or None (`thresholds.py`)."""
        super().__init__(program, values, panels, dtype, schedule, facts, ranged, wide)
        self.limit = limit
        if limit is not None and limit not in self.names:
            self.names[limit] = Name(f"v{len(self.inputs)}", pointer_to(limit.kind, const=True))
            self.inputs = (*self.inputs, limit)
        self.queue = self._queue()
        self.prefilter: Prefilter | None = None
        neutral, count = program.state_slots[0].neutral, program.reduction.count or 1
        if schedule.prefilter and self.guarded and values[0].dim == 1 and not wide:
            last = [self.state.name(0, self.state.slots[0].dim - 1, r) for r in range(self.rows)]
            self.prefilter = Prefilter(neutral, count, schedule.prefilter, schedule.cols, last)
            self.first_column, self.tile = FILTERED_END, self.prefilter.tile
        self.waiting = Name("", "int")
        """The place in the queue of the term that is entering."""

    def padding(self) -> int:
        return 0 if self.wide else padding(self.program, self.schedule) or 0

    def _queue(self) -> Queue | None:
        """The queue for terms that may enter a list; None if the schedule has none. For a long list it is sorted."""
        program, schedule = self.program, self.schedule
        if not has_queue(program, schedule):
            return None
        neutral, count = program.state_slots[0].neutral, program.reduction.count or 1
        empty = literal(exact(neutral), self.dtype)
        sorting, indexed = None, len(program.state_slots) > 1
        if not self.wide and padding(program, schedule) is not None:
            sorting = Sorting(count, self.padding(), schedule.queue, neutral > 0, indexed, empty)
        return Queue(schedule.queue, empty, indexed, sorting)

    # ------------------------------------------------------------------------------------------------- stages

    def helpers(self) -> tuple[Helper, ...]:
        helpers = []
        if self.prefilter is not None:
            helpers.append(Helper("limit_of", self.prefilter.facts))
        if self.queue is not None:
            helpers.append(Helper("append_terms"))
            if self.queue.sorting is not None:
                helpers.append(Helper("enter_terms", self.queue.sorting))
        return tuple(helpers)

    def working_state(self) -> tuple[Statement, ...]:
        statements = () if self.queue is None else self.queue.declarations(self.rows, self.lanes)
        if self.prefilter is not None:
            statements += self.prefilter.declarations(self.queue)
        if self.limit is None:
            return statements
        scope = self.start_pair()
        start = start_of(self.limit, self._rising, self.dtype)
        slot = self.state.slots[0]
        self.assign_state(self.state, [expand(start, 1, slot.dim, 1)], scope, range(self.rows))
        return (*scope.statements, *statements)

    def before_columns(self, visit: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The prefilter, and visits to the blocks that pass it."""
        prefilter = self.prefilter
        if prefilter is None:
            return ()
        scope = self.start_pair()
        cols, rows = self.schedule.cols, range(self.rows)
        self.emitter.cols = cols
        # Count the uses in all values, as in visits: whether a product is contracted depends on them.
        self.emitter.count_uses(self.values)
        terms = [(self.emitter.component(self.values[0], 0, r, c), r) for c in range(cols) for r in rows]
        firsts = prefilter.first_terms(self._columns_of_block, terms, scope.statements)
        visit, enter = (visit, ()) if self.queue is None else self._visit(prefilter, self.queue)
        return *firsts, *prefilter.visits(self._columns_of_block, visit, enter)

    def after_columns(self) -> tuple[Statement, ...]:
        """The terms that still wait enter the lists; those beyond a limit leave them."""
        statements: tuple[Statement, ...] = ()
        if self.queue is not None:
            statements = sum((self._enter_queued(self.queue, r, self.start_pair()) for r in range(self.rows)), ())
        if self.limit is None:
            return statements
        scope = self.start_pair()
        neutrals = [slot.neutral for slot in self.state.slots]
        lists = within(self.state.leaves, self.limit, neutrals, self._rising)
        self.assign_state(self.state, lists, scope, range(self.rows))
        return (*statements, *scope.statements)

    @property
    def _rising(self) -> bool:
        """Whether the smallest terms are kept."""
        return self.program.state_slots[0].neutral > 0

    def _columns_of_block(self, block: Expression) -> tuple[Statement, ...]:
        first = plus(TILE_BEGIN, times(cast("long", block), number(self.schedule.cols)))
        return Let(J, first), *self.column_pointers()

    def _visit(self, prefilter: Prefilter, queue: Queue) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """The visit of a block whose terms may enter a list, and the statements that move its terms to the queue.

        Whether some lane has a term that enters is unpredictable, so a processor would mispredict a branch in each
        visit. The kernel therefore visits several blocks before it moves their terms.
        """
        cols, words = self.schedule.cols, queue.words(self.schedule.cols)
        visit = self.start_pair()
        self.emitter.cols = cols
        columns = self.columns(cols)
        self.emitter.count_uses(self.values)
        self.compute_short_values(cols)
        starts = list(enumerate(range(0, cols, BLOCK)))
        for r in range(self.rows):
            terms, masks = self._candidates(columns, r)
            visit.statements += [Assign(prefilter.term(r, c), term) for c, term in enumerate(terms)]
            visit.statements += [
                Assign(prefilter.marks(r, words, word), queue.marks(masks[start : start + BLOCK], self.lanes))
                for word, start in starts
            ]
        enter = self.start_pair()
        for r in range(self.rows):
            enter.statements += [
                queue.append(r, prefilter.marks(r, words, word), prefilter.terms_from(r, start), start)
                for word, start in starts
            ]
            enter.statements.append(self._enter_if_full(queue, r, enter))
        return tuple(visit.statements), tuple(enter.statements)

    # ------------------------------------------------------------------------------------------------- updates

    def compared_with(self, state: tuple[Expr, ...], version: int) -> tuple[Expr, ...]:
        return state if self.prefilter is None else self.prefilter.stands_for(state, version)

    def update_under_guard(self, columns: Sequence[Column], r: int, scope: Scope) -> None:
        """Enter columns one by one or through a queue. All together would need code proportional to their number
        times K."""
        condition = self.holds(self.guard(0, columns), r)
        outer = self.start_pair(scope)
        if self.queue is not None:
            self._into_queue(self.queue, columns, r, outer)
        elif len(columns) == 1:
            new = self.in_forms(self.program.reduction.update(self.partial.leaves, columns), self.partial.leaves)
            self._insert(new, r, outer, 1)
        else:
            for n, column in enumerate(columns, 1):
                needed = self.holds(self.guard(n, [column]), r)
                inner = self.start_pair(outer)
                self._insert(self.program.reduction.update(self.partial.version(n), [column]), r, inner, len(columns))
                outer.statements.append(If(needed, tuple(inner.statements)))
                self.pair = outer
        scope.statements.append(If(condition, tuple(outer.statements)))
        self.pair = scope

    def _insert(self, new: Sequence[Expr], r: int, scope: Scope, cols: int) -> None:
        """Insert a term of a block of ``cols`` columns into the list of row r; ``new`` is the new state."""
        self.assign_state(self.partial, new, scope, [r], descending=True)
        self._after_entering(r, scope, cols)

    def _after_entering(self, r: int, scope: Scope, cols: int) -> None:
        """Update the limit of row r after terms have entered its list, and decide whether the next tile is filtered.

        ``cols`` is the number of columns of the block; 0 if the tile was filtered.
        """
        if self.prefilter is not None:
            scope.statements.append(self.prefilter.lowered(r))
            if cols:
                scope.statements.append(self.prefilter.entered(1 if self.queue is None else self.queue.length, cols))

    def _into_queue(self, queue: Queue, columns: Sequence[Column], r: int, outer: Scope) -> None:
        """Append columns to the queue of row r in lanes where they may enter the state; a full queue enters."""
        for start in range(0, len(columns), BLOCK):
            terms, masks = self._candidates(columns[start : start + BLOCK], r)
            block = Name(self.emitter.fresh("terms"), "realv")
            outer.statements += [
                Array(block, len(terms), values=tuple(terms)),
                queue.append(r, queue.marks(masks, self.lanes), block, start),
            ]
        # Check after single columns too: after those at the end of a tile, the next tile begins with a whole block.
        outer.statements.append(self._enter_if_full(queue, r, outer, len(columns)))

    def _candidates(self, columns: Sequence[Column], r: int) -> tuple[list[Expression], list[Expression]]:
        """The terms of columns, and masks of the lanes in which they may enter the state of row r."""
        emitter = self.emitter
        terms = [emitter.in_lanes(emitter.component(column.values[0], 0, r, None), "realv") for column in columns]
        return terms, [emitter.component(self.guard(0, [column]), 0, r, None) for column in columns]

    def _enter_if_full(self, queue: Queue, r: int, outer: Scope, cols: int = 0) -> Statement:
        """Enter the queue of row r if another block would not fit into it; ``cols`` is that of `_after_entering`."""
        entering = Scope(outer)
        entering.statements += self._enter_queued(queue, r, outer)
        self._after_entering(r, entering, cols)
        return If(queue.short_of(self.schedule.cols, r), tuple(entering.statements))

    def _enter_queued(self, queue: Queue, r: int, outer: Scope) -> tuple[Statement, ...]:
        """Update the state of row r with all waiting terms, and empty the queue."""
        reduction = self.program.reduction
        assert reduction.guard is not None
        self.waiting = Name(self.emitter.fresh("k"), "int")
        if queue.sorting is not None:
            indices = self.state.array(1, r) if queue.sorting.indexed else None
            return queue.merged(self.waiting, r, self.state.array(0, r), indices, self.lanes)
        turn = self.start_pair(outer)
        state, column = self.partial.version(-1), Column((QUEUED_VALUE,), QUEUED_INDEX)
        needed = self.holds(reduction.guard(state, [column]), r)
        inner = self.start_pair(turn)
        self.assign_state(self.partial, reduction.update(state, [column]), inner, [r], descending=True)
        turn.statements.append(If(needed, tuple(inner.statements)))
        self.pair = outer
        return queue.entered(self.waiting, r, tuple(turn.statements), self.lanes)

    # ------------------------------------------------------------------------------------------------- variables

    def is_state(self, node: Expr) -> bool:
        name = node.params[0]
        return super().is_state(node) or (isinstance(name, tuple) and name[0] == Prefilter.stem)

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        name = node.params[0]
        if isinstance(name, tuple) and name[0] == Prefilter.stem:
            return Prefilter.limit(r or 0)
        if self.queue is not None and node in (QUEUED_VALUE, QUEUED_INDEX):
            return Subscript(self.queue.name(name[1], r or 0), self.waiting)
        return super().leaf(node, k, r, c)
