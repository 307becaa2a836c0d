"""The data of a `LazyTensor`: the arrays and numbers of the variables of its formula, made from users' values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, SupportsComplex, SupportsFloat, TypeGuard
from weakref import WeakValueDictionary

import numpy as np

from clreduce.adapters.adapter import AnyAdapter
from clreduce.call.pruning.index import Index
from clreduce.domain import Domain
from clreduce.errors import DtypeError, ShapeError
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import constant, variable
from clreduce.memo import memoised
from clreduce.typing import AnyArray

if TYPE_CHECKING:
    from clreduce.lazy.types import HasShape

DOMAINS = (Domain.I, Domain.J, Domain.P)
_LARGEST_CONSTANT = 2**53
"""Integers beyond it are parameters: kernels have them in the precision of the data either way."""


_NUMBERS = ("float", "complex", "int", "uint", "bool", "bfloat")
"""The beginnings of the names of dtypes of numbers."""

_free: list[int] = []
_release = partial(heappush, _free)
_numbers = count()


class DataSource:
    """The user's value for a variable, and the number that names the variable while a tensor holds the value.

    A new variable gets the smallest free number. So a loop with new data each time records equal formulas each time,
    and reuses their programs and kernels.
    """

    __slots__ = ("__weakref__", "number", "value")

    def __init__(self, value: object) -> None:
        self.value: Any = value
        try:
            self.number: int = heappop(_free)
        except IndexError:
            self.number = next(_numbers)

    def __del__(self, release: Callable[[int], None] = _release) -> None:
        release(self.number)


_sources: WeakValueDictionary[Any, DataSource] = WeakValueDictionary()


def _source(key: Any, value: Any) -> DataSource:
    """The source that all tensors of ``value`` share; ``key`` identifies it."""
    known = _sources.get(key)
    return _sources.setdefault(key, DataSource(value)) if known is None else known


@dataclass(eq=False, slots=True)
class Leaf:
    """The data of one variable: an array laid out as a call takes it, plain numbers, or nothing yet."""

    array: Any
    """An array of shape (batch.., M, D), (batch.., N, D) or (batch.., D); or a tuple of numbers, which have no
    precision of their own; or None for a symbolic variable."""
    batch: tuple[int, ...]
    source: DataSource | None

    @property
    def rows(self) -> int:
        """The number of rows of the array: M or N."""
        return int(self.array.shape[-2])


@dataclass(eq=False, slots=True)
class Operand:
    """A value of the user as a formula: what `LazyTensor` adopts."""

    expr: Expr
    leaves: dict[Expr, Leaf]
    batch: tuple[int, ...] = ()
    ni: int | None = None
    nj: int | None = None
    is_complex: bool = False
    vectors: bool = True
    """Whether it has a vector axis: all but plain numbers have one."""
    is_condition: bool = False
    """Whether it holds truth values."""


def with_array(
    value: object, array: HasShape, batch: tuple[int, ...], dim: int, domain: Domain, kind: str = REAL
) -> tuple[Expr, Leaf]:
    """A variable for ``array``, whose numbers are those of ``value``, the user's own; equal for equal uses of it."""
    source = _source((id(value), batch, kind), value)
    return variable(("data", source.number), dim, domain, kind), Leaf(array, batch, source)


def with_numbers(numbers: tuple[float, ...]) -> tuple[Expr, Leaf]:
    """A parameter of plain numbers; equal for equal numbers."""
    source = _source(tuple(number.hex() for number in numbers), numbers)
    return variable(("data", source.number), len(numbers), Domain.P), Leaf(numbers, (), source)


def _parameter(numbers: tuple[float, ...], is_complex: bool = False, vectors: bool = True) -> Operand:
    leaf, data = with_numbers(numbers)
    return Operand(leaf, {leaf: data}, is_complex=is_complex, vectors=vectors)


def from_number(value: SupportsFloat) -> Operand:
    """An integer is compiled in; a float is a parameter, so that another value needs no other kernel."""
    if isinstance(value, (bool, np.bool_)):
        return Operand(constant(int(value)), {}, vectors=False, is_condition=True)
    if isinstance(value, (int, np.integer)) and abs(int(value)) <= _LARGEST_CONSTANT:
        return _from_integer(int(value))
    return _parameter((float(value),), vectors=False)


@memoised(256)
def _from_integer(value: int) -> Operand:
    return Operand(constant(value), {}, vectors=False)


def from_complex(value: complex | SupportsComplex) -> Operand:
    """A parameter of one complex number, kept as its two parts."""
    number = complex(value)
    return _parameter((number.real, number.imag), is_complex=True, vectors=False)


def from_list(values: Sequence[object]) -> Operand:
    """A parameter vector without a precision of its own, from numbers."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(None)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "biufc":
        raise ShapeError(f"a list must be a vector of numbers, such as [1.0, 2.0]; got {_brief(values)}")
    is_complex = array.dtype.kind == "c"
    reals = array.astype(np.complex128).view(np.float64) if is_complex else array.astype(np.float64)
    return _parameter(tuple(reals.tolist()), is_complex)


def from_symbol(position: object, dim: object, category: int) -> Operand:
    """A variable whose data come when the reduction is called."""
    if not (_is_integer(position) and _is_integer(dim) and _is_integer(category)):
        raise ShapeError(
            "a symbolic variable is Vi(position, length) or (position, length, category), with whole numbers; "
            f"got {_brief(position)}, {_brief(dim)}, {_brief(category)}"
        )
    if position < 0 or dim < 1 or not 0 <= category <= 2:
        raise ShapeError(
            "a symbolic variable is (position, length, category): position from 0, length from 1, category 0 (i), "
            f"1 (j) or 2 (parameter); got ({position}, {dim}, {category})"
        )
    leaf = variable(("symbol", int(position)), int(dim), DOMAINS[category])
    return Operand(leaf, {leaf: Leaf(None, (), None)})


def from_array(value: AnyArray, axis: int | None, library: AnyAdapter) -> Operand:
    """An array: with ``axis`` 0 or 1 of shape (M, D), else its shape tells what it is."""
    shape = tuple(value.shape)
    dtype = library.dtype_name(value)
    is_complex = dtype.startswith("complex")
    if not dtype.startswith(_NUMBERS):
        raise DtypeError(f"a LazyTensor needs a dense array of numbers; got one of dtype {dtype}")
    if axis is None or axis == 2:
        domain, batch, array = _by_shape(value, shape, axis)
    else:
        if len(shape) == 1:
            raise ShapeError(
                f"V{'ij'[axis]} (axis={axis}) needs an array of shape ({'MN'[axis]}, D); got shape {shape}: write x[:, "
                f"None] for one number for each {'ij'[axis]}, x[None, :] for a single vector"
            )
        if len(shape) != 2:
            raise ShapeError(
                f"V{'ij'[axis]} (axis={axis}) needs an array of shape ({'MN'[axis]}, D); got shape {shape}. For a "
                "batch, write LazyTensor(x) with an array of shape (.., M, 1, D) or (.., 1, N, D)"
            )
        domain, batch, array = DOMAINS[axis], (), value
    dim = array.shape[-1] * (2 if is_complex else 1)
    if dim == 0:
        raise ShapeError(f"vectors need at least one component; got an array of shape {shape}")
    leaf, data = with_array(value, array, batch, dim, domain)
    ni = data.rows if domain == Domain.I else None
    nj = data.rows if domain == Domain.J else None
    return Operand(leaf, {leaf: data}, batch, ni, nj, is_complex, bool(shape), dtype == "bool")


def _by_shape(value: Any, shape: tuple[int, ...], axis: int | None) -> tuple[Domain, tuple[int, ...], Any]:
    """The domain that the shape of an array determines, its batch dimensions, and the array as a call takes it."""
    if len(shape) <= 1:
        return Domain.P, (), value.reshape(1) if not shape else value
    if axis is not None:
        raise ShapeError(f"a parameter (Pm, axis=2) must be one vector; got an array of shape {shape}")
    if len(shape) == 2:
        raise ShapeError(
            f"it is not clear whether an array of shape {shape} has vectors of i or of j: write Vi(x), Vj(x), "
            f"LazyTensor(x, axis=0) or 1, or give it shape ({shape[0]}, 1, {shape[1]}) or (1, {shape[0]}, {shape[1]})"
        )
    batch, (m, n, dim) = shape[:-3], shape[-3:]
    if m == 1 and n == 1:
        return Domain.P, batch, value.reshape((*batch, dim))
    if n == 1:
        return Domain.I, batch, value.reshape((*batch, m, dim))
    if m == 1:
        return Domain.J, batch, value.reshape((*batch, n, dim))
    raise ShapeError(
        f"vectors of i need an array of shape (.., M, 1, D), vectors of j one of shape (.., 1, N, D); got {shape}. "
        "A dense M x N array cannot be part of a formula"
    )


def _as_column(value: Any, axis: int) -> str:
    """The end of the advice to convert a list of numbers: the second axis, which the list lacks."""
    if not isinstance(value, (list, tuple)) or any(isinstance(each, (list, tuple, np.ndarray)) for each in value):
        return ""
    return f"[:, None] for one number for each {'ij'[axis]}"


def _brief(value: Any) -> str:
    """A value for an error: its text if that is short, else its type."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else type(value).__name__


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def operand(value: object, library: AnyAdapter, axis: int | None = None) -> Operand:
    """Anything that may stand in an expression, as a formula."""
    if axis is not None and axis not in (0, 1, 2):
        raise ShapeError(f"axis must be 0 (vectors of i), 1 (vectors of j) or 2 (a parameter); got {axis!r}")
    if isinstance(value, Index):
        value = value.points
    if library.accepts(value):
        return from_array(value, axis, library)
    array = None if isinstance(value, (int, float, complex, np.generic)) else library.foreign(value)
    if array is not None:
        return from_array(array, axis, library)
    if type(value) is tuple and len(value) == 3 and axis is None and all(map(_is_integer, value)):
        return from_symbol(*value)
    if axis in (0, 1):
        raise ShapeError(
            f"V{'ij'[axis]} (axis={axis}) needs a {library.name} array of shape ({'MN'[axis]}, D); got {_brief(value)}"
            f"{library.advice(value)}{_as_column(value, axis)}"
        )
    if isinstance(value, (list, tuple)):
        return from_list(value)
    if isinstance(value, (int, float, np.bool_, np.integer, np.floating)):
        return from_number(value)
    if isinstance(value, (complex, np.complexfloating)):
        return from_complex(value)
    raise DtypeError(
        f"a LazyTensor of {library.name} needs {library.name} arrays, numbers or lists of numbers; got {_brief(value)}"
        f"{library.advice(value)}"
    )
