"""Exact rewrites of a formula, as a pass that somebody asks for: `simplify`.

A rewrite here never changes a finite value by more than rounding. One convention is chosen, as users of symbolic
matrices expect it: ``0 * f`` is zero, also where f is inf or nan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import OPS, constant, constant_value


def simplify(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with neutral elements, double negations and constant arithmetic removed."""
    new: dict[Expr, Expr] = {}
    for node in topological(roots):
        args = tuple(new[arg] for arg in node.args)
        rebuilt = node if args == node.args else Expr(node.op, args, node.params)
        rule = _RULES.get(node.op.name)
        simpler = rule(rebuilt) if rule else None
        new[node] = rebuilt if simpler is None else simpler
    return tuple(new[root] for root in roots)


def uniform_value(node: Expr) -> Fraction | float | None:
    """The number that every component of ``node`` is, if that is known without data."""
    while node.op.name == "expand":
        node = node.args[0]
    return constant_value(node)


def _uniform(value: int | float | Fraction, dim: int) -> Expr:
    node = constant(value)
    return node if dim == 1 else OPS["expand"](node, 1, dim, 1)


def _widened(node: Expr, dim: int) -> Expr:
    return node if node.dim == dim else OPS["expand"](node, 1, dim, 1)


def _plain(node: Expr) -> Expr:
    """A repeated scalar as the scalar itself: elementwise operations broadcast."""
    while node.op.name == "expand" and node.args[0].dim == 1:
        node = node.args[0]
    return node


def _binary(node: Expr) -> tuple[Expr, Expr, Fraction | float | None, Fraction | float | None]:
    a, b = node.args
    return a, b, uniform_value(a), uniform_value(b)


def _fold(node: Expr, compute: Callable[[Fraction, Fraction], Fraction]) -> Expr | None:
    _, _, va, vb = _binary(node)
    if isinstance(va, Fraction) and isinstance(vb, Fraction):
        return _uniform(compute(va, vb), node.dim)
    return None


def _shrunk(node: Expr) -> Expr | None:
    """The same operation on scalars instead of repeated scalars, where one argument keeps the length."""
    plain = tuple(_plain(arg) for arg in node.args)
    if plain == node.args:
        return None
    return _widened(Expr(node.op, plain, node.params), node.dim)


def _add(node: Expr) -> Expr | None:
    a, b, va, vb = _binary(node)
    if va == 0:
        return _widened(b, node.dim)
    if vb == 0:
        return _widened(a, node.dim)
    if b.op.name == "neg":
        return a - b.args[0]
    return _fold(node, lambda p, q: p + q) or _shrunk(node)


def _sub(node: Expr) -> Expr | None:
    a, b, va, vb = _binary(node)
    if vb == 0:
        return _widened(a, node.dim)
    if va == 0:
        return _widened(-b, node.dim)
    if b.op.name == "neg":
        return a + b.args[0]
    return _fold(node, lambda p, q: p - q) or _shrunk(node)


def _mul(node: Expr) -> Expr | None:
    a, b, va, vb = _binary(node)
    if va == 0 or vb == 0:
        return _uniform(0, node.dim)
    if va == 1:
        return _widened(b, node.dim)
    if vb == 1:
        return _widened(a, node.dim)
    if va == -1:
        return _widened(-b, node.dim)
    if vb == -1:
        return _widened(-a, node.dim)
    if a.op.name == "neg" and b.op.name == "neg":
        return a.args[0] * b.args[0]
    return _fold(node, lambda p, q: p * q) or _shrunk(node)


def _div(node: Expr) -> Expr | None:
    a, _, _, vb = _binary(node)
    if vb == 1:
        return _widened(a, node.dim)
    if vb == 0:
        return _shrunk(node)
    return _fold(node, lambda p, q: p / q) or _shrunk(node)


def _neg(node: Expr) -> Expr | None:
    (a,) = node.args
    value = uniform_value(a)
    if isinstance(value, Fraction) and value != 0:
        return _uniform(-value, node.dim)
    return a.args[0] if a.op.name == "neg" else _shrunk(node)


def _extract(node: Expr) -> Expr | None:
    (f,) = node.args
    start, length = node.params
    if length == f.dim:
        return f
    if f.op.name == "expand" and f.args[0].dim == 1:
        return _widened(f.args[0], length)
    if f.op.name == "extract":
        return Expr(node.op, f.args, (f.params[0] + start, length))
    if f.op.name == "place" and (start, length) == (f.params[0], f.args[0].dim):
        return f.args[0]
    if f.op.name == "concat":
        at = 0
        for part in f.args:
            if at <= start and start + length <= at + part.dim:
                return part if length == part.dim else Expr(node.op, (part,), (start - at, length))
            at += part.dim
    return None


def _total(node: Expr) -> Expr | None:
    (f,) = node.args
    outer, n, inner = node.params
    if n == 1:
        return f
    if f.op.name == "expand" and f.params == node.params:
        return constant(n) * f.args[0]
    if outer == inner == 1 and _plain(f).dim == 1:
        return constant(n) * _plain(f)
    return None


def _expand(node: Expr) -> Expr | None:
    return node.args[0] if node.params[1] == 1 else None


_RULES: dict[str, Callable[[Expr], Expr | None]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg,
    "extract": _extract, "total": _total, "expand": _expand,
}  # fmt: skip
