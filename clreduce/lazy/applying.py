"""The application of operations to tensors: their operands, and errors that name the shapes of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.errors import ClreduceError, ShapeError
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import constant_value, integer
from clreduce.lazy.base import Array, Recorded, shapes_of
from clreduce.lazy.leaves import from_number
from clreduce.lazy.mistakes import check_operand, shape_of
from clreduce.memo import memoised
from clreduce.ops.derived import truth
from clreduce.ops.indices import difference_of_indices, tally

if TYPE_CHECKING:
    from typing_extensions import Self

Build = Callable[..., Expr]


class Applying(Recorded[Array]):
    """The application of an operation to this tensor and to others."""

    __slots__ = ()

    def _apply(
        self, name: str, build: Build, others: tuple[Any, ...], params: tuple[Any, ...] = (),
        vectors: bool | None = None,
    ) -> Self:  # fmt: skip
        """The result of ``build(self, *others, *params)`` on real vectors; an error names the shapes of the tensors.

        ``vectors`` says whether the result has a vector axis; None if it has one whenever an operand has one.
        """
        if not others:
            return self._record(built(name, build, (self,), (self._real_expr,), params), vectors=vectors)
        tensors = (self, *map(self._beside, others))
        if any(x.is_complex for x in tensors):
            raise not_complex(name)
        expr = built(name, build, tensors, [x._real_expr for x in tensors], params)
        return self._record(expr, *tensors[1:], vectors=vectors)

    def _beside(self, value: Any) -> Any:
        """``value`` as an operand beside this tensor. An array of one number has no vector axis then, as in NumPy."""
        if type(value) is type(self):
            return value
        if type(value) in (int, float):
            return self._adopted(from_number(value))
        if isinstance(value, Recorded):
            return self._from(value)
        array = None if isinstance(value, (bool, complex, np.generic)) else self.library.as_array(value)
        value = value if array is None else array
        shape = shape_of(value, self.library)
        if shape in ((1,), (1, 1)):
            tensor = self._from(value if len(shape) == 1 else value.reshape(1))
            tensor._vectors = False
            return tensor
        if len(shape) in (1, 2):
            check_operand(shape, self)
        return self._from(value)

    def _binary(self, name: str, build: Build, other: Any, reflected: bool = False) -> Self:
        """An arithmetic operator, also for complex numbers and for indices."""
        x = self._beside(other)
        a, b = (x, self) if reflected else (self, x)
        if x.is_complex:
            result: Self = x._complex_binary(name, a, b)
            return result
        f, g = a.expr, b.expr
        if not f.kind == g.kind == REAL:
            rule, both = _INDEX_RULES.get(name), _as_indices(f, g)
            if rule is not None and both is not None:
                return self._record(rule(*both), x)
            f, g = a._real_expr, b._real_expr
        return self._record(built(name, build, (a, b), (f, g)), x)

    def _compare(self, name: str, mask: Build, other: Any, reflected: bool = False) -> Self:
        """1 where ``mask`` holds, else 0; indices are compared as integers."""
        x = self._beside(other)
        if x.is_complex:
            result: Self = x._complex_compare(name, self)
            return result
        a, b = (x, self) if reflected else (self, x)
        f, g = a.expr, b.expr
        if not f.kind == g.kind == REAL:
            f, g = _as_indices(f, g) or (a._real_expr, b._real_expr)
        return self._condition(built(name, mask, (a, b), (f, g)), x)

    def _condition(self, mask: Expr, *others: Recorded[Array]) -> Self:
        """1 where the truth value ``mask`` holds, else 0, as a tensor that is marked as a condition."""
        made = self._record(truth(mask), *others)
        made.is_condition = True
        return made


def built(
    name: str, build: Build, tensors: Sequence[Recorded[Array]], exprs: Sequence[Expr], params: Sequence[object] = ()
) -> Expr:  # fmt: skip
    """``build(*exprs, *params)``. An error is raised again with the shapes of the tensors."""
    try:
        return build_once(build, *exprs, *params)
    except ClreduceError as error:
        message = str(error)
        if not message.startswith(name):
            message = f"{name}: {message}"
        raise type(error)(f"{message}; the tensors have shapes {shapes_of(tensors)}") from None


@memoised(4096)
def build_once(build: Build, *arguments: object) -> Expr:
    """``build(*arguments)``. Recent results are kept, because programs record the same formula again and again."""
    return build(*arguments)


def not_complex(name: str) -> ShapeError:
    return ShapeError(f"{name} is not defined for complex numbers: apply it to .real, .imag, abs() or angle()")


_LARGEST_SUMMAND = 2**24
"""Sums of an index and an integer up to it stay in 32 bits, for all but the last few rows that kernels take."""
_INDEX_RULES: dict[str, Build] = {"+": tally, "-": difference_of_indices}


def _as_indices(f: Expr, g: Expr) -> tuple[Expr, Expr] | None:
    """Both as true integers, if both are indices or whole numbers."""
    indices = []
    for expr in (f, g):
        known = constant_value(expr)
        if expr.kind == INDEX:
            indices.append(expr)
        elif isinstance(known, Fraction) and known.denominator == 1 and abs(known) < _LARGEST_SUMMAND:
            indices.append(integer(int(known)))
        else:
            return None
    return indices[0], indices[1]
