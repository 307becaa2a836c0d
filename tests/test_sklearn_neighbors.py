"""Neighbours of `clreduce.sklearn` are those of scikit-learn: metrics, distances, indices, graphs, votes and means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.metrics import pairwise_distances

from clreduce.errors import FormulaError, OptionError, ShapeError
from clreduce.numpy import Vi, Vj
from clreduce.sklearn.metrics import METRICS, distance, with_defaults

pytestmark = pytest.mark.usefixtures("plain_kernels")
rng = np.random.default_rng(0)
_THEIRS = {"infinity": "chebyshev", "p": "minkowski"}
"""Names that only scikit-learn's trees have, by those that all of it has."""
_OF_SETS = ("jaccard", "dice", "rogerstanimoto", "russellrao", "sokalsneath", "yule")


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_metrics_are_those_of_scikit_learn(metric: str, device: Any) -> None:
    features = 2 if metric == "haversine" else 4
    x, y = rng.normal(size=(20, features)), rng.normal(size=(30, features))
    if metric in _OF_SETS:
        x, y = x > 0, y > 0
        x[~x.any(1), 0] = y[~y.any(1), 0] = True  # between empty sets some are nan, and ours 0
    elif metric == "hamming":
        x, y = np.round(x), np.round(y)
    elif metric == "nan_euclidean":
        x[3, 1] = y[4, 2] = np.nan
    parameters = with_defaults(metric, {"p": 3} if metric in ("minkowski", "p") else {}, np.vstack([x, y]))
    pairs = distance(metric, Vi(x.astype(float)), Vj(y.astype(float)), parameters)
    expected = pairwise_distances(x, y, _THEIRS.get(metric, metric), **parameters)
    np.testing.assert_allclose(pairs.tensor.dense(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pairs.of_term(pairs.to_term(0.7)), 0.7)


@pytest.mark.parametrize("parameters", [{"p": 0.5}, {"p": 1}, {"p": 2}, {"p": np.inf}, {"p": 1.5, "w": [1, 2, 0.5]}])
def test_minkowski_with_any_exponent(parameters: dict[str, Any]) -> None:
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(6, 3))
    found = distance("minkowski", Vi(x), Vj(y), parameters).tensor.dense()
    weighted = np.abs(x[:, None] - y)
    weights, p = np.asarray(parameters.get("w", 1)), parameters["p"]
    expected = weighted.max(-1) if p == np.inf else (weights * weighted**p).sum(-1) ** (1 / p)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "parameters", "error", "told"),
    [
        ("euclidian", {}, FormulaError, "did you mean 'euclidean'"),
        ("Sum(Abs(x - z))", {}, FormulaError, "unknown variable 'z'"),
        ("x - y", {}, ShapeError, "a real number for each pair"),
        ("Sum(x * x)", {}, ShapeError, "both x and y"),
        ("Sum(x * y)", {"x": 1.0}, FormulaError, "another name"),
        ("Sum(Var(7, 3, 0) * y)", {}, FormulaError, "position"),
        (lambda x, y: 1.0, {}, OptionError, "takes two LazyTensors"),
        ("minkowski", {"p": -1}, OptionError, "p > 0"),
        ("minkowski", {"q": 1}, OptionError, "unexpected keyword argument 'q'"),
        ("seuclidean", {}, OptionError, "'V'"),
        ("haversine", {}, OptionError, "latitude"),
        ("mahalanobis", {"VI": -np.eye(3)}, OptionError, "positive"),
    ],
)
def test_what_is_wrong_with_a_metric_is_told(metric: Any, parameters: Any, error: Any, told: str) -> None:
    x, y = Vi(np.zeros((2, 3))), Vj(np.zeros((4, 3)))
    with pytest.raises(error, match=told):
        distance(metric, x, y, parameters)
