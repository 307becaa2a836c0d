"""A `LazyTensor` as a linear operator of SciPy: products, eigenvalues, singular values, systems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg, eigsh, svds

from clreduce.numpy import Vi, Vj

pytestmark = pytest.mark.usefixtures("plain_kernels")

SIZE = 2000


@pytest.fixture(scope="module", params=["float32", "float64"])
def case(request):
    """A Gaussian kernel, symmetric, as an operator and as a dense array in float64, and the rounding to expect."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SIZE, 3)).astype(request.param)
    dense = np.exp(-((x[:, None].astype(float) - x[None]) ** 2).sum(-1))
    return (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp(), dense, 1e-4 if request.param == "float32" else 1e-11


def close(found, exact, tolerance):
    return np.abs(found - exact).max() <= tolerance * np.abs(exact).max()


def test_products(case):
    K, dense, tolerance = case
    operator = aslinearoperator(K)
    assert isinstance(operator, LinearOperator)
    assert (operator.shape, operator.dtype) == ((SIZE, SIZE), np.dtype(K.dtype))
    rng = np.random.default_rng(1)
    for v in (rng.normal(size=SIZE), np.arange(SIZE), rng.normal(size=(SIZE, 1)).astype("float32")):
        assert close(operator.matvec(v), dense @ v, tolerance)
        assert close(operator.rmatvec(v), dense @ v, tolerance)
        assert operator.matvec(v).shape == v.shape
    wide = rng.normal(size=(SIZE, 4))
    assert close(operator.matmat(wide), dense @ wide, tolerance)
    assert close(operator.rmatmat(wide), dense @ wide, tolerance)
    assert close((2 * operator + operator.T) @ wide, 3 * dense @ wide, tolerance)


def test_products_that_are_not_square():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(70, 3))
    operator = aslinearoperator(Vi(x) | Vj(y))
    u, v = rng.normal(size=50), rng.normal(size=(70, 2))
    assert operator.shape == (50, 70)
    assert np.allclose(operator.rmatvec(u), (x @ y.T).T @ u)
    assert np.allclose(operator.matmat(v), (x @ y.T) @ v)
    assert np.allclose(operator.H @ u, (x @ y.T).T @ u)


def test_eigenvalues(case):
    K, dense, tolerance = case
    found, vectors = eigsh(aslinearoperator(K), k=5)
    assert close(np.sort(found), np.linalg.eigvalsh(dense)[-5:], tolerance)
    assert np.abs(dense @ vectors - vectors * found).max() < 10 * tolerance * found.max()


def test_singular_values(case):
    K, dense, tolerance = case
    found = svds(aslinearoperator(K), k=3, return_singular_vectors=False)
    assert close(np.sort(found), np.linalg.eigvalsh(dense)[-3:], tolerance)


def test_system(case):
    K, dense, _ = case
    ridge = aslinearoperator(np.eye(SIZE, dtype=K.dtype))
    b = np.random.default_rng(3).normal(size=SIZE).astype(K.dtype)
    a, failed = cg(aslinearoperator(K) + ridge, b, rtol=1e-4)
    assert not failed
    assert np.linalg.norm(b - (dense @ a + a)) <= 1e-3 * np.linalg.norm(b)
    own = K.solve(b[:, None], alpha=1.0, eps=1e-4)[:, 0]
    assert close(own, a, 1e-2)
