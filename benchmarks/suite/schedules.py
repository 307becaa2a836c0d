"""How good the default schedules are: all legal ones near them, measured for a set of programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from seed_examples import text_table

from clreduce.codegen.cost import written_out
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import LANES, Schedule, choose_schedule
from clreduce.domain import Domain
from clreduce.errors import ScheduleError
from clreduce.ir.op import variable
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.program import MapReduce, arranged, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature
from suite.machine import cores
from suite.measure import timed

Array = np.ndarray[Any, Any]
Record = dict[str, Any]

ROWS = (1, 2, 4)
COLS = (1, 2, 4, 8)
UNROLL = (4, 16)
MOST_TEXT = 800
"""Operations in the text of one block of pairs. Drivers compile longer ones for minutes, and none of them is fast."""
OUTPUTS = 4096
"""Rows of the result, enough to fill a CPU with blocks of the largest register tile."""
GOOD = 1.15
"""The default schedule should take at most this much longer than the best one."""


# ------------------------------------------------------------------------------------------------------- the programs


def gaussian(dim: int, width: int = 1, gradient: bool = False) -> MapReduce:
    """A Gaussian sum with ``width`` columns of b, or its gradient in x."""
    x, y = variable("x", dim, Domain.I), variable("y", dim, Domain.J)
    g, b = variable("g", 1, Domain.P), variable("b", width, Domain.J)
    program, given = map_reduce([exp(-g * squared_distance(x, y)) * b], "Sum")
    if gradient:
        (found,) = program.vjp([given.index(x)])
        return arranged(found.program).moderate
    return program


def of_distances(reduction: str, dim: int, sign: int, count: int | None = None) -> MapReduce:
    x, y = variable("x", dim, Domain.I), variable("y", dim, Domain.J)
    distance = squared_distance(x, y)
    return map_reduce([distance if sign > 0 else -distance], reduction, count)[0]


PROGRAMS: Mapping[str, Callable[[], MapReduce]] = {
    "gaussian-d3": lambda: gaussian(3),  # the first is the one of the quick trial
    "gaussian-d1": lambda: gaussian(1),
    "gaussian-d10": lambda: gaussian(10),
    "gaussian-d100": lambda: gaussian(100),
    "gaussian-d3-b100": lambda: gaussian(3, width=100),
    "gaussian-d100-b100": lambda: gaussian(100, width=100),
    "gradient-x-d3": lambda: gaussian(3, gradient=True),
    "gradient-x-d10": lambda: gaussian(10, gradient=True),
    "logsumexp-d3": lambda: of_distances("LogSumExp", 3, -1),
    "logsumexp-d10": lambda: of_distances("LogSumExp", 10, -1),
    "argmin-d3": lambda: of_distances("ArgMin", 3, 1),
    "argmin-d10": lambda: of_distances("ArgMin", 10, 1),
    "argmin-d100": lambda: of_distances("ArgMin", 100, 1),
    "argkmin10-d3": lambda: of_distances("ArgKMin", 3, 1, count=10),
    "argkmin10-d10": lambda: of_distances("ArgKMin", 10, 1, count=10),
}


def data(program: MapReduce, columns: int, dtype: str) -> list[Array]:
    """Random arrays for the slots, small enough that exponentials do not vanish."""
    rng = np.random.default_rng(0)
    counts = {Domain.I: (OUTPUTS,), Domain.J: (columns,), Domain.P: ()}
    return [
        (rng.random(size=(*counts[slot.domain], slot.dim)) / np.sqrt(slot.dim)).astype(dtype) for slot in program.slots
    ]


# ------------------------------------------------------------------------------------------------------ the schedules


def candidates(program: MapReduce, real: str, facts: DeviceFacts) -> Iterator[Schedule]:
    """The default schedule, then the others: half to twice the hardware's lanes, register tiles, unrolling."""
    default = choose_schedule(program, real, facts)
    yield default
    native = max(1, facts.native_float_lanes if real == "float" else facts.native_double_lanes)
    pairs = cache(lambda unroll: written_out(program.values, unroll))
    # The default's first: where unrolling changes nothing, it is the one that is kept.
    unrolls = sorted(UNROLL, key=lambda unroll: unroll != default.unroll)
    for lanes in LANES:
        if native <= 2 * lanes and lanes <= 2 * native:
            for rows in ROWS:
                for cols in COLS:
                    for unroll in unrolls:
                        if rows * cols * pairs(unroll) <= MOST_TEXT:
                            yield replace(default, lanes=lanes, rows=rows, cols=cols, unroll=unroll)


def distinct_plans(program: MapReduce, dtype: str, device: Device, quick: bool) -> list[Plan]:
    """A plan for each legal schedule, the default one first; of several with the same kernels the first."""
    signature = Signature(dtype)
    plans: dict[tuple[str, int], Plan] = {}
    for schedule in candidates(program, signature.real, device.facts):
        if quick and len(plans) == 3:
            break
        try:
            plan = Plan(program, signature, device, schedule)
        except ScheduleError:
            continue
        plans.setdefault((plan.source, schedule.rows * schedule.lanes), plan)
    return list(plans.values())


@dataclass(frozen=True)
class Effort:
    """How thoroughly one program is measured."""

    seconds: float
    """Of one call with the default schedule, at least: columns are added until it takes that long."""
    rounds: int


def columns_for(plan: Plan, seconds: float) -> int:
    """A power of two columns with which a call takes that long, after the first call, which compiles."""
    columns = 256
    while True:
        columns *= 2
        call = partial(plan, data(plan.program, columns, plan.signature.dtype), OUTPUTS, columns)
        call()
        if timed(call).wall >= seconds:
            return columns


def measure_program(program: MapReduce, dtype: str, device: Device, effort: Effort, quick: bool) -> list[Record]:
    """Seconds of each schedule, the default one first: the least CPU time of the process in a call, per core.

    CPU time and not the clock's: others at work on the machine delay a call, but add little to the time it is charged.
    """
    plans = distinct_plans(program, dtype, device, quick)
    columns = columns_for(plans[0], effort.seconds)
    arrays = data(program, columns, dtype)
    for plan in plans[1:]:
        plan(arrays, OUTPUTS, columns)  # compiles
    times: list[list[float]] = [[] for _ in plans]
    for _ in range(effort.rounds):
        for plan, found in zip(plans, times, strict=True):
            found.append(timed(partial(plan, arrays, OUTPUTS, columns)).cpu / cores())
    return [
        {"schedule": asdict(plan.schedule), "columns": columns, "seconds": min(found)}
        for plan, found in zip(plans, times, strict=True)
    ]


def measure(
    names: Sequence[str], dtypes: Sequence[str], device: Device, effort: Effort, quick: bool
) -> Iterator[list[Record]]:
    """The records of all schedules of one program in one dtype, one after the other."""
    for name in names:
        program = PROGRAMS[name]()
        for dtype in dtypes:
            records = measure_program(program, dtype, device, effort, quick)
            print(f"  {name}, {dtype}: {len(records)} schedules", flush=True)
            yield [{"program": name, "dtype": dtype} | record for record in records]


# ---------------------------------------------------------------------------------------------------------- reporting

LEGEND = f"""\
Time of the default schedule beside the best legal one, in ms of CPU time per core and call.
Schedules are written lanes x rows x cols, and the longest vector that is unrolled.
At most {GOOD} is wanted of the last column; `!` marks more."""


def report(records: Sequence[Record]) -> str:
    """A line per program and dtype, the worst ratio first."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["program"], record["dtype"]), []).append(record)
    lines = []
    for (program, dtype), found in groups.items():
        default, best = found[0], min(found, key=lambda record: record["seconds"])
        ratio = default["seconds"] / best["seconds"]
        cells = [cell for one in (default, best) for cell in (short(one["schedule"]), f"{1e3 * one['seconds']:.2f}")]
        mark = "" if ratio <= GOOD else " !"
        lines.append((ratio, [program, dtype, str(len(found)), *cells, f"{ratio:.2f}{mark}"]))
    lines.sort(key=lambda line: -line[0])
    header = ["program", "dtype", "schedules", "default", "ms", "best", "ms", "default/best"]
    good = sum(ratio <= GOOD for ratio, _ in lines)
    summary = f"{good} of {len(lines)} defaults take at most {GOOD} times as long as the best."
    return f"{LEGEND}\n\n{text_table(header, [cells for _, cells in lines])}\n\n{summary}\n"


def short(schedule: Mapping[str, Any]) -> str:
    return f"{schedule['lanes']}x{schedule['rows']}x{schedule['cols']} u{schedule['unroll']}"
