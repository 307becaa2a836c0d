r"""
Two densities by their logarithms, which never underflow
========================================================

Two estimates of a density from samples x_1 .. x_N in the plane, both by their logarithm and LogSumExp.

A kernel density puts a Gaussian on each sample. With C the covariance of the samples, and Scott's width h = N^(-1/6),

::

    log p(q) = log sum_j exp(-1/2 (q - x_j)^T (h^2 C)^-1 (q - x_j)) - log(N 2 pi h^2 sqrt(det C)).

A mixture has few Gaussians, with weights w_k, means m_k and covariances C_k::

    F(q)_k   = log w_k - log(2 pi) - 1/2 log det C_k - 1/2 (q - m_k)^T C_k^-1 (q - m_k),
    log p(q) = log sum_k exp F(q)_k.

Expectation maximisation fits it: the responsibility r_ik = exp(F(x_i)_k - log p(x_i)) says how much of sample i belongs
to Gaussian k. Sums over i of r, r x and r (x - m)(x - m)^T then give the new weights, means and covariances. The sum of
all log p(x_i) grows with every step. NumPy takes the same steps, and SciPy's gaussian_kde is the same kernel density.

Run it::

    python examples/density.py --output FOLDER
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import support
from scipy.special import logsumexp
from scipy.stats import gaussian_kde
from support import Array

import clreduce
from clreduce.numpy import LazyTensor, Pm, Vi, Vj

COUNT, STEPS = 12, 60
LIMITS = {
    "float32": {"logarithm": 1e-5, "mixture": 1e-5, "mean": 2e-6},  # a few roundings of logarithms up to 10 and more
    "float64": {"logarithm": 1e-9, "mixture": 1e-8, "mean": 1e-9},
}


class Mixture(NamedTuple):
    weights: Array  # (K, 1)
    means: Array  # (K, 2)
    covariances: Array  # (K, 2, 2)


# -------------------------------------------------------------------------------------------------- with clreduce


def kernel_log_density(x: Array, q: Array) -> Array:
    """(M, 1): the logarithm of the kernel density of the samples x (N, 2) at q (M, 2)."""
    covariance = len(x) ** (-1 / 3) * np.cov(x.T)
    inverse = np.linalg.inv(covariance).ravel().astype(x.dtype)
    exponent = -(Vi(q) - Vj(x)).weightedsqnorm(Pm(inverse)) / 2
    return exponent.logsumexp(axis=1) - np.log(len(x) * 2 * np.pi * np.sqrt(np.linalg.det(covariance)))


def components(mixture: Mixture, q: Array) -> LazyTensor:
    """F: the logarithms of the weighted Gaussians."""
    weights, means, covariances = mixture
    logarithms = np.log(weights / (2 * np.pi)) - np.log(np.linalg.det(covariances))[:, None] / 2
    inverses = np.linalg.inv(covariances).reshape(-1, 4)
    return Vj(logarithms) - (Vi(q) - Vj(means)).weightedsqnorm(Vj(inverses)) / 2


def improved(mixture: Mixture, x: Array) -> tuple[Mixture, float]:
    """One step, and the mean logarithm of the density before it."""
    log_components = components(mixture, x)
    log_density = log_components.logsumexp(axis=1)
    r = (log_components - Vi(log_density)).exp()
    total = r.sum(axis=0)
    means = (r * Vi(x)).sum(axis=0) / total
    off = Vi(x) - Vj(means)
    covariances = (r * off.tensorprod(off)).sum(axis=0) / total
    return Mixture(total / len(x), means, covariances.reshape(-1, 2, 2)), float(log_density.mean(dtype="float64"))


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_components(mixture: Mixture, q: Array) -> Array:
    weights, means, covariances = mixture
    off = q[:, None] - means
    squares = np.einsum("ikd,kde,ike->ik", off, np.linalg.inv(covariances), off)
    return np.log(weights[:, 0] / (2 * np.pi)) - np.log(np.linalg.det(covariances)) / 2 - squares / 2


def numpy_improved(mixture: Mixture, x: Array) -> tuple[Mixture, float]:
    log_components = numpy_components(mixture, x)
    log_density = logsumexp(log_components, axis=1, keepdims=True)
    r = np.exp(log_components - log_density)
    total = r.sum(0)[:, None]
    means = r.T @ x / total
    off = x[:, None] - means
    covariances = np.einsum("ik,ikd,ike->kde", r, off, off) / total[:, None]
    return Mixture(total / len(x), means, covariances), float(log_density.mean(dtype="float64"))


# ------------------------------------------------------------------------------------------------- the comparison


def samples(rng: np.random.Generator, count: int) -> Array:
    """Two crescents and a stretched blob."""
    which, angle = rng.integers(3, size=count), rng.uniform(0, np.pi, count)
    crescents = np.stack((np.cos(angle) - 0.5, np.sin(angle) - 0.2), 1) * np.where(which == 0, 1, -1)[:, None]
    blob = np.array([1.6, 1.3]) + rng.normal(size=(count, 2)) @ np.array([[0.4, 0.3], [0, 0.2]])
    return np.where(which[:, None] == 2, blob, crescents + 0.1 * rng.normal(size=(count, 2)))


def fitted(step: Any, x: Array) -> tuple[Mixture, list[float]]:
    spread = np.linspace(0, len(x) - 1, COUNT).astype(int)
    covariances = np.tile(np.cov(x.T).astype(x.dtype) / 64, (COUNT, 1, 1))
    mixture = Mixture(np.full((COUNT, 1), 1 / COUNT, x.dtype), x[spread], covariances)
    found = []
    for _ in range(STEPS):
        mixture, mean_log_density = step(mixture, x)
        found.append(mean_log_density)
    return mixture, found


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = support.precisions()[-1]
    x = samples(np.random.default_rng(5), support.scaled(10_000)).astype(dtype)
    exact = x.astype("float64")  # rounded to dtype here as well
    q, side = support.mesh(-2, 3, 120).astype(dtype), (120, 120)
    limits = support.Limits()

    kernel, seconds = support.timed(kernel_log_density, x, q, calls=2)
    some = slice(0, None, 50)
    expected, scipy_seconds = support.timed(gaussian_kde(exact.T).logpdf, q[some].T.astype("float64"), calls=1)
    limits.expect(
        "error of the logarithm of the kernel density",
        np.abs(kernel[some, 0] - expected).max(),
        LIMITS[dtype]["logarithm"],
    )
    times = support.milliseconds(seconds), support.milliseconds(scipy_seconds * len(q) / len(expected))
    print(f"kernel density of {len(x)} samples at {len(q)} points: clreduce {times[0]}, SciPy about {times[1]}")

    (mixture, means), seconds = support.timed(fitted, improved, x, calls=2)
    (mixture_numpy, means_numpy), numpy_seconds = support.timed(fitted, numpy_improved, exact, calls=1)
    for name, one, other in zip(Mixture._fields, mixture, mixture_numpy, strict=True):
        limits.expect(f"error of the {name}", support.norm_ratio(one, other), LIMITS[dtype]["mixture"])
    mean_error = float(np.abs(np.subtract(means, means_numpy)).max())
    limits.expect("error of the mean logarithm", mean_error, LIMITS[dtype]["mean"])
    limits.expect("decrease of the mean logarithm", float(-np.diff(means).min()), LIMITS[dtype]["mean"])
    times = support.milliseconds(seconds), support.milliseconds(numpy_seconds)
    print(f"mixture of {COUNT} Gaussians, {STEPS} steps: clreduce {times[0]}, NumPy {times[1]}")
    mixed = components(mixture, q).logsumexp(axis=1)

    mixture_name = f"Mixture of {COUNT} Gaussians"
    with support.figure(
        folder / "density.png", f"Densities from {len(x)} samples (drawn: their square roots)", 1, 3, (14, 5)
    ) as (axes,):
        support.plane(axes[0], "Samples")
        axes[0].plot(*x[:4000].T, ".", markersize=1.5, color=support.LINE)
        axes[0].set(xlim=(-2, 3), ylim=(-2, 3))
        for axis, name, log_density in ((axes[1], "Kernel density", kernel), (axes[2], mixture_name, mixed)):
            support.plane(axis, name)
            axis.imshow(np.exp(log_density / 2).reshape(side), extent=(-2, 3, -2, 3), origin="lower", cmap="Blues")
        for mean, covariance in zip(mixture.means, mixture.covariances, strict=True):
            angle = np.linspace(0, 2 * np.pi, 100)
            ellipse = mean[:, None] + 2 * np.linalg.cholesky(covariance) @ np.stack((np.cos(angle), np.sin(angle)))
            axes[2].plot(*ellipse, color=support.MARKS, linewidth=1.2)
    limits.check()


if __name__ == "__main__":
    main()
