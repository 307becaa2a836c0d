"""The arrays of one call: checked once, in the caller's words, before any kernel runs; and the dtype that they have.

That is what the library's promotion gives for all of them together, plain numbers not counted; for NumPy
(``np.result_type``) float32 with float64 is float64, int16 with float32 is float32, int32 with float32 is float64. If
none is a float it is float64. A complex array counts as pairs of reals and has half the columns that its variable
declares. float16 and bfloat16 are formats to keep data in: kernels compute in float32, and results are rounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.adapters.adapter import Adapter
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
"""The dtype of the parts of complex numbers."""
_MOST_BATCH_DIMENSIONS = 30
"""With those of the vectors these are 32, the most that broadcasting takes."""
COMPUTED = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}
"""The precision in which kernels compute, by the dtype of the arrays."""


@dataclass(frozen=True)
class Arguments:
    """Checked arrays, one per variable in order, and the sizes they agree on."""

    arrays: tuple[Any, ...]
    """What kernels read, in the library's form; in a batch all have its dimensions, of size 1 where they serve all of
    its indices."""
    sizes: dict[Domain, int]
    """M under ``Domain.I``, N under ``Domain.J``; 1 where no variable tells."""
    batch: tuple[int, ...]
    dtype: str
    """The dtype of ``arrays``: the precision of the kernels."""
    given_dtype: str
    """The dtype of the arguments together, and of the results."""
    are_complex: tuple[bool, ...]
    """Which arguments came as complex numbers."""
    like: Any
    """The argument that results are made like: the first array, None if there are only numbers."""
    ranges: CheckedRanges | None = None
    """The pairs to visit; None for all."""

    def on_host(self, library: Adapter) -> Arguments:
        """These arguments as NumPy arrays."""
        return replace(self, arrays=tuple(map(library.on_host, self.arrays)))


@dataclass(slots=True)
class _Form:
    """Shape and dtype of an argument, as real numbers; and the numbers if it is no array."""

    shape: tuple[int, ...]
    dtype: str
    is_complex: bool = False
    numbers: Array | None = None
    weak: bool = False
    """Whether it takes the precision of other arguments: numbers do, and some arrays (`Adapter.is_weak`)."""


def describe(variable: Variable) -> str:
    """A variable as the caller wrote it: ``x = Vi(3)`` or ``argument 2 (Vi(3))``."""
    category = f"{_CATEGORY[variable.domain]}({variable.dim})"
    return f"{variable.name} = {category}" if variable.name else f"argument {variable.position} ({category})"


def check_arguments(variables: Sequence[Variable], given: Sequence[Any], library: Adapter) -> Arguments:
    """The arrays of a call, or one error that says which argument is wrong and how.

    Shapes: Vi (batch.., M, D), Vj (batch.., N, D), Pm (batch.., D); batch dimensions broadcast as in NumPy. Variables
    of length 1 may come without their last axis: as (M,) or (N,), as a number for Pm, and in a batch, which another
    argument shows, as (batch.., M), (batch.., N), (batch..,).
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
    """The checks of the arguments of a routine. What shapes and dtypes say is found out once for each of them."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables = variables
        self._known: Memo[tuple[Any, ...] | None, tuple[Arguments, list[Any] | None]] = Memo()

    def __reduce__(self) -> tuple[Any, ...]:
        return Checks, (self._variables,)

    def __call__(self, given: Sequence[Any], library: Adapter) -> Arguments:
        """The checked arguments of a call; see `check_arguments`."""
        forms = library.forms(given)
        try:
            found = self._known.get(forms)  # nothing is kept under None
        except TypeError:  # sizes that are symbols
            return check_arguments(self._variables, given, library)
        if found is None:
            checked = check_arguments(self._variables, given, library)
            if forms is not None:
                self._known.keep(forms, (replace(checked, arrays=(), like=None), self._changes(checked, given)))
            return checked
        known, changes = found
        if changes is None:
            arrays = tuple(given)
        else:
            arrays = tuple(library.arranged(one, *form) for one, form in zip(given, changes, strict=True))
        like = given[0] if given else None
        return Arguments(arrays, known.sizes, known.batch, known.dtype, known.given_dtype, known.are_complex, like)

    def _changes(self, checked: Arguments, given: Sequence[Any]) -> list[Any] | None:
        """The dtype and the shape that each array is given; None where all are read as they are."""
        if all(one is array for one, array in zip(given, checked.arrays, strict=True)):
            return None
        return [
            (checked.dtype if variable.kind == REAL else "int64", tuple(array.shape))
            for variable, array in zip(self._variables, checked.arrays, strict=True)
        ]


def without_last_axis(given: tuple[int, ...], arranged: tuple[int, ...]) -> bool:
    """Whether an argument of this shape, ``arranged`` as kernels read it, came without the axis of its length 1."""
    return len(given) < 2 or arranged[-len(given) :] != given


def check_result(shape: tuple[int, ...], dtype: str, given: Any, what: str, library: Adapter) -> None:
    """Raise an error unless ``given`` is an array of exactly this shape and dtype."""
    if not library.accepts(given):
        raise DtypeError(f"{what} must be a {library.name} array; got {type(given).__name__}{library.advice(given)}")
    found = tuple(library.shape(given))
    if found != shape:
        raise ShapeError(f"{what} must have shape {shape}; got {found}")
    if library.dtype_name(given) != dtype:
        raise DtypeError(f"{what} must be {dtype}, as the result is; got {library.dtype_name(given)}")


def check_beside(shape: tuple[int, ...], dtype: str, given: Any, what: str, library: Adapter) -> Any:
    """``given`` as an array of this shape and dtype: complex numbers as pairs, converted if that is exact."""
    array = library.as_array(given)
    if array is None:
        raise DtypeError(f"{what} must be a {library.name} array; got {type(given).__name__}{library.advice(given)}")
    given = array
    own, name = tuple(library.shape(given)), library.dtype_name(given)
    in_reals = own if name not in REAL_OF else (*own[:-1], 2 * own[-1]) if own else (2,)
    if in_reals != shape:
        raise ShapeError(f"{what} must have shape {shape}, in reals; got {own} of {name}")
    real = "float16" if name == "bfloat16" else REAL_OF.get(name, name)
    if not _READ.fullmatch(name) or not np.can_cast(real, dtype, "safe"):
        raise DtypeError(f"{what} must be {dtype}, as the result is, or narrower; got {name}")
    return library.arranged(given, dtype, shape)


def _without_columns(variable: Variable, shape: tuple[int, ...]) -> str:
    """What is wrong with an array of one axis or none for a vector of i or j, and what to write."""
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
    what = "a complex array" if is_complex else "an array"
    pairs = f" ({variable.dim // 2} complex numbers)" if is_complex and variable.dim % 2 == 0 else ""
    odd = ", an odd number, and takes no complex numbers" if is_complex and variable.dim % 2 else ""
    shape = _shape(variable, given)
    numbers = variable.dim == 1 and not is_complex and len(shape) > 1
    advice = ""
    if numbers:
        vector = f"{_CATEGORY[variable.domain]}({shape[-1]})"
        advice = f": vectors are {vector}; for a batch of numbers write {variable.name or 'it'}[..., None]"
    columns = "1 column" if variable.dim == 1 else f"{variable.dim} columns"
    return f"{describe(variable)} has {columns}{pairs}{odd}; got {what} of shape {shape}{advice}"


def _shape(variable: Variable, given: Sequence[Any]) -> tuple[int, ...]:
    return tuple(np.shape(given[variable.position]))


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float, complex, np.integer, np.inexact)) and not isinstance(value, bool)
    return number or (isinstance(value, (tuple, list)) and len(value) > 0 and all(map(_is_number, value)))


def _converted(variable: Variable, value: Any, library: Adapter) -> Any:
    """An argument of another library as an array of this one, where that is cheap; numbers for Pm stay numbers."""
    array = None if variable.domain == Domain.P and _is_number(value) else library.as_array(value)
    return value if array is None else array


def _form(variable: Variable, value: Any, library: Adapter) -> _Form:
    """An argument, told from others by its shape and dtype."""
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
            "arrays are of real or complex numbers in up to double precision, integers or booleans; "
            f"{describe(variable)} is {name}"
        )
    if variable.kind != REAL and not is_integer_dtype(name):
        raise DtypeError(f"{describe(variable)} is of integers; got {name}")
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
    variables: Sequence[Variable], given: Sequence[Any], forms: Sequence[_Form], library: Adapter
) -> None:
    """Arrays of a call are on one device."""
    places = [library.place(value) for value, form in zip(given, forms, strict=True) if form.numbers is None]
    if any(place != places[0] for place in places):
        told = [describe(v) for v, form in zip(variables, forms, strict=True) if form.numbers is None]
        where = ", ".join(f"{what}: {place}" for what, place in zip(told, places, strict=True))
        raise DeviceError(f"the arrays of a call are on one device; got {where}")


def _common_dtype(variables: Sequence[Variable], forms: Sequence[_Form], library: Adapter) -> str:
    # A plain number has no precision of its own: it takes that of the arrays. True integers keep theirs.
    reals = [form for v, form in zip(variables, forms, strict=True) if v.kind == REAL and form.numbers is None]
    names = {form.dtype for form in reals if not form.weak} or {form.dtype for form in reals}
    if len(names) == 1:
        (name,) = names
        if name in COMPUTED:
            return name
    return library.promoted(names)


def _rank(variable: Variable) -> int:
    """Dimensions of one index of a batch."""
    return 1 if variable.domain == Domain.P else 2


def _complete_numbers(variables: Sequence[Variable], forms: Sequence[_Form]) -> None:
    """Give variables of length 1 in a batch their last axis where they came without.

    Only in a batch that another argument shows: else data of length 3 for a variable of length 1 would be one. A last
    axis of size 1 is that of the vector, unless the other variables of its index have one row.
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
    """The common batch shape; the forms get as many batch dimensions each, of size 1 where they had none."""
    own = [1 if variable.domain == Domain.P else 2 for variable in variables]
    for v, form in zip(variables, forms, strict=True):
        count = len(form.shape) - (1 if v.domain == Domain.P else 2)
        if count > _MOST_BATCH_DIMENSIONS:
            raise ShapeError(
                f"an array has up to {_MOST_BATCH_DIMENSIONS} batch dimensions; {describe(v)} has {count} "
                f"(shape {form.shape}): reshape it, so that several become one"
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
