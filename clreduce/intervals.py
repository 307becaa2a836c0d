"""Intervals: what a formula may give where its variables lie in boxes, as formulas in the ends of the boxes.

`bounds_of` is a pass over the graph as `clreduce.autodiff` is one: from one fact that each operation states it makes
ordinary formulas. So the evaluator gives bounds by NumPy, and the code generator makes kernels of bounds. For

    low, high = SqDist(x, y) over boxes of x and boxes of y

these are a few operations more than for the distance itself, and they are tight up to rounding, as x appears once.

Bounds hold for the exact values of a formula and for those that kernels or NumPy compute in the given precision. Where
kernels call a GPU's own functions (`clreduce.codegen.forms`), this is so as long as values stay a factor of 2^20 away
from both ends of the range. Bounds speak of each operation by itself: what a formula owes to the same variable that
appears twice is not seen (x - x has the bounds of x - y), but for x * x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.bounds import Bounds, Precision, anything, larger, smaller
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, MASK, REAL, Expr, topological
from clreduce.ir.op import INF, OPS, constant, constant_value, variable
from clreduce.ir.signs import Sign, signs_of
from clreduce.typing import Array


@dataclass(frozen=True)
class Box:
    """Where a variable, or the position i or j, lies: ``low <= v <= high``, component by component, both as long."""

    low: Expr
    high: Expr
    nan: Expr | None = None
    """Not 0 where a value in the box may be nan; None: none ever is. The ends themselves are numbers in any case."""

    @classmethod
    def around(cls, leaf: Expr, may_be_nan: bool = False) -> Box:
        """A box whose ends are variables of their own, of the domain of ``leaf``; and ``nan``, if values may be nan.

        >>> from clreduce.domain import Domain
        >>> Box.around(variable("x", 3, Domain.I)).low.params
        (('low', 'x'), 3, <Domain.I: 1>, 'real')
        """
        name = leaf.params[0]
        low, high = (variable((end, name), leaf.dim, leaf.domain, leaf.kind) for end in ("low", "high"))
        return cls(low, high, variable(("nan", name), leaf.dim, leaf.domain) if may_be_nan else None)


def bounds_of(roots: Sequence[Expr], boxes: Mapping[Expr, Box], dtype: str) -> list[Bounds]:
    """The bounds of each root, in formulas, where leaves lie in ``boxes``.

    They hold for kernels of ``dtype``, ``"float32"`` or ``"float64"``, and are to be computed in that precision, too.
    Leaves without a box are points, which are finite. Of a root, ``low`` and ``high`` are never nan. A value that is
    nan is outside of any bounds: ``nan`` says whether there may be one.

    >>> from clreduce.domain import Domain
    >>> from clreduce.ops.functions import exp
    >>> x, y = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    >>> (bounds,) = bounds_of([exp(x - y)], {x: Box.around(x), y: Box.around(y)}, "float64")
    >>> ends = {end: np.array([[at]]) for box, span in ((x, (1, 2)), (y, (0, 3)))
    ...         for end, at in zip((Box.around(box).low, Box.around(box).high), span)}
    >>> low, high = evaluate([bounds.low, bounds.high], ends)
    >>> bool(low < np.exp(-2)) and bool(np.exp(2) < high), bool(np.allclose([low, high], np.exp([[[-2]], [[2]]])))
    (True, True)
    """
    precision = Precision.of(dtype)
    signs = signs_of(roots)
    known: dict[Expr, Bounds] = {}
    for node in topological(roots):
        if node in boxes:
            bounds = _of_box(node, boxes[node], precision)
        elif not node.args:
            bounds = _of_leaf(node, precision)
        elif node.op.bounds is not None:
            bounds = node.op.bounds(node, *(known[arg] for arg in node.args), *node.params)
        else:
            bounds = _of_range(node, precision)
        known[node] = _with_sign(bounds, signs[node]).fitted(node.dim)
    return [known[root].settled() for root in roots]


def _of_box(leaf: Expr, box: Box, precision: Precision) -> Bounds:
    """Numbers that a kernel may take for 0 count as 0, too."""
    for end in (box.low, box.high):
        if end.dim != leaf.dim or end.kind != leaf.kind:
            raise ShapeError(f"a box of {leaf} has ends of its length {leaf.dim}; got {end.dim}")
    if leaf.kind != REAL or box.low is box.high:
        return Bounds(box.low, box.high, precision, box.nan)
    zero, tiny, where, less = constant(0), constant(precision.tiny), OPS["where"], OPS["less"]
    low = where(less(box.low, tiny), smaller(box.low, zero), box.low)
    high = where(less(-tiny, box.high), larger(box.high, zero), box.high)
    return Bounds(low, high, precision, box.nan, overflows=True)


def _of_leaf(leaf: Expr, precision: Precision) -> Bounds:
    """Of a constant, or of a point."""
    value = constant_value(leaf)
    if value is None:
        return Bounds(leaf, leaf, precision)
    if math.isnan(value):
        return anything(precision)
    if value > precision.largest:
        return Bounds(constant(precision.largest), constant(INF), precision)
    if value < -precision.largest:
        return Bounds(constant(-INF), constant(-precision.largest), precision)
    subnormal = -precision.tiny < value < precision.tiny and value != 0
    return Bounds(
        leaf, leaf, precision, relative=0 if precision.holds(value) else 1, absolute=int(subnormal),
        never_negative=value >= 0, never_positive=value <= 0,
    )  # fmt: skip


def _of_range(node: Expr, precision: Precision) -> Bounds:
    """Of an operation that states nothing."""
    if node.kind == INDEX:
        raise NotImplementedError(f"{node.op.name} makes true integers, and states no rule of bounds")
    if node.kind == MASK:
        no = OPS["less"](constant(0), constant(0))
        return Bounds(no, OPS["logical_not"](no), precision)
    found = anything(precision)
    return replace(found, low=constant(0), never_negative=True) if node.op.never_negative else found


def _with_sign(bounds: Bounds, sign: Sign) -> Bounds:
    """With what is known of signs, which a rule may have overlooked."""
    if sign.never_negative and not bounds.never_negative:
        bounds = replace(bounds, low=larger(bounds.low, constant(0)), never_negative=True)
    if sign.never_positive and not bounds.never_positive:
        bounds = replace(bounds, high=smaller(bounds.high, constant(0)), never_positive=True)
    return bounds


@dataclass(frozen=True)
class Interval:
    """Arrays between which values lie, and whether one of them may be nan; the last axis is the vector."""

    low: Array
    high: Array
    nan: Array | None = None
    """Truth values; None: none ever is."""


def evaluate_bounds(
    roots: Sequence[Expr], boxes: Mapping[Expr, Interval], points: Mapping[Expr, Array], dtype: str
) -> list[Interval]:
    """The bounds of each root by NumPy, where some leaves lie in ``boxes`` and the others are ``points``.

    Arrays broadcast as in `evaluate`, and are rounded to ``dtype``: boxes whose ends it cannot hold would shrink.

    >>> from clreduce.domain import Domain
    >>> from clreduce.ops.derived import squared_distance
    >>> x, y = variable("x", 2, Domain.I), variable("y", 2, Domain.J)
    >>> boxes = {x: Interval(np.zeros((1, 2)), np.ones((1, 2))), y: Interval(np.array([[3, 0.5]]), np.array([[4, 2]]))}
    >>> (bounds,) = evaluate_bounds([squared_distance(x, y)], boxes, {}, "float64")
    >>> bounds.low.round(12), bounds.high.round(12), bounds.nan
    (array([[4.]]), array([[20.]]), array([[False]]))
    """
    around, values = {}, {leaf: _of_dtype(leaf, array, dtype) for leaf, array in points.items()}
    for leaf, interval in boxes.items():
        box = around[leaf] = Box.around(leaf, interval.nan is not None)
        values[box.low], values[box.high] = (_of_dtype(leaf, end, dtype) for end in (interval.low, interval.high))
        if box.nan is not None:
            values[box.nan] = np.asarray(interval.nan, dtype)
    found = []
    for bounds in bounds_of(roots, around, dtype):
        nan = constant(0) if bounds.nan is None else bounds.nan
        low, high, nans = evaluate([bounds.low, bounds.high, nan], values, dtype)
        found.append(Interval(low, high, nans > 0))
    return found


def _of_dtype(leaf: Expr, array: Array, dtype: str) -> Array:
    return np.asarray(array, dtype) if leaf.kind == REAL else np.asarray(array)


__all__ = ["Box", "Interval", "bounds_of", "evaluate_bounds"]
