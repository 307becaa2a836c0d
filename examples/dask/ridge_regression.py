"""
Ridge regression whose products are graphs of tasks
===================================================

Kernel ridge regression: conjugate gradients, each of whose products is a graph over the chunks.

::

    (K + alpha) a = b,    K_ij = exp(-|x_i - x_j|^2 / (2 s^2)),    f(z) = sum_j exp(-|z - x_j|^2 / (2 s^2)) a_j

Run it::

    python examples/dask/ridge_regression.py --output FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import dask.array as da
import numpy as np
import support

from clreduce.dask import LazyTensor, Vi, Vj

SCALE, ALPHA, EPS = 0.15, 1.0, 1e-3


def kernel(x: da.Array, y: da.Array) -> LazyTensor:
    """The matrix of all pairs, as a formula."""
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1) / (2 * SCALE**2)).exp()


def truth(x: np.ndarray) -> np.ndarray:
    return np.sin(6 * x[:, :1]) * np.cos(4 * x[:, 1:])


def main() -> None:
    folder = support.output_folder(__doc__)
    rng = np.random.default_rng(4)
    points, other = (rng.random((size, 2)).astype("float32") for size in (support.scaled(10_000), 500))
    values = truth(points) + 0.1 * rng.normal(size=(len(points), 1)).astype("float32")
    x = da.from_array(points, chunks=(len(points) // 4 + 1, 2))
    b = da.from_array(values.astype("float32"), chunks=(len(points) // 4 + 1, 1))
    a, how = kernel(x, x).solve(b, alpha=ALPHA, eps=EPS, info=True)
    print(f"{len(points)} equations: {how.iterations} products, residual {float(how.residuals.max()):.1e}")
    residual = kernel(x, x) @ a + ALPHA * a - b  # one more graph
    prediction = kernel(da.from_array(other), x) @ a
    mesh = support.mesh(0, 1, 60).astype("float32")
    surface = kernel(da.from_array(mesh), x) @ a

    limits = support.Limits()
    limits.expect("residual", np.linalg.norm(residual.compute()) / np.linalg.norm(values), 2 * EPS)
    limits.expect("error of the prediction", np.abs(prediction.compute() - truth(other)).mean(), 0.05)
    title = f"{len(points):,} values with noise, and a function through them"
    with support.figure(folder / "dask_ridge_regression.png", title, 1, 3, (13, 4.4)) as (axes,):
        colours = {"vmin": -1, "vmax": 1, "cmap": "viridis"}
        support.plane(axes[0], "The values")
        axes[0].scatter(*points[:3000].T, s=3, c=values[:3000, 0], **colours)
        for axis, shown, name in zip(axes[1:], (surface.compute(), truth(mesh)), ("Learnt", "The truth"), strict=True):
            support.plane(axis, name)
            axis.imshow(shown.reshape(60, 60), extent=(0, 1, 0, 1), origin="lower", **colours)
    limits.check()


if __name__ == "__main__":
    main()
