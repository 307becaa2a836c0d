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
from clreduce.call.pruning.chunks import Beside
from clreduce.call.pruning.cutting import columns_per_row, pairs_in
from clreduce.call.pruning.request import DEFAULT, NEVER, Pruning
from clreduce.call.work import Work, computed
from clreduce.errors import OptionError
from clreduce.memo import Memo
from clreduce.program import map_reduce
from clreduce.reductions.reduction import Skips
from clreduce.typing import Array

State = tuple[Array, ...]
_ROUNDING = 64
"""Units in the last place by which a logarithm of a sum is wrong at most."""


def part_of(work: Work, columns: int, of: int) -> Pruning | None:
    """The pruning of a part of a work: the part has ``columns`` of the ``of`` columns that share the tolerance.

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
    reduction = work.program.reduction
    if reduction.name == "Sum":  # errors of parts add up; those of means and of logarithms do not
        return replace(pruning, atol=pruning.atol * columns / of)
    if reduction.skips is Skips.SMALL_EXPONENTIALS:  # the other half is for parts that are left out
        error = float(np.finfo(work.dtype).eps) if pruning.of_residuals else np.inf
        return replace(pruning, atol=min(pruning.atol / 2, error))
    return pruning


def tells_of_others(work: Work) -> bool:
    """Whether the state of a part tells which terms of the other columns can change the result of a row."""
    skips = work.program.reduction.skips
    return work.skips and (skips.selects or (skips is Skips.SMALL_EXPONENTIALS and not _obstacle(work)))


def state_of_part(
    work: Work, arrays: Sequence[Array], executor: Executor, other: State | None = None, share: float = 0.0
) -> State:
    """The state of each row after all columns of a work, which skips pairs if that is possible.

    ``other`` is the state of these rows after other columns of the same call, if it is known. The state of the part
    then leaves out terms that cannot change the result beside them. ``share`` is the part of all columns that it has.
    """
    reason = _obstacle(work) if work.skips else "by default, all pairs of such a call are visited"
    if not reason:
        return _state(work, arrays, executor, _told_by(work, other, share))
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


def _told_by(work: Work, other: State | None, share: float) -> Beside:
    """The facts that the state after other columns gives on the rows of a part with this share of all columns."""
    if other is None or not tells_of_others(work):
        return Beside()
    if work.program.reduction.skips.selects:
        return Beside(limits=other[0][..., -1])
    largest, sums = (slot.astype(np.float64) for slot in other)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = largest + np.log(sums)
        logarithms -= _ROUNDING * np.finfo(work.dtype).eps * (1 + np.abs(logarithms))
    return Beside(logarithms=logarithms, error=(work.pruning or DEFAULT).atol * share)


def _state(work: Work, arrays: Sequence[Array], executor: Executor, beside: Beside) -> State:
    reduction = work.program.reduction
    if reduction.skips.selects:
        return _selection(work, arrays, executor, beside)
    if reduction.skips is Skips.SMALL_EXPONENTIALS:
        (logarithms,) = running.run(work, Memo(), arrays, executor, beside)
        is_nan = np.isnan(logarithms)
        return np.where(is_nan, -np.inf, logarithms).astype(work.dtype), np.where(is_nan, np.nan, 1).astype(work.dtype)
    if reduction.name == "Mean":
        return _mean(work, arrays, executor, beside)
    return running.run(work, Memo(), arrays, executor, beside)


def _selection(work: Work, arrays: Sequence[Array], executor: Executor, beside: Beside) -> State:
    """The terms, and their indices if the state has them; -1 for infinite terms, which only results name."""
    reduction = work.program.reduction
    if len(work.program.state_slots) == 1:
        return running.run(work, Memo(), arrays, executor, beside)
    terms = reduction.name.rpartition("Arg")[2]
    program, _ = map_reduce(work.program.values, f"{terms}_Arg{terms}", reduction.count)
    part = replace(work, program=program, completes=False)
    values, places = running.run(part, Memo(), arrays, executor, beside)
    if program != work.program:
        running.LAST.keep(work.program, running.LAST[program])
    return values, np.where(values == work.program.state_slots[0].neutral, -1, places)


def _mean(work: Work, arrays: Sequence[Array], executor: Executor, beside: Beside) -> State:
    """The sums, and the numbers of terms."""
    region, pruning = work.region, work.pruning or DEFAULT
    named = region.pairs
    counts = np.full(region.rows, region.columns) if named is None else columns_per_row(named, region.rows)
    fewest = int(counts[counts > 0].min(initial=region.columns))
    program, _ = map_reduce(work.program.values, "Sum")
    part = replace(work, program=program, pruning=replace(pruning, atol=pruning.atol * fewest))
    (sums,) = running.run(part, Memo(), arrays, executor, beside)
    running.LAST.keep(work.program, running.LAST[program])
    return sums, np.broadcast_to(counts[:, None], (*sums.shape[:-1], 1)).astype(np.int64)
