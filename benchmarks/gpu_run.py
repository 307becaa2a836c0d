"""What is worth knowing of a GPU, in at most eight minutes on a machine that has just got one.

    python benchmarks/gpu_run.py                            # the machine's GPU: all steps
    python benchmarks/gpu_run.py --seconds 240              # in less time
    python benchmarks/gpu_run.py --pose --seconds 60        # a CPU poses as a GPU, at small sizes: does the script run?

The steps: find a driver of a GPU, or write the .icd file that the loader lacks; `clreduce selftest`; the workloads of
the suite beside KeOps' CUDA kernels and dense PyTorch, where those are installed; what a small call costs; tuning. They
run in a process of their own, which writes down what it has after each workload. So a driver that crashes or hangs
costs what comes after it, and the report is written in time.

All engines get arrays of the host and return such: transfers count. Beside the time, the report has the pairs per
second and, on NVIDIA's processors, the cycles of a scheduler for a pair of each of 32 items in step, which `isa.py`
predicts from machine code: where both agree, a kernel does what it can.
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
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite import machine, measure
from suite.engines import ON_CUDA, OWN, load
from suite.workloads import Workload, chosen

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SECONDS = 480
WORKLOADS = (
    "gaussian-d3", "gaussian-d10", "gaussian-d1", "gaussian-d100", "gaussian-d3-b100", "gradient-x", "gradient-x-y-b",
    "logsumexp-d3", "logsumexp-d10", "knn-d3-k1", "knn-d3-k10", "knn-d10-k10", "k-means", "few-rows", "many-rows",
    "batches", "tiny", "scaling-square",
)  # fmt: skip
"""In this order, as long as there is time."""
TUNED = ("gaussian-d3", "gaussian-d100", "logsumexp-d3", "knn-d3-k10")
LARGER, SMALLER = 10.0, 0.03
"""Factors of the workloads' sizes, on a GPU and on a CPU that poses as one."""
FOR_THE_REST = 0.3
"""Part of the time that is kept for what comes after the workloads."""
DRIVERS = {
    "nvidia": "libnvidia-opencl.so.1",
    "amd": "libamdocl64.so",
    "intel": "libigdrcl.so",
    "rusticl": "libRusticlOpenCL.so.1",
}
FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/nvidia", "/opt/rocm", "/opt/amdgpu")
_LANES_OF_NVIDIA = 128
"""Work-items that a streaming multiprocessor takes on in a cycle: 32 on each of four schedulers."""
_LIST_KINDS = """
import pyopencl as cl
print(*[device.type & cl.device_type.GPU for platform in cl.get_platforms() for device in platform.get_devices()])
"""


# ---------------------------------------------------------------------------------------------------------- drivers


def has_gpu() -> bool:
    """Whether the OpenCL loader of this environment finds one: asked in a process of its own, for it looks once."""
    done = subprocess.run([sys.executable, "-c", _LIST_KINDS], capture_output=True, text=True, check=False, timeout=120)
    return any(int(kind) for kind in done.stdout.split())


def driver_libraries(folders: Sequence[str] = FOLDERS) -> dict[str, Path]:
    """Libraries of GPUs' OpenCL drivers by vendor, whether or not the loader knows of them."""
    present = {}
    for vendor, name in DRIVERS.items():
        for folder in folders:
            if path := next(Path(folder).rglob(name), None) if Path(folder).is_dir() else None:
                present[vendor] = path
                break
    return present


def write_icds(libraries: dict[str, Path], folder: Path) -> dict[str, str]:
    """Write an .icd file for each library into ``folder``; the environment in which loaders read them."""
    for vendor, library in libraries.items():
        (folder / f"{vendor}.icd").write_text(f"{library}\n", encoding="utf-8")
    return {"OCL_ICD_VENDORS": str(folder), "OPENCL_VENDOR_PATH": str(folder)}


def environment_with_gpu(folder: Path) -> dict[str, str] | None:
    """What is to be added to the environment so that a GPU is found: often nothing. None if there is no driver."""
    if has_gpu():
        return {}
    libraries = driver_libraries()
    print(f"no GPU is listed; drivers on this machine: {', '.join(map(str, libraries.values())) or 'none'}", flush=True)
    return write_icds(libraries, folder) if libraries else None


# ------------------------------------------------------------------------------- in the process that uses the driver


def posed(device: Any) -> None:
    """Have a CPU take the schedules and functions of a GPU."""
    from clreduce import trials

    device.facts = replace(device.facts, kind="gpu", native_float_lanes=1, native_double_lanes=1)
    device.facts = replace(device.facts, native_functions=tuple(trials.within_bounds(device)))


def steps(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The results, more complete each time."""
    import clreduce

    end = time.monotonic() + options.seconds
    if options.pose:
        posed(clreduce.current_device())
    else:
        gpus = [device for device in clreduce.devices() if device.facts.kind == "gpu"]
        if not gpus:
            sys.exit(f"clreduce finds no GPU:\n{clreduce.explain_devices()}")
        clreduce.set_default_device(gpus[0])
    device = clreduce.current_device()
    print(f"{device}\nfunctions: {', '.join(device.facts.native_functions) or 'none of the hardware'}", flush=True)
    engines, left_out = load(ON_CUDA, machine.cores())
    info = device.context.devices[0]
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(), "device": device.name, "driver": device.facts.driver,
        "functions": device.facts.native_functions, "compute_units": info.max_compute_units,
        "megahertz": info.max_clock_frequency, "machine": machine.describe(device, engines), "left_out": left_out,
        "posing": options.pose, "records": [], "tuned": [],
    }  # fmt: skip
    yield results
    limits = measure.Limits(rounds=7, budget=min(2.0, options.seconds / 100), longest=3.0)
    for records in measure.measure(workloads(options), engines, limits):
        results["records"] += records
        yield results
        if time.monotonic() > end - FOR_THE_REST * options.seconds:
            break
    results["overhead"] = overhead()
    yield results
    to_tune = chosen(options.tune, ("float32",), SMALLER if options.pose else 1.0, False) if options.tune else []
    for workload in to_tune:
        left = end - time.monotonic() - 0.05 * options.seconds
        if left < 0.1 * options.seconds:  # what is being built when the time ends is still built
            break
        results["tuned"].append(tuned(workload, min(left, 0.06 * options.seconds)))
        yield results


def workloads(options: argparse.Namespace) -> list[Workload]:
    """All in float32 first, each name's smallest size first."""
    factor = options.sizes or (SMALLER if options.pose else LARGER)
    names = options.only or WORKLOADS
    every = {name: chosen([name], ("float32",), factor, False) for name in names}
    singles = [workload for name in names for workload in every[name]]
    return singles + [replace(workload, dtypes=("float64",)) for workload in singles]


def overhead(calls: int = 200) -> dict[str, float]:
    """Microseconds of a call whose kernel takes next to no time: the least, and the median."""
    import numpy as np

    from clreduce.numpy import Genred

    routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
    arrays = [np.ones((100, dim), np.float32) for dim in (3, 3, 1)]
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        routine(*arrays)
        times.append(1e6 * (time.perf_counter() - start))
    return {"least": min(times), "median": float(np.median(times[calls // 4 :]))}


def tuned(workload: Workload, seconds: float) -> dict[str, Any]:
    """The schedule that the clock prefers to the default one."""
    import clreduce
    from clreduce.numpy import Genred

    (routine,) = workload.problem.routines
    compute = Genred(routine.formula, routine.aliases, routine.reduction, axis=routine.axis, opt_arg=routine.count)
    found = clreduce.tune(compute, *workload.problem.arrays("float32"), seconds=seconds, progress=False)
    print(f"  {workload.title}: {found}", flush=True)
    return {
        "workload": workload.title, "speedup": found.speedup, "tried": found.tried, "errors": found.errors,
        "default": str(found.default), "schedule": str(found.schedule),
    }  # fmt: skip


def child(options: argparse.Namespace) -> None:
    for results in steps(options):
        # In two steps: a crash while writing must not leave half a file.
        unfinished = options.child.with_suffix(".part")
        unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(options.child)


# ------------------------------------------------------------------------------------------------------- the report


def cycles_per_pair(results: dict[str, Any], record: dict[str, Any]) -> float | None:
    """Cycles of a scheduler of NVIDIA's for a pair of each of the items in step; None elsewhere."""
    if results["driver"] != "nvidia":
        return None
    per_second = results["compute_units"] * results["megahertz"] * 1e6 * _LANES_OF_NVIDIA
    return float(per_second * record["median"] / record["pairs"])


def report(results: dict[str, Any]) -> str:
    """The results as text."""
    peers = [name for name in ON_CUDA if any(record["engine"] == name for record in results["records"])]
    what = "posing as a GPU" if results["posing"] else "the machine's GPU"
    lines = [
        f"{results['device']} ({what}), {results['date']}",
        f"{results['compute_units']} compute units at {results['megahertz']} MHz; "
        f"functions of the hardware: {', '.join(results['functions']) or 'none'}",
        f"selftest: {results.get('selftest', 'not run')}",
        *(f"{name} is left out: {reason}" for name, reason in results["left_out"].items()),
        "",
        f"{'workload':38} {'dtype':8} {'ms':>10} {'pairs/s':>9} {'cycles':>7} {'error':>8}"
        + "".join(f" {peer:>13} {'ratio':>6}" for peer in peers),
    ]
    by_entry: dict[tuple[str, str], dict[str, Any]] = {}
    for record in results["records"]:
        by_entry.setdefault((f"{record['workload']} {record['size']}", record["dtype"]), {})[record["engine"]] = record
    for (title, dtype), entry in by_entry.items():
        own = entry[OWN]
        if "median" not in own:
            lines.append(f"{title:38} {dtype:8} {own['reason']}")
            continue
        cycles = cycles_per_pair(results, own)
        text = f"{title:38} {dtype:8} {1e3 * own['median']:10.3f} {own['pairs'] / own['median']:9.2e} "
        text += f"{'' if cycles is None else f'{cycles:.1f}':>7} {own['error']:8.1e}"
        for peer in peers:
            seconds = entry.get(peer, {}).get("median")
            text += f" {1e3 * seconds:13.3f} {seconds / own['median']:6.2f}" if seconds else f" {'-':>13} {'-':>6}"
        lines.append(text)
    if cost := results.get("overhead"):
        lines += ["", f"a call of 100 x 100 pairs: {cost['least']:.0f} us at least, {cost['median']:.0f} us typically"]
    for one in results["tuned"]:
        lines.append(f"tuned {one['workload']}: {one['speedup']:.2f} times as fast with {one['schedule']}")
        lines += [f"  {error}" for error in one["errors"]]
    return "\n".join(lines) + "\n"


def write(results: dict[str, Any], folder: Path) -> Path:
    """Write text and JSON of a run; the path of the text."""
    words = ["gpu", results["date"], results["device"], *(["posing"] if results["posing"] else [])]
    stem = re.sub(r"[^\w.]+", "-", " ".join(words)).strip("-")[:100]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / f"{stem}.txt").write_text(report(results), encoding="utf-8")
    return folder / f"{stem}.txt"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for everything (default: 480)")
    parser.add_argument("--pose", action="store_true", help="have the current device, a CPU, pose as a GPU")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these workloads")
    parser.add_argument("--tune", nargs="*", default=list(TUNED), metavar="NAME", help="workloads to tune")
    parser.add_argument(
        "--sizes", type=float, metavar="FACTOR", help="of the suite's sizes (default: 10; posing: 0.03)"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where results are written")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.output = options.output or (ROOT / "output" if options.pose else RESULTS)
    return options


def selftest(environment: dict[str, str], seconds: float) -> str:
    """What `clreduce selftest` says at its end."""
    command = [sys.executable, "-m", "clreduce", "selftest"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=seconds, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return f"not done after {seconds:.0f} s"
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {lines[-1].strip()}"


def main() -> int:
    options = parse()
    if options.child:
        child(options)
        return 0
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        added = {} if options.pose else environment_with_gpu(folder)
        if added is None:
            print("there is no driver of a GPU: install the vendor's OpenCL driver, or try --pose", file=sys.stderr)
            return 2
        environment = os.environ | machine.thread_environment() | added
        verdict = selftest(environment, 0.15 * options.seconds)
        print(f"selftest: {verdict}", flush=True)
        path = folder / "results.json"
        left = end - time.monotonic()
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        command += ["--child", str(path), "--seconds", str(0.95 * left)]
        try:
            status = str(subprocess.run(command, env=environment, check=False, timeout=left).returncode)
        except subprocess.TimeoutExpired:
            status = "out of time"
        if not path.exists():
            print(f"nothing was measured; the process ended with status {status}", file=sys.stderr)
            return 1
        results = json.loads(path.read_text(encoding="utf-8")) | {"selftest": verdict, "status": status}
    text = write(results, options.output)
    print(f"\n{report(results)}\nwritten: {text} and .json")
    if status != "0":
        print(f"the process ended early ({status}); what it measured before that is written", file=sys.stderr)
    return int(status != "0")


if __name__ == "__main__":
    sys.exit(main())
