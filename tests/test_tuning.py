"""Schedules chosen by measuring: they are kept, found again and used, and nothing on disk can do harm.

No test depends on how long anything takes: where a choice is needed, the race is decided beforehand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clreduce
from clreduce.cache import _HEADER, SCHEDULES, write_entry
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import DIRECT, LOCAL, Schedule, check_state, choose_schedule
from clreduce.errors import DtypeError, NotDifferentiableError, ScheduleError, ShapeError
from clreduce.numpy import Genred
from clreduce.runtime import choices, tuning
from clreduce.runtime.choices import CHOICES, Case, few_rows, is_allowed
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.devices import current_device
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.tuning import Tuned, candidates

ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1)
OTHER = Schedule(lanes=4, rows=2, cols=1, tile=16)
ANOTHER = Schedule(lanes=2, rows=1, cols=2, tile=16)
SCRIPT = """
from clreduce.numpy import Genred
renamed = Genred("Exp(-SqDist(u, v)) * w", ["u = Vi(3)", "v = Vj(3)", "w = Vj(1)"], "Sum", axis=1)
plan = renamed.plan("float32")
print(plan.tuned, plan.schedule)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for each test, and races of a single round."""
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path))
    for name in ("_SCREENING", "_FINAL"):
        monkeypatch.setattr(tuning, name, (1, 0.0))
    monkeypatch.setattr(tuning, "_SAMPLE_SECONDS", 0.0)
    yield tmp_path
    CHOICES.clear()
    PLANS.clear()


def try_only(monkeypatch: pytest.MonkeyPatch, *schedules: Schedule, gains: dict[Schedule, Any] | None = None) -> None:
    """Let the search try these, and find them so many times as fast as the best before; twice as fast unless told."""
    monkeypatch.setattr(tuning, "candidates", lambda program, real, facts, default: iter(schedules))

    def race(runner: Any, best: Any, plan: Any, effort: Any) -> tuple[float, float]:
        runner.run(plan)
        gain = (gains or {}).get(plan.schedule, 2.0)
        if isinstance(gain, type):
            raise gain
        return gain, 1e-3

    monkeypatch.setattr(tuning._Runner, "race", race)


def arrays(rows: int = 40, columns: int = 50, dtype: str = "float32", batch: tuple[int, ...] = ()) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(*batch, n, dim)).astype(dtype) for n, dim in ((rows, 3), (columns, 3), (columns, 1))]


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def entry(folder: Path) -> Path:
    (found,) = (folder / SCHEDULES).iterdir()
    return found


# ------------------------------------------------------------------------------------------------------- candidates

PROGRAMS_TO_TUNE = {
    "gaussian": GAUSSIAN,
    "long vectors": Genred("SqDist(x, y)", ["x = Vi(200)", "y = Vj(200)"], "LogSumExp", axis=1),
    "long result": Genred("x*y", ["x = Vi(5000)", "y = Vj(5000)"], "Sum", axis=1),
    "list": Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "KMin", axis=1, opt_arg=40),
    "long formula": Genred(" + ".join(f"Exp({n}*x*y)" for n in range(1, 300)), ["x=Vi(1)", "y=Vj(1)"], "Sum", axis=1),
}
FACTS = {
    "cpu": DeviceFacts(),
    "wide cpu": DeviceFacts(native_float_lanes=16, native_double_lanes=8),
    "scalar cpu": DeviceFacts(native_float_lanes=1, native_double_lanes=1),
    "gpu": DeviceFacts(kind="gpu", max_group=1024, native_float_lanes=1, native_double_lanes=1),
    "small gpu": DeviceFacts(kind="gpu", max_group=64, native_float_lanes=1, native_double_lanes=1),
}


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("name", PROGRAMS_TO_TUNE)
@pytest.mark.parametrize("facts", list(FACTS.values()), ids=list(FACTS))
def test_candidates_are_legal(name: str, facts: DeviceFacts, real: str) -> None:
    program = PROGRAMS_TO_TUNE[name].program
    default = choose_schedule(program, real, facts)
    found = list(candidates(program, real, facts, default))
    assert found or name == "long formula"
    assert len({default, *found}) == len(found) + 1, "each once, and not the default"
    for schedule in found:
        schedule.check(facts)
        check_state(program, schedule, 4 if real == "float" else 8)
        assert schedule.flush == default.flush


def test_candidates_of_a_gpu() -> None:
    facts = FACTS["gpu"]
    found = list(candidates(GAUSSIAN.program, "float", facts, choose_schedule(GAUSSIAN.program, "float", facts)))
    assert {schedule.shape for schedule in found} == {DIRECT, LOCAL}
    assert {schedule.group for schedule in found} >= {1, 64, 128, 256}


def test_enormous_kernels_are_not_tried() -> None:
    program, facts = PROGRAMS_TO_TUNE["long formula"].program, DeviceFacts()
    default = choose_schedule(program, "float", facts)
    assert not is_allowed(program, "float", facts, replace(default, rows=4, cols=8), default)


# ------------------------------------------------------------------------------------------------------- the search


def test_results_are_the_same(device: Any) -> None:
    data = arrays(300, 200)
    before = GAUSSIAN(*data)
    found = clreduce.tune(GAUSSIAN, *data, seconds=2.0)
    assert not found.errors
    assert found.default == choose_schedule(GAUSSIAN.program, "float", device.facts)
    assert GAUSSIAN.plan("float32").schedule == found.schedule
    np.testing.assert_allclose(GAUSSIAN(*data), before, rtol=1e-4, atol=1e-5)


def test_a_choice_is_used_at_once_and_by_later_processes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    try_only(monkeypatch, OTHER)
    data = arrays()
    before = GAUSSIAN(*data)
    assert not GAUSSIAN.plan("float32").tuned
    found = clreduce.tune(GAUSSIAN, *data)
    assert (found.schedule, found.tried, found.errors) == (OTHER, 1, ())
    assert found.speedup == pytest.approx(2.0)
    plan = GAUSSIAN.plan("float32")
    assert plan.tuned
    assert plan.schedule == OTHER
    assert not GAUSSIAN.plan("float64").tuned
    builds = PROGRAMS.builds
    np.testing.assert_allclose(GAUSSIAN(*data), before, rtol=1e-4, atol=1e-5)
    assert PROGRAMS.builds == builds, "the kernel of the best schedule is kept"
    assert run(SCRIPT) == f"True {OTHER}"
    assert json.loads(entry(folder).read_bytes()[_HEADER:])["schedule"] == asdict(OTHER)


def test_the_disk_is_asked_once(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / SCHEDULES).mkdir()
    asked = []
    monkeypatch.setattr(choices, "read_entry", lambda name, kind: asked.append(name))
    for _ in range(3):
        PLANS.clear()
        GAUSSIAN.plan("float32")
    assert len(asked) == 1


def test_losers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, OTHER, ANOTHER, gains={OTHER: 0.5})
    found = clreduce.tune(GAUSSIAN, *arrays())
    assert (found.schedule, found.tried) == (ANOTHER, 2)
    device, program = current_device(), GAUSSIAN.program
    assert (tuning._sources(PLANS.get(program, GAUSSIAN.plan().signature, device, OTHER))[0], device) not in (
        PROGRAMS._programs
    )


def test_an_earlier_choice_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, OTHER)
    clreduce.tune(GAUSSIAN, *arrays())
    try_only(monkeypatch, gains={OTHER: 0.5})
    found = clreduce.tune(GAUSSIAN, *arrays())
    assert (found.schedule, found.tried) == (found.default, 1)
    assert GAUSSIAN.plan("float32").schedule == found.default


def test_another_result_is_an_error_and_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, OTHER, ANOTHER)
    compute = tuning._Runner.results
    monkeypatch.setattr(
        tuning._Runner,
        "results",
        lambda runner, plan: tuple(2 * one if plan.schedule == OTHER else one for one in compute(runner, plan)),
    )
    found = clreduce.tune(GAUSSIAN, *arrays())
    assert (found.schedule, found.tried) == (ANOTHER, 1)
    (error,) = found.errors
    assert str(OTHER) in error
    assert "differs" in error
    assert "1 failed" in repr(found)


def test_a_schedule_that_cannot_be_built_is_an_error_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, replace(OTHER, group=3), ANOTHER)
    found = clreduce.tune(GAUSSIAN, *arrays())
    assert found.schedule == ANOTHER
    assert "ScheduleError" in found.errors[0]


@pytest.mark.parametrize(("tried", "chosen"), [([OTHER, ANOTHER], OTHER), ([ANOTHER], None)])
def test_an_interrupted_search_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch, tried: list[Schedule], chosen: Schedule | None
) -> None:
    try_only(monkeypatch, *tried, gains={ANOTHER: KeyboardInterrupt})
    found = clreduce.tune(GAUSSIAN, *arrays(), derivatives=True)
    assert found.schedule == (chosen or found.default)
    assert found.derivatives == ()
    assert GAUSSIAN.plan("float32").tuned == (chosen is not None)


def test_time_is_up_before_anything_was_tried(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    try_only(monkeypatch, OTHER)
    found = clreduce.tune(GAUSSIAN, *arrays(), seconds=1e-9)
    assert (found.tried, found.schedule, found.speedup) == (0, found.default, 1.0)
    assert not (folder / SCHEDULES).exists()


@pytest.mark.parametrize(("found", "wanted", "problem"), [
    ([1.0, 2.0], [1.0, 2.0], ""),
    ([1.0, 2.0 + 1e-11], [1.0, 2.0], ""),
    ([np.nan, 2.0, np.inf], [np.nan, 2.0, np.inf], ""),
    ([1.0, 2.1], [1.0, 2.0], "differs"),
    ([1.0, np.nan], [1.0, 2.0], "differs"),
    ([1.0, 2.0], [1.0, np.inf], "infinite"),
    ([], [], ""),
    ([1] * 100, [1] * 99 + [2], ""),
    ([1, 2], [2, 1], "100 %"),
])  # fmt: skip
def test_differences(found: list[float], wanted: list[float], problem: str) -> None:
    message = tuning._differences([np.array(found)], [np.array(wanted)])
    assert problem in message
    assert bool(message) == bool(problem)


# ------------------------------------------------------------------------------------------------ what can be tuned


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (1, 1), (3, 2000)])
def test_any_sizes(monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int]) -> None:
    try_only(monkeypatch, OTHER)
    found = clreduce.tune(GAUSSIAN, *arrays(*sizes))
    assert found.tried == (0 not in sizes)
    assert not GAUSSIAN.plan("float32").tuned, "these are choices for few rows"


def test_few_rows_have_choices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, OTHER)
    clreduce.tune(GAUSSIAN, *arrays(rows=3))
    signature, device = GAUSSIAN.plan("float32").signature, current_device()
    found = [PLANS.get(GAUSSIAN.program, signature, device, rows=rows) for rows in (1, 2, 3, 4, 5, 100)]
    assert [plan.tuned for plan in found] == [False, False, True, True, False, False]
    assert found[0] is found[-1], "a size without a choice makes no plan of its own"
    assert GAUSSIAN(*arrays(rows=3)).shape == (3, 1)
    assert few_rows(choices.FEW_ROWS + 1) == 0


def test_a_sample_of_large_data(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, OTHER)
    seen = []
    monkeypatch.setattr(tuning._Runner, "run", lambda runner, plan: seen.append(runner._region.columns) or 1.0)
    monkeypatch.setattr(tuning, "_SAMPLE_SECONDS", 1.0)
    clreduce.tune(GAUSSIAN, *arrays(200_000, 100_000))
    assert 0 < max(seen) < 100_000


def test_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, OTHER)
    monkeypatch.setattr(tuning, "_SAMPLE_SECONDS", 1e9)  # to the end of the data
    x, y, b = arrays(600, 700, batch=(2, 3))
    found = clreduce.tune(GAUSSIAN, x[:, :1], y[:1], b, derivatives=True)
    assert not found.errors
    assert [one.schedule for one in (found, *found.derivatives)] == [OTHER] * 3
    single = GAUSSIAN(x[0, 0], y[0, 1], b[0, 1])
    np.testing.assert_allclose(GAUSSIAN(x[:, :1], y[:1], b)[0, 1], single, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Max"])
def test_derivatives(monkeypatch: pytest.MonkeyPatch, reduction: str) -> None:
    try_only(monkeypatch, OTHER)
    routine = Genred("SqDist(x, y) * b * p", [*ALIASES, "p = Pm(1)"], reduction, axis=0)
    data = [*arrays(dtype="float64"), np.array([0.5])]
    cotangent = np.ones((50, 1))
    before = routine.vjp(*data, cotangent=cotangent)
    found = clreduce.tune(routine, *data, derivatives=True)
    assert [one.schedule for one in found.derivatives] == [OTHER] * 3
    assert "derivative" in repr(found)
    for now, then in zip(routine.vjp(*data, cotangent=cotangent), before, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-10)


def test_sums_without_blocks_stay_without(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, replace(OTHER, flush=False))
    routine = Genred("x*y*b", ALIASES, "Sum", axis=1, sum_scheme="direct_sum")
    assert not clreduce.tune(routine, *arrays()).schedule.flush
    assert routine.plan("float32").tuned
    assert not Genred("x*y*b", ALIASES, "Sum", axis=1).plan("float32").tuned


def test_wrong_calls() -> None:
    x, y, b = arrays()
    with pytest.raises(ShapeError, match="y = Vj"):
        clreduce.tune(GAUSSIAN, x, y[:, :2], b)
    with pytest.raises(ShapeError, match="3 arrays are needed"):
        clreduce.tune(GAUSSIAN, x, y)
    with pytest.raises(DtypeError):
        clreduce.tune(GAUSSIAN, x, y, list("abc"))
    for seconds in (0, -1.0, float("nan"), "20", True):
        with pytest.raises(ScheduleError, match="positive"):
            clreduce.tune(GAUSSIAN, x, y, b, seconds=seconds)
    with pytest.raises(TypeError, match="routine"):
        clreduce.tune(x, y, b)
    with pytest.raises(NotDifferentiableError):
        clreduce.tune(Genred("x*y*b", ALIASES, "ArgMin", axis=1), x, y, b, derivatives=True)


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], progress: bool | None, shown: bool
) -> None:
    try_only(monkeypatch, OTHER)
    clreduce.tune(GAUSSIAN, *arrays(), progress=progress)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("1 schedule tried, the best 2.00 times as fast" in printed.err) == shown


def test_explain_says_where_the_schedule_is_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    try_only(monkeypatch, OTHER)
    texts = []
    for step in (lambda: None, lambda: clreduce.tune(GAUSSIAN, *arrays())):
        step()
        path = tmp_path / "explained"
        with path.open("w") as file:
            GAUSSIAN.explain(file=file)
        texts.append(path.read_text())
    assert "from:   the default" in texts[0]
    assert "from:   measurements" in texts[1]


# ---------------------------------------------------------------------------------------------------------- on disk


def keep_something(monkeypatch: pytest.MonkeyPatch) -> Case:
    try_only(monkeypatch, OTHER)
    clreduce.tune(GAUSSIAN, *arrays())
    CHOICES.clear()
    PLANS.clear()
    return Case(GAUSSIAN.program, "float", current_device())


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:40], lambda data: data[:-1] + b"?"])
def test_damaged_entries_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    case = keep_something(monkeypatch)
    assert CHOICES.get(case) == OTHER
    CHOICES.clear()
    path = entry(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert CHOICES.get(case) is None
    assert not GAUSSIAN.plan("float32").tuned


FIELDS = asdict(OTHER)


@pytest.mark.parametrize("record", [
    "", "[1, 2]", "null", "\ud800", {}, {"schedule": []}, {"schedule": {}},
    {"schedule": {**FIELDS, "no_longer_there": 1}},
    {"schedule": {name: value for name, value in FIELDS.items() if name != "tile"}},
    {"schedule": {**FIELDS, "lanes": 3}},
    {"schedule": {**FIELDS, "lanes": "4"}},
    {"schedule": {**FIELDS, "rows": True}},
    {"schedule": {**FIELDS, "group": 64}},
    {"schedule": {**FIELDS, "flush": False}},
    {"schedule": {**FIELDS, "rows": 10_000}},
    {"schedule": {**FIELDS, "cols": 10**9}},
    {"schedule": {**FIELDS, "unroll": 10**9}},
    {"schedule": {**FIELDS, "queue": 10**9}},
    {"schedule": {**FIELDS, "tile": 10**12}},
    {"schedule": {**FIELDS, "split": 10**12}},
])  # fmt: skip
def test_entries_that_do_not_fit_are_passed_over(monkeypatch: pytest.MonkeyPatch, folder: Path, record: Any) -> None:
    case = keep_something(monkeypatch)
    text = record if isinstance(record, str) else json.dumps(record)
    write_entry(entry(folder).name, text.encode("utf-8", "surrogatepass"), SCHEDULES)
    assert CHOICES.get(case) is None


def test_a_new_code_generator_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    case = keep_something(monkeypatch)
    monkeypatch.setattr(choices, "_GENERATOR", "another")
    assert CHOICES.get(case) is None


def test_entries_tell_programs_apart() -> None:
    device = current_device()
    routines = [
        *PROGRAMS_TO_TUNE.values(),
        Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "KMin", axis=1, opt_arg=41),
        Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "ArgKMin", axis=1, opt_arg=41),
        Genred("SqDist(x, y)", ["x = Vi(4)", "y = Vj(4)"], "Sum", axis=1),
        Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1),
        Genred("SqDist(x, y)", ["x = Vj(3)", "y = Vi(3)"], "Sum", axis=1),
    ]
    cases = [Case(routine.program, "float", device) for routine in routines]
    cases += [replace(cases[0], real="double"), replace(cases[0], direct_sum=True), replace(cases[0], few=1)]
    assert len({choices._entry(case) for case in cases}) == len(cases)


def test_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "")
    case = keep_something(monkeypatch)
    assert CHOICES.get(case) is None


def test_clear_caches_forgets_choices(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    case = keep_something(monkeypatch)
    assert GAUSSIAN.plan("float32").tuned
    clreduce.clear_caches()
    assert CHOICES.get(case) is None
    assert not GAUSSIAN.plan("float32").tuned
    assert not (folder / SCHEDULES).exists()


def test_processes_that_write_at_once(folder: Path) -> None:
    script = """
import sys
from clreduce.codegen.schedule import Schedule
from clreduce.numpy import Genred
from clreduce.runtime.choices import CHOICES, Case
from clreduce.runtime.devices import current_device
routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
case = Case(routine.program, "float", current_device())
for n in range(200):
    CHOICES.keep(case, Schedule(lanes=4, cols=1 + int(sys.argv[1]), tile=16 + n), {})
    CHOICES.clear()
    found = CHOICES.get(case)
    assert found is not None and found.lanes == 4 and found.cols in (1, 2), found
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(n)], env=os.environ, stderr=subprocess.PIPE)
        for n in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert CHOICES.get(Case(GAUSSIAN.program, "float", current_device())) is not None
    assert not list((folder / SCHEDULES).glob(".new-*"))


def test_the_repr_is_for_people() -> None:
    text = repr(Tuned(replace(OTHER, cols=8), OTHER, 0.001, 0.00125, 7))
    assert text == "<Tuned: cols=8; 1.25 times as fast as the default (1 ms against 1.25 ms), 7 tried>"
