"""A timed search for the fastest schedule of a program. It races each neighbour of the best schedule against it.

Building a kernel takes far longer than timing it, so the search builds few kernels and times each thoroughly. It climbs
from the default schedule to a faster neighbour, and on from there, until no neighbour is faster or the time is up.
(Successive halving of a large field would have to build all candidates first.)
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
"""Called after each candidate with the number of candidates so far, and with the gain of the best over the default."""

_LOGGER = logging.getLogger("clreduce.schedules")
MARGIN = 1.03
"""A schedule is better only if it is faster by this factor; timings are not more accurate."""
_HOPELESS = 1.2
"""A candidate that is slower by this factor in its first rounds gets no further rounds."""
_SAMPLE_SECONDS = 0.02
"""A timed call takes about this long. It uses a part of the data if there are enough."""
_SCREENING, _FINAL = (9, 0.3), (25, 0.6)
"""The fewest rounds of a race, and the seconds that it may take; short rounds are repeated during that time."""
_MOST_ROUNDS = 60
_ROWS_PER_UNIT = {"cpu": 256, "gpu": 4096}
_TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
_MOST_OTHER_INDICES = 0.02
"""The fraction of indices that may differ, because rounding has changed near-ties."""
_COLS, _ROWS, _UNROLL, _QUEUE = (1, 2, 4, 8), (1, 2, 4), (4, 8, 16), (0, 8, 16, 32)
_PREFILTER = (0, 4, 8)
_TILES, _GPU_TILES, _GROUPS = (128, 256, 512, 1024), (64, 128, 256), (64, 128, 256)


@dataclass(frozen=True)
class TimedCall:
    """The program and the data of a call that is timed, in the form that `Plan.run` takes."""

    program: MapReduce
    signature: Signature
    device: Device
    arrays: Sequence[Array]
    region: Region
    direct_sum: bool = False

    @property
    def case(self) -> Case:
        """The key under which the choice is stored."""
        signature = self.signature
        return Case(
            self.program, signature.real, self.device, self.direct_sum, few_rows(self.region.rows), signature.wide
        )


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search."""

    schedule: Schedule
    """The fastest schedule, which calls use from now on; ``default`` itself if none is faster."""
    default: Schedule
    """The schedule that calls use without tuning."""
    seconds: float
    """The seconds of one call with ``schedule``, on the part of the data that was timed; nan if nothing was timed."""
    default_seconds: float
    """The seconds of one call with ``default``, on the same data."""
    tried: int
    """The number of schedules that were built and timed, besides the default."""
    errors: tuple[str, ...] = ()
    """Schedules that failed or gave other results than the default, with the errors. They are never chosen. Please
    report them."""
    derivatives: tuple[Tuned, ...] = ()
    """The outcome for each gradient program, if derivatives were tuned."""

    @property
    def speedup(self) -> float:
        """The time with the default schedule divided by the time with the chosen one; 1 if they are the same."""
        return 1.0 if self.schedule == self.default else self.default_seconds / self.seconds

    def __repr__(self) -> str:
        changed = {n: v for n, v in asdict(self.schedule).items() if v != getattr(self.default, n)}
        what = ", ".join(f"{name}={value!r}" for name, value in changed.items()) or "the default schedule"
        times = f"{1e3 * self.seconds:.3g} ms against {1e3 * self.default_seconds:.3g} ms"
        text = f"<Tuned: {what}; {self.speedup:.2f} times as fast as the default ({times}), {self.tried} tried"
        text += f", {len(self.errors)} failed" if self.errors else ""
        return text + "".join(f"\n  derivative: {tuned!r}" for tuned in self.derivatives) + ">"


# ------------------------------------------------------------------------------------------------------- candidates


def candidates(program: MapReduce, real: str, facts: DeviceFacts, default: Schedule) -> Iterator[Schedule]:
    """The legal neighbours of ``default`` with kernels of acceptable size, the most promising first.

    On a CPU they differ in register tiles (half to twice the hardware's lanes), blocks of columns, unrolling, tiles and
    queues. On a GPU they also differ in work-groups and in the use of local memory.
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
    """Times plans on the data of a `TimedCall`, or on a part of the data."""

    def __init__(self, call: TimedCall, default: Plan) -> None:
        self._call, self._default = call, default
        whole = call.region
        self._full = (whole.columns, whole.rows, whole.count)
        facts = call.device.facts
        # There must be enough rows to keep the device busy, because the number of work-items decides how j is cut.
        rows = min(whole.rows, facts.compute_units * _ROWS_PER_UNIT[facts.kind])
        count = min(whole.count, -(-facts.compute_units * _ROWS_PER_UNIT[facts.kind] // rows))
        self._take((min(whole.columns, 512), rows, count))
        self.seconds = self._sampled()

    def _sampled(self) -> float:
        """Add data until a call takes long enough. Columns come first, because their use of caches matters."""
        while True:
            self.run(self._default)  # the first call builds; other programs may slow down some of the next ones
            seconds = min(self.run(self._default) for _ in range(3))
            grow = next((n for n, full in enumerate(self._full) if self._sizes[n] < full), None)
            if grow is None or seconds >= _SAMPLE_SECONDS:
                return seconds
            sizes = list(self._sizes)
            sizes[grow] = min(2 * sizes[grow], self._full[grow])
            self._take((sizes[0], sizes[1], sizes[2]))

    def _take(self, sizes: tuple[int, int, int]) -> None:
        """Take as many columns, rows and indices of the batch as ``sizes`` says."""
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
        """The results of the plan."""
        return plan.run(self._arrays, self._region)

    def run(self, plan: Plan) -> float:
        """The wall time of one call, in seconds."""
        start = time.perf_counter()
        plan.run(self._arrays, self._region)
        return time.perf_counter() - start

    def race(self, best: Plan, plan: Plan, effort: tuple[int, float]) -> tuple[float, float]:
        """The time of ``best`` divided by that of ``plan``, and the seconds of ``plan``.

        Both are medians over rounds with one call of each plan. The ratio is taken within each round, so that other
        programs on the machine affect both calls equally. On a busy machine this is more reliable than minima: a single
        call may run while the machine is idle, and the other plan may never have that luck.
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
        gain = statistics.median(before / after for before, after in zip(ours, theirs, strict=True))
        return gain, statistics.median(theirs)


def _differences(results: Sequence[Array], expected: Sequence[Array]) -> str:
    """A description of how ``results`` differ from the default's by more than rounding; "" if they don't."""
    for n, (ours, right) in enumerate(zip(results, expected, strict=True)):
        if right.dtype.kind == "i":
            wrong = np.mean(ours != right)
            if wrong > _MOST_OTHER_INDICES:
                return f"result {n}: {100 * wrong:.0f} % of the indices differ"
            continue
        finite = np.isfinite(right)
        if not np.array_equal(ours[~finite], right[~finite], equal_nan=True):
            return f"result {n} is infinite or nan at other places"
        scale = float(np.abs(right[finite]).max(initial=0.0))
        error = float(np.abs(ours[finite] - right[finite]).max(initial=0.0))
        if not error <= _TOLERANCE[right.dtype.name] * scale:
            return f"result {n} differs by {error:.3g}, where the largest is {scale:.3g}"
    return ""


# --------------------------------------------------------------------------------------------------------- the search


class Search:
    """One search. If `run` is interrupted (KeyboardInterrupt), `finish` keeps the best schedule so far."""

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
        """Search until no neighbour of the best schedule is faster, or until the time is up."""
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
        """Time a candidate. It becomes the best so far if its results are right and it is faster."""
        plan = self._plan(schedule)
        if any(_text(plan) == _text(other) for other in self._plans[:-1]):
            return  # the same kernel: for example, no vector is long enough for another unrolling to matter
        if different := _differences(runner.results(plan), wanted):
            raise _WrongResult(different)
        gain, seconds = runner.race(self._best, plan, _SCREENING)
        self.tried += 1
        _LOGGER.debug("tuning: %.2f times as fast as the best so far: %s", gain, schedule)
        if gain > MARGIN:
            self._times = (self._times[0] / self._times[1] * gain * seconds, seconds)
            self._best = plan

    def finish(self) -> Tuned:
        """Store the best schedule for later calls, in this process and in others, and return the outcome."""
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
        """The next schedule to try: the choice of an earlier search, then neighbours of the best one."""
        earlier = CHOICES.get(self.call.case)
        if earlier is not None and earlier not in seen:
            return earlier
        call = self.call
        near = candidates(call.program, call.signature.real, call.device.facts, self._best.schedule)
        return next((schedule for schedule in near if schedule not in seen), None)

    def _has_time(self, seconds: float) -> bool:
        """Whether there is time for a candidate that takes as long as the longest so far, and for the final race."""
        end = time.perf_counter() - self._start + self._longest + 2 * _FINAL[0] * seconds
        return end < self.seconds


class _WrongResult(Exception):
    """Raised for a candidate whose results are wrong."""


def _failures() -> tuple[type[Exception], ...]:
    """The exceptions of a single candidate: a driver may refuse it, or have too few registers for it."""
    import pyopencl as cl

    return ClreduceError, cl.Error, MemoryError, _WrongResult


def _text(plan: Plan) -> tuple[Any, ...]:
    """The sources of a plan's kernels, and the sizes that decide how many work-items are started."""
    lowered, schedule = plan.lowered, plan.schedule
    sources = [render(kernel) for kernel in (*(stored.kernel for stored in lowered.stored), lowered.pair)]
    return (*sources, schedule.lanes, schedule.rows, schedule.group)


def _sources(plan: Plan) -> list[str]:
    lowered = plan.lowered
    kernels = [*(stored.kernel for stored in lowered.stored), lowered.pair, lowered.pair_split, lowered.merge]
    return [render(kernel) for kernel in kernels]
