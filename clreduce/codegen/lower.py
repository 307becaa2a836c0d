"""`MapReduce` + `Schedule` -> kernels: which statements run once, per i, per column, per pair, per tile, at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.forms import Forms
from clreduce.codegen.hoist import hoist
from clreduce.codegen.kernel import ORIGIN_I, ORIGIN_J, ColumnInput, Kernel
from clreduce.codegen.limits import check_length
from clreduce.codegen.lower_map import Stored, lower_map
from clreduce.codegen.lower_merge import lower_join, lower_merge
from clreduce.codegen.preview import Limits
from clreduce.codegen.queue import QUEUED_INDEX, QUEUED_VALUE
from clreduce.codegen.schedule import LOCAL, Schedule, check_state
from clreduce.codegen.scopes import Scope
from clreduce.codegen.tree import (
    Binary,
    Call,
    Declare,
    Expression,
    Index,
    Load,
    Name,
    Place,
    Select,
    Statement,
    cast,
    joined,
    number,
    plus,
    times,
)
from clreduce.codegen.updates import Updates
from clreduce.codegen.writer import (
    OFFSETS,
    PIECES,
    TASKS,
    batch_moves,
    buffers,
    in_panel,
    narrowed_index,
    pointer_to,
    vector_at,
)
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, variables
from clreduce.ir.index import Position
from clreduce.ir.rewrite import simplify
from clreduce.ir.signs import with_known_signs
from clreduce.program import MapReduce, Output
from clreduce.reductions.reduction import Slot

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
    join: Kernel
    """Merges states of parts, too, and stores the state."""
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
    check_length(program.values, schedule.unroll, schedule.rows, schedule.cols)
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
    join = lower_join(program, kept, schedule, batched)
    leaves = tuple(leaf for leaf, _ in hoisted.stored)
    return Lowered(stored, leaves, pair.kernel(False, batched), pair.kernel(True, batched), merge, join, pair.inputs)


class _PairLowering(Updates):
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
        forms = Forms(dtype, facts)
        values = forms(values)
        super().__init__(program, values, dtype, schedule, wide, forms)
        if schedule.shape == LOCAL:
            # One load from local memory for four components, where compilers see that it is aligned.
            self.emitter.at_once = self.keeper.at_once = 4
        self.task = schedule.group_rows if ranged else 0
        self.panels = panels
        self.inputs = tuple(variables(values))
        self.names = {leaf: Name(f"v{n}", pointer_to(leaf.kind, const=True)) for n, leaf in enumerate(self.inputs)}
        size = 4 if dtype == "float" else 8
        budget = facts.local_memory // 2 // (size * max(1, schedule.tile))
        self.staged: set[Expr] = set()
        for leaf in self.inputs:
            if schedule.shape == LOCAL and leaf.domain == Domain.J and leaf.kind == REAL and leaf.dim <= budget:
                self.staged.add(leaf)
                budget -= leaf.dim

    def kernel(self, split: bool, batched: bool) -> Kernel:
        """The kernel; ``split``: it stores the state of its part of j instead of results."""
        schedule, reduction = self.schedule, self.program.reduction
        self.once, self.per_i = Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self._pointers()
        body = self.block(schedule.cols)
        tail = body if schedule.cols == 1 else self.block(1)
        preview = self.preview(body) if self.limits is not None else None
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
            drain = sum((self.enter_queued(r, self.start_pair()) for r in range(self.rows)), ())
        stored: Sequence[Slot | Output] = self.state.slots if split else self.program.outputs
        real = self.keeper.types.real
        outputs = buffers([(f"out{n}", slot.kind) for n, slot in enumerate(stored)], written=True, real=real)
        inputs = buffers([(self.names[leaf].name, leaf.kind) for leaf in self.inputs], written=False)
        parts = cast("long", Call("get_global_size", (number(1),), "long"))
        rows_of_parts = times(parts, Name("rows", "long"))
        lengths = [
            (Name(f"out{n}", pointer_to(slot.kind, self.keeper.types)), times(rows_of_parts, number(slot.dim)))
            for n, slot in enumerate(stored)
        ]
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
            origin=(ORIGIN_I.name, ORIGIN_J.name) if self.program.has_positions else (),
            rows=schedule.rows,
            cols=schedule.cols,
            group=schedule.group,
            tile=schedule.tile if preview is None else preview.tile,
            column_inputs=tuple(
                ColumnInput(name.name, "real" if leaf.kind == REAL else "long", leaf.dim, leaf in self.staged)
                for leaf, name in self.names.items()
                if leaf.domain == Domain.J
            ),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
            state=self.state.declarations(self.rows, self.keeper.dtype)
            + (self.queue.declarations(self.rows, self.lanes) if self.queue else ()),
            reset=self.partial.declarations(self.rows, self.keeper.dtype) if self.blocked else (),
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
                row: Expression = Name(f"row_{r}", "long")
                if self.task:
                    task = times(Name("task", "long"), number(self.task))
                    row = Binary("-", plus(task, Name(f"wanted_{r}", "long")), Name("first_row", "long"))
                one_lane = in_panel(row, PANEL_OF_ONE_LANE, leaf.dim)
                steps = (times(row, number(leaf.dim)),) if self.lanes > 1 else one_lane
                start = joined("+", (name, *steps))
                self.per_i.statements.append(Declare(self._row_of_panel(leaf, r), start))

    def _row_of_panel(self, leaf: Expr, r: int) -> Name:
        name = self.names[leaf]
        return Name(f"{name.name}_{r}", name.type)

    def alias(self, node: Expr) -> tuple[Expr, int] | None:
        name = node.params[0]
        if isinstance(name, tuple) and name[0] == "value":
            return self.values[name[1]], name[2]
        return None

    def is_state(self, node: Expr) -> bool:
        name = node.params[0]
        return isinstance(name, tuple) and (name[0] in self.states or name[0] == Limits.stem)

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        name, *_ = node.params
        if node.op.name == "position":
            return (
                column(c or 0) if node.domain == Domain.J else self.positions(plus(ORIGIN_I, Name(f"row_{r}", "long")))
            )
        if self.is_state(node):
            r = 0 if r is None else r
            return Limits.name(r) if name[0] == Limits.stem else self.states[name[0]].name(name[1], k, r)
        if isinstance(name, tuple) and name[0] == "column":
            return column(name[1])
        if name == "first":
            return cast("inum", self._first_column())
        if self.queue is not None and node in (QUEUED_VALUE, QUEUED_INDEX):
            return Index(self.queue.name(name[1], r or 0), self.waiting)
        pointer = self.names[node]
        if node.domain == Domain.P:
            value = Index(pointer, Place(k))
            return value if node.kind == REAL else narrowed_index(value)
        if node.domain == Domain.J:
            value = Index(Name(f"{pointer.name}_j", self._pointer_to_column(node)), Place(k + (c or 0) * node.dim))
            return value if node.kind == REAL else narrowed_index(value)
        if node in self.panels:
            start = self._row_of_panel(node, r or 0)
            if self.lanes > 1:
                return Index(cast("const __global realv*", start), Place(k))
            return Index(start, Place(k * PANEL_OF_ONE_LANE))
        at = vector_at(pointer, Name(f"row_{r}", "long"), node.dim, k)
        return Load(at, node.dim, Name(f"count_{r}", "int"), "realv" if node.kind == REAL else "inumv")

    def _pointer_to_column(self, leaf: Expr) -> str:
        kind = self.names[leaf].type
        return kind.replace("__global", "__local") if leaf in self.staged else kind

    def _first_column(self) -> Expression:
        """The first column that a row visits, -1 if there is none."""
        if not self.task:
            return Select(Binary(">", Name("columns", "long"), number(0)), ORIGIN_J, number(-1))
        first, end = Name("first_piece", "long"), Name("end_piece", "long")
        pieces = Name("pieces", pointer_to(INDEX, const=True))
        return Select(Binary("<", first, end), plus(ORIGIN_J, Index(pieces, times(number(2), first))), number(-1))


def column(offset: int) -> Expression:
    """The position of a column of the block that begins at j."""
    return cast("inum", plus(plus(ORIGIN_J, Name("j", "long")), number(offset)))
