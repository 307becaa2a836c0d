"""Runs random programs for as long as one likes, and writes down what was run and what went wrong.

    python tests/fuzz.py --examples 2000 --seed 1
    python tests/fuzz.py --seed 1 --only 1234      # this example again
    python tests/fuzz.py --reproduce 'c-lo...'     # the example written down by a failing test
    python tests/fuzz.py --cuts --examples 2000    # random programs under random cuts (`random_cuts.py`)

Example number n of a seed is the same whatever ran before it. The result file says on which device, how often each
operation, reduction and choice of the schedule was run, and how to run the failures again. A kernel that takes the
process down is the example after the last one that was counted: go on behind it with --first.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from random import Random

if __name__ == "__main__":
    # Each kernel is used once: nothing is kept. Drivers read their variable at the first OpenCL call.
    os.environ["CLREDUCE_CACHE_FOLDER"] = ""
    _folder = tempfile.TemporaryDirectory(prefix="clreduce-fuzz-")
    os.environ["POCL_CACHE_DIR"] = _folder.name

from random_cuts import Cuts, cuts_of, random_cuts
from random_programs import Sample, random_sample, sample_of

import clreduce
from clreduce.ir.op import FUNCTIONS
from clreduce.reductions import FAMILIES, REDUCTIONS
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device, use_device

_OFTEN = 100


class Report:
    """What has been run so far."""

    def __init__(self) -> None:
        self.examples = self.again = self.vague = self.compared = 0
        self.counts = {
            "operations": Counter(dict.fromkeys([*FUNCTIONS], 0)),
            "reductions": Counter(dict.fromkeys([*REDUCTIONS, *FAMILIES], 0)),
            "schedules and data": Counter[str](),
        }
        self.failures: list[str] = []
        self.started = time.monotonic()

    def add(self, sample: Sample) -> None:
        self.examples += 1
        self.counts["operations"].update(sample.used)
        self.counts["reductions"][sample.reduction] += 1
        choices = asdict(sample.schedule) | {"dtype": sample.dtype, "M": sample.rows, "N": sample.columns}
        self.counts["schedules and data"].update(f"{name}={value}" for name, value in choices.items())

    def progress(self) -> str:
        seconds = time.monotonic() - self.started
        return f"{self.examples} examples, {len(self.failures)} failures, {seconds:.0f} s"

    def text(self, title: str, device: Device) -> str:
        lines = [title, f"device: {device}", f"driver: {device.cl_device.driver_version.strip()}"]
        lines += [
            self.progress(),
            f"{self.again} needed many noisy runs, {self.vague} were compared vaguely in part; "
            f"{self.compared} results of cuts were compared with the whole",
            "",
        ]
        for what, counts in self.counts.items():
            lines += [
                f"{what}, and in how many examples",
                columns(f"{name} {n}" for name, n in sorted(counts.items())),
                "",
            ]
        lines += ["failures", *(self.failures or ["none"])]
        return "\n".join(lines) + "\n"


def columns(cells: Iterable[str], width: int = 27, across: int = 4) -> str:
    """``cells`` side by side."""
    every = list(cells)
    rows = [every[at : at + across] for at in range(0, len(every), across)]
    return "\n".join(" ".join(cell.ljust(width) for cell in row).rstrip() for row in rows)


def failure_of(sample: Sample | Cuts, device: Device, report: Report) -> str:
    """What is wrong with the sample's results; "" if nothing is."""
    try:
        if isinstance(sample, Cuts):
            verdicts = sample.verdicts(device)
            report.compared += len(verdicts)
            return "\n".join(filter(None, verdicts))
        verdict = sample.verdict(device)
    except Exception:
        return traceback.format_exc()
    report.again += verdict.again
    report.vague += verdict.vague
    return "\n".join(verdict.wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="as in CLREDUCE_DEVICE")
    parser.add_argument("--cuts", action="store_true", help="random programs under random cuts")
    parser.add_argument("--only", type=int, help="run one example, and print it")
    parser.add_argument("--reproduce", help="run the example that this word stands for, and print it")
    parser.add_argument("--out", type=Path, help="the result file")
    given = parser.parse_args()
    report = Report()
    draw, read = (random_cuts, cuts_of) if given.cuts else (random_sample, sample_of)
    with use_device(given.device or current_device()) as device:
        if given.reproduce or given.only is not None:
            sample = read(given.reproduce) if given.reproduce else draw(Random(f"{given.seed}/{given.only}"))
            failure = failure_of(sample, device, report)
            print(sample, failure or "right", sep="\n")
            return bool(failure)
        now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        title = f"{now}: python tests/fuzz.py --examples {given.examples} --first {given.first} --seed {given.seed}"
        title += " --cuts" if given.cuts else ""
        for n in range(given.first, given.first + given.examples):
            sample = draw(Random(f"{given.seed}/{n}"), device.facts.has_double)
            report.add(sample.sample if isinstance(sample, Cuts) else sample)
            if failure := failure_of(sample, device, report):
                report.failures.append(f"--seed {given.seed} --only {n}\n{failure}\n{sample}\n")
                print(report.failures[-1], flush=True)
            print(f"\r{report.progress()}", end="", file=sys.stderr, flush=True)
            if report.examples % _OFTEN == 0:
                clreduce.clear_caches()
                if given.out:  # in case that a kernel takes the process down
                    given.out.write_text(report.text(title, device), encoding="utf-8")
        print(file=sys.stderr)
        text = report.text(title, device)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return bool(report.failures)


if __name__ == "__main__":
    sys.exit(main())
