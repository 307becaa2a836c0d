"""The kernel that merges the states of the parts of j, row by row."""

from __future__ import annotations

from collections.abc import Sequence

from clreduce.codegen.frame import AT, FIRST_COLUMN, PARTS, ROWS, row
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.scopes import NARROW
from clreduce.codegen.tree import Expression, Name, Place, Subscript, cast, number, plus, times
from clreduce.codegen.writer import (
    FIRSTS,
    StateText,
    Writer,
    batch_moves,
    buffers,
    narrowed_index,
    pointer_to,
)
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.index import Position
from clreduce.ir.op import variable
from clreduce.program import MapReduce, Output
from clreduce.reductions.reduction import Column, Slot


class _MergeLowering(Writer):
    """Makes the kernels that merge the states of parts of j row by row, and finish or store the merged state."""

    def __init__(self, program: MapReduce, dtype: str, schedule: Schedule, ranged: bool) -> None:
        super().__init__(dtype, 1, 1, schedule)
        self.program, self.ranged = program, ranged
        reduction = program.reduction
        self.state = StateText(program.state_slots, program.outputs, "s", self.unroll, NARROW)
        self.members = (reduction.count or 1) if reduction.keeps_terms else 1
        self.part = tuple(
            variable(("part", n), slot.dim // self.members, Domain.IJ, slot.kind)
            for n, slot in enumerate(program.state_slots)
        )

    def kernel(self, batched: bool, finishes: bool) -> Kernel:
        self.source = "part" if finishes else "state"
        scope = self.start_pair()
        reduction = self.program.reduction
        if reduction.keeps_terms:
            values = tuple(part for part in self.part if part.kind == REAL)
            merged = reduction.update(self.state.leaves, [Column(values, self.part[-1])])
        else:
            merged = reduction.merge(self.state.leaves, self.part)
        self.emitter.count_uses(merged)
        self.assign_state(self.state, merged, scope, [0], descending=reduction.keeps_terms)
        body = tuple(scope.statements)
        finish = self.finish(self.program, self.state, split=not finishes)
        stored: Sequence[Slot | Output] = self.program.outputs if finishes else self.program.state_slots
        outputs = buffers([(f"out{n}", result.kind) for n, result in enumerate(stored)], written=True)
        parts = buffers([(f"part{n}", s.kind) for n, s in enumerate(self.program.state_slots)], written=False)
        rows_of_parts = times(PARTS, ROWS)
        lengths = [
            (Name(f"out{n}", pointer_to(result.kind)), times(ROWS, number(result.dim)))
            for n, result in enumerate(stored)
        ]
        for n, slot in enumerate(self.program.state_slots):
            lengths.append((self._states("part", n), times(rows_of_parts, number(slot.dim))))
        return Kernel(
            name="merge_parts" if finishes else "join_parts",
            template="merge",
            dtype=self.dtype,
            lanes=1,
            group=self.group,
            members=self.members,
            joined=0 if finishes else len(self.program.state_slots),
            batch=batch_moves(lengths, ()) if batched else (),
            functions=frozenset(self.emitter.functions),
            arguments=outputs + parts + ((FIRSTS,) if self.ranged and finishes else ()),
            once=tuple(self.once.statements),
            state=self.state.declarations(1, self.dtype),
            body=body,
            finish=finish,
        )

    def is_state(self, node: Expr) -> bool:
        return isinstance(node.params[0], tuple) and node.params[0][0] == self.state.stem

    def _states(self, source: str, n: int) -> Name:
        """The buffer of slot n of the states of all parts; ``source`` is the stem of its name."""
        return Name(f"{source}{n}", pointer_to(self.program.state_slots[n].kind, const=True))

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        name = node.params[0]
        if name == "first":
            if self.ranged:
                return narrowed_index(Subscript(Name("firsts", pointer_to(INDEX, const=True)), row(0)))
            return cast("inum", FIRST_COLUMN)
        if name[0] == "part":
            value = Subscript(self._states(self.source, name[1]), plus(times(AT, number(node.dim)), Place(k)))
            return value if node.kind == REAL else cast("inum", value)
        return self.state.name(name[1], k, 0)


def lower_merge(program: MapReduce, dtype: str, schedule: Schedule, batched: bool, ranged: bool) -> Kernel:
    """The kernel that merges states and computes results."""
    return _MergeLowering(program, dtype, schedule, ranged).kernel(batched, finishes=True)


def lower_join(program: MapReduce, dtype: str, schedule: Schedule, batched: bool) -> Kernel:
    """The kernel that merges states and stores the merged state."""
    return _MergeLowering(program, dtype, schedule, ranged=False).kernel(batched, finishes=False)
