"""Selections of some rows at a time are those of all rows together, whatever thread computes which rows."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from oracle import Array

from clreduce.call.pruning import blocks, running, turns
from clreduce.call.pruning.cutting import CutPartition
from clreduce.call.pruning.selection import Selection
from clreduce.numpy import Genred
from clreduce.partition import Partition, partition
from clreduce.runtime.device import Device
from clreduce.runtime.progress import set_progress

ROWS, COLUMNS = 1700, 900


@pytest.fixture(autouse=True)
def small_turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """So that few points take several turns; the list gets the number of turns of each selection."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(running, "BLOCK", 2)
    monkeypatch.setattr(turns, "_FEWEST_ROWS", 1)
    monkeypatch.setattr(turns, "_MOST_ROWS", 512)
    numbers: list[int] = []
    parts_of = blocks.BlockPairs.parts

    def counted(pairs: blocks.BlockPairs, rows: int) -> list[blocks.BlockPairs]:
        parts = parts_of(pairs, rows)
        numbers.append(len(parts))
        return parts

    monkeypatch.setattr(blocks.BlockPairs, "parts", counted)
    return numbers


def uniform(rng: np.random.Generator, count: int) -> Array:
    return rng.random((count, 3))


def on_a_grid(rng: np.random.Generator, count: int) -> Array:
    return rng.integers(0, 6, (count, 3)) / 4


def one_point(rng: np.random.Generator, count: int) -> Array:
    return np.ones((count, 3))


def with_special_numbers(rng: np.random.Generator, count: int) -> Array:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, 1e-40])
    return np.where(rng.random((count, 3)) < 0.05, rng.choice(special, (count, 3)), rng.random((count, 3)))


def points_of(cloud: Callable[[np.random.Generator, int], Array], *counts: int) -> list[Array]:
    rng = np.random.default_rng(0)
    return [cloud(rng, count).astype(np.float32) for count in counts]


def routine_of(formula: str, reduction: str, count: int | None) -> Genred:
    return Genred(formula, ["x = Vi(3)", "y = Vj(3)"], reduction, axis=1, opt_arg=count)


def assert_equals_all_pairs(routine: Genred, arrays: list[Array]) -> None:
    results, expected = (routine(*arrays, prune=prune) for prune in (True, False))
    if not isinstance(results, tuple):
        results, expected = (results,), (expected,)
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, other)


@pytest.mark.parametrize("few", [4, 2**62])
@pytest.mark.parametrize(
    ("formula", "reduction", "count"),
    [("SqDist(x, y)", "KMin_ArgKMin", 3), ("(x | y)", "ArgKMax", 12), ("Sum(Abs(x - y))", "Min", None)],
)
@pytest.mark.parametrize("cloud", [uniform, on_a_grid, one_point, with_special_numbers])
def test_rows_in_turns(
    cloud: Callable[[np.random.Generator, int], Array], formula: str, reduction: str, count: int | None, few: int,
    small_turns: list[int], device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(blocks, "ONE_LEVEL", few)
    x, y = points_of(cloud, ROWS, COLUMNS)
    routine = routine_of(formula, reduction, count)
    assert_equals_all_pairs(routine, [x, y])
    assert_equals_all_pairs(routine, [x, x])
    if device.facts.kind == "cpu" and device.facts.shares_host_memory:
        assert small_turns == [4, 4]


def test_more_terms_than_columns(device: Device, plain_kernels: None, recwarn: pytest.WarningsRecorder) -> None:
    assert_equals_all_pairs(routine_of("SqDist(x, y)", "KMin_ArgKMin", 5), points_of(uniform, ROWS, 3))


def test_turns_cost_no_more_pairs(device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = points_of(uniform, ROWS, COLUMNS)
    routine, visited = routine_of("SqDist(x, y)", "ArgKMin", 3), []
    for most in (512, 10**6):
        monkeypatch.setattr(turns, "_MOST_ROWS", most)
        routine(x, y, prune=True)
        visited.append(running.LAST[routine.program].visited)
    assert visited[0] == visited[1]


def test_rows_beyond_their_limits_are_computed_again(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_kernel = Selection._first_terms

    def lowered(self: Selection) -> Array:
        limits = of_kernel(self)
        limits[::7] -= np.abs(limits[::7]) * 0.3
        return limits

    monkeypatch.setattr(Selection, "_first_terms", lowered)
    assert_equals_all_pairs(routine_of("SqDist(x, y)", "KMin_ArgKMin", 4), points_of(uniform, ROWS, COLUMNS))


def test_an_error_in_a_turn_reaches_the_caller(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Selection, *results: Array) -> None:
        raise ValueError("in some turn")

    monkeypatch.setattr(Selection, "_put_results", fail)
    routine, arrays = routine_of("SqDist(x, y)", "ArgKMin", 4), points_of(uniform, ROWS, COLUMNS)
    with pytest.raises(ValueError, match="in some turn"):
        routine(*arrays, prune=True)
    monkeypatch.undo()
    assert_equals_all_pairs(routine, arrays)


def test_turns_report_their_progress_to_one_bar(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[float] = []

    class Bar:
        def __init__(self, total: float) -> None:
            bars.append(total)

        def advance(self, pairs: float) -> None:
            bars[-1] -= pairs

        def close(self) -> None: ...

    monkeypatch.setattr("clreduce.runtime.progress.Progress", Bar)
    set_progress(True)
    try:
        routine_of("SqDist(x, y)", "ArgKMin", 4)(*points_of(uniform, ROWS, COLUMNS), prune=True)
    finally:
        set_progress(None)
    assert not bars or (len(bars) == 1 and abs(bars[0]) < 1)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 3), (2, 5), (4, 7)])
def test_a_part_has_the_points_of_its_blocks(start: int, end: int) -> None:
    near = partition(np.random.default_rng(0).random((50, 2)), 8)
    cut = CutPartition(near.order, 8, np.array([0, 8, 11, 19, 20, 28, 43]))
    for whole in (near, cut):
        part: Partition = whole.part(start, end)
        assert part.count == end - start
        for (first, last), (first_of_whole, last_of_whole) in zip(
            part.intervals, whole.intervals[start:end], strict=True
        ):
            np.testing.assert_array_equal(part.order[first:last], whole.order[first_of_whole:last_of_whole])
