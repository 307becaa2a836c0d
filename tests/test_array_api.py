"""`clreduce.LazyTensor` and its kin take arrays of any library of the array API standard, and give such arrays."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import pytest

import clreduce
from clreduce.adapters import foreign
from clreduce.distance import cdist_reduce
from clreduce.errors import DeviceError

xp = pytest.importorskip("array_api_strict")
pytestmark = pytest.mark.usefixtures("device", "plain_kernels")
ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"]
GAUSSIAN = "Exp(-SqDist(x, y)) * b"


def some(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


def same(found: Any, wanted: Any, device: str = "CPU_DEVICE") -> None:
    assert type(found) is type(xp.asarray(0.0))
    assert found.device == xp.Device(device)
    moved = found.to_device(xp.Device("CPU_DEVICE"))
    assert moved.dtype == xp.asarray(wanted).dtype
    np.testing.assert_allclose(np.from_dlpack(moved), wanted, 1e-9)


def test_genred_and_its_derivatives() -> None:
    arrays, (e,) = some((8, 3), (9, 3), (9, 2)), some((8, 2))
    given, incoming = [xp.asarray(array) for array in arrays], xp.asarray(e)
    routine = clreduce.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)
    same(routine(*given), routine(*arrays))
    for found, wanted in zip(
        routine.vjp(*given, cotangent=incoming), routine.vjp(*arrays, cotangent=e), strict=True
    ):  # fmt: skip
        same(found, wanted)
    same(routine.grad("x")(*given, incoming), routine.grad("x")(*arrays, e))
    same(routine.jvp(*given, tangents={"x": given[0]}), routine.jvp(*arrays, tangents={"x": arrays[0]}))
    assert isinstance(routine(*arrays), np.ndarray)


def test_tensors_and_solves() -> None:
    x, y, b, v = some((8, 3), (9, 3), (9, 2), (8,))

    def gaussian(asarray: Any) -> Any:
        return (-((clreduce.Vi(asarray(x)) - clreduce.Vj(asarray(y))) ** 2).sum(-1)).exp()

    here, there = gaussian(xp.asarray), gaussian(np.asarray)
    same(here @ xp.asarray(b), there @ b)
    same(here.__rmatmul__(xp.asarray(v)), v @ there)  # array-api-strict itself does not ask others
    same(here.T @ xp.asarray(v), there.T @ v)
    same((here * clreduce.Vj(xp.asarray(b))).sum(axis=1), (there * clreduce.Vj(b)).sum(axis=1))
    same(here.sum(axis=None), there.sum(axis=None))
    same(here.argKmin(2, axis=1), there.argKmin(2, axis=1))
    same(here.dense(), there.dense())
    square = (clreduce.Vi(xp.asarray(x)) | clreduce.Vj(xp.asarray(x))) + 0
    plain = (clreduce.Vi(x) | clreduce.Vj(x)) + 0
    same(square.solve(xp.asarray(v), alpha=1.0), plain.solve(v, alpha=1.0))
    solve = clreduce.KernelSolve(GAUSSIAN, ALIASES, "b", axis=1)
    same(solve(xp.asarray(y), xp.asarray(y), xp.asarray(b), alpha=1.0), solve(y, y, b, alpha=1.0))


def test_results_are_on_the_device_of_the_first_array() -> None:
    x, y, b = some((8, 3), (9, 3), (9, 2))
    routine = clreduce.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)
    given = [xp.asarray(array, device=xp.Device("device1")) for array in (x, y, b)]
    same(routine(*given), routine(x, y, b), "device1")
    (K,) = (clreduce.LazyTensor(xp.asarray(x[:, None], device=xp.Device("device1"))).sqnorm2(),)
    same(K.sum(axis=0), (x**2).sum().reshape(1, 1), "device1")


class OnGPU:
    """An array in a GPU's memory, as Numba has: no namespace, and a method that copies it."""

    __cuda_array_interface__: ClassVar[Any] = {"shape": (2, 3), "typestr": "<f8", "data": (1, False), "version": 3}

    def copy_to_host(self) -> Any:
        return np.ones((2, 3))


class Lost(OnGPU):
    """One that gives no copy."""

    copy_to_host = None  # type: ignore[assignment]


def test_arrays_of_a_gpu_are_staged_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_staged", set())
    routine = clreduce.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
    with pytest.warns(UserWarning, match="copied to the host for clreduce, and results back"):
        result = routine(OnGPU(), np.zeros((4, 3)))
    np.testing.assert_array_equal(result, np.full((2, 1), 12.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        routine(OnGPU(), OnGPU())
        assert clreduce.Vi(OnGPU()).shape == (2, 1, 3)
    with pytest.raises(DeviceError, match="cannot be copied to the host's memory"):
        routine(Lost(), np.zeros((4, 3)))


def test_arrays_of_pyopencl_are_dispatched() -> None:
    import pyopencl as cl
    import pyopencl.array

    context = cl.Context([clreduce.current_device().cl_device])
    queue = cl.CommandQueue(context)
    x = cl.array.to_device(queue, np.ones((4, 3)))
    assert isinstance(clreduce.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, x), cl.array.Array)
    assert type(clreduce.Vi(x)).__module__ == "clreduce.cl"


def test_roots_of_distances_are_arrays_of_the_library() -> None:
    x, y = some((8, 3), (9, 3))
    for reduction in ("min", "max", "sum"):
        found = cdist_reduce(xp.asarray(x), xp.asarray(y), "euclidean", reduction)
        same(found, cdist_reduce(x, y, "euclidean", reduction))
    values, places = cdist_reduce(xp.asarray(x), xp.asarray(y), "euclidean", "kmin_argkmin", k=2)
    for found, wanted in zip((values, places), cdist_reduce(x, y, reduction="kmin_argkmin", k=2), strict=True):
        same(found, wanted)
