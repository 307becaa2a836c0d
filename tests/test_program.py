"""Programs and their derivatives: equal formulas are one program; reverse and forward mode agree with differences.

Derivatives are programs like any other, over more variables. Here they are fed by hand, and run by `reference` (float64
NumPy) and on devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from oracle import Array, random_arrays, run

from clreduce.autodiff import vjp
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError, ShapeError
from clreduce.ir.expr import REAL, Expr, topological
from clreduce.ir.op import constant, variable
from clreduce.ops.arithmetic import square
from clreduce.ops.derived import norm, scalar_product, squared_distance
from clreduce.ops.functions import exp, log, sign
from clreduce.ops.shape import concat, element, summed
from clreduce.ops.trigonometry import sin
from clreduce.program import Gradient, MapReduce, map_reduce
from clreduce.reductions import FAMILIES, REDUCTIONS, RESIDUALS, Reduction, reduction_named
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Signature
from clreduce.runtime.plan_cache import PLANS

pytestmark = pytest.mark.usefixtures("plain_kernels")

I, J, P = Domain.I, Domain.J, Domain.P
ROWS, COLUMNS = 7, 11
STEP = 1e-5
SIMPLE = Schedule(lanes=4, rows=1, cols=1)
"""Little code to compile; that schedules don't matter is tested elsewhere."""
x, y, b = variable("x", 3, I), variable("y", 3, J), variable("b", 1, J)
a, p, q = variable("a", 1, I), variable("p", 1, P), variable("q", 3, P)
X, Y = variable("X", 20, I), variable("Y", 20, J)

FORMULAS: dict[str, Expr] = {
    "gaussian": exp(-squared_distance(x, y) * square(p)) * b,
    "vector": sin(x * q) * exp(y - a),
    "norm": norm(x - y * p) * (b + 2),
    "long": scalar_product(sin(X), Y) * a,
    "packed": concat(x * b, sin(y)) * element(q, 1),
    "of i": summed(square(x)) + sin(a),
    "of j": log(square(b) + 2) * y,
    "of parameters": sin(q) * p,
}
EVERY: list[tuple[str, int | None]] = [*((name, None) for name in REDUCTIONS), *((name, 2) for name in FAMILIES)]
EVERY += [(name, None if isinstance(found, Reduction) else 2) for name, found in RESIDUALS.items()]
DIFFERENTIABLE = [kind for kind in EVERY if reduction_named(*kind).tangent]
Runner = Callable[[MapReduce, Sequence[Array], int, int], tuple[Array, ...]]


def by_numpy(program: MapReduce, arrays: Sequence[Array], rows: int, columns: int) -> tuple[Array, ...]:
    return program.reference(arrays, rows, columns)


def program_of(f: Expr, reduction: tuple[str, int | None]) -> MapReduce:
    """The reduction of ``f``; with ``f`` as weights where it takes two formulas."""
    record = reduction_named(*reduction)
    values = [f] if record.formulas == 1 else [summed(f) if f.dim > 1 else sin(f), square(f) + 0.5]
    return map_reduce(values, *reduction)[0]


class Point:
    """A program at some data, with what its derivatives need besides: all from one random generator.

    ``value`` is all real results side by side; so are cotangent and forward derivatives.
    """

    def __init__(self, program: MapReduce, dtype: str = "float64", sizes: tuple[int, int] = (ROWS, COLUMNS)) -> None:
        self.program, self.sizes = program, sizes
        self.arrays = random_arrays(program, *sizes, dtype)
        self.value = self.results(self.arrays)
        self.residuals: tuple[Array, ...] = ()
        if program.residual is not None:
            found = by_numpy(program.residual, self.arrays, *sizes)
            self.residuals = tuple(r if r.dtype == np.int64 else r.astype(dtype) for r in found)
        rng = np.random.default_rng(5)
        self.cotangent = rng.standard_normal(self.value.shape).astype(dtype)
        self.tangents = [rng.standard_normal(array.shape).astype(dtype) for array in self.arrays]
        self.real = [n for n, slot in enumerate(program.slots) if slot.kind == REAL]

    def results(self, arrays: Sequence[Array]) -> Array:
        found = by_numpy(self.program, arrays, *self.sizes)
        return np.concatenate([found[n] for n in self.program.real_outputs], axis=1)

    def cotangents(self) -> dict[int, Array]:
        """The cotangent of each real result."""
        dims = [self.program.outputs[n].dim for n in self.program.real_outputs]
        parts = np.split(self.cotangent, np.cumsum(dims)[:-1], axis=1)
        return {n: np.ascontiguousarray(part) for n, part in zip(self.program.real_outputs, parts, strict=True)}

    def fed(self, gradient: Gradient) -> list[Array]:
        """The arrays of a derivative's slots."""
        given: dict[str, Any] = {"input": self.arrays, "tangent": self.tangents, "residual": self.residuals}
        given["cotangent"] = self.cotangents()
        return [given[source.role][source.number] for source in gradient.sources]

    def vjp(self, run: Runner, wrt: Sequence[int]) -> dict[int, Array]:
        """The gradient in each slot, of its array's shape."""
        found = {}
        for gradient in self.program.vjp(wrt):
            sizes = self.sizes[::-1] if gradient.flipped else self.sizes
            (result,) = run(gradient.program, self.fed(gradient), *sizes)
            if gradient.summed_rows:
                result = result.sum(0, keepdims=True)
            ends = np.cumsum(gradient.dims)
            for slot, end, dim in zip(gradient.wrt, ends, gradient.dims, strict=True):
                found[slot] = result[:, end - dim : end].reshape(self.arrays[slot].shape)
        return found

    def jvp(self, run: Runner, wrt: Sequence[int]) -> Array:
        gradient = self.program.jvp(wrt)
        (result,) = run(gradient.program, self.fed(gradient), *self.sizes)
        return result

    def difference(self, directions: Mapping[int, Array]) -> Array:
        """The central difference of the result."""
        values = []
        for step in (STEP, -STEP):
            moved = [v + step * directions[n] if n in directions else v for n, v in enumerate(self.arrays)]
            values.append(self.results(moved))
        return (values[0] - values[1]) / (2 * STEP)


def close(found: Array | float, expected: Array | float, rtol: float) -> None:
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


by_formula = pytest.mark.parametrize("name", list(FORMULAS))
by_reduction = pytest.mark.parametrize("reduction", DIFFERENTIABLE, ids=lambda kind: kind[0])

# ------------------------------------------------------------------------------------------------------ first order


@by_formula
@by_reduction
def test_reverse_and_forward_mode_are_derivatives(name: str, reduction: tuple[str, int | None]) -> None:
    point = Point(program_of(FORMULAS[name], reduction))
    pulled = point.vjp(by_numpy, point.real)
    for slot in point.real:
        direction = {slot: point.tangents[slot]}
        slope = point.difference(direction)
        close(point.jvp(by_numpy, [slot]), slope, 1e-7)
        close(np.sum(pulled[slot] * point.tangents[slot]), np.sum(slope * point.cotangent), 1e-7)
    close(point.jvp(by_numpy, point.real), point.difference(dict(enumerate(point.tangents))), 1e-7)


ON_DEVICES = [(name, "Sum", "float32") for name in FORMULAS if name not in ("of i", "of j")]
ON_DEVICES += [("gaussian", "Max", "float32"), ("packed", "Min", "float32"), ("packed", "LogSumExp", "float32")]
ON_DEVICES += [("gaussian", "LogSumExp", "float64"), ("gaussian", "LogSumExpWeight", "float64")]
ON_DEVICES += [("packed", "SumSoftMaxWeight", "float64"), ("packed", "LogSumExpWeight", "float64")]
ON_DEVICES += [("vector", name, "float64") for name in ("Max_SumShiftExpWeight", "Prod", "Mean", "Var", "SumKMin")]


@pytest.mark.parametrize("case", ON_DEVICES, ids="-".join)
def test_modes_agree_on_devices(case: tuple[str, str, str], device: Device) -> None:
    """<cotangent, J tangent> = <J^T cotangent, tangent>; and each is what NumPy says."""
    name, reduction, dtype = case
    point = Point(program_of(FORMULAS[name], (reduction, 5 if reduction in FAMILIES else None)), dtype, (35, 18))
    on_device = partial(run, dtype=dtype, schedule=SIMPLE)
    forward = point.jvp(on_device, point.real)
    pulled = point.vjp(on_device, point.real)
    rtol = 1e-12 if dtype == "float64" else 2e-5
    close(forward, point.jvp(by_numpy, point.real), rtol)
    for slot, expected in point.vjp(by_numpy, point.real).items():
        close(pulled[slot], expected, rtol)
    paired = sum(float(np.sum(pulled[slot].astype(float) * point.tangents[slot])) for slot in point.real)
    terms = np.abs(forward.astype(float) * point.cotangent).sum()
    assert abs(np.sum(forward.astype(float) * point.cotangent) - paired) <= rtol * max(terms, 1.0)


@by_formula
def test_one_program_per_output_index(name: str) -> None:
    program, _ = map_reduce([FORMULAS[name]], "Sum")
    gradients = program.vjp(range(len(program.slots)))
    assert len(gradients) == len({slot.domain for slot in program.slots}) <= 3
    assert sorted(n for gradient in gradients for n in gradient.wrt) == list(range(len(program.slots)))
    for gradient in gradients:
        domains = {program.slots[n].domain for n in gradient.wrt}
        assert domains == {J if gradient.flipped else P if gradient.summed_rows else I}
        assert gradient.dims == tuple(program.slots[n].dim for n in gradient.wrt)
        assert gradient.program.reduction is REDUCTIONS["Sum"]
        assert gradient.program.outputs[0].dim == sum(gradient.dims)


def test_a_gradient_of_nothing_is_zero(device: Device) -> None:
    point = Point(map_reduce([sign(x) * b], "Sum")[0], "float32")
    pulled = point.vjp(partial(run, dtype="float32", schedule=SIMPLE), [0, 1])
    assert not pulled[0].any()
    assert pulled[1].any()
    assert point.program.vjp([]) == []
    assert not point.jvp(partial(run, dtype="float32", schedule=SIMPLE), []).any()


@pytest.mark.parametrize("reduction", [kind for kind in EVERY if kind not in DIFFERENTIABLE])
def test_indices_have_no_derivative(reduction: tuple[str, int | None]) -> None:
    program = program_of(squared_distance(x, y), reduction)
    for derive in (program.vjp, program.jvp):
        with pytest.raises(NotDifferentiableError, match=f"{reduction[0]} has no derivative.*Sum"):
            derive([0])


@pytest.mark.parametrize(("reduction", "chosen"), [("Max", 1), ("Min", 0)])
def test_of_equal_terms_the_first_has_the_gradient(reduction: str, chosen: int, device: Device) -> None:
    point = Point(map_reduce([b * a], reduction)[0], "float32", (5, 6))
    slots = {slot.domain: n for n, slot in enumerate(point.program.slots)}
    point.arrays[slots[J]][:] = np.array([0, 1, 1, 0, 1, 0], "float32")[:, None]
    point.arrays[slots[I]][:] = 1
    point.residuals = (point.value, np.full((5, 1), chosen))
    pulled = point.vjp(partial(run, dtype="float32", schedule=SIMPLE), [slots[J]])[slots[J]]
    assert np.flatnonzero(pulled).tolist() == [chosen]
    close(pulled[chosen], point.cotangent.sum(), 1e-6)


def test_terms_of_minus_infinity_have_no_gradient(device: Device) -> None:
    """LogSumExp over some, or over nothing but them."""
    point = Point(map_reduce([a * 0.5 + b], "LogSumExp")[0], "float32", (4, 5))
    for slot, array in zip(point.program.slots, point.arrays, strict=True):
        if slot.domain == I:
            array[2:] = -np.inf
        else:
            array[1:4] = -np.inf
    point.residuals = point.program.reference(point.arrays, 4, 5)
    point.residuals = tuple(r.astype("float32") for r in point.residuals)
    for slot, pulled in point.vjp(partial(run, dtype="float32", schedule=SIMPLE), [0, 1]).items():
        assert np.isfinite(pulled).all()
        assert not pulled[np.isinf(point.arrays[slot])].any()
        assert pulled.any()


# ------------------------------------------------------------------------------------------------------ higher order


# A weight e^(f - m) is cut at 1, which is a kink where f or the largest term m moves alone.
@pytest.mark.parametrize("name", ["gaussian", "vector", "norm", "packed", "of j"])
@pytest.mark.parametrize(
    "reduction", [kind for kind in DIFFERENTIABLE if "Max_Sum" not in kind[0]], ids=lambda kind: kind[0]
)
def test_second_order(name: str, reduction: tuple[str, int | None]) -> None:
    """A gradient is a program: its own gradients are derivatives again."""
    first = Point(program_of(FORMULAS[name], reduction))
    for gradient in first.program.vjp(first.real):
        point = Point(gradient.program, sizes=first.sizes[::-1] if gradient.flipped else first.sizes)
        point.arrays = first.fed(gradient)
        pulled = point.vjp(by_numpy, point.real)
        rounding = 1e-10 * float(np.abs(point.results(point.arrays) * point.cotangent).sum())
        for slot in point.real:
            slope = point.difference({slot: point.tangents[slot]})
            close(np.sum(pulled[slot] * point.tangents[slot]), np.sum(slope * point.cotangent), max(1e-6, rounding))


@pytest.mark.parametrize("name", ["gaussian", "packed"])
@by_reduction
def test_second_order_through_the_residuals(name: str, reduction: tuple[str, int | None]) -> None:
    """Residuals depend on the data: a gradient's slope has a part through them, by the residual program's derivative.

    This is what nested automatic differentiation does if it treats each residual as a result like any other.
    """
    first = Point(program_of(FORMULAS[name], reduction))
    rng = np.random.default_rng(8)
    probes = [rng.standard_normal(array.shape) for array in first.arrays]

    def probed(arrays: Sequence[Array]) -> float:
        """<gradients, probes> where all that depends on the data does so."""
        moved = Point(first.program)
        moved.arrays = list(arrays)
        if moved.program.residual is not None:
            moved.residuals = by_numpy(moved.program.residual, arrays, *moved.sizes)
        pulled = moved.vjp(by_numpy, moved.real)
        return sum(float(np.sum(pulled[slot] * probes[slot])) for slot in pulled)

    slopes = {slot: np.zeros(array.shape) for slot, array in enumerate(first.arrays)}
    of_residuals: dict[int, Array] = {}
    for gradient in first.program.vjp(first.real):
        sizes = first.sizes[::-1] if gradient.flipped else first.sizes
        point = Point(gradient.program, sizes=sizes)
        point.arrays = first.fed(gradient)
        probe = np.concatenate([probes[slot].reshape(-1, first.program.slots[slot].dim) for slot in gradient.wrt], 1)
        point.cotangent = np.broadcast_to(probe, (sizes[0], probe.shape[1]))
        wanted = [n for n, source in enumerate(gradient.sources) if source.role != "cotangent" and n in point.real]
        for n, found in point.vjp(by_numpy, wanted).items():
            source = gradient.sources[n]
            if source.role == "input":
                slopes[source.number] += found
            else:
                of_residuals[source.number] = of_residuals.get(source.number, 0) + found
    if of_residuals:
        assert first.program.residual is not None
        behind = Point(first.program.residual)
        parts = [
            of_residuals.get(n, np.zeros((ROWS, behind.program.outputs[n].dim))) for n in behind.program.real_outputs
        ]
        behind.cotangent = np.concatenate(parts, axis=1)
        for slot, found in behind.vjp(by_numpy, behind.real).items():
            slopes[slot] += found
    for slot in first.real:
        step = {n: STEP * first.tangents[n] if n == slot else 0 for n in range(len(probes))}
        ahead, back = ([v + s * step[n] for n, v in enumerate(first.arrays)] for s in (1, -1))
        close(np.sum(slopes[slot] * first.tangents[slot]), (probed(ahead) - probed(back)) / (2 * STEP), 1e-6)


def test_second_order_on_devices(device: Device) -> None:
    first = Point(map_reduce([FORMULAS["gaussian"]], "LogSumExp")[0], "float32")
    for gradient in first.program.vjp(first.real):
        point = Point(gradient.program, "float32")
        expected = point.vjp(by_numpy, point.real)
        for slot, found in point.vjp(partial(run, dtype="float32", schedule=SIMPLE), point.real).items():
            close(found, expected[slot], 2e-5)


def test_derivatives_share_what_they_compute() -> None:
    """The gradient of an eightfold f = sin(f) * f stays small; so does its gradient."""
    f: Expr = a
    for _ in range(8):
        f = sin(f) * f
    (gradient,) = vjp({f: constant(1)}, [a])
    assert gradient is not None
    assert len(topological([gradient])) < 100
    (second,) = vjp({gradient: constant(1)}, [a])
    assert second is not None
    assert len(topological([second])) < 500
    for _ in range(56):
        f = sin(f) * f
    (deep,) = vjp({f: constant(1)}, [a])
    assert deep is not None
    assert len(topological([deep])) < 600


# ----------------------------------------------------------------------------------------------- programs as values


def test_names_do_not_matter(device: Device) -> None:
    u, v, w = variable(7, 3, I), variable(("any", "name"), 3, J), variable("y", 1, J)
    one, given_one = map_reduce([exp(-squared_distance(x, y)) * b], "Sum")
    other, given_other = map_reduce([exp(-squared_distance(u, v)) * w], "Sum")
    assert one == other
    assert hash(one) == hash(other)
    assert one.values[0] is other.values[0]
    assert (given_one, given_other) == ((x, y, b), (u, v, w))
    signature = Signature("float32")
    assert PLANS.get(one, signature, device) is PLANS.get(other, signature, device)
    assert [g.program for g in one.vjp([0, 1, 2])] == [g.program for g in other.vjp([0, 1, 2])]
    assert one != map_reduce([exp(-squared_distance(x, y)) * b], "Max")[0]
    assert one != map_reduce([exp(-squared_distance(x, y)) * a], "Sum")[0]


def test_slots_are_numbered_by_first_use() -> None:
    program, given = map_reduce([(p * b + a) * b], "Sum")
    assert given == (p, b, a)
    assert [slot.params[0] for slot in program.slots] == [0, 1, 2]


def test_the_number_of_formulas_is_checked() -> None:
    with pytest.raises(ShapeError, match=r"Sum needs 1 formula\(s\), not 2"):
        map_reduce([x, y], "Sum")


@pytest.mark.parametrize("reduction", EVERY)
def test_programs_without_variables(reduction: tuple[str, int | None], device: Device) -> None:
    program = program_of(constant(2), reduction)
    assert program.slots == ()
    for rows, columns in ((3, 5), (1, 1), (2, 0)):
        found = run(program, [], rows, columns, "float32")
        for result, expected in zip(found, program.reference([], rows, columns), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-6)
