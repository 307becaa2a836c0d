"""Reductions over axes of a batch alone, which leave a number for each pair."""

from __future__ import annotations

from math import prod
from typing import Any

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.lazy.base import Array
from clreduce.lazy.evaluating import Evaluating
from clreduce.lazy.leaves import Leaf
from clreduce.lazy.parts import MOST_DENSE_BYTES, Part


class Batches(Evaluating[Array]):
    """Reductions over axes of a batch."""

    __slots__ = ()

    def _over_batch(self, name: str, axes: tuple[int, ...], options: dict[str, Any]) -> Any:
        """The reduction ``name`` over the batch axes ``axes``: an array (other batch.., M, N), with D of vectors.

        Each pair (i, j), of each index of the other batch axes, becomes an index of a batch, and ``axes`` become j. So
        one kernel reads the data as they are; only the result has a number for each pair.
        """
        if options.get("out") is not None:
            raise ShapeError("out= needs a reduction over i or j; a reduction over a batch gives a new array")
        rank = len(self._batch)
        others = [axis for axis in range(rank) if axis not in axes]
        batch = (*(self._batch[axis] for axis in others), *self._sizes)
        self._check_dense(f"{name} over a batch: the result", (*batch, self._count), MOST_DENSE_BYTES)
        columns = tuple(self._batch[axis] for axis in axes)
        tensor = self._with_positions(Domain.I)._with_positions(Domain.J)

        def part(leaf: Expr, data: Leaf) -> Part | None:
            if isinstance(data.array, tuple):
                return None
            own = (*(1,) * (rank - len(data.batch)), *data.batch)
            pair = (data.rows if leaf.domain == Domain.I else 1, data.rows if leaf.domain == Domain.J else 1)
            array: Any = data.array.reshape((*own, *pair, leaf.dim))
            array = self.library.permuted(array, (*others, rank, rank + 1, *axes, rank + 2))
            left = (*(own[axis] for axis in others), *pair)
            if all(own[axis] == 1 for axis in axes):
                return Part(array.reshape((*left, leaf.dim)), left, Domain.P)
            array = self.library.broadcast(array, (*left, *columns, leaf.dim))
            return Part(array.reshape((*left, prod(columns), leaf.dim)), left, Domain.J)

        expr, leaves = tensor._with_parts(part)
        wide = tensor._like(expr, leaves, batch=batch, ni=None, nj=prod(columns))
        result = wide._reduce(name, 1, None, None, options, ())
        results = tuple(
            each.reshape((*batch, each.shape[-1]) if self._vectors else batch)
            for each in (result if isinstance(result, tuple) else (result,))
        )
        return results if isinstance(result, tuple) else results[0]
