"""The operations of an array library that the front ends need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from clreduce.typing import Array

_FLOATS = ("float16", "float32", "float64")


class Adapter:
    """An array library: how its arrays are recognised, read and made.

    An adapter with ``name``, ``accepts``, ``to_host`` and ``from_host`` is complete; then NumPy arrays are used between
    arguments and results. A library that follows its arrays through a computation, as for automatic differentiation,
    uses its own arrays there, and its adapter overrides the second half too.
    """

    name: str

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is an array of this library."""
        raise NotImplementedError

    def as_array(self, value: Any) -> Any:
        """``value`` as an array of this library: itself, or converted if that is safe and cheap; else None."""
        return value if self.accepts(value) else self.foreign(value)

    def foreign(self, value: Any) -> Any:
        """``value``, of another library, as an array of this one if that is safe and cheap; else None."""
        return None

    def advice(self, value: Any) -> str:
        """Advice how to turn ``value``, of another kind, into an array of this library: ``"; write ..."``, or ""."""
        return ""

    def to_host(self, value: Any) -> Array:
        """``value`` as a C-contiguous NumPy array in native byte order, without a copy if it is one already."""
        raise NotImplementedError

    def from_host(self, array: Array, like: Any) -> Any:
        """A NumPy array as an array of this library, on the device of the argument ``like`` (None if there is none)."""
        raise NotImplementedError

    def shape(self, value: Any) -> tuple[int, ...]:
        """The shape of an array."""
        shape: tuple[int, ...] = self.to_host(value).shape
        return shape

    def dtype_name(self, value: Any) -> str:
        """The name of an array's dtype, as NumPy spells it."""
        return str(self.to_host(value).dtype.name)

    def dtype(self, name: str) -> Any:
        """The dtype of this library with this name."""
        return np.dtype(name)

    def is_weak(self, value: Any) -> bool:
        """Whether an array takes the precision of the other arrays, as plain numbers do."""
        return False

    def place(self, value: Any) -> Any:
        """The place of an array's memory, if arrays of different places do not mix; else None."""
        return None

    def promoted(self, names: Iterable[str]) -> str:
        """The dtype of the result for real arguments of these dtypes: a float, and float64 if no argument is a float.

        ``names`` may be empty: all arguments are then plain numbers.
        """
        dtype = np.result_type(*names, np.bool_)
        return dtype.name if dtype.name in _FLOATS else "float64"

    def copy_into(self, out: Any, result: Any) -> Any:
        """``out`` with the values of ``result``, which may share its memory."""
        raise NotImplementedError

    def writable(self, out: Any) -> bool:
        """Whether results can be written into ``out``: it is not read-only, and no two entries share memory."""
        return True

    def overlap(self, out: Any, other: Any) -> bool:
        """Whether ``out`` may share memory with another array, or with an array between arguments and results."""
        return np.may_share_memory(self.to_host(out), self.on_host(other))

    def forms(self, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        """Everything that the checks of arguments depend on, as a key; None if each call must be checked."""
        return None

    # ------------------------------------------------------------------ arrays between the arguments and the results

    def arranged(self, value: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        """``value`` as real numbers of ``dtype`` in this shape; complex numbers become pairs, side by side."""
        array = self.to_host(value)
        if array.dtype.kind == "c":
            array = np.atleast_1d(array).view(array.real.dtype)
        return np.asarray(array, dtype, order="C").reshape(shape)

    def on_host(self, array: Any) -> Array:
        """An array between arguments and results as a NumPy array."""
        host: Array = array
        return host

    def evaluated(self, array: Any) -> Any:
        """An array between arguments and results as an evaluation takes it, detached from automatic differentiation."""
        return self.on_host(array)

    def target(self, out: Any) -> Any:
        """The memory of ``out``, as an array that an evaluation may write its result into."""
        return self.to_host(out)

    def empty(self, shape: tuple[int, ...], dtype: str, beside: Sequence[Any]) -> Any:
        """An array that an evaluation may write its result into, on the device of the arrays ``beside``."""
        return np.empty(shape, dtype)

    def between(self, array: Array, like: Any) -> Any:
        """A NumPy array as one between arguments and results, on the device of the argument ``like``."""
        return array

    def zeros_like(self, array: Any) -> Any:
        """Zeros of an array's shape and dtype."""
        return np.zeros_like(array)

    def finished(self, array: Any, dtype: str, like: Any) -> Any:
        """A result as the caller gets it, rounded to ``dtype``; values beyond its range become infinite."""
        if dtype == "float16" and array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(dtype)
        return self.from_host(array, like)

    def finished_complex(self, array: Any, like: Any) -> Any:
        """Pairs, side by side along the last axis, as complex numbers for the caller."""
        array = np.ascontiguousarray(array)
        return self.from_host(array.view(np.result_type(array.dtype, np.complex64)), like)

    # ------------------------------------------------------------------------------------------- results, as they are

    def as_complex(self, result: Any) -> Any:
        """A result of pairs, side by side along the last axis, as complex numbers."""
        raise NotImplementedError

    def reduced(self, name: str, result: Any, axes: tuple[int, ...]) -> Any:
        """The sum, minimum, argmin, logsumexp ... of a result over further axes."""
        raise NotImplementedError

    def rows(self, array: Any, chosen: Array) -> Any:
        """The rows of an array at these indices."""
        return self.from_host(self.to_host(array)[chosen], array)

    def entry(self, array: Any, index: Any) -> Any:
        """The entry of an array with one axis; the index is an array of this library without axes."""
        return array[index]

    def swapped(self, array: Any) -> Any:
        """The array with its last two axes exchanged."""
        raise NotImplementedError

    def permuted(self, array: Any, axes: tuple[int, ...]) -> Any:
        """The array with its axes in this order, as ``numpy.transpose``."""
        raise NotImplementedError

    def broadcast(self, array: Any, shape: tuple[int, ...]) -> Any:
        """A view of this shape, as ``numpy.broadcast_to``."""
        raise NotImplementedError
