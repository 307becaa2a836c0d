"""
The K nearest, chunk by chunk: merged lists are exact
=====================================================

The K nearest of many points: each pair of chunks gives lists of K, and lists are merged. The points fill a cube evenly,
so the distance to the nearest one has a known distribution: 1 - exp(-4/3 pi N r^3), apart from the rim of the cube.

Run it::

    python examples/dask/nearest_neighbours.py --output FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import dask
import dask.array as da
import numpy as np
import support

from clreduce.dask import Vi, Vj

K = 5


def main() -> None:
    folder = support.output_folder(__doc__)
    rng = np.random.default_rng(3)
    known = rng.random((support.scaled(200_000), 3)).astype("float32")
    asked = rng.random((support.scaled(20_000), 3)).astype("float32")
    x = da.from_array(asked, chunks=(len(asked) // 2 + 1, 3))
    y = da.from_array(known, chunks=(len(known) // 8 + 1, 3))
    distances, indices = ((Vi(x) - Vj(y)) ** 2).sum(-1).Kmin_argKmin(K, axis=1)
    print(f"{indices.shape[0]} lists of {K}, in {len(indices.dask.to_dict())} tasks")
    start = time.perf_counter()
    found, nearest = dask.compute(distances, indices)
    print(f"computed in {time.perf_counter() - start:.1f} s")

    sample = rng.choice(len(asked), 20, replace=False)
    exact = ((asked[sample, None].astype(float) - known) ** 2).sum(-1)
    wanted = np.sort(exact, axis=1)[:, :K]
    limits = support.Limits()
    limits.expect("difference of the distances", np.abs(found[sample] - wanted).max(), 1e-6)
    own = np.take_along_axis(exact, nearest[sample], axis=1)
    limits.expect("difference of the distances of the indices", np.abs(own - wanted).max(), 1e-6)
    title = f"The {K} nearest of {len(known):,} points, merged from lists of chunks"
    with support.figure(folder / "dask_nearest_neighbours.png", title, 1, 1, (7.5, 4.6)) as ((axis,),):
        share = np.linspace(0, 1, len(found))
        for k in reversed(range(K)):
            axis.plot(np.sort(np.sqrt(found[:, k])), share, color=support.COLOURS[k], label=f"number {k + 1}")
        radius = np.sqrt(np.sort(found[:, 0]))[:: max(1, len(found) // 25)]
        law = 1 - np.exp(-4 / 3 * np.pi * len(known) * radius**3)
        axis.plot(radius, law, "o", color=support.INK, fillstyle="none", markersize=5, label="number 1, by the formula")
        axis.set(xlabel="distance", ylabel="share of the points", title="How far the nearest ones are")
        axis.legend()
    limits.check()


if __name__ == "__main__":
    main()
