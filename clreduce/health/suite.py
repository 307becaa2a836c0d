"""The checks of each device in a process of its own, with a time limit: a driver may crash or hang there."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clreduce.health.listing import surveyed
from clreduce.runtime.child import run_child

CHECKS_MODULE = "clreduce.health.checks"
"""The module whose ``CHECKS`` are run. Tests give another one, whose checks fail as they are meant to."""
SECONDS = 60.0
"""The time for all checks of a device."""
RIGHT, WRONG, FAILED, SKIPPED = "right", "wrong", "failed", "skipped"
"""States of a check: a result within bounds or not; no result; not run, for the process had ended before."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check of a device."""

    check: str
    dtype: str
    state: str
    """``"right"``, ``"wrong"``, ``"failed"`` or ``"skipped"``."""
    error: float | None = None
    """The relative error, where there is a result; an infinite one is None, too."""
    bound: float | None = None
    """The largest error of a right result."""
    message: str = ""
    """Why there is no result."""
    seconds: float = 0.0


def check_names(quick: bool, module: str = CHECKS_MODULE) -> list[str]:
    """The names of the checks that are run, in their order."""
    return [check.name for check in importlib.import_module(module).CHECKS if check.quick or not quick]


def try_device(
    device: Mapping[str, Any], quick: bool = False, seconds: float = SECONDS, module: str = CHECKS_MODULE
) -> list[Outcome]:
    """The outcome of each check on a device, which is an entry of ``devices`` in the report of a survey."""
    dtypes = ("float32", "float64") if device["facts"]["has_double"] else ("float32",)
    planned = [(name, dtype) for dtype in dtypes for name in check_names(quick, module)]
    argument = {key: device[key] for key in ("identity", "twin", "changed_facts")}
    argument |= {"module": module, "planned": planned}
    report = run_child(__name__, argument, seconds, seconds, {})
    outcomes = [Outcome(**line["outcome"]) for line in report.lines if "outcome" in line]
    if len(outcomes) < len(planned):
        check, dtype = planned[len(outcomes)]
        outcomes.append(Outcome(check, dtype, FAILED, message=_ending(report.failure, report.stderr)))
        outcomes += [Outcome(check, dtype, SKIPPED) for check, dtype in planned[len(outcomes) :]]
    return outcomes


def _ending(failure: str, stderr: str) -> str:
    last = stderr.strip().splitlines()[-1:]
    return ": ".join([f"the process {failure or 'ended early'}", *last])


def main(argument: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """The child's side of `try_device`."""
    twins = [device for device in surveyed() if device.identity == argument["identity"]]
    device = twins[argument["twin"]]
    device.facts = replace(device.said, **argument["changed_facts"])
    module = importlib.import_module(argument["module"])
    checks = {check.name: check for check in module.CHECKS}
    for name, dtype in argument["planned"]:
        start = time.perf_counter()
        outcome: dict[str, Any] = {"check": name, "dtype": dtype, "bound": module.bound_of(dtype)}
        try:
            error = module.run_check(checks[name], device, dtype)
        except Exception as problem:  # a driver may raise anything
            outcome |= {"state": FAILED, "message": f"{type(problem).__name__}: {problem}"}
        else:
            finite = error < float("inf")
            outcome |= {"state": RIGHT if error <= outcome["bound"] else WRONG, "error": error if finite else None}
        report({"outcome": outcome | {"seconds": round(time.perf_counter() - start, 3)}})


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether all checks gave right results."""
    return all(outcome.state == RIGHT for outcome in outcomes)
