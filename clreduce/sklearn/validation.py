"""Checks of the input of all estimators, with the error messages of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from clreduce.typing import Array as Array


def checked_data(estimator: Any, X: Any, y: Any = "no_validation", *, reset: bool, **options: Any) -> Any:
    """``X``, or ``(X, y)``, after scikit-learn's checks: finite numbers, at least one row and column.

    X becomes a C-ordered array of float32, which is kept, or float64. With ``reset``, as in ``fit``, it sets
    ``n_features_in_`` and ``feature_names_in_``; without, it demands as many features and the same names. ``options``
    are those of ``sklearn.utils.validation.validate_data``.
    """
    dtypes = [np.float64, np.float32]
    return validate_data(estimator, X, y, **{"dtype": dtypes, "order": "C", "reset": reset} | options)
