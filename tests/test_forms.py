"""Functions by device: what kernels call in place of clreduce's own, that it computes right, and when it is not done.

CPUs pose as GPUs here: programs run with the schedules of GPUs and with those native functions of the driver that a
trial has measured to be within their bounds.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle import random_arrays

from clreduce import FormulaError, trials
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.forms import Forms
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import LOCAL, Schedule, choose_schedule, staged_bytes
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import OPS, variable
from clreduce.numpy import Genred
from clreduce.ops.arithmetic import inv, raised
from clreduce.ops.derived import norm, squared_distance
from clreduce.ops.functions import absolute, exp, log, rsqrt, sigmoid
from clreduce.ops.hardware import NATIVE
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature
from clreduce.runtime.ranges import Ranges

ALL = tuple(NATIVE)
GPU = DeviceFacts(kind="gpu", driver="nvidia", max_group=1024, shares_host_memory=False, native_functions=ALL)
X, Y, B = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("b", 1, Domain.J)
D2 = squared_distance(X, Y)
P = variable("p", 1, Domain.P)


def pair(dim: int) -> tuple[Expr, Expr]:
    return variable("x", dim, Domain.I), variable("y", dim, Domain.J)


def programs() -> dict[str, MapReduce]:
    terms: dict[str, tuple[list[Expr], str, int | None]] = {
        "gaussian": ([exp(-D2) * B], "Sum", None),
        "with a parameter": ([exp(-(P * D2)) * B], "Sum", None),
        "divided by a parameter": ([exp(-D2 / P) * B], "Sum", None),
        "laplacian": ([exp(-norm(X - Y)) * B], "Sum", None),
        "cauchy": ([inv(1 + D2) * B], "Sum", None),
        "quotient": ([B / (1 + D2)], "Sum", None),
        "directions": ([(X - Y) * rsqrt(D2)], "Sum", None),
        "sigmoid": ([sigmoid(D2 - 1) * B], "Sum", None),
        "long vectors": ([exp(-squared_distance(*pair(20)) / 20)], "Sum", None),
        "long vectors, not of fours": ([exp(-squared_distance(*pair(22)) / 20)], "Sum", None),
        "LogSumExp": ([-D2], "LogSumExp", None),
        "softmax": ([-D2, B], "SumSoftMaxWeight", None),
        "Min": ([D2], "Min", None),
        "Max_ArgMax": ([D2], "Max_ArgMax", None),
        "ArgMin": ([D2], "ArgMin", None),
        "K nearest": ([D2], "KMin_ArgKMin", 5),
        "long lists": ([D2], "KMin_ArgKMin", 30),
    }
    made = {name: map_reduce(values, reduction, count)[0] for name, (values, reduction, count) in terms.items()}
    made |= {f"gradient of {name}": made[name].vjp([0])[0].program for name in ("gaussian", "laplacian", "LogSumExp")}
    return made


PROGRAMS = programs()


@cache
def measured(device: Device) -> dict[str, float]:
    """By native function, its largest error in units of its bound."""
    return {name: trials.excess(function, device) for name, function in NATIVE.items()}


@pytest.fixture
def posing(device: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    """The device, said to be a GPU, with the native functions that it has within their bounds."""
    gpu = replace(device.facts, kind="gpu", native_float_lanes=1, native_double_lanes=1)
    monkeypatch.setattr(device, "facts", gpu)
    names = tuple(name for name, excess in measured(device).items() if excess <= 1)
    monkeypatch.setattr(device, "facts", replace(gpu, native_functions=names))
    return device


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_programs_with_functions_of_the_hardware_equal_numpy(posing: Device, name: str) -> None:
    """With the tiled schedules of GPUs, whose work-groups are and are not a multiple of what runs in step."""
    if not posing.facts.local_tiles:
        pytest.skip("this driver has no local memory that works")
    program, (rows, columns) = PROGRAMS[name], (53, 301)
    group = (32, 20)[list(PROGRAMS).index(name) % 2]
    schedule = replace(choose_schedule(program, "float", posing.facts), group=min(group, posing.facts.max_group))
    assert schedule.shape == LOCAL
    arrays = random_arrays(program, rows, columns, "float32", 0)
    arrays = [np.abs(a) + np.float32(0.5) if a.ndim == 1 else a for a in arrays]  # parameters are not near 0
    results = Plan(program, Signature("float32"), posing, schedule)(arrays, rows, columns)
    exact = program.reference([a.astype(float) if a.dtype == np.float32 else a for a in arrays], rows, columns)
    for result, right in zip(results, exact, strict=True):
        if result.dtype == np.int64:
            np.testing.assert_array_equal(result, right)
        else:
            assert np.linalg.norm(result - right) <= 2e-6 * np.linalg.norm(right)


@pytest.mark.parametrize(("dim", "dtype"), [(900, "float32"), (700, "float32"), (400, "float64")])
def test_vectors_of_hundreds_of_components_are_staged_block_by_block(
    posing: Device, monkeypatch: pytest.MonkeyPatch, dim: int, dtype: str
) -> None:
    """Within 48 KiB of local memory; whole blocks of columns and the rest of them equal NumPy."""
    if dtype == "float64":
        needs_tiles_of_doubles(posing)
    monkeypatch.setattr(posing, "facts", replace(posing.facts, local_memory=49152, driver="nvidia"))
    program = map_reduce([exp(-squared_distance(*pair(dim)) / dim) * B], "Sum")[0]
    plan = Plan(program, Signature(dtype), posing)
    assert plan.schedule.tile == plan.schedule.cols > 1
    assert all(column.staged for column in plan.lowered.pair.column_inputs)
    arrays = random_arrays(program, 9, 45, dtype, 0)
    (result,), (right,) = plan(arrays, 9, 45), program.reference([a.astype(float) for a in arrays], 9, 45)
    assert np.linalg.norm(result - right) <= (2e-6 if dtype == "float32" else 4e-15) * np.linalg.norm(right)


@pytest.mark.parametrize("name", ["gaussian", "LogSumExp", "ArgMin", "K nearest"])
def test_a_gpu_with_few_rows_cuts_short_columns_into_parts(
    posing: Device, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred compute units would wait for one work-group; lists of K terms are worth parts K times as long."""
    monkeypatch.setattr(posing, "facts", replace(posing.facts, compute_units=100))
    program, (rows, columns) = PROGRAMS[name], (100, 1500)
    arrays = random_arrays(program, rows, columns, "float32", 0)
    plan = Plan(program, Signature("float32"), posing)
    parts = plan.cut(rows, columns, 1)[1]
    assert parts.count == (1 if name == "K nearest" else 4)
    exact = program.reference([a.astype(float) for a in arrays], rows, columns)
    for result, right in zip(plan(arrays, rows, columns), exact, strict=True):
        np.testing.assert_allclose(result, right, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("group", [32, 20])
@pytest.mark.parametrize("name", ["gaussian", "with a parameter", "long vectors", "LogSumExp", "gradient of gaussian"])
def test_programs_with_roots_of_two_in_local_memory_equal_numpy(posing: Device, name: str, group: int) -> None:
    """In double precision; the table is filled by groups that are and are not a multiple of its copies."""
    needs_tiles_of_doubles(posing)
    program, (rows, columns) = PROGRAMS[name], (53, 301)
    schedule = replace(choose_schedule(program, "double", posing.facts), group=min(group, posing.facts.max_group))
    arrays = random_arrays(program, rows, columns, "float64", 0)
    arrays = [np.abs(a) + 0.5 if a.ndim == 1 else a for a in arrays]  # parameters are not near 0
    plan = Plan(program, Signature("float64"), posing, schedule)
    assert "exp_by_roots" in plan.source
    for result, right in zip(plan(arrays, rows, columns), program.reference(arrays, rows, columns), strict=True):
        assert np.linalg.norm(result - right) <= 4e-15 * np.linalg.norm(right)


@pytest.mark.parametrize("never_positive", [False, True])
def test_exponentials_from_roots_of_two_are_within_their_bound(posing: Device, never_positive: bool) -> None:
    """1.1 ulp and |x| 1.5e-17; nan, infinities and what under- and overflows come out as of any exponential."""
    needs_tiles_of_doubles(posing)
    rng = np.random.default_rng(0)
    ends = [-1022 * np.log(2), -1023 * np.log(2), 1024 * np.log(2)]
    around = [end + step for end in ends for step in np.linspace(-3, 3, 41)]
    special = [0.0, -0.0, -np.inf, np.inf, np.nan, -np.nan, -1e-300, -1e5, -1e300, 1e5, 1e300, 5e-324]
    x = np.concatenate([rng.uniform(-740, 710, 20000), rng.normal(size=20000), around, special])
    if never_positive:
        x = -np.abs(x)
    u, v = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    value = exp(-absolute(u + v)) if never_positive else exp(u + v)
    program = map_reduce([value], "Sum")[0]
    plan = Plan(program, Signature("float64"), posing)
    assert ("exp_by_roots_never_above_1_v(" in plan.source) == never_positive
    with np.errstate(over="ignore"):
        right = np.exp(x.astype(np.longdouble))
    (result,) = plan([x.reshape(-1, 1), np.zeros((1, 1))], len(x), 1)
    result, normal = result[:, 0], (right > 2.0**-1020) & (x < 709.78)
    error = np.abs(result[normal] - right[normal]) / right[normal]
    assert float((error - np.abs(x[normal]) * 1.5e-17).max()) <= 1.1 * 2.0**-52
    assert (np.abs(result[x < -707.3]) <= 2.0**-1020).all()
    assert (result[x < -709.1] == 0).all()
    assert np.isnan(result[np.isnan(x)]).all()
    assert (result[x > 710] == np.inf).all()
    assert (result[x == 0] == 1).all()


def test_full_accuracy_reads_no_roots_of_two(posing: Device) -> None:
    needs_tiles_of_doubles(posing)
    aliases = ["x = Vi(3)", "y = Vj(3)"]
    for accuracy in ("auto", "full"):
        routine = Genred("Exp(-SqDist(x, y))", aliases, "Sum", axis=1, accuracy=accuracy)
        assert ("roots" in routine.plan("float64", posing).source) == (accuracy == "auto")


def needs_tiles_of_doubles(device: Device) -> None:
    if not (device.facts.local_tiles and device.facts.has_double):
        pytest.skip("this driver has no double precision, or no local memory that works")


def test_a_trial_names_the_native_functions_within_their_bounds(posing: Device) -> None:
    """Drivers of CPUs differ in what is exact: what is called is what was measured, on this one."""
    assert set(trials.within_bounds(posing)) == {name for name, excess in measured(posing).items() if excess <= 1}


@pytest.mark.parametrize("terms", [
    [0.0, -np.inf, 1.0], [-np.inf, -np.inf], [np.nan, 1.0], [np.inf, 1.0], [np.inf, np.nan], [3e38, 3e38, -3e38],
    [-3e38, -3e38], [1e30, 1e30], [-200.0, -300.0], [],
])  # fmt: skip
@pytest.mark.parametrize("reduction", ["LogSumExp", "Max_ArgMax", "SumSoftMaxWeight"])
def test_special_terms_are_what_numpy_says(posing: Device, reduction: str, terms: list[float]) -> None:
    """Without the bound at 0, and with maxima that take no nan, infinities and nan come out as before."""
    x, y, w = variable("x", 1, Domain.I), variable("y", 1, Domain.J), variable("w", 1, Domain.J)
    values = [x + y, *([w] if reduction == "SumSoftMaxWeight" else [])]
    program = map_reduce(values, reduction)[0]
    column = np.array(terms, np.float32).reshape(-1, 1)
    arrays = [np.zeros((2, 1), np.float32), column, np.ones_like(column)][: len(values) + 1]
    results = Plan(program, Signature("float32"), posing)(arrays, 2, len(column))
    for result, right in zip(results, program.reference(arrays, 2, len(column)), strict=True):
        np.testing.assert_allclose(result, right, rtol=3e-6)


def source(program: MapReduce, dtype: str, facts: DeviceFacts) -> str:
    return render(lower(program, dtype, choose_schedule(program, dtype, facts), facts).pair)


@pytest.mark.parametrize(("dtype", "facts"), [
    ("double", GPU), ("float", replace(GPU, native_functions=())), ("float", replace(GPU, kind="cpu", driver="pocl")),
])  # fmt: skip
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_cpus_float64_and_devices_without_them_call_clreduces_own(name: str, dtype: str, facts: DeviceFacts) -> None:
    text = source(PROGRAMS[name], dtype, facts)
    assert "native_" not in text
    assert facts.kind == "gpu" or ("fmin" not in text and "fmax" not in text)


@pytest.mark.parametrize(("value", "products", "native"), [
    (exp(-D2), 1, "exp2"), (exp(-3 * D2), 1, "exp2"), (exp(-(P * D2)), 1, "exp2"), (exp(-D2 / P), 1, "exp2"),
    (exp(D2 - X), 1, "exp2"), (sigmoid(P * D2), 1, "exp2"), (inv(1 + D2), 0, "recip"), (D2 / P, 1, ""),
    (1 / (1 + D2), 1, "recip"), (norm(X - Y), 0, "sqrt"), (raised(D2, -0.5), 0, "rsqrt"),
])  # fmt: skip
def test_the_factor_of_an_exponent_goes_where_it_costs_least(value: Expr, products: int, native: str) -> None:
    """Into a constant, or into what is the same for all pairs: then an exponential takes no more multiplications."""
    (form,) = Forms("float", GPU)([value])
    operations = [node.op.name for node in topological([form]) if node.domain == Domain.IJ]
    assert not {"exp", "div", "inv", "sqrt", "neg", "sigmoid", "inverse_root"} & set(operations)
    assert operations.count("mul") == products
    assert not native or f"native_{native}" in operations


def test_values_of_i_or_j_alone_keep_clreduces_functions() -> None:
    """They are computed once per row or column: accuracy costs nothing there. So is a logarithm anywhere."""
    values = [exp(-X), exp(B), log(D2)]
    assert Forms("float", GPU)(values) == tuple(values)


def test_forms_leave_the_numbers_of_formulas_as_they_are() -> None:
    """By NumPy, what is written in place of a formula is equal to it up to rounding."""
    rng = np.random.default_rng(0)
    data = {
        X: rng.normal(size=(7, 1, 3)),
        Y: rng.normal(size=(1, 9, 3)),
        B: rng.normal(size=(1, 9, 1)),
        P: rng.uniform(0.5, 2, (1, 1, 1)),
    }
    for value in (
        exp(-D2 / P),
        exp(-(P * D2)) * B,
        B / D2,
        sigmoid(D2 - 2),
        rsqrt(D2),
        exp(X - Y),
        raised(D2, -0.5),
        D2 / P,
    ):
        (form,) = Forms("float", GPU)([value])
        assert form is not value
        (before,), (after,) = evaluate([value], data), evaluate([form], data)
        np.testing.assert_allclose(after, before, rtol=1e-12)


def test_full_accuracy_calls_no_function_of_the_hardware(posing: Device) -> None:
    if "exp2" not in posing.facts.native_functions:
        pytest.skip("this driver's native_exp2 is out of its bound")
    aliases = ["x = Vi(3)", "y = Vj(3)"]
    texts = {}
    for accuracy in ("auto", "full"):
        routine = Genred("Exp(-SqDist(x, y))", aliases, "Sum", axis=1, accuracy=accuracy)
        texts[accuracy] = routine.plan("float32", posing).source
    assert "native_exp2(" in texts["auto"]
    assert "native_" not in texts["full"]
    with pytest.raises(FormulaError, match="accuracy must be one of auto, full; got 'half'"):
        Genred("Exp(-SqDist(x, y))", aliases, "Sum", axis=1, accuracy="half")


def test_explain_says_which_functions_kernels_call(posing: Device, capsys: pytest.CaptureFixture[str]) -> None:
    import clreduce

    routine = Genred("Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
    with clreduce.use_device(posing):
        routine.explain("float32")
    names = ", ".join(posing.facts.native_functions)
    expected = f"functions: {names} of the hardware" if names else "functions: clreduce's own"
    assert expected in capsys.readouterr().out


def test_every_native_function_states_its_bound() -> None:
    for name, function in NATIVE.items():
        assert OPS[f"native_{name}"] is function.op
        assert 0 < function.bound <= 2.0**-21
        assert function.exact


def test_tiles_of_gpus_fit_local_memory_for_vectors_of_any_length() -> None:
    for dim in (1, 3, 10, 100, 1000, 3000):
        x, y = variable("x", dim, Domain.I), variable("y", dim, Domain.J)
        program = map_reduce([squared_distance(x, y)], "Sum")[0]
        schedule = choose_schedule(program, "float", GPU)
        schedule.check(GPU)
        staged = [one for one in lower(program, "float", schedule, GPU).pair.column_inputs if one.staged]
        assert sum(4 * schedule.tile * one.dim for one in staged) <= staged_bytes(GPU) < GPU.local_memory
        assert bool(staged) == (dim <= 1000)


@pytest.mark.parametrize("dim", [20, 22])
def test_rows_of_long_vectors_are_found_in_batches_and_blocks(posing: Device, dim: int) -> None:
    """Panels hold one or four components of a row side by side; each index of a batch and each task has its own."""
    program = map_reduce([squared_distance(*pair(dim))], "Sum")[0]
    schedule = replace(choose_schedule(program, "float", posing.facts), group=16, rows=2, tile=16)
    many = [random_arrays(program, 70, 33, "float32", seed) for seed in range(3)]
    stacked = [np.stack(arrays) for arrays in zip(*many, strict=True)]
    exact = [program.reference(arrays, 70, 33)[0] for arrays in many]
    batched = Plan(program, Signature("float32", batched=True), posing, schedule)
    np.testing.assert_allclose(batched(stacked, 70, 33, batch=(3,))[0], exact, rtol=1e-5)
    visited = Ranges.of(np.array([[0, 50], [50, 70]]), np.array([1, 2]), np.array([[0, 33], [3, 20]]))
    sparse = Plan(program, Signature("float32", blocks=visited.typical), posing, schedule)
    (result,) = sparse(many[0], 70, 33, ranges=visited)
    x, y = (array.astype(float) for array in many[0])
    table = ((x[:, None] - y[None]) ** 2).sum(-1)
    right = np.concatenate([table[:50].sum(1), table[50:, 3:20].sum(1)])
    np.testing.assert_allclose(result[:, 0], right, rtol=1e-5)


def test_few_rows_leave_no_work_items_idle() -> None:
    program = PROGRAMS["gaussian"]
    assert choose_schedule(program, "float", GPU, few=1).group_rows == 32
    assert choose_schedule(program, "float", GPU).group_rows > 128
    assert Schedule(lanes=1, group=32, shape=LOCAL).group_rows == 32
