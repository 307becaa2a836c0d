r"""
k-means takes two reductions a step
===================================

Clusters by Lloyd's algorithm: k-means.

Given points x_1 .. x_M and centres c_1 .. c_K, the inertia is the sum of squared distances to the nearest centre,

::

    sum_i min_k |x_i - c_k|^2.

Each step of the algorithm makes it smaller, by two reductions::

    l_i = argmin_k |x_i - c_k|^2                        over the centres: the label of each point;
    c_k = sum_i [l_i = k] x_i / sum_i [l_i = k]         over the points: the mean of each cluster.

It ends when no label changes. NumPy, in float64, takes the same steps from the same start.

Run it::

    python examples/k_means.py --output FOLDER
"""

from __future__ import annotations

from typing import Any

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import Vi, Vj

STEPS = 300  # at most
LIMITS = {"float32": 1e-5, "float64": 1e-12}  # of relative errors
# In float32, rounding decides between two centres that are almost equally near. A point with another label moves two
# centres a little, and the algorithm may end some steps earlier or later.
OTHER_LABELS = {"float32": 1e-4, "float64": 0}  # the part of the points
OTHER_STEPS = {"float32": 5, "float64": 0}


def blobs(rng: np.random.Generator, points: int, count: int) -> Array:
    """Points of `count` Gaussians of different widths."""
    middles, widths = rng.random((count, 2)), rng.uniform(0.01, 0.04, (count, 1))
    which = rng.integers(count, size=points)
    return middles[which] + widths[which] * rng.normal(size=(points, 2))


# -------------------------------------------------------------------------------------------------- with clreduce


def nearest(x: Array, c: Array) -> tuple[Array, Array]:
    """The squared distance to the nearest centre and the number of that centre, both (M, 1)."""
    return ((Vi(x) - Vj(c)) ** 2).sum(-1).min_argmin(axis=1)


def means(x: Array, labels: Array, c: Array) -> Array:
    """The mean of each cluster; one without points keeps its centre."""
    belongs = Vi(labels.astype(c.dtype)) == Vj(np.arange(len(c), dtype=c.dtype)[:, None])
    sizes = belongs.sum(axis=0)
    return np.where(sizes > 0, (belongs * Vi(x)).sum(axis=0) / np.maximum(sizes, 1), c)


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_nearest(x: Array, c: Array) -> tuple[Array, Array]:
    distances = ((x[:, None] - c) ** 2).sum(-1)
    return distances.min(1, keepdims=True), distances.argmin(1)[:, None]


def numpy_means(x: Array, labels: Array, c: Array) -> Array:
    clusters = [x[labels[:, 0] == k] for k in range(len(c))]
    return np.stack([points.mean(0) if len(points) else c_k for points, c_k in zip(clusters, c, strict=True)])


# -------------------------------------------------------------------------------------------------- the algorithm


def lloyd(x: Array, c: Array, nearest: Any = nearest, means: Any = means) -> tuple[Array, Array, list[float]]:
    """Centres, labels, and the inertia of every step."""
    labels, inertia = np.full((len(x), 1), -1), []
    for _ in range(STEPS):
        previous, (distances, labels) = labels, nearest(x, c)
        inertia.append(float(distances.sum(dtype="float64")))
        if (labels == previous).all():
            break
        c = means(x, labels, c)
    return c, labels, inertia


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = support.precisions()[-1]
    rng = np.random.default_rng(2)
    count = 25
    x = blobs(rng, support.scaled(50_000), count).astype(dtype)
    start = x[rng.choice(len(x), count, replace=False)]

    (c, labels, inertia), seconds = support.timed(lloyd, x, start, calls=2)
    (c_numpy, labels_numpy, inertia_numpy), numpy_seconds = support.timed(
        lloyd, x.astype("float64"), start.astype("float64"), numpy_nearest, numpy_means, calls=1
    )
    print(f"{len(x)} points, {count} clusters, {len(inertia)} steps, inertia {inertia[0]:.1f} -> {inertia[-1]:.1f}")
    print(f"clreduce {support.milliseconds(seconds)}, NumPy {support.milliseconds(numpy_seconds)}")

    limits = support.Limits()
    limits.expect("difference of the number of steps", abs(len(inertia) - len(inertia_numpy)), OTHER_STEPS[dtype])
    limits.expect("part of the labels that differ", np.mean(labels != labels_numpy), OTHER_LABELS[dtype])
    limits.expect("relative error of the centres", support.norm_ratio(c, c_numpy), LIMITS[dtype])
    limits.expect("relative error of the inertia", abs(inertia[-1] / inertia_numpy[-1] - 1), LIMITS[dtype])
    limits.expect("growth of the inertia", max(np.diff(inertia), default=0.0), 1e3 * LIMITS[dtype])

    title = f"k-means of {len(x):,} points: the inertia falls from {inertia[0]:.0f} to {inertia[-1]:.0f}"
    with support.figure(folder / "k_means.png", title, 1, 3, (14, 5)) as (axes,):
        shown = slice(0, 10_000)
        for axis, name, centres in ((axes[0], "Before the first step", start), (axes[1], "After the last", c)):
            support.plane(axis, name)
            axis.scatter(*x[shown].T, s=1.5, c=nearest(x[shown], centres)[1], cmap="tab20")
            axis.scatter(*centres.T, marker="X", s=70, color=support.INK, edgecolor="white", label="centres")
        axes[0].legend(loc="upper right", frameon=True, framealpha=0.9)
        axes[2].plot(np.arange(1, len(inertia_numpy) + 1), inertia_numpy, color=support.LINE, label="NumPy")
        axes[2].plot(
            np.arange(1, len(inertia) + 1), inertia, "o", color=support.MARKS, fillstyle="none", label="clreduce"
        )
        axes[2].set(title="Inertia", xlabel="step", ylim=(0, None))
        axes[2].legend()
    limits.check()


if __name__ == "__main__":
    main()
