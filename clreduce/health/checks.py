"""Checks of a device: small calls of the public interface, each compared with NumPy in float64.

They use the same path as a call of a user. Sizes are small and have few divisors: so a check has full and partly
filled work-groups, more than one tile of columns, and an incomplete last tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from clreduce.numpy import Genred, LazyTensor, cluster
from clreduce.runtime.device import Device
from clreduce.runtime.devices import use_device
from clreduce.runtime.plan_cache import PLANS
from clreduce.typing import Array

_ROWS, _COLUMNS = 70, 300
_FEW, _MANY = 3, 9000
"""Few rows and many columns: kernels compute parts of such a call, which a second kernel merges."""
_ROUNDINGS = 100
"""The largest error of a right result, in units of the rounding error of its dtype."""
_REPEATS = 20
"""The number of calls that must all give the same bits."""
_GAUSSIAN = "Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]
_DISTANCES = "SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"]


@dataclass(frozen=True)
class Check:
    """One check: ``run(dtype)`` computes on the current device and returns the relative error."""

    name: str
    run: Callable[[str], float]
    copies: bool = False
    """Whether the call copies its arrays even if the device can use them in place."""
    quick: bool = False
    """Whether ``clreduce selftest --quick`` runs the check."""


def bound_of(dtype: str) -> float:
    """The largest relative error of a right result in ``dtype``.

    >>> bound_of("float32") < 2e-5
    True
    """
    return float(_ROUNDINGS * np.finfo(dtype).eps)


def run_check(check: Check, device: Device, dtype: str) -> float:
    """The relative error of ``check`` on ``device``; nan counts as infinite. An exception of the call is passed on."""
    facts = device.facts
    if check.copies:
        device.facts = replace(facts, maps_memory=False, shares_addresses=False)
        PLANS.clear()
    try:
        with use_device(device):
            error = check.run(dtype)
    finally:
        if check.copies:
            device.facts = facts
            PLANS.clear()
    return error if error == error else float("inf")


# ------------------------------------------------------------------------------------------------- data and errors


def _points(dtype: str, *shapes: tuple[int, ...]) -> tuple[list[Array], list[Array]]:
    """Random arrays of these shapes in ``dtype``, and the same numbers in float64."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    return arrays, [array.astype(np.float64) for array in arrays]


def _gaussian_data(dtype: str, rows: int = _ROWS, columns: int = _COLUMNS) -> tuple[list[Array], list[Array]]:
    return _points(dtype, (rows, 3), (columns, 3), (columns, 1))


def _difference(computed: ArrayLike, exact: Array) -> float:
    """The largest difference, relative to the largest exact number; infinite if the shapes differ."""
    values = np.asarray(computed)
    if values.shape != exact.shape:
        return float("inf")
    return float(np.abs(values - exact).max() / np.abs(exact).max())


def _table(x: Array, y: Array) -> Array:
    """The squared distances of all pairs of points."""
    return np.asarray(((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1))


# -------------------------------------------------------------------------------------------------------- the checks


def _forward(dtype: str) -> float:
    """Gaussian sums: over many rows, repeatedly with the same bits, and over few rows and many columns."""
    routine = Genred(*_GAUSSIAN, axis=1)
    arrays, (x, y, b) = _gaussian_data(dtype)
    first = routine(*arrays)
    error = _difference(first, np.exp(-_table(x, y)) @ b)
    if any(not np.array_equal(first, routine(*arrays)) for _ in range(_REPEATS)):
        return float("inf")
    arrays, (x, y, b) = _gaussian_data(dtype, _FEW, _MANY)
    return max(error, _difference(routine(*arrays), np.exp(-_table(x, y)) @ b))


def _gradient(dtype: str) -> float:
    """The gradients of a Gaussian sum in all its arguments."""
    (*arrays, cotangent), (x, y, b, e) = _points(dtype, (_ROWS, 3), (_COLUMNS, 3), (_COLUMNS, 1), (_ROWS, 1))
    in_x, in_y, in_b = Genred(*_GAUSSIAN, axis=1).vjp(*arrays, cotangent=cotangent)
    kernel = np.exp(-_table(x, y))
    weights = kernel * e * b.T
    exact_x = -2 * (weights.sum(1, keepdims=True) * x - weights @ y)
    exact_y = 2 * (weights.T @ x - weights.sum(0)[:, None] * y)
    return max(_difference(in_x, exact_x), _difference(in_y, exact_y), _difference(in_b, kernel.T @ e))


def _log_sum_exp(dtype: str) -> float:
    """LogSumExp of terms whose exponentials overflow, and its gradient."""
    (*arrays, cotangent), (x, y, e) = _points(dtype, (_ROWS, 3), (_COLUMNS, 3), (_ROWS, 1))
    offset = 1000.0
    routine = Genred(f"{offset} - SqDist(x, y)", _DISTANCES[1], "LogSumExp", axis=1)
    kernel = np.exp(-_table(x, y))
    error = _difference(routine(*arrays), offset + np.log(kernel.sum(1, keepdims=True)))
    weights = e * kernel / kernel.sum(1, keepdims=True)
    exact_x = -2 * (weights.sum(1, keepdims=True) * x - weights @ y)
    # Terms near 1000 have larger rounding errors, by this factor, than their differences from the maximum.
    return max(error, _difference(routine.vjp(*arrays, cotangent=cotangent)[0], exact_x) / offset)


def _nearest(dtype: str) -> float:
    """The ten nearest neighbours. It compares the distances at the indices: rounding may exchange near-ties."""
    arrays, (x, y) = _points(dtype, (_ROWS, 3), (_COLUMNS, 3))
    indices = Genred(*_DISTANCES, "ArgKMin", axis=1, opt_arg=10)(*arrays)
    table = _table(x, y)
    if indices.shape != (_ROWS, 10) or indices.min() < 0 or indices.max() >= _COLUMNS:
        return float("inf")
    return _difference(np.take_along_axis(table, indices, 1), np.sort(table)[:, :10])


def _masks(dtype: str) -> float:
    """A sum over the pairs with i < j, and the index of the smallest term."""
    (x32, y32), (x, y) = _points(dtype, (_ROWS, 3), (_COLUMNS, 3))
    distances = ((LazyTensor(x32[:, None]) - LazyTensor(y32[None])) ** 2).sum(-1)
    table = _table(x, y)
    error = _difference(distances.where(distances.i < distances.j).sum(1), np.triu(table, 1).sum(1, keepdims=True))
    chosen = np.take_along_axis(table, np.asarray(distances.argmin(1)), 1)
    return max(error, _difference(chosen, table.min(1, keepdims=True)))


def _functions(dtype: str) -> float:
    """Logarithms, trigonometry, special functions and powers."""
    arrays, (x, y) = _points(dtype, (_ROWS, 2), (_COLUMNS, 2))
    formula = "Log(1 + Square(x)) * Sin(3*y) + Atan(x*y) * Sqrt(Abs(y)) + Tanh(x + y) + Powf(Abs(x), y)"
    a, b = x[:, None], y[None]
    exact = np.log(1 + a**2) * np.sin(3 * b) + np.arctan(a * b) * np.sqrt(np.abs(b)) + np.tanh(a + b)
    exact = (exact + np.abs(a) ** b).sum(1)
    return _difference(Genred(formula, ["x = Vi(2)", "y = Vj(2)"], axis=1)(*arrays), exact)


def _long(dtype: str) -> float:
    """Vectors of 100 numbers: kernels loop over their components, and another kernel rearranges the data before."""
    arrays, (x, y) = _points(dtype, (_ROWS, 100), (_COLUMNS, 100))
    routine = Genred("Exp(-SqDist(x, y) / 200)", ["x = Vi(100)", "y = Vj(100)"], axis=1)
    return _difference(routine(*arrays), np.exp(-_table(x, y) / 200).sum(1, keepdims=True))


def _batch(dtype: str) -> float:
    """A batch of three in one launch, with one array that all three share."""
    arrays, (x, y, b) = _points(dtype, (3, _ROWS, 3), (1, _COLUMNS, 3), (3, _COLUMNS, 1))
    return _difference(Genred(*_GAUSSIAN, axis=1)(*arrays), np.exp(-_table(x, y)) @ b)


def _ranges(dtype: str) -> float:
    """A block-sparse sum."""
    arrays, (x, y, b) = _gaussian_data(dtype)
    rows, columns = np.array([[0, 33], [33, _ROWS]]), np.array([[0, 70], [70, 75], [75, _COLUMNS]])
    keep = np.array([[True, False, True], [False, True, False]])
    mask = np.repeat(np.repeat(keep, np.diff(rows).ravel(), 0), np.diff(columns).ravel(), 1)
    summed = Genred(*_GAUSSIAN, axis=1)(*arrays, ranges=cluster.from_matrix(rows, columns, keep))
    return _difference(summed, np.where(mask, np.exp(-_table(x, y)), 0) @ b)


CHECKS = (
    Check("sum", _forward, quick=True),
    Check("grad", _gradient, quick=True),
    Check("copies", _forward, copies=True, quick=True),
    Check("lse", _log_sum_exp),
    Check("nearest", _nearest),
    Check("masks", _masks),
    Check("math", _functions),
    Check("long", _long),
    Check("batch", _batch),
    Check("ranges", _ranges),
)
"""All checks, in their order."""
