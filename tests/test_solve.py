"""`KernelSolve` and ``K.solve``: solutions against NumPy's, derivatives against differences, and what goes wrong."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from clreduce import ConvergenceWarning, FormulaError, OptionError, ShapeError, SolveError
from clreduce.domain import Domain
from clreduce.ir.coupling import coupled_components
from clreduce.language.formula import parse_all
from clreduce.numpy import Genred, KernelSolve, LazyTensor, Vi, Vj, cluster, nystrom
from clreduce.runtime.devices import current_device
from clreduce.runtime.region import Region
from clreduce.runtime.repeat import Repeated

pytestmark = pytest.mark.usefixtures("plain_kernels")

GAUSS = "Exp(-g * SqDist(x, y)) * b"
ALPHA = 0.3


def gaussian(x, y, g=1.0):
    return np.exp(-g * ((x[..., :, None, :].astype(float) - y[..., None, :, :]) ** 2).sum(-1))


def points(n=150, dim=3, columns=2, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)).astype(dtype), rng.normal(size=(n, columns)).astype(dtype)


def solver(columns=2, axis=1, dim=3, **options):
    kind = "Vj" if axis == 1 else "Vi"
    aliases = ["g = Pm(1)", f"x = Vi({dim})", f"y = Vj({dim})", f"b = {kind}({columns})"]
    return KernelSolve(GAUSS, aliases, "b", axis=axis, **options)


def dense(x, alpha=ALPHA, g=1.0):
    return gaussian(x, x, g) + alpha * np.eye(x.shape[-2])


def residual(a, x, b, alpha=ALPHA):
    return np.linalg.norm(b - dense(x, alpha) @ a, axis=-2) / np.linalg.norm(b, axis=-2)


# ------------------------------------------------------------------------------------------------------- solutions


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solution(dtype, axis, device):
    x, b = points(dtype=dtype)
    eps = 1e-4 if dtype == "float32" else 1e-10
    a, info = solver(axis=axis)(1.0, x, x, b, alpha=ALPHA, eps=eps, info=True)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert info.converged
    assert (residual(a, x, b) <= 1.1 * eps).all()
    assert np.allclose(info.residuals, residual(a, x, b), atol=eps / 10)
    assert np.abs(a - np.linalg.solve(dense(x), b)).max() < eps * 100


def test_solution_with_stored_values(device):
    # Exp(u) and Exp(v) * b leave the loop over pairs: kernels of their own, one of which depends on b.
    x, b = points()
    w = np.random.default_rng(1).normal(size=(len(x), 1))
    solve = KernelSolve(
        "Exp(-SqDist(x, y)) * Exp(u) * Exp(v) * b", ["x=Vi(3)", "y=Vj(3)", "u=Vi(1)", "v=Vj(1)", "b=Vj(2)"], "b", axis=1
    )
    a = solve(x, x, w, w, b, alpha=ALPHA, eps=1e-11)
    matrix = np.exp(w) * gaussian(x, x) * np.exp(w).T + ALPHA * np.eye(len(x))
    assert np.allclose(matrix @ a, b, atol=1e-9)


def test_strides():
    x, b = points(300)
    wide = np.zeros((300, 6))
    wide[:, ::2] = x
    views = (wide[:, ::2], np.asfortranarray(x))
    a = solver()(1.0, *views, np.asfortranarray(b), alpha=ALPHA, eps=1e-10)
    assert np.allclose(dense(x) @ a, b, atol=1e-8)
    a = solver()(1.0, x[::-3], x[::-3], b[::-3], alpha=ALPHA, eps=1e-10)
    assert np.allclose(dense(x[::-3]) @ a, b[::-3], atol=1e-8)


def test_batches(device):
    rng = np.random.default_rng(0)
    x, b, g = rng.normal(size=(4, 60, 3)), rng.normal(size=(3, 1, 60, 2)), np.array([[1.0], [0.5], [2.0], [0.2]])
    for options in ({}, {"preconditioner": "diagonal"}, {"preconditioner": nystrom(20)}):
        a, info = solver()(g, x, x, b, alpha=ALPHA, eps=1e-10, info=True, **options)
        matrix = gaussian(x, x, g[:, :, None]) + ALPHA * np.eye(60)
        assert a.shape == (3, 4, 60, 2)
        assert info.residuals.shape == (3, 4, 2)
        assert np.allclose(matrix @ a, b, atol=1e-8)


def test_every_system_stops_at_its_own_residual():
    x, b = points(columns=4)
    b *= [1, 1e-9, 1e9, 0]
    a, info = solver(4)(1.0, x, x, b, alpha=ALPHA, eps=1e-8, info=True)
    assert (info.residuals <= 1e-8).all()
    assert not a[:, 3].any()
    assert (residual(a[:, :3], x, b[:, :3]) <= 1e-8).all()
    assert info.residuals[3] == 0


def test_columns_take_the_steps_of_their_own_systems():
    x, b = points(columns=2)
    b[:, 1] = np.linalg.eigh(gaussian(x, x))[1][:, -1]  # solved in one step
    one = [solver(1)(1.0, x, x, b[:, k : k + 1], alpha=10.0, eps=1e-3, info=True) for k in range(2)]
    both, info = solver(2)(1.0, x, x, b, alpha=10.0, eps=1e-3, info=True)
    assert one[1][1].iterations < one[0][1].iterations == info.iterations
    assert np.allclose(both, np.hstack([a for a, _ in one]), rtol=1e-10)


def test_start():
    x, b = points()
    exact = np.linalg.solve(dense(x), b)
    solve = solver()
    a, info = solve(1.0, x, x, b, alpha=ALPHA, x0=exact, info=True)
    assert info.iterations == 0
    assert np.array_equal(a, exact)
    start = exact + 1e-3 * np.random.default_rng(1).normal(size=b.shape)
    _, near = solve(1.0, x, x, b, alpha=ALPHA, x0=start, info=True)
    _, far = solve(1.0, x, x, b, alpha=ALPHA, info=True)
    assert 0 < near.iterations < far.iterations


def test_empty():
    a, info = solver()(1.0, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), info=True)
    assert a.shape == (0, 2)
    assert info.converged


def test_ridge():
    x, b = points(40)
    solve = solver()
    for alpha in (2, 2.0, np.float32(2), np.array(2.0), np.array([2.0])):
        assert np.allclose(solve(1.0, x, x, b, alpha=alpha, eps=1e-12), np.linalg.solve(dense(x, 2), b), atol=1e-10)
    spread = 30 * x  # then K is the identity nearly
    assert np.allclose(solve(1.0, spread, spread, b, alpha=0, eps=1e-12), np.linalg.solve(gaussian(spread, spread), b))


def test_coupled_components(device):
    # K(x, y) times a matrix: one system for all components, with one residual.
    x, b = points(80, columns=3)
    root = np.random.default_rng(2).normal(size=(3, 3))
    matrix = root @ root.T + np.eye(3)
    aliases = ["m = Pm(9)", "x = Vi(3)", "y = Vj(3)", "b = Vj(3)"]
    solve = KernelSolve("Exp(-SqDist(x, y)) * MatVecMult(m, b)", aliases, "b", axis=1)
    big = np.kron(gaussian(x, x), matrix) + ALPHA * np.eye(240)
    exact = np.linalg.solve(big, b.ravel()).reshape(b.shape)
    for preconditioner in (None, "diagonal"):
        a, info = solve(matrix.ravel(), x, x, b, alpha=ALPHA, eps=1e-11, preconditioner=preconditioner, info=True)
        assert np.allclose(a, exact, atol=1e-8)
        assert np.ptp(info.residuals) == 0
    with pytest.raises(SolveError, match="each component"):
        solve(matrix.ravel(), x, x, b, alpha=ALPHA, preconditioner=nystrom(10))


def test_coupling_is_read_from_the_formula():
    def groups(formula, dim):
        (expr,), _ = parse_all([formula], ["k = Vi(1)", "y = Vj(3)", f"b = Vj({dim})"])
        return coupled_components(expr, next(v.expr for v in _ if v.name == "b"))

    assert groups("k * b", 4) == (0, 1, 2, 3)
    assert groups("Concat(k * Elem(b, 0), Elem(b, 1) / k, Elem(b, 2))", 3) == (0, 1, 2)
    assert groups("Concat(Elem(b, 1), Elem(b, 0), Elem(b, 2))", 3) == (0, 0, 1)
    assert groups("y * Sum(b)", 3) == (0, 0, 0)
    assert groups("(y | b) * y", 3) == (0, 0, 0)
    assert groups("Concat(Sum(Extract(b, 0, 2)), 3 * Elem(b, 1), Elem(b, 2) + Elem(b, 3), Elem(b, 3))", 4) == (
        0, 0, 1, 1,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- preconditioners


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nystrom_saves_products(dtype):
    x, b = points(400, dim=1, dtype=dtype)
    eps = 1e-3 if dtype == "float32" else 1e-6
    solve = solver(dim=1)
    plain = solve(1.0, x, x, b, alpha=1e-2, eps=eps, info=True)
    for preconditioner in (("nystrom", 30), nystrom(30, seed=5)):
        a, info = solve(1.0, x, x, b, alpha=1e-2, eps=eps, preconditioner=preconditioner, info=True)
        assert info.converged
        assert info.iterations < plain[1].iterations / 3
        assert (residual(a, x, b, 1e-2) <= 2 * eps).all()


def test_diagonal_saves_products():
    x, b = points(200, columns=1)
    w = np.exp(2 * np.random.default_rng(3).normal(size=(200, 1)))
    formula = "Exp(-9 * SqDist(x, y)) * u * v * b"
    solve = KernelSolve(formula, ["x=Vi(3)", "y=Vj(3)", "u=Vi(1)", "v=Vj(1)", "b=Vj(1)"], "b", axis=1)
    _, info = solve(x, x, w, w, b, alpha=1e-3, preconditioner="diagonal", info=True)
    assert info.converged
    with pytest.warns(ConvergenceWarning, match="raise maxiter, or use a preconditioner"):
        solve(x, x, w, w, b, alpha=1e-3, maxiter=3 * info.iterations)


def test_preconditioner_of_a_kernel_per_component(device):
    x, b = points(100)
    formula = "Concat(Exp(-SqDist(x, y)) * Elem(b, 0), 2 * Exp(-3 * SqDist(x, y)) * Elem(b, 1))"
    solve = KernelSolve(formula, ["x=Vi(3)", "y=Vj(3)", "b=Vj(2)"], "b", axis=1)
    for preconditioner in ("diagonal", nystrom(40), nystrom(1000)):
        a = solve(x, x, b, alpha=ALPHA, eps=1e-10, preconditioner=preconditioner)
        for k, matrix in enumerate((gaussian(x, x), 2 * gaussian(x, x, 3))):
            assert np.allclose((matrix + ALPHA * np.eye(100)) @ a[:, k], b[:, k], atol=1e-8)


def test_preconditioner_by_a_function():
    x, b = points()
    inverse = np.linalg.inv(dense(x))
    _, info = solver()(1.0, x, x, b, alpha=ALPHA, preconditioner=lambda r: inverse @ r, info=True)
    assert info.iterations == 1
    with pytest.raises(SolveError, match="preconditioner is not positive definite"):
        solver()(1.0, x, x, b, alpha=ALPHA, preconditioner=lambda r: -r)
    with pytest.raises(ShapeError, match="must return an array of its argument"):
        solver()(1.0, x, x, b, alpha=ALPHA, preconditioner=lambda r: r[:3])
    with pytest.raises(ShapeError, match="nystrom"):
        solver()(1.0, x, x, b, alpha=ALPHA, preconditioner="best")
    with pytest.raises(ShapeError, match="rank"):
        nystrom(0)


def test_preconditioner_reads_positions():
    # The diagonal and the columns of a formula that uses the indices themselves.
    x, b = points(60, columns=1)
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    K = (3 * K).where(K.i == K.j, K / 2)
    exact = np.linalg.solve(gaussian(x, x) / 2 + (2.5 + ALPHA) * np.eye(60), b)
    for preconditioner in (None, "diagonal", nystrom(20)):
        assert np.allclose(K.solve(b, alpha=ALPHA, eps=1e-11, preconditioner=preconditioner), exact, atol=1e-9)


# -------------------------------------------------------------------------------------------------- what goes wrong


def test_iterations_are_limited():
    x, b = points()
    with pytest.warns(ConvergenceWarning, match="raise maxiter") as caught:
        a, info = solver()(1.0, x, x, b, alpha=1e-6, maxiter=3, info=True)
    assert caught[0].filename == __file__
    assert (info.iterations, info.converged) == (3, False)
    assert np.allclose(info.residuals, residual(a, x, b, 1e-6))
    with pytest.warns(ConvergenceWarning):
        a = solver()(1.0, x, x, b, alpha=1e-6, maxiter=0)
    assert not a.any()


def test_rounding_limits_what_can_be_reached():
    x, b = points(dtype="float32")
    with pytest.warns(ConvergenceWarning, match="rounding allows no less.*float64"):
        a, info = solver()(1.0, x, x, b, alpha=1.0, eps=1e-9, info=True)
    assert info.iterations < 1500
    assert (residual(a, x, b, 1.0) < 1e-5).all()
    # Of an operator that is singular but for rounding, the best that was found is returned to who limits the products.
    with pytest.warns(ConvergenceWarning, match="float64"):
        a, info = solver()(1.0, x, x, b, alpha=1e-6, eps=1e-6, info=True, maxiter=1500)
    assert (info.residuals <= 1).all()
    assert np.isfinite(a).all()


@pytest.mark.parametrize("where", ["x", "b"])
def test_nan(where):
    x, b = points()
    (x if where == "x" else b)[3] = np.nan
    with pytest.raises(SolveError, match="nan"):
        solver()(1.0, x, x, b, alpha=ALPHA)


def test_indefinite(device):
    x, b = points(dtype="float32")
    solve = KernelSolve("(1 - SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"], "b", axis=1)
    with pytest.raises(SolveError, match="not positive definite"):
        solve(x, x, b, alpha=ALPHA)
    with pytest.raises(SolveError, match="not positive definite"):
        solver()(1.0, x, x, b, alpha=-5)
    with pytest.raises(SolveError, match="diagonal"):
        KernelSolve("-b", ["x = Vi(3)", "b = Vj(2)"], "b", axis=1)(x, b, preconditioner="diagonal")


def test_not_symmetric(device):
    x, b = points(dtype="float32")
    y, _ = points(dtype="float32", seed=1)
    with pytest.raises(SolveError, match="not symmetric"):
        solver()(1.0, x, y, b, alpha=200.0)
    # Nearly singular, so rounding is all that is left of some directions: no false alarm.
    same = np.repeat(x[:30], 5, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver()(1.0, same, same, b, alpha=1e-6)


@pytest.mark.parametrize(
    ("formula", "aliases", "unknown", "error", "words"),
    [
        ("Exp(-SqDist(x, y)) * Square(b)", ["x=Vi(3)", "y=Vj(3)", "b=Vj(1)"], "b", FormulaError, "linear in b"),
        ("Exp(-SqDist(x, y)) + b", ["x=Vi(3)", "y=Vj(3)", "b=Vj(1)"], "b", FormulaError, "linear in b"),
        ("SqDist(x, y) * b", ["x=Vi(3)", "y=Vj(3)", "b=Vi(1)"], "b", FormulaError, "must be declared as Vj"),
        ("SqDist(x, y)", ["x=Vi(3)", "y=Vj(3)", "b=Vj(1)"], "b", FormulaError, "must depend on the unknown, b = Vj"),
        ("(x - y) * b", ["x=Vi(3)", "y=Vj(3)", "b=Vj(1)"], "b", ShapeError, "length 3"),
        ("SqDist(x, y) * b", ["x=Vi(3)", "y=Vj(3)", "b=Vj(1)"], "c", FormulaError, "varinvalias"),
        ("SqDist(x, y) * b", ["x=Vi(3)", "y=Vj(3)", "b=Vj(1)"], "Var(2, 2, 1)", FormulaError, "varinvalias"),
    ],
)  # fmt: skip
def test_wrong_formulas(formula, aliases, unknown, error, words):
    with pytest.raises(error, match=words):
        KernelSolve(formula, aliases, unknown, axis=1)


def test_unknown_by_its_position():
    x, b = points()
    aliases = ["Pm(1)", "Vi(3)", "Vj(3)", "Vj(2)"]
    formula = "Exp(-Var(0, 1, 2) * SqDist(Var(1, 3, 0), Var(2, 3, 1))) * Var(3, 2, 1)"
    g = np.ones(1)
    found = KernelSolve(formula, aliases, "Var(3,2,1)", axis=1)(g, x, x, b, alpha=ALPHA)
    assert np.array_equal(found, solver()(g, x, x, b, alpha=ALPHA))


def test_wrong_calls():
    x, b = points()
    solve = solver()
    with pytest.raises(ShapeError, match="as many equations"):
        solve(1.0, x[:3], x, b)
    with pytest.raises(ValueError, match="ranges"):
        solve(1.0, x, x, b, ranges=(1,) * 6)
    for alpha in ("a", None, np.ones(2), True and [1.0]):
        with pytest.raises(ValueError, match="alpha"):
            solve(1.0, x, x, b, alpha=alpha)
    with pytest.raises(ShapeError, match="alpha"):
        solve(1.0, x, x, b, alpha=np.nan)
    for options in ({"eps": -1}, {"eps": np.nan}, {"maxiter": -1}, {"maxiter": 1.5}):
        with pytest.raises(ShapeError, match=next(iter(options))):
            solve(1.0, x, x, b, **options)
    with pytest.raises(ShapeError, match="x0"):
        solve(1.0, x, x, b, x0=b[:3])
    with pytest.raises(OptionError, match="callback must be None or a function of the iteration"):
        solve(1.0, x, x, b, callback=3)
    with pytest.raises(TypeError, match="tolerance"):
        solve(1.0, x, x, b, tolerance=1)


# --------------------------------------------------------------------------------------------------- how far it is


def test_callback_sees_every_product():
    x, b = points()
    seen = []
    _, info = solver()(1.0, x, x, b, alpha=ALPHA, info=True, callback=lambda n, r: seen.append((n, r.copy())))
    assert [n for n, _ in seen] == list(range(1, info.iterations + 1))
    assert all(r.shape == (2,) for _, r in seen)
    assert (seen[-1][1] <= 1e-6).all()


def test_progress(capsys):
    x, b = points()
    solver()(1.0, x, x, b, alpha=ALPHA)
    assert capsys.readouterr().err == ""
    solver()(1.0, x, x, b, alpha=ALPHA, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("solve [")
    assert "1 products" in lines[0]
    assert lines[-1].startswith(f"solve [{'#' * 24}]")


# ------------------------------------------------------------------------------------------------------ derivatives

WRT = ("g", "x", "y", "b", "alpha")
EXACT = {"alpha": ALPHA, "eps": 1e-12}


def directions(args, rng):
    moves = {name: rng.normal(size=np.shape(arg)) for name, arg in zip(WRT, args, strict=False)}
    return moves | {"alpha": float(rng.normal())}


def moved(args, moves, step):
    return [arg + step * moves[name] for name, arg in zip(WRT, args, strict=False)], ALPHA + step * moves["alpha"]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_derivatives(axis, batch):
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(*batch, 40, 3)), rng.normal(size=(40, 2))
    args = [np.array([0.7]), x, x, b]
    solve = solver(axis=axis)

    def exact(step, moves):
        (g, x, y, b), alpha = moved(args, moves, step)
        matrix = gaussian(x, y, g)
        return np.linalg.solve((matrix if axis else matrix.swapaxes(-1, -2)) + alpha * np.eye(40), b)

    moves, h = directions(args, rng), 1e-5
    difference = (exact(h, moves) - exact(-h, moves)) / (2 * h)
    tangent = solve.jvp(*args, tangents=moves, **EXACT)
    assert np.allclose(tangent, difference, atol=1e-5 * np.abs(difference).max())
    cotangent = rng.normal(size=tangent.shape)
    gradients = solve.vjp(*args, cotangent=cotangent, wrt=WRT, **EXACT)
    assert [np.shape(one) for one in gradients] == [np.shape(one) for one in args] + [()]
    pairing = sum((np.asarray(one) * moves[name]).sum() for one, name in zip(gradients, WRT, strict=True))
    assert np.isclose(pairing, (cotangent * tangent).sum(), rtol=1e-8)
    known = solve(*args, **EXACT)
    again = solve.vjp(*args, cotangent=cotangent, wrt=("alpha", 3), output=known, **EXACT)
    assert np.isclose(again[0], gradients[4])
    assert np.allclose(again[1], gradients[3])
    (alone,) = solve.vjp(*args, cotangent=cotangent, wrt="b", **EXACT)
    assert np.allclose(alone, gradients[3])
    assert np.allclose(solve.grad("x")(*args, cotangent, **EXACT), gradients[1])
    faster = solve.vjp(*args, cotangent=cotangent, wrt=WRT, preconditioner=nystrom(20), **EXACT)
    assert all(np.allclose(one, other) for one, other in zip(faster, gradients, strict=True))


def test_second_derivatives():
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    args = [np.array([0.7]), x, x, b]
    moves, h = directions(args, rng), 1e-4
    moves["y"] = moves["x"]  # so that the kernel stays symmetric
    solve, cotangent = solver(), rng.normal(size=b.shape)
    found = solve.hvp(*args, cotangent=cotangent, tangents=moves, wrt=WRT, **EXACT)

    def gradients(step):
        new, alpha = moved(args, moves, step)
        return solve.vjp(*new, cotangent=cotangent, wrt=WRT, alpha=alpha, eps=1e-13)

    for one, up, down in zip(found, gradients(h), gradients(-h), strict=True):
        difference = (np.asarray(up) - down) / (2 * h)
        assert np.allclose(one, difference, atol=1e-5 * max(1.0, np.abs(difference).max()))


def test_derivatives_in_single_precision(device):
    x, b = points(dtype="float32")
    cotangent = points(dtype="float32", seed=4)[1]
    g = np.array([0.7], np.float32)
    found = solver().vjp(g, x, x, b, cotangent=cotangent, alpha=1.0, eps=1e-4)
    exact = solver().vjp(
        *(one.astype(float) for one in (g, x, x, b)), cotangent=cotangent.astype(float), alpha=1.0, eps=1e-12
    )
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == np.float32
        assert np.abs(one - other).max() < 1e-2 * np.abs(other).max()


# ---------------------------------------------------------------------------------------------------- LazyTensor.solve


def kernel(x, y=None):
    return (-((Vi(x) - Vj(x if y is None else y)) ** 2).sum(-1)).exp()


def test_lazy_solve(device):
    x, b = points()
    exact = np.linalg.solve(dense(x), b)
    K = kernel(x)
    options = {"alpha": ALPHA, "eps": 1e-10}
    for right in (b, Vi(b), Vj(b), LazyTensor(b[:, None]), LazyTensor(b[None])):
        assert np.allclose(K.solve(right, **options), exact, atol=1e-7)
    unknown = Vj(0, 2)
    assert np.allclose((K * unknown).solve(b, var=unknown, **options), exact, atol=1e-7)
    unknown = Vi(0, 2)
    assert np.allclose((K * unknown).solve(Vj(b), var=unknown, **options), exact, atol=1e-7)
    assert np.allclose(K.solve(b, call=False, alpha=ALPHA)(eps=1e-10), exact, atol=1e-7)
    a, info = K.solve(b, preconditioner=nystrom(30), info=True, **options)
    assert np.allclose(a, exact, atol=1e-7)
    assert info.converged


def test_lazy_solve_waits_for_symbols():
    x, b = points()
    exact = np.linalg.solve(dense(x), b)
    waiting = kernel(x).solve(Vi(0, 2), alpha=ALPHA, eps=1e-10)
    assert "solve" in repr(waiting)
    assert np.allclose(waiting(b), exact, atol=1e-7)
    symbolic = (-((Vi(0, 3) - Vj(1, 3)) ** 2).sum(-1)).exp()
    assert np.allclose(symbolic.solve(Vi(2, 2), alpha=ALPHA)(x, x, b, eps=1e-10), exact, atol=1e-7)
    unknown = Vj(2, 2)
    again = (symbolic * unknown).solve(Vi(2, 2), var=unknown, alpha=ALPHA, eps=1e-10)
    assert np.allclose(again(x, x, b), exact, atol=1e-7)


def test_lazy_solve_batches():
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(2, 40, 3)), rng.normal(size=(2, 40, 1))
    K = (-((LazyTensor(x[:, :, None]) - LazyTensor(x[:, None])) ** 2).sum(-1)).exp()
    assert np.allclose(K.solve(b, alpha=ALPHA, eps=1e-11), np.linalg.solve(dense(x), b), atol=1e-8)


def test_lazy_solve_warns_at_the_call_of_the_user():
    x, b = points()
    with pytest.warns(ConvergenceWarning) as caught:
        kernel(x).solve(b, maxiter=1)
    assert caught[0].filename == __file__


def test_lazy_solve_refuses():
    x, b = points()
    K = kernel(x)
    unknown = Vj(0, 2)
    for right, options, words in (
        (b[0, 0], {}, "right-hand side"),
        (b[:, 0].tolist(), {}, r"right-hand side.*write np.asarray\(x\)"),
        (Vi(b) * 2, {}, "right-hand side"),
        (b[:10], {}, "square"),
        (b, {"var": unknown}, "symbolic variable of this tensor"),
    ):
        with pytest.raises(ShapeError, match=words):
            K.solve(right, **options)
    with pytest.raises(ShapeError, match="square"):
        kernel(x, x[:20]).solve(b)
    with pytest.raises(ShapeError, match="var must be Vj of length 1"):
        (K * unknown).solve(b[:, :1], var=unknown)
    with pytest.raises(FormulaError, match="linear"):
        (K * unknown * unknown).solve(b, var=unknown)
    with pytest.raises(ShapeError, match="one number for each pair"):
        (Vi(x) - Vj(x)).solve(b)


# ------------------------------------------------------------------------------------------------- the prepared call


@pytest.mark.parametrize("batch", [(), (2,)])
def test_repeated_call(batch, device):
    rng = np.random.default_rng(0)
    formula = "Exp(-SqDist(x, y)) * Exp(u) * Exp(v) * Exp(c) * b"
    routine = Genred(formula, ["x=Vi(3)", "y=Vj(3)", "u=Vi(1)", "v=Vj(1)", "c=Pm(1)", "b=Vj(2)"], axis=1)
    sizes = ((70, 3), (50, 3), (70, 1), (50, 1), (1,), (50, 2))
    arrays = [rng.normal(size=(*batch, *size)) for size in sizes]
    plan = routine._plan_of(routine.program, "float64", current_device(), bool(batch), 70, 50)
    slot = routine._slot_of(5)
    assert routine.program.slots[slot].domain == Domain.J
    call = Repeated(plan, routine._in_slots(arrays), slot, Region(70, 50, batch))
    for _ in range(3):
        arrays[5] = rng.normal(size=arrays[5].shape)
        assert np.array_equal(call(arrays[5]), routine(*arrays))


def test_solution_on_a_device_with_memory_of_its_own(device, monkeypatch):
    # Vectors are copied there and back for each product, which a device that shares memory can do as well.
    monkeypatch.setattr(device, "facts", replace(device.facts, shares_addresses=False, shares_host_memory=False))
    x, b = points()
    a = solver()(1.0, x, x, b, alpha=ALPHA, eps=1e-10, preconditioner=nystrom(20))
    assert np.allclose(dense(x) @ a, b, atol=1e-8)


def test_block_sparse_systems() -> None:
    x = np.sort(np.random.default_rng(0).random((200, 1)), axis=0)
    b = np.random.default_rng(1).normal(size=(200, 2))
    blocks = np.array([[0, 80], [80, 200]])
    ranges = cluster.from_matrix(blocks, blocks, np.eye(2, dtype=bool))
    solver = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(2)"], "b", axis=1)
    found = solver(x, x, b, alpha=0.5, eps=1e-10, ranges=ranges)
    labels = np.repeat([0, 1], [80, 120])
    dense = np.where(labels[:, None] == labels, np.exp(-((x - x.T) ** 2)), 0) + 0.5 * np.eye(200)
    np.testing.assert_allclose(found, np.linalg.solve(dense, b), rtol=1e-7, atol=1e-8)
