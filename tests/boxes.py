"""Random boxes, points inside of them, and whether bounds hold there: what the tests of `clreduce.intervals` share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from oracle import Array

from clreduce.intervals import Interval, evaluate_bounds
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL, Expr, topological
from clreduce.ir.show import show

BOXES, INSIDE = 96, 24
WIDTHS = (0.0, 0.0, 1e-6, 0.05, 0.3, 1.0, 3.0)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.inf, -np.inf, 1e-40, -1e-40, 1e30, 3e38, -3e38)
"""Places where something happens, or where numbers end."""
WIDE = (-4.0, 4.0)


def leaves_of(roots: Sequence[Expr]) -> list[Expr]:
    """Variables and positions."""
    return [node for node in topological(roots) if node.op.name in ("variable", "position")]


def random_boxes(
    leaves: Sequence[Expr], interval: tuple[float, float], dtype: str, rng: np.random.Generator
) -> dict[Expr, Interval]:
    """Boxes with ends of shape (BOXES, 1, D): a third in ``interval``, a third in `WIDE`, and a third with ends at
    special places, some of them with nan."""
    boxes = {}
    part = np.arange(BOXES)[:, None, None] % 3
    begin, end = (np.where(part == 0, interval[side], WIDE[side]) for side in (0, 1))
    for leaf in leaves:
        shape = (BOXES, 1, leaf.dim)
        if leaf.kind == INDEX:
            low = rng.integers(-1, 5, shape)
            boxes[leaf] = Interval(low, low + rng.integers(0, 3, shape))
            continue
        # All components of one leaf have one width in half of the boxes, so that small boxes are met, too.
        each, together = rng.choice(WIDTHS, shape), rng.choice(WIDTHS, (BOXES, 1, 1))
        widths = np.where(rng.random((BOXES, 1, 1)) < 0.5, together, each) * (end - begin)
        low = rng.uniform(begin, end, shape)
        high = low + widths * rng.random(shape)
        at, chosen = rng.choice(SPECIAL, (2, *shape)), (part == 2) & (rng.random((2, *shape)) < 0.25)
        low, high = np.where(chosen[0], at[0], low), np.where(chosen[1], at[1], high)
        with np.errstate(over="ignore", under="ignore"):
            low, high = np.minimum(low, high).astype(dtype), np.maximum(low, high).astype(dtype)
        boxes[leaf] = Interval(low, high, (part == 2) & (rng.random(shape) < 0.1))
    return boxes


def points_inside(boxes: dict[Expr, Interval], dtype: str, rng: np.random.Generator) -> dict[Expr, Array]:
    """Corners, special places and random points of each box, (BOXES, INSIDE, D)."""
    points = {}
    for leaf, box in boxes.items():
        shape = (BOXES, INSIDE, leaf.dim)
        if leaf.kind == INDEX:
            points[leaf] = rng.integers(np.broadcast_to(box.low, shape), np.broadcast_to(box.high, shape) + 1)
            continue
        least, most = (np.clip(end.astype(np.float64), -1e30, 1e30) for end in (box.low, box.high))
        between = least + (most - least) * rng.random(shape)
        corner = np.where(rng.random(shape) < 0.5, box.low, box.high)
        kind = rng.integers(0, 8, (BOXES, INSIDE, 1))
        kind = np.where(rng.random(shape) < 0.3, rng.integers(0, 8, shape), kind)
        chosen = np.select([kind < 4, kind < 7], [between, corner], rng.choice(SPECIAL, shape))
        with np.errstate(over="ignore", under="ignore"):
            inside = np.clip(chosen, box.low, box.high).astype(dtype)
        assert box.nan is not None
        points[leaf] = np.where(box.nan & (rng.random(shape) < 0.3), np.nan, inside).astype(dtype)
    return points


def assert_bounds_hold(roots: Sequence[Expr], interval: tuple[float, float], dtype: str, seed: int) -> None:
    """The values of ``roots`` at points in random boxes are within their bounds, and nan is foretold."""
    rng = np.random.default_rng(seed)
    boxes = random_boxes(leaves_of(roots), interval, dtype, rng)
    points = points_inside(boxes, dtype, rng)
    found = evaluate_bounds(roots, boxes, {}, dtype)
    for values in (evaluate(roots, points, dtype), flushed(roots, points, dtype), widely(roots, points)):
        for root, value, bounds in zip(roots, values, found, strict=True):
            assert_within(root, value, bounds, points)


def widely(roots: Sequence[Expr], points: dict[Expr, Array]) -> list[Array]:
    """The values at the same points in the widest precision there is."""
    return evaluate(roots, {leaf: array if leaf.kind == INDEX else array.astype(np.longdouble)
                            for leaf, array in points.items()})  # fmt: skip


def flushed(roots: Sequence[Expr], points: dict[Expr, Array], dtype: str) -> list[Array]:
    """As on devices for which subnormal numbers are 0."""
    tiny, known = np.finfo(dtype).tiny, {}

    def normal(node: Expr, value: Array) -> Array:
        if node.kind != REAL:
            return value
        value = value.astype(dtype)
        return np.where(np.abs(value) < tiny, np.zeros((), dtype), value)

    with np.errstate(all="ignore"):
        for node in topological(roots):
            given = points.get(node)
            value = node.op.numpy(*(known[arg] for arg in node.args), *node.params) if given is None else given
            known[node] = normal(node, value)
    return [known[root] for root in roots]


def assert_within(root: Expr, value: Array, bounds: Interval, points: dict[Expr, Array]) -> None:
    """Values (BOXES, INSIDE, D) are within bounds (BOXES, 1, D)."""
    low, high, nan = bounds.low, bounds.high, bounds.nan
    assert nan is not None
    assert not np.isnan(low).any(), f"a lower bound of {show(root)} is nan"
    assert not np.isnan(high).any(), f"an upper bound of {show(root)} is nan"
    bad = np.where(np.isnan(value), ~nan, (value < low) | (value > high))
    if not bad.any():
        return
    shape = (*np.broadcast_shapes(bad.shape[:-1], (1, 1)), bad.shape[-1])
    bad = np.broadcast_to(bad, shape)
    at = tuple(np.argwhere(bad)[0])
    low, high, nan, value = (np.broadcast_to(array, shape)[at] for array in (low, high, nan, value))
    where = {f"{show(leaf)} of {leaf.domain.name}": array[at[0], at[1]].tolist() for leaf, array in points.items()}
    raise AssertionError(
        f"{show(root)} is {value!r}, outside of [{low!r}, {high!r}] (nan {bool(nan)}) at {where}, {bad.sum()} times"
    )
