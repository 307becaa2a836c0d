"""
A kernel flow learns which coordinates matter
=============================================

The kernel of an interpolation is learnt: one that loses little where half of the data are left out is a good one.

::

    loss = 1 - (y_half^T A_half^-1 y_half) / (y^T A^-1 y),    A_ij = exp(-|w * (x_i - x_j)|^2 / 2) + noise * (i == j)

Run it::

    python examples/jax/kernel_flow.py --output FOLDER

Each step draws some of the data, and half of those. The values depend on two of four coordinates; the weights w of the
others fall. Both solves, and their gradients, are clreduce's; the steps are optax's.
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

STEPS, NOISE, EPS = 120, 0.02, 1e-4


def kernel(x: jax.Array, y: jax.Array, weights: jax.Array) -> LazyTensor:
    """The kernel of all pairs, as a formula."""
    return (-(((Vi(x) - Vj(y)) * weights) ** 2).sum(-1) / 2).exp()


def energy(x: jax.Array, y: jax.Array, weights: jax.Array) -> jax.Array:
    return (y * kernel(x, x, weights).solve(y, alpha=NOISE, eps=EPS)).sum()


def loss(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    half = len(x) // 2
    return 1 - energy(x[:half], y[:half], weights) / energy(x, y, weights)


def dense_loss(weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    def energy(x: jax.Array, y: jax.Array) -> jax.Array:
        A = jnp.exp(-(((x[:, None] - x) * weights) ** 2).sum(-1) / 2) + NOISE * jnp.eye(len(x))
        return (y * jnp.linalg.solve(A, y)).sum()

    half = len(x) // 2
    return 1 - energy(x[:half], y[:half]) / energy(x, y)


def truth(x: jax.Array) -> jax.Array:
    return jnp.sin(4 * x[:, :1]) * jnp.cos(3 * x[:, 1:2])


def main() -> None:
    folder, rng = support.output_folder(__doc__), np.random.default_rng(2)
    count = max(200, support.scaled(1500))
    batch = count // 4
    x, other = (jnp.asarray(rng.random((size, 4)) * 2, jnp.float32) for size in (count, 500))
    y = truth(x)
    weights = jnp.full(4, 2.0)
    optimizer = optax.adam(0.05)
    limits = support.Limits()
    exact = jax.grad(dense_loss)(weights, x[:batch], y[:batch])
    gradient = jax.jit(jax.grad(loss))(weights, x[:batch], y[:batch])
    limits.expect("error of the gradient", support.norm_ratio(np.asarray(gradient), np.asarray(exact)), 0.02)

    @jax.jit
    def step(weights: Any, state: Any, key: Any) -> Any:
        drawn = jax.random.choice(key, count, (batch,), replace=False)
        value, gradient = jax.value_and_grad(loss)(weights, x[drawn], y[drawn])
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, updates), state, value

    def error(weights: jax.Array) -> float:
        prediction = kernel(other, x, weights) @ kernel(x, x, weights).solve(y, alpha=NOISE, eps=EPS)
        return float(jnp.sqrt(((prediction - truth(other)) ** 2).mean()))

    first, state, path, values = error(weights), optimizer.init(weights), [], []
    for key in jax.random.split(jax.random.key(0), STEPS):
        path.append(np.abs(np.asarray(weights)))
        weights, state, value = step(weights, state, key)
        values.append(float(value))
    last = error(weights)
    print(
        f"{count} points, {STEPS} steps: weights {abs(np.asarray(weights)).round(2)}; error {first:.3f} -> {last:.3f}"
    )
    limits.expect("error with the learnt kernel, as a part of the first", last / first, 0.7)
    limits.expect("weights without meaning, as a part of the others", path[-1][2:].max() / path[-1][:2].min(), 0.5)

    with support.figure(
        folder / "jax_kernel_flow.png", "A kernel learns which coordinates matter", 1, 2, (11, 4)
    ) as axes:
        for column, colour in zip(range(4), support.COLOURS, strict=False):
            name = f"coordinate {column + 1}" + ("" if column < 2 else ", which has no meaning")
            axes[0, 0].plot(np.array(path)[:, column], color=colour, label=name)
        axes[0, 0].set(title="weights", xlabel="step")
        axes[0, 0].legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2)
        axes[0, 1].plot(values, color=support.LINE)
        axes[0, 1].set(title="loss of half of the data", xlabel="step")
    limits.check()


if __name__ == "__main__":
    main()
