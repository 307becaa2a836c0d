"""Clusters of points as NumPy arrays, and the block-sparse ranges made of them.

>>> import numpy as np
>>> from clreduce.numpy import Genred
>>> from clreduce.numpy.cluster import cluster_ranges, from_matrix, grid_cluster, sort_clusters
>>> x = np.array([[0.2], [1.5], [0.4], [1.1], [7.0]])
>>> labels = grid_cluster(x, 1.0)
>>> x, labels = sort_clusters(x, labels)
>>> x.ravel(), labels
(array([0.2, 0.4, 1.5, 1.1, 7. ]), array([0, 0, 1, 1, 2]))
>>> blocks = cluster_ranges(labels)
>>> near = np.eye(3, dtype=bool)
>>> count = Genred("1 + 0 * x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)
>>> count(x, x, ranges=from_matrix(blocks, blocks, near)).ravel()
array([2., 2., 2., 2., 1.])
"""

from typing import Any as _Any

import numpy as _np

from clreduce.adapters.numpy import NUMPY as _NUMPY
from clreduce.cluster.clustering import Clustering as _Clustering

_Array = _np.ndarray[tuple[int, ...], _np.dtype[_Any]]
_clustering: _Clustering[_Array] = _Clustering(_NUMPY)
grid_cluster = _clustering.grid_cluster
sort_clusters = _clustering.sort_clusters
cluster_ranges = _clustering.cluster_ranges
cluster_centroids = _clustering.cluster_centroids
cluster_ranges_centroids = _clustering.cluster_ranges_centroids
from_matrix = _clustering.from_matrix
swap_axes = _clustering.swap_axes

__all__ = [
    "cluster_centroids",
    "cluster_ranges",
    "cluster_ranges_centroids",
    "from_matrix",
    "grid_cluster",
    "sort_clusters",
    "swap_axes",
]
