"""`PLANS`: the plans of this process, which are made once."""

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
"""Columns from which on a kernel of its own for few rows is worth building, though no choice was measured."""


class PlanCache:
    """Plans by program, signature, device and schedule; the least recently used dropped beyond ``limit``."""

    def __init__(self, limit: int = 1024) -> None:
        self.forgotten = 0
        """How often plans were forgotten because others shall take their place."""
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
        """The plan, made if need be. ``direct_sum``: without the blocks that schedules sum in otherwise; not
        ``measured``: with the default schedule for many rows, whatever was measured.

        For few ``rows``, or blocks of few rows, it is another one than for many if there are many ``columns``, or if a
        schedule was chosen by measuring there.
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
