"""Cuts of the i x j rectangle as data. For now: j into equal parts, whose states a merge kernel joins."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import Schedule

_SHORTEST_PART = 2048
_GROUPS_PER_UNIT = {"cpu": 4, "gpu": 8}


@dataclass(frozen=True)
class Parts:
    """``count`` parts of j of ``length`` columns each, the last perhaps shorter."""

    count: int
    length: int


def cut_columns(groups: int, columns: int, schedule: Schedule, facts: DeviceFacts) -> Parts:
    """As many parts as keep the device busy when ``groups`` work-groups share the rows; one if the rows are enough.

    >>> cut_columns(1, 10**6, Schedule(), DeviceFacts(compute_units=2))
    Parts(count=8, length=125184)
    >>> cut_columns(1000, 10**6, Schedule(), DeviceFacts(compute_units=2)).count
    1
    """
    wanted = schedule.split or -(-facts.compute_units * _GROUPS_PER_UNIT[facts.kind] // max(groups, 1))
    shortest = 1 if schedule.split else _SHORTEST_PART
    count = max(1, min(wanted, columns // shortest))
    step = max(schedule.tile, 1)
    length = max(1, -(-columns // (count * step)) * step)
    return Parts(max(1, -(-columns // length)), length)
