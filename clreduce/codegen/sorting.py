"""Networks that sort the terms of a queue and merge them into a sorted list, with the same comparisons in all lanes.

To insert Q terms into a list of K one by one takes Q K comparisons. A bitonic network takes about
Q log(Q)^2 / 4 + K log(K) / 2 (Batcher, Sorting networks and their applications, 1968). Comparisons of two stages are
done together, four places at a time, so that each place is read and written once for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.tree import Expression

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pass:
    """Comparisons within each block of places: for each i below ``width``, of the places ``first + sign * i``.

    ``pairs``: which of these places are put in order, one pair after the other.
    """

    block: int
    """Places in a block."""
    width: int
    places: tuple[tuple[int, int], ...]
    """(first, sign)"""
    pairs: Pairs


_SORT_FOUR: Pairs = ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2))
_SORT_TWO: Pairs = ((0, 1),)


def sorting(length: int) -> tuple[Pass, ...]:
    """Sorts a power of two places."""
    if length < 4:
        return (Pass(2, 1, ((0, 1), (1, 1)), _SORT_TWO),) if length == 2 else ()
    passes = [Pass(4, 1, tuple((place, 1) for place in range(4)), _SORT_FOUR)]
    run = 8
    while run <= length:
        # Of two sorted halves, the first against the second from its end; then both halves are bitonic.
        quarter = run // 4
        places = ((0, 1), (quarter, 1), (3 * quarter - 1, -1), (run - 1, -1))
        passes.append(Pass(run, quarter, places, ((0, 3), (1, 2), (0, 1), (2, 3))))
        passes += merging(quarter)
        run *= 2
    return tuple(passes)


def merging(length: int) -> tuple[Pass, ...]:
    """Sorts each block of ``length`` places, a power of two, that first rise and then fall."""
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
    """What the template needs to let a queue enter a list."""

    count: int
    """Terms in the list."""
    padding: int
    """Places before the terms, which hold what comes before all: together a power of two."""
    length: int
    """Places of the queue."""
    rising: bool
    """Whether small terms come first."""
    indexed: bool
    """Whether indices go with the terms."""
    empty: Expression
    """What a place of the queue holds that has no term."""

    @property
    def before(self) -> str:
        """The comparison of a term with one that comes after it."""
        return "<" if self.rising else ">"

    @property
    def places(self) -> int:
        """Places of the list with its padding."""
        return self.padding + self.count

    @property
    def queue_passes(self) -> tuple[Pass, ...]:
        return sorting(self.length)

    @property
    def list_passes(self) -> tuple[Pass, ...]:
        return merging(self.places)


@dataclass(frozen=True)
class LimitFacts:
    """What the function of the template that finds a limit needs to know."""

    count: int
    """Terms that the list keeps."""
    many: int
    """Chunks that begin with a term of the list, of those that are searched, from which on the next tile is filtered,
    too."""
    plenty: int
    """Chunks that are enough for the search."""
    rising: bool
    """Whether small terms come first."""


def padded(count: int) -> int:
    """The least power of two that is not below ``count``."""
    return 1 << (count - 1).bit_length()
