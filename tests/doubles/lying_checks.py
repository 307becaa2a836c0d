"""The checks of a device, with a double around one kernel result: sums in float32 have a wrong number.

Only while a check runs: pytest imports this module, too, where it looks for doctests.
"""

from __future__ import annotations

from unittest.mock import patch

from clreduce.health import checks
from clreduce.health.checks import CHECKS, bound_of
from clreduce.runtime.launch import Launched

__all__ = ["CHECKS", "bound_of", "run_check"]

_wait = Launched.wait


def _lying(self):
    results = _wait(self)
    for result in results:
        if result.dtype == "float32" and result.shape == (70, 1):
            result[13] += 0.01
    return results


def run_check(check, device, dtype):
    with patch.object(Launched, "wait", _lying):
        return checks.run_check(check, device, dtype)
