"""Derivatives of formulas, from the one fact that each operation states.

`vjp` is one reverse sweep over the shared graph for all variables together, `jvp` one forward sweep. A zero is None.
The results are formulas, so derivatives nest to any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clreduce.errors import NotDifferentiableError, ShapeError
from clreduce.ir.expr import MASK, REAL, Expr, topological
from clreduce.ir.op import constant, constant_value
from clreduce.ops.compare import where
from clreduce.ops.shape import element, place, repeated, summed, zeros


def vjp(outputs: Mapping[Expr, Expr], wrt: Sequence[Expr]) -> list[Expr | None]:
    """For each variable of ``wrt``: sum over outputs f of (d f / d variable)^T cotangent; None where it is zero.

    ``outputs`` maps each formula f to its cotangent, a vector as long as f (or of length 1 if f has length 1).
    A cotangent may depend on indices that f doesn't: nothing is reduced here.
    """
    for output, cotangent in outputs.items():
        if output.dim != cotangent.dim:
            raise ShapeError(f"the cotangent has length {cotangent.dim}, the formula has length {output.dim}")
    order = topological(outputs)
    active = _depending_on(order, wrt)
    cotangents: dict[Expr, Expr] = dict(outputs)
    for node in reversed(order):
        if node not in cotangents or node not in active or node in wrt:
            continue
        for arg, part in zip(node.args, _pull_back(node, cotangents[node], active), strict=True):
            if part is not None and arg in active:
                cotangents[arg] = cotangents[arg] + part if arg in cotangents else part
    return [cotangents.get(leaf) for leaf in wrt]


def jvp(outputs: Sequence[Expr], tangents: Mapping[Expr, Expr]) -> list[Expr | None]:
    """For each output f: the directional derivative sum over variables of (d f / d variable) tangent; None if zero."""
    for leaf, given in tangents.items():
        if leaf.dim != given.dim:
            raise ShapeError(f"the tangent has length {given.dim}, the variable has length {leaf.dim}")
    tangent: dict[Expr, Expr | None] = dict(tangents)
    for node in topological(outputs):
        if node not in tangent:
            tangent[node] = _push_forward(node, [tangent[arg] for arg in node.args])
    return [tangent[output] for output in outputs]


def grad(f: Expr, leaf: Expr, cotangent: Expr) -> Expr:
    """(d f / d leaf)^T cotangent, a vector as long as ``leaf``; zeros if f does not depend on it."""
    (found,) = vjp({f: cotangent}, [leaf])
    return zeros(leaf.dim) if found is None else found


def divergence(f: Expr, leaf: Expr) -> Expr:
    """Sum over k of d f_k / d leaf_k; f and leaf have equal length."""
    if f.dim != leaf.dim:
        raise ShapeError(f"a divergence needs equal lengths; the formula has {f.dim}, the variable {leaf.dim}")
    parts = []
    for k in range(leaf.dim):
        (slope,) = jvp([f], {leaf: place(constant(1), k, leaf.dim)})
        if slope is not None:
            parts.append(element(slope, k))
    result = parts[0] if parts else constant(0)
    for further in parts[1:]:
        result = result + further
    return result


def laplacian(f: Expr, leaf: Expr) -> Expr:
    """Divergence of the gradient of a formula of length 1."""
    return divergence(grad(f, leaf, constant(1)), leaf)


def _depending_on(order: Sequence[Expr], wrt: Sequence[Expr]) -> set[Expr]:
    active = set(wrt)
    for node in order:
        if any(arg in active for arg in node.args):
            active.add(node)
    return active


def _scaled(partial: Expr, value: Expr) -> Expr:
    """partial * value without the trivial products.

    A mask routes instead of scaling, and what a mask cut off stays cut off before it is scaled: 0 * inf never arises.
    """
    if partial.kind == MASK:
        return where(partial, value, constant(0))
    if value.op is where and value.args[2] is constant(0):
        return where(value.args[0], _scaled(partial, value.args[1]), constant(0))
    known = constant_value(partial)
    if known == 1:
        return value
    return -value if known == -1 else partial * value


def _fitted(value: Expr, dim: int) -> Expr:
    """``value`` brought to length ``dim``: a cotangent summed over a broadcast, or a scalar repeated."""
    if value.dim == dim:
        return value
    return summed(value) if dim == 1 else repeated(value, dim)


def _partials(node: Expr) -> Sequence[Expr | None]:
    if node.op.partials is None:
        raise NotDifferentiableError(f"{node.op.name} has no derivative")
    return node.op.partials(node, *node.args, *node.params)


def _pull_back(node: Expr, cotangent: Expr, active: set[Expr]) -> Sequence[Expr | None]:
    if node.op.transpose is not None:
        return node.op.transpose(cotangent, *node.args, *node.params)
    return [
        None if partial is None or arg not in active else _fitted(_scaled(partial, cotangent), arg.dim)
        for arg, partial in zip(node.args, _partials(node), strict=True)
    ]


def _push_forward(node: Expr, tangents: Sequence[Expr | None]) -> Expr | None:
    if node.kind != REAL or all(tangent is None for tangent in tangents):
        return None
    if node.op.linear:
        given = [zeros(arg.dim) if dot is None else dot for arg, dot in zip(node.args, tangents, strict=True)]
        return Expr(node.op, tuple(given), node.params)
    result: Expr | None = None
    for partial, tangent in zip(_partials(node), tangents, strict=True):
        if partial is not None and tangent is not None:
            part = _scaled(partial, tangent)
            result = part if result is None else result + part
    return None if result is None else _fitted(result, node.dim)


__all__ = ["divergence", "grad", "jvp", "laplacian", "vjp"]
