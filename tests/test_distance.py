"""`cdist_reduce` gives what SciPy's cdist and a reduction give, for each metric by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array
import pytest
from scipy.spatial.distance import cdist, jensenshannon
from scipy.special import logsumexp

import clreduce
from clreduce.distance import METRICS, cdist_reduce
from clreduce.errors import FormulaError, OptionError, ShapeError

pytestmark = pytest.mark.usefixtures("device", "plain_kernels")
OF_NUMBERS = [
    "braycurtis", "canberra", "chebyshev", "cityblock", "correlation", "cosine", "euclidean", "hamming",
    "jensenshannon", "mahalanobis", "minkowski", "seuclidean", "sqeuclidean",
]  # fmt: skip
OF_SETS = ["dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath", "yule", "hamming"]

WITHOUT_WEIGHTS = ["jensenshannon", "mahalanobis", "seuclidean"]


def points(rows: int, seed: int) -> Any:
    return np.random.default_rng(seed).uniform(0.1, 1, size=(rows, 4))


X, Y = points(7, 0), points(40, 1)


@pytest.mark.parametrize("metric", OF_NUMBERS)
def test_metrics_of_numbers(metric: str) -> None:
    x, y = (np.round(2 * X), np.round(2 * Y)) if metric == "hamming" else (X, Y)
    dense = cdist(x, y, metric)
    np.testing.assert_allclose(cdist_reduce(x, y, metric, "sum"), dense.sum(1), 1e-7)
    np.testing.assert_allclose(cdist_reduce(x, y, metric, "min", axis=0), dense.min(0), 1e-6, 1e-7)


@pytest.mark.parametrize("metric", OF_SETS)
def test_metrics_of_sets(metric: str) -> None:
    x, y = np.random.default_rng(0).random((6, 9)) < 0.5, np.random.default_rng(1).random((8, 9)) < 0.5
    np.testing.assert_allclose(cdist_reduce(x, y, metric, "sum"), cdist(x, y, metric).sum(1), 1e-7)


def test_parameters_of_metrics() -> None:
    w, V = np.array([1.0, 2.0, 0.5, 3.0]), np.cov(X.T) + np.eye(4)
    for metric, parameters in (
        ("minkowski", {"p": 3}), ("minkowski", {"p": 1, "w": w}), ("seuclidean", {"V": w}),
        ("mahalanobis", {"VI": V}),
    ):  # fmt: skip
        found = cdist_reduce(X, Y, metric, "sum", **parameters)
        np.testing.assert_allclose(found, cdist(X, Y, metric, **parameters).sum(1), 1e-9)
    bits = [jensenshannon(X[:1], Y[n : n + 1], base=2.0, axis=1)[0] for n in range(len(Y))]
    np.testing.assert_allclose(cdist_reduce(X[:1], Y, "jensenshannon", base=2.0), [sum(bits)], 1e-9)


@pytest.mark.parametrize("metric", [name for name in OF_NUMBERS if name not in WITHOUT_WEIGHTS])
def test_weights_of_coordinates(metric: str) -> None:
    w = np.array([1.0, 2.0, 0.0, 0.5])
    x, y = (np.round(2 * X), np.round(2 * Y)) if metric == "hamming" else (X, Y)
    np.testing.assert_allclose(cdist_reduce(x, y, metric, w=w.tolist()), cdist(x, y, metric, w=w).sum(1), 1e-7)


@pytest.mark.parametrize("metric", OF_SETS)
def test_weights_of_features(metric: str) -> None:
    x, y = np.random.default_rng(0).random((6, 9)) < 0.5, np.random.default_rng(1).random((8, 9)) < 0.5
    w = np.random.default_rng(2).random(9)
    np.testing.assert_allclose(cdist_reduce(x, y, metric, w=w), cdist(x, y, metric, w=w).sum(1), 1e-7)


def test_parameters_beside_truth_values_keep_their_fractions() -> None:
    x, y = X > 0.5, Y > 0.5
    differences = (x[:, None] != y).astype(float)
    np.testing.assert_allclose(
        cdist_reduce(x, y, "Sum(w * Abs(x - y))", w=[0.25, 0.5, 1.5, 2.0]),
        (differences * [0.25, 0.5, 1.5, 2.0]).sum((1, 2)),
    )


def test_weights_of_the_largest_difference() -> None:
    for w in ([1.0, 2.0, 0.0, 0.5], [0.0, 0.0, 3.0, 0.0]):
        exact = cdist(X, Y, "minkowski", p=np.inf, w=w).sum(1)
        np.testing.assert_allclose(cdist_reduce(X, Y, "minkowski", p=np.inf, w=w), exact)


@pytest.mark.parametrize("metric", WITHOUT_WEIGHTS)
def test_metrics_without_weights_say_so(metric: str) -> None:
    with pytest.raises(OptionError, match=f"the metric '{metric}' has no parameter 'w'; it takes (V|base)"):
        cdist_reduce(X, Y, metric, w=np.ones(4))


def test_reductions() -> None:
    dense = cdist(X, Y)
    order = np.argsort(dense, axis=1)[:, :3]
    np.testing.assert_array_equal(cdist_reduce(X, Y, reduction="argmin"), dense.argmin(1))
    np.testing.assert_array_equal(cdist_reduce(X, Y, reduction="argkmin", k=3), order)
    values, places = cdist_reduce(X, Y, reduction="kmin_argkmin", k=3)
    np.testing.assert_allclose(values, np.take_along_axis(dense, order, 1))
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(cdist_reduce(X, Y, reduction="logsumexp"), logsumexp(dense, axis=1))
    np.testing.assert_allclose(cdist_reduce(X, Y, reduction="var", axis=0), dense.var(0))
    b = np.arange(40.0)
    np.testing.assert_allclose(cdist_reduce(X, Y, weights=b), dense @ b)
    np.testing.assert_allclose(cdist_reduce(X, Y, weights=b.tolist()), dense @ b)
    np.testing.assert_allclose(cdist_reduce(X, Y, weights=X[:, :2], axis=0), dense.T @ X[:, :2])
    assert cdist_reduce(X.astype("float32"), Y.astype("float32")).dtype == np.float32
    np.testing.assert_allclose(cdist_reduce(X, Y, "Sum(Abs(x - y))"), cdist(X, Y, "cityblock").sum(1))
    np.testing.assert_allclose(cdist_reduce(X, Y, lambda x, y: x | y), (X @ Y.T).sum(1))


def test_arrays_of_a_device() -> None:
    context = cl.Context([clreduce.current_device().cl_device])
    queue = cl.CommandQueue(context)
    x, y = (cl.array.to_device(queue, each) for each in (X, Y))
    for metric, parameters in (("euclidean", {}), ("minkowski", {"p": 3, "w": [1.0, 2.0, 3.0, 4.0]})):
        for reduction in ("sum", "min", "argmin"):
            found = cdist_reduce(x, y, metric, reduction, **parameters)
            assert isinstance(found, cl.array.Array)
            np.testing.assert_allclose(found.get(), cdist_reduce(X, Y, metric, reduction, **parameters))
    with pytest.raises(OptionError, match=r"'seuclidean' for NumPy arrays only; got .*Pass V"):
        cdist_reduce(x, y, "seuclidean")


def test_tensors_have_gradients() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    cdist_reduce(x, torch.tensor(Y), "euclidean", "min").sum().backward()
    nearest = Y[cdist(X, Y).argmin(1)]
    np.testing.assert_allclose(x.grad, (X - nearest) / np.linalg.norm(X - nearest, axis=1, keepdims=True))


@pytest.mark.parametrize("metric", ["euclidean", "haversine", "minkowski"])
def test_the_largest_of_nothing_is_no_distance(metric: str) -> None:
    x, y = X[:, :2], Y[:2, :2]
    assert (cdist_reduce(x, y[:0], metric, "max") == -np.inf).all()
    assert (cdist_reduce(x, y[:0], metric, "min") == np.inf).all()
    with pytest.warns(UserWarning, match="places hold the value"):
        largest = cdist_reduce(x, y, metric, "kmax", k=3)
    assert (largest[:, 2] == -np.inf).all()
    assert (largest[:, :2] >= 0).all()


def test_mistakes_are_told() -> None:
    with pytest.raises(
        OptionError, match="a metric is a name, a formula in x and y, or a function of two LazyTensors; got"
    ):
        cdist_reduce(X, Y, None)
    with pytest.raises(OptionError, match="must be a number above 0; got 'two'"):
        cdist_reduce(X, Y, "minkowski", p="two")
    with pytest.raises(FormulaError, match=r"unknown metric 'euclidian'.*did you mean 'euclidean'"):
        cdist_reduce(X, Y, "euclidian")
    with pytest.raises(OptionError, match="unknown reduction 'total'"):
        cdist_reduce(X, Y, reduction="total")
    with pytest.raises(OptionError, match="needs k"):
        cdist_reduce(X, Y, reduction="kmin")
    with pytest.raises(OptionError, match="'cityblock' has no parameter 'q'; it takes w"):
        cdist_reduce(X, Y, "cityblock", q=3)
    with pytest.raises(ShapeError, match=r"\(M, D\) and \(N, D\)"):
        cdist_reduce(X, Y[:, :2])
    with pytest.raises(ShapeError, match=r"w must have a weight for each of the 4 coordinates; got .* \(3,\)"):
        cdist_reduce(X, Y, "cosine", w=np.ones(3))
    for bad in ([-1.0, 1, 1, 1], [np.inf, 1, 1, 1], [0, 0, 0, 0]):
        with pytest.raises(OptionError, match="must be finite, 0 or more, and not all 0"):
            cdist_reduce(X, Y, "hamming", w=bad)
    with pytest.raises(OptionError, match="'mahalanobis' needs V"):
        cdist_reduce(X, Y, "mahalanobis", V=None)
    with pytest.raises(ShapeError, match="weights must have shape"):
        cdist_reduce(X, Y, weights=X)


def test_names_of_scipy_are_known() -> None:
    assert set(OF_NUMBERS) | set(OF_SETS) | {"matching"} <= METRICS.keys()
