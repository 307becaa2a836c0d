r"""
Kernel interpolation solves a linear system without its matrix
==============================================================

Interpolation with a kernel: kernel ridge regression, or kriging, on the line and in the plane.

Given values b_i at points x_i, the function

::

    f(q) = sum_j k(q, x_j) a_j        with        (alpha I + K) a = b,    K_ij = k(x_i, x_j),

is the smoothest one (in the norm that k defines) that passes near the values. alpha is the variance of their noise:
with alpha -> 0, f interpolates. Two kernels of width s::

    Gaussian     exp(-|x - y|^2 / (2 s^2)),    very smooth functions;
    exponential  exp(-|x - y| / s),            continuous functions with kinks.

`K.solve(b, alpha=..)` finds a by conjugate gradients, here with a preconditioner made of 100 columns of K. The matrix K
is never stored; NumPy stores and factorises it.

Run it::

    python examples/kernel_interpolation.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import LazyTensor, Vi, Vj

RESIDUAL = {"float32": 1e-6, "float64": 1e-8}  # of solutions, relative
LIMITS = {"float32": 1e-4, "float64": 1e-6}  # of the error of f

# -------------------------------------------------------------------------------------------------- with clreduce


def gaussian(x: Array, y: Array, s: float) -> LazyTensor:
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1) / (2 * s**2)).exp()


def exponential(x: Array, y: Array, s: float) -> LazyTensor:
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1).sqrt() / s).exp()


def interpolated(kernel: Callable[..., LazyTensor], x: Array, b: Array, q: Array, s: float, alpha: float) -> Array:
    """f at the points q (M, D), from values b (N, 1) at the points x (N, D)."""
    a = kernel(x, x, s).solve(b, alpha=alpha, eps=RESIDUAL[str(x.dtype)], preconditioner=("nystrom", 100))
    return kernel(q, x, s) @ a


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_distance(x: Array, y: Array) -> Array:
    return np.sqrt(sum(np.subtract.outer(x[:, d], y[:, d]) ** 2 for d in range(x.shape[1])))


def numpy_gaussian(x: Array, y: Array, s: float) -> Array:
    return np.exp(-(numpy_distance(x, y) ** 2) / (2 * s**2))


def numpy_exponential(x: Array, y: Array, s: float) -> Array:
    return np.exp(-numpy_distance(x, y) / s)


def numpy_interpolated(kernel: Callable[..., Array], x: Array, b: Array, q: Array, s: float, alpha: float) -> Array:
    return kernel(q, x, s) @ np.linalg.solve(kernel(x, x, s) + alpha * np.eye(len(x)), b)


# ------------------------------------------------------------------------------------------------------- the data


def signal(x: Array) -> Array:
    """A wave that gets faster."""
    return x + 0.5 * np.sin(6 * x) + 0.1 * np.sin(30 * x**2)


def landscape(x: Array) -> Array:
    """Hills, and a plateau with an edge."""
    u, v = x[:, :1], x[:, 1:]
    return np.sin(5 * u) * np.cos(4 * v) + 1.0 * (np.hypot(u - 0.65, v - 0.6) < 0.2)


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = support.precisions()[-1]
    print()
    rng = np.random.default_rng(0)
    table = support.Table(("", "points", "error of f", "clreduce", "NumPy", "ratio"))
    limits = support.Limits()

    def fitted(name: str, kernels: tuple[Callable[..., Any], Callable[..., Any]], *data: Any) -> Array:
        """f by clreduce, timed and compared with NumPy."""
        x, b, q, *numbers = data
        x, b, q = (array.astype(dtype) for array in (x, b, q))
        f, seconds = support.timed(interpolated, kernels[0], x, b, q, *numbers, calls=2)
        exact = [array.astype("float64") for array in (x, b, q)]  # rounded to dtype here as well
        f_numpy, numpy_seconds = support.timed(numpy_interpolated, kernels[1], *exact, *numbers, calls=1)
        error = support.norm_ratio(f, f_numpy)
        limits.expect(f"error of f, {name}", error, LIMITS[dtype])
        times = support.milliseconds(seconds), support.milliseconds(numpy_seconds)
        table.add(name, str(len(data[0])), f"{error:.1e}", *times, f"{numpy_seconds / seconds:.1f}")
        return f

    x = rng.random((support.scaled(2000), 1))
    b = signal(x) + 0.1 * rng.normal(size=x.shape)
    q = np.linspace(0, 1, 500)[:, None]
    curve = fitted("Gaussian, on the line", (gaussian, numpy_gaussian), x, b, q, 0.03, 0.1**2 / 0.1)

    z = rng.random((support.scaled(1500), 2))
    c = landscape(z)
    grid = support.mesh(0, 1, 80)
    surface = fitted("exponential, in the plane", (exponential, numpy_exponential), z, c, grid, 0.3, 0.02)
    print(f"{table}\n")

    title = "Kernel interpolation finds a function through noisy values"
    with support.figure(folder / "kernel_interpolation.png", title, 1, 3, (15, 4.6)) as (axes,):
        axes[0].plot(x, b, ".", markersize=2, color=support.MARKS, alpha=0.5, label="$b$: with noise")
        axes[0].plot(q, signal(q), color=support.INK, linestyle="--", linewidth=1.2, label="the signal")
        axes[0].plot(q, curve, color=support.LINE, linewidth=2, label="$f$")
        axes[0].set(title=f"On the line: Gaussian kernel, {len(x)} points", xlabel="$x$", ylim=(None, 1.4))
        axes[0].legend(loc="upper center", ncols=3, markerscale=4, columnspacing=1.2)
        colours = {"vmin": c.min(), "vmax": c.max(), "cmap": "viridis"}
        support.plane(axes[1], f"In the plane: {len(z)} values $b$")
        axes[1].scatter(*z.T, c=c, s=4, **colours)
        support.plane(axes[2], "and $f$: exponential kernel")
        drawn = axes[2].imshow(surface.reshape(80, 80), extent=(0, 1, 0, 1), origin="lower", **colours)
        axes[2].figure.colorbar(drawn, ax=axes[1:], shrink=0.85, pad=0.02)
    limits.check()


if __name__ == "__main__":
    main()
