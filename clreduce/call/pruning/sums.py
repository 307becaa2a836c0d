"""Sums and means: terms are skipped if the bounds of their absolute values add up to less than the tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.request import Pruning
from clreduce.call.pruning.shares import Shares
from clreduce.call.pruning.tolerance import within_tolerance
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, constant, variable
from clreduce.ops.shape import reduce_sum
from clreduce.typing import Array

_FIRST_VISITS = 16
"""Blocks that are visited for an estimate of the sums."""


@dataclass(frozen=True, eq=False)
class Sums:
    """The steps of one sum, in their order."""

    pairs: BlockPairs
    pruning: Pruning

    @cached_property
    def sizes(self) -> Expr:
        """The largest change of the sum of a row by the terms of a pair of blocks, component by component."""
        (bounds,) = self.pairs.bounds(*self.pairs.values)
        size = OPS["larger"](-bounds.low, bounds.high)
        if bounds.nan is not None:
            size = OPS["where"](OPS["less"](constant(0), bounds.nan), constant(INF), size)
        return size * self.pairs.size

    @cached_property
    def share(self) -> tuple[Expr, Expr]:
        """The part of the tolerance that the terms of a pair take, and its variable of blocks of rows: 1 / tolerance
        for each component."""
        inverse = variable("inverse of the tolerance", self.sizes.dim, Domain.I)
        shares = OPS["where"](OPS["less"](constant(0), self.sizes), self.sizes * inverse, constant(0))
        return (shares if shares.dim == 1 else OPS["largest"](shares)), inverse

    def run(self) -> tuple[Array, float]:
        """The sums (rows, D), with rows in the caller's order, and a bound of their error."""
        estimate = None
        if self.pruning.rtol:
            (estimate,) = self.pairs.visit(self.pairs.ranges(self.pairs.likely(-self._typical, _FIRST_VISITS)), "Sum")
        results, error = within_tolerance(self.pairs, self.pruning, estimate, self._attempt)
        return results[0], error

    @property
    def _typical(self) -> Expr:
        """An estimate of the sum of a pair of blocks: its upper bound plus its value at the centres."""
        (value,) = self.pairs.middle(*self.pairs.values)
        size = OPS["larger"](value, -value)
        # A value at the centres that is nan, or infinite, says nothing.
        size = OPS["where"](OPS["less"](size, constant(self.pairs.precision.largest)), size, constant(0))
        size = self.sizes + size * self.pairs.size
        return size if size.dim == 1 else reduce_sum(size, 1, size.dim, 1)

    def _attempt(self, allowed: Array, asked: Array) -> tuple[tuple[Array, ...], Array]:
        share, inverse = self.share
        factors = np.broadcast_to(1 / allowed, (len(allowed), inverse.dim)).astype(self.pairs.dtype)
        tiny = float(self.pairs.precision.tiny)  # not 0, so that infinity times it is infinity
        factors = np.where(asked[:, None], np.maximum(factors, tiny), tiny)
        words, taken = Shares(self.pairs, share).to_visit({inverse: factors}, asked)
        results = self.pairs.visit(self.pairs.as_ranges(words), "Sum")
        return results, np.broadcast_to(allowed * taken[:, None], factors.shape)
