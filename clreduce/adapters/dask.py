"""Dask's arrays: chunks that are computed later, perhaps elsewhere. Only `to_host` looks at numbers."""

from __future__ import annotations

import math
from typing import TypeGuard

import dask.array as da
import numpy as np

from clreduce.adapters.adapter import Adapter
from clreduce.adapters.numpy import NUMPY
from clreduce.errors import ShapeError
from clreduce.runtime.sources import is_block_source
from clreduce.typing import Array


class Dask(Adapter[da.Array, da.Array]):
    """The adapter of Dask's arrays. An array of another library becomes one of a single chunk."""

    name = "dask"

    def accepts(self, value: object) -> TypeGuard[da.Array]:
        """Whether ``value`` is a dask array. Raises `ShapeError` if its shape is unknown: it cannot be checked."""
        if not isinstance(value, da.Array):
            return False
        if any(math.isnan(size) for size in value.shape):
            raise ShapeError(
                f"an array of shape {value.shape} has chunks of unknown sizes, as after a selection by a mask: "
                "call x.compute_chunk_sizes() first"
            )
        return True

    def foreign(self, value: object) -> da.Array | None:
        """Arrays of other libraries in the host's memory, and the dask array inside a wrapper such as xarray's."""
        inner = getattr(value, "data", None)
        if isinstance(inner, da.Array):
            return inner if self.accepts(inner) else None
        array = value if NUMPY.accepts(value) else NUMPY.foreign(value)
        if is_block_source(array):  # of a file: in chunks that Dask chooses, with whole vectors
            return da.from_array(array.value, chunks=(*("auto",) * (array.ndim - 1), -1 if array.ndim > 1 else "auto"))
        return None if array is None else da.from_array(array, chunks=-1)

    def advice(self, value: object) -> str:
        return NUMPY.advice(value)

    def to_host(self, value: da.Array) -> Array:
        """The values of an array, which this computes."""
        return NUMPY.to_host(value.compute())

    def from_host(self, array: Array, like: da.Array | None) -> da.Array:
        """``array`` as one chunk."""
        return da.from_array(array, chunks=-1)

    def shape(self, value: da.Array) -> tuple[int, ...]:
        found: tuple[int, ...] = value.shape
        return found

    def dtype_name(self, value: da.Array) -> str:
        return str(value.dtype.name)

    def copy_into(self, out: da.Array, result: da.Array | Array) -> da.Array:
        raise AssertionError("results are not computed yet: routines refuse out=")

    # ------------------------------------------------------------------ arrays between the arguments and the results

    def arranged(self, value: da.Array, dtype: str, shape: tuple[int, ...]) -> da.Array:
        array = value
        if array.dtype.kind == "c":
            array = array[None] if array.ndim == 0 else array
            chunks = (*array.chunks[:-1], tuple(2 * size for size in array.chunks[-1]))
            array = da.map_blocks(_as_pairs, array, dtype=array.real.dtype, chunks=chunks)
        array = _reshaped(array.astype(dtype), shape)
        if array.numblocks[-1] > 1:
            raise ShapeError(
                f"each vector must lie in one chunk; an array of shape {value.shape} has chunks of {value.chunks[-1]} "
                "components: write x.rechunk({-1: -1})"
            )
        return array

    def on_host(self, array: da.Array) -> Array:
        return self.to_host(array) if isinstance(array, da.Array) else array

    def between(self, array: Array, like: da.Array | None) -> da.Array:
        return self.from_host(array, like)

    def zeros_like(self, array: da.Array) -> da.Array:
        return da.zeros_like(array)

    def finished(self, array: da.Array, dtype: str, like: da.Array | None) -> da.Array:
        return da.map_blocks(_rounded, array, dtype=dtype) if dtype == "float16" and array.dtype.kind == "f" else array

    def finished_complex(self, array: da.Array, like: da.Array | None) -> da.Array:
        dtype = np.result_type(array.dtype, np.complex64)
        chunks = (*array.chunks[:-1], tuple(size // 2 for size in array.chunks[-1]))
        return da.map_blocks(_as_complex, array, dtype=dtype, chunks=chunks)

    # ------------------------------------------------------------------------------------------- results, as they are

    def as_complex(self, result: da.Array) -> da.Array:
        return self.finished_complex(result, None)

    def reduced(self, name: str, result: da.Array, axes: tuple[int, ...]) -> da.Array:
        if name == "logsumexp":
            largest = result.max(axis=axes, keepdims=True)
            shift = da.where(da.isfinite(largest), largest, 0)
            sums = da.exp(result - shift).sum(axis=axes)
            return da.log(sums) + shift.reshape(sums.shape)
        return getattr(da, name)(result, axis=axes[0] if name.startswith("arg") else axes)

    def rows(self, array: da.Array, chosen: Array) -> da.Array:
        return array[chosen]

    def entry(self, array: da.Array, index: da.Array) -> da.Array:
        return array[index]

    def swapped(self, array: da.Array) -> da.Array:
        return array.swapaxes(-1, -2)

    def permuted(self, array: da.Array, axes: tuple[int, ...]) -> da.Array:
        return array.transpose(axes)

    def broadcast(self, array: da.Array, shape: tuple[int, ...]) -> da.Array:
        return da.broadcast_to(array, shape)


def _as_pairs(block: Array) -> Array:
    pairs: Array = np.ascontiguousarray(block).view(block.real.dtype)
    return pairs


def _as_complex(block: Array) -> Array:
    numbers: Array = np.ascontiguousarray(block).view(np.result_type(block.dtype, np.complex64))
    return numbers


def _rounded(block: Array) -> Array:
    with np.errstate(over="ignore"):
        return block.astype(np.float16)


def _reshaped(array: da.Array, shape: tuple[int, ...]) -> da.Array:
    """The array with axes of length 1 in front and at the end, so that its chunks stay as they are."""
    if array.shape == shape:
        return array
    if array.ndim == 0 or array.shape != shape[len(shape) - array.ndim :]:
        array = array[..., None]
    return array[(None,) * (len(shape) - array.ndim)].reshape(shape)


DASK = Dask()
