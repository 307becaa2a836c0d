"""The kernel that computes and stores one vector per index; lanes run over the index."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.frame import ORIGIN, ROWS, count, row, wanted
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.panels import Panel
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.scopes import Scope
from clreduce.codegen.tree import (
    Assign,
    Binary,
    Expression,
    Load,
    Name,
    Place,
    Subscript,
    cast,
    joined,
    number,
    plus,
    times,
)
from clreduce.codegen.writer import (
    OFFSETS,
    TASKS,
    Writer,
    batch_moves,
    buffers,
    narrowed_index,
    pointer_to,
    stored,
    vector_at,
)
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, variables
from clreduce.ir.index import Position
from clreduce.program import swapped


@dataclass(frozen=True)
class Stored:
    """A buffer that a `map` kernel fills before the pair kernel runs: one vector per i, per j, or a single one."""

    kernel: Kernel
    inputs: tuple[Expr, ...]
    domain: Domain
    dim: int
    panel: int
    """The number of interleaved rows; 0 if the buffer is stored row by row."""
    by_task: bool = False
    """Whether the buffer has the rows of the tasks of a block-sparse call, task by task."""

    def length(self, count: int) -> int:
        """The length of the buffer for ``count`` indices, in numbers."""
        block = self.panel or 1
        return -(-count // block) * block * self.dim


class _MapLowering(Writer):
    """Makes the kernel that computes one vector per index; lanes run over the index."""

    def __init__(self, node: Expr, dtype: str, schedule: Schedule, panel: int, by_task: bool) -> None:
        super().__init__(dtype, schedule.lanes, 1, schedule)
        self.node, self.panel, self.schedule = node, panel, schedule
        self.task = schedule.group_rows if by_task else 0
        self.inputs = tuple(variables([node]))
        self.has_origin = False
        self.names = {leaf: Name(f"v{n}", pointer_to(leaf.kind, const=True)) for n, leaf in enumerate(self.inputs)}

    def kernel(self, batched: bool) -> Kernel:
        self.emitter.count_uses([self.node])
        dim = self.node.dim
        place = wanted(0) if self.task else row(0)
        out = Name("out0", pointer_to(REAL))

        def write(k: Position, inner: Scope) -> None:
            value = self.emitter.component(self.node, k, 0, None)
            value = value if self.node.domain & Domain.I else cast("realv", value)
            if not self.panel:
                inner.statements.append(stored("store_lanes", vector_at(out, place, dim, k), dim, value, 0))
            elif self.lanes > 1:
                start = cast("__global realv*", plus(out, times(place, number(dim))))
                inner.statements.append(Assign(Subscript(start, Place(k)), value))
            else:
                panel = Panel.of(dim, self.dtype, self.schedule)
                at = joined("+", (*panel.start(place), Place(panel.place(k))))
                inner.statements.append(Assign(Subscript(out, at), value))

        self.each_component([self.node], dim, write, self.per_i)
        names = [self.names[leaf] for leaf in self.inputs]
        block = self.panel or 1
        blocks = Binary("/", plus(ROWS, number(block - 1)), number(block))
        return Kernel(
            name="map_rows",
            template="map",
            dtype=self.dtype,
            lanes=self.lanes,
            group=self.group,
            functions=frozenset(self.emitter.functions),
            arguments=buffers([("out0", REAL)], True)
            + buffers([(self.names[leaf].name, leaf.kind) for leaf in self.inputs], False)
            + ((OFFSETS,) if batched else ())
            + ((TASKS,) if self.task else ()),
            task=self.task,
            origin=(ORIGIN.name,) if self.has_origin else (),
            batch=batch_moves([(out, times(blocks, number(block * dim)))], names) if batched else (),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
        )

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        if node.op.name == "position":
            self.has_origin = True
            return self.positions(plus(ORIGIN, row(0)))
        pointer = self.names[node]
        if node.domain == Domain.P:
            value = Subscript(pointer, Place(k))
            return value if node.kind == REAL else narrowed_index(value)
        kind = "realv" if node.kind == REAL else "inumv"
        return Load(vector_at(pointer, row(0), node.dim, k), node.dim, count(0), kind)


def lower_map(node: Expr, dtype: str, schedule: Schedule, panel: int, batched: bool, ranged: bool) -> Stored:
    domain = node.domain
    dim = node.dim
    origin: dict[Expr, Expr] = {}
    if domain == Domain.J:
        node, origin = swapped(node)
    by_task = ranged and panel > 0
    lowering = _MapLowering(node, dtype, schedule, panel, by_task)
    inputs = tuple(origin.get(leaf, leaf) for leaf in lowering.inputs)
    return Stored(lowering.kernel(batched), inputs, domain, dim, panel, by_task)
