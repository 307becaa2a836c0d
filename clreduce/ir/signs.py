"""Signs that are known without data, and exact rewrites to cheaper operations for arguments of one sign.

A sum of squares is never negative, so the exponent of a Gaussian is never positive, and its exponential cannot
overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clreduce.ir.expr import REAL, Expr, map_graph, topological
from clreduce.ir.op import OPS, constant_value


@dataclass(frozen=True)
class Sign:
    """The known signs of all components of a node, apart from nan."""

    never_negative: bool = False
    never_positive: bool = False
    no_minus_zero: bool = False
    """Whether a component that is never negative is never -0 either; a division by -0 would give -inf."""


_UNKNOWN = Sign()
_POSITIVE = Sign(never_negative=True, no_minus_zero=True)


def with_known_signs(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with cheaper operations wherever arguments are never positive.

    The results are the same, including infinities and nan.
    """
    signs = signs_of(roots)

    def cheaper(node: Expr, rebuilt: Expr) -> Expr:
        if node.op.if_never_positive and signs[node.args[0]].never_positive:
            return Expr(OPS[node.op.if_never_positive], rebuilt.args, node.params)
        return rebuilt

    return map_graph(roots, cheaper)


def signs_of(roots: Sequence[Expr]) -> dict[Expr, Sign]:
    """The known signs of all nodes below ``roots``, arguments before users."""
    signs: dict[Expr, Sign] = {}
    for node in topological(roots):
        signs[node] = _sign(node, [signs[arg] for arg in node.args])
    return signs


def _sign(node: Expr, args: Sequence[Sign]) -> Sign:
    """The sign of a node, from the signs of its arguments."""
    op, name = node.op, node.op.name
    if node.kind != REAL:
        return _UNKNOWN
    if name == "constant":
        value = constant_value(node)
        assert value is not None
        return Sign(value >= 0, value <= 0, no_minus_zero=value > 0)
    if name in _RULES:
        return _RULES[name](node, *args)
    if (op.remap is not None and op.fold is None) or name == "where":
        # Components of the arguments, sums of them, or zeros.
        return _all(args[1:] if name == "where" else args)
    return _POSITIVE if op.never_negative else _UNKNOWN


def _all(signs: Sequence[Sign]) -> Sign:
    return Sign(
        all(sign.never_negative for sign in signs),
        all(sign.never_positive for sign in signs),
        all(sign.no_minus_zero for sign in signs),
    )


def _opposite(sign: Sign) -> Sign:
    return Sign(sign.never_positive, sign.never_negative)


def _sum(node: Expr, a: Sign, b: Sign) -> Sign:
    return Sign(
        a.never_negative and b.never_negative,
        a.never_positive and b.never_positive,
        a.no_minus_zero or b.no_minus_zero,
    )


def _product(node: Expr, a: Sign, b: Sign) -> Sign:
    if node.args[0] is node.args[1]:
        return _POSITIVE
    return Sign(
        (a.never_negative and b.never_negative) or (a.never_positive and b.never_positive),
        (a.never_negative and b.never_positive) or (a.never_positive and b.never_negative),
        a.never_negative and a.no_minus_zero and b.never_negative and b.no_minus_zero,
    )


def _quotient(node: Expr, a: Sign, b: Sign) -> Sign:
    if not (b.never_negative and b.no_minus_zero):
        return _UNKNOWN
    return Sign(a.never_negative, a.never_positive, a.no_minus_zero)


def _larger(node: Expr, a: Sign, b: Sign) -> Sign:
    # A nan in the second argument is ignored, so only a constant there is a bound.
    bound = b.never_negative and constant_value(node.args[1]) is not None
    return Sign(a.never_negative or bound, a.never_positive and b.never_positive)


def _smaller(node: Expr, a: Sign, b: Sign) -> Sign:
    bound = b.never_positive and constant_value(node.args[1]) is not None
    return Sign(a.never_negative and b.never_negative, a.never_positive or bound)


_RULES: dict[str, Callable[..., Sign]] = {
    "add": _sum,
    "sub": lambda node, a, b: _sum(node, a, _opposite(b)),
    "difference": lambda node, a, b: _sum(node, a, _opposite(b)),
    "neg": lambda node, a: _opposite(a),
    "mul": _product,
    "div": _quotient,
    # Of -0 they give -0.
    "sqrt": lambda node, a: Sign(never_negative=True, no_minus_zero=a.never_negative and a.no_minus_zero),
    "rsqrt": lambda node, a: Sign(never_negative=True),
    "larger": _larger,
    "smaller": _smaller,
}
