"""Simpler schedules for kernels that a driver refuses to build."""

from __future__ import annotations

from dataclasses import replace

from clreduce.codegen.schedule import DIRECT, LOCAL, Schedule

_ONE_WARP = 32


def simpler(schedule: Schedule) -> Schedule | None:
    """The schedule to try after ``schedule``; None if there is no simpler one. It computes the same values more slowly.

    The steps are: one row and one column at a time, without queues; fewer lanes; a small work-group; no local memory.

    >>> simpler(Schedule(lanes=16, rows=2, cols=4)) == Schedule(lanes=16, rows=1, cols=1)
    True
    >>> [simpler(Schedule(lanes=lanes, rows=1, cols=1)).lanes for lanes in (16, 8, 4, 2)]
    [4, 2, 1, 1]
    >>> simpler(Schedule(lanes=1, rows=1, cols=1)) is None
    True
    """
    short = replace(schedule, rows=1, cols=1, queue=0, prefilter=0)
    if short != schedule:
        return short
    if schedule.lanes > 1:
        return replace(schedule, lanes=max(1, schedule.lanes // 4))
    if schedule.shape == LOCAL:
        if schedule.group > _ONE_WARP:
            return replace(schedule, group=_ONE_WARP)
        return replace(schedule, shape=DIRECT, group=1)
    return None
