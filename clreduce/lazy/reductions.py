"""Reductions of a `LazyTensor` over i or j by the names of KeOps, and any reduction by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from clreduce.language.vocabulary import checked_reduction
from clreduce.lazy.axes import Default
from clreduce.lazy.axis_extremes import AxisExtremes
from clreduce.lazy.base import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import Axis, Options, RowOptions, Value, VectorAxis, VectorsOrJ


Tensor = TypeVar("Tensor", bound="Reductions[Any]")


class Reductions(AxisExtremes[Array]):
    """Reductions over i or j."""

    __slots__ = ()

    def sum_reduction(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> Array:
        """Sum over i or j, as KeOps calls it.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, D) over j, (batch.., N, D) over i.

        Raises
        ------
        TypeError
            There is no axis.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.sum_reduction(axis=1)
        array([[ 6.],
               [12.]])
        """
        return self.reduction("Sum", axis=axis, dim=dim, **options)

    def min_reduction(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> Array:
        """Smallest value over i or j; nan is skipped.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, D) over j, (batch.., N, D) over i; inf over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.min_reduction(axis=1)
        array([[1.],
               [2.]])
        """
        return self.reduction("Min", axis=axis, dim=dim, **options)

    def max_reduction(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> Array:
        """Largest value over i or j; nan is skipped.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, D) over j, (batch.., N, D) over i; -inf over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.max_reduction(axis=1)
        array([[3.],
               [6.]])
        """
        return self.reduction("Max", axis=axis, dim=dim, **options)

    def argmin_reduction(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> Array:
        """Index of the smallest value over i or j, the lowest of equal values.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, D) over j, (batch.., N, D) over i, int64; -1 over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.argmin_reduction(axis=1)
        array([[1],
               [1]])
        """
        return self.reduction("ArgMin", axis=axis, dim=dim, **options)

    def argmax_reduction(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> Array:
        """Index of the largest value over i or j, the lowest of equal values.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, D) over j, (batch.., N, D) over i, int64; -1 over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.argmax_reduction(axis=1)
        array([[0],
               [0]])
        """
        return self.reduction("ArgMax", axis=axis, dim=dim, **options)

    def min_argmin(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> tuple[Array, Array]:
        """Smallest value over i or j, and its index.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        tuple of two arrays
            Values and int64 indices. Of shape (batch.., M, D) over j, (batch.., N, D) over i.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> values, indices = K.min_argmin(axis=1)
        >>> values.ravel(), indices.ravel()
        (array([1., 2.]), array([1, 1]))
        """
        return self.reduction("Min_ArgMin", axis=axis, dim=dim, **options)

    def max_argmax(self, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]) -> tuple[Array, Array]:
        """Largest value over i or j, and its index.

        Parameters
        ----------
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        tuple of two arrays
            Values and int64 indices. Of shape (batch.., M, D) over j, (batch.., N, D) over i.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> values, indices = K.max_argmax(axis=1)
        >>> values.ravel(), indices.ravel()
        (array([3., 6.]), array([0, 0]))
        """
        return self.reduction("Max_ArgMax", axis=axis, dim=dim, **options)

    @overload
    def logsumexp(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., weight: None = ..., other: None = ...,
        keepdims: bool | None = ..., **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def logsumexp(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., weight: None = ..., other: None = ...,
        keepdims: bool | None = ..., **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def logsumexp(
        self, axis: Axis = ..., dim: Axis = ..., weight: Value | None = ..., other: Value | None = ...,
        keepdims: bool | None = ..., **options: Unpack[Options],
    ) -> Array: ...  # fmt: skip
    def logsumexp(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, weight: Value | None = None,
        other: Value | None = None, keepdims: bool | None = None, **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """Logarithm of the sum of exponentials over an axis, several, or all, without overflow.

        Parameters
        ----------
        axis, dim
            As in `sum`.
        weight, other : LazyTensor or array, optional
            Numbers that multiply the exponentials of a reduction over i or j; vectors of length D give D results. The
            second is another name for the first.
        keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; with weights of shape (batch.., M, D) or (batch.., N, D). -inf over nothing, nan where
            a weighted sum is negative.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.logsumexp(axis=1, keepdims=False).round(3)
        array([3.408, 6.143])
        >>> K.logsumexp(axis=1, weight=Vj(np.array([[1.0], [0.0], [0.0]]))).ravel()
        array([3., 6.])
        """
        weight = other if weight is None else weight
        if weight is None:
            return self._along("LogSumExp", axis, dim, keepdims, options)
        axis = axis if dim is None else dim
        axis = None if axis is Default.AXIS else axis
        return self.reduction("LogSumExp", other=weight, axis=axis, keepdims=keepdims, **options)

    def sumsoftmaxweight(
        self, weight: Value, axis: Axis = None, dim: Axis = None, **options: Unpack[Options]
    ) -> Array:  # fmt: skip
        """Mean of ``weight`` over i or j, in proportion to the exponentials of this tensor.

        Parameters
        ----------
        weight : LazyTensor or array
            Vectors of length D, which are averaged.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, D) over j, (batch.., N, D) over i; nan over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.sumsoftmaxweight(Vj(np.array([[1.0], [0.0], [0.0]])), axis=1).round(3)
        array([[0.665],
               [0.867]])
        """
        return self.reduction("SumSoftMaxWeight", other=weight, axis=axis, dim=dim, **options)

    min_argmin_reduction, max_argmax_reduction = min_argmin, max_argmax
    logsumexp_reduction, sumsoftmaxweight_reduction = logsumexp, sumsoftmaxweight

    def reduction(
        self, reduction_op: str, other: Value | None = None, opt_arg: int | None = None, axis: Axis = None,
        dim: Axis = None, call: bool = True, is_complex: bool | None = None, keepdims: bool | None = None,
        **options: Unpack[RowOptions],
    ) -> Any:  # fmt: skip  # the name and the data decide
        """A reduction over i or j, by its name.

        Parameters
        ----------
        reduction_op : str
            The name of any reduction that `Genred` takes.
        other : LazyTensor or array, optional
            The second formula of reductions that take one, such as the weights of ``LogSumExp``.
        opt_arg : int, optional
            The number K of reductions that keep K values.
        axis, dim : int or tuple of int
            The axis of i or of j, counted as in `sum`. Sums, products and extremes also take several axes.
        call : bool, optional
            With False, a `PendingReduction` is returned, which is computed when it is called.
        is_complex : bool, optional
            Accepted for compatibility; the tensor knows whether it is complex.
        keepdims : bool, optional
            As in `sum`.
        **options
            As in `sum`.

        Returns
        -------
        array, tuple of arrays or PendingReduction
            Arrays have shape (batch.., M, D) over j, (batch.., N, D) over i. A `PendingReduction` is returned with
            ``call=False`` and where variables are symbolic.

        Raises
        ------
        FormulaError
            There is no reduction of that name, or it takes other arguments.
        TypeError
            There is no axis.
        ShapeError
            The axis is not one of i or j.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.reduction("Max", axis=1)
        array([[3.],
               [6.]])
        >>> x = Vi(0, 1)  # a symbolic variable: the data come with the call
        >>> largest = (x | Vj(np.array([[3.0], [1.0]]))).reduction("Max", axis=1)
        >>> largest(np.array([[2.0]]))
        array([[6.]])
        """
        name = checked_reduction(reduction_op, opt_arg, other).name
        axis = axis if axis is not None else dim
        if axis is None:
            raise TypeError(f"{name}: the argument axis is missing; {self._axes_told()}")
        if "keepdim" in options:
            keepdims = options.pop("keepdim")
        return self._over(name, axis, other, opt_arg, call, keepdims, options)
