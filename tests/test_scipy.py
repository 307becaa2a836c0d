"""Symbolic matrices as operators of SciPy: each solver gives what it gives for the dense matrix, complex ones too."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg as sla

import clreduce
from clreduce.numpy import Vi, Vj

pytestmark = pytest.mark.usefixtures("device", "plain_kernels")
KINDS = ["float32", "float64", "complex64", "complex128"]
SOME = ["float64", "complex64"]


def points(kind: str, number: int = 24) -> Any:
    real = {"complex64": "float32", "complex128": "float64"}.get(kind, kind)
    return np.random.default_rng(0).normal(size=(number, 2)).astype(real)


def hermitian(kind: str) -> Any:
    """A kernel that is positive definite: Gaussian, times a phase of each point where it is complex."""
    x = points(kind)
    K = (-(2 * (Vi(x) - Vj(x)) ** 2).sum(-1)).exp() + (Vi(x).elem(0) - Vj(x).elem(0) == 0)
    if kind.startswith("complex"):
        K = K * (Vi(x).elem(1) - Vj(x).elem(1)).exp1j()
    return K


def rectangular(kind: str) -> Any:
    x, y = points(kind), points(kind, 17)[::-1].copy()
    K = (-((Vi(x) - Vj(y)) ** 2).sum(-1)).exp()
    return K * (Vi(x).elem(1) + 2 * Vj(y).elem(0)).exp1j() if kind.startswith("complex") else K


def right(kind: str, rows: int = 24, columns: int = 0) -> Any:
    rng = np.random.default_rng(1)
    shape = (rows, columns) if columns else (rows,)
    b = rng.normal(size=shape)
    return (b + 1j * rng.normal(size=shape) if kind.startswith("complex") else b).astype(kind)


def tolerance(kind: str) -> float:
    return 2e-3 if kind in ("float32", "complex64") else 1e-6


def same(found: Any, wanted: Any, kind: str) -> None:
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, tolerance(kind), tolerance(kind) * np.abs(wanted).max())


@pytest.mark.parametrize("kind", KINDS)
def test_products_dtypes_and_adjoints(kind: str) -> None:
    for K in (hermitian(kind), rectangular(kind)):
        A, dense = sla.aslinearoperator(K), np.asarray(K)
        rows, columns = dense.shape
        assert (A.shape, A.dtype, dense.dtype) == (dense.shape, np.dtype(kind), np.dtype(kind))
        v, w, many = right(kind, columns), right(kind, rows), right(kind, columns, 3)
        same(A.matvec(v), dense @ v, kind)
        same(A.matmat(many), dense @ many, kind)
        same(A.rmatvec(w), dense.conj().T @ w, kind)
        same(A.rmatmat(right(kind, rows, 3)), dense.conj().T @ right(kind, rows, 3), kind)
        same(A.H @ w, dense.conj().T @ w, kind)
        same(A.T @ w, dense.T @ w, kind)
        same(A.adjoint().matvec(w), dense.conj().T @ w, kind)
        same(K.H @ w, dense.conj().T @ w, kind)
        same((A.H @ A) @ v, dense.conj().T @ (dense @ v), kind)
        same(A @ v[:, None], dense @ v[:, None], kind)
        assert np.result_type(A @ v) == np.dtype(kind)
    wide = np.float64 if not kind.startswith("complex") else np.complex128
    assert (K.matvec(right(kind, columns).astype(wide))).dtype == np.dtype(kind)


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("solver", ["cg", "minres", "gmres", "lsmr", "lsqr"])
def test_systems(solver: str, kind: str) -> None:
    if solver == "minres" and kind.startswith("complex"):
        pytest.skip("SciPy's minres is for real matrices")
    K, b = hermitian(kind), right(kind)
    found = getattr(sla, solver)(K if solver in ("cg", "gmres", "minres") else sla.aslinearoperator(K), b)[0]
    same(found, np.linalg.solve(np.asarray(K).astype(np.result_type(kind, np.float64)), b), "float32")


@pytest.mark.parametrize("kind", SOME)
def test_least_squares(kind: str) -> None:
    K, b = rectangular(kind), right(kind)
    found = sla.lsmr(sla.aslinearoperator(K), b, damp=0.5)[0]
    dense = np.asarray(K)
    wanted = np.linalg.solve(dense.conj().T @ dense + 0.25 * np.eye(17), dense.conj().T @ b)
    same(found, wanted, "float32")


@pytest.mark.parametrize("kind", KINDS)
def test_eigenvalues(kind: str) -> None:
    K = hermitian(kind)
    A = sla.aslinearoperator(K)
    wanted = np.linalg.eigvalsh(np.asarray(K))[-3:]
    same(np.sort(sla.eigsh(A, 3, v0=right(kind), return_eigenvectors=False)), wanted, kind)
    same(np.sort(sla.lobpcg(A, right(kind, 24, 3), tol=1e-4, maxiter=60)[0]), wanted, "float32")


@pytest.mark.parametrize("kind", SOME)
def test_singular_values(kind: str) -> None:
    K = rectangular(kind)
    wanted = np.linalg.svd(np.asarray(K), compute_uv=False)[2::-1]
    seed = "rng" if "rng" in inspect.signature(sla.svds).parameters else "random_state"  # before SciPy 1.15
    for solver in ("arpack", "lobpcg"):
        found = sla.svds(sla.aslinearoperator(K), 3, solver=solver, return_singular_vectors=False, **{seed: 0})
        same(np.sort(found), wanted, "float32")


@pytest.mark.parametrize("kind", SOME)
def test_the_exponential_of_a_matrix(kind: str) -> None:
    K, b = hermitian(kind), right(kind)
    dense = np.asarray(K)
    trace = np.trace(dense).real
    values, vectors = np.linalg.eigh(dense)
    wanted = vectors @ (np.exp(values) * (vectors.conj().T @ b))
    same(sla.expm_multiply(sla.aslinearoperator(K), b, traceA=trace), wanted, "float32")


def test_products_and_blocks_of_complex_matrices_have_adjoints() -> None:
    K, L = hermitian("complex128"), rectangular("complex128")
    v, w = right("complex128", 24), right("complex128", 17)
    product, block = K @ L, clreduce.block([[K, L]])
    dense = [np.asarray(each) for each in (K, L)]
    same(product.rmatvec(v), (dense[0] @ dense[1]).conj().T @ v, "complex128")
    same(sla.aslinearoperator(block).rmatvec(v), np.hstack(dense).conj().T @ v, "complex128")
    found = sla.lsmr(sla.aslinearoperator(product), product @ w, maxiter=400)[0]
    same(product @ found, product @ w, "float32")


def test_products_of_tensors_of_pytorch_have_adjoints() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.complex64):
        x, v = torch.rand(6, 1, dtype=dtype), torch.rand(6, dtype=dtype)
        K, L = clreduce.Vi(x) * clreduce.Vj(x), clreduce.Vi(x) + clreduce.Vj(2 * x)
        dense = (x * x.T) @ (x + 2 * x.T)
        torch.testing.assert_close((K.sum(-1) @ L.sum(-1)).rmatvec(v), dense.conj().T @ v, rtol=1e-4, atol=1e-4)
