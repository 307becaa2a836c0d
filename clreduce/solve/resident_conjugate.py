"""Conjugate gradients with vectors and coefficients on a device; the host seldom waits for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.runtime import descent
from clreduce.runtime.descent import Buffers, Descent, Layout
from clreduce.runtime.launch import completed
from clreduce.runtime.resident_kernels import buffer_of, buffer_with, read
from clreduce.solve.conjugate import ConjugateGradients, ConjugateRecurrence
from clreduce.solve.iteration import SystemTask, ratio
from clreduce.solve.preconditioners import Diagonal
from clreduce.solve.vectors import Vector
from clreduce.typing import Array

if TYPE_CHECKING:
    from clreduce.solve.resident import ResidentSystem

Result = TypeVar("Result")

_MOST_STEPS = 8
"""Steps that are launched before the host reads the results of the first of them."""
_WORTH_A_WAIT = 4e-3
"""Seconds of products for which the host waits together."""


def layout_of(task: SystemTask, system: ResidentSystem) -> Layout | None:
    """The layout of the kernels; None if they cannot be used, so that each expression of vectors is a kernel."""
    inner = task.precondition
    if task.operator is not system or not (inner is None or isinstance(inner, Diagonal)):
        return None
    coupled = None if system.independent else system.groups
    return descent.layout_of(
        system.space.place.device.facts, system.shape[-1], coupled, system.space.dtype.name, system.dtype.name,
        inner is not None, task.metric is not None,
    )  # fmt: skip


class ResidentConjugateGradients(ConjugateGradients):
    """The iteration of `ConjugateGradients`, with one kernel for all work after a product.

    Several steps are launched in a row. They leave records of their sums, which the host reads later, and from which it
    draws the conclusions that the device has drawn. A system that is solved does not move any more.
    """

    x: Any
    """The iterate: a `Vector`, or the buffer of a descent, before its residual has been computed."""

    def __init__(self, task: SystemTask, system: ResidentSystem, layout: Layout) -> None:
        super().__init__(task)
        self._system, self._space, self._product = system, system.space, system.repeated_product
        self._place, self._order = system.space.place, self._product.order
        self._kernels = Descent(self._place, layout, system.shape)
        self._coefficients = (*system.shape[:-2], 1, system.shape[-1])
        """The shape of a number for each system."""
        self._threshold = np.square(self.eps * self.scale).astype(self._space.dtype)
        """The squared norms at which residuals are small enough, in the precision in which the device compares."""
        self._records = self._buffer(descent.RECORDS * self.scale.size)
        inner = task.precondition.inverse if isinstance(task.precondition, Diagonal) else None
        self._fixed = [self._records if each is None else self._in_full(each) for each in (inner, task.metric)]
        self._rz: Array = np.zeros(self._coefficients)
        self._active: Array = np.zeros(self._coefficients, bool)
        self._followed = 0
        """The number of steps of this descent whose records the host has read."""
        self._tables = self._new_tables()
        most = min(_MOST_STEPS, int(_WORTH_A_WAIT / max(self._product.seconds, 1e-9)))
        self._most_steps = 1 if task.reports_each else most
        """Steps that are launched together; fewer than 2 if a product takes longer than a wait."""

    # ---------------------------------------------------------------------------------------------------- residuals

    def residual(self) -> tuple[Any, Array]:
        with self._place.device.at(self._place):
            x = self._place.device.new_array(self._system.shape, self._space.dtype)
        r = self._buffer(x.size)
        squares = self._completed(self._launch_residual, x.base_data, r)
        self.x = Vector(self._space, ("row", x.shape[-1]), (x,), x.shape)
        return r, self.relative(self.x, squares)

    def _launch_residual(self, x: Any, r: Any) -> Array:
        p, q = self._product.vector.base_data, self._product.result.base_data
        self._kernels.rounded(self._order, self._data(self.x), p)
        self._product.launch()
        self._kernels.residual(self._order, self._data(self.b), (x, r, p, q), self._tables)
        squares: Array = self._read(descent.START, 1)[0]
        return squares

    # ------------------------------------------------------------------------------------------------------ descent

    def descend(self, residual: Any, active: Array) -> None:
        product, size = self._product, self.b.size
        x, r = self._buffer(size), self._buffer(size)
        first = tuple(self._buffer(size, self._system.dtype) for _ in range(2))
        self.recurrences.append(ConjugateRecurrence())
        self._active, self._followed = active, 0
        vectors = (x, r, product.vector.base_data, product.result.base_data)
        self._completed(self._iterate, residual, vectors, first)
        self.x = x

    def _iterate(self, residual: Any, vectors: Buffers, first: Buffers) -> None:
        """Descend from the iterate and its residual.

        ``vectors`` are the buffers of x, r, p and K p; ``first`` are buffers for copies of the first p and K p.
        """
        kernels, order, limit = self._kernels, self._order, self.task.maxiter - self.count
        self._tables = self._new_tables()
        start: Any = self.x
        is_zero = isinstance(start, Vector) and start.is_zero
        kernels.begin(order, None if is_zero else self._data(start), self._data(residual), vectors[:3], self._tables)
        self._launch_steps(1, vectors, first)
        at_once = min(limit, self._most_steps) >= 2
        if at_once:
            self._launch_second_product(vectors, first)
        records = self._read(0, descent.STEP + 3)
        self._rz = records[descent.START]
        self._check_finite(self._rz)
        self.check_preconditioner(self._rz, self._active)
        if not self._follow(records[descent.STEP :]) or limit < 2:
            return
        if not at_once:
            self._launch_second_product(vectors, first)
            records = self._read(0, descent.STEP)
        sums = list(records[descent.SYMMETRY : descent.STEP])
        self.judge_symmetry(sums, lambda: self.noise(self._copied(first[0]), self._copied(vectors[2])), self._active)
        kernels.step(order, (*vectors, *first, *self._tables))
        self._go_on(vectors, first, limit)

    def _launch_second_product(self, vectors: Buffers, first: Buffers) -> None:
        """Launch the product of the second step, and the sums that show whether the operator is symmetric."""
        self._product.launch()
        self._kernels.symmetry(self._order, vectors[2:], first, self._tables)

    def _go_on(self, vectors: Buffers, first: Buffers, limit: int) -> None:
        """Launch steps up to ``limit`` and read their records; one step is launched already."""
        launched = self._followed + 1
        while launched > self._followed:
            records = self._records_of(launched - self._followed)
            ahead = not self.task.reports_each and self._goes_on(records)
            if ahead:  # so that the device need not wait for the host
                launched += self._launch_some(limit - launched, records, vectors, first)
            if not (self._follow_all(records) if ahead else self._follow(records)):
                return
            if not ahead:
                launched += self._launch_some(limit - launched, records, vectors, first)

    def _records_of(self, count: int) -> Array:
        """The records of the next steps."""
        number = self._followed % descent.RING
        until_end = min(count, descent.RING - number)
        records = self._read(descent.STEP + 3 * number, 3 * until_end)
        if until_end < count:
            return np.concatenate([records, self._read(descent.STEP, 3 * (count - until_end))])
        return records

    def _launch_some(self, limit: int, records: Array, vectors: Buffers, first: Buffers) -> int:
        """Launch up to ``limit`` steps after ``records``, and return their number.

        They are few where a product takes long, or where this descent seems to end soon.
        """
        count = self._most_steps
        if count > 1:
            with np.errstate(divide="ignore", invalid="ignore"):
                left = float(np.log((records[-2] / self._threshold)[self._active].max(initial=1.0)))
            gained = -2 * math.log(self.eps) - left if 0 < self.eps < 1 else 0.0
            if gained > 0 and math.isfinite(left):
                count = min(count, int(left * self.count / gained / 2))
        count = min(max(1, count), limit)
        self._launch_steps(count, vectors, first)
        return count

    def _launch_steps(self, count: int, vectors: Buffers, first: Buffers) -> None:
        """Launch products, each followed by its step."""
        arguments = (*vectors, *first, *self._tables)
        for _ in range(count):
            self._product.launch()
            self._kernels.step(self._order, arguments)
        self._place.queue.flush()

    # --------------------------------------------------------------------------------------------------- conclusions

    def _goes_on(self, records: Array) -> bool:
        """Whether some system is left after each of the steps of these records."""
        pq, rr, rz = records[::3], records[1::3], records[2::3]
        usual = np.isfinite(records).all() and ((pq > 0) & (rz > 0) | ~self._active).all()
        return bool(usual and (self._active & (rr > self._threshold).all(axis=0)).any())

    def _follow_all(self, records: Array) -> bool:
        """Draw the conclusions from records for which `_goes_on` holds; return whether the descent goes on."""
        recurrence, pq, rr, rz = self.recurrences[-1], records[::3], records[1::3], records[2::3]
        after = np.logical_and.accumulate(rr > self._threshold, axis=0) & self._active
        active = np.concatenate([self._active[None], after[:-1]])
        before = np.concatenate([self._rz[None], rz[:-1]])
        recurrence.lengths += list(ratio(before, pq, active))
        recurrence.turns += list(ratio(rz, before, after))
        norms = np.divide(np.sqrt(rr), self.scale, out=np.zeros(rr.shape), where=self.scale > 0)
        self._rz, self._active = rz[-1], after[-1]
        for step in range(len(rr)):
            self.count += 1
            self._followed += 1
            if not self.noted(norms[step], active[step]):
                return False
        return True

    def _follow(self, records: Array) -> bool:
        """Draw the conclusions from the records of steps; return whether the descent goes on."""
        recurrence, has_failed = self.recurrences[-1], False
        for pq, rr, rz in zip(records[::3], records[1::3], records[2::3], strict=True):
            self.count += 1
            self._followed += 1
            self._check_finite(pq)
            failing = self._active & ~(pq > 0)
            if failing.any():
                p = self._copied(self._product.vector.base_data)  # failing systems keep theirs
                q = self._copied(self._product.result.base_data) + self._system.alpha * p
                self.check_definite(p, q, pq, failing)
                self._active, has_failed = self._active & ~failing, True
            recurrence.lengths.append(ratio(self._rz, pq, self._active))
            going = self.noted(self._norms(rr), self._active)
            self._active = self._active & (rr > self._threshold)
            if not going or not self._active.any():
                return False
            self._check_finite(rz)
            recurrence.turns.append(ratio(rz, self._rz, self._active))
            self._rz = rz
            self.check_preconditioner(rz, self._active)
        if has_failed:
            self._tables = self._new_tables()
        return True

    # ------------------------------------------------------------------------------------------------------- arrays

    def _completed(self, launch: Callable[..., Result], *arguments: Any) -> Result:
        """The result of ``launch``, which launches kernels on the device and waits for them."""
        with self._place.device.at(self._place):
            result = completed(self._product.memory, launch, *arguments)
            self._product.memory.finish()
        return result

    def _read(self, first: int, count: int) -> Array:
        """Records, once all launches are done, in float64, of shape (count, batch.., 1, E)."""
        dtype, shape = self._space.dtype, (count, *self._coefficients)
        start = first * self.scale.size * dtype.itemsize
        return read(self._order, self._place.queue, self._records, start, shape, dtype).astype(np.float64, copy=False)

    def _buffer(self, size: int, dtype: np.dtype[Any] | None = None) -> Any:
        """A buffer for ``size`` numbers."""
        return buffer_of(self._place, size * (dtype or self._space.dtype).itemsize)

    def _data(self, vector: Any) -> Any:
        """The buffer of a vector, for which the next launch waits; a buffer is returned as it is."""
        if not isinstance(vector, Vector):
            return vector
        array = vector.array
        self._order.after(array)
        return array.base_data

    def _in_full(self, vector: Any) -> Any:
        """The buffer of a vector with all its columns, even if the vector has one column for all."""
        return self._data(self._space.vector(vector.array, self._system.shape))

    def _copied(self, data: Any) -> Any:
        """A copy of numbers in the precision of data, as a vector."""
        return self._space.vector(self._product.vector._new_with_changes(data, 0), self._system.shape)

    def _new_tables(self) -> Buffers:
        """The tables that kernels read and write in addition to vectors: see `Descent`."""
        rows = np.zeros((5, *self._coefficients), self._space.dtype)
        rows[descent.THRESHOLD], rows[descent.ALPHA], rows[descent.RZ] = self._threshold, self._system.alpha, self._rz
        rows[descent.STATUS] = np.where(self._active, descent.ACTIVE, descent.OFF)
        rows[descent.STEPS] = self._followed
        return (*self._fixed, buffer_with(self._place, rows), self._records)
