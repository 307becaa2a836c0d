"""All values of a `LazyTensor`, or those on its diagonal, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.lazy.base import Array
from clreduce.lazy.leaves import Leaf
from clreduce.lazy.parts import MOST_DENSE_BYTES, Part
from clreduce.lazy.slices import Slices

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from clreduce.typing import Array as HostArray


class Dense(Slices[Array]):
    """Methods that compute the values of a `LazyTensor`, without a reduction over i or j."""

    __slots__ = ()

    @property
    def nbytes(self) -> int:
        """The number of bytes that the dense array would take."""
        return self._bytes_of(self.shape)

    def dense(self, max_bytes: int | None = MOST_DENSE_BYTES) -> Array:
        """All values as an array of the shape of this tensor.

        Parameters
        ----------
        max_bytes : int or None, optional
            The most memory that the array may take, 1 GiB by default; None for no limit.

        Returns
        -------
        array
            Of shape (batch.., M, N), or (batch.., M, N, D) while the tensor has its vector axis.

        Raises
        ------
        ShapeError
            The array would take more memory, the tensor has ``ranges``, or a variable has no data yet.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> (Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [4.0]]))).dense()
        array([[3., 4.],
               [6., 8.]])
        """
        self._check_dense("the dense array", self.shape, max_bytes)
        rank, rows = len(self._batch), self._sizes[0]

        # Each i becomes an index of the batch with one i of its own: reducing over i then leaves all pairs.
        def part(leaf: Expr, data: Leaf) -> Part | None:
            if isinstance(data.array, tuple):
                return None
            own, tail = data.batch, tuple(data.array.shape[len(data.batch) :])
            own = (*(1,) * (rank - len(own)), *own, rows if leaf.domain == Domain.I else 1)
            tail = (1, *tail[1:]) if leaf.domain == Domain.I else tail
            return Part(data.array.reshape((*own, *tail)), own, leaf.domain)

        expr, leaves = self._with_positions(Domain.I)._with_parts(part)
        wide = self._like(expr, leaves, batch=(*self._batch, rows), ni=1)
        array = wide._reduce("Sum", 0, None, None, {}, ()).reshape(self.shape)
        return array != 0 if self.is_condition else array

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> HostArray:
        """``np.asarray(K)``: the dense array, under the limit of `dense`."""
        if copy is False:
            raise ValueError(
                "np.asarray(K, copy=False) is not possible: the dense array of a LazyTensor is always a new one"
            )
        return np.asarray(self.library.to_host(self.dense()), dtype)
