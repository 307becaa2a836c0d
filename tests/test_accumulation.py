"""How sums are kept: in float64 over terms in float32 (``dtype_acc``), and with compensation (``kahan_scheme``)."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from oracle import Array

import clreduce
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.domain import Domain
from clreduce.errors import DeviceError, DtypeError, FormulaError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.op import variable
from clreduce.numpy import Genred
from clreduce.program import map_reduce
from clreduce.reductions import REDUCTIONS, Column, reduction_named
from clreduce.reductions.compensated import compensated
from clreduce.runtime.choices import CHOICES
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature

inf, nan = math.inf, math.nan
ONE_OF_EACH = ["x = Vi(1)", "y = Vj(1)"]
SUMS = [name for name, record in REDUCTIONS.items() if record.blocked]
PLAIN_SUMS = [name for name in SUMS if compensated(REDUCTIONS[name]) is not None]
"""Those that ``kahan_scheme`` can compensate."""
OPTIONS: list[dict[str, Any]] = [
    {"dtype_acc": "float64"},
    {"use_double_acc": True, "sum_scheme": "direct_sum"},
    {"sum_scheme": "kahan_scheme"},
    {"use_double_acc": True, "sum_scheme": "kahan_scheme"},
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))

either_option = pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[2]], ids=["float64", "kahan"])


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


@pytest.fixture
def wide_device(device: Device) -> Device:
    if not device.facts.has_double:
        pytest.skip("this device has no float64")
    return device


def ulps(found: Any, expected: Array, dtype: str = "float32") -> float:
    """The largest error in units in the last place."""
    expected = np.asarray(expected, np.float64)
    unit = np.spacing(np.abs(expected).astype(dtype)).astype(np.float64)
    return float(np.max(np.abs(np.asarray(found, np.float64) - expected) / unit))


def made(reduction: str, formula: str = "x * y", aliases: Sequence[str] = ONE_OF_EACH, **options: Any) -> Genred:
    second = "y" if REDUCTIONS[reduction].formula2 else None
    return Genred(formula, list(aliases), reduction, axis=1, formula2=second, **options)


# --- accuracy


@every_option
def test_twenty_million_tenths(options: dict[str, Any], wide_device: Device) -> None:
    """A sum, its mean, and derivatives for a parameter, to about a unit in the last place."""
    count = 20_000_000
    x, y = np.zeros((1, 1), "float32"), np.full((count, 1), 0.1, "float32")
    tenth = float(y[0, 0])
    assert ulps(made("Sum", "x + y", **options)(x, y), [[count * tenth]]) <= 2
    assert ulps(made("Mean", "x + y", **options)(x, y), [[tenth]]) <= 2
    scaled = Genred("p * y + x", [*ONE_OF_EACH, "p = Pm(1)"], "Sum", axis=1, **options)
    (in_p,) = scaled.vjp(x, y, np.ones(1, "float32"), cotangent=np.ones((1, 1), "float32"), wrt="p")
    assert ulps(in_p, [count * tenth]) <= 2


@pytest.mark.parametrize("dim", [1, 9])
@every_option
def test_sums_of_random_terms(options: dict[str, Any], dim: int, wide_device: Device) -> None:
    """Terms are those of float32, so that a sum of them in float64, rounded, is what to find."""
    rng = np.random.default_rng(dim)
    x, y = rng.normal(size=(37, dim)).astype("float32"), rng.normal(size=(3001, dim)).astype("float32")
    terms = (x[:, None] * y).astype(np.float64)
    routine = Genred("x * y", [f"x = Vi({dim})", f"y = Vj({dim})"], "Sum", axis=1, **options)
    exact = terms.sum(1)
    # Errors are those of the sum of absolute values, unless sums are kept in float64.
    allowed = np.abs(terms).sum(1) * 2e-7 if "use_double_acc" not in options and "dtype_acc" not in options else 0
    found = routine(x, y)
    assert (np.abs(found - exact) <= allowed + np.spacing(np.abs(exact).astype("float32"))).all()
    e, dx = rng.normal(size=(37, dim)).astype("float32"), rng.normal(size=(37, dim)).astype("float32")
    in_x, in_y = routine.vjp(x, y, cotangent=e)
    for one, parts in ((in_x, (e[:, None] * y).astype(float)), (in_y, (e[:, None] * x[:, None]).astype(float))):
        bound = 2e-7 * np.abs(parts).sum(1 if one is in_x else 0) + 1e-6
        assert (np.abs(one - parts.sum(1 if one is in_x else 0)) <= bound).all()
    forward = (dx[:, None] * y).astype(float)
    assert (np.abs(routine.jvp(x, y, tangents={"x": dx}) - forward.sum(1)) <= 2e-7 * np.abs(forward).sum(1)).all()


def test_what_cancels_is_kept_in_float64(wide_device: Device) -> None:
    """Where the sum of absolute values is 1e8 times the sum."""
    y = np.tile(np.array([[3e8], [1], [-3e8], [0.25]], "float32"), (1000, 1))
    x = np.ones((3, 1), "float32")
    for scheme in ("auto", "direct_sum"):
        assert made("Sum", dtype_acc="float64", sum_scheme=scheme)(x, y).tolist() == [[1250]] * 3
    # Partial results are kept so, too: in float32 they would overflow.
    y = np.array([[3e38]] * 4 + [[-3e38]] * 3, "float32")
    assert made("Sum", use_double_acc=True)(x, y).tolist() == [[float(y[0, 0])]] * 3
    assert made("Sum", use_double_acc=True)(x, np.abs(y)).tolist() == [[inf]] * 3


@either_option
@pytest.mark.parametrize("reduction", SUMS)
def test_every_reduction_that_adds_up(reduction: str, options: dict[str, Any], wide_device: Device) -> None:
    if "sum_scheme" in options and reduction not in PLAIN_SUMS:
        return  # refused: see below
    rng = np.random.default_rng(7)
    x, y = rng.uniform(0.5, 1, (37, 1)).astype("float32"), rng.uniform(0.5, 3, (3001, 1)).astype("float32")
    routine, plain = made(reduction, **options), made(reduction)
    exact = plain(x.astype("float64"), y.astype("float64"))
    found = routine(x, y)
    assert found.dtype == "float32"
    assert np.max(np.abs(found - exact) / np.abs(exact)) < 1e-6
    if reduction not in ("Sum", "LogSumExpWeight"):
        return  # derivatives, parts and batches take nothing but merges and sums: two reductions show that
    e = np.ones(exact.shape, "float32")
    for at, other in zip(routine.vjp(x, y, cotangent=e),
                         plain.vjp(x.astype("float64"), y.astype("float64"), cotangent=e.astype("float64")),
                         strict=True):  # fmt: skip
        assert np.max(np.abs(at - other)) < 3e-6 * np.max(np.abs(other))
    # Few rows: j is cut into parts, whose states are merged.
    assert np.max(np.abs(routine(x[:1], y) - exact[:1]) / np.abs(exact[:1])) < 1e-6
    batch = routine(np.stack([x, x]), y)
    np.testing.assert_array_equal(batch[0], batch[1])
    assert np.max(np.abs(batch[0] - exact) / np.abs(exact)) < 1e-6


@pytest.mark.parametrize("scheme", ["auto", "kahan_scheme"])
def test_float64_data(scheme: str, wide_device: Device) -> None:
    rng = np.random.default_rng(4)
    y = rng.uniform(0, 1, (200_000, 1))
    x = np.ones((2, 1))
    exact = math.fsum(y[:, 0])
    errors = {}
    for options in ({}, {"use_double_acc": True}):
        errors[len(options)] = ulps(made("Sum", sum_scheme=scheme, **options)(x, y), [[exact]] * 2, "float64")
    assert errors[0] == errors[1] <= (2 if scheme == "kahan_scheme" else 200)


def test_float16_data(device: Device) -> None:
    y = np.full((3000, 1), 0.1, "float16")
    x = np.ones((2, 1), "float16")
    for options in ({"dtype_acc": "float16"}, {"dtype_acc": "float32"}, {"sum_scheme": "kahan_scheme"}):
        found = made("Sum", **options)(x, y)
        assert found.dtype == "float16"
        assert found.tolist() == [[float(np.float16(3000 * float(y[0, 0])))]] * 2


# --- special values


@either_option
@pytest.mark.parametrize("reduction", PLAIN_SUMS)
@pytest.mark.parametrize(
    "terms", [[], [1], [inf, 1], [1, inf, 2, 3, 4], [-inf, 1, -inf], [inf, -inf, 1], [nan, 1], [1, 3e38, 3e38, -1]]
)
def test_infinities_and_nothing(
    terms: list[float], reduction: str, options: dict[str, Any], wide_device: Device
) -> None:
    """As without options; but what overflows in float32 only may be a number in float64."""
    x, y = np.ones((2, 1), "float32"), np.array(terms, "float32").reshape(-1, 1)
    with np.errstate(all="ignore"):
        found, plain = made(reduction, **options)(x, y), made(reduction)(x, y)
        (exact,) = made(reduction).program.reference([x, y], 2, len(y))
    same = np.isclose(found, plain, rtol=1e-6, equal_nan=True)
    assert (same | np.isclose(found, exact, rtol=1e-6, equal_nan=True)).all(), (found, plain)


# --- schedules


PROGRAM, _ = map_reduce([variable("x", 5, Domain.I) * variable("y", 1, Domain.J)], "Sum")
WEIGHTED, _ = map_reduce(
    [variable("x", 1, Domain.I) * variable("y", 1, Domain.J), variable("b", 6, Domain.J)], "LogSumExpWeight"
)
SCHEDULES = [
    Schedule(lanes=1, rows=1, cols=1),
    Schedule(lanes=4, rows=2, cols=2, tile=8, split=3),
    Schedule(lanes=16, rows=1, cols=4, unroll=8, split=2),
    Schedule(lanes=8, rows=2, cols=4, tile=0, flush=False),
    Schedule(lanes=1, rows=2, cols=2, group=8, tile=16, shape=LOCAL, unroll=16),
    Schedule(lanes=2, rows=1, cols=4, group=4, tile=8, shape=LOCAL, split=2),
]


@pytest.mark.parametrize(
    ("schedule", "batched"),
    [*((schedule, False) for schedule in SCHEDULES), (SCHEDULES[1], True), (SCHEDULES[5], True)],
)
def test_any_schedule(schedule: Schedule, batched: bool, wide_device: Device) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(19, 5)).astype("float32"), rng.normal(size=(203, 1)).astype("float32")
    b = rng.uniform(0, 1, (203, 6)).astype("float32")
    batch = (2,) if batched else ()
    twice = [np.stack([array] * 2) if batched else array for array in (x, y, b)]
    (found,) = Plan(PROGRAM, Signature("float32", batched, True), wide_device, schedule)(
        twice[:2], 19, 203, None, batch
    )
    exact = (x[:, None] * y[None]).astype(np.float64).sum(1)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, np.broadcast_to(exact.astype("float32"), found.shape))
    given = [twice[0][..., :1].copy(), *twice[1:]]
    (found,) = Plan(WEIGHTED, Signature("float32", batched, True), wide_device, schedule)(given, 19, 203, None, batch)
    exact = np.log(np.einsum("mn,nd->md", np.exp((x[:, :1] * y[:, 0]).astype(np.float64)), b.astype(np.float64)))
    assert ulps(found, np.broadcast_to(exact, found.shape)) <= 1
    record = replace(PROGRAM, reduction=compensated(PROGRAM.reduction))
    (found,) = Plan(record, Signature("float32", batched), wide_device, schedule)(twice[:2], 19, 203, None, batch)
    terms = np.broadcast_to((x[:, None] * y[None]).astype(np.float64).sum(1), found.shape)
    bound = 2e-7 * np.abs(x[:, None] * y[None]).sum(1)
    assert (np.abs(found - terms) <= bound).all()


@either_option
def test_blocks_of_pairs(options: dict[str, Any], wide_device: Device) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 2, (300, 1)).astype("float32"), rng.uniform(1, 2, (5000, 1)).astype("float32")
    whole, ends = np.array([[100, 300]]), np.array([2])
    pieces = np.array([[0, 1000], [2000, 4500]])
    ranges = (whole, ends, pieces, np.array([[0, 5000]]), np.array([1]), whole)
    kept = np.r_[0:1000, 2000:4500]
    terms = (x[100:] * y[kept, 0]).astype(np.float64)
    for reduction, exact in (("Sum", terms.sum(1)), ("LogSumExp", np.log(np.exp(terms).sum(1)))):
        found = made(reduction, **options)(x, y, ranges=ranges)
        assert ulps(found[100:, 0], exact) <= 4
        assert (found[:100] == (0 if reduction == "Sum" else -inf)).all()


def test_only_what_a_row_keeps_is_double() -> None:
    routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
    lowered = lower(routine.program, "float", Schedule(lanes=8, rows=1, cols=2), DeviceFacts(), wide=True)
    text = render(lowered.pair)
    body = text[text.index("long j = tile_begin") : text.index("for (; j < tile_end")]
    assert body.count("convert_widev(") == 2
    assert body.count("widev t") == 4  # two terms, two sums
    assert "exp_never_above_1_v(" in body
    assert "_wv(" not in text
    assert "widev" not in render(lower(routine.program, "float", Schedule(lanes=8), DeviceFacts()).pair)
    plain = lower(routine.program, "double", Schedule(lanes=8), DeviceFacts())
    assert lower(routine.program, "double", Schedule(lanes=8), DeviceFacts(), wide=True) == plain


# --- compensated reductions as records


@pytest.mark.parametrize("name", PLAIN_SUMS)
def test_compensation_is_exact_arithmetic_on_numbers_without_rounding(name: str) -> None:
    """On small integers the result is that of the reduction itself, whatever the cut, and nothing is lost."""
    base = reduction_named(name)
    record = compensated(base)
    assert record is not None
    assert compensated(base) is record
    dims = (1,) * base.formulas
    slots = record.slots(dims)
    count = len(base.slots(dims))
    assert len(slots) > count

    def leaves(stem: str) -> tuple[Any, ...]:
        return tuple(variable((stem, n), slot.dim, Domain.I, slot.kind) for n, slot in enumerate(slots))

    a, b = leaves("a"), leaves("b")
    values = tuple(variable(("value", n), 1, Domain.IJ) for n in range(base.formulas))
    index = variable("index", 1, Domain.J, "index")

    def state(terms: Sequence[int]) -> list[Array]:
        found = [np.full(slot.dim, slot.neutral) for slot in slots]
        for at, term in enumerate(terms):
            known = dict(zip(a, found, strict=True)) | {value: np.array([float(term)]) for value in values}
            found = evaluate(record.update(a, [Column(values, index)]), known | {index: np.array([at])})
        return found

    first = variable("first", 1, Domain.P, "index")
    terms = [3, -1, 4, 1, -5, 9, 2, 6]
    (whole,) = evaluate(record.finish(a, first)[:1], dict(zip(a, state(terms), strict=True)))
    for cut in (0, 3, 8):
        known = dict(zip(a, state(terms[:cut]), strict=True)) | dict(zip(b, state(terms[cut:]), strict=True))
        merged = evaluate(record.merge(a, b), known)
        (found,) = evaluate(record.finish(a, first)[:1], dict(zip(a, merged, strict=True)))
        np.testing.assert_allclose(found, whole, rtol=1e-14)
        np.testing.assert_allclose(np.concatenate(merged[count:]), 0, atol=1e-14)
    column = np.array(terms, float).reshape(1, -1, 1)
    np.testing.assert_allclose(whole, base.numpy(*[column] * base.formulas)[0][0], rtol=1e-14)


def test_pickled() -> None:
    record = compensated(reduction_named("Sum"))
    assert pickle.loads(pickle.dumps(record)) is record


# --- what is asked for in vain


def test_wrong_options() -> None:
    for options, message in (
        ({"sum_scheme": "kahan"}, "sum_scheme must be one of auto, block_sum, direct_sum, kahan_scheme; got 'kahan'"),
        ({"dtype_acc": "double"}, "dtype_acc must be one of auto, float16, float32, float64; got 'double'"),
        ({"dtype_acc": "float64", "use_double_acc": True}, "use_double_acc=True means dtype_acc='float64'"),
    ):
        with pytest.raises(FormulaError, match=message):
            made("Sum", **options)
    for reduction in ("Min", "ArgMax", "Prod"):
        for options in ({"sum_scheme": "kahan_scheme"}, {"sum_scheme": "block_sum"}, {"use_double_acc": True}):
            with pytest.raises(FormulaError, match=f"needs a reduction that adds up its terms; {reduction} does not"):
                made(reduction, **options)
    assert set(SUMS) - set(PLAIN_SUMS) == {"Var"}
    with pytest.raises(FormulaError, match="plain sums only, and Var is none"):
        made("Var", sum_scheme="kahan_scheme")


@pytest.mark.parametrize(
    ("dtype", "refused"),
    [("float16", ["float64"]), ("float32", ["float16"]), ("float64", ["float16", "float32"])],
)
def test_accumulators_that_do_not_suit_the_arrays(dtype: str, refused: list[str]) -> None:
    x = np.ones((3, 1), dtype)
    for dtype_acc in refused:
        routine = made("Sum", dtype_acc=dtype_acc)
        with refusal(dtype, dtype_acc):
            routine(x, x)
        with refusal(dtype, dtype_acc):
            routine.vjp(x, x, cotangent=x)
        with refusal(dtype, dtype_acc):
            routine.jvp(x, x, tangents={"x": x})


def refusal(dtype: str, dtype_acc: str) -> Any:
    return pytest.raises(DtypeError, match=f"for {dtype} arrays, dtype_acc must be auto, .*; got '{dtype_acc}'")


def test_a_device_without_double(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "facts", replace(device.facts, has_double=False))
    x = np.ones((3, 1), "float32")
    routine = made("Sum", "x - y", use_double_acc=True)
    with pytest.raises(DeviceError, match="no float64 to keep sums in; use sum_scheme='kahan_scheme'"):
        routine(x, x)
    assert made("Sum", "x - y", sum_scheme="kahan_scheme")(x, x).tolist() == [[0]] * 3


# --- what else knows of plans


def test_explain_and_tune(wide_device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = np.ones((300, 1), "float32"), np.ones((500, 1), "float32")
    for options, sign in (({"use_double_acc": True}, "convert_wide"), ({"sum_scheme": "kahan_scheme"}, "s1_0_0")):
        routine = made("Sum", **options)
        routine.explain()
        assert sign in capsys.readouterr().out
        chosen = clreduce.tune(routine, x, y, seconds=0.5)
        assert not chosen.errors
        assert routine(x, y)[0, 0] == 500
    CHOICES.clear()
    wide = made("Sum", use_double_acc=True).plan().case
    assert wide != made("Sum").plan().case
    assert wide.wide


# ------------------------------------------------------------------------------------------------ very many terms


@pytest.mark.parametrize("name", ["Sum", "Mean", "Var", "LogSumExp"])
def test_errors_of_tens_of_millions_of_terms_stay_small(name: str, device: Device) -> None:
    terms = np.random.default_rng(5).random((20_000_000, 1), dtype=np.float32)
    found = Genred("x + y", ONE_OF_EACH, name, axis=1)(np.zeros((1, 1), np.float32), terms).item()
    exact = terms.astype(np.float64)
    expected = {
        "Sum": exact.sum(), "Mean": exact.mean(), "Var": exact.var(), "LogSumExp": np.log(np.exp(exact).sum())
    }[name]  # fmt: skip
    assert abs(found - expected) <= 1e-6 * abs(expected)
