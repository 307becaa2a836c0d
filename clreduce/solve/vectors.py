"""Vectors of an iteration that stay on their device: what NumPy's arrays are to a solver on the host.

They take part in NumPy's arithmetic, so solvers are written once. An expression of a few of them is one kernel, made of
the same formulas as all others; sums are read, a number for each system. Nothing that is stored changes any more: an
operation in place gives a vector another array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import constant, variable
from clreduce.memo import Memo, memoised
from clreduce.ops.arithmetic import add, div, mul, neg, sub
from clreduce.ops.compare import less, where
from clreduce.ops.functions import absolute
from clreduce.ops.shape import repeated
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.lent import LentQueue
from clreduce.runtime.plan import Plan
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.region import Region
from clreduce.runtime.resident import broadcast, copied
from clreduce.runtime.signature import signature_of
from clreduce.typing import Array, DType

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray

Structure = tuple[Any, ...]
"""A formula without its data: ``("row", dim)``, ``("number", dim)``, or the name and arguments of an operation."""
_CALLS: Memo[Any, tuple[Plan, Region]] = Memo(256)
"""The plans and regions of expressions that were computed before, by structure and shape."""
Operand: TypeAlias = "Vector | Array | float"
"""A vector, one number for each system, (batch.., 1, E), or one for all."""
_ZERO: Structure = ("constant", 0)
_MOST_PENDING = 3
"""The most arrays of an expression that becomes part of a larger one; an expression of more is computed first."""


@dataclass(frozen=True)
class Space:
    """The device and the precision of vectors."""

    place: LentQueue
    dtype: DType

    def vector(self, array: DeviceArray, shape: tuple[int, ...]) -> Vector:
        """An array on the device as a vector of this shape."""
        if array.shape != shape:
            array = broadcast(array, shape)
        return Vector(self, ("row", shape[-1]), (copied(array, self.dtype),), shape)

    def zeros(self, shape: tuple[int, ...]) -> Vector:
        """A vector of zeros."""
        return Vector(self, _ZERO, (), shape)


class Vector:
    """Numbers of shape (batch.., n, E), on a device."""

    __slots__ = ("arrays", "shape", "space", "structure")

    arrays: tuple[Any, ...]

    def __init__(
        self, space: Space, structure: Structure, arrays: tuple[DeviceArray | Array, ...], shape: tuple[int, ...]
    ) -> None:
        """``structure`` is the formula; ``arrays`` are its data, in the order of their places in it."""
        self.space, self.structure, self.arrays, self.shape = space, structure, arrays, shape

    dtype = property(lambda self: self.space.dtype)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: prod(self.shape))

    # ------------------------------------------------------------------------------------------------------ numbers

    @property
    def is_zero(self) -> bool:
        """Whether the vector is known to be zero without reading its numbers."""
        return self.structure == _ZERO

    @property
    def array(self) -> DeviceArray:
        """The numbers, on the device; they never change."""
        if self.structure[0] != "row":
            rows = self.shape[-2]
            self.arrays = (self._computed("Sum", False, rows, 1),)
            self.structure = ("row", self.shape[-1])
        numbers: DeviceArray = self.arrays[0]
        return numbers

    def astype(self, dtype: DType) -> DeviceArray:
        """The numbers as an array of pyopencl in some precision, which callers only read."""
        array = self.array
        return array if array.dtype == dtype else copied(array, dtype)

    def copy(self) -> Vector:
        """A vector with the same numbers."""
        return Vector(self.space, self.structure, self.arrays, self.shape)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Array | float:
        """Sums over the rows, (batch.., 1, E), or one over all, on the host."""
        sums = self.reduced("Sum")
        if axis is None:
            return float(sums.sum())
        assert (axis, keepdims) == (-2, True), "sums are over rows"
        return sums

    def min(self) -> float:
        """The least number, without nan."""
        return float(self.reduced("Min").min())

    def max(self) -> float:
        """The largest number, without nan."""
        return float(self.reduced("Max").max())

    def reduced(self, name: str) -> Array:
        """A reduction over the rows, (batch.., 1, E), copied to the host."""
        result = self._computed(name, True, 1, self.shape[-2])
        numbers: Array = result.get()
        return numbers.astype(np.float64, copy=False)

    def _computed(self, name: str, over_rows: bool, rows: int, columns: int) -> Any:
        place = self.space.place
        key = (self.structure, self.shape, name, over_rows, self.space.dtype, place.device, PLANS.forgotten)
        with place.device.at(place):
            known = _CALLS.get(key)
            if known is None:
                program = _program(self.structure, self.shape[-1], name, over_rows)
                batch = self.shape[:-2]
                signature = signature_of(self.space.dtype.name, bool(batch))
                plan = PLANS.get(program, signature, place.device, rows=rows, columns=columns)
                known = _CALLS.keep(key, (plan, Region(rows, columns, batch)))
            plan, region = known
            return plan.run(self.arrays, region)[0]

    # --------------------------------------------------------------------------------------------------- arithmetic

    def _part(self) -> tuple[Structure, tuple[Any, ...]]:
        """This vector as a part of an expression."""
        if len(self.arrays) > _MOST_PENDING:
            return ("row", self.shape[-1]), (self.array,)
        return self.structure, self.arrays

    def _of(self, name: str, *operands: Operand) -> Vector:
        structures: list[Structure] = []
        arrays: list[Any] = []
        for operand in operands:
            structure, data = operand._part() if isinstance(operand, Vector) else self._number(operand)
            structures.append(structure)
            arrays += data
        return Vector(self.space, (name, *structures), tuple(arrays), self.shape)

    def _number(self, value: Array | float) -> tuple[Structure, tuple[Any, ...]]:
        """One number for all rows, or one for each system, (batch.., 1, E)."""
        if type(value) in (int, float) and value in (0, 1):
            return ("constant", int(value)), ()
        numbers = np.asarray(value, self.space.dtype)
        if numbers.ndim < len(self.shape):
            numbers = numbers.reshape((1,) * (len(self.shape) - numbers.ndim) + numbers.shape)
        assert numbers.shape[-2] == 1, "an array of the host that is as long as the vector"
        return ("number", numbers.shape[-1]), (np.ascontiguousarray(numbers[..., 0, :]),)

    def _become(self, other: Vector) -> Vector:
        self.structure, self.arrays = other.structure, other.arrays
        return self

    def __setitem__(self, place: EllipsisType, value: Vector) -> None:
        assert place is Ellipsis, "vectors are set as a whole"
        self._become(value)

    def __add__(self, other: Operand) -> Vector:
        return self._of("add", self, other)

    def __sub__(self, other: Operand) -> Vector:
        return self._of("sub", self, other)

    def __rsub__(self, other: Operand) -> Vector:
        return self._of("sub", other, self)

    def __mul__(self, other: Operand) -> Vector:
        return self._of("mul", self, other)

    def __truediv__(self, other: Operand) -> Vector:
        return self._of("div", self, other)

    def __rtruediv__(self, other: Operand) -> Vector:
        return self._of("div", other, self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Vector:
        return self._of("neg", self)

    def __abs__(self) -> Vector:
        return self._of("abs", self)

    def __iadd__(self, other: Operand) -> Vector:
        return self._become(self + other)

    def __isub__(self, other: Operand) -> Vector:
        return self._become(self - other)

    def __imul__(self, other: Operand) -> Vector:
        return self._become(self * other)

    def __gt__(self, other: float) -> Condition:
        return Condition(self._of("above", self, other))

    def __lt__(self, other: float) -> Condition:
        return Condition(self._of("above", other, self))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Operand, **options: object) -> object:
        function = _UNIVERSAL.get(ufunc.__name__)
        if method != "__call__" or options or function is None:
            return NotImplemented
        vector = next(each for each in inputs if isinstance(each, Vector))
        return function(vector, *inputs)

    def __array_function__(
        self, function: Callable[..., object], types: Iterable[type], args: tuple[object, ...],
        options: Mapping[str, object],
    ) -> object:  # fmt: skip
        replacement = _FUNCTIONS.get(function)
        return NotImplemented if replacement is None else replacement(*args, **options)


class Condition:
    """A truth value for each number of a vector."""

    def __init__(self, truths: Vector) -> None:
        self._truths = truths

    def all(self) -> bool:
        """Whether all truth values are true."""
        return float((1 - self._truths).reduced("Sum").sum()) == 0


_UNIVERSAL: dict[str, Callable[..., Any]] = {
    "add": lambda self, a, b: self._of("add", a, b),
    "subtract": lambda self, a, b: self._of("sub", a, b),
    "multiply": lambda self, a, b: self._of("mul", a, b),
    "divide": lambda self, a, b: self._of("div", a, b),
    "absolute": lambda self, a: abs(a),
    "isfinite": lambda self, a: Condition(self._of("finite", a)),
}


def _where(condition: Any, a: Any, b: Any) -> Vector:
    """Choose between numbers of vectors by truth values of systems, which are on the host."""
    vector: Vector = a if isinstance(a, Vector) else b
    truths = np.asarray(condition)
    if truths.all() or not truths.any():
        chosen = a if truths.all() else b
        return chosen.copy() if isinstance(chosen, Vector) else vector.space.zeros(vector.shape) + chosen
    return vector._of("where", truths.astype(float), a, b)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.zeros_like: lambda vector: vector.space.zeros(vector.shape),
    np.shape: lambda vector: vector.shape,
}


# -------------------------------------------------------------------------------------------------------- programs


def _as_long(expr: Expr, dim: int) -> Expr:
    return expr if expr.dim == dim else repeated(expr, dim)


_BUILD: dict[str, Callable[..., Expr]] = {
    "add": add, "sub": sub, "mul": mul, "div": div, "neg": neg, "abs": absolute,
    "above": lambda a, b: where(less(b, a), constant(1), constant(0)),
    "finite": lambda a: where(less(absolute(a), constant(float("inf"))), constant(1), constant(0)),
    "where": lambda truth, a, b: where(less(constant(0), truth), a, b),
}  # fmt: skip


@memoised(512)
def _program(structure: Structure, dim: int, name: str, over_rows: bool) -> MapReduce:
    """The computation of an expression, for each row or reduced over the rows."""
    count = [0]

    def build(part: Structure) -> Expr:
        kind = part[0]
        if kind == "constant":
            return _as_long(constant(part[1]), dim)
        if kind in ("row", "number"):
            domain = Domain.P if kind == "number" else Domain.J if over_rows else Domain.I
            count[0] += 1
            return _as_long(variable(count[0] - 1, part[1], domain), dim)
        arguments = [build(each) for each in part[1:]]
        return _BUILD[kind](*arguments)

    program, leaves = map_reduce([build(structure)], name)
    assert [leaf.params[0] for leaf in leaves] == list(range(count[0])), "data come in the order of the formula"
    return program
