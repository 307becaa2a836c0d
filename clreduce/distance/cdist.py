"""`cdist_reduce`: ``scipy.spatial.distance.cdist`` and a reduction, without a matrix of distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from clreduce.dispatching import front_end
from clreduce.distance.formulas import PairFunction
from clreduce.distance.metrics import distance, has_defaults, with_defaults
from clreduce.distance.reducing import Weights, checked_reduction, reduced
from clreduce.errors import OptionError, ShapeError
from clreduce.typing import AnyArray, Array

ArrayType = TypeVar("ArrayType", bound=AnyArray)
"""The arrays of a library other than NumPy."""
Rows: TypeAlias = "Array | Sequence[Sequence[float]]"
"""A NumPy array, or a list of rows."""
Metric: TypeAlias = "str | PairFunction"
"""A name, a formula, or a function of two `LazyTensor`."""
Single: TypeAlias = Literal[
    "sum", "mean", "var", "std", "prod", "logsumexp", "min", "max", "argmin", "argmax", "kmin", "kmax", "argkmin",
    "argkmax",
]  # fmt: skip
"""The reductions with one result."""
Pairs: TypeAlias = Literal["min_argmin", "max_argmax", "kmin_argkmin", "kmax_argkmax"]
"""The reductions with two results."""

if TYPE_CHECKING:

    @overload
    def cdist_reduce(
        x: Rows, y: Rows, metric: Metric = ..., reduction: Single = ..., *, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> Array: ...  # fmt: skip
    @overload
    def cdist_reduce(
        x: Rows, y: Rows, metric: Metric, reduction: Pairs, *, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> tuple[Array, Array]: ...  # fmt: skip
    @overload
    def cdist_reduce(
        x: Rows, y: Rows, metric: Metric = ..., *, reduction: Pairs, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> tuple[Array, Array]: ...  # fmt: skip
    @overload
    def cdist_reduce(
        x: ArrayType, y: ArrayType, metric: Metric = ..., reduction: Single = ..., *, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> ArrayType: ...  # fmt: skip
    @overload
    def cdist_reduce(
        x: ArrayType, y: ArrayType, metric: Metric, reduction: Pairs, *, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> tuple[ArrayType, ArrayType]: ...  # fmt: skip
    @overload
    def cdist_reduce(
        x: ArrayType, y: ArrayType, metric: Metric = ..., *, reduction: Pairs, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> tuple[ArrayType, ArrayType]: ...  # fmt: skip
    @overload
    def cdist_reduce(
        x: Rows | AnyArray, y: Rows | AnyArray, metric: Metric = ..., reduction: str = ..., *, k: int | None = ...,
        weights: Weights | None = ..., axis: int = ..., **parameters: ArrayLike | None,
    ) -> AnyArray | tuple[AnyArray, ...]: ...  # fmt: skip


def cdist_reduce(
    x: Rows | AnyArray,
    y: Rows | AnyArray,
    metric: Metric = "euclidean",
    reduction: str = "sum",
    *,
    k: int | None = None,
    weights: Weights | None = None,
    axis: int = 1,
    **parameters: ArrayLike | None,
) -> AnyArray | tuple[AnyArray, ...]:
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
        Those of the metric, as in ``cdist``: ``w``, a weight of 0 or more for each of the D coordinates; ``p`` of
        'minkowski', ``V`` of 'seuclidean', ``VI`` of 'mahalanobis', ``base`` of 'jensenshannon'. These last three, and
        'haversine' and 'nan_euclidean', take no ``w``. Missing variances are computed from all points of both sides,
        for NumPy arrays.

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
        raise ShapeError(f"x and y must have shapes (M, D) and (N, D); got {shapes[0]} and {shapes[1]}")
    if not has_defaults(metric, parameters):
        if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
            raise OptionError(
                f"cdist_reduce computes the variances of the metric {metric!r} for NumPy arrays only; got "
                f"{type(x).__name__} and {type(y).__name__}. Pass {'V' if metric == 'seuclidean' else 'VI'}"
            )
        parameters = with_defaults(metric, parameters, np.vstack([x, y]))
    return reduced(distance(metric, module.Vi(x), module.Vj(y), parameters), name, k, weights, axis)
