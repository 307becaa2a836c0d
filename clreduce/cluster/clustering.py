"""Clusters of points, and the block-sparse ranges made of them. Written once; each array library binds `Clustering`.

Points are sorted by cluster, so that a cluster is an interval of rows; pairs of clusters that matter are kept::

    labels = grid_cluster(x, 0.1)
    ranges, centroids, _ = cluster_ranges_centroids(x, labels)
    x, labels = sort_clusters(x, labels)
    near = ((centroids[:, None] - centroids[None]) ** 2).sum(2) < 0.3**2
    routine(x, x, b, ranges=from_matrix(ranges, ranges, near))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np

from clreduce.adapters.adapter import AnyAdapter
from clreduce.errors import DtypeError, ShapeError
from clreduce.typing import Array, DType

Given = TypeVar("Given")
"""The arrays of a library: arguments and results of these functions."""
Rows = TypeVar("Rows")
"""An array, or a tuple or list of arrays."""
Each = TypeVar("Each")


class Clustering(Generic[Given]):
    """The functions below, for the arrays of one library: ``library`` is its adapter.

    All of them work on the host; results are of the library of their first argument, and beside it.
    """

    def __init__(self, library: AnyAdapter, grid_begins_at_points: bool = False) -> None:
        """With ``grid_begins_at_points``, `grid_cluster` counts cells from the least coordinates of the points."""
        self._library, self._grid_begins_at_points = library, grid_begins_at_points

    def grid_cluster(self, x: Given, size: float | Sequence[float] | Array | Given) -> Given:
        """Labels of the cells of a grid that points lie in.

        Parameters
        ----------
        x : array
            The points, of shape (M, D), of any D.
        size : float or array
            The width of a cell: a positive number, or D of them.

        Returns
        -------
        array
            Labels of shape (M,), int64. The cells that contain points are numbered from 0 in lexicographic order.

        Raises
        ------
        ShapeError
            ``size`` is not positive and finite, or points are nan, infinite or too far away for cells of this size.

        Notes
        -----
        A point is in cell floor(x / size), component by component. For PyTorch's tensors, as in pykeops, it is in cell
        floor((x - least) / size), with the least coordinates of all points.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy.cluster import grid_cluster
        >>> grid_cluster(np.array([[0.2], [1.5], [0.4], [7.0]]), 1.0)
        array([0, 1, 0, 2])
        """
        points = self._points(x)
        widths = np.asarray(self._library.to_host(size) if self._library.accepts(size) else size, float)
        if widths.ndim > 1 or widths.size not in (1, points.shape[1]):
            raise ShapeError(
                f"size must be one number, or one for each of the {points.shape[1]} columns of x; got an array "
                f"of shape {widths.shape}"
            )
        if not (np.isfinite(widths).all() and (widths > 0).all()):
            raise ShapeError(f"size must be positive and finite; got {size!r}")
        # Cells stay floating-point numbers: however many there are along an axis, none is mistaken for another.
        with np.errstate(all="ignore"):
            if self._grid_begins_at_points and len(points):
                points = points - points.min(axis=0)
            cells = np.floor(points / widths.astype(points.dtype))
        if not np.isfinite(cells).all():
            raise ShapeError(
                f"x must hold finite numbers, and none may be too large to be counted in cells of the size {size!r}. "
                "Check np.isfinite(x).all(), or raise size"
            )
        order = np.lexsort(cells.T[::-1]) if cells.size else np.arange(len(cells))
        ordered = cells[order]
        starts = np.zeros(len(cells), np.int64)
        starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        labels = np.empty(len(cells), np.int64)
        labels[order] = np.cumsum(starts)
        return self._like(labels, x)

    @overload
    def sort_clusters(self, x: tuple[Given, ...], lab: Given) -> tuple[tuple[Given, ...], Given]: ...
    @overload
    def sort_clusters(self, x: list[Given], lab: Given) -> tuple[list[Given], Given]: ...
    @overload
    def sort_clusters(self, x: Given, lab: Given) -> tuple[Given, Given]: ...
    def sort_clusters(self, x: Rows, lab: Given) -> tuple[Rows, Given]:
        """Arrays sorted by label, and the sorted labels. Points of one cluster keep their order.

        Parameters
        ----------
        x : array, tuple of arrays or list of arrays
            Arrays with a row per label.
        lab : array
            Labels of shape (M,), integers from 0.

        Returns
        -------
        tuple
            The sorted array, or a tuple or list of them as ``x`` is, and the sorted labels.

        Raises
        ------
        ShapeError
            An array has another number of rows.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy.cluster import sort_clusters
        >>> x, labels = sort_clusters(np.array([[0.2], [1.5], [0.4]]), np.array([0, 1, 0]))
        >>> x.ravel(), labels
        (array([0.2, 0.4, 1.5]), array([0, 0, 1]))
        """
        labels = self._labels(lab)
        order = np.argsort(labels, kind="stable")

        def taken(array: Any) -> Any:
            if not self._library.accepts(array):
                described = f"{type(array).__name__}{self._library.advice(array)}"
                raise DtypeError(f"x must be a {self._library.name} array; got {described}")
            shape = self._library.shape(array)
            if not shape or shape[0] != len(labels):
                raise ShapeError(f"x must have one row for each of the {len(labels)} labels; got shape {shape}")
            return self._library.rows(array, order)

        in_order = type(x)(taken(array) for array in x) if isinstance(x, (tuple, list)) else taken(x)
        return in_order, self._library.from_host(labels[order], lab)

    def cluster_ranges(self, lab: Given, Nlab: Given | None = None) -> Given:
        """The rows [start, end) of each cluster once the points are sorted.

        Parameters
        ----------
        lab : array
            Labels of shape (M,), integers from 0, in any order. A label that is missing gives an empty range.
        Nlab : array, optional
            The number of points of each cluster, of shape (C,), if it is known; clusters at the end may be empty.

        Returns
        -------
        array
            Intervals of shape (C, 2), int64.

        Raises
        ------
        ShapeError
            ``Nlab`` is not the number of points of each cluster.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy.cluster import cluster_ranges
        >>> cluster_ranges(np.array([0, 0, 1]))
        array([[0, 2],
               [2, 3]])
        """
        return self._like(_ranges(self._counts(self._labels(lab), Nlab)), lab)

    def cluster_centroids(
        self, x: Given, lab: Given, Nlab: Given | None = None, weights: Given | None = None,
        weights_c: Given | None = None,
    ) -> Given:  # fmt: skip
        """The weighted mean of the points of each cluster.

        Parameters
        ----------
        x : array
            The points, of shape (M, D), sorted or not.
        lab : array
            Labels of shape (M,), integers from 0.
        Nlab : array, optional
            The number of points of each cluster, of shape (C,), if it is known.
        weights : array, optional
            Of shape (M,) or (M, 1); 1 by default.
        weights_c : array, optional
            The sums of the weights of each cluster, of shape (C,), if they are known.

        Returns
        -------
        array
            Of shape (C, D), of the dtype of ``x``. A cluster whose weights add up to 0 has the plain mean of its
            points; a cluster without points has zeros.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy.cluster import cluster_centroids
        >>> cluster_centroids(np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1]))
        array([[0.5],
               [5. ]])
        """
        centroids: Given = self._summary(x, self._labels(lab), Nlab, weights, weights_c)[1]
        return centroids

    def cluster_ranges_centroids(
        self, x: Given, lab: Given, weights: Given | None = None, min_weight: float = 0.0
    ) -> tuple[Given, Given, Given]:
        """The ranges, centroids and total weights of all clusters.

        Parameters
        ----------
        x : array
            The points, of shape (M, D), sorted or not.
        lab : array
            Labels of shape (M,), integers from 0.
        weights : array, optional
            Of shape (M,) or (M, 1); 1 by default.
        min_weight : float, optional
            Smaller weights count as this one.

        Returns
        -------
        tuple of three arrays
            Ranges (C, 2) as of `cluster_ranges`, centroids (C, D) as of `cluster_centroids`, and total weights (C,);
            without ``weights`` these are the numbers of points, as float64.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy.cluster import cluster_ranges_centroids
        >>> ranges, centroids, totals = cluster_ranges_centroids(np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1]))
        >>> totals
        array([2., 1.])
        """
        counts, centroids, totals = self._summary(x, self._labels(lab), None, weights, None, min_weight)
        return self._library.from_host(_ranges(counts), x), centroids, totals

    def _summary(
        self, x: Any, labels: Array, Nlab: Any, weights: Any, weights_c: Any, least: float = 0.0
    ) -> tuple[Array, Any, Any]:
        """The number of points, the centroid and the total weight of each cluster, as arrays of the library."""
        cloud = self._cloud(self._points(x), labels, Nlab, weights, weights_c, least)
        return cloud.counts, *self._given_back(cloud, labels, x, weights, weights_c, least)

    def _given_back(
        self, cloud: Cloud, labels: Array, x: Any, weights: Any, weights_c: Any, least: float = 0.0
    ) -> tuple[Any, Any]:
        """Centroids and total weights as arrays of the library."""
        return self._library.from_host(cloud.centroids, x), self._library.from_host(cloud.totals, x)

    def from_matrix(self, ranges_i: Given, ranges_j: Given, keep: Given) -> tuple[Given, ...]:
        """The argument ``ranges`` of a call, from the pairs of clusters that are visited.

        Parameters
        ----------
        ranges_i : array
            Intervals [start, end) of rows, of shape (Mc, 2), as of `cluster_ranges`.
        ranges_j : array
            Intervals of columns, of shape (Nc, 2).
        keep : array
            Truth values of shape (Mc, Nc): whether block ``ranges_i[k]`` x ``ranges_j[l]`` is visited.

        Returns
        -------
        tuple of six arrays
            ``(ranges_i, slices_i, redranges_j, ranges_j, slices_j, redranges_i)``, all int64.

        Raises
        ------
        ShapeError
            ``keep`` or the intervals have another shape.
        DtypeError
            ``keep`` does not hold truth values, or the intervals are not integers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> from clreduce.numpy.cluster import from_matrix
        >>> blocks = np.array([[0, 2], [2, 3]])
        >>> ranges = from_matrix(blocks, blocks, np.eye(2, dtype=bool))
        >>> x = np.zeros((3, 1))
        >>> Genred("1 + 0 * x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)(x, x, ranges=ranges).ravel()
        array([2., 2., 1.])
        """
        return tuple(self._library.from_host(array, keep) for array in self._blocks(ranges_i, ranges_j, keep))

    def _blocks(self, ranges_i: Any, ranges_j: Any, keep: Any) -> list[Array]:
        """The six arrays of `from_matrix`, on the host."""
        rows, columns = (self._intervals(r, n) for r, n in ((ranges_i, "ranges_i"), (ranges_j, "ranges_j")))
        chosen = self._host(keep, "keep")
        if chosen.dtype != np.bool_:
            raise DtypeError(
                f"keep must hold truth values (bool); got {chosen.dtype.name}. Write keep.astype(bool), or a comparison"
            )
        if chosen.shape != (len(rows), len(columns)):
            raise ShapeError(
                f"keep must have a row for each of the {len(rows)} ranges_i and a column for each of the "
                f"{len(columns)} ranges_j; got shape {chosen.shape}"
            )
        halves = [
            (intervals, np.cumsum(table.sum(1)), others[np.nonzero(table)[1]])
            for intervals, others, table in ((rows, columns, chosen), (columns, rows, chosen.T))
        ]
        return [np.asarray(array, np.int64) for half in halves for array in half]

    def swap_axes(self, ranges: Sequence[Each] | None) -> tuple[Each, ...] | None:
        """The ranges of the transposed pairs, with i and j exchanged.

        Parameters
        ----------
        ranges : tuple of six arrays or None
            As of `from_matrix`.

        Returns
        -------
        tuple of six arrays or None
            The last three arrays, then the first three; None for None.

        Raises
        ------
        ShapeError
            ``ranges`` is not a tuple of six arrays.

        Examples
        --------
        >>> from clreduce.numpy.cluster import swap_axes
        >>> swap_axes((1, 2, 3, 4, 5, 6))
        (4, 5, 6, 1, 2, 3)
        """
        if ranges is None:
            return None
        if not isinstance(ranges, (tuple, list)) or len(ranges) != 6:
            got = f"{len(ranges)} arrays" if isinstance(ranges, (tuple, list)) else f"a {type(ranges).__name__}"
            raise ShapeError(
                f"ranges must be a tuple of six arrays, or None; got {got}. from_matrix makes such a tuple"
            )
        return (*ranges[3:], *ranges[:3])

    def _like(self, array: Array, given: Given) -> Given:
        """An array of the library, beside the one that was given."""
        made: Given = self._library.from_host(array, given)
        return made

    # ------------------------------------------------------------------------------------------------ checked inputs

    def _host(self, value: Any, what: str) -> Array:
        if not self._library.accepts(value):
            raise DtypeError(
                f"{what} must be a {self._library.name} array; got {type(value).__name__}{self._library.advice(value)}"
            )
        array: Array = self._library.to_host(value)
        return array

    def _points(self, x: Any) -> Array:
        points = self._host(x, "x")
        check_points(points.shape, points.dtype)
        return points if points.dtype.kind == "f" else points.astype(np.float64)

    def _labels(self, lab: Any) -> Array:
        labels = self._host(lab, "lab")
        if labels.dtype.kind not in "iu":
            raise DtypeError(f"lab must hold integers; got {labels.dtype.name}")
        if labels.ndim != 1:
            raise ShapeError(f"lab must have shape (M,), a label for each point; got {labels.shape}")
        if labels.size and labels.min() < 0:
            raise ShapeError(f"the labels lab must be 0 or more; the smallest one is {labels.min()}")
        return labels

    def _intervals(self, ranges: Any, what: str) -> Array:
        intervals = self._host(ranges, what)
        if intervals.dtype.kind not in "iu":
            raise DtypeError(f"{what} must hold integers; got {intervals.dtype.name}")
        if intervals.ndim != 2 or intervals.shape[1] != 2:
            raise ShapeError(
                f"{what} must have shape (C, 2), an interval [start, end) for each cluster; got {intervals.shape}"
            )
        return intervals

    def _counts(self, labels: Array, given: Any) -> Array:
        """The number of points of each cluster: the caller's, or counted."""
        counted = np.bincount(labels)
        if given is None:
            return counted
        counts = self._host(given, "Nlab")
        if counts.ndim != 1 or len(counts) < len(counted):
            raise ShapeError(
                f"Nlab must have a count for each of the {len(counted)} clusters; got shape {counts.shape}"
            )
        wrong = np.flatnonzero(counts != np.bincount(labels, minlength=len(counts)))
        if wrong.size:
            k = wrong[0]
            raise ShapeError(
                f"Nlab must be the numbers of points with each label: it has {counts[k]} for cluster {k}, and lab has "
                f"{np.sum(labels == k)}. Leave Nlab out, and they are counted"
            )
        return counts.astype(np.int64)

    def _cloud(
        self, points: Array, labels: Array, Nlab: Any, weights: Any, weights_c: Any, least: float = 0.0
    ) -> Cloud:
        """Counts, centroids and total weights of the clusters."""
        check_rows(len(points), labels)
        counts = self._counts(labels, Nlab)
        plain = _means(points, labels, None, counts.astype(float))
        if weights is None:
            return Cloud(counts, plain.astype(points.dtype), counts.astype(float))
        each = self._host(weights, "weights")
        check_weights(each.shape, len(points))
        each = np.maximum(each.reshape(-1), least) if least else each.reshape(-1)
        each = each if each.dtype.kind == "f" else each.astype(np.float64)
        totals = np.bincount(labels, weights=each, minlength=len(counts))
        if weights_c is not None:
            totals = self._host(weights_c, "weights_c").reshape(-1)
            check_totals(len(totals), len(counts))
        means = _means(points, labels, each, totals)
        centroids = np.where(totals[:, None] == 0, plain, means)
        return Cloud(counts, centroids.astype(points.dtype), totals.astype(each.dtype))


class Cloud(NamedTuple):
    """Clusters of points: their sizes, weighted means and total weights."""

    counts: Array
    centroids: Array
    totals: Array


def check_points(shape: tuple[int, ...], dtype: DType) -> None:
    """Raise an error unless points have this shape and dtype."""
    if len(shape) != 2:
        raise ShapeError(f"x must have shape (M, D), a row for each point; got {shape}")
    if dtype.kind not in "fiu":
        raise DtypeError(f"x must hold real numbers; got {dtype.name}")


def check_rows(count: int, labels: Array) -> None:
    """Raise an error unless there is a label for each point."""
    if count != len(labels):
        raise ShapeError(f"x and lab must have an entry for each point; got {count} rows of x and {len(labels)} labels")


def check_weights(shape: tuple[int, ...], count: int) -> None:
    """Raise an error unless weights of ``count`` points have this shape."""
    if shape not in ((count,), (count, 1)):
        raise ShapeError(f"weights must have shape ({count},) or ({count}, 1), for the rows of x; got {shape}")


def check_totals(number: int, clusters: int) -> None:
    """Raise an error unless there is a total weight for each cluster."""
    if number != clusters:
        raise ShapeError(f"weights_c must have a number for each of the {clusters} clusters; got {number}")


def _ranges(counts: Array) -> Array:
    ends = np.cumsum(counts, dtype=np.int64)
    return np.stack((ends - counts, ends), axis=1)


def _means(points: Array, labels: Array, weights: Array | None, totals: Array) -> Array:
    """Weighted sums by label, divided by the totals, in float64; plain sums where a total is 0."""
    safe = np.where(totals == 0, 1.0, totals)
    columns = [
        np.bincount(labels, weights=column if weights is None else column * weights, minlength=len(totals)) / safe
        for column in points.T.astype(np.float64)
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((len(totals), 0))
