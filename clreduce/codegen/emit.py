"""`Emitter`: turns components of formulas into statements, each in the outermost scope in which it can be computed.

The scopes are ``once`` (constants of the launch), ``per_i`` (each row of the register tile), the pair block (each
column, each pair), and the bodies of rolled loops. A scope computes each value once; equal values share a statement.
"""

from __future__ import annotations

from fractions import Fraction

from clreduce.codegen.cost import is_remap
from clreduce.codegen.deep import PRODUCTS, SUMS, components_below, numbers_below
from clreduce.codegen.emit_arrays import array_of_vector, scanned_array
from clreduce.codegen.emit_sums import emit_sum
from clreduce.codegen.masks import decided, only_term
from clreduce.codegen.patterns import pattern
from clreduce.codegen.placement import Leaf, Placement
from clreduce.codegen.recurrences import Rows, is_scan
from clreduce.codegen.scopes import WIDE, literal
from clreduce.codegen.tree import (
    MASKS,
    Binary,
    Expression,
    FunctionCall,
    Name,
    Place,
    Select,
    Subscript,
    Unary,
    cast,
    number,
)
from clreduce.domain import Domain
from clreduce.ir.expr import MASK, REAL, Expr
from clreduce.ir.index import Position, at_least, at_most, bounds, make_index


class Emitter(Placement):
    """Writes the statements of one kernel; `Placement` chooses their scopes."""

    _narrower: Emitter | None = None
    _descending = False

    def widened(self, leaf: Leaf) -> Emitter:
        """An emitter in double precision into the same scopes. It converts the values of formulas from this emitter."""
        wide = Emitter(
            "double", self.lanes, self.rows, self.unroll, leaf, self.place, self.alias, self.named, WIDE
        )  # fmt: skip
        wide.loops, wide.numbers, wide._narrower = self.loops, self.numbers, self
        return wide

    def component(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        """A name (or literal) for component k of ``node`` for row r and column c of the register tile."""
        if node.op.name == "constant":
            return literal(node.params[0], self.dtype, self.types.real)
        if node.op.name == "integer":
            return cast(self.types.inum, number(node.params[0]))
        if node.op.name == "iota":
            return (
                literal(Fraction(k), self.dtype, self.types.real)
                if isinstance(k, int) else cast(self.types.real, Place(k))
            )  # fmt: skip
        if node.dim == 1:
            k = 0
        if node.op.name == "variable":
            if node in self.of_steps:
                return self.of_steps[node](k, *self.own_cell(node, r, c))
            stands_for = self.alias(node)
            if stands_for is not None and self._narrower is None:
                return self.component(stands_for[0], k, r, stands_for[1])
            if self.named(node):
                return self.leaf(node, k, r, c)
        r, c = self.own_cell(node, r, c)
        if is_remap(node):
            return self._remapped(node, k, r, c)
        if node.op.name == "where" and (holds := decided(node.args[0], k)) is not None:
            branch = node.args[1 if holds else 2]
            return self._promoted(branch, node, self.component(branch, k, r, c))
        if (single := only_term(node, k)) is not None:
            return self.component(node.args[0], single, r, c)
        if is_scan(node):
            rows = Rows.of(node)
            return Subscript(scanned_array(self, node, rows, r, c), Place(rows.value(k)))
        if node in self.in_arrays and (array := array_of_vector(self, node, k, r, c)) is not None:
            return Subscript(array, Place(k))
        return self.computed(node, k, r, c)

    def computed(self, node: Expr, k: Position, r: int | None, c: int | None) -> Name:
        """The name of a component that has its own statement."""
        scope = self.scope_of(node, k)
        key = (self.types, node, k, r, c)
        name = scope.lookup(key)
        if name is None and node in self.deep:
            self._write_below(node, k, r, c)
        if name is None and node.op.terms is not None:
            return emit_sum(self, node, k, r, c, scope)
        if name is None:
            value = self._value(node, k, r, c)
            name = self.let(scope, self.type_of(node), value)
            scope.known[key] = name
        return name

    def _write_below(self, node: Expr, k: Position, r: int | None, c: int | None) -> None:
        """Write the values below a deep ``node``, from the leaves upwards; numbers only in the outermost call."""
        outermost, self._descending = not self._descending, True
        if outermost:
            for below in numbers_below(node, self.uses, self.unroll):
                if below.dim == 1:
                    self.component(below, 0, r, c)
                elif below in self.in_arrays:
                    at = make_index("k", 0, below.dim - 1)
                    array_of_vector(self, below, at, *self.own_cell(below, r, c))
        if node.dim > 1:

            def written(below: Expr, at: Position) -> bool:
                key = (self.types, below, at, *self.own_cell(below, r, c))
                return self.scope_of(below, at).lookup(key) is not None

            for below, at in components_below(node, k, written):
                self.component(below, at, r, c)
        self._descending = not outermost

    def _remapped(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
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
                return cast(self.type_of(node), number(0))
            node = node.args[term[0]]
            k = 0 if node.dim == 1 else term[1]
        if not inside:
            return self.component(node, k, r, c)
        # The loop could not be cut here: select by position, and clamp each side to its own part.
        edge = inside[0]
        before = self._remapped(node, at_most(k, edge - 1), r, c)
        after = self._remapped(node, at_least(k, edge), r, c)
        kind = self.type_of(node)
        chosen = Select(Binary("<", Place(k), number(edge)), cast(kind, before), cast(kind, after))
        return self.let(self.scope_of(node, k), kind, chosen)

    def _value(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        """The expression that computes a component from components of the arguments."""
        if not node.args:
            stands_for = self.alias(node) if self._narrower and node.op.name == "variable" else None
            if stands_for is None or self._narrower is None:
                return self.leaf(node, k, r, c)
            kind = self.type_of(node)
            return FunctionCall(
                f"convert_{kind}", (self._narrower.component(stands_for[0], k, r, stands_for[1]),), kind
            )
        if node.op.name == "lookup":
            return self._looked_up(node, k, r, c)
        code = pattern(node.op.code if isinstance(node.op.code, str) else node.op.code(*node.params))
        holes: dict[str, Expression] = {}
        for n, arg in enumerate(node.args):
            value = self.product_inside(arg, node, k, r, c) if node.op.name in SUMS else None
            value = value or self.component(arg, k, r, c)
            holes[str(n)] = value if code.arithmetic else self._promoted(arg, node, value)
        self.functions.update(node.op.functions)
        lane = self.lanes > 1 and bool(node.domain & Domain.I)
        result = (self.types.realv if lane else self.types.real) if node.kind == MASK else self.type_of(node)
        return code.fill(holes, result, self.types.forms[lane])

    def _looked_up(self, node: Expr, k: Position, r: int | None, c: int | None) -> Expression:
        """A read from a table, which is a parameter in memory, at an index that may differ between lanes."""
        (table, index), (dim,) = node.args, node.params
        self.functions.update(node.op.functions)
        form = self.types.forms[self.lanes > 1 and bool(node.domain & Domain.I)]
        first, at = Unary("&", self.leaf(table, k, None, None)), self.component(index, 0, r, c)
        return FunctionCall(f"lookup_{form}", (first, at, number(table.dim // dim), number(dim)), self.type_of(node))

    def _promoted(self, arg: Expr, node: Expr, value: Expression) -> Expression:
        """A scalar argument as lanes, for built-ins and ``?:``, which need equal types; masks become masks of lanes."""
        if self.lanes == 1 or not node.domain & Domain.I or value.type in MASKS:
            return value
        if arg.kind == MASK:
            return FunctionCall(self.types.mask, (value,), self.types.inumv)
        return cast(self.types.realv if arg.kind == REAL else self.types.inumv, value)

    def product_inside(self, node: Expr, user: Expr, k: Position, r: int | None, c: int | None) -> Expression | None:
        """A product as an expression inside its only user: compilers contract a*b + c only within one expression.

        None if ``node`` is no such product, or if the user is computed more often than the product: for more pairs, or
        for more components.
        """
        stands_for = self.alias(node) if node.op.name == "variable" else None
        if stands_for is not None and self._narrower is None and self.uses[node] == 1 and self.uses[stands_for[0]] == 0:
            node, c = stands_for
        elif self.uses[node] != 1:
            return None
        if node.op.name not in PRODUCTS or node in self.in_arrays:
            return None
        if self.home(node) is not self.home(user) or node.domain != user.domain:
            return None
        if node.dim < user.dim:
            return None
        factors = [self.component(arg, k, r, c) for arg in node.args]
        return Binary("*", factors[0], factors[-1])
