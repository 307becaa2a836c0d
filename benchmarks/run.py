"""The main benchmark: clreduce beside every peer that is installed, on named workloads.

    python benchmarks/run.py                                   # everything, on each OpenCL CPU driver: hours
    python benchmarks/run.py --quick                           # does it run at all?
    python benchmarks/run.py --list                            # the workloads
    python benchmarks/run.py --only "gaussian-d*" knn --dtype float32
    python benchmarks/run.py --driver "pocl 3.1" intel.icd     # by words, or by an ICD file
    python benchmarks/run.py --schedules                       # the default schedules beside all legal ones

Each driver is measured in a process of its own, with all peers, since two drivers with a compiler inside may clash.
Text, JSON and pictures are written to ``benchmarks/results``; README.md says how to read them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seed_examples import DTYPES, ROOT, cpu_devices, title
from suite import machine, measure, schedules
from suite.engines import PEERS, load
from suite.report import machine as machine_text
from suite.report import report
from suite.workloads import Workload, chosen

RESULTS = ROOT / "benchmarks" / "results"
TRIALS = ROOT / "output"  # which git ignores

# ------------------------------------------------------------------------------------- in the process of one driver


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All results on the device in use, more complete each time, so that a crash loses the last part only."""
    import clreduce

    device = clreduce.current_device()
    print(f"  {device}", flush=True)
    results: dict[str, Any] = {"date": datetime.date.today().isoformat(), "driver": title(device), "records": []}
    if options.schedules:
        results["machine"] = machine.describe(device, [])
        names = chosen_programs(options)
        effort = schedules.Effort(seconds=0.005, rounds=1) if options.quick else schedules.Effort(0.05, rounds=5)
        dtypes = options.dtype
        if options.quick:
            names, dtypes = names[:1], dtypes[:1]
        parts = schedules.measure(names, dtypes, device, effort, options.quick)
    else:
        from suite.roofline import fma_peak

        engines, results["left_out"] = load(options.peers, machine.cores())
        results["machine"] = machine.describe(device, engines)
        results["peaks"] = {dtype: fma_peak(device, dtype) for dtype in options.dtype}
        limits = measure.Limits(options.rounds, options.budget, options.longest)
        parts = measure.measure(chosen_workloads(options), engines, limits)
    for records in parts:
        results["records"] += records
        yield results
    if not options.schedules:
        results["threads"] = machine.threads_of(engines)  # at the end, for only now all libraries are loaded
        for dtype, peak in results["peaks"].items():
            # Once more, since others may have been at work in the beginning.
            results["peaks"][dtype] = max(peak, fma_peak(device, dtype))
        yield results


def chosen_programs(options: argparse.Namespace) -> list[str]:
    """The programs for `--schedules`."""
    patterns = options.only or ["*"]
    return [name for name in schedules.PROGRAMS if any(fnmatch(name, pattern) for pattern in patterns)]


def chosen_workloads(options: argparse.Namespace) -> list[Workload]:
    return chosen(options.only, options.dtype, options.sizes, options.quick)


def child(options: argparse.Namespace) -> None:
    for results in measured(options):
        # In two steps: a crash while writing must not leave half a file.
        unfinished = options.child.with_suffix(".part")
        unfinished.write_text(json.dumps(results, indent=1) + "\n")
        unfinished.replace(options.child)


# -------------------------------------------------------------------------------------------------------- in the parent


def environment_of(driver: str) -> dict[str, str]:
    """The environment in which a driver, given by words or by an ICD file, is the device in use."""
    found = machine.thread_environment()
    if driver.endswith(".icd"):
        return found | {"OCL_ICD_VENDORS": str(Path(driver).resolve()), "CLREDUCE_DEVICE": ""}
    return found | {"CLREDUCE_DEVICE": driver}


def run_driver(driver: str, options: argparse.Namespace) -> dict[str, Any]:
    """Results of this same command, in a process that uses one driver; nothing if it ended before the first one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        environment = os.environ | environment_of(driver)
        if options.schedules:
            environment["CLREDUCE_CACHE_FOLDER"] = ""  # thousands of kernels that nobody will ask for again
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--child", str(path)]
        status = subprocess.run(command, env=environment).returncode
        results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if status:
            rest = "what it measured before that follows" if results else "nothing was measured"
            print(f"{driver}: the process ended with status {status}; {rest}")
        return results


def text_of(results: dict[str, Any], options: argparse.Namespace) -> str:
    if options.schedules:
        return f"{machine_text(results)}\n\n{schedules.report(results['records'])}"
    return report(results)


def write(results: dict[str, Any], text: str, options: argparse.Namespace) -> None:
    """The files of one driver: text, JSON, and pictures of a comparison."""
    found = results["machine"]
    kind = "schedules" if options.schedules else "suite"
    words = [kind, results["date"], found["processor"], results["driver"]]
    if len(options.dtype) == 1:
        words.append(options.dtype[0])
    words += options.only[:3]
    if len(options.only) > 3:
        words.append(f"and {len(options.only) - 3} more")
    stem = re.sub(r"[^\w.]+", "-", " ".join(words)).strip("-")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.output / f"{stem}.txt").write_text(text)
    print(f"written: {options.output / stem}.json and .txt")
    if options.schedules:
        return
    try:
        from suite.draw import draw_ratios, draw_scaling
    except ImportError as error:
        print(f"no pictures: {error}")
        return
    heading = f"{results['driver']}, {found['processor']}, {found['cores']} cores"
    for draw, name in ((draw_scaling, "scaling"), (draw_ratios, "ratios")):
        path = options.output / f"{stem}-{name}.png"
        if draw(results["records"], heading, path):
            print(f"written: {path}")


def show_list(options: argparse.Namespace) -> None:
    if options.schedules:
        print("\n".join(chosen_programs(options)))
        return
    for workload in chosen_workloads(options):
        print(f"{workload.family:10} {workload.name:28} {workload.problem.size:>20}   D = {workload.problem.dim}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these workloads or families; * is any text"
    )
    parser.add_argument("--list", action="store_true", help="show the workloads, measure nothing")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, help="compare with these; none: clreduce alone"
    )
    parser.add_argument("--driver", nargs="+", metavar="DRIVER", help="words of a device's name, or an .icd file")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--sizes", type=float, default=1.0, metavar="FACTOR", help="scale the numbers of points")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of interleaved calls, at most")
    parser.add_argument("--budget", type=float, default=15.0, help="seconds for the rounds of one table entry, about")
    parser.add_argument("--longest", type=float, default=10.0, help="seconds a call may take along a series of sizes")
    parser.add_argument("--schedules", action="store_true", help="measure the default schedules beside all legal ones")
    parser.add_argument("--quick", action="store_true", help="few workloads, tiny sizes: does it run?")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where results are written")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.rounds = options.sizes / 30, 3
    if not (chosen_programs(options) if options.schedules else chosen_workloads(options)):
        parser.error(f"nothing is called {' or '.join(options.only)} here; --list shows what there is")
    options.output = options.output or (TRIALS if options.quick else RESULTS)
    return options


def main() -> None:
    options = parse()
    if options.list:
        show_list(options)
        return
    if options.child:
        child(options)
        return
    drivers = options.driver or [title(device) for device in cpu_devices()]
    if not drivers:
        sys.exit("there is no OpenCL CPU driver; name a device with --driver")
    for driver in drivers:
        print(f"measuring on {driver}", flush=True)
        results = run_driver(driver, options)
        if results:
            text = text_of(results, options)
            print(f"\n{text}")
            write(results, text, options)


if __name__ == "__main__":
    main()
