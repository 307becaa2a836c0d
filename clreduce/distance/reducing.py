"""Reductions of distances between all pairs of points, over the points of one side."""

from __future__ import annotations

from typing import Any

import numpy as np

from clreduce.distance.metrics import Distance
from clreduce.errors import OptionError, ShapeError
from clreduce.language.names import did_you_mean
from clreduce.numpy import LazyTensor
from clreduce.typing import Array

_BY_ORDER = {
    # reductions that need only know which distance is larger: the methods of LazyTensor, and whether distances come out
    "min": ("min", (True,)), "max": ("max", (True,)), "argmin": ("argmin", (False,)), "argmax": ("argmax", (False,)),
    "min_argmin": ("min_argmin", (True, False)), "max_argmax": ("max_argmax", (True, False)),
    "kmin": ("Kmin", (True,)), "kmax": ("Kmax", (True,)), "argkmin": ("argKmin", (False,)),
    "argkmax": ("argKmax", (False,)), "kmin_argkmin": ("Kmin_argKmin", (True, False)),
    "kmax_argkmax": ("Kmax_argKmax", (True, False)),
}  # fmt: skip
_OF_NUMBERS = ("sum", "mean", "var", "std", "prod", "logsumexp")
REDUCTIONS = (*_OF_NUMBERS, *_BY_ORDER)


def checked_reduction(reduction: Any, k: int | None, weights: Any, axis: int) -> str:
    """The checked name of a reduction of distances; one error for an unknown name and for options it does not take."""
    name = reduction.lower() if isinstance(reduction, str) else repr(reduction)
    if name not in REDUCTIONS:
        raise OptionError(
            f"unknown reduction {reduction!r}{did_you_mean(name, REDUCTIONS)}: the names are {', '.join(REDUCTIONS)}"
        )
    if axis not in (0, 1):
        raise OptionError(f"axis is 1, to reduce over y, or 0, over x; got {axis!r}")
    counts = "kmin" in name or "kmax" in name
    if counts is (k is None):
        raise OptionError(f"the reduction {name!r} {'takes k, the number of terms' if counts else 'takes no k'}")
    if weights is not None and name != "sum":
        raise OptionError(f"weights multiply the terms of 'sum'; the reduction {name!r} takes none")
    return name


def reduced(found: Distance, name: str, k: int | None, weights: Any, axis: int) -> Any:
    """A reduction of distances by its checked name: (rows,), (rows, k), or (rows, E) with weights of that shape."""
    if name in _BY_ORDER:
        method, are_distances = _BY_ORDER[name]
        # NumPy takes roots of a few results; elsewhere they are a part of what derivatives follow, and arrays of others
        later = type(found.term) is LazyTensor
        tensor = found.term if later or not any(are_distances) else found.tensor
        results = getattr(tensor, method)(*([] if k is None else [k]), axis=axis)
        results = results if isinstance(results, tuple) else (results,)
        numbers = tuple(
            _narrow(_of_terms(found, each) if is_distance and later else each, k is not None)
            for each, is_distance in zip(results, are_distances, strict=True)
        )
        return numbers if len(numbers) > 1 else numbers[0]
    if weights is None:
        return _narrow(getattr(found.tensor, name)(axis=axis), False)
    if isinstance(weights, (list, tuple)):
        weights = np.asarray(weights, found.term.dtype)
    columns = found.term.shape[axis]
    if len(weights.shape) not in (1, 2) or weights.shape[0] != columns:
        raise ShapeError(f"weights have shape ({columns},) or ({columns}, E); got {tuple(weights.shape)}")
    return (found.tensor if axis else found.tensor.T) @ weights


def _of_terms(found: Distance, terms: Array) -> Array:
    """The distances of terms; infinite terms, such as the largest of no points, stay infinite."""
    with np.errstate(invalid="ignore"):
        distances = found.of_term(terms)
    return np.where(np.isinf(terms), terms, distances)


def _narrow(result: Any, has_columns: bool) -> Any:
    return result if has_columns else result[:, 0]
