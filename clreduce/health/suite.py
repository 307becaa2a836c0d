"""The checks of each device in a process of its own, with a time limit, because a driver may crash or hang."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypedDict, cast

from clreduce.health.listing import surveyed
from clreduce.health.records import DeviceEntry, OutcomeEntry, TestedDevice
from clreduce.runtime.child import run_child

CHECKS_MODULE = "clreduce.health.checks"
"""The module whose ``CHECKS`` are run. Tests name a module with checks that fail."""
SECONDS = 60.0
"""The longest time for all checks of a device."""
RIGHT, WRONG, FAILED, SKIPPED = "right", "wrong", "failed", "skipped"
"""The states of a check: a result within the bound; a wrong result; no result; not run, as the process had ended."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check of a device."""

    check: str
    dtype: str
    state: str
    """``"right"``, ``"wrong"``, ``"failed"`` or ``"skipped"``."""
    error: float | None = None
    """The relative error; None without a result, or if the error is infinite."""
    bound: float | None = None
    """The largest error of a right result."""
    message: str = ""
    """The reason why a check has no result."""
    seconds: float = 0.0


class OutcomeReport(TypedDict):
    """A report of the child: the outcome of one check."""

    outcome: OutcomeEntry


def check_names(quick: bool, module: str = CHECKS_MODULE) -> list[str]:
    """The names of the checks of a module, or only of its quick checks, in their order."""
    return [check.name for check in importlib.import_module(module).CHECKS if check.quick or not quick]


def try_device(
    device: DeviceEntry, quick: bool = False, seconds: float = SECONDS, module: str = CHECKS_MODULE
) -> list[Outcome]:
    """The outcomes of the checks of a device, which is an entry of ``devices`` in a report or a listing."""
    dtypes = ("float32", "float64") if device["facts"]["has_double"] else ("float32",)
    planned = [(name, dtype) for dtype in dtypes for name in check_names(quick, module)]
    task: TestedDevice = {
        "identity": device["identity"], "twin": device["twin"], "changed_facts": device["changed_facts"],
        "module": module, "planned": planned,
    }  # fmt: skip
    report = run_child(__name__, dict(task), seconds, seconds, {})
    lines = [cast(OutcomeReport, line) for line in report.lines if "outcome" in line]
    outcomes = [Outcome(**line["outcome"]) for line in lines]
    if len(outcomes) < len(planned):
        check, dtype = planned[len(outcomes)]
        outcomes.append(Outcome(check, dtype, FAILED, message=_ending(report.failure, report.stderr)))
        outcomes += [Outcome(check, dtype, SKIPPED) for check, dtype in planned[len(outcomes) :]]
    return outcomes


def _ending(failure: str, stderr: str) -> str:
    last = stderr.strip().splitlines()[-1:]
    return ": ".join([f"the process {failure or 'ended early'}", *last])


def main(argument: TestedDevice, report: Callable[[OutcomeReport], None]) -> None:
    """The child's side of `try_device`."""
    twins = [device for device in surveyed() if device.identity == argument["identity"]]
    device = twins[argument["twin"]]
    device.facts = replace(device.said, **argument["changed_facts"])
    module = importlib.import_module(argument["module"])
    checks = {check.name: check for check in module.CHECKS}
    for name, dtype in argument["planned"]:
        start = time.perf_counter()
        bound: float = module.bound_of(dtype)
        state, message, relative = FAILED, "", None
        try:
            error: float = module.run_check(checks[name], device, dtype)
        except Exception as problem:  # a driver may raise anything
            message = f"{type(problem).__name__}: {problem}"
        else:
            state, relative = RIGHT if error <= bound else WRONG, error if error < float("inf") else None
        seconds = round(time.perf_counter() - start, 3)
        outcome = Outcome(name, dtype, state, relative, bound, message, seconds)
        report({"outcome": cast(OutcomeEntry, asdict(outcome))})


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether all checks gave right results."""
    return all(outcome.state == RIGHT for outcome in outcomes)
