"""`MapReduce` + `Schedule` -> kernels: which statements run once, per i, per column, per pair, per tile, at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clreduce.codegen.emit import Emitter, Scope, literal
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.hoist import hoist
from clreduce.codegen.kernel import Argument, Assign, Call, ColumnInput, Declare, Kernel, Let, Statement
from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, exact, variables
from clreduce.ir.index import Position, text_of
from clreduce.ir.op import variable
from clreduce.ir.rewrite import simplify
from clreduce.program import MapReduce, swapped
from clreduce.reductions.reduction import Column, Slot

PANEL_OF_ONE_LANE = 32
"""Rows that stand side by side in a panel read by scalar work-items: one memory transaction of a GPU."""


@dataclass(frozen=True)
class Stored:
    """A buffer that a `map` kernel fills before the pair kernel runs: one vector per i or per j."""

    kernel: Kernel
    inputs: tuple[Expr, ...]
    domain: Domain
    dim: int
    panel: int
    """Rows that stand side by side; 0: row by row."""


@dataclass(frozen=True)
class Lowered:
    """Everything that runs for one program under one schedule."""

    stored: tuple[Stored, ...]
    pair: Kernel
    pair_split: Kernel
    """The same up to its end: it stores the state of each part of j."""
    merge: Kernel
    inputs: tuple[Expr, ...]
    """What the pair kernels read: slots of the program, or ``("stored", n)``."""


def lower(program: MapReduce, dtype: str, schedule: Schedule, facts: DeviceFacts) -> Lowered:
    """The kernels of ``program`` for ``dtype`` (``"float"`` or ``"double"``)."""
    schedule.check(facts)
    values = simplify(program.values)
    hoisted = hoist(values, schedule.unroll)
    panel = schedule.lanes if schedule.lanes > 1 else PANEL_OF_ONE_LANE
    stored = tuple(
        _lower_map(node, dtype, schedule, panel if leaf in hoisted.panels else 0) for leaf, node in hoisted.stored
    )  # fmt: skip
    pair = _PairLowering(program, hoisted.values, hoisted.panels, dtype, schedule, facts)
    return Lowered(stored, pair.kernel(split=False), pair.kernel(split=True), _lower_merge(program, dtype, schedule),
                   pair.inputs)  # fmt: skip


class _StateText:
    """Names of the slots of a reduction's state, and of their components: variables if short, arrays if long."""

    def __init__(self, slots: Sequence[Slot], stem: str, unroll: int) -> None:
        self.slots, self.stem, self.unroll = slots, stem, unroll
        self.leaves = tuple(variable((stem, n), s.dim, Domain.IJ, s.kind) for n, s in enumerate(slots))

    def name(self, n: int, k: Position, r: int) -> str:
        if self.slots[n].dim <= self.unroll:
            return f"{self.stem}{n}_{text_of(k)}_{r}"
        return f"{self.stem}{n}_{r}[{text_of(k)}]"

    def declarations(self, rows: int, dtype: str) -> tuple[Statement, ...]:
        """Every component at its neutral value."""
        statements: list[Statement] = []
        for n, slot in enumerate(self.slots):
            kind = "realv" if slot.kind == REAL else "inumv"
            neutral = f"({kind})({_neutral(slot, dtype)})"
            for r in range(rows):
                if slot.dim <= self.unroll:
                    statements += [Declare(kind, self.name(n, k, r), neutral) for k in range(slot.dim)]
                else:
                    statements.append(Declare(kind, f"{self.stem}{n}_{r}", neutral, slot.dim))
        return tuple(statements)


def _neutral(slot: Slot, dtype: str) -> str:
    return literal(exact(slot.neutral), dtype) if slot.kind == REAL else str(int(slot.neutral))


class _Writer:
    """What pair, merge and map kernels share: an emitter, its scopes, and writing vectors component by component."""

    def __init__(self, dtype: str, lanes: int, rows: int, schedule: Schedule) -> None:
        self.dtype, self.lanes, self.rows, self.unroll = dtype, lanes, rows, schedule.unroll
        self.once, self.per_i, self.pair = Scope(), Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self.emitter = Emitter(
            dtype, lanes, rows, schedule.unroll, self.leaf, self.place, self.alias, self.is_state
        )  # fmt: skip

    def start_pair(self) -> Scope:
        self.pair = Scope(self.per_i)
        return self.pair

    def place(self, domain: Domain) -> Scope:
        return self.pair if domain & Domain.J else self.per_i if domain & Domain.I else self.once

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        """Text of component k of a variable or position."""
        raise AssertionError("each kind of kernel reads its own variables")

    def alias(self, node: Expr) -> tuple[Expr, int] | None:
        """The formula and the column that a variable of a reduction stands for."""
        return None

    def is_state(self, node: Expr) -> bool:
        """Whether a variable is part of what a row keeps."""
        return False

    def each_component(
        self, roots: Sequence[Expr], dim: int, write: Callable[[Position, Scope], None], scope: Scope
    ) -> None:
        """Call ``write`` for every component, one by one if few, else inside rolled loops."""
        if dim <= self.unroll:
            for k in range(dim):
                write(k, scope)
            return
        for start, stop in self.emitter.segments(roots, dim):
            self.emitter.loop(scope, start, stop, write)

    def assign_state(self, target: _StateText, new: Sequence[Expr], scope: Scope) -> None:
        """Give each slot its new value, for all rows; the values of short slots are all known before any changes."""
        short: list[Assign] = []
        for n in sorted(range(len(new)), key=lambda n: target.slots[n].dim):
            if target.slots[n].dim <= self.unroll:
                for r in range(self.rows):
                    for k in range(target.slots[n].dim):
                        text = self.emitter.component(new[n], k, r, None)
                        if new[n].op.name == "variable":
                            # A slot that takes over another's value: that one may be assigned first.
                            copy = self.emitter.fresh("t")
                            scope.statements.append(Let(self.emitter.type_of(new[n]), copy, text))
                            text = copy
                        short.append(Assign(target.name(n, k, r), text))
                continue

            def write(k: Position, inner: Scope, n: int = n) -> None:
                texts = [self.emitter.component(new[n], k, r, None) for r in range(self.rows)]
                inner.statements += [Assign(target.name(n, k, r), text) for r, text in enumerate(texts)]

            self.each_component([new[n]], target.slots[n].dim, write, scope)
        scope.statements += short

    def finish(self, program: MapReduce, state: _StateText, split: bool) -> tuple[tuple[Statement, ...], ...]:
        """Per row: compute and store the results, or the state itself where j was split."""
        first = variable("first", 1, Domain.P, INDEX)
        results = state.leaves if split else program.reduction.finish(state.leaves, first)
        rows = []
        for r in range(self.rows):
            scope = self.start_pair()
            for n, result in enumerate(results):
                store = "store_lanes" if result.kind == REAL else "store_index"

                def write(k: Position, inner: Scope, n: int = n, result: Expr = result, store: str = store) -> None:
                    text = self.emitter.component(result, k, r, None)  # noqa: B023
                    base = ", 0" if store == "store_index" else ""
                    at = f"out{n} + out_{r} * {result.dim} + {text_of(k)}"  # noqa: B023
                    inner.statements.append(Call(f"{store}({at}, {result.dim}, {text}, count_{r}{base})"))  # noqa: B023

                self.each_component([result], result.dim, write, scope)
            rows.append(tuple(scope.statements))
        return tuple(rows)


def _arguments(names: Sequence[tuple[str, str]], written: bool) -> tuple[Argument, ...]:
    return tuple(Argument(name, "real" if kind == REAL else "long", written) for name, kind in names)


class _PairLowering(_Writer):
    """The kernel that visits all pairs."""

    def __init__(
        self,
        program: MapReduce,
        values: tuple[Expr, ...],
        panels: frozenset[Expr],
        dtype: str,
        schedule: Schedule,
        facts: DeviceFacts,
    ) -> None:
        super().__init__(dtype, schedule.lanes, schedule.rows, schedule)
        self.program, self.values, self.panels, self.schedule = program, values, panels, schedule
        self.inputs = tuple(variables(values))
        self.names = {leaf: f"v{n}" for n, leaf in enumerate(self.inputs)}
        slots = program.state_slots
        self.state = _StateText(slots, "s", self.unroll)
        self.blocked = program.reduction.blocked and schedule.tile > 0
        self.partial = _StateText(slots, "b", self.unroll) if self.blocked else self.state
        size = 4 if dtype == "float" else 8
        budget = facts.local_memory // 2 // (size * max(1, schedule.tile))
        self.staged: set[Expr] = set()
        for leaf in self.inputs:
            if schedule.shape == LOCAL and leaf.domain == Domain.J and leaf.kind == REAL and leaf.dim <= budget:
                self.staged.add(leaf)
                budget -= leaf.dim

    def kernel(self, split: bool) -> Kernel:
        """The kernel; ``split``: it stores the state of its part of j instead of results."""
        schedule, reduction = self.schedule, self.program.reduction
        self.once, self.per_i = Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self._pointers()
        body = self._block(schedule.cols)
        tail = body if schedule.cols == 1 else self._block(1)
        flush: tuple[Statement, ...] = ()
        if self.blocked:
            scope = self.start_pair()
            merged = reduction.merge(self.state.leaves, self.partial.leaves)
            self.emitter.count_uses(merged)
            self.assign_state(self.state, merged, scope)
            flush = tuple(scope.statements)
        finish = self.finish(self.program, self.state, split)
        results = self.state.leaves if split else self.program.outputs
        outputs = _arguments([(f"out{n}", o.kind) for n, o in enumerate(results)], written=True)
        inputs = _arguments([(self.names[leaf], leaf.kind) for leaf in self.inputs], written=False)
        return Kernel(
            name="map_reduce",
            template=schedule.shape,
            dtype=self.dtype,
            lanes=schedule.lanes,
            functions=frozenset(self.emitter.functions),
            arguments=outputs + inputs,
            rows=schedule.rows,
            cols=schedule.cols,
            group=schedule.group,
            tile=schedule.tile,
            column_inputs=tuple(
                ColumnInput(self.names[leaf], "real" if leaf.kind == REAL else "long", leaf.dim, leaf in self.staged)
                for leaf in self.inputs
                if leaf.domain == Domain.J
            ),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
            state=self.state.declarations(self.rows, self.dtype),
            reset=self.partial.declarations(self.rows, self.dtype) if self.blocked else (),
            body=body,
            tail=tail,
            flush=flush,
            finish=finish,
        )

    def _pointers(self) -> None:
        """Where each row of a panel starts."""
        for leaf in self.inputs:
            if leaf not in self.panels:
                continue
            name = self.names[leaf]
            for r in range(self.rows):
                if self.lanes > 1:
                    text = f"({name} + row_{r} * {leaf.dim})"
                else:
                    width = PANEL_OF_ONE_LANE
                    text = f"({name} + row_{r} / {width} * {leaf.dim * width} + row_{r} % {width})"
                self.per_i.statements.append(Declare("const __global real*", f"{name}_{r}", text))

    def _block(self, cols: int) -> tuple[Statement, ...]:
        """One block of columns: loads, values of every pair of the register tile, and the update of the state."""
        scope = self.start_pair()
        self.emitter.cols = cols
        columns = [
            Column(
                tuple(
                    variable(("value", n, c), value.dim, value.domain | Domain.J, value.kind)
                    for n, value in enumerate(self.values)
                ),
                variable(("column", c), 1, Domain.J, INDEX),
            )
            for c in range(cols)
        ]
        new = self.program.reduction.update(self.partial.leaves, columns)
        self.emitter.count_uses([*new, *self.values])
        self._compute_short_values(cols)
        self.assign_state(self.partial, new, scope)
        return tuple(scope.statements)

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

    def alias(self, node: Expr) -> tuple[Expr, int] | None:
        name = node.params[0]
        if isinstance(name, tuple) and name[0] == "value":
            return self.values[name[1]], name[2]
        return None

    def is_state(self, node: Expr) -> bool:
        name = node.params[0]
        return isinstance(name, tuple) and name[0] in (self.state.stem, self.partial.stem)

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        name, *_ = node.params
        if node.op.name == "position":
            return f"(inum)(j + {c})" if node.domain == Domain.J else f"((inumv)((inum)row_{r}) + LANE_NUMBERS)"
        if self.is_state(node):
            state = self.state if name[0] == self.state.stem else self.partial
            return state.name(name[1], k, 0 if r is None else r)
        if isinstance(name, tuple) and name[0] == "column":
            return f"(inum)(j + {name[1]})"
        if name == "first":
            return "(inum)(columns > 0 ? 0 : -1)"
        pointer, at = self.names[node], text_of(k)
        if node.domain == Domain.P:
            return f"{pointer}[{at}]" if node.kind == REAL else f"INUM_SAT({pointer}[{at}])"
        if node.domain == Domain.J:
            start = (c or 0) * node.dim
            text = f"{pointer}_j[{start + k if isinstance(k, int) else f'{start} + {at}'}]"
            return text if node.kind == REAL else f"INUM_SAT({text})"
        if node in self.panels:
            if self.lanes > 1:
                return f"((const __global realv*){pointer}_{r})[{at}]"
            return f"{pointer}_{r}[{at} * {PANEL_OF_ONE_LANE}]"
        if node.kind == INDEX:
            return f"load_index({pointer} + row_{r} * {node.dim} + {at}, {node.dim}, count_{r}, 0)"
        return f"load_lanes({pointer} + row_{r} * {node.dim} + {at}, {node.dim}, count_{r})"


class _MergeLowering(_Writer):
    """The kernel that merges the states of the parts of j, row by row."""

    def __init__(self, program: MapReduce, dtype: str, schedule: Schedule) -> None:
        super().__init__(dtype, 1, 1, schedule)
        self.program = program
        self.state = _StateText(program.state_slots, "s", self.unroll)
        self.part = tuple(variable(("part", n), s.dim, Domain.IJ, s.kind) for n, s in enumerate(program.state_slots))

    def kernel(self) -> Kernel:
        scope = self.start_pair()
        merged = self.program.reduction.merge(self.state.leaves, self.part)
        self.emitter.count_uses(merged)
        self.assign_state(self.state, merged, scope)
        body = tuple(scope.statements)
        finish = self.finish(self.program, self.state, split=False)
        outputs = _arguments([(f"out{n}", o.kind) for n, o in enumerate(self.program.outputs)], written=True)
        parts = _arguments([(f"part{n}", s.kind) for n, s in enumerate(self.program.state_slots)], written=False)
        return Kernel(
            name="merge_parts",
            template="merge",
            dtype=self.dtype,
            lanes=1,
            functions=frozenset(self.emitter.functions),
            arguments=outputs + parts,
            once=tuple(self.once.statements),
            state=self.state.declarations(1, self.dtype),
            body=body,
            finish=finish,
        )

    def is_state(self, node: Expr) -> bool:
        return isinstance(node.params[0], tuple) and node.params[0][0] == self.state.stem

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        name = node.params[0]
        if name == "first":
            return "(inum)(columns > 0 ? 0 : -1)"
        if name[0] == "part":
            return f"part{name[1]}[at * {node.dim} + {text_of(k)}]"
        return self.state.name(name[1], k, 0)


def _lower_merge(program: MapReduce, dtype: str, schedule: Schedule) -> Kernel:
    return _MergeLowering(program, dtype, schedule).kernel()


class _MapLowering(_Writer):
    """The kernel that computes one vector per index, lanes over the index."""

    def __init__(self, node: Expr, dtype: str, schedule: Schedule, panel: int) -> None:
        super().__init__(dtype, schedule.lanes, 1, schedule)
        self.node, self.panel = node, panel
        self.inputs = tuple(variables([node]))
        self.names = {leaf: f"v{n}" for n, leaf in enumerate(self.inputs)}

    def kernel(self) -> Kernel:
        self.emitter.count_uses([self.node])
        dim = self.node.dim

        def write(k: Position, inner: Scope) -> None:
            text = self.emitter.component(self.node, k, 0, None)
            text = text if self.node.domain & Domain.I else f"(realv)({text})"
            if not self.panel:
                call = f"store_lanes(out0 + row_0 * {dim} + {text_of(k)}, {dim}, {text}, count_0)"
            elif self.lanes > 1:
                call = f"((__global realv*)(out0 + row_0 * {dim}))[{text_of(k)}] = {text}"
            else:
                start = f"row_0 / {self.panel} * {self.panel * dim} + row_0 % {self.panel}"
                call = f"out0[{start} + {text_of(k)} * {self.panel}] = {text}"
            inner.statements.append(Call(call))

        self.each_component([self.node], dim, write, self.per_i)
        return Kernel(
            name="map_rows",
            template="map",
            dtype=self.dtype,
            lanes=self.lanes,
            functions=frozenset(self.emitter.functions),
            arguments=_arguments([("out0", REAL)], True)
            + _arguments([(self.names[leaf], leaf.kind) for leaf in self.inputs], False),
            once=tuple(self.once.statements),
            per_i=tuple(self.per_i.statements),
        )

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        if node.op.name == "position":
            return "((inumv)((inum)row_0) + LANE_NUMBERS)"
        pointer, at = self.names[node], text_of(k)
        if node.domain == Domain.P:
            return f"{pointer}[{at}]" if node.kind == REAL else f"INUM_SAT({pointer}[{at}])"
        load = "load_lanes" if node.kind == REAL else "load_index"
        base = "" if node.kind == REAL else ", 0"
        return f"{load}({pointer} + row_0 * {node.dim} + {at}, {node.dim}, count_0{base})"


def _lower_map(node: Expr, dtype: str, schedule: Schedule, panel: int) -> Stored:
    domain = node.domain
    dim = node.dim
    origin: dict[Expr, Expr] = {}
    if domain == Domain.J:
        node, origin = swapped(node)
    lowering = _MapLowering(node, dtype, schedule, panel)
    inputs = tuple(origin.get(leaf, leaf) for leaf in lowering.inputs)
    return Stored(lowering.kernel(), inputs, domain, dim, panel)
