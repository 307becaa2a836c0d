"""Derivatives of an evaluation: the gradient programs of its program, run on the arrays of a call.

Arrays may be NumPy's, or those of a library that records computations. All evaluations go through ``run``. If a library
can differentiate ``run``, it can differentiate these derivatives too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeAlias

from clreduce.call.evaluation import Evaluation
from clreduce.ir.expr import INDEX
from clreduce.memo import memoised
from clreduce.program import Gradient, MapReduce, Source
from clreduce.runtime.resident import copied, is_resident, reduced
from clreduce.typing import SomeArray

Arrays: TypeAlias = Mapping[int, SomeArray]
"""Arrays by the slot that they feed, or by the result that they belong to."""
Works: TypeAlias = Sequence[tuple[Evaluation, Sequence[SomeArray]]]
"""Evaluations, each with its arrays."""
Run: TypeAlias = Callable[[Works[SomeArray]], Sequence[tuple[SomeArray, ...]]]
"""A function that runs evaluations, and returns the results of each."""


@memoised(1024)
def gradients_of(
    program: MapReduce, wrt: tuple[int, ...], outputs: tuple[int, ...] | None = None
) -> tuple[Gradient, ...]:
    """The gradient programs in the slots ``wrt`` for cotangents of ``outputs``, built once per program."""
    return tuple(program.vjp(wrt, outputs))


@memoised(512)
def tangent_of(program: MapReduce, wrt: tuple[int, ...]) -> Gradient:
    """The forward-mode program for tangents in the slots ``wrt``, built once per program."""
    return program.jvp(wrt)


class GradientStep:
    """One gradient program of an evaluation: what it evaluates, and how its result is split into gradients."""

    def __init__(self, evaluation: Evaluation, gradient: Gradient) -> None:
        # An index among the residuals selects one term, even if ranges visit that term several times.
        once = any(
            source.role == "residual" and slot.kind == INDEX
            for source, slot in zip(gradient.sources, gradient.program.slots, strict=True)
        )
        self.gradient = gradient
        self.evaluation = evaluation.of(gradient.program, gradient.flipped, once)
        self.row_sum = self.evaluation.row_sum(sum(gradient.dims)) if gradient.summed_rows else None
        ends = accumulate(gradient.dims)
        self._parts = [(..., slice(end - dim, end)) for end, dim in zip(ends, gradient.dims, strict=True)]
        self.inputs = [source.number if source.role == "input" else None for source in gradient.sources]
        """For each slot of the gradient program, the slot of the evaluation whose array it reads; else None."""

    def cut(self, result: SomeArray) -> list[SomeArray]:
        """The parts of the result: one per slot, or one per result in forward mode."""
        if len(self._parts) == 1:
            return [result]
        array: Any = result
        parts: list[Any] = [array[part] for part in self._parts]
        if is_resident(array):
            parts = [copied(part, part.dtype) for part in parts]
        return parts


def _steps(
    evaluation: Evaluation, wrt: tuple[int, ...], outputs_with_cotangents: tuple[int, ...]
) -> tuple[GradientStep, ...]:
    """The steps that compute the gradients in these slots from cotangents of these outputs."""
    steps: tuple[GradientStep, ...] | None = evaluation.prepared.get((wrt, outputs_with_cotangents))
    if steps is None:
        program = evaluation.program
        outputs = None if outputs_with_cotangents == program.real_outputs else outputs_with_cotangents
        made = tuple(GradientStep(evaluation, gradient) for gradient in gradients_of(program, wrt, outputs))
        steps = evaluation.prepared.keep((wrt, outputs_with_cotangents), made)
    return steps


class Derivative(Generic[SomeArray]):
    """Derivatives of ``evaluation`` at ``inputs``, an array per slot of its program.

    ``outputs`` are the results of the evaluation, if the caller knows them. They save a kernel if the program is its
    own residual. ``run`` takes a list of evaluations with their arrays; it may start all before it waits for one.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        inputs: Sequence[SomeArray],
        run: Run[SomeArray],
        outputs: tuple[SomeArray, ...] | None = None,
    ) -> None:
        self.evaluation, self.inputs, self._run = evaluation, inputs, run
        self._cotangents: Arrays[SomeArray] = {}
        self._tangents: Arrays[SomeArray] = {}
        self._residuals = outputs if evaluation.work.is_residual else None
        self._residual_tangents: Arrays[SomeArray] | None = None

    def vjp(
        self, cotangents: Arrays[SomeArray], wrt: Sequence[int], shapes: Mapping[int, tuple[int, ...]] | None = None
    ) -> dict[int, SomeArray]:
        """The gradient in each slot of ``wrt``, in the shape of the slot's array.

        ``cotangents`` maps numbers of results to arrays (batch.., rows, D); missing ones are zero. ``shapes`` overrides
        the shapes of the gradients. It keeps a gradient per index of a batch for an array that serves all indices.
        """
        self._cotangents = cotangents
        return self._pulled(wrt, self._work, shapes)

    def jvp(self, tangents: Arrays[SomeArray]) -> dict[int, SomeArray]:
        """The directional derivatives of the real results, by number. ``tangents`` maps slots to arrays."""
        self._tangents = tangents
        program = self.evaluation.program
        step = GradientStep(self.evaluation, tangent_of(program, tuple(sorted(tangents))))
        ((result,),) = self._run([self._work(step)])
        return dict(zip(program.real_outputs, step.cut(result), strict=True))

    def hvp(
        self, cotangents: Arrays[SomeArray], tangents: Arrays[SomeArray], wrt: Sequence[int]
    ) -> dict[int, SomeArray]:
        """The derivative of `vjp` along ``tangents`` for fixed cotangents; residuals change along them too."""
        self._cotangents, self._tangents = cotangents, tangents
        return self._pulled(wrt, self._work_along)

    def _pulled(
        self, wrt: Sequence[int], work: Callable[[GradientStep], tuple[Evaluation, Sequence[SomeArray]]],
        shapes: Mapping[int, tuple[int, ...]] | None = None,
    ) -> dict[int, SomeArray]:  # fmt: skip
        steps = _steps(self.evaluation, tuple(sorted(wrt)), tuple(sorted(self._cotangents)))
        batch, gradients = len(self.evaluation.work.region.batch), {}
        for step, (result,) in zip(steps, self._run([work(step) for step in steps]), strict=True):
            if step.row_sum is not None:
                ((result,),) = self._run([(step.row_sum, [result])])
            for slot, part in zip(step.gradient.wrt, step.cut(result), strict=True):
                shape = self.inputs[slot].shape if shapes is None else shapes[slot]
                gradients[slot] = part if part.shape == shape else summed_to(shape, part, batch)
        return gradients

    def _work(self, step: GradientStep) -> tuple[Evaluation, Sequence[SomeArray]]:
        """The evaluation of a step, and the array for each of its slots."""
        inputs = self.inputs
        return step.evaluation, [
            self._array(source) if number is None else inputs[number]
            for number, source in zip(step.inputs, step.gradient.sources, strict=True)
        ]

    def _work_along(self, step: GradientStep) -> tuple[Evaluation, Sequence[SomeArray]]:
        """The evaluation that differentiates a step's result along the tangents, and its arrays."""
        gradient = step.gradient
        tangents = {n: self._tangent(source) for n, source in enumerate(gradient.sources)}
        moving = tuple(n for n, tangent in tangents.items() if tangent is not None)
        second = tangent_of(gradient.program, moving)
        arrays: list[Any] = [
            tangents[source.number] if source.role == "tangent" else self._array(gradient.sources[source.number])
            for source in second.sources
        ]
        return step.evaluation.of(second.program), arrays

    def _array(self, source: Source) -> SomeArray:
        if source.role == "input":
            return self.inputs[source.number]
        if source.role == "tangent":
            return self._tangents[source.number]
        if source.role == "cotangent":
            return self._cotangents[source.number]
        if self._residuals is None:
            (self._residuals,) = self._run([(self.evaluation.with_residuals, self.inputs)])
        return self._residuals[source.number]

    def _tangent(self, source: Source) -> SomeArray | None:
        """The tangent of the array that a source names; None if that array is constant."""
        if source.role == "input":
            return self._tangents.get(source.number)
        if source.role == "cotangent":
            return None
        if self._residual_tangents is None:
            # Errors of these would be multiplied like those of the residuals themselves.
            own_evaluation = Evaluation(self.evaluation.work.within_rounding, self.evaluation.executor).with_residuals
            own = Derivative(own_evaluation, self.inputs, self._run, self._residuals)
            self._residual_tangents = own.jvp(self._tangents)
        return self._residual_tangents.get(source.number)


def summed_to(shape: tuple[int, ...], gradient: SomeArray, batch: int) -> SomeArray:
    """A gradient reduced to the ``shape`` of its argument.

    The gradient is added up over the first ``batch`` dimensions in which the argument has size 1.
    """
    if gradient.shape == shape:
        return gradient
    shared = tuple(axis for axis in range(batch) if shape[axis] == 1 != gradient.shape[axis])
    array: Any = gradient
    if shared:
        array = reduced(array, "sum", shared) if is_resident(array) else array.sum(shared)
    reshaped: SomeArray = array.reshape(shape)
    return reshaped
