"""Reductions of distances between all pairs of points, over the points of one side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from clreduce.distance.metrics import Distance
from clreduce.errors import OptionError, ShapeError
from clreduce.language.names import did_you_mean
from clreduce.numpy import LazyTensor
from clreduce.typing import AnyArray, Array

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
Weights: TypeAlias = "AnyArray | Sequence[float] | Sequence[Sequence[float]]"
"""Factors of the terms of a sum."""


def checked_reduction(reduction: object, k: int | None, weights: object, axis: int) -> str:
    """The checked name of a reduction of distances. An unknown name and options that it does not take are errors."""
    name = reduction.lower() if isinstance(reduction, str) else repr(reduction)
    if name not in REDUCTIONS:
        raise OptionError(
            f"unknown reduction {reduction!r}{did_you_mean(name, REDUCTIONS)}; known are {', '.join(REDUCTIONS)}"
        )
    if axis not in (0, 1):
        raise OptionError(f"axis is 1, to reduce over y, or 0, to reduce over x; got {axis!r}")
    counts = "kmin" in name or "kmax" in name
    if counts is (k is None):
        raise OptionError(
            f"the reduction {name!r} needs k, the number of terms to keep: pass k=10, for instance"
            if counts
            else f"only the reductions with 'kmin' or 'kmax' in their names take k; got k={k!r} for {name!r}"
        )
    if weights is not None and name != "sum":
        raise OptionError(f"only the reduction 'sum' takes weights; got weights for {name!r}")
    return name


def reduced(
    distances: Distance, name: str, k: int | None, weights: Weights | None, axis: int
) -> AnyArray | tuple[AnyArray, ...]:
    """A reduction of distances by its checked name: (rows,), (rows, k), or (rows, E) with weights of that shape."""
    if name in _BY_ORDER:
        method, are_distances = _BY_ORDER[name]
        # NumPy takes roots of a few results; elsewhere they are a part of what derivatives follow, and arrays of others
        later = type(distances.term) is LazyTensor
        tensor = distances.term if later or not any(are_distances) else distances.tensor
        results = getattr(tensor, method)(*([] if k is None else [k]), axis=axis)
        results = results if isinstance(results, tuple) else (results,)
        numbers = tuple(
            _narrow(_of_terms(distances, each) if is_distance and later else each, k is not None)
            for each, is_distance in zip(results, are_distances, strict=True)
        )
        return numbers if len(numbers) > 1 else numbers[0]
    if weights is None:
        return _narrow(getattr(distances.tensor, name)(axis=axis), False)
    if isinstance(weights, Sequence):
        weights = np.asarray(weights, distances.term.dtype)
    columns = distances.term.shape[axis]
    if len(weights.shape) not in (1, 2) or weights.shape[0] != columns:
        raise ShapeError(f"weights must have shape ({columns},) or ({columns}, E); got {tuple(weights.shape)}")
    products: AnyArray = (distances.tensor if axis else distances.tensor.T) @ weights
    return products


def _of_terms(distances: Distance, terms: Array) -> Array:
    """The distances of terms; infinite terms, such as the largest of no points, stay infinite."""
    with np.errstate(invalid="ignore"):
        values = distances.of_term(terms)
    return np.where(np.isinf(terms), terms, values)


def _narrow(result: Any, has_columns: bool) -> AnyArray:
    narrow: AnyArray = result if has_columns else result[:, 0]
    return narrow
