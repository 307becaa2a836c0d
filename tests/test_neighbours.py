"""Terms within a radius, products of symbolic matrices and blocks of them give what NumPy gives on dense arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator, cg

import clreduce as cr
from clreduce.errors import ShapeError

pytestmark = pytest.mark.usefixtures("plain_kernels")

rng = np.random.default_rng(0)
x, y, v = rng.normal(size=(9, 2)), rng.normal(size=(11, 2)), rng.normal(size=(11, 3))
SQUARES = ((x[:, None] - y) ** 2).sum(-1)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("r", [-1.0, 0.3, 2.0, 100.0])
def test_all_terms_within_a_radius(convert: Any, r: float) -> None:
    K = cr.Vi(convert(x)).sqdist(cr.Vj(convert(y)))
    for near, dense in ((K.radius(r), SQUARES), (K.radius(r, axis=0), SQUARES.T)):
        np.testing.assert_array_equal(near.counts, (dense <= r).sum(1))
        for row, terms in enumerate(dense):
            part = slice(int(near.offsets[row]), int(near.offsets[row + 1]))
            expected = [j for j in np.argsort(terms) if terms[j] <= r]
            assert near.indices[part].tolist() == expected
            np.testing.assert_allclose(near.values[part], terms[expected])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(("rows", "columns"), [(4, 0), (0, 5), (0, 0), (4, 5)])
def test_no_terms_within_a_radius(convert: Any, rows: int, columns: int) -> None:
    K = cr.Vi(convert(np.zeros((rows, 2)))).sqdist(cr.Vj(convert(np.ones((columns, 2)))))
    near = K.radius(1.0)
    assert (near.counts.shape, near.offsets.tolist(), len(near.indices)) == ((rows,), [0] * (rows + 1), 0)
    assert near.values.dtype == K.dtype


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_terms_within_a_radius_in_a_batch(convert: Any) -> None:
    both, dense = np.stack([x, 2 * x]), np.stack([SQUARES, ((2 * x[:, None] - y) ** 2).sum(-1)])
    near = cr.LazyTensor(convert(both[:, :, None])).sqdist(cr.Vj(convert(y))).radius(1.0)
    np.testing.assert_array_equal(near.counts, (dense <= 1.0).sum(-1))
    for row, terms in enumerate(dense.reshape(18, 11)):
        part = slice(int(near.offsets[row]), int(near.offsets[row + 1]))
        assert near.indices[part].tolist() == [j for j in np.argsort(terms) if terms[j] <= 1.0]


def test_sorted_terms() -> None:
    K = cr.Vi(x).sqdist(cr.Vj(y))
    np.testing.assert_array_equal(K.argsort(4), np.argsort(SQUARES, axis=-1)[:, :4])
    places = K.topk(3)[1]
    np.testing.assert_array_equal(places, np.argsort(-SQUARES)[:, :3])
    np.testing.assert_allclose(K.topk(3, largest=False)[0], np.sort(SQUARES)[:, :3])
    with pytest.raises(ShapeError, match="one real number for each pair"):
        (cr.Vi(x) - cr.Vj(y)).radius(1.0)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_products_and_blocks(convert: Any) -> None:
    K = (-cr.Vi(convert(x)).sqdist(cr.Vj(convert(y)))).exp()
    S = (-cr.Vi(convert(y)).sqdist(cr.Vj(convert(y)))).exp()
    dense, square = np.exp(-SQUARES), np.exp(-((y[:, None] - y) ** 2).sum(-1))
    b, u = convert(v), convert(x)
    np.testing.assert_allclose(K.T @ K @ b, dense.T @ dense @ v)
    np.testing.assert_allclose((K @ S @ K.T) @ u, dense @ square @ dense.T @ x)
    np.testing.assert_allclose((K @ S).T @ u, (dense @ square).T @ x)
    np.testing.assert_allclose(K @ (S @ K.T) @ u[:, 0], dense @ square @ dense.T @ x[:, 0])
    whole = np.block([[square, dense.T], [dense, np.zeros((9, 9))]])
    both = cr.block([[S, K.T], [K, None]])
    w = rng.normal(size=(20, 2))
    assert both.shape == whole.shape
    np.testing.assert_allclose(both @ convert(w), whole @ w)
    np.testing.assert_allclose(both.T @ convert(w[:, 0]), whole.T @ w[:, 0])
    for mistake in (lambda: K @ K, lambda: (K @ S) @ u, lambda: cr.block([[S, K]]), lambda: cr.block([])):
        with pytest.raises(ShapeError):
            mistake()


def test_blocks_are_operators_of_scipy() -> None:
    S = (-cr.Vi(y).sqdist(cr.Vj(y))).exp() + (cr.Vi(y) | cr.Vj(y)) * 0 + 0
    ridge = S + 2 * (S.i == S.j)
    system = aslinearoperator(cr.block([[ridge, None], [None, ridge]]))
    b = np.ones(22)
    solution, failed = cg(system, b, rtol=1e-10)
    assert not failed
    np.testing.assert_allclose(system @ solution, b, rtol=1e-6)
