"""Clusters of points as PyTorch tensors, and the block-sparse ranges made of them.

>>> import torch
>>> from clreduce.torch import Genred
>>> from clreduce.torch.cluster import cluster_ranges, from_matrix, grid_cluster, sort_clusters
>>> x = torch.tensor([[0.0], [1.5], [0.4], [1.1], [7.0]])
>>> labels = grid_cluster(x, 1.0)
>>> x, labels = sort_clusters(x, labels)
>>> x.ravel(), labels
(tensor([0.0000, 0.4000, 1.5000, 1.1000, 7.0000]), tensor([0, 0, 1, 1, 2]))
>>> blocks = cluster_ranges(labels)
>>> near = torch.eye(3, dtype=torch.bool)
>>> count = Genred("1 + 0 * x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)
>>> count(x, x, ranges=from_matrix(blocks, blocks, near)).ravel()
tensor([2., 2., 2., 2., 1.])
"""

from typing import Any as _Any

import numpy as _np
import torch as _torch

from clreduce.adapters.torch import TORCH as _TORCH
from clreduce.cluster.clustering import Cloud as _Cloud
from clreduce.cluster.clustering import Clustering as _Clustering
from clreduce.torch.autograd import AUTOGRAD as _AUTOGRAD


class _Followed(_Clustering[_torch.Tensor]):
    """Clusters whose centroids and weights autograd follows; labels and ranges have no derivative."""

    def _given_back(
        self,
        cloud: _Cloud,
        labels: _np.ndarray[_Any, _Any],
        x: _Any,
        weights: _Any,
        weights_c: _Any,
        least: float = 0.0,
    ) -> tuple[_Any, _Any]:
        known = [tensor for tensor in (weights, weights_c) if tensor is not None]
        if not _AUTOGRAD.tracks([x, *known]):
            return super()._given_back(cloud, labels, x, weights, weights_c, least)
        groups, count = _TORCH.from_host(labels, x), len(cloud.counts)

        def sums(each: _torch.Tensor) -> _torch.Tensor:
            return each.new_zeros((count, *each.shape[1:])).index_add(0, groups, each)

        points = x.double()
        plain = sums(points) / _TORCH.from_host(cloud.counts, x).clamp(min=1)[:, None]
        if weights is None:
            return plain.to(x.dtype), _TORCH.from_host(cloud.totals, x)
        each = weights.reshape(-1).double()
        each = each.clamp(min=least) if least else each
        totals = sums(each) if weights_c is None else weights_c.reshape(-1).double()
        means = sums(points * each[:, None]) / _torch.where(totals == 0, 1.0, totals)[:, None]
        centroids = _torch.where(totals[:, None] == 0, plain, means)
        return centroids.to(x.dtype), totals.to(weights.dtype if weights.is_floating_point() else _torch.float64)


_clustering = _Followed(_TORCH, grid_begins_at_points=True)
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
