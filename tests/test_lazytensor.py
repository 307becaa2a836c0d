"""`LazyTensor` for NumPy: what each form, operator, method and reduction gives, and how mistakes are told.

Expected values are NumPy's, on arrays of shape (.., M, N, D).
"""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator, eigsh

from clreduce.domain import Domain
from clreduce.errors import ClreduceError, DtypeError, FormulaError, ShapeError
from clreduce.ir.op import FUNCTIONS
from clreduce.lazy.functions import method_name
from clreduce.lazy.leaves import with_array
from clreduce.numpy import ComplexLazyTensor, Genred, LazyTensor, Pm, Vi, Vj

pytestmark = pytest.mark.usefixtures("plain_kernels")

rng = np.random.default_rng(0)
M, N, D = 5, 7, 3
x, y, p = rng.normal(size=(M, D)), rng.normal(size=(N, D)), rng.normal(size=D)
z = rng.normal(size=(M, D)) + 1j * rng.normal(size=(M, D))
w = rng.normal(size=(N, D)) + 1j * rng.normal(size=(N, D))
X, Y = x[:, None], y[None]
Z, W = z[:, None], w[None]
BOTH = np.concatenate(np.broadcast_arrays(X, Y), -1)
NORMS = np.linalg.norm(X, axis=-1)
GAUSS = np.exp(-((X - Y) ** 2).sum(-1) / 2)


def gaussian() -> LazyTensor:
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1) / 2).exp()


def assert_is(tensor, expected, tolerance=1e-12):
    """The tensor's dense form is ``expected``, broadcast as the tensor's shape says."""
    expected = np.asarray(expected)
    if len(tensor.shape) < expected.ndim:
        assert expected.shape[-1] == 1
        expected = expected[..., 0]
    assert tensor.shape == expected.shape
    np.testing.assert_allclose(tensor.dense(), expected, rtol=tolerance, atol=tolerance)


def assert_all(cases):
    """Each tensor is the array beside it. Several share a kernel, which saves most of the time."""
    for start in range(0, len(cases), 10):
        tensors, arrays = zip(*cases[start : start + 10], strict=True)
        found = tensors[0].concat(*tensors[1:]).dense()
        found = np.broadcast_to(found.reshape(*found.shape[:2], -1), (M, N, found[0, 0].size))
        at = 0
        for number, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
            count = tensor._count
            expected = np.asarray(array) + np.zeros((M, N, count) if np.ndim(array) == 3 else (M, N))
            part = found[..., at : at + count].reshape(expected.shape)
            np.testing.assert_allclose(part, expected, rtol=1e-12, atol=1e-12, err_msg=f"case {start + number}")
            at += count


# ------------------------------------------------------------------------------------------------------- construction


@pytest.mark.parametrize(
    ("made", "shape", "axis"),
    [
        (lambda: LazyTensor(x[:, None]), (M, 1, D), 0),
        (lambda: LazyTensor(y[None]), (1, N, D), 1),
        (lambda: LazyTensor(p[None, None]), (1, 1, D), 2),
        (lambda: LazyTensor(x, axis=0), (M, 1, D), 0),
        (lambda: LazyTensor(y, axis=1), (1, N, D), 1),
        (lambda: LazyTensor(p), (1, 1, D), 2),
        (lambda: LazyTensor(p, axis=2), (1, 1, D), 2),
        (lambda: LazyTensor(np.array(2.0)), (1, 1), 2),
        (lambda: LazyTensor(2.5), (1, 1), 2),
        (lambda: LazyTensor(3), (1, 1), None),
        (lambda: LazyTensor([1, 2.5]), (1, 1, 2), 2),
        (lambda: LazyTensor(np.float32(2.5)), (1, 1), 2),
        (lambda: LazyTensor(np.ones((2, 1, M, 1, D))), (2, 1, M, 1, D), 0),
        (lambda: LazyTensor(np.ones((2, 4, 1, N, D))), (2, 4, 1, N, D), 1),
        (lambda: LazyTensor(np.ones((2, 1, 1, D))), (2, 1, 1, D), 2),
        (lambda: Vi(x), (M, 1, D), 0),
        (lambda: Vj(y), (1, N, D), 1),
        (lambda: Pm(p), (1, 1, D), 2),
        (lambda: Pm(2), (1, 1), None),
        (lambda: Vi(0, 3), (1, 1, 3), 0),
        (lambda: Vj(1, 2), (1, 1, 2), 1),
        (lambda: Pm(1, 2), (1, 1, 2), 2),
        (lambda: LazyTensor((0, 3, 1)), (1, 1, 3), 1),
        (lambda: LazyTensor(z[:, None]), (M, 1, D), 0),
        (lambda: LazyTensor(1 + 2j), (1, 1), 2),
        (lambda: LazyTensor([1 + 2j, 3]), (1, 1, 2), 2),
        (lambda: LazyTensor(np.ones((M, 1, 6)), is_complex=True), (M, 1, 3), 0),
    ],
)
def test_construction(made, shape, axis):
    tensor = made()
    assert tensor.shape == shape
    assert tensor.ndim == len(shape)
    assert tensor.dim() == len(tensor._shape) == tensor.nbatchdims + 3
    if axis is not None:
        assert tensor.axis in (axis, None)
    assert tensor.batchdims == shape[: tensor.nbatchdims]
    assert len(tensor) == shape[0]


def test_attributes():
    k = gaussian()
    assert (k.shape, k._shape, k.ni, k.nj, k.dtype) == ((M, N), (M, N, 1), M, N, "float64")
    assert k.axis is None
    assert LazyTensor(2.0).dtype is None
    assert Vi(x.astype(np.float32)).dtype == "float32"
    assert (Vi(x.astype(np.float32)) * 2.5).dtype == "float32"
    assert (Vi(x.astype(np.float32)) * Vj(y)).dtype == "float64"
    assert Vi(x.astype(np.float16)).dtype == "float16"
    assert Vi(np.ones((3, 1), int)).dtype == "float64"
    assert Vi(z).dtype == "complex128"
    assert Vi(z.astype(np.complex64)).dtype == "complex64"
    assert (Vi(z)._shape, Vi(z).shape) == ((M, 1, 2 * D), (M, 1, D))
    assert LazyTensor(k).shape == k.shape
    assert type(LazyTensor(Vi(z))) is ComplexLazyTensor
    assert type(ComplexLazyTensor(x, axis=0)) is ComplexLazyTensor
    assert_is(ComplexLazyTensor(x, axis=0), X + 0j)


def test_complex_tensors_have_a_class():
    assert isinstance(Vi(z), ComplexLazyTensor)
    assert isinstance(Vi(z), LazyTensor)
    assert not isinstance(Vi(x), ComplexLazyTensor)
    assert not isinstance(Vi(z).real, ComplexLazyTensor)
    assert isinstance(Vi(x) * 1j, ComplexLazyTensor)
    assert Vi(z).is_complex
    assert not Vi(x).is_complex


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: LazyTensor(), ShapeError, "an array, a number or a list"),
        (lambda: LazyTensor(x), ShapeError, "write Vi(x), Vj(x)"),
        (lambda: LazyTensor(x, axis=3), ShapeError, "axis must be 0"),
        (lambda: Vi([1.0, 2.0]), ShapeError, r"write np.asarray(x)[:, None] for one number for each i"),
        (lambda: Pm(x), ShapeError, "a parameter (Pm, axis=2) must be one vector"),
        (lambda: LazyTensor(p, axis=0), ShapeError, "shape (M, D)"),
        (lambda: LazyTensor(2.0, axis=1), ShapeError, "shape (N, D)"),
        (lambda: LazyTensor(x[:, None], axis=0), ShapeError, "For a batch, write"),
        (lambda: LazyTensor(np.ones((2, 3, 4))), ShapeError, "dense M x N"),
        (lambda: LazyTensor("x"), DtypeError, "'x'"),
        (lambda: LazyTensor({}), DtypeError, "numbers or lists"),
        (lambda: LazyTensor(np.array(["a"])[:, None]), (ShapeError, DtypeError), ""),
        (lambda: Vi(np.array([["a"]])), DtypeError, "of numbers"),
        (lambda: LazyTensor([]), ShapeError, "vector of numbers"),
        (lambda: LazyTensor([[1.0], [2.0, 3.0]]), ShapeError, "vector of numbers"),
        (lambda: LazyTensor(np.ones((3, 1, 0))), ShapeError, "at least one component"),
        (lambda: Vi(x, 2), ShapeError, "Vi(position, length)"),
        (lambda: Vi(-1, 2), ShapeError, "position from 0"),
        (lambda: Vi(0, 0), ShapeError, "length from 1"),
        (lambda: LazyTensor(x[:, None], is_complex=True), ShapeError, "even number of reals; got 3"),
    ],
)
def test_mistakes_in_construction(mistake, error, words):
    with pytest.raises(error) as caught:
        mistake()
    assert words in str(caught.value)


def test_data_are_kept_by_reference_and_named_anew():
    data = x.copy()
    tensor = Vi(data)
    before = tensor.sum_reduction(axis=0)
    data *= 2
    np.testing.assert_allclose(tensor.sum_reduction(axis=0), 2 * before)
    assert (Vi(data) - Vi(data)).expr.args[0] is (Vi(data) - Vi(data)).expr.args[1]
    del tensor

    def formula():
        return (Vi(x.copy()) * Vj(y.copy()) * 0.123).expr

    gc.collect()  # what earlier tests left gives its names back
    first = formula()
    assert all(formula() is first for _ in range(5)), "a loop over new data records the same formula"
    a, b = with_array(x, x, (), D, Domain.I), with_array(y, y, (), D, Domain.J)
    assert a[0].params[0] != b[0].params[0]


def test_one_array_as_vectors_of_i_and_of_j():
    difference = (Vi(x) - Vj(x)).sum(-1)
    assert_is(difference, (X - x[None]).sum(-1))
    assert difference.formula == "Sum(x1 - y1)"
    np.testing.assert_allclose(difference.diagonal(), 0)
    assert_is((Vi(x) * Pm(x[0]) + Vj(x)), X * x[0] + x[None])


# ---------------------------------------------------------------------------------------------- operators and methods

UNARY = {
    "exp": np.exp, "log": lambda t: np.log(t), "sin": np.sin, "cos": np.cos, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sqrt": np.sqrt, "rsqrt": lambda t: 1 / np.sqrt(t), "square": np.square, "sign": np.sign,
    "step": lambda t: (t >= 0) * 1.0, "relu": lambda t: np.maximum(t, 0), "xlogx": lambda t: t * np.log(t),
    "sinxdivx": lambda t: np.sin(t) / t, "sinc": np.sinc, "abs": np.abs, "floor": np.floor, "inv": np.reciprocal,
    "__neg__": np.negative, "__pos__": np.positive, "__abs__": np.abs, "round": np.round,
    "sqnorm2": lambda t: (t**2).sum(-1, keepdims=True), "norm2": lambda t: np.linalg.norm(t, axis=-1, keepdims=True),
    "norm": lambda t: np.linalg.norm(t, axis=-1, keepdims=True), "sum": lambda t: t.sum(-1, keepdims=True),
    "normalize": lambda t: t / np.linalg.norm(t, axis=-1, keepdims=True), "mean": lambda t: t.mean(-1, keepdims=True),
    "min": lambda t: t.min(-1, keepdims=True), "max": lambda t: t.max(-1, keepdims=True),
    "argmin": lambda t: t.argmin(-1, keepdims=True), "argmax": lambda t: t.argmax(-1, keepdims=True),
    "prod": lambda t: t.prod(-1, keepdims=True), "var": lambda t: t.var(-1, keepdims=True),
    "any": lambda t: t.any(-1, keepdims=True), "all": lambda t: t.all(-1, keepdims=True),
    "__invert__": lambda t: (t == 0) * 1.0, "conj": np.conj, "auto_factorize": np.positive,
}  # fmt: skip


def test_functions_of_one_tensor():
    data = rng.uniform(0.1, 0.9, (M, D))
    tensors = [getattr(Vi(data), name)() for name in UNARY]
    found = tensors[0].concat(*tensors[1:]).sum_reduction(axis=1)
    expected = np.concatenate([np.asarray(f(data), float) for f in UNARY.values()], -1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_operators_with_everything_on_either_side():
    i, j = Vi(x), Vj(y)
    positive = abs(i) + 0.5
    s, row = 1.5, [1.0, 2.0, -3.0]
    cases = [
        (i + j, X + Y), (i - j, X - Y), (i * j, X * Y), (i / j, X / Y), (i + s, X + s), (s - i, s - X), (2 * i, 2 * X),
        (i / 2, X / 2), (2 / i, 2 / X), (1 / i, 1 / X), (row * i, row * X), (i - row, X - row), (p * i, p * X),
        (i + p, X + p), (Y * i, Y * X), (X - j, X - Y), (np.float32(2) * i, 2 * X), (i**2, X**2), (i**3, X**3),
        (i**-1, 1 / X), (i**0, X**0), (positive**0.5, (abs(X) + 0.5) ** 0.5), (positive**-0.5, (abs(X) + 0.5) ** -0.5),
        (positive**1.7, (abs(X) + 0.5) ** 1.7), (positive**j, (abs(X) + 0.5) ** Y), (2**i, 2.0**X), (s**i, s**X),
        (pow(i, 2), X**2), (positive.power(2.0), (abs(X) + 0.5) ** 2), (i % 1, X % 1),
        (5 % positive, 5 % (abs(X) + 0.5)),
        (i // 0.5, X // 0.5), (3 // positive, 3 // (abs(X) + 0.5)), (i < j, X < Y), (i <= j, X <= Y), (i > j, X > Y),
        (i >= j, X >= Y), (i == j, X == Y), (i != j, X != Y), (i < 0, X < 0), (i > 0, X > 0), (i == 0, X == 0),
        ((i < 0) & (j < 0), (X < 0) & (Y < 0)), (~(i < 0), X >= 0), (i.clamp(-1, abs(j)), np.clip(X, -1, abs(Y))),
        (i.atan2(j), np.arctan2(X, Y)), (i.ifelse(j, 2), np.where(X >= 0, Y, 2)), 
        (i.mod(2, 0.3), X - 2 * np.floor((X - 0.3) / 2)),
        (i.where(j > 0, -1), np.where(Y > 0, X, -1)), (i * [1 + 2j, 2, 3], X * [1 + 2j, 2, 3]), (1j * i, 1j * X),
        (i * 1j, 1j * X), (0 * i, 0 * X), (i * 0 + j, Y + 0 * X), (0 / positive, 0 * X), (i * -1, -X), (0 - i, -X),
    ]  # fmt: skip
    assert_all(cases)
    assert i + 0 is i
    assert i * 1 is i
    assert i / 1 is i
    assert i - 0 is i
    assert sum([i, i, i]).shape == i.shape


def test_vector_methods():
    i, j = Vi(x), Vj(y)
    matrix, wide = Vi(rng.normal(size=(M, 6))), np.asarray(Vi(x).dense())
    assert_is(i | j, np.einsum("id,jd->ij", x, y))
    assert_is(p | i, (X * p).sum(-1))
    assert_is(i.sqdist(j), ((X - Y) ** 2).sum(-1))
    assert_is(i.weightedsqnorm(2.0), 2 * (X**2).sum(-1))
    assert_is(i.weightedsqdist(j, p), (p * (X - Y) ** 2).sum(-1))
    full = rng.normal(size=9)
    assert_is(i.weightedsqnorm(full), np.einsum("id,de,ie->i", x, full.reshape(3, 3), x)[:, None])
    assert_is(i[0], X[..., 0])
    assert_is(i[-1], X[..., -1])
    assert_is(i[1:], X[..., 1:])
    assert_is(i[:2], X[..., :2])
    assert_is(i[-2:], X[..., -2:])
    assert_is(i[::2], X[..., ::2])
    assert_is(i[::-1], X[..., ::-1])
    assert_is(i[:, :, 1], X[..., 1])
    assert_is(i[:, :, :2], X[..., :2])
    assert_is(i[..., 1:3], X[..., 1:3])
    assert_is(i.elem(1), X[..., 1])
    assert_is(i.extract(1, 2), X[..., 1:])
    assert_is(i.concat(j), np.concatenate(np.broadcast_arrays(X, Y), -1))
    assert_is(LazyTensor.concatenate((i, j, i)), np.concatenate(np.broadcast_arrays(X, Y, X), -1))
    assert_is(LazyTensor.cat((i, j), -1), np.concatenate(np.broadcast_arrays(X, Y), -1))
    assert_is(
        i[0].one_hot(3), np.eye(3)[np.clip(np.floor(x[:, :1] + 0.5).astype(int), 0, 2)] * (x[:, :1, None] >= -0.5)
    )
    assert_is(matrix.matvecmult(j), np.einsum("iab,jb->ija", matrix.dense().reshape(M, 2, 3), y))
    assert_is(j.vecmatmult(matrix), np.einsum("iba,jb->ija", matrix.dense().reshape(M, 3, 2), y))
    assert_is(i.tensorprod(j), np.einsum("ia,jb->ijab", x, y).reshape(M, N, 9))
    assert_is(i.keops_kron(j, [3], [3]), np.einsum("ia,jb->ijab", x, y).reshape(M, N, 9))
    dotted = np.tensordot(matrix.dense().reshape(M, 2, 3), y, (2, 1)).transpose(0, 2, 1)
    assert_is(matrix.keops_tensordot(j, (2, 3), (3,), (1,), (0,)), dotted)
    assert wide.shape == (M, 1, D)


def test_derivatives():
    i, j = Vi(x), Vj(y)
    kernel = (-i.sqdist(j) / 2).exp()
    assert_is(kernel.grad(i, 1), -(X - Y) * GAUSS[..., None])
    assert_is(kernel.diff(i, p), (-(X - Y) * GAUSS[..., None] * p).sum(-1))
    assert_is(kernel.grad_matrix(i), -(X - Y) * GAUSS[..., None])
    assert_is(kernel.laplacian(i), GAUSS * (((X - Y) ** 2).sum(-1) - D))
    assert_is((kernel * i).divergence(i), GAUSS * (D - (X * (X - Y)).sum(-1)))
    symbol = Vi(0, D)
    assert_is((j * symbol).trace_operator(symbol), Y.sum(-1) + 0 * Y[..., 0])
    with pytest.raises(ShapeError, match="differentiates in a variable"):
        kernel.grad(kernel, 1)


def test_every_function_of_the_registry_is_reachable():
    missing = [
        name
        for name, function in FUNCTIONS.items()
        if function.arguments and not hasattr(LazyTensor, method_name(function))
    ]
    by_operator = {"Add", "Subtract", "Minus", "Mult", "Divide", "Scalprod", "Pow", "Powf", "Equal", "NotEqual",
                   "LessThan", "LessOrEqual", "ClampInt", "DiffClampInt", "TensorDot", "Kron", "Factorize",
                   "AutoFactorize", "SqNormIso", "SqNormDiag", "SymSqNorm"}  # fmt: skip
    assert [name for name in missing if name not in by_operator and not name.startswith("Complex")] == []


def test_reductions_of_the_registry_are_methods():
    """Those that no class writes out take K, weights and an axis, as their record says."""
    x, y, w = rng.random((5, 2)), rng.random((9, 2)), rng.random((9, 1))
    distances = Vi(x).sqdist(Vj(y))
    nearest = np.argsort(((x[:, None] - y) ** 2).sum(-1), axis=1)[:, :3]
    np.testing.assert_allclose(distances.sumKmin(3, Vj(w), axis=1), w[nearest].sum(1))
    with pytest.raises(TypeError, match=r"the call is x.sumKmin\(K, weight, axis=None, .*missing .* 'K'"):
        distances.sumKmin(axis=1)


def test_the_stub_is_current():
    root = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(root / "docs"))
    try:
        import make_stubs
    finally:
        sys.path.pop(0)
    assert make_stubs.PATH.read_text(encoding="utf-8") == make_stubs.stub(), "run: python docs/make_stubs.py"


# ----------------------------------------------------------------------------------------------------- complex numbers


def test_complex_operators():
    i, j, r = Vi(z), Vj(w), Vj(y)
    cases = [
        (i + j, Z + W), (i - j, Z - W), (i * j, Z * W), (i / j, Z / W), (i * r, Z * Y), (r * i, Z * Y), (i / r, Z / Y),
        (r / i, Y / Z), (i + r, Z + Y), (r - i, Y - Z), (2 * i + j, 2 * Z + W), (i + 1 - j, Z + 1 - W),
        (1j * i * j, 1j * Z * W),
        (1 / i + j, 1 / Z + W), (i**2 * j, Z**2 * W), (i**-2 * j, Z**-2 * W), (i**0.5 * j, Z**0.5 * W),
        (i**1.5 * j, Z**1.5 * W), (2**i * j, 2**Z * W), (i**j, Z**W), (i * 0.5 - j, Z * 0.5 - W),
        (i / 2j + j, Z / 2j + W),
        (i[0] * j, Z[..., :1] * W), (i[1:] * j[:2], Z[..., 1:] * W[..., :2]), (i[0] * r, Z[..., :1] * Y),
        (r[0] * i, Y[..., :1] * Z), (-i + j, -Z + W), (i.conj() * j, Z.conj() * W), (i.exp() + j, np.exp(Z) + W),
        (i.log() + j, np.log(Z) + W), (i.sqrt() + j, np.sqrt(Z) + W), (i.inv() + j, 1 / Z + W),
        (i.square() + j, Z**2 + W),
        (i.where(r > 0, j), np.where(Y > 0, Z, W)), (Vi(x).where(r > 0, j), np.where(Y > 0, X, W)),
        (i.where(r[0] > 0), np.where(Y[..., :1] > 0, Z, 0)), (Vi(x).exp1j() * j, np.exp(1j * X) * W),
        (Vi(x).imag2complex() + j, 1j * X + W), (Vi(x).real2complex() * j, X * W),
        (i.concat(j), np.concatenate([Z + 0 * W, W + 0 * Z], -1)),
        (i.concat(r), np.concatenate([Z + 0 * Y, Y + 0 * Z], -1)), (i * [1j, 2, 3] + j, Z * [1j, 2, 3] + W),
        ((i | j), (Z * W).sum(-1)), ((i | r), (Z * Y).sum(-1)), ((i * j).sum(), (Z * W).sum(-1)),
        ((i * j).mean(), (Z * W).mean(-1)),
    ]  # fmt: skip
    assert {type(tensor) for tensor, _ in cases} == {ComplexLazyTensor}
    assert_all(cases)
    real_cases = [
        ((i * j).real, (Z * W).real), ((i * j).imag, (Z * W).imag), ((i * j).angle(), np.angle(Z * W)),
        (abs(i * j), abs(Z * W)), (i.sqdist(j), (abs(Z - W) ** 2).sum(-1)),
        ((i - j).norm2(), np.linalg.norm(Z - W, axis=-1)),
        ((i - j).norm(-1), np.linalg.norm(Z - W, axis=-1)), (i == j, Z == W), (i != i + 0 * j, 0 * abs(Z * W)),
    ]  # fmt: skip
    assert {type(tensor) for tensor, _ in real_cases} == {LazyTensor}
    assert_all(real_cases)
    zero = Vi(np.zeros((1, 1), complex))
    np.testing.assert_allclose((zero**1.5).dense(), 0)
    np.testing.assert_allclose((zero**0).dense(), 1)


@pytest.mark.usefixtures("device")
def test_complex_results():
    i, j = Vi(z), Vj(w)
    product, kernel = i * j, i | j
    np.testing.assert_allclose(product.sum(1), (Z * W).sum(1))
    np.testing.assert_allclose(product.sum(axis=0), (Z * W).sum(0))
    np.testing.assert_allclose(product.mean(0), (Z * W).mean(0))
    np.testing.assert_allclose(product.sum(axis=(0, 1)), (Z * W).sum((0, 1)))
    np.testing.assert_allclose(product.sum(axis=(0, 1, 2)), (Z * W).sum())
    np.testing.assert_allclose(product[1:3, ::2].dense(), (Z * W)[1:3, ::2])
    dense = (Z * W).sum(-1)
    v, u = rng.normal(size=N), rng.normal(size=(N, 2)) + 1j
    for vectors in (v, u, v + 1j * v, u.real):
        np.testing.assert_allclose(kernel @ vectors, dense @ vectors)
        np.testing.assert_allclose(gaussian() @ vectors, GAUSS @ vectors)
    np.testing.assert_allclose(kernel.rmatvec(np.ones(M)), dense.conj().T @ np.ones(M))
    assert (Vi(z.astype(np.complex64)) | Vj(w.astype(np.complex64))).sum(1).dtype == np.complex64
    assert (Vi(x.astype(np.float32)).exp1j()).sum_reduction(axis=0).dtype == np.complex64
    square = Vi(z) | Vj(z)
    np.testing.assert_allclose(square.diagonal(), (z * z).sum(-1))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda c: c.sin(), lambda c: c.relu(), lambda c: c < 1, lambda c: c <= 1, lambda c: c.max(), lambda c: c.max(0),
        lambda c: c.logsumexp(0), lambda c: c.one_hot(3), lambda c: c.exp1j(), lambda c: c.real2complex(),
        lambda c: c.imag2complex(), lambda c: c.matvecmult(c), lambda c: c.keops_tensordot(c, 3, 3, (), ()),
        lambda c: c.clamp(0, 1), lambda c: Vi(x).clamp(0, c), lambda c: c % 2, lambda c: c // 2, lambda c: c.argmin(-1),
        lambda c: c.round(), lambda c: c.softdtw_sqdist(c, 1.0), lambda c: Vi(x).atan2(c), lambda c: c.prod(0),
        lambda c: c[0].Kmin(2, axis=0), lambda c: Vj(y)[0].sumsoftmaxweight(c, axis=1),
    ],
)  # fmt: skip
def test_what_complex_tensors_do_not_do(mistake):
    with pytest.raises(ShapeError, match="complex"):
        mistake(Vi(z))


# ---------------------------------------------------------------------------------------------------------- reductions

REDUCED = {
    "sum": lambda t, a: t.sum(a), "mean": lambda t, a: t.mean(a), "var": lambda t, a: t.var(a),
    "min": lambda t, a: t.min(a), "max": lambda t, a: t.max(a), "prod": lambda t, a: t.prod(a),
    "argmin": lambda t, a: t.argmin(a), "argmax": lambda t, a: t.argmax(a), "any": lambda t, a: t.any(a),
    "std": lambda t, a: t.std(a), "all": lambda t, a: t.all(a), "logsumexp": lambda t, a: np.log(np.exp(t).sum(a)),
}  # fmt: skip


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", REDUCED)
def test_reductions(name):
    values = X - Y
    tensor = Vi(x) - Vj(y)
    for axis in (0, 1, -3, -2):
        place = axis % 3
        found = getattr(tensor, name)(axis=axis)
        np.testing.assert_allclose(found, REDUCED[name](values, place), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(getattr(tensor, name)(dim=axis), found)
    if name not in ("mean", "var", "std", "prod", "any", "all"):
        np.testing.assert_array_equal(getattr(tensor, f"{name}_reduction" if name != "logsumexp" else name)(1), found)


@pytest.mark.usefixtures("device")
def test_reductions_with_a_number_or_a_weight():
    k = gaussian()
    ordered, places = np.sort(GAUSS, 1), np.argsort(GAUSS, 1)
    np.testing.assert_allclose(k.Kmin(3, axis=1), ordered[:, :3])
    np.testing.assert_array_equal(k.argKmin(K=3, axis=1), places[:, :3])
    np.testing.assert_allclose(k.Kmax(2, dim=1), ordered[:, :-3:-1])
    np.testing.assert_array_equal(k.argKmax(2, dim=1), places[:, :-3:-1])
    for both in (k.Kmin_argKmin(3, axis=1), k.Kmin_argKmin_reduction(3, axis=1)):
        np.testing.assert_array_equal(both[1], places[:, :3])
    np.testing.assert_array_equal(k.Kmax_argKmax(2, axis=1)[1], places[:, :-3:-1])
    np.testing.assert_array_equal(k.min_argmin(axis=1)[1][:, 0], GAUSS.argmin(1))
    np.testing.assert_array_equal(k.max_argmax(dim=1)[1][:, 0], GAUSS.argmax(1))
    weighted = np.exp(GAUSS) @ y
    np.testing.assert_allclose(k.logsumexp(axis=1, weight=abs(Vj(y))), np.log(np.exp(GAUSS) @ abs(y)))
    soft = weighted / np.exp(GAUSS).sum(1, keepdims=True)
    np.testing.assert_allclose(k.sumsoftmaxweight(Vj(y), axis=1), soft)
    np.testing.assert_allclose(k.sumsoftmaxweight(y[None], 1), soft)
    np.testing.assert_allclose(k.reduction("SumSoftMaxWeight", other=Vj(y), axis=1), soft)
    np.testing.assert_allclose(k.reduction("LogSumExp", axis=1, dim=0)[:, 0], np.log(np.exp(GAUSS).sum(1)))
    one = Vi(x[:1])  # as many i as in the weight beside: one
    np.testing.assert_allclose(k.sumsoftmaxweight(Vj(y) * one, axis=1), soft * x[:1])


def test_several_axes():
    values = (X - Y) ** 2
    tensor = (Vi(x) - Vj(y)) ** 2
    for name in ("sum", "mean", "min", "max", "prod"):
        for axes in ((0, 1), (1, 2), (0, 2), (0, 1, 2), (-1, -2), (-3, -1)):
            found = getattr(tensor, name)(axis=axes)
            np.testing.assert_allclose(found, getattr(values, name)(axes), rtol=1e-11)
    assert (tensor.any(axis=(0, 1)) == 1).all()
    batched = LazyTensor(rng.normal(size=(2, 1, 4, 1, 2))) * LazyTensor(rng.normal(size=(3, 1, 5, 2)))
    dense = batched.dense()
    for axes in (2, 3, (0, 2), (0, 1, 2, 3), (1, 3, 4), (-2, 0), -3):
        np.testing.assert_allclose(batched.sum(axis=axes), dense.sum(axes))


def test_one_i_or_one_j():
    single = LazyTensor(x[:, None]) - LazyTensor(y[None, :1])
    assert single.shape == (M, 1, D)
    np.testing.assert_allclose(single.sum(axis=1), x - y[0])
    np.testing.assert_allclose(single.argmin(axis=1), 0)
    np.testing.assert_allclose(Vi(x).sum(axis=1), x)
    k = gaussian()
    assert_is(k + k[2:3, :], GAUSS + GAUSS[2:3])
    assert_is(k[2:3, :] * k[:, 3:4], GAUSS[2:3] * GAUSS[:, 3:4])
    assert_is(k[2:3, :].where(k[2:3, :].i == 0) + k, GAUSS[2:3] + GAUSS)
    np.testing.assert_allclose((k[2:3, :] * k).sum(0)[:, 0], (GAUSS * GAUSS[2:3]).sum(0))


def test_nothing_to_reduce_and_no_rows():
    none = Vi(x) - Vj(np.zeros((0, D)))
    assert none.shape == (M, 0, D)
    np.testing.assert_array_equal(none.sum(1), np.zeros((M, D)))
    assert none.sum(0).shape == (0, D)
    assert none.dense().shape == (M, 0, D)
    assert (gaussian()[:0, :]).sum(1).shape == (0, 1)
    assert (gaussian()[:0, :]).dense().shape == (0, N)


def test_options_are_passed_on():
    k = gaussian()
    out = np.empty((M, 1))
    assert k.sum(1, out=out) is out
    np.testing.assert_allclose(out[:, 0], GAUSS.sum(1))
    for options in ({"backend": "CPU"}, {"sum_scheme": "direct_sum"}, {"enable_chunks": False}, {"device_id": -1}):
        np.testing.assert_allclose(k.sum(1, **options)[:, 0], GAUSS.sum(1))
    with pytest.raises(TypeError, match="unknown option 'blocks'"):
        k.sum(1, blocks=3)
    assert (Vi(x) - Vj(y)).sum(-1, keepdims=True).shape == (M, N, 1)
    k.backend = "CPU"
    assert (k * 2).backend == "CPU"
    other = gaussian()
    other.backend = "GPU"
    with pytest.raises(ShapeError, match="different backend"):
        k + other
    with pytest.raises(ClreduceError):
        _ = (gaussian() * 1).sum(1, backend="TPU")


def test_ranges_are_inherited_and_swapped():
    k = gaussian()
    ranges = tuple(np.array(one) for one in ([[0, M]], [1], [[0, N]], [[0, N]], [1], [[0, M]]))
    k.ranges = ranges
    assert (2 * k + 1).exp().ranges is ranges
    assert all(a is b for a, b in zip(k.T.ranges, ranges[3:] + ranges[:3], strict=True))
    assert all(a is b for a, b in zip(k.T.T.ranges, ranges, strict=True))
    other = gaussian()
    assert (other * k).ranges is ranges
    other.ranges = tuple(one.copy() for one in ranges)
    with pytest.raises(ShapeError, match="different ranges"):
        other * k
    with pytest.raises(ShapeError, match=r"K\.ranges = None"):
        k.dense()
    with pytest.raises(ShapeError, match=r"K\.ranges = None"):
        k[:2, :]


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda k: k.sum(5), ShapeError, "axis 5"),
        (lambda k: k.sum(-4), ShapeError, "axis -4"),
        (lambda k: k.sum(axis="i"), ShapeError, "whole number"),
        (lambda k: k.sum(axis=(0, 0)), ShapeError, "axis 0"),
        (lambda k: k.sum(axis=True), ShapeError, "whole number"),
        (lambda k: k.reduction("Sum", axis=2), ShapeError, "its vector axis is reduced already"),
        (lambda k: (Vi(x) - Vj(y)).argmin(axis=(0, 1)), ShapeError, "one axis"),
        (lambda k: k.sum_reduction(), TypeError, "axis is missing"),
        (lambda k: k.Kmin(3), TypeError, "axis is missing"),
        (lambda k: k.Kmin(0, axis=1), FormulaError, "1 or more"),
        (lambda k: k.logsumexp(weight=Vj(y)), TypeError, "axis is missing"),
        (lambda k: k.sum(axis=(0, 1), out=np.empty(1)), ShapeError, "one axis"),
        (lambda k: k.reduction("Total", axis=0), FormulaError, "unknown reduction"),
        (lambda k: k.reduction("Sum", axis=0, other=k), FormulaError, "formula2"),
        (lambda k: k + Vi(x[:3]), ShapeError, "number of i: 5 and 3"),
        (lambda k: k * Vj(x), ShapeError, "number of j: 7 and 5"),
        (lambda k: Vi(x) + Vi(x[:, :2]), ShapeError, "lengths 3, 2"),
        (lambda k: Vi(x) + x, ShapeError, "write Vi(w)"),
        (lambda k: Vi(x) + "a", DtypeError, "'a'"),
        (lambda k: Vi(x) | Vi(x[:, :2]), ShapeError, "equal length"),
        (lambda k: LazyTensor(np.ones((2, 5, 1, 3))) + np.ones((3, 1, 7, 3)), ShapeError, "batch dimensions"),
        (lambda k: k.argKmin(), TypeError, "LazyTensor.argKmin() missing"),  # and no name of a base class
        (lambda k: k @ np.ones(3), ShapeError, "so v needs 7 rows; got shape (3,)"),
        (lambda k: np.ones((2, 3)) @ k, ShapeError, "rows"),
        (lambda k: k @ k, ShapeError, "as many columns of A as rows of B"),
        (lambda k: k @ [1.0] * 7, ShapeError, "needs a numpy array; got list"),
        (lambda k: k @ np.float64(3), ShapeError, "numpy array"),
        (lambda k: Vi(x) @ np.ones(1), ShapeError, "one number for each pair"),
        (lambda k: bool(k), ShapeError, "truth value"),
        (lambda k: list(k), TypeError, "iterated"),
        (lambda k: hash(k), TypeError, "unhashable"),
        (lambda k: Vi(x)[3], ShapeError, "component 3"),
        (lambda k: Vi(x)[3:], ShapeError, "no component"),
        (lambda k: Vi(x)[1:5], ShapeError, "write x[1:5, :]"),
        (lambda k: Vi(x).elem(1.5), ShapeError, "whole number"),
        (lambda k: Vi(x).extract(2, 3), ShapeError, "components 2 to 4"),
        (lambda k: k[:, :, :, :], ShapeError, "got 4 indices"),
        (lambda k: k[5, :], ShapeError, "out of bounds"),
        (lambda k: k[[0, 1], [0, 1, 2]], ShapeError, "np.ix_"),
        (lambda k: k[k > 0.5], ShapeError, "K.where(condition)"),
        (lambda k: k[None, :], ShapeError, "with None"),
        (lambda k: k[[9]], ShapeError, "out of bounds"),
        (lambda k: k[np.ones((2, 2), int)], ShapeError, "a vector"),
        (lambda k: k[:, "a"], ShapeError, "is indexed by numbers"),
        (lambda k: Vi(x)[:, [0, 0]], ShapeError, "not depend on j"),
        (lambda k: Vi(x).j, ShapeError, "not depend on j"),
        (lambda k: k.dense(max_bytes=100), ShapeError, "max_bytes=100 B"),
        (lambda k: k.diagonal(), ShapeError, "square"),
        (lambda k: k.norm(0), ShapeError, "reduces the vectors"),
        (lambda k: LazyTensor.cat((k, k), 0), ShapeError, "axis must be -1"),
        (lambda k: LazyTensor.concatenate(k), ShapeError, "tuple of tensors"),
        (lambda k: k.sin(1), TypeError, "x.sin()"),
        (lambda k: k.atan2(), TypeError, "x.atan2(other)"),
        (lambda k: k.round(0.5), ShapeError, "whole number"),
        (lambda k: k.memory_estimate(), TypeError, "axis is missing"),
        (lambda k: k(x), TypeError, "not callable"),
        (lambda k: k.no_such_method(), AttributeError, "no_such_method"),
        (lambda k: k + k.sum_reduction(axis=1, call=False), (TypeError, DtypeError), ""),
        (lambda k: k.sum_reduction(axis=1, call=False) + k, (TypeError, DtypeError), ""),
    ],
)  # fmt: skip
def test_mistakes(mistake, error, words):
    with pytest.raises(error) as caught:
        mistake(gaussian())
    assert words in str(caught.value)


# ------------------------------------------------------------------------------------------------- symbolic variables


@pytest.mark.usefixtures("device")
def test_symbolic_variables():
    i, j, s = Vi(0, D), Vj(1, D), Pm(2, 1)
    kernel = (-i.sqdist(j) / s).exp().sum(axis=1)
    np.testing.assert_allclose(kernel(x, y, np.array([2.0]))[:, 0], GAUSS.sum(1))
    np.testing.assert_allclose(kernel(x, y, 2.0, backend="CPU")[:, 0], GAUSS.sum(1))
    np.testing.assert_allclose(kernel(x[:2], y, 2.0)[:, 0], GAUSS[:2].sum(1))
    mixed = (-(Vj(0, D) - Vi(x)).sqnorm2() / 2).exp().sum(axis=1)
    np.testing.assert_allclose(mixed(y)[:, 0], GAUSS.sum(1))
    np.testing.assert_array_equal(i.sqdist(j).argmin(axis=1)(x, y)[:, 0], ((X - Y) ** 2).sum(-1).argmin(1))
    waiting = gaussian().sum(axis=1, call=False)
    np.testing.assert_allclose(waiting()[:, 0], GAUSS.sum(1))
    assert "waits to be called" in repr(waiting)
    assert "symbolic (position 0, length 3)" in repr(kernel)
    positions = (i * j).where(i.i < j.j).sum(axis=1)
    np.testing.assert_allclose(
        positions(x, y), np.where((np.arange(M)[:, None] < np.arange(N))[..., None], X * Y, 0).sum(1)
    )
    pair = (i * 1j).sum(axis=0)
    np.testing.assert_allclose(pair(x)[0], 1j * x.sum(0))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: (Vi(0, 3) - Vj(1, 3)).sum(1)(x), "needs 2 arrays, one for each symbolic variable; got 1"),
        (lambda: (Vi(0, 3) - Vj(1, 3)).sum(1)(x, y, y), "needs 2 arrays, one for each symbolic variable; got 3"),
        (lambda: (Vi(0, 3) - Vj(2, 3)).sum(1)(x, y), "without a gap; got [0, 2]"),
        (lambda: (Vi(0, 3) - Vj(0, 3)).sum(1)(x), "two symbolic variables have position 0"),
        (lambda: (Vi(0, 3) - Vj(1, 3)).sum(1)(x, y[:, :2]), "argument 1 (Vj(3)) has 3 columns"),
        (lambda: (Vj(0, 3) - Vi(x)).sum(1)(y[:, :2]), "argument 0 (Vj(3)) has 3 columns"),
        (lambda: (Vi(0, 3) - Vi(x)).sum(0)(x[:2]), "same number of rows"),
        (lambda: (Vi(0, 3) - Vj(1, 3)).dense(), "symbolic"),
        (lambda: (Vi(0, 3) - Vj(1, 3)).diagonal(), "symbolic"),
        (lambda: (Vi(0, 3) - Vj(1, 3))[:2, :], "symbolic"),
        (lambda: (Vi(0, 3) - Vj(1, 3)).sum(axis=(0, 1)), "needs one axis"),
        (lambda: Vi(0, 3).sum(axis=0, call=False)(x, x), "needs 1 arrays, one for each symbolic variable; got 2"),
    ],
)
def test_mistakes_with_symbolic_variables(mistake, words):
    with pytest.raises(ClreduceError) as caught:
        mistake()
    assert words in str(caught.value)


def test_numbers_alone():
    assert LazyTensor(2.5).sum(axis=1).tolist() == [[2.5]]
    assert (LazyTensor([1, 2]) * 3).sum(axis=0).tolist() == [[3.0, 6.0]]
    single = Vi(x.astype(np.float32)) * LazyTensor([1.0, 2.0, 3.0]) + 0.5
    assert single.sum(axis=0).dtype == np.float32


# ------------------------------------------------------------------------------------------------- parts and dense form


def test_parts_of_a_kernel():
    k = gaussian()
    for key in (
        (slice(1, 3), slice(None, None, 2)), (slice(None), slice(4, None)), (slice(None, None, -1), [0, 0, 3]),
        (np.array([4, 1]), slice(None)), np.ix_(np.arange(M) > 2, np.arange(N) < 2), np.ix_([-1, 0], np.array([-2])),
        (Ellipsis, slice(2, 5)), (slice(-2, None), Ellipsis), (slice(0, 0), slice(None)), Ellipsis,
    ):  # fmt: skip
        assert_is(k[key], GAUSS[key])
    assert_is(k[np.array([3, 1])], GAUSS[[3, 1]])
    assert_is(k[np.arange(M) % 2 == 0], GAUSS[::2])
    assert_is((Vi(x) - Vj(y))[1:3, 2:4, 1:], (X - Y)[1:3, 2:4, 1:])
    assert_is((Vi(x) - Vj(y))[1:3, :, -1], (X - Y)[1:3, :, -1])
    np.testing.assert_allclose(k[1:4, ::2].sum(0)[:, 0], GAUSS[1:4, ::2].sum(0))
    np.testing.assert_allclose(k.T[::2, 1:4].dense(), GAUSS.T[::2, 1:4])
    np.testing.assert_allclose(k[2:, :] @ y, GAUSS[2:] @ y)


@pytest.mark.usefixtures("device")
def test_indices_masks_and_their_parts():
    k = gaussian()
    a, b = np.arange(M)[:, None], np.arange(N)
    masks = [
        (k.where(k.i < k.j), np.triu(GAUSS, 1)),
        (k.where(k.i >= k.j), np.tril(GAUSS)),
        (k.where(abs(k.i - k.j) <= 2), np.where(abs(a - b) <= 2, GAUSS, 0)),
        (k.where(k.i != k.j, -1), np.where(a != b, GAUSS, -1)),
        (k.where(k.i + 2 == k.j), np.where(a + 2 == b, GAUSS, 0)),
        (k.where((k.i // 2) == (k.j // 2)), np.where(a // 2 == b // 2, GAUSS, 0)),
        (k.where((k.i > 1) & (k.j < 4)), np.where((a > 1) & (b < 4), GAUSS, 0)),
        (k * (k.i - 2 * k.j), GAUSS * (a - 2 * b)),
        (k.where(k.j - k.i), np.where(a != b, GAUSS, 0)),
        (k + 1e12 * (k.i == k.j), GAUSS + 1e12 * (a == b)),
    ]  # fmt: skip
    tensor = LazyTensor.concatenate([mask for mask, _ in masks])
    dense = np.stack([array for _, array in masks], -1)
    assert_is(tensor, dense)
    assert_is(tensor.T, dense.swapaxes(0, 1))
    np.testing.assert_allclose(tensor.sum(1), dense.sum(1), rtol=1e-12)
    np.testing.assert_allclose(tensor.max(0), dense.max(0), rtol=1e-12)
    np.testing.assert_allclose(tensor[:, :M].diagonal(), dense[:, :M].diagonal().T)
    for key in ((slice(1, 4), slice(2, None)), (slice(None), [6, 0, 1]), ([3, 3], slice(None, None, 2))):
        part, expected = tensor[key], dense[key[0]][:, key[1]]
        assert_is(part, expected)
        np.testing.assert_allclose(part.T.sum(1), expected.sum(0), rtol=1e-12, atol=1e-12)
        assert_is(part.T[:, 1:], expected.swapaxes(0, 1)[:, 1:])
    single = Vi(x.astype(np.float32)) | Vj(y.astype(np.float32))
    part = single.where(single.i < single.j)[1:, 2:]
    assert part.sum(1).dtype == np.float32
    np.testing.assert_allclose(part.dense(), np.triu(x @ y.T, 1)[1:, 2:], rtol=1e-5, atol=1e-6)
    nearest = (Vi(x) - Vj(x)).sqnorm2()
    others = nearest.where(nearest.i != nearest.j, np.inf).argmin(axis=1)[:, 0]
    dense = ((X - x[None]) ** 2).sum(-1) + np.diag([np.inf] * M)
    np.testing.assert_array_equal(others, dense.argmin(1))


def test_indices_are_exact_beyond_floats():
    count = 2**24 + 6
    ones = Vj(np.ones((count, 1), np.float32))
    found = (ones * Vi(np.ones((1, 1), np.float32))).where(ones.j >= count - 3).sum(1)
    assert found.tolist() == [[3.0]]


@pytest.mark.usefixtures("device")
def test_batches_and_their_parts():
    a, b = rng.normal(size=(2, 1, M, D)), rng.normal(size=(3, N, D))
    tensor = (LazyTensor(a[..., None, :]) - LazyTensor(b[:, None])).sqnorm2()
    dense = ((a[..., None, :] - b[:, None]) ** 2).sum(-1)
    assert tensor.shape == (2, 3, M, N)
    assert_is(tensor, dense)
    assert_is(tensor.T, dense.swapaxes(-1, -2))
    assert_is(tensor[1:, [2, 0], 1:3, ::2], dense[1:, [2, 0], 1:3, ::2])
    assert_is(tensor[0:1, ..., :4], dense[0:1, ..., :4])
    assert_is(LazyTensor(a[..., None, :])[:, [0, 0]], a[..., None, :][:, [0, 0]])
    np.testing.assert_allclose(tensor.sum(2)[..., 0], dense.sum(2))
    np.testing.assert_allclose(tensor.sum(axis=-2)[..., 0], dense.sum(2))
    np.testing.assert_allclose(
        tensor @ rng.normal(size=(2, 1, N, 4)) * 0 + tensor @ np.ones(N)[:, None], dense.sum(3)[..., None] + np.zeros(4)
    )
    np.testing.assert_allclose(tensor @ np.ones(N), dense.sum(3))
    np.testing.assert_allclose(tensor[:, :, :, :M].diagonal(), dense[..., :M].diagonal(axis1=-2, axis2=-1))
    assert_is(tensor.where(tensor.i < tensor.j)[..., 1:, :], np.triu(dense, 1)[..., 1:, :])
    same = rng.normal(size=(1, N, 2))
    k = LazyTensor(same) | LazyTensor(rng.normal(size=2))
    assert (k @ same).shape == (1, 1, 2)


def test_dense_forms():
    k = gaussian()
    np.testing.assert_allclose(np.asarray(k), GAUSS)
    assert np.asarray(k, np.float32).dtype == np.float32
    np.testing.assert_allclose((Vi(x) - Vj(y)).dense(max_bytes=None), X - Y)
    with pytest.raises(ValueError, match="always a new one"):
        k.__array__(copy=False)
    assert_is(k.T, GAUSS.T)
    assert_is(k.t(), GAUSS.T)
    assert_is(k.T.T * 2, 2 * GAUSS)


@pytest.mark.usefixtures("device")
def test_linear_operator():
    k = gaussian()
    v, u, batch = rng.normal(size=N), rng.normal(size=(N, 3)), rng.normal(size=(2, N, 3))
    for vectors in (v, u, batch, np.ones((N, 1)), u[:, ::-1], np.arange(N)):
        np.testing.assert_allclose(k @ vectors, GAUSS @ vectors)
    np.testing.assert_allclose(np.matmul(k, u), GAUSS @ u)
    np.testing.assert_allclose(np.ones(M) @ k, np.ones(M) @ GAUSS)
    np.testing.assert_allclose(x.T @ k, x.T @ GAUSS)
    np.testing.assert_allclose(k.matvec(v), GAUSS @ v)
    np.testing.assert_allclose(k.rmatvec(np.ones(M)), GAUSS.T @ np.ones(M))
    np.testing.assert_allclose(k.rmatmat(x), GAUSS.T @ x)
    operator = aslinearoperator(k)
    np.testing.assert_allclose(operator @ u, GAUSS @ u)
    np.testing.assert_allclose(operator.H @ x, GAUSS.T @ x)
    square = (-(Vi(y) - Vj(y)).sqnorm2()).exp()
    largest = eigsh(aslinearoperator(square), k=2, v0=np.ones(N))[0]
    np.testing.assert_allclose(largest, np.linalg.eigvalsh(square.dense())[-2:])


# --------------------------------------------------------------------------------------------------------------- NumPy


def test_numpy_functions():
    k, i, j = gaussian(), Vi(x), Vj(y)
    cases = [
        (np.exp(k), np.exp(GAUSS)), (np.add(GAUSS[:, :1, None], k), GAUSS[:, :1] + GAUSS), (np.sqrt(k), np.sqrt(GAUSS)),
        (np.subtract(1, k), 1 - GAUSS), (X * j, X * Y), (np.power(k, 2), GAUSS**2), (np.negative(k), -GAUSS),
        (np.abs(i), abs(X)), (np.less(i, 0), X < 0), (np.greater(0, i), X < 0), (np.arctan2(i, j), np.arctan2(X, Y)),
        (np.where(k > 0.5, k, 0), np.where(GAUSS > 0.5, GAUSS, 0)),
        (np.where(k > 0.5, 1, k), np.where(GAUSS > 0.5, 1, GAUSS)),
        (np.clip(i, -1, 0.5), np.clip(X, -1, 0.5)), (np.reciprocal(k), 1 / GAUSS), (np.square(k), GAUSS**2),
        (np.sinc(i), np.sinc(X)), (np.concatenate([i, j], axis=-1), BOTH),
        (np.logical_and(i, j), (X != 0) & (Y != 0)), (np.logical_not(i), X == 0), (np.linalg.norm(i, axis=-1), NORMS),
        (np.mod(i, 2), X % 2), (np.floor_divide(i, 2), X // 2), (np.arcsin(k), np.arcsin(GAUSS)), (np.conjugate(i), X),
        (np.real(i), X), (np.angle(Vi(z)), np.angle(Z)), (np.exp(1j * i), np.exp(1j * X)), (np.imag(Vi(z)), Z.imag),
    ]  # fmt: skip
    assert_all([case for case in cases if case[0]._count == 1])
    assert_all([case for case in cases if case[0]._count != 1])
    assert_is(np.transpose(k), GAUSS.T)
    for name in ("sum", "min", "max", "mean", "prod", "var", "argmin", "argmax", "any", "all"):
        found = getattr(np, name)(k, axis=1)
        np.testing.assert_allclose(found, getattr(np, name)(GAUSS, axis=1), rtol=1e-12, strict=True)
    np.testing.assert_allclose(np.sum(k), GAUSS.sum())
    np.testing.assert_allclose(np.sum(i - j, axis=(0, 1)), (X - Y).sum((0, 1)))
    np.testing.assert_allclose(np.max(k, axis=(0, 1)), GAUSS.max())
    np.testing.assert_allclose(np.add.reduce(k, axis=1), GAUSS.sum(1))
    np.testing.assert_allclose(np.diagonal(k[:, :M]), GAUSS[:, :M].diagonal())
    np.testing.assert_allclose(np.dot(k, y), GAUSS @ y)
    assert (np.shape(k), np.ndim(k)) == ((M, N), 2)
    total = k
    total += 1
    total *= k
    total -= [0.5]
    total /= 2
    total **= 2
    assert_is(total, ((GAUSS + 1) * GAUSS / 2 - 0.25) ** 2)
    assert_is(k, GAUSS)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda k: np.einsum("ij->i", k), lambda k: np.sum(k, where=[True]), lambda k: np.isnan(k),
        lambda k: np.add(k, 1, out=np.ones((M, N))), lambda k: np.transpose(k, (1, 0)), lambda k: np.where(k),
        lambda k: np.linalg.norm(k, 1),
        lambda k: np.linalg.inv(k), lambda k: np.add.accumulate(k), lambda k: np.rint(k),
    ],
)  # fmt: skip
def test_what_numpy_does_not_do(mistake):
    with pytest.raises((TypeError, ShapeError, np.linalg.LinAlgError)):
        mistake(gaussian())


# --------------------------------------------------------------------------------------------------------------- texts


def test_texts(capsys):
    k = gaussian() * 0.5
    assert k.formula == "Exp(-SqDist(x1, y1) / 2) * p1"
    text = repr(k)
    for words in ("LazyTensor", k.formula, "(5, 7): i, j", "x1 float64 (5, 3)", "p1 = 0.5", "280 B", "dtype: float64"):
        assert words in text
    assert "<td><code>Exp(-SqDist(x1, y1) / 2) * p1</code>" in k._repr_html_()
    assert "&lt;" in (k < 1)._repr_html_()
    assert k.explain() is None
    assert "exp: 1, IJ" in capsys.readouterr().out
    k.explain("Sum", axis=0)
    told = capsys.readouterr().out
    assert "__kernel" in told
    assert "Schedule" in told
    assert "batch, i, j, vector" in repr(LazyTensor(np.ones((2, 3, 1, 4))))
    assert repr(Vi(z)).startswith("ComplexLazyTensor")
    long = sum((Vi(x) ** n).sum(-1) for n in range(200))
    assert len(repr(long)) < 1000
    k.backend = "CPU"
    assert "backend: CPU" in repr(k)
    assert LazyTensor(3).formula == "3"


def test_copies_and_pickles():
    k = (gaussian() * 1.5).where(Vi(x)[0] > 0) - [1.0]
    k.backend = "CPU"
    dense = k.dense()
    for other in (copy.copy(k), copy.deepcopy(k), pickle.loads(pickle.dumps(k))):
        assert type(other) is LazyTensor
        assert other.backend == "CPU"
        np.testing.assert_array_equal(other.dense(), dense)
        np.testing.assert_array_equal((other - k).dense(), 0)
        np.testing.assert_allclose((other * Vi(x)[0]).dense(), dense * X[..., 0])
    waiting = pickle.loads(pickle.dumps(Vi(0, D) * Vj(1, D) * 1j))
    np.testing.assert_allclose(waiting.sum(axis=1)(x, y), 1j * (X * Y).sum(1))


def test_memory_estimates():
    big = Vi(np.zeros((1000, 3), np.float32)), Vj(np.zeros((10**5, 3), np.float32))
    k = big[0].sqdist(big[1])
    plain = k.memory_estimate(axis=1)
    assert plain.inputs == 4 * 3 * (1000 + 10**5)
    assert plain.outputs == 4 * 1000
    assert plain.total == plain.inputs + plain.outputs + plain.temporaries
    nearest = k.memory_estimate(axis=1, reduction_op="KMin_ArgKMin", opt_arg=5)
    assert nearest.outputs == 1000 * 5 * (4 + 8)
    assert k.memory_estimate(axis=0).outputs == 4 * 10**5
    few = Vi(np.zeros((1, 3))).sqdist(Vj(np.zeros((10**6, 3)))).memory_estimate(axis=1)
    assert few.temporaries > 0
    assert "MiB" in repr(plain)
    k.ranges = tuple(np.array(one) for one in ([[0, 1000]], [1], [[0, 10]], [[0, 10]], [1], [[0, 1000]]))
    assert k.memory_estimate(axis=1).outputs == plain.outputs
    routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)
    assert routine.memory_estimate(np.zeros((1000, 3), np.float32), np.zeros((10**5, 3), np.float32)) == plain


def test_same_results_as_genred():
    routine = Genred("Exp(-SqDist(x, y) / 2) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"], "Sum", axis=1)
    b = rng.normal(size=(N, 2))
    np.testing.assert_array_equal((gaussian() * Vj(b)).sum(1), routine(x, y, b))
    np.testing.assert_array_equal(gaussian() @ b, routine(x, y, b))


@pytest.mark.parametrize("value", [["block_sum"], 1.5, ()])
def test_options_of_a_wrong_kind(value: Any) -> None:
    with pytest.raises(FormulaError, match=r"sum_scheme must be a name, True, False or None; got"):
        LazyTensor(np.ones((2, 1, 1))).sum(axis=0, sum_scheme=value)
