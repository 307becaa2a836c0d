"""`MapReduce` + `Schedule` -> kernels: which statements run once, per i, per column, per pair, per tile, at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clreduce.codegen.emit import Scope
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.hoist import hoist
from clreduce.codegen.kernel import ColumnInput, Declare, Kernel, Statement
from clreduce.codegen.limits import check_length
from clreduce.codegen.lower_map import Stored, lower_map
from clreduce.codegen.lower_merge import lower_merge
from clreduce.codegen.preview import Limits
from clreduce.codegen.queue import QUEUED_INDEX, QUEUED_VALUE
from clreduce.codegen.schedule import LOCAL, Schedule, check_state
from clreduce.codegen.updates import Updates
from clreduce.codegen.writer import OFFSETS, PIECES, TASKS, batch_moves, buffers
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, variables
from clreduce.ir.index import Position, text_of
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
    leaves = tuple(leaf for leaf, _ in hoisted.stored)
    return Lowered(stored, leaves, pair.kernel(False, batched), pair.kernel(True, batched), merge, pair.inputs)


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
        super().__init__(program, values, dtype, schedule, wide)
        self.task = schedule.group_rows if ranged else 0
        self.panels = panels
        self.inputs = tuple(variables(values))
        self.names = {leaf: f"v{n}" for n, leaf in enumerate(self.inputs)}
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

    def alias(self, node: Expr) -> tuple[Expr, int] | None:
        name = node.params[0]
        if isinstance(name, tuple) and name[0] == "value":
            return self.values[name[1]], name[2]
        return None

    def is_state(self, node: Expr) -> bool:
        name = node.params[0]
        return isinstance(name, tuple) and (name[0] in self.states or name[0] == Limits.stem)

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        name, *_ = node.params
        if node.op.name == "position":
            return f"(inum)(j + {c})" if node.domain == Domain.J else f"(inumv)((inum)row_{r}) + {self.lane_numbers}"
        if self.is_state(node):
            r = 0 if r is None else r
            return Limits.name(r) if name[0] == Limits.stem else self.states[name[0]].name(name[1], k, r)
        if isinstance(name, tuple) and name[0] == "column":
            return f"(inum)(j + {name[1]})"
        if name == "first":
            found = "first_piece < end_piece ? pieces[2 * first_piece] : -1" if self.task else "columns > 0 ? 0 : -1"
            return f"(inum)({found})"
        if self.queue is not None and node in (QUEUED_VALUE, QUEUED_INDEX):
            return f"{self.queue.name(name[1], r or 0)}[{self.waiting}]"
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
