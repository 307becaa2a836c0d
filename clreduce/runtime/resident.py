"""Functions for arrays that stay on their device: ``pyopencl.array.Array``, in a context of the caller.

They replace the functions of NumPy that serve arrays on the host: copies in another dtype or layout, reductions over
axes, and the completion of K nearest lists. Each runs a kernel on the array's queue. The kernel waits for the events of
the arrays that it reads, and its own event is added to the array that it writes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import numpy as np

from clreduce.errors import DtypeError, ShapeError
from clreduce.runtime.lent import LentQueue, place_of
from clreduce.runtime.resident_kernels import Order, kernel_of_text, table_of
from clreduce.typing import Array, DType

if TYPE_CHECKING:
    import pyopencl as cl
    from pyopencl.array import Array as DeviceArray

AnyPlace = TypeVar("AnyPlace", Array, "DeviceArray")
"""Arrays of the host, or of a device."""

TYPES = {
    "bool": "uchar", "int8": "char", "uint8": "uchar", "int16": "short", "uint16": "ushort", "int32": "int",
    "uint32": "uint", "int64": "long", "uint64": "ulong", "float16": "half", "float32": "float", "float64": "double",
    "complex64": "float2", "complex128": "double2",
}  # fmt: skip
"""The OpenCL type of each NumPy dtype."""


def is_resident(array: object) -> TypeGuard[DeviceArray]:
    """Whether ``array`` is a ``pyopencl.array.Array``."""
    module = sys.modules.get("pyopencl.array")
    return module is not None and isinstance(array, module.Array)


def first_resident(arrays: Sequence[object]) -> DeviceArray | None:
    """The first ``pyopencl.array.Array`` among ``arrays``; None if there is none."""
    module = sys.modules.get("pyopencl.array")
    if module is not None:
        for array in arrays:
            if isinstance(array, module.Array):
                first: DeviceArray = array
                return first
    return None


def queue_of(array: DeviceArray) -> cl.CommandQueue:
    """The queue of an array; front ends refuse arrays without one."""
    queue: cl.CommandQueue | None = array.queue
    assert queue is not None
    return queue


def place_of_array(array: DeviceArray) -> LentQueue:
    """The queue of an array. Computations with the array run on that queue."""
    return place_of(queue_of(array), array.allocator)


def place_of_arrays(arrays: Sequence[object]) -> LentQueue:
    """The queue of the first device array among ``arrays``, which contain one."""
    array = first_resident(arrays)
    assert array is not None
    return place_of_array(array)


def is_contiguous(array: DeviceArray) -> bool:
    """Whether an array is C-contiguous; an empty array is."""
    step = array.dtype.itemsize
    for size, stride in zip(reversed(array.shape), reversed(array.strides), strict=True):
        if size != 1 and stride != step:
            return bool(array.size == 0)
        step *= size
    return True


# --------------------------------------------------------------------------------------------------------- kernels


def _run(source: str, items: int, written: DeviceArray, read: Sequence[DeviceArray], numbers: Sequence[int]) -> None:
    """Run a kernel over ``items`` on the queue of ``written``, after the commands that write to any of the arrays.

    Its arguments are the data of ``written`` and of ``read``, the offset of each in numbers, and ``numbers``.
    """
    if items == 0:
        return
    place, arrays = place_of_array(written), [written, *read]
    kernel = kernel_of_text(source, "run", len(arrays), place.device)
    order = Order(place)
    for array in arrays:
        order.after(array)
    offsets = [array.offset // array.dtype.itemsize for array in arrays]
    buffers = [array.base_data for array in arrays]
    order.launched(kernel(place.queue, (items,), None, *buffers, *offsets, *numbers, wait_for=order.before))
    order.became([written], read)


def _type(array: DeviceArray) -> str:
    name = array.dtype.name
    if name not in TYPES:
        raise DtypeError(f"arrays on a device are of real numbers, integers or booleans here; got {name}")
    return TYPES[name]


def _load(kind: str, array: str, place: str) -> str:
    return f"vload_half({place}, {array})" if kind == "half" else f"{array}[{place}]"


def _store(kind: str, array: str, place: str, value: str) -> str:
    return f"vstore_half((float)({value}), {place}, {array});" if kind == "half" else f"{array}[{place}] = {value};"


def _copy_source(target: str, source: str, dim: int, truth: bool) -> str:
    sizes = "".join(f", long n{k}, long s{k}, long t{k}" for k in range(dim))
    steps = "".join(
        f"    at = rest % n{k}; rest /= n{k}; to += at * s{k}; from += at * t{k};\n" for k in reversed(range(dim))
    )
    if target != source and "2" in target + source:
        raise DtypeError("complex numbers are copied in their own dtype, or as pairs of reals")
    value = _load(source, "in", "from")
    value = f"({value}) != 0" if truth else value if target == source or target == "half" else f"({target})({value})"
    return (
        f"__kernel void run(__global {target}* out, __global const {source}* in, long to, long from, long count{sizes})"
        "\n{\n    long rest = get_global_id(0), at;\n    if (rest >= count) return;\n"
        f"{steps}    {_store(target, 'out', 'to', value)}\n}}\n"
    )


def assign(target: AnyPlace, source: AnyPlace) -> None:
    """``target[...] = source`` for two arrays of the host, or of one device.

    They have the same shape, and any dtypes and strides. Raises `DtypeError` for a conversion of complex numbers.
    """
    if isinstance(target, np.ndarray):
        with np.errstate(over="ignore"):
            target[...] = source
        return
    axes = [
        (size, to, at) for size, to, at in zip(target.shape, _steps(target), _steps(source), strict=True) if size != 1
    ]
    merged: list[tuple[int, int, int]] = []
    for size, to, at in axes:
        if merged and merged[-1][1] == size * to and merged[-1][2] == size * at:
            merged[-1] = (merged[-1][0] * size, to, at)
        else:
            merged.append((size, to, at))
    text = _copy_source(_type(target), _type(source), len(merged), target.dtype.name == "bool" != source.dtype.name)
    _run(text, target.size, target, [source], [target.size, *(number for axis in merged for number in axis)])


def _steps(array: DeviceArray) -> list[int]:
    return [stride // array.dtype.itemsize for stride in array.strides]


def copied(array: DeviceArray, dtype: str | DType, shape: tuple[int, ...] | None = None) -> DeviceArray:
    """A contiguous copy of an array in another dtype or shape, on the array's device and queue."""
    made = _beside(array, array.shape, dtype)
    assign(made, array)
    return made if shape is None or shape == made.shape else made.reshape(shape)


def permuted(array: DeviceArray, axes: Sequence[int]) -> DeviceArray:
    """A view of an array with the axes in this order."""
    shape, strides = (tuple(each[axis] for axis in axes) for each in (array.shape, array.strides))
    return array._new_with_changes(array.base_data, offset=array.offset, shape=shape, strides=strides)


def broadcast(array: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """A view of an array that is broadcast to this shape; raises ValueError if it does not broadcast."""
    ahead = len(shape) - len(array.shape)
    strides = tuple(
        0 if axis < ahead or array.shape[axis - ahead] != size else array.strides[axis - ahead]
        for axis, size in enumerate(shape)
    )
    np.broadcast_shapes(array.shape, shape)
    return array._new_with_changes(array.base_data, offset=array.offset, shape=tuple(shape), strides=strides)


_REDUCED = {
    # name: the first value, and the statement that adds a number
    "sum": ("0", "total += value;"),
    "prod": ("1", "total *= value;"),
    "min": ("value", "total = value < total || value != value ? value : total;"),
    "max": ("value", "total = value > total || value != value ? value : total;"),
    "any": ("0", "total = total != 0 || value != 0;"),
    "all": ("1", "total = total != 0 && value != 0;"),
    "argmin": ("0", "if (k == 0 || value < best || (value != value && best == best)) { best = value; total = k; }"),
    "argmax": ("0", "if (k == 0 || value > best || (value != value && best == best)) { best = value; total = k; }"),
}
_LONG = 4096
"""Axes of at least twice this length are reduced in two steps, to employ more work-items."""


_LOGARITHM = """\
__kernel void run(__global {0}* out, __global const {0}* in, long to, long from, long count, long terms, long inner)
{{
    long n = get_global_id(0);
    if (n >= count) return;
    long at = from + n / inner * inner * terms + n % inner;
    {0} most = -INFINITY, total = 0, value;
    for (long k = 0; k < terms; k++) {{
        value = in[at + k * inner];
        most = value > most || value != value ? value : most;
    }}
    {0} shift = isfinite(most) ? most : 0;
    for (long k = 0; k < terms; k++) total += exp(in[at + k * inner] - shift);
    out[to + n] = log(total) + shift;
}}
"""


def _reduction_source(name: str, kind: str, target: str) -> str:
    if name == "logsumexp":
        return _LOGARITHM.format(kind)
    first, step = _REDUCED[name]
    first = f"({kind})in[at]" if first == "value" else first
    total = "long" if name.startswith("arg") else target
    return (
        f"__kernel void run(__global {target}* out, __global const {kind}* in, long to, long from, long count, "
        "long terms, long inner)\n{\n    long n = get_global_id(0);\n    if (n >= count) return;\n"
        "    long at = from + n / inner * inner * terms + n % inner;\n"
        f"    {kind} value, best = 0;\n    {total} total = {first};\n"
        "    for (long k = 0; k < terms; k++) {\n        value = in[at + k * inner];\n"
        f"        {step}\n    }}\n    out[to + n] = total;\n}}\n"
    )


def _axis_reduced(array: DeviceArray, name: str, axis: int, dtype: str | DType) -> DeviceArray:
    """The reduction of a contiguous array over one axis."""
    before, terms, inner = array.shape[:axis], array.shape[axis], prod(array.shape[axis + 1 :])
    if terms == 0 and name in ("min", "max", "argmin", "argmax"):
        raise ShapeError(f"{name} over an axis of length 0")
    if terms >= 2 * _LONG and not name.startswith("arg"):
        array = _blocks_reduced(array, name, axis)
        terms = array.shape[axis]
    made = _beside(array, (*before, *array.shape[axis + 1 :]), dtype)
    _run(_reduction_source(name, _type(array), _type(made)), made.size, made, [array], [made.size, terms, inner])
    return made


def _blocks_reduced(array: DeviceArray, name: str, axis: int) -> DeviceArray:
    """An array with a long axis that is reduced to `_LONG` blocks, and one more for the remaining terms."""
    before, terms, after = array.shape[:axis], array.shape[axis], array.shape[axis + 1 :]
    length = terms // _LONG
    head = _contiguous(array[_part(axis, slice(0, length * _LONG))]).reshape((*before, _LONG, length, *after))
    if length * _LONG == terms:
        return _axis_reduced(head, name, axis + 1, array.dtype)
    both = _beside(array, (*before, _LONG + 1, *after), array.dtype)
    assign(both[_part(axis, slice(0, _LONG))], _axis_reduced(head, name, axis + 1, array.dtype))
    tail = _contiguous(array[_part(axis, slice(length * _LONG, terms))])
    assign(both[_part(axis, _LONG)], _axis_reduced(tail, name, axis, array.dtype))
    return both


def _part(axis: int, part: slice | int) -> tuple[slice | int, ...]:
    """The index that takes ``part`` along an axis."""
    return (*(slice(None),) * axis, part)


def _contiguous(array: DeviceArray) -> DeviceArray:
    return array if is_contiguous(array) else copied(array, array.dtype)


def _beside(array: DeviceArray, shape: tuple[int, ...], dtype: str | DType) -> DeviceArray:
    """A new array on the device and queue of ``array``."""
    place = place_of_array(array)
    with place.device.at(place):
        made: DeviceArray = place.device.new_array(shape, dtype)
    return made


def reduced(array: DeviceArray, name: str, axes: Sequence[int]) -> DeviceArray:
    """The reduction ``name`` (sum, prod, min, max, any, all, argmin, argmax, logsumexp) of an array over axes.

    Each axis takes a kernel or two. Indices are int64, and sums of bool and int32 are int64.
    """
    dtype = {"argmin": "int64", "argmax": "int64", "any": "bool", "all": "bool"}.get(name, array.dtype)
    if array.dtype.name in ("bool", "int32") and name == "sum":
        dtype = "int64"
        array = copied(array, dtype)
    if array.dtype.name == "float16":
        return copied(reduced(copied(array, "float32"), name, axes), "float16" if dtype == array.dtype else dtype)
    array = _contiguous(array)
    for axis in sorted((axis % len(array.shape) for axis in axes), reverse=True):
        array = _axis_reduced(array, name, axis, dtype)
    return array


def taken(array: DeviceArray, indices: Array) -> DeviceArray:
    """A new array with the rows of ``array`` at these indices."""
    place, inner = place_of_array(array), prod(array.shape[1:])
    array = _contiguous(array)
    chosen = np.ascontiguousarray(indices, np.int64)
    made = _beside(array, (*chosen.shape, *array.shape[1:]), array.dtype)
    kind = _type(array)
    value = _store(kind, "out", "to + n", _load(kind, "in", "from + rows[first + n / inner] * inner + n % inner"))
    source = (
        f"__kernel void run(__global {kind}* out, __global const {kind}* in, __global const long* rows, long to, "
        "long from, long first, long count, long inner)\n{\n    long n = get_global_id(0);\n"
        f"    if (n < count) {value}\n}}\n"
    )
    if made.size:
        _run(source, made.size, made, [array, table_of(place, chosen)], [made.size, inner])
    return made


_LISTS = """\
__kernel void run(__global long* lists, __global const long* candidates, long at, long from, long count, long places,
                  long dim, long rows, long number)
{
    long n = get_global_id(0);
    if (n >= count) return;
    __global long* list = lists + at + n / dim * dim * places + n % dim;
    __global const long* free = candidates + from + (rows ? n / dim % rows * number : 0);
    long next = 0, first = 0;
    while (first < places && list[first * dim] >= 0) first++;
    for (long place = first; place < places; place++) {
        for (; next < number; next++) {
            long k = 0;
            while (k < first && list[k * dim] != free[next]) k++;
            if (k == first) break;
        }
        if (next == number || free[next] < 0) return;
        list[place * dim] = free[next++];
    }
}
"""


def complete_lists(lists: DeviceArray, rows: int, count: int, candidates: Array) -> None:
    """Replace each -1 in a list by the lowest candidate that is not in the list, in place.

    ``lists`` is contiguous, of shape (batch.., rows, K * D): a list of K = ``count`` places for each component.
    ``candidates`` are ascending, of shape (C,) for all rows or (rows, C); -1 ends a row.
    """
    if lists.size == 0 or candidates.size == 0:
        return
    table = np.ascontiguousarray(candidates, np.int64)
    beside = table_of(place_of_array(lists), table)
    dim = lists.shape[-1] // count
    number = table.shape[-1]
    each = rows if table.ndim > 1 else 0
    items = lists.size // count
    _run(_LISTS, items, lists, [beside], [items, count, dim, each, number])
