"""Two states of clreduce side by side: this checkout and another one, on the workloads of ``run.py``.

    git worktree add ../before v0.1
    python benchmarks/compare.py ../before                       # everything in float32, about ten minutes
    python benchmarks/compare.py ../before --only gradient "knn-d3*" --dtype float64 --rounds 30

Each state has a process of its own. They compute in turns, so that a slow moment of the machine meets both. The table
shows the median time of a call and the median of the ratios of each round, with their quartiles: by the clock, and of
processor time, all cores added up, which other programs disturb less. Above 1, this checkout takes longer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from seed_examples import DTYPES, ROOT, title
from suite import machine
from suite.measure import timed_in_a_row, times_in_a_row
from suite.workloads import Workload, chosen

READY = "ready"


# ------------------------------------------------------------------------------------------- in the process of a state


def work(options: argparse.Namespace) -> None:
    """Tell the driver, then answer: a workload's number and a dtype prepare it, an empty line times a call."""
    from suite.engines import load

    import clreduce

    (engine,), _ = load([], machine.cores())
    print(title(clreduce.current_device()), flush=True)
    workloads = chosen(options.only, options.dtype, options.sizes, quick=False)
    call: Any = None
    times = 1
    for line in sys.stdin:
        if request := line.split():
            problem = workloads[int(request[0])].problem
            call = engine.prepare(problem, problem.arrays(request[1]))
            call()
            times = times_in_a_row(call)
            print(READY, flush=True)
        else:
            timing = timed_in_a_row(call, times)
            print(timing.wall, timing.cpu, flush=True)


# -------------------------------------------------------------------------------------------------------- in the parent


class State:
    """A checkout whose clreduce computes in a process of its own."""

    def __init__(self, checkout: Path) -> None:
        environment = os.environ | machine.thread_environment() | {"PYTHONPATH": str(checkout)}
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--worker"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.driver = self._process.stdout.readline().strip()
        git = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
        self.revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"

    def prepare(self, number: int, dtype: str) -> None:
        if (answer := self._ask(f"{number} {dtype}")) != [READY]:
            sys.exit(f"a worker answered {' '.join(answer)!r}; its error is above")

    def time(self) -> tuple[float, float]:
        """Seconds of a call: by the clock, and of the processor."""
        wall, cpu = self._ask("")
        return float(wall), float(cpu)

    def stop(self) -> None:
        self._process.communicate()

    def _ask(self, line: str) -> list[str]:
        assert self._process.stdin
        assert self._process.stdout
        print(line, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().split()


@dataclass(frozen=True)
class Comparison:
    """Seconds of calls, of shape (rounds, 2, 2): of this checkout and the other one, by the clock and the processor."""

    workload: Workload
    dtype: str
    seconds: Any

    def __str__(self) -> str:
        here, there = 1e3 * np.median(self.seconds[:, :, 0], axis=0)
        ratios = self.seconds[:, 0] / np.maximum(self.seconds[:, 1], 1e-9)
        columns = [
            f"{half:6.3f} ({low:.3f} to {high:.3f})"
            for low, half, high in np.quantile(ratios, (0.25, 0.5, 0.75), axis=0).T
        ]
        return f"{self.workload.title:40} {self.dtype:8} {there:10.3f} {here:10.3f}  {'  '.join(columns)}"


HEADING = f"{'workload':40} {'dtype':8} {'before, ms':>10} {'after, ms':>10}  {'clock':24}  {'processor time':24}"


def compare(states: Sequence[State], number: int, workload: Workload, dtype: str, rounds: int) -> Comparison:
    for state in states:
        state.prepare(number, dtype)
    seconds = np.empty((rounds, 2, 2))
    for n in range(rounds):
        for which in (0, 1) if n % 2 else (1, 0):
            seconds[n, which] = states[which].time()
    return Comparison(workload, dtype, seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the checkout to compare with")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these workloads or families")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--sizes", type=float, default=1.0, metavar="FACTOR", help="scale the numbers of points")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the table is written, too")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.other / "clreduce").is_dir():
        parser.error(f"{options.other} is no checkout of clreduce: it has no folder clreduce")
    return options


def main() -> None:
    options = parse()
    if options.worker:
        work(options)
        return
    workloads = chosen(options.only, options.dtype, options.sizes, quick=False)
    if not workloads:
        sys.exit(f"no workload is called {' or '.join(options.only)}; python benchmarks/run.py --list shows them")
    states = State(ROOT), State(options.other.resolve())
    after, before = states
    lines = [
        f"{machine.processor()}, {machine.cores()} cores, {after.driver}; {options.rounds} rounds",
        f"before: {before.revision}, after: {after.revision}",
        "",
        HEADING,
    ]
    print("\n".join(lines), flush=True)
    ratios = []
    for number, workload in enumerate(workloads):
        for dtype in workload.dtypes:
            result = compare(states, number, workload, dtype, options.rounds)
            ratios.append(np.median(result.seconds[:, 0] / np.maximum(result.seconds[:, 1], 1e-9), axis=0))
            lines.append(str(result))
            print(lines[-1], flush=True)
    clock, processor = np.exp(np.log(ratios).mean(axis=0))
    lines.append(f"geometric mean of the ratios: {clock:.3f} by the clock, {processor:.3f} of processor time")
    print(lines[-1])
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")
    for state in states:
        state.stop()


if __name__ == "__main__":
    main()
