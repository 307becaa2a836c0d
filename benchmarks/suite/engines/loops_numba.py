"""Numba: the loops that one would write by hand, parallel over output rows, without fast-math."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np
from numba import prange

from suite.engines.base import Array, Call, Engine, Makers
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

compiled = numba.njit(fastmath=False)
parallel = numba.njit(parallel=True, fastmath=False)


@compiled
def squared_distance(x: Array, i: int, y: Array, j: int) -> Any:
    total = x.dtype.type(0)
    for d in range(x.shape[1]):
        difference = x[i, d] - y[j, d]
        total += difference * difference
    return total


@parallel
def gaussian(g: Array, x: Array, y: Array, b: Array) -> Array:
    out = np.zeros((len(x), b.shape[1]), x.dtype)
    for i in prange(len(x)):
        for j in range(len(y)):
            k = np.exp(-g[0] * squared_distance(x, i, y, j))
            for e in range(b.shape[1]):
                out[i, e] += k * b[j, e]
    return out


@parallel
def gaussian_batches(g: Array, x: Array, y: Array, b: Array) -> Array:
    batches, rows = x.shape[:2]
    out = np.zeros((batches, rows, b.shape[2]), x.dtype)
    for n in prange(batches * rows):
        k, i = n // rows, n % rows
        for j in range(y.shape[1]):
            value = np.exp(-g[0] * squared_distance(x[k], i, y[k], j))
            for e in range(b.shape[2]):
                out[k, i, e] += value * b[k, j, e]
    return out


@parallel
def gradient_in_points(g: Array, x: Array, e: Array, y: Array, b: Array) -> Array:
    """The gradient in x, of weights e; with the two sides exchanged, that in y."""
    out = np.zeros_like(x)
    for i in prange(len(x)):
        for j in range(len(y)):
            weight = x.dtype.type(0)
            for n in range(e.shape[1]):
                weight += e[i, n] * b[j, n]
            weight *= x.dtype.type(-2) * g[0] * np.exp(-g[0] * squared_distance(x, i, y, j))
            for d in range(x.shape[1]):
                out[i, d] += weight * (x[i, d] - y[j, d])
    return out


@parallel
def log_sum_exp(x: Array, y: Array) -> Array:
    """In two passes: the maximum, then the sum."""
    out = np.empty((len(x), 1), x.dtype)
    for i in prange(len(x)):
        largest = x.dtype.type(-np.inf)
        for j in range(len(y)):
            largest = max(largest, -squared_distance(x, i, y, j))
        total = x.dtype.type(0)
        for j in range(len(y)):
            total += np.exp(-squared_distance(x, i, y, j) - largest)
        out[i, 0] = largest + np.log(total)
    return out


@parallel
def neighbours(x: Array, y: Array, count: int) -> Array:
    """By insertion into a sorted list, which is rarely needed: most columns are farther than all that it holds."""
    out = np.zeros((len(x), count), np.int64)
    for i in prange(len(x)):
        nearest = np.full(count, np.inf, x.dtype)
        for j in range(len(y)):
            distance = squared_distance(x, i, y, j)
            if distance < nearest[count - 1]:
                place = count - 1
                while place > 0 and nearest[place - 1] > distance:
                    nearest[place], out[i, place] = nearest[place - 1], out[i, place - 1]
                    place -= 1
                nearest[place], out[i, place] = distance, j
    return out


@parallel
def example_sum(p: Array, a: Array, x: Array, y: Array) -> Array:
    out = np.zeros_like(x)
    for i in prange(len(x)):
        for j in range(len(y)):
            factor = (p[0] - a[j, 0]) ** 2
            for d in range(x.shape[1]):
                out[i, d] += factor * np.exp(x[i, d] + y[j, d])
    return out


@parallel
def example_sum_gradient(p: Array, a: Array, x: Array, y: Array, e: Array) -> Array:
    out = np.zeros_like(y)
    for j in prange(len(y)):
        factor = (p[0] - a[j, 0]) ** 2
        for i in range(len(x)):
            for d in range(x.shape[1]):
                out[j, d] += factor * np.exp(x[i, d] + y[j, d]) * e[i, d]
    return out


@parallel
def example_logsumexp(p: Array, a: Array, x: Array, y: Array) -> Array:
    out = np.empty_like(x)
    for i in prange(len(x)):
        largest = x.dtype.type(-np.inf)
        for j in range(len(y)):
            largest = max(largest, (p[0] - a[j, 0]) ** 2 * np.exp(x[i, 0] + y[j, 0]))
        total = x.dtype.type(0)
        for j in range(len(y)):
            total += np.exp((p[0] - a[j, 0]) ** 2 * np.exp(x[i, 0] + y[j, 0]) - largest)
        out[i, 0] = largest + np.log(total)
    return out


@parallel
def example_logsumexp_gradient(p: Array, a: Array, x: Array, y: Array, e: Array, c: Array) -> Array:
    out = np.zeros_like(y)
    for j in prange(len(y)):
        for i in range(len(x)):
            f = (p[0] - a[j, 0]) ** 2 * np.exp(x[i, 0] + y[j, 0])
            out[j, 0] += e[i, 0] * np.exp(f - c[i, 0]) * f
    return out


EXAMPLES = {
    "sum": example_sum,
    "sum gradient": example_sum_gradient,
    "logsumexp": example_logsumexp,
    "logsumexp gradient": example_logsumexp_gradient,
}


def plain(choose: Callable[[Any], Callable[..., Array]]) -> Callable[[Any, list[Array]], Call]:
    """The maker of calls of what ``choose`` names for a problem: a function of all its arrays."""

    def make(problem: Problem, arrays: list[Array]) -> Call:
        function = choose(problem)
        return lambda: (function(*arrays),)

    return make


def gaussian_gradient(problem: GaussianGradient, arrays: list[Array]) -> Call:
    g, x, y, b, e = arrays
    gradients = {
        "x": lambda: gradient_in_points(g, x, e, y, b),
        "y": lambda: gradient_in_points(g, y, b, x, e),
        "b": lambda: gaussian(g, y, x, e),
    }
    return lambda: tuple(gradients[name]() for name in problem.wrt)


def nearest(problem: Neighbours, arrays: list[Array]) -> Call:
    x, y = arrays
    return lambda: (neighbours(x, y, problem.count),)


class Numba(Engine):
    name = "numba"
    package = "numba"
    makers: ClassVar[Makers] = {
        Gaussian: plain(lambda problem: gaussian),
        GaussianBatches: plain(lambda problem: gaussian_batches),
        GaussianGradient: gaussian_gradient,
        LogSumExp: plain(lambda problem: log_sum_exp),
        Neighbours: nearest,
        Assignment: nearest,
        Example: plain(lambda problem: EXAMPLES[problem.case.name]),
    }

    def __init__(self, threads: int) -> None:
        numba.set_num_threads(threads)

    def threads(self) -> int:
        found: int = numba.get_num_threads()
        return found
