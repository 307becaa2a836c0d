"""Pairs are skipped wherever arrays are: shared by devices, in JAX, on a device, in files; or the reason is told."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyopencl
import pyopencl.array
import pytest
from oracle import Array
from test_several_devices import pair

from clreduce.call import several, work
from clreduce.call.pruning import running, selected_visits
from clreduce.errors import OptionError
from clreduce.numpy import Genred
from clreduce.runtime import devices as choosing
from clreduce.runtime.device import Device

BLOCK = 16
ALIASES = ["x = Vi(3)", "y = Vj(3)"]
__all__ = ["pair"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few points make many blocks."""
    monkeypatch.setattr(running, "BLOCK", BLOCK)


def points(count: int, seed: int = 0) -> Array:
    """Points of four clusters along a line."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 4, (count, 1)) + 0.01 * rng.normal(size=(count, 3))).astype(np.float32)


class Stored:
    """An array that gives parts of itself, as one of a file does."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, place: Any) -> Array:
        return self._array[place]


def explanation(routine: Genred[Any]) -> str:
    written = io.StringIO()
    routine.explain(file=written)
    return written.getvalue()


def nearest(count: int, name: str = "KMin_ArgKMin") -> Genred[Array]:
    """A routine of its own, so that what was told of others does not count."""
    return Genred(f"SqDist(x, y) + {count}", ALIASES, name, axis=1, opt_arg=3 if name.startswith("K") else None)


def test_several_devices_share_what_is_visited(
    pair: tuple[Device, Device], plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    routine, (x, y) = nearest(1), (points(300), points(400, 1))
    whole = routine(x, y, prune=False)
    shared = []
    share = several.SeveralDevices._share
    monkeypatch.setattr(several.SeveralDevices, "_share", lambda *case: shared.append(1) or share(*case))
    with choosing.use_devices(pair):
        pruned = routine(x, y, prune=True)
        sums = Genred("Exp(-1000 * SqDist(x, y))", ALIASES, "Sum", axis=1)
        near, exact = sums(x, y, atol=1e-3), sums(x, y)
    for result, expected in zip(pruned, whole, strict=True):
        np.testing.assert_array_equal(result, expected)
    assert np.abs(near - exact).max() <= 1.01e-3
    assert shared
    assert running.LAST[routine.program].visited < 300 * 400


def test_arrays_on_a_device_are_copied_once_if_a_call_asks_for_it(device: Device, plain_kernels: None) -> None:
    """Results are on the queue of the arrays; by default nothing is copied, and explain says why."""
    of_cl, queue = pytest.importorskip("clreduce.cl"), pyopencl.CommandQueue(device.context)
    x, y = points(300), points(400, 1)
    X, Y = (pyopencl.array.to_device(queue, array) for array in (x, y))
    text = "SqDist(x, y) + 2"
    routine, host = (genred(text, ALIASES, "KMin_ArgKMin", axis=1, opt_arg=3) for genred in (of_cl.Genred, Genred))
    expected = host(x, y, prune=False)
    for result, other in zip(routine(X, Y, prune=True), expected, strict=True):
        assert result.queue == queue
        np.testing.assert_array_equal(result.get(), other)
    assert running.LAST[routine.program].visited < 300 * 400
    out = tuple(pyopencl.array.zeros(queue, array.shape, array.dtype) for array in expected)
    routine(X, Y, prune=True, out=out)
    np.testing.assert_array_equal(out[1].get(), expected[1])
    batch = pyopencl.array.to_device(queue, np.stack((x, x[::-1])))
    np.testing.assert_array_equal(routine(batch, Y, prune=True)[1].get()[0], expected[1])
    sums = of_cl.Genred("Exp(-1000 * SqDist(x, y))", ALIASES, "Sum", axis=1)
    assert np.abs(sums(X, Y, atol=1e-3).get() - sums(X, Y).get()).max() <= 1.01e-3
    assert running.LAST[sums.program].visited < 300 * 400


def test_large_calls_on_a_device_say_why_they_visit_all_pairs(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_cl, queue = pytest.importorskip("clreduce.cl"), pyopencl.CommandQueue(device.context)
    monkeypatch.setattr(work, "_MANY_POINTS", 100)
    X = pyopencl.array.to_device(queue, points(200))
    routine = of_cl.Genred("SqDist(x, y) + 3", ALIASES, "ArgMin", axis=1)
    np.testing.assert_array_equal(routine(X, X).get().ravel(), np.arange(200))
    assert "arrays are on a device; prune=True copies them to the host" in explanation(routine)


def test_gradients_on_a_device(device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the indices are copied, and where many pairs stand against each; else explain says why not."""
    of_cl, queue = pytest.importorskip("clreduce.cl"), pyopencl.CommandQueue(device.context)
    monkeypatch.setattr(work, "_PAIRS_PER_SELECTED", 0)
    arrays = points(100), points(150, 1), np.ones((100, 1), np.float32)
    X, Y, E = (pyopencl.array.to_device(queue, array) for array in arrays)
    routine, host = (genred("SqDist(x, y) + 4", ALIASES, "Min", axis=1) for genred in (of_cl.Genred, Genred))
    whole = host.vjp(arrays[0], arrays[1], cotangent=arrays[2], prune=False)
    for limit, reason in ((2**18, "arrays are on a device, where indices would have to be copied from"), (0, "")):
        monkeypatch.setattr(selected_visits, "_ON_GPUS", limit)
        for gradient, other in zip(routine.vjp(X, Y, cotangent=E), whole, strict=True):
            np.testing.assert_allclose(gradient.get(), other, rtol=1e-5, atol=1e-5)
        for derivative in routine.program.vjp([0, 1]):
            told = running.LAST[derivative.program]
            assert (told.reason, told.visited) == (reason, 100 * 150 if reason else 100)


def test_files_are_visited_whole_or_refused(device: Device, plain_kernels: None) -> None:
    """A tolerance is kept by a visit of all pairs; prune=True cannot be."""
    x, y = points(100), points(150, 1)
    sums = Genred("Exp(-500 * SqDist(x, y))", ALIASES, "Sum", axis=1)
    np.testing.assert_allclose(sums(x, Stored(y), atol=1e-3), sums(x, y), rtol=1e-5)
    assert "visited all 15,000 pairs: arrays are read block by block" in explanation(sums)
    with pytest.raises(
        OptionError, match="prune=True sorts the points in memory, but this call reads its arrays block"
    ):
        nearest(5)(x, Stored(y), prune=True)


def test_jax_skips_pairs_inside_and_outside_of_its_transforms(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = pytest.importorskip("jax")
    from clreduce.jax import Genred as OfJax

    monkeypatch.setattr(work, "_PAIRS_PER_SELECTED", 0)
    monkeypatch.setattr(selected_visits, "_ON_GPUS", 0)
    x, y = jax.numpy.asarray(points(200)), jax.numpy.asarray(points(300, 1))
    both = OfJax("SqDist(x, y) + 6", ALIASES, "KMin_ArgKMin", axis=1, opt_arg=3)
    smallest = OfJax("SqDist(x, y) + 6", ALIASES, "Min", axis=1)
    whole = both(x, y, prune=False)
    for function in (both, jax.jit(lambda *arrays: both(*arrays, prune=True))):
        running.LAST.clear()
        pruned = function(x, y) if function is not both else both(x, y, prune=True)
        for result, expected in zip(pruned, whole, strict=True):
            np.testing.assert_array_equal(result, expected)
        assert running.LAST[both.program].visited < 200 * 300

    def total(prune: bool) -> Any:
        return lambda *arrays: (smallest(*arrays, prune=prune) ** 2).sum()

    gradients, expected = (jax.jit(jax.grad(total(prune), (0, 1)))(x, y) for prune in (True, False))
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-4)
    assert running.LAST[smallest.program.residual].visited < 200 * 300
    for derivative in smallest.program.vjp([0, 1]):
        assert running.LAST[derivative.program].visited == 200
    batch = jax.numpy.stack((x, x[::-1]))
    mapped = jax.vmap(lambda points: both(points, y, prune=True)[1])(batch)
    np.testing.assert_array_equal(mapped[0], whole[1])
    sums = OfJax("Exp(-1000 * SqDist(x, y))", ALIASES, "Sum", axis=1)
    near = jax.jit(lambda *arrays: sums(*arrays, atol=1e-3))(x, y)
    assert np.abs(near - sums(x, y)).max() <= 1.01e-3
    assert running.LAST[sums.program].visited < 200 * 300
