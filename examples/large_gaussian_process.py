r"""
A Gaussian process on 100,000 stations, without its matrix
==========================================================

Stations at x_i measure a field with noise, b_i. The posterior mean of a Gaussian process with kernel k is::

    f(z) = sum_j k(z, x_j) a_j        with        (K + noise^2) a = b,    K_ij = k(x_i, x_j),    k Matern 3/2.

With 100,000 stations the matrix K would take 80 GB in float64, and a Cholesky factor as much and 3 * 10^14 operations.
Here each step of conjugate gradients is one product with K, 10^10 terms of a formula, and a preconditioner made of 200
of its columns (Nystroem) lets few steps do. The system is solved to a residual of 10^-3, which is far below the noise.

The field is known here, so that the errors of the mean can be seen. NumPy in float64 checks the residual in some rows.

Run it::

    python examples/large_gaussian_process.py --output FOLDER
"""

from __future__ import annotations

import time

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import LazyTensor, Vi, Vj

WIDTH, NOISE = 0.25, 0.3  # NOISE: the standard deviation, where the field has 1
RESIDUAL = 1e-3


def matern(x: Array, y: Array) -> LazyTensor:
    """k(x_i, y_j) = (1 + r) exp(-r), r = sqrt(3) |x_i - y_j| / WIDTH."""
    r = Vi(x).sqdist(Vj(y)).sqrt() * (3**0.5 / WIDTH)
    return (1 + r) * (-r).exp()


def numpy_matern(x: Array, y: Array) -> Array:
    r = np.sqrt(((x[:, None] - y) ** 2).sum(-1)) * (3**0.5 / WIDTH)
    return (1 + r) * np.exp(-r)


def field(x: Array) -> Array:
    """The field (M, 1) at points of [0, 1]^2: of mean near 0 and standard deviation near 1."""
    rng = np.random.default_rng(11)
    frequency, phase = rng.normal(0, 9, (2, 40)), rng.uniform(0, 2 * np.pi, 40)
    return (np.cos(x @ frequency + phase).sum(1, keepdims=True) / 20**0.5).astype(x.dtype)


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    rng = np.random.default_rng(0)
    # stations are dense around some towns, and there are none in a lake
    count = support.scaled(100_000)
    towns = rng.random((25, 2))
    x = np.concatenate(
        (rng.random((2 * count, 2)), towns[rng.integers(25, size=count)] + rng.normal(0, 0.05, (count, 2)))
    )
    inside = ((x > 0) & (x < 1)).all(1) & (((x - [0.62, 0.4]) ** 2 / [0.02, 0.008]).sum(1) > 1)
    x = rng.permutation(x[inside])[:count].astype("float32")
    b = field(x) + NOISE * rng.normal(size=(len(x), 1)).astype("float32")

    start = time.perf_counter()
    a = matern(x, x).solve(b, alpha=NOISE**2, eps=RESIDUAL, preconditioner=("nystrom", min(200, len(x) // 10)))
    solve_seconds = time.perf_counter() - start
    side = 200
    z = support.mesh(0.0, 1.0, side).astype("float32")
    mean, mean_seconds = support.timed(lambda: matern(z, x) @ a, calls=2)
    print(f"{len(x)} stations: solved in {solve_seconds:.1f} s, a matrix of {8e-9 * len(x) ** 2:.1f} GB is not stored")
    print(f"mean at {len(z)} points: {support.milliseconds(mean_seconds)}")

    limits = support.Limits()
    some = rng.choice(len(x), 30, replace=False)
    exact_a = a.astype("float64")
    residual = (
        numpy_matern(x[some].astype("float64"), x.astype("float64")) @ exact_a + NOISE**2 * exact_a[some] - b[some]
    )
    limits.expect("residual in some rows", np.sqrt(np.mean(residual**2)) / np.sqrt(np.mean(b**2)), 10 * RESIDUAL)
    truth = field(z)
    near = np.sqrt(Vi(z).sqdist(Vj(x)).min(axis=1))[:, 0] < 0.02
    error = float(np.sqrt(np.mean((mean - truth)[near] ** 2)))
    print(f"root mean square error where there are stations: {error:.3f}, with noise of {NOISE}")
    limits.expect("root mean square error", error, NOISE / 2)

    title = f"{len(x):,} stations with noise of {NOISE}: the error of the mean is {error:.3f} (rms)"
    with support.figure(folder / "large_gaussian_process.png", title, 1, 3, (16, 5.2)) as (axes,):
        drawn = slice(0, min(len(x), 20_000))
        support.plane(axes[0], "What the stations measure")
        seen = axes[0].scatter(*x[drawn].T, s=1.2, c=b[drawn, 0], cmap="RdYlBu_r", vmin=-3, vmax=3, linewidths=0)
        support.plane(axes[1], "Posterior mean")
        axes[1].imshow(mean.reshape(side, side), extent=(0, 1, 0, 1), origin="lower", cmap="RdYlBu_r", vmin=-3, vmax=3)
        axes[1].figure.colorbar(seen, ax=axes[:2], shrink=0.8)
        support.plane(axes[2], "Error of the mean; the lake in the middle has no station")
        errors = np.abs(mean - truth).reshape(side, side)
        colours = {"cmap": "viridis", "vmin": 0, "vmax": float(np.quantile(errors, 0.999))}
        wrong = axes[2].imshow(errors, extent=(0, 1, 0, 1), origin="lower", **colours)
        axes[2].figure.colorbar(wrong, ax=axes[2], shrink=0.8, extend="max")
        for axis in axes:
            axis.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    limits.check()


if __name__ == "__main__":
    main()
