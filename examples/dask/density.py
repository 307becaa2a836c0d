"""
A density on a cluster: no worker holds all points
==================================================

The density of many points by a Gaussian kernel, on a cluster of two worker processes.

::

    f(z_i) = 1 / (N 2 pi h^2) sum_j exp(-|z_i - x_j|^2 / (2 h^2))

Chunks of the points x_j are made on the workers; none holds all of them. The points are normally distributed, so
the expected value of f is known: the normal density of variance 1 + h^2.

Run it::

    python examples/dask/density.py --output FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import dask.array as da
import numpy as np
import support
from distributed import Client, LocalCluster

from clreduce.dask import Vi, Vj

WIDTH = 0.1


def density(z: da.Array, x: da.Array) -> da.Array:
    """The density at each row of z, (M, 1)."""
    terms = (-((Vi(z) - Vj(x)) ** 2).sum(-1) / (2 * WIDTH**2)).exp()
    return terms.mean(axis=1) / (2 * np.pi * WIDTH**2)


def main() -> None:
    folder = support.output_folder(__doc__)
    count = support.scaled(10_000_000)
    mesh = support.mesh(-3, 3, 50).astype("float32")
    # One device for both workers, a CPU, is kept busy by one thread each.
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        x = da.random.default_rng(0).standard_normal((count, 2), chunks=(count // 10 + 1, 2), dtype="float32")
        z = da.from_array(mesh, chunks=(1250, 2))
        lazy = density(z, x)
        print(f"{len(mesh)} x {count} pairs in {len(lazy.dask.to_dict())} tasks")
        start = time.perf_counter()
        found = lazy.compute()[:, 0]
        print(f"computed in {time.perf_counter() - start:.1f} s")
    variance = 1 + WIDTH**2
    expected = np.exp(-(mesh.astype(float) ** 2).sum(-1) / (2 * variance)) / (2 * np.pi * variance)
    limits = support.Limits()
    spread = np.sqrt(expected / (4 * np.pi * WIDTH**2 * count))  # of f, about its expected value
    error = float(np.max(np.abs(found - expected) / (spread + 1e-4)))
    limits.expect("distance from the expected density, in standard deviations", error, 6)
    title = f"The density of {count:,} points, of which no worker holds all"
    with support.figure(folder / "dask_density.png", title, 1, 2, (10, 4.6)) as (axes,):
        middle = mesh[:, 1] == mesh[len(mesh) // 2, 1]
        support.plane(axes[0], "The density")
        axes[0].imshow(found.reshape(50, 50), extent=(-3, 3, -3, 3), origin="lower", cmap="viridis")
        axes[1].plot(mesh[middle, 0], expected[middle], color=support.LINE, label="expected")
        axes[1].plot(mesh[middle, 0], found[middle], "o", color=support.MARKS, fillstyle="none", label="computed")
        axes[1].set(xlabel="$x$", title="Through the middle")
        axes[1].legend()
    limits.check()


if __name__ == "__main__":
    main()
