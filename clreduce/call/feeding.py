"""Conversion of a work's arrays to the form that kernels read, and completion of results on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.call.lists import candidates, fill_lists, has_gaps
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.runtime.memory import without_repeats
from clreduce.runtime.region import Region
from clreduce.runtime.resident import complete_lists, copied, is_contiguous, is_resident
from clreduce.runtime.sources import BlockSource, whole
from clreduce.typing import Array

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray


def has_sources(arrays: Sequence[object]) -> bool:
    """Whether some of the arrays are read block by block (`BlockSource`)."""
    for array in arrays:  # noqa: SIM110 (as in `are_plain`)
        if type(array) is BlockSource:
            return True
    return False


def with_parameters(work: Work, arrays: Sequence[Array]) -> Sequence[Array]:
    """The arrays, with parameters read into memory: every block needs them whole."""
    if not has_sources(arrays):
        return arrays
    return [
        whole(array) if slot.domain == Domain.P else array
        for slot, array in zip(work.program.slots, arrays, strict=True)
    ]


def are_plain(arrays: Sequence[object]) -> bool:
    """Whether all arrays are contiguous NumPy arrays, which kernels read in place. It runs in every call."""
    for array in arrays:  # noqa: SIM110 (a generator takes three times as long)
        if type(array) is not np.ndarray or not array.flags.c_contiguous:
            return False
    return True


def as_read(arrays: Sequence[Array], region: Region) -> list[Array]:
    """The arrays in memory and contiguous. An array that repeats along a batch dimension is stored once."""
    if are_plain(arrays):
        return list(arrays)
    sources: Sequence[Any] = arrays
    return [
        array if type(array) is not BlockSource and has_order(array) else _as_read(array, len(region.batch))
        for array in sources
    ]


def has_order(array: Array | DeviceArray) -> bool:
    """Whether an array is C-contiguous, as kernels read and write it."""
    return is_contiguous(array) if is_resident(array) else bool(array.flags.c_contiguous)


def _as_read(array: Any, dimensions: int) -> Any:
    if is_resident(array):
        return copied(array, array.dtype)
    return np.ascontiguousarray(without_repeats(whole(array), dimensions))


def completed_lists(work: Work, results: tuple[Array, ...]) -> tuple[Array, ...]:
    """Complete the results of kernels in place: they lack the indices of infinite terms in K nearest lists."""
    if not work.lists:
        return results
    region = work.region
    for number in work.lists:
        result = results[number]
        if is_resident(result):
            count = work.program.reduction.count or 1
            complete_lists(result, region.rows, count, candidates(region, count))
        elif has_gaps(result):
            places = result.reshape((*region.batch, region.rows, work.program.reduction.count, -1))
            fill_lists(places, region.first_column, region.columns, region.pairs)
            if not np.may_share_memory(places, result):
                result[...] = places.reshape(result.shape)
    return results
