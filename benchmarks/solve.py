"""Linear systems with a Gaussian kernel: `clreduce.numpy.KernelSolve` beside PyKeOps' on the same arrays.

    python benchmarks/solve.py                      # 10,000 points in 3 dimensions, float32, one column
    python benchmarks/solve.py --size 20000 --columns 4
    python benchmarks/solve.py --driver "pocl 3.0"
    python benchmarks/solve.py --size 1000 --on-device          # arrays of pyopencl beside NumPy's, in place of PyKeOps

Engines take turns, and the median over the rounds is shown, of wall time and of processor time. The two stop at
different norms, so each gets the eps that means ``|b - A a| <= tolerance * |b|`` to it, and the residual that it really
reached is computed in float64.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import clreduce
from clreduce.numpy import Genred, KernelSolve, nystrom

ROOT = Path(__file__).resolve().parent
FORMULA = "Exp(-g * SqDist(x, y)) * b"
Array = np.ndarray[Any, Any]


def problem(options: argparse.Namespace) -> tuple[list[Array], list[str]]:
    """Points in the unit cube, a kernel of width 0.2 or so, and right-hand sides of unit variance."""
    rng = np.random.default_rng(0)
    x = rng.random((options.size, options.dim)).astype(options.dtype)
    b = rng.normal(size=(options.size, options.columns)).astype(options.dtype)
    g = np.array([options.gamma], options.dtype)
    dim = options.dim
    return [g, x, x, b], ["g = Pm(1)", f"x = Vi({dim})", f"y = Vj({dim})", f"b = Vj({options.columns})"]


def engines(options: argparse.Namespace, aliases: list[str]) -> dict[str, Callable[[list[Array]], Any]]:
    """What is timed, by name."""
    solve = KernelSolve(FORMULA, aliases, "b", axis=1)

    def own(**more: Any) -> Callable[[list[Array]], Any]:
        return lambda arrays: solve(*arrays, alpha=options.alpha, eps=options.tolerance, info=True, **more)

    if options.on_device:
        return {"clreduce": own(), "clreduce, device arrays": on_device(options, aliases)}
    found = {"clreduce": own(), f"clreduce, nystrom({options.rank})": own(preconditioner=nystrom(options.rank))}
    try:
        import pykeops
        from pykeops.numpy import KernelSolve as Other
    except ImportError:
        return found
    pykeops.set_verbose(False)
    other = Other(FORMULA, aliases, "b", axis=1, dtype=options.dtype)

    def peer(arrays: list[Array]) -> Any:
        eps = options.tolerance * float(np.sqrt(np.mean(arrays[-1].astype(float) ** 2)))  # |r|^2 < size * eps^2
        return other(*arrays, alpha=options.alpha, eps=eps, backend="CPU"), None

    return found | {"pykeops": peer}


def on_device(options: argparse.Namespace, aliases: list[str]) -> Callable[[list[Array]], Any]:
    """Solves on arrays of pyopencl, which are copied to the device once; the queue is done when a solve ends."""
    import pyopencl as cl
    import pyopencl.array

    import clreduce.cl

    context = cl.Context([clreduce.current_device().cl_device])
    queue = cl.CommandQueue(context)
    solve = clreduce.cl.KernelSolve(FORMULA, aliases, "b", axis=1)
    placed: dict[int, list[Any]] = {}

    def run(arrays: list[Array], context: Any = context) -> Any:  # not all drivers keep the context of a queue
        size = len(arrays[-1])
        if size not in placed:
            placed[size] = [cl.array.to_device(queue, np.ascontiguousarray(array)) for array in arrays]
        result = solve(*placed[size], alpha=options.alpha, eps=options.tolerance, info=True)
        queue.finish()
        return result

    return run


def residual(a: Array, arrays: list[Array], aliases: list[str], alpha: float) -> float:
    """The largest ``|b - A a| / |b|`` of a column, in float64."""
    g, x, y, b = (array.astype(np.float64) for array in arrays)
    exact = a.astype(np.float64)
    rest = b - Genred(FORMULA, aliases, "Sum", axis=1)(g, x, y, exact) - alpha * exact
    return float((np.linalg.norm(rest, axis=0) / np.linalg.norm(b, axis=0)).max())


def report(options: argparse.Namespace) -> str:
    """Measure, and give the table as text."""
    arrays, aliases = problem(options)
    timed = engines(options, aliases)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    processor: dict[str, list[float]] = {name: [] for name in timed}
    results: dict[str, Any] = {}
    for solve in timed.values():
        solve([arrays[0], *(array[:200] for array in arrays[1:])])  # compiles
    for _ in range(options.rounds):
        for name, solve in timed.items():
            time.sleep(0.2)
            start, used = time.perf_counter(), time.process_time()
            results[name] = solve(arrays)
            processor[name].append(time.process_time() - used)
            seconds[name].append(time.perf_counter() - start)
    own, own_used = statistics.median(seconds["clreduce"]), statistics.median(processor["clreduce"])
    lines = [
        f"(alpha + K) a = b, {options.size} points, D = {options.dim}, {options.columns} column(s), {options.dtype}, "
        f"g = {options.gamma}, alpha = {options.alpha}, |r| <= {options.tolerance} |b|",
        f"device: {clreduce.current_device()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        f"{datetime.date.today()}, medians of {options.rounds} rounds",
        "",
        f"{'engine':<26}{'median s':>10}{'least s':>10}{'ratio':>8}{'processor s':>13}{'ratio':>8}"
        f"{'products':>10}{'residual':>11}",
    ]
    for name, times in seconds.items():
        a, info = results[name]
        median = statistics.median(times)
        count = "-" if info is None else str(info.iterations)
        reached = residual(a if isinstance(a, np.ndarray) else a.get(), arrays, aliases, options.alpha)
        used = statistics.median(processor[name])
        lines.append(
            f"{name:<26}{median:>10.4f}{min(times):>10.4f}{median / own:>8.2f}{used:>13.4f}{used / own_used:>8.2f}"
            f"{count:>10}{reached:>11.1e}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 10_000), ("dim", 3), ("columns", 1), ("rounds", 5), ("rank", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("alpha", 20.0), ("gamma", 12.5), ("tolerance", 1e-4)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--driver", help="the OpenCL device, by words of its name")
    parser.add_argument("--on-device", action="store_true", help="compare with arrays of pyopencl")
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results as well")
    options = parser.parse_args()
    if options.driver:
        clreduce.set_default_device(options.driver)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        text = report(options)
    print(text)
    if options.save:
        path = ROOT / "results" / f"solve-{datetime.date.today()}.txt"
        path.write_text(text + "\n", encoding="utf-8")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
