"""Arrays of other libraries, and one entry that takes the front end by the arrays: converted cheaply, or one error."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest
import torch

import clreduce as cr
from clreduce.errors import DtypeError, ShapeError
from clreduce.numpy import Genred, LazyTensor, Vi, Vj

pytestmark = pytest.mark.usefixtures("plain_kernels")

rng = np.random.default_rng(0)
x, y, w = rng.normal(size=(5, 3)), rng.normal(size=(7, 3)), rng.normal(size=7)
DISTANCES = ((x[:, None] - y) ** 2).sum(-1)


class Frame:
    """A table as data frames are: with NumPy's protocol, and a method that converts."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.values, dtype)

    def to_numpy(self) -> Any:
        return self.values


LENT = {
    "tensor": torch.from_numpy, "frame": Frame, "list": np.ndarray.tolist,
    "memoryview": lambda values: memoryview(np.ascontiguousarray(values)),
}  # fmt: skip


@pytest.mark.parametrize("kind", LENT)
def test_arrays_of_other_libraries(kind: str) -> None:
    lent = LENT[kind]
    tensor = Vi(lent(x)).sqdist(Vj(lent(y)))
    np.testing.assert_allclose(tensor.dense(), DISTANCES)
    if kind != "list":
        np.testing.assert_allclose(tensor @ lent(w), DISTANCES @ w)
        routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)
        np.testing.assert_allclose(routine(lent(x), lent(y))[:, 0], DISTANCES.sum(1))
        np.testing.assert_allclose((LazyTensor(lent(x[:, None])) + 1).dense(), x[:, None] + 1)


SHOWN = {
    # how arrays reach the front end of PyTorch
    "array": np.asarray, "frame": Frame, "list": np.ndarray.tolist, "read-only": lambda values: _read_only(values),
    "reversed": lambda values: values[::-1].copy()[::-1], "swapped": lambda values: values.astype(">f8"),
}  # fmt: skip


def _read_only(values: Any) -> Any:
    values = values.copy()
    values.flags.writeable = False
    return values


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.filterwarnings("error")
def test_arrays_in_the_front_end_of_pytorch(kind: str) -> None:
    lent = SHOWN[kind]
    tensor = cr.torch.Vi(lent(x)).sqdist(cr.torch.Vj(torch.from_numpy(y)))
    np.testing.assert_allclose(tensor.dense(), DISTANCES)
    routine = cr.torch.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)
    found = routine(lent(x), torch.from_numpy(y))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found[:, 0], DISTANCES.sum(1))
    given = torch.from_numpy(y.copy()).requires_grad_()
    (cr.torch.Vi(lent(x)) | cr.torch.Vj(given)).sum(axis=1).sum().backward()
    np.testing.assert_allclose(given.grad, np.tile(x.sum(0), (7, 1)))


def test_memory_of_arrays_is_shared_where_pytorch_takes_it() -> None:
    (data,) = cr.torch.Vi(x).variables
    assert np.shares_memory(data, x)
    wide = np.broadcast_to(x[:1], (10**12, 3))  # numbers that are repeated are copied once
    assert cr.torch.Vi(wide).shape == (10**12, 1, 3)


@pytest.mark.parametrize("lent", [torch.from_numpy, Frame, np.ndarray.tolist])
@pytest.mark.parametrize("module", [cr.numpy, cr.torch])
def test_the_rule_holds_for_all_that_takes_arrays(lent: Any, module: Any) -> None:
    """Right-hand sides, cotangents, tangents, tables and ranges."""
    own = torch.from_numpy if module is cr.torch else np.asarray
    b = w[:5, None]
    K = (-module.Vi(own(x)).sqdist(module.Vj(own(x)))).exp()
    dense = np.exp(-((x[:, None] - x) ** 2).sum(-1))
    np.testing.assert_allclose(K.solve(lent(b), alpha=1.0, eps=1e-9), np.linalg.solve(dense + np.eye(5), b), rtol=1e-6)
    product = module.Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], axis=1)
    (gradient,) = product.vjp(own(x), own(x), lent(b), cotangent=lent(b), wrt="b")
    np.testing.assert_allclose(gradient, dense @ b)
    np.testing.assert_allclose(product.jvp(own(x), own(x), own(b), tangents={"b": lent(b)}), dense @ b)
    solve = module.KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "b", axis=1)
    found = solve(lent(x), lent(x), lent(b), alpha=1.0, eps=1e-9, x0=lent(0 * b))
    np.testing.assert_allclose(found, np.linalg.solve(dense + np.eye(5), b), rtol=1e-6)
    table = module.LazyTensor.lookup(lent(dense), own(np.array([0, 1])), own(np.array([2])))
    np.testing.assert_allclose(table.dense(), dense[:2, 2:3])
    np.testing.assert_allclose(
        lent(b.T) @ K if lent is not np.ndarray.tolist else K.__rmatmul__(lent(b.T)), b.T @ dense
    )


def test_tensors_are_not_copied() -> None:
    given = torch.from_numpy(x.copy())
    (data,) = Vi(given).variables
    assert np.shares_memory(data, given.numpy())


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: Vi(np.ma.masked_less(x, 0)), "write x.filled(0)"),
        (lambda: Vi(torch.ones(5, 3, requires_grad=True)), "write clreduce.torch"),
        (lambda: Vi(Frame(np.array([["a", 1]], object))), "to_numpy(float)"),
        (lambda: Genred("x", ["x = Vi(3)"])(Frame(np.array([["a", 1]], object))), "to_numpy(float)"),
        (lambda: Genred("x", ["x = Vi(3)"])([*x.tolist(), ["a"]]), "write np.asarray(x)"),
        (lambda: Genred("x", ["x = Vi(3)"])(Vi(x)), "write K.dense()"),
        (lambda: Vi(w), "write x[:, None]"), (lambda: Vj(array.array("d", [1.0, 2.0])), "axis=1"),
        (lambda: cr.Vi(torch.ones(5)), "write x[:, None]"),
        (lambda: Vi(x) @ [1.0], "one number for each pair"), (lambda: Vi(x).sum(-1) @ [1.0], "write np.asarray(x)"),
        (lambda: cr.torch.Vi(np.ma.masked_less(x, 0)), "write x.filled(0)"),
        (lambda: cr.torch.Vi(Frame(np.array([["a", 1]], object))), "torch.as_tensor(x[columns].to_numpy(float))"),
        (lambda: Vi(x).sqdist(Vj(x)).solve(w.tolist()[:5]), "write np.asarray(x)"),
        (lambda: Vi(x).sqdist(Vj(x)).solve(2.0), "right-hand side"),
        (lambda: [1.0, 2.0] @ Vi(x).sqdist(Vj(x)), "write np.asarray(x)"),
        (lambda: cr.numpy.cluster.grid_cluster(x.tolist(), 1.0), "write np.asarray(x)"),
    ],
)  # fmt: skip
def test_what_is_not_converted(mistake: Any, words: str) -> None:
    with pytest.raises((DtypeError, ShapeError)) as caught:
        mistake()
    assert words in str(caught.value)


def test_one_entry_for_arrays_and_tensors() -> None:
    for convert, module in ((np.asarray, cr.numpy), (torch.from_numpy, cr.torch)):
        i, j, b = convert(x), convert(y), convert(w[:, None])
        kernel = cr.Vi(i).sqdist(cr.LazyTensor(j[None])) * cr.Pm(2.0)
        assert type(kernel) is module.LazyTensor
        np.testing.assert_allclose(kernel @ b, 2 * DISTANCES @ w[:, None])
        routine = cr.Genred("SqDist(x, y) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], axis=1)
        found = routine(i, j, b)
        assert type(found) is type(b)
        np.testing.assert_allclose(found, DISTANCES @ w[:, None])
        gradient = routine.grad("b")(i, j, b, convert(np.ones((5, 1))))
        np.testing.assert_allclose(gradient[:, 0], DISTANCES.sum(0))
        assert len(routine.vjp(i, j, b, cotangent=convert(np.ones((5, 1))))) == 3
    assert routine.axis == 1
    assert "SqDist" in repr(routine)


def test_public_names_and_nothing_else() -> None:
    assert {"LazyTensor", "Genred", "tune", "check_health", "torch", "numpy"} <= set(dir(cr))
    assert not {"annotations", "TYPE_CHECKING", "Any", "runtime", "ir", "ops"} & set(dir(cr))
    for module in (cr.numpy, cr.torch):
        assert set(dir(module)) == set(module.__all__)
