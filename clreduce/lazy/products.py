"""Products and blocks of symbolic matrices, which are evaluated against a right-hand side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np

from clreduce.errors import ShapeError
from clreduce.lazy.base import Recorded
from clreduce.typing import AnyArray

Operator: TypeAlias = "Recorded[Any] | CompositeOperator"
"""A factor of a product, or a block: a `LazyTensor`, a product, or blocks."""
Vectors = TypeVar("Vectors", bound=AnyArray)
"""The arrays of a library; a product with one is another."""


class CompositeOperator:
    """A linear operator of shape (M, N) that consists of others: ``A @ v``, ``v @ A``, ``A.T``, and SciPy's methods."""

    __array_ufunc__ = None  # v @ A is asked here

    def __init__(self, shape: tuple[int, ...], dtype: object) -> None:
        self.shape, self.ndim = shape, len(shape)
        self.dtype: Any = dtype

    def _times(self, v: Any) -> Any:
        raise NotImplementedError

    @property
    def T(self) -> CompositeOperator:
        """The transpose."""
        raise NotImplementedError

    @overload
    def __matmul__(self, v: Operator) -> Product: ...
    @overload
    def __matmul__(self, v: Vectors) -> Vectors: ...
    def __matmul__(self, v: Operator | Vectors) -> Product | Vectors:
        """The product with an array of shape (N,) or (N, E)."""
        if isinstance(v, (CompositeOperator, Recorded)):
            return Product(self, v)
        rows = v.shape[0 if v.ndim == 1 else -2]
        if rows != self.shape[-1]:
            raise ShapeError(f"an operator of shape {self.shape} needs v with {self.shape[-1]} rows; got {v.shape}")
        return self._times(v)

    def __rmatmul__(self, v: Vectors) -> Vectors:
        array: Any = v
        return self.T @ array if array.ndim == 1 else (self.T @ array.swapaxes(-1, -2)).swapaxes(-1, -2)

    def matvec(self, v: Vectors) -> Vectors:
        """``A @ v``, as SciPy calls it."""
        return self @ v

    def rmatvec(self, v: Vectors) -> Vectors:
        """``A.T @ v``, as SciPy calls it; for complex numbers with the conjugate transpose."""
        array: Any = v
        return (self.T @ array.conj()).conj() if "complex" in str(self.dtype) else self.T @ array

    matmat, rmatmat = matvec, rmatvec

    def __repr__(self) -> str:
        return f"{type(self).__name__} of shape {self.shape}"


class Product(CompositeOperator):
    """``A @ B``, evaluated as ``A @ (B @ v)``: two products, and no matrix.

    >>> import numpy as np
    >>> import clreduce as cr
    >>> K = cr.Vi(np.array([[0.0], [1.0]])) | cr.Vj(np.array([[2.0], [3.0]]))
    >>> K @ K.T @ np.ones(2)
    array([ 0., 13.])
    """

    def __init__(self, left: Operator, right: Operator) -> None:
        if left.shape[-1] != right.shape[-2]:
            raise ShapeError(f"A @ B needs as many columns of A as rows of B; got {left.shape} and {right.shape}")
        super().__init__((*left.shape[:-1], right.shape[-1]), left.dtype)
        self.left: Any = left
        self.right: Any = right

    def _times(self, v: Any) -> Any:
        return self.left @ (self.right @ v)

    @property
    def T(self) -> Product:
        return Product(self.right.T, self.left.T)


class Block(CompositeOperator):
    """Operators side by side and one below the other, as ``numpy.block`` has arrays; None is a block of zeros.

    >>> import numpy as np
    >>> import clreduce as cr
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[2.0]])
    >>> A, B, C = cr.Vi(x) | cr.Vj(x), cr.Vi(x) | cr.Vj(y), cr.Vi(y) | cr.Vj(y)
    >>> cr.block([[A, B], [B.T, C]]) @ np.ones(3)
    array([0., 3., 6.])
    """

    def __init__(self, rows: Sequence[Sequence[Operator | None]]) -> None:
        self.rows: list[list[Any]] = [list(row) for row in rows]
        if not self.rows or len({len(row) for row in self.rows}) != 1 or not self.rows[0]:
            raise ShapeError("block needs rows of equal length, such as block([[A, B], [C, D]])")
        self._heights = [self._size(row, -2) for row in self.rows]
        self._widths = [self._size(column, -1) for column in zip(*self.rows, strict=True)]
        some = next(each for row in self.rows for each in row if each is not None)
        super().__init__((sum(self._heights), sum(self._widths)), some.dtype)

    @staticmethod
    def _size(blocks: Any, axis: int) -> int:
        sizes = {each.shape[axis] for each in blocks if each is not None}
        if len(sizes) != 1:
            raise ShapeError(
                "all blocks of a row need the same number of rows, all blocks of a column the same number of columns; "
                f"got {sizes}"
            )
        return int(sizes.pop())

    def _times(self, v: Any) -> Any:
        starts = [sum(self._widths[:n]) for n in range(len(self._widths))]
        axis = 0 if v.ndim == 1 else v.ndim - 2
        ends = [(start, start + size) for start, size in zip(starts, self._widths, strict=True)]
        parts = [v[start:end] if axis == 0 else v[..., start:end, :] for start, end in ends]
        results = []
        for row in self.rows:
            terms = [each @ part for each, part in zip(row, parts, strict=True) if each is not None]
            results.append(sum(terms[1:], start=terms[0]))
        return _joined(results, axis)

    @property
    def T(self) -> Block:
        return Block([[None if each is None else each.T for each in column] for column in zip(*self.rows, strict=True)])


def _joined(parts: list[Any], axis: int) -> Any:
    """Arrays of one library, one after the other."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(parts[0], torch.Tensor):
        return torch.cat(parts, axis)
    return np.concatenate(parts, axis)
