"""The base of all lowerings: scopes, vectors written component by component, and the state of a reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clreduce.codegen.emit import Emitter
from clreduce.codegen.frame import BATCH, count, out_row
from clreduce.codegen.kernel import Argument
from clreduce.codegen.schedule import Schedule
from clreduce.codegen.scopes import NARROW, Scope, Types, literal
from clreduce.codegen.tree import (
    Array,
    Assign,
    Cast,
    Declare,
    Expression,
    FunctionCall,
    Loop,
    Name,
    Place,
    Run,
    Statement,
    Subscript,
    cast,
    number,
    plus,
    times,
)
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, exact
from clreduce.ir.index import Position, text_of
from clreduce.ir.op import variable
from clreduce.program import MapReduce, Output
from clreduce.reductions.reduction import Slot


class StateText:
    """The names of the slots of a reduction's state and of their components: variables if short, arrays if long.

    If any slot or result is long, all vectors are arrays, because a loop over one may read others. Arrays begin with
    ``pad`` places before the components, which contain the negative of the neutral value.
    """

    def __init__(
        self, slots: Sequence[Slot], results: Sequence[Output], stem: str, unroll: int, types: Types, pad: int = 0
    ) -> None:
        self.slots, self.stem, self.types, self.pad = tuple(slots), stem, types, pad
        longest = max(*(slot.dim for slot in slots), *(result.dim for result in results), 0)
        self.arrays = [slot.dim > 1 and longest > unroll for slot in slots]
        self.leaves = tuple(variable((stem, n), s.dim, Domain.IJ, s.kind) for n, s in enumerate(slots))

    def name(self, n: int, k: Position, r: int) -> Name | Subscript:
        """The name of component k of slot n for row r."""
        if not self.arrays[n]:
            return Name(f"{self.stem}{n}_{text_of(k)}_{r}", self.type_of(n))
        return Subscript(self.array(n, r), Place(k + self.pad))

    def array(self, n: int, r: int) -> Name:
        """The name of the array of slot n for row r, with its padding."""
        return Name(f"{self.stem}{n}_{r}", self.type_of(n))

    def type_of(self, n: int) -> str:
        return self.types.realv if self.slots[n].kind == REAL else self.types.inumv

    def version(self, number: int) -> tuple[Expr, ...]:
        """New variables with the same names in the kernel, for the values of the slots after an update."""
        return tuple(variable((self.stem, n, number), *leaf.params[1:]) for n, leaf in enumerate(self.leaves))

    def declarations(self, rows: int, dtype: str) -> tuple[Statement, ...]:
        """Declarations of all components at their neutral values, which are numbers of ``dtype``."""
        statements: list[Statement] = []
        for n, slot in enumerate(self.slots):
            kind = self.type_of(n)
            neutral = cast(kind, _neutral(slot, dtype, self.types))
            for r in range(rows):
                if not self.arrays[n]:
                    for k in range(slot.dim):
                        name = self.name(n, k, r)
                        assert isinstance(name, Name)
                        statements.append(Declare(name, neutral))
                    continue
                statements.append(Array(self.array(n, r), self.pad + slot.dim, neutral))
                if self.pad and slot.kind == REAL:
                    opposite = cast(kind, literal(exact(-slot.neutral), dtype, self.types.real))
                    at = Name("k", "int")
                    before = Assign(Subscript(self.array(n, r), at), opposite)
                    statements.append(Loop(at, number(0), number(self.pad), (before,)))
        return tuple(statements)


def _neutral(slot: Slot, dtype: str, types: Types) -> Expression:
    return literal(exact(slot.neutral), dtype, types.real) if slot.kind == REAL else number(int(slot.neutral))


class Writer:
    """The base of the lowerings of pair, merge and map kernels: an emitter, its scopes, and loops over components."""

    def __init__(self, dtype: str, lanes: int, rows: int, schedule: Schedule, wide: bool = False) -> None:
        self.dtype, self.lanes, self.rows, self.unroll = dtype, lanes, rows, schedule.unroll
        self.group = schedule.group
        self.once, self.per_i, self.pair = Scope(), Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self.emitter = Emitter(
            dtype, lanes, rows, schedule.unroll, self.leaf, self.place, self.alias, self.is_state
        )  # fmt: skip
        self.keeper = self.emitter.widened(self.leaf) if wide else self.emitter
        """The emitter of states. It has double precision if accumulators have, even if formulas have not."""

    def positions(self, row: Expression) -> Expression:
        """The positions of the lanes of a row block that begins at ``row``."""
        return plus(cast("inumv", cast("inum", row)), Cast("inumv", tuple(map(number, range(self.lanes)))))

    def start_pair(self, parent: Scope | None = None) -> Scope:
        """A new scope for values that change with j. ``parent`` is an outer such scope, as for a condition."""
        self.pair = Scope(parent or self.per_i)
        return self.pair

    def place(self, domain: Domain) -> Scope:
        return self.pair if domain & Domain.J else self.per_i if domain & Domain.I else self.once

    def leaf(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        """Component k of a variable or position."""
        raise AssertionError("each kind of kernel reads its own variables")

    def alias(self, node: Expr) -> tuple[Expr, int] | None:
        """The formula and the column that a variable of a reduction stands for."""
        return None

    def is_state(self, node: Expr) -> bool:
        """Whether a variable is a part of a row's state."""
        return False

    def each_component(
        self,
        roots: Sequence[Expr],
        dim: int,
        write: Callable[[Position, Scope], None],
        scope: Scope,
        descending: bool = False,
    ) -> None:
        """Call ``write`` for all components: one by one if there are few, else inside rolled loops."""
        if dim <= self.unroll:
            for k in range(dim):
                write(k, scope)
            return
        segments = self.keeper.segments(roots, dim)
        for start, stop in reversed(segments) if descending else segments:
            self.keeper.loop(scope, start, stop, write, descending, self.keeper.step(roots))

    def assign_state(
        self, target: StateText, new: Sequence[Expr], scope: Scope, rows: Sequence[int], descending: bool = False
    ) -> None:
        """Assign new values to the slots, for these rows of the register tile.

        New values may read the old values of all slots. So the new values of all short slots are computed before any of
        them is assigned. Long slots of equal length share one loop, which does the same for each component; the longest
        slots come first. A component of a long slot must read its own place only (with ``descending``, places up to its
        own), and must not read slots that are longer than its own.
        """
        short = [n for n in range(len(new)) if target.slots[n].dim <= self.unroll]
        assignments: list[Assign] = []
        for n in short:
            for k in range(target.slots[n].dim):
                assignments += self._new_component(target, new, n, k, scope, rows)
        for dim in sorted({slot.dim for slot in target.slots if slot.dim > self.unroll}, reverse=True):
            group = [n for n in range(len(new)) if target.slots[n].dim == dim]

            def write(k: Position, inner: Scope, group: Sequence[int] = group) -> None:
                inner.statements += [a for n in group for a in self._new_component(target, new, n, k, inner, rows)]

            self.each_component([new[n] for n in group], dim, write, scope, descending)
        scope.statements += assignments

    def _new_component(
        self, target: StateText, new: Sequence[Expr], n: int, k: Position, scope: Scope, rows: Sequence[int]
    ) -> list[Assign]:
        """Compute component k of slot n for these rows, and return the assignments for the caller to append."""
        assignments = []
        for r in rows:
            value = self.keeper.component(new[n], k, r, None)
            if new[n].op.name == "variable":
                # The new value is another slot's value, and that slot may be assigned first.
                value = self.keeper.let(scope, self.keeper.type_of(new[n]), value)
            assignments.append(Assign(target.name(n, k, r), self.keeper.in_lanes(value, target.type_of(n))))
        return assignments

    def finish(self, program: MapReduce, state: StateText, split: bool) -> tuple[tuple[Statement, ...], ...]:
        """For each row, the statements that compute and store the results, or that store the state if ``split``."""
        first = variable("first", 1, Domain.P, INDEX)
        results = state.leaves if split else program.reduction.finish(state.leaves, first)
        rows = []
        for r in range(self.rows):
            scope = self.start_pair()
            for n, result in enumerate(results):
                store = self.keeper.types.stores[result.kind != REAL]

                def write(k: Position, inner: Scope, n: int = n, result: Expr = result, store: str = store) -> None:
                    kind = self.keeper.types.realv if result.kind == REAL else self.keeper.types.inumv
                    value = self.keeper.in_lanes(self.keeper.component(result, k, r, None), kind)  # noqa: B023
                    out = Name(f"out{n}", pointer_to(result.kind, self.keeper.types))
                    at = vector_at(out, out_row(r), result.dim, k)  # noqa: B023
                    inner.statements.append(stored(store, at, result.dim, value, r))  # noqa: B023

                self.each_component([result], result.dim, write, scope)
            rows.append(tuple(scope.statements))
        return tuple(rows)


def pointer_to(kind: str, types: Types = NARROW, const: bool = False) -> str:
    """The type of a pointer to a buffer of numbers or of indices."""
    return f"{'const ' if const else ''}__global {types.real if kind == REAL else 'long'}*"


def vector_at(start: Expression, row: Expression, dim: int, k: Position) -> Expression:
    """The address of component k in the vector of a row; the vectors of ``dim`` components are contiguous."""
    return plus(plus(start, times(row, number(dim))), Place(k))


def stored(function: str, at: Expression, stride: int, value: Expression, r: int) -> Run:
    """The call that stores the lanes of row block r at ``at``, ``stride`` apart."""
    arguments = (at, number(stride), value, count(r))
    return Run(FunctionCall(function, (*arguments, number(0)) if function.endswith("_index") else arguments, ""))


def narrowed_index(value: Expression) -> Expression:
    """An index in memory, converted to the integer type of the kernel."""
    return FunctionCall("narrow_index", (value, number(0)), "inum")


def batch_moves(
    outputs: Sequence[tuple[Name, Expression]], inputs: Sequence[Name]
) -> tuple[Statement, ...]:  # fmt: skip
    """Statements that move each pointer to its index of the batch.

    Outputs, given with the length of one index, are contiguous. The table ``offsets`` from the host says where the data
    of inputs begin, because indices may share arrays.
    """
    offsets = Name("offsets", pointer_to(INDEX, const=True))
    moves = [Assign(name, plus(name, times(BATCH, length))) for name, length in outputs]
    row = times(BATCH, number(len(inputs)))
    moves += [Assign(name, plus(name, Subscript(offsets, plus(row, number(n))))) for n, name in enumerate(inputs)]
    return tuple(moves)


OFFSETS = Argument("offsets", "long")
"""The offset of the data in the buffer, in elements, for each index of the batch and each input."""


TASKS = Argument("tasks", "long")
"""In a block-sparse call, for each part of j and each task: the first row, the row after the last, the first piece of j
in ``pieces``, and the piece after the last. A task is the work of one work-group."""
PIECES = Argument("pieces", "long")
"""Intervals of j: the first column, and the column after the last."""
FIRSTS = Argument("firsts", "long")
"""The first column that each row visits; -1 if there is none."""


def buffers(names: Sequence[tuple[str, str]], written: bool, real: str = "real") -> tuple[Argument, ...]:
    return tuple(Argument(name, real if kind == REAL else "long", written) for name, kind in names)
