"""NumPy's reductions of a `LazyTensor`, such as ``np.sum(K, axis=1)``: with NumPy's defaults, shapes and nan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clreduce.lazy.base import Recorded

_UNSET = (None, False, np._NoValue)
"""Values of options that ask for nothing."""


def reduction(name: str, follows_nan: bool = False) -> Callable[..., Any]:
    """NumPy's reduction by means of the method ``name``; without an axis it is over all axes.

    With ``follows_nan``, a nan is the extreme of its row, as in NumPy; the method itself skips nan.
    """
    compute = _extreme if follows_nan else _plain

    def function(
        x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **options: Any
    ) -> Any:
        x = x._as_shaped()
        own = {"ddof": options.pop("ddof")} if name in ("var", "std") and "ddof" in options else {}
        asked = options | {"dtype": dtype}
        unknown = [key for key, value in asked.items() if not any(value is unset for unset in _UNSET)]
        if unknown:
            raise TypeError(f"numpy.{name} of a LazyTensor takes axis, out and keepdims, and not {', '.join(unknown)}")
        keepdims = keepdims is not np._NoValue and bool(keepdims)
        result = compute(x, name, axis, **own)
        if isinstance(result, Recorded):
            return result._like(result.expr, result._leaves, vectors=True) if keepdims else result
        if keepdims:
            rank = x.ndim
            axes = range(rank) if axis is None else [each % rank for each in np.atleast_1d(axis)]
            result = np.expand_dims(result, tuple(axes))
        if out is None:
            return result
        out[...] = np.reshape(result, np.shape(out))
        return out

    return function


def _plain(x: Any, name: str, axis: Any, **own: Any) -> Any:
    return getattr(x, name)(axis=axis, keepdims=False, **own)


def _extreme(x: Any, name: str, axis: Any) -> Any:
    """``min``, ``max``, ``argmin`` or ``argmax``: nan where there is one, or the index of the first nan."""
    if x.is_complex or x.is_condition or (x._vectors and axis in (-1, x.ndim - 1)):
        return _plain(x, name, axis)
    smallest = name.endswith("min")
    # One kernel for both: beside the values, numbers that are extreme where a value is nan.
    is_nan = x != x
    both = x.concat(-is_nan if smallest else is_nan)
    count, kind = x._count, "min" if smallest else "max"
    if not name.startswith("arg"):
        values = getattr(both, kind)(axis=_axes(x, axis), keepdims=False)
        values, marks = values[..., :count], values[..., count:]
        if x._vectors and (axis is None or _over_vectors(x, axis)):
            values, marks = getattr(values, kind)(axis=-1), getattr(marks, kind)(axis=-1)
        elif not x._vectors:
            values, marks = values[..., 0], marks[..., 0]
        return np.where(marks != 0, np.nan, values)[()]
    if axis is None:
        if count > 1:
            values, places = getattr(both, f"{kind}_arg{kind}")(axis=x.dim() - 2)
            chosen = slice(count, None) if (values[..., count:] != 0).any() else slice(count)
            return np.int64(x._first_entry(values[..., chosen], places[..., chosen], smallest))
        values, places = getattr(both, f"{kind}_arg{kind}")(axis=x.dim() - 2)
        values, places = values.reshape(-1, 2), places.reshape(-1, 2)
        which = int((values[:, 1] != 0).any())
        row = getattr(values[:, which], name)()
        return row * x._sizes[1] + places[row, which]
    values, places = getattr(both, f"{kind}_arg{kind}")(axis=axis if axis >= 0 else axis + x.ndim)
    chosen_places = np.where(values[..., count:] != 0, places[..., count:], places[..., :count])
    return chosen_places if x._vectors else chosen_places[..., 0]


def _over_vectors(x: Any, axis: Any) -> bool:
    return isinstance(axis, tuple) and any(each in (-1, x.ndim - 1) for each in axis)


def _axes(x: Any, axis: Any) -> Any:
    """The axes of i, j and batches among ``axis``."""
    rank = x.dim() - 1
    if axis is None:
        return tuple(range(rank))
    places = [each + x.ndim if each < 0 else each for each in (axis if isinstance(axis, tuple) else (axis,))]
    return tuple(place for place in places if place < rank)
