"""Runs of works that may skip pairs: the decision whether to skip, the rule of each reduction, a record of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.feeding import completed_lists
from clreduce.call.pruning import blocks, hosts, selected_visits
from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.chunks import Beside, Chunks, results_over_nothing
from clreduce.call.pruning.conditions import Conditions
from clreduce.call.pruning.cutting import Cuts, columns_per_row, drawn, pairs_in
from clreduce.call.pruning.exponentials import Exponentials
from clreduce.call.pruning.index import BLOCK, FINEST
from clreduce.call.pruning.request import DEFAULT, NEVER, Pruning
from clreduce.call.pruning.sample import estimated
from clreduce.call.pruning.selection import Selection
from clreduce.call.pruning.sums import Sums
from clreduce.call.work import Prepared, Work
from clreduce.domain import Domain
from clreduce.memo import Memo
from clreduce.program import MapReduce
from clreduce.reductions.reduction import Skips
from clreduce.runtime.ranges import CheckedRanges
from clreduce.runtime.region import Region
from clreduce.runtime.resident import first_resident
from clreduce.typing import Array

_VERY_MANY = 2**42
"""The number of pairs beyond which blocks are twice as large, to limit the number of pairs of blocks."""
_OF_COLUMNS = 4
"""Blocks of columns in a block of rows, for sums."""
_SAMPLED = 2**28
"""Calls with at least this many pairs try a sample first."""
_FEW = 2**36
"""Sorting points is likely to pay if ranges name at least this many pairs."""
_HOPELESS = 0.9
"""If a sample of points visits a larger part of its pairs than this, nothing is sorted."""
_PROMISING = 0.25
"""If a sample visits a smaller part of its pairs than this, no second sample is needed: more points visit less."""
_TOO_MANY = 0.6
"""If some blocks of rows visit a larger part of their pairs than this, all pairs are visited."""


@dataclass(frozen=True)
class Skipped:
    """The record of a call that might have skipped pairs."""

    pairs: int
    """All there are."""
    visited: int
    """The number of terms that were computed; terms that were computed twice count twice."""
    error: float = 0.0
    """The largest possible difference from a visit of all pairs, apart from rounding."""
    reason: str = ""
    """The reason why all pairs were visited; "" if pairs were skipped."""


LAST: Memo[MapReduce, Skipped] = Memo(256)
"""The record of the last call of each program."""


def run(
    work: Work, prepared: Prepared, arrays: Sequence[Array], executor: Executor, beside: Beside | None = None
) -> tuple[Array, ...]:
    """The results of a work that may skip blocks of pairs, (batch.., rows, D) each.

    If the work is a part of a call, ``beside`` is what its other columns tell. Then results leave out what cannot
    matter beside these.
    """
    with np.errstate(all="ignore"):  # infinities, nan and tiny numbers of the data, in bounds and estimates
        return _run(work, prepared, arrays, executor, beside)


def _run(
    work: Work, prepared: Prepared, arrays: Sequence[Array], executor: Executor, beside: Beside | None
) -> tuple[Array, ...]:
    region = work.region
    reason = "" if work.selected is not None and not region.batch else hosts.obstacle(work, arrays)
    if reason:
        total = pairs_in(region)
        LAST.keep(work.program, Skipped(total, total, reason=reason))
        return executor.run((replace(work, pruning=NEVER), prepared, arrays))
    if work.pruning is not None and work.pruning.of_residuals:
        work = work.within_rounding
    work = work.arranged_for(arrays)  # so that each index of a batch rounds as a visit of all pairs does
    resident = first_resident(arrays)
    if resident is not None and work.selected is None:
        copies = [hosts.on_host(array) for array in arrays]
        results = _run(work, Memo(), copies, executor.for_copies(resident), beside)
        return tuple(hosts.on_device(result, resident) for result in results)
    if not region.batch:
        results, record = _run_part(work, arrays, executor, beside)
        LAST.keep(work.program, record)
        return results
    parts, records = [], []
    one = work.on(replace(region, batch=(), first_index=()))
    axes = len(region.batch)
    for index in np.ndindex(*region.batch):
        chosen = [
            array[tuple(0 if size == 1 else at for at, size in zip(index, array.shape[:axes], strict=True))]
            for array in arrays
        ]
        results, record = _run_part(one, chosen, executor, beside and beside.at(index))
        parts.append(results)
        records.append(record)
    LAST.keep(work.program, _together(records))
    return tuple(
        np.stack(each).reshape((*region.batch, *each[0].shape)) for each in zip(*parts, strict=True)
    )  # fmt: skip


def _together(records: Sequence[Skipped]) -> Skipped:
    return Skipped(
        sum(record.pairs for record in records), sum(record.visited for record in records),
        max(record.error for record in records), next((record.reason for record in records if record.reason), ""),
    )  # fmt: skip


def _run_part(
    work: Work, arrays: Sequence[Array], executor: Executor, beside: Beside | None
) -> tuple[tuple[Array, ...], Skipped]:
    """The results of a work without a batch. A part of a call is cut down to the rows and columns that may matter."""
    if beside is None or work.selected is not None or _obstacle(work, arrays, executor):
        return _run_one(work, arrays, executor, beside)
    try:
        window = Chunks.of(work, arrays, executor).window(beside)
    except NotImplementedError:  # of an operation on true integers without a rule of bounds
        return _run_one(work, arrays, executor, beside)
    region = work.region
    total = pairs_in(region)
    if window == ((0, region.rows), (0, region.columns)):
        return _run_one(work, arrays, executor, beside)
    results, pruning = results_over_nothing(work), work.pruning or DEFAULT
    record = Skipped(total, 0, pruning.atol)
    if window is not None:
        rows, columns = window
        part = work.on(region.part(rows=rows, columns=columns))
        parts = [array[place] for array, place in part.region.parts_of(region, work.program.slots, arrays)]
        inside, record = _run_one(part, parts, executor, beside.at((slice(*rows),)))
        record = replace(record, pairs=total, error=max(record.error, pruning.atol))
        for result, other in zip(results, inside, strict=True):
            result[slice(*rows)] = other
    return results, record


def _run_one(
    work: Work, arrays: Sequence[Array], executor: Executor, beside: Beside | None = None
) -> tuple[tuple[Array, ...], Skipped]:
    region, pruning = work.region, work.pruning or DEFAULT
    total = pairs_in(region)
    if work.selected is not None:
        reason = selected_visits.obstacle(work, work.selected, arrays, executor)
        if not reason:
            results, visited = selected_visits.visit_selected(work, work.selected, arrays, executor)
            return results, Skipped(total, visited)
        return executor.run((replace(work, pruning=NEVER), Memo(), arrays)), Skipped(total, total, reason=reason)
    reason = _obstacle(work, arrays, executor)
    if not reason:
        arrays = [np.ascontiguousarray(array) for array in arrays]
        try:
            block, part = _sizes_of_blocks(work, executor), 0.0
            limits = None if beside is None else beside.limits
            if total >= _SAMPLED:
                part, rows, columns = estimated(work, arrays, executor, block, limits)
                if part > _HOPELESS:
                    reason = f"in a sample of {rows} x {columns} points, nearly all pairs would be visited"
            if not reason:
                pairs = replace(BlockPairs.of(work, arrays, executor, *block), limits=limits)
                if part > _PROMISING:
                    part = _part_of_some(work, pairs, pruning)
                    if part > _TOO_MANY:
                        reason = f"for some blocks of rows, {min(part, 1):.0%} of their pairs would be visited"
            if not reason:
                results, error = _RULES[work.program.reduction.skips](work, pairs, pruning)
                return results, Skipped(total, sum(pairs.visited), error)
        except NotImplementedError as error:  # of an operation on true integers without a rule of bounds
            reason = str(error)
    results = executor.run((replace(work, pruning=NEVER), Memo(), arrays))
    return results, Skipped(total, total, reason=reason)


def _sizes_of_blocks(work: Work, executor: Executor) -> tuple[int, int]:
    """The numbers of rows and of columns in a block that suit the reduction.

    Sums share one tolerance among all blocks of columns, and levels make bounds cheap, so these blocks are small. In a
    selection each row has its own limit, so blocks of rows are small.
    """
    if work.program.reduction.skips.approximate:
        return BLOCK, BLOCK // _OF_COLUMNS
    if work.program.reduction.skips.selects:
        on_cpu = executor.first_device().facts.kind == "cpu"
        return min(FINEST, BLOCK) if on_cpu and work.region.ranges is None else BLOCK, BLOCK
    size = 2 * BLOCK if pairs_in(work.region) >= _VERY_MANY else BLOCK
    return size, size


def _obstacle(work: Work, arrays: Sequence[Array], executor: Executor) -> str:
    """The reason why nothing can be skipped; "" if there is none."""
    if work.pruning is None and work.region.area < _VERY_MANY and executor.first_device().facts.kind != "cpu":
        return "a GPU may visit them in less time than it takes to sort points on the host"
    if work.region.rows == 0 or work.region.columns == 0:
        return "there is no pair"
    return obstacle_of_parameters(work, arrays) or _obstacle_of_ranges(work)


def obstacle_of_parameters(work: Work, arrays: Sequence[Array]) -> str:
    """The reason why parameters have no bounds; "" if there is none."""
    for slot, array in zip(work.program.slots, arrays, strict=True):
        if slot.domain == Domain.P and array.dtype.kind == "f":
            size = np.abs(array)
            if not ((size == 0) | ((size >= np.finfo(array.dtype).tiny) & (size < np.inf))).all():
                return "a parameter is infinite, nan or subnormal"
    return ""


def _obstacle_of_ranges(work: Work) -> str:
    """The reason why none of the pairs in the ranges of a call are skipped; "" if there is none."""
    if work.region.ranges is None:
        return ""
    if not (work.pruning or DEFAULT).prune and pairs_in(work.region) < _FEW:
        return "the ranges name few pairs"
    cuts = Cuts.of(work.region)
    return cuts.obstacle(BLOCK) if cuts is not None else ""


def _part_of_some(work: Work, pairs: BlockPairs, pruning: Pruning) -> float:
    """The part of the pairs that some of the blocks of rows visit."""
    count = pairs.rows.partition.count
    # With more than one level, blocks that are far from each other would share a box, which bounds nothing.
    most = max(1, blocks.ONE_LEVEL // pairs.columns.partition.count)
    chosen = np.unique(np.linspace(0, count - 1, min(max(count // 128, 4), 64, most)).astype(int))
    some = pairs.some(chosen)
    named = some.named_pairs
    sizes = len(some.rows.partition.order), work.region.columns
    ranges = None if named is None else CheckedRanges.by_rows(named, *sizes)
    part = work.on(Region(*sizes, ranges=ranges))
    _RULES[work.program.reduction.skips](part, some, pruning)
    return sum(some.visited) / max(pairs_in(part.region), 1)


# ------------------------------------------------------------------------------------------------------------ the rules


def _select(work: Work, pairs: BlockPairs, pruning: Pruning) -> tuple[tuple[Array, ...], float]:
    values, places = Selection(pairs).run()
    region, name = work.region, work.program.reduction.name
    if region.first_column:
        places = np.where(places < 0, -1, places + region.first_column)
    if pairs.limits is None and not name.startswith(("K", "ArgK")) and "Arg" in name:
        empty = np.flatnonzero(places[:, 0] < 0)
        if len(empty):  # where no term is finite, an index is that of a call over all pairs
            places[empty] = _over_all(work, pairs, empty)[-1]
    results = (values, places) if "_" in name else (places,) if name.startswith("Arg") else (values,)
    return (completed_lists(work, results) if work.lists else results), 0.0


def _over_all(work: Work, pairs: BlockPairs, rows: Array) -> tuple[Array, ...]:
    """The results of some rows by a visit of all columns."""
    arrays = [
        np.ascontiguousarray(pairs.arrays[slot][rows]) if slot.domain == Domain.I else pairs.arrays[slot]
        for slot in pairs.program.slots
    ]
    part = replace(work, program=pairs.program, pruning=NEVER)
    region, named = replace(work.region, rows=len(rows), first_row=0), work.region.pairs
    if named is not None:
        part_of_them = drawn(named, rows, np.arange(region.columns))
        numbered = replace(part_of_them, pieces=part_of_them.pieces + region.first_column)
        ranges = CheckedRanges.by_rows(numbered, len(rows), region.first_column + region.columns)
        region = replace(region, ranges=ranges, row_domain=Domain.I, once=False)
    pairs.visited.append(pairs_in(region))
    return pairs.executor.run((part.on(region), Memo(), arrays))


def _add_up(work: Work, pairs: BlockPairs, pruning: Pruning) -> tuple[tuple[Array, ...], float]:
    if work.program.reduction.name == "Sum":
        sums, error = Sums(pairs, pruning).run()
        return (sums,), error
    named, rows = work.region.pairs, len(pairs.rows.partition.order)
    counts = np.full(rows, work.region.columns) if named is None else columns_per_row(named, rows)
    fewest = int(counts[counts > 0].min(initial=work.region.columns))
    sums, error = Sums(pairs, replace(pruning, atol=pruning.atol * fewest)).run()
    results = sums / counts[:, None].astype(sums.dtype), counts[:, None]
    return results[: len(work.program.outputs)], error / fewest


def _add_up_exponentials(work: Work, pairs: BlockPairs, pruning: Pruning) -> tuple[tuple[Array, ...], float]:
    return Exponentials(pairs, pruning).run()


def _count(work: Work, pairs: BlockPairs, pruning: Pruning) -> tuple[tuple[Array, ...], float]:
    return Conditions(pairs).run(), 0.0


_RULES: dict[Skips, Callable[[Work, BlockPairs, Pruning], tuple[tuple[Array, ...], float]]] = {
    Skips.ABOVE: _select, Skips.BELOW: _select, Skips.ZEROS: _count, Skips.HOLDING: _count, Skips.SMALL: _add_up,
    Skips.SMALL_EXPONENTIALS: _add_up_exponentials,
}  # fmt: skip
"""The rule of each kind: results by the rows of the caller, and what they may differ by."""
