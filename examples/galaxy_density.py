r"""
The density at each of a million galaxies, from all of them
===========================================================

A catalogue has a position x_i in space for each of N galaxies. They lie in clusters, and along the filaments between
them. How dense the surroundings of a galaxy are, a kernel tells::

    f_i = 1 / (N (2 pi h^2)^(3/2)) sum_j exp(-|x_i - x_j|^2 / (2 h^2)).

With N = 1,000,000 the sum has 10^12 terms. Their table would take 4 TB; here the memory is that of the catalogue. All
terms are added, none is left out or approximated. That took five minutes of processor time on a CPU with AVX-512. With
``rtol=1e-4``, terms are skipped in blocks, as long as they change no density by more than that: it takes seconds.

The catalogue is made here: nodes in a box, filaments between near ones, galaxies around both, and some in the field.
NumPy in float64 adds up some of the rows.

Run it::

    python examples/galaxy_density.py --output FOLDER
"""

from __future__ import annotations

import time

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import Vi, Vj

SIDE = 100.0  # of the box
WIDTH = 0.7  # h
RTOL = 1e-4  # of the densities for which blocks of terms are skipped
LIMIT = 1e-5  # of the relative error of a density in float32


def densities(x: Array, rtol: float | None = None) -> Array:
    """The density at each row of x, from all rows: (N, 1). With ``rtol``, blocks of terms may be skipped."""
    squared = Vi(x).sqdist(Vj(x))
    return (squared / (-2 * WIDTH**2)).exp().mean(axis=1, rtol=rtol) / (2 * np.pi * WIDTH**2) ** 1.5


def numpy_densities(x: Array, rows: Array) -> Array:
    terms = (np.exp(((x - x[i]) ** 2).sum(-1) / (-2 * WIDTH**2)).mean() for i in rows)
    return np.array(list(terms)) / (2 * np.pi * WIDTH**2) ** 1.5


# --------------------------------------------------------------------------------------------------- the catalogue


def catalogue(rng: np.random.Generator, count: int) -> Array:
    """Positions (count, 3): half of the galaxies in filaments, a third in clusters, the others anywhere."""
    nodes = rng.uniform(0, SIDE, (200, 3))
    # each node is joined to its nearest three
    ends = Vi(nodes).sqdist(Vj(nodes)).argKmin(4, axis=1)[:, 1:]
    starts = np.repeat(np.arange(len(nodes)), ends.shape[1])
    in_filaments, in_clusters = count // 2, count // 3
    which = rng.integers(len(starts), size=in_filaments)
    first, last = nodes[starts[which]], nodes[ends.ravel()[which]]
    # they bend: sideways in the middle, by an amount of their own
    along = rng.random((in_filaments, 1))
    bends = rng.normal(0, 3, (len(starts), 3))[which] * np.sin(np.pi * along)
    filaments = first + (last - first) * along + bends + rng.normal(0, 0.5, (in_filaments, 3))
    richness = rng.pareto(1.5, len(nodes)) + 0.2
    heavy = rng.choice(len(nodes), in_clusters, p=richness / richness.sum())
    radius = rng.exponential(0.9, (in_clusters, 1))
    directions = rng.normal(size=(in_clusters, 3))
    clusters = nodes[heavy] + radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    field = rng.uniform(0, SIDE, (count - in_filaments - in_clusters, 3))
    return rng.permutation(np.concatenate((filaments, clusters, field))).astype("float32")


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    rng = np.random.default_rng(3)
    x = catalogue(rng, support.scaled(1_000_000))
    densities(x[:1000])  # the kernel is compiled here
    start, processor = time.perf_counter(), time.process_time()
    f = densities(x)[:, 0]
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    pairs = float(len(x)) ** 2
    print(f"{len(x)} galaxies, {pairs:.1e} pairs: {seconds:.1f} s, {pairs / seconds:.1e} pairs a second")
    print(f"processor time, of all cores together: {processor:.1f} s")

    densities(x[:1000], rtol=RTOL)
    start = time.process_time()
    within_rtol = densities(x, rtol=RTOL)[:, 0]
    print(f"processor time with rtol={RTOL}: {time.process_time() - start:.1f} s")

    rows = rng.choice(len(x), 20, replace=False)
    start = time.process_time()
    expected = numpy_densities(x.astype("float64"), rows)
    numpy_seconds = (time.process_time() - start) / len(rows) * len(x)
    print(f"processor time of NumPy, row by row in float64: about {numpy_seconds / 60:.1f} minutes")
    limits = support.Limits()
    limits.expect("relative error of the densities", support.relative_error(f[rows], expected), LIMIT)
    limits.expect("relative difference with rtol", support.relative_error(within_rtol, f), RTOL + 2 * LIMIT)

    contrast = f * SIDE**3  # 1 is the mean density of the box
    title = f"The density at each of {len(x):,} galaxies, from all of them: {pairs:,.0f} pairs and no table"
    with support.figure(folder / "galaxy_density.png", title, 1, 2, (13, 6.2)) as (axes,):
        from matplotlib.colors import LogNorm

        slab = np.abs(x[:, 2] - SIDE / 2) < SIDE / 8
        order = np.argsort(contrast[slab])  # the densest are drawn last
        seen, colours = x[slab][order], contrast[slab][order]
        support.plane(axes[0], "A quarter of the box, coloured by density (1: the mean)")
        axes[0].set_facecolor("#0b0d17")
        size = 0.35 * (1_000_000 / len(x)) ** 0.5
        shown = axes[0].scatter(
            seen[:, 0], seen[:, 1], c=colours, s=size, cmap="inferno", norm=LogNorm(0.3, 300), linewidths=0
        )
        axes[0].set(xlim=(0, SIDE), ylim=(0, SIDE), xlabel="$x$", ylabel="$y$")
        axes[0].figure.colorbar(shown, ax=axes[0], shrink=0.85, extend="both")
        bins = np.geomspace(0.1, 1.1 * contrast.max(), 90)
        axes[1].hist(contrast, bins, color=support.LINE, weights=np.full(len(x), 100 / len(x)))
        axes[1].axvline(1, color=support.MARKS, linewidth=1.5, label="the mean density of the box")
        median = float(np.median(contrast))
        axes[1].axvline(
            median, color=support.INK, linewidth=1.5, linestyle="--", label=f"median galaxy: {median:.0f} times that"
        )
        axes[1].set(
            xscale="log", xlabel="density", ylabel="% of the galaxies", title="Most galaxies have a dense neighbourhood"
        )
        axes[1].legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2)
    limits.check()


if __name__ == "__main__":
    main()
