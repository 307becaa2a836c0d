"""Any legal schedule gives the same numbers, illegal ones are refused, and equal kernels have equal texts.

All combinations of sizes would take hours to build. Tested are as many as it takes for every two choices to meet: each
formula every number of lanes, each number of lanes every tile, and so on. Random ones: test_random_programs.py.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from oracle import assert_results, check, random_arrays, run

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import rendered
from clreduce.codegen.schedule import DIRECT, LANES, LOCAL, Schedule, choose_schedule
from clreduce.domain import Domain
from clreduce.errors import ScheduleError
from clreduce.ir.expr import Expr
from clreduce.ir.op import variable
from clreduce.ops.arithmetic import square
from clreduce.ops.derived import scalar_product, squared_distance
from clreduce.ops.functions import exp
from clreduce.ops.shape import concat
from clreduce.ops.trigonometry import sin
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = ((67, 53), (401, 38))  # no multiple of any block
x, y, b = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("b", 1, Domain.J)
p, q = variable("p", 1, Domain.P), variable("q", 3, Domain.P)
X, Y, B = variable("X", 40, Domain.I), variable("Y", 40, Domain.J), variable("B", 40, Domain.J)

FORMULAS: dict[str, tuple[Expr, str]] = {
    "gaussian": (exp(-squared_distance(x, y) * p) * b, "Sum"),
    "cut loops": (scalar_product(concat(x, X), concat(Y, y)) * concat(b, q), "Sum"),
    "wide": (exp(-squared_distance(x, y)) * concat(B, b), "Sum"),
    "stored j": (exp(y) * sin(x) + square(p - b), "Sum"),
    "stored long i": (exp(-squared_distance(exp(X * 0.1), Y)) * p, "Sum"),
    "LogSumExp": (b - squared_distance(x, y) * p, "LogSumExp"),
    "wide LogSumExp": (X * Y, "LogSumExp"),
    "ArgMin": (squared_distance(x, y), "ArgMin"),
    "wide ArgMax": (X * B - exp(Y), "ArgMax"),
}
PROGRAMS_BY_NAME: dict[str, MapReduce] = {name: map_reduce([f], r)[0] for name, (f, r) in FORMULAS.items()}
PROGRAMS_BY_NAME["KMin_ArgKMin"] = map_reduce([squared_distance(x, y)], "KMin_ArgKMin", 5)[0]
PROGRAMS_BY_NAME["long ArgKMin"] = map_reduce([concat(x * y, b)], "ArgKMin", 7)[0]
PROGRAMS_BY_NAME["wide KMin"] = map_reduce([X * Y], "KMin", 3)[0]
PROGRAMS_BY_NAME["gradient"] = map_reduce([exp(-squared_distance(X, Y)) * b], "Sum")[0].vjp([1, 2])[0].program

CHOICES: dict[str, Sequence[Any]] = {
    "formula": list(PROGRAMS_BY_NAME),
    "dtype": ("float32", "float64"),
    "layout": ((DIRECT, 1), (LOCAL, 1), (LOCAL, 4), (LOCAL, 8)),
    "lanes": LANES,
    "rows": (1, 2, 3),
    "cols": (1, 2, 4, 5),
    "tile": (0, 1, 7, 32),
    "flush": (True, False),
    "unroll": (1, 4, 16),
    "split": (0, 5),
    "queue": (0, 8),
    "prefilter": (0, 1, 3),
}
SIZES_OF_SCHEDULES = CHOICES.keys() - {"formula", "dtype", "layout"}


def legal(choice: Mapping[str, Any]) -> bool:
    return choice["layout"][0] == DIRECT or (choice["tile"] > 0 and not choice["prefilter"])


def schedule_of(choice: Mapping[str, Any]) -> Schedule:
    shape, group = choice["layout"]
    return Schedule(shape=shape, group=group, **{n: value for n, value in choice.items() if n in SIZES_OF_SCHEDULES})


def pairs(choice: Mapping[str, Any]) -> set[Any]:
    return set(combinations(choice.items(), 2))


def covering(seed: int = 0) -> list[dict[str, Any]]:
    """Few legal choices in which any two values of different kinds meet at least once, if they legally can."""
    random = Random(seed)
    found = []
    missing = {
        ((a, one), (c, other)) for a, c in combinations(CHOICES, 2) for one in CHOICES[a] for other in CHOICES[c]
    }
    for refused in (("tile", 0), ("prefilter", 1), ("prefilter", 3)):
        missing -= {(("layout", layout), refused) for layout in CHOICES["layout"] if layout[0] == LOCAL}
    while missing:
        kept = dict(min(missing, key=repr))
        trials = [
            {name: kept.get(name, random.choice(values)) for name, values in CHOICES.items()} for _ in range(200)
        ]  # fmt: skip
        best = max(filter(legal, trials), key=lambda trial: len(pairs(trial) & missing))
        missing -= pairs(best)
        found.append(best)
    return found


def name_of(choice: Mapping[str, Any]) -> str:
    shape, group = choice["layout"]
    sizes = "x".join(str(choice[name]) for name in ("lanes", "rows", "cols"))
    rest = (
        f"tile{choice['tile']}-{choice['flush']}-unroll{choice['unroll']}-split{choice['split']}-queue{choice['queue']}"
        f"-prefilter{choice['prefilter']}"
    )
    return f"{choice['formula']}-{choice['dtype']}-{shape}{group}-{sizes}-{rest}"


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


@pytest.mark.parametrize("choice", covering(), ids=name_of)
def test_any_legal_schedule_gives_the_reference(choice: dict[str, Any], device: Device) -> None:
    dtype = choice["dtype"]
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    program = PROGRAMS_BY_NAME[choice["formula"]]
    plan = Plan(program, Signature(dtype), device, schedule_of(choice))
    for rows, columns in SIZES:
        arrays = random_arrays(program, rows, columns, dtype)
        assert_results(plan(arrays, rows, columns), program, arrays, rows, columns, dtype, factor=2)


def test_all_choices_meet() -> None:
    tested = covering()
    assert all(map(legal, tested))
    assert 45 < len(tested) < 80
    met = {tuple(name for name, _ in pair): set() for pair in pairs(tested[0])}
    for pair in set().union(*map(pairs, tested)):
        met[tuple(name for name, _ in pair)].add(pair)
    for (a, c), found in met.items():
        # Tiles in local memory have columns, and no prefilter.
        apart = {("layout", "tile"): 3, ("layout", "prefilter"): 6}.get((a, c), 0)
        assert len(found) == len(CHOICES[a]) * len(CHOICES[c]) - apart


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_queues_have_room_where_tiles_end_within_a_block(dtype: str, device: Device) -> None:
    """Every column enters: the queue is as full as it gets when the next tile begins."""
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    falling = variable("y", 1, Domain.J)
    program, _ = map_reduce([falling], "KMin", 3)
    array = np.arange(64, 0, -1, dtype=dtype)[:, None]
    for tile, cols, queue in ((7, 4, 8), (6, 4, 4), (9, 5, 8), (3, 2, 2)):
        schedule = Schedule(lanes=4, rows=2, cols=cols, tile=tile, queue=queue)
        (found,) = run(program, [array], 21, 64, dtype, schedule)
        assert (found == [1, 2, 3]).all()


def orders_of_terms(dtype: str) -> dict[str, np.ndarray[Any, Any]]:
    """Terms of 4000 columns that a prefilter might misjudge."""
    random, tiny = np.random.default_rng(0), np.finfo(dtype).tiny
    uniform = random.normal(size=4000)
    crowded = np.full(4000, 1000.0)
    crowded[1600:1612] = 1.0  # the first terms are in few chunks
    rare = np.full(4000, np.nan)
    rare[[5, 77, 78, 1999]] = 3.0, -1.0, 2.0, 0.5
    return {
        "random": uniform,
        "rising": np.sort(uniform),
        "falling": -np.sort(uniform),
        "falling at last": np.concatenate([uniform[:1500], -np.sort(uniform[1500:]) - 9.0]),
        "in steps": np.where(np.arange(4000) % 1300 < 700, uniform, -np.arange(4000.0)),
        "crowded": crowded,
        "crowded the other way": -crowded,
        "equal": np.zeros(4000),
        "zeros of both signs": np.where(uniform > 0, 0.0, -0.0),
        "ties": np.round(uniform),
        "hardly any": rare,
        "infinite": np.where(uniform > 0.1, np.inf, -np.inf),
        "infinite or nan": np.where(uniform > 1.9, 1.0, np.where(uniform > 0, np.inf, np.nan)),
        "of all sizes": uniform * np.exp(uniform * (12 if dtype == "float32" else 100)),
        "the smallest": np.where(uniform > 0, tiny, 2 * tiny),
    }


PREFILTERS = (
    # lanes, cols, prefilter, queue, split
    (4, 1, 1, 0, 0),
    (8, 1, 1, 9, 0),
    (1, 2, 1, 3, 2),
    (16, 8, 4, 8, 3),
    (2, 3, 4, 7, 1),  # an odd number of chunks, more than are needed
    (4, 16, 1, 32, 1),  # blocks of more columns than enter a queue together
    (1, 12, 2, 12, 1),
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["KMin_ArgKMin", "KMax_ArgKMax"])
def test_a_prefilter_changes_nothing(name: str, dtype: str, device: Device) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    program, _ = map_reduce([variable("x", 1, Domain.I) + variable("y", 1, Domain.J)], name, 9)
    rows, columns = 21, 4000
    for order, terms in orders_of_terms(dtype).items():
        arrays = [np.zeros((rows, 1), dtype), terms[:, None].astype(dtype)]
        expected = program.reference(arrays, rows=rows, columns=columns)
        # Tiles of 512 blocks: one with more than all columns, others that are filtered or not, as those before went.
        for lanes, cols, prefilter, queue, split in PREFILTERS:
            schedule = Schedule(lanes=lanes, cols=cols, queue=queue, prefilter=prefilter, split=split)
            found = run(program, arrays, rows, columns, dtype, schedule)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=f"{order}, {schedule}")


def test_a_prefilter_rounds_as_the_visits_do(device: Device) -> None:
    """Where a product that both formulas use cancels, with a multiply-add less or more the terms would be others."""
    a, b = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    program, _ = map_reduce([a * b - 1, exp(a * b)], "SumKMin", 6)
    arrays = [np.full((20, 1), 1 + 2.0**-13, "float32"), np.full((1000, 1), 1 - 2.0**-13, "float32")]
    (found,) = Plan(program, Signature("float32"), device)(arrays, 20, 1000)
    np.testing.assert_allclose(found, 6 * np.e, rtol=1e-5)


def test_tiles_that_are_filtered_are_many(device: Device) -> None:
    """Over several tiles, the last of which is too short for a prefilter."""
    program, _ = map_reduce([squared_distance(x, y)], "KMin_ArgKMin", 3)
    schedule = Schedule(lanes=2, rows=2, cols=1, prefilter=1, queue=4)
    rows, columns = 7, 3 * 1024 + 11
    arrays = random_arrays(program, rows, columns, "float32")
    assert_results(run(program, arrays, rows, columns, "float32", schedule), program, arrays, rows, columns, "float32")


# ------------------------------------------------------------------------------------------------ policy and refusals


@pytest.mark.parametrize("name", list(PROGRAMS_BY_NAME))
def test_the_policy_for_gpus_runs_anywhere(name: str, device: Device) -> None:
    """With work-groups, barriers and local memory. That for CPUs runs in all other files."""
    program = PROGRAMS_BY_NAME[name]
    schedule = choose_schedule(program, "float", replace(device.facts, kind="gpu"))
    schedule.check(device.facts)
    check(program, 67, 301, "float32", schedule, factor=2)


def test_the_policy_counts_all_components() -> None:
    """Only short formulas are worth computing some terms twice; others want more lanes."""
    facts = DeviceFacts(kind="cpu", native_float_lanes=8)
    chosen = {}
    for dim in (3, 100):
        points = variable("x", dim, Domain.I), variable("y", dim, Domain.J)
        program, _ = map_reduce([squared_distance(*points)], "KMin", 10)
        chosen[dim] = choose_schedule(program, "float", facts)
    assert (chosen[3].lanes, chosen[3].prefilter > 0, chosen[3].queue > 0) == (8, True, True)
    assert (chosen[100].lanes, chosen[100].prefilter, chosen[100].queue) == (16, 0, 0)


@pytest.mark.parametrize(("change", "message"), [
    ({"lanes": 3}, "lanes is one of 1, 2, 4, 8, 16; got 3"), ({"lanes": 0}, "lanes"), ({"lanes": 32}, "lanes"),
    ({"rows": 0}, "rows is 1 or more; got 0"), ({"cols": -1}, "cols"), ({"group": 0}, "group"),
    ({"unroll": 0}, "unroll"),
    ({"tile": -1}, "tile"), ({"split": -2}, "split"), ({"shape": "nested"}, "shape is 'mapreduce'"),
    ({"prefilter": -1}, "prefilter"), ({"prefilter": 2, "shape": LOCAL}, "only the shape 'mapreduce'"),
    ({"group": 4}, "work-groups of one item"), ({"shape": LOCAL, "tile": 0}, "needs tile >= 1"),
    ({"shape": LOCAL, "group": 1 << 20}, "more than this device's"),
])  # fmt: skip
def test_illegal_schedules_are_refused(change: dict[str, Any], message: str, device: Device) -> None:
    schedule = replace(Schedule(), **change)
    with pytest.raises(ScheduleError, match=message):
        Plan(PROGRAMS_BY_NAME["gaussian"], Signature("float32"), device, schedule)
    with pytest.raises(ValueError, match=message):
        schedule.check(DeviceFacts())


# ------------------------------------------------------------------------------------------------------- kernel texts


def texts(name: str, dtype: str, schedule: Schedule) -> list[str]:
    """The sources of all kernels of a formula, made afresh."""
    lowered = lower(PROGRAMS_BY_NAME[name], dtype, schedule, DeviceFacts())
    kernels = [stored.kernel for stored in lowered.stored] + [lowered.pair, lowered.pair_split, lowered.merge]
    return [rendered(kernel) for kernel in kernels]


def digest() -> str:
    """A checksum of many kernel texts."""
    schedules = (Schedule(), Schedule(lanes=1, rows=2, cols=2, group=64, tile=16, unroll=4, shape=LOCAL))
    everything = [text for name in PROGRAMS_BY_NAME for s in schedules for text in texts(name, "float", s)]
    return hashlib.sha256("".join(everything).encode()).hexdigest()


def test_equal_kernels_have_equal_texts() -> None:
    """In every process, so that caches on disk find what another process built."""
    found = {digest(), digest()}
    for seed in ("1", "2"):
        paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        command = [sys.executable, "-c", "import test_schedules; print(test_schedules.digest())"]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(found) == 1


@pytest.mark.parametrize("name", list(PROGRAMS_BY_NAME))
def test_kernels_state_their_group_size(name: str) -> None:
    """A driver left to choose it, PoCL for one, compiles a kernel again for new sizes of the data."""
    for schedule in (Schedule(), Schedule(shape=LOCAL, group=8, lanes=1)):
        for text in texts(name, "float", schedule):
            assert "reqd_work_group_size" in text


def test_the_direct_shape_has_no_barrier() -> None:
    assert not any("barrier(" in text for text in texts("cut loops", "float", Schedule()))
    assert any("barrier(" in text for text in texts("cut loops", "float", Schedule(shape=LOCAL)))


def test_snapshot() -> None:
    """The text of one kernel, after the prelude, as it is committed.

    If a change is meant: CLREDUCE_UPDATE_SNAPSHOTS=1 pytest tests/test_schedules.py -k snapshot, and look at the diff.
    """
    file = SNAPSHOTS / "gaussian_float32.cl"
    text = texts("gaussian", "float", Schedule(lanes=8, rows=2, cols=2))[0]
    found = text[text.index("\n__kernel") + 1 :]
    if os.environ.get("CLREDUCE_UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found)
    assert found == file.read_text(), "run with CLREDUCE_UPDATE_SNAPSHOTS=1 if the change is meant"
