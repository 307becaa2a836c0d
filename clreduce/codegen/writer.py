"""What all kernels' lowerings share: scopes, vectors written component by component, the state of a reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clreduce.codegen.emit import Emitter, Scope, literal
from clreduce.codegen.kernel import Argument, Assign, Call, Declare, Let, Loop, Statement
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, exact
from clreduce.ir.index import Position, text_of
from clreduce.ir.op import variable
from clreduce.program import MapReduce, Output
from clreduce.reductions.reduction import Slot


class StateText:
    """Names of the slots of a reduction's state, and of their components: variables if short, arrays if long.

    If one of them or a result is long, all vectors are arrays: loops over the components of one may read others.
    Arrays begin with ``pad`` places before the components, which hold the opposite of the neutral value.
    """

    def __init__(self, slots: Sequence[Slot], results: Sequence[Output], stem: str, unroll: int, pad: int = 0) -> None:
        self.slots, self.stem, self.pad = tuple(slots), stem, pad
        longest = max(*(slot.dim for slot in slots), *(result.dim for result in results), 0)
        self.arrays = [slot.dim > 1 and longest > unroll for slot in slots]
        self.leaves = tuple(variable((stem, n), s.dim, Domain.IJ, s.kind) for n, s in enumerate(slots))

    def name(self, n: int, k: Position, r: int) -> str:
        if not self.arrays[n]:
            return f"{self.stem}{n}_{text_of(k)}_{r}"
        return f"{self.array(n, r)}[{text_of(k + self.pad) if self.pad else text_of(k)}]"

    def array(self, n: int, r: int) -> str:
        """The name of an array with its padding."""
        return f"{self.stem}{n}_{r}"

    def version(self, number: int) -> tuple[Expr, ...]:
        """Other variables for the same text: what is computed from the slots now differs from what was before."""
        return tuple(variable((self.stem, n, number), *leaf.params[1:]) for n, leaf in enumerate(self.leaves))

    def declarations(self, rows: int, emitter: Emitter) -> tuple[Statement, ...]:
        """Every component at its neutral value, in the types of ``emitter``."""
        statements: list[Statement] = []
        for n, slot in enumerate(self.slots):
            kind = emitter.types.realv if slot.kind == REAL else emitter.types.inumv
            neutral = f"({kind})({_neutral(slot, emitter.dtype)})"
            for r in range(rows):
                if not self.arrays[n]:
                    statements += [Declare(kind, self.name(n, k, r), neutral) for k in range(slot.dim)]
                else:
                    statements.append(Declare(kind, self.array(n, r), neutral, self.pad + slot.dim))
                if self.pad and self.arrays[n] and slot.kind == REAL:
                    before = Assign(f"{self.array(n, r)}[k]", f"({kind})({_opposite(slot, emitter.dtype)})")
                    statements.append(Loop("k", 0, self.pad, (before,)))
        return tuple(statements)


def _neutral(slot: Slot, dtype: str) -> str:
    return literal(exact(slot.neutral), dtype) if slot.kind == REAL else str(int(slot.neutral))


def _opposite(slot: Slot, dtype: str) -> str:
    return literal(exact(-slot.neutral), dtype)


class Writer:
    """What pair, merge and map kernels share: an emitter, its scopes, and writing vectors component by component."""

    def __init__(self, dtype: str, lanes: int, rows: int, schedule: Schedule, wide: bool = False) -> None:
        self.dtype, self.lanes, self.rows, self.unroll = dtype, lanes, rows, schedule.unroll
        self.group = schedule.group
        self.once, self.per_i, self.pair = Scope(), Scope(), Scope()
        self.per_i.parent, self.per_i.depth = self.once, 1
        self.emitter = Emitter(
            dtype, lanes, rows, schedule.unroll, self.leaf, self.place, self.alias, self.is_state
        )  # fmt: skip
        self.keeper = self.emitter.widened(self.leaf) if wide else self.emitter
        """Writes what a row keeps: in double precision, if sums are kept so and formulas are not."""

    @property
    def lane_numbers(self) -> str:
        return f"(inumv)({', '.join(map(str, range(self.lanes)))})"

    def start_pair(self, parent: Scope | None = None) -> Scope:
        """A new place for what changes with j; ``parent``: inside another such place, as under a condition."""
        self.pair = Scope(parent or self.per_i)
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
        self,
        roots: Sequence[Expr],
        dim: int,
        write: Callable[[Position, Scope], None],
        scope: Scope,
        descending: bool = False,
    ) -> None:
        """Call ``write`` for every component, one by one if few, else inside rolled loops."""
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
        """Give each slot its new value, for these rows of the register tile.

        New values may read all slots as they were. So those of short slots are all computed before any is assigned,
        and long slots of equal length share one loop, in which the same holds for each component; the longest come
        first. Components of long slots must read their own place only, or, with ``descending``, places up to their own,
        and longer slots than their own not at all.
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
        """Compute component k of slot n for these rows; its assignments are for the caller to place."""
        assignments = []
        for r in rows:
            text = self.keeper.component(new[n], k, r, None)
            if new[n].op.name == "variable":
                # A slot that takes over another's value: that one may be assigned first.
                copy = self.keeper.fresh("t")
                scope.statements.append(Let(self.keeper.type_of(new[n]), copy, text))
                text = copy
            assignments.append(Assign(target.name(n, k, r), text))
        return assignments

    def finish(self, program: MapReduce, state: StateText, split: bool) -> tuple[tuple[Statement, ...], ...]:
        """Per row: compute and store the results, or the state itself where j was split."""
        first = variable("first", 1, Domain.P, INDEX)
        results = state.leaves if split else program.reduction.finish(state.leaves, first)
        rows = []
        for r in range(self.rows):
            scope = self.start_pair()
            for n, result in enumerate(results):
                store = self.keeper.types.stores[result.kind != REAL]

                def write(k: Position, inner: Scope, n: int = n, result: Expr = result, store: str = store) -> None:
                    text = self.keeper.component(result, k, r, None)  # noqa: B023
                    base = "" if result.kind == REAL else ", 0"
                    at = f"out{n} + out_{r} * {result.dim} + {text_of(k)}"  # noqa: B023
                    inner.statements.append(Call(f"{store}({at}, {result.dim}, {text}, count_{r}{base})"))  # noqa: B023

                self.each_component([result], result.dim, write, scope)
            rows.append(tuple(scope.statements))
        return tuple(rows)


def batch_moves(outputs: Sequence[tuple[str, str]], inputs: Sequence[str]) -> tuple[Statement, ...]:
    """Each pointer moved to its index of the batch: outputs, given with the length of one index, stand side by side;
    where an input's data begin, the host says in the table ``offsets``, for arrays may be shared by all indices."""
    moves = [Assign(name, f"{name} + batch * ({length})") for name, length in outputs]
    moves += [Assign(name, f"{name} + offsets[batch * {len(inputs)} + {n}]") for n, name in enumerate(inputs)]
    return tuple(moves)


OFFSETS = Argument("offsets", "long")
"""Per index of the batch and input: elements from the start of its buffer to its data."""


TASKS = Argument("tasks", "long")
"""Of a block-sparse call, per part of j and task: its first row, the row after its last, and the same two of its pieces
of j in ``pieces``. A task is what one work-group does."""
PIECES = Argument("pieces", "long")
"""Intervals of j: the first column, and the one after the last."""
FIRSTS = Argument("firsts", "long")
"""Per row the first column that it visits, -1 if there is none."""


def buffers(names: Sequence[tuple[str, str]], written: bool, real: str = "real") -> tuple[Argument, ...]:
    return tuple(Argument(name, real if kind == REAL else "long", written) for name, kind in names)
