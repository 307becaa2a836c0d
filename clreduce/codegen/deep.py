"""Deep formulas: the emitter descends from a value to its arguments by recursion, and Python's stack has an end.

So values far above their leaves are asked for from the leaves upwards. What is asked for first is written first; the
statements and their places are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from clreduce.codegen.cost import is_remap
from clreduce.ir.expr import Expr, topological
from clreduce.ir.index import Position, bounds

DEEP = 100
"""Nodes on a path to the leaves beyond which a value is written from the leaves upwards."""
PRODUCTS = ("mul", "square")
SUMS = ("add", "sub")
"""What a product that is used once is written into."""


def deep_nodes(order: Sequence[Expr]) -> frozenset[Expr]:
    """The nodes of ``order``, arguments before users, that stand more than `DEEP` nodes above their farthest leaf."""
    if len(order) <= DEEP:
        return frozenset()
    depth: dict[Expr, int] = {}
    for node in order:
        depth[node] = 1 + max((depth.get(arg, 0) for arg in node.args), default=0)
    return frozenset(node for node, steps in depth.items() if steps > DEEP)


def numbers_below(root: Expr, uses: Counter[Expr], unroll: int) -> list[Expr]:
    """What ``root`` is made of and may be written at any time, arguments first: values of length 1, and vectors that
    loops run over, of which some are kept."""
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
    """The components of vectors that component ``at`` of ``root`` is made of and that are not ``written``, arguments
    first."""
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
    """The components of vectors that component k of ``node`` reads, where that is one of each argument."""
    if node.op.terms is not None or not node.args:
        return []
    if node.op.remap is None:
        return [(arg, k) for arg in node.args if arg.dim > 1]
    low, high = bounds(k)
    if node.op.breaks is not None and any(low < edge <= high for edge in node.op.breaks(*node.args, *node.params)):
        return []
    term = node.op.remap(k, *node.args, *node.params)
    return [] if term is None or node.args[term[0]].dim == 1 else [(node.args[term[0]], term[1])]
