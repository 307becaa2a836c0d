"""Reductions of a `LazyTensor`: over i or j by a kernel, over the vectors as one more step of the formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from clreduce.language.vocabulary import checked_reduction
from clreduce.lazy.axes import Axes, Default
from clreduce.lazy.base import Array

if TYPE_CHECKING:
    Axis = int | tuple[int, ...] | None


Tensor = TypeVar("Tensor", bound="Reductions[Any]")


class Reductions(Axes, Generic[Array]):
    """What evaluates a `LazyTensor`."""

    __slots__ = ()

    # ----------------------------------------------------------------------------------- over the vectors, i, j or all

    @overload
    def sum(self) -> Any: ...
    @overload
    def sum(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def sum(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def sum(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The sum over one axis, several, or all.

        Parameters
        ----------
        axis, dim:
            A tensor has its vector axis, also of length 1, until something reduces it. While it has one, -1 and no axis
            mean the vectors, and the sum is another tensor. Then it is like a matrix: -1 is j, -2 is i, and no axis
            means all entries. None means all entries always; a tuple several axes. Sums over i or j are computed.
        keepdims:
            The sum over j has shape (M, 1), that over i (N, 1) unless this is False: then (M,) and (N,). Over several
            axes, and over the vectors, it is False unless told otherwise, as in NumPy. Also spelled ``keepdim``.
        call:
            With False, a `PendingReduction`, which is computed when it is called.
        out, backend, device_id, ranges, dtype_acc, use_double_acc, sum_scheme, fast:
            As in `Genred` and in its call.

        Raises
        ------
        ShapeError
            An axis that the tensor does not have, or one of a batch alone.
        TypeError
            An unknown option.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0], [4.0]])
        >>> K = ((Vi(x) - Vj(y)) ** 2).sum(-1)  # over the vectors, of length 1: now a number for each pair
        >>> K.shape
        (2, 3)
        >>> K.sum(axis=1)
        array([[21.],
               [10.]])
        >>> K.sum(-1, keepdims=False), K.sum(axis=0, keepdims=False), float(K.sum())
        (array([21., 10.]), array([ 1.,  5., 25.]), 31.0)
        """
        return self._along("Sum", axis, dim, keepdims, options)

    @overload
    def mean(self) -> Any: ...
    @overload
    def mean(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def mean(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def mean(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The mean over an axis, several, or all, as `sum` takes them."""
        return self._along("Mean", axis, dim, keepdims, options)

    @overload
    def var(self) -> Any: ...
    @overload
    def var(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., ddof: float = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def var(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., ddof: float = ..., **options: Any
    ) -> Array: ...
    def var(
        self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, ddof: float = 0, **options: Any
    ) -> Any:
        """The variance over an axis, several, or all, as `sum` takes them.

        Squared deviations are divided by the number of terms less ``ddof``: 0 for the population, 1 for a sample. Where
        none is left, the result is nan.
        """
        return self._spread(axis, dim, keepdims, ddof, options, False)

    @overload
    def std(self) -> Any: ...
    @overload
    def std(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., ddof: float = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def std(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., ddof: float = ..., **options: Any
    ) -> Array: ...
    def std(
        self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, ddof: float = 0, **options: Any
    ) -> Any:
        """The standard deviation over an axis, several, or all, as `sum` takes them.

        Squared deviations are divided by the number of terms less ``ddof``: 0 for the population, 1 for a sample. Where
        none is left, the result is nan.
        """
        return self._spread(axis, dim, keepdims, ddof, options, True)

    @overload
    def prod(self) -> Any: ...
    @overload
    def prod(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def prod(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def prod(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The product over an axis, several, or all, as `sum` takes them."""
        return self._along("Prod", axis, dim, keepdims, options)

    @overload
    def min(self) -> Any: ...
    @overload
    def min(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def min(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def min(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The smallest over an axis, several, or all, as `sum` takes them; over i and j, nan is passed over."""
        return self._along("Min", axis, dim, keepdims, options)

    @overload
    def max(self) -> Any: ...
    @overload
    def max(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def max(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def max(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The largest over an axis, several, or all, as `sum` takes them; over i and j, nan is passed over."""
        return self._along("Max", axis, dim, keepdims, options)

    @overload
    def argmin(self) -> Any: ...
    @overload
    def argmin(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def argmin(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def argmin(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The index of the smallest over an axis or all, the lowest of equals; int64 over i, j or all.

        Over all entries it counts as in the dense array: i * N + j.
        """
        return self._along("ArgMin", axis, dim, keepdims, options)

    @overload
    def argmax(self) -> Any: ...
    @overload
    def argmax(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def argmax(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def argmax(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """The index of the largest over an axis or all, as `argmin` gives that of the smallest."""
        return self._along("ArgMax", axis, dim, keepdims, options)

    @overload
    def any(self) -> Any: ...
    @overload
    def any(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def any(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def any(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """Whether some entry over an axis, several, or all is not 0: truth values. `sum` says what axes mean."""
        return self._along("Any", axis, dim, keepdims, options)

    @overload
    def all(self) -> Any: ...
    @overload
    def all(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def all(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def all(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """Whether no entry over an axis, several, or all is 0: truth values. `sum` says what axes mean."""
        return self._along("All", axis, dim, keepdims, options)

    @overload
    def count(self) -> Any: ...
    @overload
    def count(
        self: Tensor, axis: Literal[-1], dim: None = ..., keepdims: bool | None = ..., **options: Any
    ) -> Tensor: ...
    @overload
    def count(self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Any) -> Array: ...
    def count(self, axis: Any = Default.AXIS, dim: Any = None, keepdims: bool | None = None, **options: Any) -> Any:
        """How many entries over an axis, several, or all are not 0, as `sum` takes them; int64 over i, j or all."""
        return self._along("Count", axis, dim, keepdims, options)

    # ---------------------------------------------------------------------------------------------------- over i or j

    def sum_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Sum over i or j."""
        return self.reduction("Sum", axis=axis, dim=dim, **options)

    def min_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Smallest over i or j."""
        return self.reduction("Min", axis=axis, dim=dim, **options)

    def max_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Largest over i or j."""
        return self.reduction("Max", axis=axis, dim=dim, **options)

    def argmin_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Index of the smallest over i or j."""
        return self.reduction("ArgMin", axis=axis, dim=dim, **options)

    def argmax_reduction(self, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Index of the largest over i or j."""
        return self.reduction("ArgMax", axis=axis, dim=dim, **options)

    def min_argmin(self, axis: Any = None, dim: Any = None, **options: Any) -> tuple[Array, Array]:
        """Smallest over i or j, and its index."""
        return self.reduction("Min_ArgMin", axis=axis, dim=dim, **options)

    def max_argmax(self, axis: Any = None, dim: Any = None, **options: Any) -> tuple[Array, Array]:
        """Largest over i or j, and its index."""
        return self.reduction("Max_ArgMax", axis=axis, dim=dim, **options)

    def Kmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """The K smallest over i or j, ascending: (M, K, D), or (M, K) if D is 1."""
        return self.reduction("KMin", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Indices of the K smallest over i or j."""
        return self.reduction("ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmin_argKmin(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> tuple[Array, Array]:
        """The K smallest over i or j, and their indices."""
        return self.reduction("KMin_ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """The K largest over i or j, descending."""
        return self.reduction("KMax", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """Indices of the K largest over i or j."""
        return self.reduction("ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax_argKmax(self, K: int, axis: Any = None, dim: Any = None, **options: Any) -> tuple[Array, Array]:
        """The K largest over i or j, and their indices."""
        return self.reduction("KMax_ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    @overload
    def logsumexp(self) -> Any: ...
    @overload
    def logsumexp(
        self, axis: Axis = ..., dim: Axis = ..., weight: Any = ..., other: Any = ..., keepdims: bool | None = ...,
        **options: Any,
    ) -> Array: ...  # fmt: skip
    def logsumexp(
        self, axis: Any = Default.AXIS, dim: Any = None, weight: Any = None, other: Any = None,
        keepdims: bool | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """log of the sum of exp over an axis, several, or all, as `sum` takes them, without overflow.

        ``weight``, a tensor or an array, multiplies the terms of a reduction over i or j: vectors of length D give
        (M, D) or (N, D). ``other`` is another name for it.
        """
        weight = other if weight is None else weight
        if weight is None:
            return self._along("LogSumExp", axis, dim, keepdims, options)
        axis = axis if dim is None else dim
        axis = None if axis is Default.AXIS else axis
        return self.reduction("LogSumExp", other=weight, axis=axis, keepdims=keepdims, **options)

    def sumsoftmaxweight(self, weight: Any, axis: Any = None, dim: Any = None, **options: Any) -> Array:
        """The mean of ``weight`` over i or j, weighted by exp of this."""
        return self.reduction("SumSoftMaxWeight", other=weight, axis=axis, dim=dim, **options)

    min_argmin_reduction, max_argmax_reduction = min_argmin, max_argmax
    Kmin_reduction, argKmin_reduction, Kmin_argKmin_reduction = Kmin, argKmin, Kmin_argKmin
    logsumexp_reduction, sumsoftmaxweight_reduction = logsumexp, sumsoftmaxweight

    def reduction(
        self, reduction_op: str, other: Any = None, opt_arg: Any = None, axis: Any = None, dim: Any = None,
        call: bool = True, is_complex: bool | None = None, keepdims: bool | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Any reduction over i or j, by its name: an array of shape (batch.., M or N, D).

        ``axis`` (or ``dim``) counts as in `sum`; a tuple names several, for sums, products and extrema; ``keepdims`` is
        that of `sum`. ``other`` is the second formula,
        the weights of a ``LogSumExp``. With ``call=False``, or if variables are symbolic, a `PendingReduction` waits
        for the data. Options are those of `Genred` and of its call.
        """
        name = checked_reduction(reduction_op, opt_arg, other).name
        axis = axis if axis is not None else dim
        if axis is None:
            raise TypeError(f"{name}: axis is missing: {self._axes_told()}")
        if "keepdim" in options:
            keepdims = options.pop("keepdim")
        return self._over(name, axis, other, opt_arg, call, keepdims, options)
