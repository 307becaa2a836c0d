"""The limit of the length of kernels: drivers compile long ones for minutes, or run out of memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from clreduce.codegen.cost import is_remap
from clreduce.domain import Domain
from clreduce.errors import FormulaError, ScheduleError
from clreduce.ir.expr import Expr, topological
from clreduce.ir.show import show

MOST_STATEMENTS = 20_000
"""The most components for which a kernel has statements, for all pairs of its register tile; a loop counts once."""
_OF_A_PART = 10
"""The number of statements for each part of a concatenated vector, since no loop runs over different parts."""
_QUOTED = 60
_PARTS = 32


def check_length(values: Sequence[Expr], unroll: int, rows: int, cols: int) -> None:
    """Raise an error if the code of these formulas would be too long for drivers.

    Raises `FormulaError` if the formula is too long, and `ScheduleError` if only ``rows`` times ``cols`` pairs are.
    """
    order = topological(values)
    if sum(max(node.dim, _OF_A_PART * len(node.args)) for node in order) * rows * cols <= MOST_STATEMENTS:
        return
    statements = sum(_statements(node, unroll) for node in order)
    cells = {Domain.P: 1, Domain.I: rows, Domain.J: cols, Domain.IJ: rows * cols}
    in_all = sum(_statements(node, unroll) * cells[node.domain] for node in order)
    if in_all > MOST_STATEMENTS >= 2 * statements:
        raise ScheduleError(
            f"{rows} x {cols} pairs at a time take {in_all} statements in a kernel, and {MOST_STATEMENTS} are the "
            "most that are compiled: give fewer rows or cols"
        )
    if in_all > MOST_STATEMENTS:
        part, own = _longest_part(values, unroll, statements)
        raise FormulaError(
            f"the formula takes {statements} statements in a kernel, and {MOST_STATEMENTS} are the most that are "
            f"compiled; {own} of them are for the part {show(part, limit=_QUOTED)}: compute parts of the formula on "
            "their own, or write what repeats as operations on vectors"
        )


def _statements(node: Expr, unroll: int) -> int:
    if not node.args or is_remap(node):
        return _OF_A_PART * len(node.args) if node.op.name == "concat" else 0
    return node.dim if node.dim <= unroll else 1


def _longest_part(values: Sequence[Expr], unroll: int, statements: int) -> tuple[Expr, int]:
    """A small part with more than half of the statements, if there is one, and its number of statements."""
    written: dict[Expr, float] = {}
    """The statements below each node, with shared nodes counted each time. They lead to the longest part."""
    for node in topological(values):
        written[node] = _statements(node, unroll) + sum(written[arg] for arg in node.args)
    path = [max(values, key=lambda node: written[node])]
    while path[-1].args:
        path.append(max(path[-1].args, key=lambda node: written[node]))

    def size(node: Expr) -> int:
        return sum(_statements(below, unroll) for below in topological([node]))

    # Each part on the path contains the next one. Some parts of a long path suffice.
    path = path[:: 1 + len(path) // _PARTS]
    last = bisect_right(path, -statements / 2, key=lambda node: -size(node)) - 1
    part = path[max(last, 0)]
    return part, size(part)
