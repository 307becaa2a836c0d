"""`lookup`: a row of a table at an index that is known only when a pair is visited.

Kernels read the row from memory if the table is a parameter, so the cost does not grow with the length of the table.
Tables of other domains are short vectors, which kernels search row by row (`searched`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import (
    COSTLY,
    INF,
    NAN,
    Array,
    Edge,
    Inference,
    Op,
    constant,
    integer,
    iota,
    joined,
    register,
    spell,
)  # fmt: skip
from clreduce.ops.bounds.vectors import row_of_table
from clreduce.ops.compare import equal, less, less_equal, logical_and, where
from clreduce.ops.indices import as_index, as_real, table_offset, tally
from clreduce.ops.shape import expand, reduce_sum

MOST_ROWS = 2**30
"""The most rows of a table. The integers of single-precision kernels could number twice as many."""


def _infer(args: tuple[Expr, ...], params: tuple[int, ...]) -> Inference:
    (table, index), (dim,) = args, params
    if dim < 1 or table.dim % dim:
        raise ShapeError(f"Lookup: a table of {table.dim} numbers cannot be divided into rows of length {dim}")
    if index.kind != INDEX or index.dim != 1:
        raise ShapeError(f"Lookup: an index must be one integer; got a vector of length {index.dim}")
    if table.kind != REAL or table.dim // dim > MOST_ROWS:
        raise ShapeError(f"Lookup: a table may have up to {MOST_ROWS} rows of real numbers; got {table.dim // dim}")
    return dim, joined(args), REAL


def _numpy(table: Array, index: Array, dim: int) -> Array:
    rows = table.shape[-1] // dim
    head = np.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    shaped = np.broadcast_to(table, (*head, table.shape[-1])).reshape(*head, rows, dim)
    at = np.broadcast_to(index, (*head, 1))
    inside = (at >= 0) & (at < rows)
    row = np.take_along_axis(shaped, np.where(inside, at, 0)[..., None], axis=-2)[..., 0, :]
    return np.where(inside, row, np.nan).astype(table.dtype)


def _scattered(cotangent: Expr, table: Expr, index: Expr, dim: int) -> tuple[Expr, None]:
    """Zeros in the shape of the table, but the cotangent in the row of the index."""
    rows = table.dim // dim
    chosen = equal(iota(rows), as_real(index))
    if dim == 1 or rows == 1:
        return where(chosen, cotangent, constant(0)), None
    return where(expand(chosen, rows, dim, 1), expand(cotangent, 1, rows, dim), constant(0)), None


# Linear in the table; the index has no derivative.
lookup: Op = register(
    Op(
        "lookup", _infer, _numpy, arity=2, bounds=row_of_table, functions=("lookup",), cost=COSTLY,
        transpose=_scattered, interleaved=lambda n, dim: (n * dim,),
    )
)  # fmt: skip
"""``lookup(table, index, dim)``: row ``index`` of a table of rows of length ``dim``, one after the other; nan for an
index that the table has not."""


def searched(table: Expr, index: Expr, dim: int) -> Expr:
    """The row of a table, by comparing the index with each row number: for tables without an address."""
    rows = table.dim // dim
    chosen = equal(iota(rows), as_real(index))
    chosen = chosen if dim == 1 or rows == 1 else expand(chosen, rows, dim, 1)
    masked = where(chosen, table, constant(0))
    inside = logical_and(less_equal(integer(0), index), less(index, integer(rows)))
    return where(inside, masked if rows == 1 else reduce_sum(masked, 1, rows, dim), constant(NAN))


def table_index(labels: Sequence[Expr], sizes: Sequence[int]) -> Expr:
    """The number of a row, from its labels along the axes of the table; negative if a label is outside of its axis."""
    if len(labels) == 1:
        return labels[0]
    strides = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    parts = [table_offset(*one, -prod(sizes)) for one in zip(labels, sizes, strides, strict=True)]
    return reduce(tally, parts)


def looked_up(table: Expr, k: Expr, dim: int = 1) -> Expr:
    """Row k of the table; a real k is rounded to the nearest whole number."""
    if k.dim != 1:
        raise ShapeError(f"Lookup: k must have length 1; got length {k.dim}")
    return lookup(table, k if k.kind == INDEX else as_index(k), dim)


spell("Lookup", looked_up, "row Floor(k + 1/2), counted from 0, of the table A whose rows of length n (1 if it is left "
      "out) follow each other; nan if there is no such row. Of a parameter A only the row is read, of others all rows",
      "A k", "n", optional=1, interval=(-0.4, 1.4), example=(6, 1, 3), edges=(
      Edge(((1, 2, NAN, INF), 0, 2), (1, 2), ((1, 1, 0, 0), 0)), Edge(((1, NAN, 7), 2, 1), 7, ((0, 0, 1), 0)),
      Edge(((1, 2, 3), 3, 1), NAN), Edge(((1, 2, 3), -1, 1), NAN),
      Edge(((1, 2), NAN, 1), NAN), Edge(((1, 2), INF, 1), NAN), Edge(((1, 2), 0.5, 1), 2, ((0, 1), 0)),
      Edge(((1, 2), -0.5, 1), 1, ((1, 0), 0))))  # fmt: skip
