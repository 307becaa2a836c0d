"""Parts of a `LazyTensor`: components of its vectors, slices and selections of i, j and batches; the indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, substitute, topological
from clreduce.ir.op import integer, position, variable
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.leaves import Leaf
from clreduce.lazy.linear import LinearOperator
from clreduce.lazy.parts import Part
from clreduce.ops.tables import looked_up

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Parts, Position

_ALL = slice(None)


Tensor = TypeVar("Tensor", bound="Slices[Any]")


class Slices(LinearOperator[Array]):
    """Methods that take parts of a `LazyTensor`."""

    __slots__ = ()

    @property
    def i(self: Tensor) -> Tensor:
        """The index i, an integer from 0: ``K.where(K.i != K.j)`` omits the diagonal."""
        return self._index(Domain.I, self.ni)

    @property
    def j(self: Tensor) -> Tensor:
        """The index j, an integer from 0."""
        return self._index(Domain.J, self.nj)

    def _index(self, domain: Domain, size: int | None) -> Self:
        if size is None and not any(leaf.domain == domain for leaf in self._leaves):
            name = domain.name.lower()  # type: ignore[union-attr]
            raise ShapeError(
                f"this tensor of shape {self.shape} does not depend on {name}: take .{name} of a tensor that does"
            )
        tensor = self.real if self.is_complex else self
        # Where there is one i only, its index is 0 also beside tensors with more of them.
        return tensor._record(integer(0) if size == 1 else position(domain), vectors=False)

    @overload
    def __getitem__(self: Tensor, key: Parts) -> Tensor: ...
    @overload
    def __getitem__(self, key: Position | tuple[Position, ...]) -> Any: ...
    def __getitem__(self: Tensor, key: Position | tuple[Position, ...]) -> Tensor | Array:
        """Parts by position in ``K.shape``, as NumPy's; components of vectors, while the tensor has its vector axis.

        Parameters
        ----------
        key : slice, int, array or tuple of them
            Slices, masks and arrays of indices give another tensor: ``K[:100]``, ``K[:, ::2]``, ``K[np.ix_(rows,
            cols)]``. A number removes its axis: ``x[..., 0]`` is a tensor. ``K[3]``, ``K[:, 3]`` and ``K[3, 5]`` are
            computed: a row, a column, a number. So is ``K[rows, cols]``: the entries at pairs of indices. While a
            tensor has its vector axis, a single number or slice means components: ``x[k]``, ``x[a:b]``. The number may
            be a tensor that has one for each i, j or pair, such as ``Pm(table)[Vi(k)]``. Then it is rounded, and
            components that do not exist are nan.

        Returns
        -------
        LazyTensor or array
            A tensor where all axes of i and j stay, else an array.

        Raises
        ------
        ShapeError
            An index is out of range, there are too many, or nothing depends on the index of an axis.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x = Vi(np.array([[0.0, 1.0], [1.0, 3.0]]))
        >>> x[1].shape, x[:1].shape
        ((2, 1), (2, 1, 1))
        >>> K = x.sqdist(Vj(np.array([[1.0, 1.0], [2.0, 0.0], [4.0, 0.0]])))
        >>> K[:, ::2].shape
        (2, 2)
        >>> K[1], K[[0, 1], [2, 0]]
        (array([ 4., 10., 18.]), array([17.,  4.]))
        """
        if self._vectors and not isinstance(key, tuple) and (isinstance(key, slice) or _is_integer(key)):
            return self._components(key)
        if self._vectors and isinstance(key, Recorded) and not (key.is_condition or key.is_complex or self.is_complex):
            return self._record(looked_up(self._real_expr, key.expr), key, vectors=False)
        keys = self._keys(key)
        batch = len(self._batch)
        arrays = [
            at for at, each in enumerate(keys[: batch + 2]) if not isinstance(each, slice) and not _is_integer(each)
        ]
        pairs = False
        if len(arrays) > 1:
            pairs = self._in_pairs(keys, arrays)
        result = self
        for axis, each in enumerate(keys[: batch + 2]):
            if _is_integer(each):
                each = self._one_entry(axis, int(each))
            if not (isinstance(each, slice) and each == _ALL):
                result = result._selected(axis, each)
        if self._vectors:
            result = result._components(keys[-1])
        if pairs:
            return result.diagonal()
        numbered = [at for at, each in enumerate(keys[: batch + 2]) if _is_integer(each)]
        for axis in reversed([at for at in numbered if at < batch]):
            result = result._without_batch_axis(axis)
        return result._entries(batch in numbered, batch + 1 in numbered) if numbered[-1:] >= [batch] else result

    def diagonal(self) -> Array:
        """The entries with i = j of a square tensor.

        Returns
        -------
        array
            Of shape (batch.., M), or (batch.., M, D) while the tensor has its vector axis.

        Raises
        ------
        ShapeError
            The tensor is not square, or a variable has no data yet.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x = np.array([[1.0], [2.0]])
        >>> (Vi(x) | Vj(x)).diagonal()
        array([1., 4.])
        """
        if self._sizes[0] != self._sizes[1]:
            raise ShapeError(f"only a square tensor has a diagonal; this one has shape {self.shape}")
        if self._symbols():
            raise ShapeError("a tensor with symbolic variables has no diagonal yet: make it of arrays first")
        nodes = [*topological([self.expr]), *self._leaves]
        renamed = {node: _of_i(node) for node in nodes if node.domain == Domain.J and not node.args}
        (expr,) = substitute([self.expr], renamed)
        leaves = {renamed.get(leaf, leaf): data for leaf, data in self._leaves.items()}
        column = self._like(expr, leaves, ni=self._sizes[0], nj=None, ranges=None)
        result = column._reduce("Sum", 1, None, None, {}, ())
        result = result if self._vectors else result.reshape(result.shape[:-1])
        return result != 0 if self.is_condition else result

    def _keys(self, key: Any) -> list[Any]:
        """One key for each axis of the shape."""
        keys, rank = list(key) if isinstance(key, tuple) else [key], self.ndim
        dots = [at for at, each in enumerate(keys) if each is Ellipsis]
        if len(dots) == 1:
            keys[dots[0] : dots[0] + 1] = [_ALL] * (rank - len(keys) + 1)
        keys += [_ALL] * (rank - len(keys))
        if len(keys) > rank or len(dots) > 1 or any(each is None for each in keys):
            count = len(key) if isinstance(key, tuple) else 1
            raise ShapeError(
                f"a tensor of shape {self.shape} is indexed by {', '.join(self._axis_names)}; "
                f"got {count} indices{' with None' if any(each is None for each in keys) else ''}"
            )
        return keys

    @property
    def _axis_names(self) -> list[str]:
        return ["batch"] * len(self._batch) + ["i", "j"] + (["component"] if self._vectors else [])

    def _in_pairs(self, keys: list[Any], arrays: list[int]) -> bool:
        """Whether arrays of indices for i and j are pairs; arrays of ``numpy.ix_`` become vectors."""
        batch = len(self._batch)
        indices = [self._host(keys[at]) for at in arrays]
        if all(each.ndim == len(indices) and each.shape[at] == each.size for at, each in enumerate(indices)):
            for at, each in zip(arrays, indices, strict=True):
                keys[at] = each.reshape(-1)
            return False
        lengths = [int(each.sum()) if each.dtype == bool else len(each) for each in indices if each.ndim == 1]
        if arrays != [batch, batch + 1] or len(lengths) < 2 or lengths[0] != lengths[1]:
            raise ShapeError(
                f"arrays of indices for several axes, of shapes {', '.join(str(each.shape) for each in indices)}, are "
                "pairs of i and j, as in NumPy: write K[np.ix_(rows, columns)] for a block, or K[rows][:, columns]"
            )
        return True

    def _host(self, key: Any) -> Any:
        """An array of indices as NumPy's."""
        try:
            return np.asarray(self.library.to_host(key) if self.library.accepts(key) else key)
        except (TypeError, ValueError):
            return np.asarray(key, object)

    def _one_entry(self, axis: int, key: int) -> slice:
        """A number as a slice of length 1."""
        size = self._shape[axis]
        if not -size <= key < size:
            name = self._axis_names[axis]
            raise ShapeError(f"index {key} is out of bounds for {name} of a tensor of shape {self.shape}")
        return slice(key % size, key % size + 1)

    def _without_batch_axis(self, axis: int) -> Self:
        """The tensor without a batch axis, of size 1."""
        rank = len(self._batch)

        def part(leaf: Expr, data: Leaf) -> Part | None:
            own = axis - (rank - len(data.batch))
            if own < 0:
                return None
            shape = tuple(data.array.shape)
            array = data.array.reshape(shape[:own] + shape[own + 1 :])
            return Part(array, data.batch[:own] + data.batch[own + 1 :], leaf.domain)

        expr, leaves = self._with_parts(part)
        return self._like(expr, leaves, batch=self._batch[:axis] + self._batch[axis + 1 :])

    def _entries(self, one_i: bool, one_j: bool) -> Any:
        """The entries of a tensor of one i, of one j, or of both, as an array without those axes."""
        result = self._reduce("Sum", 0 if one_i else 1, None, None, {}, ())
        shape = tuple(result.shape) if self._vectors else tuple(result.shape[:-1])
        if one_i and one_j:
            shape = shape[: len(self._batch)] + shape[len(self._batch) + 1 :]
        result = result.reshape(shape)
        return (result != 0 if self.is_condition else result)[()]

    def _components(self, key: Any) -> Self:
        if _is_integer(key):
            if not -self._count <= key < self._count:
                raise ShapeError(f"vectors of length {self._count} have no component {key}{self._rows_told(key)}")
            return self.elem(int(key))
        if not isinstance(key, slice):
            raise ShapeError(f"components are selected by a number or a slice; got {key!r}")
        chosen = range(self._count)[key]
        if not chosen:
            raise ShapeError(f"[{key.start}:{key.stop}] selects no component of vectors of length {self._count}")
        if any(end is not None and not -self._count <= end <= self._count for end in (key.start, key.stop)):
            text = f"{'' if key.start is None else key.start}:{'' if key.stop is None else key.stop}"
            raise ShapeError(f"vectors of length {self._count} have no components {text}{self._rows_told(text)}")
        if chosen == range(self._count):
            return self
        if chosen.step == 1:
            return self.extract(chosen[0], len(chosen))
        first, *others = (self.elem(k) for k in chosen)
        return first.concat(*others)

    def _rows_told(self, text: Any) -> str:
        """Advice how to take rows, for an error message."""
        index, key = ("j", f"x[:, {text}]") if self.ni is None else ("i", f"x[{text}, :]")
        before = "..., " if self._batch else ""
        return f"; for some of the {index} write {key.replace('[', '[' + before)}"

    def _selected(self, axis: int, key: Any) -> Self:
        """The part of one axis, (batch.., i, j), that ``key`` selects."""
        rank, size = len(self._batch), self._shape[axis]
        name = "ij"[axis - rank] if axis >= rank else f"axis {axis}"
        if isinstance(key, Recorded):
            raise ShapeError(
                "a condition on pairs cannot select a part of a LazyTensor: K.where(condition) sets all other entries "
                "to 0, and K.dense()[mask] selects entries of the dense array"
            )
        host = key if isinstance(key, slice) else self._host(key)
        if not isinstance(host, slice) and not host.ndim:
            raise ShapeError(
                f"{name} of a tensor of shape {self.shape} is indexed by numbers, slices or arrays of integers; got "
                f"{key!r}"
            )
        if not isinstance(host, slice) and host.ndim != 1:
            raise ShapeError(
                f"{name} is indexed by a slice or a vector; got an array of shape {host.shape}. For a mask of all "
                "pairs, K.dense()[mask] selects entries, and K.where(condition) sets all others to 0"
            )
        try:
            chosen = np.arange(size)[host]
        except (IndexError, TypeError, ValueError) as error:
            raise ShapeError(
                f"{name} of a tensor of shape {self.shape} cannot be indexed in this way: {error}"
            ) from None
        if self._symbols():
            raise ShapeError("a tensor with symbolic variables has no entries yet: make it of arrays first")
        if size == 1 and len(chosen) == 1:
            return self
        picked = key if isinstance(key, slice) and (key.step is None or key.step > 0) else chosen
        if axis < rank:
            return self._batch_part(axis, picked, chosen)
        if self.ranges is not None:
            raise ShapeError("a tensor with ranges cannot be sliced: remove the ranges first (K.ranges = None)")
        if (self.ni, self.nj)[axis - rank] is None:
            raise ShapeError(
                f"this tensor of shape {self.shape} does not depend on {name}, so this axis cannot be sliced"
            )
        domain = (Domain.I, Domain.J)[axis - rank]
        plain = self._with_positions(domain)

        def part(leaf: Expr, data: Leaf) -> Part | None:
            return Part(data.array[..., picked, :], data.batch, domain) if leaf.domain == domain else None

        expr, leaves = plain._with_parts(part)
        facts = {"ni" if domain == Domain.I else "nj": len(chosen)}
        return self._like(expr, leaves, **facts)

    def _batch_part(self, axis: int, picked: Any, chosen: Any) -> Self:
        rank, size = len(self._batch), self._batch[axis]

        def part(leaf: Expr, data: Leaf) -> Part | None:
            own = axis - (rank - len(data.batch))
            if own < 0 or (data.batch[own] == 1 and size > 1):
                return None
            array = data.array[(_ALL,) * own + (picked,)]
            return Part(array, (*data.batch[:own], len(chosen), *data.batch[own + 1 :]), leaf.domain)

        expr, leaves = self._with_parts(part)
        return self._like(expr, leaves, batch=(*self._batch[:axis], len(chosen), *self._batch[axis + 1 :]))


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _of_i(leaf: Expr) -> Expr:
    """A variable or a position of j as one of i."""
    if leaf.op.name == "position":
        return position(Domain.I)
    name, dim, _, kind = leaf.params
    return variable(name, dim, Domain.I, kind)
