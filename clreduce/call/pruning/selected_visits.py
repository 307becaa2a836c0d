"""Visits of the pairs whose positions are selected, by the indices that a call has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clreduce.call.executor import Executor
from clreduce.call.pruning.cutting import pairs_of
from clreduce.call.pruning.hosts import on_host
from clreduce.call.pruning.request import NEVER
from clreduce.call.pruning.selected_terms import Selected
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import position
from clreduce.memo import Memo
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region
from clreduce.runtime.resident import first_resident
from clreduce.typing import Array

_ON_GPUS = 2**18
"""On a GPU, and for arrays on a device, a call visits selected pairs only if it has at least this many pairs for each
of them. This is an estimate: no GPU was measured."""


def visit_selected(
    work: Work, selected: Selected, arrays: Sequence[Array], executor: Executor
) -> tuple[tuple[Array, ...], int]:
    """The results of a sum by a visit of the pairs whose positions are selected, and how many these are."""
    region, named = work.region, work.region.pairs
    pairs = selected_pairs(selected, work.program.slots, arrays, region)
    if named is not None:
        pairs = common(pairs, named)
    visited = pairs_of(pairs)
    if not visited:  # a device has nothing to do, but rows have results
        pairs = Ranges(np.array([[0, region.rows]]), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
    numbered = Ranges(pairs.blocks + region.first_row, pairs.owners, pairs.pieces + region.first_column)
    sizes = region.first_row + region.rows, region.first_column + region.columns
    part = replace(region, ranges=CheckedRanges.by_rows(numbered, *sizes), row_domain=Domain.I, once=False)
    return executor.run((replace(work, region=part, pruning=NEVER), Memo(), arrays)), visited


def obstacle(work: Work, selected: Selected, arrays: Sequence[Array], executor: Executor) -> str:
    """The reason why all pairs are visited; "" if only the selected ones are."""
    region, named = work.region, work.region.pairs
    if region.area < _ON_GPUS * selected.pairs(region):
        if first_resident(arrays) is not None:
            return "arrays are on a device, where indices would have to be copied from"
        if executor.first_device().facts.kind != "cpu":
            return "a GPU may visit them in less time than it takes to sort indices on the host"
    if named is not None and pairs_of(named.once()) < pairs_of(named):
        return "the ranges list some pairs several times"
    return ""


def selected_pairs(selected: Selected, slots: Sequence[Expr], arrays: Sequence[Array], region: Region) -> Ranges:
    """The pairs of a region at which terms may be other than 0, as ranges by rows, numbered from 0."""
    sizes = {Domain.I: region.rows, Domain.J: region.columns}
    firsts = {Domain.I: region.first_row, Domain.J: region.first_column}
    other = selected.index.swapped()
    values = dict(zip(slots, arrays, strict=True))
    read = {leaf for leaf in topological(selected.places) if leaf.op.name == "variable"}
    numbers: dict[Expr, Array] = {leaf: np.atleast_2d(on_host(values[leaf])) for leaf in read}
    numbers[position(other)] = np.arange(firsts[other], firsts[other] + sizes[other]).reshape(-1, 1)
    parts = [
        np.broadcast_to(part, (sizes[other], place.dim))
        for part, place in zip(evaluate(selected.places, numbers), selected.places, strict=True)
    ]
    nothing = np.zeros((sizes[other], 0), np.int64)
    positions = np.concatenate([nothing, *parts], axis=1).astype(np.int64) - firsts[selected.index]
    selecting, number = np.nonzero((positions >= 0) & (positions < sizes[selected.index]))
    chosen = positions[selecting, number]
    rows, columns = (selecting, chosen) if other == Domain.I else (chosen, selecting)
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    rows, columns = rows[is_new], columns[is_new]
    blocks, slices = np.unique(rows, return_counts=True)
    return Ranges.of(
        np.stack((blocks, blocks + 1), axis=1), np.cumsum(slices), np.stack((columns, columns + 1), axis=1)
    )  # fmt: skip


def common(pairs: Ranges, others: Ranges) -> Ranges:
    """The pairs that are in ``pairs`` and in ``others``. Blocks and pieces of ``pairs`` have length 1, and ``others``
    lists each pair once."""
    order = np.argsort(others.blocks[:, 0])
    rows, columns = pairs.blocks[pairs.owners, 0], pairs.pieces
    singles = columns[:, 1] - columns[:, 0]
    rows, first = np.repeat(rows, singles), np.repeat(columns[:, 0], singles)
    numbers = first + (np.arange(len(first)) - np.repeat(np.cumsum(singles) - singles, singles))
    place = np.searchsorted(others.blocks[order, 0], rows, side="right") - 1
    block = order[np.maximum(place, 0)] if len(order) else np.zeros(len(rows), np.int64)
    inside = place >= 0
    inside[inside] = rows[inside] < others.blocks[block[inside], 1]
    far = int(others.pieces.max(initial=0)) + int(numbers.max(initial=0)) + 1  # moves the pieces of blocks apart
    piece = np.searchsorted(others.owners * far + others.pieces[:, 0], block * far + numbers, side="right") - 1
    inside &= piece >= 0
    inside[inside] = (others.owners[piece[inside]] == block[inside]) & (
        numbers[inside] < others.pieces[piece[inside], 1]
    )
    rows, numbers = rows[inside], numbers[inside]
    blocks, slices = np.unique(rows, return_counts=True)
    return Ranges.of(
        np.stack((blocks, blocks + 1), axis=1), np.cumsum(slices), np.stack((numbers, numbers + 1), axis=1)
    )  # fmt: skip
