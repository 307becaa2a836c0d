"""Values and slopes at the edges: powers, remainders, variances and indices, beside those of PyTorch and NumPy."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import DTYPES

from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.ir.expr import topological
from clreduce.ir.op import constant, variable
from clreduce.ir.show import show
from clreduce.language.formula import parse
from clreduce.numpy import Genred, LazyTensor, Vi, Vj
from clreduce.numpy.cluster import from_matrix
from clreduce.ops.arithmetic import real_power
from clreduce.ops.derived import squared_norm
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
INF, NAN = float("inf"), float("nan")


def precision(dtype: str, device: Device) -> str:
    return dtype if device.facts.has_double else "float32"


def value_and_slopes(formula: str, at: tuple[float, ...], dtype: str) -> list[float]:
    """The value of a formula of x (and y) at numbers, and its slopes there."""
    names = "xy"[: len(at)]
    routine = Genred(formula, [*(f"{name} = Vi(1)" for name in names), "j = Vj(1)"], axis=1)
    arrays = [np.full((1, 1), value, dtype) for value in (*at, 0.0)]
    one = np.ones((1, 1), dtype)
    return [
        float(routine(*arrays)[0, 0]),
        *(float(g[0, 0]) for g in routine.vjp(*arrays, cotangent=one, wrt=list(names))),
    ]


# ------------------------------------------------------------------------------------------------ powers, remainders

POWERS = [
    (0, 0), (0, 1), (0, 2.5), (0, -1), (0, 0.5), (NAN, 0), (INF, 0), (INF, 2), (INF, 0.5), (0, INF), (1, INF), (2, INF),
    (2, -INF), (-1, 2), (-1, 2.5), (-2, 3), (-INF, 3), (-INF, 2), (1, NAN), (2, 1), (1, 0), (-INF, 0.5), (INF, INF),
    (0, -INF),
]  # fmt: skip
REMAINDERS = [(3, INF), (-3, INF), (0, INF), (3, -INF), (-3, -INF), (3, 0), (-3, 3), (5.5, 2), (-5.5, 2), (5.5, -2)]


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("formula", ["Powf(x, y)", "x ** y", "Mod(x, y, 0)", "x ** -0.5", "x ** 0.75", "x ** 0"])
def test_as_pytorch(formula: str, dtype: str, device: Device) -> None:
    import torch

    dtype = precision(dtype, device)
    theirs: Any = {"Mod(x, y, 0)": torch.remainder}.get(formula, torch.pow)
    exponent = formula.partition("** ")[2]
    points: list[Any] = {"Mod(x, y, 0)": REMAINDERS}.get(formula, POWERS)
    if exponent not in ("", "y"):
        points = [(x,) for x in (0, INF, -1, NAN, 4)]
    for at in points:
        tensors = [torch.tensor(float(a), dtype=getattr(torch, dtype), requires_grad=True) for a in at]
        out = theirs(*tensors) if len(at) == 2 else theirs(tensors[0], float(exponent))
        expected = [out.item(), *(g.item() for g in torch.autograd.grad(out, tensors))]
        np.testing.assert_allclose(value_and_slopes(formula, at, dtype), expected, rtol=1e-6, err_msg=f"at {at}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_decided_otherwise_than_in_pytorch(dtype: str, device: Device) -> None:
    dtype = precision(dtype, device)
    for formula, at, expected in (
        ("Powf(x, y)", (INF, -2), (0, 0, 0)), ("Powf(x, y)", (-INF, -3), (0, 0, 0)), ("Acosh(x)", (-2,), (NAN, NAN)),
        ("Acosh(x)", (0.5,), (NAN, NAN)), ("Acosh(x)", (1,), (0, INF)), ("Rsqrt(x)", (0,), (0, 0)),
        ("Sqrt(x)", (0,), (0, 0)), ("x ** 0.5", (0,), (0, 0)), ("1 / Sqrt(x)", (0,), (INF, NAN)),
        ("x ** -0.5", (-0.0,), (INF, -INF)),
    ):  # fmt: skip
        np.testing.assert_array_equal(value_and_slopes(formula, at, dtype), expected, err_msg=f"{formula} at {at}")


def test_a_reciprocal_root_is_written_as_it_is_read() -> None:
    for text in ("x**-0.5", "(x + 1)**-0.5", "-x**-0.5", "(x**-0.5)**2", "4**-0.5 * x"):
        expr = parse(text, ["x = Vi(1)"]).expr
        assert parse(show(expr, {0: "x"}), ["x = Vi(1)"]).expr is expr


# ------------------------------------------------------------------------------------------------- coincident points

RADIAL = {  # a formula of s = |x - y|^2, and its gradient as a multiple of x - y, where s is not 0
    "Powf(SqDist(x, y), 0.5)": (lambda s: s**0.5, lambda s: s**-0.5),
    "SqDist(x, y) ** 0.75": (lambda s: s**0.75, lambda s: 1.5 * s**-0.25),
    "Norm2(x - y) ** 1.5": (lambda s: s**0.75, lambda s: 1.5 * s**-0.25),
    "(3 * SqDist(x, y)) ** 0.75": (lambda s: (3 * s) ** 0.75, lambda s: 3**0.75 * 1.5 * s**-0.25),
    "(g * SqDist(x, y) / 2) ** 0.75": (lambda s: s**0.75, lambda s: 1.5 * s**-0.25),
    "(SqNorm2(x - y) + SqDist(x, y)) ** 0.75": (lambda s: (2 * s) ** 0.75, lambda s: 2**0.75 * 1.5 * s**-0.25),
    "SqDist(x, y) ** 0.25": (lambda s: s**0.25, lambda s: 0.5 * s**-0.75),
    "XLogX(SqDist(x, y))": (lambda s: s * np.log(np.where(s > 0, s, 1)), lambda s: 2 * (np.log(s) + 1)),
    "Sqrt(SqDist(x, y))": (lambda s: s**0.5, lambda s: s**-0.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("formula", RADIAL)
def test_gradients_are_zero_where_points_coincide(formula: str, dtype: str, device: Device) -> None:
    dtype = precision(dtype, device)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(dtype)
    value, slope = RADIAL[formula]
    routine = Genred(formula, ["x = Vi(3)", "y = Vj(3)", "g = Pm(1)"], axis=1)
    g = np.full(1, 2, dtype)
    apart = x[:, None].astype(float) - x
    s = (apart**2).sum(-1, keepdims=True)
    np.testing.assert_allclose(routine(x, x, g), value(s).sum(1), rtol=1e-5)
    with np.errstate(all="ignore"):
        expected = np.where(s > 0, slope(s) * apart, 0).sum(1)
    np.testing.assert_allclose(routine.grad("x")(x, x, g, np.ones((7, 1), dtype)), expected, rtol=2e-5, atol=2e-5)


def test_shared_sums_of_squares_are_looked_at_once() -> None:
    """Forty doublings of a distance are forty sums, not 2^40."""
    x, e = variable("x", 3, Domain.I), constant(1)
    distance = squared_norm(x)
    for _ in range(40):
        distance = distance + distance
    (slope,) = vjp({real_power(distance, constant(Fraction(3, 4))): e}, [x])
    assert any(node.op.name == "where" for node in topological([slope]))


def test_slopes_in_other_factors_of_a_power_are_not_cut_off(device: Device) -> None:
    """(g s)^0.75 has an infinite slope in g at g = 0, and 0 where s is 0."""
    routine = Genred("(g * SqDist(x, y)) ** 0.75", ["g = Vi(1)", "x = Vi(2)", "y = Vj(2)"], axis=1)
    x = np.array([[1.0, 2.0], [0.0, 0.0]], "float32")
    in_g, in_x = routine.vjp(
        np.array([[0.0], [0.0]], "float32"), x, np.zeros((1, 2), "float32"), cotangent=np.ones((2, 1), "float32"),
        wrt=["g", "x"],
    )  # fmt: skip
    np.testing.assert_array_equal(in_g, [[INF], [0]])
    np.testing.assert_array_equal(in_x[1], [0, 0])


def test_logarithms_and_reciprocals_of_no_distance(device: Device) -> None:
    for formula, value in (("Log(SqDist(x, y))", -INF), ("Log(Norm2(x - y))", -INF), ("Inv(Norm2(x - y))", INF)):
        assert value_and_slopes(formula, (1.0, 1.0), "float32")[0] == value
    # What is not taken has no slope, so pairs that are masked are safe.
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    x_i, y_j = Vi(x), Vj(x)
    energy = (x_i - y_j).norm2().log()
    energy = energy.where(energy.i != energy.j, 1.0)
    assert np.isfinite(energy.sum(axis=1)).all()


# ----------------------------------------------------------------------------------------------------------- variance


@settings(max_examples=30)
@given(data=st.data())
def test_the_variance_of_huge_terms_is_finite(data: st.DataObject, device: Device) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES[: 1 + device.facts.has_double])))
    largest = float(np.sqrt(np.finfo(dtype).max)) / 4
    n, shift = data.draw(st.integers(1, 3000)), data.draw(st.floats(-1e4, 1e4))
    rng = np.random.default_rng(n)
    terms = (largest * (rng.uniform(-1, 1, (n, 1)) + shift)).astype(dtype)
    found = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Var", axis=1)(np.ones((1, 1), dtype), terms)
    expected = np.var(terms.astype(np.longdouble))
    unit = np.longdouble(np.finfo(dtype).eps)
    error = 300 * unit * (expected + unit * np.longdouble(largest * shift) ** 2)
    assert np.abs(found[0, 0].astype(np.longdouble) - expected) <= error


# ---------------------------------------------------------------------------------------------- the K best, infinities

VALUES = st.lists(st.sampled_from([-INF, -1.0, 0.0, 1.0, 2.0, INF, NAN]), max_size=12)


def ranked(terms: list[float], count: int, smallest: bool) -> list[int]:
    """Indices in order: nan as the last value, the lowest of equals first; -1 where there are fewer."""
    last = INF if smallest else -INF
    cleaned = [last if np.isnan(term) else term for term in terms]
    order = sorted(range(len(terms)), key=lambda n: (cleaned[n] if smallest else -cleaned[n], n))
    return (order + [-1] * count)[:count]


@settings(max_examples=60)
@given(terms=VALUES, count=st.sampled_from([1, 2, 5]), dtype=st.sampled_from(DTYPES))
def test_infinite_terms_have_their_indices(terms: list[float], count: int, dtype: str, device: Device) -> None:
    dtype = precision(dtype, device)
    x, y = np.zeros((2, 1), dtype), np.array(terms, dtype).reshape(-1, 1)
    for name, smallest in (("KMin", True), ("KMax", False)):
        expected = ranked(terms, count, smallest)
        indices = Genred("x + y", ["x = Vi(1)", "y = Vj(1)"], f"Arg{name}", axis=1, opt_arg=count)(x, y)
        assert indices.tolist() == [expected] * 2
        values, places = Genred("x + y", ["x = Vi(1)", "y = Vj(1)"], f"{name}_Arg{name}", axis=1, opt_arg=count)(x, y)
        assert places.tolist() == [expected] * 2
        last = INF if smallest else -INF
        picked = [last if n < 0 or np.isnan(terms[n]) else terms[n] for n in expected]
        np.testing.assert_array_equal(values, [picked] * 2)


def test_a_single_index_is_that_of_argmin(device: Device) -> None:
    x = np.zeros((1, 1), "float32")
    for terms in ([INF, INF], [INF, 1.0], [NAN, INF], [NAN]):
        y = np.array(terms, "float32")[:, None]
        one, other = (
            Genred("x + y", ["x = Vi(1)", "y = Vj(1)"], name, axis=1, opt_arg=count)(x, y)
            for name, count in (("ArgMin", None), ("ArgKMin", 1))
        )
        assert one.item() == other.item()


def test_infinite_terms_of_vectors_batches_and_ranges(device: Device) -> None:
    """Each component has a list of its own; rows of a block take columns that they visit."""
    y = np.array([[INF, 1], [2, INF], [INF, 3], [4, INF]], "float32")
    routine = Genred("x + y", ["x = Vi(2)", "y = Vj(2)"], "ArgKMin", axis=1, opt_arg=3)
    expected = np.array([[1, 0], [3, 2], [0, 1]])
    np.testing.assert_array_equal(routine(np.zeros((1, 2), "float32"), y)[0], expected)
    batch = routine(np.zeros((2, 1, 2), "float32"), np.stack([y, y[::-1]]))
    np.testing.assert_array_equal(batch[:, 0], [expected, [[2, 3], [0, 1], [1, 0]]])
    out = np.zeros((1, 3, 2), np.int64)
    assert routine(np.zeros((1, 2), "float32"), y, out=out) is out
    np.testing.assert_array_equal(out[0], expected)
    halves = np.array([[0, 2], [2, 4]])
    ranges = from_matrix(halves, halves, np.eye(2, dtype=bool))
    found = routine(np.zeros((4, 2), "float32"), y, ranges=ranges)
    first, second = [[1, 0], [0, 1], [-1, -1]], [[3, 2], [2, 3], [-1, -1]]
    np.testing.assert_array_equal(found, [first, first, second, second])


@needs_torch
def test_infinite_terms_have_no_slope_and_tensors_have_their_indices(device: Device) -> None:
    import torch

    from clreduce.torch import LazyTensor as TorchTensor

    x = torch.tensor([[[0.0]]]), torch.tensor([[[1.0], [INF], [-INF], [3.0]]])
    y = x[1].requires_grad_()
    D = (TorchTensor(x[0]) - TorchTensor(y)).abs()
    assert D.argKmin(4, dim=1).tolist() == [[0, 3, 1, 2]]
    (slope,) = torch.autograd.grad(D.Kmin(4, dim=1).clamp(max=10).sum(), y)
    assert slope.flatten().tolist() == [1, 0, 0, 1]
    masked = LazyTensor(np.zeros((3, 1, 1), "float32")) + LazyTensor(np.ones((1, 3, 1), "float32"))
    masked = masked.where(masked.i != masked.j, INF)
    np.testing.assert_array_equal(masked.argKmin(3, dim=1), [[1, 2, 0], [0, 2, 1], [0, 1, 2]])
