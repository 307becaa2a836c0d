"""The operator of a linear system (alpha + K) a = b: its product with vectors, its diagonal and its columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from clreduce.call.arguments import Arguments
from clreduce.call.derivative import Derivative
from clreduce.call.evaluation import Evaluation, together
from clreduce.call.executor import Executor
from clreduce.call.routine import Routine
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.coupling import coupled_components
from clreduce.ir.expr import INDEX, Expr, substitute, topological
from clreduce.ir.op import constant, variable
from clreduce.memo import memoised
from clreduce.ops.shape import concat, element, placed_element, repeated
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.region import Region
from clreduce.runtime.repeat import Repeated
from clreduce.runtime.sources import whole
from clreduce.solve.iteration import Iteration, Operator, SystemTask
from clreduce.solve.metric import in_i, weights_of
from clreduce.typing import Array

_CHOSEN = "chosen"
"""The name of the variable that holds the index of a column."""


class System:
    """Products of the operator alpha + K with vectors of shape (batch.., n, E), all in float64 on the host.

    The kernels compute in the data's precision. Arguments are checked and buffers are made once; on a device with
    memory of its own, each product moves one vector there and one back.
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
        """``executor`` computes products. ``alpha`` is a number, or one for each index of the batch: (batch.., 1, 1).

        ``product`` computes K times a vector; None for a prepared call of ``executor``.
        """
        self.routine, self.arguments, self.executor, self.alpha = routine, arguments, executor, alpha
        slot = routine._slot_of(unknown)
        assert slot is not None, "the formula depends on the unknown"
        self.slot, self.unknown = slot, routine.program.slots[slot]
        rows, columns = routine._sizes_of(arguments)
        if rows != columns:
            raise ShapeError(
                f"a system needs as many equations as unknowns: M and N must be equal; got M = {rows} and N = {columns}"
            )
        self.size = rows
        self.dtype, self.batch = np.dtype(arguments.dtype), arguments.batch
        self.shape = (*self.batch, rows, self.unknown.dim)
        self._visiting_product = product
        self._repeated: Repeated | None = None
        self.precondition: Callable[[Array], Array] | None = None
        """The preconditioner, once a solve has made it."""

    def vector(self, array: Array) -> Array:
        """A vector of the iteration, from an array that broadcasts to the shape of the unknown."""
        return np.broadcast_to(array, self.shape).astype(np.float64)

    def solved(self, solution: Array) -> Array:
        """A vector for derivatives, from a solution in the precision of the data."""
        return solution

    def zeros(self) -> Array:
        """A vector of zeros."""
        return np.zeros(self.shape)

    def product(self, vector: Array) -> Array:
        """The product (alpha + K) vector. The vector is rounded, in place, to the precision of the data."""
        if self.dtype != vector.dtype:
            vector[...] = vector.astype(self.dtype)
        result = self._kernel_product(vector).astype(np.float64)
        if np.any(self.alpha):
            result += self.alpha * vector
        return result

    def _kernel_product(self, vector: Array) -> Array:
        if self._visiting_product is not None:
            return self._visiting_product(vector.astype(self.dtype))
        if self._evaluated is not None:
            evaluation, arrays = self._evaluated
            exact = vector.astype(self.dtype)
            return evaluation([exact if n == self.slot else array for n, array in enumerate(arrays)])[0]
        if (
            self._repeated is None or self._repeated.queue is not self._device.queue
        ):  # another thread or profile has its own
            routine, slot = self.routine, self.slot
            arrays = routine._in_slots(self.arguments.arrays)
            arrays[slot] = np.empty(self.shape, self.dtype)
            plan = self._plan(routine.program, self.size)
            self._repeated = Repeated(plan, arrays, slot, Region(self.size, self.size, self.batch))
        return self._repeated(vector)

    @cached_property
    def _evaluated(self) -> tuple[Evaluation, list[Any]] | None:
        """The function that computes K times a vector in blocks or on several devices; None for repeated launches."""
        arrays = self.routine._in_slots(self.arguments.arrays)
        arrays[self.slot] = np.empty(self.shape, self.dtype)
        evaluation = self.routine._evaluation_of(self.arguments, self.executor)
        repeats = self.executor.repeats((evaluation.work, evaluation.prepared, arrays))
        return None if repeats else (evaluation, arrays)

    @cached_property
    def _device(self) -> Device:
        """The device of small computations and of repeated launches."""
        return self.executor.first_device()

    def _plan(self, program: MapReduce, columns: int) -> Any:
        return self.routine._plan_of(program, self.dtype.name, self._device, bool(self.batch), self.size, columns)

    def transposed_product(self, vector: Array) -> Array:
        """The product (alpha + K)^T vector. The vector is rounded in place, as `product` does."""
        vector[...] = vector.astype(self.dtype)
        arguments = self.arguments
        arrays = self.routine._in_slots(arguments.arrays)
        arrays[self.slot] = np.zeros(self.shape, self.dtype)  # K is linear: its gradient is the same everywhere
        evaluation = self.routine._evaluation_of(arguments, self.executor)
        gradients = Derivative(evaluation, arrays, together).vjp({0: vector.astype(self.dtype)}, [self.slot])
        result: Array = gradients[self.slot].astype(np.float64) + self.alpha * vector
        return result

    @cached_property
    def metric(self) -> Array | None:
        """The weights of an inner product in which the formula shows that the operator is symmetric; None for 1.

        They are positive, finite, and of shape (batch.., n, 1 or E).
        """
        weights = weights_of(self.routine.program.values[0], self.unknown)
        if weights is None:
            return None
        program, leaves = map_reduce([weights], "Sum")
        weights_by_row = self._evaluate(program, [self._array(leaf) for leaf in leaves])
        if (weights_by_row < 0).all():  # a sign of the factors is one of the kernel
            weights_by_row = -weights_by_row
        usable = np.isfinite(weights_by_row).all() and (weights_by_row > 0).all()
        if not usable or np.ptp(weights_by_row) <= 8 * float(np.finfo(self.dtype).eps) * weights_by_row.max():
            return None
        return weights_by_row

    def iteration(self, solver: type[Iteration], task: SystemTask) -> Iteration:
        """The iteration of ``solver`` for a task of this system, or of its transpose."""
        return solver(task)

    def weighted(self, task: SystemTask, metric: Array, transposed: bool) -> SystemTask:
        """A task in the inner product with these weights, for the operator or its transpose."""
        if not transposed:
            return replace(task, metric=metric)
        inner = task.precondition
        return replace(
            task, operator=self.transposed(metric), metric=1 / metric,
            precondition=None if inner is None else lambda residual: metric * inner(residual / metric),
        )  # fmt: skip

    def transposed(self, metric: Array | None) -> Operator:
        """The transposed operator. This operator is symmetric in the inner product with the weights ``metric``."""
        return _Transposed(self, metric)

    @property
    def partial(self) -> bool:
        """Whether pairs are left out, so that entries of the matrix are not those of the formula."""
        return self._visiting_product is not None

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The number of the system of each component of the unknown; systems have no unknown in common."""
        return _groups(self.routine.program.values[0], self.unknown)

    @property
    def independent(self) -> bool:
        """Whether each component of the unknown has a system of its own."""
        return len(set(self.groups)) == len(self.groups)

    def diagonal(self) -> Array:
        """The diagonal of K, of shape (batch.., n, E)."""
        program, leaves = _entries(self.routine.program, self.unknown, self.independent, True)
        return self._evaluate(program, [self._array(leaf) for leaf in leaves])

    def column(self, index: Array) -> Array:
        """Column ``index``, of shape batch, of the matrix of each component: an array of shape (batch.., n, E)."""
        program, leaves = _entries(self.routine.program, self.unknown, True, False)
        place = np.asarray(index).reshape((*self.batch, 1, 1))
        arrays = []
        for leaf in leaves:
            if leaf.params[0] == _CHOSEN:
                arrays.append(np.ascontiguousarray(place, np.int64))
                continue
            array = self._array(leaf)
            arrays.append(self._row_of(array, place) if leaf.domain == Domain.J else array)
        return self._evaluate(program, arrays)

    def _row_of(self, array: Array, place: Array) -> Array:
        """One row of an array (batch.., n, D) for each index of the batch."""
        wide = np.broadcast_to(array, (*self.batch, *array.shape[-2:]))
        return np.ascontiguousarray(np.take_along_axis(wide, place, axis=-2))

    def _array(self, leaf: Expr) -> Array:
        slot: int = leaf.params[0]
        return whole(self.routine._in_slots(self.arguments.arrays)[slot])

    def _evaluate(self, program: MapReduce, arrays: Sequence[Array]) -> Array:
        (result,) = self._plan(program, 1)(arrays, self.size, 1, batch=self.batch)
        exact: Array = np.asarray(result, np.float64)
        return exact


class _Transposed:
    """The transpose of a system's operator A: diag(w) A diag(w)^-1, if A is symmetric in the metric w."""

    def __init__(self, system: System, metric: Array | None) -> None:
        self._system, self._metric = system, metric
        self.dtype, self.groups = system.dtype, system.groups

    def product(self, vector: Array) -> Array:
        """The operator times a vector, which is rounded in place."""
        if self._metric is None:
            return self._system.transposed_product(vector)
        scaled = vector / self._metric
        result = self._metric * self._system.product(scaled)
        vector[...] = self._metric * scaled
        return result


@memoised(256)
def _groups(formula: Expr, unknown: Expr) -> tuple[int, ...]:
    return coupled_components(formula, unknown)


@memoised(256)
def _entries(
    program: MapReduce, unknown: Expr, independent: bool, diagonal: bool
) -> tuple[MapReduce, tuple[Expr, ...]]:
    """A program with one column that gives entries of the matrix: its diagonal, or a column of it; and its variables.

    The entry of component k is the formula's component k for the k-th unit vector; if components do not depend on each
    other, it is that for a vector of ones.
    """
    (formula,) = program.values
    dim = unknown.dim
    if independent:
        (entry,) = substitute([formula], {unknown: repeated(constant(1), dim)})
    else:
        units = [substitute([formula], {unknown: placed_element(constant(1), dim, k)})[0] for k in range(dim)]
        entry = concat(*(element(unit, k) for k, unit in enumerate(units)))
    if diagonal:
        return map_reduce([in_i(entry)], "Sum")
    positions = [node for node in topological([entry]) if node.op.name == "position" and node.domain == Domain.J]
    (entry,) = substitute([entry], {node: variable(_CHOSEN, 1, Domain.J, INDEX) for node in positions})
    return map_reduce([entry], "Sum")
