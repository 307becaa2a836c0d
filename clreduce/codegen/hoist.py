"""What is computed before the pair loop and stored: values of j alone (or long ones of i alone), once per index, and
long ones of parameters alone. Tables of parameters that are computed are stored too: they are read by address.

A rewrite from formulas to formulas: the stored values become variables of the pair kernel.
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
"""Operations per j below which a value is recomputed for each block of rows rather than stored."""
_MOST_STORED = 4
"""Values of one domain that are stored each in a buffer of its own; more of them share one, and the kernel that fills
it: a kernel takes a driver longer to build than a few more lines in it."""
_MOST_NUMBERS = 64
"""Numbers per index that many values, side by side, have at most, unless the variables they are made of have more."""
_A_LOAD = 2
"""Operations per component up to which reading a value back takes as long."""
_CHEAP_COMPONENT = 4
"""Operations per component below which a value of parameters alone is recomputed."""


@dataclass(frozen=True)
class Hoisted:
    """Formulas of the pair kernel, and the values stored for it."""

    values: tuple[Expr, ...]
    stored: tuple[tuple[Expr, Expr], ...]
    """Pairs (new variable, what it stands for)."""
    panels: frozenset[Expr]
    """The i-variables that the pair kernel reads inside rolled loops: stored lane by lane, not row by row."""


def hoist(values: Sequence[Expr], unroll: int) -> Hoisted:
    """Choose what to store; vectors longer than ``unroll`` are those that loops run over."""
    roots, once = _tables(_searching(values))
    more = _of_parameters(roots, unroll, len(once))
    roots = substitute(roots, more)
    once |= more
    replacement: dict[Expr, Expr] = {}
    panels: set[Expr] = set()
    frontier_j = [node for node in _frontier(roots, Domain.J) if node.op.name != "variable"]
    if len(frontier_j) > _MOST_STORED:
        frontier_j = _costliest(frontier_j)
    if sum(work(node) for node in frontier_j) > _CHEAP:
        _store(frontier_j, Domain.J, once, replacement)
    read = _components_read(roots)
    panels.update(_store([n for n in _frontier(roots, Domain.I) if read[n] > unroll], Domain.I, once, replacement))
    new = substitute(roots, replacement)
    stored_values = once
    return Hoisted(new, tuple((leaf, node) for node, leaf in stored_values.items()), frozenset(panels))


def _store(
    nodes: Sequence[Expr], domain: Domain, stored: dict[Expr, Expr], replacement: dict[Expr, Expr]
) -> list[Expr]:
    """Enter ``nodes`` in ``stored``, side by side if there are many, and what stands for each in ``replacement``; gives
    the new variables."""
    groups = [tuple(nodes)] if len(nodes) > _MOST_STORED else [(node,) for node in nodes]
    made = []
    for group in groups:
        value = concat(*group) if len(group) > 1 else group[0]
        made.append(variable(("stored", len(stored)), value.dim, domain, value.kind))
        stored[value] = made[-1]
        at = 0
        for node in group:
            replacement[node] = made[-1] if len(group) == 1 else extract(made[-1], at, node.dim)
            at += node.dim
    return made


def _costliest(nodes: Sequence[Expr]) -> list[Expr]:
    """The nodes that are most worth storing, as many as there is memory for."""
    room = max(_MOST_NUMBERS, 2 * sum(leaf.dim for leaf in variables(nodes)))
    chosen: set[Expr] = set()
    for node in sorted(nodes, key=lambda node: -work(node) / node.dim):
        if work(node) > _A_LOAD * node.dim and node.dim <= room:
            chosen.add(node)
            room -= node.dim
    return [node for node in nodes if node in chosen]


def _searching(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots``, where tables of i or j are searched: kernels have addresses of parameters only."""

    def searching(node: Expr, rebuilt: Expr) -> Expr:
        by_address = node.op is not lookup or rebuilt.args[0].domain == Domain.P
        return rebuilt if by_address else searched(rebuilt.args[0], rebuilt.args[1], *node.params)

    return map_graph(roots, searching)


def _tables(roots: Sequence[Expr]) -> tuple[tuple[Expr, ...], dict[Expr, Expr]]:
    """``roots`` with variables for tables that are computed, and what these stand for, perhaps by way of others."""
    stored: dict[Expr, Expr] = {}

    def read(node: Expr, rebuilt: Expr) -> Expr:
        if node.op is not lookup or rebuilt.args[0].op.name == "variable":
            return rebuilt
        table, label = rebuilt.args
        leaf = stored.setdefault(table, variable(("stored", len(stored)), table.dim, Domain.P))
        return Expr(node.op, (leaf, label), node.params)

    return map_graph(roots, read), stored


def _of_parameters(roots: Sequence[Expr], unroll: int, first: int) -> dict[Expr, Expr]:
    """Values that loops would compute again for each pair, and the variables that stand for them."""
    read = _components_read(roots)
    found = [
        node for node in _frontier(roots, Domain.P) if read[node] > unroll and work(node) > _CHEAP_COMPONENT * node.dim
    ]
    return {node: variable(("stored", n), node.dim, Domain.P, node.kind) for n, node in enumerate(found, first)}


def _components_read(roots: Sequence[Expr]) -> dict[Expr, int]:
    """How many components of each value one reader asks for, at most: of a long vector perhaps only a few."""
    read = {root: root.dim for root in roots}
    for node in reversed(topological(roots)):
        for arg in node.args:
            asked = min(arg.dim, read[node]) if is_remap(node) else arg.dim
            read[arg] = max(read.get(arg, 0), asked)
    return read


def _frontier(roots: Sequence[Expr], domain: Domain) -> list[Expr]:
    """The maximal values of exactly ``domain`` that pair values are computed from, seen through index remaps."""
    found: dict[Expr, None] = {}
    seen: set[Expr] = set()
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.domain == domain and not is_remap(node) and _worth_storing(node):
            found[node] = None
        else:
            stack.extend(reversed(node.args))
    return list(found)


def _worth_storing(node: Expr) -> bool:
    """A number (no mask, no index), and not much longer than the data it is made of: memory stays linear in them."""
    if node.kind != REAL or node.op.name == "position":
        return False
    leaves = sum(leaf.dim for leaf in variables([node]) if leaf.domain == node.domain)
    return node.dim <= max(16, 2 * leaves)
