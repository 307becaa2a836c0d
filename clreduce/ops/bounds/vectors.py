"""Bounds of operations between the components of vectors."""

from __future__ import annotations

from dataclasses import replace

from clreduce.ir.bounds import Bounds, any_of, flag, larger
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, Op, constant, integer
from clreduce.ops.bounds.support import UNDERFLOW, Rule, beside, is_infinite, widened


def moved(node: Expr, *args: object) -> Bounds:
    """The bounds of components that are moved, repeated or concatenated."""
    bounds = [b for b in args if isinstance(b, Bounds)]
    params = args[len(bounds) :]
    nan: Expr | None = None
    if any(b.nan is not None for b in bounds):
        flags = [
            OPS["expand"](constant(0), 1, b.low.dim, 1) if b.nan is None and b.low.dim > 1 else b.nan or constant(0)
            for b in bounds
        ]
        nan = node.op(*flags, *params)
    return replace(
        beside(*bounds), nan=nan, low=node.op(*(b.low for b in bounds), *params),
        high=node.op(*(b.high for b in bounds), *params),
    )  # fmt: skip


def sum_of_components(node: Expr, b: Bounds, *params: int) -> Bounds:
    """The bounds of a sum of components, in any order. Each addition has an error of ``eps`` relative to its result."""
    n = params[1]

    def total(f: Expr) -> Expr:
        return node.op(f, *params)

    one_sign = b.never_negative or b.never_positive
    if not one_sign:
        b = b.settled()
    nan = None if b.nan is None else total(b.nan)
    low, high = total(b.low), total(b.high)
    if not one_sign:
        # Ends that add up to more than there are numbers, beside one that is infinite, give nan.
        low = OPS["where"](OPS["equal"](low, low), low, constant(-INF))
        high = OPS["where"](OPS["equal"](high, high), high, constant(INF))
    bounds = replace(
        b, low=low, high=high, nan=nan, relative=b.relative + n, overflows=True,
        absolute=n * (b.absolute + UNDERFLOW),
    )  # fmt: skip
    if one_sign:
        return bounds
    mixed = flag(OPS["logical_and"](is_infinite(bounds.low), is_infinite(bounds.high)))
    slack = total(larger(b.high, -b.low)) * constant(b.precision.relative_slack(2 * n))
    return widened(replace(bounds, relative=0, nan=any_of(nan, mixed)), slack)


def extreme_component(direction: int) -> Rule:
    """The rule of the largest (1) or smallest (-1) component; nan is ignored."""

    def rule(node: Expr, b: Bounds) -> Bounds:
        low, high = b.low, b.high
        if b.nan is not None:
            some = OPS["less"](constant(0), b.nan)
            if direction > 0:
                low = OPS["where"](some, constant(-INF), low)
            else:
                high = OPS["where"](some, constant(INF), high)
        keeps = b.nan is None
        return replace(
            b, low=node.op(low), high=node.op(high), nan=None, overflows=True,
            never_negative=b.never_negative and (keeps or direction < 0),
            never_positive=b.never_positive and (keeps or direction > 0),
        )  # fmt: skip

    return rule


def place_of_component(node: Expr, b: Bounds) -> Bounds:
    """The bounds of a position of a component: from 0 to the last."""
    return Bounds(constant(0), constant(max(node.args[0].dim - 1, 0)), b.precision, never_negative=True)


MOST_ROWS = 64
"""If the row is unknown, all rows of a table are considered if it has at most this many."""


def row_of_table(node: Expr, table: Bounds, index: Bounds, dim: int) -> Bounds:
    """The bounds of a row of a table: of the row that is read if it is known, else of all rows if there are few.

    The value is nan if there is no such row.
    """
    rows = table.low.dim // dim
    table = table.settled()
    logical_and, where, less_equal = OPS["logical_and"], OPS["where"], OPS["less_equal"]
    inside = logical_and(less_equal(integer(0), index.low), less_equal(index.high, integer(rows - 1)))
    one = logical_and(inside, OPS["equal"](index.low, index.high))
    if rows <= MOST_ROWS:
        least, most = (_of_rows(OPS[name], f, rows, dim) for name, f in _extremes(table))
    else:
        least, most = constant(-INF), constant(INF)
    outside = flag(OPS["logical_not"](inside))
    return replace(
        table, low=where(one, node.op(table.low, index.low, dim), least),
        high=where(one, node.op(table.high, index.low, dim), most),
        nan=outside if table.nan is None else constant(1), never_negative=False, never_positive=False,
    )  # fmt: skip


def _extremes(table: Bounds) -> tuple[tuple[str, Expr], tuple[str, Expr]]:
    return ("smallest", table.low), ("largest", table.high)


def _of_rows(op: Op, f: Expr, rows: int, dim: int) -> Expr:
    """The extreme over all rows, component by component."""
    if dim > 1 and rows > 1:
        f = OPS["permute"](f, (rows, dim), (1, 0))
    parts = [op(OPS["extract"](f, k * rows, rows)) for k in range(dim)]
    return parts[0] if dim == 1 else OPS["concat"](*parts)
