"""NumPy arrays are what kernels read: nothing to convert but strides."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeGuard

import numpy as np

from clreduce.adapters.adapter import HostAdapter
from clreduce.adapters.foreign import has_dlpack
from clreduce.runtime.sources import BlockSource, as_array, is_source, whole
from clreduce.typing import Array, DType

_HOST = 1
"""The number of the host's memory among the devices of DLPack."""


class NumPy(HostAdapter[Array]):
    """The adapter of NumPy."""

    name = "numpy"

    def __init__(self) -> None:
        # NumPy makes a dtype's name anew each time, in several microseconds.
        self._names: dict[DType, str] = {}

    def accepts(self, value: object) -> TypeGuard[Array]:
        """Whether ``value`` is an array. A masked array is not: its mask would be lost."""
        return isinstance(value, (np.ndarray, BlockSource)) and not isinstance(value, np.ma.MaskedArray)

    def foreign(self, value: object) -> Array | None:
        """Arrays of other libraries in the host's memory, without a copy if the library shares it; lists of rows."""
        if isinstance(value, (np.ndarray, np.generic, str, bytes)) or _follows_gradients(value) or is_symbolic(value):
            return None
        if is_source(value):
            return as_array(BlockSource(value))
        try:
            if has_dlpack(value):
                return np.from_dlpack(value) if value.__dlpack_device__()[0] == _HOST else None
            lends = hasattr(value, "__array__") or isinstance(value, memoryview)
            array = np.asarray(value) if lends or _is_table(value) else None
        except (TypeError, ValueError, RuntimeError, BufferError):
            return None
        return array if array is not None and array.dtype.kind in "biufc" else None

    def advice(self, value: object) -> str:
        if isinstance(value, np.ma.MaskedArray):
            return ": its mask would be lost; write x.filled(0), or x.data[~x.mask.any(axis=1)] for complete rows"
        if is_symbolic(value):
            return "; write K.dense()"
        if _follows_gradients(value):
            return ": for gradients write clreduce.torch, else x.detach().cpu().numpy()"
        if hasattr(value, "toarray"):
            return "; write x.toarray()"
        if type(value).__name__.endswith("Tracer"):
            return ": a value that JAX traces has no numbers; call this outside of jit, grad and vmap"
        if has_dlpack(value):
            on_host = value.__dlpack_device__()[0] == _HOST
            return ", of a dtype that NumPy does not have" if on_host else ", not in the host's memory; write x.cpu()"
        if hasattr(value, "to_numpy"):
            return ", with columns that are no numbers; write x[columns].to_numpy(float)"
        dtype = getattr(value, "dtype", None)
        if getattr(dtype, "kind", "?") in "OSUMmV" and hasattr(value, "__getitem__"):
            return f" of dtype {dtype}: what is read block by block has real numbers, integers or booleans"
        return "; write np.asarray(x)" if isinstance(value, (list, tuple)) else ""

    def to_host(self, value: Array | BlockSource) -> Array:
        """``value``, contiguous and in native byte order."""
        value = whole(value)
        array: Array = np.ascontiguousarray(value).reshape(np.shape(value))
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def from_host(self, array: Array, like: Array | None) -> Array:
        """``array`` itself."""
        return array

    def shape(self, value: Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = value.shape
        return shape

    def dtype_name(self, value: Array) -> str:
        dtype = value.dtype
        name = self._names.get(dtype)
        if name is None:
            name = self._names[dtype] = str(dtype.name)
        return name

    def forms(self, arguments: Sequence[object]) -> tuple[Hashable, ...] | None:
        forms = []
        for value in arguments:
            if type(value) is not np.ndarray:
                return None
            forms.append((value.shape, value.dtype, value.flags.c_contiguous))
        return tuple(forms)

    def arranged(self, value: Array | BlockSource, dtype: str, shape: tuple[int, ...]) -> Array:
        if isinstance(value, BlockSource):
            return as_array(value.arranged(dtype, shape))
        if isinstance(value, np.memmap) and value.dtype != dtype and value.dtype.kind != "c":
            return as_array(BlockSource(value, dtype, shape))  # converted block by block
        if 0 in value.strides and not value.flags.c_contiguous:
            return self._arranged_view(value, dtype, shape)
        if value.shape == shape and value.dtype == dtype:
            return np.ascontiguousarray(value)
        return super().arranged(value, dtype, shape)

    def _arranged_view(self, value: Array, dtype: str, shape: tuple[int, ...]) -> Array:
        """``value`` arranged without repeating entries that it repeats: only different ones are copied."""
        axes = value.ndim - 1 if value.dtype.kind == "c" else value.ndim  # the last one becomes pairs
        once = value[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.strides[:axes])]
        pairs = 2 if value.dtype.kind == "c" else 1
        numbers = super().arranged(once, dtype, (*once.shape[:-1], pairs * once.shape[-1]))
        return np.broadcast_to(numbers, (*value.shape[:-1], pairs * value.shape[-1])).reshape(shape)

    def overlap(self, out: Array, other: Array | BlockSource) -> bool:
        return not isinstance(other, BlockSource) and np.may_share_memory(self.to_host(out), other)

    def copy_into(self, out: Array, result: Array) -> Array:
        if not np.shares_memory(out, result):
            out[...] = result
        return out

    def writable(self, out: Array) -> bool:
        spread = all(stride or size < 2 for stride, size in zip(out.strides, out.shape, strict=True))
        return bool(out.flags.writeable) and (spread or out.size == 0)

    def as_complex(self, result: Array) -> Array:
        result = result.astype(np.float32) if result.dtype == np.float16 else result
        numbers: Array = result.view({"float32": np.complex64, "float64": np.complex128}[result.dtype.name])
        return numbers

    def reduced(self, name: str, result: Array, axes: tuple[int, ...]) -> Array:
        if name == "logsumexp":
            largest = result.max(axis=axes, keepdims=True, initial=-np.inf)
            shift = np.where(np.isfinite(largest), largest, 0)
            with np.errstate(divide="ignore"):
                reduced: Array = np.log(np.exp(result - shift).sum(axis=axes)) + shift.reshape(
                    [size for axis, size in enumerate(shift.shape) if axis not in axes]
                )
            return reduced
        reduced = getattr(np, name)(result, axis=axes[0] if name.startswith("arg") else axes)
        return reduced

    def entry(self, array: Array, index: Array) -> Array:
        entry: Array = array[index]
        return entry

    def swapped(self, array: Array) -> Array:
        swapped: Array = array.swapaxes(-1, -2)
        return swapped

    def permuted(self, array: Array, axes: tuple[int, ...]) -> Array:
        permuted: Array = array.transpose(axes)
        return permuted

    def broadcast(self, array: Array, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(array, shape)


def _follows_gradients(value: object) -> bool:
    """Whether ``value`` is a tensor whose gradients would be lost."""
    return getattr(value, "requires_grad", False) is True


def is_symbolic(value: object) -> bool:
    """Whether ``value`` is a symbolic tensor, whose dense array is made on request only."""
    return getattr(value, "__GenericLazyTensor__", False) is True


def _is_table(value: object) -> bool:
    """Whether ``value`` is a list of rows."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], (list, tuple, np.ndarray))


NUMPY = NumPy()
