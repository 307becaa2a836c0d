"""pyopencl's arrays: they stay in the context and on the queue that they came with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from pyopencl.array import Array as DeviceArray
from pyopencl.array import to_device

from clreduce.adapters.adapter import Adapter
from clreduce.adapters.numpy import NUMPY, is_symbolic
from clreduce.errors import DeviceError
from clreduce.runtime import resident
from clreduce.runtime.lent import LentQueue
from clreduce.typing import Array, DType

if TYPE_CHECKING:
    import pyopencl as cl


class CL(Adapter[DeviceArray, DeviceArray | Array]):
    """The adapter of pyopencl. Between arguments and results stand its arrays, and NumPy's where numbers were given."""

    name = "pyopencl"

    def __init__(self) -> None:
        self._names: dict[DType, str] = {}

    def accepts(self, value: object) -> TypeGuard[DeviceArray]:
        """Whether ``value`` is an array on a device; `DeviceError` for one without a queue."""
        if not isinstance(value, DeviceArray):
            return False
        if value.queue is None:
            raise DeviceError(
                f"an array of shape {value.shape} has no queue, so no kernel can read it: write x.with_queue(queue) "
                "first"
            )
        return True

    def advice(self, value: object) -> str:
        if is_symbolic(value):
            return NUMPY.advice(value)
        return "; write pyopencl.array.to_device(queue, x)"

    def to_host(self, value: DeviceArray) -> Array:
        """The numbers, which are copied to the host."""
        value = value if resident.is_contiguous(value) else resident.copied(value, value.dtype)
        numbers: Array = value.get() if value.size else np.empty(value.shape, value.dtype)
        return numbers

    def from_host(self, array: Array, like: DeviceArray | None) -> DeviceArray:
        if like is None:
            raise DeviceError("the device of the result is unknown: pass at least one argument as a pyopencl array")
        return to_device(resident.queue_of(like), np.ascontiguousarray(array), allocator=like.allocator)

    def shape(self, value: DeviceArray) -> tuple[int, ...]:
        shape: tuple[int, ...] = value.shape
        return shape

    def dtype_name(self, value: DeviceArray) -> str:
        name = self._names.get(value.dtype)
        if name is None:
            name = self._names[value.dtype] = str(value.dtype.name)
        return name

    def place(self, value: DeviceArray | None) -> cl.Context | None:
        """The context: arrays of different ones do not mix."""
        return None if value is None else value.context

    def copy_into(self, out: DeviceArray, result: DeviceArray) -> DeviceArray:
        if result.base_data is not out.base_data or result.offset != out.offset:
            resident.assign(out, result)
        return out

    def writable(self, out: DeviceArray) -> bool:
        axes = zip(out.strides, out.shape, strict=True)
        return bool(out.size == 0 or all(stride != 0 or size < 2 for stride, size in axes))

    def overlap(self, out: DeviceArray, other: DeviceArray | Array) -> bool:
        """Whether both are of one allocation, and their intervals in it meet; true where that cannot be told."""
        if not isinstance(other, DeviceArray) or not (out.size and other.size):
            return False
        if out.base_data is not other.base_data and out.base_data != other.base_data:
            return bool(self._allocation(out) == self._allocation(other))
        (a, b), (c, d) = _extent(out), _extent(other)
        return a < d and c < b

    @staticmethod
    def _allocation(array: DeviceArray) -> Any:
        """The buffer that an array's is a part of."""
        import pyopencl as cl

        data = array.base_data
        if not isinstance(data, cl.MemoryObjectHolder):
            return id(data)
        parent: Any = data.get_info(cl.mem_info.ASSOCIATED_MEMOBJECT)
        return data.int_ptr if parent is None else parent.int_ptr

    def forms(self, arguments: Sequence[object]) -> tuple[Hashable, ...] | None:
        forms = []
        for value in arguments:
            if type(value) is not DeviceArray or value.queue is None:
                return None
            context: Any = value.context
            forms.append((value.shape, value.dtype, value.strides, context.int_ptr))
        return tuple(forms)

    # ------------------------------------------------------------------ arrays between the arguments and the results

    def arranged(self, value: DeviceArray | Array, dtype: str, shape: tuple[int, ...]) -> DeviceArray | Array:
        if isinstance(value, np.ndarray):
            return NUMPY.arranged(value, dtype, shape)
        array: DeviceArray = value
        if array.dtype.kind == "c":
            array = array if resident.is_contiguous(array) else resident.copied(array, array.dtype)
            array = (array.reshape(1) if array.ndim == 0 else array).view(np.dtype(f"float{4 * array.dtype.itemsize}"))
        if array.dtype == dtype and resident.is_contiguous(array):
            return array if array.shape == shape else array.reshape(shape)
        return resident.copied(array, dtype, shape)

    def on_host(self, array: DeviceArray | Array) -> Array:
        return array if isinstance(array, np.ndarray) else self.to_host(array)

    def evaluated(self, array: DeviceArray | Array) -> DeviceArray | Array:
        return array

    def target(self, out: DeviceArray) -> DeviceArray:
        return out if resident.is_contiguous(out) else self._new(out.shape, out.dtype, resident.place_of_array(out))

    def empty(self, shape: tuple[int, ...], dtype: str, beside: Sequence[DeviceArray | Array]) -> DeviceArray:
        return self._new(shape, dtype, resident.place_of_arrays(beside))

    def _new(self, shape: tuple[int, ...], dtype: str | DType, place: LentQueue) -> DeviceArray:
        with place.device.at(place):
            array: DeviceArray = place.device.new_array(shape, dtype)
        return array

    def between(self, array: Array, like: DeviceArray | None) -> Array:
        return array

    def zeros_like(self, array: DeviceArray | Array) -> DeviceArray | Array:
        return np.zeros_like(array) if isinstance(array, np.ndarray) else self._zeros(array)

    def _zeros(self, array: DeviceArray) -> DeviceArray:
        made = self._new(array.shape, array.dtype, resident.place_of_array(array))
        if made.size:
            made.fill(0)
        return made

    def finished(self, array: DeviceArray | Array, dtype: str, like: DeviceArray | None) -> DeviceArray:
        if isinstance(array, np.ndarray):
            with np.errstate(over="ignore"):
                return self.from_host(array.astype(dtype, copy=False), like)
        return array if array.dtype == dtype else resident.copied(array, dtype)

    def finished_complex(self, array: DeviceArray | Array, like: DeviceArray | None) -> DeviceArray:
        return self.as_complex(self.from_host(array, like) if isinstance(array, np.ndarray) else array)

    # ------------------------------------------------------------------------------------------- results, as they are

    def as_complex(self, result: DeviceArray) -> DeviceArray:
        if result.dtype == np.float16:
            result = resident.copied(result, "float32")
        numbers: DeviceArray = result.view({"float32": np.complex64, "float64": np.complex128}[result.dtype.name])
        return numbers

    def reduced(self, name: str, result: DeviceArray, axes: tuple[int, ...]) -> DeviceArray:
        if name == "mean":
            number = prod(result.shape[axis] for axis in axes)
            mean: DeviceArray = resident.reduced(result, "sum", axes)
            mean = mean * result.dtype.type(1 / number if number else np.nan)
            return mean
        return resident.reduced(result, name, axes)

    def rows(self, array: DeviceArray, chosen: Array) -> DeviceArray:
        return resident.taken(array, chosen)

    def entry(self, array: DeviceArray, index: DeviceArray) -> DeviceArray:
        from pyopencl.array import take

        entry: DeviceArray = take(array, index.reshape(1)).reshape(())
        return entry

    def swapped(self, array: DeviceArray) -> DeviceArray:
        axes = (*range(array.ndim - 2), array.ndim - 1, array.ndim - 2)
        return self.permuted(array, axes)

    def permuted(self, array: DeviceArray, axes: tuple[int, ...]) -> DeviceArray:
        view = resident.permuted(array, axes)
        return view if resident.is_contiguous(view) else resident.copied(view, view.dtype)

    def broadcast(self, array: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
        return array if array.shape == shape else resident.copied(resident.broadcast(array, shape), array.dtype)


def _extent(array: DeviceArray) -> tuple[int, int]:
    """The interval of bytes that a non-empty array covers in its buffer."""
    spans = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    start = array.offset + sum(min(span, 0) for span in spans)
    return start, array.offset + sum(max(span, 0) for span in spans) + array.dtype.itemsize


CL_ARRAYS = CL()
