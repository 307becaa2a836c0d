"""Clusters of points as arrays of pyopencl, and the block-sparse ranges made of them.

Points and weights stay on the device. Labels, and the intervals made of them, are numbers that the host reads: it sorts
and counts. `grid_cluster` copies the points, too, and warns of it.

>>> import clreduce, numpy as np, pyopencl as cl, pyopencl.array, warnings
>>> from clreduce.cl import Genred
>>> from clreduce.cl.cluster import cluster_ranges, from_matrix, grid_cluster, sort_clusters
>>> context = cl.Context([clreduce.current_device().cl_device])
>>> x = cl.array.to_device(cl.CommandQueue(context), np.array([[0.2], [1.5], [0.4], [1.1], [7.0]]))
>>> with warnings.catch_warnings():
...     warnings.simplefilter("ignore")
...     labels = grid_cluster(x, 1.0)
>>> x, labels = sort_clusters(x, labels)
>>> labels.get().tolist()
[0, 0, 1, 1, 2]
>>> blocks = cluster_ranges(labels)
>>> near = np.eye(3, dtype=bool)
>>> count = Genred("1 + 0 * x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)
>>> count(x, x, ranges=from_matrix(blocks, blocks, near)).get().ravel().tolist()
[2.0, 2.0, 2.0, 2.0, 1.0]
"""

from clreduce.adapters.cl import CL_ARRAYS as _CL_ARRAYS
from clreduce.cluster.on_device import DeviceClustering as _DeviceClustering

_clustering = _DeviceClustering(_CL_ARRAYS)
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
