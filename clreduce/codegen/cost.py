"""A rough cost of formulas in elementary operations, for decisions such as what to store and how far to unroll."""

from __future__ import annotations

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, topological
from clreduce.ops.scan import scan


def is_remap(node: Expr) -> bool:
    """Whether ``node`` only selects components of its arguments, which costs nothing."""
    return node.op.remap is not None and node.op.terms is None


def cost_of_component(node: Expr) -> int:
    """The operations for one component of ``node`` if its arguments are known."""
    if not node.args or is_remap(node):
        return 0
    return node.op.cost


def work(node: Expr) -> int:
    """The operations for all components of ``node``, including everything below it."""
    return sum(_own_work(part) for part in topological([node]))


def _own_work(node: Expr) -> int:
    if node.op is scan:
        (recurrence,) = node.params
        return int(recurrence.steps * work(recurrence.body))
    return cost_of_component(node) * _length(node)


def written_out(roots: tuple[Expr, ...], unroll: int, domain: Domain = Domain.IJ) -> int:
    """The operations per pair (i, j), or on values of another domain, in the code of a kernel. A rolled loop counts
    once."""
    total = 0
    for node in topological(roots):
        if node.domain == domain and node.op is scan:
            total += written_out((node.params[0].body,), unroll)
        elif node.domain == domain:
            length = _length(node)
            total += cost_of_component(node) * (length if length <= unroll else 1)
    return total


def turns_of_loops(roots: tuple[Expr, ...], unroll: int) -> int:
    """An upper bound of the iterations of loops over components for one pair. A loop that several vectors share counts
    once for each of them."""
    turns = 0
    for node in topological(roots):
        if node.op is scan:
            (recurrence,) = node.params
            turns += recurrence.steps * (1 + turns_of_loops((recurrence.body,), unroll))
            continue
        terms = node.op.terms(*node.args, *node.params) if node.op.terms is not None else 1
        if not is_remap(node) and max(node.dim, terms) > unroll:
            turns += node.dim * terms
    return turns


def _length(node: Expr) -> int:
    return node.args[0].dim if node.op.terms else node.dim
