"""Large formulas, long vectors, far constants: right, or one clear error, and never a dead interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.hoist import hoist
from clreduce.codegen.lower import lower
from clreduce.codegen.schedule import Schedule
from clreduce.errors import ScheduleError
from clreduce.numpy import Genred

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
