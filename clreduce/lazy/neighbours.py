"""Neighbours: the first terms of each row in order, and all terms within a radius."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clreduce.errors import ShapeError
from clreduce.lazy.base import Array
from clreduce.lazy.reductions import Reductions


class Within(NamedTuple):
    """The terms of each row up to a bound, as a sparse matrix in CSR form, sorted within each row."""

    counts: Any
    """(M,), int64: how many there are in each row; (batch.., M) of a batch."""
    offsets: Any
    """(M + 1,), int64: those of row i are at ``offsets[i]`` to ``offsets[i + 1] - 1`` of ``indices`` and ``values``.
    The rows of a batch follow each other, in the order of ``counts``."""
    indices: Any
    """Their indices j, int64."""
    values: Any
    """The terms themselves, ascending in each row; of equals the lowest index is first."""


class Neighbours(Reductions[Array]):
    """What finds neighbours."""

    __slots__ = ()

    def argsort(self, k: int, axis: int = -1) -> Array:
        """The indices of the k smallest along i or j, in ascending order: `argKmin` by NumPy's name."""
        return self.argKmin(k, axis=axis)

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> tuple[Array, Array]:
        """The k largest along i or j (the smallest with ``largest=False``) and their indices, as ``torch.topk``."""
        return self.Kmax_argKmax(k, axis=dim) if largest else self.Kmin_argKmin(k, axis=dim)

    def radius(self, r: float, axis: int = -1) -> Within:
        """All terms of each row that are at most r, exactly: counts, then indices and values in CSR form.

        ``axis`` is that of j (the default: neighbours of each i) or of i. Of squared distances, r is a squared radius.
        It takes two passes, and memory for M times the largest count.

        Raises
        ------
        ShapeError
            Vectors, complex numbers, or an axis that is not i or j.

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
            raise ShapeError(f"radius is of one real number for each pair; got shape {self.shape}")
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
