"""The positions at which the rule of a vector's components changes, and the components that belong together.

Loops over components are cut at these positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from clreduce.codegen.recurrences import is_scan
from clreduce.ir.expr import Expr, topological

Alias = Callable[[Expr], "tuple[Expr, int] | None"]
_MOST_INTERLEAVED = 4
"""The most interleaved vectors whose components one loop iteration takes together."""


class Layouts:
    """The layouts of the components of vectors. ``alias(node)`` is the formula that a variable stands for."""

    def __init__(self, alias: Alias) -> None:
        self.alias = alias
        self._layouts: dict[Expr, tuple[frozenset[int], int]] = {}

    def segments(self, roots: Sequence[Expr], length: int) -> list[tuple[int, int]]:
        """The interval [0, length), cut where a concatenation or a padding below ``roots`` changes its part."""
        cuts: set[int] = {0, length}
        for root in roots:
            cuts |= {cut for cut in self._layout(root)[0] if 0 < cut < length}
        edges = sorted(cuts)
        return list(pairwise(edges))

    def step(self, roots: Sequence[Expr]) -> int:
        """The number of components that belong together: 2 if two vectors are interleaved, as in complex numbers."""
        return max(self._layout(root)[1] for root in roots)

    def _layout(self, root: Expr) -> tuple[frozenset[int], int]:
        """The positions at which a concatenation or padding below ``root`` changes, and the number of interleaved
        vectors."""
        for node in topological([root], self._layouts):
            stands_for = self.alias(node) if node.op.name == "variable" else None
            self._layouts[node] = self._own_layout(node) if stands_for is None else self._layout(stands_for[0])
        return self._layouts[root]

    def _own_layout(self, node: Expr) -> tuple[frozenset[int], int]:
        """The layout of ``node``, from the known layouts of its arguments."""
        name, params = node.op.name, node.params
        if is_scan(node):
            return frozenset(), 1
        below = [self._layouts[arg] for arg in node.args]
        if name == "permute":
            # A transposition of (n, length) makes component k of all n vectors adjacent.
            return frozenset(), params[0][0] if params[1] == (1, 0) and params[0][0] <= _MOST_INTERLEAVED else 1
        if name == "expand":
            return frozenset(), params[2] if params[2] <= _MOST_INTERLEAVED else 1
        if name == "extract":
            return frozenset(cut - params[0] for cut in below[0][0]), below[0][1]
        cuts: set[int] = set()
        if node.op.breaks is not None:
            edges = node.op.breaks(*node.args, *params)
            cuts.update(edges)
            for (inside, _), offset in zip(below, edges, strict=False):
                cuts |= {offset + cut for cut in inside}
        elif node.op.remap is None:
            below = [known for arg, known in zip(node.args, below, strict=True) if arg.dim == node.dim]
            cuts.update(*(inside for inside, _ in below))
        else:
            return frozenset(), 1
        return frozenset(cuts), max((step for _, step in below), default=1)
