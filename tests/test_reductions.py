"""The laws of reductions: each is a monoid on its states, by NumPy, and does on devices what `Reduction.numpy` says.

A reduction is cut into blocks, tiles and parts of j in many ways. That all give one result rests on three laws of the
record itself: the neutral element, associativity, and that a block of columns is the merge of its columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracle import DTYPES, Array, assert_close, dense, run, scale_of

from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL, Expr, topological
from clreduce.ir.op import constant, position, variable
from clreduce.ops.compare import less, where
from clreduce.ops.shape import extract, repeated
from clreduce.program import MapReduce, map_reduce
from clreduce.reductions import (
    ALIASES,
    FAMILIES,
    REDUCTIONS,
    RESIDUALS,
    Column,
    Reduction,
    logsumexp,
    reduction_named,
)
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature

inf, nan = float("inf"), float("nan")
LOG_SUM_EXP = logsumexp.LOG_SUM_EXP
State = tuple[Array, ...]
DIM = 2
Kind = tuple[str, int | None]
NAMES = [*REDUCTIONS, *FAMILIES, *RESIDUALS]
COUNTED = {name for name in NAMES if name in FAMILIES or not isinstance(RESIDUALS.get(name, LOG_SUM_EXP), Reduction)}
EVERY: list[Kind] = [kind for name in NAMES for kind in product([name], (1, 3) if name in COUNTED else [None])]
by_reduction = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind[0] + str(kind[1] or ""))


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


# ------------------------------------------------------------------------- the record itself, evaluated by NumPy


def dims_of(reduction: Reduction) -> tuple[int, ...]:
    """Lengths of the formulas."""
    first = 1 if reduction.scalar else DIM
    return (first, DIM) if reduction.formulas == 2 else (first,)


def tables_of(reduction: Reduction, values: Array) -> list[Array]:
    """The values of each formula, where those of all stand side by side: terms, and behind them weights."""
    dims = dims_of(reduction)
    return [values[..., :DIM]] if len(dims) == 1 else [values[..., : dims[0]], values[..., DIM : DIM + dims[1]]]


def neutral(reduction: Reduction) -> State:
    return tuple(
        np.full(slot.dim, slot.neutral, np.int64 if slot.kind == INDEX else np.float64)
        for slot in reduction.slots(dims_of(reduction))
    )


def leaves(reduction: Reduction, stem: str) -> tuple[object, ...]:
    slots = reduction.slots(dims_of(reduction))
    return tuple(variable((stem, n), s.dim, Domain.I, s.kind) for n, s in enumerate(slots))


def block_of(reduction: Reduction, block: Array, first: int = 0) -> tuple[list[Column], dict[Expr, Array]]:
    """Columns for a block of values, and the values of what stands in them."""
    dims = dims_of(reduction)
    known: dict[Expr, Array] = {}
    made = []
    for c, row in enumerate(block):
        values = tuple(variable(("value", n, c), dim, Domain.IJ) for n, dim in enumerate(dims))
        made.append(Column(values, variable(("index", c), 1, Domain.J, INDEX)))
        known |= dict(zip(values, tables_of(reduction, row), strict=True))
        known[made[-1].index] = np.array([first + c])
    return made, known


def update(reduction: Reduction, state: State, block: Array, first: int) -> State:
    """``state`` after the columns ``block``, of shape (C, 2 * D), the first of which has the index ``first``."""
    before = leaves(reduction, "state")
    made, known = block_of(reduction, block, first)
    return tuple(evaluate(reduction.update(before, made), known | dict(zip(before, state, strict=True))))


def merge(reduction: Reduction, a: State, b: State) -> State:
    left, right = leaves(reduction, "a"), leaves(reduction, "b")
    known = dict(zip(left, a, strict=True)) | dict(zip(right, b, strict=True))
    return tuple(evaluate(reduction.merge(left, right), known))


def fold(reduction: Reduction, values: Array, first: int = 0, block: int = 1) -> State:
    """The state after all ``values``, terms and weights of shape (N, 2 * D), taken ``block`` columns at a time."""
    state = neutral(reduction)
    for at in range(0, len(values), block):
        state = update(reduction, state, values[at : at + block], first + at)
    return state


def finish(reduction: Reduction, state: State) -> State:
    slots, first = leaves(reduction, "state"), variable("first", 1, Domain.P, INDEX)
    return tuple(
        evaluate(reduction.finish(slots, first), dict(zip(slots, state, strict=True)) | {first: np.zeros(1, int)})
    )


def assert_same(reduction: Reduction, a: State, b: State) -> None:
    """Equal results. States that say the same may differ: a LogSumExp of +inf has no use for its scaled sum."""
    for one, other in zip(finish(reduction, a), finish(reduction, b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=inexact(reduction))


def inexact(reduction: Reduction) -> float:
    """The rounding error that a result of 0 may have: deviations from a mean are not exact."""
    return 1e-9 if reduction.name.startswith("Var") else 0.0


TERMS = st.sampled_from([-inf, -1000.0, -1.0, 0.0, 1.0, 1000.0, inf, nan])
WEIGHTS = st.sampled_from([0.0, 1.0, 3.0, nan])
columns = st.integers(0, 5).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, (n, DIM), elements=TERMS), arrays(np.float64, (n, DIM), elements=WEIGHTS)
    ).map(lambda parts: np.concatenate(parts, axis=1))
)


few_examples = settings(max_examples=25)  # for each of many reductions


@by_reduction
@few_examples
@given(values=columns)
def test_neutral_element(kind: Kind, values: Array) -> None:
    reduction = reduction_named(*kind)
    state = fold(reduction, values)
    assert_same(reduction, merge(reduction, neutral(reduction), state), state)
    assert_same(reduction, merge(reduction, state, neutral(reduction)), state)


@by_reduction
@few_examples
@given(parts=st.tuples(columns, columns, columns))
def test_merge_is_associative(kind: Kind, parts: tuple[Array, ...]) -> None:
    reduction = reduction_named(*kind)
    starts = np.cumsum([0, *map(len, parts)])
    a, b, c = (fold(reduction, values, start) for values, start in zip(parts, starts, strict=False))
    assert_same(reduction, merge(reduction, merge(reduction, a, b), c), merge(reduction, a, merge(reduction, b, c)))


@by_reduction
@few_examples
@given(before=columns, block=columns.filter(len))
def test_a_block_is_merged(kind: Kind, before: Array, block: Array) -> None:
    """update(a, block) = merge(a, update(neutral, block)) = as many blocks of one column."""
    reduction = reduction_named(*kind)
    state = fold(reduction, before)
    at = len(before)
    whole = update(reduction, state, block, at)
    assert_same(reduction, whole, merge(reduction, state, update(reduction, neutral(reduction), block, at)))
    for c in range(len(block)):
        state = update(reduction, state, block[c : c + 1], at + c)
    assert_same(reduction, whole, state)


@by_reduction
@few_examples
@given(values=columns, block=st.integers(1, 4))
def test_finish_gives_what_numpy_says(kind: Kind, values: Array, block: int) -> None:
    reduction = reduction_named(*kind)
    state, first = leaves(reduction, "state"), variable("first", 1, Domain.I, INDEX)
    known = dict(zip(state, fold(reduction, values, block=block), strict=True))
    known[first] = np.array([0 if len(values) else -1])
    found = evaluate(reduction.finish(state, first), known)
    for result, expected in zip(found, reduction.numpy(*tables_of(reduction, values[None])), strict=True):
        np.testing.assert_allclose(result, expected[0], rtol=1e-12, atol=inexact(reduction))


@given(state=columns, block=columns.filter(len), count=st.integers(1, 3))
def test_a_guard_is_false_only_where_nothing_changes(state: Array, block: Array, count: int) -> None:
    for kind in EVERY:
        reduction = reduction_named(kind[0], count if kind[1] else None)
        if reduction.guard is None:
            continue
        before = leaves(reduction, "state")
        table, known = block_of(reduction, block)
        kept = fold(reduction, state)
        (needed,) = evaluate([reduction.guard(before, table)], known | dict(zip(before, kept, strict=True)))
        if not needed.any():
            for one, other in zip(kept, update(reduction, kept, block, len(state)), strict=True):
                np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------------------------------- on devices

SIZES = (0, 1, 15, 16, 17, 33, 1000)
KINDS: dict[str, Sequence[float]] = {
    "ties": (-1, 0, 1),
    "infinities": (-inf, inf, 0, 1, 2),
    "-inf": (-inf, -inf, -inf, 0),
    "nan": (nan, -inf, 0, 1, 2),
    "all nan": (nan,),
    "all -inf": (-inf,),
    "all inf": (inf,),
    "nan or worst": (nan, -inf, inf),
    "smooth": (),
}
SCHEDULES = {
    "default": None,
    "split": Schedule(lanes=16, rows=1, cols=4, tile=8, split=3),
    "narrow": Schedule(lanes=4, rows=1, cols=2, tile=8, split=3),
    "local": Schedule(lanes=1, rows=2, cols=2, group=4, tile=16, shape=LOCAL, split=2),
}

MOVES_NUMBERS = {"where", "larger", "smaller", "extract", "pad", "concat", "expand", "permute"}
"""Operations whose results are among their arguments, or 0: nothing is rounded."""
LAYOUTS = [("float32", "default"), ("float32", "split"), ("float32", "local"), ("float64", "narrow")]

# Each row i takes the one half of y_j or the other: any table of two different rows, without arithmetic.
_x, _y, _w = variable("x", 1, Domain.I), variable("y", 2 * DIM, Domain.J), variable("w", 2 * DIM, Domain.J)


def is_exact(reduction: Reduction) -> bool:
    """Whether its results are among the terms, or integers: its formulas compute no other real number."""
    dims = dims_of(reduction)
    a, b = leaves(reduction, "a"), leaves(reduction, "b")
    j = position(Domain.J)
    index = repeated(j, dims[0]) if reduction.keeps_terms else j
    column = Column(tuple(variable(f"v{n}", dim, Domain.J) for n, dim in enumerate(dims)), index)
    formulas = [*reduction.update(a, [column]), *reduction.finish(a, j)]
    formulas += [] if reduction.keeps_terms else reduction.merge(a, b)
    computed = [node for node in topological(formulas) if node.args and node.kind == REAL]
    return all(node.op.name in MOVES_NUMBERS for node in computed)


def table_of(y: Expr, dim: int) -> Expr:
    return where(less(_x, constant(0)), extract(y, 0, dim), extract(y, DIM, dim))


def program_of(kind: Kind) -> MapReduce:
    dims = dims_of(reduction_named(*kind))
    program, given_order = map_reduce([table_of(y, dim) for y, dim in zip((_y, _w), dims, strict=False)], *kind)
    assert given_order == (_x, _y, _w)[: 1 + len(dims)]
    return program


def data(kind: str, rows: int, columns: int, dtype: str, program: MapReduce) -> list[Array]:
    rng = np.random.default_rng(rows * 7 + columns)
    x = rng.choice([-1.0, 1.0], (rows, 1))
    shape = (columns, 2 * DIM)
    smooth = rng.uniform(-3, 3, shape)
    if program.reduction.name.startswith("Prod"):  # of a thousand factors
        smooth = rng.choice([-1.0, 1.0], shape) + smooth / 100
    y = rng.choice(KINDS[kind], shape) if KINDS[kind] else smooth
    w = rng.choice([0.0, 0.25, 1.0, 3.0], shape)
    return [array.astype(dtype) for array in (x, y, w)[: len(program.slots)]]


@pytest.mark.parametrize("layout", LAYOUTS, ids="-".join)
@by_reduction
def test_devices_agree_with_numpy(kind: Kind, layout: tuple[str, str], device: Device) -> None:
    """Exactly so for what only compares and counts; what is computed up to rounding."""
    dtype, schedule = layout
    program = program_of(kind)
    exact_results = is_exact(program.reduction)
    plan = Plan(program, Signature(dtype), device, SCHEDULES[schedule])
    kinds = list(KINDS)
    sizes = [size for size in product(SIZES, repeat=2) if size != (1000, 1000)]
    cases = [(kind, 17, 33) for kind in kinds] + [(kinds[n % 9], *size) for n, size in enumerate(sizes)]
    for values_are, rows, columns in cases:
        given_arrays = data(values_are, rows, columns, dtype, program)
        found = plan(given_arrays, rows, columns)
        expected = program.reference(given_arrays, rows, columns)
        scale = scale_of(program, dense(program, given_arrays, rows, columns))
        for result, exact, output in zip(found, expected, program.outputs, strict=True):
            assert result.dtype == (np.dtype(dtype) if output.kind == REAL else np.int64)
            assert result.shape == (rows, output.dim)
            if output.kind == REAL and not exact_results:
                assert_close(result, exact, scale, dtype)
            else:
                np.testing.assert_array_equal(result, exact, f"{values_are}, {rows} x {columns}")


# What each reduction makes of these terms, and of these weights where it has any. The cases of a name share its kernel.
NOTHING: dict[str, Any] = {
    "Sum": 0, "LogSumExp": -inf, "Min": inf, "Max": -inf, "ArgMin": -1, "ArgMax": -1, "Mean": nan,
    "Var": nan, "Prod": 1, "Count": 0, "Any": 0, "All": 1, "LogSumExpWeight": -inf,
    "SumSoftMaxWeight": nan, "Max_SumShiftExp": [-inf, 0], "Max_SumShiftExpWeight": [-inf, 0],
    "Min_ArgMin": (inf, -1), "Max_ArgMax": (-inf, -1), "KMin_ArgKMin": (inf, -1), "KMax_ArgKMax": (-inf, -1),
    "KMin": inf, "KMax": -inf, "ArgKMin": -1, "ArgKMax": -1, "SumKMin": 0, "SumKMax": 0,
}  # fmt: skip
DOCUMENTED: list[tuple[str, list[float], Any]] = [
    ("ArgMin", [3, 1, 2, 1], 1), ("ArgMax", [1, 3, 2, 3], 1), ("ArgMax", [nan, 1, nan, 1], 1),
    ("ArgMin", [nan, nan], 0), ("ArgMax", [-inf, -inf], 0), ("ArgMin", [inf, 5, inf], 1), ("Max", [nan, 1], 1),
    ("Min", [nan, nan], inf), ("LogSumExp", [-inf, -inf, 0], 0), ("LogSumExp", [-inf, -inf], -inf),
    ("LogSumExp", [inf, 0], inf), ("LogSumExp", [nan, 0], nan), ("LogSumExp", [1e30, 1e30], 1e30),
    ("LogSumExp", [-1e30], -1e30), ("Sum", [1, nan], nan), ("Sum", [inf, 1], inf), ("Sum", [inf, -inf], nan),
    ("Mean", [1, 2, 3], 2), ("Mean", [inf, 1], inf), ("Mean", [nan, 1], nan), ("Var", [1, 2, 3, 2], 0.5),
    ("Var", [1e4, 1e4 + 1], 0.25), ("Var", [3], 0), ("Var", [inf, 1], nan), ("Var", [1e25, 1e25], 0),
    ("Prod", [1, -1, -1], 1), ("Prod", [0, nan], nan), ("Prod", [0, inf], nan), ("Prod", [0, 5], 0),
    ("Any", [0, nan], 1), ("Any", [0, 0], 0), ("All", [1, nan, -2], 1), ("All", [1, 0], 0),
    ("Min_ArgMin", [2, 1, 1], (1, 1)), ("Max_ArgMax", [nan, 1, 1], (1, 1)), ("Max_ArgMax", [nan, nan], (-inf, 0)),
    ("Max_SumShiftExp", [-inf, -inf], [-inf, 0]), ("Max_SumShiftExp", [inf, 0], [inf, nan]),
]  # fmt: skip
WITH_WEIGHTS: list[tuple[str, list[float], list[float], Any]] = [
    ("LogSumExpWeight", [0, 0], [3, -1], np.log(2)), ("LogSumExpWeight", [0, 1], [1, -1], nan),
    ("LogSumExpWeight", [0, 0], [1, -1], -inf), ("LogSumExpWeight", [0, 5], [0, 0], -inf),
    ("LogSumExpWeight", [1000, 0], [0, 1], 0), ("LogSumExpWeight", [nan, inf, 2], [0, 0, 1], 2),
    ("LogSumExpWeight", [-inf, 0], [5, 1], 0), ("LogSumExpWeight", [inf, 0], [1, 1], inf),
    ("LogSumExpWeight", [nan, 0], [1, 1], nan), ("LogSumExpWeight", [0, 0], [nan, 1], nan),
    ("SumSoftMaxWeight", [0, 0], [3, -1], 1), ("SumSoftMaxWeight", [-inf, 7], [3, -1], -1),
    ("SumSoftMaxWeight", [-inf, -inf], [3, -1], nan), ("SumSoftMaxWeight", [inf, 0], [3, -1], nan),
    ("SumSoftMaxWeight", [1e30, 0], [3, -1], 3), ("SumSoftMaxWeight", [nan, 0], [3, -1], nan),
    ("Max_SumShiftExpWeight", [2, 2], [3, -1], [2, 2]), ("SumKMin", [2, nan, 1, 1], [1, 2, 4, 8], 12),
    ("SumKMin", [2, nan, inf], [1, 2, 4], 1), ("SumKMax", [2, nan, inf], [1, 2, 4], 5),
    ("SumKMax", [2, 2, 2], [1, 2, nan], 3),
]  # fmt: skip


def test_documented_values_are_of_reductions() -> None:
    assert {*NOTHING} <= {*REDUCTIONS, *FAMILIES}
    assert {name for name, *_ in DOCUMENTED + WITH_WEIGHTS} <= set(NOTHING)


@pytest.mark.parametrize("name", NOTHING)
def test_documented_values(name: str, device: Device) -> None:
    """Of nothing, and of few terms; also where the same terms come 40 times over: sums alone notice."""
    count = 2 if name in COUNTED else None
    slots = [variable("y", 1, Domain.J), variable("w", 1, Domain.J)][: reduction_named(name, count).formulas]
    program, _ = map_reduce(slots, name, count)
    cases: list[tuple[list[list[float]], Any]] = [([[] for _ in slots], NOTHING[name])]
    for terms, expected in [case[1:] for case in DOCUMENTED if case[0] == name]:
        often = np.log(40) if name == "LogSumExp" and expected == 0 else expected
        cases += [([terms], expected), ([terms * 40], often)]
    cases += [([terms, weights], expected) for other, terms, weights, expected in WITH_WEIGHTS if other == name]
    for columns, expected in cases:
        given_arrays = [np.array(column, "float32")[:, None] for column in columns]
        found = run(program, given_arrays, 3, len(columns[0]), "float32")
        for result, value in zip(found, expected if isinstance(expected, tuple) else [expected], strict=True):
            wanted = np.broadcast_to(value, result.shape)
            np.testing.assert_allclose(result, wanted, rtol=1e-6, atol=1e-6 * (len(slots) > 1), err_msg=str(columns))


@pytest.mark.parametrize("dtype", DTYPES)
def test_variance_of_data_far_from_zero(dtype: str, device: Device) -> None:
    """Nothing cancels: the error is that of the data, rounded, however large their mean is."""
    y = variable("y", 1, Domain.J)
    program, _ = map_reduce([y], "Var")
    terms = (np.random.default_rng(0).standard_normal((300_001, 1)) + 3e3).astype(dtype)
    (found,) = run(program, [terms], 1, len(terms), dtype)
    assert float(found[0, 0]) == pytest.approx(terms.astype(float).var(), rel=30 * float(np.finfo(dtype).eps))


def test_counts_are_exact(device: Device) -> None:
    """Beyond what float32 can count one by one."""
    y = variable("y", 1, Domain.J)
    terms = np.ones((2**24 + 1003, 1), "float32")
    (found,) = run(map_reduce([y], "Count")[0], [terms], 1, len(terms), "float32")
    assert found.tolist() == [[2**24 + 1003]]
    single = Schedule(lanes=1, rows=1, cols=1, split=1, flush=False)
    (_, count) = run(map_reduce([y], "Mean_Count")[0], [terms], 1, len(terms), "float32", single)
    assert count.tolist() == [[2**24 + 1003]]


def test_residuals_start_with_the_result() -> None:
    """The residual of a reduction gives its first result first, and is its own residual: the rule that lets front ends
    compute it in place of the reduction, and derive as often as they like."""
    for kind in EVERY:
        reduction = reduction_named(*kind)
        if reduction.tangent is None or not reduction.residual:
            assert not reduction.residual
            continue
        residual = reduction_named(reduction.residual, reduction.count)
        assert residual.residual == residual.name
        assert residual.tangent is not None
        program = program_of(kind)
        values = data("smooth", 4, 9, "float64", program)
        assert program.residual is not None
        np.testing.assert_allclose(program.reference(values, 4, 9)[0], program.residual.reference(values, 4, 9)[0])


def test_aliases_lead_to_reductions() -> None:
    assert all(name in REDUCTIONS or name in FAMILIES for name in ALIASES.values())
    assert reduction_named("SoftMax") is reduction_named("SumSoftMaxWeight")
    assert reduction_named("KMinArgKMin", 2) is reduction_named("KMin_ArgKMin", 2)


def test_the_first_of_two_formulas_has_length_1() -> None:
    two, one = variable("f", 2, Domain.I), variable("g", 1, Domain.J)
    for name, count in EVERY:
        if reduction_named(name, count).scalar:
            with pytest.raises(ShapeError, match=f"{name} needs a formula of length 1 .* it has length 2"):
                map_reduce([two, one], name, count)
            map_reduce([one, two], name, count)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_sums_stay_accurate(dtype: str, device: Device) -> None:
    """A million terms: one running sum of float32 is wrong in the fourth digit, sums of blocks are not."""
    y = variable("y", 1, Domain.J)
    program, _ = map_reduce([y], "Sum")
    terms = np.full((1_000_003, 1), 0.1, dtype)
    exact = float(terms[0, 0]) * len(terms)
    (found,) = run(program, [terms], 1, len(terms), dtype)
    assert abs(float(found[0, 0]) / exact - 1) < 100 * np.finfo(dtype).eps
    direct = Schedule(lanes=1, rows=1, cols=1, tile=0, split=1)
    (found,) = run(program, [terms], 1, len(terms), dtype, direct)
    assert 1e3 < abs(float(found[0, 0]) / exact - 1) / np.finfo(dtype).eps < 1e6


@by_reduction
def test_pickle(kind: Kind) -> None:
    import pickle

    reduction = reduction_named(*kind)
    assert pickle.loads(pickle.dumps(reduction)) is reduction


def test_which_reductions_are_exact() -> None:
    exact = {name for name, count in EVERY if is_exact(reduction_named(name, count))}
    assert exact >= {"Min", "Max", "ArgMin", "Max_ArgMax", "KMin", "ArgKMax", "Any", "All", "Count"}
    assert not exact & {"Sum", "LogSumExp", "Mean", "Var", "Prod", "SumSoftMaxWeight"}
