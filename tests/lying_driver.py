"""Trials on a driver that is made to misbehave: the test double of `test_selftest`, run in the process of a trial.

``CLREDUCE_TEST_LIE`` says how: ``always`` and ``mapped`` spoil one number of a result, ``abort`` and ``hang`` stop the
process where vectors have more than four lanes, ``bug`` raises an error there, ``absent`` hides the device, ``native``
stops the process at a function of the hardware, and ``poor`` gives one of those the error of half a digit.
"""

from __future__ import annotations

import os
import time
from typing import Any

from clreduce import trials
from clreduce.runtime.launch import Launched
from clreduce.runtime.plan import Plan

wait, launch = Launched.wait, Plan.launch


def lie() -> str:
    return os.environ.get("CLREDUCE_TEST_LIE", "")


def spoilt(self: Launched) -> tuple[Any, ...]:
    results = wait(self)
    facts = self.call.plan.device.facts if self.call is not None else None
    if lie() == "always" or (lie() == "mapped" and facts is not None and facts.maps_memory):
        results[0].reshape(-1)[-1] += 1
    if lie() == "poor" and self.call is not None and "native_exp2" in self.call.plan.source:
        results[0][:] *= 1.1
    return results


def stopped(self: Plan, *arguments: Any, **options: Any) -> Launched:
    if self.schedule.lanes > 4:
        if lie() == "abort":
            os.abort()
        elif lie() == "hang":
            time.sleep(60)
        elif lie() == "bug":
            raise TypeError("a fault of clreduce's own")
    if lie() == "native" and "native_" in self.source:
        os.abort()
    return launch(self, *arguments, **options)


def main(argument: dict[str, Any], report: trials.Report) -> None:
    Launched.wait, Plan.launch = spoilt, stopped  # type: ignore[method-assign]
    trials.main({**argument, "identity": ""} if lie() == "absent" else argument, report)


def run(*arguments: Any) -> None:
    if lie() == "bug":
        raise TypeError("a fault of clreduce's own")
    trials.run(*arguments)
