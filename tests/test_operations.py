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
from oracle import Array, shape_of

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.autodiff import vjp
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, variables
from clreduce.ir.op import FUNCTIONS, OPS, Function, constant, variable
from clreduce.ops.arithmetic import power
from clreduce.ops.compare import equal, where
from clreduce.ops.shape import place
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import current_device
from clreduce.runtime.plan import Plan, Signature

I, J, P = Domain.I, Domain.J, Domain.P
POINTS = 21  # not a multiple of any number of lanes
ULPS = 20.0
"""Error allowed, in units in the last place of the largest component. pow() alone may have 16."""
EXPONENTS = (-65, -3, -2, -1, 0, 1, 2, 5, 64, 65)
MIXES = {0: [()], 1: [(I,), (J,), (P,)], 2: [(I, I), (I, J), (J, I), (I, P), (P, I), (J, P), (P, P)]}


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
GROUPS = [list(CASES)[start : start + 8] for start in range(0, len(CASES), 8)]
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
        self.program: MapReduce
        self.program, self.given = map_reduce([result], "Sum")
        schedule = Schedule(lanes=lanes, rows=1, cols=1, tile=0)
        self.plan = Plan(self.program, Signature(dtype), current_device(), schedule)

    def __call__(self, data: dict[Expr, Array]) -> Iterator[tuple[Expr, Array]]:
        """Each formula, and its value at each of the rows of ``data``."""
        rows = max([1, *(len(array) for leaf, array in data.items() if leaf.domain == I)])
        for number, f in enumerate(self.formulas):
            known = {**data, self.choice: np.array([number])}
            arrays = [np.asarray(known[leaf], self.dtype).reshape(shape_of(leaf, rows, 1)) for leaf in self.given]
            (found,) = self.plan(arrays, rows, 1)
            yield f, found[:, : f.dim]


def numpy_value(f: Expr, data: dict[Expr, Array], dtype: str, rows: int) -> Array:
    """The formula by NumPy, computed in ``dtype`` throughout (constants apart) and rounded to it."""
    leaves = {leaf: np.asarray(array, dtype) for leaf, array in data.items()}
    (found,) = evaluate([f], leaves)
    with np.errstate(over="ignore"):
        return np.broadcast_to(found, (rows, f.dim)).astype(np.float64)


@pytest.fixture(params=[("float32", 1), ("float32", 16), ("float64", 1), ("float64", 0)],
                ids=["float32x1", "float32x16", "float64x1", "float64xnative"])  # fmt: skip
def precision(request: pytest.FixtureRequest, device: Any) -> tuple[str, int]:
    """A dtype and a number of lanes; 0 stands for what the device has in one register."""
    dtype, lanes = request.param
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    return dtype, lanes or min(16, max(1, device.facts.native_double_lanes))


@pytest.mark.parametrize("name", list(CASES))
def test_operation(name: str, precision: tuple[str, int]) -> None:
    """Values and gradients at random points, values at special points."""
    dtype, lanes = precision
    function, parameters = CASES[name]
    values = formulas(function, parameters)
    slopes = gradients(values[0])
    kernel = Selected([*values, *slopes], dtype, lanes)
    check_random_points(kernel, function, dtype)
    check_special_points(kernel, function, dtype, values)


def check_random_points(kernel: Selected, function: Function, dtype: str) -> None:
    rng = np.random.default_rng(1)
    low, high = function.interval
    data = {leaf: rng.uniform(low, high, (POINTS if leaf.domain == I else 1, leaf.dim)).astype(dtype)
            for leaf in kernel.given if leaf is not kernel.choice}  # fmt: skip
    for f, found in kernel(data):
        expected = numpy_value(f, data, "float64", POINTS)
        scale = np.maximum(np.abs(expected), np.abs(expected).max(0))
        error = np.max(np.abs(found - expected) / np.maximum(scale, 1e-30))
        assert error <= ULPS * np.finfo(dtype).eps, f"{f}: error {error:.1e}"


def special(dtype: str) -> Array:
    """Numbers at which arithmetic has corners."""
    import pyopencl as cl

    info = np.finfo(dtype)
    points = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, -info.tiny]
    config = getattr(current_device().cl_device, "single_fp_config" if dtype == "float32" else "double_fp_config")
    if config & cl.device_fp_config.DENORM:
        points += [float(info.tiny) / 64, float(info.smallest_subnormal)]
    return np.array(points)


def check_special_points(kernel: Selected, function: Function, dtype: str, values: Sequence[Expr]) -> None:
    """As NumPy has it: rounded once from float64, or computed in the data's own precision where that overflows.

    Results too small for a normal number may be 0: that is what exp() documents.
    """
    points = special(dtype)
    count = len(function.arguments)
    pairs = np.array(list(product(points, repeat=min(count, 2))) or [()])
    tiny = 2 * float(np.finfo(dtype).tiny)
    for shift in range(0, len(points), 3 if count > 1 else 1):
        data = {}
        for leaf in kernel.given:
            at = leaf.params[0][1] if leaf is not kernel.choice and leaf.params[0] != "cotangent" else 0
            if leaf.domain == I and leaf.params[0] != "cotangent":
                column = pairs[:, min(at, 1)]
            elif leaf.domain == I:
                column = np.ones(len(pairs))
            else:  # the argument at 0 keeps its place while the one at 1 moves
                column = np.roll(points, -shift)[:1] if at == 0 else np.roll(points, -2 * shift - 1)[:1]
            data[leaf] = np.repeat(column[:, None], leaf.dim, 1).astype(dtype)
        rows = max([1, *(len(array) for leaf, array in data.items() if leaf.domain == I)])
        for f, found in kernel(data):
            if f not in values:
                continue
            allowed = []
            for precision in ("float64", dtype):
                with np.errstate(over="ignore"):
                    expected = numpy_value(f, data, precision, rows).astype(dtype).astype(np.float64)
                    close = np.isclose(found, expected, rtol=ULPS * np.finfo(dtype).eps, atol=tiny, equal_nan=True)
                allowed.append(close)
            wrong = ~(allowed[0] | allowed[1])
            if wrong.any():
                row = int(np.argwhere(wrong)[0][0])
                inputs = {str(leaf.params[0]): data[leaf][row % len(data[leaf])] for leaf in variables([f])}
                pytest.fail(f"{f} of {inputs} gives {found[row]}, NumPy {expected[row]}")


def test_integer_powers_are_products() -> None:
    """Small exponents need no call of pow(): their text is a product."""
    x = variable("x", 1, I)
    for n in EXPONENTS:
        f = power(x, n)
        code = f.op.code if isinstance(f.op.code, str) or f is x else f.op.code(*f.params)
        assert f is x or ("pow" in str(code)) == (abs(n) > 64)
