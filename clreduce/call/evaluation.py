"""`Evaluation`: a work and who runs it, on the arrays of a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from clreduce.call.executor import Executor
from clreduce.call.pruning import running as pruning
from clreduce.call.work import Work
from clreduce.memo import Memo
from clreduce.program import MapReduce
from clreduce.typing import Array


@dataclass(frozen=True)
class Evaluation:
    """A work and who runs it."""

    work: Work
    executor: Executor

    @cached_property
    def prepared(self) -> Memo[Any, Any]:
        """What was worked out once and serves each call with such arrays: its plan, and the steps of derivatives."""
        return Memo()

    @property
    def program(self) -> MapReduce:
        """What is computed."""
        return self.work.program

    @cached_property
    def with_residuals(self) -> Evaluation:
        """What gives the residuals that derivatives read, and its own result first; itself where they read none."""
        work = self.work.with_residuals
        return self if work is self.work else Evaluation(work, self.executor)

    def __call__(self, arrays: Sequence[Array], results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D), written into ``results`` if those are given.

        ``arrays``: for each slot of the program a NumPy array (.., rows, D), (.., columns, D) or (.., D), with as many
        batch dimensions as the work, of size 1 where it serves all; reals in the work's dtype, indices in int64.
        """
        if self.work.skips:
            return written(pruning.run(self.work, self.prepared, arrays, self.executor), results)
        return self.executor.run((self.work, self.prepared, arrays), results)

    def of(self, program: MapReduce, flipped: bool = False, once: bool = False) -> Evaluation:
        """Another program over the same pairs; ``flipped``: its rows are the columns of this one."""
        return Evaluation(self.work.of(program, flipped, once), self.executor)

    def row_sum(self, dim: int) -> Evaluation:
        """The sum over the rows of a result of this one."""
        return Evaluation(self.work.row_sum(dim), self.executor)

    def without_symbols(self) -> Evaluation:
        """This evaluation with plain numbers for sizes, where a recorder of graphs may have symbols."""
        region = self.work.region
        plain = replace(
            region, rows=int(region.rows), columns=int(region.columns), batch=tuple(map(int, region.batch))
        )  # fmt: skip
        return Evaluation(self.work.on(plain), self.executor)

    def wider(self, sizes: tuple[int, ...]) -> Evaluation:
        """This evaluation for a batch with these dimensions before its own."""
        return Evaluation(self.work.wider(sizes), self.executor)


def together(tasks: Sequence[tuple[Evaluation, Sequence[Array]]]) -> list[tuple[Array, ...]]:
    """The results of evaluations by one executor, none of which needs those of another."""
    if any(evaluation.work.skips for evaluation, _ in tasks):
        return [evaluation(arrays) for evaluation, arrays in tasks]
    jobs = [(evaluation.work, evaluation.prepared, arrays) for evaluation, arrays in tasks]
    return tasks[0][0].executor.run_together(jobs) if jobs else []


def written(found: tuple[Array, ...], results: tuple[Array, ...] | None) -> tuple[Array, ...]:
    """What was found, in the arrays where it shall be."""
    if results is None:
        return found
    for target, array in zip(results, found, strict=True):
        target[...] = array.reshape(target.shape)
    return results
