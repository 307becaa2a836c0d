"""`simplify`: exact rewrites of a formula, as a pass that is called explicitly.

A rewrite never changes a finite value by more than rounding. There is one convention, which users of symbolic matrices
expect: ``0 * f`` and ``f - f`` are zero, even if f is inf or nan.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, map_graph
from clreduce.ir.op import OPS, constant, constant_value


def simplify(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` without neutral elements, double negations, arithmetic on constants and decided choices."""
    return map_graph(roots, lambda node, rebuilt: _simplest(rebuilt))


def _simplest(node: Expr) -> Expr:
    """``node`` after all rules that apply to it; its arguments must be simplified already."""
    while (rule := _RULES.get(node.op.name)) is not None:
        simpler = rule(node)
        if simpler is None or simpler is node:
            break
        node = simpler
    return node


def uniform_value(node: Expr) -> Fraction | float | None:
    """The number to which all components of ``node`` are equal, if that is known without data; else None."""
    while node.op.name == "expand":
        node = node.args[0]
    return constant_value(node)


def _uniform(value: int | float | Fraction, dim: int) -> Expr:
    node = constant(value)
    return node if dim == 1 else OPS["expand"](node, 1, dim, 1)


def _widened(node: Expr, dim: int) -> Expr:
    return node if node.dim == dim else OPS["expand"](node, 1, dim, 1)


def _plain(node: Expr) -> Expr:
    """The scalar of a repeated scalar, because elementwise operations broadcast; else ``node``."""
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
    """An operation with scalars in place of repeated scalars, if another argument has the length; else None."""
    plain = tuple(_plain(arg) for arg in node.args)
    if plain == node.args:
        return None
    return _widened(_simplest(Expr(node.op, plain, node.params)), node.dim)


def _add(node: Expr) -> Expr | None:
    a, b, va, vb = _binary(node)
    if va == 0:
        return _widened(b, node.dim)
    if vb == 0:
        return _widened(a, node.dim)
    if b.op.name == "neg":
        return a - b.args[0]
    return (
        _fold(node, lambda p, q: p + q)
        or _shrunk(node)
        or _multiple(a, b, lambda p, q: p + q)
        or _side_by_side(a, b)
        or _side_by_side(b, a)
    )


def _multiple(a: Expr, b: Expr, compute: Callable[[Fraction, Fraction], Fraction]) -> Expr | None:
    """The sum or difference of two multiples of one term."""
    (ca, left), (cb, right) = _factored(a), _factored(b)
    if left is not right or left is None:
        return None
    coefficient = compute(ca, cb)
    return (
        _uniform(0, a.dim)
        if coefficient == 0
        else _scaled(coefficient, left, a.dim)
        if is_moderate(coefficient)
        else None
    )


def _side_by_side(a: Expr, b: Expr) -> Expr | None:
    """The sum of two padded vectors that fill a vector together, as their concatenation."""
    if a.op.name == b.op.name == "pad" and a.params[0] == 0 and b.params[0] == a.args[0].dim:
        first, second = a.args[0], b.args[0]
        return OPS["concat"](first, second) if first.dim + second.dim == a.dim else None
    return None


def _sub(node: Expr) -> Expr | None:
    a, b, va, vb = _binary(node)
    if vb == 0:
        return _widened(a, node.dim)
    if va == 0:
        return _widened(-b, node.dim)
    if b.op.name == "neg":
        return a + b.args[0]
    if a is b:
        return _uniform(0, node.dim)
    return _fold(node, lambda p, q: p - q) or _shrunk(node) or _multiple(a, b, lambda p, q: p - q)


def _mul(node: Expr) -> Expr | None:
    a, b, va, vb = _binary(node)
    if va == 0 or vb == 0:
        return _uniform(0, node.dim)
    if a is b:
        return OPS["square"](a)
    return _shrunk(node) or _scaled(*_factored(node), node.dim)


_FACTOR_DEPTH = 4


def _factored(node: Expr, depth: int = _FACTOR_DEPTH) -> tuple[Fraction, Expr | None]:
    """``node`` as a rational number times something without one (None: the number alone)."""
    if node.op.name == "constant" and isinstance(node.params[0], Fraction) and is_moderate(node.params[0]):
        return node.params[0], None
    if node.op.name == "neg":
        coefficient, rest = _factored(node.args[0], depth)
        return -coefficient, rest
    if node.op.name == "mul" and depth:
        (ca, a), (cb, b) = (_factored(arg, depth - 1) for arg in node.args)
        if (a, b) != node.args and is_moderate(ca * cb):
            return ca * cb, b if a is None else a if b is None else OPS["square"](a) if a is b else a * b
    return Fraction(1), node


MODERATE = 1024
"""A factor may move within a product if it is closer to 1 than by this factor."""


def is_moderate(value: Fraction) -> bool:
    """Whether a factor may move within a product without the risk that a value leaves the range of floats."""
    return value == 0 or Fraction(1, MODERATE) <= abs(value) <= MODERATE


def _scaled(coefficient: Fraction, rest: Expr | None, dim: int) -> Expr:
    """coefficient * rest, with the number next to the factor for which the multiplication costs least."""
    if rest is None:
        return _uniform(coefficient, dim)
    around: list[tuple[Expr, bool]] = []
    """The other factors of the products on the way to that factor, and whether each is the first."""
    while abs(coefficient) != 1 and rest.op.name == "mul":
        a, b = rest.args
        costs = [_cost_of_scaling(arg) for arg in rest.args]
        if costs[0] == costs[1]:
            break
        in_first = costs[0] < costs[1]
        around.append((b, False) if in_first else (a, True))
        rest = a if in_first else b
    length = rest.dim if around else dim
    if coefficient == -1:
        scaled = -_widened(rest, length)
    else:
        scaled = _widened(rest if coefficient == 1 else constant(coefficient) * rest, length)
    for other, first in reversed(around):
        scaled = other * scaled if first else scaled * other
    return _widened(scaled, dim)


def _cost_of_scaling(node: Expr, depth: int = _FACTOR_DEPTH) -> tuple[int, Domain, int]:
    """A sort key for the cost of multiplying ``node``, or the best factor in it, by a number.

    Shorter factors come first, then factors that are computed less often (rows before columns), then factors that are
    less deep, because inner products are more often shared.
    """
    own = node.dim, node.domain, _FACTOR_DEPTH - depth
    if node.op.name != "mul" or not depth:
        return own
    return min(own, *(_cost_of_scaling(arg, depth - 1) for arg in node.args))


def _div(node: Expr) -> Expr | None:
    a, b, _, vb = _binary(node)
    if vb == 1:
        return _widened(a, node.dim)
    if vb == 0:
        return _shrunk(node)
    if "neg" in (a.op.name, b.op.name):
        quotient = _simplest(_signless(a) / _signless(b))
        return quotient if a.op is b.op else -quotient
    if isinstance(vb, Fraction) and is_moderate(vb) and _is_power_of_two(abs(vb)):
        return _widened(constant(1 / vb) * a, node.dim)
    return _fold(node, lambda p, q: p / q) or _shrunk(node)


def _signless(node: Expr) -> Expr:
    return node.args[0] if node.op.name == "neg" else node


def _is_power_of_two(value: Fraction) -> bool:
    """Whether ``value`` is a power of two, so that dividing by it and multiplying by its inverse are both exact."""
    return all(part & (part - 1) == 0 for part in (value.numerator, value.denominator))


def _even(node: Expr) -> Expr | None:
    """A square or a magnitude without the negation of its argument, which does not affect it."""
    (a,) = node.args
    return Expr(node.op, a.args, ()) if a.op.name == "neg" else None


def _square(node: Expr) -> Expr | None:
    value = uniform_value(node.args[0])
    if isinstance(value, Fraction) and is_moderate(value):
        return _uniform(value * value, node.dim)
    return _even(node) or _shrunk(node)


def _logical_not(node: Expr) -> Expr | None:
    (a,) = node.args
    return a.args[0] if a.op.name == "logical_not" else None


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "less": operator.lt, "less_equal": operator.le, "equal": operator.eq,
}  # fmt: skip


def _decided(mask: Expr) -> bool | None:
    """Whether a mask is true, if that is known without data; else None."""
    if mask.op.name == "logical_not":
        known = _decided(mask.args[0])
        return None if known is None else not known
    if mask.op.name in _COMPARISONS:
        a, b = map(uniform_value, mask.args)
        return None if a is None or b is None else _COMPARISONS[mask.op.name](a, b)
    return None


def _where(node: Expr) -> Expr | None:
    mask, yes, no = node.args
    if yes is no:
        return _widened(yes, node.dim)
    known = _decided(mask)
    if known is not None:
        return _widened(yes if known else no, node.dim)
    # An argument that makes the same choice again.
    inner_yes = yes.args[1] if yes.op is node.op and yes.args[0] is mask else yes
    inner_no = no.args[2] if no.op is node.op and no.args[0] is mask else no
    if (inner_yes, inner_no) != (yes, no):
        return _widened(node.op(mask, inner_yes, inner_no), node.dim)
    return None


def _neg(node: Expr) -> Expr | None:
    (a,) = node.args
    if uniform_value(a) == 0:
        return a
    return _shrunk(node) or _scaled(*_factored(node), node.dim)


def _extract(node: Expr) -> Expr | None:
    (f,) = node.args
    start, length = node.params
    if length == f.dim:
        return f
    if f.op.name == "expand" and f.args[0].dim == 1:
        return _widened(f.args[0], length)
    if f.op.name == "extract":
        return Expr(node.op, f.args, (f.params[0] + start, length))
    if f.op.name == "pad" and (start, length) == (f.params[0], f.args[0].dim):
        return f.args[0]
    if f.op.name == "concat":
        at = 0
        for part in f.args:
            if at <= start and start + length <= at + part.dim:
                return part if length == part.dim else Expr(node.op, (part,), (start - at, length))
            at += part.dim
    return None


def _reduce_sum(node: Expr) -> Expr | None:
    (f,) = node.args
    outer, n, inner = node.params
    if n == 1:
        return f
    if f.op.name == "expand" and f.params == node.params:
        return constant(n) * f.args[0]
    if outer == inner == 1 and _plain(f).dim == 1:
        return constant(n) * _plain(f)
    coefficient, rest = _factored(f)
    if coefficient != 1 and rest is not None and rest.dim == f.dim:
        return _scaled(coefficient, Expr(node.op, (rest,), node.params), node.dim)
    return None


def _expand(node: Expr) -> Expr | None:
    return node.args[0] if node.params[1] == 1 else None


def _permute(node: Expr) -> Expr | None:
    (f,) = node.args
    shape, axes = node.params
    if [axis for axis in axes if shape[axis] > 1] == [axis for axis in range(len(shape)) if shape[axis] > 1]:
        return f
    if f.op.name == "permute" and tuple(f.params[0][axis] for axis in f.params[1]) == shape:
        return Expr(node.op, f.args, (f.params[0], tuple(f.params[1][axis] for axis in axes)))
    return None


_RULES: dict[str, Callable[[Expr], Expr | None]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "square": _square, "abs": _even,
    "logical_not": _logical_not, "where": _where,
    "extract": _extract, "reduce_sum": _reduce_sum, "expand": _expand, "permute": _permute,
}  # fmt: skip
