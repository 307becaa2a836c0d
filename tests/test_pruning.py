"""Selections that skip blocks give what a visit of all pairs gives, bit by bit: values, indices and ties."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import Array
from tolerances import excess, random_case

import clreduce
from clreduce.call.pruning import blocks, index, running, sides
from clreduce.call.pruning.selection import Selection
from clreduce.errors import DtypeError, OptionError, ShapeError
from clreduce.numpy import Genred, LazyTensor, Vi, Vj
from clreduce.partition import partition
from clreduce.runtime.device import Device

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


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few points make many blocks."""
    monkeypatch.setattr(running, "BLOCK", BLOCK)


def routine_of(text: str, reduction: str, count: int | None = None, axis: int = 1) -> Genred:
    scale = "s = Pm(1)" if text.startswith("s *") else "s = Pm(3)"
    aliases = ["x = Vi(3)", "y = Vj(3)", *([scale] if text.startswith(("s *", "Weighted")) else [])]
    return Genred(text, aliases, reduction, axis=axis, opt_arg=count)


def as_tuple(result: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


def told_of(routine: Genred) -> running.Skipped:
    """What the last call of a routine has told."""
    return running.LAST[routine.program]


def assert_equals_all_pairs(routine: Genred, arrays: list[Array], **options: Any) -> int:
    """The pairs that were visited; for each result is the same as without blocks."""
    expected = as_tuple(routine(*arrays, prune=False, **options))
    results = as_tuple(routine(*arrays, prune=True, **options))
    assert len(results) == len(expected)
    for result, other in zip(results, expected, strict=True):
        assert result.dtype == other.dtype
        np.testing.assert_array_equal(result, other)
    return told_of(routine).visited


def points_of(cloud: Callable[[np.random.Generator, int], Array], seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", under="ignore"):
        return [cloud(rng, count).astype(np.float32) for count in (ROWS, COLUMNS)]


@pytest.mark.parametrize(("metric", "reduction", "count"), CASES)
def test_selections_equal_those_over_all_pairs(
    metric: str, reduction: str, count: int | None, device: Device, plain_kernels: None
) -> None:
    routine = routine_of(FORMULAS[metric], reduction, count)
    for number, cloud in enumerate(CLOUDS):
        arrays = points_of(cloud, number)
        if len(routine.variables) > 2:
            arrays.append(np.array([1.0, 0.25, 3.0], np.float32))
        assert_equals_all_pairs(routine, arrays)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (40, 1), (17, 3), (3, 0), (0, 3), (BLOCK, BLOCK)])
def test_any_sizes(rows: int, columns: int, device: Device, plain_kernels: None) -> None:
    routine = routine_of("SqDist(x, y)", "KMin_ArgKMin", 4)
    rng = np.random.default_rng(0)
    arrays = [rng.random((count, 3)).astype(np.float32) for count in (rows, columns)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of padding
        assert_equals_all_pairs(routine, arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_default_schedules(dtype: str, device: Device) -> None:
    """With lanes, blocks of columns, and looks beforehand; few of the pairs are visited."""
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    rng = np.random.default_rng(0)
    arrays = [rng.random((count, 3)).astype(dtype) for count in (5000, 20000)]
    visited = assert_equals_all_pairs(routine_of("SqDist(x, y)", "ArgKMin", 10), arrays)
    assert visited < 0.15 * 5000 * 20000


@pytest.mark.parametrize(("metric", "reduction", "count"), CASES[::3])
def test_blocks_are_found_in_two_steps(
    metric: str, reduction: str, count: int | None, device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of coarse blocks first: about as few pairs are visited. Bounds that overflow say nothing of more blocks then."""
    routine = routine_of(FORMULAS[metric], reduction, count)
    monkeypatch.setattr(running, "BLOCK", 16)
    monkeypatch.setattr(running, "FINEST", 4)
    rng = np.random.default_rng(0)
    scale = [np.array([1.0, 0.25, 3.0], np.float32)] if len(routine.variables) > 2 else []
    for cloud in (uniform, clustered, on_a_grid, with_special_numbers):
        with np.errstate(over="ignore", under="ignore"):
            x, y = (cloud(rng, size).astype(np.float32) for size in (1500, 1100))
        for pair in ([x, y], [y, y]):
            visited = []
            for few in (2**62, 2**10):
                monkeypatch.setattr(blocks, "ONE_LEVEL", few)
                visited.append(assert_equals_all_pairs(routine, [*pair, *scale]))
            assert cloud is with_special_numbers or visited[1] < 1.25 * visited[0]


def test_points_of_both_indices_are_sorted_once(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_points: list[int] = []
    monkeypatch.setattr(sides, "partition", lambda *case: sorted_points.append(1) or partition(*case))
    x = points_of(uniform)[0]
    assert_equals_all_pairs(routine_of("SqDist(x, y)", "ArgKMin", 3), [x, x])
    assert len(sorted_points) == 1


def test_kernels_that_round_otherwise_leave_no_row_without_its_terms(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits are the K-th terms of another kernel. Where they are too low, rows are computed without them."""
    of_kernel = Selection._first_terms

    def lowered(self: Selection) -> Array:
        limits = of_kernel(self)
        limits[::7] -= np.abs(limits[::7]) * 0.3
        return limits

    monkeypatch.setattr(Selection, "_first_terms", lowered)
    for cloud in (uniform, on_a_grid):
        for reduction, count in (("KMin_ArgKMin", 4), ("ArgKMin", 3), ("Max", None)):
            assert_equals_all_pairs(routine_of("SqDist(x, y)", reduction, count), points_of(cloud))


@pytest.mark.parametrize("axis", [0, 1])
def test_positions_batches_and_axes(axis: int, device: Device, plain_kernels: None) -> None:
    """Positions are those of the caller's arrays; each index of a batch has blocks of its own."""
    K = Vi(points_of(clustered)[0]).sqdist(Vj(points_of(clustered, 1)[1]))
    K = K + 1e-3 * (K.i - K.j).abs()
    np.testing.assert_array_equal(K.argKmin(3, axis=axis, prune=True), K.argKmin(3, axis=axis, prune=False))
    rng = np.random.default_rng(0)
    batch = rng.random((2, 1, 90, 1, 3)).astype(np.float32), rng.random((3, 1, 70, 3)).astype(np.float32)
    K = LazyTensor(batch[0]).sqdist(LazyTensor(batch[1]))
    result = K.Kmin_argKmin(3, axis=2 + axis, prune=True)
    for each, other in zip(result, K.Kmin_argKmin(3, axis=2 + axis, prune=False), strict=True):
        np.testing.assert_array_equal(each, other)


@pytest.mark.parametrize("scale", [0.0, 1e-40, np.inf, np.nan, -1.0])
def test_parameters_of_which_bounds_know_nothing(scale: float, device: Device, plain_kernels: None) -> None:
    """Infinite, nan or subnormal ones: all pairs are visited."""
    routine = routine_of("s * SqDist(x, y)", "KMin_ArgKMin", 4)
    visited = assert_equals_all_pairs(routine, [*points_of(uniform), np.array([scale], np.float32)])
    assert bool(told_of(routine).reason) == (scale not in (0.0, -1.0))
    assert not told_of(routine).reason or visited == ROWS * COLUMNS


def test_what_cannot_be_asked_for_is_refused() -> None:
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(OptionError, match="no rule tells which terms of Var may be skipped"):
        routine_of("SqDist(x, y)", "Var")(x, x, prune=True)
    with pytest.raises(OptionError, match="ArgMin takes no tolerance"):
        routine_of("SqDist(x, y)", "ArgMin")(x, x, atol=1e-3)
    for wrong in (-1.0, np.nan, np.inf, "small", "0.1", True):
        with pytest.raises(OptionError, match="rtol must be 0 or a positive number"):
            routine_of("SqDist(x, y)", "Sum")(x, x, rtol=wrong)
    with pytest.raises(OptionError, match="prune must be True, False or 'auto'"):
        routine_of("SqDist(x, y)", "ArgMin")(x, x, prune="often")


@pytest.mark.parametrize("text", ["SqDist(x, y) - 0.05", "ReLU(0.1 - SqDist(x, y))"])
@pytest.mark.parametrize("reduction", ["Count", "Any", "All"])
def test_conditions_equal_those_over_all_pairs(text: str, reduction: str, device: Device, plain_kernels: None) -> None:
    """A condition is what is not 0; where all pairs of two blocks are alike, none is visited."""
    routine = routine_of(text, reduction)
    for number, cloud in enumerate((clustered, on_a_grid, one_point, with_special_numbers)):
        visited = assert_equals_all_pairs(routine, points_of(cloud, number))
        assert cloud is not clustered or visited < 0.5 * ROWS * COLUMNS


def test_comparisons_and_all_terms_within_a_radius(device: Device, plain_kernels: None) -> None:
    x, y = points_of(clustered)
    K = Vi(x).sqdist(Vj(y))
    for condition, name, axis in ((K <= 0.001, "count", 1), ((K <= 0.001) | (K > 3), "any", 0)):
        reduce = getattr(condition, name)
        np.testing.assert_array_equal(reduce(axis=axis, prune=True), reduce(axis=axis, prune=False))


def test_random_sums_are_within_their_tolerances(device: Device, plain_kernels: None) -> None:
    """`python tests/tolerances.py 10000` tries many more."""
    if not device.facts.has_double:
        pytest.skip("rounding errors of float32 would hide those of what is skipped")
    rng = np.random.default_rng(int(device.facts.compute_units))
    for _ in range(5):
        assert excess(random_case(rng))[0] <= 1


def test_gradients_keep_the_tolerance(device: Device, plain_kernels: None) -> None:
    routine = Genred("Exp(-SqDist(x, y) / 0.001) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
    rng = np.random.default_rng(0)
    x, y, b, e = (rng.random(shape).astype(np.float32) for shape in ((300, 3), (400, 3), (400, 1), (300, 1)))
    exact = routine.vjp(x, y, b, cotangent=e)
    for gradient, other in zip(routine.vjp(x, y, b, cotangent=e, atol=1e-2), exact, strict=True):
        assert np.abs(gradient - other).max() <= 1.001e-2
    # Where a row has a term of its own, no result is so small that its part would demand everything.
    y, b = (rng.random((3000, length)).astype(np.float32) for length in (3, 1))
    result = routine(y, y, b, rtol=1e-3)
    np.testing.assert_allclose(result, routine(y, y, b), rtol=1.01e-3, atol=0)
    assert told_of(routine).visited < 0.75 * told_of(routine).pairs


def test_an_index_is_sorted_once_and_changes_no_result(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "BLOCK", index.BLOCK)
    rng = np.random.default_rng(0)
    y = rng.random((700, 3)).astype(np.float32)
    known, sorted_points = clreduce.Index(y), []
    monkeypatch.setattr(index, "partition", lambda *case: sorted_points.append(1) or partition(*case))
    monkeypatch.setattr(sides, "partition", lambda points, size: partition(points, size))
    for _ in range(2):
        x = rng.random((300, 3)).astype(np.float32)
        nearest = Vi(x).sqdist(Vj(known)).argKmin(3, axis=1, prune=True)
        np.testing.assert_array_equal(nearest, Vi(x).sqdist(Vj(y)).argKmin(3, axis=1, prune=False))
    assert len(sorted_points) == 1
    y[:] = 0  # the index has a copy
    np.testing.assert_array_equal(nearest, Vi(x).sqdist(Vj(known)).argKmin(3, axis=1, prune=True))


def test_what_is_no_index() -> None:
    with pytest.raises(ShapeError, match=r"an index needs points of shape \(N, D\); got shape \(3,\)"):
        clreduce.Index(np.zeros(3))
    with pytest.raises(DtypeError, match="an index needs float32 or float64 points; got int64"):
        clreduce.Index(np.zeros((3, 2), int))


def test_tensors_skip_pairs_and_have_derivatives(device: Device, plain_kernels: None) -> None:
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(points, requires_grad=True) for points in points_of(clustered))
    distances = {}
    for prune in (True, False):
        K = clreduce.Vi(x).sqdist(clreduce.Vj(clreduce.Index(y) if prune else y))
        distances[prune] = K.min(axis=1, prune=prune)
        distances[prune].sum().backward()
        distances[prune] = distances[prune].detach(), x.grad, y.grad
        x.grad = y.grad = None
    for pruned, whole in zip(distances[True], distances[False], strict=True):
        torch.testing.assert_close(pruned, whole)
    exact = (-K * 1e3).exp().sum(axis=1)
    near = (-K * 1e3).exp().sum(axis=1, atol=1e-2)
    assert (near - exact).abs().max() <= 1.001e-2


def test_explain_tells_what_was_skipped(device: Device, plain_kernels: None) -> None:
    nearest = routine_of("SqDist(x, y) * 1.5", "ArgMin")
    assert "no call has tried it yet" in explanation(nearest)
    nearest(*points_of(clustered), prune=True)
    assert f"the last call visited {told_of(nearest).visited:,} of 69,300 pairs" in explanation(nearest)
    assert "no rule tells which terms of Var may be skipped" in explanation(routine_of("SqDist(x, y)", "Var"))


def explanation(routine: Genred[Any]) -> str:
    written = io.StringIO()
    routine.explain(file=written)
    return written.getvalue()
