"""Results within a tolerance: how much each block of rows may skip, and a proof that this was little enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.request import Pruning
from clreduce.typing import Array

Attempt = Callable[[Array, Array], tuple[tuple[Array, ...], Array]]
"""A function of the error that each block of rows may make, (B, D), and of whether each block is asked for, (B,). It
returns results with rows in the order of the blocks, and bounds of their errors, (B, D). The rows of blocks that are
not asked for are arbitrary."""
_ATTEMPTS = 4


def within_tolerance(
    pairs: BlockPairs, pruning: Pruning, estimate: Array | None, attempt: Attempt
) -> tuple[tuple[Array, ...], float]:
    """Results that differ from the exact ones by at most ``atol + rtol * |exact|``, and a bound of their errors.

    ``estimate`` approximates the first result, (rows, D), with rows in the order of the blocks; None if only ``atol``
    matters. The estimate gives the error that a block of rows may make. If the result is smaller than the estimate, and
    so does not prove that this error is within the tolerance, the block is computed again with a smaller one, in the
    last attempt with 0.
    """
    results, errors = _attempted(pairs, pruning, estimate, attempt)
    return tuple(pairs.in_order(result) for result in results), float(errors.max(initial=0))


def _attempted(
    pairs: BlockPairs, pruning: Pruning, estimate: Array | None, attempt: Attempt
) -> tuple[tuple[Array, ...], Array]:
    """Results by rows in the order of the blocks, and what they differ by at most (B, D)."""
    blocks = pairs.rows.partition.count
    allowed = np.full((blocks, 1), pruning.atol) if estimate is None else _allowed(pairs, pruning, estimate)
    asked = np.ones(blocks, bool)
    results, errors = attempt(allowed, asked)
    for number in range(1, _ATTEMPTS + 1):
        # |exact| >= |result| - error, so this proves error <= atol + rtol * |exact|.
        bound = errors[pairs.owner] * (1 + pruning.rtol)
        proven = (bound <= pruning.atol + pruning.rtol * _magnitude(results[0])) | np.isnan(results[0])
        asked = ~np.logical_and.reduceat(proven.all(axis=1), pairs.rows.partition.intervals[:, 0])
        if not asked.any():
            break
        allowed = np.zeros_like(errors) if number == _ATTEMPTS else _allowed(pairs, pruning, results[0]) / 2
        again, their_errors = attempt(allowed, asked)
        rows = asked[pairs.owner]
        for result, other in zip(results, again, strict=True):
            result[rows] = other[rows]
        errors = np.where(asked[:, None], their_errors, errors)
    return results, errors


def _allowed(pairs: BlockPairs, pruning: Pruning, results: Array) -> Array:
    least = np.nan_to_num(pairs.least(np.where(np.isnan(results), np.nan, _magnitude(results))), nan=0.0)
    allowed: Array = (pruning.atol + pruning.rtol * least) / (1 + pruning.rtol)
    return allowed


def _magnitude(results: Array) -> Array:
    """Absolute values in double precision; 0 for infinities and nan, which do not bound an error."""
    return np.where(np.isfinite(results), np.abs(results.astype(np.float64)), 0.0)
