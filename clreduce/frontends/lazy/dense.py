"""Parts of a `LazyTensor` and its dense form: transpose, slices, diagonal, ``dense()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clreduce.frontends.lazy.base import Recorded

if TYPE_CHECKING:
    from typing_extensions import Self


import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.frontends.lazy.leaves import Leaf
from clreduce.ir.expr import INDEX, Expr, substitute, topological
from clreduce.ir.op import position, variable
from clreduce.program import swapped

MOST_DENSE_BYTES = 1 << 30
"""Memory that `dense` takes at most unless told otherwise: 1 GiB."""


class Indexing(Recorded):
    """What looks at parts of a `LazyTensor`, or at all of it."""

    __slots__ = ()

    @property
    def i(self) -> Self:
        """The index i itself, an integer from 0: ``K.where(K.i != K.j)`` leaves the diagonal out."""
        return self._record(position(Domain.I))

    @property
    def j(self) -> Self:
        """The index j itself, an integer from 0."""
        return self._record(position(Domain.J))

    def _with(
        self, expr: Expr, leaves: dict[Expr, Leaf], batch: tuple[int, ...], ni: Any, nj: Any, ranges: Any
    ) -> Self:
        made = type(self).__new__(type(self))
        made._set(expr, leaves, batch, ni, nj, self.is_complex, ranges, self.backend)
        return made

    def _transposed(self) -> Self:
        expr, _ = swapped(self.expr)
        leaves = {_renamed(leaf, leaf.domain.swapped()): data for leaf, data in self._leaves.items()}
        ranges = None if self.ranges is None else (*self.ranges[3:], *self.ranges[:3])
        return self._with(expr, leaves, self._batch, self.nj, self.ni, ranges)

    # --------------------------------------------------------------------------------------------------------- slices

    def __getitem__(self, key: Any) -> Any:
        """Components of the vectors, or parts of i, j and batches.

        ``x[k]`` and ``x[a:b]`` select components. A tuple selects along (batch.., i, j) or (batch.., i, j, components),
        with slices, arrays of indices or masks: ``K[:100, ::2]``. A single array of integers or truth values selects
        rows i. Every axis stays: for one row write ``K[3:4, :]``.
        """
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return self.elem(int(key))
        if isinstance(key, slice):
            return self._components(key)
        keys = list(key) if isinstance(key, tuple) else [key, slice(None)]
        if not isinstance(key, tuple):
            keys = [slice(None)] * len(self._batch) + keys
        rank = len(self._shape)
        if any(one is Ellipsis for one in keys):
            at = next(n for n, one in enumerate(keys) if one is Ellipsis)
            keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
        if len(keys) == rank - 1:
            keys.append(slice(None))
        if len(keys) != rank or any(one is None or one is Ellipsis for one in keys):
            raise ShapeError(
                f"{len(keys)} indices for a tensor of shape {self._shape}: (batch.., i, j) or with components"
            )
        result = self
        last = keys.pop()
        for axis, one in enumerate(keys):
            if not (isinstance(one, slice) and one == slice(None)):
                result = result._selected(axis, one)
        if isinstance(last, (int, np.integer)):
            return result.elem(int(last))
        return result if last == slice(None) else result._components(last)

    def _components(self, key: slice) -> Any:
        dim = self.expr.dim // 2 if self.is_complex else self.expr.dim
        start, stop, step = key.indices(dim)
        if step != 1 or stop <= start:
            raise ShapeError(
                f"components {key.start}:{key.stop}:{key.step} of vectors of length {dim}: step 1, one or more"
            )
        return self if stop - start == dim else self.extract(start, stop - start)

    def _selected(self, axis: int, key: Any) -> Self:
        """The part of one axis, (batch.., i, j), that ``key`` selects."""
        rank, size = len(self._batch), self._shape[axis]
        if isinstance(key, (bool, int, np.bool_, np.integer)):
            raise ShapeError(f"every axis of a symbolic tensor stays: write {key}:{int(key) + 1} instead of {key}")
        chosen = np.arange(size)[self.library.to_host(key) if self.library.accepts(key) else key]
        if chosen.ndim != 1:
            raise ShapeError(f"an axis is selected from with a slice or a vector; got shape {chosen.shape}")
        picked: Any = key if isinstance(key, slice) else chosen
        if axis < rank:
            return self._batch_selected(axis, picked)
        if self.ranges is not None:
            raise ShapeError("a tensor with ranges is not sliced: remove them first (K.ranges = None)")
        domain = Domain.I if axis == rank else Domain.J
        plain = self._with_positions(domain)
        leaves = {}
        renamed = {}
        for leaf, data in plain._leaves.items():
            if leaf.domain == domain:
                if data.array is None:
                    raise ShapeError("a tensor with symbolic variables is not sliced")
                part = data.array[..., picked, :]
                new = variable(("data", id(part)), *leaf.params[1:])
                renamed[leaf] = new
                leaves[new] = Leaf(part, data.batch, part)
            else:
                leaves[leaf] = data
        (expr,) = substitute([plain.expr], renamed)
        if (plain.ni if domain == Domain.I else plain.nj) is None:
            raise ShapeError(f"nothing in this tensor of shape {self._shape} depends on {'ij'[axis - rank]}")
        ni, nj = (len(chosen), plain.nj) if domain == Domain.I else (plain.ni, len(chosen))
        return self._with(expr, leaves, self._batch, ni, nj, None)

    def _batch_selected(self, axis: int, picked: Any) -> Self:
        rank = len(self._batch)
        leaves, renamed = {}, {}
        batch: tuple[int, ...] = self._batch
        for leaf, data in self._leaves.items():
            own = axis - (rank - len(data.batch))
            if own < 0 or data.batch[own] == 1:
                leaves[leaf] = data
                continue
            part = data.array[(slice(None),) * own + (picked,)]
            new = variable(("data", id(part)), *leaf.params[1:])
            renamed[leaf] = new
            leaves[new] = Leaf(part, tuple(part.shape[: len(data.batch)]), part)
        (expr,) = substitute([self.expr], renamed)
        batch = np.broadcast_shapes((1,) * rank, *(data.batch for data in leaves.values()))
        return self._with(expr, leaves, batch, self.ni, self.nj, self.ranges)

    def _with_positions(self, domain: Domain) -> Self:
        """The same with the index itself, where the formula uses it, as a variable with data."""
        node = position(domain)
        if node not in topological([self.expr]):
            return self
        size = self.ni if domain == Domain.I else self.nj
        numbers = self.library.from_host(np.arange(size or 1, dtype=np.int64)[:, None], self._like())
        new = variable(("data", id(numbers)), 1, domain, INDEX)
        (expr,) = substitute([self.expr], {node: new})
        leaves = {**self._leaves, new: Leaf(numbers, (), numbers)}
        return self._with(expr, leaves, self._batch, self.ni, self.nj, self.ranges)

    def _like(self) -> Any:
        """Some array of the data, None if there is none."""
        arrays = (data.array for data in self._leaves.values())
        return next((one for one in arrays if self.library.accepts(one)), None)

    # ---------------------------------------------------------------------------------------------------------- dense

    def dense(self, max_bytes: int | None = MOST_DENSE_BYTES) -> Any:
        """The array of this shape. Refused where it takes more than ``max_bytes``; None for no limit."""
        size = int(np.prod(self.shape, dtype=object)) * np.dtype(self.dtype or np.float64).itemsize
        if max_bytes is not None and size > max_bytes:
            raise ShapeError(
                f"the dense array of shape {self.shape} takes {memory_text(size)}, more than "
                f"max_bytes={memory_text(max_bytes)}; reduce the tensor, take a part (K[:1000, :1000]), or raise the limit"
            )
        if self.ranges is not None:
            raise ShapeError(
                "the dense form of a tensor with ranges is not defined: remove them first (K.ranges = None)"
            )
        plain = self._with_positions(Domain.I)
        # Each i becomes an index of the batch with one i of its own: reducing over i then leaves all pairs.
        rank, m = len(self._batch), self.ni or 1
        leaves, renamed = {}, {}
        for leaf, data in plain._leaves.items():
            if not self.library.accepts(data.array):
                leaves[leaf] = data
                continue
            own = (1,) * (rank - len(data.batch)) + data.batch
            tail = tuple(data.array.shape[len(data.batch) :])
            tail = (tail[0], 1, *tail[1:]) if leaf.domain == Domain.I else (1, *tail)
            array = data.array.reshape((*own, *tail))
            new = variable(("data", id(array)), *leaf.params[1:])
            renamed[leaf] = new
            leaves[new] = Leaf(array, (*own, tail[0]), array)
        (expr,) = substitute([plain.expr], renamed)
        wide = self._with(expr, leaves, (*self._batch, m), 1, self.nj, None)
        result = wide._reduce("Sum", 0, None, None, {}, ())
        return result.reshape(self.shape)

    def diagonal(self) -> Any:
        """The entries i = j of a square tensor, of shape (batch.., M) or (batch.., M, D)."""
        if self.ni != self.nj:
            raise ShapeError(f"only a square tensor has a diagonal; this has shape {self.shape}")
        here = position(Domain.I)
        renamed = {
            node: _renamed(node, Domain.I) if node.op.name == "variable" else here
            for node in topological([self.expr])
            if node.domain == Domain.J and not node.args
        }
        (expr,) = substitute([self.expr], renamed)
        leaves = {renamed.get(leaf, leaf): data for leaf, data in self._leaves.items()}
        column = self._with(expr, leaves, self._batch, self.ni, None, None)
        result = column._one_column()
        return result if self.expr.dim > (2 if self.is_complex else 1) else result.reshape(result.shape[:-1])

    def _one_column(self) -> Any:
        """The values of a tensor that does not depend on j, of shape (batch.., M, D)."""
        one = variable(("list", (float(1).hex(),)), 1, Domain.J)
        ones = self.library.from_host(np.ones((1, 1), np.float64), self._like())  # the narrowest type: none is widened
        leaves = {**self._leaves, one: Leaf(ones, (), ones)}
        return self._with(self.expr, leaves, self._batch, self.ni, 1, None)._reduce("Sum", 1, None, None, {}, ())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """``np.asarray(K)``: the dense array, under the limit of `dense`."""
        if copy is False:
            raise ValueError("the dense array of a LazyTensor is always a new one")
        return np.asarray(self.library.to_host(self.dense()), dtype)


def memory_text(size: int | float) -> str:
    """Bytes for a person.

    >>> memory_text(1536), memory_text(80 * 2**30)
    ('1.5 KiB', '80.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.1f} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1024
    raise AssertionError


def _renamed(leaf: Expr, domain: Domain) -> Expr:
    name, dim, _, kind = leaf.params
    return variable(name, dim, domain, kind)
