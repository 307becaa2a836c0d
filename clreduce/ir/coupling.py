"""The dependence of the components of a linear formula on the components of the unknown."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_

from clreduce.ir.expr import Expr, topological
from clreduce.ir.index import bounds
from clreduce.ir.rewrite import simplify

Reads = tuple[int, ...]
"""For each component of a node the set of the unknown's components that it depends on, as bits."""


def coupled_components(f: Expr, v: Expr) -> tuple[int, ...]:
    """For each component of v the number of its group: the equations of different groups have no unknown in common.

    f has as many components as v. A kernel times a vector leaves all of them alone, a matrix times a vector joins them:

    >>> from clreduce.domain import Domain
    >>> from clreduce.ir.op import variable
    >>> from clreduce.ops.shape import repeated, summed
    >>> k, v = variable("k", 1, Domain.IJ), variable("v", 3, Domain.J)
    >>> coupled_components(k * v, v), coupled_components(repeated(summed(v), 3), v)
    ((0, 1, 2), (0, 0, 0))
    """
    (f,) = simplify([f])
    everything = (1 << v.dim) - 1
    reads_of: dict[Expr, Reads] = {}
    for node in topological([f]):
        if node is v:
            reads_of[node] = tuple(1 << k for k in range(v.dim))
        elif not any(any(reads_of[arg]) for arg in node.args):
            reads_of[node] = (0,) * node.dim
        else:
            reads_of[node] = _reads(node, [reads_of[arg] for arg in node.args], everything)
    groups = list(range(v.dim))
    for k, reads in enumerate(reads_of[f]):
        joined = {groups[n] for n in range(v.dim) if reads >> n & 1} | {groups[k]}
        if len(joined) > 1:
            groups = [min(joined) if group in joined else group for group in groups]
    order = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return tuple(order[group] for group in groups)


def _reads(node: Expr, args: list[Reads], everything: int) -> Reads:
    """The dependence of a node with an argument that depends on the unknown."""
    op, given = node.op, (*node.args, *node.params)
    if op.remap is None:
        if op.linear or op.partials is None:
            return (everything,) * node.dim  # nothing is known of its components
        return tuple(_union(arg[k if len(arg) > 1 else 0] for arg in args) for k in range(node.dim))
    count = op.terms(*given) if op.terms is not None else None
    reads = []
    for k in range(node.dim):
        terms = [op.remap(k, *given)] if count is None else [op.remap(k, t, *given) for t in range(count)]
        reads.append(_union(args[term[0]][bounds(term[1])[0]] for term in terms if term is not None))
    return tuple(reads)


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)
