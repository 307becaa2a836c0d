"""Faiss's flat index, which looks at all pairs."""

from __future__ import annotations

from typing import ClassVar

import faiss

from suite.engines.base import Array, Call, Engine, Makers
from suite.problems import Assignment, Neighbours


def neighbours(problem: Neighbours, arrays: list[Array]) -> Call:
    """With a new index in each call: only then do all engines start from the same arrays."""

    def call() -> tuple[Array]:
        index = faiss.IndexFlatL2(problem.dim)
        index.add(arrays[1])
        return (index.search(arrays[0], problem.count)[1],)

    return call


class Faiss(Engine):
    name = "faiss"
    package = "faiss-cpu"
    dtypes = ("float32",)
    makers: ClassVar[Makers] = {Neighbours: neighbours, Assignment: neighbours}

    def __init__(self, threads: int) -> None:
        faiss.omp_set_num_threads(threads)

    def threads(self) -> int:
        found: int = faiss.omp_get_max_threads()
        return found
