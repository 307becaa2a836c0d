"""Vectors in arrays of private memory: vectors that loops read repeatedly, and the carries of scans."""

from __future__ import annotations

from collections.abc import Callable

from clreduce.codegen.placement import Placement
from clreduce.codegen.recurrences import Rows, ScanStep
from clreduce.codegen.scopes import Scope
from clreduce.codegen.tree import Array, Assign, Expression, Name, Place, Subscript
from clreduce.ir.expr import Expr
from clreduce.ir.index import Position

Cell = tuple["int | None", "int | None"]
"""A row and a column of the register tile; None if a value does not depend on it."""
Component = Callable[[Position, Cell], Expression]


def array_of_vector(emitter: Placement, node: Expr, k: Position, r: int | None, c: int | None) -> Name | None:
    """The array of ``node``, filled in the scope of its domain. None if there is no array yet and ``k`` is an integer.

    The whole register tile shares the loop that fills it.
    """
    scope = emitter.home(node)
    array = scope.lookup(("array", emitter.types, node, r, c))
    if array is not None or isinstance(k, int):
        return array
    names = _declared(emitter, node, node.dim, r, c, scope)
    _fill(emitter, names, node, lambda at: at, lambda at, cell: emitter.computed(node, at, *cell), scope)
    return _known(emitter, node, names, scope)[r, c]


def scanned_array(emitter: Placement, node: Expr, rows: Rows, r: int | None, c: int | None) -> Name:
    """The array of a scan's carries, filled by a loop over its steps that the whole register tile shares."""
    scope = emitter.home(node)
    array = scope.lookup(("array", emitter.types, node, r, c))
    if array is not None:
        return array
    names = _declared(emitter, node, rows.size, r, c, scope)
    start, step, component = node.args[0], ScanStep.of(node), emitter.component

    def one_step(t: Position, inner: Scope) -> None:
        emitter.of_steps[step.carry] = lambda k, r, c: Subscript(names[r, c], Place(rows.before(t, k)))
        for leaf, series in step.series:
            emitter.of_steps[leaf] = _part_of(emitter, series, t, leaf.dim)
        emitter.homes |= dict.fromkeys(step.changing, inner)
        _fill(
            emitter, names, step.body, lambda k: rows.after(t, k), lambda k, cell: component(step.body, k, *cell), inner
        )

    emitter.count_more_uses((step.body,))
    _fill(emitter, names, start, lambda k: k + rows.start, lambda k, cell: component(start, k, *cell), scope)
    emitter.loop(scope, 0, rows.steps, one_step, descending=rows.backwards)
    return _known(emitter, node, names, scope)[r, c]


def _declared(
    emitter: Placement, node: Expr, size: int, r: int | None, c: int | None, scope: Scope
) -> dict[Cell, Name]:  # fmt: skip
    """Declare an array for each cell of the register tile that is computed together with (r, c)."""
    kind = emitter.type_of(node)
    names = {cell: Name(emitter.fresh("h"), kind) for cell in emitter.cells(node, r, c)}
    scope.statements += [Array(name, size) for name in names.values()]
    return names


def _known(emitter: Placement, node: Expr, names: dict[Cell, Name], scope: Scope) -> dict[Cell, Name]:
    """Record that these arrays contain ``node`` from here on."""
    for (row, col), name in names.items():
        scope.known[("array", emitter.types, node, row, col)] = name
    return names


def _fill(
    emitter: Placement,
    names: dict[Cell, Name],
    node: Expr,
    place: Callable[[Position], Position],
    component: Component,
    scope: Scope,
) -> None:
    """Write the components of ``node`` to their places in the arrays, one by one if they are few, else in loops."""

    def write(k: Position, inner: Scope) -> None:
        for cell, name in names.items():
            value = emitter.in_lanes(component(k, cell), name.type)
            inner.statements.append(Assign(Subscript(name, Place(place(k))), value))

    if node.dim <= emitter.unroll:
        for k in range(node.dim):
            write(k, scope)
    else:
        for first, stop in emitter.segments([node], node.dim):
            emitter.loop(scope, first, stop, write, step=emitter.step([node]))


def _part_of(
    emitter: Placement, series: Expr, t: Position, dim: int
) -> Callable[[Position, int | None, int | None], Expression]:
    """The function that reads component k of the part of ``series`` that belongs to step t."""
    return lambda k, r, c: emitter.component(series, t * dim + k, r, c)
