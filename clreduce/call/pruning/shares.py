"""Pairs of blocks that may be skipped, since their shares of the tolerance add up to less than all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from clreduce.call.pruning.blocks import LEVEL, BlockPairs
from clreduce.call.pruning.words import PairsOfBlocks, Words, pairs_of_words
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import OPS, constant, variable
from clreduce.typing import Array

_LIMITS = 16
"""The number of limits that are tried; it is fixed, so that one kernel serves all sizes."""
_SLACK = 0.98
"""Room for rounding errors in the sum of the shares."""
_OF_LARGER = 1 / 16
"""The part of the tolerance that pairs of larger blocks may take; half of it on each further level."""
_ROUNDED = 1 - 2.0**-14
"""Two kernels may round a share differently; a share that is below a limit by this factor is below it in both."""


@dataclass(frozen=True, eq=False)
class Shares:
    """A search for the pairs of blocks that may be skipped, from level to level.

    Each block of rows skips all pairs whose share is at most a limit. Of `_LIMITS` limits, the search takes the largest
    one for which these shares add up to no more than the tolerance.
    """

    pairs: BlockPairs
    share: Expr
    """A formula over pairs of blocks: the largest part of the tolerance of a row that the terms take, at least 0. It
    does not decrease if the variables of blocks of rows increase."""

    def to_visit(self, further: Mapping[Expr, Array], asked: Array) -> tuple[Iterator[Words], Array]:
        """The pairs of blocks to visit, and the part of the tolerance that the others take: (B,).

        ``further`` holds the values (B, D) of the variables of blocks of rows. No pair is visited of blocks of rows for
        which ``asked``, (B,), is False.
        """
        taken, parents = np.zeros(len(asked)), None
        for number in range(len(self.pairs.levels) - 1, 0, -1):
            words, part = self._of_level(number, _OF_LARGER / 2 ** (number - 1), further, asked, parents)
            parents = pairs_of_words(words)
            taken += np.repeat(part, LEVEL**number)[: len(asked)]
        # Larger blocks may take a part of the tolerance on each level; the smallest ones may take the rest.
        words, part = self._of_level(0, 1 if parents is None else 1 - 2 * _OF_LARGER, further, asked, parents)
        return words, taken + part

    def _of_level(
        self, number: int, budget: float, further: Mapping[Expr, Array], asked: Array, parents: PairsOfBlocks | None
    ) -> tuple[Iterator[Words], Array]:
        level, values = self.pairs.levels[number], self.pairs.level_of(further, number)
        asked = np.logical_or.reduceat(asked, np.arange(0, len(asked), LEVEL**number))
        # If all pairs have shares up to the last limit, they fit in the tolerance together.
        count = float(level.columns.partition.count)
        limits = (_SLACK * budget * count ** -np.linspace(0, 1, _LIMITS)).astype(level.dtype)
        tried, limit = variable("limits", _LIMITS, Domain.P), variable("limit", 1, Domain.I)
        below = OPS["where"](OPS["less_equal"](self.share, tried), self.share, constant(0))
        taken = level.over_blocks(below, "Sum", None, {**values, tried: limits}, parents).astype(np.float64)
        fits = taken <= _SLACK * budget
        best = np.where(fits.any(axis=1), fits.argmax(axis=1), _LIMITS - 1)
        # No share is negative, so nothing is visited in blocks that are not asked for.
        row_limits = np.where(asked, limits[best] * _ROUNDED, np.inf)[:, None]
        mask = OPS["logical_not"](OPS["less_equal"](self.share, limit))
        words = level.words_where(mask, {**values, limit: row_limits}, parents)
        return words, taken[np.arange(len(best)), best]
