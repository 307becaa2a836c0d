"""Block sparsity: how the time of a call follows the part of the pairs that it visits, beside PyKeOps.

    python benchmarks/ranges.py                        # on each OpenCL CPU driver: some minutes on two cores
    python benchmarks/ranges.py --driver "pocl 3.0"    # on one of them
    python benchmarks/ranges.py --quick                # does it run at all?

A Gaussian product of points in a cube, float32. The points are clustered by a grid and sorted; of all pairs of clusters
a part is kept, the nearest ones or random ones. Calls are interleaved and medians compared: a share of the pairs of 0.1
would ideally take 0.1 of the dense call's time. On a machine with other work, the ratio of the processor time of all
threads says more than that of the times. PyKeOps gets the same ranges, with results compared; its dense call would take
minutes and is left out. The text is written to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from seed_examples import PAUSE, PEER, ROOT, cpu_devices, import_peer, text_table, title
from suite import machine

from clreduce import use_device
from clreduce.numpy import Genred
from clreduce.numpy.cluster import cluster_ranges_centroids, from_matrix, grid_cluster, sort_clusters

Array = np.ndarray[Any, Any]
FORMULA, ALIASES = "Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]
CASES = (
    # cells along each axis, part of the pairs of clusters that is kept
    ((8, 10, 5), 0.1),
    ((15, 15, 14), 0.01),
)


def problem(points: int, cells: tuple[int, ...], part: float, nearest: bool) -> tuple[list[Array], tuple[Array, ...]]:
    """Sorted points x and y, weights b, and the ranges."""
    random = np.random.default_rng(0)
    clouds, blocks, centres = [], [], []
    for _ in range(2):
        cloud = random.uniform(size=(points, 3)).astype("float32")
        labels = grid_cluster(cloud, 1 / np.array(cells))
        ranges, centroids, _ = cluster_ranges_centroids(cloud, labels)
        clouds.append(sort_clusters(cloud, labels)[0])
        blocks.append(ranges)
        centres.append(centroids)
    distances = ((centres[0][:, None] - centres[1]) ** 2).sum(2)
    if not nearest:
        distances = random.uniform(size=distances.shape)
    keep = distances <= np.quantile(distances, part)
    return [*clouds, random.normal(size=(points, 1)).astype("float32")], from_matrix(*blocks, keep)


def pairs(ranges: tuple[Array, ...]) -> int:
    """How many pairs the ranges name."""
    blocks, slices, others = ranges[:3]
    before = np.concatenate(([0], np.cumsum(others[:, 1] - others[:, 0])))
    columns = np.diff(before[np.concatenate(([0], slices))])
    return int(((blocks[:, 1] - blocks[:, 0]) * columns).sum())


def medians(
    calls: dict[str, Callable[[], Any]], rounds: int, longest: float
) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    """Medians of the seconds and of the processor seconds of each call, interleaved, and its result.

    A call that has taken ``longest`` seconds altogether is left out of further rounds.
    """
    found = {name: call() for name, call in calls.items()}  # builds
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            if sum(wall for wall, _ in times[name]) < longest:
                time.sleep(PAUSE)
                start, used = time.perf_counter(), time.process_time()
                call()
                times[name].append((time.perf_counter() - start, time.process_time() - used))
    return {name: (median(w for w, _ in taken), median(c for _, c in taken)) for name, taken in times.items()}, found


def rows_of(device: Any, points: int, rounds: int, peer: Any) -> list[list[str]]:
    rows = []
    over_j = Genred(FORMULA, ALIASES, "Sum", axis=1)
    for cells, part in CASES:
        for nearest in (True, False):
            arrays, ranges = problem(points, cells, part, nearest)
            e = np.ones((points, 1), "float32")
            gradient = partial(over_j.vjp, *arrays, cotangent=e, wrt="y")
            calls: dict[str, Callable[[], Any]] = {
                "dense": partial(over_j, *arrays),
                "ranges": partial(over_j, *arrays, ranges=ranges),
                "dense gradient in y": gradient,
                "gradient in y": partial(gradient, ranges=ranges),
            }
            if peer is not None:
                other = peer(FORMULA.replace(" ", ""), list(ALIASES), "Sum", axis=1)
                calls[PEER] = partial(other, *arrays, ranges=ranges, backend="CPU")
            with use_device(device):
                seconds, found = medians(calls, rounds, 30.0)
            share = pairs(ranges) / points**2
            for name, dense in (("ranges", "dense"), ("gradient in y", "dense gradient in y")):
                times = [f"{1e3 * seconds[key][0]:.1f}" for key in (dense, name)]
                ratios = [seconds[name][kind] / seconds[dense][kind] for kind in (0, 1)]
                against = ["", "", ""]
                if name == "ranges" and PEER in seconds:
                    error = np.abs(found[PEER] - found[name]).max() / np.abs(found[name]).max()
                    peer_ms, faster = 1e3 * seconds[PEER][0], seconds[PEER][0] / seconds[name][0]
                    against = [f"{peer_ms:.0f}", f"{faster:.1f}", f"{error:.0e}"]
                kept = "nearest" if nearest else "random"
                what = "product" if name == "ranges" else name
                cut = [f"{len(ranges[0])}", f"{points / len(ranges[0]):.0f}", kept, f"{share:.4f}"]
                rows.append([what, *cut, *times, *(f"{ratio:.4f}" for ratio in ratios), *against])
                print("  " + "  ".join(rows[-1]), flush=True)
    return rows


HEADER = (
    "what", "clusters", "points each", "kept", "share of pairs", "dense ms", "ranges ms", "ranges/dense", "of CPU time",
    f"{PEER} ms", f"{PEER}/ours", "differ by",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=100_000, help="M = N")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of interleaved calls, at most")
    parser.add_argument("--driver", default="", help="only drivers whose name holds this")
    parser.add_argument("--no-peer", action="store_true", help=f"leave {PEER} out")
    parser.add_argument("--quick", action="store_true", help="few points and rounds: does it run?")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    if options.quick:
        options.points, options.rounds = 5000, 1
    peer = None if options.no_peer else import_peer()
    today = datetime.date.today().isoformat()
    parts = []
    for device in cpu_devices():
        if options.driver in title(device):
            facts = machine.describe(device, [])
            head = f"{today}, {facts['processor']}, {facts['cores']} cores, {facts['system']}\n{device.identity}\n"
            head += ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
            head += f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
            head += (
                f"\n{FORMULA}, {options.points} x {options.points} points of a cube, float32, {options.rounds} rounds"
            )
            print(head, flush=True)
            parts.append(f"{head}\n\n{text_table(HEADER, rows_of(device, options.points, options.rounds, peer))}\n")
    text = "\n".join(parts)
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"ranges-{today}.txt").write_text(text)


if __name__ == "__main__":
    main()
