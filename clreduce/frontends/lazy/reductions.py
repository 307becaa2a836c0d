"""Reductions of a `LazyTensor`: over i or j by a kernel, over the vectors as one more step of the formula."""

from __future__ import annotations

import operator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import FormulaError, ShapeError
from clreduce.frontends.estimate import MemoryEstimate
from clreduce.frontends.lazy.methods import Methods
from clreduce.frontends.vocabulary import checked_reduction
from clreduce.ir.expr import Expr
from clreduce.ops.shape import concat

CALL_OPTIONS = ("backend", "device_id", "ranges", "out")
MAKE_OPTIONS = (
    "dtype_acc", "use_double_acc", "sum_scheme", "enable_chunks", "rec_multVar_highdim", "use_fast_math", "fast",
)  # fmt: skip
_OVER_RESULTS = {
    "Sum": "sum", "Mean": "mean", "Min": "min", "Max": "max", "Prod": "prod", "Any": "max", "All": "min",
    "Count": "sum",
}  # fmt: skip
"""Reductions that may go on over further axes of the result, and how arrays call them."""
_LINEAR = ("Sum", "Mean")
"""Reductions that complex numbers, as pairs of reals, have too."""


class PendingReduction:
    """A reduction that waits for the data of its symbolic variables: ``r(*arrays)`` computes it.

    The arrays come in the order of the variables' positions: (.., M, D) for Vi, (.., N, D) for Vj, (.., D) for Pm.
    Options are those of `LazyTensor.reduction`. It cannot be part of further formulas.
    """

    def __init__(
        self, tensor: Any, reduction_op: str, axis: int, opt_arg: Any, weight: Any, options: dict[str, Any]
    ) -> None:
        self.tensor, self.reduction_op, self.axis, self.opt_arg = tensor, reduction_op, axis, opt_arg
        self._weight, self._options = weight, options

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The result for these data."""
        checked = self.tensor._checked_options(self._options | options)
        return self.tensor._reduce(self.reduction_op, self.axis, self.opt_arg, self._weight, checked, args)

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a reduction that waits for its data is not part of further formulas: call it first")

    def __repr__(self) -> str:
        number = "" if self.opt_arg is None else f", opt_arg={self.opt_arg}"
        return f"{self.tensor!r}\n  reduction: {self.reduction_op}, axis={self.axis}{number}; waits to be called"


class Reductions(Methods):
    """What evaluates a `LazyTensor`."""

    __slots__ = ()

    # ----------------------------------------------------------------------------------------- over the vectors or i, j

    def sum(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Sum over axis: -1 for the components of the vectors (a tensor), i or j (an array), or a tuple of axes."""
        return self._along("Sum", axis, dim, options)

    def mean(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Mean over axis, as `sum` takes it."""
        return self._along("Mean", axis, dim, options)

    def var(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Population variance over the components of the vectors (axis -1, the default), i or j."""
        return self._along("Var", axis, dim, options)

    def prod(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Product over axis, as `sum` takes it."""
        return self._along("Prod", axis, dim, options)

    def min(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Smallest over axis, as `sum` takes it; nan is passed over i and j."""
        return self._along("Min", axis, dim, options)

    def max(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Largest over axis, as `sum` takes it; nan is passed over i and j."""
        return self._along("Max", axis, dim, options)

    def argmin(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Index of the smallest over axis, the lowest of equals: int64 over i or j."""
        return self._along("ArgMin", axis, dim, options)

    def argmax(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """Index of the largest over axis, the lowest of equals: int64 over i or j."""
        return self._along("ArgMax", axis, dim, options)

    def any(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """1 where some term over axis, as `sum` takes it, is not 0; else 0."""
        return self._along("Any", axis, dim, options)

    def all(self, axis: Any = -1, dim: Any = None, **options: Any) -> Any:
        """1 where no term over axis, as `sum` takes it, is 0; else 0."""
        return self._along("All", axis, dim, options)

    def _along(self, name: str, axis: Any, dim: Any, options: dict[str, Any]) -> Any:
        axis = axis if dim is None else dim
        if type(axis) is int and axis in (-1, len(self._batch) + 2):
            return self._over_vectors(name)
        return self.reduction(name, axis=axis, **options)

    def _over_vectors(self, name: str) -> Any:
        """A reduction over the components of each vector: another tensor, of length 1."""
        if name == "Mean":
            return self._over_vectors("Sum") / self.expr.dim
        if name == "Var":
            return ((self - self._over_vectors("Mean")) ** 2)._over_vectors("Mean")
        if name == "Prod":
            parts = [self.elem(k) for k in range(self.expr.dim)]
            while len(parts) > 1:
                parts = [a * b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) & ~1 :]
            return parts[0]
        if name in ("Any", "All"):
            return self._mask()._over_vectors("Max" if name == "Any" else "Min")
        return self._call(name.lower(), name)

    # ---------------------------------------------------------------------------------------------------- over i or j

    def sum_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Sum over i or j."""
        return self.reduction("Sum", axis=axis, dim=dim, **options)

    def min_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Smallest over i or j."""
        return self.reduction("Min", axis=axis, dim=dim, **options)

    def max_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Largest over i or j."""
        return self.reduction("Max", axis=axis, dim=dim, **options)

    def argmin_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Index of the smallest over i or j."""
        return self.reduction("ArgMin", axis=axis, dim=dim, **options)

    def argmax_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Index of the largest over i or j."""
        return self.reduction("ArgMax", axis=axis, dim=dim, **options)

    def min_argmin(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Smallest over i or j, and its index."""
        return self.reduction("Min_ArgMin", axis=axis, dim=dim, **options)

    def max_argmax(self, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Largest over i or j, and its index."""
        return self.reduction("Max_ArgMax", axis=axis, dim=dim, **options)

    def Kmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K smallest over i or j, ascending: (M, K, D), or (M, K) if D is 1."""
        return self.reduction("KMin", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Indices of the K smallest over i or j."""
        return self.reduction("ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmin_argKmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K smallest over i or j, and their indices."""
        return self.reduction("KMin_ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K largest over i or j, descending."""
        return self.reduction("KMax", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """Indices of the K largest over i or j."""
        return self.reduction("ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax_argKmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The K largest over i or j, and their indices."""
        return self.reduction("KMax_ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    def logsumexp(self, axis: Any = None, dim: Any = None, weight: Any = None, **options: Any) -> Any:
        """log of the sum of exp over i or j, without overflow; ``weight`` multiplies the terms."""
        return self.reduction("LogSumExp", other=weight, axis=axis, dim=dim, **options)

    def sumsoftmaxweight(self, weight: Any, axis: Any = None, dim: Any = None, **options: Any) -> Any:
        """The mean of ``weight`` over i or j, weighted by exp of this."""
        return self.reduction("SumSoftMaxWeight", other=weight, axis=axis, dim=dim, **options)

    min_argmin_reduction, max_argmax_reduction = min_argmin, max_argmax
    Kmin_reduction, argKmin_reduction, Kmin_argKmin_reduction = Kmin, argKmin, Kmin_argKmin
    logsumexp_reduction, sumsoftmaxweight_reduction = logsumexp, sumsoftmaxweight

    def reduction(
        self, reduction_op: str, other: Any = None, opt_arg: Any = None, axis: Any = None, dim: Any = None,
        call: bool = True, is_complex: bool | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Any reduction over i or j, by its name: an array of shape (batch.., M or N, D).

        ``axis`` (or ``dim``) is that of i or of j in the shape (batch.., M, N, D); negative ones count from the end.
        A tuple may name further axes of the result, for sums, products and extrema. ``other`` is the second formula,
        the weights of a ``LogSumExp``. With ``call=False``, or if variables are symbolic, a `PendingReduction` waits
        for the data. Options are those of `Genred` and of its call.
        """
        name = checked_reduction(reduction_op, opt_arg, other).name
        options = self._checked_options(options)
        reduced, further = self._axes(name, axis if axis is not None else dim)
        if further:
            if options.get("out") is not None:
                raise ShapeError("out= goes with one axis; a reduction over several gives a new array")
            if not call or self._symbols(other):
                raise ShapeError("a reduction that waits for data is over one axis, i or j")
            return self._over_several(name, reduced, further, other, opt_arg, options)
        if not call or self._symbols(other):
            return PendingReduction(self, name, reduced, opt_arg, other, options)
        return self._reduce(name, reduced, opt_arg, other, options, ())

    @staticmethod
    def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if key not in CALL_OPTIONS and key not in MAKE_OPTIONS:
                raise TypeError(f"unknown option {key!r}; known are {', '.join((*CALL_OPTIONS, *MAKE_OPTIONS))}")
            if key in MAKE_OPTIONS and not (value is None or isinstance(value, (str, bool, np.bool_))):
                raise FormulaError(f"{key} is a name, True, False or None; got {value!r}")
        return options

    def _axes(self, name: str, axis: Any) -> tuple[int, tuple[int, ...]]:
        """0 or 1 for i or j, which is reduced first; and the other axes of the tensor that are reduced."""
        batch = len(self._batch)
        if type(axis) is int and batch <= axis <= batch + 1:
            return axis - batch, ()
        if axis is None:
            raise TypeError(f"{name}: axis is missing: {batch} for i, {batch + 1} for j")
        axes = [_index(one) for one in (axis if isinstance(axis, (tuple, list)) else (axis,))]
        places = [one + batch + 3 if one < 0 else one for one in axes]
        for one, place in zip(axes, places, strict=True):
            if not 0 <= place < batch + 3 or places.count(place) > 1:
                raise ShapeError(
                    f"{name}: axis {one} of a tensor of shape {self._shape}: {batch} is i, {batch + 1} is j"
                )
        chosen = [place - batch for place in places if place in (batch, batch + 1)]
        if not chosen:
            raise ShapeError(
                f"{name} over axis {axis!r} of a tensor of shape {self._shape} is no reduction over i (axis {batch}) "
                f"or j (axis {batch + 1})"
            )
        if len(places) > 1 and name not in _OVER_RESULTS:
            raise ShapeError(f"{name} is over one axis, i ({batch}) or j ({batch + 1}); got {axis!r}")
        reduced = max(chosen)
        return reduced, tuple(place for place in places if place != batch + reduced)

    def _over_several(
        self, name: str, axis: int, further: tuple[int, ...], other: Any, count: Any, options: dict[str, Any]
    ) -> Any:
        """A reduction over i or j, then over other axes of what comes out; that over the vectors goes first."""
        batch, tensor = len(self._batch), self
        vectors = batch + 2 in further
        if vectors:
            tensor = self._over_vectors(name)
        result = tensor._reduce(name, axis, count, other, options, ())
        if vectors:
            result = result.reshape(result.shape[:-1])
        rest = [place for place in further if place != batch + 2]
        if not rest:
            return result
        return self.library.reduced(_OVER_RESULTS[name], result, tuple(p - (p > batch + axis) for p in rest))

    def _symbols(self, other: Any = None) -> bool:
        """Whether some variables, of this or of the second formula, have no data yet."""
        for tensor in (self, other):
            if isinstance(tensor, Methods):
                for leaf in tensor._leaves.values():
                    if leaf.array is None:
                        return True
        return False

    def _reduce(
        self, name: str, axis: int, count: Any, other: Any, options: dict[str, Any], given: tuple[Any, ...]
    ) -> Any:
        """The result over i (axis 0) or j (axis 1); ``given`` feeds the symbolic variables."""
        joined, routine, arrays, called = self._prepared(name, axis, count, other, options, given)
        result = routine(*arrays, **called)
        lost = _lost_axes(joined) if joined._batch else 0
        if lost:
            parts = result if isinstance(result, tuple) else (result,)
            parts = tuple(one.reshape((1,) * lost + tuple(one.shape)) for one in parts)
            result = parts if isinstance(result, tuple) else parts[0]
        return self.library.as_complex(result) if self.is_complex else result

    def _prepared(
        self, name: str, axis: int, count: Any, other: Any, options: dict[str, Any], given: tuple[Any, ...] = ()
    ) -> tuple[Any, Any, list[Any], dict[str, Any]]:
        """Both formulas as a tensor, the routine that reduces them, the arrays that it takes, options of its call."""
        exprs: tuple[Expr, ...] = (self._real_expr,)
        joined, is_complex = self, self.is_complex
        if other is not None:
            weight = self._from(other)
            is_complex |= weight.is_complex
            joined = self._record(concat(*exprs, weight._real_expr), weight)
            exprs = joined.expr.args
        if is_complex and (other is not None or name not in _LINEAR or options.get("out") is not None):
            raise ShapeError(
                f"{name} of complex numbers, or into out=, is not available: reduce .real, .imag or abs() of them"
            )
        leaves, arrays = self._fed(joined._leaves, given)
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
        return joined, self.routine.of(exprs, leaves, name, axis, count, tuple(made)), arrays, called

    def _fed(self, leaves: dict[Expr, Any], given: tuple[Any, ...]) -> tuple[tuple[Expr, ...], list[Any]]:
        """The variables of a call and their data: first the symbolic ones, by position, which ``given`` feeds."""
        symbols = [leaf for leaf, data in leaves.items() if data.array is None]
        if not symbols and not given:
            return tuple(leaves), [data.array for data in leaves.values()]
        symbols.sort(key=lambda leaf: leaf.params[0][1])
        places = [leaf.params[0][1] for leaf in symbols]
        for one, next_one in pairwise(symbols):
            if one.params[0] == next_one.params[0]:
                raise ShapeError(
                    f"position {one.params[0][1]} is that of two symbolic variables, of lengths {one.dim} and "
                    f"{next_one.dim} over {one.domain.name} and {next_one.domain.name}"
                )
        if places != list(range(len(symbols))):
            raise ShapeError(f"symbolic variables have positions 0, 1, 2 ... without a gap; these have {places}")
        if len(given) != len(symbols):
            raise ShapeError(f"the tensor has {len(symbols)} symbolic variables; got {len(given)} arrays")
        known = {leaf: data.array for leaf, data in leaves.items() if data.array is not None}
        return (*symbols, *known), [*given, *known.values()]

    def memory_estimate(
        self, axis: Any = None, reduction_op: str = "Sum", other: Any = None, opt_arg: Any = None, **options: Any
    ) -> MemoryEstimate:
        """Bytes that a reduction takes on its device: its data, its results, and temporaries while it runs.

        Nothing is computed. The arguments are those of `reduction`.
        """
        name = checked_reduction(reduction_op, opt_arg, other).name
        reduced, further = self._axes(name, axis)
        if further:
            raise ShapeError(f"memory_estimate is for one axis, i or j; got {axis!r}")
        _, routine, arrays, called = self._prepared(name, reduced, opt_arg, other, self._checked_options(options))
        called.pop("out", None)
        found: MemoryEstimate = routine.memory_estimate(*arrays, **called)
        return found


def _lost_axes(tensor: Any) -> int:
    """How many leading batch dimensions, of size 1, no data but parameters have: those count as one vector each."""
    told = [
        0 if leaf.domain == Domain.P and prod(data.batch) == 1 else len(data.batch)
        for leaf, data in tensor._leaves.items()
    ]
    return len(tensor._batch) - max(told, default=0)


def _index(axis: Any) -> int:
    try:
        if isinstance(axis, (bool, np.bool_)):
            raise TypeError
        return operator.index(axis)
    except TypeError:
        raise ShapeError(f"an axis is a whole number; got {axis!r}") from None
