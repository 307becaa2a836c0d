"""Derivatives of a routine: its program's gradient programs, run on the arrays of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.domain import Domain
from clreduce.frontends.arguments import Arguments
from clreduce.ir.expr import INDEX
from clreduce.ir.op import variable
from clreduce.program import Gradient, MapReduce, Source, map_reduce
from clreduce.reductions.reduction import reduction_named
from clreduce.runtime.device import Device
from clreduce.runtime.ranges import Ranges

if TYPE_CHECKING:
    from clreduce.frontends.genred import Genred

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
    routine: Genred,
    arguments: Arguments,
    cotangent: Array,
    positions: Sequence[int],
    output: Array | None,
    device: Device,
) -> list[Array]:
    """The gradient in each argument of ``positions``, as an array of that argument's shape."""
    slots = {at: routine.slot_of(at) for at in positions}
    used = tuple(sorted({slot for slot in slots.values() if slot is not None}))
    fed = _Feeds(routine, arguments, device)
    fed.known(cotangent=cotangent, output=output)
    found = {}
    for gradient in gradients_of(routine.program, used):
        for slot, part in zip(gradient.wrt, fed.run(gradient), strict=True):
            found[slot] = _summed_to(fed.inputs[slot].shape, part, len(arguments.batch))
    given = arguments.arrays
    return [np.zeros_like(given[at]) if slots[at] is None else found[slots[at]] for at in positions]  # type: ignore[index]


def jvp_of(
    routine: Genred, arguments: Arguments, tangents: Mapping[int, Array], output: Array | None, device: Device
) -> Array:
    """The directional derivative of the result, of shape (batch.., M, D)."""
    by_slot = {routine.slot_of(at): np.ascontiguousarray(value) for at, value in tangents.items()}
    wrt = tuple(sorted(slot for slot in by_slot if slot is not None))
    fed = _Feeds(routine, arguments, device)
    fed.known(tangents=by_slot, output=output)
    (result,) = fed.run(tangent_of(routine.program, wrt))
    return result


def _summed_to(shape: tuple[int, ...], gradient: Array, batch: int) -> Array:
    """A gradient per index of a batch of that rank, added up over the dimensions in which its argument has size 1."""
    shared = tuple(axis for axis in range(batch) if shape[axis] == 1 != gradient.shape[axis])
    return np.ascontiguousarray(gradient.sum(shared) if shared else gradient).reshape(shape)


class _Feeds:
    """Where a derivative's program finds its arrays: inputs, cotangent, tangents, and residuals computed on demand."""

    def __init__(self, routine: Genred, arguments: Arguments, device: Device) -> None:
        self.routine, self.batch, self.dtype, self.device = routine, arguments.batch, arguments.dtype, device
        self.inputs = routine.feeds(arguments.arrays)
        self.rows, self.columns = routine.sizes(arguments)
        self.arguments = arguments
        self._cotangent: Array | None = None
        self._tangents: Mapping[Any, Array] = {}
        self._residuals: tuple[Array, ...] | None = None

    def known(
        self, cotangent: Array | None = None, tangents: Mapping[Any, Array] | None = None, output: Array | None = None
    ) -> None:
        """Supply what the caller gave. ``output`` spares a residual where the reduction is its own residual."""
        self._cotangent = None if cotangent is None else np.ascontiguousarray(cotangent)
        self._tangents = tangents or {}
        if output is not None and self.routine.program.reduction.residual == self.routine.reduction_op:
            self._residuals = (np.ascontiguousarray(output),)

    def run(self, gradient: Gradient) -> list[Array]:
        """The parts of a gradient program's output, one per slot (or the one result of forward mode)."""
        rows, columns = (self.columns, self.rows) if gradient.flipped else (self.rows, self.columns)
        arrays = [self._array(source) for source in gradient.sources]
        ranges = self.routine.ranges_of(self.arguments, gradient.flipped)
        if ranges is not None and any(slot.kind == INDEX for slot in gradient.program.slots):
            ranges = ranges.once()  # the terms that an index selects, however often they were offered
        (result,) = self._run(gradient.program, arrays, rows, columns, ranges)
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
            program = self.routine.program
            residual = MapReduce(
                program.values, reduction_named(program.reduction.residual, program.reduction.count), program.slots
            )
            ranges = self.routine.ranges_of(self.arguments)
            self._residuals = self._run(residual, self.inputs, self.rows, self.columns, ranges)
        return self._residuals[source.number]
