"""Large formulas, long vectors, far constants: right, or one clear error, and never a dead interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.hoist import hoist
from clreduce.codegen.limits import MOST_STATEMENTS
from clreduce.codegen.lower import lower
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import FormulaError, ScheduleError
from clreduce.ir.expr import topological
from clreduce.ir.op import OPS, variable
from clreduce.ir.rewrite import simplify
from clreduce.numpy import Genred
from clreduce.program import map_reduce

pytestmark = pytest.mark.usefixtures("plain_kernels")


def test_a_sum_of_900_terms(device: Any) -> None:
    x, y = np.random.default_rng(0).random((2, 5, 1))
    routine = Genred("+".join(["x*y"] * 900), ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    np.testing.assert_allclose(routine(x, y), 900 * x * y.sum(), rtol=1e-12)


def test_a_row_too_long_for_private_memory(device: Any) -> None:
    routine = Genred("b*Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1000000)"], "Sum", axis=1)
    with pytest.raises(ScheduleError, match=r"1000000 components.*fewer components"):
        routine.plan("float64")


def test_a_schedule_that_asks_for_too_much_memory() -> None:
    program = Genred("b*x", ["x = Vi(1)", "b = Vj(40000)"], "Sum", axis=1).program
    lower(program, "double", Schedule(lanes=1, rows=1), DeviceFacts())
    with pytest.raises(ScheduleError, match="private memory"):
        lower(program, "double", Schedule(lanes=8, rows=4), DeviceFacts())


@pytest.mark.parametrize(
    ("formula", "value", "expected"),
    [
        ("(1e-23*x)*(1e-32*x)", 1e15, 1e-25),
        ("(1e-30*x)*(1e-30*x)", 1e30, 1.0),
        ("(1e25*x)/(1e25*x)", 1.0, 1.0),
        ("1e30*x*1e30", 1.0, np.inf),
        ("-(2*x)*-(3*x)", 1.5, 13.5),
    ],
)
def test_far_constants_in_float32(device: Any, formula: str, value: float, expected: float) -> None:
    routine = Genred(formula, ["x = Vi(1)"], "Sum", axis=1)
    assert routine(np.full((1, 1), value, np.float32))[0, 0] == pytest.approx(expected, rel=1e-6)


def test_a_constant_beyond_float64_is_infinite(device: Any) -> None:
    assert Genred("1e300*x*1e300", ["x = Vi(1)"], "Sum", axis=1)(np.ones((1, 1)))[0, 0] == np.inf


@pytest.mark.parametrize(("formula", "panels"), [("Elem(x, 0)*y", 0), ("Sum(x)*y", 0), ("Sum(x*y)", 1), ("x*y", 1)])
def test_long_vectors_are_stored_only_where_loops_read_them(formula: str, panels: int) -> None:
    program = Genred(formula, ["x = Vi(200)", "y = Vj(1)"], "Sum", axis=1).program
    assert len(hoist(program.values, unroll=16).panels) == panels


@pytest.mark.parametrize("ranks", [(0, 0, 1), (1, 0, 0), (0, 2, 1), (2, 1, 0), (1, 1, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_derivatives_with_batches_of_any_rank(device: Any, ranks: tuple[int, int, int], axis: int) -> None:
    random = np.random.default_rng(0)
    batch = (2, 3)
    shapes = [(*batch[2 - rank :], size, dim) for rank, size, dim in zip(ranks, (5, 7, 7), (3, 3, 1), strict=True)]
    x, y, b = (random.normal(size=shape) for shape in shapes)
    dx, dy, db = (random.normal(size=shape) for shape in shapes)
    routine = Genred("Exp(-SqDist(x, y))*b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=axis)
    step = 1e-6
    upper = routine(x + step * dx, y + step * dy, b + step * db)
    slope = (upper - routine(x - step * dx, y - step * dy, b - step * db)) / (2 * step)
    np.testing.assert_allclose(routine.jvp(x, y, b, tangents={"x": dx, "y": dy, "b": db}), slope, atol=1e-8)

    cotangent = random.normal(size=slope.shape)
    gradients = routine.vjp(x, y, b, cotangent=cotangent)
    assert [gradient.shape for gradient in gradients] == shapes
    total = sum((gradient * tangent).sum() for gradient, tangent in zip(gradients, (dx, dy, db), strict=True))
    assert total == pytest.approx((cotangent * slope).sum(), abs=1e-7)


def test_a_product_of_500_factors_and_its_gradient(device: Any) -> None:
    x, y = np.random.default_rng(0).uniform(0.5, 1.0, (2, 5, 1))
    text = "*".join(f"(x + y/{n})" for n in range(1, 501))
    routine = Genred(text, ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    factors = x[:, None] + y[None] / np.arange(1, 501)
    products = factors.prod(-1)
    np.testing.assert_allclose(routine(x, y)[:, 0], products.sum(1), rtol=1e-11)
    slopes = (products[..., None] / factors).sum((1, 2))
    np.testing.assert_allclose(routine.grad("x")(x, y, np.ones((5, 1)))[:, 0], slopes, rtol=1e-11)


@pytest.mark.parametrize(("dim", "unroll"), [(1, 4), (3, 4), (7, 4)])
def test_chains_deeper_than_the_stack_of_python_become_kernels(dim: int, unroll: int) -> None:
    """Of numbers, of vectors that are written out, and of vectors in loops; products, sums of products, functions."""
    x, y, b = variable(0, dim, Domain.I), variable(1, dim, Domain.J), variable(2, 1, Domain.P)
    for step in (
        lambda f: f * (y + 2),
        lambda f: f + f * y,
        lambda f: OPS["sin"](f),
        lambda f: OPS["concat"](f) * y,
        lambda f: OPS["expand"](OPS["reduce_sum"](f * y, 1, dim, 1), 1, dim, 1) if dim > 1 else f * y,
    ):
        f = x - y * b
        for _ in range(350):
            f = step(f)
        program, _ = map_reduce(simplify([f]), "Sum")
        lower(program, "double", Schedule(lanes=4, rows=2, cols=2, unroll=unroll), DeviceFacts())


def test_moving_a_constant_through_a_long_product_takes_no_recursion() -> None:
    f = variable(0, 1, Domain.I)
    for n in range(3000):
        f = f * variable(n + 1, 1, Domain.J)
    (g,) = simplify([3 * f])
    assert len(topological([g])) == 2 * 3001 + 1


def test_a_formula_too_long_for_a_kernel_is_refused_by_its_longest_part() -> None:
    x, y = variable(0, 1, Domain.I), variable(1, 1, Domain.J)
    long = x
    for n in range(MOST_STATEMENTS):
        long = OPS["sin"](long + y * n)
    program, _ = map_reduce([OPS["exp"](long) + OPS["exp"](x - y)], "Sum")
    with pytest.raises(FormulaError, match=r"statements in a kernel.*of them are for the part Sin\(Sin"):
        lower(program, "double", Schedule(), DeviceFacts())


def test_vectors_of_too_many_parts_are_refused_and_those_of_many_are_not(device: Any) -> None:
    aliases = ["x = Vi(1)", "y = Vj(1)"]
    x, y = np.random.default_rng(0).random((2, 5, 1))
    some = Genred(f"Concat({', '.join(['x', 'y'] * 150)})", aliases, "Sum", axis=1)
    wanted = np.stack([5 * x[:, 0], np.full(5, y.sum())] * 150, 1)
    np.testing.assert_allclose(some(x, y), wanted, rtol=1e-12)
    with pytest.raises(FormulaError, match=r"50000 statements.*part concat\(Var"):
        Genred(f"Concat({', '.join(['x', 'y'] * 2500)})", aliases, "Sum", axis=1)(x, y)
    long = variable(0, 1, Domain.I) - variable(1, 1, Domain.J)
    for _ in range(2000):
        long = OPS["sin"](long)
    program, _ = map_reduce([long], "Sum")
    with pytest.raises(ScheduleError, match="give fewer rows or cols"):
        lower(program, "double", Schedule(lanes=1, rows=4, cols=4), DeviceFacts())


@pytest.mark.parametrize("direction", ["", ", b"])
def test_derivatives_nested_too_deeply_are_refused_where_they_stand(direction: str) -> None:
    text = "Exp(-SqDist(x, y))"
    for _ in range(30):
        text = f"Grad({text}, x{direction})"
    with pytest.raises(FormulaError, match=r"Grad: this derivative takes .* operations") as refused:
        Genred(text, ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "Sum", axis=1)
    assert "^" in str(refused.value)


def test_values_of_j_that_are_many_share_a_kernel_and_bounded_memory() -> None:
    text = " + ".join(f"Exp(x*y)*Exp(y*{n})" for n in range(100))
    program = Genred(text, ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1).program
    (stored,) = hoist(program.values, unroll=4).stored
    assert 4 < stored[0].dim <= 64
