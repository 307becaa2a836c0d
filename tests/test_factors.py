"""Products are arranged for fewer multiplications per pair, mean the same, and stay in the range of floats."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from extremes import Rewrite, outcomes, rewritten, rewritten_for_moderate_parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import check_rewrite

from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, substitute, topological
from clreduce.ir.factors import Arranged, arrange_moderate_products, arrange_products
from clreduce.ir.op import constant, variable
from clreduce.numpy import Genred
from clreduce.ops.arithmetic import inv, square
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.program import arranged, map_reduce
from clreduce.runtime.device import Device

G, H = variable("g", 1, Domain.P), variable("h", 1, Domain.P)
E, F = variable("e", 1, Domain.I), variable("f", 1, Domain.I)
B, C = variable("b", 1, Domain.J), variable("c", 1, Domain.J)
X, Y = variable("x", 3, Domain.I), variable("y", 3, Domain.J)
K = exp(-squared_distance(X, Y))
WEIGHTED_DISTANCES = Genred("g * SqDist(x, y) * b", ["g = Pm(1)", "x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "Sum", axis=1)


def per_pair(roots: tuple[Expr, ...]) -> int:
    """Multiplications of numbers for each pair."""
    return sum(node.op.name == "mul" and node.dim == 1 and node.domain == Domain.IJ for node in topological(roots))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # A constant moves to the factor that is computed least often.
        ([-2 * (K * (B * E))], [K * (B * (-2 * E))]),
        ([2 * (G * (K * E))], [2 * G * (K * E)]),
        ([constant(3) * (K * (constant(-1) * B))], [K * (-3 * B)]),
        # A product that is computed anyway is read again.
        ([K * E, 2 * (K * (B * E))], [K * E, K * E * (2 * B)]),
        # Variables stay in their order: their products may leave the range of floats.
        ([G * (K * (E * B))], [G * (K * (E * B))]),
        ([E * (K * F)], [E * (K * F)]),
        ([E * K], [E * K]),
        ([K * (E * F)], [K * (E * F)]),
        # So do constants that could leave it.
        ([constant(1e30) * (K * E)], [constant(1e30) * (K * E)]),
        ([constant(1000) * (K * (constant(1000) * E))], [constant(1000) * (K * (constant(1000) * E))]),
        # Vectors stay; the numbers beside them are arranged.
        ([(2 * (K * (B * E))) * (X - Y)], [(K * (B * (2 * E))) * (X - Y)]),
    ],
)  # fmt: skip
def test_products(before: list[Expr], after: list[Expr]) -> None:
    assert list(arrange_products(before)) == after


def test_a_product_that_others_read_stays() -> None:
    shared = K * E
    assert arrange_products([2 * shared, shared + B]) == (2 * shared, shared + B)


def test_long_products_are_arranged() -> None:
    """Of more factors than Python's calls nest."""
    f = K
    for n in range(3000):
        f = f * (E + n)
    (arranged,) = arrange_products([constant(2) * f])
    assert sum(node.op.name == "mul" for node in topological([arranged])) == 3001


@pytest.mark.parametrize(
    ("before", "after", "limit"),
    [
        ([G * (K * (E * B))], [K * (G * E * B)], 1024),
        ([-2 * G * (K * (B * E))], [K * (B * (-2 * G * E))], 512),
        # Each of two parameters may be as far from 1 as the other.
        ([G * (H * (K * E))], [K * (G * H * E)], 32),
        ([K / square(G) * (E * B)], [K / square(G) * (E * B)], None),
        ([inv(square(G)) * (K * E)], [K * (inv(square(G)) * E)], 32),
        # As one, four of them would have to be close to 1; of sums and exponentials nothing is known.
        ([square(square(G)) * (K * E)], [square(square(G)) * (K * E)], None),
        ([exp(G) * (K * E)], [exp(G) * (K * E)], None),
        ([(G + 1) * (K * E)], [(G + 1) * (K * E)], None),
        # Nothing is assumed where no multiplication per pair is saved.
        ([G * K], [G * K], None),
        ([G * E * K], [G * E * K], None),
    ],
)
def test_products_of_moderate_parameters(before: list[Expr], after: list[Expr], limit: float | None) -> None:
    result = arrange_moderate_products(before)
    assert list(result.values) == after
    assert bool(result.parameters) == (limit is not None)
    assert limit is None or result.limit == limit


@pytest.mark.parametrize(("exponent", "products"), [(-squared_distance(X, Y), 2), (-G * squared_distance(X, Y), 3)])
def test_products_per_pair_of_a_gaussian_gradient(exponent: Expr, products: int) -> None:
    """The exponential times what depends on i and on j; with a factor g, also that in the exponent."""
    program, _ = map_reduce([exp(exponent) * B], "Sum")
    for domain in (Domain.I, Domain.J):
        (slot,) = [n for n, leaf in enumerate(program.slots) if leaf.dim == 3 and leaf.domain == domain]
        (gradient,) = program.vjp([slot])
        arrangement = arranged(gradient.program)
        assert per_pair(arrangement.moderate.values) == products
        assert per_pair(arrangement.careful.values) == products + len(arrangement.slots)


@pytest.mark.parametrize("sizes", [[1.0], [100.0], [1e25], [1e-25], [1.0, 1e25], [1e-25, 1.0, 100.0]])
def test_gradients_for_parameters_of_any_size(sizes: list[float], device: Device) -> None:
    """From moderate ones to one whose product with the cotangent overflows, and one with which it vanishes."""
    g = np.array(sizes)[:, None]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(len(g), 20, 1)), rng.normal(size=(len(g), 30, 1))
    b, e = np.ones((1, 30, 1)) / g[:, None], np.ones((1, 20, 1)) * g[:, None] ** 0.8
    expected = 2 * g[:, None] * e * ((x - y.swapaxes(1, 2)) @ b)
    arrays = [array.astype("float32") for array in (g, x, y, b, e)]
    *arrays, e = [array[0] for array in arrays] if len(g) == 1 else arrays  # without a batch, or with one
    (in_x,) = WEIGHTED_DISTANCES.vjp(*arrays, cotangent=e, wrt="x")
    np.testing.assert_allclose(in_x.reshape(expected.shape) / expected, 1, rtol=1e-2)


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e30), ("float64", 1e200)])
def test_derivatives_of_large_factors_times_small_ones(dtype: str, large: float) -> None:
    """The sum over j of (a_i y_j)^2: all values are ordinary numbers in the order of the formula."""
    a, y = np.full((3, 1), large, dtype), np.full((4, 1), 1 / large, dtype)
    routine = Genred("Square(a * y)", ["a = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    in_a, in_y = routine.vjp(a, y, cotangent=np.ones((3, 1), dtype))
    np.testing.assert_allclose(in_a, np.full((3, 1), 8 / large), rtol=1e-5)
    np.testing.assert_allclose(in_y, np.full((4, 1), 6 * large), rtol=1e-5)
    np.testing.assert_allclose(routine.jvp(a, y, tangents={"a": a}), 8, rtol=1e-5)


def test_scaled_loss_of_a_weighted_kernel() -> None:
    """(u_i K_ij) v_j with a large u, a small K and a loss scaled by 65536: the gradient is finite."""
    x, y = np.zeros((2, 1), "float32"), np.full((3, 1), np.sqrt(72), "float32")
    u, v = np.full((2, 1), 1e35, "float32"), np.full((3, 1), 1e-3, "float32")
    aliases = ["u = Vi(1)", "x = Vi(1)", "y = Vj(1)", "v = Vj(1)"]
    routine = Genred("u * Exp(-SqDist(x, y)) * v", aliases, "Sum", axis=1)
    (in_x,) = routine.vjp(u, x, y, v, cotangent=np.full((2, 1), 65536, "float32"), wrt="x")
    wide = [array.astype(float) for array in (u, x, y, v)]
    (expected,) = routine.vjp(*wide, cotangent=np.full((2, 1), 65536.0), wrt="x")
    assert np.isfinite(in_x).all()
    np.testing.assert_allclose(in_x, expected, rtol=1e-4)


@pytest.mark.parametrize("rewrite", [rewritten, rewritten_for_moderate_parameters])
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_no_rewrite_leaves_the_range_of_floats(rewrite: Rewrite, random: Random) -> None:
    """Wherever the form as written stays inside: values, first and second derivatives, both precisions."""
    assert not [line for outcome in outcomes(random, rewrite).values() for line in outcome.wrong]


def test_the_law_finds_products_in_another_order() -> None:
    def regrouped(roots: Sequence[Expr]) -> Arranged:
        changed = {
            node: node.args[0] * node.args[1].args[0] * node.args[1].args[1]
            for node in topological(roots)
            if node.op.name == "mul" and node.args[1].op.name == "mul"
        }
        return Arranged(substitute(roots, changed), (), 1.0)

    differences = [outcome.wrong for n in range(20) for outcome in outcomes(Random(n), regrouped).values()]
    assert any(differences)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_meaning_stays_of_any_formula(random: Random) -> None:
    """Of formulas of all operations: the results lie where rounding errors may carry them."""
    before, after = check_rewrite(arrange_products, random)
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
    safe, moderate = arrange_products([f]), arrange_moderate_products([f]).values
    before, *after = evaluate([f, *safe, *moderate], data)
    np.testing.assert_allclose(after, [before, before], rtol=1e-13)
    assert per_pair(moderate) <= per_pair(safe) <= per_pair((f,))
