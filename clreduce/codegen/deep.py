"""Deep formulas. The emitter descends recursively from a value to its arguments, and Python limits recursion.

The emitter therefore computes values far above their leaves from the leaves upwards. The statements and their scopes
are the same as without this; only their order may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from clreduce.codegen.cost import is_remap
from clreduce.ir.expr import Expr, topological
from clreduce.ir.index import Position, bounds

DEEP = 100
"""A value with more nodes than this on a path to its leaves is written from the leaves upwards."""
PRODUCTS = ("mul", "square")
SUMS = ("add", "sub")
"""The operations into which a product that is used once is written."""


def deep_nodes(order: Sequence[Expr]) -> frozenset[Expr]:
    """The nodes that are more than `DEEP` nodes above their farthest leaf; ``order`` has arguments before users."""
    if len(order) <= DEEP:
        return frozenset()
    depth: dict[Expr, int] = {}
    for node in order:
        depth[node] = 1 + max((depth.get(arg, 0) for arg in node.args), default=0)
    return frozenset(node for node, steps in depth.items() if steps > DEEP)


def numbers_below(root: Expr, uses: Counter[Expr], unroll: int) -> list[Expr]:
    """The values below ``root`` that can be written at any time, arguments first: numbers, and vectors that are longer
    than ``unroll``, of which some have arrays."""
    order = topological([root])
    in_sums = {
        arg for node in order if node.op.name in SUMS for arg in node.args
        if arg.op.name in PRODUCTS and uses[arg] == 1
    }  # fmt: skip
    return [
        node for node in order
        if node.args and node is not root and (node.dim == 1 or node.dim > unroll)
        and not is_remap(node) and node not in in_sums
    ]  # fmt: skip


def components_below(
    root: Expr, at: Position, written: Callable[[Expr, Position], bool]
) -> list[tuple[Expr, Position]]:
    """The components of vectors below component ``at`` of ``root`` that are not ``written`` yet, arguments first."""
    order: list[tuple[Expr, Position]] = []
    stack: list[tuple[Expr, Position, bool]] = [(root, at, False)]
    seen: set[tuple[Expr, Position]] = set()
    while stack:
        node, k, ready = stack.pop()
        if ready:
            order.append((node, k))
        elif (node, k) not in seen and not written(node, k):
            seen.add((node, k))
            if node is not root and not is_remap(node):
                stack.append((node, k, True))
            stack.extend((arg, where, False) for arg, where in reversed(_read_by(node, k)) if (arg, where) not in seen)
    return order


def _read_by(node: Expr, k: Position) -> list[tuple[Expr, Position]]:
    """The components of vectors that component k of ``node`` reads, if it reads one of each argument; else none."""
    if node.op.terms is not None or not node.args:
        return []
    if node.op.remap is None:
        return [(arg, k) for arg in node.args if arg.dim > 1]
    low, high = bounds(k)
    if node.op.breaks is not None and any(low < edge <= high for edge in node.op.breaks(*node.args, *node.params)):
        return []
    term = node.op.remap(k, *node.args, *node.params)
    return [] if term is None or node.args[term[0]].dim == 1 else [(node.args[term[0]], term[1])]
