"""Clusters of points as arrays of JAX, and the block-sparse ranges made of them, outside of ``jit``.

>>> import jax.numpy as jnp
>>> from clreduce.jax import Genred
>>> from clreduce.jax.cluster import cluster_ranges, from_matrix, grid_cluster, sort_clusters
>>> x = jnp.array([[0.2], [1.5], [0.4], [1.1], [7.0]])
>>> labels = grid_cluster(x, 1.0)
>>> x, labels = sort_clusters(x, labels)
>>> labels.tolist()
[0, 0, 1, 1, 2]
>>> blocks = cluster_ranges(labels)
>>> near = jnp.eye(3, dtype=bool)
>>> count = Genred("1 + 0 * x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)
>>> count(x, x, ranges=from_matrix(blocks, blocks, near)).ravel().tolist()
[2.0, 2.0, 2.0, 2.0, 1.0]
"""

import jax as _jax

from clreduce.adapters.jax import JAX as _JAX
from clreduce.cluster.clustering import Clustering as _Clustering

_clustering: _Clustering[_jax.Array] = _Clustering(_JAX)
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
