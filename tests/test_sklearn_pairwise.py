"""`pairwise_reduce` gives what the matrix of distances gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy.sparse import csr_array
from sklearn.metrics import pairwise_distances

from clreduce.distance.reducing import REDUCTIONS
from clreduce.errors import OptionError, ShapeError
from clreduce.sklearn import pairwise_reduce

pytestmark = pytest.mark.usefixtures("plain_kernels")
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), rng.normal(size=(9, 3))


def dense(name: str, matrix: Any) -> Any:
    """The reduction of each row, by NumPy."""
    order = np.argsort(matrix, axis=1, kind="stable")
    largest = np.argsort(-matrix, axis=1, kind="stable")
    lists = {"argkmin": order[:, :4], "argkmax": largest[:, :4]}
    lists |= {name[3:]: np.take_along_axis(matrix, places, 1) for name, places in list(lists.items())}
    if name in lists:
        return lists[name]
    if "_" in name:
        return tuple(dense(part, matrix) for part in name.split("_"))
    if name == "logsumexp":
        return np.log(np.exp(matrix).sum(axis=1))
    return getattr(np, name)(matrix, axis=1)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction(name: str, device: Any) -> None:
    k = 4 if "kmin" in name or "kmax" in name else None
    matrix = pairwise_distances(X, Y)
    for axis, table in ((1, matrix), (0, matrix.T)):
        ours, expected = pairwise_reduce(X, Y, name, k=k, axis=axis), dense(name, table)
        for found, right in zip(
            *(each if isinstance(each, tuple) else (each,) for each in (ours, expected)), strict=True
        ):
            assert found.shape == right.shape
            np.testing.assert_allclose(found, right, rtol=1e-10)


def test_weights_are_those_of_a_product() -> None:
    matrix = pairwise_distances(X, Y, "manhattan")
    for weights in (rng.normal(size=9), rng.normal(size=(9, 2))):
        np.testing.assert_allclose(pairwise_reduce(X, Y, "sum", metric="manhattan", weights=weights), matrix @ weights)
    over_x = pairwise_reduce(X, Y, "Sum", metric="manhattan", weights=X, axis=0)
    np.testing.assert_allclose(over_x, matrix.T @ X)


def test_one_set_of_points_and_its_dtype() -> None:
    single = X.astype("float32")
    assert pairwise_reduce(single, reduction="max").dtype == np.float32
    np.testing.assert_array_equal(pairwise_reduce(single), np.arange(12))
    assert pairwise_reduce(np.arange(6).reshape(3, 2), reduction="mean").dtype == np.float64


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"reduction": "argmax_"}, OptionError, "did you mean 'argmax'"),
        ({"reduction": 3}, OptionError, "unknown reduction 3"),
        ({"reduction": "kmin"}, OptionError, "needs k"),
        ({"reduction": "min", "k": 3}, OptionError, "only the reductions with .* take k; got k=3"),
        ({"reduction": "max", "weights": [1.0]}, OptionError, "only the reduction 'sum' takes weights"),
        ({"reduction": "sum", "weights": [1.0, 2.0]}, ShapeError, r"\(9,\)"),
        ({"axis": 2}, OptionError, "axis is 1"),
    ],
)
def test_what_is_wrong_is_told(options: dict[str, Any], error: Any, told: str) -> None:
    with pytest.raises(error, match=told):
        pairwise_reduce(X, Y, **options)
    with pytest.raises(TypeError, match="dense data is required"):
        pairwise_reduce(csr_array(X), Y)
    with pytest.raises(ValueError, match="Incompatible dimension"):
        pairwise_reduce(X, Y[:, :2])
