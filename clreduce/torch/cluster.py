"""Clusters of points as PyTorch tensors, and the block-sparse ranges made of them.

>>> import torch
>>> from clreduce.torch import Genred
>>> from clreduce.torch.cluster import cluster_ranges, from_matrix, grid_cluster, sort_clusters
>>> x = torch.tensor([[0.2], [1.5], [0.4], [1.1], [7.0]])
>>> labels = grid_cluster(x, 1.0)
>>> x, labels = sort_clusters(x, labels)
>>> x.ravel(), labels
(tensor([0.2000, 0.4000, 1.5000, 1.1000, 7.0000]), tensor([0, 0, 1, 1, 2]))
>>> blocks = cluster_ranges(labels)
>>> near = torch.eye(3, dtype=torch.bool)
>>> count = Genred("1 + 0 * x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)
>>> count(x, x, ranges=from_matrix(blocks, blocks, near)).ravel()
tensor([2., 2., 2., 2., 1.])
"""

from clreduce.frontends.adapters.torch import TORCH
from clreduce.frontends.cluster import Clustering as _Clustering

_clustering = _Clustering(TORCH)
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
