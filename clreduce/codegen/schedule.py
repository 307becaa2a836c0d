"""`Schedule`: how a program is laid out on a device, as a value; and the policy that chooses one by default."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from clreduce.codegen.arrays import kept_components
from clreduce.codegen.cost import written_out
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.recurrences import is_scan
from clreduce.codegen.sorting import padded
from clreduce.domain import Domain
from clreduce.errors import ScheduleError
from clreduce.ir.expr import INDEX, topological, variables
from clreduce.ir.op import variable
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Column

LANES = (1, 2, 4, 8, 16)
DIRECT, LOCAL = "mapreduce", "mapreduce_local"
_STACK_BYTES = 1 << 19
"""Private memory for what the rows of a work-item keep; what pairs keep may take half as much besides."""
_LONG_STACK_BYTES = 3 << 19
"""Private memory for sums where `_STACK_BYTES` would leave less than `_SHORT_VECTOR` of lanes."""
_SHORT_VECTOR = 32
"""Bytes of lanes below which most of the processor's arithmetic would be idle."""
_MOST_STATE_BYTES = 1 << 21
_DEFAULT_TILE = 256
PREFILTERED = 512
"""Chunks of columns in a tile that is filtered beforehand, which bounds the memory for first terms."""
VISITED = 16
"""Blocks of columns that are visited together after that."""
_AVX_512 = 16
"""Native lanes of float with AVX-512."""
_LONGEST = 550
"""Operations in the body of the pair loop beyond which it is not unrolled further."""
_LONGEST_OF_ROWS = 2000
"""Operations on values of i alone, written before the loop, beyond which a work-item keeps one short vector of rows."""
_MOST_PARTS = 250
"""Parts of vectors put together from many, each of which takes statements of its own for each pair of a tile."""
_LONGEST_SHARED = 700
"""The limit where columns share work: fewer columns would do more of it."""
_SMALL_GROUP = 32
"""Work-items that a GPU runs in step: a smaller group would leave some of them idle."""
_SHORT = 16
"""Operations per pair up to which testing whether a term is among those that are kept is a large part of the time."""
_WIDE_SUM = 256
"""Components of a sum from which on it is kept in memory: then more columns are worth it for each time it is read."""
_TILE_OF_ARRAYS = 4
"""Pairs of the register tile where vectors are kept in arrays: they share what loops load, and arrays fit a cache."""
_SHARED = 0.75
"""What updating a state with a block of columns costs, as part of what single columns do, up to which it is shared."""
_UNROLL = 4
_UNROLL_GPU = 16
_COLS_GPU, _MOST_ROWS_GPU = 8, 4
_ROOM_GPU = 24
"""Registers for what the rows of a work-item keep, beside some 40 for all else: NVIDIA's processors hold half of their
work-items where each takes up to 64."""
_ROOM_OF_AMD = 32
"""Registers for the rows of a work-item on processors of AMD, which have more of them."""
_PAIRS_OF_AMD = 16
_LONGEST_GPU = 1200
"""Operations in the body of the pair loop on a GPU."""
_TILE_BYTES = 1 << 14
"""Local memory of a work-group for a tile of j, so that several fit a processor."""
_SHORTEST_TILE = 16
_LIST = 6
"""Terms in a sorted list from which on it is worth it to know beforehand which ones may enter, if terms are short."""
_LONG_LIST = 24
"""Terms in a sorted list from which on it is always worth it to let new ones wait and insert them together."""
SORTED_LIST = 24
"""Terms in a sorted list from which on those that wait are sorted, and merged into it."""
_WORTH_PREFILTERING = 48
"""Operations per pair up to which fewer insertions into lists are worth computing some terms twice."""


@dataclass(frozen=True)
class Schedule:
    """Sizes of the loops around a formula. Any legal schedule gives the same numbers, up to rounding.

    >>> Schedule(lanes=3).check(DeviceFacts())
    Traceback (most recent call last):
    ...
    clreduce.errors.ScheduleError: lanes is one of 1, 2, 4, 8, 16; got 3
    """

    lanes: int = 16
    """Rows i in one lane vector: 1, 2, 4, 8 or 16."""
    rows: int = 1
    """Lane vectors that a work-item keeps."""
    cols: int = 4
    """Columns j that are taken together."""
    group: int = 1
    """Work-items in a work-group; more than 1 only with local memory."""
    tile: int = _DEFAULT_TILE
    """Columns between two flushes of the partial sums, and columns staged in local memory; 0: all of them."""
    flush: bool = True
    """Whether partial sums are flushed after each tile, which keeps rounding errors small."""
    unroll: int = _UNROLL
    """Longest vector whose components are written out; longer ones become loops."""
    queue: int = 0
    """Terms per lane that wait to enter a sorted list, and then enter together; 0: each enters at once. They are sorted
    and merged into a long list if their number is a power of two, and inserted one by one otherwise."""
    prefilter: int = 0
    """Where a sorted list is kept, a prefilter finds the first term of each block of columns beforehand, and so which
    blocks need not be visited. So many blocks make a chunk in the search for a limit; 0: no prefilter."""
    shape: str = DIRECT
    """Loop shape: ``mapreduce`` (no barrier) or ``mapreduce_local`` (tiles of j in local memory)."""
    split: int = 0
    """Parts that j is cut into; 0: as many as keep the device busy."""

    @property
    def group_rows(self) -> int:
        """Rows that a work-group keeps."""
        return self.group * self.rows * self.lanes

    def check(self, facts: DeviceFacts) -> None:
        """Raise `ScheduleError` unless a kernel can be made so."""
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
    """The default schedule of a program: by device kind, vector lengths and precision.

    ``few``: for at most so many rows, which is 0 for any number, or a power of two.
    """
    if facts.kind == "gpu":
        return _on_gpu(program, dtype, facts, few)
    size = 4 if dtype == "float" else 8
    native = facts.native_float_lanes if dtype == "float" else facts.native_double_lanes
    # Two hardware registers of rows and four columns, for most formulas: more spill, fewer wait for one another. With
    # AVX-512, which has 32 registers, four of rows.
    registers = 4 if facts.native_float_lanes >= _AVX_512 else 2
    lanes = max(1, min(2 * native, 16))
    schedule = Schedule(lanes=lanes, rows=max(1, registers * native // lanes), cols=4)
    if few and few < lanes * schedule.rows:
        # Lanes past the last row would compute in vain; the columns are what hides latencies then.
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
    # Long formulas hide their own latencies: more pairs in the text would only make the driver compile for longer.
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
    arrays = kept_components(program.values, schedule.unroll)
    if arrays:
        schedule = _with_arrays(program, schedule)
    count = program.reduction.count or 0
    if program.reduction.keeps_terms and count >= _LIST:
        if _operations(program) <= _WORTH_PREFILTERING:
            # Where about half of the blocks are visited, shorter ones are worth a longer list of them.
            cols, prefilter = (4, 8) if count >= _LONG_LIST else (8, 4)
            schedule = replace(schedule, cols=min(schedule.cols, cols), queue=32, prefilter=prefilter)
        elif count >= _LONG_LIST:
            schedule = replace(schedule, queue=16)
    if schedule.lanes > facts.most_lanes:
        schedule = replace(schedule, lanes=facts.most_lanes, rows=1)
    return _fitting(program, schedule, size)


def _on_gpu(program: MapReduce, dtype: str, facts: DeviceFacts, few: int) -> Schedule:
    """The default schedule on a GPU: a register tile as large as leaves half of the work-items that can run at once.

    `benchmarks/isa.py` counts what each size issues per pair, and the registers that it takes.
    """
    arrays = kept_components(program.values, _UNROLL_GPU)
    schedule = Schedule(lanes=1, rows=1, cols=1 if arrays else _COLS_GPU, unroll=_UNROLL_GPU)
    words = 1 if dtype == "float" else 2
    room = _ROOM_OF_AMD if facts.driver == "amd" else _ROOM_GPU
    per_row = words * _words_of_row(program, schedule)
    # Terms of a whole block of columns wait for its update, where that is one for all of them.
    waits = program.reduction.guard is not None or _shares_work(program)
    # So do sums over the components of long vectors. In single precision there is room for those of four rows.
    waits |= dtype == "double" and any(node.dim > _UNROLL_GPU for node in topological(program.values))
    waiting = words * _COLS_GPU if waits else 0
    while not arrays and schedule.rows < _MOST_ROWS_GPU and 2 * schedule.rows * (per_row + waiting) <= room + waiting:
        schedule = replace(schedule, rows=2 * schedule.rows)
    if per_row > 2 * room:
        # Compilers take registers for arrays of some dozen numbers, too, and spill them beside many pairs.
        schedule = replace(schedule, cols=max(1, schedule.cols // 2))
    if facts.driver == "amd" and all(node.dim <= _UNROLL_GPU for node in topological(program.values)):
        # Its compiler takes two rows for one packed operation, and reads whole blocks of short vectors ahead.
        schedule = replace(schedule, cols=min(schedule.cols, max(1, _PAIRS_OF_AMD // schedule.rows)))
    while schedule.rows * schedule.cols > 1 and block_operations(program, schedule) > _LONGEST_GPU:
        if schedule.cols > schedule.rows:
            schedule = replace(schedule, cols=schedule.cols // 2)
        else:
            schedule = replace(schedule, rows=schedule.rows // 2)
    group = min(128, facts.max_group)
    if few:
        # Work-items past the last row would compute in vain.
        schedule, group = replace(schedule, rows=1), min(group, max(_SMALL_GROUP, few))
    if not facts.local_tiles:
        return schedule
    staged = 4 * words * sum(leaf.dim for leaf in variables(program.values) if leaf.domain == Domain.J)
    tile = 128
    while tile > _SHORTEST_TILE and tile * staged > _TILE_BYTES:
        tile //= 2
    if tile > schedule.cols and tile * staged > staged_bytes(facts) >= schedule.cols * staged and facts.driver != "amd":
        # Several hundred components: a tile is one block of columns. (AMD's processors have too little memory for it.)
        tile = schedule.cols
    return replace(schedule, group=group, tile=tile, shape=LOCAL)


def staged_bytes(facts: DeviceFacts) -> int:
    """Local memory that tiles of columns may take; there may be tables, too."""
    return facts.local_memory * 2 // 3


def _words_of_row(program: MapReduce, schedule: Schedule) -> int:
    """Numbers that a work-item keeps in registers for each of its rows: vectors of i, and the state."""
    of_i = sum(leaf.dim for leaf in variables(program.values) if leaf.domain == Domain.I and leaf.dim <= _UNROLL_GPU)
    copies = 2 if program.reduction.blocked and schedule.flush else 1
    return of_i + copies * sum(min(slot.dim, _UNROLL_GPU) for slot in program.state_slots)


def _fitting(program: MapReduce, schedule: Schedule, size: int) -> Schedule:
    """A schedule of fewer rows, lanes or columns, if need be, for which a stack has room."""
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
    """Another register tile for formulas whose vectors are kept in arrays, one for each pair of the tile."""
    if max(slot.dim for slot in program.state_slots) >= _WIDE_SUM:
        return replace(schedule, rows=1, cols=2 * _TILE_OF_ARRAYS)
    if any(is_scan(node) for node in topological(program.values)):
        # Steps of a recurrence wait for one another, and their text is long.
        return replace(schedule, rows=1, cols=min(schedule.cols, 2))
    return replace(schedule, cols=max(1, _TILE_OF_ARRAYS // schedule.rows))


def _operations(program: MapReduce) -> int:
    """Operations per pair, all vectors written out."""
    return written_out(program.values, sys.maxsize)


def narrowed(schedule: Schedule, blocks: int) -> Schedule:
    """A schedule for blocks of so many rows, of which work-groups would keep twice as many; 0: not in blocks."""
    while blocks and schedule.group > 1 and schedule.group_rows >= 2 * blocks:
        if schedule.rows > 1:
            schedule = replace(schedule, rows=schedule.rows // 2)
        elif schedule.group > _SMALL_GROUP:
            schedule = replace(schedule, group=schedule.group // 2)
        else:
            break
    return schedule


def state_bytes(program: MapReduce, schedule: Schedule, size: int) -> int:
    """Private memory of a work-item for what its rows and pairs keep, numbers having ``size`` bytes."""
    copies = 2 if program.reduction.blocked and schedule.flush and schedule.tile else 1
    kept = copies * sum(slot.dim for slot in program.state_slots)
    if program.reduction.keeps_terms:
        kept += 2 * schedule.queue
        if schedule.prefilter:
            kept += PREFILTERED * (schedule.prefilter + 1) + (VISITED * schedule.cols if schedule.queue else 0)
        kept += (padding(program, schedule) or 0) * len(program.state_slots)
    return kept * schedule.rows * schedule.lanes * size + _pair_bytes(program, schedule, size)


def _pair_bytes(program: MapReduce, schedule: Schedule, size: int) -> int:
    """The part of it for the vectors of pairs."""
    return kept_components(program.values, schedule.unroll) * schedule.cols * schedule.rows * schedule.lanes * size


def has_queue(program: MapReduce, schedule: Schedule) -> bool:
    """Whether terms wait in a queue before they enter a list: such as are single numbers."""
    reduction, single = program.reduction, len(program.values) == 1 and program.values[0].dim == 1
    return schedule.queue > 0 and single and reduction.keeps_terms and reduction.guard is not None


def padding(program: MapReduce, schedule: Schedule) -> int | None:
    """Places before the terms of a long list, into which a sorted queue is merged; None if it is not sorted."""
    count, length = program.reduction.count or 1, schedule.queue
    long = count >= SORTED_LIST and count > schedule.unroll
    return padded(count) - count if long and length == padded(length) and has_queue(program, schedule) else None


def check_state(program: MapReduce, schedule: Schedule, size: int) -> None:
    """Raise `ScheduleError` if the rows of a work-item keep more than drivers have private memory for."""
    needed, count = state_bytes(program, schedule, size), program.reduction.count
    if needed > _MOST_STATE_BYTES:
        told = f"{needed >> 20} MiB of private memory, and {_MOST_STATE_BYTES >> 20} MiB is the most"
        if count is not None:
            most = count * _MOST_STATE_BYTES // needed
            raise ScheduleError(
                f"{program.reduction.name} keeps a list of K = {count:,} terms for each row: {told}; K may be up to "
                f"about {most:,}. For a larger part of each row, sort the dense array of some rows at a time"
            )
        longest, arrays = (
            max(slot.dim for slot in program.state_slots),
            kept_components(program.values, schedule.unroll),
        )
        beside = f", and vectors of {arrays} components for each pair" if arrays else ""
        raise ScheduleError(
            f"a row of the result has {longest} components{beside}: {told}; compute fewer components at a time"
        )


def block_operations(program: MapReduce, schedule: Schedule) -> int:
    """Operations in the text of one block of columns: the values of its pairs, and the update of the state."""
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
    """Whether the columns of a block share a large part of the update, as the rescaling of a LogSumExp."""
    one, eight = (_update_operations(program, cols, _UNROLL) for cols in (1, 8))
    return eight <= _SHARED * 8 * one
