"""Distances between all pairs of points, reduced without a matrix of them: `cdist_reduce`.

>>> import numpy as np
>>> from clreduce.distance import cdist_reduce
>>> x, y = np.array([[0.0, 0.0], [5.0, 0.0]]), np.array([[3.0, 4.0], [4.0, 0.0]])
>>> cdist_reduce(x, y, "euclidean", "min")
array([4., 1.])
"""

from clreduce.distance.cdist import cdist_reduce
from clreduce.distance.metrics import METRICS

__all__ = ["METRICS", "cdist_reduce"]


def __dir__() -> list[str]:
    return sorted(__all__)
