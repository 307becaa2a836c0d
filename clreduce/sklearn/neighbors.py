"""Nearest neighbours: scikit-learn's estimators with a search by kernels in place of its own.

All but the search is scikit-learn's: votes, weights, graphs, what X=None means, errors. It finds a `SearchIndex` where
it keeps a tree.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from scipy.sparse import issparse
from sklearn import neighbors

from clreduce.distance.metrics import with_defaults
from clreduce.errors import DtypeError
from clreduce.sklearn.search import SearchIndex


def _constraints(base: type[Any]) -> dict[str, Any]:
    """The parameters that scikit-learn checks; of the metric, `SearchIndex` knows what it may be."""
    return {**base._parameter_constraints, "metric": [str, callable]}


class _IndexedNeighbors:
    """The search of neighbours that replaces the one of an estimator of scikit-learn."""

    metric: Any
    algorithm: str
    _fit_X: Any
    effective_metric_: Any
    effective_metric_params_: dict[str, Any]

    def _check_algorithm_metric(self) -> None:
        """Accept any metric here: `_fit` checks formulas and functions on the data."""

    def _fit(self, X: Any, y: Any = None) -> Any:
        if isinstance(X, (neighbors.KDTree, neighbors.BallTree)):
            return super()._fit(X, y)  # type: ignore[misc]
        precomputed = isinstance(self.metric, str) and self.metric == "precomputed"
        if issparse(X) and not precomputed:
            raise DtypeError(
                f"{type(self).__name__} takes dense data; got a sparse matrix. Write X.toarray() if that fits into "
                "memory, or use the estimator of scikit-learn"
            )
        algorithm, self.algorithm = self.algorithm, "brute"  # so that it builds no tree
        try:
            super()._fit(X, y)  # type: ignore[misc]
        finally:
            self.algorithm = algorithm
        if not precomputed:
            parameters = with_defaults(self.effective_metric_, self.effective_metric_params_, self._fit_X)
            # An array of numbers in place of a kernel's: selections from a given matrix stay with scikit-learn.
            self._tree = SearchIndex(self._fit_X, self.effective_metric_, parameters, self.algorithm == "brute")
            self._fit_method = "ball_tree"
            self._tree.distances(self._fit_X[:1])
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = tags.input_tags.pairwise
        return tags


_COMMON = """
    Parameters and attributes are those of scikit-learn's estimator of this name; some have another meaning.

    Parameters
    ----------
    {others}
        As in scikit-learn.
    metric : str or callable, optional
        A name of scikit-learn's metrics; a formula in ``x``, ``y`` and the names of ``metric_params``, such as
        ``"Sum(w * Abs(x - y))"``; or a function that takes two `LazyTensor` and ``metric_params`` by name, and returns
        a `LazyTensor` with a number for each pair. With 'precomputed', scikit-learn's own search runs.
    algorithm : str, optional
        'brute' visits all pairs. All other values may skip pairs that cannot matter; the results are the same.
    leaf_size, n_jobs : int, optional
        Accepted; a device uses all its cores.

    Notes
    -----
    float32 data give float32 distances; all else is computed in float64. Of equal distances the lowest index comes
    first. Sparse data are refused, except for a precomputed matrix. A tree in place of data, such as a `KDTree`, is
    searched by scikit-learn as it is.
"""


def _common(base: type[Any]) -> str:
    """The common part of the docstrings of these estimators, with the parameters of scikit-learn's ``base``."""
    changed = ("metric", "algorithm", "leaf_size", "n_jobs")
    return _COMMON.format(others=", ".join(name for name in signature(base).parameters if name not in changed))


class NearestNeighbors(_IndexedNeighbors, neighbors.NearestNeighbors):
    __doc__ = f"""The nearest points of each query, and all within a radius.
{_common(neighbors.NearestNeighbors)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import NearestNeighbors
    >>> found = NearestNeighbors(n_neighbors=2, radius=1.5).fit(np.array([[0.0], [1.0], [3.0]]))
    >>> found.kneighbors([[0.9]])
    (array([[0.1, 0.9]]), array([[1, 0]]))
    >>> found.radius_neighbors([[2.0]], return_distance=False)[0]
    array([1, 2])
    """

    _parameter_constraints = _constraints(neighbors.NearestNeighbors)


class KNeighborsTransformer(_IndexedNeighbors, neighbors.KNeighborsTransformer):
    __doc__ = f"""The graph of the k nearest neighbours, as a sparse matrix.
{_common(neighbors.KNeighborsTransformer)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import KNeighborsTransformer
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> KNeighborsTransformer(n_neighbors=1, mode="connectivity").fit_transform(X).toarray()
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """

    _parameter_constraints = _constraints(neighbors.KNeighborsTransformer)


class RadiusNeighborsTransformer(_IndexedNeighbors, neighbors.RadiusNeighborsTransformer):
    __doc__ = f"""The graph of all neighbours within a radius, as a sparse matrix.
{_common(neighbors.RadiusNeighborsTransformer)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import RadiusNeighborsTransformer
    >>> RadiusNeighborsTransformer(radius=1.5).fit_transform(np.array([[0.0], [1.0], [3.0]])).toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 0.]])
    """

    _parameter_constraints = _constraints(neighbors.RadiusNeighborsTransformer)


class KNeighborsClassifier(_IndexedNeighbors, neighbors.KNeighborsClassifier):
    __doc__ = f"""Classification by a vote of the k nearest neighbours.
{_common(neighbors.KNeighborsClassifier)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import KNeighborsClassifier
    >>> fitted = KNeighborsClassifier(n_neighbors=3).fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])
    >>> fitted.predict([[1.1]]), fitted.predict_proba([[0.9]]).round(3)
    (array([0]), array([[0.667, 0.333]]))
    """

    _parameter_constraints = _constraints(neighbors.KNeighborsClassifier)


class RadiusNeighborsClassifier(_IndexedNeighbors, neighbors.RadiusNeighborsClassifier):
    __doc__ = f"""Classification by a vote of all neighbours within a radius.
{_common(neighbors.RadiusNeighborsClassifier)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import RadiusNeighborsClassifier
    >>> fitted = RadiusNeighborsClassifier(radius=1.0).fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1])
    >>> fitted.predict([[1.5]])
    array([0])
    """

    _parameter_constraints = _constraints(neighbors.RadiusNeighborsClassifier)


class KNeighborsRegressor(_IndexedNeighbors, neighbors.KNeighborsRegressor):
    __doc__ = f"""Regression by the mean of the k nearest neighbours, weighted or not.
{_common(neighbors.KNeighborsRegressor)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import KNeighborsRegressor
    >>> KNeighborsRegressor(n_neighbors=2).fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]).predict([[1.5]])
    array([0.5])
    """

    _parameter_constraints = _constraints(neighbors.KNeighborsRegressor)


class RadiusNeighborsRegressor(_IndexedNeighbors, neighbors.RadiusNeighborsRegressor):
    __doc__ = f"""Regression by the mean of all neighbours within a radius, weighted or not.
{_common(neighbors.RadiusNeighborsRegressor)}
    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import RadiusNeighborsRegressor
    >>> RadiusNeighborsRegressor(radius=1.0).fit(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]).predict([[1.5]])
    array([0.5])
    """

    _parameter_constraints = _constraints(neighbors.RadiusNeighborsRegressor)
