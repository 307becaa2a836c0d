"""Nearest neighbours without visiting all pairs, beside a visit of all pairs and SciPy's k-d tree.

    python benchmarks/pruning.py                        # on each OpenCL CPU driver: some minutes on two cores
    python benchmarks/pruning.py --driver "pocl 3.1"    # on one of them
    python benchmarks/pruning.py --quick                # does it run at all?

The K nearest of N points to each of them, float32; times include sorting the points into blocks, or building the tree.
A visit of all pairs is timed for some of the rows and scaled. Calls are interleaved; a table holds medians of wall
time, and processor time of all threads, which says more on a machine with other work. "equal" is the part of the rows
with the indices of the tree. It computes in float64, and may order neighbours otherwise whose distances are equal in
float32. That results are those of a visit of all pairs, tests show.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ranges import medians
from scipy.spatial import cKDTree
from seed_examples import ROOT, cpu_devices, text_table, title
from suite import machine

from clreduce import use_device
from clreduce.call.pruning.running import LAST
from clreduce.numpy import Genred

Array = np.ndarray[Any, Any]
HEADER = (
    "points", "N", "D", "K", "visited per row", "blocks s", "CPU s", "tree s", "CPU s", "all pairs s", "tree/blocks",
    "all/blocks", "equal",
)  # fmt: skip
ROWS = 2000
"""Rows of the visit of all pairs."""


def clouds(count: int, dim: int) -> dict[str, Array]:
    """Points in a cube, and around centres whose distances are large beside those within a cluster."""
    rng = np.random.default_rng(0)
    clusters = rng.random((100, dim))[rng.integers(0, 100, count)] + 0.01 * rng.normal(size=(count, dim))
    return {"uniform": rng.random((count, dim), "float32"), "clustered": clusters.astype("float32")}


def by_tree(points: Array, neighbours: int) -> Array:
    """The indices of the nearest neighbours, on two threads as drivers have."""
    return np.asarray(cKDTree(points).query(points, neighbours, workers=os.cpu_count() or 1)[1])


def rows_of(sizes: list[tuple[int, int]], neighbours: int, rounds: int) -> list[list[str]]:
    table = []
    for count, dim in sizes:
        nearest = Genred("SqDist(x, y)", [f"x = Vi({dim})", f"y = Vj({dim})"], "ArgKMin", axis=1, opt_arg=neighbours)
        for name, points in clouds(count, dim).items():
            calls: dict[str, Callable[[], Any]] = {
                "blocks": partial(nearest, points, points, prune=True),
                "tree": partial(by_tree, points, neighbours),
                "all": partial(nearest, points[:ROWS], points, prune=False),
            }
            seconds, found = medians(calls, rounds, 120.0)
            whole = seconds["all"][0] * count / min(ROWS, count)
            equal = (found["blocks"] == found["tree"]).all(axis=1).mean()
            ours = seconds["blocks"][0]
            table.append(
                [name, f"{count}", f"{dim}", f"{neighbours}", f"{LAST[nearest.program].visited / count:.0f}"]
                + [f"{number:.2f}" for number in (*seconds["blocks"], *seconds["tree"], whole)]
                + [f"{seconds['tree'][0] / ours:.1f}", f"{whole / ours:.1f}", f"{equal:.6f}"]
            )
            print("  " + "  ".join(table[-1]), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--neighbours", type=int, default=10, help="K")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of interleaved calls, at most")
    parser.add_argument("--driver", default="", help="only drivers whose name holds this")
    parser.add_argument("--quick", action="store_true", help="few points and rounds: does it run?")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    sizes, rounds = [(100_000, 3), (1_000_000, 3), (100_000, 6)], options.rounds
    if options.quick:
        sizes, rounds = [(10_000, 3)], 1
    today = datetime.date.today().isoformat()
    parts = []
    for device in cpu_devices():
        if options.driver in title(device):
            facts = machine.describe(device, [])
            head = f"{today}, {facts['processor']}, {facts['cores']} cores, {facts['system']}\n{device.identity}\n"
            head += ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
            head += f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
            print(head, flush=True)
            with use_device(device):
                table = rows_of(sizes, options.neighbours, rounds)
            parts.append(f"{head}\n\n{text_table(HEADER, table)}\n")
    text = "\n".join(parts)
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"pruning-{today}.txt").write_text(text)


if __name__ == "__main__":
    main()
