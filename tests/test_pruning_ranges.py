"""Calls with ranges that skip pairs visit the intersection of both, and give what ranges alone give."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array

from clreduce.call.pruning import running
from clreduce.call.pruning.cutting import CutPartition, Cuts, named_blocks
from clreduce.numpy import Genred, Vi, Vj
from clreduce.runtime.device import Device
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region

ROWS, COLUMNS, BLOCK = 90, 130, 8
EXACT = {
    "KMin_ArgKMin": Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "KMin_ArgKMin", axis=1, opt_arg=3),
    "ArgMax": Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "ArgMax", axis=0),
    "Count": Genred("ReLU(0.5 - SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], "Count", axis=1),
    "All": Genred("ReLU(20 - SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], "All", axis=0),
}
APPROXIMATE = {
    name: Genred("-50 * SqDist(x, y)" if name == "LogSumExp" else "Exp(-50 * SqDist(x, y))",
                 ["x = Vi(3)", "y = Vj(3)"], name, axis=1)
    for name in ("Sum", "Mean", "LogSumExp")
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few points make many blocks."""
    monkeypatch.setattr(running, "BLOCK", BLOCK)


def intervals(edges: list[int], size: int) -> Array:
    """The intervals between some edges; those that touch each other follow each other."""
    inner = sorted({0, size, *(edge for edge in edges if edge < size)})
    return np.stack((inner[:-1], inner[1:]), axis=1)


def half(named: Array, rows: Array, columns: Array) -> tuple[Array, Array, Array]:
    """The ranges of one index; rows that name nothing are in no block."""
    some = named.any(axis=1)
    return rows[some], np.cumsum(named[some].sum(axis=1)), columns[np.nonzero(named[some])[1]]


def ranges_of(named: Array, rows: Array, columns: Array) -> tuple[Array, ...]:
    return (*half(named, rows, columns), *half(named.T, columns, rows))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, Array, tuple[Array, ...]]:
    """Points of a few clusters or of a grid with many ties, sorted or not, and ranges."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    clustered, is_sorted = draw(st.booleans()), draw(st.booleans())
    points = []
    for count in (ROWS, COLUMNS):
        cloud = rng.integers(0, 4, (count, 1)) + 0.02 * rng.normal(size=(count, 3))
        cloud = cloud if clustered else rng.integers(0, 3, (count, 3))
        points.append((cloud[np.argsort(cloud[:, 0])] if is_sorted else cloud).astype(np.float32))
    rows, columns = (
        intervals(draw(st.lists(st.integers(0, size), max_size=4)), size)
        for size in (ROWS, COLUMNS)
    )  # fmt: skip
    named = rng.random((len(rows), len(columns))) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    return points[0], points[1], ranges_of(named, rows, columns)


def as_tuple(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", list(EXACT))
@settings(max_examples=15)
@given(case=cases())
def test_exact_reductions_over_ranges_stay_the_same(
    name: str, case: tuple[Array, Array, tuple[Array, ...]], device: Device, plain_kernels: None
) -> None:
    x, y, ranges = case
    whole = as_tuple(EXACT[name](x, y, ranges=ranges, prune=False))
    pruned = as_tuple(EXACT[name](x, y, ranges=ranges, prune=True))
    for result, expected in zip(pruned, whole, strict=True):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", list(APPROXIMATE))
@settings(max_examples=10)
@given(case=cases(), relative=st.booleans())
def test_sums_over_ranges_keep_their_tolerance(
    name: str, case: tuple[Array, Array, tuple[Array, ...]], relative: bool, device: Device, plain_kernels: None
) -> None:
    x, y, ranges = case
    whole = APPROXIMATE[name](x, y, ranges=ranges)
    atol, rtol = (0.0, 1e-2) if relative else (1e-2, 0.0)
    pruned = APPROXIMATE[name](x, y, ranges=ranges, atol=atol, rtol=rtol)
    finite = np.isfinite(whole)
    np.testing.assert_array_equal(pruned[~finite], whole[~finite])
    expected = whole[finite]
    assert (np.abs(pruned[finite] - expected) <= atol + rtol * np.abs(expected) + 1e-5 * (1 + np.abs(expected))).all()


def clusters(count: int, size: int, seed: int = 0) -> tuple[Array, Array]:
    """Sorted points of clusters along a line, and the interval of each cluster."""
    rng = np.random.default_rng(seed)
    cloud = np.repeat(np.arange(count), size)[:, None] + 0.02 * rng.normal(size=(count * size, 3))
    starts = np.arange(count) * size
    return cloud.astype(np.float32), np.stack((starts, starts + size), axis=1)


def test_few_of_the_pairs_that_ranges_name_are_visited(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cluster meets five: its own, two neighbours and two that are far away. The positions are the caller's."""
    x, blocks = clusters(10, 100)
    apart = np.abs(np.arange(10)[:, None] - np.arange(10))
    ranges = ranges_of((apart < 2) | (apart > 7), blocks, blocks)
    K = Vi(x).sqdist(Vj(x))
    K = K + 1e-4 * (K.i - K.j).abs()
    K.ranges = ranges
    pruned, whole = (K.argKmin(5, axis=1, prune=prune) for prune in (True, False))
    np.testing.assert_array_equal(pruned, whole)
    routine = EXACT["KMin_ArgKMin"]
    routine(x, x, ranges=ranges, prune=True)
    told = running.LAST[routine.program]
    assert told.pairs == ((apart < 2) | (apart > 7)).sum() * 100**2
    assert told.visited < told.pairs / 2
    monkeypatch.setattr(running, "_SAMPLED", 1)  # as if the call were large: samples of it are of the ranges, too
    again = routine(x, x, ranges=ranges, prune=True)
    np.testing.assert_array_equal(again[1], routine(x, x, ranges=ranges, prune=False)[1])
    assert running.LAST[routine.program] == told


def test_gradients_over_ranges_keep_the_tolerance(device: Device, plain_kernels: None) -> None:
    x, blocks = clusters(6, 60)
    ranges = ranges_of(np.abs(np.arange(6)[:, None] - np.arange(6)) < 3, blocks, blocks)
    cotangent = np.ones((len(x), 1), np.float32)
    routine = APPROXIMATE["Sum"]
    exact = routine.vjp(x, x, cotangent=cotangent, ranges=ranges)
    for gradient, other in zip(routine.vjp(x, x, cotangent=cotangent, ranges=ranges, atol=1e-2), exact, strict=True):
        assert np.abs(gradient - other).max() <= 1.01e-2


def test_batches_share_ranges(device: Device, plain_kernels: None) -> None:
    clouds = np.stack([clusters(4, 50, seed)[0] for seed in (1, 2)])
    blocks = clusters(4, 50)[1]
    ranges = ranges_of(np.eye(4, dtype=bool), blocks, blocks)
    routine = EXACT["KMin_ArgKMin"]
    pruned, whole = (routine(clouds, clouds, ranges=ranges, prune=prune) for prune in (True, False))
    for result, expected in zip(pruned, whole, strict=True):
        np.testing.assert_array_equal(result, expected)
    assert not running.LAST[routine.program].reason


def reason_of(routine: Genred[Any]) -> str:
    written = io.StringIO()
    routine.explain(file=written)
    return written.getvalue()


def test_explain_tells_why_ranges_are_visited_whole(device: Device, plain_kernels: None) -> None:
    """Pairs that are listed twice count twice, and blocks of single points have as many bounds as pairs."""
    x, blocks = clusters(4, 50)
    nearest = EXACT["KMin_ArgKMin"]
    once = ranges_of(np.eye(4, dtype=bool), blocks, blocks)
    twice = (once[0], 2 * once[1], np.repeat(once[2], 2, axis=0)) * 2
    for ranges, reason in (
        (twice, "the ranges list some pairs several times"),
        (ranges_of(np.eye(200, dtype=bool), *(intervals(list(range(200)), 200),) * 2), "blocks of rows and columns"),
    ):
        pruned, whole = (nearest(x, x, ranges=ranges, prune=prune) for prune in (True, False))
        for result, expected in zip(pruned, whole, strict=True):
            np.testing.assert_array_equal(result, expected)
        assert reason in reason_of(nearest)


def test_auto_leaves_few_pairs_alone_and_says_so(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clreduce.call import work

    monkeypatch.setattr(work, "_MANY_POINTS", 100)
    x, blocks = clusters(4, 50)
    EXACT["KMin_ArgKMin"](x, x, ranges=ranges_of(np.eye(4, dtype=bool), blocks, blocks))
    told = running.LAST[EXACT["KMin_ArgKMin"].program]
    assert (told.reason, told.visited) == ("the ranges name few pairs", 4 * 50**2)


@given(data=st.data())
def test_no_block_crosses_a_range(data: st.DataObject) -> None:
    """The pairs of blocks that are named hold exactly the pairs that ranges name."""
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    sides = [
        intervals(data.draw(st.lists(st.integers(0, size), max_size=6)), size)
        for size in (rows, columns)
    ]  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    blocks, slices, pieces = half(rng.random((len(sides[0]), len(sides[1]))) < 0.5, *sides)
    pairs = Ranges.of(blocks, slices, pieces)
    cuts = Cuts.of(Region(rows, columns, ranges=CheckedRanges.by_rows(pairs, rows, columns)))
    assert cuts is not None
    size = data.draw(st.integers(1, 9))
    parts = [
        cuts.partition(domain, rng.integers(0, 3, (edges[-1], 2)).astype(np.float64), size)
        for domain, edges in cuts.edges.items()
    ]
    named = named_blocks(cuts.in_blocks(*parts), (0, parts[0].count), parts[1].count)
    dense = np.zeros((rows, columns), bool)
    for owner, (start, end) in zip(pairs.owners, pairs.pieces, strict=True):
        dense[slice(*pairs.blocks[owner]), start:end] = True
    by_blocks = np.zeros_like(dense)
    for i, j in np.argwhere(named):
        by_blocks[np.ix_(points_of(parts[0], i), points_of(parts[1], j))] = True
    np.testing.assert_array_equal(by_blocks, dense)
    for part in parts:
        assert (np.diff(part.intervals, axis=1) <= size).all()
        assert sorted(part.order) == list(range(len(part.order)))


def points_of(part: CutPartition, block: int) -> Array:
    return part.order[slice(*part.intervals[block])]
