"""Other data behind the same formula: how slices, dense arrays and reductions over a batch are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clreduce.call.estimate import memory_text
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import INDEX, Expr, substitute, topological
from clreduce.ir.op import position
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.leaves import Leaf, with_array

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_DENSE_BYTES = 1 << 30
"""Memory that a result with a number for each pair takes at most unless told otherwise: 1 GiB."""
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, None: 8}


class Part(NamedTuple):
    """The data that a variable has in another tensor."""

    array: Any
    batch: tuple[int, ...]
    domain: Domain


class PartMethods(Recorded[Array]):
    """Methods that give the variables of a tensor other data."""

    __slots__ = ()

    def _with_parts(self, part: Callable[[Expr, Leaf], Part | None]) -> tuple[Expr, dict[Expr, Leaf]]:
        """The formula and data, with those that ``part(leaf, data)`` returns for a variable; None keeps its data."""
        leaves, renamed = {}, {}
        for leaf, data in self._leaves.items():
            if data.array is None:
                raise ShapeError("a tensor with symbolic variables has no entries yet: make it of arrays first")
            chosen = part(leaf, data)
            if chosen is None:
                leaves[leaf] = data
                continue
            new, new_data = with_array(chosen.array, chosen.array, chosen.batch, leaf.dim, chosen.domain, leaf.kind)
            renamed[leaf], leaves[new] = new, new_data
        (expr,) = substitute([self.expr], renamed)
        return expr, leaves

    def _with_positions(self, domain: Domain) -> Self:
        """This tensor with the index as a variable with data, if the formula uses the index."""
        node = position(domain)
        if node not in topological([self.expr]):
            return self
        numbers: Any = self.library.from_host(np.arange(self._sizes[domain == Domain.J])[:, None], self._some_array())
        new, data = with_array(numbers, numbers, (), 1, domain, INDEX)
        (expr,) = substitute([self.expr], {node: new})
        return self._like(expr, {**self._leaves, new: data})

    def _some_array(self) -> Any:
        """An array of the data, None if there is none."""
        arrays = (data.array for data in self._leaves.values())
        return next((array for array in arrays if self.library.accepts(array)), None)

    def _bytes_of(self, shape: tuple[int, ...]) -> int:
        """Bytes of an array of this shape, with the dtype of the tensor."""
        return int(np.prod(shape, dtype=object)) * (1 if self.is_condition else _BYTES[self._dtype_name])

    def _check_dense(self, what: str, shape: tuple[int, ...], most: int | None) -> None:
        """Raise `ShapeError` if an array of this shape takes more than ``most`` bytes, or if the tensor has ranges."""
        size = self._bytes_of(shape)
        if most is not None and size > most:
            raise ShapeError(
                f"{what} of shape {shape} takes {memory_text(size)}, more than max_bytes={memory_text(most)}; "
                "reduce the tensor over i or j, or take a part of it, such as K[:1000, :1000]"
            )
        if self.ranges is not None:
            raise ShapeError("a tensor with ranges has no dense form: remove them first (K.ranges = None)")
