"""Neighbours of `clreduce.sklearn` are those of scikit-learn: metrics, distances, indices, graphs, votes and means."""

from __future__ import annotations

import pickle
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy.sparse import csr_array
from sklearn import neighbors
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_blobs
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import clreduce.sklearn as kernels
from clreduce.distance.metrics import METRICS, distance, with_defaults
from clreduce.errors import DtypeError, FormulaError, OptionError, ShapeError
from clreduce.numpy import Vi, Vj
from clreduce.sklearn import search
from clreduce.sklearn.projection import Projection

pytestmark = pytest.mark.usefixtures("plain_kernels")
rng = np.random.default_rng(0)
OURS_AND_THEIRS = (kernels.NearestNeighbors, neighbors.NearestNeighbors)
_THEIRS = {"infinity": "chebyshev", "p": "minkowski"}
"""Names that only scikit-learn's trees have, by those that all of it has."""
_OF_SETS = ("jaccard", "dice", "rogerstanimoto", "russellrao", "sokalsneath", "yule")


@pytest.mark.parametrize("metric", sorted(METRICS.keys() - {"jensenshannon"}))  # that one is SciPy's
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
        (
            lambda x, y: 1.0,
            {},
            OptionError,
            "must return a LazyTensor; it returned a value of the type float.*two LazyTensors",
        ),
        ("minkowski", {"p": -1}, OptionError, "p of the metric 'minkowski' must be a number above 0"),
        ("minkowski", {"q": 1}, OptionError, "has no parameter 'q'; it takes p, w"),
        ("seuclidean", {}, OptionError, "needs the parameter 'V'"),
        ("haversine", {}, OptionError, "latitude"),
        ("mahalanobis", {"VI": -np.eye(3)}, OptionError, "no negative eigenvalue; the smallest one is -1"),
    ],
)
def test_what_is_wrong_with_a_metric_is_told(metric: Any, parameters: Any, error: Any, told: str) -> None:
    x, y = Vi(np.zeros((2, 3))), Vj(np.zeros((4, 3)))
    with pytest.raises(error, match=told):
        distance(metric, x, y, parameters)


# ------------------------------------------------------------------------------------------------------ estimators


@pytest.fixture(params=["iris", "digits", "blobs"])
def points(request: pytest.FixtureRequest) -> Any:
    if request.param == "iris":
        return load_iris().data
    if request.param == "digits":
        return load_digits().data[:500]
    return make_blobs(300, 5, centers=4, random_state=0)[0]


def assert_neighbours_are_equal(ours: Any, theirs: Any) -> None:
    """Distances are; indices are wherever no two distances of a row are."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-7, atol=1e-7)
    tied = np.isclose(theirs[0][:, 1:], theirs[0][:, :-1], rtol=1e-9).any(axis=1)
    same = (ours[1] == theirs[1])[:, :-1]  # the last one may be equally near as one that is not listed
    assert same[~tied].all()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_nearest_neighbours(points: Any, metric: str, device: Any) -> None:
    ours, theirs = (kind(n_neighbors=4, metric=metric).fit(points[::2]) for kind in OURS_AND_THEIRS)
    queries = points[1::2] + 0.01
    assert_neighbours_are_equal(ours.kneighbors(queries), theirs.kneighbors(queries))
    assert_neighbours_are_equal(ours.kneighbors(), theirs.kneighbors())
    graphs = [each.kneighbors_graph(queries, mode="distance") for each in (ours, theirs)]
    np.testing.assert_allclose(*(graph.sum(axis=1) for graph in graphs), rtol=1e-7)


def test_within_a_radius(points: Any, device: Any) -> None:
    radius = np.median(pairwise_distances(points)) / 2
    ours, theirs = (kind(radius=radius).fit(points) for kind in OURS_AND_THEIRS)
    for queries in (points[:40], None):
        distances, indices = ours.radius_neighbors(queries)
        expected = theirs.radius_neighbors(queries, sort_results=True)
        for row, near in enumerate(distances):
            np.testing.assert_allclose(near, expected[0][row], rtol=1e-7, atol=1e-7)
            assert set(indices[row]) == set(expected[1][row])
        graphs = [each.radius_neighbors_graph(queries) for each in (ours, theirs)]
        assert (graphs[0] != graphs[1]).nnz == 0


def test_ties_go_to_the_lowest_index_and_a_point_is_not_its_own_neighbour() -> None:
    X = np.zeros((6, 2))
    found = kernels.NearestNeighbors(n_neighbors=3).fit(X)
    np.testing.assert_array_equal(found.kneighbors(X[:2], return_distance=False), [[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(found.kneighbors(return_distance=False)[:2], [[1, 2, 3], [0, 2, 3]])


def test_a_search_over_k_compiles_few_kernels() -> None:
    lengths = [search._length(k, 1000) for k in range(1, 65)]
    assert len(set(lengths)) == 12
    assert all(k <= length <= max(1.5 * k, 1) for k, length in enumerate(lengths, 1))
    X = rng.normal(size=(40, 3))
    fitted = kernels.NearestNeighbors().fit(X)
    distances, indices = fitted.kneighbors(X, 40)
    for k in (1, 2, 3, 5, 39):
        np.testing.assert_array_equal(fitted.kneighbors(X, k, return_distance=False), indices[:, :k])
        np.testing.assert_array_equal(fitted.kneighbors(X, k)[0], distances[:, :k])


def test_numbers_of_neighbours_are_integers_of_numpy_in_a_search() -> None:
    X, y = load_iris(return_X_y=True)
    grid = {"n_neighbors": np.arange(1, 4)}
    ours, theirs = (
        GridSearchCV(each(), grid, cv=3, error_score="raise").fit(X, y)
        for each in (kernels.KNeighborsClassifier, neighbors.KNeighborsClassifier)
    )
    np.testing.assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])


@pytest.mark.filterwarnings("error")
def test_no_terms_are_kept_beyond_the_points() -> None:
    X = rng.normal(size=(21, 3))
    ours, theirs = (each(n_neighbors=20).fit(X).kneighbors() for each in OURS_AND_THEIRS)
    np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("tree", [neighbors.KDTree, neighbors.BallTree])
def test_a_tree_in_place_of_data_is_searched(tree: Any) -> None:
    X, queries = rng.normal(size=(30, 3)), rng.normal(size=(5, 3))
    ours, theirs = (
        each(n_neighbors=4).fit(tree(X, metric="manhattan")).kneighbors(queries) for each in OURS_AND_THEIRS
    )
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda distances: 1 / (1 + distances)])
def test_votes_and_means(weights: Any) -> None:
    X, y = load_iris(return_X_y=True)
    X = X + rng.normal(scale=1e-4, size=X.shape)  # so that no two distances are equal
    several = np.stack([y, y % 2], axis=1)
    chosen = {"KNeighbors": {"n_neighbors": 5}, "RadiusNeighbors": {"radius": 1.5}}
    for name, parameters in (
        (f"{stem}{kind}", chosen[stem]) for stem in chosen for kind in ("Classifier", "Regressor")
    ):
        for target in (y, several):
            kinds = getattr(kernels, name), getattr(neighbors, name)
            ours, theirs = (kind(weights=weights, **parameters).fit(X[::2], target[::2]) for kind in kinds)
            np.testing.assert_allclose(ours.predict(X[1::2]), theirs.predict(X[1::2]), rtol=1e-6)
            if "Classifier" in name:
                votes = [each.predict_proba(X[1::2]) for each in (ours, theirs)]
                for one, other in zip(*votes, strict=True) if target is several else [votes]:
                    np.testing.assert_allclose(one, other, atol=1e-6)


def test_regression_on_diabetes_and_its_transformers() -> None:
    X, y = load_diabetes(return_X_y=True)
    ours, theirs = (
        kind.fit(X, y).predict(X) for kind in (kernels.KNeighborsRegressor(7), neighbors.KNeighborsRegressor(7))
    )
    np.testing.assert_allclose(ours, theirs)
    for name, parameters in (
        ("KNeighborsTransformer", {"n_neighbors": 3}),
        ("RadiusNeighborsTransformer", {"radius": 0.1}),
    ):
        graphs = [getattr(each, name)(**parameters).fit_transform(X) for each in (kernels, neighbors)]
        np.testing.assert_allclose(*(graph.toarray() for graph in graphs), atol=1e-9)


def test_a_graph_of_neighbours_serves_as_a_precomputed_metric() -> None:
    X, y = load_iris(return_X_y=True)
    chain = make_pipeline(
        kernels.KNeighborsTransformer(n_neighbors=20, mode="distance"),
        kernels.KNeighborsClassifier(n_neighbors=5, metric="precomputed"),
    )
    np.testing.assert_array_equal(chain.fit(X, y).predict(X), kernels.KNeighborsClassifier(5).fit(X, y).predict(X))


def test_a_search_over_metrics_of_all_kinds() -> None:
    X, y = load_iris(return_X_y=True)
    metrics = ["manhattan", "Sum(Abs(x - y))", city_block]
    search = GridSearchCV(kernels.KNeighborsClassifier(), {"metric": metrics, "n_neighbors": [3, 5]}, cv=3).fit(X, y)
    scores = search.cv_results_["mean_test_score"].reshape(3, 2)
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def city_block(x: Any, y: Any) -> Any:
    return abs(x - y).sum(-1)


def test_float32_is_kept_far_from_the_origin() -> None:
    X = rng.normal(size=(100, 20))
    near, far = X.astype("float32"), (X + 300).astype("float32")
    ours, theirs = (
        kind(n_neighbors=3).fit(each) for kind, each in zip(OURS_AND_THEIRS, (far, far.astype(float)), strict=True)
    )
    distances, indices = ours.kneighbors(far)
    assert distances.dtype == np.float32
    expected = theirs.kneighbors(far.astype(float))
    np.testing.assert_allclose(distances, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(indices, expected[1])
    assert kernels.NearestNeighbors(n_neighbors=3).fit(near).kneighbors(X)[0].dtype == np.float64


def test_a_graph_keeps_the_names_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(load_iris().data, columns=list("abcd"), index=range(7, 157))
    chain = make_pipeline(StandardScaler(), kernels.KMeans(3, random_state=0)).set_output(transform="pandas")
    moved = chain.fit_transform(frame)
    assert list(moved.columns) == ["kmeans0", "kmeans1", "kmeans2"]
    assert list(moved.index) == list(frame.index)


@pytest.mark.parametrize(
    "parameters", [{"algorithm": "ball_tree"}, {"algorithm": "kd_tree", "leaf_size": 2}, {"n_jobs": 2}]
)
def test_parameters_of_trees_are_accepted(parameters: dict[str, Any]) -> None:
    X = load_iris().data
    plain, found = (kernels.NearestNeighbors(**each).fit(X).kneighbors() for each in ({}, parameters))
    np.testing.assert_array_equal(plain[1], found[1])


def test_sparse_data_and_other_mistakes_are_told() -> None:
    X = load_iris().data
    with pytest.raises(DtypeError, match="takes dense data; got a sparse matrix"):
        kernels.NearestNeighbors().fit(csr_array(X))
    with pytest.raises(FormulaError, match="unknown metric 'euclid'"):
        kernels.NearestNeighbors(metric="euclid").fit(X)
    with pytest.raises(ValueError, match="'algorithm' parameter"):
        kernels.NearestNeighbors(algorithm="tree").fit(X)
    with pytest.raises(ValueError, match="n_neighbors <= n_samples_fit"):
        kernels.NearestNeighbors().fit(X).kneighbors(X, 200)


# ------------------------------------------------------------------------------- long vectors, in few dimensions first


def long_vectors(kind: str, dtype: str) -> Any:
    """600 vectors of length 64: near a plane of few dimensions, noise, whole numbers with ties, or equal."""
    if kind == "noise":
        return rng.normal(size=(600, 64)).astype(dtype)
    flat = rng.normal(size=(600, 8)) @ rng.normal(size=(8, 64))
    if kind == "ties":
        return np.repeat(np.round(flat[:150]), 4, axis=0).astype(dtype)
    if kind == "equal":
        return np.ones((600, 64), dtype)
    return (flat + 0.01 * rng.normal(size=flat.shape) + 100).astype(dtype)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("flat", "float32"), ("flat", "float64"), ("noise", "float32"), ("ties", "float64"), ("equal", "float32")],
)
def test_few_dimensions_first_gives_the_nearest_of_all(kind: str, dtype: str, monkeypatch: Any, device: Any) -> None:
    X = long_vectors(kind, dtype)
    everything = kernels.NearestNeighbors(n_neighbors=6, algorithm="brute").fit(X).kneighbors(X[:300])
    monkeypatch.setattr(search, "worthwhile", lambda *_: True)
    index = kernels.NearestNeighbors(n_neighbors=6).fit(X)
    distances, indices = index.kneighbors(X[:300])
    assert distances.dtype == dtype
    np.testing.assert_allclose(distances, everything[0], rtol=1e-5 if dtype == "float32" else 1e-12)
    if kind != "flat" or dtype == "float64":
        np.testing.assert_array_equal(indices, everything[1])
    made = index._tree._projection(np.dtype(dtype))
    assert made.pays == (kind in ("flat", "ties"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(index)).kneighbors(X[:300])[1], indices)
    assert len(pickle.dumps(index)) < 1.1 * X.nbytes


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-12, 1.0, 1e12]), shift=st.sampled_from([0, 1e3])
)
def test_short_forms_are_never_farther_apart(seed: int, scale: float, shift: float) -> None:
    random = np.random.default_rng(seed)
    spread = np.exp(-random.uniform(0, 1) * np.arange(140))
    X = ((random.normal(size=(30, 140)) * spread + shift) * scale).astype("float32")
    made = Projection(X)
    short = made._short
    bounds = ((short[:, None] - short) ** 2).sum(-1, dtype="float32")
    true = np.linalg.norm(X[:, None].astype(float) - X, axis=-1)
    assert (made._least_distances(bounds, made._reach) <= true).all()
