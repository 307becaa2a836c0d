"""The laws of reductions: each is a monoid on its states, by NumPy, and does on devices what `Reduction.numpy` says.

A reduction is cut into blocks, tiles and parts of j in many ways. That all give one result rests on three laws of the
record itself: the neutral element, associativity, and that a block of columns is the merge of its columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracle import DTYPES, Array, assert_close, dense, run, scale_of

from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL
from clreduce.ir.op import constant, variable
from clreduce.ops.compare import less, where
from clreduce.ops.shape import extract
from clreduce.program import map_reduce
from clreduce.reductions import FAMILIES, REDUCTIONS, Column, Reduction, reduction_named
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature

inf, nan = float("inf"), float("nan")
State = tuple[Array, ...]
DIM = 2
Kind = tuple[str, int | None]
EVERY: list[Kind] = [*((name, None) for name in REDUCTIONS), *product(FAMILIES, (1, 3))]
by_reduction = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind[0] + str(kind[1] or ""))


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


# ------------------------------------------------------------------------- the record itself, evaluated by NumPy


def neutral(reduction: Reduction) -> State:
    return tuple(
        np.full(slot.dim, slot.neutral, np.int64 if slot.kind == INDEX else np.float64)
        for slot in reduction.slots((DIM,))
    )


def leaves(reduction: Reduction, stem: str) -> tuple[object, ...]:
    return tuple(variable((stem, n), s.dim, Domain.I, s.kind) for n, s in enumerate(reduction.slots((DIM,))))


def update(reduction: Reduction, state: State, block: Array, first: int) -> State:
    """``state`` after the columns ``block``, of shape (C, D), the first of which has the index ``first``."""
    before = leaves(reduction, "state")
    columns = [
        Column((variable(("value", c), DIM, Domain.IJ),), variable(("index", c), 1, Domain.J, INDEX))
        for c in range(len(block))
    ]
    known = dict(zip(before, state, strict=True))
    for c, column in enumerate(columns):
        known[column.values[0]] = block[c]
        known[column.index] = np.array([first + c])
    return tuple(evaluate(reduction.update(before, columns), known))


def merge(reduction: Reduction, a: State, b: State) -> State:
    left, right = leaves(reduction, "a"), leaves(reduction, "b")
    known = dict(zip(left, a, strict=True)) | dict(zip(right, b, strict=True))
    return tuple(evaluate(reduction.merge(left, right), known))


def fold(reduction: Reduction, values: Array, first: int = 0, block: int = 1) -> State:
    """The state after all ``values``, of shape (N, D), taken ``block`` columns at a time."""
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
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=0)


columns = st.integers(0, 5).flatmap(
    lambda n: arrays(np.float64, (n, DIM), elements=st.sampled_from([-inf, -1000.0, -1.0, 0.0, 1.0, 1000.0, inf, nan]))
)


@by_reduction
@given(values=columns)
def test_neutral_element(kind: Kind, values: Array) -> None:
    reduction = reduction_named(*kind)
    state = fold(reduction, values)
    assert_same(reduction, merge(reduction, neutral(reduction), state), state)
    assert_same(reduction, merge(reduction, state, neutral(reduction)), state)


@by_reduction
@given(parts=st.tuples(columns, columns, columns))
def test_merge_is_associative(kind: Kind, parts: tuple[Array, ...]) -> None:
    reduction = reduction_named(*kind)
    starts = np.cumsum([0, *map(len, parts)])
    a, b, c = (fold(reduction, values, start) for values, start in zip(parts, starts, strict=False))
    assert_same(reduction, merge(reduction, merge(reduction, a, b), c), merge(reduction, a, merge(reduction, b, c)))


@by_reduction
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
@given(values=columns, block=st.integers(1, 4))
def test_finish_gives_what_numpy_says(kind: Kind, values: Array, block: int) -> None:
    reduction = reduction_named(*kind)
    state, first = leaves(reduction, "state"), variable("first", 1, Domain.I, INDEX)
    known = dict(zip(state, fold(reduction, values, block=block), strict=True))
    known[first] = np.array([0 if len(values) else -1])
    found = evaluate(reduction.finish(state, first), known)
    for result, expected in zip(found, reduction.numpy(values[None]), strict=True):
        np.testing.assert_allclose(result, expected[0], rtol=1e-13, atol=0)


@given(state=columns, block=columns.filter(len), count=st.integers(1, 3))
def test_a_guard_is_false_only_where_nothing_changes(state: Array, block: Array, count: int) -> None:
    for kind in EVERY:
        reduction = reduction_named(kind[0], count if kind[1] else None)
        if reduction.guard is None:
            continue
        before = leaves(reduction, "state")
        table = [
            Column((variable(("value", c), DIM, Domain.IJ),), variable(("index", c), 1, Domain.J, INDEX))
            for c in range(len(block))
        ]
        kept = fold(reduction, state)
        known = dict(zip(before, kept, strict=True))
        known |= {column.values[0]: block[c] for c, column in enumerate(table)}
        (needed,) = evaluate([reduction.guard(before, table)], known)
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

LAYOUTS = [("float32", "default"), ("float32", "split"), ("float32", "local"), ("float64", "narrow")]

# Each row i takes the one half of y_j or the other: any table of two different rows, without arithmetic.
_x, _y = variable("x", 1, Domain.I), variable("y", 2 * DIM, Domain.J)
TABLE = where(less(_x, constant(0)), extract(_y, 0, DIM), extract(_y, DIM, DIM))


def data(kind: str, rows: int, columns: int, dtype: str) -> list[Array]:
    rng = np.random.default_rng(rows * 7 + columns)
    x = rng.choice([-1.0, 1.0], (rows, 1))
    shape = (columns, 2 * DIM)
    y = rng.choice(KINDS[kind], shape) if KINDS[kind] else rng.uniform(-3, 3, shape)
    return [x.astype(dtype), y.astype(dtype)]


@pytest.mark.parametrize("layout", LAYOUTS, ids="-".join)
@by_reduction
def test_devices_agree_with_numpy(kind: Kind, layout: tuple[str, str], device: Device) -> None:
    """Exactly so for what only compares; sums and LogSumExp up to rounding."""
    dtype, schedule = layout
    program, given_order = map_reduce([TABLE], *kind)
    assert given_order == (_x, _y)
    plan = Plan(program, Signature(dtype), device, SCHEDULES[schedule])
    kinds = list(KINDS)
    sizes = [size for size in product(SIZES, repeat=2) if size != (1000, 1000)]
    cases = [(kind, 17, 33) for kind in kinds] + [(kinds[n % 9], *size) for n, size in enumerate(sizes)]
    for values_are, rows, columns in cases:
        given_arrays = data(values_are, rows, columns, dtype)
        found = plan(given_arrays, rows, columns)
        expected = program.reference(given_arrays, rows, columns)
        (values,) = dense(program, given_arrays, rows, columns)
        for result, exact, output in zip(found, expected, program.outputs, strict=True):
            assert result.dtype == (np.dtype(dtype) if output.kind == REAL else np.int64)
            assert result.shape == (rows, output.dim)
            if kind[0] in ("Sum", "LogSumExp"):
                assert_close(result, exact, scale_of(program, values), dtype)
            else:
                np.testing.assert_array_equal(result, exact, f"{values_are}, {rows} x {columns}")


@pytest.mark.parametrize(("name", "expected"), [
    ("Sum", 0), ("LogSumExp", -inf), ("Min", inf), ("Max", -inf), ("ArgMin", -1), ("ArgMax", -1),
])  # fmt: skip
def test_nothing_to_reduce(name: str, expected: float, device: Device) -> None:
    program, _ = map_reduce([TABLE], name)
    (found,) = run(program, data("ties", 5, 0, "float32"), 5, 0, "float32")
    np.testing.assert_array_equal(found, np.full((5, DIM), expected))


@pytest.mark.parametrize(("name", "values", "expected"), [
    ("ArgMin", [3, 1, 2, 1], 1), ("ArgMax", [1, 3, 2, 3], 1), ("ArgMax", [nan, 1, nan, 1], 1),
    ("ArgMin", [nan, nan], 0), ("ArgMax", [-inf, -inf], 0), ("ArgMin", [inf, 5, inf], 1), ("Max", [nan, 1], 1),
    ("Min", [nan, nan], inf), ("LogSumExp", [-inf, -inf, 0], 0), ("LogSumExp", [-inf, -inf], -inf),
    ("LogSumExp", [inf, 0], inf), ("LogSumExp", [nan, 0], nan), ("LogSumExp", [1e30, 1e30], 1e30),
    ("LogSumExp", [-1e30], -1e30), ("Sum", [1, nan], nan), ("Sum", [inf, 1], inf), ("Sum", [inf, -inf], nan),
])  # fmt: skip
@pytest.mark.parametrize("turn", [1, 40])
def test_documented_values(name: str, values: list[float], expected: float, turn: int, device: Device) -> None:
    """Also where the same terms come 40 times over: sums alone notice."""
    y = variable("y", 1, Domain.J)
    program, _ = map_reduce([y], name)
    array = np.array(values * turn, "float32")[:, None]
    (found,) = run(program, [array], 3, len(array), "float32")
    if name == "LogSumExp" and turn > 1 and expected == 0:
        expected = np.log(turn)
    np.testing.assert_allclose(found, np.full((3, 1), expected), rtol=1e-6)


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
