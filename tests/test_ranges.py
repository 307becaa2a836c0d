"""Block-sparse calls: what they compute equals NumPy on the terms that the ranges name, whatever the schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array, assert_best, assert_close, dense, random_arrays, scale_of

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import LOCAL, Schedule, choose_schedule, narrowed
from clreduce.domain import Domain
from clreduce.errors import DtypeError, ShapeError
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable
from clreduce.numpy import Genred
from clreduce.numpy.cluster import from_matrix
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.program import MapReduce, map_reduce
from clreduce.reductions.reduction import FAMILIES, REDUCTIONS, reduction_named
from clreduce.runtime.blocks import Footprint
from clreduce.runtime.choices import CHOICES, Case
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature, signature_of
from clreduce.runtime.ranges import Ranges

M, N = 83, 71
Six = tuple[Array, ...]
x, y, b = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("b", 2, Domain.J)
X, Y = variable("X", 40, Domain.I), variable("Y", 40, Domain.J)
ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)", "p = Pm(1)"]
SCHEDULES = {
    "direct": Schedule(lanes=8, rows=2, cols=4, tile=16),
    "narrow": Schedule(lanes=1, rows=1, cols=2, tile=0),
    "split": Schedule(lanes=16, cols=2, tile=4, split=3),
    "local": Schedule(lanes=1, rows=2, cols=2, group=4, tile=8, shape=LOCAL),
    "local split": Schedule(lanes=2, rows=1, cols=4, group=8, tile=4, shape=LOCAL, split=4),
}
COUNT = reduction_named("Count")
KINDS = [*((name, None) for name in REDUCTIONS), *((name, 3) for name in FAMILIES)]


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


# ------------------------------------------------------------------------------------------- ranges, and what they mean


def intervals(random: np.random.Generator, size: int, count: int) -> Array:
    """Disjoint intervals in any order, with gaps between them; some are empty."""
    ends = np.sort(random.integers(0, size + 1, 2 * count)).reshape(count, 2)
    return random.permutation(ends)


def half(blocks: Array, others: Array, times: Array) -> Six:
    """One triple: block k visits ``others[l]`` as many times as ``times[k, l]`` says."""
    listed = [np.repeat(np.arange(len(others)), row) for row in times]
    slices = np.cumsum([len(one) for one in listed], dtype=np.int64).reshape(len(blocks))
    return blocks, slices, others[np.concatenate([np.zeros(0, np.int64), *listed]).astype(int)].reshape(-1, 2)


def six(rows: Array, columns: Array, times: Array) -> Six:
    return (*half(rows, columns, times), *half(columns, rows, times.T))


def random_six(seed: int, m: int = M, n: int = N, most: int = 1) -> Six:
    random = np.random.default_rng(seed)
    rows, columns = intervals(random, m, 5), intervals(random, n, 6)
    return six(rows, columns, random.integers(0, most + 1, (5, 6)))


def visited(triple: Sequence[Array], rows: int) -> list[Array]:
    """The columns that each row visits, ascending, those visited twice twice."""
    blocks, slices, others = triple
    found = [np.zeros(0, np.int64)] * rows
    for k, (start, end) in enumerate(blocks):
        listed = others[(slices[k - 1] if k else 0) : slices[k]]
        for i in range(start, end):
            found[i] = np.sort(np.concatenate([np.zeros(0, np.int64), *(np.arange(*one) for one in listed)]))
    return found


def reference(program: MapReduce, arrays: Sequence[Array], rows: int, columns: int, triple: Sequence[Array]) -> Any:
    """The results by NumPy, in float64, row by row."""
    values = dense(program, arrays, rows, columns)
    parts = []
    for i, listed in enumerate(visited(triple, rows)):
        row = list(program.reduction.numpy(*(value[i : i + 1, listed] for value in values)))
        for n, output in enumerate(program.outputs):
            if output.kind == INDEX and len(listed) and program.reduction is not COUNT:
                row[n] = np.where(row[n] < 0, -1, listed[np.maximum(row[n], 0)])
        parts.append(row)
    return [np.concatenate([row[n] for row in parts]) for n in range(len(program.outputs))]


def assert_masked(
    found: Sequence[Array],
    program: MapReduce,
    arrays: Sequence[Array],
    sizes: tuple[int, int],
    triple: Sequence[Array],
    dtype: str,
) -> None:
    tables = dense(program, arrays, *sizes)
    expected = reference(program, arrays, *sizes, triple)
    for result, exact, output in zip(found, expected, program.outputs, strict=True):
        assert result.shape == (sizes[0], output.dim)
        if program.reduction is COUNT:
            np.testing.assert_array_equal(result, exact)
        elif output.kind == INDEX:
            assert result.dtype == np.int64
            assert_best(result, exact, tables[0], dtype, 2)
        else:
            assert result.dtype == np.dtype(dtype)
            scale = scale_of(program, tables)
            if program.reduction.name == "Prod":  # of the factors that are visited, which may be far larger than of all
                scale = (1.0 + np.abs(exact)) * sizes[1] / 16
            assert_close(result, exact, scale, dtype, 4)


def made(triple: Sequence[Array]) -> Ranges:
    blocks, slices, others = (np.asarray(array, np.int64) for array in triple)
    return Ranges.of(blocks, slices, others)


def check(program: MapReduce, device: Device, schedule: Schedule | None, triple: Sequence[Array], dtype: str) -> None:
    ranges = made(triple)
    plan = Plan(program, signature_of(dtype, ranges=ranges), device, schedule)
    arrays = random_arrays(program, M, N, dtype)
    assert_masked(plan(arrays, M, N, ranges=ranges), program, arrays, (M, N), triple, dtype)


# --------------------------------------------------------------------------------------------------- every reduction


@pytest.mark.parametrize("schedule", ["direct", "split", "local split"])
@pytest.mark.parametrize(("name", "count"), KINDS)
def test_every_reduction(name: str, count: int | None, schedule: str, device: Device) -> None:
    """Under both loop shapes, with and without parts of j, with rows that visit nothing."""
    if schedule != "direct" and name not in ("Sum", "LogSumExpWeight", "Var", "Max_ArgMax", "KMin_ArgKMin"):
        return  # one of each kind shows how loops and parts go together with tables
    values = [squared_distance(x, y), b][: reduction_named(name, count).formulas]
    program, _ = map_reduce(values, name, count)
    check(program, device, SCHEDULES[schedule], random_six(len(name))[:3], "float32")


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_long_vectors(schedule: str, device: Device) -> None:
    """Panels of i hold the rows task by task, for blocks begin anywhere."""
    program, _ = map_reduce([exp(-squared_distance(exp(X * 0.1), Y)) * b], "Sum")
    dtype = "float64" if device.facts.has_double else "float32"
    check(program, device, SCHEDULES[schedule], random_six(3)[:3], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_default_schedules(dtype: str, device: Device) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    program, _ = map_reduce([exp(-squared_distance(x, y)) * b], "Sum")
    for facts in (device.facts, replace(device.facts, kind="gpu")):
        default = choose_schedule(program, {"float32": "float", "float64": "double"}[dtype], facts)
        check(program, device, narrowed(default, 16), random_six(1)[:3], dtype)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), schedule=st.sampled_from(list(SCHEDULES)), most=st.integers(1, 3))
def test_random_ranges(seed: int, schedule: str, most: int, device: Device) -> None:
    program, _ = map_reduce([exp(-squared_distance(x, y)) * b], "Sum")
    ranges = random_six(seed, most=most)
    check(program, device, SCHEDULES[schedule], ranges[:3], "float32")


@pytest.mark.parametrize("schedule", ["direct", "local split"])
def test_intervals_in_any_order(schedule: str, device: Device) -> None:
    """Unsorted, overlapping, empty, listed twice: each counts; of equals the lowest index wins all the same."""
    blocks = np.array([[40, 83], [7, 7], [0, 30]])
    others = np.array([[50, 71], [3, 9], [5, 20], [60, 60], [0, 5], [30, 31], [10, 40], [5, 10], [5, 10]])
    triple = (blocks, np.array([4, 6, 9]), others)
    for value, name in ((squared_distance(x, y), "Sum"), (squared_distance(x, y) * 0, "ArgMin")):
        program, _ = map_reduce([value], name)
        check(program, device, SCHEDULES[schedule], triple, "float32")
    ranges, one = made(triple), np.zeros((M, 3), "float32")
    program, _ = map_reduce([squared_distance(x, y)], "ArgMin")
    plan = Plan(program, Signature("float32", blocks=8), device, SCHEDULES[schedule])
    (found,) = plan([one, np.zeros((N, 3), "float32")], M, N, ranges=ranges)
    np.testing.assert_array_equal(np.unique(found[:30]), [5])
    np.testing.assert_array_equal(np.unique(found[30:40]), [-1])
    np.testing.assert_array_equal(np.unique(found[40:]), [3])


@pytest.mark.parametrize("schedule", ["direct", "split"])
def test_nothing_but_nan(schedule: str, device: Device) -> None:
    """The first term that a row visits stands for all of them."""
    program, _ = map_reduce([x * variable("n", 3, Domain.J)], "ArgMax")
    triple = np.array([[2, 20], [30, 83]]), np.array([1, 2]), np.array([[9, 44], [20, 71]])
    plan = Plan(program, Signature("float32", blocks=8), device, SCHEDULES[schedule])
    arrays = [np.ones((M, 3), "float32"), np.full((N, 3), np.nan, "float32")]
    (found,) = plan(arrays, M, N, ranges=made(triple))
    expected = np.full((M, 3), -1)
    expected[2:20], expected[30:] = 9, 20
    np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------------------------------------------- as users call


def data(seed: int = 0, batch: tuple[int, ...] = (), sizes: tuple[int, int] = (M, N)) -> list[Array]:
    random = np.random.default_rng(seed)
    shapes = ((*batch, sizes[0], 3), (*batch, sizes[1], 3), (*batch, sizes[1], 1), (1,))
    return [random.uniform(-1, 1, shape) for shape in shapes]


def oriented(ranges: Six, axis: int) -> Six:
    return ranges[:3] if axis == 1 else ranges[3:]


def exactly(routine: Genred, arrays: Sequence[Array], ranges: Six) -> Array:
    """The values that a routine gives, by NumPy."""
    rows, columns = (M, N) if routine.axis == 1 else (N, M)
    found = reference(routine.program, routine._in_slots(arrays), rows, columns, oriented(ranges, routine.axis))[0]
    count = routine.program.reduction.count
    return found.reshape(rows, count) if count else found


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("axis", [0, 1])
def test_both_axes(axis: int, index: type, device: Device) -> None:
    ranges = tuple(array.astype(index) for array in random_six(7, most=2))
    for name in ("Sum", "LogSumExp", "Max"):
        routine = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, name, axis=axis)
        found = routine(*data(), ranges=ranges)
        expected = exactly(routine, data(), ranges)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        assert not np.isfinite(expected).all() or name == "Sum"  # some rows visit nothing
        out = np.full_like(found, 7)
        assert routine(*data(), ranges=list(ranges), out=out) is out
        np.testing.assert_array_equal(out, found)


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize(("name", "count"), [("Sum", None), ("LogSumExp", None), ("Min", None), ("KMin", 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_gradients(axis: int, name: str, count: int | None, device: Device) -> None:
    """In every argument, by central differences of NumPy's results; intervals listed twice count twice."""
    ranges = six(
        np.array([[50, 70], [3, 44], [72, 83]]), np.array([[30, 31], [33, 70], [0, 28]]),
        np.array([[0, 1, 2], [2, 0, 1], [0, 0, 0]]),
    )  # fmt: skip
    routine = Genred("Exp(-SqDist(x, y) * p) * (2 + b)", ALIASES, name, axis=axis, opt_arg=count)
    arrays, random = data(), np.random.default_rng(1)
    shape = routine(*arrays, ranges=ranges).shape
    e = random.uniform(-1, 1, shape)
    visits = np.array([len(one) > 2 for one in visited(oriented(ranges, axis), shape[0])])
    e[~visits] = 0 if name != "Sum" else e[~visits]  # infinite values have no slope
    gradients = routine.vjp(*arrays, cotangent=e, ranges=ranges)
    moves, total = [random.uniform(-1, 1, array.shape) for array in arrays], np.zeros(shape)
    for n, (gradient, move) in enumerate(zip(gradients, moves, strict=True)):
        near = [
            exactly(routine, [*arrays[:n], arrays[n] + step * move, *arrays[n + 1 :]], ranges) for step in (1e-6, -1e-6)
        ]
        with np.errstate(invalid="ignore"):
            slope = np.where(np.isfinite(near[0]), (near[0] - near[1]) / 2e-6, 0)
        np.testing.assert_allclose(np.sum(gradient * move), np.sum(slope * e), rtol=1e-6, atol=1e-7)
        total += slope
    tangent = routine.jvp(*arrays, tangents=dict(enumerate(moves)), ranges=ranges)
    np.testing.assert_allclose(tangent[visits], total[visits], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(routine.grad("b")(*arrays, e, ranges=ranges), gradients[2], rtol=1e-11, atol=1e-12)
    if name == "LogSumExp":
        known = routine.vjp(*arrays, cotangent=e, ranges=ranges, output=routine(*arrays, ranges=ranges))
        np.testing.assert_allclose(known[0], gradients[0])


def test_what_is_not_visited_has_no_gradient(device: Device) -> None:
    ranges = from_matrix(np.array([[0, 20]]), np.array([[10, 30]]), np.array([[True]]))
    routine = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, "LogSumExp", axis=1)
    dx, dy, db, _ = routine.vjp(*data(), cotangent=np.ones((M, 1)), ranges=ranges)
    assert not dx[20:].any()
    assert not dy[:10].any()
    assert not db[30:].any()
    assert dx[:20].all()
    assert db[10:30].all()


@pytest.mark.parametrize("axis", [0, 1])
def test_batches_share_the_ranges(axis: int, device: Device) -> None:
    batch = (2, 3)
    arrays, ranges = data(0, batch), random_six(11)
    arrays[1] = arrays[1][:, :1]  # broadcast along the second dimension
    for name in ("Sum", "ArgMin"):
        routine = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, name, axis=axis)
        found = routine(*arrays, ranges=ranges)
        for at in np.ndindex(batch):
            one = [arrays[0][at], arrays[1][at[0], 0], arrays[2][at], arrays[3]]
            np.testing.assert_allclose(found[at], routine(*one, ranges=ranges), rtol=1e-13)
    routine = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, "Sum", axis=axis)
    e = np.random.default_rng(2).uniform(-1, 1, (*batch, M if axis == 1 else N, 1))
    gradients = routine.vjp(*arrays, cotangent=e, ranges=ranges)
    sums = [np.zeros_like(array) for array in arrays]
    for at in np.ndindex(batch):
        one = [arrays[0][at], arrays[1][at[0], 0], arrays[2][at], arrays[3]]
        for total, part, place in zip(
            sums, routine.vjp(*one, cotangent=e[at], ranges=ranges), (at, (at[0], 0), at, ()), strict=True
        ):
            total[place] += part
    for gradient, total in zip(gradients, sums, strict=True):
        np.testing.assert_allclose(gradient, total, rtol=1e-11, atol=1e-12)


def test_long_vectors_in_a_batch(device: Device) -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(3, M, 40)) / 9, random.normal(size=(N, 40)) / 9
    routine = Genred("Exp(-SqDist(x, y))", ["x = Vi(40)", "y = Vj(40)"], axis=1)
    ranges = random_six(5)
    found = routine(left, right, ranges=ranges)
    for at in range(3):
        np.testing.assert_allclose(found[at], exactly(routine, [left[at], right], ranges), rtol=1e-12)


def test_the_documented_example(device: Device) -> None:
    rows, columns = np.array([[0, 2], [3, 5]]), np.array([[0, 2], [2, 3], [3, 6]])
    ranges = from_matrix(rows, columns, np.array([[True, False, True], [False, False, False]]))
    left, right = np.arange(5.0)[:, None], np.arange(10.0, 61, 10)[:, None]
    aliases = ["x = Vi(1)", "y = Vj(1)"]
    over_j, over_i = (Genred("x + y", aliases, axis=axis)(left, right, ranges=ranges) for axis in (1, 0))
    np.testing.assert_array_equal(over_j.ravel(), [180, 185, 0, 0, 0])
    np.testing.assert_array_equal(over_i.ravel(), [21, 41, 0, 81, 101, 121])
    nearest = Genred("SqDist(x, y)", aliases, "ArgMin", axis=1)(left, right, ranges=ranges)
    np.testing.assert_array_equal(nearest.ravel(), [0, 0, -1, -1, -1])


def test_no_rows_no_columns(device: Device) -> None:
    empty = np.zeros((0, 2), int), np.zeros(0, int), np.zeros((0, 2), int)
    for m, n in ((0, 5), (5, 0), (0, 0), (5, 4)):
        arrays = data(0, (), (m, n))
        found = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, "Min", axis=1)(*arrays, ranges=(*empty, *empty))
        np.testing.assert_array_equal(found, np.full((m, 1), np.inf))
    whole = from_matrix(np.array([[0, 0], [0, 5]]), np.array([[0, 0], [0, 4]]), np.ones((2, 2), bool))
    routine = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, axis=1)
    np.testing.assert_allclose(routine(*arrays, ranges=whole), routine(*arrays), rtol=1e-13)


def test_few_rows(device: Device) -> None:
    """One long block of columns: j is cut, on every device, and the parts are merged."""
    random = np.random.default_rng(0)
    left, right = random.normal(size=(3, 3)), random.normal(size=(50_000, 3))
    ranges = from_matrix(np.array([[1, 3]]), np.array([[5, 20_000], [20_001, 49_000]]), np.ones((1, 2), bool))
    for name in ("Sum", "ArgMin"):
        routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], name, axis=1)
        table = ((left[:, None] - right[None]) ** 2).sum(2)
        kept = np.r_[5:20_000, 20_001:49_000]
        found = routine(left, right, ranges=ranges).ravel()
        if name == "Sum":
            np.testing.assert_allclose(found, [0, *table[1:, kept].sum(1)], rtol=1e-12)
        else:
            np.testing.assert_array_equal(found, [-1, *kept[table[1:, kept].argmin(1)]])
    parts = made(ranges[:3]).cut(3, Schedule(), DeviceFacts(), 1, Footprint()).parts
    assert parts.count > 1


# ------------------------------------------------------------------------------------------------------------ refusals

GOOD = from_matrix(np.array([[0, 2], [3, 5]]), np.array([[0, 2], [2, 3], [3, 6]]), np.ones((2, 3), bool))


def changed(n: int, change: Callable[[Array], Any]) -> tuple[Any, ...]:
    return (*GOOD[:n], change(GOOD[n].copy()), *GOOD[n + 1 :])


def entry(at: Any, value: Any) -> Callable[[Array], Array]:
    def change(array: Array) -> Array:
        array[at] = value
        return array

    return change


WRONG: Mapping[str, tuple[Any, type[Exception], str]] = {
    "not a tuple": (GOOD[0], DtypeError, r"ranges must be a tuple of six arrays \(ranges_i, .*\); got ndarray"),
    "three": (GOOD[:3], ShapeError, "six arrays .* got 3"),
    "none": ((), ShapeError, "six arrays .* got 0"),
    "a list": (changed(1, list), DtypeError, r"ranges\[1\] \(slices_i\) must be a numpy array; got list"),
    "floats": (changed(2, lambda a: a.astype(float)), DtypeError, r"redranges_j\) must be int32 or int64; got float64"),
    "small": (changed(4, lambda a: a.astype(np.int16)), DtypeError, r"\[4\] \(slices_j\) must be .* got int16"),
    "three columns": (
        changed(3, lambda a: np.repeat(a, 2, 1)[:, :3]),
        ShapeError,
        r"ranges_j\) .*\(intervals, 2\); got",
    ),
    "flat": (changed(0, np.ravel), ShapeError, r"\(intervals, 2\); got \(4,\)"),
    "deep slices": (changed(1, lambda a: a[:, None]), ShapeError, r"\(blocks,\); got \(2, 1\)"),
    "slices": (changed(1, lambda a: a[:1]), ShapeError, r"slices_i\) needs one entry for each of the 2 blocks; got 1"),
    "falling": (
        changed(1, lambda a: a[::-1]),
        ShapeError,
        r"slices_i\) must hold numbers from 0 that do not decrease.* entry 1 is 3, after 6",
    ),
    "negative": (changed(4, entry(0, -1)), ShapeError, r"slices_j\) .* entry 0 is -1, after 0"),
    "last": (changed(4, entry(2, 7)), ShapeError, r"must end with 6, the length of ranges\[5\] .*; got 7"),
    "overlap": (changed(0, entry((1, 0), 1)), ShapeError, r"not overlap; entry 0 is \[0, 2\) and entry 1 is \[1, 5\)"),
    "same": (
        changed(3, entry(2, (0, 1))),
        ShapeError,
        r"ranges\[3\] \(ranges_j\) must hold blocks that do not overlap",
    ),
    "past M": (changed(0, entry((1, 1), 6)), ShapeError, r"ranges_i\) .* <= M = 5; entry 1 is \[3, 6\)"),
    "past N": (changed(2, entry((0, 1), 7)), ShapeError, r"redranges_j\) .* <= N = 6; entry 0 is \[0, 7\)"),
    "before 0": (changed(5, entry((4, 0), -1)), ShapeError, r"redranges_i\) .* <= M = 5; entry 4 is \[-1, 2\)"),
    "backwards": (changed(2, entry(1, (3, 2))), ShapeError, r"start <= end .* entry 1 is \[3, 2\)"),
}


@pytest.mark.parametrize("what", list(WRONG))
@pytest.mark.parametrize("axis", [0, 1])
def test_wrong_ranges_are_refused(what: str, axis: int, device: Device) -> None:
    """Before any kernel is built, in each half, whichever the reduction reads."""
    ranges, kind, message = WRONG[what]
    left, right = np.zeros((5, 1)), np.zeros((6, 1))
    routine = Genred("x + y", ["x = Vi(1)", "y = Vj(1)"], axis=axis)
    builds, e = PROGRAMS.builds, np.zeros((5 if axis else 6, 1))
    for call in (
        lambda: routine(left, right, ranges=ranges),
        lambda: routine.vjp(left, right, cotangent=e, ranges=ranges),
        lambda: routine.jvp(left, right, tangents={"x": left}, ranges=ranges),
    ):
        with pytest.raises(kind, match=message):
            call()
    assert PROGRAMS.builds == builds


# ------------------------------------------------------------------------------------------------- tables and schedules


def test_each_pair_of_once() -> None:
    others = np.array([[5, 9], [0, 3], [7, 12], [7, 8], [12, 14], [1, 2], [1, 2]])
    ranges = Ranges.of(np.array([[0, 4], [9, 10]]), np.array([5, 7]), others)
    np.testing.assert_array_equal(ranges.once().pieces, [[0, 3], [5, 14], [1, 2]])
    np.testing.assert_array_equal(ranges.once().owners, [0, 0, 1])
    nothing = Ranges.of(np.zeros((0, 2), int), np.zeros(0, int), np.zeros((0, 2), int))
    assert nothing.once().pieces.shape == (0, 2)
    assert nothing.typical == 1


def test_tables() -> None:
    """Tasks cover each row once, those with most columns first; parts hold each column once."""
    ranges = Ranges.of(np.array([[40, 75], [3, 20]]), np.array([1, 3]), np.array([[0, 10], [5, 6], [8, 300]]))
    for split in (0, 1, 3):
        schedule = Schedule(lanes=16, tile=8, split=split)
        tables = ranges.cut(100, schedule, DeviceFacts(), 1, Footprint())
        tasks = tables.tasks.reshape(-1, tables.count, 4)
        assert len(tasks) == tables.parts.count == max(1, split)
        rows = np.concatenate([np.arange(*task[:2]) for task in tasks[0]])
        np.testing.assert_array_equal(np.sort(rows), np.arange(100))
        assert (tasks[0, :, 1] - tasks[0, :, 0] <= 16).all()
        found: dict[int, list[int]] = {}
        for part in tasks:
            for start, _, first, last in part:
                found.setdefault(int(start), []).extend(j for piece in tables.pieces[first:last] for j in range(*piece))
        assert list(found)[:2] == [3, 19]
        for start, listed in found.items():
            expected = [5, *range(8, 300)] if 3 <= start < 20 else range(10) if 40 <= start < 75 else ()
            assert listed == list(expected)
        if split > 1:
            assert tables.firsts is not None
            np.testing.assert_array_equal(tables.firsts, np.repeat([-1, 5, -1, 0, -1], [3, 17, 20, 35, 25]))


def test_states_are_worth_their_memory() -> None:
    """A single long block among many rows does not make all rows keep a state per part of j."""
    long = Ranges.of(np.array([[0, 16]]), np.array([1]), np.array([[0, 10**6]]))
    facts, schedule = DeviceFacts(compute_units=64), Schedule()
    assert long.cut(16, schedule, facts, 1, Footprint()).parts.count > 200
    assert long.cut(10**5, schedule, facts, 1, Footprint()).parts.count <= 10
    assert long.cut(10**7, schedule, facts, 1, Footprint()).parts.count == 1


def test_small_blocks_get_small_groups() -> None:
    gpu = Schedule(lanes=1, rows=2, group=128, tile=128, shape=LOCAL)
    assert narrowed(gpu, 0) == narrowed(gpu, 512) == narrowed(gpu, 256) == gpu
    assert narrowed(gpu, 32) == narrowed(gpu, 1) == replace(gpu, rows=1, group=32)
    assert narrowed(gpu, 128) == replace(gpu, rows=1)
    assert narrowed(Schedule(), 1) == Schedule()
    for size, expected in ((1, 1), (33, 64), (64, 64), (10**6, 512)):
        assert Ranges.of(np.array([[7, 7 + size]]), np.array([0]), np.zeros((0, 2), int)).typical == expected


def test_chosen_schedules_apply(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    routine = Genred("Exp(-SqDist(x, y)) * b + 3", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], axis=1)
    chosen = Schedule(lanes=4, rows=3, cols=1)
    monkeypatch.setitem(CHOICES._chosen, Case(routine.program, "float", device), chosen)
    ranges = made(random_six(0)[:3])
    plan = Plan(routine.program, signature_of("float32", ranges=ranges), device)
    assert plan.tuned
    assert plan.schedule == chosen
