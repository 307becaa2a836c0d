"""The choice of the values that are computed before the pair loop and stored.

These are values of j alone, long values of i alone and long values of parameters alone. Computed tables are stored too,
because kernels read tables by address. The pass rewrites formulas: stored values become variables of the pair kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clreduce.codegen.cost import is_remap, work
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, map_graph, substitute, topological, variables
from clreduce.ir.op import variable
from clreduce.ops.shape import concat, extract
from clreduce.ops.tables import lookup, searched

_CHEAP = 12
"""If values of j take at most this many operations per j, they are recomputed for each block of rows."""
_MOST_STORED = 4
"""The most values of one domain with buffers of their own. More values share a buffer and the kernel that fills it,
because drivers take longer to build another kernel than to build a few more lines."""
_MOST_NUMBERS = 64
"""The most numbers per index in a shared buffer, unless the variables below the values have more numbers."""
_A_LOAD = 2
"""Reading a value from memory takes as long as this many operations per component."""
_CHEAP_COMPONENT = 4
"""A value of parameters alone with at most this many operations per component is recomputed."""


@dataclass(frozen=True)
class Hoisted:
    """The formulas of the pair kernel, and the values that are stored for it."""

    values: tuple[Expr, ...]
    stored: tuple[tuple[Expr, Expr], ...]
    """Pairs (new variable, stored formula)."""
    panels: frozenset[Expr]
    """The i-variables that the pair kernel reads inside rolled loops. They are stored lane by lane, not row by row."""


def hoist(values: Sequence[Expr], unroll: int) -> Hoisted:
    """Choose the values to store. Vectors longer than ``unroll`` are computed in loops."""
    roots, stored = _tables(_searching(values))
    of_parameters = _of_parameters(roots, unroll, len(stored))
    roots = substitute(roots, of_parameters)
    stored |= of_parameters
    replacement: dict[Expr, Expr] = {}
    values_of_j = [node for node in _frontier(roots, Domain.J) if node.op.name != "variable"]
    if len(values_of_j) > _MOST_STORED:
        values_of_j = _costliest(values_of_j)
    if sum(work(node) for node in values_of_j) > _CHEAP:
        _store(values_of_j, Domain.J, stored, replacement)
    components_read = _components_read(roots)
    values_of_i = [node for node in _frontier(roots, Domain.I) if components_read[node] > unroll]
    panels = _store(values_of_i, Domain.I, stored, replacement)
    new = substitute(roots, replacement)
    return Hoisted(new, tuple((leaf, node) for node, leaf in stored.items()), frozenset(panels))


def _store(
    nodes: Sequence[Expr], domain: Domain, stored: dict[Expr, Expr], replacement: dict[Expr, Expr]
) -> list[Expr]:
    """Store ``nodes`` in new variables, which are returned; many nodes share one variable.

    ``stored`` gets the variable of each stored formula, and ``replacement`` the formula that replaces each node.
    """
    groups = [tuple(nodes)] if len(nodes) > _MOST_STORED else [(node,) for node in nodes]
    new_variables = []
    for group in groups:
        value = concat(*group) if len(group) > 1 else group[0]
        leaf = variable(("stored", len(stored)), value.dim, domain, value.kind)
        new_variables.append(leaf)
        stored[value] = leaf
        offset = 0
        for node in group:
            replacement[node] = leaf if len(group) == 1 else extract(leaf, offset, node.dim)
            offset += node.dim
    return new_variables


def _costliest(nodes: Sequence[Expr]) -> list[Expr]:
    """The nodes with the most operations per component, as many as fit into the memory limit."""
    room = max(_MOST_NUMBERS, 2 * sum(leaf.dim for leaf in variables(nodes)))
    chosen: set[Expr] = set()
    for node in sorted(nodes, key=lambda node: -work(node) / node.dim):
        if work(node) > _A_LOAD * node.dim and node.dim <= room:
            chosen.add(node)
            room -= node.dim
    return [node for node in nodes if node in chosen]


def _searching(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with look-ups in tables of i or j replaced by searches. Kernels have addresses of parameters only."""

    def searching(node: Expr, rebuilt: Expr) -> Expr:
        by_address = node.op is not lookup or rebuilt.args[0].domain == Domain.P
        return rebuilt if by_address else searched(rebuilt.args[0], rebuilt.args[1], *node.params)

    return map_graph(roots, searching)


def _tables(roots: Sequence[Expr]) -> tuple[tuple[Expr, ...], dict[Expr, Expr]]:
    """``roots`` with variables in place of computed tables, and the variable of each table.

    The formula of a table may contain variables of other tables.
    """
    stored: dict[Expr, Expr] = {}

    def read(node: Expr, rebuilt: Expr) -> Expr:
        if node.op is not lookup or rebuilt.args[0].op.name == "variable":
            return rebuilt
        table, label = rebuilt.args
        leaf = stored.setdefault(table, variable(("stored", len(stored)), table.dim, Domain.P))
        return Expr(node.op, (leaf, label), node.params)

    return map_graph(roots, read), stored


def _of_parameters(roots: Sequence[Expr], unroll: int, first: int) -> dict[Expr, Expr]:
    """The values of parameters that loops would compute for each pair, with new variables from number ``first``."""
    components_read = _components_read(roots)
    costly = [
        node for node in _frontier(roots, Domain.P)
        if components_read[node] > unroll and work(node) > _CHEAP_COMPONENT * node.dim
    ]  # fmt: skip
    return {node: variable(("stored", n), node.dim, Domain.P, node.kind) for n, node in enumerate(costly, first)}


def _components_read(roots: Sequence[Expr]) -> dict[Expr, int]:
    """The most components of each value that one reader reads. A reader may need only a few of a long vector."""
    components_read = {root: root.dim for root in roots}
    for node in reversed(topological(roots)):
        for arg in node.args:
            by_node = min(arg.dim, components_read[node]) if is_remap(node) else arg.dim
            components_read[arg] = max(components_read.get(arg, 0), by_node)
    return components_read


def _frontier(roots: Sequence[Expr], domain: Domain) -> list[Expr]:
    """The maximal values of exactly ``domain`` below ``roots`` that are worth storing; remaps are looked through."""
    frontier: dict[Expr, None] = {}
    seen: set[Expr] = set()
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.domain == domain and not is_remap(node) and _worth_storing(node):
            frontier[node] = None
        else:
            stack.extend(reversed(node.args))
    return list(frontier)


def _worth_storing(node: Expr) -> bool:
    """Whether a value is real and not much longer than its variables, so that memory stays linear in the data."""
    if node.kind != REAL or node.op.name == "position":
        return False
    leaves = sum(leaf.dim for leaf in variables([node]) if leaf.domain == node.domain)
    return node.dim <= max(16, 2 * leaves)
