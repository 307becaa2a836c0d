r"""
Sinkhorn's algorithm reaches sharp plans with logarithms
========================================================

Optimal transport between two clouds of points: Sinkhorn's algorithm with logarithms.

A plan P moves the masses a_i at the points x_i to masses b_j at the points y_j: its rows add up to a, its columns to b.
The plan with the least  ``sum_ij P_ij C_ij + eps KL(P | a b^T)``,  ``C_ij = |x_i - y_j|^2 / 2``,  has the form

::

    P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps)

with potentials f and g for which both conditions hold. Sinkhorn's algorithm satisfies them in turn::

    f_i = -eps log sum_j exp(log b_j + (g_j - C_ij) / eps),    and g_j likewise, with a sum over i.

Near the unregularised plan eps is small, exp(-C / eps) is 0 in any precision, and only logarithms work. Epsilon scaling
saves many steps: eps starts at the size of the clouds, and is lowered. P is never stored: x_i goes
to sum_j P_ij y_j / a_i, a mean of all y weighted by exp.

NumPy takes the same steps with the table C, and SciPy's assignment of x to y gives the cost without eps.

Run it::

    python examples/optimal_transport.py --output FOLDER
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import support
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp
from support import Array

import clreduce
from clreduce.numpy import Vi, Vj

EPS = [float(eps) for eps in np.geomspace(1, 0.01**2 * 5, 40)]
STEPS = 60  # with the last eps
# Exponents are as large as C / eps, some thousands. float32 rounds them to about 1e-4, which is a relative error of the
# entries of P, and eps times as much in f and g.
LIMITS = {
    "float32": {"step": 1e-6, "potential": 5e-6, "mass": 1e-3},
    "float64": {"step": 1e-12, "potential": 1e-11, "mass": 1e-11},
}

# -------------------------------------------------------------------------------------------------- with clreduce
# Both clouds have masses 1 / N: log b_j = -log N.


def potential(eps: float, x: Array, y: Array, g: Array) -> Array:
    """f, given g; or g, given f, with x and y exchanged."""
    exponents = (Vj(g) - ((Vi(x) - Vj(y)) ** 2).sum(-1) / 2) / eps
    return -eps * (exponents.logsumexp(axis=1) - log(len(y)))


def transported(eps: float, x: Array, y: Array, g: Array) -> Array:
    """Where P takes the points x."""
    exponents = (Vj(g) - ((Vi(x) - Vj(y)) ** 2).sum(-1) / 2) / eps
    return exponents.sumsoftmaxweight(Vj(y), axis=1)


def plan_sums(eps: float, x: Array, y: Array, f: Array, g: Array) -> tuple[Array, Array, float]:
    """The sums of the rows and of the columns of P, and its cost."""
    C = ((Vi(x) - Vj(y)) ** 2).sum(-1) / 2
    P = ((Vi(f) + Vj(g) - C) / eps).exp() / (len(x) * len(y))
    return P.sum(axis=1), P.sum(axis=0), float((P * C).sum(axis=1).sum(dtype="float64"))


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_potential(eps: float, x: Array, y: Array, g: Array) -> Array:
    table = ((x[:, None] - y) ** 2).sum(-1) / 2
    return -eps * (logsumexp((g[:, 0] - table) / eps, axis=1, keepdims=True) - np.log(len(y)))


# -------------------------------------------------------------------------------------------------- the algorithm


def sinkhorn(x: Array, y: Array, update: Any = potential) -> tuple[Array, Array]:
    """The potentials (N, 1) for the last eps."""
    f, g = np.zeros((len(x), 1), x.dtype), np.zeros((len(y), 1), y.dtype)
    for eps in EPS + EPS[-1:] * STEPS:
        f = update(eps, x, y, g)
        g = update(eps, y, x, f)
    return f, g


def clouds(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """A disc, and a ring beside two smaller discs."""

    def disc(count: int, inner: float, outer: float) -> Array:
        angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(inner**2, outer**2, count))
        return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)

    ring, small = disc(count - count // 3, 0.22, 0.3), disc(count // 3, 0, 0.1)
    small[::2] += np.array([0.8, -0.3])
    small[1::2] += np.array([0.8, 0.3])
    return disc(count, 0, 0.25) + np.array([-0.7, 0]), np.concatenate((ring + np.array([0.4, 0]), small))


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = support.precisions()[-1]
    x, y = (cloud.astype(dtype) for cloud in clouds(np.random.default_rng(0), support.scaled(1500)))
    exact_x, exact_y = x.astype("float64"), y.astype("float64")  # rounded to dtype here as well
    eps = EPS[-1]

    (f, g), seconds = support.timed(sinkhorn, x, y, calls=2)
    rows, columns, cost = plan_sums(eps, x, y, f, g)
    moved = transported(eps, x, y, g)
    print(f"{len(x)} points, {len(EPS) + STEPS} steps, eps = {eps:.0e}: {support.milliseconds(seconds)}")

    f_numpy, numpy_seconds = support.timed(numpy_potential, eps, exact_x, exact_y, g.astype("float64"), calls=1)
    _, one_seconds = support.timed(potential, eps, x, y, g, calls=4)
    print(
        f"one half of a step: clreduce {support.milliseconds(one_seconds)}, NumPy {support.milliseconds(numpy_seconds)}"
    )
    limits = support.Limits()
    limits.expect("error of a step", float(np.abs(potential(eps, x, y, g) - f_numpy).max()), LIMITS[dtype]["step"])
    few = slice(0, None, max(1, len(x) // 150))
    expected = sinkhorn(exact_x[few], exact_y[few], numpy_potential)
    for name, one, other in zip("fg", sinkhorn(x[few], y[few]), expected, strict=True):
        limits.expect(
            f"error of {name} with fewer points", float(np.abs(one - other).max()), LIMITS[dtype]["potential"]
        )
    wrong = [float(np.abs(sums - 1 / len(x)).sum()) for sums in (rows, columns)]
    print(f"mass in wrong places: {wrong[0]:.1e} for x, {wrong[1]:.1e} for y")
    limits.expect("mass of x in wrong places", wrong[0], 1e-2)
    limits.expect("mass of y in wrong places", wrong[1], LIMITS[dtype]["mass"])
    table = ((exact_x[:, None] - exact_y) ** 2).sum(-1) / 2
    optimal = float(table[linear_sum_assignment(table)].mean())
    print(f"cost {cost:.5f}, without eps {optimal:.5f}")
    limits.expect("part of the cost that is due to eps", abs(cost / optimal - 1), 1e-2)

    title = f"{len(x):,} points of a disc go to a ring and two discs, at the least cost"
    with support.figure(folder / "optimal_transport.png", title, 1, 1, (11, 6)) as ((axis,),):
        from matplotlib.collections import LineCollection

        support.plane(axis, "Coloured by the angle at which a point stands before")
        angle, colours = np.arctan2(x[:, 1], x[:, 0] + 0.7), "viridis"
        every = slice(0, None, max(1, len(x) // 250))
        paths = list(np.stack((x[every], moved[every]), 1))
        axis.add_collection(LineCollection(paths, array=angle[every], cmap=colours, linewidth=0.5, alpha=0.4))
        axis.scatter(*y.T, s=22, color=support.FAINT)
        axis.scatter(*x.T, s=5, c=angle, cmap=colours)
        axis.scatter(*moved.T, s=5, c=angle, cmap=colours)
        for x_at, text in ((-0.7, "$x$"), (0.4, "where the plan takes it: means of $y$ (grey)")):
            axis.text(x_at, 0.48, text, ha="center")
        axis.set_ylim(-0.45, 0.55)
    limits.check()


if __name__ == "__main__":
    main()
