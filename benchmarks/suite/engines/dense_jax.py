"""JAX on the CPU, compiled, with dense tables made in blocks of rows (see `base.TABLE`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from suite.engines.base import Array, Call, Engine, Makers, rows_at_once
from suite.problems import (
    Assignment,
    Example,
    Gaussian,
    GaussianBatches,
    GaussianGradient,
    LogSumExp,
    Neighbours,
    Problem,
)


def by_rows(of_row: Callable[..., Any], rows: Any, row_length: int) -> Any:
    """``of_row`` for each of the rows (an array, or several in a tuple), as many at once as a table may have."""
    count = len(jax.tree.leaves(rows)[0])
    return jax.lax.map(of_row, rows, batch_size=rows_at_once(count, row_length))


def squared_distances(x_i: Any, y: Any) -> Any:
    """|x_i|^2 + |y_j|^2 - 2 <x_i, y_j> for all j; over many rows at once the last becomes a matrix product."""
    return (y * y).sum(1) + (x_i * x_i).sum() - 2 * (y @ x_i)


def gaussian(g: Any, x: Any, y: Any, b: Any) -> Any:
    return by_rows(lambda x_i: jnp.exp(-g * squared_distances(x_i, y)) @ b, x, len(y))


def gaussian_batches(g: Any, x: Any, y: Any, b: Any) -> Any:
    return jax.lax.map(lambda one: gaussian(g, *one), (x, y, b))


def gaussian_gradient(g: Any, x: Any, y: Any, b: Any, e: Any, wrt: tuple[str, ...]) -> Any:
    """The vector-Jacobian product of one block, added up over the blocks by hand: else all tables would be kept."""
    step = rows_at_once(len(x), len(y))

    def of_block(x_block: Any, e_block: Any) -> dict[str, Any]:
        def block(x_block: Any, y: Any, b: Any) -> Any:
            table = (x_block * x_block).sum(1)[:, None] + (y * y).sum(1) - 2 * (x_block @ y.T)
            return jnp.exp(-g * table) @ b

        return dict(zip("xyb", jax.vjp(block, x_block, y, b)[1](e_block), strict=True))

    found = [of_block(x[begin : begin + step], e[begin : begin + step]) for begin in range(0, len(x), step)]
    return tuple(jnp.concatenate([f["x"] for f in found]) if v == "x" else sum(f[v] for f in found) for v in wrt)


def log_sum_exp(x: Any, y: Any) -> Any:
    return by_rows(lambda x_i: jax.nn.logsumexp(-squared_distances(x_i, y), keepdims=True), x, len(y))


def neighbours(x: Any, y: Any, count: int) -> Any:
    return by_rows(lambda x_i: jax.lax.top_k(-squared_distances(x_i, y), count)[1], x, len(y))


def assignment(x: Any, y: Any) -> Any:
    return by_rows(lambda x_i: jnp.argmin(squared_distances(x_i, y), keepdims=True), x, len(y))


# The formulas of the examples.


def example_sum(p: Any, a: Any, x: Any, y: Any) -> Any:
    return by_rows(lambda x_i: (jnp.square(p - a) * jnp.exp(x_i + y)).sum(0), x, y.size)


def example_sum_gradient(p: Any, a: Any, x: Any, y: Any, e: Any) -> Any:
    return by_rows(lambda ay: (jnp.square(p - ay[0]) * jnp.exp(x + ay[1]) * e).sum(0), (a, y), x.size)


def example_logsumexp(p: Any, a: Any, x: Any, y: Any) -> Any:
    return by_rows(lambda x_i: jax.nn.logsumexp(jnp.square(p - a) * jnp.exp(x_i + y), axis=0), x, y.size)


def example_logsumexp_gradient(p: Any, a: Any, x: Any, y: Any, e: Any, c: Any) -> Any:
    def of_column(ay: Any) -> Any:
        f = jnp.square(p - ay[0]) * jnp.exp(x + ay[1])
        return (e * jnp.exp(f - c) * f).sum(0)

    return by_rows(of_column, (a, y), x.size)


EXAMPLES = {
    "sum": example_sum,
    "sum gradient": example_sum_gradient,
    "logsumexp": example_logsumexp,
    "logsumexp gradient": example_logsumexp_gradient,
}


def made(choose: Callable[[Any], tuple[Callable[..., Any], dict[str, Any]]]) -> Callable[[Any, list[Array]], Call]:
    """The maker of calls for what ``choose`` names for a problem: a function and its arguments that are not arrays."""

    def make(problem: Problem, arrays: list[Array]) -> Call:
        function, options = choose(problem)
        compiled = jax.jit(function, static_argnames=tuple(options))

        def call() -> tuple[Array, ...]:
            result = compiled(*arrays, **options)
            results = result if isinstance(result, tuple) else (result,)
            return tuple(np.asarray(array) for array in results)

        return call

    return make


class Jax(Engine):
    name = "jax"
    package = "jax"
    makers: ClassVar[Makers] = {
        Gaussian: made(lambda problem: (gaussian, {})),
        GaussianBatches: made(lambda problem: (gaussian_batches, {})),
        GaussianGradient: made(lambda problem: (gaussian_gradient, {"wrt": problem.wrt})),
        LogSumExp: made(lambda problem: (log_sum_exp, {})),
        Neighbours: made(lambda problem: (neighbours, {"count": problem.count})),
        Assignment: made(lambda problem: (assignment, {})),
        Example: made(lambda problem: (EXAMPLES[problem.case.name], {})),
    }

    def __init__(self, threads: int) -> None:
        """JAX has no setting for threads on a CPU: it uses all cores, which the column of busy cores shows."""
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)
