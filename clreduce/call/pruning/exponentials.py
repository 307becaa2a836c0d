"""LogSumExp and softmax: terms are passed over whose exponentials are small beside those of the largest terms."""

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
from clreduce.ops.shape import reduce_sum
from clreduce.typing import Array

_FIRST_VISITS = 4
"""Blocks that are visited for an estimate of the results."""


@dataclass(frozen=True, eq=False)
class Exponentials:
    """The steps of one LogSumExp, or of an average under softmax weights, in their order."""

    pairs: BlockPairs
    pruning: Pruning

    @cached_property
    def highest(self) -> Expr:
        """How large the terms of a pair of blocks are at most, component by component."""
        (bounds,) = self.pairs.bounds(self.pairs.values[0])
        if bounds.nan is None:
            return bounds.high
        return OPS["where"](OPS["less"](constant(0), bounds.nan), constant(INF), bounds.high)

    @property
    def averages(self) -> bool:
        """Whether a second formula is averaged."""
        return len(self.pairs.values) > 1

    def run(self) -> tuple[tuple[Array, ...], float]:
        """The results by the rows of the caller, and what the first differs by at most."""
        most = constant(self.pairs.precision.largest)
        height = OPS["smaller"](OPS["larger"](self.highest, -most), most)
        height = height if height.dim == 1 else reduce_sum(height * constant(1e-3), 1, height.dim, 1)
        first = self.pairs.likely(-height, _FIRST_VISITS)
        term = self.pairs.program.values[:1]
        (estimate,) = self.pairs.visit(first, "LogSumExp", None, term)
        # Further terms can only add to it; it may have been rounded up.
        eps = 64 * float(self.pairs.precision.eps)
        lower = self.pairs.least(estimate.astype(np.float64) - eps * (1 + np.abs(estimate)))
        if self.averages:
            (estimate,) = self.pairs.visit(first, self._name.split("_")[0])
        scale = self._largest_value() if self.averages else None

        def attempt(allowed: Array, asked: Array) -> tuple[tuple[Array, ...], Array]:
            return self._attempt(lower, scale, allowed, asked)

        return within_tolerance(self.pairs, self.pruning, estimate, attempt)

    @property
    def _name(self) -> str:
        return self.pairs.program.reduction.name

    def _largest_value(self) -> Array:
        """(B, 1): how large the values that are averaged are at most, for each block of rows."""
        (bounds,) = self.pairs.bounds(self.pairs.values[1])
        size = OPS["larger"](-bounds.low, bounds.high)
        if bounds.nan is not None:
            size = OPS["where"](OPS["less"](constant(0), bounds.nan), constant(INF), size)
        largest: Array = self.pairs.over_blocks(size, "Max").max(axis=1, keepdims=True)
        return largest.astype(np.float64)

    def _attempt(
        self, lower: Array, scale: Array | None, allowed: Array, asked: Array
    ) -> tuple[tuple[Array, ...], Array]:
        # With the sum P of the exponentials that are visited and the sum e of the others, log(P + e) - log(P) is
        # log1p(e / P), and an average of numbers up to B changes by up to 2 B e / P.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if scale is None:
                part = np.log(np.expm1(np.minimum(allowed, 700.0)))
            else:
                part = np.log(np.minimum(allowed.min(axis=1, keepdims=True) / (2 * scale), 1e300))
            limits = (
                lower
                + np.nan_to_num(part, nan=-np.inf, neginf=-np.inf)
                - math.log(len(self.pairs.columns.partition.order))
            )
        limits = np.where(np.isnan(limits), -np.inf, limits)
        limits -= 8 * float(self.pairs.precision.eps) * np.where(np.isfinite(limits), np.abs(limits), 0)
        errors = np.where(limits == -np.inf, 0.0, allowed)
        limit = variable("limit", self.highest.dim, Domain.I)
        above = OPS["where"](OPS["less"](limit, self.highest), constant(1), constant(0))
        above = above if above.dim == 1 else OPS["largest"](above)
        open_to = np.where(asked[:, None], np.broadcast_to(limits, (len(limits), limit.dim)), np.inf)
        visited = self.pairs.pairs_where(OPS["less"](constant(0), above), {limit: open_to})
        results = self.pairs.visit(visited, self._name)
        return results, np.broadcast_to(errors, (len(errors), results[0].shape[1]))
