"""Vectors that loops would compute again and again are kept in arrays: networks on pairs, against NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import DTYPES, check

from clreduce.codegen.arrays import components_in_arrays, vectors_in_arrays
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.schedule import DIRECT, LOCAL, Schedule, choose_schedule
from clreduce.codegen.tree import If, Loop, Statement
from clreduce.domain import Domain
from clreduce.errors import ScheduleError
from clreduce.ir.expr import Expr
from clreduce.ir.op import variable
from clreduce.numpy import Genred, LazyTensor
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp, relu
from clreduce.ops.matrices import matrix_vector, tensor_dot
from clreduce.ops.shape import concat
from clreduce.ops.trigonometry import sin
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import Device

X, Y = variable("x", 7, Domain.I), variable("y", 7, Domain.J)


def network(start: Expr, widths: Sequence[int], weights: Domain = Domain.P) -> Expr:
    """Layers of these widths on ``start``, with a ReLU after each but the last."""
    h = start
    for n, (columns, rows) in enumerate(pairwise((start.dim, *widths))):
        h = matrix_vector(variable(("weight", n), rows * columns, weights), h)
        h = relu(h) if n + 2 <= len(widths) else h
    return h


FORMULAS: dict[str, Expr] = {
    "of pairs": network(X - Y, (9, 8, 5)),
    "of pairs, to one number": network(X - Y, (9, 8, 1)),
    "of i": network(X, (20, 21, 7)) * exp(-squared_distance(X, Y)),
    "of j": network(Y, (20, 21, 7)) * exp(-squared_distance(X, Y)),
    "weights of j": network(X - Y, (6, 5), Domain.J),
    "of i beside pairs": network(concat(network(X, (17, 18)), X - Y), (8, 2)),
    "of a short vector": network(network(X - Y, (9, 3)), (9, 6)),
    "a chain of tensors": tensor_dot(
        tensor_dot(sin(variable("a", 9, Domain.I)), variable("b", 9, Domain.J), (3, 3), (3, 3), (1,), (0,)),
        variable("c", 9, Domain.P), (3, 3), (3, 3), (1,), (0,),
    ),
}  # fmt: skip
SCHEDULES = (
    Schedule(lanes=1, rows=1, cols=1, unroll=1),
    Schedule(lanes=4, rows=2, cols=3, tile=7, unroll=4),
    Schedule(lanes=8, rows=3, cols=2, tile=0, split=3),
    Schedule(lanes=1, rows=2, cols=2, group=4, tile=5, unroll=2, shape=LOCAL),
    Schedule(lanes=4, rows=1, cols=4, group=1, tile=32, unroll=16, shape=LOCAL),
)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=range(len(SCHEDULES)))
@pytest.mark.parametrize("name", FORMULAS)
def test_networks_are_what_numpy_computes_under_any_schedule(name: str, schedule: Schedule, device: Device) -> None:
    dtype = DTYPES[(len(name) + schedule.lanes) % 2] if device.facts.has_double else "float32"
    check(map_reduce([FORMULAS[name]], "Sum")[0], 21, 19, dtype, schedule, factor=8)


@pytest.mark.parametrize("reduction", ["LogSumExp", "Max", "ArgMin", "Max_ArgMax", "Var"])
def test_each_reduction_reads_kept_vectors(reduction: str, device: Device) -> None:
    program, _ = map_reduce([FORMULAS["of pairs"]], reduction)
    check(program, 21, 19, "float32", SCHEDULES[1], factor=8)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_of_networks_are_what_numpy_computes(name: str, device: Device) -> None:
    program, _ = map_reduce([FORMULAS[name]], "Sum")
    slots = range(len(program.slots))
    dtype = "float64" if device.facts.has_double else "float32"
    for gradient in [*program.vjp(slots), program.jvp(slots)]:
        check(gradient.program, 13, 11, dtype, replace(SCHEDULES[1], cols=2), factor=8)


def test_forward_and_reverse_mode_agree(device: Device) -> None:
    """The inner-product identity, for a network with its parameters."""
    dtype = "float64" if device.facts.has_double else "float32"
    routine = Genred(
        "MatVecMult(v, Tanh(MatVecMult(u, Tanh(MatVecMult(w, x - y)))))",
        ["w = Pm(48)", "u = Pm(96)", "v = Pm(24)", "x = Vi(4)", "y = Vj(4)"], "Sum", axis=1,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    shapes = ((48,), (96,), (24,), (30, 4), (20, 4))
    arrays, tangents = ([rng.normal(size=shape).astype(dtype) * 0.5 for shape in shapes] for _ in range(2))
    cotangent = rng.normal(size=(30, 3)).astype(dtype)
    forward = routine.jvp(*arrays, tangents=dict(zip("wuvxy", tangents, strict=True)))
    reverse = routine.vjp(*arrays, cotangent=cotangent)
    inner = sum((a * t).sum() for a, t in zip(reverse, tangents, strict=True))
    assert np.isclose(inner, (forward * cotangent).sum(), rtol=1e-10 if dtype == "float64" else 1e-3)


def test_batches_ranges_and_sums_in_double(device: Device) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 30, 1, 5)), rng.normal(size=(2, 1, 20, 5))
    w, u = rng.normal(size=(2, 1, 1, 45)) * 0.3, rng.normal(size=(2, 1, 1, 54)) * 0.3
    dtype = "float64" if device.facts.has_double else "float32"
    x, y, w, u = (array.astype(dtype) for array in (x, y, w, u))

    def dense(batch: int, kind: type = np.float64) -> np.ndarray:
        h = np.maximum((x[batch] - y[batch]).astype(kind) @ w[batch].reshape(9, 5).T, 0)
        return np.asarray(h @ u[batch].reshape(6, 9).T)

    formula = LazyTensor(u).matvecmult(LazyTensor(w).matvecmult(LazyTensor(x) - LazyTensor(y)).relu())
    tolerance = {"rtol": 1e-4, "atol": 1e-4}
    assert np.allclose(formula.sum(2), np.stack([dense(0).sum(1), dense(1).sum(1)]), **tolerance)
    routine = Genred(
        "MatVecMult(u, ReLU(MatVecMult(w, x - y)))",
        ["u = Pm(54)", "w = Pm(45)", "x = Vi(5)", "y = Vj(5)"], "Sum", axis=1,
    )  # fmt: skip
    first = [array.reshape(-1) for array in (u[0], w[0])] + [x[0, :, 0], y[0, 0]]
    bounds, ends = np.array([[0, 11], [11, 30]]), np.array([1, 2])
    pieces = np.array([[0, 7], [7, 20]])
    ranges = (bounds, ends, pieces, np.array([[0, 7], [7, 20]]), ends, bounds)
    table = dense(0)
    expected = np.concatenate([table[:11, :7].sum(1), table[11:, 7:].sum(1)])
    assert np.allclose(routine(*first, ranges=ranges), expected, **tolerance)
    if device.facts.has_double and dtype == "float64":
        single = [array.astype("float32") for array in first]
        found = Genred(
            routine.formula, ["u = Pm(54)", "w = Pm(45)", "x = Vi(5)", "y = Vj(5)"], "Sum", axis=1, dtype_acc="float64"
        )(*single)
        assert np.allclose(found, table.sum(1), **tolerance)


def deepest(statements: Sequence[Statement]) -> int:
    """How many loops stand inside one another."""
    inner = [
        int(isinstance(statement, Loop)) + deepest(statement.body)
        for statement in statements
        if isinstance(statement, Loop | If)
    ]
    return max(inner, default=0)


@pytest.mark.parametrize("unroll", [1, 4])
@pytest.mark.parametrize("layers", [1, 3, 6])
def test_the_cost_of_layers_adds_up(layers: int, unroll: int) -> None:
    """One loop over rows with one over columns inside for each layer, however many there are; so for gradients."""
    program, _ = map_reduce([network(X - Y, (8,) * layers)], "Sum")
    programs = [program, *(gradient.program for gradient in program.vjp(range(len(program.slots))))]
    for made in programs:
        kernel = lower(made, "float", Schedule(lanes=4, cols=2, unroll=unroll), DeviceFacts()).pair
        assert deepest(kernel.body) <= 2


@pytest.mark.parametrize("factors", [1, 3, 5])
def test_the_cost_of_a_chain_of_products_adds_up(factors: int) -> None:
    """One product of matrices after the other, none inside another."""
    f = variable("a", 144, Domain.I) - variable("b", 144, Domain.J)
    for n in range(factors):
        f = tensor_dot(f, variable(("factor", n), 144, Domain.P), (12, 12), (12, 12), (1,), (0,))
    program, _ = map_reduce([f], "Sum")
    for made in [program, *(gradient.program for gradient in program.vjp(range(len(program.slots))))]:
        kernel = lower(made, "float", Schedule(lanes=4, cols=2), DeviceFacts()).pair
        assert deepest(kernel.body) <= 2


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_random_networks(data: st.DataObject, device: Device) -> None:
    """Any widths, any start, any use of hidden vectors."""
    start = data.draw(st.sampled_from([X - Y, X * Y, concat(X, Y), X, Y]))
    widths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    h = network(start, widths)
    if data.draw(st.booleans()):
        h = concat(h, network(h, (5, 3)))
    program: MapReduce = map_reduce([h], data.draw(st.sampled_from(["Sum", "Sum", "Max", "LogSumExp"])))[0]
    schedule = data.draw(st.sampled_from(SCHEDULES))
    check(program, 9, 10, "float32", schedule, factor=8)


def test_elementwise_vectors_and_single_contractions_stay_as_they_are() -> None:
    """What is read once, or cheap, or elementwise and read twice, has no array."""
    assert not vectors_in_arrays([matrix_vector(variable("w", 49, Domain.P), X - Y)])
    assert not vectors_in_arrays([concat(exp(X - Y), -exp(X - Y))])
    assert components_in_arrays([network(X - Y, (9, 8, 5))], 4) == 17


@pytest.mark.parametrize("layers", [1, 3, 6, 12])
def test_columns_share_the_pass_over_the_gradients_of_all_weights(layers: int) -> None:
    """However long they are: lanes are given up first, down to half a register."""
    program, _ = map_reduce([network(variable("x", 32, Domain.I) - variable("y", 32, Domain.J), [32] * layers)], "Sum")
    weights = [n for n, slot in enumerate(program.slots) if slot.domain == Domain.P]
    (gradient,) = program.vjp(weights)
    schedule = choose_schedule(gradient.program, "float", DeviceFacts(native_float_lanes=16))
    assert schedule.cols == 8
    assert schedule.lanes == {1: 16, 3: 16, 6: 8, 12: 8}[layers]
    lower(gradient.program, "float", schedule, DeviceFacts())


def test_the_register_tile_leaves_room_for_kept_vectors() -> None:
    long = map_reduce([network(X - Y, (2000, 2000, 2))], "Sum")[0]
    schedule = choose_schedule(long, "float", DeviceFacts())
    assert schedule.shape == DIRECT
    lower(long, "float", schedule, DeviceFacts())
    with pytest.raises(ScheduleError, match="vectors of 4000 components for each pair"):
        lower(long, "float", Schedule(lanes=16, rows=4, cols=8), DeviceFacts())
