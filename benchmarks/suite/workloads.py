"""The named workloads: problems with sizes, in the order of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from seed_examples import CASES, DTYPES

from suite.problems import (
    Assignment,
    Example,
    Gaussian,
    GaussianBatches,
    GaussianGradient,
    LogSumExp,
    Neighbours,
    Problem,
)


@dataclass(frozen=True)
class Workload:
    """A problem under a name. Those of one series have the same name and grow from one to the next."""

    name: str
    family: str
    problem: Problem
    series: bool = False
    quick: bool = False
    """Whether the trial that everything runs has it: one of each kind is enough."""
    dtypes: tuple[str, ...] = DTYPES

    @property
    def title(self) -> str:
        """Name and size."""
        return f"{self.name} {self.problem.size}"


def gaussians() -> Iterator[Workload]:
    """Ten thousand points on each side, fewer where the slowest peer would take more than some ten seconds."""
    for dim in (1, 3, 10, 100, 784):
        for width in (1, 100):
            size = 3000 if dim == 784 else 5000 if dim * width == 10_000 else 10_000
            name = f"gaussian-d{dim}" + (f"-b{width}" if width > 1 else "")
            yield Workload(name, "gaussian", Gaussian(size, size, dim, width), quick=(dim, width) in ((3, 1), (100, 1)))
    yield Workload("gaussian-d3-b1000", "gaussian", Gaussian(3000, 3000, 3, 1000))


def neighbours() -> Iterator[Workload]:
    for dim in (3, 10, 100, 784):
        for count in (1, 10, 50):
            size = 3000 if dim == 784 else 10_000
            quick = (dim, count) == (3, 10)
            yield Workload(f"knn-d{dim}-k{count}", "knn", Neighbours(size, size, dim, count), quick=quick)
    yield Workload("knn-d3-k10-in-order", "knn", Neighbours(10_000, 10_000, 3, 10, in_order=True))


def scaling() -> Iterator[Workload]:
    """Both sides growing together, and the columns alone: up to 10^10 pairs."""
    for size in (1000, 3000, 10_000, 30_000, 100_000):
        yield Workload("scaling-square", "scaling", Gaussian(size, size, 3), series=True, quick=size <= 3000)
    for columns in (1000, 10_000, 100_000, 1_000_000):
        yield Workload("scaling-columns", "scaling", Gaussian(10_000, columns, 3), series=True, quick=columns <= 10_000)


WORKLOADS: tuple[Workload, ...] = (
    *gaussians(),
    Workload("gradient-x", "gradient", GaussianGradient(10_000, 10_000, 3), quick=True),
    Workload("gradient-x-y-b", "gradient", GaussianGradient(10_000, 10_000, 3, wrt=("x", "y", "b")), quick=True),
    *(
        Workload(f"example-{case.name.replace(' ', '-')}", "example", Example(3000, 5000, case.dim, case), quick=True)
        for case in CASES
    ),
    Workload("logsumexp-d3", "logsumexp", LogSumExp(10_000, 10_000, 3), quick=True),
    Workload("logsumexp-d10", "logsumexp", LogSumExp(10_000, 10_000, 10)),
    *neighbours(),
    Workload("k-means", "k-means", Assignment(100_000, 100, 10), quick=True),
    Workload("few-rows", "shapes", Gaussian(16, 1_000_000, 3), quick=True),
    Workload("many-rows", "shapes", Gaussian(1_000_000, 16, 3)),
    Workload("batches", "shapes", GaussianBatches(500, 500, 3, batches=64), quick=True),
    Workload("tiny", "shapes", Gaussian(100, 100, 3), quick=True),
    *scaling(),
)


def chosen(patterns: Sequence[str], dtypes: Sequence[str], factor: float, quick: bool) -> list[Workload]:
    """The workloads whose name or family fits one of the patterns (all, if there are none), with scaled sizes.

    ``quick``: one of each kind, in one dtype.
    """
    found = []
    for workload in WORKLOADS:
        wanted = not patterns or any(fnmatch(n, p) for n in (workload.name, workload.family) for p in patterns)
        if wanted and (workload.quick or not quick):
            problem = workload.problem if factor == 1 else workload.problem.scaled(factor)
            found.append(replace(workload, problem=problem, dtypes=tuple(dtypes)[: 1 if quick else None]))
    return found
