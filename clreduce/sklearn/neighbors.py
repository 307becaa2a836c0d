"""Nearest neighbours: scikit-learn's estimators with a search by kernels in place of its own.

All but the search is scikit-learn's: votes, weights, graphs, what X=None means, errors. It finds an `Index` where it
keeps a tree.
"""

from __future__ import annotations

from typing import Any

from scipy.sparse import issparse
from sklearn import neighbors

from clreduce.errors import DtypeError
from clreduce.sklearn.metrics import with_defaults
from clreduce.sklearn.search import Index


def _constraints(base: type[Any]) -> dict[str, Any]:
    """The parameters that scikit-learn checks; of the metric, `Index` knows what it may be."""
    return {**base._parameter_constraints, "metric": [str, callable]}


class _IndexedNeighbors:
    """What replaces the search of one of scikit-learn's estimators of neighbours."""

    metric: Any
    algorithm: str
    _fit_X: Any
    effective_metric_: Any
    effective_metric_params_: dict[str, Any]

    def _check_algorithm_metric(self) -> None:
        """Not theirs: formulas are metrics, too, and `_fit` checks them on the data."""

    def _fit(self, X: Any, y: Any = None) -> Any:
        precomputed = isinstance(self.metric, str) and self.metric == "precomputed"
        if issparse(X) and not precomputed:
            raise DtypeError(
                f"{type(self).__name__} takes dense data, not sparse; write X.toarray() if that fits into memory, "
                "or use the estimator of scikit-learn"
            )
        algorithm, self.algorithm = self.algorithm, "brute"  # so that it builds no tree
        try:
            super()._fit(X, y)  # type: ignore[misc]
        finally:
            self.algorithm = algorithm
        if not precomputed:
            parameters = with_defaults(self.effective_metric_, self.effective_metric_params_, self._fit_X)
            # An array of numbers in place of a kernel's: selections from a given matrix stay with scikit-learn.
            self._tree = Index(self._fit_X, self.effective_metric_, parameters, self.algorithm == "brute")
            self._fit_method = "ball_tree"
            self._tree.distances(self._fit_X[:1])
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = tags.input_tags.pairwise
        return tags


class NearestNeighbors(_IndexedNeighbors, neighbors.NearestNeighbors):
    _parameter_constraints = _constraints(neighbors.NearestNeighbors)


class KNeighborsTransformer(_IndexedNeighbors, neighbors.KNeighborsTransformer):
    _parameter_constraints = _constraints(neighbors.KNeighborsTransformer)


class RadiusNeighborsTransformer(_IndexedNeighbors, neighbors.RadiusNeighborsTransformer):
    _parameter_constraints = _constraints(neighbors.RadiusNeighborsTransformer)


class KNeighborsClassifier(_IndexedNeighbors, neighbors.KNeighborsClassifier):
    _parameter_constraints = _constraints(neighbors.KNeighborsClassifier)


class RadiusNeighborsClassifier(_IndexedNeighbors, neighbors.RadiusNeighborsClassifier):
    _parameter_constraints = _constraints(neighbors.RadiusNeighborsClassifier)


class KNeighborsRegressor(_IndexedNeighbors, neighbors.KNeighborsRegressor):
    _parameter_constraints = _constraints(neighbors.KNeighborsRegressor)


class RadiusNeighborsRegressor(_IndexedNeighbors, neighbors.RadiusNeighborsRegressor):
    _parameter_constraints = _constraints(neighbors.RadiusNeighborsRegressor)
