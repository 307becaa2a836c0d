"""States of rows after a part of the columns, with pairs skipped: for processes that compute a chunk of a call.

The state is made from the results over the part. Pairs are skipped only for reductions whose results allow this; the
others visit all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.pruning import running
from clreduce.call.pruning.cutting import columns_per_row, pairs_in
from clreduce.call.pruning.request import DEFAULT, NEVER, Pruning
from clreduce.call.work import Work, computed
from clreduce.errors import OptionError
from clreduce.memo import Memo
from clreduce.program import map_reduce
from clreduce.reductions.reduction import Skips
from clreduce.typing import Array

State = tuple[Array, ...]


def part_of(work: Work, columns: int) -> Pruning | None:
    """The pruning of a part of a work with ``columns`` of its columns, and with its share of the tolerance.

    `OptionError` for a tolerance that parts cannot keep.
    """
    pruning = work.pruning
    if pruning is None or not pruning.has_tolerance:
        return pruning
    if pruning.rtol:
        raise OptionError(
            f"rtol={pruning.rtol} is relative to the results over all chunks of the reduced axis, and a task sees only "
            "one chunk: give atol instead, or make one chunk along this axis, by x.rechunk({0: -1})"
        )
    if work.program.reduction.name == "Sum":  # errors of parts add up; those of means and of logarithms do not
        return replace(pruning, atol=pruning.atol * columns / work.region.columns)
    return pruning


def state_of_part(work: Work, arrays: Sequence[Array], executor: Executor) -> State:
    """The state of each row after all columns of a work, which skips pairs if that is possible."""
    reason = _obstacle(work) if work.skips else "by default, all pairs of such a call are visited"
    if not reason:
        return _state(work, arrays, executor)
    if (work.pruning or DEFAULT).prune:
        total = pairs_in(work.region)
        running.LAST.keep(work.program, running.Skipped(total, total, reason=reason))
    return executor.partial((replace(work, pruning=NEVER), Memo(), arrays))


def _obstacle(work: Work) -> str:
    """The reason why the state of a part cannot be made from its results; "" if it can."""
    reduction = work.program.reduction
    if reduction.skips is Skips.SMALL_EXPONENTIALS and reduction.name != "LogSumExp":
        return f"the results of chunks of {reduction.name} do not tell that of all chunks"
    if reduction.blocked and (
        work.options.dtype_acc == "float64" or computed(work.program, work.options).reduction is not reduction
    ):
        return "the results of chunks are less precise than sums that are kept with more digits"
    return ""


def _state(work: Work, arrays: Sequence[Array], executor: Executor) -> State:
    reduction = work.program.reduction
    if reduction.skips.selects:
        return _selection(work, arrays, executor)
    if reduction.skips is Skips.SMALL_EXPONENTIALS:
        (logarithms,) = running.run(work, Memo(), arrays, executor)
        is_nan = np.isnan(logarithms)
        return np.where(is_nan, -np.inf, logarithms).astype(work.dtype), np.where(is_nan, np.nan, 1).astype(work.dtype)
    if reduction.name == "Mean":
        return _mean(work, arrays, executor)
    return running.run(work, Memo(), arrays, executor)


def _selection(work: Work, arrays: Sequence[Array], executor: Executor) -> State:
    """The terms, and their indices if the state has them; -1 for infinite terms, which only results name."""
    reduction = work.program.reduction
    if len(work.program.state_slots) == 1:
        return running.run(work, Memo(), arrays, executor)
    terms = reduction.name.rpartition("Arg")[2]
    program, _ = map_reduce(work.program.values, f"{terms}_Arg{terms}", reduction.count)
    values, places = running.run(replace(work, program=program), Memo(), arrays, executor)
    if program != work.program:
        running.LAST.keep(work.program, running.LAST[program])
    return values, np.where(values == work.program.state_slots[0].neutral, -1, places)


def _mean(work: Work, arrays: Sequence[Array], executor: Executor) -> State:
    """The sums, and the numbers of terms."""
    region, pruning = work.region, work.pruning or DEFAULT
    named = region.pairs
    counts = np.full(region.rows, region.columns) if named is None else columns_per_row(named, region.rows)
    fewest = int(counts[counts > 0].min(initial=region.columns))
    program, _ = map_reduce(work.program.values, "Sum")
    part = replace(work, program=program, pruning=replace(pruning, atol=pruning.atol * fewest))
    (sums,) = running.run(part, Memo(), arrays, executor)
    running.LAST.keep(work.program, running.LAST[program])
    return sums, np.broadcast_to(counts[:, None], (*sums.shape[:-1], 1)).astype(np.int64)
