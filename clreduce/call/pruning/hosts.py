"""Arrays that are not in the memory of the host, where points are sorted: copy them, or visit all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.call.feeding import has_sources
from clreduce.call.pruning.request import DEFAULT
from clreduce.call.work import Work
from clreduce.errors import OptionError
from clreduce.runtime.resident import copied, first_resident, is_contiguous, is_resident, queue_of
from clreduce.runtime.sources import whole
from clreduce.typing import Array

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray


def on_host(array: Array | DeviceArray) -> Array:
    """The array in the memory of the host, copied from its device or read from its file."""
    if is_resident(array):
        array = array if is_contiguous(array) else copied(array, array.dtype)
        numbers: Array = array.get() if array.size else np.empty(array.shape, array.dtype)
        return numbers
    on_host: Any = array
    return whole(on_host)


def on_device(result: Array, beside: DeviceArray) -> Any:
    """A result, copied to the device and queue of the array ``beside``."""
    from pyopencl.array import to_device

    return to_device(queue_of(beside), np.ascontiguousarray(result), allocator=beside.allocator)


def obstacle(work: Work, arrays: Sequence[object]) -> str:
    """The reason why all pairs are visited if arrays are not on the host; "" if there is none.

    ``prune=True`` with arrays that are read block by block is an `OptionError`.
    """
    pruning = work.pruning or DEFAULT
    if has_sources(arrays):
        if pruning.demanded:
            raise OptionError(
                "prune=True sorts the points in memory, but this call reads its arrays block by block from a file: "
                "read the arrays first, by x[:] or numpy.asarray(x), or leave prune='auto', which visits all pairs"
            )
        return "arrays are read block by block"
    if first_resident(arrays) is not None and not pruning.prune:
        return "arrays are on a device; prune=True copies them to the host, where points are sorted"
    return ""
