r"""
Nearest neighbours for any distance: three metrics, three maps of classes
=========================================================================

Classification by the K nearest neighbours, for three distances.

The training points x_j lie in the half-plane {(u, v): v > 0}, each of a class. A query point q_i gets the class that
most of its K nearest training points have. Near may mean::

    Euclidean   |q - x|^2
    Manhattan   sum_d |q_d - x_d|
    hyperbolic  arcosh(1 + |q - x|^2 / (2 q_v x_v)),    the distance of Poincaré's half-plane model,

and any increasing function of a distance finds the same neighbours: so ``|q - x|^2 / (q_v x_v)`` does for the last one.
The disc of hyperbolic points nearest to q is a disc for the eye as well, with a middle above q. Neither the table of
distances nor a sorted row of it is ever stored: the reduction ArgKMin keeps K candidates for each query.

NumPy sorts all distances of some of the queries, by the definitions above, arcosh and all.

Run it::

    python examples/nearest_neighbours.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import LazyTensor, Vi, Vj

K, CLASSES = 40, 3
# The part of the neighbours that may differ: in float32, rounding decides between points that are almost equally near.
SWAPPED = {"float32": 1e-3, "float64": 0}
DRAWN = 0.08  # the part of the training points that the plot shows as near

# -------------------------------------------------------------------------------------------------- with clreduce


def euclidean(q: LazyTensor, x: LazyTensor) -> LazyTensor:
    return ((q - x) ** 2).sum(-1)


def manhattan(q: LazyTensor, x: LazyTensor) -> LazyTensor:
    return (q - x).abs().sum(-1)


def hyperbolic(q: LazyTensor, x: LazyTensor) -> LazyTensor:
    return ((q - x) ** 2).sum(-1) / (q.elem(1) * x.elem(1))


def neighbours(distance: Callable[..., LazyTensor], q: Array, x: Array, count: int = K) -> Array:
    """The rows of x that are nearest to each row of q: (M, count)."""
    return distance(Vi(q), Vj(x)).argKmin(count, axis=1)


def vote(classes: Array) -> Array:
    """The class that comes most often in each row, the lowest of equals."""
    return (classes[..., None] == np.arange(CLASSES)).sum(1).argmax(-1)


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_neighbours(distance: Callable[[Any, Any], Array], q: Array, x: Array) -> Array:
    return np.argsort(distance(q[:, None], x), axis=1)[:, :K]


DISTANCES: dict[str, tuple[Callable[..., LazyTensor], Callable[[Any, Any], Array]]] = {
    "Euclidean": (euclidean, lambda q, x: np.linalg.norm(q - x, axis=-1)),
    "Manhattan": (manhattan, lambda q, x: np.abs(q - x).sum(-1)),
    "hyperbolic": (
        hyperbolic,
        lambda q, x: np.arccosh(1 + ((q - x) ** 2).sum(-1) / (2 * q[..., 1] * x[..., 1])),
    ),
}

# ------------------------------------------------------------------------------------------------------- the data


def classes_at(x: Array) -> Array:
    """Three classes in sectors around the origin that wind with the logarithm of the radius: scaling-invariant."""
    angle, radius = np.arctan2(x[:, 1], x[:, 0]), np.hypot(*x.T)
    return np.floor(3 * (angle / np.pi + np.log2(radius) / 2)).astype(int) % CLASSES


def points(rng: np.random.Generator, count: int) -> Array:
    return np.stack((rng.uniform(-1, 1, count), rng.uniform(0.01, 2, count)), 1)


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = support.precisions()[-1]
    rng = np.random.default_rng(0)
    x, test = (points(rng, support.scaled(count)).astype(dtype) for count in (4000, 20_000))
    given = np.where(rng.random(len(x)) < 0.3, rng.integers(CLASSES, size=len(x)), classes_at(x))  # 30 % are guesses
    side = min(120, support.scaled(400))
    q = (support.mesh(-1, 1, side) + np.array([0, 1.01])).astype(dtype)
    marked = np.array([[-0.45, 0.16], [0.5, 0.5], [-0.3, 1.5]], dtype)
    exact = x.astype("float64")  # rounded to dtype here as well

    table = support.Table((f"{K} nearest of {len(x)}", "right", "clreduce, 1000 queries", "NumPy", "ratio"))
    limits = support.Limits()
    title = f"Three classes, by the {K} nearest of {len(x)} points"
    with support.figure(folder / "nearest_neighbours.png", title, 1, 3, (14, 5.6)) as (axes,):
        from matplotlib.colors import ListedColormap

        colours = ListedColormap(support.COLOURS[:CLASSES])
        for axis, (name, (distance, numpy_distance)) in zip(axes, DISTANCES.items(), strict=True):
            found, seconds = support.timed(neighbours, distance, test, x, calls=3)
            some = test[:500].astype("float64")
            expected, numpy_seconds = support.timed(numpy_neighbours, numpy_distance, some, exact, calls=1)
            right = float(np.mean(vote(given[found]) == classes_at(test)))
            seconds, numpy_seconds = 1000 * seconds / len(test), 1000 * numpy_seconds / len(some)
            times = support.milliseconds(seconds), support.milliseconds(numpy_seconds)
            table.add(name, f"{right:.1%}", *times, f"{numpy_seconds / seconds:.1f}")
            limits.expect(
                f"part of the neighbours that differ, {name}", np.mean(found[: len(some)] != expected), SWAPPED[dtype]
            )
            limits.expect(f"wrong classes, {name}", 1 - right, 0.5)

            support.plane(axis, f"{name}: {right:.0%} of the test points are right")
            image = vote(given[neighbours(distance, q, x)]).reshape(side, side)
            axis.imshow(image, extent=(-1, 1, 0.01, 2.01), origin="lower", cmap=colours, alpha=0.45)
            axis.set(xticks=(-1, 0, 1), yticks=(0, 1, 2))
            near = x[neighbours(distance, marked, x, round(DRAWN * len(x)))]
            axis.scatter(
                *near.reshape(-1, 2).T, s=5, color=support.INK, label=f"the {DRAWN:.0%} that are nearest to a cross"
            )
            axis.scatter(*marked.T, marker="P", s=60, color="white", edgecolor=support.INK)
        axes[0].legend(loc="upper left", bbox_to_anchor=(0, -0.06), markerscale=1.5)
    print(table)
    limits.check()


if __name__ == "__main__":
    main()
