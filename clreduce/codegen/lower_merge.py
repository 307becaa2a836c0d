"""The kernel that merges the states of the parts of j, row by row."""

from __future__ import annotations

from clreduce.codegen.kernel import Kernel
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.scopes import NARROW
from clreduce.codegen.tree import Binary, Expression, Index, Name, Place, Select, cast, number, plus, times
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
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column


class _MergeLowering(Writer):
    """The kernel that merges the states of the parts of j, row by row."""

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

    def kernel(self, batched: bool) -> Kernel:
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
        finish = self.finish(self.program, self.state, split=False)
        outputs = buffers([(f"out{n}", o.kind) for n, o in enumerate(self.program.outputs)], written=True)
        parts = buffers([(f"part{n}", s.kind) for n, s in enumerate(self.program.state_slots)], written=False)
        rows = Name("rows", "long")
        rows_of_parts = times(Name("parts", "long"), rows)
        lengths = [
            (Name(f"out{n}", pointer_to(output.kind)), times(rows, number(output.dim)))
            for n, output in enumerate(self.program.outputs)
        ]
        for n, slot in enumerate(self.program.state_slots):
            lengths.append((self._part(n), times(rows_of_parts, number(slot.dim))))
        return Kernel(
            name="merge_parts",
            template="merge",
            dtype=self.dtype,
            lanes=1,
            group=self.group,
            members=self.members,
            batch=batch_moves(lengths, ()) if batched else (),
            functions=frozenset(self.emitter.functions),
            arguments=outputs + parts + ((FIRSTS,) if self.ranged else ()),
            once=tuple(self.once.statements),
            state=self.state.declarations(1, self.dtype),
            body=body,
            finish=finish,
        )

    def is_state(self, node: Expr) -> bool:
        return isinstance(node.params[0], tuple) and node.params[0][0] == self.state.stem

    def _part(self, n: int) -> Name:
        """The buffer of slot n of all parts' states."""
        return Name(f"part{n}", pointer_to(self.program.state_slots[n].kind, const=True))

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        name = node.params[0]
        if name == "first":
            if self.ranged:
                return narrowed_index(Index(Name("firsts", pointer_to(INDEX, const=True)), Name("row_0", "long")))
            return cast("inum", Select(Binary(">", Name("columns", "long"), number(0)), number(0), number(-1)))
        if name[0] == "part":
            value = Index(self._part(name[1]), plus(times(Name("at", "long"), number(node.dim)), Place(k)))
            return value if node.kind == REAL else cast("inum", value)
        return self.state.name(name[1], k, 0)


def lower_merge(program: MapReduce, dtype: str, schedule: Schedule, batched: bool, ranged: bool) -> Kernel:
    return _MergeLowering(program, dtype, schedule, ranged).kernel(batched)
