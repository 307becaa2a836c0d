"""Derivatives of a routine: its program's gradient programs, run on the arrays of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.domain import Domain
from clreduce.frontends.arguments import Arguments
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable
from clreduce.program import Gradient, MapReduce, Source, map_reduce
from clreduce.runtime.device import Device
from clreduce.runtime.ranges import Ranges

if TYPE_CHECKING:
    from clreduce.frontends.genred import Routine

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=512)
def gradients_of(program: MapReduce, wrt: tuple[int, ...]) -> tuple[Gradient, ...]:
    """The gradient programs for these slots, built once per program."""
    return tuple(program.vjp(wrt))


@lru_cache(maxsize=512)
def tangent_of(program: MapReduce, wrt: tuple[int, ...]) -> Gradient:
    """The forward-mode program for these slots, built once per program."""
    return program.jvp(wrt)


@lru_cache(maxsize=64)
def _row_sum(dim: int) -> MapReduce:
    return map_reduce([variable(0, dim, Domain.J)], "Sum")[0]


def vjp_of(
    routine: Routine,
    arguments: Arguments,
    cotangent: Array,
    positions: Sequence[int],
    output: tuple[Array, ...] | None,
    device: Device,
) -> list[Array]:
    """The gradient in each argument of ``positions``, as an array of that argument's shape."""
    fed = _Feeds(routine, arguments, device)
    fed.known(cotangent=cotangent, output=output)
    return _per_argument(routine, arguments, positions, fed.run)


def jvp_of(
    routine: Routine,
    arguments: Arguments,
    tangents: Mapping[int, Array],
    output: tuple[Array, ...] | None,
    device: Device,
) -> Array:
    """The directional derivative of the first result, of shape (batch.., M, D)."""
    fed = _Feeds(routine, arguments, device)
    fed.known(tangents=tangents, output=output)
    return fed.run(tangent_of(routine.program, fed.moving))[0]


def hvp_of(
    routine: Routine,
    arguments: Arguments,
    cotangent: Array,
    tangents: Mapping[int, Array],
    positions: Sequence[int],
    output: tuple[Array, ...] | None,
    device: Device,
) -> list[Array]:
    """The derivative of `vjp_of` along ``tangents``, of the residuals too, for a fixed cotangent."""
    fed = _Feeds(routine, arguments, device)
    fed.known(cotangent=cotangent, tangents=tangents, output=output)
    return _per_argument(routine, arguments, positions, fed.run_along)


def _per_argument(
    routine: Routine, arguments: Arguments, positions: Sequence[int], run: Callable[[Gradient], list[Array]]
) -> list[Array]:
    """What ``run`` makes of the gradient programs, for each argument of ``positions``; zeros for what isn't used."""
    slots = {at: routine.slot_of(at) for at in positions}
    used = tuple(sorted({slot for slot in slots.values() if slot is not None}))
    shapes = {slot: array.shape for slot, array in enumerate(routine.feeds(arguments.arrays))}
    found = {}
    for gradient in gradients_of(routine.program, used):
        for slot, part in zip(gradient.wrt, run(gradient), strict=True):
            found[slot] = summed_to(shapes[slot], part, len(arguments.batch))
    given = arguments.arrays
    return [np.zeros_like(given[at]) if slots[at] is None else found[slots[at]] for at in positions]  # type: ignore[index]


def summed_to(shape: tuple[int, ...], gradient: Array, batch: int) -> Array:
    """A gradient per index of a batch of that rank, added up over the dimensions in which its argument has size 1."""
    shared = tuple(axis for axis in range(batch) if shape[axis] == 1 != gradient.shape[axis])
    return np.ascontiguousarray(gradient.sum(shared) if shared else gradient).reshape(shape)


class _Feeds:
    """Where a derivative's program finds its arrays: inputs, cotangent, tangents, and residuals computed on demand."""

    def __init__(self, routine: Routine, arguments: Arguments, device: Device) -> None:
        self.routine, self.batch, self.dtype, self.device = routine, arguments.batch, arguments.dtype, device
        self.inputs = routine.feeds(arguments.arrays)
        self.rows, self.columns = routine.sizes(arguments)
        self.arguments = arguments
        self._cotangent: Array | None = None
        self._tangents: dict[int, Array] = {}
        self._residuals: tuple[Array, ...] | None = None
        self._residual_tangents: dict[int, Array] | None = None

    def known(
        self,
        cotangent: Array | None = None,
        tangents: Mapping[int, Array] | None = None,
        output: tuple[Array, ...] | None = None,
    ) -> None:
        """Supply what the caller gave. ``output`` spares a residual where the reduction is its own residual."""
        self._cotangent = cotangent
        for at, value in (tangents or {}).items():
            slot = self.routine.slot_of(at)
            if slot is not None:
                self._tangents[slot] = np.ascontiguousarray(value)
        if self.routine.program.residual == self.routine.program:
            self._residuals = output

    @property
    def moving(self) -> tuple[int, ...]:
        """The slots that have a tangent."""
        return tuple(sorted(self._tangents))

    def run(self, gradient: Gradient) -> list[Array]:
        """The parts of a gradient program's output, one per slot (one per result in forward mode)."""
        arrays = [self._array(source) for source in gradient.sources]
        return self._parts(gradient, gradient.program, arrays)

    def run_along(self, gradient: Gradient) -> list[Array]:
        """The same parts' derivatives along the tangents."""
        tangents = {n: self._tangent(source) for n, source in enumerate(gradient.sources)}
        moving = tuple(n for n, tangent in tangents.items() if tangent is not None)
        second = tangent_of(gradient.program, moving)
        arrays = [
            tangents[source.number] if source.role == "tangent" else self._array(gradient.sources[source.number])
            for source in second.sources
        ]
        return self._parts(gradient, second.program, arrays)

    def _parts(self, gradient: Gradient, program: MapReduce, arrays: Sequence[Any]) -> list[Array]:
        """``program`` on ``arrays``, added up and cut as ``gradient`` says."""
        rows, columns = (self.columns, self.rows) if gradient.flipped else (self.rows, self.columns)
        ranges = self.routine.ranges_of(self.arguments, gradient.flipped)
        if ranges is not None and any(slot.kind == INDEX for slot in gradient.program.slots):
            ranges = ranges.once()  # the terms that an index selects, however often they were offered
        (result,) = self._run(program, arrays, rows, columns, ranges)
        if gradient.summed_rows:
            (result,) = self._run(_row_sum(result.shape[-1]), [result], 1, rows, None)
        ends = np.cumsum(gradient.dims)
        return [result[..., end - dim : end] for end, dim in zip(ends, gradient.dims, strict=True)]

    def _run(
        self, program: MapReduce, arrays: Sequence[Array], rows: int, columns: int, ranges: Ranges | None
    ) -> tuple[Array, ...]:
        plan = self.routine.plan_of(program, self.dtype, self.device, bool(self.batch), rows, columns, ranges)
        return plan(arrays, rows, columns, batch=self.batch, ranges=ranges)

    def _array(self, source: Source) -> Array:
        if source.role == "input":
            return self.inputs[source.number]
        if source.role == "tangent":
            return self._tangents[source.number]
        if source.role == "cotangent":
            assert self._cotangent is not None
            return self._cotangent
        if self._residuals is None:
            residual = self.routine.program.residual
            assert residual is not None
            ranges = self.routine.ranges_of(self.arguments)
            self._residuals = self._run(residual, self.inputs, self.rows, self.columns, ranges)
        return self._residuals[source.number]

    def _tangent(self, source: Source) -> Array | None:
        """How what a source feeds changes along the tangents; None if it doesn't."""
        if source.role == "input":
            return self._tangents.get(source.number)
        if source.role == "cotangent":
            return None
        if self._residual_tangents is None:
            # A residual program is its own residual: it reads what has been computed.
            residual = self.routine.program.residual
            assert residual is not None
            parts = self.run(tangent_of(residual, self.moving))
            found = zip(residual.real_outputs, map(np.ascontiguousarray, parts), strict=True)
            self._residual_tangents = dict(found)
        return self._residual_tangents.get(source.number)
