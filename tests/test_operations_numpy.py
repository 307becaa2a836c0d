"""The laws that every operation of the registry obeys, at the level of NumPy; a new operation is tested unchanged.

Derivatives are compared with central differences where an operation is smooth (its ``interval``), forward mode with
reverse mode by the inner-product identity, and values and slopes at special points with the documented ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.autodiff import jvp, vjp
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError, ShapeError
from clreduce.ir.evaluate import Array, evaluate
from clreduce.ir.expr import MASK, REAL, Expr, topological
from clreduce.ir.op import FUNCTIONS, OPS, Function, Op, constant, constant_value, variable
from clreduce.ops.arithmetic import div, inv, power, real_power
from clreduce.ops.compare import both, either, equal, larger, less, less_equal, negated, smaller, where
from clreduce.ops.derived import norm, scalar_product, squared_distance
from clreduce.ops.functions import absolute, log, relu, rsqrt, sign, sqrt, step
from clreduce.ops.shape import concat, expand, extract, permute, place, repeated, summed, total

POINTS = 5
"""Every law is tested at this many random points at once."""
STEP = 1e-5

WITH_VECTORS = sorted(name for name, function in FUNCTIONS.items() if function.arguments)


class Case:
    """An operation applied to variables, with random data where it is smooth."""

    def __init__(self, name: str, dims: Sequence[int] | None = None) -> None:
        function = FUNCTIONS[name]
        count = len(function.arguments)
        dims = dims or function.example[:count] or (3,) * count
        self.rng = np.random.default_rng(len(name))
        self.leaves = [variable(label, dim, Domain.I) for label, dim in zip(function.arguments, dims, strict=True)]
        self.expr = function.build(*self.leaves, *function.example[count:])
        low, high = function.interval
        self.data = {leaf: self.rng.uniform(low, high, (POINTS, leaf.dim)) for leaf in self.leaves}

    def random(self, like: Expr) -> Array:
        return self.rng.standard_normal((POINTS, like.dim))


def twin(leaf: Expr, prefix: str) -> Expr:
    """A new variable of the same length."""
    return variable((prefix, leaf.params[0]), leaf.dim, Domain.I)


def value(expr: Expr | None, data: dict[Expr, Array], dim: int) -> Array:
    """The value at each point; zeros for None."""
    if expr is None:
        return np.zeros((POINTS, dim))
    (found,) = evaluate([expr], data)
    assert found.shape[-1] == expr.dim == dim
    return np.broadcast_to(found, (POINTS, dim))


def slope(expr: Expr, data: dict[Expr, Array], direction: dict[Expr, Array]) -> Array:
    """Central difference of ``expr``."""
    ahead = {leaf: array + STEP * direction.get(leaf, 0.0) for leaf, array in data.items()}
    behind = {leaf: array - STEP * direction.get(leaf, 0.0) for leaf, array in data.items()}
    return (value(expr, ahead, expr.dim) - value(expr, behind, expr.dim)) / (2 * STEP)


def assert_close(found: Array, expected: Array, rtol: float = 1e-7) -> None:
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


def derivable(case: Case) -> bool:
    """False for an operation that refuses derivatives; then both modes must refuse."""
    ct = variable("ct", case.expr.dim, Domain.I)
    tangents = {leaf: twin(leaf, "dot") for leaf in case.leaves}
    try:
        vjp({case.expr: ct}, case.leaves)
    except NotDifferentiableError:
        with pytest.raises(NotDifferentiableError):
            jvp([case.expr], tangents)
        return False
    return True


def check_derivatives(case: Case) -> None:
    """First and second order, forward and reverse, against differences and against each other."""
    if not derivable(case):
        return
    f, leaves = case.expr, case.leaves
    ct = variable("ct", f.dim, Domain.I)
    dots = {leaf: twin(leaf, "dot") for leaf in leaves}
    data = {**case.data, ct: case.random(ct), **{dot: case.random(dot) for dot in dots.values()}}
    direction = {leaf: data[dot] for leaf, dot in dots.items()}

    (forward,) = jvp([f], dots)
    along = value(forward, data, f.dim)
    assert_close(along, slope(f, data, direction))

    reverse = vjp({f: ct}, leaves)
    pulled = [value(g, data, leaf.dim) for g, leaf in zip(reverse, leaves, strict=True)]
    paired = sum((g * data[dots[leaf]]).sum(-1) for g, leaf in zip(pulled, leaves, strict=True))
    assert_close(np.asarray(paired), (along * data[ct]).sum(-1), 1e-12)
    for leaf, g in zip(leaves, pulled, strict=True):
        for k in range(leaf.dim):
            unit = np.zeros((POINTS, leaf.dim))
            unit[:, k] = 1
            assert_close(g[:, k], (slope(f, data, {leaf: unit}) * data[ct]).sum(-1))
        # Each variable alone gives what all give together.
        assert_close(value(vjp({f: ct}, [leaf])[0], data, leaf.dim), g, 1e-13)

    for leaf, g in zip(leaves, reverse, strict=True):
        if g is None:
            continue
        second = jvp([g], {**dots, ct: twin(ct, "dot")})[0]
        data[twin(ct, "dot")] = case.random(ct)
        assert_close(value(second, data, leaf.dim), slope(g, data, {**direction, ct: data[twin(ct, "dot")]}), 1e-6)
        e = twin(leaf, "ct")
        data[e] = case.random(e)
        twice = vjp({g: e}, [*leaves, ct])
        scalar = scalar_product(g, e) if leaf.dim > 1 else g * e
        for over, h in zip([*leaves, ct], twice, strict=True):
            expected = np.stack(
                [slope(scalar, data, {over: np.eye(over.dim)[k] + np.zeros((POINTS, 1))})[:, 0]
                 for k in range(over.dim)], -1)  # fmt: skip
            assert_close(value(h, data, over.dim), expected, 1e-6)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_description(name: str) -> None:
    function = FUNCTIONS[name]
    assert function.name == name
    assert function.doc
    assert not function.example or len(function.example) == len(function.arguments) + len(function.parameters)
    assert not (function.parameters and not function.example), "an example says what the parameters may be"
    assert function.optional <= len(function.arguments) + len(function.parameters)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_value_has_the_declared_length(name: str) -> None:
    case = Case(name)
    found = value(case.expr, case.data, case.expr.dim)
    assert np.isfinite(found).all()
    assert case.expr.kind == REAL
    assert case.expr.domain == (Domain.I if case.leaves else Domain.P)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_float32_stays_float32(name: str) -> None:
    case = Case(name)
    for node in topological([case.expr]):
        if node.op.name == "constant":
            return  # the oracle has constants in double precision
    (found,) = evaluate([case.expr], {leaf: array.astype(np.float32) for leaf, array in case.data.items()})
    if found.dtype != np.float32:
        pytest.xfail(f"{name} is computed in {found.dtype} by the oracle")
