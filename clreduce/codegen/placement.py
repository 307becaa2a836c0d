"""`Placement`: where values live. The scope that a domain or a loop gives them, cells of the register tile, loops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count

from clreduce.codegen.arrays import vectors_to_keep
from clreduce.codegen.deep import deep_nodes
from clreduce.codegen.layouts import Alias, Layouts
from clreduce.codegen.scopes import NARROW, Scope, Types
from clreduce.codegen.tree import MASKS, Expression, Let, Loop, Name, cast, number
from clreduce.domain import Domain
from clreduce.ir.expr import MASK, REAL, Expr, topological
from clreduce.ir.index import Position, make_index

Leaf = Callable[[Expr, Position, "int | None", "int | None"], Expression]


class Placement(ABC):
    """Where the values of one kernel live, and in which of its loops.

    ``place(domain)`` says in which scope a value of a domain lives, ``leaf(node, k, r, c)`` gives component k of a
    variable for row r and column c of the register tile, ``alias(node)`` the formula and column that a variable stands
    for, if it is a stand-in, and ``named(node)`` whether a variable is a name already.
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
        """Components that one turn of a loop over a sum takes, where their number is a multiple of it."""
        self.leaf, self.place, self.alias, self.named = leaf, place, alias, named
        self.functions: set[str] = set()
        self.uses: Counter[Expr] = Counter()
        """How often the formulas read each node."""
        self.deep: frozenset[Expr] = frozenset()
        self.kept_vectors: frozenset[Expr] = frozenset()
        self.loops: dict[str, Scope] = {}
        layouts = Layouts(alias)
        self.segments, self.step = layouts.segments, layouts.step
        self.homes: dict[Expr, Scope] = {}
        """Where values live that change with the steps of a scan."""
        self.of_steps: dict[Expr, Callable[[Position, int | None, int | None], Expression]] = {}
        """What the variables of a scan's step are read from."""
        self.numbers = count(1)

    def count_uses(self, roots: Iterable[Expr]) -> None:
        """Note how often each node is used: products with one user are written into it (and contracted), and vectors
        that loops would compute again and again are kept in arrays."""
        self.uses, self.deep, self.kept_vectors = Counter(), frozenset(), frozenset()
        self.count_more_uses(tuple(roots))

    def count_more_uses(self, roots: tuple[Expr, ...]) -> None:
        """Count the uses of further formulas, such as the step of a scan."""
        order = topological(roots)
        for node in order:
            self.uses.update(node.args)
        self.deep |= deep_nodes(order)
        self.kept_vectors |= vectors_to_keep(roots, self.named)

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
        """A new name for ``value``."""
        name = Name(self.fresh("t"), kind)
        scope.statements.append(Let(name, self.in_lanes(value, kind)))
        return name

    def in_lanes(self, value: Expression, kind: str) -> Expression:
        """A value as ``kind``: a scalar for each of the lanes, where that is a type of lanes."""
        return cast(kind, value) if self.lanes > 1 and kind in MASKS and value.type not in MASKS else value

    @staticmethod
    def own_cell(node: Expr, r: int | None, c: int | None) -> tuple[int | None, int | None]:
        """Row and column of the register tile, as far as ``node`` depends on them."""
        return r if node.domain & Domain.I else None, c if node.domain & Domain.J else None

    def cells(self, node: Expr, r: int | None, c: int | None) -> list[tuple[int | None, int | None]]:
        """The places of the register tile for which ``node`` is computed together with (r, c).

        What a row keeps, or is about to, has no column: there the rest of the register tile has no part.
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
        """Append to ``scope`` a rolled loop whose body ``write(index, body)`` makes; ``step`` indices in each turn."""
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
        """Where values of ``node`` live that no loop over components changes."""
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
        """The name of a component that a statement of its own computes."""

    @abstractmethod
    def product_inside(self, node: Expr, user: Expr, k: Position, r: int | None, c: int | None) -> Expression | None:
        """A product with one user as an expression inside it, if it may be written so."""
