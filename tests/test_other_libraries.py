"""Arrays and tables of other libraries, where they are installed; `test_inputs` has what they have in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import clreduce as cr
from clreduce.errors import DtypeError, ShapeError
from clreduce.numpy import LazyTensor, Vi, Vj

pytestmark = pytest.mark.usefixtures("plain_kernels")

rng = np.random.default_rng(0)
x, y, w = rng.normal(size=(5, 3)), rng.normal(size=(7, 3)), rng.normal(size=7)
DISTANCES = ((x[:, None] - y) ** 2).sum(-1)


@pytest.fixture(autouse=True)
def doubles_of_jax() -> Iterator[None]:
    if importlib.util.find_spec("jax") is None:
        yield
        return
    import jax

    with (jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64)(True):
        yield


def frame(values: Any) -> Any:
    pandas = pytest.importorskip("pandas")
    return (
        pandas.Series(values) if values.ndim == 1 else pandas.DataFrame(values, columns=list("abc")[: values.shape[1]])
    )


def table(values: Any) -> Any:
    polars = pytest.importorskip("polars")
    return polars.Series(values) if values.ndim == 1 else polars.DataFrame(values)


def labelled(values: Any) -> Any:
    return pytest.importorskip("xarray").DataArray(values)


def of_jax(values: Any) -> Any:
    return pytest.importorskip("jax").numpy.asarray(values)


KINDS = {"pandas": frame, "polars": table, "xarray": labelled, "jax": of_jax}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("module", [cr.numpy, cr.torch, cr])
@pytest.mark.filterwarnings("error")
def test_tables_and_arrays_are_read(kind: str, module: ModuleType) -> None:
    lent: Callable[[Any], Any] = KINDS[kind]
    expected = torch.Tensor if module is cr.torch else type(lent(x)) if (kind, module) == ("jax", cr) else np.ndarray
    K = module.Vi(lent(x)).sqdist(module.Vj(lent(y)))
    np.testing.assert_allclose(K.dense(), DISTANCES)
    np.testing.assert_allclose(K @ lent(w), DISTANCES @ w)
    routine = module.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)
    result = routine(lent(x), lent(y))
    assert isinstance(result, expected)
    np.testing.assert_allclose(result[:, 0], DISTANCES.sum(1))
    S = (-module.Vi(lent(x)).sqdist(module.Vj(lent(x)))).exp()
    solution = S.solve(lent(x[:, :1]), alpha=1.0, eps=1e-9)
    dense = np.exp(-((x[:, None] - x) ** 2).sum(-1)) + np.eye(5)
    np.testing.assert_allclose(solution, np.linalg.solve(dense, x[:, :1]), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_beside_a_matrix_are_refused_as_arrays_are(kind: str) -> None:
    K, weights = Vi(x).sqdist(Vj(y)), KINDS[kind](w)
    for call in (lambda: K * weights, lambda: weights * K):
        with pytest.raises((ShapeError, TypeError)) as caught:
            call()
        # polars asks nobody else before it refuses
        assert "Vj(w[:, None])" in str(caught.value) or kind == "polars"


def test_memory_of_jax_is_not_copied() -> None:
    lent = of_jax(x)
    (data,) = Vi(lent).variables
    assert data.__array_interface__["data"][0] == lent.unsafe_buffer_pointer()


def test_data_frames_leave_operators_to_the_tensor() -> None:
    pandas = pytest.importorskip("pandas")
    scaled = pandas.Series([1.0, 2.0, 3.0]) * Vj(y)  # one number for each component
    assert isinstance(scaled, LazyTensor)
    np.testing.assert_allclose(scaled.sum(axis=1), (y * [1, 2, 3]).sum(0)[None])
    with pytest.raises(ShapeError, match=r"Vi\(w\)"):
        frame(x) - Vj(y)


def test_what_they_have_no_numbers_for() -> None:
    with pytest.raises(ShapeError, match=r"with columns that are no numbers; write x\[columns\]"):
        Vi(pytest.importorskip("pandas").DataFrame({"a": ["x"], "b": [1.0]}))
    jax = pytest.importorskip("jax")
    for transform in (jax.jit, jax.grad):
        with pytest.raises((ShapeError, DtypeError), match="outside of jit"):
            transform(lambda points: Vi(points).sqdist(Vj(y)).sum())(of_jax(x))
    with pytest.raises(ShapeError, match="of a dtype that NumPy does not have"):
        Vi(jax.numpy.asarray(x, jax.numpy.bfloat16))
