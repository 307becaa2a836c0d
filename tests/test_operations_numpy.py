"""The laws that every operation of the registry obeys, at the level of NumPy; a new operation is tested unchanged.

Derivatives are compared with central differences where an operation is smooth (its ``interval``), forward mode with
reverse mode by the inner-product identity, and values and slopes at special points with the documented ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from laws import edge_tables, has_edges, law, lengths, parameters, wrong_at_edges
from scipy import special

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.autodiff import jvp, vjp
from clreduce.domain import Domain
from clreduce.errors import FormulaError, NotDifferentiableError, ShapeError
from clreduce.ir.evaluate import Array, evaluate
from clreduce.ir.expr import INDEX, MASK, REAL, Expr, topological
from clreduce.ir.op import FUNCTIONS, OPS, Function, Op, constant, constant_value, variable
from clreduce.ops.arithmetic import real_power
from clreduce.ops.compare import equal, larger, less, less_equal, logical_and, logical_not, logical_or, smaller, where
from clreduce.ops.derived import norm, scalar_product, squared_distance
from clreduce.ops.functions import (
    if_else,
    log,
    sqrt,
)
from clreduce.ops.shape import concat, expand, extract, pad, permute, reduce_sum, repeated, summed
from clreduce.ops.special import bessel_ratio, digamma, gaussian_derivative, polygamma, sinxdivx

POINTS = 5
"""Every law is tested at this many random points at once."""
STEP = 1e-5

WITH_VECTORS = sorted(name for name, function in FUNCTIONS.items() if function.arguments)


class Case:
    """An operation applied to variables, with random data where it is smooth."""

    def __init__(self, name: str, dims: Sequence[int] | None = None) -> None:
        function = FUNCTIONS[name]
        dims = dims or lengths(function)
        self.rng = np.random.default_rng(len(name))
        self.leaves = [variable(label, dim, Domain.I) for label, dim in zip(function.arguments, dims, strict=True)]
        self.expr = function.build(*self.leaves, *parameters(function))
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


@law("description")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_description(name: str) -> None:
    function = FUNCTIONS[name]
    assert function.name == name
    assert function.doc
    given, most = len(function.example), len(function.arguments) + len(function.parameters)
    assert not function.example or most - function.optional <= given <= most
    assert not (function.parameters and not function.example), "an example says what the parameters may be"
    assert function.optional <= len(function.arguments) + len(function.parameters)


@law("length, kind and domain")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_value_has_the_declared_length(name: str) -> None:
    case = Case(name)
    found = value(case.expr, case.data, case.expr.dim)
    assert np.isfinite(found).all()
    assert case.expr.kind == REAL
    assert case.expr.domain == (Domain.I if case.leaves else Domain.P)


@law("derivatives to second order, in both modes")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_derivatives(name: str) -> None:
    check_derivatives(Case(name))


def broadcast_cases() -> list[tuple[str, tuple[int, ...]]]:
    """Operations on equally long vectors, with some or all arguments of length 1 instead."""
    cases = []
    for name in WITH_VECTORS:
        function = FUNCTIONS[name]
        if function.example == ():
            for dims in product((1, 3), repeat=len(function.arguments)):
                if 1 in dims:
                    cases.append((name, dims))
    return cases


@law("vectors of length 1")
@pytest.mark.parametrize(("name", "dims"), broadcast_cases())
def test_broadcast(name: str, dims: tuple[int, ...]) -> None:
    try:
        case = Case(name, dims)
    except ShapeError:
        if isinstance(FUNCTIONS[name].build, Op):
            raise
        return  # an operation that needs equal lengths says so
    check_derivatives(case)
    build = FUNCTIONS[name].build
    if isinstance(build, Op) and not build.linear:
        assert case.expr.dim == max(dims)
        full = build(*(leaf if leaf.dim == max(dims) else repeated(leaf, max(dims)) for leaf in case.leaves))
        np.testing.assert_array_equal(
            value(case.expr, case.data, max(dims)), value(full, case.data, max(dims))
        )  # fmt: skip


@law("unequal lengths")
@pytest.mark.parametrize("name", [name for name in WITH_VECTORS if len(FUNCTIONS[name].arguments) > 1])
def test_unequal_lengths_are_refused_or_meant(name: str) -> None:
    """Lengths 2 and 3 don't broadcast."""
    function = FUNCTIONS[name]
    if function.example == ():
        with pytest.raises(ShapeError, match=r"length"):
            Case(name, (2, 3, 3, 3)[: len(function.arguments)])


# --- linear operations

x = variable("x", 6, Domain.I)
y = variable("y", 2, Domain.I)
s = variable("s", 1, Domain.I)

LINEAR: dict[str, list[Expr]] = {
    "extract": [extract(x, 0, 6), extract(x, 2, 3), extract(x, 5, 1)],
    "pad": [pad(y, 0, 2), pad(y, 0, 5), pad(y, 3, 5), pad(s, 1, 3)],
    "concat": [concat(x), concat(x, y), concat(y, s, x, y)],
    "expand": [expand(x, 2, 4, 3), expand(x, 6, 2, 1), expand(x, 1, 3, 6), expand(s, 1, 3, 1)],
    "reduce_sum": [reduce_sum(x, 1, 6, 1), reduce_sum(x, 3, 2, 1), reduce_sum(x, 1, 2, 3), reduce_sum(x, 1, 3, 2)],
    "permute": [permute(x, (2, 3), (1, 0)), permute(x, (1, 3, 2), (2, 0, 1)), permute(x, (6,), (0,))],
}
"""Examples; what an operation of the registry is made of is added to them."""


def linear_nodes() -> list[Expr]:
    found = dict.fromkeys(node for nodes in LINEAR.values() for node in nodes)
    for name in WITH_VECTORS:
        f = Case(name).expr
        found.update(dict.fromkeys(node for node in topological([f]) if node.op.linear))
    return list(found)


def test_every_linear_operation_has_an_example() -> None:
    assert {op.name for op in OPS.values() if op.linear} <= {node.op.name for node in linear_nodes()}


@pytest.mark.parametrize("node", linear_nodes(), ids=repr)
def test_transpose(node: Expr) -> None:
    """<A x, e> = <x, A^T e>, and A^T^T = A; remap reads what NumPy reads."""
    rng = np.random.default_rng(3)
    args = [variable(("arg", at), arg.dim, Domain.I, arg.kind) for at, arg in enumerate(node.args)]
    node = Expr(node.op, tuple(args), node.params)
    e = variable("e", node.dim, Domain.I)
    data = {leaf: rng.standard_normal((POINTS, leaf.dim)) for leaf in [*args, e]}
    data |= {leaf: rng.integers(0, 2, (POINTS, 1)) for leaf in args if leaf.kind == INDEX}
    assert node.op.transpose is not None
    back = node.op.transpose(e, *args, *node.params)
    there = (value(node, data, node.dim) * data[e]).sum(-1)
    paired = sum((value(g, data, arg.dim) * data[arg]).sum(-1) for g, arg in zip(back, args, strict=True))
    assert_close(np.asarray(paired), there, 1e-13)
    (again,) = jvp([node], {arg: arg for arg in args if arg.kind == REAL})
    np.testing.assert_array_equal(value(again, data, node.dim), value(node, data, node.dim))
    if len(args) == 1:
        (g,) = back
        assert g is not None
        ct = variable("ct", args[0].dim, Domain.I)
        data[ct] = data[args[0]]
        (twice,) = vjp({g: ct}, [e])
        np.testing.assert_array_equal(value(twice, data, node.dim), value(node, data, node.dim))


@pytest.mark.parametrize("node", linear_nodes(), ids=repr)
def test_remap(node: Expr) -> None:
    """A linear operation reads the components that its remap names."""
    if node.op.remap is None:
        return
    rng = np.random.default_rng(4)
    args = [variable(("arg", at), arg.dim, Domain.I) for at, arg in enumerate(node.args)]
    node = Expr(node.op, tuple(args), node.params)
    data = {leaf: rng.standard_normal((POINTS, leaf.dim)) for leaf in args}
    found = value(node, data, node.dim)
    for k in range(node.dim):
        if node.op.terms is None:
            read = [node.op.remap(k, *args, *node.params)]
        else:
            count = node.op.terms(*args, *node.params)
            read = [node.op.remap(k, t, *args, *node.params) for t in range(count)]
        expected = sum((data[args[term[0]]][:, term[1]] for term in read if term is not None), np.zeros(POINTS))
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-13)


# --- documented values and slopes at special points

inf, nan = float("inf"), float("nan")
v, w = variable("v", 1, Domain.I), variable("w", 1, Domain.I)


def at(expr: Expr | None, **values: float) -> float:
    if expr is None:
        return 0.0
    leaves = {variable(name, 1, Domain.I): np.array([float(number)]) for name, number in values.items()}
    (found,) = evaluate([expr], leaves)
    return float(found.item()) + 0.0  # the sign of zero is not part of the contract


def derivative(expr: Expr, leaf: Expr) -> Expr | None:
    (reverse,) = vjp({expr: constant(1)}, [leaf])
    return reverse


def by_numpy(f: Expr, data: dict[Expr, Array], rows: int) -> Array:
    return np.broadcast_to(evaluate([f], data)[0], (rows, f.dim))


@law("edges by NumPy", of=has_edges)
@pytest.mark.parametrize("name", list(filter(has_edges, sorted(FUNCTIONS))))
def test_edges(name: str) -> None:
    """Promised values, and slopes by both modes."""
    for table in edge_tables(FUNCTIONS[name]):
        rows = len(table.edges)
        assert not list(wrong_at_edges(table, by_numpy, by_numpy, "float64", rows))
        data = table.data(rows)
        slopes = [np.zeros((rows, leaf.dim)) if f is None else by_numpy(f, data, rows)
                  for leaf, f in zip(table.leaves, table.slopes, strict=False)]  # fmt: skip
        for at, expected in enumerate(slopes):
            for k in range(expected.shape[1]):
                (forward,) = jvp([table.value], {table.leaves[at]: pad(constant(1), k, expected.shape[1])})
                found = np.zeros(rows) if forward is None else by_numpy(forward, data, rows).sum(-1)
                for row, edge in enumerate(table.edges):
                    # A direction has zeros for the other components, and 0 times a slope of inf is nan.
                    clear = expected.shape[1] == 1 or np.isfinite(expected[row]).all()
                    if clear and edge.slopes and edge.slopes[at] is not None:
                        np.testing.assert_allclose(found[row], expected[row, k], rtol=1e-12)


def test_branches_of_if_else_do_not_leak() -> None:
    f = if_else(v, log(v), constant(3))
    assert at(f, v=-1) == 3
    assert at(derivative(f, v), v=-1) == 0
    assert at(derivative(if_else(v, 2 * v, 3 * v), v), v=0) == 2


def test_norms_at_zero_have_no_nan_in_any_order() -> None:
    f = variable("f", 3, Domain.I)
    zero = {f: np.zeros((1, 3))}
    g = vjp({norm(f): constant(1)}, [f])[0]
    assert g is not None
    assert not np.any(evaluate([g], zero)[0])
    (second,) = vjp({g: f + 1}, [f])
    assert second is not None
    assert np.isfinite(evaluate([second], zero)[0]).all()
    g = vjp({sqrt(squared_distance(f, f)): constant(1)}, [f])[0]
    assert g is not None
    assert not np.any(evaluate([g], {f: np.ones((1, 3))})[0])


def test_powf_slope_in_the_exponent_is_zero_at_zero() -> None:
    slope_in_w = derivative(real_power(v, w), w)
    assert at(slope_in_w, v=0, w=2) == 0
    assert at(slope_in_w, v=2, w=3) == pytest.approx(8 * np.log(2))


@pytest.mark.parametrize("n", range(6))
def test_derivatives_of_sin_x_div_x_are_spherical_bessel_functions(n: int) -> None:
    x = np.concatenate([np.logspace(-8, 3, 200), np.linspace(0.5, 8, 100)])
    exact = special.spherical_jn(n, x) / x**n
    # Where x^n makes SciPy's value too small or too inexact, the limit is the first term of the series.
    exact = np.where(x < 1e-3, 1 / special.factorial2(2 * n + 1) * (1 - x**2 / (4 * n + 6)), exact)
    (found,) = evaluate([bessel_ratio(v, n)], {v: x[:, None]})
    np.testing.assert_allclose(found[:, 0] * (1 + x) ** n, exact * (1 + x) ** n, rtol=1e-11, atol=1e-13)
    assert at(bessel_ratio(v, n), v=0) == pytest.approx(1 / special.factorial2(2 * n + 1), rel=1e-15)
    assert at(derivative(bessel_ratio(v, n), v), v=0) == 0


@pytest.mark.parametrize("n", range(7))
def test_derivatives_of_digamma(n: int) -> None:
    x = np.concatenate([np.logspace(-3, 6, 200), np.linspace(0.5, 12, 100), np.linspace(-6.9, -0.1, 101)])
    expected = special.polygamma(n, x)
    f = polygamma(v, n) if n else digamma(v)
    (found,) = evaluate([f], {v: x[:, None]})
    # The zeros below 0 lie between two poles, whose terms cancel there; digamma has one above 0 as well.
    with np.errstate(divide="ignore"):
        nearest_pole = special.factorial(n) / np.abs(x - np.round(x)) ** (n + 1)
    scale = np.abs(expected) + np.where(x < 0, nearest_pole, n == 0)
    np.testing.assert_array_less(np.abs(found[:, 0] - expected), 1e-13 * scale)
    if n:
        poles = [at(f, v=pole) for pole in (0, -1, -7)]
        assert poles == [(-1) ** (n + 1) * inf] * 3
        assert [at(f, v=inf), at(f, v=1e200)] == [0, 0 if n > 1 else 1e-200]


@pytest.mark.parametrize("n", range(6))
def test_derivatives_of_erf_are_hermite_polynomials(n: int) -> None:
    x = np.linspace(-5, 5, 101)
    expected = (-1) ** n * special.eval_hermite(n, x) * np.exp(-x * x)
    (found,) = evaluate([gaussian_derivative(v, n)], {v: x[:, None]})
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12, atol=1e-13)
    assert [at(gaussian_derivative(v, n), v=edge) for edge in (-inf, inf)] == [0, 0]


@pytest.mark.parametrize(
    ("name", "orders"),
    [("Erf", 5), ("Erfc", 5), ("Softplus", 5), ("Digamma", 5), ("Asinh", 2), ("Acosh", 2), ("Log", 5), ("Tanh", 5)],
)
def test_slopes_of_higher_order_at_infinity(name: str, orders: int) -> None:
    g = derivative(FUNCTIONS[name].build(v), v)
    for order in range(1, orders + 1):
        assert g is not None
        assert at(g, v=inf) == (1 if (name, order) == ("Softplus", 1) else 0), order
        g = derivative(g, v)


def test_special_functions_are_those_of_scipy() -> None:
    x = np.concatenate([np.linspace(-5.97, 5, 200), np.logspace(-300, 305, 100), [0, -1, inf, nan]])
    for name, expected in {"Erf": special.erf, "Erfc": special.erfc, "Lgamma": special.gammaln}.items():
        (found,) = evaluate([FUNCTIONS[name].build(v)], {v: x[:, None]})
        np.testing.assert_allclose(found[:, 0], expected(x), rtol=1e-12, atol=1e-14)


def test_logaddexp_at_equal_arguments() -> None:
    """The slopes add up to 1, the second ones to 0; between equal infinities as well."""
    for point in (-inf, -700.0, 0.0, 3.0, inf):
        f = FUNCTIONS["Logaddexp"].build(v, w)
        slope_in_v = derivative(f, v)
        assert at(slope_in_v, v=point, w=point) == 0.5
        assert at(derivative(f, w), v=point, w=point) == 0.5
        assert slope_in_v is not None
        assert at(derivative(slope_in_v, v), v=point, w=point) == 0.25
        assert at(derivative(slope_in_v, w), v=point, w=point) == -0.25


def test_second_slope_of_sin_x_div_x_at_zero() -> None:
    first = derivative(sinxdivx(v), v)
    assert first is not None
    assert at(derivative(first, v), v=0) == pytest.approx(-1 / 3, rel=1e-15)


def test_where_routes_its_cotangent() -> None:
    f = where(less(v, constant(0)), 2 * v, v)
    assert [at(derivative(f, v), v=a) for a in (-1, 2)] == [2, 1]


def test_the_branch_not_taken_does_not_leak() -> None:
    f = where(less(constant(0), v), log(v), constant(3))
    assert at(derivative(f, v), v=0) == 0


@pytest.mark.parametrize(("op", "expected"), [(less, [1, 0, 0, 0]), (less_equal, [1, 1, 0, 0]), (equal, [0, 1, 0, 0])])
def test_comparisons(op: Op, expected: list[int]) -> None:
    assert op(v, w).kind == MASK
    f = where(op(v, w), constant(1), constant(0))
    points = [(1, 2), (2, 2), (3, 2), (nan, 2)]
    assert [at(f, v=a, w=b) for a, b in points] == expected
    assert derivative(f, v) is None
    unequal = where(logical_not(equal(v, w)), constant(1), constant(0))
    assert [at(unequal, v=a, w=b) for a, b in points] == [1, 0, 1, 1]


def test_masks_combine() -> None:
    for a, b in product((-1.0, 1.0), repeat=2):
        masks = less(constant(0), v), less(constant(0), w)
        for op, expected in ((logical_and, a > 0 and b > 0), (logical_or, a > 0 or b > 0)):
            assert at(where(op(*masks), constant(1), constant(0)), v=a, w=b) == expected


def test_larger_and_smaller() -> None:
    assert [at(larger(v, w), v=a, w=b) for a, b in ((1, 2), (2, 1), (1, nan))] == [2, 2, 1]
    assert [at(smaller(v, w), v=a, w=b) for a, b in ((1, 2), (2, 1), (1, nan))] == [1, 1, 1]
    for op in (larger, smaller):
        # A tie counts as the first.
        assert at(derivative(op(v, w), v), v=1, w=1) == 1
        assert at(derivative(op(v, w), w), v=1, w=1) == 0
    assert at(derivative(larger(v, w), w), v=1, w=2) == 1
    assert at(derivative(smaller(v, w), w), v=1, w=2) == 0


def test_numbers() -> None:
    assert constant_value(FUNCTIONS["IntCst"].build(16777217)) == 16777217
    third = constant_value(FUNCTIONS["RatCst"].build(1, 3))
    assert third is not None
    assert third * 3 == 1
    assert constant_value(FUNCTIONS["IntInv"].build(-3)) == -third
    with pytest.raises(FormulaError, match="IntInv"):
        FUNCTIONS["IntInv"].build(0)
    assert summed(s) is s


def test_functions_are_records() -> None:
    assert all(isinstance(function, Function) for function in FUNCTIONS.values())
