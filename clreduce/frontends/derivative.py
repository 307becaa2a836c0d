"""Derivatives of a routine: its program's gradient programs, run on the arrays of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.domain import Domain
from clreduce.frontends.arguments import Arguments, own_index
from clreduce.ir.op import variable
from clreduce.program import Gradient, MapReduce, Source, map_reduce
from clreduce.reductions.reduction import reduction_named
from clreduce.runtime.device import Device

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
    gradients = gradients_of(routine.program, used)
    found = {slot: np.zeros_like(routine.feeds(arguments.arrays)[slot]) for slot in used}
    rows, columns = routine.sizes(arguments)
    for index, arrays in arguments.pieces():
        feeds = routine.feeds(arrays)
        fed = _Feeds(routine, feeds, rows, columns, arguments.dtype, device)
        fed.known(cotangent=cotangent[index], output=None if output is None else output[index])
        for gradient in gradients:
            for slot, part in zip(gradient.wrt, fed.run(gradient), strict=True):
                place = own_index(found[slot].shape, index)
                found[slot][place] += part.reshape(found[slot][place].shape)
    given = arguments.arrays
    return [np.zeros_like(given[at]) if slots[at] is None else found[slots[at]] for at in positions]  # type: ignore[index]


def jvp_of(
    routine: Genred, arguments: Arguments, tangents: Mapping[int, Array], output: Array | None, device: Device
) -> Array:
    """The directional derivative of the result."""
    by_slot = {routine.slot_of(at): value for at, value in tangents.items() if routine.slot_of(at) is not None}
    wrt = tuple(sorted(slot for slot in by_slot if slot is not None))
    gradient = tangent_of(routine.program, wrt)
    rows, columns = routine.sizes(arguments)
    result = np.empty((*arguments.batch, rows, gradient.dims[0]), arguments.dtype)
    for index, arrays in arguments.pieces():
        fed = _Feeds(routine, routine.feeds(arrays), rows, columns, arguments.dtype, device)
        moving = {
            slot: np.ascontiguousarray(value[own_index(value.shape, index)]) for slot, value in by_slot.items()
        }  # fmt: skip
        fed.known(tangents=moving, output=None if output is None else output[index])
        (result[index],) = fed.run(gradient)
    return result


class _Feeds:
    """Where a derivative's program finds its arrays: inputs, cotangent, tangents, and residuals computed on demand."""

    def __init__(
        self, routine: Genred, inputs: Sequence[Array], rows: int, columns: int, dtype: str, device: Device
    ) -> None:
        self.routine, self.inputs, self.rows, self.columns = routine, inputs, rows, columns
        self.dtype, self.device = dtype, device
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
        (result,) = self.routine.plan_of(gradient.program, self.dtype, self.device)(arrays, rows, columns)
        if gradient.summed_rows:
            plan = self.routine.plan_of(_row_sum(result.shape[1]), self.dtype, self.device)
            (result,) = plan([result], 1, rows)
        ends = np.cumsum(gradient.dims)
        return [result[:, end - dim : end] for end, dim in zip(ends, gradient.dims, strict=True)]

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
            plan = self.routine.plan_of(residual, self.dtype, self.device)
            self._residuals = plan(self.inputs, self.rows, self.columns)
        return self._residuals[source.number]
