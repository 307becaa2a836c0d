"""The search for neighbours, with the methods that scikit-learn asks of a tree: `query` and `query_radius`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clreduce.numpy import Vi, Vj
from clreduce.sklearn.metrics import Distance, distance
from clreduce.sklearn.validation import Array


@dataclass(frozen=True, eq=False)
class Index:
    """Points among which neighbours are found; pickled as they are. Of equal distances the lowest index comes first."""

    points: Array
    """(N, D)"""
    metric: str | Callable[..., Any]
    """As `metrics.distance` takes it."""
    parameters: Mapping[str, Any]
    """Those of the metric."""

    def query(self, X: Array, k: int = 1, return_distance: bool = True) -> Any:
        """The distances to the k nearest points of each row of X, ascending, and their indices: each (M, k).

        Without ``return_distance``, the indices alone.
        """
        found = self.distances(X)
        if not return_distance:
            return found.term.argKmin(k, axis=1)
        terms, indices = found.term.Kmin_argKmin(k, axis=1)
        return found.of_term(terms), indices

    def query_radius(
        self, X: Array, r: float, return_distance: bool = False, count_only: bool = False, sort_results: bool = False
    ) -> Any:
        """The indices of all points at distance r or less of each row of X, and their distances; ascending.

        They are arrays of M arrays. Without ``return_distance``, the indices alone; with ``count_only``, how many there
        are. Rows are sorted either way.
        """
        found = self.distances(X)
        within = found.to_term(r)
        if count_only:
            return (found.term <= within).count(axis=1, keepdims=False)
        near = found.term.radius(within)
        indices = _rows(near.indices, near.offsets)
        return (indices, _rows(found.of_term(near.values), near.offsets)) if return_distance else indices

    def distances(self, X: Array) -> Distance:
        """Those of all rows of X to all points."""
        points = self.points
        dtype = np.float32 if X.dtype == points.dtype == np.float32 else np.float64
        return distance(self.metric, Vi(_as(X, dtype)), Vj(_as(points, dtype)), self.parameters)


def _as(points: Array, dtype: Any) -> Array:
    return np.ascontiguousarray(points, dtype)


def _rows(values: Array, offsets: Array) -> Array:
    """The rows of a matrix in CSR form, as an array of arrays."""
    rows = np.empty(len(offsets) - 1, object)
    rows[:] = np.split(values, offsets[1:-1])
    return rows
