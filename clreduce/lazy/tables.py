"""`LazyTensor.lookup`: entries of a dense table by integer labels of i and j, without the matrix that they make."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.call.arguments import is_integer_dtype
from clreduce.domain import Domain
from clreduce.errors import DtypeError, ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX, REAL, Expr, topological
from clreduce.ir.op import constant_value, integer
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.leaves import Leaf, Operand, with_array
from clreduce.ops.tables import MOST_ROWS, lookup, table_index
from clreduce.typing import Array as HostArray

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import HasShape, Value


Tensor = TypeVar("Tensor", bound="TableMethods[Any]")


class TableMethods(Recorded[Array]):
    """Methods that read tables."""

    __slots__ = ()

    @classmethod
    def lookup(cls: type[Tensor], table: HasShape, rows: Value, columns: Value | None = None) -> Tensor:
        """Entries ``table[rows_i, columns_j]`` of a table, which are read when they are needed.

        Parameters
        ----------
        table : array
            Of shape (R, C), or (R, C, D) for vectors; of a batch (.., R, C, D). Without ``columns`` of shape (R,), (R,
            D) or (.., R, D). It stays in memory as it is, so it may be large.
        rows, columns : array or LazyTensor
            Integer labels, 0 <= rows < R, 0 <= columns < C: an array of shape (M,) or (.., M) for labels of i in
            ``rows``, (N,) or (.., N) for labels of j in ``columns``. Or integers of any index, as a tensor: ``Vj(b)``
            of an integer array, ``K.i`` and ``K.j``, and their sums and differences with integers.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j), or a vector where the table has vectors.

        Raises
        ------
        ShapeError
            A label is outside of the table, or a shape does not fit.
        DtypeError
            Labels are not integers.

        Notes
        -----
        Labels are checked here. If an array of labels changes afterwards, labels outside of the table give nan.
        Derivatives in other variables cost as much as without a table. Derivatives in the table itself, of shape (R,)
        as ``Pm(table)`` or in a formula string, take R operations for each pair and R numbers for each row.

        Examples
        --------
        A matrix whose entries depend on classes of i and j, here the rows of a product with it:

        >>> import numpy as np
        >>> from clreduce.numpy import LazyTensor
        >>> cost = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 2.0]])
        >>> K = LazyTensor.lookup(cost, np.array([0, 1, 1, 0]), np.array([2, 0]))
        >>> K.shape
        (4, 2)
        >>> K.dense()
        array([[5., 0.],
               [2., 1.],
               [2., 1.],
               [5., 0.]])
        >>> K.sum(axis=1).ravel()
        array([5., 3., 3., 5.])

        A matrix that depends on i - j alone, from its values at -1, 0, 1, 2 and 3:

        >>> LazyTensor.lookup(np.array([10, 20, 30, 40, 50]), K.i - K.j + 1).dense()
        array([[20., 10.],
               [30., 20.],
               [40., 30.],
               [50., 40.]])
        """
        labels = [cls._labels(rows, "rows", Domain.I)]
        if columns is not None:
            labels.append(cls._labels(columns, "columns", Domain.J))
        entries, sizes, shape = cls._table(table, len(labels))
        for name, label, size in zip(("rows", "columns"), labels, sizes, strict=False):
            low, high = _extremes(label)
            if low < 0 or high >= size:
                raise ShapeError(
                    f"lookup: the labels {name} run from {low} to {high}, and the table of shape {shape} has rows 0 to "
                    f"{size - 1}; negative labels do not count from the end"
                )
        index = table_index([label.expr for label in labels], sizes)
        dim = entries.expr.dim // prod(sizes)
        # A table of a batch has an axis of vectors in any case.
        vectors = dim > 1 + entries.is_complex or len(shape) == len(labels) + 1
        expr = lookup(entries.expr, index, dim)
        return entries._record(expr, *labels, is_complex=entries.is_complex, vectors=vectors)

    @classmethod
    def _table(cls, table: Any, axes: int) -> tuple[Self, tuple[int, ...], tuple[int, ...]]:
        """The table as a parameter of all its numbers, its sizes along the labelled axes, and its shape."""
        library = cls.library
        original, table = table, library.as_array(table)
        if table is None:
            told = f"{type(original).__name__}{library.advice(original)}"
            raise DtypeError(f"lookup: a table must be a {library.name} array; got {told}")
        shape, name = tuple(library.shape(table)), library.dtype_name(table)
        wanted = "(R,), (R, D) or (.., R, D)" if axes == 1 else "(R, C), (R, C, D) or (.., R, C, D)"
        if len(shape) < axes:
            raise ShapeError(f"lookup: a table for {axes} label(s) must have shape {wanted}; got {shape}")
        batch = shape[: max(len(shape) - axes - 1, 0)]
        sizes = shape[len(batch) : len(batch) + axes]
        length = prod(shape[len(batch) :])
        if not 0 < prod(sizes) <= MOST_ROWS or not length:
            raise ShapeError(f"lookup: a table must have 1 to {MOST_ROWS} entries; got shape {shape}")
        is_complex = name.startswith("complex")
        flat = table.reshape((*batch, length))
        leaf, data = with_array(table, flat, batch, length * (2 if is_complex else 1), Domain.P)
        return cls._adopted(Operand(leaf, {leaf: data}, batch, is_complex=is_complex)), sizes, shape

    @classmethod
    def _labels(cls, labels: Any, name: str, domain: Domain) -> Self:
        """Labels as a tensor of true integers, with data."""
        index = "i" if domain == Domain.I else "j"
        array = None if isinstance(labels, Recorded) else cls.library.as_array(labels)
        if array is not None:
            labels = array
            shape, dtype = tuple(cls.library.shape(labels)), cls.library.dtype_name(labels)
            if not is_integer_dtype(dtype):
                raise DtypeError(f"lookup: {name} must be integer labels; got an array of dtype {dtype}")
            if not shape:
                raise ShapeError(
                    f"lookup: {name} must have shape (.., {'MN'[domain == Domain.J]}), one label for each {index}"
                )
            leaf, data = with_array(labels, labels.reshape((*shape, 1)), shape[:-1], 1, domain, INDEX)
            rows, columns = (data.rows, None) if domain == Domain.I else (None, data.rows)
            return cls._adopted(Operand(leaf, {leaf: data}, shape[:-1], rows, columns, vectors=False))
        tensor: Self = cls._from(labels)
        expr, given_data = tensor.expr, tensor._leaves.get(tensor.expr)
        known = constant_value(expr)
        if isinstance(known, Fraction) and known.denominator == 1:
            return tensor._like(integer(int(known)), {})
        if any(leaf_data.array is None for leaf_data in tensor._leaves.values()):
            raise ShapeError(f"lookup: {name} must have data; symbolic variables have none yet")
        if given_data is not None and expr.kind == REAL and cls._of_integers(given_data):
            source, array, batch = given_data.source, given_data.array, given_data.batch
            assert source is not None, "data have a source"
            leaf, data = with_array(source.value, array, batch, expr.dim, expr.domain, INDEX)
            tensor = tensor._like(leaf, {leaf: data})
        if tensor.expr.kind != INDEX:
            raise DtypeError(
                f"lookup: {name} must be integers: an array of them, Vi or Vj of one, K.i, K.j, or their sums and "
                f"differences; got a tensor of {tensor._dtype_name or 'numbers'}"
            )
        if tensor.expr.dim != 1:
            raise ShapeError(f"lookup: {name} must be one label for each index; got a tensor of shape {tensor._shape}")
        return tensor

    @classmethod
    def _of_integers(cls, data: Leaf) -> bool:
        """Whether data are an array of integers."""
        return not isinstance(data.array, tuple) and is_integer_dtype(cls.library.dtype_name(data.array))


def _extremes(labels: Any) -> tuple[int, int]:
    """The smallest and the largest label; 0 and 0 if there is none.

    Formulas of integers are sums f(i) + g(j), so the labels along one row and one column determine all.
    """
    if 0 in labels._shape:
        return 0, 0
    along_i, along_j, corner = (_values(labels, whole) for whole in (Domain.I, Domain.J, Domain.P))
    low, high = (reduce(along_i) + reduce(along_j) - corner for reduce in (_lowest, _highest))
    return int(low.min()), int(high.max())


def _lowest(values: HostArray) -> HostArray:
    lowest: HostArray = values.min(axis=(-3, -2), keepdims=True)
    return lowest


def _highest(values: HostArray) -> HostArray:
    highest: HostArray = values.max(axis=(-3, -2), keepdims=True)
    return highest


def _values(labels: Any, whole: Domain) -> HostArray:
    """The labels of all indices of the domain ``whole``, at the first index of any other domain."""
    leaves: dict[Expr, HostArray] = {}
    for node in topological([labels.expr]):
        if node.op.name == "position":
            numbers = np.arange(labels._sizes[node.domain == Domain.J])[:, None]
        elif node.op.name == "variable":
            numbers = labels.library.to_host(labels._leaves[node].array)
            numbers = numbers if node.domain != Domain.P else numbers[..., None, :]
        else:
            continue
        numbers = numbers if node.domain == whole else numbers[..., :1, :]
        axis = -3 if node.domain == Domain.J else -2
        leaves[node] = np.expand_dims(_as_int64(numbers), axis)
    (evaluated,) = evaluate([labels.expr], leaves)
    return np.asarray(evaluated).reshape((1,) * (3 - np.ndim(evaluated)) + np.shape(evaluated))


def _as_int64(numbers: HostArray) -> HostArray:
    """Integers of any dtype as int64; larger ones become the largest int64, which is still outside of any table."""
    most = np.iinfo(np.int64).max
    return np.minimum(numbers, most).astype(np.int64) if numbers.dtype == np.uint64 else numbers.astype(np.int64)
