"""The axes of reductions of a `LazyTensor`, and reductions over several of them.

One rule: a tensor has its vector axis, also of length 1, until something reduces it. While it has one, axis -1 and a
reduction without axis mean the vectors, and the result is another tensor. Then it is a matrix with a number for each
pair: axes count as in its shape (batch.., M, N), and a reduction without axis is over all of them. Where a vector axis
of length 1 meets a matrix, as in ``K * Vj(w)``, the shape is the matrix's; an axis -1 means the vectors still.
"""

from __future__ import annotations

import operator
from enum import Enum
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.call.estimate import MemoryEstimate
from clreduce.errors import ShapeError
from clreduce.language.vocabulary import checked_reduction
from clreduce.lazy.base import Array
from clreduce.lazy.batches import Batches
from clreduce.lazy.evaluating import PendingReduction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import Axis, CallOptions, Value


class Default(Enum):
    """An axis that is not given: that of the vectors while a tensor has one, then all axes."""

    AXIS = "the vector axis, or all axes if it is reduced"

    def __repr__(self) -> str:
        return f"<{self.value}>"


_NOT_GIVEN = Default.AXIS
_OVER_RESULTS = {
    "Sum": "sum", "Mean": "mean", "Min": "min", "Max": "max", "Prod": "prod", "Any": "any", "All": "all",
    "Count": "sum", "LogSumExp": "logsumexp",
}  # fmt: skip
"""Reductions that may go on over further axes of the result, and how arrays call them."""
_PLACES = {"ArgMin": "Min_ArgMin", "ArgMax": "Max_ArgMax"}
"""Indices of extrema, and the reduction that gives the extrema with them."""


class Axes(Batches[Array]):
    """Reductions over any axes."""

    __slots__ = ()

    def _along(self, name: str, axis: Any, dim: Any, keepdims: bool | None, options: Any) -> Any:
        """A reduction over the vectors, over i or j, or over several axes."""
        axis = axis if dim is None else dim
        if options and "keepdim" in options:
            keepdims = options.pop("keepdim")
        if axis is _NOT_GIVEN:
            axis = -1 if self._vectors else None
        if self._vectors is not False and type(axis) is int and (axis == -1 or axis == len(self._batch) + 2):
            if options or keepdims:
                self._checked_options(options)
                return self._kept_over_vectors(name, keepdims)
            return self._over_vectors(name)
        return self._over(name, axis, None, None, True, keepdims, options)

    def _kept_over_vectors(self, name: str, keepdims: bool | None) -> Any:
        tensor = self._over_vectors(name)
        return tensor._like(tensor.expr, tensor._leaves, vectors=True) if keepdims else tensor

    def _over(
        self, name: str, axis: Any, other: Any, count: Any, call: bool, keepdims: bool | None, options: Any
    ) -> Any:
        """A reduction by its name over ``axis``: one axis, several, or all of them (None)."""
        call = options.pop("call", call)
        options = self._checked_options(options)
        places = self._places(name, axis)
        batch = len(self._batch)
        waits = not call or self._symbols(other)
        if len(places) == 1 and places[0] >= batch:
            if places[0] == batch + 2:
                return self._kept_over_vectors(name, keepdims)
            if waits:
                return PendingReduction(self, name, places[0] - batch, count, other, keepdims, options)
            return self._over_one(name, places[0] - batch, other, count, keepdims, options)
        if options.get("out") is not None:
            raise ShapeError("out= needs a reduction over one axis; a reduction over several axes gives a new array")
        if waits:
            raise ShapeError(
                f"a reduction that gets its data later needs one axis, i ({batch}) or j ({batch + 1}); got "
                f"axis={axis!r}"
            )
        result = self._over_several(name, places, other, count, options)
        if not keepdims:
            return result
        shape = (*self._batch, *self._sizes, *((result.shape[-1],) if self._vectors and result.shape else ()))
        return result.reshape(tuple(1 if place in places else size for place, size in enumerate(shape)))

    def _over_one(
        self, name: str, axis: int, other: Any, count: Any, keepdims: bool | None, options: dict[str, Any]
    ) -> Any:
        """A reduction over i (0) or j (1), which keeps a last axis of length 1 unless ``keepdims`` is False."""
        result = self._reduce(name, axis, count, other, options, ())
        return result if keepdims is None or keepdims else self._without_vectors(result, other, count)

    def _places(self, name: str, axis: Any) -> tuple[int, ...]:
        """The axes of a reduction, counted from 0 in (batch.., i, j), or (batch.., i, j, vector)."""
        batch = len(self._batch)
        if type(axis) is int and batch <= axis <= batch + 1:
            return (axis,)
        rank = batch + 3 if self._vectors else batch + 2
        if axis is None:
            return tuple(range(rank))
        axes = [_index(each) for each in (axis if isinstance(axis, (tuple, list)) else (axis,))]
        places = tuple(each + rank if each < 0 else each for each in axes)
        for each, place in zip(axes, places, strict=True):
            if not 0 <= place < rank or places.count(place) > 1:
                reduced = "; its vector axis is reduced already" if each == batch + 2 else ""
                raise ShapeError(
                    f"{name}: a tensor of shape {self.shape} has no axis {each}; {self._axes_told()}{reduced}"
                )
        return places

    def _one_place(self, what: str, name: str, axis: Any) -> int:
        """0 for the axis of i, 1 for the axis of j; an error for others. ``what`` names the caller, for the error."""
        if axis is None:
            raise TypeError(f"{name}: the argument axis is missing; {self._axes_told()}")
        places, batch = self._places(name, axis), len(self._batch)
        if len(places) > 1 or not batch <= places[0] <= batch + 1:
            raise ShapeError(f"{what} needs one axis, i or j; {self._axes_told()}; got {axis!r}")
        return places[0] - batch

    def _over_several(
        self, name: str, places: tuple[int, ...], other: Any, count: Any, options: dict[str, Any]
    ) -> Any:  # fmt: skip
        """A reduction over i or j, then over the other axes of the result; the vector axis is reduced first."""
        batch = len(self._batch)
        if other is None and count is None and batch not in places and batch + 1 not in places:
            over_vectors = batch + 2 in places
            if over_vectors and name not in _OVER_RESULTS:
                raise ShapeError(
                    f"{name} cannot reduce the vectors and a batch together (the tensor has shape {self.shape}): "
                    "reduce one of them first"
                )
            tensor = self._over_vectors(name) if over_vectors else self
            return tensor._over_batch(name, tuple(place for place in places if place < batch), options)
        if name in _PLACES and len(places) == batch + 2 + bool(self._vectors):
            return self._place_of_extreme(name, options)
        if (name not in _OVER_RESULTS and name != "Var") or other is not None:
            raise ShapeError(f"{name} reduces one axis, i ({batch}) or j ({batch + 1}); got {places}")
        if name == "Var":
            return self._variance(places, options)
        tensor = self._over_vectors(name) if batch + 2 in places else self
        axis = 1 if batch + 1 in places else 0
        result = tensor._over_one(name, axis, None, None, False, options)
        rest = [place for place in places if place not in (batch + axis, batch + 2)]
        return self.library.reduced(_OVER_RESULTS[name], result, tuple(p - (p > batch + axis) for p in rest))

    def _variance(self, places: tuple[int, ...], options: dict[str, Any]) -> Any:
        """The variance over several axes: the mean of the variances over one axis, plus the variance of its means."""
        batch, library = len(self._batch), self.library
        if batch + 2 in places:
            raise ShapeError(
                f"var cannot reduce the vectors and other axes together (the tensor has shape {self.shape}): reduce "
                "one of them first"
            )
        axis = 1 if batch + 1 in places else 0
        within, means = (self._over_one(name, axis, None, None, False, options) for name in ("Var", "Mean"))
        rest = tuple(place - (place > batch + axis) for place in places if place != batch + axis)
        centres: Any = library.reduced("mean", means, rest)
        shape = tuple(1 if place in rest else size for place, size in enumerate(means.shape))
        return library.reduced(
            "mean", within + (means - library.broadcast(centres.reshape(shape), means.shape)) ** 2, rest
        )

    def _place_of_extreme(self, name: str, options: dict[str, Any]) -> Any:
        """The index of the extreme of all entries, in the order of the dense array."""
        if not prod(self.shape):
            raise ShapeError(f"{name} needs at least one entry; the tensor has shape {self.shape}")
        values, places = self._over_one(_PLACES[name], 1, None, None, None, options)
        if self._count > 1:
            chosen = self._first_entry(self.library.to_host(values), self.library.to_host(places), name == "ArgMin")
            return places.reshape(-1)[0] * 0 + chosen
        row: Any = self.library.reduced(name.lower(), values.reshape(-1), (0,))
        return row * self._sizes[1] + self.library.entry(places.reshape(-1), row)

    def _first_entry(self, values: Any, places: Any, smallest: bool) -> int:
        """The lowest index, in the order of the dense array, of the extreme of ``values``.

        ``values`` are the extremes of each row and component, ``places`` their columns, both (batch.., M, D).
        """
        values, places = values.reshape(-1, values.shape[-1]), places.reshape(-1, values.shape[-1])
        rows, components = np.nonzero(values == (values.min() if smallest else values.max()))
        entries = (rows * self._sizes[1] + places[rows, components]) * values.shape[-1] + components
        return int(entries.min())

    def _spread(self, axis: Any, dim: Any, keepdims: bool | None, ddof: float, options: Any, root: bool) -> Any:
        """The variance over an axis, several, or all, or its root; ``ddof`` is subtracted from the number of terms."""
        result = self._along("Var", axis, dim, keepdims, options)
        if ddof:
            if isinstance(result, PendingReduction):
                raise ShapeError(
                    "ddof needs the number of terms, and a reduction that gets its data later does not know it"
                )
            if self.ranges is not None or options.get("ranges") is not None:
                raise ShapeError("ddof is not available with ranges, because rows then differ in their number of terms")
            axis = axis if dim is None else dim
            axis = (-1 if self._vectors else None) if axis is _NOT_GIVEN else axis
            is_of_vectors = self._vectors is None and axis in (-1, len(self._batch) + 2)
            count = 1 if is_of_vectors else prod(self.shape[place] for place in self._places("Var", axis))
            result = result * (count / (count - ddof) if count > ddof else float("nan"))
        return result**0.5 if root else result

    def memory_estimate(
        self, axis: Axis = None, reduction_op: str = "Sum", other: Value | None = None, opt_arg: int | None = None,
        dim: Axis = None, call: bool = True, is_complex: bool | None = None, **options: Unpack[CallOptions],
    ) -> MemoryEstimate:  # fmt: skip
        """Bytes that a reduction takes on its device: its data, its results, and temporaries while it runs.

        Nothing is computed.

        Parameters
        ----------
        axis, reduction_op, other, opt_arg, dim, call, is_complex, **options
            As in `reduction`; ``reduction_op`` is ``"Sum"`` unless it is given.

        Returns
        -------
        MemoryEstimate
            Its parts and their sum, in bytes; the text of it names them.

        Raises
        ------
        ShapeError
            The axis is not one of i or j.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.ones((1000, 3))).sqdist(Vj(np.ones((2000, 3))))
        >>> estimate = K.memory_estimate(axis=1)
        >>> estimate.inputs  # 3000 vectors of 3 numbers of 8 bytes
        72000
        """
        name = checked_reduction(reduction_op, opt_arg, other).name
        reduced = self._one_place("memory_estimate", name, axis if axis is not None else dim)
        _, routine, arrays, called = self._prepared(name, reduced, opt_arg, other, self._checked_options(options))
        called.pop("out", None)
        estimate: MemoryEstimate = routine.memory_estimate(*arrays, **called)
        return estimate


def _index(axis: Any) -> int:
    try:
        if isinstance(axis, (bool, np.bool_)):
            raise TypeError
        return operator.index(axis)
    except TypeError:
        raise ShapeError(f"an axis must be a whole number; got {axis!r}") from None
