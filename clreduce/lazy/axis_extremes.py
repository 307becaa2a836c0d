"""Extremes of a `LazyTensor` over any axes, where they are, and what holds for some or all entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from clreduce.lazy.axes import Default
from clreduce.lazy.axis_sums import AxisSums
from clreduce.lazy.base import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import Axis, Options, VectorAxis, VectorsOrJ


Tensor = TypeVar("Tensor", bound="AxisExtremes[Any]")


class AxisExtremes(AxisSums[Array]):
    """Extremes, their places, and counts of what holds, over one axis, several, or all; typed as `AxisSums`."""

    __slots__ = ()

    @overload
    def min(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def min(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def min(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def min(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The smallest value over an axis, several, or all.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; inf over nothing.

        Notes
        -----
        Over i and j, nan is skipped. ``np.min(K)`` returns nan where there is one, as for arrays.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.min(axis=1, keepdims=False), float(K.min())
        (array([1., 2.]), 1.0)
        """
        return self._along("Min", axis, dim, keepdims, options)

    @overload
    def max(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def max(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def max(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def max(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The largest value over an axis, several, or all.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            As `sum` returns it; -inf over nothing.

        Notes
        -----
        Over i and j, nan is skipped. ``np.max(K)`` returns nan where there is one, as for arrays.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.max(axis=1, keepdims=False), float(K.max())
        (array([4., 8.]), 8.0)
        """
        return self._along("Max", axis, dim, keepdims, options)

    @overload
    def argmin(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def argmin(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def argmin(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def argmin(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The index of the smallest value over an axis or all.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            Indices: int64 over i, j or all. Of equal values, the first counts. Over all entries the index is that in
            the dense array, i * N + j.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.argmin(axis=1, keepdims=False), int(K.argmin())
        (array([0, 0]), 0)
        """
        return self._along("ArgMin", axis, dim, keepdims, options)

    @overload
    def argmax(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def argmax(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def argmax(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def argmax(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The index of the largest value over an axis or all.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            Indices: int64 over i, j or all. Of equal values, the first counts. Over all entries the index is that in
            the dense array, i * N + j.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> K.argmax(axis=1, keepdims=False), int(K.argmax())
        (array([2, 2]), 5)
        """
        return self._along("ArgMax", axis, dim, keepdims, options)

    @overload
    def any(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def any(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def any(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def any(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """Whether some entry over an axis, several, or all is not 0.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            Truth values; False over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> (K > 4).any(axis=1, keepdims=False)
        array([False,  True])
        """
        return self._along("Any", axis, dim, keepdims, options)

    @overload
    def all(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def all(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def all(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def all(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """Whether no entry over an axis, several, or all is 0.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            Truth values; True over nothing.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> (K > 1).all(axis=1, keepdims=False)
        array([False,  True])
        """
        return self._along("All", axis, dim, keepdims, options)

    @overload
    def count(
        self, axis: VectorsOrJ = ..., dim: VectorsOrJ | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Any: ...  # fmt: skip
    @overload
    def count(
        self: Tensor, axis: VectorAxis = ..., dim: VectorAxis | None = ..., keepdims: bool | None = ...,
        **options: Unpack[Options],
    ) -> Tensor: ...  # fmt: skip
    @overload
    def count(
        self, axis: Axis = ..., dim: Axis = ..., keepdims: bool | None = ..., **options: Unpack[Options]
    ) -> Array: ...  # fmt: skip
    def count(
        self: Tensor, axis: Axis | Default = Default.AXIS, dim: Axis = None, keepdims: bool | None = None,
        **options: Unpack[Options],
    ) -> Tensor | Array:  # fmt: skip
        """The number of entries over an axis, several, or all that are not 0.

        Parameters
        ----------
        axis, dim, keepdims, **options
            As in `sum`.

        Returns
        -------
        array or LazyTensor
            Numbers: int64 over i, j or all.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[1.0], [2.0], [4.0]]))  # [[1, 2, 4], [2, 4, 8]]
        >>> (K > 1).count(axis=1, keepdims=False), int((K > 1).count())
        (array([2, 3]), 5)
        """
        return self._along("Count", axis, dim, keepdims, options)
