"""A timed search for the schedule of a program: neighbours of the best one so far, each raced against it.

Building a kernel takes far longer than timing it, so the search builds few and times each well: it climbs from the
default schedule to whichever neighbour is faster, and on from there, until no neighbour is or time is up. (To halve a
large field of candidates, all of it would have to be built first.)
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.render import render
from clreduce.codegen.schedule import DIRECT, LANES, LOCAL, Schedule
from clreduce.errors import ClreduceError
from clreduce.program import MapReduce
from clreduce.runtime.choices import CHOICES, Case, few_rows, is_allowed
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.profile import describe
from clreduce.runtime.region import Region
from clreduce.typing import Array

Report = Callable[[int, float], None]
"""Told after each candidate how many there were so far, and how many times as fast as the default the best is."""

_LOGGER = logging.getLogger("clreduce.schedules")
MARGIN = 1.03
"""A schedule is better only if it is so many times as fast; timings are not more exact than that."""
_HOPELESS = 1.2
"""A candidate that takes so many times as long in its first rounds gets no more of them."""
_SAMPLE_SECONDS = 0.02
"""One timed call takes at least so long, where the data suffice; calls of more data are cut down to about that."""
_SCREENING, _FINAL = (9, 0.3), (25, 0.6)
"""Rounds of a race, at least, and seconds that it may take if they are short; then there are more rounds."""
_MOST_ROUNDS = 60
_ROWS_PER_UNIT = {"cpu": 256, "gpu": 4096}
_TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
_MOST_OTHER_INDICES = 0.02
"""The part of the indices that rounding may turn into others, which are almost as good."""
_COLS, _ROWS, _UNROLL, _QUEUE = (1, 2, 4, 8), (1, 2, 4), (4, 8, 16), (0, 8, 16, 32)
_PREFILTER = (0, 4, 8)
_TILES, _GPU_TILES, _GROUPS = (128, 256, 512, 1024), (64, 128, 256), (64, 128, 256)


@dataclass(frozen=True)
class TimedCall:
    """What is timed: a program and the data of one call, laid out as `Plan` takes them."""

    program: MapReduce
    signature: Signature
    device: Device
    arrays: Sequence[Array]
    region: Region
    direct_sum: bool = False

    @property
    def case(self) -> Case:
        """What the choice is kept for."""
        signature = self.signature
        return Case(
            self.program, signature.real, self.device, self.direct_sum, few_rows(self.region.rows), signature.wide
        )


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search."""

    schedule: Schedule
    """The fastest schedule, which is used from now on; ``default`` itself if none is faster."""
    default: Schedule
    """What is used without a search."""
    seconds: float
    """Seconds of one call with ``schedule``, on as much of the data as was timed; nan if nothing was."""
    default_seconds: float
    """Seconds of one call with ``default``, on the same data."""
    tried: int
    """Schedules that were built and timed besides the default."""
    errors: tuple[str, ...] = ()
    """Schedules that failed or gave another result than the default, and how; never chosen. To be reported."""
    derivatives: tuple[Tuned, ...] = ()
    """What tuning each gradient program gave, if derivatives were asked for."""

    @property
    def speedup(self) -> float:
        """How many times as fast as the default the schedule is; 1 if it is the default."""
        return 1.0 if self.schedule == self.default else self.default_seconds / self.seconds

    def __repr__(self) -> str:
        changed = {n: v for n, v in asdict(self.schedule).items() if v != getattr(self.default, n)}
        what = ", ".join(f"{name}={value!r}" for name, value in changed.items()) or "the default schedule"
        times = f"{1e3 * self.seconds:.3g} ms against {1e3 * self.default_seconds:.3g} ms"
        text = f"<Tuned: {what}; {self.speedup:.2f} times as fast as the default ({times}), {self.tried} tried"
        text += f", {len(self.errors)} failed" if self.errors else ""
        return text + "".join(f"\n  derivative: {one!r}" for one in self.derivatives) + ">"


# ------------------------------------------------------------------------------------------------------- candidates


def candidates(program: MapReduce, real: str, facts: DeviceFacts, default: Schedule) -> Iterator[Schedule]:
    """The neighbours of ``default`` that may be used: legal, with kernels of bearable size, the most promising first.

    On a CPU: other register tiles (half to twice the hardware's lanes), longer blocks of columns, other lengths of
    vectors to write out, tiles and queues. On a GPU also other groups, and the loop shape without local memory.
    """
    moves = _gpu_moves(default) if facts.kind == "gpu" else _cpu_moves(default, real, facts)
    if program.reduction.keeps_terms:
        moves += [{"queue": queue} for queue in _QUEUE]
        if facts.kind != "gpu":
            moves += [{"prefilter": blocks} for blocks in _PREFILTER]
    seen = {default}
    for move in moves:
        schedule = replace(default, **move)
        if schedule not in seen and is_allowed(program, real, facts, schedule, default):
            yield schedule
        seen.add(schedule)


def _cpu_moves(default: Schedule, real: str, facts: DeviceFacts) -> list[dict[str, Any]]:
    native = max(1, facts.native_float_lanes if real == "float" else facts.native_double_lanes)
    lanes, rows, cols = default.lanes, default.rows, default.cols
    tiles = [
        (lanes, rows, 2 * cols),
        (lanes, 2 * rows, cols // 2),
        (lanes // 2, 2 * rows, cols),
        (lanes, 2 * rows, cols),
        (lanes // 2, rows, cols),
        (lanes // 2, rows, 2 * cols),
        (lanes, rows, cols // 2),
        (lanes, rows // 2, cols),
        (2 * lanes, rows // 2, cols),
        (2 * lanes, rows, cols),
    ]
    moves: list[dict[str, Any]] = [
        {"lanes": lanes, "rows": rows, "cols": cols}
        for lanes, rows, cols in tiles
        if lanes in LANES and native <= 2 * lanes and lanes <= 2 * native and rows in _ROWS and cols in _COLS
    ]
    moves += [{"unroll": unroll} for unroll in _UNROLL]
    return moves + [{"tile": tile} for tile in _TILES]


def _gpu_moves(default: Schedule) -> list[dict[str, Any]]:
    moves: list[dict[str, Any]] = [{"rows": 2 * default.rows}, {"cols": 2 * default.cols}]
    moves += [{"cols": default.cols // 2}, {"rows": default.rows // 2}, {"lanes": 2 * default.lanes}]
    moves = [move for move in moves if all(value in (1, 2, 4, 8) for value in move.values())]
    if default.shape == LOCAL:
        moves += [{"group": group} for group in _GROUPS] + [{"tile": tile} for tile in _GPU_TILES]
        return [*moves, *({"unroll": unroll} for unroll in _UNROLL), {"shape": DIRECT, "group": 1}]
    return [*moves, *({"unroll": unroll} for unroll in _UNROLL), {"shape": LOCAL, "group": 128}]


# ----------------------------------------------------------------------------------------------------------- the race


class _Runner:
    """Times plans on the data of a `TimedCall`, or on a part of them."""

    def __init__(self, call: TimedCall, default: Plan) -> None:
        self._call, self._default = call, default
        whole = call.region
        self._full = (whole.columns, whole.rows, whole.count)
        facts = call.device.facts
        # Enough rows to keep the device busy: the number of work-items decides how j is cut.
        rows = min(whole.rows, facts.compute_units * _ROWS_PER_UNIT[facts.kind])
        count = min(whole.count, -(-facts.compute_units * _ROWS_PER_UNIT[facts.kind] // rows))
        self._take((min(whole.columns, 512), rows, count))
        self.seconds = self._sampled()

    def _sampled(self) -> float:
        """Take data until a call lasts long enough: columns first, for how they pass through caches matters."""
        while True:
            self.run(self._default)  # the first call builds, the others may meet what else the machine does
            seconds = min(self.run(self._default) for _ in range(3))
            grow = next((n for n, full in enumerate(self._full) if self._sizes[n] < full), None)
            if grow is None or seconds >= _SAMPLE_SECONDS:
                return seconds
            sizes = list(self._sizes)
            sizes[grow] = min(2 * sizes[grow], self._full[grow])
            self._take((sizes[0], sizes[1], sizes[2]))

    def _take(self, sizes: tuple[int, int, int]) -> None:
        """Cut the data down to that many columns, rows and indices of the batch."""
        self._sizes, call = sizes, self._call
        columns, rows, count = sizes
        indices: list[tuple[int, int]] = []
        for size in reversed(call.region.batch):
            indices.append((0, min(size, max(1, count))))
            count //= indices[-1][1]
        self._region = call.region.part((0, rows), (0, columns), tuple(reversed(indices)))
        self._arrays = [
            np.ascontiguousarray(array[place])
            for array, place in self._region.parts_of(call.region, call.program.slots, call.arrays)
        ]

    def results(self, plan: Plan) -> tuple[Array, ...]:
        """What the plan computes."""
        return plan.run(self._arrays, self._region)

    def run(self, plan: Plan) -> float:
        """Seconds of one call, as a caller would wait for it."""
        start = time.perf_counter()
        plan.run(self._arrays, self._region)
        return time.perf_counter() - start

    def race(self, best: Plan, plan: Plan, effort: tuple[int, float]) -> tuple[float, float]:
        """How many times as fast as ``best`` the plan is, and its seconds: medians over rounds of one call of each.

        The ratio is taken within each round, for both calls meet the same of what else the machine does. On a busy
        machine that tells more than minima do: a single call may find it idle, to which the other's never compare.
        """
        rounds, limit = effort
        ours: list[float] = []
        theirs: list[float] = []
        start = time.perf_counter()
        while len(ours) < rounds or (time.perf_counter() - start < limit and len(ours) < _MOST_ROUNDS):
            turns = [(best, ours), (plan, theirs)]
            for runner, times in turns if len(ours) % 2 else reversed(turns):
                times.append(self.run(runner))
            if len(ours) == 3 and min(theirs) > _HOPELESS * min(ours):
                break
        gain = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
        return gain, statistics.median(theirs)


def _differences(found: Sequence[Array], wanted: Sequence[Array]) -> str:
    """How the results of a candidate differ from the default's by more than rounding; "" if they don't."""
    for n, (ours, right) in enumerate(zip(found, wanted, strict=True)):
        if right.dtype.kind == "i":
            others = np.mean(ours != right)
            if others > _MOST_OTHER_INDICES:
                return f"result {n}: {100 * others:.0f} % of the indices are others"
            continue
        finite = np.isfinite(right)
        if not np.array_equal(ours[~finite], right[~finite], equal_nan=True):
            return f"result {n} is infinite or nan elsewhere"
        scale = float(np.abs(right[finite]).max(initial=0.0))
        error = float(np.abs(ours[finite] - right[finite]).max(initial=0.0))
        if not error <= _TOLERANCE[right.dtype.name] * scale:
            return f"result {n} differs by {error:.3g}, where the largest is {scale:.3g}"
    return ""


# --------------------------------------------------------------------------------------------------------- the search


class Search:
    """One search. `run` may be interrupted (KeyboardInterrupt); `finish` then keeps the best schedule so far."""

    def __init__(self, call: TimedCall, seconds: float, report: Report = lambda tried, gain: None) -> None:
        self.call, self.seconds, self._report = call, seconds, report
        self.tried = 0
        self.errors: list[str] = []
        self._start = time.perf_counter()
        self._longest = 0.0
        self._plans: list[Plan] = []
        self._default = self._best = self._plan(call.case.default())
        self._times = (float("nan"), float("nan"))  # of the default and of the best

    def run(self) -> None:
        """Search until no neighbour of the best schedule is faster, or until it is time."""
        region = self.call.region
        if 0 in (region.rows, region.columns, *region.batch):
            return  # nothing is computed, so no schedule is faster
        runner = _Runner(self.call, self._default)
        wanted = runner.results(self._default)
        self._times = (runner.seconds, runner.seconds)
        seen = {self._default.schedule}
        while (schedule := self._next(seen)) is not None and self._has_time(runner.seconds):
            seen.add(schedule)
            started = time.perf_counter()
            try:
                self._try(schedule, runner, wanted)
            except _failures() as error:
                self.errors.append(f"{schedule}: {type(error).__name__.strip('_')}: {str(error).strip()}")
                _LOGGER.debug("tuning: failed: %s", self.errors[-1])
            self._longest = max(self._longest, time.perf_counter() - started)
            self._report(self.tried, self._times[0] / self._times[1])
        if self._best is not self._default:
            gain, seconds = runner.race(self._default, self._best, _FINAL)
            self._best = self._best if gain > MARGIN else self._default
            self._times = (gain * seconds, seconds if gain > MARGIN else gain * seconds)

    def _try(self, schedule: Schedule, runner: _Runner, wanted: Sequence[Array]) -> None:
        """Make a candidate the best so far, if its result is right and it is faster."""
        plan = self._plan(schedule)
        if any(_text(plan) == _text(other) for other in self._plans[:-1]):
            return  # the same kernel: for instance, no vector has the length from which on it would differ
        if different := _differences(runner.results(plan), wanted):
            raise _WrongResult(different)
        gain, seconds = runner.race(self._best, plan, _SCREENING)
        self.tried += 1
        _LOGGER.debug("tuning: %.2f times as fast as the best so far: %s", gain, schedule)
        if gain > MARGIN:
            self._times = (self._times[0] / self._times[1] * gain * seconds, seconds)
            self._best = plan

    def finish(self) -> Tuned:
        """Keep the best schedule for later calls, in this process and in others, and say what it is."""
        schedule, default = self._best.schedule, self._default.schedule
        if self.tried:
            measured = {
                "seconds": self._times[1],
                "default_seconds": self._times[0],
                "tried": self.tried,
                "rows": self.call.region.rows,
                "columns": self.call.region.columns,
            }
            CHOICES.keep(self.call.case, schedule, measured)
            PLANS.forget(self.call.program)
        kept = {source for plan in (self._default, self._best) for source in _sources(plan)}
        for plan in self._plans:
            for source in _sources(plan):
                if source not in kept:
                    PROGRAMS.forget(source, self.call.device)
        default_seconds, seconds = self._times
        tuned = Tuned(schedule, default, seconds, default_seconds, self.tried, tuple(self.errors))
        _LOGGER.info("tuned %s: %r", describe(self.call.program), tuned)
        return tuned

    def _plan(self, schedule: Schedule) -> Plan:
        plan = Plan(self.call.program, self.call.signature, self.call.device, schedule)
        self._plans.append(plan)
        return plan

    def _next(self, seen: set[Schedule]) -> Schedule | None:
        """The next to be tried: what an earlier search chose, then neighbours of the best."""
        earlier = CHOICES.get(self.call.case)
        if earlier is not None and earlier not in seen:
            return earlier
        call = self.call
        near = candidates(call.program, call.signature.real, call.device.facts, self._best.schedule)
        return next((schedule for schedule in near if schedule not in seen), None)

    def _has_time(self, seconds: float) -> bool:
        """Whether a candidate like the longest so far, and the last race, would end in time."""
        end = time.perf_counter() - self._start + self._longest + 2 * _FINAL[0] * seconds
        return end < self.seconds


class _WrongResult(Exception):
    """A candidate that computes something else."""


def _failures() -> tuple[type[Exception], ...]:
    """What may go wrong with a single candidate: a driver may refuse it, or have too few registers for it."""
    import pyopencl as cl

    return ClreduceError, cl.Error, MemoryError, _WrongResult


def _text(plan: Plan) -> tuple[Any, ...]:
    """What tells kernels apart, and how many of them are started."""
    lowered, schedule = plan.lowered, plan.schedule
    sources = [render(kernel) for kernel in (*(stored.kernel for stored in lowered.stored), lowered.pair)]
    return (*sources, schedule.lanes, schedule.rows, schedule.group)


def _sources(plan: Plan) -> list[str]:
    lowered = plan.lowered
    kernels = [*(stored.kernel for stored in lowered.stored), lowered.pair, lowered.pair_split, lowered.merge]
    return [render(kernel) for kernel in kernels]
