"""`Evaluation`: a work together with the executor that runs it on the arrays of a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from clreduce.call.executor import Executor
from clreduce.call.pruning import running as pruning
from clreduce.call.work import Prepared, Work
from clreduce.memo import Memo
from clreduce.program import MapReduce
from clreduce.typing import Array


@dataclass(frozen=True)
class Evaluation:
    """A work, and the executor that runs it."""

    work: Work
    executor: Executor

    @cached_property
    def prepared(self) -> Prepared:
        """A cache for all calls of this evaluation: its plan, and the steps of its derivatives."""
        return Memo()

    @property
    def program(self) -> MapReduce:
        """The program that is evaluated."""
        return self.work.program

    @cached_property
    def with_residuals(self) -> Evaluation:
        """The evaluation of the residuals that derivatives read; its first result is this evaluation's result.

        It is this evaluation itself if derivatives read no residuals, or only its own results, and these have no
        tolerance.
        """
        work = self.work.with_residuals
        return self if work is self.work else Evaluation(work, self.executor)

    def __call__(self, arrays: Sequence[Array], results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D). They are written into ``results`` if it is not None.

        ``arrays`` contains a NumPy array for each slot of the program: (.., rows, D), (.., columns, D) or (.., D). Each
        has as many batch dimensions as the work; a dimension of size 1 serves all indices. Reals have the work's dtype,
        indices are int64.
        """
        if self.work.skips:
            return written(pruning.run(self.work, self.prepared, arrays, self.executor), results)
        return self.executor.run((self.work, self.prepared, arrays), results)

    def of(self, program: MapReduce, flipped: bool = False, once: bool = False) -> Evaluation:
        """The evaluation of ``program`` over the same pairs. If ``flipped``, its rows are the columns of this one."""
        return Evaluation(self.work.of(program, flipped, once), self.executor)

    def row_sum(self, dim: int) -> Evaluation:
        """The evaluation that adds up the rows of a result (.., rows, dim) of this one."""
        return Evaluation(self.work.row_sum(dim), self.executor)

    def without_symbols(self) -> Evaluation:
        """This evaluation with plain integers for sizes. While a graph is recorded, sizes may be symbols."""
        region = self.work.region
        plain = replace(
            region, rows=int(region.rows), columns=int(region.columns), batch=tuple(map(int, region.batch))
        )  # fmt: skip
        return Evaluation(self.work.on(plain), self.executor)

    def wider(self, sizes: tuple[int, ...]) -> Evaluation:
        """This evaluation for a larger batch: ``sizes`` are dimensions before its own."""
        return Evaluation(self.work.wider(sizes), self.executor)


def together(tasks: Sequence[tuple[Evaluation, Sequence[Array]]]) -> list[tuple[Array, ...]]:
    """The results of independent evaluations that have the same executor."""
    if any(evaluation.work.skips for evaluation, _ in tasks):
        return [evaluation(arrays) for evaluation, arrays in tasks]
    jobs = [(evaluation.work, evaluation.prepared, arrays) for evaluation, arrays in tasks]
    return tasks[0][0].executor.run_together(jobs) if jobs else []


def written(computed: tuple[Array, ...], results: tuple[Array, ...] | None) -> tuple[Array, ...]:
    """``results`` after ``computed`` was copied into them; ``computed`` itself if ``results`` is None."""
    if results is None:
        return computed
    for target, array in zip(results, computed, strict=True):
        target[...] = array.reshape(target.shape)
    return results
