"""The arrays of one call: checked once, in the caller's words, before any kernel runs; and the dtype that they have.

That is what NumPy's promotion gives for all of them together (``np.result_type``), plain numbers not counted: float32
with float64 is float64, int16 with float32 is float32, int32 with float32 is float64. If none is a float it is float64.
A complex array counts as pairs of reals and has half the columns that its variable declares. float16 is a format to
keep data in: kernels compute in float32, and results are rounded to float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import DtypeError, ShapeError
from clreduce.frontends.formula import Variable
from clreduce.frontends.ranges import CheckedRanges
from clreduce.ir.expr import REAL

Array = np.ndarray[Any, Any]
_CATEGORY = {Domain.I: "Vi", Domain.J: "Vj", Domain.P: "Pm"}
_SIZE = {Domain.I: "M", Domain.J: "N"}
_FLOATS = {np.dtype(name): name for name in ("float16", "float32", "float64")}
COMPUTED = {"float16": "float32", "float32": "float32", "float64": "float64"}
"""The precision in which kernels compute, by the dtype of the arrays."""


@dataclass(frozen=True)
class Arguments:
    """Checked arrays on the host, one per variable in order, and the sizes they agree on."""

    arrays: tuple[Array, ...]
    """Contiguous; in a batch all have its dimensions, of size 1 where they serve all of its indices."""
    sizes: dict[Domain, int]
    """M under ``Domain.I``, N under ``Domain.J``; 1 where no variable tells."""
    batch: tuple[int, ...]
    dtype: str
    """The dtype of ``arrays``: the precision of the kernels."""
    given_dtype: str
    """The dtype of the arguments together, and of the results."""
    are_complex: tuple[bool, ...]
    """Which arguments came as complex numbers."""
    ranges: CheckedRanges | None = None
    """The pairs to visit; None for all."""


def describe(variable: Variable) -> str:
    """A variable as the caller wrote it: ``x = Vi(3)`` or ``argument 2 (Vi(3))``."""
    category = f"{_CATEGORY[variable.domain]}({variable.dim})"
    return f"{variable.name} = {category}" if variable.name else f"argument {variable.position} ({category})"


def check_arguments(variables: Sequence[Variable], given: Sequence[Any], library: ModuleType) -> Arguments:
    """The arrays of a call, or one error that says which argument is wrong and how.

    Shapes: Vi (batch.., M, D), Vj (batch.., N, D), Pm (batch.., D); batch dimensions broadcast as in NumPy.
    """
    if len(given) != len(variables):
        wanted = ", ".join(describe(variable) for variable in variables)
        raise ShapeError(f"{len(variables)} arrays are needed ({wanted}); got {len(given)}")
    arrays = [_as_array(variable, value, library) for variable, value in zip(variables, given, strict=True)]
    are_complex = tuple(array.dtype.kind == "c" for array in arrays)
    if any(are_complex):
        arrays = [reals(array) for array in arrays]
    given_dtype = _common_dtype(variables, given, arrays)
    if all(array.ndim == (1 if v.domain == Domain.P else 2) for v, array in zip(variables, arrays, strict=True)):
        batch: tuple[int, ...] = ()
    else:
        batch, arrays = _aligned_batches(variables, arrays)
    sizes = {Domain.I: 1, Domain.J: 1}
    first: dict[Domain, Variable] = {}
    for variable, array in zip(variables, arrays, strict=True):
        if array.shape[-1] != variable.dim:
            raise ShapeError(_wrong_columns(variable, given, are_complex[variable.position]))
        if variable.domain == Domain.P:
            continue
        if variable.domain not in first:
            first[variable.domain] = variable
            sizes[variable.domain] = array.shape[-2]
        elif array.shape[-2] != sizes[variable.domain]:
            other = first[variable.domain]
            raise ShapeError(
                f"{describe(other)} and {describe(variable)} must have the same number of rows "
                f"{_SIZE[variable.domain]}; got shapes {_shape(other, given)} and {_shape(variable, given)}"
            )
    dtype = COMPUTED[given_dtype]
    converted = tuple(
        np.asarray(array, dtype if variable.kind == REAL else np.int64, order="C")
        for variable, array in zip(variables, arrays, strict=True)
    )
    return Arguments(converted, sizes, batch, dtype, given_dtype, are_complex)


def check_result(shape: tuple[int, ...], dtype: str, given: Any, what: str, library: ModuleType) -> Array:
    """``given`` as a host array, if it has exactly this shape and dtype."""
    if not library.accepts(given):
        raise DtypeError(f"{what} must be a {library.name} array; got {type(given).__name__}")
    array: Array = library.to_host(given)
    if array.shape != shape:
        raise ShapeError(f"{what} must have shape {shape}; got {array.shape}")
    if array.dtype.name != dtype:
        raise DtypeError(f"{what} must be {dtype}, as the result is; got {array.dtype.name}")
    return array


def check_beside(shape: tuple[int, ...], dtype: str, given: Any, what: str, library: ModuleType) -> Array:
    """``given`` as a host array of this shape and dtype: complex numbers as pairs, converted if that is exact."""
    if not library.accepts(given):
        raise DtypeError(f"{what} must be a {library.name} array; got {type(given).__name__}")
    array = library.to_host(given)
    found = reals(array)
    if found.shape != shape:
        raise ShapeError(f"{what} must have shape {shape}, in reals; got {array.shape} of {array.dtype.name}")
    if not np.can_cast(found.dtype, dtype, "safe"):
        raise DtypeError(f"{what} must be {dtype}, as the result is, or narrower; got {array.dtype.name}")
    return np.asarray(found, dtype, order="C")


def reals(array: Array) -> Array:
    """A contiguous array of complex numbers as pairs of reals along the last axis, in its memory; any other itself."""
    if array.dtype.kind != "c":
        return array
    found: Array = np.atleast_1d(array).view(array.real.dtype)
    return found


def rounded(result: Array, dtype: str) -> Array:
    """A result in the dtype that the caller expects; what is too large for it is infinite."""
    if dtype != "float16" or result.dtype.kind != "f":
        return result
    with np.errstate(over="ignore"):
        return result.astype(dtype)


def _wrong_columns(variable: Variable, given: Sequence[Any], is_complex: bool) -> str:
    what = "a complex array" if is_complex else "an array"
    pairs = f" ({variable.dim // 2} complex numbers)" if is_complex and variable.dim % 2 == 0 else ""
    odd = ", an odd number, and takes no complex numbers" if is_complex and variable.dim % 2 else ""
    return f"{describe(variable)} has {variable.dim} columns{pairs}{odd}; got {what} of shape {_shape(variable, given)}"


def _shape(variable: Variable, given: Sequence[Any]) -> tuple[int, ...]:
    return tuple(np.shape(given[variable.position]))


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float, complex, np.integer, np.inexact)) and not isinstance(value, bool)
    return number or (isinstance(value, (tuple, list)) and len(value) > 0 and all(map(_is_number, value)))


def _as_array(variable: Variable, value: Any, library: ModuleType) -> Array:
    if library.accepts(value):
        array: Array = library.to_host(value)
    elif variable.domain == Domain.P and _is_number(value):
        array = np.array(value)
        array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    else:
        raise DtypeError(f"{describe(variable)} must be a {library.name} array; got {type(value).__name__}")
    if array.dtype not in _FLOATS and (array.dtype.kind not in "biufc" or array.real.dtype.itemsize > 8):
        raise DtypeError(
            "arrays are of real or complex numbers in up to double precision, integers or booleans; "
            f"{describe(variable)} is {array.dtype.name}"
        )
    if variable.kind != REAL and array.dtype.kind not in "biu":
        raise DtypeError(f"{describe(variable)} is of integers; got {array.dtype.name}")
    if variable.domain == Domain.P:
        return array.reshape(1) if array.ndim == 0 else array
    if array.ndim < 2:
        raise ShapeError(
            f"{describe(variable)} must have shape (.., {_SIZE[variable.domain]}, {variable.dim}); got {array.shape}"
        )
    return array


def _common_dtype(variables: Sequence[Variable], given: Sequence[Any], arrays: Sequence[Array]) -> str:
    # A plain number has no precision of its own: it takes that of the arrays. True integers keep theirs.
    found = {
        array.dtype
        for variable, value, array in zip(variables, given, arrays, strict=True)
        if variable.kind == REAL and not _is_number(value)
    }
    if not found:
        return "float64"
    dtype = found.pop() if len(found) == 1 else np.result_type(*found)
    return _FLOATS.get(dtype, "float64")


def _aligned_batches(variables: Sequence[Variable], arrays: list[Array]) -> tuple[tuple[int, ...], list[Array]]:
    """The common batch shape, and the arrays with as many batch dimensions each, of size 1 where they had none."""
    own = [1 if variable.domain == Domain.P else 2 for variable in variables]
    # A parameter of shape (1, D) is one vector, batch or not.
    arrays = [
        array.reshape(array.shape[-1:])
        if v.domain == Domain.P and array.shape[:-1] == (1,) * (array.ndim - 1)
        else array
        for v, array in zip(variables, arrays, strict=True)
    ]
    batches = [array.shape[: array.ndim - n] for array, n in zip(arrays, own, strict=True)]
    try:
        batch = np.broadcast_shapes(*batches)
    except ValueError:
        shapes = ", ".join(f"{describe(v)}: {a.shape}" for v, a in zip(variables, arrays, strict=True))
        raise ShapeError(f"the batch dimensions do not broadcast; got {shapes}") from None
    aligned = [
        array.reshape((1,) * (len(batch) - array.ndim + n) + array.shape) for array, n in zip(arrays, own, strict=True)
    ]
    return batch, aligned
