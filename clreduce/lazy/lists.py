"""Reductions of a `LazyTensor` to lists: the K smallest or largest values of each row, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clreduce.lazy.base import Array
from clreduce.lazy.reductions import Reductions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import Axis, ListOptions


class ListReductions(Reductions[Array]):
    """Reductions that keep K values of each row."""

    __slots__ = ()

    def Kmin(self, K: int, axis: Axis = None, dim: Axis = None, **options: Unpack[ListOptions]) -> Array:
        """The K smallest values over i or j, in ascending order.

        Parameters
        ----------
        K : int
            How many values are kept for each row, 1 or more.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, K, D) over j, (batch.., N, K, D) over i; without the last axis where D is 1.

        Notes
        -----
        Where a row has fewer than K values, the other places hold inf and the index -1, and a warning says so.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.Kmin(2, axis=1)
        array([[1., 2.],
               [2., 4.]])
        """
        return self.reduction("KMin", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmin(self, K: int, axis: Axis = None, dim: Axis = None, **options: Unpack[ListOptions]) -> Array:
        """Indices of the K smallest values over i or j, in ascending order of the values.

        Parameters
        ----------
        K : int
            How many values are kept for each row, 1 or more.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            int64. Of shape (batch.., M, K, D) over j, (batch.., N, K, D) over i; without the last axis where D is
            1.

        Notes
        -----
        Where a row has fewer than K values, the other places hold inf and the index -1, and a warning says so.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.argKmin(2, axis=1)
        array([[1, 2],
               [1, 2]])
        """
        return self.reduction("ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmin_argKmin(
        self, K: int, axis: Axis = None, dim: Axis = None, **options: Unpack[ListOptions]
    ) -> tuple[Array, Array]:
        """The K smallest values over i or j in ascending order, and their indices.

        Parameters
        ----------
        K : int
            How many values are kept for each row, 1 or more.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        tuple of two arrays
            Values and int64 indices. Of shape (batch.., M, K, D) over j, (batch.., N, K, D) over i; without the last
            axis where D is 1.

        Notes
        -----
        Where a row has fewer than K values, the other places hold inf and the index -1, and a warning says so.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.Kmin_argKmin(1, axis=1)
        (array([[1.],
               [2.]]), array([[1],
               [1]]))
        """
        return self.reduction("KMin_ArgKMin", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax(self, K: int, axis: Axis = None, dim: Axis = None, **options: Unpack[ListOptions]) -> Array:
        """The K largest values over i or j, in descending order.

        Parameters
        ----------
        K : int
            How many values are kept for each row, 1 or more.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            Of shape (batch.., M, K, D) over j, (batch.., N, K, D) over i; without the last axis where D is 1.

        Notes
        -----
        Where a row has fewer than K values, the other places hold -inf and the index -1, and a warning says so.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.Kmax(2, axis=1)
        array([[3., 2.],
               [6., 4.]])
        """
        return self.reduction("KMax", opt_arg=K, axis=axis, dim=dim, **options)

    def argKmax(self, K: int, axis: Axis = None, dim: Axis = None, **options: Unpack[ListOptions]) -> Array:
        """Indices of the K largest values over i or j, in descending order of the values.

        Parameters
        ----------
        K : int
            How many values are kept for each row, 1 or more.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        array
            int64. Of shape (batch.., M, K, D) over j, (batch.., N, K, D) over i; without the last axis where D is
            1.

        Notes
        -----
        Where a row has fewer than K values, the other places hold -inf and the index -1, and a warning says so.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.argKmax(2, axis=1)
        array([[0, 2],
               [0, 2]])
        """
        return self.reduction("ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    def Kmax_argKmax(
        self, K: int, axis: Axis = None, dim: Axis = None, **options: Unpack[ListOptions]
    ) -> tuple[Array, Array]:
        """The K largest values over i or j in descending order, and their indices.

        Parameters
        ----------
        K : int
            How many values are kept for each row, 1 or more.
        axis, dim : int
            The axis of i or of j, counted as in `sum`; 0 and 1 for a tensor without batch.
        **options
            As in `sum`.

        Returns
        -------
        tuple of two arrays
            Values and int64 indices. Of shape (batch.., M, K, D) over j, (batch.., N, K, D) over i; without the last
            axis where D is 1.

        Notes
        -----
        Where a row has fewer than K values, the other places hold -inf and the index -1, and a warning says so.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [1.0], [2.0]]))  # [[3, 1, 2], [6, 2, 4]]
        >>> K.Kmax_argKmax(1, axis=1)
        (array([[3.],
               [6.]]), array([[0],
               [0]]))
        """
        return self.reduction("KMax_ArgKMax", opt_arg=K, axis=axis, dim=dim, **options)

    Kmin_reduction, argKmin_reduction, Kmin_argKmin_reduction = Kmin, argKmin, Kmin_argKmin
