"""
A Gaussian process learns its scales with optax and jit
=======================================================

Length scale, variance and noise of a Gaussian process, by the gradient of its likelihood, in a step that JAX compiles.

::

    loss = y^T A^-1 y / 2 + log det A / 2,    A = K + noise,    K_ij = variance * exp(-|x_i - x_j|^2 / (2 scale^2))

Run it::

    python examples/jax/gaussian_process.py --output FOLDER

The gradient of the determinant is the mean of z^T A^-1 dA z over random signs z. So a step is two solves with A and
products with K, and no matrix is stored.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
import support

from clreduce.jax import LazyTensor, Vi, Vj

STEPS, PROBES, EPS = 60, 16, 5e-3


def kernel(x: jax.Array, y: jax.Array, logs: dict[str, jax.Array]) -> LazyTensor:
    """The covariances of all pairs, as a formula."""
    scale, variance = jnp.exp(logs["scale"]), jnp.exp(logs["variance"])
    return (-Vi(x).sqdist(Vj(y)) / (2 * scale**2)).exp() * variance


def surrogate(logs: dict[str, jax.Array], x: jax.Array, y: jax.Array, signs: jax.Array) -> jax.Array:
    """A function with the gradient of the loss, in the mean over signs."""
    K, noise = kernel(x, x, logs), jnp.exp(logs["noise"])
    fit = (y * K.solve(y, alpha=noise, eps=EPS)).sum() / 2
    solved = jax.lax.stop_gradient(K.solve(signs, alpha=noise, eps=EPS))
    return fit + (solved * (K @ signs + noise * signs)).sum() / (2 * signs.shape[1])


def exact_loss(logs: dict[str, Any], x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss from the dense matrix."""
    squares = ((x[:, None] - x) ** 2).sum(-1)
    A = jnp.exp(logs["variance"] - squares / (2 * jnp.exp(2 * logs["scale"]))) + jnp.exp(logs["noise"]) * jnp.eye(
        len(x)
    )
    return (y * jnp.linalg.solve(A, y)).sum() / 2 + jnp.linalg.slogdet(A)[1] / 2


def truth(x: Any) -> Any:
    return jnp.sin(8 * x) + x


def main() -> None:
    folder, rng = support.output_folder(__doc__), np.random.default_rng(0)
    count = support.scaled(500)
    x = jnp.asarray(rng.random((count, 1)), jnp.float32)
    y = truth(x) + 0.2 * jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    logs = {name: jnp.log(value) for name, value in (("scale", 1.0), ("variance", 1.0), ("noise", 0.5))}
    optimizer = optax.adam(0.1)
    gradient_of = jax.jit(jax.grad(surrogate))

    many = jnp.asarray(rng.choice([-1.0, 1.0], (count, 64 * PROBES)), jnp.float32)
    estimated, exact = gradient_of(logs, x, y, many), jax.grad(exact_loss)(logs, x, y)
    limits = support.Limits()
    norm = np.linalg.norm(list(exact.values()))
    limits.expect("error of the gradient", np.linalg.norm([estimated[k] - exact[k] for k in exact]) / norm, 0.05)

    @jax.jit
    def step(logs: Any, state: Any, key: Any) -> Any:
        signs = jax.random.rademacher(key, (count, PROBES), jnp.float32)
        updates, state = optimizer.update(jax.grad(surrogate)(logs, x, y, signs), state)
        return optax.apply_updates(logs, updates), state

    state, losses, start = optimizer.init(logs), [], logs
    for key in jax.random.split(jax.random.key(0), STEPS):
        losses.append(float(exact_loss(logs, x, y)))
        logs, state = step(logs, state, key)
    told = ", ".join(f"{name} {float(jnp.exp(value)):.3f}" for name, value in logs.items())
    print(f"{count} points, {STEPS} steps: {told}; loss {losses[0]:.1f} -> {losses[-1]:.1f}")

    grid = jnp.linspace(0, 1, 200, dtype=jnp.float32)[:, None]
    curves = [
        kernel(grid, x, at) @ kernel(x, x, at).solve(y, alpha=jnp.exp(at["noise"]), eps=EPS) for at in (start, logs)
    ]
    errors = [float(jnp.sqrt(((curve - truth(grid)) ** 2).mean())) for curve in curves]
    limits.expect("error of the prediction", errors[1], 0.25)
    limits.expect("the loss at the end over that at the beginning", losses[-1] - losses[0], 0.0)

    with support.figure(
        folder / "jax_gaussian_process.png", "A Gaussian process learns its scales", 1, 2, (11, 4)
    ) as axes:
        axes[0, 0].plot(x, y, ".", color=support.INK, alpha=0.4, markersize=4)
        for curve, colour, name in zip(
            curves, (support.MARKS, support.LINE), ("at the beginning", "learnt"), strict=True
        ):
            axes[0, 0].plot(grid, curve, color=colour, label=name)
        axes[0, 0].plot(grid, truth(grid), color=support.INK, linewidth=1, linestyle=":", label="without noise")
        axes[0, 0].legend()
        axes[0, 0].set_title("prediction")
        axes[0, 1].plot(losses, color=support.LINE)
        axes[0, 1].set(title="negative log-likelihood", xlabel="step")
    limits.check()


if __name__ == "__main__":
    main()
