"""
A Gaussian process of scikit-learn, without its kernel matrix
=============================================================

Many points in the plane, without a kernel matrix, beside scikit-learn's Cholesky factor.

Measurements y_i = f(x_i) + noise lie densely in the left half of the square and hardly anywhere in a hole on the right.
The kernel is a sum of a smooth part and of white noise,

::

    k(x, y) = c exp(-|x - y|^2 / (2 l^2)) + s [x is y],

of which c, l and s are learnt: L-BFGS climbs the marginal likelihood, whose determinant and slopes are estimated with
15 random vectors. Means and deviations come from conjugate gradients. With the same hyper-parameters, scikit-learn
computes the likelihood, its slopes, means and deviations from the stored matrix.

Run it::

    python examples/sklearn/gaussian_process.py --output FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import support
from sklearn import gaussian_process
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from support import Array

import clreduce
from clreduce.sklearn import GaussianProcessRegressor

NOISE, SIDE = 0.1, 24
LIMITS = {"mean": 1e-4, "deviation": 1e-4, "likelihood": 2e-4, "slopes": 1e-2}


def surface(x: Array) -> Array:
    """f at points of the plane, (N,)."""
    waves: Array = np.sin(6 * x[:, 0]) * np.cos(5 * x[:, 1]) + x[:, 0]
    return waves


def measurements(count: int) -> tuple[Array, Array]:
    """Points in the unit square, (N, 2), three quarters of which lie on the left, and what is measured there."""
    rng = np.random.default_rng(0)
    x = rng.random((2 * count, 2))
    in_hole = ((x - [0.72, 0.5]) ** 2).sum(-1) < 0.04
    x = x[~in_hole & ((x[:, 0] < 0.5) | (rng.random(2 * count) < 0.3))][:count]
    return x, surface(x) + NOISE * rng.normal(size=len(x))


def main() -> None:
    folder = support.output_folder(__doc__)
    if not clreduce.current_device().facts.has_double:
        print("this device has no float64, in which this process is computed")
        return
    x, y = measurements(support.scaled(2000))
    mesh = support.mesh(0, 1, SIDE)
    kernel = ConstantKernel(1.0) * RBF(0.5) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, max_dense=0, random_state=0).fit(x, y)
    mean, deviation = process.predict(mesh, return_std=True)
    print(f"learnt from {len(x)} points: {process.kernel_}")
    dense = gaussian_process.GaussianProcessRegressor(process.kernel_, optimizer=None).fit(x, y)
    exact_mean, exact_deviation = dense.predict(mesh, return_std=True)
    theta = process.kernel_.theta + 0.1  # where slopes are not 0
    likelihood, slopes = process.log_marginal_likelihood(theta, eval_gradient=True)
    exact_likelihood, exact_slopes = dense.log_marginal_likelihood(theta, eval_gradient=True)
    print(f"likelihood {likelihood:.2f}, exactly {exact_likelihood:.2f}; slopes {slopes}, exactly {exact_slopes}")
    limits = support.Limits()
    limits.expect("difference of means", float(np.abs(mean - exact_mean).max()), LIMITS["mean"])
    limits.expect("difference of deviations", float(np.abs(deviation - exact_deviation).max()), LIMITS["deviation"])
    difference = abs(likelihood - exact_likelihood) / len(x)
    limits.expect("difference of likelihoods, for each point", difference, LIMITS["likelihood"])
    limits.expect("difference of slopes", support.norm_ratio(slopes, exact_slopes), LIMITS["slopes"])
    smooth = np.sqrt(np.maximum(deviation**2 - process.kernel_.k2.noise_level, 0))
    path = folder / "gaussian_process.png"
    with support.figure(
        path, f"A Gaussian process of {len(x):,} points is uncertain where there are few", 1, 3, (12, 4.4)
    ) as axes:
        panels = (("measurements", None), ("mean", mean), ("deviation of f, and points", smooth))
        for axis, (title, values) in zip(axes[0], panels, strict=True):
            support.plane(axis, title)
            if values is None:
                picture = axis.scatter(*x.T, c=y, s=4, vmin=mean.min(), vmax=mean.max())
            else:
                image = values.reshape(SIDE, SIDE)
                picture = axis.imshow(image, origin="lower", extent=(0, 1, 0, 1), interpolation="bilinear")
            if values is smooth:
                axis.scatter(*x.T, c="white", s=1, linewidths=0)
            axis.set_xlim(0, 1)
            axis.set_ylim(0, 1)
            axis.figure.colorbar(picture, ax=axis, shrink=0.75)
    limits.check()


if __name__ == "__main__":
    main()
