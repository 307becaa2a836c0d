"""Sums and means: terms are passed over whose sizes, by their bounds, add up to less than the tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.request import Pruning
from clreduce.call.pruning.tolerance import within_tolerance
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, constant, variable
from clreduce.ops.shape import concat, reduce_sum
from clreduce.typing import Array

_FIRST_VISITS = 4
"""Blocks that are visited for an estimate of the sums."""
_STEP = 2
"""Powers of two between two limits that are tried."""
_SLACK = 0.98
"""Room for rounding errors in the sum of what is passed over."""


@dataclass(frozen=True, eq=False)
class Sums:
    """The steps of one sum, in their order."""

    pairs: BlockPairs
    pruning: Pruning

    @cached_property
    def sizes(self) -> Expr:
        """By how much the terms of a pair of blocks change the sum of a row at most, component by component."""
        (bounds,) = self.pairs.bounds(*self.pairs.values)
        size = OPS["larger"](-bounds.low, bounds.high)
        if bounds.nan is not None:
            size = OPS["where"](OPS["less"](constant(0), bounds.nan), constant(INF), size)
        return size * self.pairs.size

    @cached_property
    def share(self) -> tuple[Expr, Expr]:
        """Which part of the tolerance the terms of a pair take; and the variable of blocks of rows in it, 1 / tolerance
        for each component."""
        inverse = variable("inverse of the tolerance", self.sizes.dim, Domain.I)
        shares = OPS["where"](OPS["less"](constant(0), self.sizes), self.sizes * inverse, constant(0))
        return (shares if shares.dim == 1 else OPS["largest"](shares)), inverse

    def run(self) -> tuple[Array, float]:
        """The sums by the rows of the caller (rows, D), and what they differ by at most."""
        estimate = None
        if self.pruning.rtol:
            sizes = self.sizes if self.sizes.dim == 1 else reduce_sum(self.sizes, 1, self.sizes.dim, 1)
            (estimate,) = self.pairs.visit(self.pairs.likely(-sizes, _FIRST_VISITS), "Sum")
        results, error = within_tolerance(self.pairs, self.pruning, estimate, self._attempt)
        return results[0], error

    def _attempt(self, allowed: Array, asked: Array) -> tuple[tuple[Array, ...], Array]:
        share, inverse = self.share
        with np.errstate(divide="ignore", over="ignore"):
            factors = np.broadcast_to(1 / allowed, (len(allowed), inverse.dim)).astype(self.pairs.dtype)
        factors = np.maximum(factors, float(self.pairs.precision.tiny))  # so that infinity times it is infinity
        further = {inverse: factors}
        # All pairs up to a limit are passed over: the largest one of these for which they take no more than there is.
        # Up to the last one, even all pairs together would not.
        count = self.pairs.columns.partition.count
        limits = [2.0**-power for power in range(0, math.ceil(math.log2(count)) + 1 + _STEP, _STEP)]
        parts = [OPS["where"](OPS["less_equal"](share, constant(limit)), share, constant(0)) for limit in limits]
        taken = self.pairs.over_blocks(concat(*parts), "Sum", None, further)
        fits = np.where(taken <= _SLACK, np.arange(len(limits)), len(limits) - 1)
        best = fits.min(axis=1)
        limit = variable("limit", 1, Domain.I)
        # No share is negative, so nothing is visited in blocks that are not asked for.
        further[limit] = np.where(asked, np.array(limits)[best], np.inf)[:, None]
        mask = OPS["logical_not"](OPS["less_equal"](share, limit))
        visited = self.pairs.pairs_where(mask, further)
        errors = allowed * taken[np.arange(len(best)), best][:, None]
        return self.pairs.visit(visited, "Sum"), np.broadcast_to(errors, factors.shape)
