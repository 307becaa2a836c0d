"""Intervals: bounds of a formula whose variables lie in boxes, as formulas in the ends of the boxes.

`bounds_of` is a pass over the graph like `clreduce.autodiff`. It makes ordinary formulas from one fact that each
operation states. So the evaluator computes bounds by NumPy, and the code generator makes kernels of bounds. For

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
    """The range of a variable, or of a position i or j: ``low <= v <= high``, component by component."""

    low: Expr
    high: Expr
    nan: Expr | None = None
    """Nonzero if a value in the box may be nan; None if none ever is. The ends themselves are never nan."""

    @classmethod
    def around(cls, leaf: Expr, may_be_nan: bool = False) -> Box:
        """A box whose ends are new variables with the domain of ``leaf``, with a variable ``nan`` if values may be nan.

        >>> from clreduce.domain import Domain
        >>> Box.around(variable("x", 3, Domain.I)).low.params
        (('low', 'x'), 3, <Domain.I: 1>, 'real')
        """
        name = leaf.params[0]
        low, high = (variable((end, name), leaf.dim, leaf.domain, leaf.kind) for end in ("low", "high"))
        return cls(low, high, variable(("nan", name), leaf.dim, leaf.domain) if may_be_nan else None)


def bounds_of(roots: Sequence[Expr], boxes: Mapping[Expr, Box], dtype: str) -> list[Bounds]:
    """The bounds of each root as formulas, if leaves lie in ``boxes``.

    They hold for kernels of ``dtype``, ``"float32"`` or ``"float64"``, and must be computed in that precision, too.
    Leaves without a box are finite points. ``low`` and ``high`` of a root are never nan. A value of nan is outside all
    bounds; ``nan`` says whether there may be one.

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
    """The bounds of a leaf in a box. They include 0 for numbers that a kernel may flush to 0."""
    for end in (box.low, box.high):
        if end.dim != leaf.dim or end.kind != leaf.kind:
            raise ShapeError(f"the ends of a box of {leaf} must have its length {leaf.dim}; got {end.dim}")
    if leaf.kind != REAL or box.low is box.high:
        return Bounds(box.low, box.high, precision, box.nan)
    zero, tiny, where, less = constant(0), constant(precision.tiny), OPS["where"], OPS["less"]
    low = where(less(box.low, tiny), smaller(box.low, zero), box.low)
    high = where(less(-tiny, box.high), larger(box.high, zero), box.high)
    return Bounds(low, high, precision, box.nan, overflows=True)


def _of_leaf(leaf: Expr, precision: Precision) -> Bounds:
    """The bounds of a constant or of a point."""
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
    """The bounds of an operation that states no rule."""
    if node.kind == INDEX:
        raise NotImplementedError(f"{node.op.name} makes true integers, and states no rule of bounds")
    if node.kind == MASK:
        no = OPS["less"](constant(0), constant(0))
        return Bounds(no, OPS["logical_not"](no), precision)
    unbounded = anything(precision)
    return replace(unbounded, low=constant(0), never_negative=True) if node.op.never_negative else unbounded


def _with_sign(bounds: Bounds, sign: Sign) -> Bounds:
    """Bounds tightened by the known sign, which a rule may not have used."""
    if sign.never_negative and not bounds.never_negative:
        bounds = replace(bounds, low=larger(bounds.low, constant(0)), never_negative=True)
    if sign.never_positive and not bounds.never_positive:
        bounds = replace(bounds, high=smaller(bounds.high, constant(0)), never_positive=True)
    return bounds


@dataclass(frozen=True)
class Interval:
    """The bounds of values as arrays, and whether a value may be nan; the last axis is the vector."""

    low: Array
    high: Array
    nan: Array | None = None
    """Truth values; None if no value is nan."""


def evaluate_bounds(
    roots: Sequence[Expr], boxes: Mapping[Expr, Interval], points: Mapping[Expr, Array], dtype: str
) -> list[Interval]:
    """The bounds of each root by NumPy. Leaves lie in ``boxes`` or are ``points``.

    Arrays broadcast as in `evaluate` and are rounded to ``dtype``; rounding may shrink a box, so choose ends that
    ``dtype`` can represent.

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
    intervals = []
    for bounds in bounds_of(roots, around, dtype):
        nan = constant(0) if bounds.nan is None else bounds.nan
        low, high, nans = evaluate([bounds.low, bounds.high, nan], values, dtype)
        intervals.append(Interval(low, high, nans > 0))
    return intervals


def _of_dtype(leaf: Expr, array: Array, dtype: str) -> Array:
    return np.asarray(array, dtype) if leaf.kind == REAL else np.asarray(array)


__all__ = ["Box", "Interval", "bounds_of", "evaluate_bounds"]
