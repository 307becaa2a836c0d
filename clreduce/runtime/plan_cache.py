"""`PLANS`: the cache of the plans of this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clreduce.codegen.schedule import Schedule
from clreduce.memo import Memo
from clreduce.program import MapReduce
from clreduce.runtime.choices import CHOICES, Case, few_rows
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan
from clreduce.runtime.signature import Signature

_WORTH_A_KERNEL = 4096
"""With this many columns, a separate kernel for few rows is worth building even without tuning."""


class PlanCache:
    """A cache of up to ``limit`` plans, by program, signature, device and schedule."""

    def __init__(self, limit: int = 1024) -> None:
        self.forgotten = 0
        """The number of times that plans were forgotten, so that others replace them."""
        self._plans: Memo[Any, Plan] = Memo(limit)

    def get(
        self,
        program: MapReduce,
        signature: Signature,
        device: Device,
        schedule: Schedule | None = None,
        direct_sum: bool = False,
        rows: int | None = None,
        columns: int = 0,
        measured: bool = True,
    ) -> Plan:
        """The plan, made if necessary.

        With ``direct_sum``, the plan does not add up in blocks. Without ``measured``, it has the default schedule for
        many rows and ignores tuning. Few ``rows`` (or blocks of few rows) have a plan of their own if there are many
        ``columns``, or if tuning has chosen a schedule for them.
        """
        few = (
            0 if rows is None or schedule is not None or not measured else few_rows(min(rows, signature.blocks or rows))
        )
        if few and columns < _WORTH_A_KERNEL:
            few = few if CHOICES.get(Case(program, signature.real, device, direct_sum, few, signature.wide)) else 0
        if schedule is not None and direct_sum:
            schedule = replace(schedule, flush=False)
        key = (program, signature, device, schedule, direct_sum, few, measured)
        return self._plans.fetch(key, lambda: Plan(program, signature, device, schedule, direct_sum, few, measured))

    def __len__(self) -> int:
        return len(self._plans)

    def forget(self, program: MapReduce) -> None:
        """Forget the plans of a program."""
        self.forgotten += 1
        for key in list(self._plans):
            if key[0] == program:
                self._plans.pop(key, None)

    def clear(self) -> None:
        """Forget all plans."""
        self.forgotten += 1
        self._plans.clear()


PLANS = PlanCache()
