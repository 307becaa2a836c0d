"""`Schedule`: the sizes of the loops of a kernel, as a value; and the policy that chooses a default schedule."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from clreduce.codegen.arrays import components_in_arrays
from clreduce.codegen.cost import written_out
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.recurrences import is_scan
from clreduce.codegen.sorting import padded
from clreduce.codegen.thresholds import threshold_of
from clreduce.domain import Domain
from clreduce.errors import ScheduleError
from clreduce.ir.expr import INDEX, topological, variables
from clreduce.ir.op import variable
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column

LANES = (1, 2, 4, 8, 16)
DIRECT, LOCAL = "mapreduce", "mapreduce_local"
_STACK_BYTES = 1 << 19
"""The private memory for the states of the rows of a work-item. Arrays of pairs may take half as much in addition."""
_LONG_STACK_BYTES = 3 << 19
"""The private memory for sums, if `_STACK_BYTES` would leave lanes of less than `_SHORT_VECTOR` bytes."""
_SHORT_VECTOR = 32
"""With shorter vectors of lanes than this many bytes, most of the processor's arithmetic units would be idle."""
_MOST_STATE_BYTES = 1 << 21
_DEFAULT_TILE = 256
PREFILTERED = 512
"""The number of chunks of columns in a filtered tile. It bounds the memory for their first terms."""
VISITED = 16
"""The number of blocks of columns that are visited together after the prefilter."""
_AVX_512 = 16
"""The native lanes of float with AVX-512."""
_LONGEST = 550
"""The pair loop is not unrolled beyond this many operations in its body."""
_LONGEST_OF_ROWS = 2000
"""With more operations on values of i alone than this before the loop, a work-item has one short vector of rows."""
_MOST_PARTS = 250
"""With more parts of concatenated vectors than this, the register tile is one pair: each part takes statements."""
_LONGEST_SHARED = 700
"""The limit of operations in the loop body if columns share work, since fewer columns would share less of it."""
_SMALL_GROUP = 32
"""The number of work-items that a GPU runs in lockstep; a smaller group would leave some of them idle."""
_QUEUED = 128
"""A list with indices that meets at most this many columns has no queue; a list of values alone, twice as many."""
_SHORT = 16
"""With at most this many operations per pair, testing whether a term enters the state takes much of the time."""
_WIDE_SUM = 256
"""A sum with at least this many components is kept in memory, so more columns pay for each time that it is read."""
_TILE_OF_ARRAYS = 4
"""The number of pairs of the register tile if vectors have arrays: pairs share loads, and their arrays fit a cache."""
_SHARED = 0.75
"""Columns share work if an update with a block costs at most this fraction of updates with its single columns."""
_UNROLL = 4
_UNROLL_GPU = 16
_COLS_GPU, _MOST_ROWS_GPU = 8, 4
_ROOM_GPU = 24
"""The registers for the rows of a work-item, besides about 40 for everything else. NVIDIA's processors run half of
their work-items if each takes up to 64 registers."""
_ROOM_OF_AMD = 32
"""The registers for the rows of a work-item on AMD's processors, which have more registers."""
_PAIRS_OF_AMD = 16
_LONGEST_GPU = 1200
"""The most operations in the body of the pair loop on a GPU."""
_TILE_BYTES = 1 << 14
"""The local memory of a work-group for a tile of j; several groups fit into a processor."""
_SHORTEST_TILE = 16
_LIST = 6
"""For short formulas, a queue and a prefilter pay with sorted lists of at least this many terms."""
_LONG_LIST = 24
"""For all formulas, a queue pays with sorted lists of at least this many terms."""
SORTED_LIST = 24
"""With sorted lists of at least this many terms, the queue is sorted and merged into the list."""
_WORTH_PREFILTERING = 48
"""With at most this many operations per pair, fewer insertions into lists outweigh computing some terms twice."""


@dataclass(frozen=True)
class Schedule:
    """The sizes of the loops around a formula. All legal schedules give the same results, up to rounding.

    >>> Schedule(lanes=3).check(DeviceFacts())
    Traceback (most recent call last):
    ...
    clreduce.errors.ScheduleError: lanes is one of 1, 2, 4, 8, 16; got 3
    """

    lanes: int = 16
    """The number of rows i in one vector of lanes: 1, 2, 4, 8 or 16."""
    rows: int = 1
    """The number of vectors of lanes of a work-item."""
    cols: int = 4
    """The number of columns j that are visited together."""
    group: int = 1
    """The number of work-items in a work-group; more than 1 only with local memory."""
    tile: int = _DEFAULT_TILE
    """The number of columns between two flushes of the partial sums, and of columns staged in local memory; 0 means
    all."""
    flush: bool = True
    """Whether partial sums are flushed after each tile, which keeps rounding errors small."""
    unroll: int = _UNROLL
    """The length of the longest vector whose components are written out; longer ones become loops."""
    queue: int = 0
    """The number of terms per lane that wait to enter a sorted list together; 0 lets each term enter immediately. A
    queue whose length is a power of two is sorted and merged into a long list; otherwise terms are inserted one by
    one."""
    prefilter: int = 0
    """For sorted lists, the number of blocks in a chunk of the prefilter; 0 for no prefilter. The prefilter finds the
    first term of each block of columns, and so the blocks that need not be visited."""
    shape: str = DIRECT
    """The loop shape: ``mapreduce`` (no barrier) or ``mapreduce_local`` (tiles of j in local memory)."""
    split: int = 0
    """The number of parts of j; 0 for as many as keep the device busy."""

    @property
    def group_rows(self) -> int:
        """The number of rows of a work-group."""
        return self.group * self.rows * self.lanes

    def check(self, facts: DeviceFacts) -> None:
        """Raise `ScheduleError` unless the schedule is legal on a device with these facts."""
        if self.lanes not in LANES:
            raise ScheduleError(f"lanes is one of {', '.join(map(str, LANES))}; got {self.lanes}")
        if self.lanes > facts.most_lanes:
            raise ScheduleError(f"this driver handles at most {facts.most_lanes} lanes correctly; got {self.lanes}")
        if self.shape not in (DIRECT, LOCAL):
            raise ScheduleError(f"shape is {DIRECT!r} or {LOCAL!r}; got {self.shape!r}")
        for name in ("rows", "cols", "group", "unroll"):
            if getattr(self, name) < 1:
                raise ScheduleError(f"{name} is 1 or more; got {getattr(self, name)}")
        if self.tile < 0 or self.split < 0 or self.prefilter < 0:
            raise ScheduleError(
                f"tile, split and prefilter are 0 or more; got {self.tile}, {self.split} and {self.prefilter}"
            )
        if self.prefilter and self.shape != DIRECT:
            raise ScheduleError(f"only the shape {DIRECT!r} has a prefilter; got prefilter={self.prefilter}")
        if self.queue and self.queue < self.cols:
            raise ScheduleError(f"queue is 0, or at least cols={self.cols}; got {self.queue}")
        if self.shape == DIRECT and self.group != 1:
            raise ScheduleError(f"the shape {DIRECT!r} has work-groups of one item; got group={self.group}")
        if self.shape == LOCAL and self.tile < 1:
            raise ScheduleError(f"the shape {LOCAL!r} needs tile >= 1; got {self.tile}")
        if self.shape == LOCAL and not facts.local_tiles:
            raise ScheduleError(f"this driver does not handle the shape {LOCAL!r} correctly")
        if self.group > facts.max_group:
            raise ScheduleError(f"group={self.group} is more than this device's {facts.max_group}")


def choose_schedule(program: MapReduce, dtype: str, facts: DeviceFacts, few: int = 0) -> Schedule:
    """The default schedule of a program, from the device, the lengths of vectors and the precision.

    ``few`` is the most rows of the calls, a power of two; 0 for any number of rows.
    """
    if facts.kind == "gpu":
        return _on_gpu(program, dtype, facts, few)
    size = 4 if dtype == "float" else 8
    native = facts.native_float_lanes if dtype == "float" else facts.native_double_lanes
    # Most formulas get two hardware registers of rows and four columns: with more, registers spill; with fewer,
    # operations wait for each other. AVX-512, with its 32 registers, gets four registers of rows.
    registers = 4 if facts.native_float_lanes >= _AVX_512 else 2
    lanes = max(1, min(2 * native, 16))
    schedule = Schedule(lanes=lanes, rows=max(1, registers * native // lanes), cols=4)
    if few and few < lanes * schedule.rows:
        # Lanes past the last row would be wasted; more columns hide latencies instead.
        schedule = replace(schedule, lanes=min(few, lanes), rows=max(1, few // lanes), cols=8)
    elif program.reduction.blocked and max(slot.dim for slot in program.state_slots) >= _WIDE_SUM:
        schedule = replace(schedule, cols=8)
    elif program.reduction.guard is not None and _operations(program) <= (
        _WORTH_PREFILTERING if program.reduction.keeps_terms else _SHORT
    ):
        schedule = replace(schedule, lanes=max(1, native), rows=1, cols=8)
    shares = program.reduction.blocked and _shares_work(program)
    longest = _LONGEST_SHARED if shares else _LONGEST
    if shares:
        schedule = replace(schedule, rows=min(schedule.rows, max(1, 2 * native // schedule.lanes)), cols=8)
    # Long formulas hide latencies themselves: more pairs in the loop body would only take the driver longer to compile.
    while schedule.cols > 1 and block_operations(program, schedule) * schedule.lanes // max(native, 1) > longest:
        if shares and schedule.rows > 1:
            schedule = replace(schedule, rows=schedule.rows // 2)
        else:
            schedule = replace(schedule, cols=schedule.cols // 2)
    of_rows = schedule.rows * schedule.lanes * written_out(program.values, schedule.unroll, Domain.I) // max(native, 1)
    parts = sum(len(node.args) for node in topological(program.values) if node.op.name == "concat")
    if parts > _MOST_PARTS:
        schedule = replace(schedule, rows=1, cols=1)
    if block_operations(program, schedule) > longest or of_rows > _LONGEST_OF_ROWS:
        schedule = replace(schedule, rows=1, lanes=max(1, min(schedule.lanes, native)))
    arrays = components_in_arrays(program.values, schedule.unroll)
    if arrays:
        schedule = _with_arrays(program, schedule)
    count = program.reduction.count or 0
    if program.reduction.keeps_terms and count >= _LIST:
        if _operations(program) <= _WORTH_PREFILTERING:
            # If about half of the blocks are visited, shorter blocks pay although there are more of them.
            cols, prefilter = (4, 8) if count >= _LONG_LIST else (8, 4)
            schedule = replace(schedule, cols=min(schedule.cols, cols), queue=32, prefilter=prefilter)
        elif count >= _LONG_LIST:
            schedule = replace(schedule, queue=16)
    if schedule.lanes > facts.most_lanes:
        schedule = replace(schedule, lanes=facts.most_lanes, rows=1)
    return _fitting(program, schedule, size)


def _on_gpu(program: MapReduce, dtype: str, facts: DeviceFacts, few: int) -> Schedule:
    """The default schedule on a GPU: the largest register tile with which half of the work-items can run at once.

    `benchmarks/isa.py` counts the instructions per pair and the registers for each size.
    """
    arrays = components_in_arrays(program.values, _UNROLL_GPU)
    schedule = Schedule(lanes=1, rows=1, cols=1 if arrays else _COLS_GPU, unroll=_UNROLL_GPU)
    words = 1 if dtype == "float" else 2
    room = _ROOM_OF_AMD if facts.driver == "amd" else _ROOM_GPU
    per_row = words * _words_of_row(program, schedule)
    # If a block of columns shares one update, all of its terms stay in registers until the update.
    waits = program.reduction.guard is not None or _shares_work(program)
    # So do sums over the components of long vectors. In single precision, the sums of four rows fit.
    waits |= dtype == "double" and any(node.dim > _UNROLL_GPU for node in topological(program.values))
    waiting = words * _COLS_GPU if waits else 0
    while not arrays and schedule.rows < _MOST_ROWS_GPU and 2 * schedule.rows * (per_row + waiting) <= room + waiting:
        schedule = replace(schedule, rows=2 * schedule.rows)
    if per_row > 2 * room:
        # Compilers use registers for arrays of a few dozen numbers, too, and spill them if there are many pairs.
        schedule = replace(schedule, cols=max(1, schedule.cols // 2))
    if facts.driver == "amd" and all(node.dim <= _UNROLL_GPU for node in topological(program.values)):
        # AMD's compiler packs two rows into one operation, and loads whole blocks of short vectors ahead.
        schedule = replace(schedule, cols=min(schedule.cols, max(1, _PAIRS_OF_AMD // schedule.rows)))
    while schedule.rows * schedule.cols > 1 and block_operations(program, schedule) > _LONGEST_GPU:
        if schedule.cols > schedule.rows:
            schedule = replace(schedule, cols=schedule.cols // 2)
        else:
            schedule = replace(schedule, rows=schedule.rows // 2)
    group = min(128, facts.max_group)
    if few:
        # Work-items past the last row would be wasted.
        schedule, group = replace(schedule, rows=1), min(group, max(_SMALL_GROUP, few))
    if not facts.local_tiles:
        return schedule
    staged = 4 * words * sum(leaf.dim for leaf in variables(program.values) if leaf.domain == Domain.J)
    tile = 128
    while tile > _SHORTEST_TILE and tile * staged > _TILE_BYTES:
        tile //= 2
    if tile > schedule.cols and tile * staged > staged_bytes(facts) >= schedule.cols * staged and facts.driver != "amd":
        # With several hundred components, a tile is one block of columns. (AMD's processors have too little memory.)
        tile = schedule.cols
    return replace(schedule, group=group, tile=tile, shape=LOCAL)


def staged_bytes(facts: DeviceFacts) -> int:
    """The bytes of local memory that tiles of columns may take; the rest is for tables."""
    return facts.local_memory * 2 // 3


def _words_of_row(program: MapReduce, schedule: Schedule) -> int:
    """The numbers that a work-item has in registers for each of its rows: vectors of i, and the state."""
    of_i = sum(leaf.dim for leaf in variables(program.values) if leaf.domain == Domain.I and leaf.dim <= _UNROLL_GPU)
    copies = 2 if program.reduction.blocked and schedule.flush else 1
    return of_i + copies * sum(min(slot.dim, _UNROLL_GPU) for slot in program.state_slots)


def _fitting(program: MapReduce, schedule: Schedule, size: int) -> Schedule:
    """The schedule, with fewer rows, lanes or columns if its private memory would not fit on a stack."""
    while True:
        pairs = _pair_bytes(program, schedule, size)
        narrow = program.reduction.blocked and schedule.rows == 1 and schedule.lanes * size <= _SHORT_VECTOR
        room = _LONG_STACK_BYTES if narrow else _STACK_BYTES
        rows_fit = state_bytes(program, schedule, size) - pairs <= room
        if rows_fit and pairs > _STACK_BYTES // 2 and schedule.cols > 1:
            schedule = replace(schedule, cols=schedule.cols // 2)
        elif (rows_fit and pairs <= _STACK_BYTES // 2) or schedule.lanes * schedule.rows == 1:
            return schedule
        elif schedule.rows > 1:
            schedule = replace(schedule, rows=schedule.rows // 2)
        else:
            schedule = replace(schedule, lanes=schedule.lanes // 2)


def _with_arrays(program: MapReduce, schedule: Schedule) -> Schedule:
    """The schedule with another register tile, for formulas with arrays for each pair of the tile."""
    if max(slot.dim for slot in program.state_slots) >= _WIDE_SUM:
        return replace(schedule, rows=1, cols=2 * _TILE_OF_ARRAYS)
    if any(is_scan(node) for node in topological(program.values)):
        # The steps of a recurrence depend on each other, and their code is long.
        return replace(schedule, rows=1, cols=min(schedule.cols, 2))
    return replace(schedule, cols=max(1, _TILE_OF_ARRAYS // schedule.rows))


def _operations(program: MapReduce) -> int:
    """The operations per pair if all vectors are written out."""
    return written_out(program.values, sys.maxsize)


def narrowed(schedule: Schedule, blocks: int) -> Schedule:
    """The schedule, with smaller work-groups if they have at least ``2 * blocks`` rows; 0 stands for no blocks."""
    while blocks and schedule.group > 1 and schedule.group_rows >= 2 * blocks:
        if schedule.rows > 1:
            schedule = replace(schedule, rows=schedule.rows // 2)
        elif schedule.group > _SMALL_GROUP:
            schedule = replace(schedule, group=schedule.group // 2)
        else:
            break
    return schedule


def for_few_columns(program: MapReduce, schedule: Schedule, visits: int) -> Schedule:
    """The schedule for rows that visit at most ``visits`` columns; 0 for many columns.

    A list that meets few terms takes in most of them: without a queue, that takes less time. Lists that begin with a
    limit take in few.
    """
    most = _QUEUED if len(program.state_slots) > 1 else 2 * _QUEUED
    if not 0 < visits <= most or padding(program, schedule) is not None or threshold_of(program) is not None:
        return schedule
    return replace(schedule, queue=0)


def state_bytes(program: MapReduce, schedule: Schedule, size: int) -> int:
    """The private memory of a work-item for its rows and pairs, in bytes; a number has ``size`` bytes."""
    copies = 2 if program.reduction.blocked and schedule.flush and schedule.tile else 1
    per_row = copies * sum(slot.dim for slot in program.state_slots)
    if program.reduction.keeps_terms:
        per_row += 2 * schedule.queue
        if schedule.prefilter:
            per_row += PREFILTERED * (schedule.prefilter + 1) + (VISITED * schedule.cols if schedule.queue else 0)
        per_row += (padding(program, schedule) or 0) * len(program.state_slots)
    return per_row * schedule.rows * schedule.lanes * size + _pair_bytes(program, schedule, size)


def _pair_bytes(program: MapReduce, schedule: Schedule, size: int) -> int:
    """The part of `state_bytes` for vectors of pairs."""
    return components_in_arrays(program.values, schedule.unroll) * schedule.cols * schedule.rows * schedule.lanes * size


def has_queue(program: MapReduce, schedule: Schedule) -> bool:
    """Whether terms wait in a queue before they enter a list. They must be single numbers."""
    reduction, single = program.reduction, len(program.values) == 1 and program.values[0].dim == 1
    return schedule.queue > 0 and single and reduction.keeps_terms and reduction.guard is not None


def padding(program: MapReduce, schedule: Schedule) -> int | None:
    """The number of places before the terms of a long list if a sorted queue is merged into it; else None."""
    count, length = program.reduction.count or 1, schedule.queue
    long = count >= SORTED_LIST and count > schedule.unroll
    return padded(count) - count if long and length == padded(length) and has_queue(program, schedule) else None


def check_state(program: MapReduce, schedule: Schedule, size: int) -> None:
    """Raise `ScheduleError` if the rows of a work-item need more private memory than drivers have."""
    needed, count = state_bytes(program, schedule, size), program.reduction.count
    if needed > _MOST_STATE_BYTES:
        excess = f"{needed >> 20} MiB of private memory, and {_MOST_STATE_BYTES >> 20} MiB is the most"
        if count is not None:
            most = count * _MOST_STATE_BYTES // needed
            raise ScheduleError(
                f"{program.reduction.name} keeps a list of K = {count:,} terms for each row: {excess}; K may be up to "
                f"about {most:,}. For a larger part of each row, sort the dense array of some rows at a time"
            )
        longest, arrays = (
            max(slot.dim for slot in program.state_slots),
            components_in_arrays(program.values, schedule.unroll),
        )
        beside = f", and vectors of {arrays} components for each pair" if arrays else ""
        raise ScheduleError(
            f"a row of the result has {longest} components{beside}: {excess}; compute fewer components at a time"
        )


def block_operations(program: MapReduce, schedule: Schedule) -> int:
    """The operations in the code of one block of columns: the values of its pairs, and the update of the state."""
    values = schedule.cols * written_out(program.values, schedule.unroll)
    return schedule.rows * (values + _update_operations(program, schedule.cols, schedule.unroll))


def _update_operations(program: MapReduce, cols: int, unroll: int) -> int:
    slots = program.state_slots
    state = tuple(variable(("state", n), slot.dim, Domain.IJ, slot.kind) for n, slot in enumerate(slots))
    columns = [
        Column(
            tuple(variable(("value", n, c), v.dim, Domain.IJ, v.kind) for n, v in enumerate(program.values)),
            variable(("column", c), 1, Domain.J, INDEX),
        )
        for c in range(cols)
    ]
    return written_out(program.reduction.update(state, columns), unroll)


def _shares_work(program: MapReduce) -> bool:
    """Whether the columns of a block share a large part of the update, such as the rescaling of a LogSumExp."""
    of_one_column, of_eight_columns = (_update_operations(program, cols, _UNROLL) for cols in (1, 8))
    return of_eight_columns <= _SHARED * 8 * of_one_column
