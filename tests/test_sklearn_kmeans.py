"""k-means of `clreduce.sklearn` finds what scikit-learn's does from equal starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import cluster
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning

from clreduce.sklearn import KMeans

pytestmark = pytest.mark.usefixtures("plain_kernels")


def both(X: Any, sample_weight: Any = None, **parameters: Any) -> tuple[Any, Any]:
    return tuple(kind(**parameters).fit(X, sample_weight=sample_weight) for kind in (KMeans, cluster.KMeans))


def assert_equal(ours: Any, theirs: Any, rtol: float = 1e-7) -> None:
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=rtol, atol=10 * rtol)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=rtol)
    assert (ours.n_iter_, ours.labels_.dtype) == (theirs.n_iter_, theirs.labels_.dtype)
    assert ours.cluster_centers_.dtype == theirs.cluster_centers_.dtype


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize(
    ("X", "runs"), [(load_iris().data, 1), (load_digits().data[:400, 10:40], 3)], ids=["iris", "digits"]
)
def test_equal_seeds_give_the_clusters_of_scikit_learn(X: Any, runs: int, init: str, device: Any) -> None:
    # Of iris some points are equally far from two centres within rounding, so some runs differ.
    ours, theirs = both(X, n_clusters=5, init=init, n_init=runs, random_state=1)
    assert_equal(ours, theirs)
    np.testing.assert_array_equal(ours.predict(X[:20]), theirs.predict(X[:20]))
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.score(X), theirs.score(X))


def test_weights_count_points_several_times(device: Any) -> None:
    X, _ = make_blobs(300, 4, centers=4, random_state=1)
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    start = X[:4]
    ours, theirs = both(X, weights, n_clusters=4, init=start, n_init=1)
    assert_equal(ours, theirs)
    repeated = KMeans(4, init=start, n_init=1).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(ours.cluster_centers_, repeated.cluster_centers_)
    np.testing.assert_allclose(ours.score(X, sample_weight=weights), -ours.inertia_)
    np.testing.assert_allclose(
        both(X, weights, n_clusters=3, random_state=3)[0].inertia_,
        both(X, weights, n_clusters=3, random_state=3)[1].inertia_,
    )


def test_float32_is_kept_and_far_from_the_origin_exact() -> None:
    X, _ = make_blobs(500, 3, centers=5, random_state=2)
    near = KMeans(5, init=X[:5], n_init=1).fit(X.astype("float32"))
    assert near.cluster_centers_.dtype == np.float32 == near.transform(X.astype("float32")).dtype
    far = KMeans(5, init=(X[:5] + 1000).astype("float32"), n_init=1).fit((X + 1000).astype("float32"))
    np.testing.assert_array_equal(far.labels_, near.labels_)
    np.testing.assert_allclose(far.inertia_, near.inertia_, rtol=1e-4)


def test_a_cluster_without_points_takes_far_ones() -> None:
    X = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [30.0]])
    start = np.array([[1.0], [100.0], [200.0]])
    ours, theirs = both(X, n_clusters=3, init=start, n_init=1)
    assert_equal(ours, theirs)
    assert len(set(ours.labels_)) == 3


def test_fewer_points_than_clusters_warn() -> None:
    X = np.repeat([[0.0, 1.0], [2.0, 3.0]], 5, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        fitted = KMeans(3, random_state=0).fit(X)
    assert fitted.inertia_ == 0


def test_a_callable_start_and_its_errors() -> None:
    X = load_iris().data
    by_hand = KMeans(3, init=lambda X, count, random_state: X[::50], n_init=1).fit(X)
    assert_equal(by_hand, cluster.KMeans(3, init=X[::50], n_init=1).fit(X))
    with pytest.raises(ValueError, match="does not match the number of clusters"):
        KMeans(3, init=X[:2]).fit(X)
    with pytest.raises(ValueError, match=r"n_samples=2 should be >= n_clusters=3"):
        KMeans(3).fit(X[:2])
    with pytest.raises(ValueError, match="'algorithm' parameter"):
        KMeans(3, algorithm="full").fit(X)


@pytest.mark.filterwarnings("error")
def test_distances_to_centres_of_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(load_iris().data[:, :3], columns=["a", "b", "c"])
    ours, theirs = both(frame, n_clusters=3, n_init=1, random_state=0)
    np.testing.assert_allclose(ours.transform(frame[:20]), theirs.transform(frame[:20]), atol=1e-6)
    again = KMeans(3, n_init=1, random_state=0).fit_transform(frame, sample_weight=np.ones(len(frame)))
    np.testing.assert_allclose(again, ours.transform(frame))


def test_verbose_prints_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    fitted = KMeans(3, random_state=0, verbose=1).fit(load_iris().data)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Initialization complete"
    assert len(printed) == 1 + fitted.n_iter_
