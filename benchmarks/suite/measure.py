"""Measuring: calls of all engines, interleaved, and what comes of them as records for tables and JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from seed_examples import PAUSE

from suite.engines import OWN
from suite.engines.base import Engine, Lacking
from suite.workloads import Workload

Record = dict[str, Any]
FEWEST = 3
"""Rounds that are made however long they take."""
SHORT = 0.005
"""Seconds of a call up to which it is made several times in a row."""
MOST_IN_A_ROW = 20


@dataclass(frozen=True)
class Limits:
    """How long measuring may take."""

    rounds: int
    """Rounds of interleaved calls, at most."""
    budget: float
    """Seconds for the rounds of one table entry, about."""
    longest: float
    """Seconds that one call may take. An engine is left out where smaller sizes show that it would take longer."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: by the clock, and of the processor, all cores added up."""

    wall: float
    cpu: float


def timed(call: Callable[[], Any]) -> Timing:
    start, cpu_start = time.perf_counter(), time.process_time()
    call()
    return Timing(time.perf_counter() - start, time.process_time() - cpu_start)


def times_in_a_row(call: Callable[[], Any]) -> int:
    """How often a call is made for one time: a short one, which takes longer after a pause, several times; else once.

    Found once for each engine, from a warm call.
    """
    seconds = timed(call).wall
    if seconds < 2 * SHORT:
        seconds = timed(call).wall
    return min(int(2 * SHORT / seconds), MOST_IN_A_ROW) if seconds < SHORT else 1


def timed_in_a_row(call: Callable[[], Any], times: int) -> Timing:
    """Seconds of a call; of so many in a row the mean, after one that does not count."""
    if times == 1:
        return timed(call)
    call()
    found = timed(lambda: [call() for _ in range(times)])
    return Timing(found.wall / times, found.cpu / times)


def interleaved(calls: Mapping[str, Callable[[], Any]], limits: Limits) -> dict[str, list[Timing]]:
    """Each engine once per round, until the budget is spent, after a pause in which the last one's threads go to sleep.

    A slow moment of the machine so meets all engines, and not one of them.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in calls}
    times = {name: times_in_a_row(call) for name, call in calls.items()}
    end = time.perf_counter() + limits.budget
    for done in range(limits.rounds):
        if done >= FEWEST and time.perf_counter() > end:
            break
        for name, call in calls.items():
            time.sleep(PAUSE)
            timings[name].append(timed_in_a_row(call, times[name]))
    return timings


class Forecast:
    """How long engines will take for the next size of a series, from the last one."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], tuple[int, float]] = {}

    def learn(self, workload: Workload, dtype: str, engine: str, seconds: float) -> None:
        if workload.series:
            self._last[workload.name, dtype, engine] = workload.problem.pairs, seconds

    def seconds(self, workload: Workload, dtype: str, engine: str) -> float:
        """0 if nothing is known. Time is taken to grow with the number of pairs."""
        pairs, seconds = self._last.get((workload.name, dtype, engine), (1, 0.0))
        return seconds * workload.problem.pairs / pairs


def measure_entry(
    workload: Workload, dtype: str, engines: Sequence[Engine], limits: Limits, forecast: Forecast
) -> list[Record]:
    """Times and errors of all engines for one line of the table; an engine that has none says why."""
    problem = workload.problem
    arrays = problem.arrays(dtype)
    judge = problem.judge(arrays)
    calls, errors, reasons = {}, {}, {}
    for engine in engines:
        expected = forecast.seconds(workload, dtype, engine.name)
        if expected > limits.longest:
            reasons[engine.name] = f"would take about {expected:.0f} s"
            continue
        try:
            call = engine.prepare(problem, arrays)
            errors[engine.name] = judge(call())  # the first call compiles and warms up
        except Lacking as reason:
            reasons[engine.name] = str(reason)
        except Exception as error:  # an engine that fails is a line in the report, and not the end of all others
            reasons[engine.name] = f"failed: {type(error).__name__}: {error}"
        else:
            calls[engine.name] = call
    common = {
        "workload": workload.name, "family": workload.family, "series": workload.series, "size": problem.size,
        "rows": problem.rows, "columns": problem.columns, "dim": problem.dim, "pairs": problem.pairs, "dtype": dtype,
        "operations": problem.operations(dtype),
    }  # fmt: skip
    records = []
    for name, timings in interleaved(calls, limits).items():
        walls = [timing.wall for timing in timings]
        forecast.learn(workload, dtype, name, median(walls))
        cpu = median(timing.cpu for timing in timings)
        records.append(
            common | {"engine": name, "median": median(walls), "min": min(walls), "cpu": cpu, "calls": len(walls),
                      "error": errors[name]}
        )  # fmt: skip
    return records + [common | {"engine": name, "reason": reason} for name, reason in reasons.items()]


def measure(workloads: Sequence[Workload], engines: Sequence[Engine], limits: Limits) -> Iterator[list[Record]]:
    """The records of each line of the table, one line after the other."""
    forecast = Forecast()
    for workload in workloads:
        for dtype in workload.dtypes:
            records = measure_entry(workload, dtype, engines, limits, forecast)
            times = {record["engine"]: record["median"] for record in records if "median" in record}
            shown = f"{1e3 * times[OWN]:.2f} ms" if OWN in times else "-"
            print(f"  {workload.title}, {dtype}: {OWN} {shown}", flush=True)
            yield records
