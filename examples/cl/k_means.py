"""
k-means never leaves the device
===============================

Clusters by Lloyd's algorithm on arrays of pyopencl. Points, labels and centres stay on the device: no step copies an
array to the host, and none waits for one. A last step reads the inertia, one number.

The same steps on NumPy's arrays take the way through the host's memory. Both are timed.

Run it::

    python examples/cl/k_means.py --output FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyopencl as cl
import pyopencl.array
import support

import clreduce as cr

STEPS, CLUSTERS = 10, 30


def step(x: Any, centres: Any, names: Any) -> Any:
    """The means of the points that are nearest to each centre; ``names``: the numbers of the centres."""
    labels = cr.Vi(x).sqdist(cr.Vj(centres)).argmin(axis=1)
    belongs = cr.Vi(labels.astype(x.dtype)) == cr.Vj(names)
    sums, counts = (belongs * cr.Vi(x)).sum(axis=0), belongs.sum(axis=0)
    return (cr.Vi(sums) / cr.Vi(counts)).sum(axis=1)  # over the only j


def numbers(centres: Any) -> Any:
    """0, 1, 2 .. for each centre, where they are."""
    count = len(centres)
    if isinstance(centres, np.ndarray):
        return np.arange(count, dtype=centres.dtype)[:, None]
    return cl.array.arange(centres.queue, count, dtype=centres.dtype).reshape(count, 1)


def k_means(x: Any) -> Any:
    """The centres after some steps from the first points."""
    centres = x[:CLUSTERS]
    names = numbers(centres)
    for _ in range(STEPS):
        centres = step(x, centres, names)
    if not isinstance(centres, np.ndarray):
        centres.finish()
    return centres


def main() -> None:
    folder = support.output_folder(__doc__)
    rng = np.random.default_rng(1)
    middles = rng.uniform(-10, 10, size=(CLUSTERS, 2))
    points = (middles[rng.integers(CLUSTERS, size=support.scaled(200_000))]).astype("float32")
    points += rng.normal(size=points.shape).astype("float32")
    points[:CLUSTERS] = middles
    context = cl.Context([cr.current_device().cl_device])  # any context and queue of yours
    queue = cl.CommandQueue(context)
    x = cl.array.to_device(queue, points)
    centres, seconds = support.timed(k_means, x, calls=4)
    of_host, seconds_of_host = support.timed(k_means, points, calls=4)
    inertia = cr.Vi(x).sqdist(cr.Vj(centres)).min(axis=1)
    print(f"{STEPS} steps for {len(points)} points and {CLUSTERS} centres")
    print(f"on the device {1e3 * seconds:.1f} ms, through the host {1e3 * seconds_of_host:.1f} ms")
    print(f"mean squared distance to the nearest centre: {float(cl.array.sum(inertia).get()) / len(points):.4f}")
    limits = support.Limits()
    limits.expect("relative difference of the centres", support.norm_ratio(centres.get(), of_host), 1e-3)
    title = f"{len(points):,} points that stay on the device"
    with support.figure(folder / "cl_k_means.png", title, 1, 1, (6, 5.6)) as ((axis,),):
        support.plane(axis, f"{CLUSTERS} centres after {STEPS} steps: on the device, and through the host")
        axis.plot(*points[:8000].T, ".", markersize=1.5, color=support.LINE, alpha=0.6)
        axis.plot(*of_host.T, "o", color=support.INK, markersize=11, fillstyle="none", label="through the host")
        axis.plot(*centres.get().T, "X", color=support.MARKS, markersize=7, label="on the device")
        axis.legend(loc="upper right")
    limits.check()


if __name__ == "__main__":
    main()
