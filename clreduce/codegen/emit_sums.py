"""Components that combine terms: sums over components, extremes and their positions."""

from __future__ import annotations

from clreduce.codegen.patterns import pattern
from clreduce.codegen.placement import Placement
from clreduce.codegen.scopes import Scope, literal
from clreduce.codegen.tree import Assign, Declare, Expression, Let, Name, Place, cast, joined
from clreduce.ir.expr import Expr, exact
from clreduce.ir.index import Position
from clreduce.ir.op import Fold

_SUM = Fold((0.0,), ("{0} + {x}",))


def emit_sum(emitter: Placement, node: Expr, k: Position, r: int | None, c: int | None, scope: Scope) -> Name:
    """Component k of ``node``, which combines terms: written out if there are few terms, else as one loop.

    The whole register tile shares the loop.
    """
    assert node.op.terms is not None
    assert node.op.remap is not None
    remap, kind = node.op.remap, emitter.type_of(node)
    (arg,) = node.args
    terms = node.op.terms(*node.args, *node.params)

    def term(t: Position, r: int | None, c: int | None) -> Expression:
        _, at = remap(k, t, *node.args, *node.params)  # type: ignore[misc]  # a sum reads a component for each term
        if node.op.fold is not None:
            return cast(kind, emitter.component(arg, at, r, c))
        return emitter.product_inside(arg, node, at, r, c) or emitter.component(arg, at, r, c)

    if terms <= emitter.unroll and node.op.fold is None:
        name = Name(emitter.fresh("t"), kind)
        value = joined("+", [term(t, r, c) for t in range(terms)])
        scope.statements.append(Let(name, emitter.in_lanes(value, kind)))
        scope.known[(emitter.types, node, k, r, c)] = name
        return name
    fold = node.op.fold or _SUM
    cells = emitter.cells(node, r, c) if terms > emitter.unroll else [(r, c)]
    names = {cell: [Name(emitter.fresh("a"), kind) for _ in fold.starts] for cell in cells}
    for accumulators in names.values():
        for name, start in zip(accumulators, fold.starts, strict=True):
            scope.statements.append(Declare(name, cast(kind, literal(exact(start), emitter.dtype, emitter.types.real))))
    steps = [pattern(step).fill for step in fold.steps]

    def add_term(t: Position, inner: Scope) -> None:
        for cell, accumulators in names.items():
            holes: dict[str, Expression] = {str(n): name for n, name in enumerate(accumulators)}
            holes |= {"x": term(t, *cell), "t": Place(t)}
            for name, step in zip(accumulators, steps, strict=True):
                inner.statements.append(Assign(name, step(holes, kind, "")))

    if terms <= emitter.unroll:
        for t in range(terms):
            add_term(t, scope)
    else:
        whole = arg.dim == terms
        for start, stop in emitter.segments([arg], terms) if whole else [(0, terms)]:
            step = emitter.step([arg]) if whole else 1
            if step == 1 and (stop - start) % emitter.at_once == 0:
                step = emitter.at_once
            emitter.loop(scope, start, stop, add_term, step=step)
    for cell, accumulators in names.items():
        scope.known[(emitter.types, node, k, cell[0], cell[1])] = accumulators[0]
    return names[r, c][0]
