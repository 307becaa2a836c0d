"""Simplification keeps the meaning, and what it is for: gradients without idle operations."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import check_rewrite

from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import constant, variable
from clreduce.ir.rewrite import simplify
from clreduce.ops.arithmetic import div, power, square
from clreduce.ops.compare import equal, less, less_equal, logical_not, where
from clreduce.ops.derived import scalar_product, squared_distance
from clreduce.ops.functions import absolute, exp
from clreduce.ops.shape import concat, expand, extract, pad, reduce_sum, repeated, summed, zeros
from clreduce.ops.trigonometry import sin

X, Y, S = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("s", 1, Domain.P)
MASK = less(X, Y)
nan = float("nan")
RANDOM = np.random.default_rng(0)
DATA = {leaf: RANDOM.normal(size=(4, leaf.dim)) for leaf in (X, Y, S)}


def one(f: Expr) -> Expr:
    (result,) = simplify([f])
    return result


def names(f: Expr) -> list[str]:
    return [node.op.name for node in topological([f])]


@pytest.mark.parametrize(
    ("given_form", "expected"),
    [
        (X + 0, X),
        (0 + X, X),
        (X - 0, X),
        (0 - X, -X),
        (X * 1, X),
        (-(0 - X), X),
        (-X * -Y, X * Y),
        (-X * Y, -(X * Y)),
        (X + -Y, X - Y),
        (X - -Y, X + Y),
        (X / 1, X),
        (0 * X, zeros(3)),
        (X * 0, zeros(3)),
        (constant(2) + 3, constant(5)),
        (constant(2) / 4, constant(0.5)),
        (2 * (3 * X), 6 * X),
        ((2 * X) * S, X * (2 * S)),
        (-((2 * X) * -S), X * (2 * S)),
        (X * repeated(constant(1), 3), X),
        (X * repeated(S, 3), X * S),
        (extract(X, 0, 3), X),
        (extract(extract(X, 1, 2), 1, 1), extract(X, 2, 1)),
        (extract(concat(X, Y), 3, 3), Y),
        (extract(pad(S, 2, 5), 2, 1), S),
        (reduce_sum(expand(X, 1, 7, 3), 1, 7, 3), 7 * X),
        (summed(repeated(S, 5)), 5 * S),
        (summed((2 * X) * (3 * Y)), 6 * summed(X * Y)),
        (summed(-X * (4 * S)), -4 * summed(X * S)),
        (summed(-X), -summed(X)),
        (summed(constant(1e9) * X), summed(constant(1e9) * X)),
        (power(X, 3), power(X, 3)),
        (X - X, zeros(3)),
        (X + -X, zeros(3)),
        (sin(X) - sin(X), zeros(3)),
        (2 * X - X * 2, zeros(3)),
        (X + X, 2 * X),
        (3 * X + X, 4 * X),
        (3 * X - X, 2 * X),
        (X * S - X * S * 3, X * (-2 * S)),
        (constant(1000) * X * 1000 + X, constant(1000) * X * 1000 + X),
        (X * X, square(X)),
        ((2 * X) * (3 * X), 6 * square(X)),
        (-X * X, -square(X)),
        (square(-X), square(X)),
        (square(constant(3)), constant(9)),
        (absolute(-X), absolute(X)),
        (-X / -Y, X / Y),
        (-X / Y, -(X / Y)),
        (X / -Y, -(X / Y)),
        (X / 4, 0.25 * X),
        (S / repeated(constant(2), 3), repeated(0.5 * S, 3)),
        (X / 3, X / 3),
        (-X / 2, -0.5 * X),
        (where(MASK, X, X), X),
        (where(MASK, S, S), repeated(S, 3)),
        (where(logical_not(logical_not(MASK)), X, Y), where(MASK, X, Y)),
        (where(MASK, where(MASK, X, S), Y), where(MASK, X, Y)),
        (where(MASK, X, where(MASK, S, Y)), where(MASK, X, Y)),
        (where(MASK, where(less(Y, X), X, S), Y), where(MASK, where(less(Y, X), X, S), Y)),
        (where(less(constant(1), 2), X, Y), X),
        (where(logical_not(less(constant(1), 2)), X, S), repeated(S, 3)),
        (where(equal(constant(nan), nan), X, Y), Y),
        (where(less_equal(repeated(constant(2), 3), 2), S, Y), repeated(S, 3)),
    ],
)
def test_rules(given_form: Expr, expected: Expr) -> None:
    assert one(given_form) is expected


@pytest.mark.parametrize("f", [X - X, X - 1 * X, 0 * X, 2 * X - (X + X)], ids=str)
def test_a_difference_of_equal_terms_is_zero_whatever_the_data(f: Expr) -> None:
    data = {X: np.array([[np.nan, np.inf, -np.inf]])}
    np.testing.assert_array_equal(np.broadcast_to(evaluate([one(f)], data)[0], (1, 3)), [[0, 0, 0]])


@st.composite
def formulas(draw: Any, depth: int = 5) -> Expr:
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        leaf = draw(st.sampled_from([X, Y, S, constant(0), constant(1), constant(-1), constant(2), constant(0.5)]))
        return leaf
    below = formulas(depth=depth - 1)
    kind = draw(st.sampled_from(["+", "-", "*", "/", "neg", "sum", "square", "sin", "elem", "repeat", "concat"]))
    f = draw(below)
    if kind in "+-*/":
        g = draw(below)
        if 1 not in (f.dim, g.dim) and f.dim != g.dim:
            g = summed(g)
        if kind == "/":
            return div(f, square(g) + 1)
        return f + g if kind == "+" else f - g if kind == "-" else f * g
    if kind == "repeat":
        return repeated(summed(f), 3)
    if kind == "concat":
        both = concat(f, draw(below))
        start = draw(st.integers(0, both.dim - 1))
        return extract(both, start, draw(st.integers(1, both.dim - start)))
    unary = {"neg": lambda: -f, "sum": lambda: summed(f), "square": lambda: square(f), "sin": lambda: sin(f)}
    return unary.get(kind, lambda: extract(f, f.dim - 1, 1))()


@given(formulas())
def test_meaning_and_length_stay(f: Expr) -> None:
    simpler = one(f)
    assert simpler.dim == f.dim
    before, after = evaluate([f, simpler], DATA)
    np.testing.assert_allclose(*np.broadcast_arrays(after, before), rtol=1e-9, atol=1e-9 * (1 + np.abs(before).max()))


@given(formulas())
def test_simple_forms_stay(f: Expr) -> None:
    simpler = one(f)
    assert len(topological([one(simpler)])) <= len(topological([simpler]))


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_meaning_stays_of_any_formula(random: Random) -> None:
    """Of formulas of all operations: the results lie where rounding errors may carry them."""
    check_rewrite(simplify, random)


def test_gradients_of_nested_formulas_stay_small() -> None:
    """Shared parts are computed once: without that, each level would double the gradient."""
    sizes = []
    for levels in (8, 16):
        f = X
        for _ in range(levels):
            f = sin(f) * f
        (gradient,) = vjp({f: variable("e", 3, Domain.I)}, [X])
        assert gradient is not None
        sizes.append(len(topological([one(gradient)])))
    assert sizes[0] < 100
    assert sizes[1] - sizes[0] == 8 * 7  # sin, cos, three products, a sum and what is passed on


def test_a_gaussian_gradient_has_no_idle_operation() -> None:
    cotangent, b = variable("e", 1, Domain.I), variable("b", 1, Domain.J)
    (gradient,) = vjp({exp(-squared_distance(X, Y)) * b: cotangent}, [X])
    assert gradient is not None
    found = names(one(gradient))
    assert found.count("neg") == 1  # inside the exponential
    assert found.count("mul") == 4  # e b, times the exponential, times -2, times x - y
    assert names(one(scalar_product(X, Y))).count("mul") == 1
