"""The checks of the arrays of one call, before any kernel runs, and the dtype of its results.

The library's promotion of all arrays gives the dtype; plain numbers do not count. For NumPy (``np.result_type``)
float32 with float64 is float64, int16 with float32 is float32, and int32 with float32 is float64. Without any float the
dtype is float64. A complex array counts as pairs of reals, and has half the columns that its variable declares. float16
and bfloat16 are storage formats only: kernels compute in float32, and results are rounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.adapters.adapter import Adapter, AnyAdapter, Between, Own
from clreduce.domain import Domain
from clreduce.errors import DeviceError, DtypeError, ShapeError
from clreduce.ir.expr import REAL
from clreduce.language.formula import Variable
from clreduce.memo import Memo, memoised
from clreduce.runtime.ranges import CheckedRanges
from clreduce.typing import Array

_CATEGORY = {Domain.I: "Vi", Domain.J: "Vj", Domain.P: "Pm"}
_SIZE = {Domain.I: "M", Domain.J: "N"}
_INTEGER = re.compile(r"u?int(8|16|32|64)|bool")
_READ = re.compile(r"u?int(8|16|32|64)|bool|b?float16|float(32|64)|complex(64|128)")
REAL_OF = {"complex64": "float32", "complex128": "float64"}
"""The dtype of the real and imaginary parts, by the complex dtype."""
_MOST_BATCH_DIMENSIONS = 30
"""NumPy broadcasts up to 32 dimensions; rows and columns take two of them."""
COMPUTED = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}
"""The precision in which kernels compute, by the dtype of the arrays."""


@dataclass(frozen=True)
class Arguments:
    """The checked arrays of a call, one per variable in order, and the sizes on which they agree."""

    arrays: tuple[Any, ...]
    """The library's arrays that kernels read. In a batch, each array has all batch dimensions; a dimension of size 1
    serves all indices of the batch."""
    sizes: dict[Domain, int]
    """M under ``Domain.I`` and N under ``Domain.J``; 1 if no variable has that domain."""
    batch: tuple[int, ...]
    dtype: str
    """The dtype of ``arrays``: the precision of the kernels."""
    given_dtype: str
    """The common dtype of the arguments, which is the dtype of the results."""
    are_complex: tuple[bool, ...]
    """For each argument, whether the caller passed complex numbers."""
    like: Any
    """The first array among the arguments: results have its library and device. None if all arguments are numbers."""
    ranges: CheckedRanges | None = None
    """The pairs to visit; None for all."""

    def on_host(self, library: AnyAdapter) -> Arguments:
        """These arguments with NumPy arrays on the host."""
        return replace(self, arrays=tuple(map(library.on_host, self.arrays)))


@dataclass(slots=True)
class _Form:
    """Shape and dtype of an argument, counted in real numbers; for plain numbers also their values."""

    shape: tuple[int, ...]
    dtype: str
    is_complex: bool = False
    numbers: Array | None = None
    weak: bool = False
    """Whether the argument takes the precision of the others: plain numbers do, and some arrays (`Adapter.is_weak`)."""


def describe(variable: Variable) -> str:
    """A variable as the caller wrote it: ``x = Vi(3)`` or ``argument 2 (Vi(3))``."""
    category = f"{_CATEGORY[variable.domain]}({variable.dim})"
    return f"{variable.name} = {category}" if variable.name else f"argument {variable.position} ({category})"


def check_arguments(variables: Sequence[Variable], given: Sequence[object], library: AnyAdapter) -> Arguments:
    """The arrays of a call; raises one error that says which argument is wrong, and how.

    Shapes: Vi (batch.., M, D), Vj (batch.., N, D), Pm (batch.., D); batch dimensions broadcast as in NumPy. Variables
    of length 1 may lack their last axis: (M,) or (N,), or a number for Pm. In a batch they are (batch.., M),
    (batch.., N) or (batch..,), if another argument shows the batch dimensions.
    """
    if len(given) != len(variables):
        wanted = ", ".join(describe(variable) for variable in variables)
        raise ShapeError(f"{len(variables)} arrays are needed ({wanted}); got {len(given)}")
    if not all(map(library.accepts, given)):
        given = [_converted(variable, value, library) for variable, value in zip(variables, given, strict=True)]
    forms = [_form(variable, value, library) for variable, value in zip(variables, given, strict=True)]
    like = next((value for value, form in zip(given, forms, strict=True) if form.numbers is None), None)
    _check_places(variables, given, forms, library)
    given_dtype = _common_dtype(variables, forms, library)
    _complete_numbers(variables, forms)
    if all(len(form.shape) == (1 if v.domain == Domain.P else 2) for v, form in zip(variables, forms, strict=True)):
        batch: tuple[int, ...] = ()
    else:
        batch = _align_batches(variables, forms)
    sizes = {Domain.I: 1, Domain.J: 1}
    first: dict[Domain, Variable] = {}
    for variable, form in zip(variables, forms, strict=True):
        if form.shape[-1] != variable.dim:
            raise ShapeError(_wrong_columns(variable, given, form.is_complex))
        if variable.domain == Domain.P:
            continue
        if variable.domain not in first:
            first[variable.domain] = variable
            sizes[variable.domain] = form.shape[-2]
        elif form.shape[-2] != sizes[variable.domain]:
            other = first[variable.domain]
            raise ShapeError(
                f"{describe(other)} and {describe(variable)} must have the same number of rows "
                f"{_SIZE[variable.domain]}; got shapes {_shape(other, given)} and {_shape(variable, given)}"
            )
    dtype = COMPUTED[given_dtype]
    arrays = []
    for variable, value, form in zip(variables, given, forms, strict=True):
        if form.numbers is not None:
            arrays.append(library.between(np.asarray(form.numbers, dtype).reshape(form.shape), like))
        else:
            arrays.append(library.arranged(value, dtype if variable.kind == REAL else "int64", form.shape))
    are_complex = tuple(form.is_complex for form in forms)
    return Arguments(tuple(arrays), sizes, batch, dtype, given_dtype, are_complex, like)


class Checks:
    """The checks of the arguments of a routine. Equal shapes and dtypes are checked once."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables = variables
        self._known: Memo[tuple[Any, ...] | None, tuple[Arguments, list[Any] | None]] = Memo()

    def __reduce__(self) -> tuple[object, ...]:
        return Checks, (self._variables,)

    def __call__(self, given: Sequence[object], library: AnyAdapter) -> Arguments:
        """The checked arguments of a call; see `check_arguments`."""
        forms = library.forms(given)
        try:
            remembered = self._known.get(forms)  # nothing is kept under None
        except TypeError:  # sizes that are symbols
            return check_arguments(self._variables, given, library)
        if remembered is None:
            checked = check_arguments(self._variables, given, library)
            if forms is not None:
                self._known.keep(forms, (replace(checked, arrays=(), like=None), self._changes(checked, given)))
            return checked
        known, changes = remembered
        if changes is None:
            arrays = tuple(given)
        else:
            arrays = tuple(library.arranged(array, *form) for array, form in zip(given, changes, strict=True))
        like = given[0] if given else None
        return Arguments(arrays, known.sizes, known.batch, known.dtype, known.given_dtype, known.are_complex, like)

    def _changes(self, checked: Arguments, given: Sequence[Any]) -> list[Any] | None:
        """The dtype and shape to which each array is converted; None if kernels read all arrays unchanged."""
        if all(argument is array for argument, array in zip(given, checked.arrays, strict=True)):
            return None
        return [
            (checked.dtype if variable.kind == REAL else "int64", tuple(array.shape))
            for variable, array in zip(self._variables, checked.arrays, strict=True)
        ]


def without_last_axis(given: tuple[int, ...], arranged: tuple[int, ...]) -> bool:
    """Whether an argument of shape ``given``, which kernels read in shape ``arranged``, lacked its last axis."""
    return len(given) < 2 or arranged[-len(given) :] != given


def check_result(shape: tuple[int, ...], dtype: str, given: object, what: str, library: AnyAdapter) -> None:
    """Raise an error unless ``given`` is an array of exactly this shape and dtype."""
    if not library.accepts(given):
        raise DtypeError(f"{what} must be a {library.name} array; got {type(given).__name__}{library.advice(given)}")
    own = tuple(library.shape(given))
    if own != shape:
        raise ShapeError(f"{what} must have shape {shape}; got {own}")
    if library.dtype_name(given) != dtype:
        raise DtypeError(f"{what} must be {dtype}, the dtype of the result; got {library.dtype_name(given)}")


def check_beside(
    shape: tuple[int, ...], dtype: str, given: object, what: str, library: Adapter[Own, Between]
) -> Between:
    """``given`` as an array of this shape and dtype.

    Complex numbers become pairs of reals. A narrower dtype is converted; a wider one raises `DtypeError`.
    """
    array = library.as_array(given)
    if array is None:
        raise DtypeError(f"{what} must be a {library.name} array; got {type(given).__name__}{library.advice(given)}")
    given = array
    own, name = tuple(library.shape(given)), library.dtype_name(given)
    in_reals = own if name not in REAL_OF else (*own[:-1], 2 * own[-1]) if own else (2,)
    if in_reals != shape:
        counted = ", a complex number counted as two" if name in REAL_OF else ""
        raise ShapeError(f"{what} must have shape {shape}{counted}; got shape {own}, {name}")
    real = "float16" if name == "bfloat16" else REAL_OF.get(name, name)
    if not _READ.fullmatch(name) or not np.can_cast(real, dtype, "safe"):
        raise DtypeError(f"{what} must be {dtype}, the dtype of the result, or a narrower one; got {name}")
    return library.arranged(given, dtype, shape)


def _without_columns(variable: Variable, shape: tuple[int, ...]) -> str:
    """The error message for an array with one axis or none where a vector of i or j needs two; with advice."""
    size, category = _SIZE[variable.domain], _CATEGORY[variable.domain]
    name = variable.name or "it"
    if not shape:
        advice = f"a number for all rows is a parameter, Pm({variable.dim})"
    elif shape[0] == variable.dim:
        advice = f"for one row, write {name}[None, :]; one vector for all rows is a parameter, Pm({variable.dim})"
    else:
        advice = f"one number for each row is {category}(1)"
        if shape[0] % variable.dim == 0:
            advice += f"; for rows one after the other, write {name}.reshape(-1, {variable.dim})"
    return f"{describe(variable)} must have shape (.., {size}, {variable.dim}); got {shape}: {advice}"


def _wrong_columns(variable: Variable, given: Sequence[Any], is_complex: bool) -> str:
    shape = _shape(variable, given)
    if is_complex:
        category = _CATEGORY[variable.domain]
        return (
            f"{describe(variable)} takes {variable.dim} real numbers; got a complex array of shape {shape}, and a "
            f"complex number is two real ones: declare {category}({2 * shape[-1]})"
        )
    numbers = variable.dim == 1 and len(shape) > 1
    advice = ""
    if numbers:
        vector = f"{_CATEGORY[variable.domain]}({shape[-1]})"
        advice = f": vectors are {vector}; for a batch of numbers write {variable.name or 'it'}[..., None]"
    elif len(shape) == 2 and shape[0] == variable.dim:
        advice = f": {variable.name or 'it'}.T has {'that' if variable.dim == 1 else 'those'}"
    columns = "1 column" if variable.dim == 1 else f"{variable.dim} columns"
    return f"{describe(variable)} has {columns}; got an array of shape {shape}{advice}"


def _shape(variable: Variable, given: Sequence[Any]) -> tuple[int, ...]:
    return tuple(np.shape(given[variable.position]))


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float, complex, np.integer, np.inexact)) and not isinstance(value, bool)
    return number or (isinstance(value, (tuple, list)) and len(value) > 0 and all(map(_is_number, value)))


def _converted(variable: Variable, value: Any, library: AnyAdapter) -> Any:
    """An argument as an array of this library, if the conversion is cheap; else unchanged. Numbers for Pm stay so."""
    array = None if variable.domain == Domain.P and _is_number(value) else library.as_array(value)
    return value if array is None else array


def _form(variable: Variable, value: Any, library: AnyAdapter) -> _Form:
    """The shape and dtype of an argument; raises an error if no kernel can read it."""
    numbers = None
    if library.accepts(value):
        shape, name = tuple(library.shape(value)), library.dtype_name(value)
    elif variable.domain == Domain.P and _is_number(value):
        numbers = np.asarray(value)
        numbers = numbers.astype(np.complex128 if numbers.dtype.kind == "c" else np.float64)
        name, shape = numbers.dtype.name, numbers.shape
    else:
        raise DtypeError(
            f"{describe(variable)} must be a {library.name} array; got {type(value).__name__}{library.advice(value)}"
        )
    if not _readable(name):
        raise DtypeError(
            f"{describe(variable)} must be an array of booleans, integers, or real or complex numbers of at most "
            f"double precision; got {name}"
        )
    if variable.kind != REAL and not is_integer_dtype(name):
        raise DtypeError(f"{describe(variable)} must be an array of integers; got {name}")
    if variable.domain != Domain.P and len(shape) < 2:
        if variable.dim > 1 or not shape:
            raise ShapeError(_without_columns(variable, shape))
        shape = (*shape, 1)
    shape = shape or (1,)
    if name not in REAL_OF:
        return _Form(shape, name, False, numbers, numbers is None and library.is_weak(value))
    if numbers is not None:
        numbers = numbers.reshape(shape).view(np.float64)
    return _Form((*shape[:-1], 2 * shape[-1]), REAL_OF[name], True, numbers)


def is_integer_dtype(name: str) -> bool:
    """Whether arrays of this dtype may be indices."""
    return _INTEGER.fullmatch(name) is not None


@memoised(64)
def _readable(name: str) -> bool:
    return _READ.fullmatch(name) is not None


def _check_places(
    variables: Sequence[Variable], given: Sequence[Any], forms: Sequence[_Form], library: AnyAdapter
) -> None:
    """Raise `DeviceError` unless all arrays of a call are on one device."""
    places = [library.place(value) for value, form in zip(given, forms, strict=True) if form.numbers is None]
    if any(place != places[0] for place in places):
        names = [describe(v) for v, form in zip(variables, forms, strict=True) if form.numbers is None]
        where = ", ".join(f"{name}: {place}" for name, place in zip(names, places, strict=True))
        raise DeviceError(f"all arrays of a call must be on one device; got {where}: move them to the same one")


def _common_dtype(variables: Sequence[Variable], forms: Sequence[_Form], library: AnyAdapter) -> str:
    # A plain number has no precision of its own and takes that of the arrays. Index arguments keep their dtype.
    reals = [form for v, form in zip(variables, forms, strict=True) if v.kind == REAL and form.numbers is None]
    names = {form.dtype for form in reals if not form.weak} or {form.dtype for form in reals}
    if len(names) == 1:
        (name,) = names
        if name in COMPUTED:
            return name
    return library.promoted(names)


def _rank(variable: Variable) -> int:
    """The number of dimensions that a variable has for one index of a batch."""
    return 1 if variable.domain == Domain.P else 2


def _complete_numbers(variables: Sequence[Variable], forms: Sequence[_Form]) -> None:
    """Add the last axis to variables of length 1 that lack it in a batch.

    Another argument must show the batch: otherwise data of length 3 for a variable of length 1 would become a batch of
    3. A last axis of size 1 is the axis of the vector, unless the other variables of that index have one row.
    """
    pairs = list(zip(variables, forms, strict=True))
    rows = {v.domain: form.shape[-2] for v, form in pairs if v.dim > 1 and v.domain != Domain.P}
    batch, short = 0, []
    for v, form in pairs:
        surplus = len(form.shape) - _rank(v)
        if v.domain == Domain.P and form.shape[:-1] == (1,) * surplus:
            surplus = 0
        single = v.domain != Domain.P and form.shape[-2] != 1 and rows.get(v.domain) == 1
        if v.dim > 1 or (surplus > 0 and form.shape[-1] == 1 and not single):
            batch = max(batch, surplus)
        elif not form.is_complex and (single or form.shape[-1] != 1):
            short.append((form, surplus))
    for form, surplus in short:
        if surplus < batch:
            form.shape = (*form.shape, 1)


def _align_batches(variables: Sequence[Variable], forms: Sequence[_Form]) -> tuple[int, ...]:
    """The common batch shape. Each form is padded to that many batch dimensions, with dimensions of size 1."""
    own = [1 if variable.domain == Domain.P else 2 for variable in variables]
    for v, form in zip(variables, forms, strict=True):
        count = len(form.shape) - (1 if v.domain == Domain.P else 2)
        if count > _MOST_BATCH_DIMENSIONS:
            raise ShapeError(
                f"{describe(v)} has {count} batch dimensions (shape {form.shape}), and {_MOST_BATCH_DIMENSIONS} is the "
                "most: reshape the array, so that several dimensions become one"
            )
    for v, form in zip(variables, forms, strict=True):
        # A parameter of shape (1, D) is one vector, batch or not.
        if v.domain == Domain.P and form.shape[:-1] == (1,) * (len(form.shape) - 1):
            form.shape = form.shape[-1:]
    try:
        batch = np.broadcast_shapes(*(form.shape[: len(form.shape) - n] for form, n in zip(forms, own, strict=True)))
    except ValueError:
        shapes = ", ".join(f"{describe(v)}: {form.shape}" for v, form in zip(variables, forms, strict=True))
        raise ShapeError(f"the batch dimensions do not broadcast; got {shapes}") from None
    for form, n in zip(forms, own, strict=True):
        form.shape = (1,) * (len(batch) - len(form.shape) + n) + form.shape
    return batch
