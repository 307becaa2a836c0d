"""`Placement`: the scopes in which values are computed, the cells of the register tile, and loops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count

from clreduce.codegen.arrays import vectors_in_arrays
from clreduce.codegen.deep import deep_nodes
from clreduce.codegen.layouts import Alias, Layouts
from clreduce.codegen.scopes import NARROW, Scope, Types
from clreduce.codegen.tree import MASKS, Expression, Let, Loop, Name, cast, number
from clreduce.domain import Domain
from clreduce.ir.expr import MASK, REAL, Expr, topological
from clreduce.ir.index import Position, make_index

Leaf = Callable[[Expr, Position, "int | None", "int | None"], Expression]


class Placement(ABC):
    """The scopes and loops in which the values of one kernel are computed.

    ``place(domain)`` is the scope of the values of a domain. ``leaf(node, k, r, c)`` is component k of a variable for
    row r and column c of the register tile. ``alias(node)`` is the formula and column that a variable stands for, or
    None. ``named(node)`` says whether a variable already is a name in the kernel.
    """

    def __init__(
        self,
        dtype: str,
        lanes: int,
        rows: int,
        unroll: int,
        leaf: Leaf,
        place: Callable[[Domain], Scope],
        alias: Alias,
        named: Callable[[Expr], bool],
        types: Types = NARROW,
    ) -> None:
        self.types = types
        self.dtype, self.lanes, self.rows, self.unroll = dtype, lanes, rows, unroll
        self.cols = 1
        self.at_once = 1
        """The components that one iteration of a loop over a sum takes, if their number is a multiple of this."""
        self.leaf, self.place, self.alias, self.named = leaf, place, alias, named
        self.functions: set[str] = set()
        self.uses: Counter[Expr] = Counter()
        """The number of times that the formulas read each node."""
        self.deep: frozenset[Expr] = frozenset()
        self.in_arrays: frozenset[Expr] = frozenset()
        self.loops: dict[str, Scope] = {}
        layouts = Layouts(alias)
        self.segments, self.step = layouts.segments, layouts.step
        self.homes: dict[Expr, Scope] = {}
        """The scopes of values that change with the steps of a scan."""
        self.of_steps: dict[Expr, Callable[[Position, int | None, int | None], Expression]] = {}
        """The functions that read the variables of a scan's step."""
        self.numbers = count(1)

    def count_uses(self, roots: Iterable[Expr]) -> None:
        """Count how often each node is used. A product with one user is written into it (and contracted), and vectors
        that loops would compute repeatedly get arrays."""
        self.uses, self.deep, self.in_arrays = Counter(), frozenset(), frozenset()
        self.count_more_uses(tuple(roots))

    def count_more_uses(self, roots: tuple[Expr, ...]) -> None:
        """Count the uses of further formulas, such as the step of a scan."""
        order = topological(roots)
        for node in order:
            self.uses.update(node.args)
        self.deep |= deep_nodes(order)
        self.in_arrays |= vectors_in_arrays(roots, self.named)

    def fresh(self, stem: str) -> str:
        return f"{stem}{next(self.numbers)}"

    def type_of(self, node: Expr) -> str:
        """The OpenCL type of one component of ``node``."""
        lane = bool(node.domain & Domain.I)
        if node.kind == MASK:
            return self.types.inumv if lane and self.lanes > 1 else "int"
        if node.kind == REAL:
            return self.types.realv if lane else self.types.real
        return self.types.inumv if lane else self.types.inum

    def let(self, scope: Scope, kind: str, value: Expression) -> Name:
        """A new name for ``value``, declared in ``scope``."""
        name = Name(self.fresh("t"), kind)
        scope.statements.append(Let(name, self.in_lanes(value, kind)))
        return name

    def in_lanes(self, value: Expression, kind: str) -> Expression:
        """A value as type ``kind``. If that is a type of lanes, a scalar is repeated for all lanes."""
        return cast(kind, value) if self.lanes > 1 and kind in MASKS and value.type not in MASKS else value

    @staticmethod
    def own_cell(node: Expr, r: int | None, c: int | None) -> tuple[int | None, int | None]:
        """The row and column of the register tile on which ``node`` depends; None for the others."""
        return r if node.domain & Domain.I else None, c if node.domain & Domain.J else None

    def cells(self, node: Expr, r: int | None, c: int | None) -> list[tuple[int | None, int | None]]:
        """The cells of the register tile for which ``node`` is computed together with (r, c).

        States and new states have no column. They are computed for the row r only.
        """
        if node.domain & Domain.J and c is None:
            return [(r, c)]
        rows = range(self.rows) if node.domain & Domain.I else [None]
        cols = range(self.cols) if node.domain & Domain.J else [None]
        return [(r, c) for r in rows for c in cols]

    def loop(
        self,
        scope: Scope,
        start: int,
        stop: int,
        write: Callable[[Position, Scope], None],
        descending: bool = False,
        step: int = 1,
    ) -> None:
        """Append a rolled loop to ``scope``; ``write(index, body)`` makes its body for ``step`` indices each time."""
        if stop - start == 1:
            write(start, scope)
            return
        variable = self.fresh("k")
        inner = self.loops[variable] = Scope(scope)
        if step == 1 or (stop - start) % step:
            write(make_index(variable, start, stop - 1), inner)
        else:
            turns = (stop - start) // step
            for n in reversed(range(step)) if descending else range(step):
                write(make_index(variable, 0, turns - 1) * step + (start + n), inner)
            start, stop = 0, turns
        body = tuple(inner.statements)
        scope.statements.append(Loop(Name(variable, "int"), number(start), number(stop), body, descending))

    def home(self, node: Expr) -> Scope:
        """The scope of ``node`` outside loops over components."""
        return self.homes.get(node) or self.place(node.domain)

    def scope_of(self, node: Expr, k: Position) -> Scope:
        scope = self.home(node)
        if not isinstance(k, int):
            for name in k.names:
                loop = self.loops.get(name)
                if loop is not None and loop.depth > scope.depth:
                    scope = loop
        return scope

    @abstractmethod
    def component(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        """A name (or literal) for component k of ``node`` for row r and column c of the register tile."""

    @abstractmethod
    def computed(self, node: Expr, k: Position, r: int | None, c: int | None) -> Name:
        """The name of a component that has its own statement."""

    @abstractmethod
    def product_inside(self, node: Expr, user: Expr, k: Position, r: int | None, c: int | None) -> Expression | None:
        """A product as an expression inside its only user, if it may be written there; else None."""
