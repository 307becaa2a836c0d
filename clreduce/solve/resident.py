"""A linear system whose data and vectors stay on the device of the caller's arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from clreduce.call.arguments import Arguments
from clreduce.call.derivative import Derivative
from clreduce.call.evaluation import together
from clreduce.call.executor import Executor
from clreduce.call.routine import Routine
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.region import Region
from clreduce.runtime.resident import first_resident, place_of_arrays
from clreduce.solve.conjugate import ConjugateGradients
from clreduce.solve.iteration import Iteration, SystemTask
from clreduce.solve.metric import weights_of
from clreduce.solve.resident_conjugate import ResidentConjugateGradients, layout_of
from clreduce.solve.resident_product import ResidentProduct
from clreduce.solve.system import System
from clreduce.solve.vectors import Space, Vector
from clreduce.typing import Array


class ResidentSystem(System):
    """Products of alpha + K with a `Vector`, in float64 if the device has that.

    No vector is copied to the host; it reads only sums over rows, a number for each system.
    """

    def __init__(
        self,
        routine: Routine,
        unknown: int,
        arguments: Arguments,
        executor: Executor,
        alpha: float | Array,
        product: Callable[[Array], Array] | None = None,
    ) -> None:
        super().__init__(routine, unknown, arguments, executor, alpha, product)
        place = place_of_arrays(arguments.arrays)
        self.space = Space(place, np.dtype("float64" if place.device.facts.has_double else arguments.dtype))
        self._feeds = routine._in_slots(arguments.arrays)

    def iteration(self, solver: type[Iteration], task: SystemTask) -> Iteration:
        layout = layout_of(task, self) if solver is ConjugateGradients else None
        return solver(task) if layout is None else ResidentConjugateGradients(task, self, layout)

    @cached_property
    def repeated_product(self) -> ResidentProduct:
        """Products of K with a vector, which is written into one array each time."""
        return ResidentProduct(self.space.place, self._evaluation, self._feeds, self.slot, self.shape)

    def vector(self, array: Any) -> Any:
        if isinstance(array, np.ndarray):  # one number for all rows
            array = self.routine.library.from_host(array, first_resident(self.arguments.arrays))
        return self.space.vector(array, self.shape)

    def solved(self, solution: Any) -> Any:
        return self.vector(solution)

    def zeros(self) -> Any:
        return self.space.zeros(self.shape)

    def product(self, vector: Any) -> Any:
        rounded = self._rounded(vector)
        (product,) = self._evaluation(self._with_vector(rounded))
        return self._shifted(product, vector)

    def transposed_product(self, vector: Any) -> Any:
        rounded = self._rounded(vector)
        arrays = self._with_vector(rounded)  # K is linear: its gradient is the same everywhere
        gradients = Derivative(self._evaluation, arrays, together).vjp({0: rounded}, [self.slot])
        return self._shifted(gradients[self.slot], vector)

    def _with_vector(self, vector: Any) -> list[Any]:
        """The arrays of a product, in which ``vector`` replaces the unknown."""
        return [vector if slot == self.slot else array for slot, array in enumerate(self._feeds)]

    @cached_property
    def _evaluation(self) -> Any:
        return self.routine._evaluation_of(self.arguments, self.executor)

    def _rounded(self, vector: Vector) -> Any:
        """The vector in the precision of the data; the vector itself is rounded as well."""
        rounded = vector.astype(self.dtype)
        if self.dtype != self.space.dtype:
            vector[...] = self.space.vector(rounded, self.shape)
        return rounded

    def _shifted(self, product: Any, vector: Vector) -> Vector:
        result = Vector(self.space, ("row", self.shape[-1]), (product,), self.shape)
        if product.dtype != self.space.dtype:
            result = self.space.vector(product, self.shape)
        return result + self.alpha * vector if np.any(self.alpha) else result

    @cached_property
    def metric(self) -> Any:
        weights = weights_of(self.routine.program.values[0], self.unknown)
        if weights is None:
            return None
        program, leaves = map_reduce([weights], "Sum")
        by_row = self._evaluate(program, [self._array(leaf) for leaf in leaves])
        if by_row.max() < 0:
            by_row = -by_row
        least, largest = by_row.min(), by_row.max()
        usable = np.isfinite(by_row).all() and least > 0
        if not usable or largest - least <= 8 * float(np.finfo(self.dtype).eps) * largest:
            return None
        return by_row

    def _array(self, leaf: Any) -> Any:
        return self._feeds[leaf.params[0]]

    def _evaluate(self, program: MapReduce, arrays: Sequence[Any]) -> Any:
        place = self.space.place
        with place.device.at(place):
            plan = self.routine._plan_of(program, self.dtype.name, place.device, bool(self.batch), self.size, 1)
            result: Any = plan.run(arrays, Region(self.size, 1, self.batch))[0]
        return self.space.vector(result, (*self.shape[:-1], result.shape[-1]))
