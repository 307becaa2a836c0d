"""Networks that sort the terms of a queue and merge them into a sorted list, with the same comparisons in all lanes.

Inserting Q terms into a list of K one by one takes Q K comparisons. A bitonic network takes about
Q log(Q)^2 / 4 + K log(K) / 2 (Batcher, Sorting networks and their applications, 1968). A pass does the comparisons of
two stages together, four places at a time, so that it reads and writes each place once for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.tree import Expression

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pass:
    """Comparisons in each block of places. For each i below ``width``, the places ``first + sign * i`` are compared.

    ``pairs`` are the pairs of these places that are sorted, one after the other.
    """

    block: int
    """The number of places of a block."""
    width: int
    places: tuple[tuple[int, int], ...]
    """Pairs (first, sign)."""
    pairs: Pairs


_SORT_FOUR: Pairs = ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2))
_SORT_TWO: Pairs = ((0, 1),)


def sorting(length: int) -> tuple[Pass, ...]:
    """The passes that sort ``length`` places, a power of two."""
    if length < 4:
        return (Pass(2, 1, ((0, 1), (1, 1)), _SORT_TWO),) if length == 2 else ()
    passes = [Pass(4, 1, tuple((place, 1) for place in range(4)), _SORT_FOUR)]
    run = 8
    while run <= length:
        # Compare the first sorted half with the reversed second one; then both halves are bitonic.
        quarter = run // 4
        places = ((0, 1), (quarter, 1), (3 * quarter - 1, -1), (run - 1, -1))
        passes.append(Pass(run, quarter, places, ((0, 3), (1, 2), (0, 1), (2, 3))))
        passes += merging(quarter)
        run *= 2
    return tuple(passes)


def merging(length: int) -> tuple[Pass, ...]:
    """The passes that sort each block of ``length`` places, a power of two, that first rise and then fall."""
    passes = []
    while length >= 4:
        quarter = length // 4
        places = tuple((n * quarter, 1) for n in range(4))
        passes.append(Pass(length, quarter, places, ((0, 2), (1, 3), (0, 1), (2, 3))))
        length = quarter
    if length == 2:
        passes.append(Pass(2, 1, ((0, 1), (1, 1)), _SORT_TWO))
    return tuple(passes)


@dataclass(frozen=True)
class Sorting:
    """The facts with which a template merges a sorted queue into a list."""

    count: int
    """The number of terms in the list."""
    padding: int
    """The number of places before the terms, whose values come before all terms. It makes the total a power of two."""
    length: int
    """The number of places of the queue."""
    rising: bool
    """Whether small terms come first."""
    indexed: bool
    """Whether terms have indices."""
    empty: Expression
    """The value of an empty place of the queue."""

    @property
    def before(self) -> str:
        """The comparison operator that holds between a term and a later one."""
        return "<" if self.rising else ">"

    @property
    def places(self) -> int:
        """The number of places of the list with its padding."""
        return self.padding + self.count

    @property
    def queue_passes(self) -> tuple[Pass, ...]:
        return sorting(self.length)

    @property
    def list_passes(self) -> tuple[Pass, ...]:
        return merging(self.places)


@dataclass(frozen=True)
class LimitFacts:
    """The facts with which a template finds the limit of a prefilter."""

    count: int
    """The number of terms in the list."""
    many: int
    """If at least this many of the searched chunks begin with a term that enters, the next tile is filtered, too."""
    plenty: int
    """The number of chunks that are enough for the search."""
    rising: bool
    """Whether small terms come first."""


def padded(count: int) -> int:
    """The least power of two that is at least ``count``."""
    return 1 << (count - 1).bit_length()
