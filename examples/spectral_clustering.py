r"""
A million points are clustered by the shape of their neighbourhoods
===================================================================

Spectral clustering finds clusters of any shape, as connected parts of a graph of nearest neighbours. With a million
points the graph is made of few of them, the landmarks:

1. the K nearest landmarks of each landmark, by `argKmin`: the edges of a sparse graph;
2. the eigenvectors of its normalised Laplacian, by SciPy, and k-means on their rows: the clusters of the landmarks;
3. the nearest landmark of each of the 1,000,000 points, by `argmin`: 10^9 distances, none of them stored.

The points lie on interleaved rings, a spiral and two blobs, which no straight line separates. Since they are made here,
it is known which belongs to which. NumPy finds the nearest landmarks of some points.

Run it::

    python examples/spectral_clustering.py --output FOLDER
"""

from __future__ import annotations

import numpy as np
import support
from scipy.cluster.vq import kmeans2
from scipy.linalg import eigh
from scipy.sparse import csr_array, diags_array
from support import Array

import clreduce
from clreduce.numpy import Vi, Vj

K = 12
SHAPES = 6
WRONG = 0.01  # the part of the points that may be in a wrong cluster

# -------------------------------------------------------------------------------------------------- with clreduce


def neighbours(landmarks: Array) -> tuple[Array, Array]:
    """The K nearest others of each landmark, (L, K), and their squared distances."""
    squared, indices = Vi(landmarks).sqdist(Vj(landmarks)).Kmin_argKmin(K + 1, axis=1)
    return indices[:, 1:], squared[:, 1:]  # the nearest one is itself


def nearest(points: Array, landmarks: Array) -> Array:
    """The nearest landmark of each point, (N,)."""
    return Vi(points).sqdist(Vj(landmarks)).argmin(axis=1, keepdims=False)


# ------------------------------------------------------------------------------------------------------- the graph


def embedded(indices: Array, squared: Array) -> tuple[Array, Array]:
    """The smallest eigenvalues of the Laplacian of the graph, and the rows of the eigenvectors, scaled to length 1."""
    count = len(indices)
    rows = np.repeat(np.arange(count), K)
    weights = np.exp(-squared / squared[:, -1:].mean())
    graph = csr_array((weights.ravel(), (rows, indices.ravel())), shape=(count, count))
    graph = (graph + graph.T) / 2
    roots = diags_array(1 / np.sqrt(graph.sum(axis=1)))
    # dense, for parts that are not connected have equal eigenvalues, of which iterations find one only
    laplacian = np.eye(count) - (roots @ graph @ roots).toarray()
    values, vectors = eigh(laplacian, subset_by_index=(0, SHAPES + 1))
    kept = vectors[:, :SHAPES]
    return values, kept / np.linalg.norm(kept, axis=1, keepdims=True)


def separated(rows: Array) -> Array:
    """A cluster for each row: k-means from rows that are as different as can be."""
    starts = [0]
    while len(starts) < SHAPES:
        starts.append(int(np.abs(rows @ rows[starts].T).max(1).argmin()))
    return kmeans2(rows, rows[starts], minit="matrix")[1]


# ------------------------------------------------------------------------------------------------------ the points


def shapes(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Points (count, 2) of six shapes, and which of them each belongs to."""
    sizes = np.array([0.2, 0.2, 0.25, 0.15, 0.1, 0.1])
    which = rng.choice(SHAPES, count, p=sizes)
    angle, along = rng.uniform(0, 2 * np.pi, count), rng.random(count)
    unit = np.stack((np.cos(angle), np.sin(angle)), 1)
    winding = 0.3 + 2.6 * np.sqrt(along)
    turn = np.stack((np.cos(2.5 * winding), np.sin(2.5 * winding)), 1)
    drawn = (unit, unit, 0.42 * winding[:, None] * turn, 0.35 * unit, 0 * unit, 0 * unit)
    middles = np.array([[-1.6, 0.5], [-0.25, -1.75], [1.7, 0.3], [-1.75, 0.75], [-0.25, -1.75], [0.0, 1.45]])
    noise = np.array([0.045, 0.045, 0.04, 0.04, 0.12, 0.16])
    points = np.choose(which[:, None], drawn) + middles[which] + noise[which, None] * rng.normal(size=(count, 2))
    return points.astype("float32"), which


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    rng = np.random.default_rng(1)
    points, truth = shapes(rng, support.scaled(1_000_000))
    landmarks = points[rng.choice(len(points), min(1200, len(points) // 10), replace=False)]

    (indices, squared), graph_seconds = support.timed(neighbours, landmarks, calls=2)
    (values, rows), spectral_seconds = support.timed(embedded, indices, squared, calls=1)
    cluster_of_landmark = separated(rows)
    closest, seconds = support.timed(nearest, points, landmarks, calls=2)
    found = cluster_of_landmark[closest]
    print(f"graph of {len(landmarks)} landmarks: {support.milliseconds(graph_seconds)}")
    print(f"eigenvectors, by SciPy: {support.milliseconds(spectral_seconds)}")
    print(f"nearest landmarks of {len(points)} points: {support.milliseconds(seconds)}")

    limits = support.Limits()
    some = rng.choice(len(points), 200, replace=False)
    distances = ((points[some, None].astype("float64") - landmarks) ** 2).sum(-1)
    picked = distances[np.arange(len(some)), closest[some]]
    limits.expect("excess of the distance to the nearest landmark", (picked - distances.min(1)).max(), 1e-5)
    table = np.array([[np.sum((found == a) & (truth == b)) for b in range(SHAPES)] for a in range(SHAPES)])
    wrong = 1 - table.max(1).sum() / len(points)
    print(f"points in a wrong cluster: {wrong:.3%}")
    limits.expect("part of the points in a wrong cluster", wrong, WRONG)

    title = f"{len(points):,} points in {SHAPES} clusters: all but {round(wrong * len(points)):,} are right"
    with support.figure(folder / "spectral_clustering.png", title, 1, 3, (16, 5)) as (axes,):
        from matplotlib.collections import LineCollection

        colours = np.array(support.COLOURS)
        drawn = rng.choice(len(points), min(60_000, len(points)), replace=False)
        support.plane(axes[0], f"The clusters ({len(drawn):,} points are drawn)")
        axes[0].scatter(*points[drawn].T, s=0.6, c=colours[found[drawn]], linewidths=0)
        support.plane(axes[1], f"The graph: {K} nearest landmarks of each")
        edges = np.stack((np.repeat(landmarks, K, 0), landmarks[indices.ravel()]), 1)
        edge_colours = colours[np.repeat(cluster_of_landmark, K)]
        axes[1].add_collection(LineCollection(edges, colors=edge_colours, linewidth=0.4, alpha=0.7))
        axes[1].autoscale()
        bars = [support.LINE] * SHAPES + [support.FAINT] * (len(values) - SHAPES)
        axes[2].bar(np.arange(1, len(values) + 1), np.maximum(values, 2e-7), color=bars)
        axes[2].set(
            title=f"Eigenvalues of the Laplacian: the first {SHAPES} tell the clusters",
            xlabel="number",
            yscale="log",
            ylim=(1e-7, 1),
        )
    limits.check()


if __name__ == "__main__":
    main()
