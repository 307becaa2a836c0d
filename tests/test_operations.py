"""Every operation on every device: OpenCL computes what NumPy computes, for lane vectors and for scalars.

One kernel per operation and precision computes all *mixes*: the operation with each argument a variable of i, of j or
a parameter, so that lanes and scalars meet in every way. A parameter selects the mix that a launch stores. All mixes
see the same numbers, at random points inside the operation's interval and at special points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from laws import (
    ULPS,
    argument,
    edge_tables,
    gradients,
    has_edges,
    is_elementwise,
    law,
    lengths,
    parameters,
    wrong_at_edges,
)
from oracle import Array, shape_of

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError
from clreduce.intervals import Interval, evaluate_bounds
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import REAL, Expr, topological, variables
from clreduce.ir.op import FUNCTIONS, OPS, Function, constant, integer, position, variable
from clreduce.ir.show import show
from clreduce.ops.arithmetic import difference, inverse_root, power, square
from clreduce.ops.compare import equal, larger, less, logical_and, logical_or, smaller, where
from clreduce.ops.indices import as_real, difference_of_indices, table_offset, tally
from clreduce.ops.scan import scanned
from clreduce.ops.shape import pad, permute
from clreduce.ops.special import bessel_ratio, gaussian_derivative, polygamma
from clreduce.program import map_reduce
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device
from clreduce.runtime.plan import Plan, Signature

I, J, P = Domain.I, Domain.J, Domain.P
POINTS = 21  # not a multiple of any number of lanes
EXPONENTS = (-3, -1, 0, 1, 5, 64, 65)
PARAMETERS = {"Pow": [(n,) for n in EXPONENTS], "Round": [(-1,), (0,), (3,)]}
"""Further ones than those of the examples, where they decide what is computed."""
MIXES = {
    0: [()], 1: [(I,), (P,)], 2: [(I, I), (I, J), (P, I), (J, P)], 3: [(I, I, I), (I, J, J), (J, I, P), (P, P, I)],
}  # fmt: skip


class Case:
    """A name: its values for each mix of domains, the gradients of the first, and what special points need."""

    def __init__(self, function: Function) -> None:
        count = len(function.arguments)
        # Elementwise operations take numbers here; what adds up, selects or packs components takes vectors.
        dims = (1,) * count if not function.example and is_elementwise(function) else lengths(function)
        mixes = MIXES.get(count) or [*product((I, J), repeat=count), (P,) * count]

        def build(mix: Sequence[Domain], given: Sequence[Any]) -> Expr:
            return function.build(*(argument(function, at, dims[at], domain) for at, domain in enumerate(mix)), *given)

        self.values = [build(mix, parameters(function)) for mix in mixes]
        others = [build(mixes[0], given) for given in PARAMETERS.get(function.name, [])]
        self.gradients = [slope for f in (self.values[0], *others) for slope in slopes_of(f)]
        self.values += others
        self.edges = edge_tables(function)
        formulas = [*self.values, *self.gradients, *(f for table in self.edges for f in table.formulas)]
        self.formulas = list(dict.fromkeys(formulas))
        self.dim = max(f.dim for f in self.formulas)


def slopes_of(f: Expr) -> list[Expr]:
    """What reverse mode makes of ``f``: formulas as well, whose values by NumPy are those to find."""
    try:
        return [gradient for gradient in gradients(f, variables([f])) if gradient is not None]
    except NotDifferentiableError:
        return []


def cases() -> dict[str, Case]:
    """Every name of the formula language, short vectors first."""
    found = {name: Case(function) for name, function in FUNCTIONS.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].dim))


CASES = cases()
GROUPS = [list(CASES)[start : start + 12] for start in range(0, len(CASES), 12)]
"""Names whose formulas share a kernel."""


class Selected:
    """One kernel for many formulas: the parameter ``choice`` tells which one a launch computes."""

    def __init__(self, formulas: Sequence[Expr], dtype: str, lanes: int) -> None:
        self.formulas, self.dtype = formulas, dtype
        self.numbers = {f: number for number, f in enumerate(formulas)}
        self.choice = variable("choice", 1, P)
        longest = max(f.dim for f in formulas)
        result = constant(0)
        for f, number in self.numbers.items():
            padded = f if f.dim == longest else pad(f, 0, longest)
            result = where(equal(self.choice, constant(number)), padded, result)
        program, given = map_reduce([result], "Sum")
        self._slots = given
        self.leaves = [leaf for leaf in given if leaf is not self.choice]
        self._plan = Plan(program, Signature(dtype), current_device(), Schedule(lanes=lanes, rows=1, cols=1, tile=0))

    def __call__(self, f: Expr, data: dict[Expr, Array], rows: int) -> Array:
        """One of the formulas at each of the rows of ``data``; what it has no use for may be missing there."""
        known = {**data, self.choice: np.array([self.numbers[f]])}
        arrays = []
        for leaf in self._slots:
            shape = shape_of(leaf, rows, 1)
            array = known.get(leaf)
            arrays.append((np.zeros(shape) if array is None else array).astype(self.dtype).reshape(shape))
        (found,) = self._plan(arrays, rows, 1)
        return found[:, : f.dim]


def by_numpy(f: Expr, data: dict[Expr, Array], dtype: str, rows: int) -> Array:
    """The formula by NumPy in ``dtype`` (but for its constants), as float64.

    Nothing is broadcast: np.power has special cases, sqrt(-inf) for one, where its exponent is.
    """
    (found,) = evaluate([f], leaves_by_numpy(data, dtype, rows))
    return np.broadcast_to(found, (rows, f.dim)).astype(np.float64)


def leaves_by_numpy(data: dict[Expr, Array], dtype: str, rows: int) -> dict[Expr, Array]:
    leaves = {leaf: np.tile(array.astype(dtype), (rows // len(array), 1)) for leaf, array in data.items()}
    return leaves | {position(I): np.arange(rows)[:, None], position(J): np.zeros((rows, 1), int)}


def by_numpy_exactly(f: Expr, data: dict[Expr, Array], rows: int) -> Array:
    return by_numpy(f, data, "float64", rows)


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


@pytest.fixture(params=["float32x1", "float32x16", "float64x1", "float64x16"])
def precision(request: pytest.FixtureRequest, device: Device) -> tuple[str, int]:
    """A dtype and a number of lanes."""
    dtype, lanes = request.param.split("x")
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    return dtype, int(lanes)


@law("values on a device")
@law("gradients on a device")
@law("values at corners on a device")
@law("edges on a device", of=has_edges)
@law("bounds on a device")
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]}..{names[-1]}")
def test_values_gradients_and_edges(names: list[str], precision: tuple[str, int]) -> None:
    dtype, lanes = precision
    kernel = Selected(list(dict.fromkeys(f for name in names for f in CASES[name].formulas)), dtype, lanes)
    wrong = []
    for name in names:
        case = CASES[name]
        found = [
            *wrong_at_random_points(kernel, case.values + case.gradients),
            *wrong_at_special_points(kernel, case.values),
            *(outside_bounds(kernel, case.values + case.gradients) if lanes > 1 else ()),
        ]
        for table in case.edges:
            rows = len(table.edges) * (1 + POINTS // len(table.edges))
            found += wrong_at_edges(table, kernel, by_numpy_exactly, dtype, rows)
        wrong += [f"{name}: {what}" for what in found[:5]] + [f"{name}: and {len(found) - 5} more"] * (len(found) > 5)
    assert not wrong, "\n".join(wrong)


def wrong_at_random_points(kernel: Selected, formulas: Sequence[Expr]) -> Iterator[str]:
    """Which of the formulas are wrong where the operation is smooth."""
    rng = np.random.default_rng(1)
    data = {}
    for leaf in kernel.leaves:
        low, high = (-1, 1) if leaf.params[0] == "cotangent" else leaf.params[0][2]
        data[leaf] = rng.uniform(low, high, (POINTS if leaf.domain == I else 1, leaf.dim)).astype(kernel.dtype)
    for f in formulas:
        found, expected = kernel(f, data, POINTS), by_numpy(f, data, "float64", POINTS)
        error = np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-30)
        if not error <= ULPS * np.finfo(kernel.dtype).eps:
            yield f"{show(f, limit=100)}: error {error:.1e}"


def wrong_at_special_points(kernel: Selected, values: Sequence[Expr]) -> list[str]:
    """Values that are neither NumPy's in float64, rounded, nor NumPy's in the data's own precision.

    The two differ where something on the way overflows; where finite numbers do, a composition's value depends on how
    kernels order and contract its sums, and is not compared. A result too small for a normal number may be 0: so exp()
    has it. All pairs of special points are rows of i, in any two arguments; what depends on no i takes some of them.
    """
    dtype, info = kernel.dtype, np.finfo(kernel.dtype)
    points = special_points(dtype)
    count = len(points)
    pairs = np.array([(points[k], points[m], points[(k + 5 * m) % count]) for k, m in product(range(count), repeat=2)])
    wrong: dict[Expr, str] = {}
    for at in range(count):
        scalars = points[[at, (3 * at + 2) % count, (5 * at + 4) % count]]
        data = {}
        for leaf in kernel.leaves:
            argument = 0 if leaf.params[0] == "cotangent" else leaf.params[0][1]
            column = pairs[:, argument] if leaf.domain == I else scalars[argument : argument + 1]
            data[leaf] = np.repeat(column[:, None], leaf.dim, 1).astype(dtype)
        for f in [f for f in values if f not in wrong]:
            found = kernel(f, data, len(pairs))
            right = np.broadcast_to(overflows(f, data, dtype, len(pairs))[:, None], found.shape)
            for precision in ("float64", dtype):
                with np.errstate(over="ignore"):
                    expected = by_numpy(f, data, precision, len(pairs)).astype(dtype)
                right = right | np.isclose(found, expected, rtol=ULPS * info.eps, atol=2 * info.tiny, equal_nan=True)
            if not right.all():
                row = int(np.argwhere(~right)[0][0])
                point = [data[leaf][row % len(data[leaf]), 0].item() for leaf in variables([f])]
                wrong[f] = f"{show(f, limit=100)} at {point} is {found[row]}, by NumPy {expected[row]}"
    return list(wrong.values())


def outside_bounds(kernel: Selected, formulas: Sequence[Expr]) -> Iterator[str]:
    """Which of the formulas are, at random or special points, outside of the bounds for boxes that hold one point."""
    dtype = kernel.dtype
    rng = np.random.default_rng(2)
    # Kernels multiply in another order, so numbers near the ends of the range overflow elsewhere.
    special = np.array([0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan])
    data = {}
    for leaf in kernel.leaves:
        shape = (POINTS if leaf.domain == I else 1, leaf.dim)
        random, chosen = rng.uniform(-2, 2, shape), rng.random((len(shape), *shape)) < 0.3
        random = np.where(chosen[0], rng.choice(special, shape), random)
        data[leaf] = np.where(chosen[1], rng.uniform(0.5, 1.0, shape), random).astype(dtype)
    points = {node: array for node, array in leaves_by_numpy({}, dtype, POINTS).items() if node.op.name == "position"}
    boxes = {leaf: Interval(number, number, np.isnan(array)) for leaf, array in data.items()
             for number in [np.nan_to_num(array, nan=0.0, posinf=np.inf, neginf=-np.inf)]}  # fmt: skip
    for f in formulas:
        found = kernel(f, data, POINTS)
        (bounds,) = evaluate_bounds([f], {leaf: boxes[leaf] for leaf in variables([f])}, points, dtype)
        assert bounds.nan is not None
        right = np.where(np.isnan(found), bounds.nan, (bounds.low <= found) & (found <= bounds.high))
        if not right.all():
            row, k = (int(number) for number in np.argwhere(~right)[0])
            point = [data[leaf][row % len(data[leaf])].tolist() for leaf in variables([f])]
            low, high = (np.broadcast_to(end, found.shape)[row, k] for end in (bounds.low, bounds.high))
            yield f"{show(f, limit=100)} at {point} is {found[row, k]}, outside of [{low}, {high}]"


def overflows(f: Expr, data: dict[Expr, Array], dtype: str, rows: int) -> Array:
    """The rows where a part of a composition leaves the range of ``dtype``, its own arguments being finite."""
    nodes = [node for node in topological([f]) if node.args and node.kind == REAL]
    found = np.zeros(rows, bool)
    if len(nodes) > 1:
        given = list(dict.fromkeys(arg for node in nodes for arg in node.args if arg.kind == REAL))
        table = dict(zip([*nodes, *given], evaluate([*nodes, *given], leaves_by_numpy(data, dtype, rows)), strict=True))
        for node in nodes:
            if node.op.name not in ("add", "sub", "mul", "square", "reduce_sum", "div", "inv"):
                continue
            with np.errstate(invalid="ignore"):
                lost = ~(np.abs(table[node]) < np.finfo(dtype).max / 4).all(-1)
            for arg in node.args:
                lost = lost & np.isfinite(table[arg]).all(-1)
            found |= lost
    return found


def special_points(dtype: str) -> Array:
    """Numbers at which arithmetic has corners."""
    import pyopencl as cl

    info = np.finfo(dtype)
    points = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, -info.tiny]
    config = getattr(current_device().cl_device, "single_fp_config" if dtype == "float32" else "double_fp_config")
    if config & cl.device_fp_config.DENORM:
        points += [info.tiny / 64, info.smallest_subnormal]
    return np.array([float(point) for point in points])


def internal() -> dict[str, list[Expr]]:
    """Operations that formulas have no name for, beyond what the named ones are made of."""
    x, y, z = (variable(("argument", at, (-7.0, 7.0)), 1, domain) for at, domain in enumerate((I, J, P)))
    wide = variable(("argument", 3, (-7.0, 7.0)), 6, I)
    masks = less(x, y), less(z, x)
    return {
        "bessel_ratio": [bessel_ratio(x, n) for n in range(1, 6)],
        "gaussian_derivative": [gaussian_derivative(x / 3, n) for n in range(5)],
        "polygamma": [polygamma(f, n) for f in (4 + x / 3, x / 30 - 2.5) for n in range(1, 5)],
        "exp_never_above_1": [OPS["exp_never_above_1"](f) for f in (x, -square(y))],
        "larger": [larger(x, y), larger(y, x), larger(z, x)],
        "smaller": [smaller(x, y), smaller(y, x), smaller(z, x)],
        "difference": [difference(x, y), difference(x * y, x * z)],
        "logical_and": [where(logical_and(*masks), x, y)],
        "logical_or": [where(logical_or(*masks), x, y)],
        "position": [where(equal(position(I), integer(3)), x, y), where(less(position(J), position(I)), x, z)],
        "as_real": [as_real(position(I)) * x, as_real(position(J)) + y],
        "tally": [as_real(tally(position(I), integer(3)))],
        "difference_of_indices": [as_real(difference_of_indices(position(J), position(I)))],
        "table_offset": [as_real(table_offset(position(f), 7, 3, -21)) for f in (I, J)],
        "integer": [where(less(integer(-2), integer(3)), x, y)],
        "inverse_root": [inverse_root(square(x) + 1), inverse_root(square(y) + 1)],
        "scan": [
            scanned(lambda carry, parts, _: carry / 2 + parts[0], x, 6, [wide * y], last=last) for last in (False, True)
        ],
        "permute": [permute(wide, (2, 3), (1, 0)), permute(wide * y, (1, 3, 2), (2, 0, 1))],
    }


INTERNAL = internal()


def test_internal_operations(precision: tuple[str, int]) -> None:
    kernel = Selected([f for formulas in INTERNAL.values() for f in formulas], *precision)
    assert not [*wrong_at_random_points(kernel, kernel.formulas)]


@pytest.mark.parametrize("n", EXPONENTS)
def test_small_powers_are_products(n: int) -> None:
    """Others are powers with a real exponent."""
    f = power(variable("x", 1, I), n)
    code = f.op.code if isinstance(f.op.code, str) else f.op.code(*f.params)
    assert ("pow" in code) == (abs(n) > 64)
