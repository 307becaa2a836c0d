"""Neighbours: the first terms of each row in order, and all terms within a radius."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clreduce.errors import ShapeError
from clreduce.lazy.base import Array
from clreduce.lazy.lists import ListReductions


class Within(NamedTuple):
    """The values of each row up to a bound, as a sparse matrix in CSR form, in ascending order within each row."""

    counts: Any
    """(M,), int64: how many there are in each row; (batch.., M) of a batch."""
    offsets: Any
    """(M + 1,), int64: those of row i are at ``offsets[i]`` to ``offsets[i + 1] - 1`` of ``indices`` and ``values``.
    The rows of a batch follow each other, in the order of ``counts``."""
    indices: Any
    """Their indices j, int64."""
    values: Any
    """The terms themselves, ascending in each row; of equals the lowest index is first."""


class Neighbours(ListReductions[Array]):
    """Methods that find neighbours."""

    __slots__ = ()

    def argsort(self, k: int, axis: int = -1) -> Array:
        """Indices of the k smallest values over i or j, as ``numpy.argsort``: `argKmin` by another name.

        Parameters
        ----------
        k : int
            How many indices are kept, 1 or more.
        axis : int, optional
            The axis of i or of j, counted as in `sum`.

        Returns
        -------
        array
            As of `argKmin`.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> Vi(np.zeros((1, 1))).sqdist(Vj(np.array([[3.0], [1.0], [2.0]]))).argsort(2)
        array([[1, 2]])
        """
        return self.argKmin(k, axis=axis)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> tuple[Array, Array]:
        """The k largest or smallest values over i or j and their indices, as ``torch.topk``.

        Parameters
        ----------
        k : int
            How many values are kept, 1 or more.
        dim : int, optional
            The axis of i or of j, counted as in `sum`.
        largest : bool, optional
            Whether they are the largest values, in descending order, or the smallest ones, in ascending order.

        Returns
        -------
        tuple of two arrays
            As of `Kmax_argKmax`.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> D = Vi(np.zeros((1, 1))).sqdist(Vj(np.array([[3.0], [1.0], [2.0]])))
        >>> D.topk(2, largest=False)
        (array([[1., 4.]]), array([[1, 2]]))
        """
        return self.Kmax_argKmax(k, axis=dim) if largest else self.Kmin_argKmin(k, axis=dim)

    def radius(self, r: float, axis: int = -1) -> Within:
        """All values of each row that are at most r, in a sparse form.

        Parameters
        ----------
        r : float
            The bound. For squared distances it is the square of a radius.
        axis : int, optional
            The axis that is searched: that of j (the default), for the neighbours of each i, or that of i.

        Returns
        -------
        Within
            The number of values in each row, then the values in ascending order and their indices, in CSR form.

        Raises
        ------
        ShapeError
            The tensor has vectors or complex numbers for pairs, or the axis is not one of i or j.

        Notes
        -----
        The search takes two passes, and memory for M times the largest number of values in a row.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = np.array([[0.0], [5.0]]), np.array([[0.5], [4.0], [-1.0]])
        >>> near = Vi(x).sqdist(Vj(y)).radius(1.0)
        >>> near.counts, near.offsets, near.indices, near.values
        (array([2, 1]), array([0, 2, 3]), array([0, 2, 1]), array([0.25, 1.  , 1.  ]))
        """
        if self._vectors or self.is_complex:
            raise ShapeError(f"radius needs one real number for each pair; got shape {self.shape}")
        axis = len(self._batch) + self._one_place("radius", "radius", axis)
        library = self.library
        counts = (self <= r).count(axis=axis, keepdims=False)
        host = library.to_host(counts).reshape(-1)
        offsets = np.concatenate([[0], np.cumsum(host, dtype=np.int64)])
        most = int(host.max(initial=0))
        # Where no row has any, K nearest lists of length 1 would ask for more terms than there may be.
        values, indices = self.Kmin_argKmin(most, axis=axis) if most else self.min_argmin(axis=axis)
        rows = [each.reshape(-1) for each in (indices, values)]  # type: ignore[attr-defined]
        places = np.flatnonzero(np.arange(most) < host[:, None])
        chosen = [library.rows(each, places) for each in rows]
        return Within(counts, library.from_host(offsets, counts), *chosen)
