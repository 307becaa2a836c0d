"""NumPy arrays are what kernels read: nothing to convert but strides."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

name = "numpy"
_names: dict[Any, str] = {}
"""NumPy makes a dtype's name anew each time, in several microseconds."""


def accepts(value: Any) -> bool:
    """Whether ``value`` is an array of this library. A masked array is not: its mask would be lost."""
    return isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)


def to_host(value: Any) -> Array:
    """``value`` as a C-contiguous NumPy array in native byte order; the same memory where that holds already."""
    array: Array = np.ascontiguousarray(value).reshape(np.shape(value))
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def copy_into(out: Any, result: Array) -> Any:
    """``out`` with the values of ``result``, which may be in its memory already."""
    if not np.shares_memory(out, result):
        out[...] = result
    return out


def writable(out: Any) -> bool:
    """Whether results can be written into ``out``, each number into a place of its own."""
    spread = all(stride or size < 2 for stride, size in zip(out.strides, out.shape, strict=True))
    return bool(out.flags.writeable) and (spread or out.size == 0)


def from_host(array: Array, like: Any) -> Any:
    """A result in this library's form, beside the argument ``like``."""
    return array


def dtype_name(value: Any) -> str:
    """The name of an array's dtype, as NumPy spells it."""
    dtype = value.dtype
    found = _names.get(dtype)
    if found is None:
        found = _names[dtype] = str(dtype.name)
    return found


def as_complex(result: Array) -> Array:
    """Interleaved real and imaginary parts, along the last axis, as complex numbers."""
    result = result.astype(np.float32) if result.dtype == np.float16 else result
    found: Array = result.view({"float32": np.complex64, "float64": np.complex128}[result.dtype.name])
    return found


def reduced(name: str, result: Array, axes: tuple[int, ...]) -> Array:
    """The sum, minimum ... of a result over further axes."""
    found: Array = getattr(np, name)(result, axis=axes)
    return found


def swapped(array: Array) -> Array:
    """The last two axes exchanged."""
    found: Array = array.swapaxes(-1, -2)
    return found
