"""Runs the programs of `template_cases` at tiny sizes and compares them with NumPy: `test_oclgrind.py` runs it.

    python tests/oclgrind_programs.py float32 direct

Prints the name of each program before it runs, so that what the simulator reports in between is of that program.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl
from oracle import assert_results, random_arrays
from template_cases import CASES, Case
from test_ranges import assert_masked, made, random_six

from clreduce.codegen.schedule import DIRECT, LOCAL, Schedule, choose_schedule
from clreduce.ops.hardware import NATIVE
from clreduce.runtime import compiler
from clreduce.runtime.devices import current_device
from clreduce.runtime.plan import Plan, Signature

GPU = "gpu"
"""The default schedules of GPUs, with functions of the hardware, in groups of few items."""
SCHEDULES = {
    # three work-items, tiles that end within a block, lanes past the last row
    "direct": Schedule(lanes=4, rows=2, cols=2, tile=5),
    "split": Schedule(lanes=2, rows=1, cols=2, tile=4, split=3),
    "local": Schedule(lanes=1, rows=2, cols=2, group=4, tile=5, shape=LOCAL),
    "local split": Schedule(lanes=2, rows=1, cols=4, group=4, tile=4, shape=LOCAL, split=2),
}
ROWS = 21


def schedule_of(case: Case, dtype: str, name: str) -> Schedule:
    """The schedule of that name with what the case changes, as far as the loop shape has it."""
    if name == GPU:
        device = current_device()
        default = choose_schedule(case.program, Signature(dtype).real, device.facts)
        return replace(default, **{"group": 4, "tile": 16, **dict(case.change)})
    schedule, change = SCHEDULES[name], dict(case.change)
    direct = schedule.shape == DIRECT
    return replace(
        schedule,
        cols=change.get("cols", schedule.cols),
        queue=change.get("queue", 0),
        prefilter=change.get("prefilter", 0) if direct else 0,
    )


def check(case: Case, dtype: str, schedule: Schedule) -> None:
    """One call, compared with NumPy."""
    program, wide = case.program, case.wide and dtype == "float32"
    batch = (2,) if case.batched else ()
    # What is filtered beforehand are tiles of many blocks of columns.
    columns = 8 * schedule.cols * schedule.prefilter + 13 if schedule.prefilter else 13
    triple = random_six(1, ROWS, columns)[:3] if case.ranged else None
    ranges = None if triple is None else made(triple)
    signature = Signature(dtype, case.batched, wide, 0 if ranges is None else ranges.typical)
    plan = Plan(program, signature, current_device(), schedule)
    each = [random_arrays(program, ROWS, columns, dtype, seed) for seed in range(2 if batch else 1)]
    arrays = [np.stack(one) for one in zip(*each, strict=True)] if batch else each[0]
    results = plan(arrays, ROWS, columns, batch=batch, ranges=ranges)
    for index, own in enumerate(each):
        found = [result[index] for result in results] if batch else results
        if triple is None and "Count" in program.reduction.name:
            for result, exact in zip(found, program.reference(own, ROWS, columns), strict=True):
                np.testing.assert_allclose(result, exact, rtol=1e-5, atol=1e-5)
        elif triple is None:
            assert_results(found, program, own, ROWS, columns, dtype, factor=2)
        else:
            assert_masked(found, program, own, (ROWS, columns), triple, dtype)


def suit_oclgrind() -> None:
    """Work around what version 21.10 lacks or gets wrong."""
    # Its compiler lacks __builtin_ctzl(). Its check for uninitialised values doesn't know the instruction freeze, which
    # optimised code holds.
    compiler.OPTIONS += ("-cl-opt-disable", "-DPLAIN_OPENCL_C")
    # Where a new buffer gets the address of one that was released, the check remembers the size of the old one.
    make, buffers = cl.Buffer, []

    def make_and_keep(*arguments: Any, **options: Any) -> Any:
        buffers.append(make(*arguments, **options))
        return buffers[-1]

    cl.Buffer = make_and_keep


def main() -> None:
    dtype, name = sys.argv[1:]
    suit_oclgrind()
    device = current_device()
    assert device.facts.driver == "oclgrind", device
    if name == GPU:
        device.facts = replace(device.facts, kind="gpu", native_functions=tuple(NATIVE))
    for title, case in CASES.items():
        print(f"== {title}", flush=True)
        check(case, dtype, schedule_of(case, dtype, name))
    print(f"{len(CASES)} programs ran", flush=True)


if __name__ == "__main__":
    main()
