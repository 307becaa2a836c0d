"""Boxes around chunks that are known before a graph is made: the graph has no task for chunks that cannot matter.

`compute_boxes` reads the arrays when it is called. The names of dask arrays stand for their contents, so boxes are kept
by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import dask.array as da
import numpy as np
from dask.base import compute
from dask.delayed import delayed

from clreduce.call.executor import Executor
from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.chunks import SLICES, Chunks, StoredSlices
from clreduce.call.pruning.running import obstacle_of_parameters
from clreduce.call.pruning.sides import Side
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import position
from clreduce.memo import Memo
from clreduce.partition import Boxes
from clreduce.reductions.reduction import Skips
from clreduce.typing import Array

_MOST_SLICES = 2**12
"""Slices of all chunks of an array, unless it has more chunks."""


@dataclass(frozen=True, eq=False)
class KnownBoxes:
    """The boxes around slices of the chunks of an array (N, D)."""

    chunks: tuple[int, ...]
    slices: tuple[StoredSlices, ...]
    """The slices of each chunk."""
    boxes: tuple[Boxes, ...]

    def of(self, start: int, stop: int) -> tuple[StoredSlices, Boxes]:
        """The slices of some chunks together, numbered from the first of their points, and the boxes of these."""
        parts = self.slices[start:stop]
        firsts = accumulate(self.chunks[start:stop], initial=0)
        edges = [part.edges[:-1] + first for part, first in zip(parts, firsts, strict=False)]
        points = sum(self.chunks[start:stop])
        together = StoredSlices(
            np.zeros(0, np.int64), max(part.size for part in parts), np.append(np.concatenate(edges), points)
        )  # fmt: skip
        ends = zip(*self.boxes[start:stop], strict=True)
        return together, Boxes(*(np.concatenate(end) for end in ends))


_KNOWN: Memo[str, KnownBoxes] = Memo(256)
"""The boxes of arrays, by their names."""


def compute_boxes(*arrays: da.Array) -> None:
    """Compute the boxes around the chunks of arrays now, so that graphs of later calls have fewer tasks.

    If the boxes of all arrays of i and j of a call are known, chunks that cannot change a result are neither loaded nor
    visited. This holds for the K nearest and other extrema, for `Count`, `Any`, `All`, and for `Sum` with ``atol``.
    Results are those of calls without boxes, sums within the tolerance. Each array is read once; persist arrays that
    take long to compute.

    Parameters
    ----------
    *arrays : dask.array.Array
        Arrays of shape (N, D), real and of the dtype of the calls, with whole rows in each chunk. Pass these arrays
        to the calls: arrays that are made of them, such as ``x[:10]`` or ``x.astype("float64")``, have other boxes.

    Raises
    ------
    ShapeError
        An array is no dask array of shape (N, D), or has an empty chunk, chunks of unknown sizes, or rows that lie in
        several chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> from clreduce.dask import Vi, Vj, compute_boxes
    >>> x = da.arange(8000, chunks=1000, dtype="float64")[:, None]  # 8 chunks along a line
    >>> tasks = len(Vi(x).sqdist(Vj(x)).argKmin(3, axis=1, prune=True).dask)
    >>> compute_boxes(x)
    >>> nearest = Vi(x).sqdist(Vj(x)).argKmin(3, axis=1, prune=True)
    >>> len(nearest.dask) < tasks / 2
    True
    >>> nearest[4000].compute().tolist()
    [4000, 3999, 4001]
    """
    tasks = []
    for array in arrays:
        _check(array)
        most = min(SLICES, max(1, _MOST_SLICES // array.numblocks[0]))
        tasks.append([delayed(_boxes)(block, most) for block in array.to_delayed().ravel()])
    for array, boxes in zip(arrays, compute(tasks)[0], strict=True):
        most = min(SLICES, max(1, _MOST_SLICES // array.numblocks[0]))
        slices = tuple(StoredSlices.of(points, most) for points in array.chunks[0])
        _KNOWN.keep(array.name, KnownBoxes(array.chunks[0], slices, tuple(boxes)))


def _check(array: object) -> None:
    if not isinstance(array, da.Array) or array.ndim != 2 or array.dtype.kind != "f":
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, da.Array) else type(array).__name__
        raise ShapeError(f"boxes are made of dask arrays of shape (N, D) of real numbers; got {got}")
    if array.numblocks[1] != 1 or not all(points > 0 for points in array.chunks[0]):
        raise ShapeError(
            f"boxes are made of chunks of known sizes that have points, and whole rows of these; got {array.chunks}: "
            "call compute_chunk_sizes() and rechunk({1: -1}) first"
        )


def _boxes(chunk: Array, most: int) -> Boxes:
    array = np.asarray(chunk)
    return StoredSlices.of(len(array), most).boxes(array)


@dataclass(frozen=True, eq=False)
class Visits:
    """The chunks of columns that matter for a chunk of rows."""

    chunks: Array
    """Whether each chunk is visited: (C,)."""
    first: int
    """The chunk that is likely to have the first terms."""
    atol: float
    """The part of the tolerance that is left for the chunks that are visited."""


@dataclass(frozen=True, eq=False)
class KnownChunks:
    """A call all of whose boxes are known."""

    work: Work
    executor: Executor
    parameters: dict[Expr, Array]
    known: dict[Expr, KnownBoxes]

    @classmethod
    def of(cls, work: Work, executor: Executor, arrays: Sequence[da.Array]) -> KnownChunks | None:
        """The call on dask arrays, if all of its boxes and parameters are known and it may skip pairs; else None."""
        region, skips = work.region, work.program.reduction.skips
        if not work.skips or work.selected is not None or region.batch or skips is Skips.SMALL_EXPONENTIALS:
            return None
        if skips is Skips.SMALL and work.program.reduction.name != "Sum":
            return None
        if skips.selects and region.ranges is not None:
            return None
        if any(
            node is position(domain) for node in topological(work.program.values) for domain in (Domain.I, Domain.J)
        ):
            return None
        known, parameters = {}, {}
        for slot, array in zip(work.program.slots, arrays, strict=True):
            if slot.domain == Domain.P:
                values = _literal(array)
                if values is None:
                    return None
                parameters[slot] = values
            elif array.name not in _KNOWN:
                return None
            else:
                known[slot] = _KNOWN[array.name]
        everything = [parameters.get(slot, np.zeros((0, slot.dim), work.dtype)) for slot in work.program.slots]
        if obstacle_of_parameters(work, everything):
            return None
        return cls(work, executor, parameters, known)

    def visits(self, number: int) -> Visits:
        """The chunks of columns that the rows of a chunk visit."""
        with np.errstate(all="ignore"):  # infinities and large numbers of the data, in bounds
            return self._visits(number)

    def _visits(self, number: int) -> Visits:
        pairs = self._pairs(number)
        chunks = Chunks(self.work, pairs)
        starts, pruning = self._chunk_starts, self.work.pruning
        skips, atol = self.work.program.reduction.skips, 0.0 if pruning is None else pruning.atol
        if skips is Skips.SMALL:
            changes = np.maximum.reduce(np.add.reduceat(chunks.sizes, starts, axis=1), axis=(0, 2))
            order = np.argsort(changes)
            is_left_out = np.zeros(len(starts), bool)
            # Half of the tolerance is for the terms of chunks that are visited.
            is_left_out[order] = np.cumsum(changes[order]) <= atol / 2
            return Visits(~is_left_out, 0, atol - float(changes[is_left_out].sum()))
        needed = np.asarray(np.logical_or.reduceat(chunks.needed(), starts, axis=1).any(axis=0))
        first = 0
        if skips.selects:
            least = np.minimum.reduceat(np.minimum(chunks.highest, np.finfo(self.work.dtype).max), starts, axis=1)
            first = int(np.where(needed, least.astype(np.float64).mean(axis=0), np.inf).argmin())
        return Visits(needed, first, atol)

    @cached_property
    def _chunk_starts(self) -> Array:
        """The number of the first slice of each chunk of columns."""
        slices = next(known.slices for slot, known in self.known.items() if slot.domain == Domain.J)
        return np.array(list(accumulate((part.count for part in slices[:-1]), initial=0)))

    def _pairs(self, number: int) -> BlockPairs:
        program, sides = self.work.program, {}
        for domain in (Domain.I, Domain.J):
            of_slots = {
                slot: known.of(number, number + 1) if domain == Domain.I else known.of(0, len(known.chunks))
                for slot, known in self.known.items() if slot.domain == domain
            }  # fmt: skip
            slices = next(iter(of_slots.values()))[0]
            sides[domain] = Side(slices, {}, boxes={slot: boxes for slot, (_, boxes) in of_slots.items()})
        arrays = {slot: self.parameters.get(slot, np.zeros((0, slot.dim))) for slot in program.slots}
        return BlockPairs(
            program, arrays, self.work.options, self.work.dtype, self.executor, sides[Domain.I], sides[Domain.J]
        )  # fmt: skip


def _literal(array: da.Array) -> Array | None:
    """The numbers of a dask array if its graph holds them; else None. Nothing is computed."""
    graph = dict(array.__dask_graph__())
    if len(graph) != 1:
        return None
    (value,) = graph.values()
    value = getattr(value, "value", value)  # a node of newer versions of dask
    return value if isinstance(value, np.ndarray) else None


__all__ = ["KnownChunks", "Visits", "compute_boxes"]
