"""Selections that skip blocks give what a visit of all pairs gives, bit by bit: values, indices and ties."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import Array

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.language.formula import parse
from clreduce.program import MapReduce, map_reduce
from clreduce.pruning import select
from clreduce.runtime.device import Device
from clreduce.runtime.plan import signature_of
from clreduce.runtime.plan_cache import PLANS

ROWS, COLUMNS, BLOCK = 210, 330, 16
FORMULAS = {
    "Euclidean": "SqDist(x, y)",
    "Manhattan": "Sum(Abs(x - y))",
    "scaled": "WeightedSqDist(s, x, y)",
    "hyperbolic": "Acosh(1 + 2 * SqDist(x, y) / (1 + SqNorm2(x)) / (1 + SqNorm2(y)))",
    "scalar product": "(x | y)",
    "own": "IfElse(Elem(x, 0) - Elem(y, 0), Norm2(x - y), Sin(Sum(x + y)) - 2)",
}
CASES = [
    ("Euclidean", "KMin_ArgKMin", 4), ("Euclidean", "Max_ArgMax", None), ("Manhattan", "ArgMin", None),
    ("scaled", "KMin", 20), ("hyperbolic", "ArgKMin", 2), ("scalar product", "KMax_ArgKMax", 3),
    ("own", "KMin_ArgKMin", 3), ("own", "Max", None),
]  # fmt: skip


def uniform(rng: np.random.Generator, count: int) -> Array:
    return rng.random((count, 3))


def clustered(rng: np.random.Generator, count: int) -> Array:
    return rng.integers(0, 4, (count, 1)) + 0.01 * rng.normal(size=(count, 3))


def duplicated(rng: np.random.Generator, count: int) -> Array:
    return rng.random((7, 3))[rng.integers(0, 7, count)]


def on_a_grid(rng: np.random.Generator, count: int) -> Array:
    return rng.integers(-3, 4, (count, 3)).astype(float)


def collinear(rng: np.random.Generator, count: int) -> Array:
    return np.linspace(-1, 1, count)[:, None] * np.ones(3)


def far_away(rng: np.random.Generator, count: int) -> Array:
    return 1e6 + rng.integers(0, 50, (count, 3)) / 16


def one_point(rng: np.random.Generator, count: int) -> Array:
    return np.ones((count, 3))


def with_special_numbers(rng: np.random.Generator, count: int) -> Array:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, 1e-40])
    return np.where(rng.random((count, 3)) < 0.05, rng.choice(special, (count, 3)), rng.random((count, 3)))


CLOUDS = [uniform, clustered, duplicated, on_a_grid, collinear, far_away, one_point, with_special_numbers]


def program_of(text: str, reduction: str, count: int | None) -> MapReduce:
    scale = "s = Pm(1)" if text.startswith("s *") else "s = Pm(3)"
    formula = parse(text, ["x = Vi(3)", "y = Vj(3)", scale]).expr
    return map_reduce([formula], reduction, count)[0]


def arrays_of(program: MapReduce, x: Array, y: Array, dtype: str) -> list[Array]:
    known = {"I": x, "J": y, "P": np.array([1.0, 0.25, 3.0])}
    with np.errstate(over="ignore", under="ignore"):
        return [known[slot.domain.name or ""].astype(dtype) for slot in program.slots]


def assert_equals_all_pairs(program: MapReduce, arrays: list[Array], sizes: tuple[int, int], device: Device) -> int:
    """The pairs that were visited; for each result is the same as without blocks."""
    expected = PLANS.get(program, signature_of(arrays[0].dtype), device)(arrays, *sizes)
    found = select(program, arrays, *sizes, device, BLOCK)
    assert len(found.results) == len(expected)
    for result, other in zip(found.results, expected, strict=True):
        assert result.dtype == other.dtype
        np.testing.assert_array_equal(result, other)
    return found.visited


@pytest.mark.parametrize(("metric", "reduction", "count"), CASES)
def test_selections_equal_those_over_all_pairs(
    metric: str, reduction: str, count: int | None, device: Device, plain_kernels: None
) -> None:
    program = program_of(FORMULAS[metric], reduction, count)
    for number, cloud in enumerate(CLOUDS):
        rng = np.random.default_rng(number)
        arrays = arrays_of(program, cloud(rng, ROWS), cloud(rng, COLUMNS), "float32")
        assert_equals_all_pairs(program, arrays, (ROWS, COLUMNS), device)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (40, 1), (17, 3), (3, 0), (0, 3), (BLOCK, BLOCK)])
def test_any_sizes(rows: int, columns: int, device: Device, plain_kernels: None) -> None:
    program = program_of("SqDist(x, y)", "KMin_ArgKMin", 4)
    rng = np.random.default_rng(0)
    arrays = arrays_of(program, rng.random((rows, 3)), rng.random((columns, 3)), "float32")
    assert_equals_all_pairs(program, arrays, (rows, columns), device)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_default_schedules(dtype: str, device: Device) -> None:
    """With lanes, blocks of columns, and looks beforehand; few of the pairs are visited."""
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    program = program_of("SqDist(x, y)", "ArgKMin", 10)
    rng = np.random.default_rng(0)
    x, y = rng.random((5000, 3)), rng.random((20000, 3))
    arrays = arrays_of(program, x, y, dtype)
    expected = PLANS.get(program, signature_of(dtype), device)(arrays, 5000, 20000)
    found = select(program, arrays, 5000, 20000, device, block=32)
    np.testing.assert_array_equal(found.results[0], expected[0])
    assert found.visited < 0.15 * 5000 * 20000


@pytest.mark.parametrize("scale", [0.0, 1e-40, np.inf, np.nan, -1.0])
def test_parameters_of_which_bounds_know_nothing(scale: float, device: Device, plain_kernels: None) -> None:
    """Infinite, nan or subnormal ones: all pairs are visited."""
    program = program_of("s * SqDist(x, y)", "KMin_ArgKMin", 4)
    rng = np.random.default_rng(0)
    x, y = (rng.random((count, 3)).astype(np.float32) for count in (ROWS, COLUMNS))
    known = {Domain.I: x, Domain.J: y, Domain.P: np.array([scale], np.float32)}
    arrays = [known[slot.domain] for slot in program.slots]
    visited = assert_equals_all_pairs(program, arrays, (ROWS, COLUMNS), device)
    assert (visited == ROWS * COLUMNS) == (scale not in (0.0, -1.0))


def test_other_programs_are_refused(device: Device) -> None:
    x = np.zeros((4, 3), np.float32)
    for text, reduction in (("SqDist(x, y)", "Sum"), ("x - y", "Min"), ("Sum(x)", "Min")):
        program = program_of(text, reduction, None)
        with pytest.raises(ShapeError, match="a selection without visiting all pairs is by one of Min, ArgMin"):
            select(program, [x, x], 4, 4, device)
