"""How much a formula costs, roughly, in elementary operations: enough to decide what to store and how far to unroll."""

from __future__ import annotations

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, topological
from clreduce.ops.scan import scan


def is_remap(node: Expr) -> bool:
    """Whether ``node`` only says where its components are read: that costs nothing."""
    return node.op.remap is not None and node.op.terms is None


def cost_of_component(node: Expr) -> int:
    """Operations for one component of ``node``, its arguments being known."""
    if not node.args or is_remap(node):
        return 0
    return node.op.cost


def work(node: Expr) -> int:
    """Operations that computing all of ``node`` takes."""
    return sum(_own_work(part) for part in topological([node]))


def _own_work(node: Expr) -> int:
    if node.op is scan:
        (recurrence,) = node.params
        return int(recurrence.steps * work(recurrence.body))
    return cost_of_component(node) * _length(node)


def written_out(roots: tuple[Expr, ...], unroll: int, domain: Domain = Domain.IJ) -> int:
    """Operations per pair (i, j), or on values of another domain, that appear in a kernel's text: of a rolled loop, one
    turn."""
    total = 0
    for node in topological(roots):
        if node.domain == domain and node.op is scan:
            total += written_out((node.params[0].body,), unroll)
        elif node.domain == domain:
            length = _length(node)
            total += cost_of_component(node) * (length if length <= unroll else 1)
    return total


def turns_of_loops(roots: tuple[Expr, ...], unroll: int) -> int:
    """Turns of loops over components for one pair, at most: loops that several vectors share count once for each."""
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
