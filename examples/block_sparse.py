r"""
Far clusters cost nothing: block-sparse products
================================================

A Gaussian product in which only near clusters meet: block-sparse ranges.

::

    a_i = sum_j exp(-|x_i - x_j|^2 / (2 s^2)) b_j        with s much smaller than the cloud of points.

Points that are farther apart than r = 6 s add less than ``exp(-18) |b_j|`` each. To leave them out in blocks:

1. label each point by the cell of a grid that it lies in, and sort the points, so that a cell is a range of rows;
2. keep the pairs of cells whose centroids are nearer than r plus two diagonals of a cell: a point is within one
   diagonal of its centroid, so that all pairs of points nearer than r are kept;
3. give the kept blocks as `K.ranges`, for all products with K.

So ``|a - exact| <= exp(-18) sum_j |b_j|``, plus rounding, and the time is proportional to the number of kept pairs.
NumPy computes some of the rows in float64.

Run it::

    python examples/block_sparse.py --output FOLDER
"""

from __future__ import annotations

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import LazyTensor, Vi, Vj
from clreduce.numpy.cluster import cluster_ranges_centroids, from_matrix, grid_cluster, sort_clusters

S = 0.01
CUTOFF, CELL = 6 * S, 0.04


def cloud(rng: np.random.Generator, count: int) -> Array:
    """Points along a rose of five leaves, in the unit square."""
    angle = rng.uniform(0, np.pi, count)
    radius = 0.46 * np.sin(5 * angle) + 0.012 * rng.normal(size=count)
    return (0.5 + np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)).astype("float32")


# -------------------------------------------------------------------------------------------------- with clreduce


def gaussian(x: Array) -> LazyTensor:
    return (-((Vi(x) - Vj(x)) ** 2).sum(-1) / (2 * S**2)).exp()


def near_clusters(x: Array) -> tuple[Array, Array, Array, Array]:
    """Sorted points, the ranges (C, 2) and centroids (C, 2) of their clusters, and which of these are near (C, C)."""
    labels = grid_cluster(x, CELL)
    ranges, centroids, _ = cluster_ranges_centroids(x, labels)
    x, _ = sort_clusters(x, labels)
    distances = np.linalg.norm(centroids[:, None] - centroids, axis=-1)
    return x, ranges, centroids, distances < CUTOFF + 2 * np.sqrt(2) * CELL


def block_sparse_gaussian(x: Array, ranges: Array, near: Array) -> LazyTensor:
    K = gaussian(x)
    K.ranges = from_matrix(ranges, ranges, near)
    return K


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_rows(x: Array, b: Array, rows: Array) -> Array:
    x, b = x.astype("float64"), b.astype("float64")
    return np.stack([np.exp(-((x[i] - x) ** 2).sum(1) / (2 * S**2)) @ b for i in rows])


# ------------------------------------------------------------------------------------------------- the comparison


def main() -> None:
    from matplotlib.patches import Rectangle

    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    rng = np.random.default_rng(0)
    (x, ranges, centroids, near), sorting = support.timed(near_clusters, cloud(rng, support.scaled(30_000)), calls=2)
    b = rng.random((len(x), 1), dtype="float32")
    sizes = ranges[:, 1] - ranges[:, 0]
    kept = sizes @ near @ sizes / len(x) ** 2

    dense, K = gaussian(x), block_sparse_gaussian(x, ranges, near)
    exact, dense_seconds = support.timed(lambda: dense @ b, calls=3)
    a, seconds = support.timed(lambda: K @ b, calls=6)
    print(f"{len(x)} points, {len(ranges)} clusters, {near.sum()} of {near.size} blocks with {kept:.1%} of all pairs")
    print(f"clusters {support.milliseconds(sorting)}, once")
    print(f"product  {support.milliseconds(seconds)}, dense {support.milliseconds(dense_seconds)}", end="")
    print(f": {dense_seconds / seconds:.1f} times as fast")

    some = rng.choice(len(x), 100, replace=False)
    expected = numpy_rows(x, b, some)
    limits = support.Limits()
    limits.expect("relative error of the block-sparse product", support.relative_error(a[some], expected), 1e-5)
    limits.expect("relative error of the dense product", support.relative_error(exact[some], expected), 1e-5)
    limits.expect("difference of the two", support.norm_ratio(a, exact), 1e-5)
    limits.expect("part of the pairs that is kept", float(kept), 0.5)

    title = f"Gaussian product over {len(x)} x {len(x)} pairs, of which {kept:.0%} are kept"
    with support.figure(folder / "block_sparse.png", title, 1, 3, (15, 5.2)) as (axes,):
        labels = np.repeat(np.arange(len(ranges)), sizes)
        one = len(ranges) // 5
        drawn = rng.choice(len(x), min(len(x), 8000), replace=False)
        support.plane(axes[0], f"The {len(ranges)} clusters")
        shuffled = rng.permutation(len(ranges))
        axes[0].scatter(*x[drawn].T, s=1.5, c=shuffled[labels[drawn]], cmap="tab20")
        axes[0].plot(*centroids.T, "o", markersize=2, color=support.INK)
        support.plane(axes[1], "One of them, in red, and those it meets")
        for what, colour in ((np.ones(len(x), bool), support.FAINT), (near[one][labels], support.LINE)):
            axes[1].plot(*x[drawn][what[drawn]].T, ".", markersize=2, color=colour)
        axes[1].plot(*x[slice(*ranges[one])].T, ".", markersize=2, color=support.MARKS)
        support.plane(axes[2], "Blocks of the matrix that are kept")
        for k, l in np.argwhere(near):
            colour = support.MARKS if k == one else support.LINE
            axes[2].add_patch(Rectangle((ranges[l, 0], ranges[k, 0]), sizes[l], sizes[k], color=colour, linewidth=0))
        axes[2].set(xlim=(0, len(x)), ylim=(len(x), 0), xlabel="$j$", ylabel="$i$")
        axes[2].set(xticks=(0, len(x) // 2, len(x)), yticks=(0, len(x) // 2, len(x)))
    limits.check()


if __name__ == "__main__":
    main()
