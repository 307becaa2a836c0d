"""`MapReduce` + `Schedule` -> kernels: which statements run once, per i, per column, per pair, per tile, at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clreduce.codegen.cost import is_remap
from clreduce.codegen.emit import PRODUCTS, Scope, literal
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.hoist import hoist
from clreduce.codegen.kernel import ColumnInput, Declare, If, Kernel, Preview, Statement
from clreduce.codegen.lower_map import Stored, lower_map
from clreduce.codegen.lower_merge import lower_merge
from clreduce.codegen.preview import Limits
from clreduce.codegen.queue import BLOCK, QUEUED_INDEX, QUEUED_VALUE, Queue
from clreduce.codegen.schedule import LOCAL, Schedule, check_state, has_queue, padding
from clreduce.codegen.sorting import Sorting
from clreduce.codegen.writer import OFFSETS, PIECES, TASKS, StateText, Writer, batch_moves, buffers
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, exact, topological, variables
from clreduce.ir.index import Position, text_of
from clreduce.ir.op import variable
from clreduce.ir.rewrite import simplify
from clreduce.ir.signs import with_known_signs
from clreduce.program import MapReduce, Output
from clreduce.reductions.reduction import Column, Slot

_DEEP = 200
"""Nodes of a formula beyond which it is written from the leaves upwards."""
PANEL_OF_ONE_LANE = 32
"""Rows that stand side by side in a panel read by scalar work-items: one memory transaction of a GPU."""


@dataclass(frozen=True)
class Lowered:
    """Everything that runs for one program under one schedule."""

    stored: tuple[Stored, ...]
    stored_as: tuple[Expr, ...]
    """The variable that stands for each of them."""
    pair: Kernel
    pair_split: Kernel
    """The same up to its end: it stores the state of each part of j."""
    merge: Kernel
    inputs: tuple[Expr, ...]
    """What the pair kernels read: slots of the program, or ``("stored", n)``."""


def lower(
    program: MapReduce,
    dtype: str,
    schedule: Schedule,
    facts: DeviceFacts,
    batched: bool = False,
    ranged: bool = False,
    wide: bool = False,
) -> Lowered:
    """The kernels of ``program`` for ``dtype`` (``"float"`` or ``"double"``).

    ``batched``: for many indices at one launch; ``ranged``: for the blocks of pairs that tables name; ``wide``:
    formulas are computed in ``dtype``, and all that a row keeps is double, results included.
    """
    schedule.check(facts)
    kept = "double" if wide else dtype
    wide = wide and dtype == "float"
    check_state(program, replace(schedule, flush=False) if wide else schedule, 4 if kept == "float" else 8)
    values = with_known_signs(simplify(program.values))
    hoisted = hoist(values, schedule.unroll)
    panel = schedule.lanes if schedule.lanes > 1 else PANEL_OF_ONE_LANE
    stored = tuple(
        lower_map(node, dtype, schedule, panel if leaf in hoisted.panels else 0, batched, ranged)
        for leaf, node in hoisted.stored
    )
    pair = _PairLowering(program, hoisted.values, hoisted.panels, dtype, schedule, facts, ranged, wide)
    merge = lower_merge(program, kept, schedule, batched, ranged)
    leaves = tuple(leaf for leaf, _ in hoisted.stored)
    return Lowered(stored, leaves, pair.kernel(False, batched), pair.kernel(True, batched), merge, pair.inputs)


class _PairLowering(Writer):
    """The kernel that visits all pairs."""

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
    ) -> None:
        super().__init__(dtype, schedule.lanes, schedule.rows, schedule, wide)
        self.task = schedule.group_rows if ranged else 0
        self.wide = wide
        self.program, self.values, self.panels, self.schedule = program, values, panels, schedule
        self.inputs = tuple(variables(values))
        self.names = {leaf: f"v{n}" for n, leaf in enumerate(self.inputs)}
        slots, reduction = program.state_slots, program.reduction
        self.queue = self._queue()
        self.state = StateText(program.state_slots, program.outputs, "s", self.unroll, self._padding() or 0)
        # In double precision, sums of single ones need no blocks.
        self.blocked = reduction.blocked and schedule.flush and schedule.tile > 0 and not wide
        self.partial = StateText(program.state_slots, program.outputs, "b", self.unroll) if self.blocked else self.state
        self._waiting = ""
        guarded = reduction.guard is not None and all(value.dim <= self.unroll for value in values)
        self.limits: Limits | None = None
        if schedule.preview and guarded and reduction.keeps_terms and values[0].dim == 1 and not wide:
            self.limits = Limits(slots[0].neutral, reduction.count or 1)
        size = 4 if dtype == "float" else 8
        budget = facts.local_memory // 2 // (size * max(1, schedule.tile))
        self.staged: set[Expr] = set()
        for leaf in self.inputs:
            if schedule.shape == LOCAL and leaf.domain == Domain.J and leaf.kind == REAL and leaf.dim <= budget:
                self.staged.add(leaf)
                budget -= leaf.dim
        self._states = {state.stem: state for state in (self.state, self.partial)}

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

    def kernel(self, split: bool, batched: bool) -> Kernel:
        """The kernel; ``split``: it stores the state of its part of j instead of results."""
        schedule, reduction = self.schedule, self.program.reduction
        self.once, self.per_i = Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self._pointers()
        body = self._block(schedule.cols)
        tail = body if schedule.cols == 1 else self._block(1)
        preview = self._preview() if self.limits is not None else None
        flush: tuple[Statement, ...] = ()
        if self.blocked:
            scope = self.start_pair()
            merged = reduction.merge(self.state.leaves, self.partial.leaves)
            self.keeper.count_uses(merged)
            self.assign_state(self.state, merged, scope, range(self.rows))
            flush = tuple(scope.statements)
        finish = self.finish(self.program, self.state, split)
        drain: tuple[Statement, ...] = ()
        if self.queue is not None:
            drain = sum((self._enter_queued(r, self.start_pair()) for r in range(self.rows)), ())
        stored: Sequence[Slot | Output] = self.state.slots if split else self.program.outputs
        real = self.keeper.types.real
        outputs = buffers([(f"out{n}", one.kind) for n, one in enumerate(stored)], written=True, real=real)
        inputs = buffers([(self.names[leaf], leaf.kind) for leaf in self.inputs], written=False)
        lengths = [(f"out{n}", f"(long)get_global_size(1) * rows * {one.dim}") for n, one in enumerate(stored)]
        return Kernel(
            name="map_reduce",
            template=schedule.shape,
            dtype=self.dtype,
            lanes=schedule.lanes,
            functions=frozenset(self.emitter.functions),
            wide=frozenset(self.keeper.functions) if self.wide else None,
            arguments=outputs + inputs + ((OFFSETS,) if batched else ()) + ((TASKS, PIECES) if self.task else ()),
            batch=batch_moves(lengths, [self.names[leaf] for leaf in self.inputs]) if batched else (),
            task=self.task,
            rows=schedule.rows,
            cols=schedule.cols,
            group=schedule.group,
            tile=schedule.tile if preview is None else preview.tile,
            column_inputs=tuple(
                ColumnInput(self.names[leaf], "real" if leaf.kind == REAL else "long", leaf.dim, leaf in self.staged)
                for leaf in self.inputs
                if leaf.domain == Domain.J
            ),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
            state=self.state.declarations(self.rows, self.keeper)
            + (self.queue.declarations(self.rows, self.lanes) if self.queue else ()),
            reset=self.partial.declarations(self.rows, self.keeper) if self.blocked else (),
            body=body,
            tail=tail,
            flush=flush,
            drain=drain,
            preview=preview,
            sorting=self.queue.sorting if self.queue else None,
            finish=finish,
        )

    def _pointers(self) -> None:
        """Where each row of a panel starts. Those of a block-sparse call hold the rows of one task after the other."""
        for leaf in self.inputs:
            if leaf not in self.panels:
                continue
            name = self.names[leaf]
            for r in range(self.rows):
                row = f"(task * {self.task} + wanted_{r} - first_row)" if self.task else f"row_{r}"
                if self.lanes > 1:
                    text = f"({name} + {row} * {leaf.dim})"
                else:
                    width = PANEL_OF_ONE_LANE
                    text = f"({name} + {row} / {width} * {leaf.dim * width} + {row} % {width})"
                self.per_i.statements.append(Declare("const __global real*", f"{name}_{r}", text))

    def _block(self, cols: int) -> tuple[Statement, ...]:
        """One block of columns: loads, values of every pair of the register tile, and the update of the state."""
        scope = self.start_pair()
        self.emitter.cols = self.keeper.cols = cols
        columns = self._columns(cols)
        reduction = self.program.reduction
        if reduction.guard is not None and all(value.dim <= self.unroll for value in self.values):
            self._guarded_update(columns, scope)
            return tuple(scope.statements)
        groups = [[column] for column in columns] if reduction.keeps_terms else [columns]
        for n, group in enumerate(groups):
            new = with_known_signs(reduction.update(self.partial.version(n), group))
            self.emitter.count_uses(self.values if self.wide else [*new, *self.values])
            if self.wide:
                self.keeper.count_uses(new)
            if n == 0:
                self._compute_short_values(cols)
            self.assign_state(self.partial, new, scope, range(self.rows), reduction.keeps_terms)
        return tuple(scope.statements)

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

    def _preview(self) -> Preview:
        """The look at a tile's columns, which sets limits to the lists."""
        limits, cols, rows = self.limits, self.schedule.cols, range(self.rows)
        assert limits is not None
        scope = self.start_pair()
        self.emitter.cols = cols
        self.emitter.count_uses(self.values[:1])
        terms = [[self.emitter.component(self.values[0], 0, r, c) for r in rows] for c in range(cols)]
        scope.statements += [limits.first_of(term, r) for column in terms for r, term in enumerate(column)]
        return limits.preview(
            self.schedule.preview, cols, tuple(self._last_kept(r) for r in rows), tuple(scope.statements)
        )

    def _last_kept(self, r: int) -> str:
        """The last term of the list of row r."""
        return self.state.name(0, self.state.slots[0].dim - 1, r)

    def _guard(self, version: int, columns: Sequence[Column]) -> Expr:
        """Whether some of these columns may enter the state, which has changed so many times since the block began."""
        guard, state = self.program.reduction.guard, self.partial.version(version) if version else self.partial.leaves
        assert guard is not None
        return guard(state if self.limits is None else self.limits.stands_for(state, version), columns)

    def _after_entering(self, r: int, scope: Scope, cols: int) -> None:
        """Once terms of a block of so many columns are in the list of row r: its limit, and whether a look is due."""
        if self.limits is not None:
            together = 1 if self.queue is None else self.queue.length
            scope.statements += [
                self.limits.lowered(self._last_kept(r), r),
                self.limits.entered(together, cols),
            ]

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
                new = reduction.update(self.partial.leaves, columns)
                self.assign_state(self.partial, new, outer, [r], reduction.keeps_terms)
                self._after_entering(r, outer, len(columns))
            scope.statements.append(If(condition, tuple(outer.statements)))
            self.pair = scope

    def _queued_update(self, columns: Sequence[Column], r: int, outer: Scope) -> None:
        """Columns into the queue of row r, in lanes where they may enter the state; a full queue enters."""
        queue = self.queue
        assert queue is not None
        for start in range(0, len(columns), BLOCK):
            block = columns[start : start + BLOCK]
            masks = [self.emitter.component(self._guard(0, [column]), 0, r, None) for column in block]
            terms = [self.emitter.component(column.values[0], 0, r, None) for column in block]
            index = self.emitter.component(block[0].index, 0, r, None)
            outer.statements += queue.append(r, masks, terms, index, self.emitter.fresh("terms"), self.lanes)
        # Also after a single column: where a tile ends with some, the next one begins with a whole block.
        entering = Scope(outer)
        entering.statements += self._enter_queued(r, outer)
        self._after_entering(r, entering, len(columns))
        outer.statements.append(If(queue.short_of(self.schedule.cols, r), tuple(entering.statements)))

    def _enter_queued(self, r: int, outer: Scope) -> tuple[Statement, ...]:
        """Update the state of row r with all that waits, and empty the queue."""
        reduction, queue = self.program.reduction, self.queue
        assert reduction.guard is not None
        assert queue is not None
        self._waiting = self.emitter.fresh("k")
        if queue.sorting is not None:
            indices = self.state.array(1, r) if queue.sorting.indexed else ""
            return queue.merged(self._waiting, r, self.state.array(0, r), indices, self.lanes)
        turn = self.start_pair(outer)
        state, column = self.partial.version(-1), Column((QUEUED_VALUE,), QUEUED_INDEX)
        needed = self._any(reduction.guard(state, [column]), r)
        inner = self.start_pair(turn)
        self.assign_state(self.partial, reduction.update(state, [column]), inner, [r], descending=True)
        turn.statements.append(If(needed, tuple(inner.statements)))
        self.pair = outer
        return queue.entered(self._waiting, r, tuple(turn.statements), self.lanes)

    def _any(self, mask: Expr, r: int) -> str:
        """Whether a mask holds in some lane and component."""
        texts = [self.emitter.component(mask, k, r, None) for k in range(mask.dim)]
        return f"ANY({' || '.join(texts)})"

    def _compute_short_values(self, cols: int) -> None:
        """Values column by column, then row by row: loads and values of a column stay together in registers."""
        self._compute_deep_values(cols)
        for value in self.values:
            # A product is left to the statement that adds it to the state, where it contracts.
            roots = value.args if value.op.name == "mul" else (value,)
            if value.dim <= self.unroll:
                for c in range(cols):
                    for r in range(self.rows):
                        for root in roots:
                            for k in range(root.dim):
                                self.emitter.component(root, k, r, c)

    def _compute_deep_values(self, cols: int) -> None:
        """Of a long formula, values of length 1 from the leaves upwards: the emitter descends by recursion."""
        order = topological(self.values)
        if len(order) <= _DEEP:
            return
        for node in order:
            if node.dim == 1 and node.args and not is_remap(node) and node.op.name not in PRODUCTS:
                for c in range(cols):
                    for r in range(self.rows):
                        self.emitter.component(node, 0, r, c)

    def alias(self, node: Expr) -> tuple[Expr, int] | None:
        name = node.params[0]
        if isinstance(name, tuple) and name[0] == "value":
            return self.values[name[1]], name[2]
        return None

    def is_state(self, node: Expr) -> bool:
        name = node.params[0]
        return isinstance(name, tuple) and (name[0] in self._states or name[0] == Limits.stem)

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        name, *_ = node.params
        if node.op.name == "position":
            return f"(inum)(j + {c})" if node.domain == Domain.J else f"(inumv)((inum)row_{r}) + {self.lane_numbers}"
        if self.is_state(node):
            r = 0 if r is None else r
            return Limits.name(r) if name[0] == Limits.stem else self._states[name[0]].name(name[1], k, r)
        if isinstance(name, tuple) and name[0] == "column":
            return f"(inum)(j + {name[1]})"
        if name == "first":
            found = "first_piece < end_piece ? pieces[2 * first_piece] : -1" if self.task else "columns > 0 ? 0 : -1"
            return f"(inum)({found})"
        if self.queue is not None and node in (QUEUED_VALUE, QUEUED_INDEX):
            return f"{self.queue.name(name[1], r or 0)}[{self._waiting}]"
        pointer, at = self.names[node], text_of(k)
        if node.domain == Domain.P:
            return f"{pointer}[{at}]" if node.kind == REAL else f"narrow_index({pointer}[{at}], 0)"
        if node.domain == Domain.J:
            start = (c or 0) * node.dim
            text = f"{pointer}_j[{start + k if isinstance(k, int) else f'{start} + {at}'}]"
            return text if node.kind == REAL else f"narrow_index({text}, 0)"
        if node in self.panels:
            if self.lanes > 1:
                return f"((const __global realv*){pointer}_{r})[{at}]"
            return f"{pointer}_{r}[{at} * {PANEL_OF_ONE_LANE}]"
        if node.kind == INDEX:
            return f"load_index({pointer} + row_{r} * {node.dim} + {at}, {node.dim}, count_{r}, 0)"
        return f"load_lanes({pointer} + row_{r} * {node.dim} + {at}, {node.dim}, count_{r})"
