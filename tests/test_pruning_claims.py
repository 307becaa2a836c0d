"""What docs/pruning.md says of skipped pairs, and no other file tests: defaults, limits, samples, special terms."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from oracle import Array

from clreduce.call import work
from clreduce.call.pruning import running
from clreduce.call.pruning.request import Pruning
from clreduce.call.work import Work
from clreduce.numpy import Genred, Vi, Vj
from clreduce.runtime.device import Device
from clreduce.runtime.region import Region

BLOCK = 16
ALIASES = ["x = Vi(3)", "y = Vj(3)"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few points make many blocks."""
    monkeypatch.setattr(running, "BLOCK", BLOCK)


def clusters(count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 4, (count, 1)) + 0.01 * rng.normal(size=(count, 3))).astype(np.float32)


def explanation(routine: Genred[Any]) -> str:
    written = io.StringIO()
    routine.explain(file=written)
    return written.getvalue()


def routine_of(text: str, reduction: str, count: int | None = None) -> Genred[Array]:
    return Genred(text, ALIASES, reduction, axis=1, opt_arg=count)


def test_auto_tries_exact_reductions_of_many_points_and_sums_never(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = clusters(120), clusters(150, 1)
    nearest, sums = routine_of("SqDist(x, y) + 11", "ArgMin"), routine_of("Exp(-SqDist(x, y) + 11)", "Sum")
    nearest(x, y)
    assert nearest.program not in running.LAST
    monkeypatch.setattr(work, "_MANY_POINTS", 100)
    # Options that are not of the call before, for its evaluation has been kept.
    np.testing.assert_array_equal(nearest(x, y, prune="auto", max_memory="1GB"), nearest(x, y, prune=False))
    assert nearest.program in running.LAST
    running.LAST.clear()
    nearest(x, y, prune=False)
    sums(x, y)
    assert not running.LAST


def test_zeros_of_a_compact_kernel_are_skipped(device: Device, plain_kernels: None) -> None:
    """Without any tolerance; with weights, bounds leave room for underflow, and the least tolerance is enough."""
    x, y = clusters(400), clusters(600, 1)
    b = np.arange(-300.0, 300.0, dtype=np.float32)[:, None]
    plain = routine_of("ReLU(1 - SqDist(x, y))", "Sum")
    weighted = Genred("ReLU(1 - SqDist(x, y)) * b", [*ALIASES, "b = Vj(1)"], "Sum", axis=1)
    for routine, arrays, options in (
        (plain, (x, y), {"prune": True, "atol": 0}), (weighted, (x, y, b), {"atol": 1e-30})
    ):  # fmt: skip
        np.testing.assert_allclose(routine(*arrays, **options), routine(*arrays), rtol=1e-4, atol=1e-1)
        last = running.LAST[routine.program]
        assert last.error < 1e-30
        assert last.visited < 400 * 600


@pytest.mark.parametrize("reduction", ["Sum", "Mean", "LogSumExp"])
def test_a_nan_is_never_skipped(reduction: str, device: Device, plain_kernels: None) -> None:
    """However far its block is from all others."""
    x, y = clusters(120), clusters(150, 1)
    y[60] = 1e4
    y[60, 1] = np.nan
    text = "-900 * SqDist(x, y)" if reduction == "LogSumExp" else "Exp(-900 * SqDist(x, y))"
    assert np.isnan(routine_of(text, reduction)(x, y, atol=1e-2)).all()


def test_large_calls_try_a_sample_and_give_up(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SAMPLED", 1)
    rng = np.random.default_rng(0)
    routine = Genred("SqDist(x, y)", ["x = Vi(12)", "y = Vj(12)"], "ArgKMin", axis=1, opt_arg=3)
    x, y = (rng.random((count, 12)).astype(np.float32) for count in (200, 300))
    np.testing.assert_array_equal(routine(x, y, prune=True), routine(x, y, prune=False))
    assert "in a sample of 96 x 288 points, nearly all pairs would be visited" in explanation(routine)
    assert "the last call that tried it visited all 60,000 pairs" in explanation(routine)


def test_a_gpu_is_left_alone_up_to_a_number_of_pairs() -> None:
    x = np.zeros((100, 3), np.float32)
    routine = routine_of("SqDist(x, y)", "ArgMin")
    gpu: Any = SimpleNamespace(first_device=lambda: SimpleNamespace(facts=SimpleNamespace(kind="gpu")))
    region = Region(100, 100)
    by_default = Work(routine.program, routine.options, region, "float32")
    asked = Work(routine.program, routine.options, region, "float32", Pruning(True))
    assert running._obstacle(by_default, [x, x], gpu).startswith("a GPU may visit them in less time")
    assert running._obstacle(asked, [x, x], gpu) == ""


def test_recurrences_are_named_by_explain() -> None:
    routine = Genred("SoftDTW_SqDist(x, y, p)", ["x = Vi(32)", "y = Vj(32)", "p = Pm(1)"], "ArgMin", axis=1)
    assert "bounds know the range of these operations only: scan" in explanation(routine)


def test_limits_of_memory(device: Device, plain_kernels: None) -> None:
    """A call that is cut visits each column once: the first part once took the pairs of all others, too."""
    x, y = clusters(200), clusters(3000, 1)
    routine = routine_of("SqDist(x, y)", "KMin_ArgKMin", 3)
    whole = routine(x, y, prune=False)
    for result, expected in zip(routine(x, y, prune=True, max_memory="30KB"), whole, strict=True):
        np.testing.assert_array_equal(result, expected)
    assert running.LAST[routine.program].visited < 0.7 * 200 * 3000


def test_labels_of_points(device: Device, plain_kernels: None) -> None:
    """Integers beside the points: the nearest point of another class."""
    x = clusters(200)
    labels = np.arange(200) % 3
    K = Vi(x).sqdist(Vj(x))
    K = K + 1e3 * (Vi(labels[:, None]) == Vj(labels[:, None])).ifelse(1, 0)
    np.testing.assert_array_equal(K.argmin(axis=1, prune=True), K.argmin(axis=1, prune=False))


@pytest.mark.parametrize("reduction", ["Max", "KMin"])
def test_each_index_of_a_batch_rounds_as_a_visit_of_all_pairs(
    reduction: str, device: Device, plain_kernels: None
) -> None:
    """Products are arranged for all parameters of the batch, of which one is tiny, and not for those of an index."""
    count = 3 if reduction == "KMin" else None
    routine: Genred[Array] = Genred(
        "s * (b * SqDist(x, y))", [*ALIASES, "b = Vj(1)", "s = Pm(1)"], reduction, axis=1, opt_arg=count
    )
    rng = np.random.default_rng(0)
    arrays = [clusters(70)[None], clusters(110, 1)[None], rng.random((1, 110, 1), np.float32) + 0.5]
    scales = np.array([[0.7], [1e-30]], np.float32)
    result = routine(*arrays, scales, prune=True)
    np.testing.assert_array_equal(result, routine(*arrays, scales, prune=False))
    assert running.LAST[routine.program].visited < 2 * 70 * 110


def test_options_of_products(device: Device, plain_kernels: None) -> None:
    x, y = clusters(120), clusters(150, 1)
    b = np.random.default_rng(0).normal(size=(150, 2)).astype(np.float32)
    K = (-Vi(x).sqdist(Vj(y)) * 900).exp()
    np.testing.assert_allclose(K.__matmul__(b, atol=1e-3), K @ b, rtol=1e-4, atol=1.01e-3)


def test_tolerances_of_tiny_sums_if_numpy_raises_errors_of_underflow(device: Device, plain_kernels: None) -> None:
    routine = Genred("b * Exp(-SqDist(x, y))", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], "Sum", axis=1)
    x, b = np.random.default_rng(0).random((300, 2)) * 100, np.full((300, 1), 1e-307)
    with np.errstate(all="raise"):
        near = routine(x, x, b, rtol=1e-3)
    np.testing.assert_allclose(near, routine(x, x, b, prune=False), rtol=1.01e-3)


@pytest.mark.parametrize(("text", "columns"), [("1 / SqDist(x, y)", 200), ("1e-37 * SqDist(x, y)", 1)])
def test_infinite_and_tiny_results_give_no_warning(
    text: str, columns: int, device: Device, plain_kernels: None
) -> None:
    """`numpy.errstate` of the caller is for the caller's own arithmetic."""
    routine, x = routine_of(text, "LogSumExp"), clusters(200)
    with np.errstate(all="raise"):
        near = routine(x, x[:columns], rtol=1e-3)
    np.testing.assert_allclose(near, routine(x, x[:columns], prune=False), rtol=1.01e-3)
