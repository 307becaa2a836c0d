"""Reductions of all distances between two sets of points, of which no matrix is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics.pairwise import check_pairwise_arrays

from clreduce.distance.cdist import Metric, Pairs, Single
from clreduce.distance.formulas import Parameters
from clreduce.distance.metrics import distance, with_defaults
from clreduce.distance.reducing import checked_reduction, reduced
from clreduce.numpy import Vi, Vj
from clreduce.typing import AnyArray, Array

if TYPE_CHECKING:

    @overload
    def pairwise_reduce(
        X: ArrayLike, Y: ArrayLike | None = ..., reduction: Single = ..., *, metric: Metric = ...,
        metric_params: Parameters | None = ..., k: int | None = ..., weights: ArrayLike | None = ..., axis: int = ...,
    ) -> Array: ...  # fmt: skip
    @overload
    def pairwise_reduce(
        X: ArrayLike, Y: ArrayLike | None, reduction: Pairs, *, metric: Metric = ...,
        metric_params: Parameters | None = ..., k: int | None = ..., weights: ArrayLike | None = ..., axis: int = ...,
    ) -> tuple[Array, Array]: ...  # fmt: skip
    @overload
    def pairwise_reduce(
        X: ArrayLike, Y: ArrayLike | None = ..., *, reduction: Pairs, metric: Metric = ...,
        metric_params: Parameters | None = ..., k: int | None = ..., weights: ArrayLike | None = ..., axis: int = ...,
    ) -> tuple[Array, Array]: ...  # fmt: skip
    @overload
    def pairwise_reduce(
        X: ArrayLike, Y: ArrayLike | None = ..., reduction: str = ..., *, metric: Metric = ...,
        metric_params: Parameters | None = ..., k: int | None = ..., weights: ArrayLike | None = ..., axis: int = ...,
    ) -> AnyArray | tuple[AnyArray, ...]: ...  # fmt: skip


def pairwise_reduce(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    reduction: str = "argmin",
    *,
    metric: Metric = "euclidean",
    metric_params: Parameters | None = None,
    k: int | None = None,
    weights: ArrayLike | None = None,
    axis: int = 1,
) -> AnyArray | tuple[AnyArray, ...]:
    """Reduce the distances d(X_i, Y_j) over j, or over i, without storing a matrix of them.

    Parameters
    ----------
    X, Y : array-like
        Of shapes (M, D) and (N, D); without Y, X again. float32 is kept, all else is computed in float64.
    reduction : str, optional
        'sum', 'mean', 'var', 'std', 'prod', 'logsumexp'; 'min', 'argmin', 'min_argmin' (a pair), and the same with
        'max'; 'kmin', 'argkmin', 'kmin_argkmin', and the same with 'kmax', which take ``k``. Names of `Genred` are
        accepted, too.
    metric : str or callable, optional
        A name of scikit-learn's; a formula in x, y and the names of ``metric_params``, also of a kernel; or a function
        that takes two `LazyTensor` and ``metric_params`` by name.
    metric_params : dict, optional
        The parameters of the metric.
    k : int, optional
        The number of values for each row, for reductions of the k smallest or largest.
    weights : array-like, optional
        Of shape (N,) or (N, E), for 'sum' alone: the distances are multiplied by them.
    axis : int, optional
        1 reduces over Y, 0 over X.

    Returns
    -------
    array or tuple of two arrays
        Of shape (M,), or (M, k), or (M, E) with weights of that shape; with ``axis=0`` N and M are exchanged. Indices
        are int64; of equal distances the lowest index comes first.

    Raises
    ------
    OptionError
        There is no such reduction, or ``k`` or ``weights`` has no meaning for it.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import pairwise_reduce
    >>> X, Y = np.array([[0.0], [5.0]]), np.array([[1.0], [4.0], [7.0]])
    >>> pairwise_reduce(X, Y)
    array([0, 1])
    >>> pairwise_reduce(X, Y, "kmin_argkmin", k=2, metric="manhattan")
    (array([[1., 4.],
           [1., 2.]]), array([[0, 1],
           [1, 2]]))
    >>> pairwise_reduce(X, Y, "sum", metric="Exp(-g * SqDist(x, y))", metric_params={"g": 0.5}, weights=[1.0, 0.0, 2.0])
    array([0.60653066, 0.27100603])
    """
    name = checked_reduction(reduction, k, weights, axis)
    allows_nan = isinstance(metric, str) and metric == "nan_euclidean"
    X, Y = check_pairwise_arrays(X, Y, accept_sparse=False, ensure_all_finite="allow-nan" if allows_nan else True)
    X, Y = np.ascontiguousarray(X), np.ascontiguousarray(Y)
    distances = distance(metric, Vi(X), Vj(Y), with_defaults(metric, metric_params or {}, X))
    return reduced(distances, name, k, None if weights is None else np.asarray(weights, X.dtype), axis)
