"""Numbers that pruning needs on the host, wherever the arrays of a call are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clreduce.call.executor import Executor
from clreduce.runtime.device import Device
from clreduce.runtime.resident import copied, first_resident, is_contiguous, is_resident, place_of_array
from clreduce.runtime.sources import whole
from clreduce.typing import Array


def on_host(array: Any) -> Array:
    """The numbers of an array: copied from its device, or read from its file."""
    if is_resident(array):
        array = array if is_contiguous(array) else copied(array, array.dtype)
        numbers: Array = array.get() if array.size else np.empty(array.shape, array.dtype)
        return numbers
    return whole(array)


def device_of(executor: Executor, arrays: Sequence[Any]) -> Device:
    """The device on which a call with these arrays runs; the first of several."""
    array = first_resident(arrays)
    return executor.first_device() if array is None else place_of_array(array).device
