"""Parts of a `LazyTensor`: components of its vectors, slices and selections of i, j and batches; the indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.frontends.lazy.leaves import Leaf, with_array
from clreduce.frontends.lazy.linear import LinearOperator
from clreduce.ir.expr import INDEX, Expr, substitute, topological
from clreduce.ir.op import integer, position

if TYPE_CHECKING:
    from typing_extensions import Self

_ALL = slice(None)


class Slices(LinearOperator):
    """What looks at parts of a `LazyTensor`."""

    __slots__ = ()

    @property
    def i(self) -> Self:
        """The index i itself, an integer from 0: ``K.where(K.i != K.j)`` leaves the diagonal out."""
        return self._index(Domain.I, self.ni)

    @property
    def j(self) -> Self:
        """The index j itself, an integer from 0."""
        return self._index(Domain.J, self.nj)

    def _index(self, domain: Domain, size: int | None) -> Self:
        if size is None and not any(leaf.domain == domain for leaf in self._leaves):
            name = domain.name.lower()  # type: ignore[union-attr]
            raise ShapeError(f"nothing in this tensor of shape {self._shape} depends on {name}: take .{name} of one")
        tensor = self.real if self.is_complex else self
        # Where there is one i only, its index is 0 also beside tensors with more of them.
        return tensor._record(integer(0) if size == 1 else position(domain))

    def __getitem__(self, key: Any) -> Self:
        """Components of the vectors, or parts of i, j and batches.

        ``x[k]`` and ``x[a:b]`` select components. A tuple selects along (batch.., i, j) or (batch.., i, j, components),
        with slices, arrays of indices or masks: ``K[:100, ::2]``; what it leaves out at its end stays whole. A single
        array of integers or truth values selects rows i. Every axis stays: for one row write ``K[3:4, :]``.
        """
        if not isinstance(key, tuple):
            if isinstance(key, slice) or _is_integer(key):
                return self._components(key)
            key = (*[_ALL] * len(self._batch), key, _ALL)
        keys, rank = list(key), self.dim()
        dots = [at for at, one in enumerate(keys) if one is Ellipsis]
        if len(dots) == 1:
            keys[dots[0] : dots[0] + 1] = [_ALL] * (self.ndim - len(keys) + 1)
        keys += [_ALL] * (rank - len(keys))
        if len(keys) > rank or len(dots) > 1 or any(one is None for one in keys):
            raise ShapeError(
                f"a tensor of shape {self._shape} is indexed by (batch.., i, j) or (batch.., i, j, components); "
                f"got {len(key)} indices{' with None' if any(one is None for one in keys) else ''}"
            )
        result = self
        for axis, one in enumerate(keys[:-1]):
            if not (isinstance(one, slice) and one == _ALL):
                result = result._selected(axis, one)
        return result._components(keys[-1])

    def _components(self, key: Any) -> Self:
        if _is_integer(key):
            return self.elem(int(key))
        if not isinstance(key, slice):
            raise ShapeError(f"components are selected with a number or a slice; got {key!r}")
        chosen = range(self._count)[key]
        if not chosen:
            raise ShapeError(f"no component is left by [{key.start}:{key.stop}] of vectors of length {self._count}")
        if chosen == range(self._count):
            return self
        if chosen.step == 1:
            return self.extract(chosen[0], len(chosen))
        first, *others = (self.elem(k) for k in chosen)
        return first.concat(*others) if others else first

    def _selected(self, axis: int, key: Any) -> Self:
        """The part of one axis, (batch.., i, j), that ``key`` selects."""
        rank, size = len(self._batch), self._shape[axis]
        name = "ij"[axis - rank] if axis >= rank else f"axis {axis}"
        if isinstance(key, (bool, np.bool_)) or _is_integer(key):
            raise ShapeError(f"every axis of a symbolic tensor stays: write {key}:{int(key) + 1} instead of {key}")
        try:
            chosen = np.arange(size)[self.library.to_host(key) if self.library.accepts(key) else key]
        except (IndexError, TypeError, ValueError) as error:
            raise ShapeError(f"{name} of a tensor of shape {self._shape} cannot be indexed so: {error}") from None
        if chosen.ndim != 1:
            raise ShapeError(f"{name} is selected from with a slice or a vector; got shape {chosen.shape}")
        if self._symbols():
            raise ShapeError("a tensor with symbolic variables has no parts: give the data first")
        if size == 1 and len(chosen) == 1:
            return self
        picked = key if isinstance(key, slice) and (key.step is None or key.step > 0) else chosen
        if axis < rank:
            return self._batch_part(axis, picked, chosen)
        if self.ranges is not None:
            raise ShapeError("a tensor with ranges is not sliced: remove them first (K.ranges = None)")
        if (self.ni, self.nj)[axis - rank] is None:
            raise ShapeError(f"nothing in this tensor of shape {self._shape} depends on {name}: no part of it to take")
        domain = (Domain.I, Domain.J)[axis - rank]
        plain = self._with_positions(domain)

        def part(leaf: Expr, data: Leaf) -> tuple[Any, tuple[int, ...]] | None:
            return (data.array[..., picked, :], data.batch) if leaf.domain == domain else None

        expr, leaves = plain._parts(part)
        facts = {"ni" if domain == Domain.I else "nj": len(chosen)}
        return self._like(expr, leaves, **facts)

    def _batch_part(self, axis: int, picked: Any, chosen: Any) -> Self:
        rank, size = len(self._batch), self._batch[axis]

        def part(leaf: Expr, data: Leaf) -> tuple[Any, tuple[int, ...]] | None:
            own = axis - (rank - len(data.batch))
            if own < 0 or (data.batch[own] == 1 and size > 1):
                return None
            array = data.array[(_ALL,) * own + (picked,)]
            return array, (*data.batch[:own], len(chosen), *data.batch[own + 1 :])

        expr, leaves = self._parts(part)
        return self._like(expr, leaves, batch=(*self._batch[:axis], len(chosen), *self._batch[axis + 1 :]))

    def _parts(self, part: Any) -> tuple[Expr, dict[Expr, Leaf]]:
        """The formula and data, with the array and batch that ``part(leaf, data)`` gives where that is not None."""
        leaves, renamed = {}, {}
        for leaf, data in self._leaves.items():
            if data.array is None:
                raise ShapeError("a tensor with symbolic variables has no parts: give the data first")
            found = part(leaf, data)
            if found is None:
                leaves[leaf] = data
                continue
            array, batch = found
            new, leaves_data = with_array(array, array, batch, leaf.dim, leaf.domain, leaf.kind)
            renamed[leaf], leaves[new] = new, leaves_data
        (expr,) = substitute([self.expr], renamed)
        return expr, leaves

    def _with_positions(self, domain: Domain) -> Self:
        """The same with the index itself, where the formula uses it, as a variable with data."""
        node = position(domain)
        if node not in topological([self.expr]):
            return self
        numbers = self.library.from_host(np.arange(self._sizes[domain == Domain.J])[:, None], self._some_array())
        new, data = with_array(numbers, numbers, (), 1, domain, INDEX)
        (expr,) = substitute([self.expr], {node: new})
        return self._like(expr, {**self._leaves, new: data})

    def _some_array(self) -> Any:
        """An array of the data, None if there is none."""
        arrays = (data.array for data in self._leaves.values())
        return next((one for one in arrays if self.library.accepts(one)), None)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
