"""The K smallest terms over j, ascending, and where they are. nan terms are passed over; of equals the first is first.

Components of a slot are ordered (K, D): the smallest term of all D components first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import constant, integer
from clreduce.ops.compare import equal, larger, less, smaller, where
from clreduce.ops.shape import concat, expand, extract, repeated
from clreduce.reductions.reduction import Array, Column, Reduction, Slot, State, register_family

_NOWHERE = -1.0


def _insert(state: State, columns: Sequence[Column]) -> State:
    for column in columns:
        state = _inserted(state, column)
    return state


def _inserted(state: State, column: Column) -> State:
    """The sorted list with one more term: places after it take over what stood one place before."""
    best, *indices = state
    term = column.values[0]
    count = best.dim // term.dim
    above = _shifted(best, term.dim, constant(float("-inf")))
    wide = expand(term, 1, count, term.dim)
    # A nan is neither the larger nor the smaller: the list stays.
    values = smaller(best, larger(wide, above))
    if not indices:
        return (values,)
    (places,) = indices
    index = expand(column.index, 1, count, term.dim) if column.index.dim == term.dim else column.index
    places = where(less(wide, above), _shifted(places, term.dim, integer(-1)), where(less(wide, best), index, places))
    return values, places


def _shifted(kept: Expr, dim: int, first: Expr) -> Expr:
    """Each place's upper neighbour."""
    top = repeated(first, dim)
    return top if kept.dim == dim else concat(top, extract(kept, 0, kept.dim - dim))


def _enters(state: State, columns: Sequence[Column]) -> Expr:
    """Whether the smallest of some columns is smaller than the worst that is kept."""
    terms = [column.values[0] for column in columns]
    dim = terms[0].dim
    worst = extract(state[0], state[0].dim - dim, dim)
    return less(reduce(smaller, terms, worst), worst)


def _sorted_numpy(values: Array, count: int) -> tuple[Array, Array]:
    """The ``count`` smallest and their indices along axis 1, of shape (M, K, D); +inf and -1 where there are fewer."""
    rows, _, dim = values.shape
    cleaned = np.where(np.isnan(values), np.inf, values)
    order = np.argsort(cleaned, axis=1, kind="stable")[:, :count]
    best = np.full((rows, count, dim), np.inf)
    places = np.full((rows, count, dim), -1, np.int64)
    best[:, : order.shape[1]] = np.take_along_axis(cleaned, order, 1)
    places[:, : order.shape[1]] = order
    places[best == np.inf] = -1
    return best, places


def _declare(name: str, words: str, chosen: tuple[int, ...]) -> None:
    """A family whose outputs are the slots ``chosen``: 0 for the values, 1 for the indices."""
    slot_count = 2 if 1 in chosen else 1

    def build(count: int) -> Reduction:
        def slots(dims: tuple[int, ...]) -> tuple[Slot, ...]:
            every = Slot(count * dims[0], float("inf")), Slot(count * dims[0], _NOWHERE, INDEX)
            return every[:slot_count]

        def merge(a: State, b: State) -> State:
            dim = a[0].dim // count
            for at in range(0, count * dim, dim):
                kept = [extract(slot, at, dim) for slot in b]
                a = _inserted(a, Column((kept[0],), kept[-1]))
            return a

        def numpy(values: Array) -> tuple[Array, ...]:
            every = _sorted_numpy(values, count)
            return tuple(every[n].reshape(len(values), count * values.shape[2]) for n in chosen)

        def tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
            wide = expand(d_values[0], 1, count, d_values[0].dim)
            return where(equal(column.index, residuals[0]), wide, constant(0))

        return Reduction(
            name=name,
            doc=words,
            slots=slots,
            update=_insert,
            merge=merge,
            finish=lambda state, first: tuple(state[n] for n in chosen),
            numpy=numpy,
            count=count,
            guard=_enters,
            keeps_terms=True,
            tangent=tangent if chosen[0] == 0 else None,
            residual="ArgKMin" if chosen[0] == 0 else "",
        )

    register_family(name, words, build)


_declare("KMin", "The K smallest terms, ascending, component by component; inf where there are fewer.", (0,))
_declare(
    "ArgKMin", "Indices j of the K smallest terms, int64, the lowest of equals first; -1 where there are fewer.", (1,)
)
_declare("KMin_ArgKMin", "The K smallest terms and their indices, as two results.", (0, 1))
