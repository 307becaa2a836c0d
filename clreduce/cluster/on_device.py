"""Clusters of points that stay on a device: labels and ranges go to the host, points and weights do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.cluster.clustering import Clustering, check_points, check_rows, check_totals, check_weights
from clreduce.errors import DtypeError
from clreduce.runtime.resident import copied, is_contiguous
from clreduce.runtime.resident_groups import group_means
from clreduce.typing import Array
from clreduce.warning import warn

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray

_TABLES = ("ranges_i", "ranges_j", "keep")
"""The names of the arguments that may be arrays of the host."""


class DeviceClustering(Clustering[Any]):
    """Clusters of pyopencl's arrays.

    The host reads labels, which it sorts and counts. Points and weights stay on the device, but for `grid_cluster`,
    which sorts the cells of the points on the host and says so.
    """

    def grid_cluster(self, x: DeviceArray, size: float | Sequence[float] | Array | DeviceArray) -> DeviceArray:
        """Labels (M,), int64, of the cells of a grid that the points ``x`` (M, D) lie in.

        A point is in cell floor(x / size), component by component; ``size`` is one positive number or D of them. The
        cells that hold points are numbered from 0 in lexicographic order. They are sorted on the host: the points are
        copied there, with a warning, and the labels back.
        """
        if self._library.accepts(x):
            warn(
                "grid_cluster sorts cells on the host: the points are copied there, and their labels back", UserWarning
            )
        labels: DeviceArray = super().grid_cluster(x, size)
        return labels

    def from_matrix(
        self, ranges_i: DeviceArray | Array, ranges_j: DeviceArray | Array, keep: DeviceArray | Array
    ) -> tuple[Array, ...]:
        """The argument ``ranges`` of a call, six arrays of NumPy: calls read them on the host.

        ``ranges_i`` (Mc, 2), ``ranges_j`` (Nc, 2) and ``keep`` (Mc, Nc) are on the device or on the host. ``keep``
        holds truth values, which are int8 where pyopencl has compared arrays.
        """
        ranges: list[Array] = self._blocks(ranges_i, ranges_j, keep)
        return tuple(ranges)

    def _host(self, value: Any, what: str) -> Array:
        if what in _TABLES and isinstance(value, np.ndarray):
            return value
        array = super()._host(value, what)
        return array.astype(bool) if what == "keep" and array.dtype == np.int8 else array

    def _summary(
        self, x: Any, labels: Array, Nlab: Any, weights: Any, weights_c: Any, least: float = 0.0
    ) -> tuple[Array, Any, Any]:
        points = self._accepted(x, "x")
        check_points(points.shape, points.dtype)
        check_rows(len(points), labels)
        if points.shape[1] == 0:  # nothing to compute
            return super()._summary(x, labels, Nlab, weights, weights_c, least)
        counts = self._counts(labels, Nlab)
        each = totals = None
        if weights is not None:
            each = self._accepted(weights, "weights")
            check_weights(each.shape, len(points))
            each = each.reshape(-1) if is_contiguous(each) else copied(each, each.dtype, (len(points),))
            if weights_c is not None:
                totals = self._accepted(weights_c, "weights_c").reshape(-1)
                check_totals(len(totals), len(counts))
        order = np.argsort(labels, kind="stable")
        limit = least if least else -np.inf
        means, sums = group_means(points, order, np.cumsum(counts), each, totals, limit)
        kinds = [
            np.dtype(float) if array is None or array.dtype.kind != "f" else array.dtype for array in (points, each)
        ]
        centroids, weight = (
            array if array.dtype == dtype else copied(array, dtype)
            for array, dtype in zip((means, sums), kinds, strict=True)
        )
        return counts, centroids, weight

    def _accepted(self, value: Any, what: str) -> Any:
        """The array itself, if it is one of the library; else one error."""
        if not self._library.accepts(value):
            described = f"{type(value).__name__}{self._library.advice(value)}"
            raise DtypeError(f"{what} must be a {self._library.name} array; got {described}")
        return value
