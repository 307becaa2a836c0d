"""The evaluation of reductions of a `LazyTensor` over i or j: routine, arrays of the call, and result."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import FormulaError, OptionError, ShapeError
from clreduce.ir.expr import Expr
from clreduce.language.names import did_you_mean
from clreduce.lazy.base import Array
from clreduce.lazy.methods import Methods
from clreduce.lazy.parts import PartMethods
from clreduce.lazy.vectors import VectorReductions
from clreduce.ops.shape import concat

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import CallOptions, Value

CALL_OPTIONS = (
    "backend", "device_id", "ranges", "out", "max_memory", "deterministic", "prune", "atol", "rtol",
)  # fmt: skip
MAKE_OPTIONS = (
    "dtype_acc", "use_double_acc", "sum_scheme", "enable_chunks", "rec_multVar_highdim", "use_fast_math", "fast",
    "accuracy",
)  # fmt: skip
_LINEAR = ("Sum", "Mean")
"""Reductions that complex numbers, as pairs of reals, have too."""
_TRUTHS = ("Any", "All")
"""Reductions whose results are truth values."""


Result = TypeVar("Result")
"""The result of a reduction: an array, or a tuple of arrays."""


class PendingReduction(Generic[Result]):
    """A reduction that waits for the data of its symbolic variables: ``r(*arrays)`` computes it.

    The arrays come in the order of the variables' positions: (.., M, D) for Vi, (.., N, D) for Vj, (.., D) for Pm.
    Options are those of `LazyTensor.reduction`. A pending reduction cannot be part of further formulas.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import Vi, Vj
    >>> nearest = Vi(0, 2).sqdist(Vj(1, 2)).min(axis=1)
    >>> nearest(np.zeros((1, 2)), np.ones((3, 2)))
    array([[2.]])
    """

    def __init__(
        self, tensor: Evaluating[Array], reduction_op: str, axis: int, opt_arg: int | None, weight: Value | None,
        keepdims: bool | None, options: dict[str, object],
    ) -> None:  # fmt: skip
        self.tensor, self.reduction_op, self.axis, self.opt_arg = tensor, reduction_op, axis, opt_arg
        self._weight, self._keepdims, self._options = weight, keepdims, options

    def __call__(self, *args: Value, **options: Unpack[CallOptions]) -> Result:
        """The result for these data.

        Parameters
        ----------
        *args : array
            One array for each symbolic variable, in the order of their positions.
        **options
            Options of `LazyTensor.reduction`.

        Returns
        -------
        array or tuple of arrays
            As of the reduction.
        """
        checked = self.tensor._checked_options(self._options | options)
        result = self.tensor._reduce(self.reduction_op, self.axis, self.opt_arg, self._weight, checked, args)
        if self._keepdims is None or self._keepdims:
            return result
        return self.tensor._without_vectors(result, self._weight, self.opt_arg)

    def __array_ufunc__(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "a reduction that gets its data later cannot be part of another formula: call it with its arrays first"
        )

    def __repr__(self) -> str:
        number = "" if self.opt_arg is None else f", opt_arg={self.opt_arg}"
        return f"{self.tensor!r}\n  reduction: {self.reduction_op}, axis={self.axis}{number}; waits to be called"


class Evaluating(VectorReductions[Array], PartMethods[Array]):
    """Methods that run the kernels of a reduction."""

    __slots__ = ()

    @staticmethod
    def _checked_options(options: Any) -> dict[str, Any]:
        for key, value in options.items():
            if key not in CALL_OPTIONS and key not in MAKE_OPTIONS:
                known = (*CALL_OPTIONS, *MAKE_OPTIONS)
                words = (*known, "keepdims", "axis", "call")
                raise OptionError(f"unknown option {key!r}{did_you_mean(key, words)}; known are {', '.join(known)}")
            if key in MAKE_OPTIONS and not (value is None or isinstance(value, (str, bool, np.bool_))):
                raise FormulaError(f"{key} must be a name, True, False or None; got {value!r}")
        return options

    def _symbols(self, other: Any = None) -> bool:
        """Whether some variables, of this or of the second formula, have no data yet."""
        for tensor in (self, other):
            if isinstance(tensor, Methods):
                for leaf in tensor._leaves.values():
                    if leaf.array is None:
                        return True
        return False

    def _reduce(
        self, name: str, axis: int, count: Any, other: Any, options: dict[str, Any], fed: tuple[Any, ...]
    ) -> Any:
        """The result over i (axis 0) or j (axis 1); ``fed`` are the arrays of the symbolic variables."""
        joined, routine, arrays, called = self._prepared(name, axis, count, other, options, fed)
        result = routine(*arrays, **called)
        lost = _lost_axes(joined) if joined._batch else 0
        if lost:
            parts = result if isinstance(result, tuple) else (result,)
            parts = tuple(part.reshape((1,) * lost + tuple(part.shape)) for part in parts)
            result = parts if isinstance(result, tuple) else parts[0]
        if self.is_complex:
            return self.library.as_complex(result)
        return result != 0 if name in _TRUTHS and options.get("out") is None else result

    def _without_vectors(self, result: Any, other: Any, count: Any) -> Any:
        """Results without the axis of vectors, if no tensor has one."""
        if count is not None:
            raise TypeError(
                "keepdims is an option of reductions to one value only; a list of K terms always has shape (M, K)"
            )
        if self._vectors or (other is not None and self._from(other)._vectors):
            return result
        if isinstance(result, tuple):
            return tuple(each.reshape(each.shape[:-1]) for each in result)
        return result.reshape(result.shape[:-1])

    def _prepared(
        self, name: str, axis: int, count: Any, other: Any, options: dict[str, Any], fed: tuple[Any, ...] = ()
    ) -> tuple[Any, Any, list[Any], dict[str, Any]]:
        """Both formulas as one tensor, the routine that reduces them, its arrays, and the options of its call."""
        exprs: tuple[Expr, ...] = (self._real_expr,)
        joined, is_complex = self, self.is_complex
        if other is not None:
            weight = self._from(other)
            is_complex |= weight.is_complex
            joined = self._record(concat(*exprs, weight._real_expr), weight)
            exprs = joined.expr.args
        if is_complex and (other is not None or name not in _LINEAR or options.get("out") is not None):
            raise ShapeError(
                f"{name} is not available for complex numbers or with out=: reduce .real, .imag or abs() instead"
            )
        leaves, arrays = self._fed(joined._leaves, fed)
        made, called = [], {}
        for key, value in options.items():
            if key in MAKE_OPTIONS:
                made.append((key, value))
            elif value is not None:
                called[key] = value
        if joined.ranges is not None:
            called.setdefault("ranges", joined.ranges)
        if joined.backend is not None:
            called.setdefault("backend", joined.backend)
        return joined, self.routine._of(exprs, leaves, name, axis, count, tuple(made)), arrays, called

    def _fed(self, leaves: dict[Expr, Any], fed: tuple[Any, ...]) -> tuple[tuple[Expr, ...], list[Any]]:
        """The variables of a call and their data: symbolic ones first, by position, with the arrays ``fed``."""
        symbols = [leaf for leaf, data in leaves.items() if data.array is None]
        if not symbols and not fed:
            return tuple(leaves), [data.array for data in leaves.values()]
        symbols.sort(key=lambda leaf: leaf.params[0][1])
        places = [leaf.params[0][1] for leaf in symbols]
        for symbol, next_symbol in pairwise(symbols):
            if symbol.params[0] == next_symbol.params[0]:
                raise ShapeError(
                    f"two symbolic variables have position {symbol.params[0][1]}, with lengths {symbol.dim} and "
                    f"{next_symbol.dim} and indices {symbol.domain.name} and {next_symbol.domain.name}"
                )
        if places != list(range(len(symbols))):
            raise ShapeError(f"the positions of symbolic variables must be 0, 1, 2 ... without a gap; got {places}")
        if len(fed) != len(symbols):
            raise ShapeError(
                f"the reduction needs {len(symbols)} arrays, one for each symbolic variable; got {len(fed)}"
            )
        known = {leaf: data.array for leaf, data in leaves.items() if data.array is not None}
        return (*symbols, *known), [*fed, *known.values()]


def _lost_axes(tensor: Any) -> int:
    """The number of leading batch dimensions of size 1 that only parameters have: calls take those as one vector."""
    told = [
        0 if leaf.domain == Domain.P and prod(data.batch) == 1 else len(data.batch)
        for leaf, data in tensor._leaves.items()
    ]
    return len(tensor._batch) - max(told, default=0)
