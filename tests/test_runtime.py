"""Building, keeping and running programs: what goes wrong says so, and nothing on disk can break a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from processes import run_python

import clreduce
from clreduce import cache
from clreduce.cache import cache_folder, entry_name, read_entry, write_entry
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import LOCAL, Schedule, check_state, choose_schedule
from clreduce.errors import CompileError, DeviceError, DtypeError
from clreduce.numpy import Genred
from clreduce.runtime import compiler
from clreduce.runtime.blocks import Footprint, cut_columns
from clreduce.runtime.compiler import PROGRAMS, ProgramCache
from clreduce.runtime.devices import devices
from clreduce.runtime.launch import Call
from clreduce.runtime.memory import Memory
from clreduce.runtime.plan import Plan, signature_of
from clreduce.runtime.plan_cache import PlanCache
from clreduce.runtime.region import Region

GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
SCRIPT = """
import numpy as np
from clreduce.numpy import Genred
from clreduce.runtime import compiler
sources = []
build = compiler._from_source
compiler._from_source = lambda source, device: sources.append(source) or build(source, device)
x = np.linspace(0, 1, 60).reshape(20, 3)
routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
assert np.allclose(routine(x, x)[:, 0], ((x[:, None] - x[None]) ** 2).sum((1, 2)))
print(len(sources))
"""


def keeping() -> str:
    """A selector of a device whose driver leaves it to clreduce to keep programs."""
    for number, device in enumerate(devices()):
        if not compiler._keeps_programs(device) and device.facts.driver != "oclgrind":
            return str(number)
    pytest.skip("all drivers here keep programs themselves")


def test_a_kernel_that_the_driver_refuses(device: Any) -> None:
    source = "__kernel void broken(__global float* out) { out[0] = no_such_name; }"
    with pytest.raises(CompileError, match="no_such_name") as caught:
        PROGRAMS.build(source, device)
    assert caught.value.source == source


def test_pocl_without_a_linker_is_an_error_and_no_abort(tmp_path: Path) -> None:
    if not any(device.facts.driver == "pocl" for device in devices()):
        pytest.skip("no PoCL here")
    variables = {"PATH": str(tmp_path), "CLREDUCE_CACHE_FOLDER": "", "CLREDUCE_SELFTEST": "process"}
    result = run_python(SCRIPT, CLREDUCE_DEVICE="pocl", **variables)
    assert result.returncode == 1
    assert "DeviceError" in result.stderr
    assert "binutils" in result.stderr
    if any(device.facts.driver == "intel" for device in devices()):
        assert run_python(SCRIPT, **variables).stdout.strip() == "1", "Intel's driver needs no linker"


def test_no_part_makes_more_turns_than_a_driver_allows() -> None:
    facts = DeviceFacts(most_turns=1000)
    parts = cut_columns(1000, 10**6, Schedule(cols=4), facts, 16000, 1, Footprint(turns=10))
    assert parts.length == 400
    assert parts.count == 2500
    assert cut_columns(1000, 10**6, Schedule(cols=1, split=1), facts, 16000).length == 1000


def test_a_later_process_builds_nothing_from_source(tmp_path: Path) -> None:
    runs = [run_python(SCRIPT, CLREDUCE_CACHE_FOLDER=str(tmp_path), CLREDUCE_DEVICE=keeping()) for _ in range(2)]
    assert [result.stdout.strip() for result in runs] == ["1", "0"], runs[1].stderr


def test_what_a_compiler_says_of_a_binary_is_kept_from_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: Any
) -> None:
    import pyopencl as cl

    class Talkative:
        def __init__(self, *arguments: Any) -> None:
            pass

        def get_info(self, *arguments: Any) -> int:
            warnings.warn("Pre-build attribute access defeats compiler caching.", stacklevel=1)
            return 1

        def build(self, *arguments: Any) -> str:
            warnings.warn("Non-empty compiler output encountered.", cl.CompilerWarning, stacklevel=1)
            return "built"

    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path))
    monkeypatch.setattr(cl, "Program", Talkative)
    write_entry(compiler._entry("source", device), b"binary")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiler._from_disk("source", device) == "built"
        assert compiler._from_source("source", device) == "built"


def cache_of(monkeypatch: pytest.MonkeyPatch, device: Any, count: int = 10) -> tuple[ProgramCache, list[str]]:
    """A cache with programs that are not on disk yet, each of which takes 0.2 s to save; and those that were saved."""
    now, saved = [0.0], []

    def slow(source: str, device: Any, program: Any) -> None:
        now[0] += 0.2
        saved.append(source)

    monkeypatch.setattr(compiler, "_to_disk", slow)
    monkeypatch.setattr(compiler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    programs = ProgramCache()
    programs._process = os.getpid()
    for source in map(str, range(count)):
        programs._programs.keep(compiler._key(source, device), object())
        programs._unsaved.keep((source, device), None)
    return programs, saved


def others_may_build(programs: ProgramCache) -> bool:
    """Whether a thread that wants to build need not wait."""

    def ask() -> bool:
        return programs._building.acquire(blocking=False) and programs._building.release() is None

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()


def test_saving_begins_with_the_newest_and_nothing_more_after_half_a_second(
    monkeypatch: pytest.MonkeyPatch, device: Any
) -> None:
    programs, saved = cache_of(monkeypatch, device)
    programs.save()
    assert saved == ["9", "8", "7"]
    assert others_may_build(programs)


def test_nothing_is_saved_while_another_thread_builds(monkeypatch: pytest.MonkeyPatch, device: Any) -> None:
    programs, saved = cache_of(monkeypatch, device)
    building, done = threading.Event(), threading.Event()

    def build(source: str, device: Any) -> object:
        building.set()
        done.wait()
        return object()

    monkeypatch.setattr(compiler, "_from_disk", build)
    monkeypatch.setattr(compiler, "_keeps_programs", lambda device: False)
    thread = threading.Thread(target=programs.build, args=("another", device), daemon=True)
    thread.start()
    assert building.wait(60)
    programs.save()
    assert saved == []
    done.set()
    thread.join(60)
    programs.save()
    assert saved == ["9", "8", "7"]


def test_no_thread_begins_to_build_while_programs_are_saved(monkeypatch: pytest.MonkeyPatch, device: Any) -> None:
    programs, saved = cache_of(monkeypatch, device)
    monkeypatch.setattr(compiler, "_to_disk", lambda *entry: saved.append(others_may_build(programs)))
    programs.save()
    assert saved == [False] * 10
    programs._at_exit()
    assert not others_may_build(programs)


def test_a_process_ends_while_a_thread_of_it_compiles(device: Any, tmp_path: Path) -> None:
    """For half a minute, if nobody ended it: some drivers abort a process that exits meanwhile."""
    script = """
        import threading
        from clreduce.runtime import compiler
        from clreduce.runtime.devices import current_device
        build, compiling = compiler._from_source, threading.Event()
        compiler._from_source = lambda *given: (compiling.set(), build(*given))[1]
        long = "__kernel void long_one(__global float* a) { %s }" % ("a[0] = sin(a[0]) + a[1]; " * 100_000)
        threading.Thread(target=compiler.PROGRAMS.build, args=(long, current_device()), daemon=True).start()
        assert compiling.wait(100)
        print("ends")
    """
    number = str(devices().index(device))
    done = run_python(script, CLREDUCE_DEVICE=number, CLREDUCE_CACHE_FOLDER=str(tmp_path), POCL_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_entries_are_passed_over(tmp_path: Path, damage: bytes | None) -> None:
    run_python(SCRIPT, CLREDUCE_CACHE_FOLDER=str(tmp_path), CLREDUCE_DEVICE=keeping())
    (entry,) = (tmp_path / "programs").iterdir()
    kept = entry.read_bytes()
    entry.write_bytes(kept[: len(kept) // 2] if damage is None else damage)
    result = run_python(SCRIPT, CLREDUCE_CACHE_FOLDER=str(tmp_path), CLREDUCE_DEVICE=keeping())
    assert (result.returncode, result.stdout.strip()) == (0, "1"), result.stderr


def test_cold_processes_side_by_side(tmp_path: Path) -> None:
    # Each has its own PoCL cache, for PoCL's is not made for a cold start of several processes.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "CLREDUCE_CACHE_FOLDER": str(tmp_path / "ours"), "POCL_CACHE_DIR": str(folder)},
            stderr=subprocess.PIPE,
        )
        for folder in (tmp_path / str(number) for number in range(3))
        if folder.mkdir() is None
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert not list((tmp_path / "ours").glob("*/.new-*"))


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    result = run_python(SCRIPT, CLREDUCE_CACHE_FOLDER=str(in_the_way))
    assert (result.returncode, result.stdout.strip()) == (0, "1"), result.stderr


def test_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path))
    name = entry_name("some", "thing")
    assert name != entry_name("someth", "ing")
    assert read_entry(name) is None
    write_entry(name, b"data")
    assert read_entry(name) == b"data"
    (tmp_path / "mine").write_text("not ours")
    cache.clear()
    assert read_entry(name) is None
    assert (tmp_path / "mine").exists()
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "")
    assert cache_folder() is None
    write_entry(name, b"data")
    assert read_entry(name) is None


def test_clear_caches_forgets_everything(device: Any) -> None:
    x, y, b = (np.ones((5, n)) for n in (3, 3, 1))
    GAUSSIAN(x, y, b)
    clreduce.clear_caches()
    builds = PROGRAMS.builds
    GAUSSIAN(x, y, b)
    assert PROGRAMS.builds == builds + 1


def test_plans_are_shared_and_bounded(device: Any) -> None:
    renamed = Genred("Exp(-SqDist(u, v)) * w", ["u = Vi(3)", "v = Vj(3)", "w = Vj(1)"], "Sum", axis=1)
    assert renamed.plan("float64") is GAUSSIAN.plan("float64")
    assert renamed.plan("float64") is not GAUSSIAN.plan("float32")
    plans = PlanCache(limit=3)
    programs = [Genred("x|y", [f"x = Vi({dim})", f"y = Vj({dim})"], "Sum", axis=1).program for dim in range(1, 6)]
    made = [plans.get(program, signature_of("float32"), device) for program in programs]
    assert len(plans) == 3
    assert plans.get(programs[-1], signature_of("float32"), device) is made[-1]
    assert plans.get(programs[0], signature_of("float32"), device) is not made[0]


def test_an_array_beyond_the_device_is_refused_before_any_kernel(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "facts", replace(device.facts, max_allocation=1000, shares_addresses=False))
    with pytest.raises(DeviceError, match=r"does not fit into one buffer.*fewer rows"):
        Memory(device).input(np.zeros(1000))


def test_float64_on_a_device_without_it(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "facts", replace(device.facts, has_double=False))
    routine = Genred("x*y*7.25", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    with pytest.raises(DeviceError, match="no float64"):
        routine(np.ones((2, 1)), np.ones((2, 1)))


def test_indices_beyond_32_bits_need_float64(device: Any) -> None:
    routine = Genred("x*y", ["x = Vi(1)", "y = Vj(1)"], "ArgMin", axis=1)
    empty = np.zeros((0, 1), np.float32)
    with pytest.raises(DeviceError, match="use float64"):
        routine.plan("float32", device)([empty, empty], 1, 2**31)


def test_signatures() -> None:
    assert signature_of(np.dtype("float32")) is signature_of("float32")
    with pytest.raises(DtypeError, match="float16"):
        signature_of(np.float16)


@pytest.mark.parametrize("groups", [1, 3, 8, 1000])
@pytest.mark.parametrize("columns", [0, 1, 255, 2048, 5000, 10**6])
@pytest.mark.parametrize("schedule", [Schedule(), Schedule(tile=0), Schedule(split=5), Schedule(tile=7, split=3)])
def test_parts_cover_the_columns(groups: int, columns: int, schedule: Schedule) -> None:
    parts = cut_columns(groups, columns, schedule, DeviceFacts())
    assert parts.count >= 1
    assert parts.length >= 1
    assert parts.count * parts.length >= columns
    assert (parts.count - 1) * parts.length < max(columns, 1)


def test_parts_that_stay_in_cache() -> None:
    """On a CPU where columns are wide and many rows read them; their states take no more memory than the data."""
    cpu, wide = DeviceFacts(compute_units=2), Footprint(column=800, state=8)

    def count(rows: int, columns: int, footprint: Footprint, facts: DeviceFacts = cpu, **changes: int) -> int:
        return cut_columns(rows // 16, columns, Schedule(**changes), facts, rows, 1, footprint).count

    assert count(1600, 100_000, wide) == 36
    assert count(1600, 5_000, wide) == 1
    assert count(1600, 100_000, wide, split=3) == 3
    assert count(1_000_000, 100_000, wide) == 10  # 8 MB of states for each 8 MB of data
    assert count(1600, 100_000, Footprint(column=32, state=8)) == 1
    assert count(1600, 100_000, Footprint(column=800, state=160, terms=10)) == 7
    assert count(1600, 100_000, Footprint(column=80, state=160, terms=10)) == 1
    assert count(1600, 100_000, wide, DeviceFacts(kind="gpu", compute_units=2)) == 1
    in_a_batch = cut_columns(100_000, 100_000, Schedule(), cpu, 1_600_000, 100_000, wide)
    assert in_a_batch.count == 1  # each index has one block of rows, which reads its columns once


def test_parts_that_keep_rounding_errors_small() -> None:
    def count(rows: int, columns: int, rounds: bool = True, **changes: Any) -> int:
        footprint = Footprint(column=16, state=8, rounds=rounds)
        return cut_columns(100, columns, Schedule(**changes), DeviceFacts(compute_units=2), rows, 1, footprint).count

    assert count(1600, 10**7) == 76  # of about 512 tiles
    assert count(1600, 10**5) == 1
    assert count(1600, 10**7, rounds=False) == 1
    assert count(1600, 10**7, flush=False) == count(1600, 10**7, tile=0) == 1
    assert count(1_000_000, 10**7) == 8  # 64 MiB of states
    assert count(1600, 10**7, split=3) == 3


def test_cut_for_the_cache(device: Any) -> None:
    """The same result as in one part."""
    routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(40)", "y = Vj(40)", "b = Vj(1)"], axis=1)
    rng = np.random.default_rng(0)
    plan = routine.plan("float64", device)
    rows, columns = 8 * device.facts.compute_units * plan.schedule.group_rows, 14_000
    x, y, b = (rng.uniform(-0.3, 0.3, shape) for shape in ((rows, 40), (columns, 40), (columns, 1)))
    uncut = Plan(plan.program, plan.signature, device, replace(plan.schedule, split=1))
    assert Call(plan, Region(rows, columns)).parts.count > 1 or device.facts.kind != "cpu"
    np.testing.assert_allclose(routine(x, y, b), uncut([x, y, b], rows, columns)[0], rtol=1e-12)


AVX_512 = DeviceFacts(native_float_lanes=16, native_double_lanes=8)


@pytest.mark.parametrize(
    ("dtype", "few", "sizes"),
    [("float", 0, (16, 4, 4)), ("double", 0, (16, 2, 4)), ("float", 32, (16, 2, 8)), ("float", 4, (4, 1, 8))],
)
def test_the_policy_with_avx_512(dtype: str, few: int, sizes: tuple[int, int, int]) -> None:
    found = choose_schedule(GAUSSIAN.program, dtype, AVX_512, few)
    assert (found.lanes, found.rows, found.cols) == sizes


@pytest.mark.parametrize("facts", [AVX_512, DeviceFacts(native_float_lanes=8, native_double_lanes=4)])
def test_columns_that_share_work(facts: DeviceFacts) -> None:
    aliases = ["x = Vi(3)", "y = Vj(3)"]
    shared = choose_schedule(Genred("-SqDist(x, y)", aliases, "LogSumExp").program, "float", facts)
    alone = choose_schedule(Genred("Exp(-SqDist(x, y))", aliases, "Sum").program, "float", facts)
    assert (shared.cols, alone.cols) == (8, 4)
    assert shared.rows <= alone.rows


@pytest.mark.parametrize("facts", [AVX_512, DeviceFacts(native_float_lanes=8, native_double_lanes=4)])
@pytest.mark.parametrize("dtype", ["float", "double"])
@pytest.mark.parametrize(("reduction", "dim", "count"), [("Sum", 70_000, 1), ("ArgKMin", 1, 20_000)])
def test_the_policy_leaves_room_for_long_states(
    facts: DeviceFacts, dtype: str, reduction: str, dim: int, count: int
) -> None:
    """A default is legal as long as one row fits."""
    formula = "x - y" if dim > 1 else "SqDist(x, y)"
    routine = Genred(formula, [f"x = Vi({dim})", f"y = Vj({dim})"], reduction, opt_arg=count if count > 1 else None)
    for few in (0, 32):
        found = choose_schedule(routine.program, dtype, facts, few)
        check_state(routine.program, found, 4 if dtype == "float" else 8)


def test_the_policy_knows_the_device() -> None:
    program = GAUSSIAN.program
    cpu = choose_schedule(program, "float", DeviceFacts(native_float_lanes=8))
    gpu = choose_schedule(program, "float", DeviceFacts(kind="gpu", max_group=64))
    assert (cpu.lanes, cpu.rows, cpu.group) == (16, 1, 1)
    assert (gpu.lanes, gpu.group, gpu.shape) == (1, 64, LOCAL)
    for dtype, facts in (("float", DeviceFacts()), ("double", DeviceFacts(native_double_lanes=1))):
        choose_schedule(program, dtype, facts).check(facts)
