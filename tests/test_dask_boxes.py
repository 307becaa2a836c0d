"""Boxes that are known before a graph is made: fewer tasks, fewer chunks that are loaded, and unchanged results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array
from test_pruning_dask import as_tuple, cut, grid

da: Any = pytest.importorskip("dask.array")
from clreduce import numpy as of_numpy  # noqa: E402
from clreduce.call.pruning import running  # noqa: E402
from clreduce.dask import Genred, compute_boxes  # noqa: E402
from clreduce.dask import boxes as known_boxes  # noqa: E402
from clreduce.errors import ShapeError  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402

ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)", "s = Pm(1)"]
FORMULAS = {
    "KMin_ArgKMin": "s * SqDist(x, y) + 0 * b", "Max_ArgMax": "s * SqDist(x, y) * b", "ArgMin": "s * SqDist(x, y) - b",
    "Count": "ReLU(1 - s * SqDist(x, y) + b)", "All": "ReLU(20 - s * SqDist(x, y)) + 0 * b",
    "Sum": "Exp(-s * SqDist(x, y)) * b",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import dask

    monkeypatch.setattr(running, "BLOCK", 8)
    known_boxes._KNOWN.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


def routines(name: str) -> tuple[Any, Any]:
    count = 3 if "K" in name else None
    return tuple(genred(FORMULAS[name], ALIASES, name, axis=1, opt_arg=count) for genred in (Genred, of_numpy.Genred))


class Source:
    """An array that counts how often each of its points is loaded."""

    def __init__(self, points: Array) -> None:
        self.points, self.loaded = points, np.zeros(len(points), int)
        self.shape, self.dtype, self.ndim = points.shape, points.dtype, points.ndim

    def __getitem__(self, place: tuple[slice, ...]) -> Array:
        self.loaded[place[0]] += 1
        return self.points[place]


def on_a_line(count: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.sort(rng.random((count, 2)) * [1, 0.01] * 8, axis=0).astype(np.float32)


def test_chunks_that_cannot_matter_are_not_loaded(device: Device, plain_kernels: None) -> None:
    in_chunks, at_once = routines("KMin_ArgKMin")
    x, source = on_a_line(20, 0) / 8, Source(on_a_line(160, 1))
    y, b, s = da.from_array(source, chunks=(20, 2)), np.ones((160, 1), np.float32), np.ones(1, np.float32)
    rows, weights = cut(x, 10), cut(b, 20)
    compute_boxes(rows, y, weights)
    assert (source.loaded == 1).all()
    results = in_chunks(rows, y, weights, s, prune=True)
    assert (source.loaded == 1).all()  # calls are lazy
    for result, expected in zip(da.compute(*results), at_once(x, source.points, b, s, prune=False), strict=True):
        np.testing.assert_array_equal(result, expected)
    assert (source.loaded[:20] == 2).all()
    assert (source.loaded[60:] == 1).all()


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "ArgMin"])
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32), rows=st.integers(10, 60), columns=st.integers(10, 89), sort=st.booleans())
def test_results_stay_the_same(
    name: str, seed: int, rows: int, columns: int, sort: bool, device: Device, plain_kernels: None
) -> None:
    in_chunks, at_once = routines(name)
    x, y = grid(seed)  # with ties, nan and infinities
    if sort:
        x, y = x[np.lexsort(x.T)], y[np.lexsort(y.T)]
    b = np.random.default_rng(seed).integers(-1, 2, (len(y), 1)).astype(np.float32)
    s = np.float32([0.7])
    arrays = cut(x, rows), cut(y, columns), cut(b, columns)
    compute_boxes(*arrays)
    atol = 1e-2 if name == "Sum" else 0
    options = {"atol": atol} if atol else {"prune": True}
    for result, expected in zip(
        as_tuple(in_chunks(*arrays, s, **options)), as_tuple(at_once(x, y, b, s, prune=False)), strict=True
    ):
        if atol:
            np.testing.assert_allclose(result.compute(), expected, rtol=1e-5, atol=1.01 * atol)
        else:
            np.testing.assert_array_equal(result.compute(), expected)


@pytest.mark.parametrize(
    ("name", "options"), [("Sum", {"atol": 1e-3}), ("Count", {"prune": True}), ("ArgMin", {"prune": True})]
)
def test_graphs_are_smaller(name: str, options: dict[str, Any], device: Device, plain_kernels: None) -> None:
    in_chunks, at_once = routines(name)
    x, y, b, s = on_a_line(80, 0), on_a_line(160, 1), np.ones((160, 1), np.float32), np.float32([50])
    arrays = cut(x, 10), cut(y, 20), cut(b, 20)
    tasks = len(in_chunks(*arrays, s, **options).dask)
    compute_boxes(*arrays[:2])
    assert len(in_chunks(*arrays, s, **options).dask) == tasks  # the boxes of b are not known
    compute_boxes(arrays[2])
    result = in_chunks(*arrays, s, **options)
    assert len(result.dask) < 0.7 * tasks
    np.testing.assert_allclose(result.compute(), at_once(x, y, b, s, prune=False), rtol=1e-5, atol=1.01e-3)


def test_what_has_no_boxes_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"real numbers; got ndarray"):
        compute_boxes(np.zeros((3, 2)))
    with pytest.raises(ShapeError, match=r"real numbers; got int64 of shape \(3, 2\)"):
        compute_boxes(da.zeros((3, 2), dtype=int))
    with pytest.raises(ShapeError, match=r"rechunk\(\{1: -1\}\)"):
        compute_boxes(da.zeros((4, 2), chunks=(2, 1)))
    points = da.zeros((4, 2), chunks=(2, 2))
    with pytest.raises(ShapeError, match=r"compute_chunk_sizes"):
        compute_boxes(points[points[:, 0] > 0])


def test_bounds_of_infinite_points_give_no_errors(device: Device, plain_kernels: None) -> None:
    """Graphs are made outside of kernels, where NumPy's arithmetic may be asked to raise errors."""
    x = np.sort(np.random.default_rng(0).random((80, 2)), axis=0)
    x[60:] = np.inf
    points = cut(x, 20)
    nearest = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "ArgKMin", axis=1, opt_arg=3)
    gaussian = Genred("Exp(-50 * SqDist(x, y))", ["x = Vi(2)", "y = Vj(2)"], "Sum", axis=1)
    with np.errstate(all="raise"):
        compute_boxes(points)
        indices, sums = nearest(points, points, prune=True), gaussian(points, points, atol=1e-3)
    np.testing.assert_array_equal(indices.compute(), nearest(points.rechunk(-1), points.rechunk(-1)).compute())
    np.testing.assert_allclose(sums.compute(), gaussian(points.rechunk(-1), points.rechunk(-1)).compute(), atol=1.1e-3)
