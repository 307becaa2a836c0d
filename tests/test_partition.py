"""Points are sorted into blocks without losing any, boxes hold them, and blocks of near points are small."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import Array

from clreduce.errors import ShapeError
from clreduce.partition import Partition, _divided, partition

NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 1e30, -1e38, np.inf, -np.inf, np.nan])


@st.composite
def clouds(draw: st.DrawFn) -> Array:
    """Random points, of which some coincide, and some components are at special places."""
    count, dim = draw(st.integers(0, 70)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    points = rng.normal(size=(count, dim))
    if draw(st.booleans()):
        points = np.round(points)
    if draw(st.booleans()) and count:
        for _ in range(draw(st.integers(1, 5))):
            points[draw(st.integers(0, count - 1)), draw(st.integers(0, dim - 1))] = draw(NUMBERS)
    return points.astype(draw(st.sampled_from(["float32", "float64"])))


@given(points=clouds(), size=st.integers(1, 20))
def test_blocks_hold_all_points_and_boxes_their_points(points: Array, size: int) -> None:
    near = partition(points, size)
    assert sorted(near.order.tolist()) == list(range(len(points)))
    ordered = points[near.order]
    for factor in (1, 2, 8):
        blocks = near.coarser(factor)
        assert len(blocks.intervals) == blocks.count
        boxes = blocks.boxes(ordered)
        for number, (start, end) in enumerate(blocks.intervals):
            assert 0 < end - start <= size * factor
            assert end - start == size * factor or number == blocks.count - 1
            block = ordered[start:end]
            np.testing.assert_array_equal(boxes.nan[number], np.isnan(block).any(0))
            known = np.where(np.isnan(block), boxes.low[number], block)
            assert ((boxes.low[number] <= known) & (known <= boxes.high[number])).all()
            assert not np.isnan(boxes.low[number]).any()
    finite = np.isfinite(ordered).all(1)
    assert (np.diff(finite.astype(int)) <= 0).all(), "points with nan or infinities come last"


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_blocks_are_small(dim: int) -> None:
    """Cells of a k-d tree of uniform points have equal volumes; boxes are no larger."""
    points = np.random.default_rng(0).random((64 * 256, dim))
    near = partition(points, 64)
    boxes = near.boxes(points[near.order])
    sides = boxes.high - boxes.low
    assert np.prod(sides, axis=1).mean() < 1.1 / near.count
    assert (sides.max(1) / sides.min(1)).mean() < 3.0


def test_coarser_blocks_are_nodes_of_the_tree() -> None:
    """Their boxes overlap no more than those of a k-d tree of its own."""
    points = np.random.default_rng(1).random((1000, 2))
    joined = partition(points, 10).coarser(8)
    boxes = joined.boxes(points[joined.order])
    overlap = np.minimum(boxes.high[:, None], boxes.high) - np.maximum(boxes.low[:, None], boxes.low)
    areas = np.where((overlap > 0).all(-1), overlap.prod(-1), 0.0)
    np.fill_diagonal(areas, 0.0)
    assert not areas.any()


@pytest.mark.parametrize("dim", [2, 3])
def test_coarse_blocks_are_as_round_as_small_ones(dim: int) -> None:
    """Though several cuts of one side are made at a time."""
    points = np.random.default_rng(2).random((2**16 + 100, dim), "float32")
    near = partition(points, 16)
    ordered = points[near.order]
    for factor in (1, 4, 16, 64):
        blocks = near.coarser(factor)
        sides = np.sort(np.subtract(*blocks.boxes(ordered)[1::-1])[:-1], axis=1)
        assert np.median(sides[:, -1] / sides[:, 0]) < 3.0, factor


def test_points_far_away_do_not_decide_how_the_others_are_cut() -> None:
    """The boxes around most points are no larger than without a few points far away on one axis."""
    points = np.random.default_rng(3).random((2**15, 3), "float32")
    volumes = []
    for far in (False, True):
        points[:20, 0] *= 1e6 if far else 1
        near = partition(points, 16)
        boxes = near.boxes(points[near.order])
        volumes.append(np.median(np.sort(boxes.high - boxes.low, axis=1)[:, -1]))
    assert volumes[1] < 1.3 * volumes[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_negative_numbers_are_sorted_as_positive_ones(dtype: str) -> None:
    points = np.random.default_rng(4).normal(size=(2**14, 1)).astype(dtype)
    near = partition(points, 16)
    boxes = near.boxes(points[near.order])
    assert (boxes.high[:-1] <= boxes.low[1:]).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dim", [1, 3])
def test_the_points_stay_where_they_are(order: Literal["C", "F"], dim: int) -> None:
    points = np.array(np.random.default_rng(6).random((500, dim)), order=order)
    before = points.copy()
    partition(points, 10)
    np.testing.assert_array_equal(points, before)


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"rows of an array \(N, D\); got shape \(3,\)"):
        partition(np.zeros(3), 2)
    with pytest.raises(ShapeError, match="at least one point; got size 0"):
        partition(np.zeros((3, 1)), 0)
    with pytest.raises(ShapeError, match="for each of the 3 points"):
        partition(np.zeros((3, 1)), 2).boxes(np.zeros((2, 1)))
    with pytest.raises(ShapeError, match="powers of two only; got 3"):
        Partition(np.arange(4), 2).coarser(3)


def test_subnormal_points_are_sorted_if_numpy_raises_errors_of_underflow() -> None:
    points = np.arange(1, 1000)[::-1, None] * np.array([5e-324])
    with np.errstate(all="raise"):
        near = partition(points, 16)
    np.testing.assert_array_equal(np.sort(near.order[:16]), np.arange(983, 999))


@st.composite
def rows_of_keys(draw: st.DrawFn) -> Array:
    """Rows of numbers from 0 to 1, of which some are equal and most may lie close together."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keys = rng.random((draw(st.integers(1, 3)), draw(st.sampled_from([2, 16, 100, 1024, 2048, 2049, 6000]))))
    if draw(st.booleans()):
        keys = np.round(keys * 8) / 8
    if draw(st.booleans()):
        keys[:, 1:] *= 10.0 ** -draw(st.integers(1, 12))
    return keys.astype(draw(st.sampled_from(["float32", "float64"])))


@given(keys=rows_of_keys(), parts=st.sampled_from([2, 4, 8]))
def test_each_part_comes_before_the_next(keys: Array, parts: int) -> None:
    """Exactly in long rows, whose keys are sorted by 16 bits first; up to 10^-6 in short ones."""
    length = keys.shape[1]
    step = -(-length // parts)
    places = _divided(keys, np.arange(step, length, step) - 1)
    np.testing.assert_array_equal(np.sort(places, axis=1), np.broadcast_to(np.arange(length), keys.shape))
    ordered = np.take_along_axis(keys, places, axis=1)
    for end in range(step, length, step):
        assert (ordered[:, :end].max(1) <= ordered[:, end:].min(1) + (1e-6 if length <= 2048 else 0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sides_that_overflow_are_cut_in_the_middle(dtype: str) -> None:
    points = np.random.default_rng(5).uniform(-1, 1, (2**13, 1)).astype(dtype) * np.finfo(dtype).max
    near = partition(points, 2**12)
    assert points[near.order[: 2**12]].max() <= points[near.order[2**12 :]].min()
