"""Trials of drivers: a test of each device in a separate process, before its first use.

A trial (`clreduce.trials`, which this module knows by name only, because it lies on a higher floor) runs tiny programs
with known results. A feature that fails is switched off in a field of `DeviceFacts`, and the trial continues without
it. A device on which the simplest program fails is not used. The verdict is stored on disk for later processes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from clreduce.cache import entry_name, read_entry, write_entry
from clreduce.codegen.facts import DeviceFacts
from clreduce.runtime.child import PYTHON_ERROR, can_start_children, run_child
from clreduce.runtime.device import Device
from clreduce.runtime.drivers import NEWER
from clreduce.runtime.loader import temporary_folder

VARIABLE = "CLREDUCE_SELFTEST"
"""The environment variable: ``process`` (the default), ``inline`` (no separate process) or ``off`` (no trials)."""
DEVICES = "devices"
"""The kind of the cache entries of verdicts."""
TRIALS = "clreduce.trials"
NATIVE_FUNCTIONS = "native functions"
"""The last check of a GPU. It finds out which functions of the hardware kernels may call."""
_REVISION = "3"
"""Raise this number when trials change so much that earlier verdicts no longer hold."""
_SECONDS = 55.0
"""The time limit of all checks of a device together, in seconds."""
_SILENCE = 20.0
"""The time limit of one check in seconds. Most take one or two seconds; on a Raspberry Pi, ten times as long."""
_SECONDS_BETWEEN_REFUSALS = 86400.0
"""The seconds after which a device that was not usable is tried again."""
_LOGGER = logging.getLogger("clreduce.devices")


@dataclass(frozen=True)
class Verdict:
    """The result of the trial of a device."""

    reason: str = ""
    """The reason why the device is not used; "" if it is usable."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The fields of `DeviceFacts` that differ from those that the driver reports."""
    notes: tuple[str, ...] = ()
    """The features that are switched off, and the reasons, in words."""
    seconds: float = 0.0
    time: float = 0.0
    """The end of the trial, in seconds since 1970."""

    @property
    def usable(self) -> bool:
        return not self.reason

    def applied(self, facts: DeviceFacts) -> DeviceFacts:
        """``facts`` with the changes that the trial found necessary."""
        return replace(facts, **_hashable(self.facts))


def _hashable(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts from JSON, with tuples in place of lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}


_lock = threading.Lock()
_verdicts: dict[str, Verdict] = {}


def kept_verdict(device: Device) -> Verdict | None:
    """The verdict of an earlier trial, in this process or another; None if there is no valid one."""
    entry = _entry(device)
    verdict = _verdicts.get(entry) or _from_disk(device, entry)
    if verdict is not None:
        _verdicts[entry] = verdict
    return verdict


def examine(device: Device, *, fresh: bool = False) -> Verdict:
    """The verdict on ``device``: the stored one, or that of a new trial.

    A trial takes a few seconds, and a minute at most. With ``fresh``, there is always a new trial. The verdict is
    stored for later processes.
    """
    with _lock:
        verdict = None if fresh else kept_verdict(device)
        if verdict is None:
            verdict = _verdicts[_entry(device)] = _trial(device)
            if _mode() != "off":
                write_entry(_entry(device), json.dumps(asdict(verdict)).encode(), DEVICES)
        return verdict


def _mode() -> str:
    return os.environ.get(VARIABLE, "process")


# ------------------------------------------------------------------------------------------------------ the trial


def _trial(device: Device) -> Verdict:
    if _mode() == "off":
        return Verdict(time=time.time())
    _LOGGER.info("trying %r: this is done once, and the result is kept", device)
    start = time.monotonic()
    in_child = _mode() != "inline" and can_start_children()
    facts = device.said
    notes: list[str] = []
    passed: list[str] = []
    learned: dict[str, Any] = {}
    reason = ""
    with _own_pocl_cache() as variables:
        while not reason:
            left = start + _SECONDS - time.monotonic()
            if left <= 0:
                reason = f"it failed checks for {_SECONDS:.0f} s; {'; '.join(notes)}"
                break
            failure = _run_checks(device, facts, passed, learned, variables, left, in_child)
            if failure is None:
                break
            advice = _advice(failure, device)
            change = None if advice else _weaker(failure, facts)
            if change is None:
                reason = f"{failure.what}. {advice}".strip()
            else:
                facts = replace(facts, **change.facts)
                passed += filter(None, [change.left_out])
                notes.append(f"{change.words}: {failure.what}")
    facts = replace(facts, **_hashable(learned))
    seconds = time.monotonic() - start
    verdict = Verdict(reason, _differences(device.said, facts), tuple(notes), seconds, time.time())
    for note in notes:
        _LOGGER.info("%r: %s", device, note)
    if reason:
        _LOGGER.info("%r is not used: %s", device, reason)
    return verdict


@dataclass(frozen=True)
class _Failure:
    check: str
    what: str
    """A description of the failure."""
    in_time: bool = True
    """Whether the check ended in time."""


def _run_checks(
    device: Device,
    facts: DeviceFacts,
    passed: list[str],
    learned: dict[str, Any],
    variables: dict[str, str],
    seconds: float,
    in_child: bool,
) -> _Failure | None:
    """Run the checks that are not in ``passed``, up to the first failure.

    Checks that pass are added to ``passed``, and facts that they find are added to ``learned``.
    """
    argument: dict[str, object] = {"identity": device.identity, "facts": asdict(facts), "passed": list(passed)}
    lines: list[dict[str, Any]] = []
    ending, said = "", ""
    if in_child:
        try:
            report = run_child(TRIALS, argument, _SILENCE, seconds, variables)
        except OSError as error:
            _LOGGER.info("no process can be started for a trial (%s): it runs in this process", error)
            in_child = False
        else:
            lines, ending, said = list(report.lines), report.failure, report.stderr
            # The device exists in this process only, or there was a Python error, which this process will raise again.
            if {"missing": True} in lines or ending == PYTHON_ERROR:
                lines, ending, in_child = [], "", False
    if not in_child:
        importlib.import_module(TRIALS).run(device, facts, passed, lines.append)
    running = ""
    for line in lines:
        if "facts" in line:
            learned |= line["facts"]
            continue
        if "error" in line:
            return _Failure(line["check"], f"the check '{line['check']}' failed: {line['error']}")
        if line.get("passed"):
            passed.append(line["check"])
            running = ""
        else:
            running = line["check"]
    if not ending:
        return None
    last = said.strip().splitlines()[-1:]
    words = f" ({last[0]})" if last else ""
    where = f"during the check '{running}' the process" if running else "the process of the trial"
    return _Failure(running, f"{where} {ending}{words}", in_time="hung" not in ending)


@dataclass(frozen=True)
class _Change:
    """A feature that is switched off after a check has failed."""

    words: str
    facts: dict[str, Any]
    left_out: str = ""
    """A check that is left out from now on."""


def _weaker(failure: _Failure, facts: DeviceFacts) -> _Change | None:
    """The next feature to switch off after a failure; None if the check depends on nothing else."""
    check = failure.check
    if check == NATIVE_FUNCTIONS:
        return _Change("all functions are clreduce's own", {}, left_out=check)
    if check == "mapped arrays":
        return _Change("arrays are copied instead of mapped", {"maps_memory": False})
    if check == "arrays by address":
        return _Change("arrays are passed in buffers instead of by address", {"shares_addresses": False})
    if check == "local memory":
        return _Change("kernels use no local memory", {"local_tiles": False})
    native = facts.native_double_lanes if check.startswith("float64") else facts.native_float_lanes
    lanes = min(facts.most_lanes, 2 * native) if facts.kind == "cpu" else 1
    # If a compiler hangs, there is no time to try the changes one after the other.
    if check and facts.compiler_builtins and (failure.in_time or lanes == 1):
        return _Change("kernels use no builtins of the driver's compiler", {"compiler_builtins": False})
    if check and lanes > 1:
        changes = {"most_lanes": lanes // 2, "compiler_builtins": facts.compiler_builtins and failure.in_time}
        return _Change(f"vectors have at most {lanes // 2} lane{'s' if lanes > 2 else ''}", changes)
    if check.startswith("float64"):
        return _Change("float64 is not used", {"has_double": False, "native_double_lanes": 0})
    return None


def _advice(failure: _Failure, device: Device) -> str:
    """A remedy for a failure with a known cause; "" for other failures."""
    if "unknown target CPU" in failure.what:
        return NEWER
    if device.said.driver == "pocl" and not any(map(shutil.which, ("ld", "ld.lld"))):
        return (
            "PoCL links each kernel with the system's linker, and there is no 'ld' on PATH: install binutils and a C "
            "library (Debian: apt install gcc has both), or Intel's driver, which needs none "
            '(pip install "clreduce[cpu]")'
        )
    return ""


def _differences(said: DeviceFacts, facts: DeviceFacts) -> dict[str, Any]:
    before, after = asdict(said), asdict(facts)
    changed = {name: value for name, value in after.items() if value != before[name]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}  # as in JSON


@contextlib.contextmanager
def _own_pocl_cache() -> Iterator[dict[str, str]]:
    """Environment variables that give a trial a PoCL cache of its own: a crash may leave damaged entries behind."""
    try:
        folder = temporary_folder("clreduce-trial-")
    except OSError:
        yield {}
        return
    try:
        yield {"POCL_CACHE_DIR": str(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------ kept on disk


def _entry(device: Device) -> str:
    """The name of a verdict's cache entry, from all that it depends on. PoCL's kernels also depend on the linker."""
    linker = ""
    if device.said.driver == "pocl":
        path = shutil.which("ld") or shutil.which("ld.lld") or ""
        with contextlib.suppress(OSError):
            linker = f"{path} {os.stat(path).st_mtime_ns}" if path else ""
    versions = [_version(name) for name in ("clreduce", "pyopencl")]
    return entry_name("verdict", _REVISION, device.identity, linker, *versions)


@cache
def _version(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _from_disk(device: Device, entry: str) -> Verdict | None:
    data = read_entry(entry, DEVICES)
    try:
        record = json.loads(data or b"null")
        verdict = Verdict(**{**record, "notes": tuple(record["notes"])})
        verdict.applied(device.said)
        outdated = not verdict.usable and time.time() - verdict.time > _SECONDS_BETWEEN_REFUSALS
    except (ValueError, TypeError, KeyError):
        return None
    return None if outdated else verdict
