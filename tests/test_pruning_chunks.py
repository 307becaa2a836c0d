"""Chunks that cannot matter are left out before they are sorted; what one task computed limits what others visit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array
from test_pruning_dask import ALIASES, COLUMNS, ROWS, as_tuple, cut, grid

da: Any = pytest.importorskip("dask.array")
from clreduce import numpy as of_numpy  # noqa: E402
from clreduce.call.pruning import running  # noqa: E402
from clreduce.call.pruning.chunks import StoredSlices  # noqa: E402
from clreduce.dask import Genred  # noqa: E402
from clreduce.memo import Memo  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402

FORMULAS = {
    "KMin_ArgKMin": "SqDist(x, y)", "ArgKMax": "SqDist(x, y)", "Min": "SqDist(x, y)", "Max_ArgMax": "SqDist(x, y)",
    "Count": "ReLU(0.1 - SqDist(x, y))", "Any": "ReLU(0.1 - SqDist(x, y))", "All": "ReLU(20 - SqDist(x, y))",
    "Sum": "Exp(-900 * SqDist(x, y))", "Mean": "Exp(-900 * SqDist(x, y))", "LogSumExp": "-900 * SqDist(x, y)",
}  # fmt: skip
TOLERANCE = 1e-3


class Told(Memo[Any, Any]):
    """A memo that also lists how many pairs each task visited."""

    def __init__(self) -> None:
        super().__init__(8)
        self.visited: list[int] = []

    def keep(self, key: Any, value: Any) -> Any:
        self.visited.append(value.visited)
        return super().keep(key, value)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import dask

    monkeypatch.setattr(running, "BLOCK", 8)
    with dask.config.set(scheduler="synchronous"):
        yield


def routines(name: str) -> tuple[Any, Any]:
    count = 3 if "K" in name else None
    return tuple(genred(FORMULAS[name], ALIASES, name, axis=1, opt_arg=count) for genred in (Genred, of_numpy.Genred))


def options_of(name: str) -> dict[str, Any]:
    return {"atol": TOLERANCE} if name in ("Sum", "Mean", "LogSumExp") else {"prune": True}


def on_a_line(count: int, seed: int) -> Array:
    """Points that are stored by their place: ascending, and in groups at whole numbers."""
    rng = np.random.default_rng(seed)
    cloud = np.sort(rng.integers(0, 4, (count, 1)), axis=0) + 0.01 * rng.normal(size=(count, 2))
    return cloud.astype(np.float32)


@pytest.mark.parametrize("name", list(FORMULAS))
def test_chunks_far_from_each_other_are_not_visited(
    name: str, device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks, at_once = routines(name)
    told = Told()
    monkeypatch.setattr(running, "LAST", told)
    x, y = on_a_line(ROWS, 0), on_a_line(COLUMNS, 1)
    results = as_tuple(in_chunks(cut(x, ROWS // 4), cut(y, COLUMNS // 5 + 1), **options_of(name)))
    for result, expected in zip(results, as_tuple(at_once(x, y, prune=False)), strict=True):
        np.testing.assert_allclose(result.compute(), expected, rtol=1e-5, atol=1.1 * TOLERANCE)
    assert told.visited.count(0) >= 8  # of 20 tasks


@settings(max_examples=6)
@given(
    name=st.sampled_from([name for name in FORMULAS if "M" in name[:2] and name != "Mean"]),
    seed=st.integers(0, 2**32), rows=st.integers(15, ROWS), columns=st.integers(15, COLUMNS), sort=st.booleans(),
)  # fmt: skip
def test_selections_keep_their_bits_for_points_in_any_order(
    name: str, seed: int, rows: int, columns: int, sort: bool, device: Device, plain_kernels: None
) -> None:
    in_chunks, at_once = routines(name)
    x, y = grid(seed)  # with ties, nan and infinities
    if sort:
        x, y = x[np.lexsort(x.T)], y[np.lexsort(y.T)]
    results = as_tuple(in_chunks(cut(x, rows), cut(y, columns), prune=True))
    for result, expected in zip(results, as_tuple(at_once(x, y, prune=False)), strict=True):
        np.testing.assert_array_equal(result.compute(), expected)


@pytest.mark.parametrize("name", ["Sum", "Mean", "LogSumExp"])
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), columns=st.integers(10, COLUMNS), exponent=st.floats(-6, -0.5))
def test_what_is_left_out_stays_within_the_tolerance(
    name: str, seed: int, columns: int, exponent: float, device: Device, plain_kernels: None
) -> None:
    if not device.facts.has_double:
        pytest.skip("rounding errors of float32 would hide those of what is left out")
    in_chunks, at_once = routines(name)
    rng = np.random.default_rng(seed)
    x, y = (np.sort(rng.random((count, 2)), axis=0) / 5 for count in (ROWS, COLUMNS))
    atol = 10.0**exponent
    near = in_chunks(cut(x, 15), cut(y, columns), atol=atol).compute()
    assert np.abs(near - at_once(x, y)).max() <= atol + 1e-10


def test_limits_from_one_chunk_leave_few_pairs_of_the_others(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of points in random order overlap; each point needs few of another chunk if it has its neighbours."""
    in_chunks, at_once = routines("KMin_ArgKMin")
    rng = np.random.default_rng(0)
    x = rng.random((600, 2)).astype(np.float32)
    y = np.concatenate((x, x + 0.3 * rng.random((600, 2)).astype(np.float32)))
    visited = []
    for limited in (True, False):
        told = Told()
        with monkeypatch.context() as patched:
            patched.setattr(running, "LAST", told)
            if not limited:
                patched.setattr("clreduce.dask.graphs.tells_of_others", lambda part: False)
            near = [result.compute() for result in in_chunks(cut(x, 600), cut(y, 600), prune=True)]
        for result, expected in zip(near, at_once(x, y, prune=False), strict=True):
            np.testing.assert_array_equal(result, expected)
        visited.append(sum(told.visited))
    assert visited[0] < visited[1]


def test_batches_positions_and_ranges_keep_their_bits(device: Device, plain_kernels: None) -> None:
    x, y = (np.sort(points, axis=0) for points in (on_a_line(ROWS, 2), on_a_line(COLUMNS, 3)))
    in_chunks, at_once = routines("KMin_ArgKMin")
    batch = np.stack((x, x[::-1]))
    results = in_chunks(da.from_array(batch, chunks=(1, 20, 2)), cut(y, 30), prune=True)
    for result, expected in zip(results, at_once(batch, y, prune=False), strict=True):
        np.testing.assert_array_equal(result.compute(), expected)
    ends = np.array([[0, 25], [25, ROWS]]), np.array([[0, 50], [50, COLUMNS]])
    ranges = (
        ends[0], np.array([1, 3]), ends[1][[0, 0, 1]],
        ends[1], np.array([2, 3]), ends[0][[0, 1, 1]],
    )  # fmt: skip
    results = in_chunks(cut(x, 20), cut(y, 30), ranges=ranges, prune=True)
    for result, expected in zip(results, at_once(x, y, ranges=ranges, prune=False), strict=True):
        np.testing.assert_array_equal(result.compute(), expected)


@given(points=st.integers(1, 200), most=st.integers(1, 20))
def test_slices_hold_each_point_once(points: int, most: int) -> None:
    slices = StoredSlices.of(points, most)
    intervals = slices.intervals
    assert (intervals[0, 0], intervals[-1, 1], slices.count) == (0, points, min(points, most))
    np.testing.assert_array_equal(intervals[1:, 0], intervals[:-1, 1])
    assert (intervals[:, 0] < intervals[:, 1]).all()


@given(seed=st.integers(0, 2**32), points=st.integers(1, 40))
def test_boxes_of_slices_hold_their_points(seed: int, points: int) -> None:
    rng = np.random.default_rng(seed)
    cloud = rng.normal(size=(points, 3))
    cloud[rng.random(cloud.shape) < 0.2] = np.nan
    slices = StoredSlices.of(points, 6)
    boxes = slices.boxes(cloud)
    for low, high, nan, (start, end) in zip(*boxes, slices.intervals, strict=True):
        part = cloud[start:end]
        missing = np.isnan(part)
        assert np.isfinite((low, high)).all()
        np.testing.assert_array_equal(nan, missing.any(axis=0))
        assert (missing | ((low <= part) & (part <= high))).all()
