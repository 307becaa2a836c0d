"""
Particles become a sample: Stein descent in one scan
====================================================

Particles that move until they are a sample of a density, known up to a factor; the flow is one ``lax.scan``.

::

    v_i = mean_j k(x_j, x_i) grad log p(x_j) + grad_j k(x_j, x_i),    k(x, y) = exp(-|x - y|^2 / (2 s^2))

Run it::

    python examples/jax/stein_descent.py --output FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import support

from clreduce.jax import Vi, Vj

SCALE, STEPS, RATE = 0.35, 400, 0.15


def log_density(x: jax.Array) -> jax.Array:
    """Of a point (2,): a Gaussian that is bent, of variances 1 and 0.1 along the bend."""
    return -(x[0] ** 2) / 2 - (x[1] - 0.5 * x[0] ** 2) ** 2 / (2 * 0.1)


def velocities(x: jax.Array) -> jax.Array:
    """The velocities of all particles, by kernels."""
    scores = jax.vmap(jax.grad(log_density))(x)
    steps = Vi(x) - Vj(x)
    K = (-(steps**2).sum(-1) / (2 * SCALE**2)).exp()
    return (K * Vj(scores) + K * steps / SCALE**2).sum(axis=1) / len(x)


def dense_velocities(x: jax.Array) -> jax.Array:
    """The velocities of all particles, from tables of pairs that are differentiated by JAX."""

    def kernel(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.exp(-((x - y) ** 2).sum() / (2 * SCALE**2))

    def pair(x: jax.Array, y: jax.Array) -> jax.Array:
        return kernel(y, x) * jax.grad(log_density)(y) + jax.grad(kernel)(y, x)

    return jax.vmap(lambda x_i: jax.vmap(lambda x_j: pair(x_i, x_j))(x).mean(0))(x)


@jax.jit
def flow(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The particles at the end, and those of each step; steps are scaled as Adagrad does it."""

    def step(state: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        x, squares = state
        v = velocities(x)
        squares = 0.9 * squares + 0.1 * v**2
        return (x + RATE * v / (0.05 + jnp.sqrt(squares)) * 0.5, squares), x

    (x, _), path = jax.lax.scan(step, (x, jnp.zeros_like(x)), None, length=STEPS)
    return x, path


def main() -> None:
    folder, rng = support.output_folder(__doc__), np.random.default_rng(1)
    count = support.scaled(1000)
    start = jnp.asarray(rng.normal(size=(count, 2)) * 0.4 + [0.0, 3.0], jnp.float32)
    limits = support.Limits()
    limits.expect(
        "velocities", support.norm_ratio(*map(np.asarray, (velocities(start), dense_velocities(start)))), 1e-4
    )

    end, path = flow(start)
    mean, variance = end.mean(0), end.var(0)
    print(f"{count} particles, {STEPS} steps: mean {mean.round(2)} (0, 0.5), variance {variance.round(2)} (1, 0.6)")
    limits.expect("mean", jnp.abs(mean - jnp.array([0.0, 0.5])).max(), 0.25)
    limits.expect("variance", jnp.abs(variance - jnp.array([1.0, 0.6])).max(), 0.45)

    mesh = support.mesh(-3, 4.5, 150)
    values = np.exp(np.asarray(jax.vmap(log_density)(jnp.asarray(mesh)))).reshape(150, 150)
    ticks = np.linspace(-3, 4.5, 150)
    title = "Particles move until they are a sample of a density"
    with support.figure(folder / "jax_stein_descent.png", title, 1, 3, (12, 4.2)) as axes:
        for axis, (points, name) in zip(
            axes[0],
            ((start, "start"), (path[STEPS // 20], f"after {STEPS // 20} steps"), (end, f"after {STEPS} steps")),
            strict=True,
        ):
            axis.contour(ticks, ticks, values, colors=support.FAINT, levels=values.max() * np.linspace(0.1, 0.9, 6))
            axis.plot(points[:, 0], points[:, 1], ".", color=support.LINE, markersize=3)
            support.plane(axis, name)
    limits.check()


if __name__ == "__main__":
    main()
