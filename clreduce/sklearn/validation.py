"""Checks of the input of all estimators, with the error messages of scikit-learn, and the types of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypedDict, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data

from clreduce.typing import Array as Array

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SparseMatrix(Protocol):
    """A sparse matrix or array of SciPy."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def toarray(self) -> Array: ...


Data: TypeAlias = ArrayLike | SparseMatrix
"""Points or targets: an array, a list, a table, or a sparse matrix where scikit-learn itself computes."""
RandomState: TypeAlias = int | np.random.RandomState | None
"""A seed, a generator of random numbers, or None for the generator of NumPy."""


class ValidationOptions(TypedDict, total=False):
    """Options of ``sklearn.utils.validation.validate_data``."""

    multi_output: bool
    y_numeric: bool
    ensure_min_samples: int


@overload
def checked_data(estimator: object, X: Data, *, reset: bool, **options: Unpack[ValidationOptions]) -> Array: ...
@overload
def checked_data(
    estimator: object, X: Data, y: Data, *, reset: bool, **options: Unpack[ValidationOptions]
) -> tuple[Array, Array]: ...
def checked_data(
    estimator: object, X: Data, y: Data = "no_validation", *, reset: bool, **options: Unpack[ValidationOptions]
) -> Array | tuple[Array, Array]:
    """``X``, or ``(X, y)``, after scikit-learn's checks: finite numbers, at least one row and column.

    X becomes a C-ordered array of float32, which is kept, or float64. With ``reset``, as in ``fit``, it sets
    ``n_features_in_`` and ``feature_names_in_``; without, it demands as many features and the same names. ``options``
    are those of ``sklearn.utils.validation.validate_data``.
    """
    dtypes = [np.float64, np.float32]
    checked: Array | tuple[Array, Array] = validate_data(
        estimator, X, y, dtype=dtypes, order="C", reset=reset, **options
    )
    return checked
