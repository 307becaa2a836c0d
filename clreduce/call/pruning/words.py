"""Sets of pairs of blocks as kernels write them: one word of 16 bits has a bit for each of 16 blocks of columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clreduce.runtime.ranges import Ranges
from clreduce.typing import Array

WORD = 16
"""Blocks of columns of a word; all sums of powers of two below 2^16 are exact in float32."""


class PairsOfBlocks(NamedTuple):
    """K pairs of blocks by their numbers, (K,) each, sorted by rows and then by columns."""

    row: Array
    column: Array

    def as_ranges(self, factor: int, rows: int, columns: int) -> Ranges:
        """The pairs of finer blocks in these, ``factor`` by ``factor`` each, out of ``rows`` by ``columns``."""
        starts = np.arange(0, rows, factor)
        blocks = np.stack((starts, np.minimum(starts + factor, rows)), axis=1)
        slices = np.searchsorted(self.row, np.arange(len(blocks)), side="right")
        first = self.column * factor
        return Ranges.of(blocks, slices, np.stack((first, np.minimum(first + factor, columns)), axis=1))


@dataclass(frozen=True)
class Words:
    """Pairs of blocks: bit k of a word is the pair of block ``row`` and block ``16 * group + k`` of columns.

    >>> words = Words(np.array([0b0110, 0b1001], np.uint16), np.array([0, 2]), np.array([0, 1]))
    >>> words.pairs
    PairsOfBlocks(row=array([0, 0, 2, 2]), column=array([ 1,  2, 16, 19]))
    >>> words.runs
    (array([0, 2, 2]), array([ 1, 16, 19]), array([ 2, 16, 19]))
    """

    bits: Array
    """The words: (W,), uint16."""
    row: Array
    """The block of rows of each word: (W,), ascending."""
    group: Array
    """The group of 16 blocks of columns of each word: (W,), ascending within a row."""

    @property
    def pairs(self) -> PairsOfBlocks:
        """Each pair by itself."""
        return PairsOfBlocks(*self._located(self.bits))

    @property
    def runs(self) -> tuple[Array, Array, Array]:
        """Blocks of columns that follow each other: the block of rows, the first and the last block of columns."""
        row, first = self._located(self.bits & ~(self.bits << np.uint16(1)))
        _, last = self._located(self.bits & ~(self.bits >> np.uint16(1)))
        return row, first, last

    def _located(self, bits: Array) -> tuple[Array, Array]:
        """The blocks of rows and of columns of each bit that is set."""
        little = bits.astype("<u2", copy=False).view(np.uint8)
        at = np.flatnonzero(np.unpackbits(little, bitorder="little").view(bool))
        word, bit = at // WORD, at % WORD
        return self.row[word], self.group[word] * WORD + bit


_NONE = np.zeros(0, np.int64)


def pairs_of_words(words: Iterable[Words]) -> PairsOfBlocks:
    """The pairs of several sets, whose rows follow each other."""
    parts = [PairsOfBlocks(_NONE, _NONE), *(each.pairs for each in words)]
    return PairsOfBlocks(*(np.concatenate(side) for side in zip(*parts, strict=True)))


def runs_of_words(words: Iterable[Words]) -> tuple[Array, Array, Array]:
    """The runs of several sets, whose rows follow each other."""
    parts = [(_NONE, _NONE, _NONE), *(each.runs for each in words)]
    row, first, last = (np.concatenate(side) for side in zip(*parts, strict=True))
    return row, first, last
