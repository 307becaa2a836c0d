"""What tests compare kernels with: random data for a program, a run under a given schedule, and NumPy in float64.

Rounding errors are judged against what was added up, not against what was left: a sum of terms that cancel is as
inexact as its largest partial sum. So each reduction has its own scale, computed from the dense table of terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import position
from clreduce.program import MapReduce
from clreduce.runtime.devices import current_device
from clreduce.runtime.plan import Plan, Signature

Array = np.ndarray[Any, Any]

TOLERANCE = {"float32": 4e-6, "float64": 1e-13}
"""Error allowed, relative to the scale of `scale_of`: a few dozen units in the last place and more."""
DTYPES = ("float32", "float64")


def shape_of(slot: Expr, rows: int, columns: int) -> tuple[int, ...]:
    """The shape of the array that feeds a variable."""
    sizes: dict[Domain, tuple[int, ...]] = {Domain.I: (rows,), Domain.J: (columns,), Domain.P: ()}
    return (*sizes[slot.domain], slot.dim)


def random_arrays(
    program: MapReduce, rows: int, columns: int, dtype: str, seed: int = 0, low: float = -1.0, high: float = 1.0
) -> list[Array]:
    """One array per slot: reals uniform in [low, high], shrunk for long vectors; indices of columns, or -1."""
    rng = np.random.default_rng(seed)
    arrays = []
    for slot in program.slots:
        shape = shape_of(slot, rows, columns)
        if slot.kind == INDEX:
            arrays.append(rng.integers(-1, max(columns, 1), shape))
        else:
            arrays.append((rng.uniform(low, high, shape) * min(1.0, 2.0 / np.sqrt(slot.dim))).astype(dtype))
    return arrays


def dense(program: MapReduce, arrays: Sequence[Array], rows: int, columns: int) -> list[Array]:
    """The values of each formula at all pairs, in float64, of shape (rows, columns, D)."""
    leaves: dict[Expr, Array] = {
        position(Domain.I): np.arange(rows)[:, None, None],
        position(Domain.J): np.arange(columns)[None, :, None],
    }
    for slot, array in zip(program.slots, arrays, strict=True):
        exact = np.asarray(array, np.int64 if slot.kind == INDEX else np.float64)
        axes = {Domain.I: (1,), Domain.J: (0,), Domain.P: (0, 1)}[slot.domain]
        leaves[slot] = np.expand_dims(exact, axes)
    found = evaluate(program.values, leaves)
    return [np.broadcast_to(v, (rows, columns, f.dim)) for v, f in zip(found, program.values, strict=True)]


def scale_of(program: MapReduce, tables: Sequence[Array]) -> Array:
    """The size, per row (and component where possible), that rounding errors of the results are proportional to.

    ``tables``: the values of each formula at all pairs.
    """
    name, values = program.reduction.name, tables[0]
    finite = np.where(np.isfinite(values), np.abs(values), 0.0)
    if name == "Sum":
        # A term may itself be the difference of larger numbers: the largest terms of the column stand for those.
        return np.broadcast_to(finite.sum(1).max(axis=0, initial=1e-30, keepdims=True), (len(values), values.shape[2]))
    if name.startswith("Prod"):
        factors = np.where(finite == 0, 1.0, finite)
        return 1.0 + factors.prod(1).max(1, keepdims=True) * (1 + values.shape[1] / 16)
    largest = 1.0 + finite.max(axis=(1, 2), initial=0.0)[:, None]
    if name.startswith("Var"):
        return largest**2
    if program.reduction.formulas == 1 and not name.startswith("Max_Sum"):
        return largest
    # An exponential of a large term is as inexact as the term, and is added up.
    weights = np.where(np.isfinite(tables[-1]), np.abs(tables[-1]), 0.0) if len(tables) > 1 else np.ones_like(values)
    if name == "SumSoftMaxWeight":
        return largest * (1.0 + weights.max(axis=(1, 2), initial=0.0)[:, None])
    return largest * (1.0 + weights.sum(1).max(axis=1, initial=0.0)[:, None])


def run(
    program: MapReduce,
    arrays: Sequence[Array],
    rows: int,
    columns: int,
    dtype: str,
    schedule: Schedule | None = None,
) -> tuple[Array, ...]:
    """The results on the current device, under the default schedule or a given one."""
    return Plan(program, Signature(dtype), current_device(), schedule)(arrays, rows, columns)


def assert_close(found: Array, expected: Array, scale: Array | float, dtype: str, factor: float = 1.0) -> None:
    """Equal where ``expected`` is nan or infinite, else within the tolerance of ``dtype`` times ``scale``."""
    assert found.shape == expected.shape
    scale = np.broadcast_to(scale, expected.shape)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    assert np.isfinite(found[finite]).all(), f"{np.sum(~np.isfinite(found[finite]))} results are not finite"
    error = np.abs(found[finite] - expected[finite]) / scale[finite]
    worst = float(error.max(initial=0.0))
    assert worst <= factor * TOLERANCE[dtype], f"error {worst:.1e} of {dtype}, relative to the scale of the result"


def assert_results(
    found: Sequence[Array],
    program: MapReduce,
    arrays: Sequence[Array],
    rows: int,
    columns: int,
    dtype: str,
    factor: float = 1.0,
) -> None:
    """``found`` is what ``program.reference`` says, in shape, dtype and value."""
    expected = program.reference(arrays, rows, columns)
    tables = dense(program, arrays, rows, columns)
    assert len(found) == len(expected) == len(program.outputs)
    for result, exact, output in zip(found, expected, program.outputs, strict=True):
        assert result.shape == (rows, output.dim)
        if output.kind == INDEX:
            assert result.dtype == np.int64
            assert_best(result, exact, tables[0], dtype, factor)
        else:
            assert result.dtype == np.dtype(dtype)
            assert_close(result, exact, scale_of(program, tables), dtype, factor)


def assert_best(found: Array, expected: Array, values: Array, dtype: str, factor: float = 1.0) -> None:
    """Indices of terms as good as those at ``expected``: rounding may decide between terms that are nearly equal."""
    np.testing.assert_array_equal(found < 0, expected < 0)
    assert found.max(initial=0) < max(values.shape[1], 1)
    if values.shape[1] == 0:
        return

    def at(index: Array) -> Array:
        places = np.maximum(index, 0).reshape(len(values), -1, values.shape[2])
        return np.take_along_axis(values, places, 1)

    finite = np.where(np.isfinite(values), np.abs(values), 0.0)
    assert_close(at(found), at(expected), 1.0 + finite.max(1, initial=0.0, keepdims=True), dtype, factor)


def check(
    program: MapReduce,
    rows: int,
    columns: int,
    dtype: str,
    schedule: Schedule | None = None,
    seed: int = 0,
    factor: float = 1.0,
) -> None:
    """A run on random data equals the reference."""
    arrays = random_arrays(program, rows, columns, dtype, seed)
    found = run(program, arrays, rows, columns, dtype, schedule)
    assert_results(found, program, arrays, rows, columns, dtype, factor)
