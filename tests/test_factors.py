"""Products of numbers are regrouped for fewer multiplications per pair, and mean the same."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import check_rewrite

from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.factors import gather_factors
from clreduce.ir.op import constant, variable
from clreduce.ir.rewrite import simplify
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.ops.shape import concat
from clreduce.program import map_reduce

G, H = variable("g", 1, Domain.P), variable("h", 1, Domain.P)
E, F = variable("e", 1, Domain.I), variable("f", 1, Domain.I)
B, C = variable("b", 1, Domain.J), variable("c", 1, Domain.J)
X, Y = variable("x", 3, Domain.I), variable("y", 3, Domain.J)
K = exp(-squared_distance(X, Y))


def per_pair(roots: tuple[Expr, ...]) -> int:
    """Multiplications of numbers for each pair."""
    return sum(node.op.name == "mul" and node.dim == 1 and node.domain == Domain.IJ for node in topological(roots))


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (G * (K * (E * B)), K * B * (G * E)),
        (G * (E * (H * (F * (B * (C * K))))), K * (B * C) * (G * H * E * F)),
        (E * (K * F), K * (E * F)),
        (G * (E * K), K * (G * E)),
        # Nothing is gained, and the order stays.
        (E * K, E * K),
        (K * (E * F), K * (E * F)),
        (B * (E * K), B * (E * K)),
        (E * B, E * B),
        (K * constant(3), K * constant(3)),
        # Vectors stay; the numbers beside them are regrouped.
        (G * (E * K) * (X - Y), K * (G * E) * (X - Y)),
    ],
)  # fmt: skip
def test_products(f: Expr, expected: Expr) -> None:
    (found,) = gather_factors([f])
    assert found is expected


def test_a_product_that_others_read_stays() -> None:
    shared = K * E
    roots = gather_factors([G * (F * shared), shared + B])
    assert roots == (shared * (G * F), shared + B)
    assert gather_factors([concat(shared, G * (F * shared))]) == (concat(shared, shared * (G * F)),)


def test_long_products() -> None:
    """Of more factors than Python's calls nest."""
    f = K
    for n in range(5000):
        f = (E, B, G)[n % 3] * f
    (found,) = gather_factors([f])
    assert per_pair((found,)) == 2
    steps = K
    for _ in range(5000):
        steps = K * steps
    assert gather_factors([steps]) == (steps,)


def test_a_gaussian_gradient_takes_two_products_per_pair() -> None:
    program, _ = map_reduce([exp(-G * squared_distance(X, Y)) * B], "Sum")
    for wrt in ("x", "y"):
        (slot,) = [
            n for n, leaf in enumerate(program.slots) if leaf.dim == 3 and leaf.domain.name == "IJ"["xy".index(wrt)]
        ]
        (gradient,) = program.vjp([slot])
        # g d, and the exponential times what depends on i and on j.
        assert per_pair(simplify(gradient.program.values)) == 3


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_meaning_stays_of_any_formula(random: Random) -> None:
    """Of formulas of all operations: the results lie where rounding errors may carry them."""
    before, after = check_rewrite(gather_factors, random)
    assert per_pair(after) <= per_pair(before)


def products(depth: int) -> st.SearchStrategy[Expr]:
    leaves = st.sampled_from([G, H, E, F, B, C, K, E - B, constant(2), constant(-1)])
    if depth == 0:
        return leaves
    below = products(depth - 1)
    return st.one_of(leaves, st.tuples(below, below).map(lambda pair: pair[0] * pair[1]))


@given(products(5))
def test_any_product(f: Expr) -> None:
    rng = np.random.default_rng(0)
    data = {leaf: rng.normal(size=(1, leaf.dim)) for leaf in (G, H, E, F, B, C, X, Y)}
    (found,) = gather_factors([f])
    before, after = evaluate([f, found], data)
    np.testing.assert_allclose(after, before, rtol=1e-13)
    assert per_pair((found,)) <= per_pair((f,))
    assert gather_factors([found]) == (found,)
