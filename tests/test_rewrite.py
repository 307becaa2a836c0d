"""Simplification keeps the meaning, and what it is for: gradients without idle operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import constant, variable
from clreduce.ir.rewrite import simplify
from clreduce.ops.arithmetic import div, power, square
from clreduce.ops.derived import scalar_product, squared_distance
from clreduce.ops.functions import exp
from clreduce.ops.shape import concat, expand, extract, place, repeated, summed, total, zeros
from clreduce.ops.trigonometry import sin

X, Y, S = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("s", 1, Domain.P)
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
        (extract(place(S, 2, 5), 2, 1), S),
        (total(expand(X, 1, 7, 3), 1, 7, 3), 7 * X),
        (summed(repeated(S, 5)), 5 * S),
        (summed((2 * X) * (3 * Y)), 6 * summed(X * Y)),
        (summed(-X * (4 * S)), -4 * summed(X * S)),
        (summed(-X), -summed(X)),
        (summed(constant(1e9) * X), summed(constant(1e9) * X)),
        (power(X, 3), power(X, 3)),
    ],
)
def test_rules(given_form: Expr, expected: Expr) -> None:
    assert one(given_form) is expected


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


def test_a_gaussian_gradient_has_no_idle_operation() -> None:
    cotangent, b = variable("e", 1, Domain.I), variable("b", 1, Domain.J)
    (gradient,) = vjp({exp(-squared_distance(X, Y)) * b: cotangent}, [X])
    assert gradient is not None
    found = names(one(gradient))
    assert found.count("neg") == 1  # inside the exponential
    assert found.count("mul") == 4  # e b, times the exponential, times -2, times x - y
    assert names(one(scalar_product(X, Y))).count("mul") == 1
