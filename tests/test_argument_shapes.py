"""Numbers for each row come as the reference takes them: (N,) for `Vj(1)`, scalars for `Pm(1)`, (B, N) in a batch."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import DTYPES, TOLERANCE, Array

from clreduce.errors import ShapeError
from clreduce.numpy import Genred, KernelSolve, Vi, Vj, generic_sum
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
ALIASES = ["x = Vi(3)", "y = Vj(3)", "a = Vi(1)", "b = Vj(1)", "p = Pm(1)"]
FORMULA = "Exp(-p * SqDist(x, y)) * (a + b)"
KERNEL = Genred(FORMULA, ALIASES, "Sum", axis=1)


def data(batch: tuple[int, ...], m: int, n: int, dtype: str) -> list[Array]:
    """Arrays with all of their axes; in a batch each has its dimensions."""
    rng = np.random.default_rng(m + 7 * n)
    shapes = ((m, 3), (n, 3), (m, 1), (n, 1), (1,))
    return [rng.uniform(0.2, 1.0, (*batch, *shape)).astype(dtype) for shape in shapes]


def dense(x: Array, y: Array, a: Array, b: Array, p: Array) -> Array:
    """The terms added up in float64, by arrays with all of their axes."""
    x, y, a, b, p = (array.astype(float) for array in (x, y, a, b, p))
    distances = ((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)
    terms = np.exp(-p[..., None] * distances) * (a + b[..., None, :, 0])
    return terms.sum(-1, keepdims=True)


@settings(max_examples=25)
@given(data_=st.data())
def test_any_variable_of_length_1_may_come_without_its_last_axis(data_: st.DataObject, device: Device) -> None:
    batch = data_.draw(st.sampled_from([(), (2,), (3, 2)]))
    m, n = (data_.draw(st.integers(1, 5)) for _ in range(2))
    dtype = data_.draw(st.sampled_from(DTYPES[: 1 + device.facts.has_double]))
    full = data(batch, m, n, dtype)
    short = [at for at in (2, 3, 4) if data_.draw(st.booleans())]
    arrays = [array[..., 0] if at in short else array for at, array in enumerate(full)]
    expected = dense(*full)
    found = KERNEL(*arrays)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=10 * TOLERANCE[dtype])
    cotangent = np.ones_like(found)
    for given_shape, gradient, whole in zip(
        arrays, KERNEL.vjp(*arrays, cotangent=cotangent), KERNEL.vjp(*full, cotangent=cotangent), strict=True
    ):
        assert gradient.shape == given_shape.shape
        np.testing.assert_array_equal(gradient, whole.reshape(gradient.shape))
    forward = KERNEL.jvp(*arrays, tangents=dict(enumerate(arrays)))
    np.testing.assert_array_equal(forward, KERNEL.jvp(*full, tangents=dict(enumerate(full))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_dimensional_data_alone(dtype: str, device: Device) -> None:
    if dtype == "float64" and not device.facts.has_double:
        dtype = "float32"
    x, y = np.linspace(0, 1, 5).astype(dtype), np.linspace(0, 2, 7).astype(dtype)
    expected = np.exp(-((x[:, None].astype(float) - y) ** 2))
    for axis in (0, 1):
        found = Genred("Exp(-Square(x - y))", ["x = Vi(1)", "y = Vj(1)"], axis=axis)(x, y)
        np.testing.assert_allclose(found, expected.sum(axis)[:, None], rtol=10 * TOLERANCE[dtype])
    found = generic_sum("Exp(-Square(x - y))", "a = Vi(1)", "x = Vi(1)", "y = Vj(1)")(x, y[:, None])
    np.testing.assert_allclose(found, expected.sum(1)[:, None], rtol=10 * TOLERANCE[dtype])
    found = (-((Vi(0, 1) - Vj(1, 1)) ** 2)).exp().sum(1)(x, y)
    np.testing.assert_allclose(found, expected.sum(1)[:, None], rtol=10 * TOLERANCE[dtype])


def test_a_vector_of_all_batches_serves_each(device: Device) -> None:
    x, y, a, b, _ = data((2,), 4, 5, "float32")
    np.testing.assert_allclose(KERNEL(x, y, a, b[0, :, 0], 0.7), KERNEL(x, y, a, b[:1], [0.7]), rtol=1e-6)


def test_batches_of_one_row(device: Device) -> None:
    """(B, 1) is N = 1 where the other vectors of j say so, not one vector of length B."""
    x, y, a, b, p = data((4,), 3, 1, "float32")
    np.testing.assert_array_equal(KERNEL(x, y, a, b[..., 0], p[:, 0]), KERNEL(x, y, a, b, p))


def test_the_solution_has_the_shape_of_the_right_hand_side(device: Device) -> None:
    rng = np.random.default_rng(0)
    solver = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], "b", axis=1)
    for batch in ((), (3,)):
        x, b = rng.normal(size=(*batch, 6, 2)).astype("float32"), rng.normal(size=(*batch, 6)).astype("float32")
        found, info = solver(x, x, b, alpha=0.5, info=True)
        assert found.shape == b.shape
        assert info.residuals.shape == (*batch, 1)
        exact = x.astype(float)
        kernel = np.exp(-((exact[..., :, None, :] - exact[..., None, :, :]) ** 2).sum(-1)) + 0.5 * np.eye(6)
        np.testing.assert_allclose(found, np.linalg.solve(kernel, b[..., None])[..., 0], rtol=1e-3, atol=1e-4)
        assert solver.vjp(x, x, b, alpha=0.5, cotangent=found, wrt="b")[0].shape == b.shape
        assert solver.jvp(x, x, b, alpha=0.5, tangents={"b": b}).shape == b.shape
        assert solver.hvp(x, x, b, alpha=0.5, cotangent=found, tangents={"x": x}, wrt="b")[0].shape == b.shape
        assert solver(x, x, b, alpha=0.5, x0=found).shape == b.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: np.zeros(3)}, r"x = Vi\(3\) must have .*\(3,\): for one row, write x\[None, :\]; .* is a parameter, Pm"),
        ({0: np.zeros(9)}, r"got \(9,\): one number for each row is Vi\(1\); .*write x.reshape\(-1, 3\)"),
        ({1: np.zeros(4)}, r"got \(4,\): one number for each row is Vj\(1\)$"),
        ({3: np.zeros(())}, r"b = Vj\(1\) must have .*got \(\): a number for all rows is a parameter, Pm\(1\)"),
        ({3: np.zeros((7, 3))}, r"b = Vj\(1\) has 1 column; .*\(7, 3\): vectors are Vj\(3\); .*b\[..., None\]"),
        ({2: np.zeros(6)}, r"must have the same number of rows M; got shapes \(5, 3\) and \(6,\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(changes: dict[int, Array], message: str) -> None:
    arrays = data((), 5, 7, "float64")
    with pytest.raises(ShapeError, match=message):
        KERNEL(*(changes.get(at, array) for at, array in enumerate(arrays)))


@needs_torch
@pytest.mark.parametrize(("dtype", "batch"), [("float32", ()), ("float64", (2,))])
def test_gradients_of_tensors_have_their_shapes(dtype: str, batch: tuple[int, ...], device: Device) -> None:
    import torch

    from clreduce.torch import Genred as TorchGenred

    if dtype == "float64" and not device.facts.has_double:
        dtype = "float32"
    kernel = TorchGenred(FORMULA, ALIASES, "Sum", axis=1)

    def plain(*tensors: torch.Tensor) -> Any:
        x, y, a, b, p = tensors
        distances = ((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)
        return (torch.exp(-p[..., None, None] * distances) * (a[..., None] + b[..., None, :])).sum(-1)

    full = [torch.from_numpy(array) for array in data(batch, 4, 6, dtype)]
    tensors = [t if n < 2 else t[..., 0].clone() for n, t in enumerate(full)]
    tensors = [t.requires_grad_() for t in tensors]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    found, expected = kernel(*tensors)[..., 0], plain(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    slopes = torch.autograd.grad(found.sin().sum(), tensors, create_graph=True)
    exact_slopes = torch.autograd.grad(expected.sin().sum(), exact, create_graph=True)
    for slope, exact_slope, tensor in zip(slopes, exact_slopes, tensors, strict=True):
        assert slope.shape == tensor.shape
        torch.testing.assert_close(slope.double(), exact_slope, rtol=1e-4, atol=1e-4)
    second = torch.autograd.grad(sum(s.sum() for s in slopes), tensors)
    exact_second = torch.autograd.grad(sum(s.sum() for s in exact_slopes), exact)
    for slope, exact_slope, tensor in zip(second, exact_second, tensors, strict=True):
        assert slope.shape == tensor.shape
        torch.testing.assert_close(slope.double(), exact_slope, rtol=1e-3, atol=1e-3)


@needs_torch
def test_transforms_of_torch_take_numbers_for_each_row(device: Device) -> None:
    import torch

    from clreduce.torch import Genred as TorchGenred

    kernel = TorchGenred(FORMULA, ALIASES, "Sum", axis=1)
    x, y, a, b, p = (torch.from_numpy(array) for array in data((3,), 4, 6, "float32"))
    found = torch.func.vmap(kernel)(x, y, a[..., 0], b[..., 0], p[:, 0])
    torch.testing.assert_close(found, kernel(x, y, a, b, p))
    found = torch.func.vmap(kernel, (None, None, None, 0, None))(x[0], y[0], a[0, :, 0], b[..., 0], p[0, 0])
    torch.testing.assert_close(found[1], kernel(x[0], y[0], a[0], b[1], p[0]))
    slope = torch.func.grad(lambda b: kernel(x[0], y[0], a[0], b, p[0]).sum())(b[0, :, 0])
    assert slope.shape == (6,)
    _, forward = torch.func.jvp(lambda b: kernel(x[0], y[0], a[0], b, p[0]), (b[0, :, 0],), (b[1, :, 0],))
    torch.testing.assert_close(forward.sum(), (slope * b[1, :, 0]).sum())
