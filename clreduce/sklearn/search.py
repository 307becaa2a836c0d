"""The search for neighbours, with the methods that scikit-learn asks of a tree: `query` and `query_radius`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from clreduce.distance.cdist import Metric
from clreduce.distance.formulas import Parameters
from clreduce.distance.metrics import Distance, distance
from clreduce.numpy import Vi, Vj
from clreduce.sklearn.projection import Projection, worthwhile
from clreduce.typing import Array

_SQUARED = ("euclidean", "l2", "sqeuclidean")
"""Metrics for which squared Euclidean distances are enough."""


@dataclass(frozen=True, eq=False)
class SearchIndex:
    """Points among which neighbours are found; pickled as they are. Of equal distances the lowest index comes first."""

    points: Array
    """(N, D)"""
    metric: Metric
    """As `metrics.distance` takes it."""
    parameters: Parameters
    """The parameters of the metric."""
    all_pairs: bool = False
    """Whether all pairs are visited in any case; else bounds, or `Projection`, may exclude most of them."""

    if TYPE_CHECKING:

        @overload
        def query(self, X: Array, k: int = 1, return_distance: Literal[True] = ...) -> tuple[Array, Array]: ...
        @overload
        def query(self, X: Array, k: int, return_distance: Literal[False]) -> Array: ...
        @overload
        def query(self, X: Array, k: int = 1, return_distance: bool = ...) -> Array | tuple[Array, Array]: ...

    def query(self, X: Array, k: int = 1, return_distance: bool = True) -> Array | tuple[Array, Array]:
        """The distances to the k nearest points of each row of X, ascending, and their indices: each (M, k).

        Without ``return_distance``, the indices alone.
        """
        k = int(k)  # searches over parameters have integers of NumPy
        if not self.all_pairs and self.metric in _SQUARED and worthwhile(self.points, len(X), k):
            distances, indices = self._projected(X, k)
            return (distances, indices) if return_distance else indices
        distances_of = self.distances(X)
        # One kernel serves with and without distances.
        terms, indices = distances_of.term.Kmin_argKmin(
            _length(k, len(self.points)), axis=1, prune=False if self.all_pairs else "auto"
        )
        indices = np.ascontiguousarray(indices[:, :k])
        return (distances_of.of_term(terms[:, :k]), indices) if return_distance else indices

    def _projected(self, X: Array, k: int) -> tuple[Array, Array]:
        """`query` by a search in few dimensions, and among all points where that does not suffice."""
        dtype = self._dtype(X)
        X = _as(X, dtype)
        squares, indices, settled = self._projection(dtype).nearest(X, k)
        left = np.flatnonzero(~settled)
        if len(left):
            terms = self.distances(X[left]).term.Kmin_argKmin(_length(k, len(self.points)), axis=1)
            squares[left], indices[left] = (each[:, :k] for each in terms)
        return (squares if self.metric == "sqeuclidean" else np.sqrt(squares)).astype(dtype), indices

    def query_radius(
        self, X: Array, r: float, return_distance: bool = False, count_only: bool = False, sort_results: bool = False
    ) -> Array | tuple[Array, Array]:
        """The indices of all points at distance r or less of each row of X, and their distances; ascending.

        They are arrays of M arrays. Without ``return_distance``, the indices alone; with ``count_only``, how many there
        are. Rows are sorted either way.
        """
        distances_of = self.distances(X)
        within = distances_of.to_term(r)
        if count_only:
            counts: Array = (distances_of.term <= within).count(axis=1, keepdims=False)
            return counts
        near = distances_of.term.radius(within)
        indices = _rows(near.indices, near.offsets)
        return (indices, _rows(distances_of.of_term(near.values), near.offsets)) if return_distance else indices

    def distances(self, X: Array) -> Distance:
        """The distances of all rows of X to all points."""
        dtype = self._dtype(X)
        return distance(self.metric, Vi(_as(X, dtype)), Vj(_as(self.points, dtype)), self.parameters)

    def _dtype(self, X: Array) -> type[np.floating[Any]]:
        """In which distances are computed: float32 if all points have it."""
        return np.float32 if X.dtype == self.points.dtype == np.float32 else np.float64

    def _projection(self, dtype: DTypeLike) -> Projection:
        """The points in few dimensions, made when it is first needed."""
        made = self.__dict__.get("_made")
        if made is None or made.points.dtype != dtype:
            made = self.__dict__["_made"] = Projection(_as(self.points, dtype))
        return made

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_made"}


def _length(k: int, points: int) -> int:
    """The number of terms that a kernel keeps for k: 2^n or 3 * 2^n, so that a search over k compiles few kernels.

    It is at most the number of points.
    """
    power = 1 << (k - 1).bit_length()
    length = power * 3 // 4 if power >= 4 and k <= power * 3 // 4 else power
    return min(length, max(k, points))


def _as(points: Array, dtype: DTypeLike) -> Array:
    return np.ascontiguousarray(points, dtype)


def _rows(values: Array, offsets: Array) -> Array:
    """The rows of a matrix in CSR form, as an array of arrays."""
    rows = np.empty(len(offsets) - 1, object)
    rows[:] = np.split(values, offsets[1:-1])
    return rows
