"""Sums of a `LazyTensor` over any axes, and what is made of sums: means, variances, products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from clreduce.lazy.axes import Axes, Default
from clreduce.lazy.base import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import Axis, Options, VectorAxis, VectorsOrJ


Tensor = TypeVar("Tensor", bound="AxisSums[Any]")


class AxisSums(Axes[Array]):
    """Sums, means, variances and products over one axis, several, or all.

    Without an axis, what they return depends on the state of the tensor: a `LazyTensor` while it has its vector axis,
    an array after that. Axis 2 or 3 is that of the vectors or of j, as the number of batch dimensions decides. Types
    cannot tell, and a union would make users cast; so the first overload of each returns Any.
    """

    __slots__ = ()

    @overload
    def sum(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def sum(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def sum(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def sum(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The sum over one axis, several, or all.

        Parameters
        ----------
        axis, dim : int, tuple of int or None, optional
            A tensor has its vector axis, also of length 1, until a reduction removes it. While it has one, -1 and no
            axis mean the vectors, and the sum is another tensor. After that it is like a matrix: -1 is j, -2 is i, and
            no axis means all entries. None always means all entries; a tuple means several axes. Sums over i or j are
            computed. ``dim`` is another name for ``axis``.
        keepdims : bool, optional
            Whether reduced axes stay, with length 1. A sum over j has shape (M, 1) and one over i (N, 1) unless this
            is False: then (M,) and (N,). Over several axes, and over the vectors, it is False unless told otherwise,
            as in NumPy. ``keepdim`` is another name for it.
        **options
            ``call=False`` gives a `PendingReduction`, which is computed when it is called. The others are out, backend,
            device_id, ranges, max_memory, deterministic, prune, atol, rtol, dtype_acc, use_double_acc, sum_scheme, fast
            and accuracy, as in `Genred` and in its call.

        Returns
        -------
        array or LazyTensor
            Over i or j, over axes of a batch, and over all entries an array, with the dtype of the tensor. Over the
            vectors alone a `LazyTensor`. The sum of nothing is 0.

        Raises
        ------
        ShapeError
            The tensor does not have this axis, or ``out`` is given for several axes.
        OptionError
            There is no option of that name.

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
    def mean(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def mean(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def mean(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def mean(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The mean over an axis, several, or all.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; nan over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.mean(axis=0, keepdims=False), float(K.mean())
        (array([1.5, 3. , 6. ]), 3.5)
        """
        return self._along("Mean", axis, dim, keepdims, options)

    @overload
    def var(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        ddof: float = ..., **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def var(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        ddof: float = ..., **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def var(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ...,
        ddof: float = ..., **options: Unpack[Options],
    ) -> Array: ...  # fmt: skip
    def var(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        ddof: float = 0, **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The variance over an axis, several, or all.

        Parameters
        ----------
        axis, dim, keepdims
            As in `sum`.
        ddof : float, optional
            Squared deviations are divided by the number of terms less ``ddof``: 0, the default, for a population, 1 for
            a sample. The result is nan where the difference is 0 or less.
        **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; nan over nothing.

        Raises
        ------
        ShapeError
            ``ddof`` is not 0, and the tensor has ``ranges`` or symbolic variables: rows differ in their number of
            terms, or it is not known yet.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.var(axis=0, ddof=1, keepdims=False)
        array([0.5, 2. , 8. ])
        """
        return self._spread(axis, dim, keepdims, ddof, options, root=False)

    @overload
    def std(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        ddof: float = ..., **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def std(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        ddof: float = ..., **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def std(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ...,
        ddof: float = ..., **options: Unpack[Options],
    ) -> Array: ...  # fmt: skip
    def std(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        ddof: float = 0, **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The standard deviation over an axis, several, or all.

        Parameters
        ----------
        axis, dim, keepdims
            As in `sum`.
        ddof : float, optional
            Squared deviations are divided by the number of terms less ``ddof``: 0, the default, for a population, 1 for
            a sample. The result is nan where the difference is 0 or less.
        **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; nan over nothing.

        Raises
        ------
        ShapeError
            ``ddof`` is not 0, and the tensor has ``ranges`` or symbolic variables: rows differ in their number of
            terms, or it is not known yet.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.std(axis=0, keepdims=False)
        array([0.5, 1. , 2. ])
        """
        return self._spread(axis, dim, keepdims, ddof, options, root=True)

    @overload
    def prod(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def prod(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def prod(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def prod(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The product over an axis, several, or all.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; 1 over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.prod(axis=1, keepdims=False)
        array([ 8., 64.])
        """
        return self._along("Prod", axis, dim, keepdims, options)
