"""Every reduction as users call it: both axes, batches, `out`, a second formula, derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from oracle import Array

from clreduce.errors import FormulaError, NotDifferentiableError, ShapeError
from clreduce.numpy import Genred
from clreduce.reductions import ALIASES, FAMILIES, REDUCTIONS, reduction_named
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")

NAMES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "p = Pm(1)"]
M, N, K = 5, 19, 3
EVERY = [*REDUCTIONS, *FAMILIES]
DIFFERENTIABLE = [name for name in EVERY if reduction_named(name, K if name in FAMILIES else None).tangent]
STEP = 1e-6


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


def routine(name: str, axis: int = 1, aliases: Sequence[str] = tuple(NAMES)) -> Genred:
    number = K if ALIASES.get(name, name) in FAMILIES else None
    record = reduction_named(name, number)
    formula = "p - SqDist(x, y)" if record.scalar else "Cos(x - y) * Elem(b, 0) * p"
    second = "Square(b) + p" if record.formulas == 2 else None
    return Genred(formula, list(aliases), name, axis=axis, opt_arg=number, formula2=second)


def data(seed: int = 0, batch: tuple[int, ...] = ()) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, (*batch, *shape)) for shape in ((M, 3), (N, 3), (N, 2))] + [rng.uniform(0.5, 1, 1)]


def by_numpy(of: Genred, arrays: Sequence[Array]) -> list[Array]:
    rows, columns = (M, N) if of.axis == 1 else (N, M)
    return list(of.program.reference(of._in_slots(arrays), rows, columns))


def results(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def close(found: Any, expected: Any, rtol: float) -> None:
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("name", EVERY)
def test_results(name: str, device: Device) -> None:
    """Shapes, dtypes and values; `out`; a batch in which x is shared; over i, and under other names."""
    of = routine(name)
    arrays = data()
    found, expected = results(of(*arrays)), by_numpy(of, arrays)
    for result, exact, output in zip(found, expected, of.program.outputs, strict=True):
        lists = of.program.reduction.lists
        row = (K, output.dim // K) if lists and output.dim > K else (output.dim,)
        assert result.shape == (M, *row)
        assert result.dtype == (np.int64 if output.kind == "index" else np.float64)
        close(result.reshape(M, -1), exact, 1e-12)
    out = tuple(np.empty_like(result) for result in found)
    given = of(*arrays, out=out if len(out) > 1 else out[0])
    for result, target, again in zip(found, out, results(given), strict=True):
        assert target is again
        np.testing.assert_array_equal(result, target)
    exchanged = ["x = Vj(3)", "y = Vi(3)", "b = Vi(2)", "p = Pm(1)"]
    same = [routine(name, 0, exchanged), *(routine(alias) for alias, meant in ALIASES.items() if meant == name)]
    for other in same:
        for result, exact in zip(results(other(*arrays)), found, strict=True):
            assert result.dtype == exact.dtype
            np.testing.assert_array_equal(result, exact)
    many = data(1, (2,))
    many[0] = many[0][:1]
    batched = results(of(*many))
    for index in range(2):
        single = results(of(many[0][0], many[1][index], many[2][index], many[3]))
        for result, exact in zip(batched, single, strict=True):
            close(result[index], exact, 1e-12)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name: str, device: Device) -> None:
    """Forward, reverse and second order, of all arguments together, against differences of the routine itself.

    No terms, no slopes; nor in rows of the result that do not exist.
    """
    of = routine(name, DIFFERENTIABLE.index(name) % 2)
    arrays, moves = data(), data(1)
    tangents = dict(enumerate(moves))
    found = of(*arrays)
    cotangent = np.random.default_rng(2).standard_normal(results(found)[0].shape)

    def along(f: Callable[..., Any]) -> list[Array]:
        steps = [f(*(a + s * move for a, move in zip(arrays, moves, strict=True))) for s in (STEP, -STEP)]
        return [(ahead - back) / (2 * STEP) for ahead, back in zip(*map(results, steps), strict=True)]

    slope = along(of)[0]
    forward = of.jvp(*arrays, tangents=tangents)
    close(forward, slope, 1e-7)
    close(of.jvp(*arrays, tangents=tangents, output=found), forward, 1e-13)
    pulled = of.vjp(*arrays, cotangent=cotangent)
    close(sum(np.sum(g * move) for g, move in zip(pulled, moves, strict=True)), np.sum(forward * cotangent), 1e-11)
    curved = of.hvp(*arrays, cotangent=cotangent, tangents=tangents)
    for second, expected in zip(curved, along(lambda *a: of.vjp(*a, cotangent=cotangent)), strict=True):
        close(second, expected, 1e-6)
    x, y, b, p = arrays
    for empty in ((x, y[:0], b[:0], p), (x[:0], y, b, p)):
        shape = results(of(*empty))[0].shape
        for gradient, array in zip(of.vjp(*empty, cotangent=np.ones(shape)), empty, strict=True):
            np.testing.assert_array_equal(gradient, np.zeros(array.shape))


@pytest.mark.parametrize("name", ["LogSumExp", "LogSumExpWeight", "SumSoftMaxWeight", "Var"])
def test_hessians_are_symmetric(name: str, device: Device) -> None:
    of = routine(name)
    arrays, moves = data(), data(1)
    found = of(*arrays)
    cotangent = np.random.default_rng(2).standard_normal(found.shape)
    (one,) = of.hvp(*arrays, cotangent=cotangent, tangents={"y": moves[1]}, wrt="b", output=found)
    (other,) = of.hvp(*arrays, cotangent=cotangent, tangents={"b": moves[2]}, wrt="y")
    close(np.sum(one * moves[2]), np.sum(other * moves[1]), 1e-11)


def test_second_derivatives_of_a_batch(device: Device) -> None:
    of = routine("SumSoftMaxWeight")
    arrays, moves = data(3, (2,)), data(4, (2,))
    arrays[0], moves[0] = arrays[0][:1], moves[0][:1]
    cotangent = np.random.default_rng(5).standard_normal((2, M, 2))
    found = of.hvp(*arrays, cotangent=cotangent, tangents=dict(enumerate(moves)))
    steps = [
        of.vjp(*(a + s * m for a, m in zip(arrays, moves, strict=True)), cotangent=cotangent) for s in (STEP, -STEP)
    ]
    for second, ahead, back, array in zip(found, *steps, arrays, strict=True):
        assert second.shape == array.shape
        close(second, (ahead - back) / (2 * STEP), 1e-6)


# ---------------------------------------------------------------------------------------------------- weights, softmax


def test_weights_of_log_sum_exp(device: Device) -> None:
    """The same under both names; negative weights; weights of 0 on terms that are much larger."""
    x, y, b, p = data()
    both = [Genred("SqDist(x, y) * p", NAMES, name, axis=1, formula2="b") for name in ("LogSumExp", "LogSumExpWeight")]
    found = [of(x, y, b, p) for of in both]
    with np.errstate(invalid="ignore"):
        expected = np.log(np.exp(((x[:, None] - y) ** 2).sum(-1) * p) @ b)
    for one in found:
        np.testing.assert_allclose(one, expected, rtol=1e-12)
    assert np.isnan(expected).any() or (expected < 1).any()
    masked = Genred("f", ["f = Vj(1)", "w = Vj(1)"], "LogSumExp", axis=1, formula2="w")
    f, w = np.array([[2000.0], [0], [1], [np.nan]]), np.array([[0.0], [1], [1], [0]])
    np.testing.assert_allclose(masked(f, w), [[np.log(1 + np.e)]])
    in_f, in_w = masked.vjp(f, w, cotangent=np.ones((1, 1)))
    np.testing.assert_allclose(in_f[:, 0], [0, 1 / (1 + np.e), np.e / (1 + np.e), 0], rtol=1e-12)
    np.testing.assert_allclose(in_w[:3, 0], [np.inf, 1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-12)
    nothing = masked.vjp(f[:2], 0 * w[:2], cotangent=np.ones((1, 1)))
    np.testing.assert_array_equal(nothing, np.zeros((2, 2, 1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attention(dtype: str, device: Device) -> None:
    """Softmax-weighted means of long vectors, with scores far beyond what exp can take, and their gradients."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((n, d)).astype(dtype) for n, d in ((40, 8), (70, 8), (70, 33)))
    of = Genred("30 * (q|k)", ["q = Vi(8)", "k = Vj(8)", "v = Vj(33)"], "SoftMax", axis=1, formula2="v")
    scores = 30 * (q.astype(float) @ k.T.astype(float))
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    rtol = 1e-3 if dtype == "float32" else 1e-11  # scores of some hundred are rounded, too
    close(of(q, k, v), weights @ v, rtol)
    e = rng.standard_normal((40, 33)).astype(dtype)
    in_q, in_k, in_v = of.vjp(q, k, v, cotangent=e)
    close(in_v, weights.T @ e, rtol)
    of_scores = 30 * weights * (e @ v.T - (e * (weights @ v)).sum(1, keepdims=True))
    close(in_q, of_scores @ k, rtol)
    close(in_k, of_scores.T @ q, rtol)


def test_raw_pairs_lead_to_log_sum_exp(device: Device) -> None:
    """m + log(s), and its gradient, by the derivatives of m and s."""
    arrays = data()
    pair, plain = (Genred("p - SqDist(x, y)", NAMES, name, axis=1) for name in ("Max_SumShiftExp", "LogSumExp"))
    found = pair(*arrays)
    close(found[:, :1] + np.log(found[:, 1:]), plain(*arrays), 1e-12)
    e = np.random.default_rng(1).standard_normal((M, 1))
    cotangent = np.concatenate([e, e / found[:, 1:]], axis=1)
    for one, other in zip(pair.vjp(*arrays, cotangent=cotangent), plain.vjp(*arrays, cotangent=e), strict=True):
        close(one, other, 1e-12)


# ---------------------------------------------------------------------------------------------------- products, moments


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_products_with_zeros(zeros: int, device: Device) -> None:
    """First and second derivatives are those of a polynomial, whatever terms are 0."""
    of = Genred("t", ["t = Vj(1)"], "Prod", axis=1)
    terms = np.array([1.5, -2.0, 0.5, 3.0, -1.0])
    terms[:zeros] = 0
    one = np.ones((1, 1))

    def without(*left_out: int) -> float:
        return float(np.prod(np.delete(terms, left_out)))

    assert of(terms[:, None]) == np.prod(terms)
    (slope,) = of.vjp(terms[:, None], cotangent=one)
    np.testing.assert_allclose(slope[:, 0], [without(j) for j in range(5)])
    for j in range(5):
        direction = np.eye(5)[:, j : j + 1]
        assert of.jvp(terms[:, None], tangents={"t": direction}) == pytest.approx(without(j))
        (second,) = of.hvp(terms[:, None], cotangent=one, tangents={"t": direction})
        np.testing.assert_allclose(second[:, 0], [0 if k == j else without(j, k) for k in range(5)], atol=1e-15)


# ------------------------------------------------------------------------------------------------------------- errors

WRONG: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (FormulaError, "Sum takes no formula2; LogSumExp, .* do", {"reduction_op": "Sum", "formula2": "b"}),
    (FormulaError, "Max takes no formula2", {"reduction_op": "Max", "formula2": "b"}),
    (FormulaError, "SoftMax needs formula2: the values", {"reduction_op": "SoftMax"}),
    (FormulaError, "LogSumExpWeight needs formula2: the weights", {"reduction_op": "LogSumExpWeight"}),
    (FormulaError, "SumKMin needs formula2", {"reduction_op": "SumKMin", "opt_arg": 2}),
    (FormulaError, "SumKMin needs K", {"reduction_op": "SumKMin", "formula2": "b"}),
    (FormulaError, "Mean takes no opt_arg", {"reduction_op": "Mean", "opt_arg": 2}),
    (FormulaError, "unknown variable 'z'", {"reduction_op": "SoftMax", "formula2": "z"}),
    (FormulaError, "a formula is a text", {"reduction_op": "SoftMax", "formula2": 3}),
    (FormulaError, "unknown reduction 'Prod_Parts'", {"reduction_op": "Prod_Parts"}),
    (ShapeError, "needs a formula of length 1 beside formula2; it has length 3",
     {"formula": "x - y", "reduction_op": "SoftMax", "formula2": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "options"), WRONG, ids=lambda part: part if isinstance(part, str) else "")
def test_errors(error: type[Exception], message: str, options: dict[str, Any]) -> None:
    given = {"formula": "SqDist(x, y)", "axis": 1} | options
    with pytest.raises(error, match=message):
        Genred(given.pop("formula"), NAMES, **given)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in DIFFERENTIABLE])
def test_what_has_no_derivative(name: str, device: Device) -> None:
    of = routine(name)
    arrays = data()
    moves = {"x": arrays[0]}
    calls: list[Callable[[], Any]] = [
        lambda: of.vjp(*arrays, cotangent=arrays[0]), lambda: of.jvp(*arrays, tangents=moves),
        lambda: of.hvp(*arrays, cotangent=arrays[0], tangents=moves),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(
            NotDifferentiableError, match=f"{name} has no derivative; these reductions have one: .*LogSumExp"
        ):
            call()
