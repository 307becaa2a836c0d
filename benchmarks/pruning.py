"""Calls that skip blocks of pairs, beside visits of all pairs and libraries for nearest neighbours.

    python benchmarks/pruning.py                             # everything: about a quarter of an hour on two cores
    python benchmarks/pruning.py --only sums --sums 1000000  # one part, its sizes
    python benchmarks/pruning.py --driver "pocl 3.1"         # on one of the OpenCL CPU drivers
    python benchmarks/pruning.py --quick                     # does it run at all?

Parts, each with the sizes that it is measured for:

- ``nearest`` (``NxD``): the K nearest of N points to each of them, beside SciPy's ``cKDTree``, scikit-learn's
  ``KDTree`` and faiss' flat index; "missing" if a library is not installed;
- ``sums`` (N): sums with a Gaussian whose bandwidth is 1 % of the extent of points in three dimensions, and what is
  made of them; "error" is the largest difference from all pairs, rounding included, in units of the tolerance;
- ``overhead`` (``NxD``): calls on uniform points of which nothing is to be skipped, beside ``prune=False``;
- ``growth`` (N): the exponent of the processor time in N, for uniform points in three dimensions. The bandwidth of sums
  shrinks, so that each point stays near to as many others.

All points are float32. Times include sorting the points into blocks, or building an index. A time is "wall / CPU", the
second of all threads: it says more on a machine with other work. Calls are interleaved, and a table holds medians.
Engines that take long answer for some of the rows, and their time is scaled: a line below the table names them.
"equal" is the part of the rows with the indices of the tree. It computes in float64, and may order neighbours otherwise
whose distances are equal in float32. That results are those of a visit of all pairs, tests show.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from seed_examples import PAUSE, ROOT, cpu_devices, text_table, title
from suite import machine

from clreduce import use_device
from clreduce.call.pruning.running import LAST
from clreduce.numpy import Genred

Array = np.ndarray[Any, Any]
Seconds = tuple[float, float]
"""Of a clock, and of the processor in all threads."""
ROWS = 20_000
"""The number of rows for which all pairs are visited."""
FLAT_ROWS = 2000
"""The number of rows that faiss' flat index answers."""
TREE_ROWS = 50_000
"""Rows of a tree that answers in one thread."""
WARM = 200_000
"""Points of a first call, whose time does not count: enough for all kernels that a larger one builds."""
BANDWIDTH = 0.01
CORES = os.cpu_count() or 1
LONGEST = 120.0
"""Seconds after which an engine is left out of further rounds."""


def uniform(count: int, dim: int = 3) -> Array:
    return np.random.default_rng(0).random((count, dim), "float32")


def clustered(count: int, dim: int) -> Array:
    """Points around centres whose distances are large beside those within a cluster."""
    rng = np.random.default_rng(0)
    points = rng.random((100, dim))[rng.integers(0, 100, count)] + 0.01 * rng.normal(size=(count, dim))
    return points.astype("float32")


# ------------------------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Engine:
    """A way to answer for each of some points."""

    answer: Callable[[Any, Array], Any]
    """From an index and rows."""
    build: Callable[[Array], Any] = lambda points: points
    rows: int | None = None
    """The largest number of rows that are asked for, whose time is scaled to all rows; None for no limit."""


def clocked(call: Callable[[], Any]) -> tuple[Seconds, Any]:
    time.sleep(PAUSE)
    start, used = time.perf_counter(), time.process_time()
    result = call()
    return (time.perf_counter() - start, time.process_time() - used), result


def measured(engines: dict[str, Engine], points: Array, rounds: int) -> tuple[dict[str, Seconds], dict[str, Any]]:
    """Of each engine the median time for all points, and its answer for the rows that it was asked for."""
    taken: dict[str, list[Seconds]] = {name: [] for name in engines}
    spent = dict.fromkeys(engines, 0.0)
    answers = {}
    for engine in engines.values():  # builds kernels, reads libraries
        few = points[: engine.rows or WARM]
        engine.answer(engine.build(few), few)
    for _ in range(rounds):
        for name, engine in engines.items():
            if spent[name] > LONGEST:
                continue
            rows = points[: engine.rows]
            building, index = clocked(partial(engine.build, points))
            answering, answers[name] = clocked(partial(engine.answer, index, rows))
            spent[name] += building[0] + answering[0]
            scale = len(points) / len(rows)
            taken[name].append((building[0] + scale * answering[0], building[1] + scale * answering[1]))
    return {name: (median(w for w, _ in times), median(c for _, c in times)) for name, times in taken.items()}, answers


def shown(seconds: Seconds) -> str:
    return f"{seconds[0]:.2f} / {seconds[1]:.2f}"


def partly(engines: dict[str, Engine], sizes: Sequence[int]) -> str:
    """A line on the engines that answer for some of the rows."""
    some = [f"{name} {engine.rows}" for name, engine in engines.items() if engine.rows and engine.rows < max(sizes)]
    return f"times from some of the rows, scaled: {', '.join(some)}" if some else ""


# ---------------------------------------------------------------------------------------------------------------- parts


def neighbour_engines(dim: int, neighbours: int) -> tuple[dict[str, Engine | None], Any]:
    """By name; None where a library is missing. And the program of the calls."""
    nearest = Genred("SqDist(x, y)", [f"x = Vi({dim})", f"y = Vj({dim})"], "ArgKMin", axis=1, opt_arg=neighbours)
    engines: dict[str, Engine | None] = {
        "skipping": Engine(lambda points, rows: nearest(rows, points, prune=True)),
        "cKDTree": Engine(lambda tree, rows: np.asarray(tree.query(rows, neighbours, workers=CORES)[1]), cKDTree),
        "KDTree": None,
        "faiss flat": None,
        "all pairs": Engine(lambda points, rows: nearest(rows, points, prune=False), rows=ROWS),
    }
    if importlib.util.find_spec("sklearn"):
        from sklearn.neighbors import KDTree

        engines["KDTree"] = Engine(lambda tree, rows: tree.query(rows, neighbours)[1], KDTree, TREE_ROWS)
    if importlib.util.find_spec("faiss"):
        import faiss

        def flat(points: Array) -> Any:
            index = faiss.IndexFlatL2(points.shape[1])
            index.add(points)
            return index

        faiss.omp_set_num_threads(CORES)
        engines["faiss flat"] = Engine(lambda index, rows: index.search(rows, neighbours)[1], flat, FLAT_ROWS)
    return engines, nearest.program


def nearest_part(sizes: Sequence[tuple[int, int]], options: argparse.Namespace) -> str:
    rows, header, known = [], [], {}
    for count, dim in sizes:
        engines, program = neighbour_engines(dim, options.neighbours)
        known = {name: engine for name, engine in engines.items() if engine is not None}
        header = ["points", "N", "D", "K", "visited per row", *engines, "cKDTree/ours", "all/ours", "equal"]
        for cloud in (uniform, clustered):
            points = cloud(count, dim)
            seconds, answers = measured(known, points, options.rounds)
            ours = seconds["skipping"]
            rows.append(
                [cloud.__name__, f"{count}", f"{dim}", f"{options.neighbours}"]
                + [f"{LAST[program].visited / count:.0f}"]
                + [shown(seconds[name]) if name in seconds else "missing" for name in engines]
                + [
                    " / ".join(f"{of_all / of_ours:.1f}" for of_all, of_ours in zip(seconds[name], ours, strict=True))
                    for name in ("cKDTree", "all pairs")
                ]
                + [f"{(answers['skipping'] == answers['cKDTree']).all(axis=1).mean():.6f}"]
            )
            print("  " + "  ".join(rows[-1]), flush=True)
    return text_table(header, rows) + "\n" + partly(known, [count for count, _ in sizes])


def gaussian(reduction: str, weights: str = "", bandwidth: float = BANDWIDTH) -> tuple[Genred[Any], str]:
    """A reduction with a Gaussian; and the tolerance that it takes."""
    exponent, aliases = f"SqDist(x, y) / ({-2 * bandwidth**2:.17g})", ["x = Vi(3)", "y = Vj(3)"]
    if weights:
        aliases.append("b = Vj(1)")
    if reduction in ("LogSumExp", "SumSoftMaxWeight"):
        return Genred(exponent, aliases, reduction, axis=1, formula2=weights or None), "atol"
    return Genred(f"Exp({exponent}){weights and ' * b'}", aliases, reduction, axis=1), "rtol"


def sums_part(sizes: Sequence[int], options: argparse.Namespace) -> str:
    rows, tolerance, engines = [], options.tolerance, {}
    header = [
        "reduction",
        "N",
        "tolerance",
        "visited per row",
        "skipping",
        "all pairs",
        "wall all/ours",
        "CPU all/ours",
    ]
    for count in sizes:
        points = uniform(count)
        b = np.random.default_rng(1).random((count, 1), "float32")
        for reduction, weights in (
            ("Sum", ""), ("Sum", "b"), ("Mean", ""), ("LogSumExp", ""), ("SumSoftMaxWeight", "b"), ("gradient", ""),
        ):  # fmt: skip
            routine, kind = gaussian("Sum" if reduction == "gradient" else reduction, weights)
            further = [b] if weights else []
            if reduction == "gradient":
                call, program, kind = _gradient(routine), routine.program.vjp([0])[0].program, "atol"
            else:
                call, program = partial(_called, routine, further), routine.program
            bound = tolerance * 1e3 if reduction == "gradient" else tolerance
            engines = {
                "skipping": Engine(partial(call, {kind: bound})), "all pairs": Engine(partial(call, {}), rows=ROWS),
            }  # fmt: skip
            seconds, answers = measured(engines, points, options.rounds)
            exact = answers["all pairs"].astype("float64")
            scale = np.abs(exact) * bound if kind == "rtol" else bound
            error = (np.abs(answers["skipping"][:ROWS] - exact) / scale).max()
            ours, whole = seconds["skipping"], seconds["all pairs"]
            rows.append(
                [
                    f"{reduction}{weights and ' of b'}",
                    f"{count}",
                    f"{kind} {bound:g}",
                    f"{LAST[program].visited / count:.0f}",
                    shown(ours),
                    shown(whole),
                    *(f"{of_all / of_ours:.1f}" for of_all, of_ours in zip(whole, ours, strict=True)),
                    f"{error:.2f}",
                ]
            )
            print("  " + "  ".join(rows[-1]), flush=True)
    return text_table([*header, "error"], rows) + "\n" + partly(engines, sizes)


def _called(
    routine: Genred[Any], further: list[Array], tolerance: dict[str, float], points: Array, rows: Array
) -> Array:
    return routine(rows, points, *[array[: len(points)] for array in further], **tolerance)


def _gradient(routine: Genred[Any]) -> Callable[[dict[str, float], Array, Array], Array]:
    def call(tolerance: dict[str, float], points: Array, rows: Array) -> Array:
        ones = np.ones((len(rows), 1), "float32")
        (gradient,) = routine.vjp(rows, points, cotangent=ones, wrt=["x"], **tolerance)
        return gradient

    return call


def overhead_part(sizes: Sequence[tuple[int, int]], options: argparse.Namespace) -> str:
    rows = []
    for count, dim in sizes:
        aliases = [f"x = Vi({dim})", f"y = Vj({dim})"]
        points = uniform(count, dim)
        summed = Genred(f"Exp(-SqDist(x, y) * {6 / dim:.17g})", aliases, "Sum", axis=1)
        nearest = Genred("SqDist(x, y)", aliases, "ArgKMin", axis=1, opt_arg=options.neighbours)
        for name, routine, asked in (
            (f"Sum, rtol {options.tolerance:g}", summed, {"rtol": options.tolerance}),
            (f"{options.neighbours} nearest", nearest, {"prune": True}),
        ):  # fmt: skip
            engines = {
                "asked to skip": Engine(partial(_called, routine, [], asked)),
                "all pairs": Engine(partial(_called, routine, [], {"prune": False})),
            }
            seconds, _ = measured(engines, points, 2 * options.rounds + 1)
            asked_for, whole = seconds["asked to skip"], seconds["all pairs"]
            rows.append([name, f"{count}", f"{dim}", shown(asked_for), shown(whole), f"{asked_for[1] / whole[1]:.3f}"])
            print("  " + "  ".join(rows[-1]), flush=True)
    return text_table(["reduction", "N", "D", "asked to skip", "all pairs", "CPU ratio"], rows)


def growth_part(sizes: Sequence[int], options: argparse.Namespace) -> str:
    rows = []
    names = [f"{options.neighbours} nearest", f"Gaussian sum, rtol {options.tolerance:g}"]
    processor: dict[str, list[float]] = {name: [] for name in names}
    for count in sizes:
        points = uniform(count)
        engines, program = neighbour_engines(3, options.neighbours)
        nearest = engines["skipping"]
        assert nearest is not None
        routine, _ = gaussian("Sum", bandwidth=BANDWIDTH * (1e6 / count) ** (1 / 3))
        calls = dict(
            zip(names, (nearest, Engine(partial(_called, routine, [], {"rtol": options.tolerance}))), strict=True)
        )
        seconds, _ = measured(calls, points, 1 if count > 2_000_000 else options.rounds)
        for name, made in zip(names, (program, routine.program), strict=True):
            processor[name].append(seconds[name][1])
            rows.append([name, f"{count}", f"{LAST[made].visited / count:.0f}", shown(seconds[name])])
            print("  " + "  ".join(rows[-1]), flush=True)
    text = text_table(["call", "N", "visited per row", "wall / CPU"], sorted(rows, key=lambda row: row[0]))
    if len(sizes) > 1:
        for name in names:
            exponent = np.polyfit(np.log(sizes), np.log(processor[name]), 1)[0]
            text += f"\n{name}: processor time grows as N^{exponent:.2f}"
    return text


# ----------------------------------------------------------------------------------------------------------------- main


def points_by_dim(text: str) -> tuple[int, int]:
    count, dim = text.split("x")
    return int(count), int(dim)


PARTS: dict[str, tuple[Callable[[Any, argparse.Namespace], str], Callable[[str], Any], str, str]] = {
    "nearest": (nearest_part, points_by_dim, "100000x3 1000000x3 100000x6", "10000x3"),
    "sums": (sums_part, int, "100000 1000000", "20000"),
    "overhead": (overhead_part, points_by_dim, "50000x10 20000x100", "17000x10"),
    "growth": (growth_part, int, "100000 1000000 10000000", "5000 10000"),
}
"""By name: what measures, how a size is read, the sizes, and those of ``--quick``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts")
    for name, (_, read, sizes, _) in PARTS.items():
        parser.add_argument(f"--{name}", nargs="+", type=read, metavar="SIZE", help=f"sizes; by default {sizes}")
    parser.add_argument("--neighbours", type=int, default=10, help="K")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of sums")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of interleaved calls, at most")
    parser.add_argument("--driver", default="", help="only drivers whose name holds this")
    parser.add_argument("--quick", action="store_true", help="few points and rounds: does it run?")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    today = datetime.date.today().isoformat()
    parts = []
    for device in cpu_devices():
        if options.driver in title(device):
            facts = machine.describe(device, [])
            head = f"{today}, {facts['processor']}, {facts['cores']} cores, {facts['system']}\n{device.identity}\n"
            head += ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
            libraries = machine.versions(["scikit-learn", "faiss-cpu"])
            head += "".join(f", {name} {version}" for name, version in libraries.items() if name != "Python")
            head += f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
            print(head, flush=True)
            parts.append(head)
            with use_device(device):
                for name in options.only:
                    measure, read, sizes, few = PARTS[name]
                    chosen = getattr(options, name) or [
                        read(size) for size in (few if options.quick else sizes).split()
                    ]
                    print(name, flush=True)
                    parts.append(f"{name}\n\n{measure(chosen, options)}")
    text = "\n\n".join(parts) + "\n"
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"pruning-{today}.txt").write_text(text)


if __name__ == "__main__":
    main()
