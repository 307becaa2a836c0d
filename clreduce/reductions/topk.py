"""The K smallest or largest terms over j in order, their indices, and sums over them. nan is ignored; equal terms keep
their order.

The components of a slot have the order (K, D): the first term of all D components comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import Op, constant, integer
from clreduce.ops.compare import equal, larger, less, smaller, where
from clreduce.ops.derived import truth
from clreduce.ops.shape import concat, expand, extract, reduce_sum, repeated
from clreduce.reductions.reduction import (
    Column,
    Reduction,
    Skips,
    Slot,
    State,
    alias,
    reduction_named,
    register_family,
)
from clreduce.typing import Array

_NOWHERE = -1.0


@dataclass(frozen=True)
class _Order:
    """The order of a list: the smallest or the largest terms first."""

    name: str
    words: str
    neutral: float
    first: Op
    last: Op

    def before(self, a: Expr, b: Expr) -> Expr:
        """The mask that a comes before b; false for nan."""
        return less(a, b) if self.neutral > 0 else less(b, a)


_ORDERS = (
    _Order("Min", "smallest terms, ascending", float("inf"), smaller, larger),
    _Order("Max", "largest terms, descending", float("-inf"), larger, smaller),
)


# ------------------------------------------------------------------------------------------------------ sorted lists A
# state is the list of the best terms, and further lists that belong to them: indices, or values of the second formula.


def _inserted(order: _Order, state: State, column: Column) -> State:
    """The lists after the insertion of a term: places after it take the values of the places before them."""
    best, *others = state
    term = column.values[0]
    count = best.dim // term.dim
    above = _shifted(best, term.dim, constant(-order.neutral))
    wide = expand(term, 1, count, term.dim)
    # nan comes neither before nor after another term, so the list stays unchanged.
    values = order.first(best, order.last(wide, above))
    moves, takes = order.before(wide, above), order.before(wide, best)
    return values, *(_followed(count, moves, takes, other, column) for other in others)


def _followed(count: int, moves: Expr, takes: Expr, other: Expr, column: Column) -> Expr:
    """The list ``other`` after the term of ``column`` has entered. ``moves`` and ``takes`` are masks of its places."""
    dim = other.dim // count
    if other.kind == INDEX:
        new = expand(column.index, 1, count, dim) if column.index.dim == dim else column.index
        nothing = integer(-1)
    else:
        new, nothing = expand(column.values[1], 1, count, dim), constant(0)
        moves, takes = (expand(mask, count, dim, 1) for mask in (moves, takes))
    return where(moves, _shifted(other, dim, nothing), where(takes, new, other))


def _shifted(values: Expr, dim: int, first: Expr) -> Expr:
    """A list shifted down by one place, with ``first`` at the top."""
    top = repeated(first, dim)
    return top if values.dim == dim else concat(top, extract(values, 0, values.dim - dim))


def _sorted_numpy(order: _Order, values: Array, count: int) -> tuple[Array, Array]:
    """The ``count`` best terms and their indices along axis 1, of shape (M, K, D), padded with neutral and -1."""
    rows, _, dim = values.shape
    cleaned = np.where(np.isnan(values), order.neutral, values)
    ranks = np.argsort(cleaned if order.neutral > 0 else -cleaned, axis=1, kind="stable")[:, :count]
    best = np.full((rows, count, dim), order.neutral)
    places = np.full((rows, count, dim), -1, np.int64)
    best[:, : ranks.shape[1]] = np.take_along_axis(cleaned, ranks, 1)
    places[:, : ranks.shape[1]] = ranks
    places[best == order.neutral] = -1
    return best, places


def _build(
    order: _Order,
    count: int,
    name: str,
    doc: str,
    slots: Callable[[tuple[int, ...]], tuple[Slot, ...]],
    finish: Callable[[State], tuple[Expr, ...]],
    numpy: Callable[..., tuple[Array, ...]],
    tangent: Callable[[Column, Sequence[Expr], Sequence[Expr]], Expr] | None,
    residual: str,
    formula2: str = "",
) -> Reduction:
    def update(state: State, columns: Sequence[Column]) -> State:
        for column in columns:
            state = _inserted(order, state, column)
        return state

    def merge(a: State, b: State) -> State:
        for k in range(count):
            members = [extract(slot, k * (slot.dim // count), slot.dim // count) for slot in b]
            values = tuple(member for member in members if member.kind == REAL)
            a = _inserted(order, a, Column(values, members[-1]))
        return a

    def guard(state: State, columns: Sequence[Column]) -> Expr:
        """The mask that the best of some columns comes before the last term of the list."""
        terms = [column.values[0] for column in columns]
        dim = terms[0].dim
        last = extract(state[0], state[0].dim - dim, dim)
        return order.before(reduce(order.first, terms, last), last)

    return Reduction(
        name=name,
        doc=doc,
        slots=slots,
        update=update,
        merge=merge,
        finish=lambda state, first: finish(state),
        numpy=numpy,
        formula2=formula2,
        scalar=bool(formula2),
        count=count,
        lists=not formula2,
        guard=guard,
        keeps_terms=True,
        tangent=tangent,
        residual=residual,
    )


# ------------------------------------------------------------------------------------------------------ the lists


def _declare_lists(order: _Order, name: str, doc: str, chosen: tuple[int, ...]) -> None:
    """Declare a family whose outputs are the slots ``chosen``: 0 for the values, 1 for the indices."""
    both = f"K{order.name}_ArgK{order.name}"

    def build(count: int) -> Reduction:
        def slots(dims: tuple[int, ...]) -> tuple[Slot, ...]:
            values, places = Slot(count * dims[0], order.neutral), Slot(count * dims[0], _NOWHERE, INDEX)
            return (values, places) if 1 in chosen else (values,)

        def numpy(values: Array) -> tuple[Array, ...]:
            lists = _sorted_numpy(order, values, count)
            return tuple(lists[n].reshape(len(values), count * values.shape[2]) for n in chosen)

        def tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
            wide = expand(d_values[0], 1, count, d_values[0].dim)
            # Places without a term have no slope, whatever their indices are.
            taken = where(equal(residuals[0], constant(order.neutral)), integer(-1), residuals[1])
            return where(equal(column.index, taken), wide, constant(0))

        smooth = chosen[0] == 0
        built = _build(
            order, count, name, doc, slots, lambda state: tuple(state[n] for n in chosen), numpy,
            tangent if smooth else None, both if smooth else "",
        )  # fmt: skip
        built = replace(built, skips=Skips.BELOW if order.neutral < 0 else Skips.ABOVE)
        if count > 1:
            return built
        # A single term needs no order: all columns of a block are compared at once.
        single = reduction_named(f"{order.name}_Arg{order.name}" if 1 in chosen else order.name)
        return replace(built, update=single.update, merge=single.merge, guard=single.guard, keeps_terms=False)

    register_family(name, doc, build)


# ------------------------------------------------------------------------------------------------------ sums over them


def _declare_sum(order: _Order, name: str, doc: str, internal: bool) -> None:
    """Declare a family whose output is the sum of the second formula over the K best terms.

    An ``internal`` one also gives their indices.
    """

    def build(count: int) -> Reduction:
        def slots(dims: tuple[int, ...]) -> tuple[Slot, ...]:
            lists = Slot(count, order.neutral), Slot(count * dims[1], 0.0)
            return (*lists, Slot(count, _NOWHERE, INDEX)) if internal else lists

        def finish(state: State) -> tuple[Expr, ...]:
            out = reduce_sum(state[1], 1, count, state[1].dim // count)
            return (out, state[2]) if internal else (out,)

        def numpy(values: Array, addends: Array) -> tuple[Array, ...]:
            _, places = _sorted_numpy(order, values, count)
            if addends.shape[1] == 0:
                out = np.zeros((len(values), addends.shape[2]))
            else:
                with np.errstate(all="ignore"):
                    taken = np.take_along_axis(addends, np.maximum(places, 0), 1)
                    out = np.where(places >= 0, taken, 0).sum(1)
            return (out, places[:, :, 0]) if internal else (out,)

        def tangent(column: Column, residuals: Sequence[Expr], d_values: Sequence[Expr]) -> Expr:
            chosen = reduce_sum(truth(equal(column.index, residuals[1])), 1, count, 1)
            return where(less(constant(0), chosen), d_values[1], constant(0))

        return _build(
            order, count, name, doc, slots, finish, numpy, tangent, f"SumK{order.name}_ArgK{order.name}",
            "the values that are added up",
        )  # fmt: skip

    register_family(name, doc, build, internal)


def _declare(order: _Order) -> None:
    k, terms, neutral = f"K{order.name}", order.words.split(",")[0], order.neutral
    _declare_lists(order, k, f"The K {order.words}, component by component; {neutral} where there are fewer.", (0,))
    places = (
        f"Indices j of the K {terms}, int64, the lowest of equals first; terms of {neutral}, for which nan counts too, "
        "come last; -1 where there are fewer."
    )
    _declare_lists(order, f"Arg{k}", places, (1,))
    _declare_lists(order, f"{k}_Arg{k}", f"The K {terms} and their indices, as two results.", (0, 1))
    alias(f"{k}Arg{k}", f"{k}_Arg{k}")
    words = (
        f"Sum of formula2 over the K {terms}; over all where there are fewer, 0 over nothing; slopes in formula2 only."
    )
    _declare_sum(order, f"Sum{k}", words, False)
    _declare_sum(order, f"Sum{k}_Arg{k}", "The same sum, and the indices of its terms.", True)


for _order in _ORDERS:
    _declare(_order)
