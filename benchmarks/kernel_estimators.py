"""Kernel estimators of `clreduce.sklearn` beside scikit-learn's, on the same processor.

    python benchmarks/kernel_estimators.py            # some ten minutes on two cores
    python benchmarks/kernel_estimators.py --quick    # does it run at all?

Calls are interleaved. A table holds medians of wall time and of the processor time of all threads, which says more on
a machine with other work. The first call of each, whose kernels are compiled, is not timed. "error" is the largest
difference from scikit-learn's result, in units of its deviation; slopes of a likelihood are estimates. A tree of
densities stops early with a tolerance, ``rtol``. The peak of memory is that of a process of its own, less what it
takes for few points, kernels included.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from seed_examples import ROOT, cpu_devices, text_table, title
from sklearn import cluster, gaussian_process, kernel_approximation, kernel_ridge, neighbors
from sklearn.datasets import make_moons
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from suite import machine

import clreduce.sklearn as kernels
from clreduce import use_device

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], Array]]
HEADER = ("problem", "N", "D", "engine", "s", "CPU s", "CPU / ours", "error")
PROCESS = ConstantKernel(1.0) * RBF(0.3) + WhiteKernel(0.02)
_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {folder!r})
from kernel_estimators import PROCESS, measurements
from clreduce.sklearn import GaussianProcessRegressor
def peak():
    status = Path("/proc/self/status")  # the maximum of getrusage goes on from that of the process before
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
def run(count):
    process = GaussianProcessRegressor(PROCESS, optimizer=None, max_dense=0).fit(*measurements(count, 3))
    process.log_marginal_likelihood(PROCESS.theta, eval_gradient=True)
run(300)
before = peak()
run({count})
print(before, peak() - before)
"""


def measurements(count: int, dim: int) -> tuple[Array, Array]:
    """Points in a cube, (N, D), and what is measured there, (N,), with noise; float32."""
    rng = np.random.default_rng(0)
    x = rng.random((count, dim), "float32")
    return x, (np.sin(6 * x[:, 0]) + np.cos(5 * x[:, 1]) + 0.1 * rng.normal(size=count)).astype("float32")


def densities(count: int) -> Calls:
    x, _ = measurements(count, 3)
    points = measurements(count + count // 4, 3)[0][count:]

    def by(kind: Any, **options: Any) -> Callable[[], Array]:
        return lambda: np.asarray(kind(bandwidth=0.1, **options).fit(x).score_samples(points))

    return {
        "clreduce": by(kernels.KernelDensity),
        "scikit-learn": by(neighbors.KernelDensity),
        "scikit-learn, rtol=1e-3": by(neighbors.KernelDensity, rtol=1e-3),
    }


def regressions(count: int) -> Calls:
    x, y = measurements(count, 8)

    def by(kind: Any, **options: Any) -> Callable[[], Array]:
        ridge = kind(kernel="rbf", gamma=2.0, alpha=0.1, **options)
        return lambda: np.asarray(ridge.fit(x, y).predict(x))

    return {"clreduce": by(kernels.KernelRidge, max_dense=0), "scikit-learn": by(kernel_ridge.KernelRidge)}


def features(count: int) -> Calls:
    x, _ = measurements(count, 8)

    def by(kind: Any) -> Callable[[], Array]:
        return lambda: np.abs(kind(gamma=2.0, n_components=200, random_state=0).fit_transform(x))

    return {"clreduce": by(kernels.Nystroem), "scikit-learn": by(kernel_approximation.Nystroem)}


def likelihoods(count: int) -> Calls:
    """The likelihood and its slopes, once."""
    x, y = measurements(count, 3)

    def by(kind: Any, **options: Any) -> Callable[[], Array]:
        process = kind(PROCESS, optimizer=None, random_state=0, **options).fit(x, y)
        return lambda: np.array(process.log_marginal_likelihood(PROCESS.theta, eval_gradient=True)[1])

    return {
        "clreduce": by(kernels.GaussianProcessRegressor, max_dense=0),
        "scikit-learn": by(gaussian_process.GaussianProcessRegressor),
    }


def clusters(count: int) -> Calls:
    x = make_moons(count, noise=0.05, random_state=0)[0].astype("float32")

    def by(kind: Any) -> Callable[[], Array]:
        return lambda: np.asarray(kind(2, gamma=30.0, random_state=0).fit_predict(x), float)

    return {"clreduce": by(kernels.SpectralClustering), "scikit-learn": by(cluster.SpectralClustering)}


def lines(problem: str, count: int, dim: int, calls: Calls, rounds: int) -> list[list[str]]:
    """The lines of a table for one problem."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    results = {name: call() for name, call in calls.items()}
    for _ in range(rounds):
        for name, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            call()
            times[name].append((time.perf_counter() - start, time.process_time() - used))
    expected, ours = results["scikit-learn"], median(used for _, used in times["clreduce"])
    table = []
    for engine, result in results.items():
        wall, used = (median(each) for each in zip(*times[engine], strict=True))
        error = f"{np.abs(result - expected).max() / np.std(expected):.1e}"
        table.append([problem, str(count), str(dim), engine, f"{wall:.2f}", f"{used:.2f}", f"{used / ours:.1f}", error])
        print(" ", *table[-1], flush=True)
    return table


def memory(count: int) -> str:
    """What a Gaussian process of so many points takes beyond that of a few."""
    code = _MEMORY.format(folder=str(Path(__file__).parent), count=count)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, more = (int(number) / 2**20 for number in done.stdout.split())
    return (
        f"A Gaussian process of {count} points, fitted once, its likelihood and slopes: {more:.0f} MiB beyond the "
        f"{before:.0f} MiB of one of 300 points; the matrix in float32 would take {4 * count**2 / 2**20:.0f} MiB, in "
        "float64, as scikit-learn has it, twice that, and once more for each hyper-parameter\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of interleaved calls")
    parser.add_argument("--driver", default="", help="only drivers whose name holds this")
    parser.add_argument("--quick", action="store_true", help="few points and one round: does it run?")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    part, rounds = (0.05, 1) if options.quick else (1.0, options.rounds)
    today, texts = datetime.date.today().isoformat(), []
    problems = (
        ("density", densities, 20_000, 3), ("ridge regression", regressions, 6_000, 8),
        ("Nystroem, 200 components", features, 50_000, 8), ("likelihood of a process", likelihoods, 2_500, 3),
        ("spectral clusters", clusters, 3_000, 2),
    )  # fmt: skip
    for device in cpu_devices():
        if options.driver not in title(device):
            continue
        facts = machine.describe(device, [])
        versions = facts["versions"] | machine.versions(("scikit-learn",))
        head = f"{today}, {facts['processor']}, {facts['cores']} cores, {facts['system']}\n{device.identity}\n"
        head += ", ".join(f"{name} {version}" for name, version in versions.items())
        head += f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        print(head, flush=True)
        table = []
        with use_device(device):
            for problem, calls, size, dim in problems:
                count = int(size * part)
                table += lines(problem, count, dim, calls(count), rounds)
        texts.append(f"{head}\n\n{text_table(HEADER, table)}\n")
    if sys.platform != "win32":
        texts.append(memory(int(20_000 * part)))
    text = "\n".join(texts)
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"kernel-estimators-{today}.txt").write_text(text)


if __name__ == "__main__":
    main()
