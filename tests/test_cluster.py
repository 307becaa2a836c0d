"""`clreduce.numpy.cluster`: clusters, their ranges and centroids, and the ranges of calls made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clreduce.errors import DtypeError, ShapeError
from clreduce.numpy import Genred, cluster
from clreduce.numpy.cluster import (
    cluster_centroids,
    cluster_ranges,
    cluster_ranges_centroids,
    from_matrix,
    grid_cluster,
    sort_clusters,
    swap_axes,
)
from clreduce.runtime.device import Device

POINTS = np.array([[0.0], [5.0], [0.4], [0.3], [2.0]])
LABELS = np.array([0, 2, 0, 0, 1])

# ---------------------------------------------------------------------------------------------------------------- cells


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32), dim=st.integers(1, 6), own=st.booleans(), dtype=st.sampled_from(["float32", "float64"])
)
def test_points_of_one_cell_have_one_label(seed: int, dim: int, own: bool, dtype: str) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(0, 2, (60, dim)).astype(dtype)
    size = random.uniform(0.5, 3, dim) if own else float(random.uniform(0.5, 3))
    labels = grid_cluster(x, size)
    assert labels.dtype == np.int64
    assert labels.shape == (60,)
    cells = [tuple(cell) for cell in np.floor(x / np.asarray(size, dtype))]
    numbers = {cell: n for n, cell in enumerate(sorted(set(cells)))}  # lexicographic
    np.testing.assert_array_equal(labels, [numbers[cell] for cell in cells])


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), dim=st.integers(1, 3), dtype=st.sampled_from(["float32", "float64"]))
def test_tensors_have_cells_from_their_least_coordinates_on(seed: int, dim: int, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from clreduce.torch.cluster import grid_cluster as of_tensors

    random = np.random.default_rng(seed)
    x = torch.from_numpy(random.normal(0, 2, (60, dim)).astype(dtype))
    size = float(random.uniform(0.5, 3))
    cells = [tuple(cell) for cell in ((x - x.min(0).values) / size).floor().int().tolist()]
    numbers = {cell: n for n, cell in enumerate(sorted(set(cells)))}
    assert of_tensors(x, size).tolist() == [numbers[cell] for cell in cells]
    assert of_tensors(x[:0], size).shape == (0,)


def test_any_number_of_cells() -> None:
    """None is taken for another, however many there are along an axis."""
    x = np.array([[0.5, 0.5], [0.5, 1024.5], [1.5, 0.5], [1e12, -1e12], [-1e30, 0.0]])
    np.testing.assert_array_equal(grid_cluster(x, 1), [1, 2, 3, 4, 0])
    np.testing.assert_array_equal(grid_cluster(np.array([[-0.0], [0.0], [-1e-9]]), 1.0), [1, 1, 0])
    np.testing.assert_array_equal(grid_cluster(np.array([[-3], [0], [4]]), np.array([2.0])), [0, 1, 2])
    assert grid_cluster(np.zeros((0, 3)), 1.0).shape == (0,)


# -------------------------------------------------------------------------------------------------------------- sorting


def test_sorting_keeps_the_order_within_clusters() -> None:
    x, labels = sort_clusters(POINTS, LABELS)
    np.testing.assert_array_equal(x.ravel(), [0.0, 0.4, 0.3, 2.0, 5.0])
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 2])
    for kind in (tuple, list):
        found, _ = sort_clusters(kind([POINTS, np.arange(5), POINTS.astype("float32")]), LABELS)
        assert type(found) is kind
        np.testing.assert_array_equal(found[1], [0, 2, 3, 4, 1])
        assert found[2].dtype == np.float32


def test_ranges_of_clusters() -> None:
    np.testing.assert_array_equal(cluster_ranges(LABELS), [[0, 3], [3, 4], [4, 5]])
    np.testing.assert_array_equal(cluster_ranges(np.array([3, 0, 3], np.int32)), [[0, 1], [1, 1], [1, 1], [1, 3]])
    np.testing.assert_array_equal(cluster_ranges(LABELS, np.array([3, 1, 1, 0])), [[0, 3], [3, 4], [4, 5], [5, 5]])
    assert cluster_ranges(LABELS).dtype == np.int64
    assert cluster_ranges(np.zeros(0, int)).shape == (0, 2)


# ------------------------------------------------------------------------------------------------------------ centroids


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(["float32", "float64"]), weighted=st.booleans())
def test_centroids(seed: int, dtype: str, weighted: bool) -> None:
    random = np.random.default_rng(seed)
    x, labels = random.normal(size=(40, 3)).astype(dtype), random.integers(0, 6, 40)
    weights = random.uniform(0, 1, (40, 1)).astype(dtype) if weighted else None
    w = np.ones(40) if weights is None else weights.ravel()
    found, total = np.zeros((labels.max() + 1, 3)), np.zeros(labels.max() + 1)
    for k in set(labels):
        total[k] = w[labels == k].sum()
        found[k] = (w[labels == k, None] * x[labels == k]).sum(0) / total[k]
    centroids = cluster_centroids(x, labels, weights=weights)
    assert centroids.dtype == np.dtype(dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(centroids, found, rtol=tolerance, atol=tolerance)
    ranges, same, sums = cluster_ranges_centroids(x, labels, weights)
    np.testing.assert_array_equal(ranges, cluster_ranges(labels))
    np.testing.assert_array_equal(same, centroids)
    np.testing.assert_allclose(sums, total, rtol=tolerance)
    assert sums.dtype == np.dtype(dtype if weighted else "float64")
    known = cluster_centroids(x, labels, np.bincount(labels), weights, None if weights is None else sums)
    np.testing.assert_allclose(known, centroids, rtol=tolerance, atol=tolerance)


def test_clusters_without_weight_or_points() -> None:
    """The plain mean where weights add up to 0, zeros where there is no point: never nan."""
    x, labels = np.array([[1.0], [3.0], [5.0], [8.0]]), np.array([0, 0, 2, 2])
    ranges, centroids, totals = cluster_ranges_centroids(x, labels, np.array([0.0, 0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(ranges, [[0, 2], [2, 2], [2, 4]])
    np.testing.assert_array_equal(centroids, [[2.0], [0.0], [7.0]])
    np.testing.assert_array_equal(totals, [0.0, 0.0, 3.0])
    np.testing.assert_array_equal(cluster_centroids(x, labels), [[2.0], [0.0], [6.5]])
    _, centroids, totals = cluster_ranges_centroids(x, labels, np.array([0, 0, 1, 2]), min_weight=1.0)
    np.testing.assert_array_equal(centroids, [[2.0], [0.0], [7.0]])
    np.testing.assert_array_equal(totals, [2.0, 0.0, 3.0])


# ------------------------------------------------------------------------------------------------- the ranges of a call


def test_the_documented_matrix() -> None:
    rows, columns = np.array([[0, 2], [3, 5]], np.int32), np.array([[0, 2], [2, 3], [3, 6]])
    found = from_matrix(rows, columns, np.array([[True, False, True], [False, False, False]]))
    expected = (rows, [2, 2], [[0, 2], [3, 6]], columns, [1, 1, 2], [[0, 2], [0, 2]])
    assert len(found) == 6
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.int64
        assert one.flags.c_contiguous
        np.testing.assert_array_equal(one, other)
    for one, other in zip(swap_axes(found), (*found[3:], *found[:3]), strict=True):
        assert one is other
    assert swap_axes(None) is None
    nothing = from_matrix(rows[:0], columns, np.zeros((0, 3), bool))
    assert [array.shape for array in nothing] == [(0, 2), (0,), (0, 2), (3, 2), (3,), (0, 2)]


def test_from_points_to_a_product(device: Device) -> None:
    """Far pairs are left out, and nothing else."""
    random = np.random.default_rng(0)
    x, y = (random.uniform(0, 1, (n, 2)).astype("float32") for n in (300, 400))
    clouds, blocks, centres = [], [], []
    for cloud in (x, y):
        labels = grid_cluster(cloud, 0.25)
        ranges, centroids, _ = cluster_ranges_centroids(cloud, labels)
        clouds.append(sort_clusters(cloud, labels)[0])
        blocks.append(ranges)
        centres.append(centroids)
    keep = ((centres[0][:, None] - centres[1]) ** 2).sum(2) < 0.3**2
    ranges = from_matrix(*blocks, keep)
    mask = np.repeat(np.repeat(keep, np.diff(blocks[0])[:, 0], 0), np.diff(blocks[1])[:, 0], 1)
    table = np.exp(-100 * ((clouds[0][:, None].astype(float) - clouds[1]) ** 2).sum(2)) * mask
    assert 0.1 < mask.mean() < 0.6
    aliases = ["x = Vi(2)", "y = Vj(2)"]
    for axis, order, pairs in ((1, (0, 1), ranges), (0, (0, 1), ranges), (1, (1, 0), swap_axes(ranges))):
        routine = Genred("Exp(-100 * SqDist(x, y))", aliases, axis=axis)
        found = routine(*(clouds[n] for n in order), ranges=pairs)
        expected = table.sum(1) if (axis, order) == (1, (0, 1)) else table.sum(0)
        np.testing.assert_allclose(found[:, 0], expected, rtol=2e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------------------- refusals

X, L = POINTS, LABELS
BLOCKS, KEEP = np.array([[0, 3], [3, 5]]), np.ones((2, 2), bool)
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a list": (lambda: grid_cluster([[0.0]], 1), DtypeError, "x must be a numpy array; got list"),
    "flat points": (lambda: grid_cluster(X[:, 0], 1), ShapeError, r"x must have shape \(M, D\).*; got \(5,\)"),
    "complex": (lambda: grid_cluster(X + 1j, 1), DtypeError, "real numbers; got complex128"),
    "two sizes": (
        lambda: grid_cluster(X, [1, 2]),
        ShapeError,
        r"one for each of the 1 columns of x; got an array of shape \(2,\)",
    ),
    "size 0": (lambda: grid_cluster(X, 0.0), ShapeError, "size must be positive and finite; got 0.0"),
    "size nan": (lambda: grid_cluster(X, np.nan), ShapeError, "positive and finite; got nan"),
    "nan": (lambda: grid_cluster(X * np.nan, 1), ShapeError, "must hold finite numbers"),
    "far": (lambda: grid_cluster(X * 1e300, 1e-300), ShapeError, "too large to be counted in cells"),
    "float labels": (lambda: cluster_ranges(L * 1.0), DtypeError, "lab must hold integers; got float64"),
    "deep labels": (lambda: cluster_ranges(L[:, None]), ShapeError, r"lab must have shape \(M,\).*; got \(5, 1\)"),
    "negative": (lambda: sort_clusters(X, L - 1), ShapeError, "lab must be 0 or more; the smallest one is -1"),
    "rows": (lambda: sort_clusters(X[:4], L), ShapeError, r"each of the 5 labels; got shape \(4, 1\)"),
    "a row of a list": (lambda: sort_clusters([X, X[:1]], L), ShapeError, r"got shape \(1, 1\)"),
    "few counts": (
        lambda: cluster_ranges(L, np.array([3, 1])),
        ShapeError,
        r"each of the 3 clusters; got shape \(2,\)",
    ),
    "wrong counts": (lambda: cluster_ranges(L, np.array([3, 2, 1])), ShapeError, "2 for cluster 1, and lab has 1"),
    "points": (lambda: cluster_centroids(X[:2], L), ShapeError, "got 2 rows of x and 5 labels"),
    "weights": (
        lambda: cluster_centroids(X, L, weights=np.ones((5, 2))),
        ShapeError,
        r"for the rows of x; got \(5, 2\)",
    ),
    "totals": (
        lambda: cluster_centroids(X, L, weights=np.ones(5), weights_c=np.ones(2)),
        ShapeError,
        "weights_c must have a number for each of the 3 clusters; got 2",
    ),
    "keep": (lambda: from_matrix(BLOCKS, BLOCKS, KEEP * 1), DtypeError, r"truth values \(bool\); got int64"),
    "keep's shape": (lambda: from_matrix(BLOCKS, BLOCKS[:1], KEEP), ShapeError, r"2 ranges_i .* 1 ranges_j; got shape"),
    "ranges": (lambda: from_matrix(L, BLOCKS, KEEP), ShapeError, r"ranges_i must have shape \(C, 2\)"),
    "float ranges": (
        lambda: from_matrix(BLOCKS, BLOCKS * 1.0, KEEP),
        DtypeError,
        "ranges_j must hold integers; got float64",
    ),
    "swap": (lambda: swap_axes((L, L)), ShapeError, "tuple of six arrays, or None; got 2"),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_wrong_arguments_are_refused(what: str) -> None:
    call, kind, message = WRONG[what]
    with pytest.raises(kind, match=message):
        call()


def test_public_names() -> None:
    for name in cluster.__all__:
        assert getattr(cluster, name).__doc__
