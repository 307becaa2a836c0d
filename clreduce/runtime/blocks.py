"""Cuts of j into equal parts. Kernels compute a state for each part, and a merge kernel joins the states.

There are three reasons to cut: few rows would leave cores idle; j-data that don't fit into a CPU's caches would be read
from memory again for each block of rows; and rounding errors of single-precision sums grow with the number of partial
sums that a kernel adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clreduce.codegen.cost import turns_of_loops
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.program import MapReduce

_SHORTEST_PART = {"cpu": 2048, "gpu": 256}
"""The fewest columns of a part, per term that a row keeps on a GPU. There, a work-item takes some 20 microseconds for
512 columns, and the merge kernel takes five."""
_GROUPS_PER_UNIT = {"cpu": 4, "gpu": 8}
_CACHED = 2 << 20
"""Bytes of j-data that stay in the caches of a CPU while blocks of rows pass over them."""
_WIDE = 64
"""For columns of at least this many bytes, reading from memory can take longer than the arithmetic."""
_MOST_TILES = 512
"""The most partial sums that a part of j adds up in single precision."""
_MOST_STATES = 64 << 20
"""The most bytes of states that are stored to keep rounding errors small."""


@dataclass(frozen=True)
class Parts:
    """``count`` parts of j with ``length`` columns each; the last part may be shorter."""

    count: int
    length: int


@dataclass(frozen=True)
class Footprint:
    """The data that a program reads and stores per row and column."""

    column: int = 0
    """Bytes that a pair kernel reads per column."""
    state: int = 0
    """Bytes that each part of j stores per row."""
    terms: int = 1
    """The number of terms that a row keeps: the K of a reduction such as ``KMin``."""
    rounds: bool = False
    """Whether rows accumulate in single precision, tile by tile."""
    turns: int = 1
    """The most iterations of all loops for one block of columns."""

    @classmethod
    def of(cls, program: MapReduce, inputs: Sequence[Expr], size: int, schedule: Schedule) -> Footprint:
        """The footprint of pair kernels that read ``inputs``; a number has ``size`` bytes."""
        column = size * sum(leaf.dim for leaf in inputs if leaf.domain == Domain.J)
        components = sum(slot.dim for slot in program.state_slots)
        count = program.reduction.count or 1
        turns = (
            2 + turns_of_loops(program.values, schedule.unroll) + (components if components > schedule.unroll else 0)
        )
        if program.reduction.keeps_terms:  # the prefilter, the visit, and insertions into the list
            turns = 2 * turns + 2 * count * schedule.cols
        return cls(column, 8 * components, count, program.reduction.blocked and size < 8, turns)


_LIGHT = Footprint()


def cut_columns(
    groups: int,
    columns: int,
    schedule: Schedule,
    facts: DeviceFacts,
    rows: int = 0,
    batch: int = 1,
    footprint: Footprint = _LIGHT,
    longest: int = 0,
) -> Parts:
    """Cut columns into enough parts to keep the device busy when ``groups`` work-groups share the rows.

    There are more parts for other reasons, too. On a CPU, the j-data of a part fit into its caches, because all
    ``rows`` visit a part before the next one. Parts of very many columns would accumulate rounding errors. Some drivers
    end long loops. And no part is longer than ``longest`` columns (0: no limit), so that a launch stays short.
    ``groups`` and ``rows`` count all indices of a ``batch`` together.

    >>> cut_columns(1, 10**6, Schedule(), DeviceFacts(compute_units=2))
    Parts(count=8, length=125184)
    >>> cut_columns(1000, 10**6, Schedule(), DeviceFacts(compute_units=2)).count
    1
    >>> cut_columns(20, 10**4, Schedule(tile=128), DeviceFacts(kind="gpu", compute_units=132)).count
    27
    >>> cut_columns(1000, 10**6, Schedule(), DeviceFacts(compute_units=2), 16000, 1, Footprint(400, 8))
    Parts(count=187, length=5376)
    """
    wanted = schedule.split or -(-facts.compute_units * _GROUPS_PER_UNIT[facts.kind] // max(groups, 1))
    shortest = 1 if schedule.split else _SHORTEST_PART[facts.kind] * (footprint.terms if facts.kind == "gpu" else 1)
    count = max(1, min(wanted, columns // shortest))
    if not schedule.split:
        count = max(count, _cached_parts(groups // batch, columns, facts, rows, footprint))
        affordable = _MOST_STATES // max(1, rows * footprint.state)
        if footprint.rounds and schedule.flush and schedule.tile:
            count = max(count, min(columns // (_MOST_TILES * schedule.tile), affordable))
        if longest:
            count = max(count, min(-(-columns // longest), affordable))
    step = max(schedule.tile, 1)
    length = max(1, -(-columns // (count * step)) * step)
    if facts.most_turns:
        length = min(length, max(1, facts.most_turns // footprint.turns) * schedule.cols)
    return Parts(max(1, -(-columns // length)), length)


def _cached_parts(groups: int, columns: int, facts: DeviceFacts, rows: int, footprint: Footprint) -> int:
    """The number of parts whose j-data stay in the caches of a CPU; 1 if caches make no difference."""
    reuse = groups // (facts.compute_units * _GROUPS_PER_UNIT["cpu"])
    # Each part fills the K places of a list anew, with insertions of up to K steps. It needs enough columns for that.
    terms = footprint.terms
    if facts.kind != "cpu" or footprint.column < _WIDE * (1 + terms // 2) or reuse < 2:
        return 1
    # The states of all parts must not take more memory than the j-data themselves.
    length = max(_CACHED, rows * footprint.state) // footprint.column
    return columns // max(length, 128 * terms * terms)
