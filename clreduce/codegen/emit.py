"""`Emitter`: components of formulas become straight-line statements, each in the outermost place it can live in.

A value is computed once per *place*: ``once`` (constants of the launch), ``per_i`` (each row of the register tile),
the pair block (each column, each pair), or the body of a rolled loop. Equal values share one statement.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np

from clreduce.codegen.arrays import vectors_to_keep
from clreduce.codegen.cost import is_remap
from clreduce.codegen.deep import PRODUCTS, SUMS, components_below, deep_nodes, numbers_below
from clreduce.codegen.kernel import Assign, Declare, Let, Loop, Statement
from clreduce.codegen.layouts import Alias, Layouts
from clreduce.codegen.masks import decided, only_term
from clreduce.codegen.recurrences import Rows, Step, is_scan
from clreduce.domain import Domain
from clreduce.ir.expr import MASK, REAL, Expr, exact, topological
from clreduce.ir.index import Position, bounds, make_index, text_of
from clreduce.ir.op import Fold

Leaf = Callable[[Expr, Position, "int | None", "int | None"], str]
_LOOP_VARIABLE = re.compile(r"\bk\d+\b")
_SUM = Fold((0.0,), ("{0} + {x}",))


@dataclass(frozen=True)
class Types:
    """The names that the prelude gives to the types of one precision, and to what depends on it."""

    real: str = "real"
    realv: str = "realv"
    inum: str = "inum"
    inumv: str = "inumv"
    mask: str = "MASKV"
    forms: tuple[str, str] = ("s", "v")
    """Suffixes of own functions of a scalar and of lanes."""
    stores: tuple[str, str] = ("store_lanes", "store_index")
    """What stores lanes of numbers, and of indices."""


NARROW = Types()
WIDE = Types("wide", "widev", "wnum", "wnumv", "WIDE_MASKV", ("ws", "wv"), ("store_wide", "store_wide_index"))
"""Of double precision in a kernel whose formulas are in single precision."""


class Scope:
    """A list of statements and the values already computed in it."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.statements: list[Statement] = []
        self.known: dict[Any, str] = {}


class Emitter:
    """Writes the statements of one kernel.

    ``place(domain)`` says in which scope a value of a domain lives, ``leaf(node, k, r, c)`` gives the text of component
    k of a variable for row r and column c of the register tile, ``alias(node)`` the formula and column that a variable
    stands for, if it is a stand-in, and ``named(node)`` whether a variable's text is a name already.
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
        self.leaf, self.place, self.alias, self.named = leaf, place, alias, named
        self.functions: set[str] = set()
        self.uses: Counter[Expr] = Counter()
        """How often the formulas read each node."""
        self._deep: frozenset[Expr] = frozenset()
        self._descending = False
        self._kept_vectors: frozenset[Expr] = frozenset()
        self._loops: dict[str, Scope] = {}
        layouts = Layouts(alias)
        self.segments, self.step = layouts.segments, layouts.step
        self._homes: dict[Expr, Scope] = {}
        """Where values live that change with the steps of a scan."""
        self._of_steps: dict[Expr, Callable[[Position, int | None, int | None], str]] = {}
        """Texts of the variables of a scan's step."""
        self._numbers = count(1)
        self._narrower: Emitter | None = None

    def widened(self, leaf: Leaf) -> Emitter:
        """An emitter in double precision into the same scopes, for which this one computes what stand-ins stand for."""
        wide = Emitter(
            "double", self.lanes, self.rows, self.unroll, leaf, self.place, self.alias, self.named, WIDE
        )  # fmt: skip
        wide._loops, wide._numbers, wide._narrower = self._loops, self._numbers, self
        return wide

    def count_uses(self, roots: Iterable[Expr]) -> None:
        """Note how often each node is used: products with one user are written into it (and contracted), and vectors
        that loops would compute again and again are kept in arrays."""
        roots = tuple(roots)
        self.uses = Counter()
        order = topological(roots)
        for node in order:
            self.uses.update(node.args)
        self._deep = deep_nodes(order)
        self._kept_vectors = vectors_to_keep(roots, self.named)

    def fresh(self, stem: str) -> str:
        return f"{stem}{next(self._numbers)}"

    def type_of(self, node: Expr) -> str:
        """The OpenCL type of one component of ``node``."""
        lane = bool(node.domain & Domain.I)
        if node.kind == MASK:
            return self.types.inumv if lane and self.lanes > 1 else "int"
        if node.kind == REAL:
            return self.types.realv if lane else self.types.real
        return self.types.inumv if lane else self.types.inum

    def component(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        """The name (or literal) of component k of ``node`` for row r and column c of the register tile."""
        if node.op.name == "constant":
            return literal(node.params[0], self.dtype)
        if node.op.name == "integer":
            return f"({self.types.inum})({node.params[0]})"
        if node.op.name == "iota":
            return literal(Fraction(k), self.dtype) if isinstance(k, int) else f"({self.types.real})({text_of(k)})"
        if node.dim == 1:
            k = 0
        if node.op.name == "variable":
            if node in self._of_steps:
                return self._of_steps[node](k, *self._own_cell(node, r, c))
            stands_for = self.alias(node)
            if stands_for is not None and self._narrower is None:
                return self.component(stands_for[0], k, r, stands_for[1])
            if self.named(node):
                return self.leaf(node, k, r, c)
        r, c = self._own_cell(node, r, c)
        if is_remap(node):
            return self._remapped(node, k, r, c)
        if node.op.name == "where" and (holds := decided(node.args[0], k)) is not None:
            branch = node.args[1 if holds else 2]
            return self._promoted(branch, node, self.component(branch, k, r, c))
        if (single := only_term(node, k)) is not None:
            return self.component(node.args[0], single, r, c)
        if is_scan(node):
            rows = Rows.of(node)
            return f"{self._scan(node, rows, r, c)}[{text_of(rows.value(k))}]"
        if node in self._kept_vectors and (array := self._array(node, k, r, c)) is not None:
            return f"{array}[{text_of(k)}]"
        return self._computed(node, k, r, c)

    def _computed(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        """The name of a component that a statement of its own computes."""
        scope = self._scope(node, k)
        key = (self.types, node, k, r, c)
        name = self._lookup(scope, key)
        if name is None and node in self._deep:
            self._write_below(node, k, r, c)
        if name is None and node.op.terms is not None:
            self._contract(node, k, r, c, scope)
            name = self._lookup(scope, key)
            assert name is not None
        elif name is None:
            text = self._text(node, k, r, c)
            name = self.fresh("t")
            scope.statements.append(Let(self.type_of(node), name, text))
            scope.known[key] = name
        return name

    def _write_below(self, node: Expr, k: Position, r: int | None, c: int | None) -> None:
        """Write what a deep ``node`` is made of, from the leaves upwards; numbers only once on the way up."""
        outermost, self._descending = not self._descending, True
        if outermost:
            for below in numbers_below(node, self.uses, self.unroll):
                if below.dim == 1:
                    self.component(below, 0, r, c)
                elif below in self._kept_vectors:
                    at = make_index("k", 0, below.dim - 1)
                    self._array(below, at, *self._own_cell(below, r, c))
        if node.dim > 1:

            def written(below: Expr, at: Position) -> bool:
                key = (self.types, below, at, *self._own_cell(below, r, c))
                return self._lookup(self._scope(below, at), key) is not None

            for below, at in components_below(node, k, written):
                self.component(below, at, r, c)
        self._descending = not outermost

    @staticmethod
    def _own_cell(node: Expr, r: int | None, c: int | None) -> tuple[int | None, int | None]:
        """Row and column of the register tile, as far as ``node`` depends on them."""
        return r if node.domain & Domain.I else None, c if node.domain & Domain.J else None

    def _array(self, node: Expr, k: Position, r: int | None, c: int | None) -> str | None:
        """The array that keeps ``node``, filled where values of its domain live; None if one component is asked for.

        The loop that fills it is shared by the register tile.
        """
        scope = self._home(node)
        key = ("array", self.types, node, r, c)
        array = self._lookup(scope, key)
        if array is not None or isinstance(k, int):
            return array
        names = {cell: self.fresh("h") for cell in self._cells(node, r, c)}
        kind = self.type_of(node)
        scope.statements += [Declare(kind, name, "", node.dim) for name in names.values()]

        def write(at: Position, inner: Scope) -> None:
            for (row, col), name in names.items():
                text = self._computed(node, at, row, col)
                inner.statements.append(Assign(f"{name}[{text_of(at)}]", text))

        if node.dim <= self.unroll:
            for at in range(node.dim):
                write(at, scope)
        else:
            for start, stop in self.segments([node], node.dim):
                self.loop(scope, start, stop, write, step=self.step([node]))
        for (row, col), name in names.items():
            scope.known[("array", self.types, node, row, col)] = name
        return names[r, c]

    def _scan(self, node: Expr, rows: Rows, r: int | None, c: int | None) -> str:
        """The array of a scan's carries, filled by a loop over its steps that is shared by the register tile."""
        scope = self._home(node)
        array = self._lookup(scope, ("array", self.types, node, r, c))
        if array is not None:
            return array
        names = {cell: self.fresh("h") for cell in self._cells(node, r, c)}
        start, step = node.args[0], Step.of(node)
        scope.statements += [Declare(self.type_of(node), name, "", rows.size) for name in names.values()]

        def fill(value: Expr, place: Callable[[Position], Position], outer: Scope) -> None:
            def write(k: Position, inner: Scope) -> None:
                for cell, name in names.items():
                    text = self.component(value, k, *cell)
                    inner.statements.append(Assign(f"{name}[{text_of(place(k))}]", text))

            if value.dim <= self.unroll:
                for k in range(value.dim):
                    write(k, outer)
            else:
                for first, stop in self.segments([value], value.dim):
                    self.loop(outer, first, stop, write, step=self.step([value]))

        def one_step(t: Position, inner: Scope) -> None:
            self._of_steps[step.carry] = lambda k, r, c: f"{names[r, c]}[{text_of(rows.before(t, k))}]"
            for leaf, series in step.series:
                self._of_steps[leaf] = self._part_of(series, t, leaf.dim)
            self._homes |= dict.fromkeys(step.changing, inner)
            fill(step.body, lambda k: rows.after(t, k), inner)

        order = topological([step.body])
        for inner in order:
            self.uses.update(inner.args)
        self._deep |= deep_nodes(order)
        self._kept_vectors |= vectors_to_keep([step.body], self.named)
        fill(start, lambda k: k + rows.start, scope)
        self.loop(scope, 0, rows.steps, one_step, descending=rows.backwards)
        for (row, col), name in names.items():
            scope.known[("array", self.types, node, row, col)] = name
        return names[r, c]

    def _part_of(self, series: Expr, t: Position, dim: int) -> Callable[[Position, int | None, int | None], str]:
        """The text of component k of step t's part of ``series``."""
        return lambda k, r, c: self.component(series, t * dim + k, r, c)

    def _cells(self, node: Expr, r: int | None, c: int | None) -> list[tuple[int | None, int | None]]:
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
        inner = self._loops[variable] = Scope(scope)
        if step == 1 or (stop - start) % step:
            write(make_index(variable, start, stop - 1), inner)
            scope.statements.append(Loop(variable, start, stop, tuple(inner.statements), descending))
            return
        turns = (stop - start) // step
        for n in reversed(range(step)) if descending else range(step):
            write(make_index(variable, 0, turns - 1) * step + (start + n), inner)
        scope.statements.append(Loop(variable, 0, turns, tuple(inner.statements), descending))

    def _home(self, node: Expr) -> Scope:
        """Where values of ``node`` live that no loop over components changes."""
        return self._homes.get(node) or self.place(node.domain)

    def _scope(self, node: Expr, k: Position) -> Scope:
        scope = self._home(node)
        if not isinstance(k, int):
            for name in _LOOP_VARIABLE.findall(k.text):
                loop = self._loops[name]
                scope = loop if loop.depth > scope.depth else scope
        return scope

    @staticmethod
    def _lookup(scope: Scope, key: Any) -> str | None:
        place: Scope | None = scope
        while place is not None:
            if key in place.known:
                return place.known[key]
            place = place.parent
        return None

    def _remapped(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        inside: list[int] = []
        while is_remap(node):
            assert node.op.remap is not None
            low, high = bounds(k)
            edges = node.op.breaks(*node.args, *node.params) if node.op.breaks and low < high else []
            inside = [edge for edge in edges if low < edge <= high]
            if inside:
                break
            term = node.op.remap(k, *node.args, *node.params)
            if term is None:
                return f"({self.type_of(node)})(0)"
            node = node.args[term[0]]
            k = 0 if node.dim == 1 else term[1]
        if not inside:
            return self.component(node, k, r, c)
        # A loop that could not be cut here: choose by position, each side read within its own part.
        edge = inside[0]
        text = text_of(k)
        before = self._remapped(node, make_index(f"min({text}, {edge - 1})", low, edge - 1), r, c)
        after = self._remapped(node, make_index(f"max({text}, {edge})", edge, high), r, c)
        name = self.fresh("t")
        kind = self.type_of(node)
        scope = self._scope(node, k)
        scope.statements.append(Let(kind, name, f"{text} < {edge} ? ({kind})({before}) : ({kind})({after})"))
        return name

    def _text(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        if not node.args:
            stands_for = self.alias(node) if self._narrower and node.op.name == "variable" else None
            if stands_for is None or self._narrower is None:
                return self.leaf(node, k, r, c)
            return f"convert_{self.type_of(node)}({self._narrower.component(stands_for[0], k, r, stands_for[1])})"
        if node.op.name == "lookup":
            return self._looked_up(node, k, r, c)
        code = node.op.code if isinstance(node.op.code, str) else node.op.code(*node.params)
        plain = re.fullmatch(r"[{}\d\s+*/()-]*", code) is not None
        texts = []
        for arg in node.args:
            text = self._inlined(arg, node, k, r, c) if node.op.name in SUMS else None
            text = text or self.component(arg, k, r, c)
            texts.append(text if plain else self._promoted(arg, node, text))
        self.functions.update(node.op.functions)
        lane = self.lanes > 1 and bool(node.domain & Domain.I)
        result = (self.types.realv if lane else self.types.real) if node.kind == MASK else self.type_of(node)
        return code.format(*texts, R=result, T=self.types.forms[lane])

    def _looked_up(self, node: Expr, k: Position, r: int | None, c: int | None) -> str:
        """A read of the table, which is a parameter in memory, at an index that lanes may differ in."""
        (table, index), (dim,) = node.args, node.params
        self.functions.update(node.op.functions)
        form = self.types.forms[self.lanes > 1 and bool(node.domain & Domain.I)]
        at = self.component(index, 0, r, c)
        return f"lookup_{form}(&{self.leaf(table, k, None, None)}, {at}, {table.dim // dim}, {dim})"

    def _promoted(self, arg: Expr, node: Expr, text: str) -> str:
        """``text`` of a scalar argument as lanes, where built-ins and ``?:`` want equal types."""
        if self.lanes == 1 or not node.domain & Domain.I or arg.domain & Domain.I:
            return text
        if arg.kind == MASK:
            return f"{self.types.mask}({text})"
        return f"({self.types.realv if arg.kind == REAL else self.types.inumv})({text})"

    def _inlined(self, node: Expr, user: Expr, k: Position, r: int | None, c: int | None) -> str | None:
        """A product with one user as text inside it: compilers contract a*b + c only within one expression.

        Not where the user is computed more often than the product: for more pairs, or for more components.
        """
        stands_for = self.alias(node) if node.op.name == "variable" else None
        if stands_for is not None and self._narrower is None and self.uses[node] == 1 and self.uses[stands_for[0]] == 0:
            node, c = stands_for
        elif self.uses[node] != 1:
            return None
        if node.op.name not in PRODUCTS or node in self._kept_vectors:
            return None
        if self._home(node) is not self._home(user) or node.domain != user.domain:
            return None
        if node.dim < user.dim:
            return None
        factors = [self.component(arg, k, r, c) for arg in node.args]
        return f"{factors[0]} * {factors[-1]}"

    def _contract(self, node: Expr, k: Position, r: int | None, c: int | None, scope: Scope) -> None:
        """``node``, whose components are combined from terms: written out if short, else as one loop.

        The loop is shared by the register tile.
        """
        assert node.op.terms is not None
        assert node.op.remap is not None
        remap = node.op.remap
        (arg,) = node.args
        terms = node.op.terms(*node.args, *node.params)

        def term(t: Position, r: int | None, c: int | None) -> str:
            _, at = remap(k, t, *node.args, *node.params)  # type: ignore[misc]  # a sum reads a component for each term
            if node.op.fold is not None:
                return f"({self.type_of(node)})({self.component(arg, at, r, c)})"
            return self._inlined(arg, node, at, r, c) or self.component(arg, at, r, c)

        if terms <= self.unroll and node.op.fold is None:
            name = self.fresh("t")
            text = " + ".join(term(t, r, c) for t in range(terms))
            scope.statements.append(Let(self.type_of(node), name, text))
            scope.known[(self.types, node, k, r, c)] = name
            return
        fold, kind = node.op.fold or _SUM, self.type_of(node)
        cells = self._cells(node, r, c) if terms > self.unroll else [(r, c)]
        names = {cell: [self.fresh("a") for _ in fold.starts] for cell in cells}
        for accumulators in names.values():
            for name, start in zip(accumulators, fold.starts, strict=True):
                scope.statements.append(Declare(kind, name, f"({kind})({literal(exact(start), self.dtype)})"))

        def add_term(t: Position, inner: Scope) -> None:
            for cell, accumulators in names.items():
                text = term(t, *cell)
                for name, step in zip(accumulators, fold.steps, strict=True):
                    new = step.format(*accumulators, x=text, t=text_of(t), R=kind)
                    inner.statements.append(Assign(name, new))

        if terms <= self.unroll:
            for t in range(terms):
                add_term(t, scope)
        else:
            whole = arg.dim == terms
            for start, stop in self.segments([arg], terms) if whole else [(0, terms)]:
                self.loop(scope, start, stop, add_term, step=self.step([arg]) if whole else 1)
        for cell, accumulators in names.items():
            scope.known[(self.types, node, k, cell[0], cell[1])] = accumulators[0]


def literal(value: Fraction | str, dtype: str) -> str:
    """A constant as OpenCL text, in full precision of ``dtype`` (``"float"`` or ``"double"``).

    >>> literal(Fraction(1, 3), "float"), literal("-inf", "float"), literal(Fraction(2), "double")
    ('0.33333334f', '-INFINITY', '2.0')
    """
    suffix = "f" if dtype == "float" else ""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if Fraction(value) > 0 else -math.inf
    if dtype == "float":
        with np.errstate(over="ignore"):
            number = float(np.float32(number))
    if math.isnan(number):
        return "(real)(NAN)"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = str(np.float32(number)) if dtype == "float" else repr(number)
    text = text if any(mark in text for mark in ".e") else f"{text}.0"
    return f"({text}{suffix})" if number < 0 or text.startswith("-") else f"{text}{suffix}"
