"""The operations of an array library that the front ends need."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar

import numpy as np

from clreduce.typing import Array

_FLOATS = ("float16", "float32", "float64")

Own = TypeVar("Own")
"""The arrays of a library, which callers pass and get."""
Between = TypeVar("Between")
"""The arrays between arguments and results."""


class Adapter(Generic[Own, Between]):
    """An array library: how its arrays are recognised, read and made.

    A library that follows its arrays through a computation, as for automatic differentiation, has its own arrays
    between arguments and results too. The adapter of any other library is a `HostAdapter`.
    """

    name: str

    def accepts(self, value: object) -> TypeGuard[Own]:
        """Whether ``value`` is an array of this library."""
        raise NotImplementedError

    def as_array(self, value: object) -> Own | None:
        """``value`` as an array of this library: itself, or converted if that is safe and cheap; else None."""
        return value if self.accepts(value) else self.foreign(value)

    def foreign(self, value: object) -> Own | None:
        """``value``, of another library, as an array of this one if that is safe and cheap; else None."""
        return None

    def advice(self, value: object) -> str:
        """Advice how to turn ``value``, of another kind, into an array of this library: ``"; write ..."``, or ""."""
        return ""

    def to_host(self, value: Own) -> Array:
        """``value`` as a C-contiguous NumPy array in native byte order, without a copy if it is one already."""
        raise NotImplementedError

    def from_host(self, array: Array, like: Own | None) -> Own:
        """A NumPy array as an array of this library, on the device of the argument ``like`` (None if there is none)."""
        raise NotImplementedError

    def shape(self, value: Own) -> tuple[int, ...]:
        """The shape of an array."""
        shape: tuple[int, ...] = self.to_host(value).shape
        return shape

    def dtype_name(self, value: Own) -> str:
        """The name of an array's dtype, as NumPy spells it."""
        return str(self.to_host(value).dtype.name)

    def dtype(self, name: str) -> object:
        """The dtype of this library with this name."""
        return np.dtype(name)

    def is_weak(self, value: Own) -> bool:
        """Whether an array takes the precision of the other arrays, as plain numbers do."""
        return False

    def place(self, value: Own | None) -> object:
        """The place of an array's memory, if arrays of different places do not mix; else None."""
        return None

    def promoted(self, names: Iterable[str]) -> str:
        """The dtype of the result for real arguments of these dtypes: a float, and float64 if no argument is a float.

        ``names`` may be empty: all arguments are then plain numbers.
        """
        dtype = np.result_type(*names, np.bool_)
        return dtype.name if dtype.name in _FLOATS else "float64"

    def copy_into(self, out: Own, result: Own) -> Own:
        """``out`` with the values of ``result``, which may share its memory."""
        raise NotImplementedError

    def writable(self, out: Own) -> bool:
        """Whether results can be written into ``out``: it is not read-only, and no two entries share memory."""
        return True

    def overlap(self, out: Own, other: Own | Between) -> bool:
        """Whether ``out`` may share memory with another array, or with an array between arguments and results."""
        raise NotImplementedError

    def forms(self, arguments: Sequence[object]) -> tuple[Hashable, ...] | None:
        """Everything that the checks of arguments depend on, as a key; None if each call must be checked."""
        return None

    # ------------------------------------------------------------------ arrays between the arguments and the results

    def arranged(self, value: Own, dtype: str, shape: tuple[int, ...]) -> Between:
        """``value`` as real numbers of ``dtype`` in this shape; complex numbers become pairs, side by side."""
        raise NotImplementedError

    def on_host(self, array: Between) -> Array:
        """An array between arguments and results as a NumPy array."""
        raise NotImplementedError

    # An evaluation takes arrays of NumPy or of pyopencl. Its executor knows which; no type tells them apart.

    def evaluated(self, array: Between) -> Any:
        """An array between arguments and results as an evaluation takes it, detached from automatic differentiation."""
        return self.on_host(array)

    def target(self, out: Own) -> Any:
        """The memory of ``out``, as an array that an evaluation may write its result into."""
        return self.to_host(out)

    def empty(self, shape: tuple[int, ...], dtype: str, beside: Sequence[Between]) -> Any:
        """An array that an evaluation may write its result into, on the device of the arrays ``beside``."""
        return np.empty(shape, dtype)

    def between(self, array: Array, like: Own | None) -> Between:
        """A NumPy array as one between arguments and results, on the device of the argument ``like``."""
        raise NotImplementedError

    def zeros_like(self, array: Between) -> Between:
        """Zeros of an array's shape and dtype."""
        raise NotImplementedError

    def finished(self, array: Between, dtype: str, like: Own | None) -> Own:
        """A result as the caller gets it, rounded to ``dtype``; values beyond its range become infinite."""
        raise NotImplementedError

    def finished_complex(self, array: Between, like: Own | None) -> Own:
        """Pairs, side by side along the last axis, as complex numbers for the caller."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------- results, as they are

    def as_complex(self, result: Own) -> Own:
        """A result of pairs, side by side along the last axis, as complex numbers."""
        raise NotImplementedError

    def reduced(self, name: str, result: Own, axes: tuple[int, ...]) -> Own:
        """The sum, minimum, argmin, logsumexp ... of a result over further axes."""
        raise NotImplementedError

    def rows(self, array: Own, chosen: Array) -> Own:
        """The rows of an array at these indices."""
        return self.from_host(self.to_host(array)[chosen], array)

    def entry(self, array: Own, index: Own) -> Own:
        """The entry of an array with one axis; the index is an array of this library without axes."""
        raise NotImplementedError

    def swapped(self, array: Own) -> Own:
        """The array with its last two axes exchanged."""
        raise NotImplementedError

    def permuted(self, array: Own, axes: tuple[int, ...]) -> Own:
        """The array with its axes in this order, as ``numpy.transpose``."""
        raise NotImplementedError

    def broadcast(self, array: Own, shape: tuple[int, ...]) -> Own:
        """A view of this shape, as ``numpy.broadcast_to``."""
        raise NotImplementedError


class HostAdapter(Adapter[Own, Array]):
    """The adapter of a library whose arrays the host reads: between arguments and results are arrays of NumPy.

    It is complete with ``name``, ``accepts``, ``to_host`` and ``from_host``.
    """

    def arranged(self, value: Own, dtype: str, shape: tuple[int, ...]) -> Array:
        array = self.to_host(value)
        if array.dtype.kind == "c":
            array = np.atleast_1d(array).view(array.real.dtype)
        return np.asarray(array, dtype, order="C").reshape(shape)

    def on_host(self, array: Array) -> Array:
        return array

    def between(self, array: Array, like: Own | None) -> Array:
        return array

    def zeros_like(self, array: Array) -> Array:
        return np.zeros(array.shape, array.dtype)  # `np.zeros_like` takes no BlockSource

    def finished(self, array: Array, dtype: str, like: Own | None) -> Own:
        if dtype == "float16" and array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(dtype)
        return self.from_host(array, like)

    def overlap(self, out: Own, other: Own | Array) -> bool:
        return np.may_share_memory(self.to_host(out), self.to_host(other) if self.accepts(other) else other)

    def finished_complex(self, array: Array, like: Own | None) -> Own:
        array = np.ascontiguousarray(array)
        return self.from_host(array.view(np.result_type(array.dtype, np.complex64)), like)


AnyAdapter: TypeAlias = Adapter[Any, Any]
"""The adapter of a library that only the caller knows."""
