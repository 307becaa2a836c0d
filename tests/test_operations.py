"""Every operation on every device: OpenCL computes what NumPy computes, for lane vectors and for scalars.

One kernel per operation and precision computes all *mixes*: the operation with each argument a variable of i, of j or
a parameter, so that lanes and scalars meet in every way. A parameter selects the mix that a launch stores. All mixes
see the same numbers, at random points inside the operation's interval and at special points.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from oracle import Array, shape_of

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.autodiff import vjp
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, variables
from clreduce.ir.op import FUNCTIONS, OPS, Function, Op, constant, variable
from clreduce.ops.arithmetic import power
from clreduce.ops.compare import equal, where
from clreduce.ops.shape import place
from clreduce.ops.special import bessel_ratio, gaussian_derivative, polygamma
from clreduce.program import map_reduce
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device, current_device
from clreduce.runtime.plan import Plan, Signature

I, J, P = Domain.I, Domain.J, Domain.P
POINTS = 21  # not a multiple of any number of lanes
ULPS = 20.0
"""Error allowed, in units in the last place of the largest component. x**64, squared six times, has 12."""
EXPONENTS = (-3, -1, 0, 1, 5, 64, 65)
MIXES = {
    0: [()], 1: [(I,), (P,)], 2: [(I, I), (I, J), (P, I), (J, P)], 3: [(I, I, I), (I, J, J), (J, I, P), (P, P, I)],
}  # fmt: skip


class Case:
    """An operation with its integer parameters: its values for each mix of domains, and the gradients of the first."""

    def __init__(self, function: Function, parameters: Sequence[Any]) -> None:
        count = len(function.arguments)
        # Elementwise operations take numbers here; what adds up, selects or packs components takes vectors.
        dims = function.example[:count] or (1 if function.build in OPS.values() else 3,) * count
        mixes = MIXES.get(count) or [*product((I, J), repeat=count), (P,) * count]

        def argument(at: int, domain: Domain) -> Expr:
            return variable(("argument", at, function.interval), dims[at], domain)

        self.values = [
            function.build(*(argument(at, domain) for at, domain in enumerate(mix)), *parameters) for mix in mixes
        ]
        self.formulas = [*self.values, *gradients(self.values[0])]
        self.dim = max(f.dim for f in self.formulas)


def gradients(f: Expr) -> list[Expr]:
    """What reverse mode makes of ``f``: formulas as well, whose values by NumPy are those to find."""
    try:
        found = vjp({f: variable("cotangent", f.dim, I)}, variables([f]))
    except NotDifferentiableError:
        return []
    return [gradient for gradient in found if gradient is not None]


def cases() -> dict[str, Case]:
    """Every name of the formula language, short vectors first."""
    found = {name: Case(f, f.example[len(f.arguments) :]) for name, f in FUNCTIONS.items()}
    found |= {f"Pow{n}": Case(FUNCTIONS["Pow"], [n]) for n in EXPONENTS}
    return dict(sorted(found.items(), key=lambda item: item[1].dim))


CASES = cases()
GROUPS = [list(CASES)[start : start + 12] for start in range(0, len(CASES), 12)]
"""Names whose formulas share a kernel."""


class Selected:
    """One kernel for many formulas: the parameter ``choice`` tells which one a launch computes."""

    def __init__(self, formulas: Sequence[Expr], dtype: str, lanes: int) -> None:
        self.formulas, self.dtype = formulas, dtype
        self.choice = variable("choice", 1, P)
        longest = max(f.dim for f in formulas)
        result = constant(0)
        for number, f in enumerate(formulas):
            padded = f if f.dim == longest else place(f, 0, longest)
            result = where(equal(self.choice, constant(number)), padded, result)
        program, given = map_reduce([result], "Sum")
        self._slots = given
        self.leaves = [leaf for leaf in given if leaf is not self.choice]
        self._plan = Plan(program, Signature(dtype), current_device(), Schedule(lanes=lanes, rows=1, cols=1, tile=0))

    def __call__(self, data: dict[Expr, Array], rows: int) -> Iterator[tuple[Expr, Array]]:
        """Each formula, and its value at each of the rows of ``data``."""
        for number, f in enumerate(self.formulas):
            known = {**data, self.choice: np.array([number])}
            arrays = [known[leaf].astype(self.dtype).reshape(shape_of(leaf, rows, 1)) for leaf in self._slots]
            (found,) = self._plan(arrays, rows, 1)
            yield f, found[:, : f.dim]


def by_numpy(f: Expr, data: dict[Expr, Array], dtype: str, rows: int) -> Array:
    """The formula by NumPy in ``dtype`` (but for its constants), as float64.

    Nothing is broadcast: np.power has special cases, sqrt(-inf) for one, where its exponent is.
    """
    leaves = {leaf: np.tile(array.astype(dtype), (rows // len(array), 1)) for leaf, array in data.items()}
    (found,) = evaluate([f], leaves)
    return np.broadcast_to(found, (rows, f.dim)).astype(np.float64)


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


@pytest.fixture(params=["float32x1", "float32x16", "float64x1", "float64xnative"])
def precision(request: pytest.FixtureRequest, device: Device) -> tuple[str, int]:
    """A dtype and a number of lanes, or those that the device has in one register."""
    dtype, lanes = request.param.split("x")
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    return dtype, min(16, max(1, device.facts.native_double_lanes)) if lanes == "native" else int(lanes)


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]}..{names[-1]}")
def test_values_and_gradients(names: list[str], precision: tuple[str, int]) -> None:
    dtype, lanes = precision
    kernel = Selected([f for name in names for f in CASES[name].formulas], dtype, lanes)
    values = {f for name in names for f in CASES[name].values}
    wrong = [*wrong_at_random_points(kernel), *wrong_at_special_points(kernel, values)]
    assert not wrong, "\n".join(wrong)


def wrong_at_random_points(kernel: Selected) -> Iterator[str]:
    """Formulas whose values or gradients are wrong where the operation is smooth."""
    rng = np.random.default_rng(1)
    data = {}
    for leaf in kernel.leaves:
        low, high = (-1, 1) if leaf.params[0] == "cotangent" else leaf.params[0][2]
        data[leaf] = rng.uniform(low, high, (POINTS if leaf.domain == I else 1, leaf.dim)).astype(kernel.dtype)
    for f, found in kernel(data, POINTS):
        expected = by_numpy(f, data, "float64", POINTS)
        error = np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-30)
        if not error <= ULPS * np.finfo(kernel.dtype).eps:
            yield f"{f}: error {error:.1e}"


def wrong_at_special_points(kernel: Selected, values: Container[Expr]) -> Iterator[str]:
    """Values that are neither NumPy's in float64, rounded, nor NumPy's in the data's own precision.

    The two differ where something on the way overflows. A result too small for a normal number may be 0: so exp() has
    it. All pairs of special points are rows of i, in any two arguments; those that depend on no i take some of them.
    """
    dtype, info = kernel.dtype, np.finfo(kernel.dtype)
    points = special_points(dtype)
    count = len(points)
    pairs = np.array([(points[k], points[m], points[(k + 5 * m) % count]) for k, m in product(range(count), repeat=2)])
    for at in range(count):
        scalars = points[[at, (3 * at + 2) % count, (5 * at + 4) % count]]
        data = {}
        for leaf in kernel.leaves:
            argument = 0 if leaf.params[0] == "cotangent" else leaf.params[0][1]
            column = pairs[:, argument] if leaf.domain == I else scalars[argument : argument + 1]
            data[leaf] = np.repeat(column[:, None], leaf.dim, 1).astype(dtype)
        for f, found in kernel(data, len(pairs)):
            if f not in values:
                continue
            right = np.zeros(found.shape, bool)
            for precision in ("float64", dtype):
                with np.errstate(over="ignore"):
                    expected = by_numpy(f, data, precision, len(pairs)).astype(dtype)
                right |= np.isclose(found, expected, rtol=ULPS * info.eps, atol=2 * info.tiny, equal_nan=True)
            if not right.all():
                row = int(np.argwhere(~right)[0][0])
                point = [data[leaf][row % len(data[leaf]), 0].item() for leaf in variables([f])]
                yield f"{f} at {point} is {found[row]}, by NumPy {expected[row]}"


def special_points(dtype: str) -> Array:
    """Numbers at which arithmetic has corners."""
    import pyopencl as cl

    info = np.finfo(dtype)
    points = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, -info.tiny]
    config = getattr(current_device().cl_device, "single_fp_config" if dtype == "float32" else "double_fp_config")
    if config & cl.device_fp_config.DENORM:
        points += [info.tiny / 64, info.smallest_subnormal]
    return np.array([float(point) for point in points])


@pytest.mark.parametrize(
    ("family", "orders", "interval"),
    [
        (bessel_ratio, range(1, 6), (-7.0, 7.0)), (gaussian_derivative, range(5), (-3.0, 3.0)),
        (polygamma, range(1, 5), (0.5, 8.0)), (polygamma, range(1, 5), (-2.8, -2.2)),
    ],
)  # fmt: skip
def test_what_derivatives_are_made_of(
    family: Op, orders: range, interval: tuple[float, float], precision: tuple[str, int]
) -> None:
    x = variable(("argument", 0, interval), 1, I)
    kernel = Selected([family(x, n) for n in orders], *precision)
    assert not [*wrong_at_random_points(kernel)]


@pytest.mark.parametrize("n", EXPONENTS)
def test_small_powers_are_products(n: int) -> None:
    """Others are powers with a real exponent."""
    f = power(variable("x", 1, I), n)
    code = f.op.code if isinstance(f.op.code, str) else f.op.code(*f.params)
    assert ("pow" in code) == (abs(n) > 64)
