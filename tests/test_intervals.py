"""Bounds hold: of every operation, its derivatives and random formulas, in both precisions and at special places."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random

import numpy as np
import pytest
import test_operations
from boxes import assert_bounds_hold
from laws import law
from oracle import Array, run
from random_programs import random_sample

from clreduce.domain import Domain
from clreduce.intervals import Box, Interval, bounds_of, evaluate_bounds
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import MASK, Expr, topological, variables
from clreduce.ir.op import FUNCTIONS, OPS, Op, constant, position, variable
from clreduce.language.formula import parse
from clreduce.ops import hardware
from clreduce.ops.compare import equal, where
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import absolute, exp, sigmoid, step
from clreduce.ops.shape import concat, summed
from clreduce.ops.trigonometry import cos
from clreduce.program import map_reduce
from clreduce.runtime.device import Device

LIBRARY = [op for op in OPS.values() if op.numpy.__module__.startswith(("clreduce.", "numpy"))]
"""All operations but those that another test has registered."""
DTYPES = ("float32", "float64")


def formulas_of(name: str) -> list[Expr]:
    """A function with its parameters in every example, and its gradients, as they are tested on devices."""
    case = test_operations.CASES[name]
    others = case.values[len(test_operations.MIXES.get(len(FUNCTIONS[name].arguments), [0])) :]
    return list(dict.fromkeys([case.values[0], *others, *case.gradients]))


@law("bounds")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_bounds_of_functions(name: str, dtype: str) -> None:
    for seed in range(2):
        assert_bounds_hold(formulas_of(name), FUNCTIONS[name].interval, dtype, seed)


@pytest.mark.parametrize("name", sorted(test_operations.INTERNAL))
def test_bounds_of_internal_operations(name: str) -> None:
    for dtype, seed in product(DTYPES, range(4)):
        assert_bounds_hold(test_operations.INTERNAL[name], (-3.0, 3.0), dtype, seed)


@pytest.mark.parametrize("seed", range(50))
def test_bounds_of_random_formulas(seed: int) -> None:
    sample = random_sample(Random(f"bounds {seed}"))
    for dtype in DTYPES:
        assert_bounds_hold(sample.values, (-2.0, 2.0), dtype, seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "ends", "points"), [
    ("as_index", [(0.5, 2.0**31)], [0.5]),  # 2^31 - 1, the largest index, is 2^31 in float32
    ("real_power", [(-0.0, -0.0), (-1.0, 0.1)], [-0.0, -0.02]),  # inf
    ("real_power", [(-0.0, 1.0), (-2.0, 0.1)], [-0.0, -1.0]),  # -inf
    ("soft_min", [(np.inf, np.inf), (np.inf, np.inf), (-np.inf, 0.0), (1.0, 1.0)], [np.inf, np.inf, -1.0, 1.0]),
])  # fmt: skip
def test_bounds_hold_where_the_least_and_largest_values_are_not_at_corners(
    op: str, ends: list[tuple[float, float]], points: list[float], dtype: str
) -> None:
    leaves = [variable(number, 1, Domain.I) for number in range(len(ends))]
    boxes = {leaf: Interval(*(np.array([end], dtype) for end in box)) for leaf, box in zip(leaves, ends, strict=True)}
    f = OPS[op](*leaves)
    (bounds,) = evaluate_bounds([f], boxes, {}, dtype)
    (value,) = evaluate([f], {leaf: np.array([at], dtype) for leaf, at in zip(leaves, points, strict=True)}, dtype)
    assert bounds.low <= value <= bounds.high


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 3, 1000])
def test_bounds_of_sums_hold_in_any_order(dim: int, dtype: str) -> None:
    """Also where boxes are points, so that only rounding is left."""
    x, y = variable("x", dim, Domain.I), variable("y", dim, Domain.J)
    rng = np.random.default_rng(dim)
    a, b = (rng.normal(10, 1, (50, dim)).astype(dtype) for _ in "xy")
    boxes = {x: Interval(a, a), y: Interval(b, b)}
    squared, cancelling = evaluate_bounds([squared_distance(x, y), summed(x - y)], boxes, {}, dtype)
    for bounds, terms in ((squared, (a - b) ** 2), (cancelling, a - b)):
        for order in (terms, terms[:, ::-1], np.sort(terms, 1)):
            found = np.cumsum(order, 1, dtype=dtype)[:, -1:]
            assert (bounds.low <= found).all()
            assert (found <= bounds.high).all()
        exact = np.sum(terms, 1, dtype=np.longdouble, keepdims=True)
        scale = np.sum(np.abs(terms), 1, keepdims=True)
        assert ((bounds.high - bounds.low) <= (6 * dim + 40) * np.finfo(dtype).eps * scale).all()
        assert ((bounds.low <= exact) & (exact <= bounds.high)).all()


@pytest.mark.parametrize(("text", "low", "high"), [
    ("SqDist(x, y)", 4.25, 25.0), ("Norm2(x - y)", np.sqrt(4.25), 5.0), ("1 / x", -np.inf, np.inf),
    ("Sum(Abs(x - y))", 2.5, 7.0), ("(x | y)", -2.0, 4.0), ("Exp(-SqDist(x, y))", np.exp(-25.0), np.exp(-4.25)),
    ("SqNorm2(x)", 0.0, 2.0), ("x * x", 0.0, 1.0), ("Max(Concat(x, y))", 3.0, 4.0), ("IfElse(y, x, y)", -2.0, 1.0),
    ("Square(Sum(x) - 3)", 1.0, 9.0), ("Cos(x)", np.cos(1.0), 1.0), ("1 / y", -2.0, 1 / 3),
])  # fmt: skip
def test_bounds_are_tight_where_a_variable_appears_once(text: str, low: float, high: float) -> None:
    f = parse(text, ["x = Vi(2)", "y = Vj(2)"]).expr
    x, y = Interval(np.array([0.0, 0.0]), np.array([1.0, 1.0])), Interval(np.array([3.0, -2.0]), np.array([4.0, -0.5]))
    boxes = {leaf: x if leaf.domain == Domain.I else y for leaf in variables([f])}
    for dtype in DTYPES:
        (bounds,) = evaluate_bounds([f], boxes, {}, dtype)
        assert np.isclose(bounds.low.min(), low, rtol=1e-5, atol=1e-6)
        assert np.isclose(bounds.high.max(), high, rtol=1e-5, atol=1e-6)
        assert bounds.low.min() <= low
        assert bounds.high.max() >= high


def test_operations_without_a_rule_may_give_anything() -> None:
    """But what is never negative. Their users have bounds again where they have any: Cos is from -1 to 1."""
    x = variable("x", 1, Domain.I)
    secret, size = replace(absolute, name="secret", bounds=None, never_negative=False), replace(absolute, bounds=None)
    for f, low, high, nan in (
        (secret(x), -np.inf, np.inf, True), (size(x), 0.0, np.inf, True), (cos(secret(x)), -1.0, 1.0, True),
        (step(secret(x)), 0.0, 1.0, False),
    ):  # fmt: skip
        (bounds,) = evaluate_bounds([f], {x: Interval(np.zeros((1, 1)), np.ones((1, 1)))}, {}, "float64")
        np.testing.assert_allclose([bounds.low.item(), bounds.high.item()], [low, high])
        assert bounds.nan == nan


def test_every_operation_but_recurrences_states_a_rule() -> None:
    """Leaves aside, whose values come from elsewhere, and what kernels alone have (``clreduce/ops/hardware.py``)."""
    leaves = {"variable", "constant", "integer", "iota", "position"}
    in_kernels = {value.name for value in vars(hardware).values() if isinstance(value, Op)}
    assert {op.name for op in LIBRARY if op.bounds is None} == leaves | in_kernels | {"scan"}


def test_bounds_hold_for_the_exponential_of_a_gpu() -> None:
    """2^(x log2 e) there has the error of its rounded exponent, up to |x| 2^-24 of the result."""
    x = variable("x", 1, Domain.I)
    points = np.linspace(-85, 85, 2001, dtype=np.float32)[:, None]
    for f in (exp(x), OPS["exp_never_above_1"](-absolute(x)), sigmoid(x)):
        (bounds,) = evaluate_bounds([f], {x: Interval(points, points)}, {}, "float32")
        (exact,) = evaluate([f], {x: points.astype(np.float64)})
        error = (np.abs(points) * 2.0**-24 + 6 * 2.0**-23) * exact
        assert ((bounds.low <= exact - error) & (exact + error <= bounds.high)).all()


def test_constants_are_points_whatever_their_sign() -> None:
    """A quotient by one has no corners, and asks no question whose answer is known."""
    x = variable("x", 1, Domain.I)
    for divisor in (0.0011, -0.0011):
        (bounds,) = bounds_of([x / divisor], {x: Box.around(x)}, "float32")
        asked = [
            node for node in topological([bounds.low, bounds.high]) if node.kind == MASK and node.domain == Domain.P
        ]
        assert asked == []
        assert bounds.nan is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_of_bounds_compute_what_numpy_computes(dtype: str, device: Device, plain_kernels: None) -> None:
    """Up to rounding; and both hold for the values that kernels compute."""
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    aliases = ["x = Vi(3)", "y = Vj(3)", "s = Pm(1)"]
    formulas = [parse(text, aliases).expr for text in ("Exp(-s * SqDist(x, y))", "Sum(Abs(x - y))", "(x | y) / s")]
    f = concat(*formulas)
    x, y, s = (next(v for v in variables([f]) if v.domain == domain) for domain in (Domain.I, Domain.J, Domain.P))
    rng = np.random.default_rng(0)
    boxes, points = {}, {s: np.array([0.7], dtype)}
    for leaf, count in ((x, 20), (y, 30)):
        low, points[leaf] = np.sort(rng.normal(size=(2, count, 3)), 0).astype(dtype)
        boxes[leaf] = Interval(low, points[leaf] + np.asarray(0.1, dtype))
    (bounds,) = bounds_of([f], {leaf: Box.around(leaf) for leaf in boxes}, dtype)
    arrays = {s: points[s]}
    for leaf, box in boxes.items():
        around = Box.around(leaf)
        arrays |= {around.low: box.low, around.high: box.high}

    def on_device(root: Expr, known: dict[Expr, Array]) -> Array:
        """Of each row, the sum over the one column that is chosen."""
        column, chosen = position(Domain.J), variable("column", 1, Domain.P, "index")
        program, slots = map_reduce([where(equal(column, chosen), root, constant(0))], "Sum")
        found = []
        for at in range(30):
            given = known | {chosen: np.array([at])}
            found.append(run(program, [given[slot] for slot in slots], 20, 30, dtype)[0])
        return np.stack(found, 1)

    low, high, value = on_device(bounds.low, arrays), on_device(bounds.high, arrays), on_device(f, points)
    dense = {leaf: Interval(*(np.expand_dims(end, 1 if leaf is x else 0) for end in (box.low, box.high)))
             for leaf, box in boxes.items()}  # fmt: skip
    (by_numpy,) = evaluate_bounds([f], dense, {s: points[s]}, dtype)
    np.testing.assert_allclose(low, by_numpy.low, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-30)
    np.testing.assert_allclose(high, by_numpy.high, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-30)
    for ends in ((low, high), (by_numpy.low, by_numpy.high)):
        assert ((ends[0] <= value) & (value <= ends[1])).all()
