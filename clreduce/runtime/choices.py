"""The schedules that tuning has chosen, in memory and on disk. Each new plan looks its schedule up here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from clreduce.cache import SCHEDULES, entry_name, has_entries, read_entry, write_entry
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.render import templates_digest
from clreduce.codegen.schedule import Schedule, block_operations, check_state, choose_schedule
from clreduce.errors import ScheduleError
from clreduce.ir.show import tree
from clreduce.memo import Memo
from clreduce.program import MapReduce
from clreduce.runtime.device import Device

_MOST = {
    "rows": 64,
    "cols": 64,
    "group": 4096,
    "tile": 65536,
    "unroll": 256,
    "queue": 256,
    "prefilter": 64,
    "split": 4096,
}
"""The largest values in a schedule that is read from disk; tuning stays far below them."""
FEW_ROWS = 32
"""Calls with up to this many rows have separate choices: they leave lanes idle, so other schedules are best."""
_GENERATOR = "2"
"""Raise this number when the code generator changes so much that earlier measurements no longer hold."""
_MOST_OPERATIONS = 1800
"""The most operations in the code of one block of pairs. Drivers compile longer code for minutes, and it is slow."""
_MOST_REMEMBERED = 4096


@dataclass(frozen=True)
class Case:
    """The key of a choice: everything that may decide which schedule is best."""

    program: MapReduce
    real: str
    """The OpenCL type of real numbers, ``"float"`` or ``"double"``."""
    device: Device
    direct_sum: bool = False
    """Whether terms are added to one running sum, without blocks."""
    few: int = 0
    """`few_rows` of the number of rows."""
    wide: bool = False
    """Whether accumulators have double precision, while formulas are computed in ``real``."""

    def default(self) -> Schedule:
        """The schedule of the default policy, which uses no measurements."""
        schedule = choose_schedule(self.program, self.real, self.device.facts, self.few)
        return replace(schedule, flush=False) if self.direct_sum else schedule


def few_rows(rows: int) -> int:
    """The size class of a number of rows: the next power of two up to `FEW_ROWS`, and 0 for more rows.

    >>> [few_rows(rows) for rows in (1, 2, 3, 5, 8, 9, 32, 33, 10**6)]
    [1, 2, 4, 8, 8, 16, 32, 0, 0]
    """
    return 1 << (rows - 1).bit_length() if 0 < rows <= FEW_ROWS else 0


def is_allowed(program: MapReduce, real: str, facts: DeviceFacts, schedule: Schedule, default: Schedule) -> bool:
    """Whether ``schedule`` is legal here, sums in blocks just as ``default`` does, and gives a kernel of fair size."""
    try:
        schedule.check(facts)
        check_state(program, schedule, 4 if real == "float" else 8)
    except ScheduleError:
        return False
    longest = max(_MOST_OPERATIONS, _operations(program, real, facts, default))
    return schedule.flush == default.flush and _operations(program, real, facts, schedule) <= longest


def _operations(program: MapReduce, real: str, facts: DeviceFacts, schedule: Schedule) -> int:
    """The operations in one block of pairs. An operation on several registers counts once per register."""
    native = facts.native_float_lanes if real == "float" else facts.native_double_lanes
    return block_operations(program, schedule) * max(1, schedule.lanes // max(1, native))


class Choices:
    """The chosen schedule of each `Case`. The disk is read once per case, and not at all if no choice is stored."""

    def __init__(self) -> None:
        self._chosen: Memo[Case, Schedule | None] = Memo(_MOST_REMEMBERED)

    def get(self, case: Case) -> Schedule | None:
        """The chosen schedule for ``case``; None if there is no choice, or if it is no longer allowed."""
        return self._chosen.fetch(case, lambda: _from_disk(case))

    def keep(self, case: Case, schedule: Schedule, measured: Mapping[str, object]) -> None:
        """Choose ``schedule`` for ``case`` from now on. The measurements are stored beside it, for information."""
        self._chosen.keep(case, schedule)
        record = {"schedule": asdict(schedule), **measured}
        write_entry(_entry(case), json.dumps(record, indent=1).encode(), SCHEDULES)

    def clear(self) -> None:
        """Forget the choices in memory. Those on disk stay until the cache folder is emptied."""
        self._chosen.clear()


CHOICES = Choices()


def _entry(case: Case) -> str:
    program = case.program
    structure = [tree(value) for value in program.values]
    structure += [f"{slot.params}" for slot in program.slots]
    structure += [program.reduction.name, str(program.reduction.count)]
    variant = [case.real, str(case.direct_sum), str(case.few), str(case.wide)]
    return entry_name("schedule", _GENERATOR + templates_digest(), case.device.identity, *variant, *structure)


def _from_disk(case: Case) -> Schedule | None:
    if not has_entries(SCHEDULES):
        return None  # most processes have never tuned anything
    data = read_entry(_entry(case), SCHEDULES)
    try:
        record = json.loads(data or b"null")
    except ValueError:
        return None
    schedule = _schedule_from(record.get("schedule") if isinstance(record, dict) else None)
    if schedule is None:
        return None
    allowed = is_allowed(case.program, case.real, case.device.facts, schedule, case.default())
    return schedule if allowed else None


def _schedule_from(record: Any) -> Schedule | None:
    """The schedule of a record; None unless it has exactly the fields of `Schedule`, with values of their types."""
    types = {field.name: type(field.default) for field in fields(Schedule)}
    if not isinstance(record, dict) or {name: type(value) for name, value in record.items()} != types:
        return None
    # The file may have been edited. Generating a kernel of larger sizes would take minutes and all memory.
    if any(record[name] > most for name, most in _MOST.items()):
        return None
    return Schedule(**record)
