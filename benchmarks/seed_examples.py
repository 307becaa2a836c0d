"""Speed, exactness, start-up and memory on the formulas of the examples, beside PyKeOps on the same processor.

    sum:        c_i = sum_j (p - a_j)^2 exp(x_i + y_j), vectors of length 3, and its gradient in y
    logsumexp:  c_i = log sum_j exp((p - a_j)^2 exp(x_i + y_j)), numbers, and its gradient in y, given c

    python benchmarks/seed_examples.py                      # everything: some 15 minutes on two cores
    python benchmarks/seed_examples.py --only calls --sizes 3000x5000
    python benchmarks/seed_examples.py --quick              # does it run at all?

Every OpenCL CPU driver found is measured; without PyKeOps there is no comparison. Calls are interleaved, one engine
after the other in each round, with a pause between them, in which the threads of the last one come to rest. All engines
get the same arrays and return new NumPy arrays. The text and a JSON file are written to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("clreduce") is None:  # a bare checkout
    sys.path.insert(0, str(ROOT))

Array = np.ndarray[Any, Any]
Call = Callable[[], Array]
PEER = "pykeops"
DTYPES = ("float32", "float64")
PAUSE = 0.05  # seconds between engines: OpenMP's threads spin for some milliseconds after their work is done

# ------------------------------------------------------------------------------------------------------- the formulas

FORMULA = "Square(p - a) * Exp(x + y)"


def aliases(dim: int) -> list[str]:
    return ["p = Pm(1)", "a = Vj(1)", f"x = Vi({dim})", f"y = Vj({dim})"]


@dataclass(frozen=True)
class Case:
    """One thing to compute: as a Genred of either engine, by NumPy in float64, and on which data."""

    name: str
    dim: int
    formula: str
    more_aliases: tuple[str, ...]
    reduction: str
    axis: int
    numpy: Callable[..., Array]
    """The outputs that ``chosen`` numbers, from the arrays in float64."""
    vjp: bool = False
    """clreduce is asked for the gradient of its routine; the formula is the same thing for an engine without that."""


def numpy_sum(chosen: Array, p: Array, a: Array, x: Array, y: Array) -> Array:
    return np.stack([(np.square(p - a) * np.exp(x_i + y)).sum(0) for x_i in x[chosen]])


def numpy_sum_gradient(chosen: Array, p: Array, a: Array, x: Array, y: Array, e: Array) -> Array:
    return np.stack([(np.square(p - a[j]) * np.exp(x + y[j]) * e).sum(0) for j in chosen])


def numpy_logsumexp(chosen: Array, p: Array, a: Array, x: Array, y: Array) -> Array:
    result = np.empty((len(chosen), 1))
    for n, i in enumerate(chosen):
        f = np.square(p - a) * np.exp(x[i] + y)
        result[n] = f.max() + np.log(np.exp(f - f.max()).sum())
    return result


def numpy_logsumexp_gradient(
    chosen: Array, p: Array, a: Array, x: Array, y: Array, e: Array, c: Array
) -> Array:  # fmt: skip
    result = np.empty((len(chosen), 1))
    for n, j in enumerate(chosen):
        f = np.square(p - a[j]) * np.exp(x + y[j])
        result[n] = (e * np.exp(f - c) * f).sum()
    return result


CASES = (
    Case("sum", 3, FORMULA, (), "Sum", 1, numpy_sum),
    Case("sum gradient", 3, f"Grad({FORMULA}, y, e)", ("e = Vi(3)",), "Sum", 0, numpy_sum_gradient),
    Case("logsumexp", 1, FORMULA, (), "LogSumExp", 1, numpy_logsumexp),
    Case(
        "logsumexp gradient", 1, f"Grad({FORMULA}, y, e * Exp({FORMULA} - c))", ("e = Vi(1)", "c = Vi(1)"), "Sum", 0,
        numpy_logsumexp_gradient, vjp=True,
    ),
)  # fmt: skip


def data(case: Case, rows: int, columns: int, dtype: str) -> list[Array]:
    """The arrays of a case. All terms are positive, so that the relative error of each entry has a meaning."""
    rng = np.random.default_rng(0)
    draw = rng.normal if case.dim > 1 else rng.random
    arrays = [np.array([0.25]), *(draw(size=size) for size in ((columns, 1), (rows, case.dim), (columns, case.dim)))]
    if len(case.more_aliases) > 0:
        arrays.append(rng.random(size=(rows, case.dim)))
    if len(case.more_aliases) > 1:
        # In float64 by clreduce, which the case "logsumexp" compares with NumPy.
        from clreduce.numpy import Genred

        arrays.append(Genred(FORMULA, aliases(1), "LogSumExp", axis=1)(*arrays[:4]))
    return [array.astype(dtype) for array in arrays]


# -------------------------------------------------------------------------------------------------------- the engines


def clreduce_call(case: Case, arrays: Sequence[Array], device: Any) -> Call:
    import clreduce
    from clreduce.numpy import Genred

    if case.vjp:
        routine = Genred(FORMULA, aliases(case.dim), "LogSumExp", axis=1)
        *inputs, cotangent, output = arrays

        def compute() -> Array:
            return routine.vjp(*inputs, cotangent=cotangent, wrt=["y"], output=output)[0]
    else:
        routine = Genred(case.formula, [*aliases(case.dim), *case.more_aliases], case.reduction, axis=case.axis)

        def compute() -> Array:
            return routine(*arrays)

    def call() -> Array:
        with clreduce.use_device(device) if device is not None else nullcontext():
            return compute()

    return call


def import_peer() -> Any:
    """PyKeOps's Genred for NumPy, or None if it is not installed or does not work here."""
    os.environ.setdefault("KEOPS_VERBOSE", "0")
    try:
        import pykeops

        pykeops.set_verbose(False)
        from pykeops.numpy import Genred
    except Exception as error:  # whatever its set-up may raise, we go on without it
        print(f"{PEER} is left out: {type(error).__name__}: {error}")
        return None
    return Genred


def peer_call(genred: Any, case: Case, arrays: Sequence[Array]) -> Call:
    routine = genred(case.formula, [*aliases(case.dim), *case.more_aliases], case.reduction, axis=case.axis)
    return lambda: routine(*arrays, backend="CPU")


def cpu_devices() -> list[Any]:
    import clreduce

    return [device for device in clreduce.devices() if device.facts.kind == "cpu"]


def title(device: Any) -> str:
    """A short name of a driver, which also selects it: its name and the version's first word."""
    return f"{device.facts.driver} {device.driver_version.split()[0]}"


# ---------------------------------------------------------------------------------------------------------- measuring


def interleaved(calls: dict[str, Call], rounds: int, budget: float) -> dict[str, list[float]]:
    """Seconds of each call, round by round, until the budget (in seconds) is spent, but for three rounds at least."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + budget
    for done in range(rounds):
        if done >= 3 and time.perf_counter() > end:
            break
        for name, call in calls.items():
            time.sleep(PAUSE)
            for _ in range(3):  # of a quick engine more calls in the same time
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
                if seconds[name][-1] > 0.1:
                    break
    return seconds


def measure_calls(sizes: Sequence[tuple[int, int]], rounds: int, budget: float, peer: Any) -> list[dict[str, Any]]:
    """Time per call and error of every case, size, dtype and engine."""
    found = []
    for rows, columns in sizes:
        for case in CASES:
            for dtype in DTYPES:
                arrays = data(case, rows, columns, dtype)
                calls = {title(device): clreduce_call(case, arrays, device) for device in cpu_devices()}
                if peer is not None:
                    calls[PEER] = peer_call(peer, case, arrays)
                outputs = rows if case.axis == 1 else columns
                chosen = np.unique(np.linspace(0, outputs - 1, 500).astype(int))
                exact = case.numpy(chosen, *(array.astype("float64") for array in arrays))
                errors = {name: relative_error(call()[chosen], exact) for name, call in calls.items()}  # warms up, too
                for name, times in interleaved(calls, rounds, budget).items():
                    record = {
                        "case": case.name, "rows": rows, "columns": columns, "dtype": dtype, "engine": name,
                        "median": median(times), "min": min(times), "calls": len(times), "error": errors[name],
                    }  # fmt: skip
                    found.append(record)
                print(f"  {case.name}, {rows} x {columns}, {dtype}: done", flush=True)
    return found


def measure_overhead(size: int, peer: Any) -> dict[str, float]:
    """Median seconds of a warm call that has next to nothing to compute."""
    case = CASES[2]
    arrays = data(case, size, size, "float32")
    calls = {title(device): clreduce_call(case, arrays, device) for device in cpu_devices()}
    if peer is not None:
        calls[PEER] = peer_call(peer, case, arrays)
    for call in calls.values():
        call()
    return {name: median(times) for name, times in interleaved(calls, 60, 60).items()}


def relative_error(computed: Array, exact: Array) -> float:
    return float(np.max(np.abs(computed - exact) / np.abs(exact)))


# ---------------------------------------------------------------------------------------- measured in fresh processes


def run_child(measurement: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run this file's function ``child_<measurement>`` in a process of its own; what it returns."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", measurement, *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        print(f"  {measurement} {' '.join(arguments)} failed: {tail[0]}")
        return {}
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def child_first_call(engine: str, dtype: str) -> dict[str, float]:
    """Seconds from the formula's text to its first result, after what any program would have to load."""
    case = CASES[2]
    start = time.perf_counter()
    if engine == PEER:
        genred = import_peer()
    else:
        import clreduce.numpy  # noqa: F401 (the user's import belongs to what is loaded)
        from clreduce.runtime.devices import select

        device = select(engine)
        _ = device.context, device.queue  # made by asking for them
    loaded = time.perf_counter()
    arrays = [np.full(shape, 0.5, dtype) for shape in ((1,), (300, 1), (200, 1), (300, 1))]
    formula = time.perf_counter()
    (peer_call(genred, case, arrays) if engine == PEER else clreduce_call(case, arrays, device))()
    return {"load": loaded - start, "first_call": time.perf_counter() - formula}


def child_memory(engine: str, dtype: str, size: str) -> dict[str, float]:
    """Seconds and extra memory of a Gaussian kernel sum of ``size`` x ``size`` points in space, result included."""
    n = int(size)
    formula, names = "Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]
    rng = np.random.default_rng(0)
    x, y, b = (rng.random(size=(n, dim)).astype(dtype) for dim in (3, 3, 1))
    if engine == PEER:
        routine = import_peer()(formula, names, "Sum", axis=1)

        def call(rows: int) -> Array:
            return routine(x[:rows], y[:rows], b[:rows], backend="CPU")
    else:
        import clreduce
        from clreduce.numpy import Genred

        clreduce.set_default_device(engine)
        ours = Genred(formula, names, "Sum", axis=1)

        def call(rows: int) -> Array:
            return ours(x[:rows], y[:rows], b[:rows])

    call(min(n, 20000))  # compiles, starts the threads
    forget_peak()
    before = peak_memory()
    start = time.perf_counter()
    call(n)
    return {"seconds": time.perf_counter() - start, "peak_bytes": peak_memory() - before}


def forget_peak() -> None:
    """Make the process's peak memory its present one: else what compiling once took would hide the call's."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak memory cannot be reset here: what the call takes may hide behind what compiling took")


def peak_memory() -> float:
    """The most memory of this process so far, in bytes."""
    try:
        return 1024 * float(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0])
    except (OSError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(most if sys.platform == "darwin" else 1024 * most)


def measure_import(repeats: int) -> dict[str, float]:
    """Median seconds of an import in a fresh process; NumPy's is part of the others."""
    code = "import sys, time; sys.path = {}; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
    found = {}
    for module in ("numpy", "clreduce", "clreduce.numpy"):
        command = [sys.executable, "-c", code.format(sys.path, module)]
        times = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeats)]
        found[module] = median(times)
    return found


def measure_first_call(engines: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """A new formula in a fresh process, with empty caches and then with the caches that this left behind."""
    found = []
    for engine in engines:
        cold: list[dict[str, float]] = []
        warm: list[dict[str, float]] = []
        for _ in range(1 if engine == PEER else repeats):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as caches:
                folders = {
                    name: str(Path(caches) / name)
                    for name in ("XDG_CACHE_HOME", "POCL_CACHE_DIR", "CLREDUCE_CACHE_FOLDER", "KEOPS_CACHE_FOLDER")
                }
                for folder in folders.values():
                    os.mkdir(folder)
                for runs in (cold, warm):
                    runs.append(run_child("first_call", engine, "float32", **folders))
        for caches_were, runs in (("empty", cold), ("warm", warm)):
            if all(runs):
                record = {"engine": engine, "caches": caches_were}
                found.append(record | {name: median(run[name] for run in runs) for name in ("load", "first_call")})
    return found


def measure_memory(engines: Sequence[str], size: int, longest: float) -> list[dict[str, Any]]:
    """Peak memory and speed of a large call; smaller for an engine that would take longer than ``longest`` seconds."""
    found = []
    for engine in engines:
        for dtype in DTYPES:
            trial_size = max(1, size // 10)
            trial = run_child("memory", engine, dtype, str(trial_size))
            if not trial:
                continue
            expected = trial["seconds"] * (size / trial_size) ** 2
            n = size if expected <= longest else max(trial_size, int(size * (longest / expected) ** 0.5) // 1000 * 1000)
            result = run_child("memory", engine, dtype, str(n))
            if result:
                record = {"engine": engine, "dtype": dtype, "points": n, "pairs_per_second": n * n / result["seconds"]}
                found.append(record | result)
    return found


CHILDREN = {"first_call": child_first_call, "memory": child_memory}

# ---------------------------------------------------------------------------------------------------------- reporting


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, *others = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]) for line in (header, *rows)]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def calls_text(records: Sequence[dict[str, Any]]) -> str:
    peers = {key(record): record for record in records if record["engine"] == PEER}
    header = (
        "case",
        "M x N",
        "dtype",
        "engine",
        "median ms",
        "min ms",
        "Gpairs/s",
        "rel. error",
        f"{PEER}/this",
        "of min",
    )
    rows = []
    for record in records:
        peer = peers.get(key(record))
        ratios = ("", "") if peer is None else tuple(f"{peer[kind] / record[kind]:.1f}" for kind in ("median", "min"))
        size, pairs = f"{record['rows']} x {record['columns']}", record["rows"] * record["columns"]
        times = [f"{1e3 * record[kind]:.2f}" for kind in ("median", "min")]
        speed, error = f"{pairs / record['median'] / 1e9:.3f}", f"{record['error']:.1e}"
        rows.append((record["case"], size, record["dtype"], record["engine"], *times, speed, error, *ratios))
    return text_table(header, rows)


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("case", "rows", "columns", "dtype"))


def report(results: dict[str, Any]) -> str:
    machine = results["machine"]
    parts = [
        f"{results['date']}, {machine['processor']}, {machine['cores']} cores, {machine['system']}\n"
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + (f"\nload average at the start: {results['load']:.1f}" if "load" in results else "")
        + "".join(f"\n{name}: {identity}" for name, identity in machine["devices"].items())
    ]
    if results.get("calls"):
        parts.append("Time per call, a warm one\n\n" + calls_text(results["calls"]))
    lines = []
    for name, seconds in results.get("overhead", {}).items():
        size = results["overhead_size"]
        lines.append(f"warm call of {size} x {size} pairs, {name}: {1e6 * seconds:.0f} us")
    for module, seconds in results.get("import", {}).items():
        lines.append(f"import {module}: {1e3 * seconds:.0f} ms")
    for found in results.get("first_call", ()):
        lines.append(
            f"first call of a new formula in a new process, {found['caches']} caches, {found['engine']}: "
            f"{1e3 * found['first_call']:.0f} ms, after {1e3 * found['load']:.0f} ms of imports and context"
        )
    for found in results.get("memory", ()):
        lines.append(
            f"Gaussian sum of {found['points']} x {found['points']} points in 3D, {found['dtype']}, {found['engine']}: "
            f"{found['seconds']:.2f} s, {found['pairs_per_second'] / 1e9:.3f} Gpairs/s, "
            f"{found['peak_bytes'] / 2**20:.1f} MiB above the inputs"
        )
    return "\n\n".join([*parts, "\n".join(lines)]).strip() + "\n"


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in ("numpy", "pyopencl", PEER):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def size_of(text: str) -> tuple[int, int]:
    rows, columns = text.lower().split("x")
    return int(rows), int(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parts = ("calls", "overhead", "import", "first_call", "memory")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="measure only these")
    parser.add_argument("--sizes", nargs="+", type=size_of, default=[(3000, 5000), (9000, 15000)], metavar="MxN")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of interleaved calls, at most")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for the rounds of one table entry, about")
    parser.add_argument("--points", type=int, default=300_000, help="M = N of the measurement of memory")
    parser.add_argument("--longest", type=float, default=120.0, help="seconds a call of that may take")
    parser.add_argument("--no-peer", action="store_true", help=f"leave {PEER} out")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few repeats: does it run?")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child[0]](*options.child[1:])))
        return
    repeats = 5
    if options.quick:
        options.sizes, options.rounds, options.points, repeats = [(300, 500)], 3, 3000, 1

    peer = None if options.no_peer else import_peer()
    devices = cpu_devices()
    if not devices:
        sys.exit("there is no OpenCL CPU driver: nothing to compare on the CPU")
    engines = [title(device) for device in devices] + [PEER] * (peer is not None)
    machine = {
        "processor": processor(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(), "devices": {title(device): device.identity for device in devices},
    }  # fmt: skip
    results: dict[str, Any] = {"date": datetime.date.today().isoformat(), "machine": machine}
    if hasattr(os, "getloadavg"):
        results["load"] = os.getloadavg()[0]  # others at work on this machine make all times longer
    for part in options.only:
        print(f"measuring: {part}", flush=True)
        if part == "calls":
            results[part] = measure_calls(options.sizes, options.rounds, options.budget, peer)
        elif part == "overhead":
            results["overhead_size"] = 100
            results[part] = measure_overhead(100, peer)
        elif part == "import":
            results[part] = measure_import(repeats)
        elif part == "first_call":
            results[part] = measure_first_call(engines, repeats)
        else:
            results[part] = measure_memory(engines, options.points, options.longest)

    text = report(results)
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    only = "" if set(options.only) == set(parts) else " ".join(("", *options.only))
    name = re.sub(r"[^\w.]+", "-", f"seed_examples {results['date']} {machine['processor']}{only}")
    (options.output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.output / f"{name}.txt").write_text(text)
    print(f"written: {options.output / name}.json and .txt")


def processor() -> str:
    """The processor's name, from the shortest of its drivers' names: PoCL puts words of its own in front."""
    return min((re.sub("^(pthread|cpu)-", "", device.name) for device in cpu_devices()), key=len)


if __name__ == "__main__":
    main()
