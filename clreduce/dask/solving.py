"""Linear systems with dask arrays: the iteration runs here, its products are graphs.

A solve is computed when it is called, for its steps depend on numbers. The data stay in their chunks, in the memory of
the workers; vectors of the iteration are with the caller, and each product sends one there and gets one back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import dask.array as da
import numpy as np
from dask.base import persist

from clreduce.call.arguments import Arguments
from clreduce.call.derivative import Derivative
from clreduce.call.evaluation import Evaluation
from clreduce.call.executor import Executor
from clreduce.call.work import Work
from clreduce.dask.graphs import GRAPHS
from clreduce.dask.routine import GraphRoutine
from clreduce.errors import NotDifferentiableError
from clreduce.program import MapReduce
from clreduce.runtime.region import Region
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.options import SolveOptions
from clreduce.solve.solver import Solver
from clreduce.solve.system import System
from clreduce.typing import Array


class GraphSystem(System):
    """A system whose data are dask arrays; b alone is on the host."""

    def __init__(
        self, routine: GraphSolver, arguments: Arguments, executor: Executor, alpha: float, rows: tuple[int, ...]
    ) -> None:
        """``rows`` are the chunks of b along its rows."""
        super().__init__(routine, routine.unknown, arguments, executor, alpha, self._computed_product)
        self._rows = rows

    def _computed_product(self, vector: Array) -> Array:
        evaluation, arrays = self._with_vector(vector)
        return _computed(GRAPHS.run(evaluation, arrays)[0])

    def transposed_product(self, vector: Array) -> Array:
        vector[...] = vector.astype(self.dtype)
        evaluation, arrays = self._with_vector(np.zeros(self.shape, self.dtype))
        cotangents = {0: self._in_chunks(vector.astype(self.dtype))}
        gradients = Derivative(evaluation, arrays, GRAPHS.run_all).vjp(cotangents, [self.slot])
        found: Array = _computed(gradients[self.slot]).astype(np.float64) + self.alpha * vector
        return found

    @property
    def partial(self) -> bool:
        return self.arguments.ranges is not None

    def _with_vector(self, vector: Array) -> tuple[Evaluation, list[da.Array]]:
        """The product, and its arrays with a vector in place of the unknown."""
        arrays = self.routine._in_slots(self.arguments.arrays)
        arrays[self.slot] = self._in_chunks(vector)
        return self.routine._evaluation_of(self.arguments, self.executor), arrays

    def _in_chunks(self, vector: Array) -> da.Array:
        """A vector of the iteration, in the chunks of b."""
        return da.from_array(vector, chunks=(*vector.shape[:-2], self._rows, -1), name=False)

    def _row_of(self, array: Any, place: Array) -> Any:
        wide = da.broadcast_to(array, (*self.batch, *array.shape[-2:]))
        numbers = [int(place[index].item()) for index in np.ndindex(*self.batch)]
        flat = wide.reshape((len(numbers), *wide.shape[-2:])) if self.batch else wide[None]
        rows = [flat[n, number : number + 1] for n, number in enumerate(numbers)]
        return da.stack(rows).reshape((*self.batch, 1, array.shape[-1]))

    def _evaluate(self, program: MapReduce, arrays: Sequence[Any]) -> Array:
        work = Work(program, self.routine.options, Region(self.size, 1, self.batch), self.dtype.name)
        # Data of i and of j meet here as data of i, and may have other chunks.
        whole = [da.asarray(array).rechunk({-2: self._rows} if array.shape[-2] > 1 else {}) for array in arrays]
        (found,) = GRAPHS.run(Evaluation(work, self.executor), whole)
        exact: Array = _computed(found).astype(np.float64)
        return exact


class GraphSolver(GraphRoutine, Solver):
    """A solver whose products are graphs."""

    def _solution(
        self, arguments: Arguments, executor: Executor, alpha: Any, chosen: SolveOptions, x0: Any
    ) -> tuple[Any, SolveInfo]:
        right = arguments.arrays[self.unknown]
        arrays = list(persist(*arguments.arrays))
        arrays[self.unknown] = self.library.to_host(right)
        system = GraphSystem(
            self, replace(arguments, arrays=tuple(arrays)), executor, self._ridge(alpha), right.chunks[-2]
        )
        start = None if x0 is None else self._checked_vector(system, x0, "x0")
        solution, how = chosen.run(system, self.right_hand_side(system), start)
        return da.from_array(solution, chunks=(*solution.shape[:-2], right.chunks[-2], -1), name=False), how

    def _derivative_of_solution(self, *_: Any) -> NoReturn:
        raise NotDifferentiableError(
            "a solve of dask arrays has no derivative: solve once more for the cotangent and differentiate the product "
            "by Genred.vjp, or convert the data and use clreduce.numpy or clreduce.torch"
        )


def _computed(array: da.Array) -> Array:
    found: Array = array.compute()
    return found
