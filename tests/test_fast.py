"""Squared distances as dot products: where the rewrite applies, what it costs, and that nobody gets it unasked."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from oracle import DTYPES, Array

from clreduce.domain import Domain
from clreduce.errors import FormulaError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.fast import SHORTEST, with_dot_products
from clreduce.ir.op import constant, position, variable
from clreduce.ir.rewrite import simplify
from clreduce.numpy import Genred
from clreduce.ops.arithmetic import square
from clreduce.ops.compare import larger, less, where
from clreduce.ops.derived import norm, scalar_product, squared_distance, squared_norm
from clreduce.ops.functions import exp, sqrt
from clreduce.ops.shape import extract, reduce_sum, repeated, summed
from clreduce.program import map_reduce, with_fast_distances
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")

D, M, N = 12, 37, 41
X, Y, B = variable("x", D, Domain.I), variable("y", D, Domain.J), variable("b", 1, Domain.J)
U, V = variable("u", D, Domain.I), variable("v", D, Domain.J)
P, Q = variable("p", 1, Domain.P), variable("q", D, Domain.P)
ALIASES = [f"x = Vi({D})", f"y = Vj({D})", "b = Vj(1)"]


def one(f: Expr) -> Expr:
    (result,) = with_dot_products([f])
    return result


def dot_form(x: Expr, y: Expr) -> Expr:
    return larger(squared_norm(x) + squared_norm(y) - 2 * scalar_product(x, y), constant(0))


def data(dtype: str = "float64", shift: float = 0.0) -> list[Array]:
    rng = np.random.default_rng(0)
    x, y, b = (rng.uniform(-1, 1, shape) for shape in ((M, D), (N, D), (N, 1)))
    return [array.astype(dtype) for array in (x / np.sqrt(D) + shift, y / np.sqrt(D) + shift, b)]


def distances(x: Array, y: Array) -> Array:
    """Squared, of shape (M, N), in more digits than float64 has where the machine knows such numbers."""
    difference = x[:, None].astype(np.longdouble) - y[None]
    result: Array = (difference * difference).sum(-1)
    return result


# ----------------------------------------------------------------------------------------------------- where it applies


@pytest.mark.parametrize(
    ("given_form", "expected"),
    [
        (squared_distance(X, Y), dot_form(X, Y)),
        (squared_distance(Y, X), dot_form(Y, X)),
        (scalar_product(X - Y, X - Y), dot_form(X, Y)),
        (squared_norm(-(X - Y)), dot_form(X, Y)),
        (squared_distance(P * X, P * Y), dot_form(P * X, P * Y)),
        (squared_distance(X / Q, Y / Q), dot_form(X / Q, Y / Q)),
        (squared_norm((X - Y) / P), dot_form(X / P, Y / P)),
        (squared_norm(Q * (X - Y) * P), dot_form(Q * X * P, Q * Y * P)),
        (squared_distance(exp(X) + U, Y * V), dot_form(exp(X) + U, Y * V)),
        (norm(X - Y), sqrt(dot_form(X, Y))),
        (exp(-squared_distance(X, Y)) * (X - Y), exp(-dot_form(X, Y)) * (X - Y)),  # the difference is shared
        (squared_distance(X * summed(U), Y) + squared_norm(X), dot_form(X * summed(U), Y) + squared_norm(X)),
        (squared_distance(where(less(X, U), X, U), Y), dot_form(where(less(X, U), X, U), Y)),
    ],
)
def test_distances_between_i_and_j(given_form: Expr, expected: Expr) -> None:
    assert one(given_form) is expected


@pytest.mark.parametrize(
    "formula",
    [
        squared_distance(X, U),
        squared_distance(Y, V),
        squared_distance(X, Q),  # computed once per i as it is
        squared_distance(X, Y * summed(U)),  # one side belongs to pairs
        squared_norm(X + Y),
        squared_norm((X - Y) / summed(U)),
        squared_norm((X - Y) * (U - V)),
        squared_norm(P / (X - Y)),
        scalar_product(X - Y, U - V),
        summed(square(X) - square(Y)),
        squared_distance(extract(X, 0, SHORTEST - 1), extract(Y, 0, SHORTEST - 1)),
        squared_distance(extract(X, 3, 1), B),
        squared_distance(B, X),  # one number against a vector
        reduce_sum(square(X - Y), 3, 4, 1),  # sums of four components
        summed(square(repeated(position(Domain.I), D) - repeated(position(Domain.J), D))),
        summed(square(where(less(X, Y), X, Y))),
        summed(less(X, Y)),
    ],
)
def test_other_formulas_stay(formula: Expr) -> None:
    assert one(formula) is formula


def test_the_meaning_stays() -> None:
    rng = np.random.default_rng(1)
    leaves = {leaf: rng.normal(size=(7, leaf.dim)) for leaf in (X, Y, U, V, P, Q, B)}
    for f in (squared_norm(Q * (X - Y) / P), exp(-squared_distance(X, Y)) * (X - Y), norm(exp(X) - Y * V)):
        before, after = evaluate([f, one(f)], leaves)
        np.testing.assert_allclose(after, before, rtol=1e-11)
    with np.errstate(invalid="ignore"):
        for bad in (np.nan, np.inf):
            leaves[X] = np.full((7, D), bad)
            assert np.isnan(evaluate([one(squared_distance(X, Y))], leaves)[0]).all()


def test_constant_factors_stay_out_of_the_sum() -> None:
    """The data are not multiplied by them, component by component."""
    program, _ = map_reduce([squared_distance(X / 2, constant(0.5) * Y)], "Sum")
    (value,) = simplify(with_fast_distances(program).values)
    pairs = [node for node in topological([value]) if node.domain == Domain.IJ and node.dim > 1]
    assert [node.op.name for node in pairs] == ["mul"]


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Max"])
def test_derivative_programs(reduction: str) -> None:
    """The distance in them is a dot product, also where x - y itself is needed."""
    program, _ = map_reduce([exp(-squared_distance(X, Y)) * B], reduction)
    found = [gradient.program for gradient in program.vjp([0, 1, 2])] + [program.jvp([0, 1]).program]
    for derivative in found:
        fast = with_fast_distances(derivative)
        assert fast != derivative
        assert fast.slots == derivative.slots
        assert not [node for node in topological(fast.values) if node.op.name == "square" and node.dim > 1
                    and node.domain == Domain.IJ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------- as an option


def routine(formula: str, reduction: str = "Sum", axis: int = 1, **options: Any) -> Genred:
    return Genred(formula, ALIASES, reduction, axis=axis, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_the_error_of_a_distance(shift: float, dtype: str, device: Device) -> None:
    """It is bounded by the norms, not by the distance; without the option it is bounded by the distance."""
    x, y, _ = data(dtype, shift)
    choice = np.eye(N, dtype=dtype)
    aliases = [*ALIASES[:2], f"b = Vj({N})"]
    exact = distances(x, y)
    norms = (x.astype(float) ** 2).sum(1)[:, None] + (y.astype(float) ** 2).sum(1)
    eps = np.finfo(dtype).eps
    fast = Genred("SqDist(x, y) * b", aliases, axis=1, fast="dot")(x, y, choice)
    assert (abs(fast - exact) <= (D + 3) * eps * norms).all()
    assert (fast >= 0).all()
    plain = Genred("SqDist(x, y) * b", aliases, axis=1)(x, y, choice)
    assert (abs(plain - exact) <= (D + 3) * eps * exact).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_sums(axis: int, dtype: str, device: Device) -> None:
    x, y, b = data(dtype)
    terms = np.exp(-distances(x, y).astype(float)) * b.astype(float).T
    rtol = 1e-12 if dtype == "float64" else 1e-5
    formula = "Exp(-SqDist(x, y)) * b" if axis == 1 else "Exp(-SqDist(y, x)) * b"
    found = routine(formula, axis=axis, fast="dot")(x, y, b)
    np.testing.assert_allclose(found[:, 0], terms.sum(axis), rtol=rtol, atol=rtol)
    exponents = b.astype(float).T - distances(x, y).astype(float)
    found = routine("b - SqDist(x, y)", "LogSumExp", axis=axis, fast="dot")(x, y, b)
    np.testing.assert_allclose(found[:, 0], np.log(np.exp(exponents).sum(axis)), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Max"])
def test_derivatives(reduction: str, device: Device) -> None:
    """Those of the routine without the option, up to rounding."""
    _, y, b = arrays = data()
    formula = "b - Norm2(x - 0.5 * y)"
    fast, plain = (routine(formula, reduction, fast=option) for option in ("dot", None))
    cotangent = np.random.default_rng(2).normal(size=(M, 1))
    for found, expected in zip(fast.vjp(*arrays, cotangent=cotangent), plain.vjp(*arrays, cotangent=cotangent),
                               strict=True):  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    tangents = {"x": y[:M], "b": b * b}
    np.testing.assert_allclose(
        fast.jvp(*arrays, tangents=tangents), plain.jvp(*arrays, tangents=tangents), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_are_as_good(dtype: str, device: Device) -> None:
    x, y, _ = data(dtype, shift=1.0)
    count = 5
    table = distances(x, y)
    norms = (x.astype(float) ** 2).sum(1).max() + (y.astype(float) ** 2).sum(1).max()
    nearest = Genred("SqDist(x, y)", ALIASES[:2], "ArgKMin", axis=1, opt_arg=count, fast="dot")(x, y)
    found = np.take_along_axis(table, nearest, 1)
    assert (abs(found - np.sort(table, 1)[:, :count]) <= 2 * (D + 3) * np.finfo(dtype).eps * norms).all()
    assert all(len(set(row)) == count for row in nearest.tolist())


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_distance_is_negative(dtype: str, device: Device) -> None:
    """So roots and powers of equal or nearly equal points are numbers, and their gradients too."""
    x, _, _ = data(dtype, shift=1000.0)
    y, b = np.repeat(x, 2, axis=0)[: len(x)] * (1 + np.finfo(dtype).eps), np.ones((len(x), 1), dtype)
    roots = routine("Norm2(x - y) * b + SqDist(x, y) ** 0.3", fast="dot")
    assert np.isfinite(roots(x, y, b)).all()
    assert (routine("SqDist(x, y) * b", "Min", fast="dot")(x, y, b) >= 0).all()
    for gradient in routine("Norm2(x - y) * b", fast="dot").vjp(x, y, b, cotangent=b):
        assert np.isfinite(gradient).all()


def test_nan_stays(device: Device) -> None:
    x, y, b = data()
    x[3, 5] = np.nan
    found = routine("Exp(-SqDist(x, y)) * b", fast="dot")(x, y, b)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [3]


def test_plans_are_kept_apart(device: Device) -> None:
    """A routine with the option has a plan of its own, if there is a distance to rewrite."""
    formula = "Exp(-SqDist(x, y)) * b"
    fast, plain = (routine(formula, fast=option).plan("float32", device) for option in ("dot", None))
    assert fast is not plain
    assert fast is routine(formula, fast="dot").plan("float32", device)
    assert "- 2.0f *" in fast.source
    assert "- 2.0f *" not in plain.source
    assert routine("(x | y) * b", fast="dot").plan("float32", device) is routine("(x | y) * b").plan("float32", device)


def test_it_is_said(device: Device) -> None:
    """By repr and by explain; and an unknown choice is refused."""
    fast = routine("Exp(-SqDist(x, y)) * b", fast="dot")
    assert "fast='dot'" in repr(fast)
    assert "fast" not in repr(routine("x"))
    file = io.StringIO()
    fast.explain("float32", file)
    text = file.getvalue()
    assert "fast='dot'" in text
    assert text.count("larger(SqNorm2(x) + SqNorm2(y) - 2 * (x | y), 0)") >= 3  # the formula and two gradients
    file = io.StringIO()
    routine("(x | y) * b", fast="dot").explain("float32", file)
    assert "nothing to rewrite" in file.getvalue()
    with pytest.raises(FormulaError, match=r"fast must be one of None, 'dot'; got True"):
        routine("x", fast=True)
