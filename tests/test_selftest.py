"""A driver is believed after it has shown it: trials in processes of their own, and what follows from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from processes import output_of

from clreduce import trials
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import LOCAL, Schedule, choose_schedule
from clreduce.errors import ScheduleError
from clreduce.runtime import selftest
from clreduce.runtime.child import run_child
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.devices import devices
from clreduce.runtime.selftest import Verdict, examine, kept_verdict

HERE = Path(__file__).parent
ROOT = HERE.parent
CHILD = """
import os, sys, time
def main(argument, report):
    print("noise of a driver")
    report({"number": 1})
    print("last words", file=sys.stderr, flush=True)
    ends = {"good": lambda: None, "abort": os.abort, "hang": lambda: time.sleep(60), "exit": lambda: os._exit(3)}
    ends[argument["how"]]()
    report({"number": 2})
"""


# ------------------------------------------------------------------------------------------------------- the child


@pytest.mark.parametrize(
    ("how", "numbers", "failure"),
    [
        ("good", [1, 2], ""),
        ("abort", [1], "was ended by SIGABRT"),
        ("exit", [1], "ended with status 3"),
        ("hang", [1], "hung for 1 s"),
    ],
)
def test_what_a_child_reports_before_it_ends_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, numbers: list[int], failure: str
) -> None:
    (tmp_path / "some_child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(str(tmp_path))
    silence = 1.0 if how == "hang" else 30.0
    report = run_child("some_child", {"how": how}, silence, 60.0, {})
    assert [line["number"] for line in report.lines] == numbers
    assert report.failure == failure
    assert "last words" in report.stderr


def test_a_child_that_is_never_silent_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import time\ndef main(argument, report):\n    while True:\n        report({})\n        time.sleep(0.1)\n"
    (tmp_path / "chatty_child.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    report = run_child("chatty_child", {}, 5.0, 2.0, {})
    assert report.failure == "did not end within 2 s"
    assert report.lines


# ------------------------------------------------------------------------------------------------------ the trial


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no verdict in memory."""
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path))
    monkeypatch.setenv("CLREDUCE_SELFTEST", "process")
    monkeypatch.setattr(selftest, "_verdicts", {})
    return tmp_path


def lying(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(selftest, "TRIALS", "lying_driver")
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("CLREDUCE_TEST_LIE", how)


def test_every_device_passes_with_what_it_is_known_for(device: Device) -> None:
    """In this process, so that it also shows which check fails: with the facts that are in use."""
    reports: list[dict[str, Any]] = []
    passed: list[str] = []
    trials.run(device, device.facts, passed, reports.append)
    names = [check.name for check in trials.checks_for(device.facts)]
    assert [line["check"] for line in reports if line.get("passed")] == names, reports[-1]


def test_a_verdict_is_kept_for_later_processes(folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    lying(monkeypatch, "")
    verdict = examine(device)
    assert verdict.usable
    assert verdict.applied(device.said) == device.facts
    monkeypatch.setattr(selftest, "_verdicts", {})
    monkeypatch.setattr(selftest, "run_child", None)
    assert kept_verdict(device) == examine(device) == verdict


def test_a_driver_that_lies_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = devices()[0]
    lying(monkeypatch, "always")
    verdict = examine(device)
    assert not verdict.usable
    assert "the check 'float32' failed: wrong numbers" in verdict.reason
    assert kept_verdict(device) == verdict


def test_a_device_gets_another_chance_after_a_day(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = devices()[0]
    lying(monkeypatch, "always")
    refused = examine(device)
    monkeypatch.setattr(selftest, "_verdicts", {})
    monkeypatch.setattr(selftest.time, "time", lambda: refused.time + 90000)
    assert kept_verdict(device) is None


@pytest.mark.parametrize("how", ["abort", "hang"])
def test_a_driver_that_dies_of_long_vectors_gets_shorter_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    device = next((one for one in devices() if one.facts.kind == "cpu" and one.facts.native_float_lanes > 2), None)
    if device is None:
        pytest.skip("no device with vectors of more than four lanes")
    lying(monkeypatch, how)
    monkeypatch.setattr(selftest, "_SILENCE", 8.0)
    verdict = examine(device)
    assert verdict.usable, verdict
    assert verdict.facts["most_lanes"] == 4
    assert ("SIGABRT" if how == "abort" else "hung") in verdict.notes[0]


def test_a_driver_that_maps_wrongly_gets_copies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = next((one for one in devices() if one.facts.shares_host_memory and one.facts.maps_memory), None)
    if device is None:
        pytest.skip("no device maps memory")
    lying(monkeypatch, "mapped")
    verdict = examine(device)
    assert verdict.usable
    assert not verdict.applied(device.said).maps_memory
    assert "arrays are copied instead of mapped" in verdict.notes[0]


def test_a_device_that_only_this_process_has_is_tried_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying(monkeypatch, "absent")
    assert examine(devices()[0]).usable


def test_a_fault_of_our_own_is_not_kept_against_a_driver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = devices()[0]
    lying(monkeypatch, "bug")
    with pytest.raises(TypeError, match="a fault of clreduce's own"):
        examine(device)
    assert kept_verdict(device) is None


def test_damaged_verdicts_are_no_verdicts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = devices()[0]
    for damage in (b"", b"[]", b"{}", b'{"notes": 3}', b'{"notes": [], "facts": {"no_such_fact": 1}}'):
        monkeypatch.setattr(selftest, "_verdicts", {})
        selftest.write_entry(selftest._entry(device), damage, selftest.DEVICES)
        assert kept_verdict(device) is None


def test_a_device_that_fails_is_passed_over_with_the_reason(folder: Path) -> None:
    """With all devices but the last one made to lie, or the only one: what explains, lists and refuses."""
    source = """
        import clreduce
        from clreduce.errors import DeviceError
        from clreduce.runtime import selftest
        selftest.TRIALS = "lying_driver"
        try:
            clreduce.current_device()
        except DeviceError as error:
            print(error)
        print(clreduce.explain_devices())
    """
    text = output_of(source, CLREDUCE_TEST_LIE="always")
    assert text.startswith("no OpenCL device found")
    assert text.count("wrong numbers") == 2 * len(devices())


def said_to_be_a_gpu(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "said", dataclasses.replace(device.said, kind="gpu", native_float_lanes=1))


def test_the_trial_of_a_gpu_finds_out_which_functions_kernels_may_call(
    folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its process, and kept on disk. One with a large error is not among them."""
    said_to_be_a_gpu(device, monkeypatch)
    names = examine(device, fresh=True).applied(device.said).native_functions
    assert names == tuple(trials.within_bounds(device))
    monkeypatch.setattr(selftest, "_verdicts", {})
    kept = kept_verdict(device)
    assert kept is not None
    assert kept.applied(device.said).native_functions == names
    lying(monkeypatch, "poor")
    poor = examine(device, fresh=True).applied(device.said).native_functions
    assert poor == tuple(name for name in names if name != "exp2")


def test_a_driver_that_dies_of_functions_of_the_hardware_is_used_without_them(
    folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_to_be_a_gpu(device, monkeypatch)
    lying(monkeypatch, "native")
    verdict = examine(device)
    assert verdict.usable
    assert verdict.applied(device.said).native_functions == ()
    assert any(note.startswith("all functions are clreduce's own") for note in verdict.notes)


def test_without_trials_drivers_are_believed(folder: Path) -> None:
    source = """
        import clreduce
        from clreduce.runtime import selftest
        selftest.TRIALS = "lying_driver"
        print(clreduce.current_device().facts == clreduce.current_device().said)
    """
    assert output_of(source, CLREDUCE_TEST_LIE="always", CLREDUCE_SELFTEST="off").strip() == "True"


# ---------------------------------------------------------------------------------------- what facts are used for


def test_schedules_respect_what_trials_have_shown() -> None:
    program = trials._sum()
    limited = DeviceFacts(native_float_lanes=16, most_lanes=4)
    assert choose_schedule(program, "float", limited).lanes == 4
    with pytest.raises(ScheduleError, match="at most 4 lanes"):
        Schedule(lanes=8).check(limited)
    no_tiles = DeviceFacts(kind="gpu", shares_host_memory=False, local_tiles=False)
    choose_schedule(program, "float", no_tiles).check(no_tiles)
    with pytest.raises(ScheduleError, match="does not handle"):
        Schedule(lanes=1, group=16, shape=LOCAL).check(no_tiles)


def test_kernels_without_builtins_of_compilers(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dataclasses.replace(device.facts, compiler_builtins=False)
    monkeypatch.setattr(device, "facts", plain)
    reports: list[dict[str, Any]] = []
    builds = PROGRAMS.builds
    trials.run(device, plain, [check.name for check in trials.checks_for(plain) if "float32" not in check.name],
               reports.append)  # fmt: skip
    assert [line for line in reports if "error" in line] == []
    assert len(reports) == 4
    assert PROGRAMS.builds > builds, "programs that were built with them are taken"


def test_the_first_check_asks_all_lanes_of_short_vectors_too() -> None:
    """A driver may fail at that alone, and on vectors of two lanes no other check asks it."""
    facts = DeviceFacts(driver="other", native_float_lanes=1)
    check = next(trials.checks_for(facts))
    schedule = choose_schedule(check.program, "float", facts)
    assert schedule.lanes == 2
    assert "if (ANY(" in render(lower(check.program, "float", schedule, facts).pair)


def test_a_verdict_is_a_value() -> None:
    facts = DeviceFacts()
    assert Verdict().applied(facts) == facts
    assert Verdict(facts={"most_lanes": 2}).applied(facts).most_lanes == 2
    assert not Verdict(reason="broken").usable
