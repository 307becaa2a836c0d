"""Kernels with factors of rows and columns, l_i k_ij r_j: symmetric in an inner product with weights r / l.

If k is symmetric, A = diag(l) k diag(r) + alpha satisfies diag(r / l) A = A^T diag(r / l): so conjugate gradients in
that inner product solve systems with A, as long as r / l is positive.
"""

from __future__ import annotations

from functools import reduce

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, substitute, topological
from clreduce.ir.op import constant, position, variable
from clreduce.memo import memoised
from clreduce.ops.arithmetic import div, mul, power


def in_i(expr: Expr) -> Expr:
    """A value of j as a value of i: its variables of j become variables of i with the same arrays."""
    moved: dict[Expr, Expr] = {}
    for node in topological([expr]):
        if node.op.name == "variable" and node.domain == Domain.J:
            name, length, _, kind = node.params
            moved[node] = variable(name, length, Domain.I, kind)
        elif node.op.name == "position" and node.domain == Domain.J:
            moved[node] = position(Domain.I)
    (in_rows,) = substitute([expr], moved)
    return in_rows


@memoised(256)
def weights_of(formula: Expr, unknown: Expr) -> Expr | None:
    """The weights r / l as a value of i, of length 1 or of the formula's length; None without such factors.

    >>> x, y, w = variable("x", 1, Domain.I), variable("y", 1, Domain.J), variable("w", 1, Domain.I)
    >>> b = variable("b", 1, Domain.J)
    >>> weights_of(w * (x * y * b), b)
    Expr(1 * y / (1 * x * w))
    >>> weights_of((x - y) * b, b) is None
    True
    """
    order = topological([formula])
    dependent = {unknown}
    for node in order:
        if not dependent.isdisjoint(node.args):
            dependent.add(node)
    above, below = [constant(1)], [constant(1)]
    powers = dict.fromkeys(order, 0)
    powers[formula] = 1
    for node in reversed(order):  # users before their arguments
        times, name = powers[node], node.op.name
        if times == 0:
            continue
        if node.domain in (Domain.I, Domain.J) and node not in dependent:
            (above if (node.domain == Domain.J) == (times > 0) else below).append(power(in_i(node), abs(times)))
        elif name in ("mul", "neg", "inv", "div") or (name == "expand" and node.args[0].dim == 1):
            for place, arg in enumerate(node.args):
                powers[arg] += -times if name == "inv" or (name == "div" and place == 1) else times
    if len(above) == len(below) == 1:
        return None
    return div(reduce(mul, above), reduce(mul, below))
