"""Evaluations on dask arrays as graphs: a task for each pair of a chunk of rows and one of columns.

Chunks of rows, and of indices of a batch, are chunks of the result. States of chunks of columns are merged by a tree of
tasks, a few at a time and in order: a scheduler that goes deep first holds a few states for each level of the tree.
Pairs of chunks that ranges leave out make no task.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, product
from operator import getitem
from typing import Any, TypeAlias

import dask.array as da
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from clreduce.call.backend import checked_limits, kind_of
from clreduce.call.derivative import Works
from clreduce.call.evaluation import Evaluation
from clreduce.call.executor import Executor
from clreduce.call.pruning.partial import part_of, tells_of_others
from clreduce.call.pruning.request import Pruning
from clreduce.call.runner import AnyRunner
from clreduce.call.work import Work
from clreduce.dask.boxes import KnownChunks, Visits
from clreduce.dask.tasks import Compute, Finish, Merge, OnWorker, Partial, PartialBeside, Resume, ResumeAndFinish
from clreduce.domain import Domain
from clreduce.errors import OptionError, ShapeError
from clreduce.ir.expr import INDEX
from clreduce.reductions.reduction import Skips
from clreduce.runtime.determinism import PART
from clreduce.runtime.ranges import Ranges
from clreduce.runtime.region import Interval, Region

Chunks = tuple[int, ...]
Key: TypeAlias = Any
_BATCH = "axis {} of the batch"
_MERGED_AT_ONCE = 4
"""States that one task merges."""


class Graphs(AnyRunner):
    """Makes graphs of evaluations. Nothing is computed, and no device is touched."""

    def executor(
        self, backend: str, device_id: int, max_memory: int | str | None, deterministic: bool | None
    ) -> Executor:
        kind_of(backend, device_id)
        return OnWorker(backend, device_id, *checked_limits(max_memory, deterministic))

    def run(
        self, evaluation: Evaluation, arrays: Sequence[da.Array], like: da.Array | None = None
    ) -> tuple[da.Array, ...]:
        executor = evaluation.executor
        assert isinstance(executor, OnWorker), "evaluations on dask arrays run where their chunks are"
        return Graph(evaluation.work, executor, arrays).results()

    def run_all(self, works: Works[Any]) -> list[tuple[da.Array, ...]]:
        return [self.run(evaluation, arrays) for evaluation, arrays in works]


GRAPHS = Graphs()


@dataclass(frozen=True)
class Cut:
    """The cuts of a region: the chunks of its rows, its columns, and each dimension of its batch."""

    rows: Chunks
    columns: Chunks
    batch: tuple[Chunks, ...]

    @classmethod
    def of(cls, work: Work, arrays: Sequence[da.Array]) -> Cut:
        """The chunks that the arrays of a work agree on; those of one chunk are cut as the others are."""
        region, rank = work.region, len(work.region.batch)
        known: dict[str, set[Chunks]] = {}
        for slot, array in zip(work.program.slots, arrays, strict=True):
            for axis, chunks in enumerate(array.chunks[:-1]):
                index = _BATCH.format(axis) if axis < rank else str(slot.domain.name)
                if len(chunks) > 1:
                    known.setdefault(index, set()).add(chunks)
        for index, several in known.items():
            if len(several) > 1:
                told = " and ".join(map(_shortened, sorted(several)))
                raise ShapeError(
                    f"all arrays of a call must have the same chunks along {index.lower()}; got {told}: write "
                    "x.rechunk({axis: y.chunks[axis]}), best where the array is made"
                )

        def chunks_of(index: str, size: int) -> Chunks:
            return next(iter(known.get(index, ())), (size,))

        batch = tuple(chunks_of(_BATCH.format(axis), size) for axis, size in enumerate(region.batch))
        return cls(chunks_of("I", region.rows), chunks_of("J", region.columns), batch)

    def in_fixed_parts(self, work: Work) -> Cut:
        """This graph with chunks of columns that end where parts of j of deterministic calls do."""
        if len(self.columns) == 1:
            return self
        if work.region.ranges is not None:
            raise OptionError(
                "deterministic=True with ranges needs one chunk along the reduced axis, because the parts of sums over "
                f"ranges depend on the chunks; got {len(self.columns)} chunks: write x.rechunk({{0: -1}})"
            )
        ends = {-(-end // PART) * PART for end in accumulate(self.columns)}
        size = sum(self.columns)
        kept = [0, *sorted(end for end in ends if end < size), size]
        return replace(self, columns=tuple(stop - start for start, stop in pairwise(kept)))

    def aligned(self, array: da.Array, domain: Domain) -> da.Array:
        """An array in these chunks, where it has a single one."""
        own = [*self.batch, *{Domain.I: [self.rows], Domain.J: [self.columns]}.get(domain, [])]
        wanted = {
            axis: chunks
            for axis, chunks in enumerate(own)
            if array.chunks[axis] != chunks and array.shape[axis] == sum(chunks)
        }
        return array.rechunk(wanted) if wanted else array


class Graph:
    """The graph of one work."""

    def __init__(self, work: Work, executor: OnWorker, arrays: Sequence[da.Array]) -> None:
        self._work, self._executor = work, executor
        self._cut = Cut.of(work, arrays)
        if executor.deterministic:
            self._cut = self._cut.in_fixed_parts(work)
        self._arrays: list[Any] = [
            self._cut.aligned(array, slot.domain) for slot, array in zip(work.program.slots, arrays, strict=True)
        ]
        known = None
        if len(self._cut.columns) > 1 and not executor.deterministic:
            known = KnownChunks.of(work, executor, self._arrays)
        self._known = known
        token = tokenize(pickle.dumps((work, executor)), [array.name for array in self._arrays], known is not None)
        self._name = f"{work.program.reduction.name.lower()}-{token}"
        self._layer: dict[Key, Any] = {}

    def results(self) -> tuple[da.Array, ...]:
        """The results, each of shape (batch.., rows, D)."""
        cut, work = self._cut, self._work
        for index, indices in _blocks(cut.batch):
            for i, rows in enumerate(_intervals(cut.rows)):
                self._add_rows(index, i, work.on(self._only(work.region.part(rows=rows, indices=indices))))
        graph = HighLevelGraph.from_collections(self._name, self._layer, dependencies=self._arrays)
        return tuple(self._result(graph, n) for n in range(len(work.program.outputs)))

    def _add_rows(self, index: tuple[int, ...], i: int, work: Work) -> None:
        """Add the tasks whose results are those of one chunk of rows."""
        region, last = work.region, (self._name, *index, i)
        visits = None if self._known is None else self._known.visits(i)
        blocks = []
        for j, columns in enumerate(_intervals(self._cut.columns)):
            part = self._only(region.part(columns=columns))
            is_visited = visits is None or visits.chunks[j]
            if is_visited and part.columns and (part.ranges is None or len(pairs_of(part).pieces)):
                blocks.append((j, replace(work.on(part), pruning=self._pruning_of(part.columns, visits))))
        if self._executor.deterministic and blocks and work.region.ranges is None:
            self._add_chain(index, i, work, blocks)
            return
        if len(blocks) == 1 and visits is None:
            ((j, only),) = blocks
            # All columns are in the region, those too that no row visits: the values over nothing tell them.
            self._layer[last] = (Compute(self._executor, only), *self._inputs(index, i, j))
            return
        states: list[Key] = [(f"{self._name}-partial", *index, i, j) for j, _ in blocks]
        first = None
        if any(tells_of_others(part) for _, part in blocks):
            first = self._first_of(blocks, region, visits)
        for number, (j, part_work) in enumerate(blocks):
            inputs = self._inputs(index, i, j)
            if first is None or number == first:
                self._layer[states[number]] = (Partial(self._executor, part_work), *inputs)
            else:
                share = part_work.region.columns / region.columns
                self._layer[states[number]] = (PartialBeside(self._executor, part_work, share), states[first], *inputs)
        level = 0
        while len(states) > _MERGED_AT_ONCE:
            groups = [states[n : n + _MERGED_AT_ONCE] for n in range(0, len(states), _MERGED_AT_ONCE)]
            states = []
            for number, group in enumerate(groups):
                key = (f"{self._name}-merge-{level}", *index, i, number)
                self._layer[key] = (Merge(replaced_ranges(work)), *group)
                states.append(key)
            level += 1
        self._layer[last] = (Finish(work), *states)

    def _first_of(self, blocks: Sequence[tuple[int, Work]], rows: Region, visits: Visits | None) -> int:
        """The number of the block of columns that is likely to have the first terms of these rows.

        Boxes tell it if they are known. Otherwise points may be stored by their place in space: then small terms are in
        the columns that have the same place among all columns as ``rows`` have among all rows, and large ones are at
        the other end.
        """
        if visits is not None:
            return [j for j, _ in blocks].index(visits.first)
        whole = self._work.region
        place = (rows.first_row - whole.first_row + rows.rows / 2) / whole.rows
        middles = [work.region.first_column - whole.first_column + work.region.columns / 2 for _, work in blocks]
        sign = -1 if self._work.program.reduction.skips is Skips.BELOW else 1
        return min(range(len(blocks)), key=lambda number: sign * abs(middles[number] / whole.columns - place))

    def _pruning_of(self, columns: int, visits: Visits | None) -> Pruning | None:
        """The pruning of a task with ``columns`` columns."""
        pruning = self._work.pruning
        if len(self._cut.columns) == 1 or pruning is None:
            return pruning
        if self._executor.deterministic and pruning.prune:
            raise OptionError(
                "deterministic=True visits the chunks of the reduced axis one after the other, and skips no pairs: "
                "leave out prune and tolerances, or make one chunk along this axis, by x.rechunk({0: -1})"
            )
        if visits is None:
            return part_of(self._work, columns, self._work.region.columns)
        visited = sum(size for size, is_visited in zip(self._cut.columns, visits.chunks, strict=True) if is_visited)
        return part_of(replace(self._work, pruning=replace(pruning, atol=visits.atol)), columns, visited)

    def _add_chain(self, index: tuple[int, ...], i: int, work: Work, blocks: Sequence[tuple[int, Work]]) -> None:
        """Tasks that take the columns of a chunk of rows one chunk after the other, as one process would."""
        before: list[Key] = []
        last = (self._name, *index, i)
        for j, part_work in blocks[:-1]:
            key = (f"{self._name}-partial", *index, i, j)
            self._layer[key] = (Resume(self._executor, part_work), *before, *self._inputs(index, i, j))
            before = [key]
        j, part_work = blocks[-1]
        finishing = ResumeAndFinish(self._executor, part_work, work)
        self._layer[last] = (finishing, *before, *self._inputs(index, i, j))

    def _inputs(self, index: tuple[int, ...], i: int, j: int) -> list[Key]:
        """The chunks that a block reads."""
        keys = []
        for slot, array in zip(self._work.program.slots, self._arrays, strict=True):
            place = [0 if array.numblocks[axis] == 1 else number for axis, number in enumerate(index)]
            place += {Domain.I: [i], Domain.J: [j]}.get(slot.domain, [])
            keys.append((array.name, *place, 0))
        return keys

    def _only(self, region: Region) -> Region:
        """A region with the part of the ranges that it needs."""
        if region.ranges is None:
            return region
        return replace(region, ranges=region.ranges.only(region.row_domain, pairs_of(region)))

    def _result(self, graph: HighLevelGraph, number: int) -> da.Array:
        """One of the results as an array."""
        output, cut = self._work.program.outputs[number], self._cut
        dtype = "int64" if output.kind == INDEX else self._work.dtype
        name = f"{self._name}-{number}"
        places = product(*(range(len(chunks)) for chunks in (*cut.batch, cut.rows)))
        layer: Any = {(name, *place, 0): (getitem, (self._name, *place), number) for place in places}
        layers, dependencies = dict(graph.layers), dict(graph.dependencies)
        layers[name], dependencies[name] = layer, {self._name}
        return da.Array(HighLevelGraph(layers, dependencies), name, (*cut.batch, cut.rows, (output.dim,)), dtype=dtype)


def pairs_of(region: Region) -> Ranges:
    """The pairs of a region, with the numbers that they have in the whole call."""
    assert region.ranges is not None, "a region whose pairs are named"
    rows = (region.first_row, region.first_row + region.rows)
    columns = (region.first_column, region.first_column + region.columns)
    return region.ranges.pairs(region.row_domain).clipped(rows, columns)


def replaced_ranges(work: Work) -> Work:
    """A work without its ranges, which a merge does not read."""
    return work if work.region.ranges is None else work.on(replace(work.region, ranges=None))


def _shortened(chunks: Chunks) -> str:
    """The first few chunks, for an error."""
    return str(chunks) if len(chunks) <= 6 else f"({', '.join(map(str, chunks[:5]))}, .. {len(chunks)} of them)"


def _intervals(chunks: Chunks) -> list[Interval]:
    """The interval [start, end) of each chunk."""
    return list(pairwise(accumulate(chunks, initial=0)))


def _blocks(batch: Sequence[Chunks]) -> Iterator[tuple[tuple[int, ...], tuple[Interval, ...]]]:
    """The numbers of chunks of a batch, and where they begin and end."""
    for numbered in product(*(enumerate(_intervals(chunks)) for chunks in batch)):
        yield tuple(number for number, _ in numbered), tuple(interval for _, interval in numbered)
