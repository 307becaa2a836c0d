"""Euclidean neighbours of long vectors: a search in few dimensions, and distances of what it cannot exclude.

Points are written in coordinates along orthonormal axes, those of their largest variance, and one more: the length of
what the axes leave. Distances of such short vectors are at most those of the points. So if the C nearest in few
dimensions are known, and the last of them is farther than the K-th of their true distances, no other point is nearer.
Rows for which that does not hold are searched among all points. How many these are depends on the data: few, where some
dozens of axes hold most of the variance, as of images; all, for noise. The results are the same either way.
"""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import randomized_svd

from clreduce.numpy import Vi, Vj
from clreduce.runtime.devices import current_device
from clreduce.typing import Array

SHORTEST = 128
"""The fewest components of vectors for which projections save time."""
_AXES = 63
_SAMPLE = 1024
"""Points from which the axes are computed."""
_FIRST_ROWS, _ROWS = 256, 4096
"""Rows that are searched at a time; the first ones show whether it pays."""
_PAIRS = 1024
"""Pairs whose distances are computed at a time."""
_LEAST_WORK = 2.0**32
"""Rows, points and components, multiplied, of the smallest search for which it is worth it."""
_EPS = float(np.finfo(np.float64).eps)


class Projection:
    """Points of float32 or float64, with their short forms."""

    def __init__(self, points: Array) -> None:
        self.points = points
        self.pays = True
        """Whether most rows so far were settled in few dimensions."""
        sample = points[:: -(-len(points) // _SAMPLE)].astype(np.float64)
        self._middle = sample.mean(axis=0)
        count = min(_AXES, points.shape[1] // 4)
        self._axes = np.ascontiguousarray(randomized_svd(sample - self._middle, count, random_state=0)[2].T)
        self._short, self._reach = self._shortened(points)

    def nearest(self, X: Array, k: int) -> tuple[Array, Array, Array]:
        """The squared distances, float64, and indices of the k nearest points of each row, and which rows are settled.

        X has the dtype of the points. Of equal distances the lowest index comes first. Rows that are not settled are
        left as they happen to be.
        """
        distances, indices = np.empty((len(X), k)), np.empty((len(X), k), np.int64)
        settled = np.zeros(len(X), bool)
        begin, end = 0, min(_FIRST_ROWS, len(X))
        while begin < end and self.pays:
            rows = slice(begin, end)
            distances[rows], indices[rows], settled[rows] = self._block(X[rows], k)
            self.pays = bool(settled[rows].mean() > 0.5)
            begin, end = end, min(end + _ROWS, len(X))
        return distances, indices, settled

    def _shortened(self, X: Array) -> tuple[Array, float]:
        """The short forms of points, and the largest distance of one from the middle."""
        short = np.empty((len(X), self._axes.shape[1] + 1), X.dtype)
        reach = 0.0
        for begin in range(0, len(X), _ROWS):
            centred = X[begin : begin + _ROWS] - self._middle
            along = centred @ self._axes
            rest = centred - along @ self._axes.T  # not from lengths, whose difference would have few digits
            short[begin : begin + _ROWS, :-1] = along
            short[begin : begin + _ROWS, -1] = np.sqrt(np.einsum("ij,ij->i", rest, rest))
            reach = max(reach, float(np.sqrt(np.einsum("ij,ij->i", centred, centred).max())))
        return short, reach

    def _block(self, X: Array, k: int) -> tuple[Array, Array, Array]:
        """`nearest` for some rows."""
        short, reach = self._shortened(X)
        count = min(max(64, 4 * k), len(self.points))
        bounds, candidates = Vi(short).sqdist(Vj(self._short)).Kmin_argKmin(count, axis=1)
        least = self._least_distances(bounds, reach)
        distances = np.full(bounds.shape, np.inf)
        sure = np.zeros(bounds.shape, bool)
        sure[:, :k] = True
        self._compute(distances, sure, X, candidates)
        last = np.sqrt(distances[:, :k].max(axis=1)) * (1 + X.shape[1] * _EPS)
        self._compute(distances, (least <= last[:, None]) & ~sure, X, candidates)
        order = np.lexsort((candidates, distances), axis=1)[:, :k]
        settled = (least[:, -1] > last) | (count == len(self.points))
        return np.take_along_axis(distances, order, 1), np.take_along_axis(candidates, order, 1), settled

    def _least_distances(self, bounds: Array, reach: float) -> Array:
        """Lower bounds of distances, from squared distances of short forms and the errors of their rounding."""
        dim, eps = self._short.shape[1], float(np.finfo(bounds.dtype).eps)
        moved = (eps + 4 * self.points.shape[1] * _EPS) * (reach + self._reach)
        least: Array = np.sqrt(bounds.astype(np.float64)) * (1 - (dim + 4) * eps) - moved
        return least

    def _compute(self, distances: Array, which: Array, X: Array, candidates: Array) -> None:
        """Write the squared distances of those pairs of a row and a candidate that ``which`` names."""
        rows, places = np.nonzero(which)
        columns = candidates[rows, places]
        for begin in range(0, len(rows), _PAIRS):
            pairs = slice(begin, begin + _PAIRS)
            difference = np.subtract(X[rows[pairs]], self.points[columns[pairs]], dtype=np.float64)
            distances[rows[pairs], places[pairs]] = np.einsum("ij,ij->i", difference, difference)


def worthwhile(points: Array, rows: int, k: int) -> bool:
    """Whether a search by `Projection` may pay: many long vectors, on a CPU, and no squares that overflow."""
    count, dim = points.shape
    enough = dim >= SHORTEST and count >= 4096 and k <= 256 and float(rows) * count * dim >= _LEAST_WORK
    if not enough or current_device().facts.kind != "cpu":
        return False
    limit = float(np.finfo(points.dtype).max) ** 0.5 / (4 * dim)
    return bool(np.abs(points).max() < limit)
