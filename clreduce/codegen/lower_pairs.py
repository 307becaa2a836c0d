"""The kernel that visits all pairs, with the statements that run once, per i, per column, per tile and at the end."""

from __future__ import annotations

from collections.abc import Sequence

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.forms import Forms
from clreduce.codegen.frame import (
    COLUMNS,
    END_PIECE,
    FIRST_PIECE,
    FIRST_ROW,
    IN_TILE,
    ORIGIN_I,
    ORIGIN_J,
    ROWS,
    TASK,
    TILE_BEGIN,
    J,
    count,
    row,
    wanted,
)
from clreduce.codegen.kernel import ColumnInput, Helper, Kernel
from clreduce.codegen.panels import ROWS_OF_PANEL, Panel
from clreduce.codegen.schedule import LOCAL, Schedule, staged_bytes
from clreduce.codegen.scopes import Scope
from clreduce.codegen.tree import (
    Binary,
    Declare,
    Expression,
    FunctionCall,
    Load,
    Name,
    Place,
    Select,
    Statement,
    Subscript,
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
    narrowed_index,
    pointer_to,
    vector_at,
)
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, variables
from clreduce.ir.index import Position
from clreduce.program import MapReduce, Output
from clreduce.reductions.reduction import Slot


class PairLowering(Updates):
    """Makes the kernel that visits all pairs."""

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
        forms = Forms(dtype, facts, schedule.shape == LOCAL and schedule.lanes == 1)
        values = forms(values)
        super().__init__(program, values, dtype, schedule, wide, forms)
        if schedule.shape == LOCAL:
            # Compilers load four components from local memory at once if they see that the address is aligned.
            self.emitter.at_once = self.keeper.at_once = 4
        self.task = schedule.group_rows if ranged else 0
        self.tile, self.first_column = schedule.tile, TILE_BEGIN
        self.panels = panels
        self.inputs = tuple(variables(values))
        self.names = {leaf: Name(f"v{n}", pointer_to(leaf.kind, const=True)) for n, leaf in enumerate(self.inputs)}
        size = 4 if dtype == "float" else 8
        budget = staged_bytes(facts) // (size * max(1, schedule.tile))
        self.staged: set[Expr] = set()
        for leaf in self.inputs:
            if schedule.shape == LOCAL and leaf.domain == Domain.J and leaf.kind == REAL and leaf.dim <= budget:
                self.staged.add(leaf)
                budget -= leaf.dim

    def kernel(self, split: bool, batched: bool) -> Kernel:
        """The kernel. With ``split``, it stores the state of its part of j instead of results."""
        schedule, reduction = self.schedule, self.program.reduction
        self.once, self.per_i = Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self._pointers()
        pointers, visit = self.column_pointers(), self.block(schedule.cols)
        body = pointers + visit
        tail = body if schedule.cols == 1 else pointers + self.block(1)
        tile_start = self.before_columns(visit)
        flush: tuple[Statement, ...] = ()
        if self.blocked:
            scope = self.start_pair()
            merged = reduction.merge(self.state.leaves, self.partial.leaves)
            self.keeper.count_uses(merged)
            self.assign_state(self.state, merged, scope, range(self.rows))
            flush = tuple(scope.statements)
        finish = self.finish(self.program, self.state, split)
        drain = self.after_columns()
        kept = self.state.declarations(self.rows, self.keeper.dtype) + self.working_state()
        stored: Sequence[Slot | Output] = self.state.slots if split else self.program.outputs
        real = self.keeper.types.real
        outputs = buffers([(f"out{n}", slot.kind) for n, slot in enumerate(stored)], written=True, real=real)
        inputs = buffers([(self.names[leaf].name, leaf.kind) for leaf in self.inputs], written=False)
        parts = cast("long", FunctionCall("get_global_size", (number(1),), "long"))
        rows_of_parts = times(parts, ROWS)
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
            tile=self.tile,
            helpers=self.helpers(),
            column_inputs=tuple(
                ColumnInput(name.name, "real" if leaf.kind == REAL else "long", leaf.dim, leaf in self.staged)
                for leaf, name in self.names.items()
                if leaf.domain == Domain.J
            ),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
            state=kept,
            reset=self.partial.declarations(self.rows, self.keeper.dtype) if self.blocked else (),
            body=body,
            tail=tail,
            flush=flush,
            drain=drain,
            tile_start=tile_start,
            first_column=self.first_column,
            finish=finish,
        )

    # Hooks for the lowerings of other states.

    def helpers(self) -> tuple[Helper, ...]:
        """Functions that templates define for this kernel."""
        return ()

    def working_state(self) -> tuple[Statement, ...]:
        """Declarations of what each row keeps besides the state, before all columns."""
        return ()

    def before_columns(self, visit: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The statements at the start of each tile; ``visit`` are those of a visit to a block of columns."""
        return ()

    def after_columns(self) -> tuple[Statement, ...]:
        """The statements after all columns."""
        return ()

    def column_pointers(self) -> tuple[Statement, ...]:
        """Pointers to the data of the columns from j on, in memory or in the staged tile."""
        pointers = []
        for leaf, name in self.names.items():
            if leaf.domain == Domain.J:
                kind, start = self._pointer_to_column(leaf), plus(name, times(J, number(leaf.dim)))
                if leaf in self.staged:
                    start = plus(Name(f"{name.name}_tile", kind), times(IN_TILE, number(leaf.dim)))
                pointers.append(Declare(Name(f"{name.name}_j", kind), start))
        return tuple(pointers)

    def _pointers(self) -> None:
        """Declare pointers to the rows of panels. In a block-sparse call, panels have the rows of task after task."""
        for leaf in self.inputs:
            if leaf not in self.panels:
                continue
            name = self.names[leaf]
            for r in range(self.rows):
                at: Expression = row(r)
                if self.task:
                    at = Binary("-", plus(times(TASK, number(self.task)), wanted(r)), FIRST_ROW)
                one_lane = Panel.of(leaf.dim, self.dtype, self.schedule).start(at)
                steps = (times(at, number(leaf.dim)),) if self.lanes > 1 else one_lane
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
        return isinstance(name, tuple) and name[0] in self.states

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        name, *_ = node.params
        if node.op.name == "position":
            return _column(c or 0) if node.domain == Domain.J else self.positions(plus(ORIGIN_I, row(r or 0)))
        if self.is_state(node):
            return self.states[name[0]].name(name[1], k, r or 0)
        if isinstance(name, tuple) and name[0] == "column":
            return _column(name[1])
        if name == "first":
            return cast("inum", self._first_column())
        pointer = self.names[node]
        if node.domain == Domain.P:
            value = Subscript(pointer, Place(k))
            return value if node.kind == REAL else narrowed_index(value)
        if node.domain == Domain.J:
            value = Subscript(Name(f"{pointer.name}_j", self._pointer_to_column(node)), Place(k + (c or 0) * node.dim))
            return value if node.kind == REAL else narrowed_index(value)
        if node in self.panels:
            start = self._row_of_panel(node, r or 0)
            if self.lanes > 1:
                return Subscript(cast("const __global realv*", start), Place(k))
            panel = Panel.of(node.dim, self.dtype, self.schedule)
            if panel.together > 1 and isinstance(part := k % panel.together, int):
                self.emitter.functions.add("load_four")
                return FunctionCall(
                    "load_four_s", (start, Place(k // panel.together * ROWS_OF_PANEL), Place(part)), "real"
                )
            return Subscript(start, Place(panel.place(k)))
        at = vector_at(pointer, row(r or 0), node.dim, k)
        return Load(at, node.dim, count(r or 0), "realv" if node.kind == REAL else "inumv")

    def _pointer_to_column(self, leaf: Expr) -> str:
        kind = self.names[leaf].type
        return kind.replace("__global", "__local") if leaf in self.staged else kind

    def _first_column(self) -> Expression:
        """The first column that a row visits; -1 if there is none."""
        if not self.task:
            return Select(Binary(">", COLUMNS, number(0)), ORIGIN_J, number(-1))
        pieces = Name("pieces", pointer_to(INDEX, const=True))
        first = plus(ORIGIN_J, Subscript(pieces, times(number(2), FIRST_PIECE)))
        return Select(Binary("<", FIRST_PIECE, END_PIECE), first, number(-1))


def _column(offset: int) -> Expression:
    """The position of column ``offset`` of the block that begins at j."""
    return cast("inum", plus(plus(ORIGIN_J, J), number(offset)))
