"""Recurrences: values, derivatives of any order and kernels of `scan`, and what is made of it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array

from clreduce.autodiff import jacobian, jvp, vjp
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.coupling import coupled_components
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr
from clreduce.ir.op import constant, variable
from clreduce.ir.show import show, tree
from clreduce.numpy import Genred, LazyTensor
from clreduce.ops.arithmetic import square
from clreduce.ops.derived import scalar_product
from clreduce.ops.functions import exp
from clreduce.ops.matrices import matrix_vector
from clreduce.ops.scan import product, scanned
from clreduce.ops.shape import concat, element, extract
from clreduce.ops.special_vectors import soft_dtw, soft_min
from clreduce.ops.trigonometry import sin
from clreduce.program import map_reduce
from clreduce.runtime.plan import Plan, Signature

I, J, P = Domain.I, Domain.J, Domain.P
X, Y, A = variable("x", 6, I), variable("y", 8, J), variable("a", 2, P)
START = variable("s", 2, I)


def mixing(steps: int, backwards: bool, last: bool, start: Expr = START, series: Expr = Y) -> Expr:
    """A recurrence whose carry has two components that read one another, a series of pairs, and a parameter."""
    return scanned(
        lambda carry, parts, shared: sin(concat(element(carry, 1) * element(parts[0], 0), element(carry, 0)))
        + shared[0] * extract(parts[0], 0, 2),
        start, steps, [series], [A], backwards, last,
    )  # fmt: skip


def numpy_mixing(start: Array, series: Array, a: Array, steps: int, backwards: bool) -> list[Array]:
    parts = series.reshape(*series.shape[:-1], steps, -1)
    found = [start] * steps
    carry = start
    for t in reversed(range(steps)) if backwards else range(steps):
        now = parts[..., t, :]
        carry = np.sin(np.stack(np.broadcast_arrays(carry[..., 1] * now[..., 0], carry[..., 0]), -1)) + a * now[..., :2]
        found[t] = carry
    return [carry, np.concatenate(np.broadcast_arrays(*found), -1)]


def data(rows: int = 5, columns: int = 7) -> dict[Expr, Array]:
    rng = np.random.default_rng(3)
    return {X: rng.normal(size=(rows, 1, 6)), Y: rng.normal(size=(1, columns, 8)), A: rng.normal(size=(1, 1, 2)),
            START: rng.normal(size=(rows, 1, 2))}  # fmt: skip


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_a_scan_is_the_loop_that_it_stands_for(steps: int, backwards: bool, last: bool) -> None:
    known = data()
    wanted = numpy_mixing(known[START], known[Y], known[A], steps, backwards)[0 if last else 1]
    (found,) = evaluate([mixing(steps, backwards, last)], known)
    np.testing.assert_allclose(np.broadcast_to(found, wanted.shape), wanted, rtol=1e-14)


@pytest.mark.parametrize("lanes", [1, 4, 8])
@pytest.mark.parametrize(("rows", "cols", "unroll"), [(1, 1, 4), (2, 2, 1), (2, 4, 4)])
@pytest.mark.parametrize("backwards", [False, True])
def test_kernels_of_scans_on_any_register_tile(
    device: Any, lanes: int, rows: int, cols: int, unroll: int, backwards: bool
) -> None:
    if lanes > device.facts.most_lanes:
        pytest.skip("the driver handles fewer lanes")
    weights = variable("w", 8, J)
    every, last = mixing(4, backwards, False), mixing(4, backwards, True)
    program, leaves = map_reduce([every * weights + scalar_product(last, A)], "Sum")
    known = data() | {weights: np.random.default_rng(1).normal(size=(1, 7, 8))}
    arrays = [np.ascontiguousarray(known[leaf].reshape(-1, leaf.dim).squeeze(0) if leaf.domain == P
              else known[leaf].reshape(-1, leaf.dim)) for leaf in leaves]  # fmt: skip
    wanted = program.reference(arrays, 5, 7)
    plan = Plan(program, Signature("float64"), device, Schedule(lanes=lanes, rows=rows, cols=cols, unroll=unroll))
    np.testing.assert_allclose(plan(arrays, 5, 7)[0], wanted[0], rtol=1e-12, atol=1e-12)


def slope(f: Expr, leaf: Expr, direction: Array, known: dict[Expr, Array], step: float = 1e-6) -> Array:
    """The derivative in a direction, by differences."""
    upper, lower = (evaluate([f], known | {leaf: known[leaf] + side * direction})[0] for side in (step, -step))
    return (upper - lower) / (2 * step)


@pytest.mark.parametrize("leaf", [START, Y, A], ids=["start", "series", "shared"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_derivatives_of_scans_in_both_modes_and_to_second_order(leaf: Expr, backwards: bool, last: bool) -> None:
    known = data(1, 1)
    rng = np.random.default_rng(0)
    f = mixing(4, backwards, last)
    dot, cotangent = variable("dot", leaf.dim, leaf.domain), variable("e", f.dim, I)
    known |= {dot: rng.normal(size=(1, 1, leaf.dim)), cotangent: rng.normal(size=(1, 1, f.dim))}
    (forward,) = jvp([f], {leaf: dot})
    (pulled,) = vjp({f: cotangent}, [leaf])
    assert forward is not None
    assert pulled is not None
    value_forward, value_pulled, matrix = evaluate([forward, pulled, jacobian(f, leaf)], known)
    wanted = slope(f, leaf, known[dot], known)
    np.testing.assert_allclose(value_forward, wanted, atol=1e-8)
    assert (value_pulled * known[dot]).sum() == pytest.approx((wanted * known[cotangent]).sum(), abs=1e-8)
    np.testing.assert_allclose(matrix.reshape(f.dim, leaf.dim) @ known[dot].ravel(), wanted.ravel(), atol=1e-8)
    for other in (START, Y, A):
        e = variable("e2", leaf.dim, I)
        known[e] = rng.normal(size=(1, 1, leaf.dim))
        (second,) = vjp({pulled: e}, [other])
        assert second is not None
        direction = rng.normal(size=known[other].shape)
        along = slope(pulled, other, direction, known)
        (found,) = evaluate([second], known)
        assert (found * direction).sum() == pytest.approx((along * known[e]).sum(), abs=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, -1.5, 2.0]), min_size=2, max_size=8))
def test_products_have_exact_derivatives_with_any_number_of_zeros(values: list[float]) -> None:
    x = variable("x", len(values), I)
    f = product(x)
    point = {x: np.array([values])}
    (gradient,) = vjp({f: constant(1)}, [x])
    assert gradient is not None
    value, found, hessian = evaluate([f, gradient, jacobian(gradient, x)], point)
    others = [np.prod([v for n, v in enumerate(values) if n != k]) for k in range(len(values))]
    assert value[0, 0] == np.prod(values)
    np.testing.assert_array_equal(np.broadcast_to(found, (1, len(values)))[0], others)
    pairs = [
        [0.0 if k == m else np.prod([v for n, v in enumerate(values) if n not in (k, m)]) for m in range(len(values))]
        for k in range(len(values))
    ]
    np.testing.assert_array_equal(hessian.reshape(len(values), -1), pairs)


def dense_soft_dtw(x: Array, y: Array, gamma: float) -> Array:
    """For all pairs of rows at once."""
    cost = (x[:, None, :, None] - y[None, :, None, :]) ** 2
    table = np.empty_like(cost)
    for k in range(x.shape[1]):
        for m in range(y.shape[1]):
            least: Any = 0.0
            if k and m:
                before = np.stack([table[..., k - 1, m - 1], table[..., k - 1, m], table[..., k, m - 1]])
                least = -gamma * np.logaddexp.reduce(-before / gamma)
            elif k or m:
                least = table[..., max(k - 1, 0), max(m - 1, 0)]
            table[..., k, m] = cost[..., k, m] + least
    result: Array = table[..., -1, -1]
    return result


@pytest.mark.parametrize(
    ("n", "m", "dtype"), [(20, 17, "float64"), (40, 1, "float64"), (1, 40, "float64"), (2, 19, "float32")]
)
@pytest.mark.usefixtures("plain_kernels")
def test_soft_dtw_in_loops(device: Any, n: int, m: int, dtype: str) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("no float64")
    rng = np.random.default_rng(0)
    x, y, gamma = (rng.random(shape) for shape in ((6, n), (5, m), (1,)))
    routine = Genred("SoftDTW_SqDist(x, y, g)", [f"x = Vi({n})", f"y = Vj({m})", "g = Pm(1)"], "Sum", axis=1)
    arrays = [array.astype(dtype) for array in (x, y, gamma)]
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(routine(*arrays)[:, 0], dense_soft_dtw(x, y, gamma[0]).sum(1), tolerance, tolerance)
    slopes = routine.vjp(*arrays, cotangent=np.ones((6, 1), dtype))
    for which, found in enumerate(slopes):
        inputs = [x, y, gamma]
        direction = rng.normal(size=inputs[which].shape)
        sides = []
        for step in (1e-6, -1e-6):
            moved = [a + step * direction if k == which else a for k, a in enumerate(inputs)]
            sides.append(dense_soft_dtw(moved[0], moved[1], moved[2][0]).sum())
        wanted = (sides[0] - sides[1]) / 2e-6
        assert (found * direction).sum() == pytest.approx(wanted, rel=1e-6 if dtype == "float64" else 1e-3, abs=1e-4)


def test_soft_dtw_as_text_and_as_loops_agree_to_second_order() -> None:
    x, y, g = variable("x", 13, I), variable("y", 3, J), variable("g", 1, P)
    row: list[Expr] = []
    for k in range(13):
        before, row = row, []
        for m in range(3):
            cost = square(element(x, k) - element(y, m))
            if before and row:
                cost = cost + soft_min(before[m - 1], before[m], row[-1], g)
            elif before or row:
                cost = cost + (before or row[-1:])[0]
            row.append(cost)
    rng = np.random.default_rng(0)
    known = {x: rng.normal(size=(1, 13)), y: rng.normal(size=(1, 3)), g: np.array([[0.7]])}
    forms = []
    for f in (soft_dtw(x, y, g), row[-1]):
        first = vjp({f: constant(1)}, [x, y, g])
        weighted = scalar_product(first[0], x)  # type: ignore[arg-type]
        forms.append(evaluate([f, *first, *vjp({weighted: constant(1)}, [x, y, g])], known))  # type: ignore[list-item]
    for a, b in zip(*forms, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_a_gradient_of_soft_dtw_has_few_nodes_whatever_its_length() -> None:
    sizes = set()
    for length in (20, 200):
        x, y, g = variable("x", length, I), variable("y", length, J), variable("g", 1, P)
        sizes.add(len(tree(vjp({soft_dtw(x, y, g): constant(1)}, [x])[0]).splitlines()))  # type: ignore[arg-type]
    assert len(sizes) == 1
    assert max(sizes) < 100


def test_a_long_product_over_vectors(device: Any) -> None:
    x, y = np.random.default_rng(0).uniform(0.9, 1.1, (2, 6, 100))
    x, y = x / 2, y / 2
    found = (LazyTensor(x[:, None]) + LazyTensor(y[None])).prod(-1).sum(axis=1)
    np.testing.assert_allclose(found[:, 0], (x[:, None] + y).prod(-1).sum(1), rtol=1e-12)


def test_a_scan_among_other_operations(device: Any) -> None:
    """Read by a matrix product, of computed series, of one index alone, and within another scan."""
    matrix = variable("m", 12, P)
    of_j = scanned(lambda carry, parts, _: carry + square(parts[0]), element(Y, 0), 8, [exp(Y)])

    def turned(carry: Expr, parts: Any, shared: Any) -> Expr:
        inside = scanned(lambda inner, now, _: inner * 0.5 + now[0], element(carry, 0), 4, [parts[0]], last=True)
        return matrix_vector(extract(shared[0], 8, 4), carry) * inside + sin(carry)

    pairs = scanned(turned, START, 2, [Y], [matrix])
    program, leaves = map_reduce([matrix_vector(extract(matrix, 0, 8), pairs) * element(of_j, 7)], "Sum")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=leaf.dim if leaf.domain == P else (5 if leaf.domain == I else 7, leaf.dim)) / 2
              for leaf in leaves]  # fmt: skip
    plan = Plan(program, Signature("float64"), device)
    np.testing.assert_allclose(plan(arrays, 5, 7)[0], program.reference(arrays, 5, 7)[0], rtol=1e-11, atol=1e-12)


def test_text_pickles_and_couplings_of_scans() -> None:
    f = mixing(4, False, False)
    assert pickle.loads(pickle.dumps(f)) is f
    other = scanned(lambda carry, parts, shared: carry + 1, START, 4, [Y], [A])
    assert tree(f) != tree(other)
    assert "4 steps" in show(other)
    v = variable("v", 3, J)
    sums = scanned(lambda carry, parts, _: carry + parts[0], constant(0), 3, [v])
    assert coupled_components(sums, v) == (0, 0, 0)


def test_scans_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="a multiple of 3; got length 8"):
        mixing(3, False, False)
    with pytest.raises(ShapeError, match="makes length 2 of length 1"):
        scanned(lambda carry, parts, shared: concat(carry, carry), constant(0), 3)
