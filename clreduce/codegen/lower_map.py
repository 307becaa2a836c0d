"""The kernel that computes one vector per index and stores it, lanes over the index."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.emit import Scope
from clreduce.codegen.kernel import Call, Kernel
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.writer import OFFSETS, TASKS, Writer, batch_moves, buffers
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, variables
from clreduce.ir.index import Position, text_of
from clreduce.program import swapped


@dataclass(frozen=True)
class Stored:
    """A buffer that a `map` kernel fills before the pair kernel runs: one vector per i, per j, or in all."""

    kernel: Kernel
    inputs: tuple[Expr, ...]
    domain: Domain
    dim: int
    panel: int
    """Rows that stand side by side; 0: row by row."""
    by_task: bool = False
    """Whether the rows are those of the tasks of a block-sparse call, task by task."""

    def length(self, count: int) -> int:
        """Numbers in the buffer for ``count`` indices."""
        block = self.panel or 1
        return -(-count // block) * block * self.dim


class _MapLowering(Writer):
    """The kernel that computes one vector per index, lanes over the index."""

    def __init__(self, node: Expr, dtype: str, schedule: Schedule, panel: int, by_task: bool) -> None:
        super().__init__(dtype, schedule.lanes, 1, schedule)
        self.node, self.panel = node, panel
        self.task = schedule.group_rows if by_task else 0
        self.inputs = tuple(variables([node]))
        self.names = {leaf: f"v{n}" for n, leaf in enumerate(self.inputs)}

    def kernel(self, batched: bool) -> Kernel:
        self.emitter.count_uses([self.node])
        dim = self.node.dim
        row = "wanted_0" if self.task else "row_0"

        def write(k: Position, inner: Scope) -> None:
            text = self.emitter.component(self.node, k, 0, None)
            text = text if self.node.domain & Domain.I else f"(realv)({text})"
            if not self.panel:
                call = f"store_lanes(out0 + row_0 * {dim} + {text_of(k)}, {dim}, {text}, count_0)"
            elif self.lanes > 1:
                call = f"((__global realv*)(out0 + {row} * {dim}))[{text_of(k)}] = {text}"
            else:
                start = f"{row} / {self.panel} * {self.panel * dim} + {row} % {self.panel}"
                call = f"out0[{start} + {text_of(k)} * {self.panel}] = {text}"
            inner.statements.append(Call(call))

        self.each_component([self.node], dim, write, self.per_i)
        names = [self.names[leaf] for leaf in self.inputs]
        block = self.panel or 1
        length = f"(rows + {block - 1}) / {block} * {block * dim}"
        return Kernel(
            name="map_rows",
            template="map",
            dtype=self.dtype,
            lanes=self.lanes,
            group=self.group,
            functions=frozenset(self.emitter.functions),
            arguments=buffers([("out0", REAL)], True)
            + buffers([(self.names[leaf], leaf.kind) for leaf in self.inputs], False)
            + ((OFFSETS,) if batched else ())
            + ((TASKS,) if self.task else ()),
            task=self.task,
            batch=batch_moves([("out0", length)], names) if batched else (),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
        )

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        if node.op.name == "position":
            return f"(inumv)((inum)row_0) + {self.lane_numbers}"
        pointer, at = self.names[node], text_of(k)
        if node.domain == Domain.P:
            return f"{pointer}[{at}]" if node.kind == REAL else f"narrow_index({pointer}[{at}], 0)"
        load = "load_lanes" if node.kind == REAL else "load_index"
        base = "" if node.kind == REAL else ", 0"
        return f"{load}({pointer} + row_0 * {node.dim} + {at}, {node.dim}, count_0{base})"


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
