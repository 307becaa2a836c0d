"""Arrays on their way to kernels and back: by their address, mapped, or copied; the numbers are the same."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clreduce.errors import DeviceError, ShapeError
from clreduce.numpy import Genred, KernelSolve
from clreduce.runtime.memory import Memory

pytestmark = pytest.mark.usefixtures("plain_kernels")
ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1)
LONG = Genred("Sum(x * y) * b", ["x = Vi(40)", "y = Vj(40)", "b = Vj(1)"], "Sum", axis=1)
SOLVE = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)


def arrays(dtype: str, batch: tuple[int, ...] = (), dim: int = 2) -> list[Any]:
    random = np.random.default_rng(0)
    shapes = (*batch, 19, dim), (*batch, 23, dim), (*batch, 23, 1)
    return [random.uniform(-0.5, 0.5, shape).astype(dtype) for shape in shapes]


def dense(x: Any, y: Any) -> Any:
    return np.exp(-((x[..., :, None, :] - y[..., None, :, :]).astype(float) ** 2).sum(-1))


@pytest.fixture(params=["in place", "copied"])
def moved(request: pytest.FixtureRequest, device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The device, whose arrays are used in place, or copied to and fro though that would not be needed."""
    import pyopencl as cl

    if request.param == "copied":
        facts = replace(device.facts, maps_memory=False, shares_addresses=False)
        monkeypatch.setattr(device, "facts", facts)
        monkeypatch.delattr(cl, "enqueue_map_buffer")
        monkeypatch.delattr(cl, "SVM")
    return device


def test_a_plain_call(moved: Any) -> None:
    x, y, b = arrays("float32")
    np.testing.assert_allclose(GAUSSIAN(x, y, b), dense(x, y) @ b, rtol=1e-5, atol=1e-5)
    (gradient,) = GAUSSIAN.vjp(x, y, b, cotangent=np.ones((19, 1), np.float32), wrt="b")
    np.testing.assert_allclose(gradient, dense(x, y).sum(0)[:, None], rtol=1e-5, atol=1e-5)


def test_values_that_are_stored_beforehand(moved: Any) -> None:
    x, y, b = arrays("float32", dim=40)
    np.testing.assert_allclose(LONG(x, y, b), x.astype(float) @ y.T @ b, rtol=1e-4, atol=1e-4)


def test_a_batch(moved: Any) -> None:
    x, y, b = arrays("float32", (2, 3))
    np.testing.assert_allclose(GAUSSIAN(x, y[0], b[:, :1]), dense(x, y[:1]) @ b[:, :1], rtol=1e-5, atol=1e-5)


def test_ranges(moved: Any) -> None:
    x, y, b = arrays("float32")
    half = np.array([[0, 10], [10, 19]]), np.array([1, 2]), np.array([[0, 5], [4, 23]])
    found = GAUSSIAN(x, y, b, ranges=(*half, *(np.zeros(shape, int) for shape in ((0, 2), 0, (0, 2)))))
    kernel = dense(x, y)
    kernel[:10, 5:] = kernel[10:, :4] = 0
    np.testing.assert_allclose(found, kernel @ b, rtol=1e-5, atol=1e-5)


def test_systems(moved: Any) -> None:
    """Their products are calls that are repeated."""
    _, y, b = arrays("float32", (2,))
    found = SOLVE(y, y, b, alpha=0.5)
    np.testing.assert_allclose(dense(y, y) @ found + 0.5 * found, b, atol=1e-4)


def test_sizes_just_above_a_limit_are_told_apart(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "facts", replace(device.facts, max_allocation=2**23, shares_addresses=False))
    with pytest.raises(DeviceError, match=r"8,388,612 bytes .* up to 8,388,608 bytes"):
        Memory(device).scratch(2**21 + 1, "float32")


@pytest.mark.parametrize("where", ["Buffer", "enqueue_map_buffer", "finish"])
@pytest.mark.parametrize(("code", "words"), [(-4, "ran out of memory.*fewer rows"), (-36, "failed in a call")])
def test_what_drivers_report(device: Any, monkeypatch: pytest.MonkeyPatch, where: str, code: int, words: str) -> None:
    import pyopencl as cl

    error = cl.MemoryError(cl._cl._ErrorRecord("enqueue", code, "none left"))

    def fail(*given: Any, **named: Any) -> Any:
        raise error

    class Queue(cl.CommandQueue):  # type: ignore[misc]
        def finish(self) -> None:
            raise error

    monkeypatch.setattr(device, "facts", replace(device.facts, shares_addresses=False))
    x, y, b = arrays("float32")
    GAUSSIAN(x, y, b)
    kept = device.queue
    try:
        if where == "finish":
            device._of_thread.queue = Queue(device.context)
        else:
            monkeypatch.setattr(cl, where, fail)
        with pytest.raises(DeviceError, match=words) as caught:
            GAUSSIAN(x, y, b)
        assert device.name in str(caught.value)
    finally:
        monkeypatch.undo()
        device._of_thread.queue = kept


def test_more_batch_dimensions_than_broadcasting_takes() -> None:
    x, y, b = arrays("float32")
    with pytest.raises(ShapeError, match=r"x = Vi\(2\) has 31 batch dimensions .*, and 30 is the most"):
        GAUSSIAN(x.reshape((1,) * 31 + x.shape), y, b)


def test_an_estimate_copies_nothing(device: Any) -> None:
    x = np.broadcast_to(np.zeros(2, np.int32), (2**37, 2))  # a terabyte, were it copied
    _, y, b = arrays("float32")
    found = GAUSSIAN.memory_estimate(x, y, b)
    results = 2**37
    # as float64, which int32 and float32 are together
    assert found.host == 8 * (2 * 2**37 + y.size + b.size + results)
    assert found.blocks > 1
    assert found.total <= device.facts.global_memory


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_a_result_that_no_host_takes_is_refused_before_arrays_are_copied(device: Any, dtype: Any) -> None:
    if dtype is np.int32 and not device.facts.has_double:
        pytest.skip("integers are computed in float64")
    _, y, b = arrays("float32")
    with pytest.raises(DeviceError, match=r"no memory for the result.*fewer rows"):
        GAUSSIAN(np.broadcast_to(np.zeros(2, dtype), (2**38, 2)), y, b)


BATCH = 5000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each array that kernels are given to read."""
    sizes: list[int] = []
    make = Memory.input

    def watched(memory: Memory, array: Any) -> Any:
        sizes.append(array.nbytes)
        return make(memory, array)

    monkeypatch.setattr(Memory, "input", watched)
    return sizes


def in_batch(dtype: str) -> list[Any]:
    """Arrays that a batch of tiny ones, of which only ``b`` differs from index to index, broadcasts to."""
    x, y, _ = arrays(dtype, dim=40)
    b = np.random.default_rng(0).random((BATCH, len(y), 1)).astype(dtype)
    return [np.broadcast_to(x, (BATCH, *x.shape)), np.broadcast_to(y, (BATCH, *y.shape)), b]


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_batch_that_repeats_an_array_takes_its_memory_once(device: Any, read: list[int], dtype: str) -> None:
    x, y, b = in_batch("float32")
    few = (10 * x[0]).astype(dtype)
    x = np.broadcast_to(few, (BATCH, *few.shape))  # of integers it is converted, too
    expected = LONG(few, y[0], b[-1])
    read.clear()
    tracemalloc.start()
    result = LONG(x, y, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(result[-1], expected)
    tables = 3 * 8 * BATCH
    assert sum(read) < b.nbytes + 2 * tables < x.nbytes, "a table for each kernel: where the data of each index begin"
    assert peak < result.nbytes + 8 * tables < x.nbytes


def test_gradients_of_a_batch_that_repeats_an_array(device: Any, read: list[int]) -> None:
    x, y, b = in_batch("float32")
    e = np.ones((BATCH, len(x[0]), 1), np.float32)
    in_x = LONG.vjp(x, y, b, cotangent=e)[0]
    np.testing.assert_array_equal(in_x[-1], LONG.vjp(x[0], y[0], b[-1], cotangent=e[0])[0])
    assert in_x.shape == x.shape
    assert max(read) <= max(b.nbytes, e.nbytes, 4 * 8 * BATCH) < x.nbytes


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("grad", [False, True])
def test_an_expanded_tensor_takes_its_memory_once(device: Any, read: list[int], dtype: str, grad: bool) -> None:
    torch = pytest.importorskip("torch")
    from clreduce.torch import Genred as TorchGenred

    routine = TorchGenred("Sum(x * y) * b", ["x = Vi(40)", "y = Vj(40)", "b = Vj(1)"], "Sum", axis=1)
    x, y, b = (torch.from_numpy(np.array(array)) for array in (in_batch("float32")[0][0], *in_batch("float32")[1:]))
    x = (10 * x).to(getattr(torch, dtype))
    b.requires_grad_(grad)
    expected = routine(x, y[0], b[-1])
    read.clear()
    result = routine(x.expand(BATCH, *x.shape), y[0].expand(BATCH, *y[0].shape), b)
    torch.testing.assert_close(result[-1], expected, rtol=0, atol=0)
    assert max(read) <= max(b.nbytes, 3 * 8 * BATCH) < BATCH * x.nbytes


def test_a_result_of_tensors_that_no_host_takes_is_refused_before_they_are_copied(device: Any) -> None:
    torch = pytest.importorskip("torch")
    from clreduce.torch import Genred as TorchGenred

    routine = TorchGenred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1)
    _, y, b = map(torch.from_numpy, arrays("float32"))
    for dtype in (torch.float32, torch.int32):
        with pytest.raises(DeviceError, match=r"no memory for the result.*fewer rows"):
            routine(torch.zeros((1, 2), dtype=dtype).expand(2**38, 2), y, b)
