"""Results that may differ by a tolerance: how much each block of rows may pass over, and a proof afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.request import Pruning
from clreduce.typing import Array

Attempt = Callable[[Array, Array], tuple[tuple[Array, ...], Array]]
"""From what each block of rows (B, D) may pass over, and which blocks are asked for (B,): results by rows in the order
of the blocks, and what they differ by at most (B, D); rows of other blocks hold anything."""
_ATTEMPTS = 4


def within_tolerance(
    pairs: BlockPairs, pruning: Pruning, estimate: Array | None, attempt: Attempt
) -> tuple[tuple[Array, ...], float]:
    """Results that differ from the exact ones by at most ``atol + rtol * |exact|``, and by how much at most.

    ``estimate``: of the first result (rows, D), by rows in the order of the blocks; None if only ``atol`` matters.
    What may be passed over follows from the estimate. Where the result does not prove then that this was little enough,
    since it is smaller than the estimate, less may be, and nothing at last.
    """
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
    return tuple(pairs.in_order(result) for result in results), float(errors.max(initial=0))


def _allowed(pairs: BlockPairs, pruning: Pruning, results: Array) -> Array:
    least = np.nan_to_num(pairs.least(np.where(np.isnan(results), np.nan, _magnitude(results))), nan=0.0)
    found: Array = (pruning.atol + pruning.rtol * least) / (1 + pruning.rtol)
    return found


def _magnitude(results: Array) -> Array:
    """Absolute values in double precision; 0 of infinities, which say nothing of an error."""
    return np.where(np.isfinite(results), np.abs(results.astype(np.float64)), 0.0)
