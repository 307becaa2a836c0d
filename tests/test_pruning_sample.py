"""The sample that decides whether points are sorted: how much of a call it expects to be visited. No kernel runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import Array

from clreduce.adapters.numpy import NUMPY
from clreduce.call.options import Options
from clreduce.call.pruning import running, sample
from clreduce.call.pruning.request import Pruning
from clreduce.call.pruning.sample import Estimate, estimated
from clreduce.call.ranges import check_ranges
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.ir.op import position, variable
from clreduce.numpy import Genred
from clreduce.ops.arithmetic import square
from clreduce.ops.derived import squared_distance
from clreduce.ops.indices import as_real
from clreduce.program import map_reduce
from clreduce.runtime.region import Region

Cloud = Callable[[np.random.Generator, int], Array]
EXACT, NEARLY_ALL = Pruning(True), running._HOPELESS
NO_EXECUTOR: Any = None
"""A sample runs nothing, so that it needs no executor."""


def uniform(dim: int) -> Cloud:
    return lambda rng, count: rng.random((count, dim))


def clusters(dim: int, width: float = 1.0) -> Cloud:
    """30 clusters in a cube whose sides are 20."""
    return lambda rng, count: (
        np.random.default_rng(7).uniform(-10, 10, (30, dim))[rng.integers(0, 30, count)]
        + width * rng.normal(size=(count, dim))
    )


def surface(rng: np.random.Generator, count: int) -> Array:
    """A surface of 2 dimensions in 100."""
    return np.sin(3 * rng.random((count, 2)) @ np.random.default_rng(5).normal(size=(2, 100)))


def dense_beside_sparse(rng: np.random.Generator, count: int) -> Array:
    """Half of the points in a small ball, the others spread evenly."""
    evenly = rng.random((count, 6))
    return np.where(rng.random((count, 1)) < 0.5, 0.5 + 0.01 * (evenly - 0.5), evenly)


def duplicates(rng: np.random.Generator, count: int) -> Array:
    return np.random.default_rng(7).random((300, 20))[rng.integers(0, 300, count)]


def nearest(dim: int, count: int = 10) -> Genred[Array]:
    return Genred("SqDist(x, y)", [f"x = Vi({dim})", f"y = Vj({dim})"], "ArgKMin", axis=1, opt_arg=count)


def reduction(name: str, text: str, dim: int, **options: Any) -> Genred[Array]:
    aliases = [f"x = Vi({dim})", f"y = Vj({dim})", *(["b = Vj(1)"] if options or "b" in text else [])]
    return Genred(text, aliases, name, axis=1, **options)


def estimate(
    routine: Genred[Any], arrays: list[Array], pruning: Pruning = EXACT, block: tuple[int, int] = (64, 64), **place: Any
) -> Estimate:
    """What a sample says of a call with rows of the first and columns of the second array."""
    region = Region(len(arrays[0]), len(arrays[1]), **place)
    work = Work(routine.program, Options(), region, str(arrays[0].dtype), pruning)
    return estimated(work, arrays, NO_EXECUTOR, block)


def points(cloud: Cloud, count: int = 20_000, seed: int = 0) -> Array:
    return cloud(np.random.default_rng(seed), count).astype(np.float32)


@pytest.mark.parametrize("dim", [10, 20, 100])
@pytest.mark.parametrize("count", [17_000, 60_000])
def test_nearly_all_pairs_of_uniform_points_in_many_dimensions_are_visited(dim: int, count: int) -> None:
    """So that nothing is sorted, for neighbours and for wide Gaussians."""
    x = points(uniform(dim), count)
    gaussian = reduction("Sum", f"Exp(-SqDist(x, y) * {6 / dim})", dim)
    for told in (
        estimate(nearest(dim), [x, x], block=(16, 64)),
        estimate(gaussian, [x, x], Pruning(True, rtol=1e-6), (64, 16)),
    ):
        assert NEARLY_ALL < told.part <= 1
        assert told.rows <= 128
        assert told.columns <= 2048


@pytest.mark.parametrize(
    ("cloud", "dim", "most"),
    [
        (uniform(2), 2, 0.15), (uniform(3), 3, 0.25), (uniform(6), 6, 0.9), (clusters(10), 10, 0.25),
        (clusters(30), 30, 0.35), (clusters(100), 100, 0.35), (surface, 100, 0.25), (dense_beside_sparse, 6, 0.75),
        (duplicates, 20, 0.75),
    ],
)  # fmt: skip
def test_points_of_which_pairs_can_be_skipped(cloud: Cloud, dim: int, most: float) -> None:
    """A call over these points visits less than that, so the points must be sorted."""
    told = estimate(nearest(dim), [points(cloud), points(cloud, seed=1)], block=(16, 64))
    assert told.part < most


@pytest.mark.parametrize("count", [1, 100, 500])
def test_many_neighbours_are_few_of_the_points_of_a_sample(count: int) -> None:
    """The 500 nearest of 100,000 points are about one of 200."""
    x = points(uniform(3), 100_000)
    assert estimate(nearest(3, count), [x, x], block=(16, 64)).part < 0.3


def test_limits_known_beforehand_leave_less_to_visit() -> None:
    """Other columns have nearer points: for 10 far columns of a row, nothing is left."""
    x = points(uniform(10))
    work = Work(nearest(10).program, Options(), Region(len(x), len(x)), "float32", EXACT)
    parts = [
        estimated(work, [x, x + 5], NO_EXECUTOR, (16, 64), limits).part
        for limits in (None, np.full(len(x), 0.1, np.float32))
    ]
    assert parts[0] > NEARLY_ALL
    assert parts[1] == 0


def test_rows_that_are_near_to_themselves_only_are_not_given_up() -> None:
    """A narrow Gaussian: a sample holds nothing near a row, but the call does, and most pairs are skipped."""
    x = points(uniform(4))
    for routine, pruning in (
        (reduction("Sum", "Exp(-50000 * SqDist(x, y))", 4), Pruning(True, rtol=1e-6)),
        (reduction("LogSumExp", "-50000 * SqDist(x, y)", 4), Pruning(True, atol=1e-6)),
    ):
        assert estimate(routine, [x, x], pruning, (64, 16)).part <= NEARLY_ALL


@pytest.mark.parametrize("name", ["Sum", "Mean", "LogSumExp", "SumSoftMaxWeight"])
def test_a_larger_tolerance_or_a_narrower_kernel_visits_less(name: str) -> None:
    x = points(uniform(3))
    b = np.random.default_rng(2).random((len(x), 1)).astype(np.float32)
    parts = {}
    for scale in (20, 2000):
        exponent = f"-{scale} * SqDist(x, y)"
        if name == "SumSoftMaxWeight":
            routine, arrays = reduction(name, exponent, 3, formula2="b"), [x, x, b]
        elif name == "LogSumExp":
            routine, arrays = reduction(name, exponent, 3), [x, x]
        else:
            routine, arrays = reduction(name, f"Exp({exponent}) * b", 3), [x, x, b]
        for atol in (1e-6, 1e-2):
            asked = Pruning(True, atol=atol / (len(x) if name == "Mean" else 1))
            parts[scale, atol] = estimate(routine, arrays, asked, (64, 16)).part
    assert parts[2000, 1e-2] <= parts[2000, 1e-6] < 0.25
    assert parts[20, 1e-2] <= parts[20, 1e-6]
    assert parts[2000, 1e-6] < parts[20, 1e-6]


@pytest.mark.parametrize(("name", "small", "large"), [("Count", 0.2, 0.2), ("Any", 0.2, 0.0), ("All", 0.0, 0.2)])
def test_conditions(name: str, small: float, large: float) -> None:
    """Within a radius, pairs of blocks at its border are visited. One that holds, or that fails, settles a row."""
    x = points(uniform(2))
    assert estimate(reduction(name, "SqDist(x, y) < 0.003", 2), [x, x]).part <= small
    assert estimate(reduction(name, "SqDist(x, y) < 1.9", 2), [x, x]).part <= large
    blind = estimate(reduction(name, "Sin(1e6 * SqDist(x, y)) < 0", 2), [x, x])
    assert blind.part > NEARLY_ALL


def test_positions_are_those_of_the_call() -> None:
    """Of equal points, those with near positions are nearest."""
    x, y = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    apart = as_real(position(Domain.I)) - as_real(position(Domain.J))
    program, _ = map_reduce([squared_distance(x, y) + square(apart)], "ArgKMin", 3)
    points = [np.zeros((20_000, 1), np.float32)] * 2
    for first_column, most in ((5000, 0.25), (500_000, 1.0)):
        region = Region(20_000, 20_000, first_row=5000, first_column=first_column)
        work = Work(program, Options(), region, "float32", EXACT)
        assert estimated(work, points, NO_EXECUTOR, (16, 64)).part < most


def test_points_that_are_not_finite() -> None:
    """Some are left out; if all are nan, a sample says nothing, and the blocks of the call itself decide."""
    x = points(uniform(2))
    x[::3, 1] = np.nan
    x[1::3, 0] = np.inf
    assert estimate(nearest(2), [x, x]).part < 0.25
    assert estimate(nearest(2), [np.full_like(x, np.nan), x]) == Estimate(sample._UNKNOWN, 0, 0)


def test_terms_of_nan_are_no_limits() -> None:
    """Every term is nan, so no pair can be skipped."""
    x = points(uniform(2))
    told = estimate(reduction("ArgKMin", "Sqrt(-1 - SqDist(x, y))", 2, opt_arg=3), [x, x])
    assert told.part > NEARLY_ALL


@pytest.mark.parametrize(("rows", "columns"), [(1, 400_000), (5, 200_000), (100_000, 9), (40_000, 300)])
def test_few_rows_or_columns(rows: int, columns: int) -> None:
    told = estimate(nearest(3, 4), [points(uniform(3), rows), points(uniform(3), columns, 1)], block=(16, 64))
    assert 0 < told.rows <= rows
    assert 0 < told.columns <= columns
    assert rows > 1 or told.part < 0.3


def test_only_pairs_of_the_ranges_count() -> None:
    """Ranges that name each cluster with itself leave nothing to skip; with all others, nearly everything."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(1000, 12)) + 100 * n for n in range(20)]).astype(np.float32)
    blocks = np.stack((np.arange(20), np.arange(20) + 1), axis=1) * 1000
    sizes = {Domain.I: len(x), Domain.J: len(x)}
    own = (blocks, np.arange(1, 21), blocks)
    every = (blocks, 20 * np.arange(1, 21), np.tile(blocks, (20, 1)))
    parts = []
    for pairs in (own, every):
        ranges = check_ranges((*pairs, *pairs), sizes, NUMPY)
        parts.append(estimate(nearest(12), [x, x], ranges=ranges, row_domain=Domain.I).part)
    assert parts[0] > NEARLY_ALL > 0.1 > parts[1]


def test_long_formulas_draw_fewer_points() -> None:
    x = points(uniform(6000), 700)
    told = estimate(nearest(6000, 3), [x, x])
    assert told.columns < 512
    assert told.part > NEARLY_ALL
