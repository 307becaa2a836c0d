"""Linear operators: products of a `LazyTensor` with vectors, under NumPy's and SciPy's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import variable
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.leaves import Operand, with_array
from clreduce.lazy.neighbours import Neighbours
from clreduce.lazy.products import CompositeOperator, Product
from clreduce.program import swapped

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from clreduce.lazy.types import CallOptions, HasShape


Tensor = TypeVar("Tensor", bound="LinearOperator[Any]")


class LinearOperator(Neighbours[Array]):
    """Products with vectors, and the transpose."""

    __slots__ = ()

    @overload
    def __matmul__(self, v: Recorded[Array] | CompositeOperator) -> Product: ...
    @overload
    def __matmul__(self, v: HasShape, **options: Unpack[CallOptions]) -> Array: ...
    def __matmul__(self, v: HasShape, **options: Unpack[CallOptions]) -> Array | Product:
        """``K @ v``: the product with an array, or with another operator.

        Parameters
        ----------
        v : array or LazyTensor
            Of shape (N,) or (batch.., N, E). A symbolic matrix gives the operator of the product, which is not
            computed.
        **options
            Those of `sum`: ``K.__matmul__(v, backend="CPU")``.

        Returns
        -------
        array
            Of shape (M,) or (batch.., M, E), with the dtype of K; an operator if v is one.

        Raises
        ------
        ShapeError
            K has vectors for pairs, or v has another number of rows or is no array of this library.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [4.0]]))  # [[3, 4], [6, 8]]
        >>> K @ np.array([1.0, 1.0])
        array([ 7., 14.])
        """
        if isinstance(v, (Recorded, CompositeOperator)):
            return Product(self, v)
        if self._count != 1:
            raise ShapeError(f"K @ v needs one number for each pair (i, j); here K has shape {self.shape}")
        array: Any = self.library.as_array(v)
        if array is None:
            told = f"{type(v).__name__}{self.library.advice(v)}"
            raise ShapeError(f"K @ v needs a {self.library.name} array; got {told}")
        if array.ndim == 0:
            raise ShapeError("K @ v needs an array of shape (N,) or (.., N, E); got a number")
        flat = array.ndim == 1
        wide = array.reshape((array.shape[0], 1)) if flat else array
        if self.nj is not None and wide.shape[-2] != self.nj:
            raise ShapeError(
                f"K @ v: K has shape {self.shape}, so v needs {self.nj} rows; got shape {tuple(array.shape)}"
            )
        product = self * self._columns(array, wide)
        out: Any = options.get("out")
        if out is not None and flat:
            options["out"] = out.reshape((*out.shape, 1))
        result: Any = product.sum(axis=len(product._batch) + 1, **options)
        if out is not None:
            return out
        return result.reshape(result.shape[:-1]) if flat else result

    def _columns(self, v: Any, wide: Any) -> Self:
        """The rows of ``wide``, of shape (.., N, E), as vectors of j; ``v`` is the array that the user gave."""
        is_complex = self.library.dtype_name(v).startswith("complex")
        batch, (size, dim) = tuple(wide.shape[:-2]), wide.shape[-2:]
        leaf, data = with_array(v, wide, batch, dim * (2 if is_complex else 1), Domain.J)
        return self._adopted(Operand(leaf, {leaf: data}, batch, None, size, is_complex))

    def __rmatmul__(self, v: HasShape) -> Array:
        """``v @ K``, for an array v of shape (M,) or (.., E, M)."""
        array: Any = self.library.as_array(v)
        if array is None or array.ndim == 0:
            told = "a number" if array is not None else f"{type(v).__name__}{self.library.advice(v)}"
            raise ShapeError(f"v @ K needs a {self.library.name} array of shape (M,) or (.., E, M); got {told}")
        if array.ndim == 1:
            return self.T @ array
        columns: Any = self.library.swapped(array)
        return self.library.swapped(self.T @ columns)

    def matvec(self, v: HasShape) -> Array:
        """``K @ v``, as SciPy calls it.

        Parameters
        ----------
        v : array
            Of shape (N,) or (N, E). NumPy arrays of another dtype are converted to that of K.

        Returns
        -------
        array
            Of shape (M,) or (M, E).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [4.0]]))
        >>> K.matvec(np.array([1, 0]))
        array([3., 6.])
        """
        return self @ self._converted(v)

    def rmatvec(self, v: HasShape) -> Array:
        """``K.H @ v``, as SciPy calls it: the transpose, and for complex numbers the conjugate transpose.

        Parameters
        ----------
        v : array
            Of shape (M,) or (M, E). NumPy arrays of another dtype are converted to that of K.

        Returns
        -------
        array
            Of shape (N,) or (N, E).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.array([[1.0], [2.0]])) | Vj(np.array([[3.0], [4.0]]))
        >>> K.rmatvec(np.array([1, 0]))
        array([3., 4.])
        """
        return self.H @ self._converted(v)

    def _converted(self, v: Any) -> Any:
        """``v`` in the precision of K, since SciPy's solvers start from float64 vectors for float32 operators too."""
        name = self._dtype_name
        if not isinstance(v, np.ndarray) or name is None:
            return v
        narrow = name in ("float32", "complex64")
        kind = "complex" if v.dtype.kind == "c" or (self.is_complex and v.dtype.kind != "f") else "float"
        return v.astype(f"{kind}{(32 if narrow else 64) * (1 if kind == 'float' else 2)}", copy=False)

    matmat = matvec
    rmatmat = rmatvec

    # ------------------------------------------------------------------------------------------------------- transpose

    @property
    def T(self: Tensor) -> Tensor:
        """The transpose, with i and j exchanged; batch dimensions stay."""
        expr, _ = swapped(self.expr)
        leaves = {_swapped(leaf): data for leaf, data in self._leaves.items()}
        ranges = None if self.ranges is None else (*self.ranges[3:], *self.ranges[:3])
        return self._like(expr, leaves, ni=self.nj, nj=self.ni, ranges=ranges)

    @property
    def H(self: Tensor) -> Tensor:
        """The conjugate transpose; for real numbers the transpose."""
        transposed: Any = self.T
        adjoint: Tensor = transposed.conj() if self.is_complex else transposed
        return adjoint

    def adjoint(self: Tensor) -> Tensor:
        """The conjugate transpose, as SciPy calls it.

        Returns
        -------
        LazyTensor
            The property ``H``.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> (Vi(np.ones((2, 1))) | Vj(np.ones((3, 1)))).adjoint().shape
        (3, 2)
        """
        return self.H

    def t(self: Tensor) -> Tensor:
        """The transpose, with i and j exchanged; batch dimensions stay.

        Returns
        -------
        LazyTensor
            The property ``T``.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> (Vi(np.ones((2, 1))) | Vj(np.ones((3, 1)))).t().shape
        (3, 2)
        """
        return self.T


def _swapped(leaf: Expr) -> Expr:
    name, dim, domain, kind = leaf.params
    return variable(name, dim, domain.swapped(), kind)
