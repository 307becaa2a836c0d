"""Systems that plain conjugate gradients do not solve: with row factors, indefinite, general, ill-conditioned.

Everything is compared with NumPy's dense solutions in float64, and with autograd through PyTorch's.
"""

from __future__ import annotations

import importlib.util
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import DTYPES, Array

from clreduce import ConvergenceWarning, NotConverged, OptionError, ShapeError, SolveError
from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.ir.show import show
from clreduce.numpy import KernelSolve, LazyTensor, Vi, Vj, nystrom
from clreduce.runtime.device import Device
from clreduce.solve.conjugate import ConjugateGradients
from clreduce.solve.iteration import SystemTask
from clreduce.solve.metric import weights_of

pytestmark = pytest.mark.usefixtures("plain_kernels")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs SciPy")

ALIASES = ["x = Vi(2)", "y = Vj(2)", "w = Vi(1)", "b = Vj(2)"]
GAUSS = "Exp(-SqDist(x, y)) * b"
WEIGHTED = KernelSolve(f"w * {GAUSS}", ALIASES, "b", axis=1)
INDEFINITE = KernelSolve("(1 - SqDist(x, y)) * b", [*ALIASES[:2], "b = Vj(2)"], "b", axis=1)
GENERAL = KernelSolve(GAUSS, [*ALIASES[:2], "b = Vj(2)"], "b", axis=1)
EPS = {"float32": 1e-4, "float64": 1e-10}


def data(dtype: Any = "float64", n: int = 40, batch: tuple[int, ...] = (), seed: int = 0) -> tuple[Array, Array, Array]:
    """Points, positive weights over two orders of magnitude, right-hand sides."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(*batch, n, 2)), np.exp(rng.uniform(-2, 2, (*batch, n, 1)))
    return x.astype(dtype), w.astype(dtype), rng.normal(size=(*batch, n, 2)).astype(dtype)


def gaussian(x: Array, y: Array) -> Array:
    return np.exp(-((x[..., :, None, :].astype(float) - y[..., None, :, :]) ** 2).sum(-1))


def residual(matrix: Array, a: Array, b: Array) -> float:
    return float((np.linalg.norm(b - matrix @ a, axis=-2) / np.linalg.norm(b, axis=-2)).max())


def precision(dtype: str, device: Device) -> str:
    return dtype if device.facts.has_double else "float32"


# ----------------------------------------------------------------------------------------------- factors of i and j


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_with_row_weights_is_solved(dtype: str, axis: int, device: Device) -> None:
    dtype = precision(dtype, device)
    x, w, b = data(dtype)
    formula, kinds = f"w * {GAUSS}", ("Vi(1)", "Vj(2)") if axis == 1 else ("Vj(1)", "Vi(2)")
    aliases = [*ALIASES[:2], f"w = {kinds[0]}", f"b = {kinds[1]}"]
    a, info = KernelSolve(formula, aliases, "b", axis=axis)(x, x, w, b, alpha=1.0, eps=EPS[dtype], info=True)
    matrix = w * gaussian(x, x) + np.eye(40)
    assert info.converged
    assert residual(matrix, a, b) <= 1.1 * EPS[dtype]
    assert np.allclose(a, np.linalg.solve(matrix, b), atol=300 * EPS[dtype])
    K = Vi(w) * (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    assert residual(matrix, K.solve(b, alpha=1.0, eps=EPS[dtype]), b) <= 1.1 * EPS[dtype]


FACTORS = {
    "of i": ("w * Exp(-SqDist(x, y)) * b", 1, 0),
    "of i, below": ("Exp(-SqDist(x, y)) * b / w", -1, 0),
    "of j": ("Exp(-SqDist(x, y)) * (v * b)", 0, 1),
    "of both": ("-(-Square(w) * Exp(-SqDist(x, y)) / v) * b", 2, -1),
    "of each component": ("Exp(-SqDist(x, y)) * (Concat(w, w) * b)", 1, 0),
}


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_noticed_wherever_they_stand(name: str, batch: tuple[int, ...], device: Device) -> None:
    dtype = precision("float64", device)
    formula, left, right = FACTORS[name]
    x, w, b = data(dtype, 30, batch)
    solve = KernelSolve(formula, [*ALIASES[:3], "v = Vj(1)", "b = Vj(2)"], "b", axis=1)
    matrix = w.astype(float) ** left * gaussian(x, x) * w.swapaxes(-1, -2).astype(float) ** right + np.eye(30)
    for options in ({}, {"preconditioner": "diagonal"}, {"solver": "minres"}):
        a, info = solve(x, x, w, w, b, alpha=1.0, eps=EPS[dtype], info=True, **options)
        assert info.converged
        assert residual(matrix, a, b) <= 1.1 * EPS[dtype]


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), span=st.floats(0.1, 6))
def test_weights_of_any_span(seed: int, span: float, device: Device) -> None:
    rng = np.random.default_rng(seed)
    x, _, b = data("float32", 20, seed=seed)
    w = np.exp(rng.uniform(-span, span, (20, 1))).astype("float32")
    a = WEIGHTED(x, x, w, b, alpha=1.0, eps=1e-4)
    assert residual(w * gaussian(x, x) + np.eye(20), a, b) <= 1.2e-4


def test_a_kernel_whose_factors_cancel_stays_symmetric(device: Device) -> None:
    """exp(-|x|^2) exp(2 <x, y>) exp(-|y|^2) is symmetric with its factors; so is (k / w_i) w_i, where they mislead."""
    x, w, b = data("float32")
    solve = KernelSolve("Exp(-SqNorm2(x)) * Exp(2 * (x|y)) * Exp(-SqNorm2(y)) * b", [*ALIASES[:2], ALIASES[3]], "b", 1)
    assert residual(gaussian(x, x) + np.eye(40), solve(x, x, b, alpha=1.0, eps=1e-4), b) < 1.2e-4
    hidden = KernelSolve("w * (Exp(-SqDist(x, y)) / (w + 0 * Sum(y))) * b", ALIASES, "b", axis=1)
    assert residual(gaussian(x, x) + np.eye(40), hidden(x, x, w, b, alpha=1.0, eps=1e-4), b) < 1.2e-4


def test_shared_products_are_taken_apart_once() -> None:
    """w^(2^40), by forty squares of what is shared, has forty products, not 2^40."""
    w, k, b = variable("w", 1, Domain.I), variable("k", 1, Domain.IJ), variable("b", 1, Domain.J)
    product = w * k
    for _ in range(40):
        product = product * product
    weights = weights_of(product * b, b)
    assert weights is not None
    assert show(weights) == f"1 / (1 * Powf(w, {2**40}))"
    assert weights_of(k * k * b, b) is None


def test_weights_that_are_no_inner_product_are_named(device: Device) -> None:
    x, w, b = data("float32")
    w[3] = -1
    with pytest.raises(SolveError, match=r"not symmetric.*solver='gmres'"):
        WEIGHTED(x, x, w, b, alpha=1.0)
    with pytest.raises(SolveError, match="not symmetric"):
        WEIGHTED(x, x, np.abs(w), b, alpha=1.0, solver="cg")
    matrix = w * gaussian(x, x) + np.eye(40)
    assert residual(matrix, WEIGHTED(x, x, w, b, alpha=1.0, eps=1e-4, solver="gmres"), b) <= 1.2e-4


# ------------------------------------------------------------------------------------------------- indefinite, general


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_minres_solves_indefinite_systems(dtype: str, batch: tuple[int, ...], device: Device) -> None:
    dtype = precision(dtype, device)
    x, _, b = data(dtype, 40, batch)
    matrix = 1 - ((x[..., :, None, :].astype(float) - x[..., None, :, :]) ** 2).sum(-1) + 0.3 * np.eye(40)
    with pytest.raises(SolveError, match=r"not positive definite.*solver='minres'"):
        INDEFINITE(x, x, b, alpha=0.3)
    for preconditioner in (None, lambda r: 0.5 * r):
        a, info = INDEFINITE(
            x, x, b, alpha=0.3, eps=EPS[dtype], solver="minres", info=True, preconditioner=preconditioner
        )
        assert info.converged
        assert residual(matrix, a, b) <= 1.1 * EPS[dtype]
    with pytest.raises(SolveError, match="preconditioner is not positive"):
        INDEFINITE(x, x, b, alpha=0.3, solver="minres", preconditioner=lambda r: -r)
    with pytest.raises(SolveError, match="not symmetric"):
        INDEFINITE(x, 2 * x, b, alpha=0.3, solver="minres")


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gmres_solves_general_systems(dtype: str, batch: tuple[int, ...], device: Device) -> None:
    dtype = precision(dtype, device)
    (x, _, b), (y, _, _) = data(dtype, 40, batch), data(dtype, 40, batch, seed=1)
    matrix = gaussian(x, y) + 3 * np.eye(40)
    inverse = np.linalg.inv(matrix) + 0.01
    for preconditioner in (None, "diagonal", lambda r: inverse @ r):
        a, info = GENERAL(x, y, b, alpha=3.0, eps=EPS[dtype], solver="gmres", info=True, preconditioner=preconditioner)
        assert info.converged
        assert residual(matrix, a, b) <= 1.1 * EPS[dtype]


def test_columns_of_very_different_size_are_solved_each(device: Device) -> None:
    x, _, b = data("float32")
    b = np.concatenate([b * [1e8, 1e-8], np.zeros((40, 1))], 1).astype("float32")
    y = data("float32", seed=1)[0]
    for solver, second, matrix in (
        ("gmres", y, gaussian(x, y) + 3 * np.eye(40)), ("minres", x, gaussian(x, x) + 3 * np.eye(40)),
    ):  # fmt: skip
        solve = KernelSolve(GAUSS, [*ALIASES[:2], "b = Vj(3)"], "b", axis=1)
        a, info = solve(x, second, b, alpha=3.0, eps=1e-4, solver=solver, info=True)
        assert info.converged
        assert residual(matrix, a[:, :2], b[:, :2]) < 1.2e-4
        assert not a[:, 2].any()


@pytest.mark.parametrize("solver", ["cg", "minres", "gmres"])
def test_coupled_components_have_one_system(solver: str, device: Device) -> None:
    x, _, b = data("float32")
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]], "float32")
    solve = KernelSolve("Exp(-SqDist(x, y)) * MatVecMult(m, b)", ["m = Pm(4)", *ALIASES[:2], "b = Vj(2)"], "b", axis=1)
    a = solve(matrix.ravel(), x, x, b, alpha=1.0, eps=1e-5, solver=solver)
    exact = np.linalg.solve(np.kron(gaussian(x, x), matrix) + np.eye(80), b.ravel())
    assert np.allclose(a.ravel(), exact, atol=2e-3)


@needs_scipy
@pytest.mark.filterwarnings("ignore::clreduce.ConvergenceWarning")  # MINRES of SciPy ends a little early
@pytest.mark.parametrize("name", ["cg", "minres", "gmres", "bicgstab", "lgmres"])
def test_solvers_of_scipy(name: str, device: Device) -> None:
    import scipy.sparse.linalg as linalg

    dtype = precision("float64", device)
    x, _, b = data(dtype, 40, (2,))
    y = x if name in ("cg", "minres") else data(dtype, 40, (2,), seed=1)[0]
    matrix = gaussian(x, y) + 3 * np.eye(40)
    exact = np.linalg.solve(matrix, b)
    a, info = GENERAL(
        x, y, b, alpha=3.0, eps=EPS[dtype], solver=getattr(linalg, name), info=True, x0=0.9 * exact.astype(dtype)
    )
    assert residual(matrix, a, b) <= 100 * EPS[dtype]
    assert 0 < info.iterations < 200
    a = GENERAL(
        x, y, b, alpha=3.0, eps=EPS[dtype], solver=getattr(linalg, name), preconditioner="diagonal", maxiter=400
    )
    assert residual(matrix, a, b) <= 100 * EPS[dtype]


def test_a_solver_of_ones_own(device: Device) -> None:
    x, _, b = data("float32")
    matrix = gaussian(x, x) + 3 * np.eye(40)

    def richardson(A: Any, b: Array) -> Array:
        x = 0 * b
        for _ in range(200):
            x = x + 0.05 * (b - A @ x)
        return x

    a, info = GENERAL(x, x, b, alpha=3.0, eps=1e-4, solver=richardson, info=True)
    assert (info.converged, info.iterations) == (True, 200)
    assert residual(matrix, a, b) < 1.2e-4
    with pytest.warns(ConvergenceWarning, match="the function that was passed as solver ended"):
        _, info = GENERAL(x, x, b, alpha=3.0, solver=lambda A, b: (0 * b, 1), info=True)
    assert info.reason == "solver"
    with pytest.raises(ShapeError, match="80 numbers in x"):
        GENERAL(x, x, b, solver=lambda A, b: b[:3])
    with pytest.raises(SolveError, match="nan"):
        GENERAL(x, x, b, solver=lambda A, b: np.nan * b)
    with pytest.raises(OptionError, match="callback"):
        GENERAL(x, x, b, solver=richardson, callback=print)


# --------------------------------------------------------------------------------------------------------- derivatives


def general(x: Array, y: Array, w: Array, b: Array, alpha: float) -> Array:
    return np.linalg.solve(w * gaussian(x, y) + alpha * np.eye(len(x)), b)


@pytest.mark.parametrize("case", ["weighted", "gmres"])
def test_derivatives_of_systems_that_are_not_symmetric(case: str, device: Device) -> None:
    if not device.facts.has_double:
        pytest.skip("compared with differences, in float64")
    x, w, b = data("float64", 20)
    y = x if case == "weighted" else data("float64", 20, seed=1)[0]
    options = {"alpha": 2.0, "eps": 1e-12} | ({} if case == "weighted" else {"solver": "gmres"})
    rng = np.random.default_rng(5)
    args, names = (x, y, w, b), ("x", "y", "w", "b")
    moves = {name: rng.normal(size=arg.shape) for name, arg in zip(names, args, strict=True)}
    if case == "weighted":
        moves["y"] = moves["x"]  # else the moved kernel is not symmetric, and the derivative still is one
    h, cotangent = 1e-5, rng.normal(size=b.shape)

    def at(step: float) -> list[Array]:
        return [arg + step * moves[name] for name, arg in zip(names, args, strict=True)]

    ends = [general(*at(s), 2.0 + s * 0.5) for s in (h, -h)]
    difference = (ends[0] - ends[1]) / (2 * h)
    tangent = WEIGHTED.jvp(*args, tangents={**moves, "alpha": 0.5}, **options)
    np.testing.assert_allclose(tangent, difference, atol=1e-6)
    wrt = (*names, "alpha")
    gradients = WEIGHTED.vjp(*args, cotangent=cotangent, wrt=wrt, **options)
    pairing = sum((g * moves.get(name, 0.5)).sum() for g, name in zip(gradients, wrt, strict=True) if name != "alpha")
    assert np.isclose(pairing + 0.5 * gradients[-1], (cotangent * tangent).sum(), rtol=1e-8)
    second = WEIGHTED.hvp(*args, cotangent=cotangent, tangents={**moves, "alpha": 0.5}, wrt=wrt, **options)
    ahead, behind = (
        WEIGHTED.vjp(*at(s), cotangent=cotangent, wrt=wrt, **(options | {"alpha": 2.0 + s * 0.5})) for s in (h, -h)
    )
    for got, one, other in zip(second, ahead, behind, strict=True):
        np.testing.assert_allclose(got, (np.asarray(one) - other) / (2 * h), atol=2e-6)


@needs_torch
@pytest.mark.parametrize("case", ["weighted", "gmres", "minres", "scipy"])
def test_autograd_follows_each_solver(case: str, device: Device) -> None:
    import torch

    from clreduce.torch import KernelSolve as TorchSolve

    if not device.facts.has_double:
        pytest.skip("compared in float64")
    if case == "scipy":
        solver = pytest.importorskip("scipy.sparse.linalg").gmres
    else:
        solver = "auto" if case == "weighted" else case
    x, w, b = (torch.from_numpy(array) for array in data("float64", 15))
    w = torch.ones_like(w) if case == "minres" else w
    symmetric = case in ("weighted", "minres")
    other = x if symmetric else torch.from_numpy(data("float64", 15, seed=1)[0])
    alpha = torch.tensor(-0.7 if case == "minres" else 2.0, dtype=torch.float64)
    solve = TorchSolve(f"w * {GAUSS}", ALIASES, "b", axis=1)

    def ours(x: Any, y: Any, w: Any, b: Any, alpha: Any) -> Any:
        return solve(x, x if symmetric else y, w, b, alpha=alpha, eps=1e-12, solver=solver)

    def plain(x: Any, y: Any, w: Any, b: Any, alpha: Any) -> Any:
        y = x if symmetric else y
        kernel = w * torch.exp(-((x[:, None] - y) ** 2).sum(-1))
        return torch.linalg.solve(kernel + alpha * torch.eye(15, dtype=x.dtype), b)

    tensors = [t.clone().requires_grad_() for t in (x, other, w, b, alpha)]
    results = []
    for function in (ours, plain):
        out = function(*tensors)
        first = torch.autograd.grad(out.sin().sum(), tensors, create_graph=True, allow_unused=True)
        used = [t for t, g in zip(tensors, first, strict=True) if g is not None]
        second = torch.autograd.grad(sum(g.sin().sum() for g in first if g is not None), used)
        moves = tuple(torch.cos(t.detach()) for t in tensors)
        _, forward = torch.func.jvp(lambda *ts, f=function: f(*ts), tuple(t.detach() for t in tensors), moves)
        _, over = torch.func.jvp(
            torch.func.grad(lambda *ts, f=function: f(*ts).sin().sum(), (0, 2, 3)),
            tuple(t.detach() for t in tensors), moves,
        )  # fmt: skip
        results.append([out, *(g for g in first if g is not None), *second, forward, *over])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------------------------- what does not converge


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_ill_conditioned_solve_ends_early_and_says_what_helps(dtype: str, device: Device) -> None:
    dtype = precision(dtype, device)
    x, _, b = data(dtype, 600)
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    with pytest.raises(NotConverged, match=r"raise alpha, or use a preconditioner, .*raise eps.*maxiter") as caught:
        K.solve(b)
    error = caught.value
    assert ("float64" in str(error)) == (dtype == "float32")
    assert error.iterations <= 2000  # of 6000
    assert error.residual > 1e-6
    assert error.solution.shape == b.shape
    exact = K.dense().astype(float) @ error.solution
    assert np.isclose(error.residual, (np.linalg.norm(b - exact, axis=0) / np.linalg.norm(b, axis=0)).max(), rtol=0.1)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.residual, again.iterations) == (str(error), error.residual, error.iterations)
    # What it says does help.
    assert K.solve(b, alpha=0.1, eps=1e-4, info=True)[1].converged
    assert K.solve(b, alpha=0.1, eps=1e-4, preconditioner=("nystrom", 50), info=True)[1].iterations < 30
    with pytest.warns(ConvergenceWarning) as warned:
        _, info = K.solve(b, maxiter=1100, info=True)
    assert (info.iterations, info.reason) == (1100, "maxiter")
    assert warned[0].message.iterations == 1100
    assert warned[0].message.residual == info.residuals.max()


def test_a_slow_solve_that_gets_on_is_not_ended(device: Device) -> None:
    if not device.facts.has_double:
        pytest.skip("so many products need float64")
    rng = np.random.default_rng(0)
    x, b = np.sort(rng.normal(size=(450, 1)), 0), rng.normal(size=(450, 1))
    K = (-100 * ((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    _, info = K.solve(b, alpha=1e-6, info=True, eps=1e-5)
    assert info.converged
    assert info.iterations > 1000


# ------------------------------------------------------------------------------------------------ callbacks, options


@pytest.mark.parametrize("solver", ["cg", "minres", "gmres"])
def test_what_a_callback_does_to_its_residuals_changes_nothing(solver: str, device: Device) -> None:
    x, _, b = data("float32")
    seen: list[Array] = []

    def spoil(iteration: int, residuals: Array) -> None:
        seen.append(residuals)
        residuals[...] = 0.0

    plain, before = GENERAL(x, x, b, alpha=1.0, eps=1e-4, solver=solver, info=True)
    spoiled, after = GENERAL(x, x, b, alpha=1.0, eps=1e-4, solver=solver, info=True, callback=spoil)
    np.testing.assert_array_equal(plain, spoiled)
    assert before.iterations == after.iterations == len(seen)
    assert len({id(one) for one in seen}) == len(seen)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("tol", "eps"), ("rtol", "eps"), ("tolerance", "eps"), ("max_iter", "maxiter"), ("maxiters", "maxiter"),
        ("M", "preconditioner"), ("preconditionner", "preconditioner"), ("ridge", "alpha"), ("method", "solver"),
        ("verbose", "progress"), ("callbak", "callback"), ("x_0", "x0"),
    ],
)  # fmt: skip
def test_an_unknown_option_names_the_one_that_was_meant(wrong: str, meant: str) -> None:
    x, _, b = data("float32", 4)
    for call in (GENERAL, lambda *args, **options: LazyTensor(x[:, None]).sqdist(Vj(x)).solve(b, **options)):
        with pytest.raises(OptionError, match=f"no option '{wrong}'; did you mean '{meant}'"):
            call(x, x, b, **{wrong: 1})
    with pytest.raises(TypeError, match="no option 'zzz'; known are alpha, eps"):
        GENERAL(x, x, b, zzz=1)
    with pytest.raises(OptionError, match="solver must be one of 'auto', 'cg', 'minres', 'gmres', or a function"):
        GENERAL(x, x, b, solver="lu")


def test_right_hand_sides_of_one_axis(device: Device) -> None:
    x, _, b = data("float32")
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    whole = K.solve(b[:, :1], alpha=1.0)
    flat, info = K.solve(b[:, 0], alpha=1.0, info=True)
    np.testing.assert_array_equal(flat, whole[:, 0])
    assert info.residuals.shape == (1,)
    np.testing.assert_array_equal(K.solve(b[:, 0], alpha=1.0, x0=flat, maxiter=3), flat)
    np.testing.assert_array_equal(K.solve(b[:, 0], alpha=1.0, call=False)(), flat)


def test_a_solve_that_waits_has_the_solver_of_its_system(device: Device) -> None:
    x, _, b = data("float32")
    pending = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp().solve(b, alpha=1.0, call=False)
    np.testing.assert_array_equal(pending.callfun(b, x, x, alpha=1.0), pending())


def test_a_nystrom_preconditioner_is_for_symmetric_kernels(device: Device) -> None:
    x, w, b = data("float32")
    matrix = w * gaussian(x, x) + np.eye(40)
    a, info = WEIGHTED(x, x, w, b, alpha=1.0, eps=1e-4, preconditioner=nystrom(10), info=True)
    assert info.converged
    assert residual(matrix, a, b) < 1.2e-4


def test_cuda_type_is_taken_as_the_reference_takes_it() -> None:
    with pytest.warns(DeprecationWarning, match="cuda_type is ignored"):
        KernelSolve(GAUSS, [*ALIASES[:2], "b = Vj(2)"], "b", axis=1, cuda_type="float32")


class _Stored:
    """A stored matrix as the operator of an iteration, for two right-hand sides."""

    dtype, groups = np.dtype("float64"), (0, 1)

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    def product(self, vector: np.ndarray) -> np.ndarray:
        return self.matrix @ vector


def test_conjugate_gradients_know_the_eigenvalues_that_their_systems_have_met() -> None:
    """Of a general right-hand side all of them, and of an eigenvector its own, with a preconditioner or without."""
    eigenvalues = np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    matrix = vectors * eigenvalues @ vectors.T
    right = np.stack([vectors.sum(1), vectors[:, 3]], 1)
    for scale in (None, 2.0):
        precondition = None if scale is None else lambda residual, scale=scale: residual / scale
        iteration = ConjugateGradients(SystemTask(_Stored(matrix), right, 1e-12, 50, precondition))
        iteration.run(None)
        (diagonal, beside), (alone, none) = iteration.recurrences[0].tridiagonals()
        lanczos = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        np.testing.assert_allclose(np.linalg.eigvalsh(lanczos) * (scale or 1), eigenvalues, rtol=1e-8)
        np.testing.assert_allclose(alone * (scale or 1), [7.0], rtol=1e-8)
        assert none.size == 0
