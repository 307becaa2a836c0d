"""Derivatives of an evaluation: its program's gradient programs, run on the arrays of a call.

Arrays are NumPy's or any library's that follows a computation, and all that computes goes through ``run``: so where
``run`` can be differentiated, so can what is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeAlias

from clreduce.frontends.evaluation import Evaluation
from clreduce.ir.expr import INDEX
from clreduce.program import Gradient, MapReduce, Source

Arrays: TypeAlias = Mapping[int, Any]
Run: TypeAlias = Callable[[Evaluation, Sequence[Any]], tuple[Any, ...]]


@lru_cache(maxsize=1024)
def gradients_of(
    program: MapReduce, wrt: tuple[int, ...], outputs: tuple[int, ...] | None = None
) -> tuple[Gradient, ...]:
    """The gradient programs for these slots and cotangents of these outputs, built once per program."""
    return tuple(program.vjp(wrt, outputs))


@lru_cache(maxsize=512)
def tangent_of(program: MapReduce, wrt: tuple[int, ...]) -> Gradient:
    """The forward-mode program for these slots, built once per program."""
    return program.jvp(wrt)


class Derivative:
    """Derivatives of ``evaluation`` at ``inputs``, an array per slot of its program.

    ``outputs``: its results there, if they are known: they spare a kernel where it is its own residual.
    """

    def __init__(
        self, evaluation: Evaluation, inputs: Sequence[Any], run: Run, outputs: tuple[Any, ...] | None = None
    ) -> None:
        self.evaluation, self.inputs, self._run = evaluation, inputs, run
        self._cotangents: Arrays = {}
        self._tangents: Arrays = {}
        own = evaluation.program.residual == evaluation.program
        self._residuals = outputs if own else None
        self._residual_tangents: Arrays | None = None

    def vjp(self, cotangents: Arrays, wrt: Sequence[int]) -> dict[int, Any]:
        """The gradient in each slot of ``wrt``, of its array's shape.

        ``cotangents``: of results, by number and of shape (batch.., rows, D); those that are left out are zero.
        """
        self._cotangents = cotangents
        return self._pulled(wrt, self._parts)

    def jvp(self, tangents: Arrays) -> dict[int, Any]:
        """The directional derivatives of the real results, by number, for tangents of slots."""
        self._tangents = tangents
        return self._pushed()

    def hvp(self, cotangents: Arrays, tangents: Arrays, wrt: Sequence[int]) -> dict[int, Any]:
        """The derivative of `vjp` along ``tangents``, that of residuals included, for fixed cotangents."""
        self._cotangents, self._tangents = cotangents, tangents
        return self._pulled(wrt, self._parts_along)

    def _pulled(self, wrt: Sequence[int], parts: Callable[[Gradient], list[Any]]) -> dict[int, Any]:
        found, program = {}, self.evaluation.program
        given = tuple(sorted(self._cotangents))
        outputs = None if given == program.real_outputs else given
        for gradient in gradients_of(program, tuple(sorted(wrt)), outputs):
            for slot, part in zip(gradient.wrt, parts(gradient), strict=True):
                found[slot] = summed_to(tuple(self.inputs[slot].shape), part, len(self.evaluation.batch))
        return found

    def _pushed(self) -> dict[int, Any]:
        program = self.evaluation.program
        parts = self._parts(tangent_of(program, tuple(sorted(self._tangents))))
        return dict(zip(program.real_outputs, parts, strict=True))

    def _parts(self, gradient: Gradient) -> list[Any]:
        """The parts of a gradient program's output, one per slot (one per result in forward mode)."""
        return self._cut(gradient, gradient.program, [self._array(source) for source in gradient.sources])

    def _parts_along(self, gradient: Gradient) -> list[Any]:
        """The same parts' derivatives along the tangents."""
        tangents = {n: self._tangent(source) for n, source in enumerate(gradient.sources)}
        moving = tuple(n for n, tangent in tangents.items() if tangent is not None)
        second = tangent_of(gradient.program, moving)
        arrays = [
            tangents[source.number] if source.role == "tangent" else self._array(gradient.sources[source.number])
            for source in second.sources
        ]
        return self._cut(gradient, second.program, arrays)

    def _cut(self, gradient: Gradient, program: MapReduce, arrays: Sequence[Any]) -> list[Any]:
        """``program`` on ``arrays``, added up and cut as ``gradient`` says."""
        # An index among the residuals selects a term, however often the ranges offered it.
        once = any(
            source.role == "residual" and slot.kind == INDEX
            for source, slot in zip(gradient.sources, gradient.program.slots, strict=True)
        )
        evaluation = self.evaluation.of(program, gradient.flipped, once)
        (result,) = self._run(evaluation, arrays)
        if gradient.summed_rows:
            (result,) = self._run(evaluation.row_sum(result.shape[-1]), [result])
        if len(gradient.dims) == 1:
            return [result]
        return [result[..., end - dim : end] for end, dim in zip(accumulate(gradient.dims), gradient.dims, strict=True)]

    def _array(self, source: Source) -> Any:
        if source.role == "input":
            return self.inputs[source.number]
        if source.role == "tangent":
            return self._tangents[source.number]
        if source.role == "cotangent":
            return self._cotangents[source.number]
        if self._residuals is None:
            residual = self.evaluation.program.residual
            assert residual is not None
            self._residuals = self._run(self.evaluation.of(residual), self.inputs)
        return self._residuals[source.number]

    def _tangent(self, source: Source) -> Any:
        """How what a source feeds changes along the tangents; None if it doesn't."""
        if source.role == "input":
            return self._tangents.get(source.number)
        if source.role == "cotangent":
            return None
        if self._residual_tangents is None:
            residual = self.evaluation.program.residual
            assert residual is not None
            own = Derivative(self.evaluation.of(residual), self.inputs, self._run, self._residuals)
            self._residual_tangents = own.jvp(self._tangents)
        return self._residual_tangents.get(source.number)


def summed_to(shape: tuple[int, ...], gradient: Any, batch: int) -> Any:
    """A gradient per index of a batch of that rank, added up over the dimensions in which its argument has size 1."""
    if gradient.shape == shape:
        return gradient
    shared = tuple(axis for axis in range(batch) if shape[axis] == 1 != gradient.shape[axis])
    return (gradient.sum(shared) if shared else gradient).reshape(shape)
