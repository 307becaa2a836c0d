"""Scans in a kernel: a loop over steps, with the carries in an array of private memory.

If all carries are needed, the array has a row for the start and one for each step. If only the last carry is needed, it
has two rows, which the steps use alternately.
"""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.ir.expr import Expr, substitute, topological
from clreduce.ir.index import Position
from clreduce.ir.op import variable
from clreduce.ir.signs import with_known_signs
from clreduce.ops.scan import Scan, scan


def is_scan(node: Expr) -> bool:
    """Whether ``node`` is a scan, which a loop over its steps computes."""
    return node.op is scan


@dataclass(frozen=True)
class Rows:
    """The places of the carries of a scan in its array."""

    dim: int
    """The length of a carry."""
    steps: int
    backwards: bool
    last: bool

    @classmethod
    def of(cls, node: Expr) -> Rows:
        parts = Scan.of(node)
        recurrence = parts.recurrence
        return cls(parts.start.dim, recurrence.steps, recurrence.backwards, recurrence.last)

    @property
    def size(self) -> int:
        """The number of components of the array."""
        return (2 if self.last else self.steps + 1) * self.dim

    @property
    def start(self) -> Position:
        """The first place of the carry before all steps."""
        return self._place(self.steps if self.backwards else 0)

    def before(self, t: Position, k: Position) -> Position:
        """The place of component k of the carry before step t."""
        return self._place(t + (1 if self.backwards else 0)) + k

    def after(self, t: Position, k: Position) -> Position:
        """The place of component k of the carry after step t."""
        return self._place(t + (0 if self.backwards else 1)) + k

    def value(self, k: Position) -> Position:
        """The place of component k of the value."""
        if self.last:
            return self.after(0 if self.backwards else self.steps - 1, k)
        return k if self.backwards else k + self.dim

    def _place(self, row: Position) -> Position:
        return (row % 2 if self.last else row) * self.dim


@dataclass(frozen=True)
class ScanStep:
    """The formula of one step of a scan, in variables that no other scan has."""

    body: Expr
    carry: Expr
    series: tuple[tuple[Expr, Expr], ...]
    """The variable for a step's part of each series, and the series."""
    changing: tuple[Expr, ...]
    """The values that change in each step: nodes of the body, and these variables."""

    @classmethod
    def of(cls, node: Expr) -> ScanStep:
        parts = Scan.of(node)
        carry_leaf, series_leaves, shared_leaves = parts.leaves
        carry = variable(("carry", node), parts.start.dim, node.domain)
        series = tuple(
            (variable(("series", node, n), leaf.dim, arg.domain), arg)
            for n, (leaf, arg) in enumerate(zip(series_leaves, parts.series, strict=True))
        )
        leaves = {carry_leaf: carry, **dict(zip(shared_leaves, parts.shared, strict=True))}
        leaves |= dict(zip(series_leaves, (leaf for leaf, _ in series), strict=True))
        (body,) = with_known_signs(substitute([parts.recurrence.body], leaves))
        changing = {carry, *(leaf for leaf, _ in series)}
        for inner in topological([body]):
            if any(arg in changing for arg in inner.args):
                changing.add(inner)
        return cls(body, carry, series, tuple(changing))


def places(node: Expr) -> int:
    """The length of the arrays of a scan and of the scans inside its steps together."""
    (recurrence,) = node.params
    return Rows.of(node).size + sum(places(inner) for inner in topological([recurrence.body]) if is_scan(inner))


__all__ = ["Rows", "ScanStep", "is_scan", "places"]
