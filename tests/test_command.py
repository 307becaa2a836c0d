"""The command ``clreduce`` as users run it: in processes of its own, on the drivers of this machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import PACKAGE, run_words

import clreduce
from clreduce.cache import entry_name, write_entry
from clreduce.cli import COMMANDS, build_parser
from clreduce.codegen.facts import DeviceFacts
from clreduce.health import listing, report, speed
from clreduce.health.checks import CHECKS
from clreduce.health.speed import Peak
from clreduce.runtime import selftest
from clreduce.runtime.child import run_child

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")


def run_command(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """``python -m clreduce`` with these arguments; a variable whose value is None is unset."""
    return run_words([sys.executable, "-m", "clreduce", *arguments], environment)


def json_of(*arguments: str, status: int = 0, **environment: str | None) -> dict[str, Any]:
    """The object that a command prints."""
    done = run_command(*arguments, "--json", **environment)
    assert done.returncode == status, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["schema"] == 1
    return result


def keys_of(value: Any) -> set[str]:
    """All keys of an object and of the objects in it, without those of facts and of the environment."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    inner = [keys_of(item) for key, item in value.items() if key not in ("facts", "changed_facts", "environment")]
    return set(value).union(*inner)


# ------------------------------------------------------------------------------------------------------- arguments


def test_every_command_has_help_that_fits_a_terminal():
    for command in COMMANDS:
        done = run_command(command, "--help", COLUMNS="80")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: clreduce {command}")
        assert max(map(len, done.stdout.splitlines())) <= 80
    parsers = [build_parser()]
    for parser in parsers:
        for action in parser._actions:
            assert action.help or action.metavar in ("COMMAND", "ACTION"), f"{parser.prog} {action.dest}"
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    assert len(parsers) == 1 + len(COMMANDS) + 3


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("such",),
        ("info", "--such"),
        ("bench", "--seconds", "-1"),
        ("bench", "--device", "no such device"),
        ("selftest", "--device", "no such device"),
        ("selftest", "--timeout", "soon"),
        ("cache",),
        ("cache", "prune", "--max-bytes", "much"),
        ("cache", "clear", "--kind", "such"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_status_2_and_a_reason(arguments):
    done = run_command(*arguments, CLREDUCE_SELFTEST="off")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: clreduce")
    assert re.search(r"\nclreduce( \w+)*: error: .", done.stderr)


def test_version_and_entry_point():
    assert run_command("--version").stdout == f"clreduce {clreduce.__version__}\n"
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "clreduce = clreduce.cli:main" in setup


@pytest.mark.skipif(shutil.which("sh") is None or shutil.which("head") is None, reason="no shell on PATH")
def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m clreduce selftest --help | head -n 1"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------------------ info


def test_info_is_one_documented_object():
    info = json_of("info", CLREDUCE_SELFTEST="off")
    undocumented = {key for key in keys_of(info) if f"`{key}`" not in PAGE and key not in info["versions"]}
    assert not undocumented
    assert info["versions"]["clreduce"] == clreduce.__version__
    # Without trials, devices are listed that this process knows to fail.
    assert {device["name"] for device in info["devices"]} >= {device.name for device in clreduce.devices()}
    assert info["chosen"]["index"] == 0
    assert info["chosen"]["reason"].startswith("first in order of preference")
    assert [cache["owner"] for cache in info["caches"]] == ["clreduce", "PoCL"]
    assert info["environment"]["CLREDUCE_SELFTEST"] == "off"


def test_info_in_words():
    done = run_command("info", CLREDUCE_SELFTEST="off")
    assert (done.returncode, done.stderr) == (0, "")
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"clreduce {clreduce.__version__}, Python {sys.version.split()[0]}, numpy ")
    for heading in ("in use: 0: ", "caches:", "environment:", "problems:"):
        assert f"\n{heading}" in done.stdout


def test_info_where_the_chosen_device_is_missing():
    info = json_of("info", CLREDUCE_DEVICE="no such device", CLREDUCE_SELFTEST="off")
    assert info["chosen"]["index"] is None
    assert "fits no device" in info["chosen"]["reason"]
    (problem,) = [problem for problem in info["problems"] if problem["name"] == "device_choice"]
    assert problem["severity"] == "error"


def test_without_any_driver_info_says_so_and_how_to_get_one(tmp_path):
    nothing = tmp_path / "nothing.icd"
    nothing.write_text("/no/such/driver.so\n")
    done = run_command("info", OCL_ICD_VENDORS=str(nothing))
    assert done.returncode == 1
    assert "no OpenCL device found" in done.stdout
    assert "error: No OpenCL device is usable." in done.stdout
    assert "pip install" in done.stdout
    done = run_command("selftest", OCL_ICD_VENDORS=str(nothing))
    assert done.returncode == 1
    assert "There is no usable device." in done.stdout
    done = run_command("bench", OCL_ICD_VENDORS=str(nothing))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clreduce: no OpenCL device found")


def test_a_driver_that_crashes_when_it_is_listed_becomes_a_line(monkeypatch):
    def crashing(module, argument, *limits):
        return run_child("doubles.crash", argument, *limits)

    monkeypatch.setattr(listing, "run_child", crashing)
    info = report.survey()
    assert info["devices"] == []
    problem = info["problems"][0]
    assert (problem["name"], problem["severity"]) == ("listing", "error")
    assert "SIGABRT" in problem["what"]
    assert problem["what"].endswith("LLVM ERROR: no such processor")
    assert "OCL_ICD_VENDORS" in problem["cure"]
    assert "SIGABRT" in report.as_text(info)


# -------------------------------------------------------------------------------------------------------- selftest


def test_selftest_passes_on_the_first_device(device):
    words = str(list(clreduce.devices()).index(device))
    result = json_of("selftest", "--quick", "--device", words, CLREDUCE_SELFTEST="off")
    assert not {key for key in keys_of(result) if f"`{key}`" not in PAGE}
    (tested,) = result["devices"]
    assert (tested["name"], tested["passed"], result["passed"]) == (device.name, True, True)
    dtypes = ["float32", "float64"] if device.facts.has_double else ["float32"]
    names = [check.name for check in CHECKS if check.quick]
    assert [(check["check"], check["dtype"]) for check in tested["checks"]] == [(n, d) for d in dtypes for n in names]
    assert all(0 <= check["error"] <= check["bound"] for check in tested["checks"])


def test_selftest_names_the_device_that_lies():
    arguments = ("selftest", "--device", "0", "--quick", "--checks", "doubles.lying_checks")
    done = run_command(*arguments, CLREDUCE_SELFTEST="off")
    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if line.startswith("0 "))
    assert "WRONG" in row
    assert " FAILED " in row
    assert re.search(
        r"0 .*: sum in float32: wrong numbers, relative error \de-0\d \(right: at most 1e-05\)", done.stdout
    )
    assert "0 of 1 device passed." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("abort", "the process was ended by SIGABRT: LLVM ERROR: something"),
        ("kill", "the process was ended by SIGKILL"),
        ("hang", r"the process .* [23] s"),
        ("exit", "the process ended early"),
        ("raise", "ValueError: not today"),
    ],
)
def test_a_check_that_ends_its_process_is_reported_and_not_suffered(failure, words):
    arguments = ("selftest", "--device", "0", "--timeout", "3", "--checks", "doubles.failing_checks")
    result = json_of(*arguments, status=1, FAILURE=failure, CLREDUCE_SELFTEST="off")
    (tested,) = result["devices"]
    states = [check["state"] for check in tested["checks"]]
    after = "right" if failure == "raise" else "skipped"
    assert states[:3] == ["right", "failed", after]
    assert re.search(words, tested["checks"][1]["message"])
    assert (tested["passed"], result["passed"]) == (False, False)


def test_nan_is_a_wrong_number():
    arguments = ("selftest", "--device", "0", "--quick", "--checks", "doubles.failing_checks")
    result = json_of(*arguments, status=1, FAILURE="nan", CLREDUCE_SELFTEST="off")
    check = result["devices"][0]["checks"][1]
    assert (check["check"], check["state"], check["error"]) == ("ill", "wrong", None)


def test_selftest_tries_drivers_anew_and_keeps_what_it_learns(tmp_path, monkeypatch):
    """In a cache folder where a verdict is kept that no trial has given."""
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path))
    monkeypatch.delenv("CLREDUCE_SELFTEST", raising=False)
    first = clreduce.devices()[0]
    made_up = selftest.Verdict(notes=("made up",), time=time.time())
    write_entry(selftest._entry(first), json.dumps(asdict(made_up)).encode(), selftest.DEVICES)
    environment = {"CLREDUCE_CACHE_FOLDER": str(tmp_path), "CLREDUCE_SELFTEST": None, "FAILURE": "none"}
    assert json_of("info", **environment)["devices"][0]["learned"] == ["made up"]
    result = json_of("selftest", "--quick", "--device", "0", "--checks", "doubles.failing_checks", **environment)
    assert "made up" not in result["devices"][0]["learned"]
    assert json_of("info", **environment)["devices"][0]["learned"] == result["devices"][0]["learned"]


# ----------------------------------------------------------------------------------------------------------- bench


def test_bench_measures_each_workload():
    result = json_of("bench", "--seconds", "1", "--device", "0", CLREDUCE_SELFTEST="off")
    assert not {key for key in keys_of(result) if f"`{key}`" not in PAGE}
    dtypes = [peak["dtype"] for peak in result["peaks"]]
    assert [speed["dtype"] for speed in result["workloads"]] == [dtype for dtype in dtypes for _ in range(3)]
    for workload in result["workloads"]:
        assert workload["pairs"] == pytest.approx(
            1e3 * workload["rows"] * workload["columns"] / workload["milliseconds"], rel=1e-6
        )
        peak = next(peak for peak in result["peaks"] if peak["dtype"] == workload["dtype"])
        expected = workload["pairs"] * workload["operations"] / (2 * peak["multiply_adds"])
        assert workload["roofline"] == pytest.approx(expected, rel=1e-6)
        assert workload["verdict"].split(":")[0] in ("as expected", "slow")
        assert (workload["verdict"] == "as expected") == (workload["roofline"] >= speed.HEALTHY)


def test_bench_as_a_table():
    done = run_command("bench", "--seconds", "1", "--device", "0", CLREDUCE_SELFTEST="off")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\nGaussian sum +float32 +\d+ x \d+ +[\d.]+ +[\d.e-]+ +\d+% +(as expected|slow)\n", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    ("facts", "share", "words"),
    [
        ({"driver": "pocl"}, 0.3, "other programs"),
        ({"driver": "pocl", "llvm_version": 14}, 1.0, "old compiler"),
        ({"driver": "pocl", "llvm_version": 15}, 1.0, "tune"),
        ({"driver": "oclgrind"}, 1.0, "simulator"),
        ({"driver": "other"}, 1.0, "compiler of this driver"),
        ({"driver": "nvidia", "kind": "gpu"}, 0.3, "tune"),
    ],
)
def test_what_is_slow_comes_with_a_cause(facts, share, words):
    device = SimpleNamespace(facts=DeviceFacts(**facts))
    assert words in speed._cause(device, share)


def test_a_peak_below_what_the_processor_has_is_remarked(monkeypatch):
    monkeypatch.setattr(speed, "processor_flags", lambda: frozenset({"avx2", "avx512f"}))
    monkeypatch.setattr(speed, "processor_frequency", lambda: 3e9)
    device = SimpleNamespace(facts=DeviceFacts(compute_units=2, native_float_lanes=8))
    remarks = list(speed._remarks(device, Peak("float32", 20e9, 0.5)))
    assert [words in remark for words, remark in zip(("50%", "vectors of 8", "20 billion"), remarks, strict=True)]
    good = SimpleNamespace(facts=DeviceFacts(compute_units=2, native_float_lanes=16))
    assert list(speed._remarks(good, Peak("float32", 110e9, 1.0))) == []


# ----------------------------------------------------------------------------------------------------------- cache


def test_cache_is_shown_pruned_and_cleared(tmp_path):
    environment = {"CLREDUCE_CACHE_FOLDER": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path))
        for number in range(3):
            write_entry(entry_name("test", str(number)), bytes(20000))
        write_entry(entry_name("test"), bytes(100), "schedules")
    (tmp_path / "programs" / "notes.txt").write_text("mine")
    shown = json_of("cache", "show", **environment)
    assert not {key for key in keys_of(shown) if f"`{key}`" not in PAGE}
    assert {kind["kind"]: kind["entries"] for kind in shown["kinds"]} == {"programs": 3, "schedules": 1}
    assert re.search(r"\ntotal +4 +60 KB\n", run_command("cache", "show", **environment).stdout)
    assert run_command("cache", "prune", **environment).stdout == "removed 0 entries, 0 bytes\n"
    for arguments, words in (
        (("prune", "--max-bytes", "45k"), "removed 1 entry, 20 KB\n"),
        (("clear", "--kind", "schedules"), "removed 1 entry, 149 bytes\n"),
        (("clear",), "removed 2 entries, 40 KB\n"),
    ):
        assert run_command("cache", *arguments, **environment).stdout == words
    assert json_of("cache", "show", **environment)["kinds"] == []
    assert (tmp_path / "programs" / "notes.txt").read_text() == "mine"


def test_cache_that_is_switched_off():
    assert "Nothing is kept" in run_command("cache", "show", CLREDUCE_CACHE_FOLDER="").stdout
    assert json_of("cache", "show", CLREDUCE_CACHE_FOLDER="")["path"] is None
