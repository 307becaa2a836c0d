"""`clreduce.cl.cluster` gives what `clreduce.numpy.cluster` gives, and points stay on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array
import pytest
from test_cl import new_queue

import clreduce.cl as front
import clreduce.numpy as host
from clreduce.cl import cluster as here
from clreduce.errors import DtypeError, ShapeError
from clreduce.numpy import cluster as there

pytestmark = pytest.mark.usefixtures("device", "plain_kernels")


@pytest.fixture(name="on")
def placed(device: Any) -> Callable[[Any], Any]:
    """A copy of an array on the device."""
    queue = new_queue(device)
    return lambda array: cl.array.to_device(queue, np.ascontiguousarray(array))


def data(dtype: str = "float32") -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 200)
    labels[labels == 4] = 5  # a cluster without points
    weights = rng.uniform(0, 1, 200).astype(dtype)
    weights[labels == 2] = 0  # and one without weight
    return rng.normal(size=(200, 3)).astype(dtype), labels, weights


def same(result: Any, wanted: Any) -> None:
    assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(result.get(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("weighted", [False, True])
def test_centroids_and_weights_are_those_of_the_host(on: Any, dtype: str, weighted: bool) -> None:
    x, labels, weights = data(dtype)
    own = [on(weights)] if weighted else []
    known = [weights] if weighted else []
    for least in (0.0, 0.5):
        results = here.cluster_ranges_centroids(on(x), on(labels), *own, min_weight=least)
        for result, wanted in zip(
            results, there.cluster_ranges_centroids(x, labels, *known, min_weight=least), strict=True
        ):
            same(result, wanted)
    same(here.cluster_ranges(on(labels)), there.cluster_ranges(labels))
    totals = there.cluster_ranges_centroids(x, labels, weights)[2] + 1
    same(
        here.cluster_centroids(on(x), on(labels), on(np.bincount(labels)), on(weights[:, None]), on(totals)),
        there.cluster_centroids(x, labels, np.bincount(labels), weights[:, None], totals),
    )


def test_nothing_but_labels_is_read(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, weights = data()
    arrays = on(x), on(labels), on(weights)
    read: list[Any] = []
    get = cl.array.Array.get
    monkeypatch.setattr(
        cl.array.Array, "get", lambda self, *rest, **more: read.append(self) or get(self, *rest, **more)
    )
    here.sort_clusters((arrays[0], arrays[2]), arrays[1])
    here.cluster_ranges_centroids(*arrays)
    assert [id(array) for array in read] == [id(arrays[1])] * 2
    with pytest.warns(UserWarning, match="sorts cells on the host"):
        here.grid_cluster(arrays[0], 0.5)
    assert len(read) == 3


def test_from_points_to_a_product(on: Any) -> None:
    x = data()[0]
    with pytest.warns(UserWarning, match="sorts cells on the host"):
        labels = here.grid_cluster(on(x), 1.0)
    same(labels, there.grid_cluster(x, 1.0))
    sorted_x, sorted_labels = here.sort_clusters(on(x), labels)
    wanted_x, wanted_labels = there.sort_clusters(x, labels.get())
    same(sorted_x, wanted_x)
    same(sorted_labels, wanted_labels)
    blocks, centres, _ = here.cluster_ranges_centroids(sorted_x, sorted_labels)
    distances = (-front.Vi(centres).sqdist(front.Vj(centres))).dense()
    keep = distances > -1.0
    formula = "Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"]
    near = keep.get().astype(bool).reshape(len(centres), -1)
    wanted = host.Genred(*formula, axis=1)(wanted_x, wanted_x, ranges=there.from_matrix(*[blocks.get()] * 2, near))
    for chosen in (keep, near):
        ranges = here.from_matrix(blocks, blocks, chosen)
        assert all(isinstance(array, np.ndarray) for array in ranges)
        result = front.Genred(*formula, axis=1)(sorted_x, sorted_x, ranges=ranges)
        np.testing.assert_allclose(result.get(), wanted, rtol=1e-5)
    assert here.swap_axes(ranges) == (*ranges[3:], *ranges[:3])


def test_points_without_columns_and_without_rows(on: Any) -> None:
    for shape in ((4, 0), (0, 3)):
        x, labels = np.zeros(shape, "float32"), np.arange(shape[0])
        for result, wanted in zip(
            here.cluster_ranges_centroids(on(x), on(labels)), there.cluster_ranges_centroids(x, labels), strict=True
        ):
            same(result, wanted)


def test_mistakes_are_those_of_the_host(on: Any) -> None:
    x, labels, weights = data()
    calls: list[tuple[Callable[[Any, Callable[[Any], Any]], Any], type[Exception]]] = [
        (lambda module, put: module.cluster_centroids(put(x[:, 0].copy()), put(labels)), ShapeError),
        (lambda module, put: module.cluster_centroids(put(x[:5]), put(labels)), ShapeError),
        (lambda module, put: module.cluster_centroids(put(x), put(labels), weights=put(weights[:5])), ShapeError),
        (lambda module, put: module.cluster_centroids(put(x), put(weights)), DtypeError),
        (
            lambda module, put: module.cluster_centroids(put(x), put(labels), None, put(weights), put(weights)),
            ShapeError,
        ),
    ]
    for call, kind in calls:
        with pytest.raises(kind) as error:
            call(there, np.asarray)
        with pytest.raises(kind) as own:
            call(here, on)
        assert str(own.value) == str(error.value)
    with pytest.raises(DtypeError, match=r"x must be a pyopencl array; got ndarray.*to_device"):
        here.cluster_centroids(x, on(labels))


def test_the_names_are_those_of_the_host() -> None:
    assert here.__all__ == there.__all__
    assert all(getattr(here, name).__doc__ for name in here.__all__)
