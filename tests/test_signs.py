"""What is said of signs holds for all numbers, special ones included; and exponentials of distances profit from it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import run

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import constant, variable
from clreduce.ir.signs import signs_of, with_known_signs
from clreduce.language.formula import parse
from clreduce.ops.arithmetic import difference, square
from clreduce.ops.compare import larger, less, smaller, where
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import absolute, exp, rsqrt, sqrt
from clreduce.ops.shape import concat, extract, reduce_sum
from clreduce.program import map_reduce
from clreduce.runtime.device import Device

x, y, p = variable("x", 2, Domain.I), variable("y", 2, Domain.J), variable("p", 1, Domain.P)
POINTS = [0.0, -0.0, 1.0, -1.0, 3.5, -3.5, np.inf, -np.inf, np.nan, 1e300, -1e300]


@st.composite
def formulas(draw: st.DrawFn) -> Expr:
    """Of length 2 or 1, from what the rules know and what they don't."""
    nodes = [x, y, p, *map(constant, (0, -0.0, 1, -2, float("inf")))]
    for _ in range(draw(st.integers(1, 7))):
        a, b = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        one = draw(
            st.sampled_from(
                [
                    square,
                    absolute,
                    sqrt,
                    rsqrt,
                    exp,
                    lambda f: -f,
                    lambda f: reduce_sum(f, 1, f.dim, 1),
                    lambda f: extract(f, 0, 1),
                ]
            )
        )
        two = draw(
            st.sampled_from(
                [
                    lambda f, g: f + g, lambda f, g: f - g, lambda f, g: f * g, lambda f, g: f / g, larger, smaller,
                    difference, lambda f, g: where(less(f, g), f, g), lambda f, g: extract(concat(f, g), 0, 2),
                ]
            )
        )  # fmt: skip
        nodes.append(two(a, b) if draw(st.booleans()) else one(a))
    return nodes[-1]


@given(formula=formulas())
def test_signs_hold(formula: Expr) -> None:
    grid = np.array([*product(POINTS, repeat=3)])
    values = {x: grid[:, :2], y: grid[:, [2, 0]], p: grid[:, 2:]}
    nodes = topological([formula])
    with np.errstate(all="ignore"):
        found = dict(zip(nodes, evaluate(nodes, values), strict=True))
    for node, sign in signs_of([formula]).items():
        numbers = found[node]
        assert not (sign.never_negative and (numbers < 0).any()), node
        assert not (sign.never_positive and (numbers > 0).any()), node
        minus_zeros = (numbers == 0) & np.signbit(numbers)
        assert not (sign.never_negative and sign.no_minus_zero and minus_zeros.any()), node


@pytest.mark.parametrize("text", [
    "Exp(-SqDist(x, y))", "Exp(-Norm2(x - y))", "Exp(-SqDist(x, y) / (2 * Square(p) + 1))",
    "Exp(-(p * p) * SqDist(x, y))", "Exp(-1 / (x | x))",
    "Exp(-Sum(Abs(x - y)) / 3)", "Exp(Sum(Minus(Square(x))))", "Exp(-(SqDist(x, y) + 1))",
])  # fmt: skip
def test_exponents_that_are_never_positive(text: str) -> None:
    assert "exp_never_above_1" in names(parse(text, ["x = Vi(2)", "y = Vj(2)", "p = Pm(1)"]).expr)


@pytest.mark.parametrize("text", [
    "Exp(SqDist(x, y))", "Exp(-p * SqDist(x, y))", "Exp(-(x | y))", "Exp(-1 / (x | y))", "Exp(-SqDist(x, y) / p)",
    "Exp(-SqDist(x, y) / Rsqrt(p))", "Exp(1 - SqDist(x, y))",
])  # fmt: skip
def test_other_exponents(text: str) -> None:
    assert "exp" in names(parse(text, ["x = Vi(2)", "y = Vj(2)", "p = Pm(1)"]).expr)


def names(formula: Expr) -> set[str]:
    return {node.op.name for node in topological(with_known_signs([formula]))}


def test_kernels_profit() -> None:
    for formula, reduction in ((exp(-squared_distance(x, y)), "Sum"), (-squared_distance(x, y), "LogSumExp")):
        kernel = lower(map_reduce([formula], reduction)[0], "float", Schedule(), DeviceFacts()).pair
        assert "exp_never_above_1" in kernel.functions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponents_at_special_points(dtype: str, device: Device) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    points = np.array([0.0, -0.0, 1e-30, 1.0, 9.0, 30.0, 1e10, np.inf, -np.inf, np.nan], dtype)[:, None]
    one, other = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    program, _ = map_reduce([exp(-square(one - other))], "Max")
    arrays = [points, np.zeros((1, 1), dtype)]
    (found,) = run(program, arrays, len(points), 1, dtype, Schedule(lanes=4))
    with np.errstate(all="ignore"):
        wanted = np.exp(-(points**2))
    wanted[np.isnan(wanted)] = -np.inf  # passed over by Max
    np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(dtype).eps, atol=0)
