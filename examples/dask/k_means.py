"""
k-means over an array on disk reads one chunk at a time
=======================================================

Clusters by Lloyd's algorithm over an array on disk, which is read chunk by chunk.

Each step reads every chunk once for its labels and once for the sums of its points; only the centres and their counts
come back. One process, with all points in memory, takes the same steps.

Run it::

    python examples/dask/k_means.py
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
    rng = np.random.default_rng(1)
    points = rng.normal(size=(support.scaled(200_000), 2))
    points = (points + 5 * rng.integers(3, size=points.shape)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "points.npy"), points)
        x = da.from_array(np.load(Path(folder, "points.npy"), mmap_mode="r"), chunks=(len(points) // 8 + 1, 2))
        centres = alone = points[:CLUSTERS]
        for number in range(STEPS):
            inertia, centres = dask.compute(*step(x, da.from_array(centres)))
            inertia_alone, alone = step(points, alone)
            print(f"step {number}: inertia {inertia:.0f}")
        del x  # and with it the file that is open
    limits = support.Limits()
    limits.expect("relative difference of the inertia", abs(inertia / inertia_alone - 1), 1e-4)
    limits.expect("relative difference of the centres", support.norm_ratio(centres, alone), 1e-3)
    limits.check()


if __name__ == "__main__":
    main()
