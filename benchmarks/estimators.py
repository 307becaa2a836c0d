"""Estimators of `clreduce.sklearn` beside scikit-learn, faiss and pynndescent on the same processor.

    python benchmarks/estimators.py            # some five minutes on two cores, more on a machine with other work
    python benchmarks/estimators.py --all      # also all neighbours among 60 000 images, once
    python benchmarks/estimators.py --quick    # does it run at all?

Each call fits and then answers, float32. Calls are interleaved, and a table holds medians of wall time and of the
processor time of all threads, which says more on a machine with other work. A call on fewer points, which compiles
kernels, comes first and is not timed. Images are those of `load_digits`, each turned, sheared, scaled and moved at
random and drawn with 28 x 28 pixels. "all pairs" is ``algorithm="brute"``: without it, `clreduce.sklearn` excludes most
pairs by their distances in few dimensions. "equal" is the part of the neighbours that are those of scikit-learn, of
k-means the ratio of the inertia to that of scikit-learn. pynndescent is an approximation, and called once.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy import ndimage
from seed_examples import PAUSE, ROOT, cpu_devices, text_table, title
from sklearn import cluster, neighbors
from sklearn.datasets import load_digits
from suite import machine

import clreduce.sklearn as kernels
from clreduce import use_device

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], Any]]
HEADER = ("problem", "points", "rows", "D", "K", "engine", "s", "CPU s", "CPU / ours", "equal")
SIDE = 28
LIBRARIES = ("scikit-learn", "faiss-cpu", "pynndescent")


def images(count: int) -> Array:
    """Handwritten digits, (count, 784), whole numbers from 0 to 255 in float32."""
    rng = np.random.default_rng(0)
    digits = load_digits().images / 16
    drawn = np.empty((count, SIDE, SIDE), "float32")
    for image in drawn:
        angle, shear = rng.normal(0, 0.15), rng.normal(0, 0.1)
        turn = np.array([[np.cos(angle), shear - np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn *= 8 / 22 / rng.normal(1, 0.08)
        start = 3.5 - turn @ (SIDE / 2 - 0.5 + rng.normal(0, 0.7, 2))
        ndimage.affine_transform(digits[rng.integers(len(digits))], turn, start, output=image, order=1)
    return (np.clip(1.3 * drawn.reshape(count, -1) - 0.1, 0, 1) * 255).round()


# ------------------------------------------------------------------------------------------------------- neighbours


def by_estimator(kind: Any, points: Array, rows: Array, k: int, **parameters: Any) -> Callable[[], Array]:
    return lambda: np.asarray(kind(n_neighbors=k, **parameters).fit(points).kneighbors(rows, return_distance=False))


def by_faiss(points: Array, rows: Array, k: int) -> Array:
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return np.asarray(index.search(rows, k)[1])


def by_pynndescent(points: Array, rows: Array, k: int) -> Array:
    import pynndescent

    return np.asarray(pynndescent.NNDescent(points, n_neighbors=15, random_state=0).query(rows, k)[0])


def searches(points: Array, rows: Array, k: int) -> dict[str, Callable[[], Array]]:
    return {
        "clreduce": by_estimator(kernels.NearestNeighbors, points, rows, k),
        "clreduce, all pairs": by_estimator(kernels.NearestNeighbors, points, rows, k, algorithm="brute"),
        "scikit-learn": by_estimator(neighbors.NearestNeighbors, points, rows, k),
        "faiss, flat": lambda: by_faiss(points, rows, k),
        "pynndescent": lambda: by_pynndescent(points, rows, k),
    }


# ---------------------------------------------------------------------------------------------------------- k-means


def clusterings(points: Array, k: int, steps: int) -> dict[str, Callable[[], float]]:
    """Of equal seeds, so that both take the same steps; faiss has its own."""

    def by_estimator(kind: Any) -> Callable[[], float]:
        return lambda: float(kind(k, max_iter=steps, tol=0, random_state=0).fit(points).inertia_)

    def by_faiss() -> float:
        import faiss

        found = faiss.Kmeans(points.shape[1], k, niter=steps, seed=1, max_points_per_centroid=len(points))
        found.train(points)
        return float(found.index.search(points, 1)[0].astype(float).sum())

    return {"clreduce": by_estimator(kernels.KMeans), "scikit-learn": by_estimator(cluster.KMeans), "faiss": by_faiss}


def lines(problem: str, sizes: tuple[int, ...], few: Calls, calls: Calls, rounds: int) -> list[list[str]]:
    """The lines of a table for one problem; ``few`` are the same calls on fewer points."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    results = {}
    for call in few.values():
        call()
    for turn in range(rounds):
        for name, call in calls.items():
            if turn == 0 or name != "pynndescent":
                time.sleep(PAUSE)
                start, used = time.perf_counter(), time.process_time()
                results[name] = call()
                times[name].append((time.perf_counter() - start, time.process_time() - used))
                print(f"  {problem}, {name}: {times[name][-1]}", flush=True)
    expected, ours = results["scikit-learn"], median(used for _, used in times["clreduce"])
    table = []
    for engine, result in results.items():
        wall, used = (median(each) for each in zip(*times[engine], strict=True))
        equal = result / expected if np.ndim(result) == 0 else np.mean(np.sort(result) == np.sort(expected))
        numbers = [f"{wall:.2f}", f"{used:.2f}", f"{used / ours:.1f}", f"{equal:.4f}"]
        table.append([problem, *map(str, sizes), engine, *numbers])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of interleaved calls, at most")
    parser.add_argument("--driver", default="", help="only drivers whose name holds this")
    parser.add_argument("--all", action="store_true", help="also all neighbours among all images")
    parser.add_argument("--quick", action="store_true", help="few points and rounds: does it run?")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    options = parser.parse_args()
    part, rounds = (0.05, 1) if options.quick else (1.0, options.rounds)
    drawn = images(int(60_000 * part))
    some, few = drawn[: len(drawn) // 6], drawn[:2000]
    cloud = np.random.default_rng(0).random((int(100_000 * part), 3), "float32")
    today = datetime.date.today().isoformat()
    texts = []
    for device in cpu_devices():
        if options.driver not in title(device):
            continue
        facts = machine.describe(device, [])
        versions = facts["versions"] | machine.versions(LIBRARIES)
        head = f"{today}, {facts['processor']}, {facts['cores']} cores, {facts['system']}\n{device.identity}\n"
        head += ", ".join(f"{name} {version}" for name, version in versions.items())
        head += f", load average at the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        print(head, flush=True)
        with use_device(device):
            warm, calls = searches(few, few, 5), searches(drawn, some, 5)
            table = lines("neighbours of images", (len(drawn), len(some), 784, 5), warm, calls, rounds)
            if options.all:
                calls = {name: call for name, call in searches(drawn, drawn, 5).items() if not name.startswith("p")}
                table += lines("neighbours of images", (len(drawn), len(drawn), 784, 5), {}, calls, 1)
            warm, calls = (searches(points, points, 5) for points in (cloud[:2000], cloud))
            table += lines("neighbours in a cube", (len(cloud), len(cloud), 3, 5), warm, calls, rounds)
            warm, calls = (clusterings(points, 50, 20) for points in (cloud[:2000], cloud))
            table += lines("k-means in a cube", (len(cloud), 50, 3, 1), warm, calls, rounds)
            warm, calls = (clusterings(points, 10, 20) for points in (few, drawn))
            table += lines("k-means of images", (len(drawn), 10, 784, 1), warm, calls, rounds)
        texts.append(f"{head}\n\n{text_table(HEADER, table)}\n")
    text = "\n".join(texts)
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"estimators-{today}.txt").write_text(text)


if __name__ == "__main__":
    main()
