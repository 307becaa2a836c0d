"""scikit-learn's search for neighbours over all pairs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from suite.engines.base import Array, Call, Engine, Makers
from suite.problems import Assignment, Neighbours


def neighbours(problem: Neighbours, arrays: list[Array]) -> Call:
    def call() -> tuple[Array]:
        found = NearestNeighbors(n_neighbors=problem.count, algorithm="brute", n_jobs=-1).fit(arrays[1])
        return (found.kneighbors(arrays[0], return_distance=False),)

    return call


def assignment(problem: Assignment, arrays: list[Array]) -> Call:
    return lambda: (np.asarray(pairwise_distances_argmin(*arrays))[:, None],)


class ScikitLearn(Engine):
    """Its threads are set by the environment: those of its loops and those of its matrix products, listed apart."""

    name = "sklearn"
    package = "scikit-learn"
    makers: ClassVar[Makers] = {Neighbours: neighbours, Assignment: assignment}

    def threads(self) -> int:
        found: int = _openmp_effective_n_threads()
        return found
