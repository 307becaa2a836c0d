"""LogSumExp and softmax: terms are skipped if their exponentials are small beside those of the largest terms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clreduce.call.pruning.blocks import LEVEL, BlockPairs
from clreduce.call.pruning.request import Pruning
from clreduce.call.pruning.shares import Shares
from clreduce.call.pruning.tolerance import within_tolerance
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, OPS, constant, variable
from clreduce.ops.shape import reduce_sum
from clreduce.typing import Array

_FIRST_VISITS = 16
"""Blocks that are visited for an estimate of the results."""
_LEAST = -80
"""Smaller exponents are raised to this one, whose exponential is a normal number in float32."""


@dataclass(frozen=True, eq=False)
class Exponentials:
    """The steps of one LogSumExp, or of an average under softmax weights, in their order."""

    pairs: BlockPairs
    pruning: Pruning

    @cached_property
    def highest(self) -> Expr:
        """An upper bound of the terms of a pair of blocks, component by component; inf if a term may be nan."""
        (bounds,) = self.pairs.bounds(self.pairs.values[0])
        if bounds.nan is None:
            return bounds.high
        return OPS["where"](OPS["less"](constant(0), bounds.nan), constant(INF), bounds.high)

    @property
    def averages(self) -> bool:
        """Whether a second formula is averaged."""
        return len(self.pairs.values) > 1

    def run(self) -> tuple[tuple[Array, ...], float]:
        """The results, with rows in the caller's order, and a bound of the error of the first one."""
        first = self.pairs.ranges(self.pairs.likely(-self._typical, _FIRST_VISITS))
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
    def _typical(self) -> Expr:
        """An estimate of the terms of a pair of blocks: the sum of their upper bound and their value at the centres."""
        (centre,) = self.pairs.middle(self.pairs.values[0])
        most = constant(self.pairs.precision.largest / 1e3)
        high, middle = (OPS["smaller"](OPS["larger"](value, -most), most) for value in (self.highest, centre))
        height = high + middle
        return height if height.dim == 1 else reduce_sum(height * constant(1e-3), 1, height.dim, 1)

    @property
    def _name(self) -> str:
        return self.pairs.program.reduction.name

    @cached_property
    def size_of_averaged(self) -> Expr:
        """An upper bound of the absolute values that are averaged in a pair of blocks, component by component."""
        (bounds,) = self.pairs.bounds(self.pairs.values[1])
        size = OPS["larger"](-bounds.low, bounds.high)
        if bounds.nan is not None:
            size = OPS["where"](OPS["less"](constant(0), bounds.nan), constant(INF), size)
        return size

    def _largest_value(self) -> Array:
        """An upper bound of the absolute values that are averaged, for each block of rows: (B, 1)."""
        # The bound over larger blocks is not much larger.
        number = len(self.pairs.levels) - 1
        of_level = self.pairs.levels[number].over_blocks(self.size_of_averaged, "Max").max(axis=1, keepdims=True)
        largest: Array = np.repeat(of_level.astype(np.float64), LEVEL**number, axis=0)[
            : self.pairs.rows.partition.count
        ]
        return largest

    @cached_property
    def share(self) -> tuple[Expr, Expr, Expr]:
        """The part of the tolerance that the terms of a pair take, and its two variables of blocks of rows.

        The first one is an upper bound of minus the logarithm of the sum of all exponentials; the second one is
        1 / the part of that sum that may be skipped.
        """
        depth, inverse = (variable(name, self.highest.dim, Domain.I) for name in ("depth", "inverse of the part"))
        # An exponent that is raised keeps small parts from rounding to 0, for which no tolerance would be too small.
        exponent = OPS["larger"](self.highest + depth, constant(_LEAST))
        part = OPS["exp"](exponent) * self.pairs.size * inverse
        shares = OPS["where"](OPS["less"](constant(-INF), self.highest), part, constant(0))
        return (shares if shares.dim == 1 else OPS["largest"](shares)), depth, inverse

    def needs(self, lower: Array, scale: Array | None, allowed: Array) -> dict[Expr, Array]:
        """The values of the variables of `share` for each block of rows, (B, D).

        ``lower``, (B, D), bounds the logarithm of the sum of all exponentials from below; ``scale``, (B, 1), bounds the
        absolute values that are averaged; ``allowed``, (B, D), is the error that the results may have.
        """
        # Without a part t of the sum of all exponentials, its logarithm is less by -log(1 - t), and an average of
        # numbers up to B changes by up to 2 B t / (1 - t). If t is halved, both fall to less than half.
        if scale is None:
            part = -np.expm1(-allowed)
        else:
            odds = np.minimum(allowed.min(axis=1, keepdims=True) / (2 * scale), 1e300)
            part = odds / (1 + odds)
        inverses = np.where(part > 0, 1 / part, np.inf)
        _, depth, inverse = self.share
        known = np.isfinite(lower)
        return {
            depth: np.where(known, 8 * float(self.pairs.precision.eps) * np.abs(lower) - lower, np.inf),
            inverse: np.broadcast_to(inverses, (len(lower), inverse.dim)),
        }

    def _attempt(
        self, lower: Array, scale: Array | None, allowed: Array, asked: Array
    ) -> tuple[tuple[Array, ...], Array]:
        share, _, inverse = self.share
        further = self.needs(lower, scale, allowed)
        further[inverse] = np.where(asked[:, None], further[inverse], 1)
        words, taken = Shares(self.pairs, share).to_visit(further, asked)
        results = self.pairs.visit(self.pairs.as_ranges(words), self._name)
        return results, np.broadcast_to(allowed * taken[:, None], (len(allowed), results[0].shape[1]))
