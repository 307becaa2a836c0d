"""k-means: scikit-learn's estimator with seeding and Lloyd's steps by kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from sklearn import cluster
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from clreduce.numpy import Vi, Vj
from clreduce.sklearn.validation import Data, checked_data
from clreduce.typing import Array
from clreduce.warning import warn

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from typing_extensions import Self

_BLOCK = 4096
"""Points whose sum is taken in the precision of the data; sums of blocks are added up in float64."""


class KMeans(cluster.KMeans):
    """k-means clustering, by Lloyd's algorithm.

    Parameters and attributes are those of `sklearn.cluster.KMeans`. For an equal ``random_state`` the results are equal
    up to rounding: distances are computed component by component, in the precision of the data.

    Parameters
    ----------
    n_clusters, init, n_init, max_iter, tol, verbose, random_state
        As in scikit-learn.
    copy_x : bool, optional
        Accepted. The data never change.
    algorithm : str, optional
        'lloyd', or 'elkan', which gives the same clusters: kernels visit all pairs of points and centres for both.

    Attributes
    ----------
    cluster_centers_ : array of shape (n_clusters, n_features)
        The centres, of the dtype of the data.
    labels_ : array of shape (n_samples,)
        The nearest centre of each point, int32; the lowest index of equally near ones.
    inertia_ : float
        The sum of squared distances to the nearest centres, times sample weights.
    n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import KMeans
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]])
    >>> fitted = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> fitted.predict([[0.0, 0.0], [12.0, 3.0]]) == fitted.labels_[[0, 3]]
    array([ True,  True])
    >>> fitted.inertia_
    16.0
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Data, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centres of the clusters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points.
        y : None
            Not used.
        sample_weight : array-like of shape (n_samples,)
            Weights of the points; None for equal weights.

        Returns
        -------
        self
        """
        X = checked_data(self, X, reset=True)
        self._check_params_vs_input(X)
        random_state = check_random_state(self.random_state)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        init = self.init
        if not isinstance(init, str) and not callable(init):
            init = check_array(init, dtype=X.dtype, copy=True, order="C")
            self._validate_center_shape(X, init)
        best: _Clusters | None = None
        for _ in range(self._n_init):
            start = self._init_centroids(X, None, init, random_state, weights)
            if self.verbose:
                print("Initialization complete")
            clusters = _Clusters(X, weights, np.array(start, X.dtype, order="C"))
            clusters.run(self.max_iter, self._tol, bool(self.verbose))
            # A clustering that is the same but for rounding and the order of labels is not better.
            if best is None or (clusters.inertia < best.inertia and not _same(clusters.labels, best.labels)):
                best = clusters
        assert best is not None
        distinct = len(np.unique(best.labels))
        if distinct < self.n_clusters:
            warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters ({self.n_clusters}). Possibly "
                "due to duplicate points in X.",
                ConvergenceWarning,
            )
        self.cluster_centers_, self.labels_ = best.centers, best.labels
        self.inertia_, self.n_iter_ = best.inertia, best.steps
        self._n_features_out = len(best.centers)
        return self

    def predict(self, X: Data) -> Array:
        """The nearest centre of each point.

        Parameters
        ----------
        X : array-like of shape (n_points, n_features)
            The points.

        Returns
        -------
        array of shape (n_points,)
            Indices of centres, int32.
        """
        check_is_fitted(self)
        return nearest(self._check_test_data(X), self.cluster_centers_)[0]

    def score(self, X: Data, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """The negative of the sum of squared distances to the nearest centres.

        Parameters
        ----------
        X : array-like of shape (n_points, n_features)
            The points.
        y : None
            Not used.
        sample_weight : array-like of shape (n_points,)
            Weights of the points; None for equal weights.

        Returns
        -------
        float
            The negative of `inertia_` for these points.
        """
        check_is_fitted(self)
        X = self._check_test_data(X)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        return -_weighted_sum(nearest(X, self.cluster_centers_)[1], weights)

    def _check_test_data(self, X: Data) -> Array:
        return checked_data(self, X, reset=False)

    def fit_transform(self, X: Data, y: object = None, sample_weight: ArrayLike | None = None) -> Array:
        """The distances of the points to all centres that ``fit`` finds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points.
        y : None
            Not used.
        sample_weight : array-like of shape (n_samples,)
            Weights of the points; None for equal weights.

        Returns
        -------
        array of shape (n_samples, n_clusters)
            Distances.
        """
        distances: Array = self.fit(X, sample_weight=sample_weight).transform(X)
        return distances

    def _transform(self, X: Array) -> Array:
        """The distances to all centres, (n_samples, n_clusters)."""
        return np.sqrt(Vi(X).sqdist(Vj(self.cluster_centers_.astype(X.dtype, copy=False))).dense())

    def _init_centroids(
        self, X: Array, _norms: None, init: str | Callable[..., ArrayLike] | Array,
        random_state: np.random.RandomState, weights: Array,
    ) -> Array:  # fmt: skip
        if isinstance(init, str) and init == "k-means++":
            return _plus_plus(X, self.n_clusters, weights, random_state)
        centers: Array = super()._init_centroids(X, None, init, random_state, weights)
        return centers

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def nearest(X: Array, centers: Array) -> tuple[Array, Array]:
    """The index of the nearest centre of each row of X, int32, and the squared distance to it; each (M,)."""
    distances, labels = Vi(X).sqdist(Vj(centers.astype(X.dtype, copy=False))).min_argmin(axis=1)
    return labels[:, 0].astype(np.int32), distances[:, 0]


class _Clusters:
    """A run of Lloyd's algorithm."""

    def __init__(self, X: Array, weights: Array, centers: Array) -> None:
        self.X, self.weights, self.centers = X, weights, centers
        self.labels = np.full(len(X), -1, np.int32)
        self.steps, self.inertia = 0, np.inf

    def run(self, most: int, tolerance: float, verbose: bool) -> None:
        """Step until no label changes, or the centres move by ``tolerance`` (the sum of squares) or less."""
        settled = False
        while not settled and self.steps < most:
            labels, distances = nearest(self.X, self.centers)
            centers = self._means(labels, distances)
            settled, moved = bool((labels == self.labels).all()), float(((centers - self.centers) ** 2).sum())
            self.labels, self.centers = labels, centers
            self.steps += 1
            if verbose:
                print(f"Iteration {self.steps - 1}, inertia {_weighted_sum(distances, self.weights)}.")
            if settled or moved <= tolerance:
                break
        if not settled:  # so that labels are those of the last centres
            self.labels, distances = nearest(self.X, self.centers)
        self.inertia = _weighted_sum(distances, self.weights)

    def _means(self, labels: Array, distances: Array) -> Array:
        """The centre of each cluster. One without points takes the point that is farthest from its own centre."""
        count = len(self.centers)
        sums, weights = self._sums(labels), np.bincount(labels, self.weights, count)
        empty = np.flatnonzero(weights == 0)
        if len(empty) and distances.max() > 0:
            far = np.argpartition(distances, -len(empty))[: -len(empty) - 1 : -1]
            moved = self.weights[far].astype(np.float64)
            shifted = moved[:, None] * self.X[far]
            np.subtract.at(sums, labels[far], shifted)
            np.subtract.at(weights, labels[far], moved)
            sums[empty], weights[empty] = shifted, moved
        means = sums / np.where(weights > 0, weights, 1)[:, None]
        means[weights == 0] = means[np.argmax(weights)]  # where all points stand on their centres
        return means.astype(self.X.dtype)

    def _sums(self, labels: Array) -> Array:
        """The weighted sum of the points of each cluster, in float64."""
        sums = np.zeros(self.centers.shape)
        for begin in range(0, len(labels), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            size = len(labels[block])
            members = csr_array((self.weights[block], labels[block], np.arange(size + 1)), (size, len(sums)))
            sums += members.T @ self.X[block]
        return sums


def _plus_plus(X: Array, count: int, weights: Array, random_state: np.random.RandomState) -> Array:
    """Centres by greedy k-means++: of some points, drawn by their squared distance, the one that helps most.

    It asks ``random_state`` for the same numbers as scikit-learn, so the centres are the same up to rounding.
    """
    trials = 2 + int(np.log(count))
    chosen = [random_state.choice(len(X), p=weights / weights.sum())]
    closest = np.full((len(X), 1), np.inf, X.dtype)
    weight_j = Vj(np.ascontiguousarray(weights[:, None]))
    while True:
        closest = np.minimum(closest, Vi(X[chosen[-1:]]).sqdist(Vj(X)).sum(axis=0))
        if len(chosen) == count:
            return X[chosen]
        reached = np.cumsum(weights * closest[:, 0])
        candidates = np.searchsorted(reached, random_state.uniform(size=trials) * (closest[:, 0] @ weights))
        candidates = np.minimum(candidates, len(X) - 1)
        left = (Vi(X[candidates]).sqdist(Vj(X)).minimum(Vj(closest)) * weight_j).sum(axis=1)
        chosen.append(candidates[np.argmin(left)])


def _weighted_sum(distances: Array, weights: Array) -> float:
    return float(np.dot(distances.astype(np.float64), weights))


def _same(a: Array, b: Array) -> bool:
    """Whether two labellings are the same but for the order of labels."""
    pairs: int = np.unique(np.stack([a, b]), axis=1).shape[1]
    return pairs == len(np.unique(a)) == len(np.unique(b))
