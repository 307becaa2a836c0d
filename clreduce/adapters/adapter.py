"""What the front ends ask of an array library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from clreduce.typing import Array

_FLOATS = ("float16", "float32", "float64")


class Adapter:
    """An array library: how its arrays are told, read and made.

    A library that has ``name``, ``accepts``, ``to_host`` and ``from_host`` is complete. Between arguments and results
    stand NumPy arrays then; one that follows its arrays through a computation, as for automatic differentiation, has
    its own there, and overrides the second half too.
    """

    name: str

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is an array of this library."""
        raise NotImplementedError

    def as_array(self, value: Any) -> Any:
        """``value`` as an array of this library: itself, or converted where that is safe and cheap; else None."""
        return value if self.accepts(value) else self.foreign(value)

    def foreign(self, value: Any) -> Any:
        """``value``, of another library, as an array of this one, if that is safe and cheap; else None."""
        return None

    def advice(self, value: Any) -> str:
        """What to write so that ``value``, of another kind, becomes an array of this library: ``"; write ..."``."""
        return ""

    def to_host(self, value: Any) -> Array:
        """``value`` as a C-contiguous NumPy array in native byte order; the same memory where that holds already."""
        raise NotImplementedError

    def from_host(self, array: Array, like: Any) -> Any:
        """An array of this library, beside the argument ``like`` (None if there is none)."""
        raise NotImplementedError

    def shape(self, value: Any) -> tuple[int, ...]:
        """The shape of an array."""
        shape: tuple[int, ...] = self.to_host(value).shape
        return shape

    def dtype_name(self, value: Any) -> str:
        """The name of an array's dtype, as NumPy spells it."""
        return str(self.to_host(value).dtype.name)

    def dtype(self, name: str) -> Any:
        """The dtype of this library that has this name."""
        return np.dtype(name)

    def is_weak(self, value: Any) -> bool:
        """Whether an array takes the precision of the others, as plain numbers do."""
        return False

    def place(self, value: Any) -> Any:
        """Where an array's memory is, if arrays of different places do not mix."""
        return None

    def promoted(self, names: Iterable[str]) -> str:
        """The dtype of the result for arguments of these dtypes (real ones): a float, float64 if none of them is.

        There may be none, for plain numbers alone.
        """
        dtype = np.result_type(*names, np.bool_)
        return dtype.name if dtype.name in _FLOATS else "float64"

    def copy_into(self, out: Any, result: Any) -> Any:
        """``out`` with the values of ``result``, which may be in its memory already."""
        raise NotImplementedError

    def writable(self, out: Any) -> bool:
        """Whether results can be written into ``out``, each number into a place of its own."""
        return True

    def overlap(self, out: Any, other: Any) -> bool:
        """Whether ``out`` may share memory with another array, or with one between arguments and results."""
        return np.may_share_memory(self.to_host(out), self.on_host(other))

    def forms(self, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        """All that checks of arguments look at, which may be a key; None where they have to look at each anew."""
        return None

    # ------------------------------------------------------------------ arrays between the arguments and the results

    def arranged(self, value: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        """``value`` with real numbers of ``dtype`` in this shape; complex numbers become pairs, side by side."""
        array = self.to_host(value)
        if array.dtype.kind == "c":
            array = np.atleast_1d(array).view(array.real.dtype)
        return np.asarray(array, dtype, order="C").reshape(shape)

    def on_host(self, array: Any) -> Array:
        """An array between arguments and results as a NumPy array."""
        host: Array = array
        return host

    def evaluated(self, array: Any) -> Any:
        """An array between arguments and results as an evaluation takes it, outside of what follows it."""
        return self.on_host(array)

    def target(self, out: Any) -> Any:
        """The memory of ``out``, as an array that an evaluation may write its result into."""
        return self.to_host(out)

    def empty(self, shape: tuple[int, ...], dtype: str, beside: Sequence[Any]) -> Any:
        """An array that an evaluation may write its result into, where arrays ``beside`` it are."""
        return np.empty(shape, dtype)

    def between(self, array: Array, like: Any) -> Any:
        """A NumPy array as one between arguments and results, beside the argument ``like``."""
        return array

    def zeros_like(self, array: Any) -> Any:
        """Zeros of an array's shape and dtype."""
        return np.zeros_like(array)

    def finished(self, array: Any, dtype: str, like: Any) -> Any:
        """A result as the caller gets it, rounded to ``dtype``; what is too large for that is infinite."""
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
        """The rows of an array with these indices."""
        return self.from_host(self.to_host(array)[chosen], array)

    def entry(self, array: Any, index: Any) -> Any:
        """The number at an index that is an array of this library without axes, of an array with one axis."""
        return array[index]

    def swapped(self, array: Any) -> Any:
        """The last two axes exchanged."""
        raise NotImplementedError

    def permuted(self, array: Any, axes: tuple[int, ...]) -> Any:
        """The axes in this order, as ``numpy.transpose``."""
        raise NotImplementedError

    def broadcast(self, array: Any, shape: tuple[int, ...]) -> Any:
        """A view of this shape, as ``numpy.broadcast_to``."""
        raise NotImplementedError
