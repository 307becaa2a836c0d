"""
k-means over an array on disk reads one chunk at a time
=======================================================

Clusters by Lloyd's algorithm over an array on disk, which is read chunk by chunk.

Each step reads every chunk once for its labels and once for the sums of its points; only the centres and their counts
come back. One process, with all points in memory, takes the same steps.

Run it::

    python examples/dask/k_means.py --output FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import dask
import dask.array as da
import numpy as np
import support

import clreduce as cr

STEPS, CLUSTERS = 8, 10


def step(x: Any, centres: Any) -> tuple[Any, Any]:
    """The sum of the squared distances to the nearest centres, and the means of the points nearest to each."""
    pairs = ((cr.Vi(x) - cr.Vj(centres)) ** 2).sum(-1)
    distances, labels = pairs.min_argmin(axis=1)
    belongs = cr.Vi(labels) == pairs.j
    return distances.sum(dtype="float64"), (belongs * cr.Vi(x)).sum(axis=0) / belongs.sum(axis=0)


def main() -> None:
    picture = support.output_folder(__doc__) / "dask_k_means.png"
    rng = np.random.default_rng(1)
    points = rng.normal(size=(support.scaled(200_000), 2))
    points = (points + 5 * rng.integers(3, size=points.shape)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "points.npy"), points)
        x = da.from_array(np.load(Path(folder, "points.npy"), mmap_mode="r"), chunks=(len(points) // 8 + 1, 2))
        centres = alone = points[:CLUSTERS]
        inertias = []
        for number in range(STEPS):
            inertia, centres = dask.compute(*step(x, da.from_array(centres)))
            inertia_alone, alone = step(points, alone)
            print(f"step {number}: inertia {inertia:.0f}")
            inertias.append((inertia, inertia_alone))
        del x  # and with it the file that is open
    limits = support.Limits()
    limits.expect("relative difference of the inertia", abs(inertia / inertia_alone - 1), 1e-4)
    limits.expect("relative difference of the centres", support.norm_ratio(centres, alone), 1e-3)
    with support.figure(picture, f"{len(points):,} points on disk, read chunk by chunk", 1, 2, (10, 4.6)) as (axes,):
        support.plane(axes[0], f"{CLUSTERS} centres after {STEPS} steps")
        axes[0].plot(*points[:5000].T, ".", markersize=1.5, color=support.LINE)
        axes[0].scatter(*centres.T, marker="X", s=80, color=support.MARKS, edgecolor="white", zorder=3)
        axes[1].plot([both[1] for both in inertias], color=support.LINE, label="one process, in memory")
        axes[1].plot(
            [both[0] for both in inertias], "o", color=support.MARKS, fillstyle="none", label="Dask, from disk"
        )
        axes[1].set(xlabel="step", title="Inertia")
        axes[1].legend()
    limits.check()


if __name__ == "__main__":
    main()
