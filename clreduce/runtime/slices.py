"""Long calls in slices: short launches of some work-groups, parts of j or indices of a batch at a time.

A launch cannot be stopped, and Python handles no signal while it waits for one. Rows are independent of each other, and
so are the parts of j. A long call is therefore cut into launches of about a second, and Ctrl-C takes effect between
two of them. The results have the same bits as those of a single launch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from clreduce.codegen.cost import written_out
from clreduce.codegen.facts import DeviceFacts
from clreduce.program import MapReduce

_FIRST, _USUAL, _WHOLE = 0.25, 0.8, 1.2
"""Seconds of a first launch by a cautious estimate, of later launches as measured, and of the longest uncut call."""
_GROWTH = 4.0
_CAUTIOUS = 0.5e9
"""A cautious estimate of the operations per second of a lane. Good kernels perform four times as many."""
_GPU_LANES = 64


class Pace:
    """The speed of a plan in pairs per second: estimated at first, then measured."""

    def __init__(self, program: MapReduce, facts: DeviceFacts, real: str, lanes: int) -> None:
        native = facts.native_float_lanes if real == "float" else facts.native_double_lanes
        side_by_side = _GPU_LANES if facts.kind == "gpu" else max(1, min(lanes, native))
        operations = 1 + written_out(program.values, sys.maxsize) + sum(slot.dim for slot in program.state_slots)
        self.first = _FIRST * facts.compute_units * side_by_side * _CAUTIOUS / operations
        """The number of pairs of the first launch."""
        self.is_measured = False
        self.most = 4 * self.first
        """The most pairs of a call with a single launch."""
        self.longest = max(1, int(self.most / facts.compute_units))
        """The most pairs of a work-group before j is cut into parts. It is not measured, because sums depend on it."""
        self.expected = 4 * self.first / _FIRST
        """The pairs per second of a good kernel."""
        self.measured = 0.0
        """The measured pairs per second in calls that devices share; 0 before the first measurement."""

    @property
    def speed(self) -> float:
        """The pairs per second: measured, or estimated before the first measurement."""
        return self.first / _USUAL if self.is_measured else 4 * self.first / _FIRST

    def note(self, pairs: float, seconds: float) -> None:
        """Record that a launch has visited ``pairs`` in ``seconds``."""
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
    """Launch all ``groups``, ``parts`` and ``count`` indices of a batch in slices.

    A slice is ``launch(group, groups, part, parts, index, indices)``.
    Each slice consists of three intervals, given by the first number and the length. It waits for each launch except
    the last. ``pairs`` is the number of pairs of a group in one part, and ``units`` is the number of work-groups that
    run at the same time. After each launch except the last, ``visited`` receives the fraction of all pairs that it
    visited.

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
        else:  # too many pairs for all parts of even ``units`` groups
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
