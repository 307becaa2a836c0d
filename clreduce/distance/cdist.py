"""`cdist_reduce`: ``scipy.spatial.distance.cdist`` and a reduction, without a matrix of distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clreduce.dispatching import front_end
from clreduce.distance.metrics import distance
from clreduce.distance.reducing import checked_reduction, reduced
from clreduce.errors import OptionError, ShapeError

_OF_BOTH: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "seuclidean": ("V", lambda points: np.var(points, axis=0, ddof=1)),
    "mahalanobis": ("VI", lambda points: np.linalg.inv(np.atleast_2d(np.cov(points.T))).T),
}
"""The parameters that SciPy computes from all points if the caller leaves them out, by metric."""


def cdist_reduce(
    x: Any,
    y: Any,
    metric: str | Callable[..., Any] = "euclidean",
    reduction: str = "sum",
    *,
    k: int | None = None,
    weights: Any = None,
    axis: int = 1,
    **parameters: Any,
) -> Any:
    """Reduce the distances d(x_i, y_j) over j, or over i, without storing a matrix of them.

    ``cdist_reduce(x, y, metric)`` is ``scipy.spatial.distance.cdist(x, y, metric).sum(axis=1)``.

    Parameters
    ----------
    x, y : array
        Of shapes (M, D) and (N, D), of any library that has a front end. float32 is kept.
    metric : str or callable, optional
        A name as in ``scipy.spatial.distance.cdist`` or scikit-learn (`METRICS`); a formula in x, y and the names of
        ``parameters``, also of a kernel; or a function that takes two `LazyTensor` and ``parameters`` by name. Metrics
        of sets, such as 'jaccard', are of truth values: whether a number is 0.
    reduction : str, optional
        'sum', 'mean', 'var', 'std', 'prod', 'logsumexp'; 'min', 'argmin', 'min_argmin' (a pair), and the same with
        'max'; 'kmin', 'argkmin', 'kmin_argkmin', and the same with 'kmax', which take ``k``.
    k : int, optional
        The number of values for each row, for reductions of the k smallest or largest.
    weights : array, optional
        Of shape (N,) or (N, E), for 'sum' alone: the distances are multiplied by them.
    axis : int, optional
        1 reduces over y, 0 over x.
    **parameters
        Those of the metric, as in ``cdist``: ``p`` and ``w`` of 'minkowski', ``V`` of 'seuclidean', ``VI`` of
        'mahalanobis', ``base`` of 'jensenshannon'. Missing variances are computed from all points of both sides, for
        NumPy arrays.

    Returns
    -------
    array or tuple of two arrays
        Of the library of x, of shape (M,), (M, k), or (M, E) with weights of that shape; with ``axis=0`` N and M are
        exchanged. Indices are int64; of equal distances the lowest index comes first.

    Raises
    ------
    FormulaError
        The metric is neither a name nor a formula.
    OptionError
        There is no such reduction, or a parameter, ``k`` or ``weights`` has no meaning for it.
    ShapeError
        The arrays are not of shapes (M, D) and (N, D).

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.distance import cdist_reduce
    >>> x, y = np.array([[0.0], [5.0]]), np.array([[1.0], [4.0], [7.0]])
    >>> cdist_reduce(x, y, "cityblock", "argkmin", k=2)
    array([[0, 1],
           [1, 2]])
    >>> cdist_reduce(x, y, "minkowski", "mean", p=3, axis=0)
    array([2.5, 2.5, 4.5])
    >>> cdist_reduce(x, y, "Exp(-g * SqDist(x, y))", "sum", weights=np.array([1.0, 0.0, 2.0]), g=0.5)
    array([0.60653066, 0.27100603])
    """
    name = checked_reduction(reduction, k, weights, axis)
    module = front_end(x, y)
    shapes = [tuple(np.shape(each)) for each in (x, y)]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ShapeError(f"x and y have shapes (M, D) and (N, D); got {shapes[0]} and {shapes[1]}")
    if isinstance(metric, str) and metric in _OF_BOTH and not {"V", "VI"} & parameters.keys():
        needed, computed = _OF_BOTH[metric]
        if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
            raise OptionError(f"the metric {metric!r} of arrays other than NumPy's needs {needed}: give it")
        parameters[needed] = computed(np.vstack([x, y]))
    return reduced(distance(metric, module.Vi(x), module.Vj(y), parameters), name, k, weights, axis)
