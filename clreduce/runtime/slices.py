"""Long calls in slices: some work-groups, parts of j or indices of a batch at a time, so that each launch is short.

A launch cannot be stopped, and while Python waits for one it handles no signal. Rows do not depend on each other, nor
do the parts that j is cut into, so a call is cut into launches of about a second; between two of them Ctrl-C comes
through. The numbers are those of the whole launch, bit by bit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from clreduce.codegen.cost import written_out
from clreduce.codegen.facts import DeviceFacts
from clreduce.program import MapReduce

_FIRST, _USUAL, _WHOLE = 0.25, 0.8, 1.2
"""Seconds of a first launch, by a cautious estimate; of later ones, as measured; and of calls that are not cut."""
_GROWTH = 4.0
_CAUTIOUS = 0.5e9
"""Operations per second of each lane; a lane of a good kernel does four times as many."""
_GPU_LANES = 64


class Pace:
    """How many pairs a plan visits per second: an estimate at first, then as measured."""

    def __init__(self, program: MapReduce, facts: DeviceFacts, real: str, lanes: int) -> None:
        native = facts.native_float_lanes if real == "float" else facts.native_double_lanes
        side_by_side = _GPU_LANES if facts.kind == "gpu" else max(1, min(lanes, native))
        operations = 1 + written_out(program.values, sys.maxsize) + sum(slot.dim for slot in program.state_slots)
        self.first = _FIRST * facts.compute_units * side_by_side * _CAUTIOUS / operations
        """Pairs of the first launch."""
        self.is_measured = False
        self.most = 4 * self.first
        """Pairs up to which a call is one launch."""
        self.longest = max(1, int(self.most / facts.compute_units))
        """Pairs of one work-group from which on j is cut into parts. It is never measured: sums depend on it."""
        self.expected = 4 * self.first / _FIRST
        """Pairs per second of a good kernel."""
        self.measured = 0.0
        """Pairs per second of the last block that was timed where devices share a call; 0 before there was one."""

    @property
    def speed(self) -> float:
        """Pairs per second."""
        return self.first / _USUAL if self.is_measured else 4 * self.first / _FIRST

    def note(self, pairs: float, seconds: float) -> None:
        """A launch has visited so many pairs in this time."""
        speed = pairs / max(seconds, 1e-6)
        self.first, self.most, self.is_measured = _USUAL * speed, _WHOLE * speed, True


def in_slices(
    launch: Callable[[int, int, int, int, int, int], None],
    wait: Callable[[], None],
    groups: int,
    parts: int,
    count: int,
    pairs: float,
    pace: Pace,
    units: int,
    visited: Callable[[float], None] = lambda portion: None,
) -> None:
    """Call ``launch(group, groups, part, parts, index, indices)``, three intervals, for all ``groups``, parts, indices.

    Each interval is given by its first number and its length. Each launch but the last is waited for. ``pairs``: of a
    group and one part; ``units``: work-groups that run at the same time. ``visited`` is told which portion of all
    pairs each launch but the last has visited.

    >>> pace = Pace.__new__(Pace)
    >>> pace.first = 100.0
    >>> in_slices(lambda *part: print(part), lambda: None, 3, 1, 2, 40.0, pace, 1)
    (0, 2, 0, 1, 0, 1)
    (2, 1, 0, 1, 0, 1)
    (0, 3, 0, 1, 1, 1)
    >>> pace.first = 100.0
    >>> in_slices(lambda *part: print(part), lambda: None, 1, 4, 1, 40.0, pace, 2)
    (0, 1, 0, 2, 0, 1)
    (0, 1, 2, 2, 0, 1)
    """
    budget = pace.first
    group = part = index = 0
    while True:
        if group == part == 0 and groups * parts * pairs <= budget:
            indices = min(count - index, int(budget // (groups * parts * pairs)))
            interval = (0, groups, 0, parts, index, indices)
            index += indices
        elif part == 0 and parts * pairs * min(units, groups - group) <= budget:
            size = int(budget // (parts * pairs))
            size = min(size - size % units if size > units else size, groups - group)
            interval = (group, size, 0, parts, index, 1)
            group += size
        else:  # not all parts even of as many groups as run at the same time
            size = min(units if parts > 1 else max(1, int(budget // pairs)), groups - group)
            own = min(max(1, int(budget // (size * pairs))), parts - part)
            interval = (group, size, part, own, index, 1)
            part += own
            if part == parts:
                group, part = group + size, 0
        if group == groups:
            group, index = 0, index + 1
        start = time.perf_counter()
        launch(*interval)
        if index == count:
            return
        wait()
        number = interval[1] * interval[3] * interval[5]
        pace.note(number * pairs, time.perf_counter() - start)
        visited(number / (groups * parts * count))
        budget = min(pace.first, _GROWTH * budget)
