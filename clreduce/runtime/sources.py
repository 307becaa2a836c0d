"""`BlockSource`: an array that is read block by block, such as an array in a file that is larger than memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import Any, Protocol, TypeGuard, cast

import numpy as np

from clreduce.errors import DtypeError, ShapeError
from clreduce.typing import Array, DType


class Readable(Protocol):
    """Anything that `BlockSource` reads: a dataset of h5py, an array of zarr, a class with these three."""

    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def dtype(self) -> str | DType: ...

    def __getitem__(self, place: tuple[slice, ...], /) -> object: ...


class BlockSource:
    """A view of anything with ``shape``, ``dtype`` and slices: in another dtype, and with axes of length 1 changed.

    Its slices are contiguous NumPy arrays, which are read on demand. Raises `ShapeError` if shapes do not match.

    >>> class Squares:
    ...     shape, dtype = (5,), np.dtype("int32")
    ...     def __getitem__(self, place):
    ...         return np.arange(5, dtype="int32")[place] ** 2
    >>> BlockSource(Squares()).arranged("float32", (5, 1))[2:4]
    array([[4.],
           [9.]], dtype=float32)
    """

    __slots__ = ("_axes", "dtype", "shape", "value")

    def __init__(self, value: Readable, dtype: str | DType | None = None, shape: tuple[int, ...] | None = None) -> None:
        self.value = value
        self.dtype = np.dtype(value.dtype if dtype is None else dtype)
        if not all(hasattr(size, "__index__") and size >= 0 for size in value.shape):
            raise ShapeError(
                f"an array that is read block by block has a shape of whole numbers; that of a {type(value).__name__} "
                f"is {tuple(value.shape)}"
            )
        own = tuple(map(int, value.shape))
        self.shape = own if shape is None else shape
        self._axes = _matching_axes(own, self.shape)
        """For each axis of ``value`` the corresponding axis of this source; None for axes of length 1."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of the whole array in this dtype."""
        return int(self.size * self.dtype.itemsize)

    def arranged(self, dtype: str, shape: tuple[int, ...]) -> BlockSource:
        """This source in another dtype and shape; axes longer than 1 must agree."""
        return BlockSource(self.value, dtype, shape)

    def reshape(self, *shape: int | tuple[int, ...]) -> BlockSource:
        """This source with axes of length 1 added or removed."""
        sizes = (size for part in shape for size in (part if isinstance(part, tuple) else (part,)))
        return self.arranged(self.dtype.name, tuple(sizes))

    def __getitem__(self, place: slice | tuple[slice, ...]) -> Array:
        """The block at these slices of the first axes.

        Raises `ShapeError` or `DtypeError` if the source returns a block of another shape or kind.
        """
        slices = place if isinstance(place, tuple) else (place,)
        slices += (slice(None),) * (self.ndim - len(slices))
        intervals = [part.indices(size)[:2] for part, size in zip(slices, self.shape, strict=True)]
        wanted = tuple(stop - start for start, stop in intervals)
        own = tuple(
            slice(*intervals[axis]) if axis is not None else slice(None)
            for axis in self._axes
        )  # fmt: skip
        block = np.asarray(self.value[own])
        if block.size != prod(wanted):
            raise ShapeError(
                f"a {type(self.value).__name__} of shape {tuple(self.value.shape)} gave a block of shape {block.shape} "
                f"for {own}: it must have the shape that it had when the call began, {self.shape}"
            )
        if block.dtype.kind not in "biuf":
            raise DtypeError(
                f"a {type(self.value).__name__} says that its dtype is {np.dtype(self.value.dtype)}, and gave a block "
                f"of dtype {block.dtype} for {own}"
            )
        return np.ascontiguousarray(block.reshape(wanted), self.dtype)

    def __repr__(self) -> str:
        return f"<BlockSource of {type(self.value).__name__}, shape {self.shape}, {self.dtype.name}>"


def _matching_axes(own: tuple[int, ...], shape: tuple[int, ...]) -> list[int | None]:
    """For each axis of ``own`` the corresponding axis of ``shape``; None for axes of length 1."""
    long = [axis for axis, size in enumerate(shape) if size != 1]
    if [size for size in own if size != 1] != [shape[axis] for axis in long]:
        raise ShapeError(f"an array of shape {own} that is read block by block cannot be taken as one of shape {shape}")
    places = iter(long)
    return [next(places) if size != 1 else None for size in own]


def is_source(value: object) -> TypeGuard[Readable]:
    """Whether ``value`` is not in memory but can be read in blocks, such as datasets of h5py and zarr."""
    if isinstance(value, np.ndarray) or hasattr(value, "toarray") or hasattr(value, "coords"):
        return False
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if dtype is None or not (isinstance(shape, tuple) and shape and hasattr(value, "__getitem__")):
        return False  # a memoryview and a frame of polars have a shape, and no dtype
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        return False
    on_demand = hasattr(value, "read_direct") or hasattr(value, "chunks") or not hasattr(value, "__array__")
    return kind in "biuf" and on_demand


def as_array(source: BlockSource) -> Array:
    """``source``, which stands for an array: evaluations read both in slices, and see no difference."""
    return cast("Array", source)


def is_block_source(value: object) -> TypeGuard[BlockSource]:
    """Whether ``value`` is a `BlockSource`. Type checkers do not expect one where an array is declared."""
    return isinstance(value, BlockSource)


def whole(array: Array | BlockSource) -> Array:
    """``array`` in memory: a `BlockSource` is read as a whole."""
    values: Array = array[()] if isinstance(array, BlockSource) else array
    return values


class Reader:
    """Reads the next block in a thread while kernels work on the current one."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="clreduce-read")
        self._next: dict[Any, Future[Array]] = {}

    def read(self, source: BlockSource, place: tuple[slice, ...]) -> Array:
        """The block at ``place``; it may be in memory already after `begin`."""
        waiting = self._next.pop(_key(source, place), None)
        return source[place] if waiting is None else waiting.result()

    def begin(self, source: BlockSource, place: tuple[slice, ...]) -> None:
        """Begin to read a block that will be needed soon."""
        key = _key(source, place)
        if key not in self._next:
            self._next[key] = self._pool.submit(source.__getitem__, place)

    def close(self) -> None:
        """Stop reading, and end the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._next.clear()


def _key(source: BlockSource, place: tuple[slice, ...]) -> tuple[Any, ...]:
    return (id(source), *((part.start, part.stop) for part in place))
