"""Linear systems with a Gaussian kernel: `clreduce.numpy.KernelSolve` beside PyKeOps' on the same arrays.

    python benchmarks/solve.py                      # 10,000 points in 3 dimensions, float32, one column
    python benchmarks/solve.py --size 20000 --columns 4
    python benchmarks/solve.py --driver "pocl 3.0"

Engines take turns, and the median over the rounds is shown. The two stop at different norms, so each gets the eps that
means ``|b - A a| <= tolerance * |b|`` to it, and the residual that it really reached is computed in float64.
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
    results: dict[str, Any] = {}
    for solve in timed.values():
        solve([arrays[0], *(array[:200] for array in arrays[1:])])  # compiles
    for _ in range(options.rounds):
        for name, solve in timed.items():
            time.sleep(0.2)
            start = time.perf_counter()
            results[name] = solve(arrays)
            seconds[name].append(time.perf_counter() - start)
    own = statistics.median(seconds["clreduce"])
    lines = [
        f"(alpha + K) a = b, {options.size} points, D = {options.dim}, {options.columns} column(s), {options.dtype}, "
        f"g = {options.gamma}, alpha = {options.alpha}, |r| <= {options.tolerance} |b|",
        f"device: {clreduce.current_device()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        f"{datetime.date.today()}, medians of {options.rounds} rounds",
        "",
        f"{'engine':<26}{'median s':>10}{'least s':>10}{'ratio':>8}{'products':>10}{'residual':>11}",
    ]
    for name, times in seconds.items():
        a, info = results[name]
        median = statistics.median(times)
        count = "-" if info is None else str(info.iterations)
        reached = residual(a, arrays, aliases, options.alpha)
        lines.append(f"{name:<26}{median:>10.3f}{min(times):>10.3f}{median / own:>8.2f}{count:>10}{reached:>11.1e}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 10_000), ("dim", 3), ("columns", 1), ("rounds", 5), ("rank", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in (("alpha", 20.0), ("gamma", 12.5), ("tolerance", 1e-4)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--driver", help="the OpenCL device, by words of its name")
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
