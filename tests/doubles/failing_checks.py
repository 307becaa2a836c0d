"""Checks of which one does to its process what a driver may do: the environment variable FAILURE says what."""

from __future__ import annotations

import os
import signal
import sys
import time

from clreduce.health.checks import Check, bound_of

__all__ = ["CHECKS", "bound_of", "run_check"]


def run_check(check, device, dtype):
    return check.run(dtype)


def _well(dtype):
    return 0.0


def _fail(dtype):
    failure = os.environ["FAILURE"]
    if failure == "none":
        return 0.0
    print("LLVM ERROR: something", file=sys.stderr, flush=True)
    print("a driver's own words on the standard output")
    if failure == "abort":
        os.abort()
    elif failure == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif failure == "exit":
        os._exit(0)
    elif failure == "hang":
        time.sleep(600)
    elif failure == "nan":
        return float("nan")
    raise ValueError("not today")


CHECKS = (Check("well", _well, quick=True), Check("ill", _fail, quick=True), Check("late", _well))
