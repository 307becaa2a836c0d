"""Evaluations as tasks of JAX: results, tangents and gradients, each of which is one call of the host.

The tangent is linear, and its transpose gives the gradients. Both are differentiated as what they are made of,
evaluations, so derivatives have any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from clreduce.call.derivative import Derivative, Run, Works, summed_to
from clreduce.call.evaluation import Evaluation, together
from clreduce.call.runner import Runner
from clreduce.ir.expr import INDEX
from clreduce.ir.show import show
from clreduce.jax.tasks import Form, HostTask, run
from clreduce.language.vocabulary import nonlinear_node
from clreduce.typing import Array


class Following(Runner[jax.Array]):
    """Runs evaluations on JAX's arrays and tracers."""

    def tracks(self, arrays: Sequence[jax.Array]) -> bool:
        return any(isinstance(array, jax.core.Tracer) for array in arrays)

    def run(
        self, evaluation: Evaluation, arrays: Sequence[jax.Array], like: jax.Array | None = None
    ) -> tuple[jax.Array, ...]:
        return tuple(run(Results(evaluation), arrays))

    def run_all(self, works: Works[jax.Array]) -> list[tuple[jax.Array, ...]]:
        return [self.run(evaluation, arrays) for evaluation, arrays in works]


FOLLOWING = Following()


@dataclass(frozen=True)
class Results(HostTask):
    """The results of an evaluation, by the arrays of its slots."""

    evaluation: Evaluation

    def computed(self, arrays: Sequence[Array]) -> Sequence[Array]:
        return self.evaluation(arrays)

    def forms(self) -> list[Form]:
        return _forms(self.evaluation)

    def wider(self, size: int) -> Results:
        return Results(self.evaluation.wider((size,)))

    def differential(
        self, arrays: Sequence[jax.Array], moves: Mapping[int, jax.Array]
    ) -> tuple[Sequence[jax.Array], Mapping[int, jax.Array]]:
        # What derivatives will read is computed along with the results, of which it has the first.
        whole = self.evaluation.with_residuals
        found = run(Results(whole), arrays)
        results = found[: len(self.evaluation.program.outputs)]
        numbers = [n for n in whole.program.real_outputs if n < len(results)]
        if not numbers:
            return results, {}
        residuals = found if whole.work.is_residual else []
        tangents = run(Tangent(whole, tuple(moves)), [*arrays, *residuals, *moves.values()])
        by_number = dict(zip(whole.program.real_outputs, tangents, strict=True))
        return results, {n: by_number[n] for n in numbers}

    def transposed(
        self, cotangents: Mapping[int, jax.Array], arrays: Sequence[jax.Array], linear: Sequence[int]
    ) -> Sequence[jax.Array]:
        program = self.evaluation.program
        variables = [program.slots[n] for n in linear]
        if program.reduction.name != "Sum" or any(nonlinear_node(f, variables) for f in program.values):
            raise NotImplementedError(
                f"{program.reduction.name} of {', '.join(map(show, program.values))} is not linear in "
                f"{', '.join(map(show, variables))}, so it has no transpose; jax.vjp gives its derivatives"
            )
        # The gradient of what is linear is the same everywhere, so at 0, too.
        known = [jnp.zeros(array.shape, array.dtype) if n in linear else array for n, array in enumerate(arrays)]
        pulled = Gradients(self.evaluation, tuple(cotangents), tuple(linear), tuple(arrays[n].shape for n in linear))
        return run(pulled, [*known, *cotangents.values()])


@dataclass(frozen=True)
class _Derived(HostTask):
    """Derivatives of an evaluation at the arrays of its slots, and at its results if these are its residual.

    These arrays come first. The arrays after them enter linearly; the mode decides which they are.
    """

    evaluation: Evaluation

    @property
    def _fixed(self) -> int:
        """The number of arrays at which derivatives are taken."""
        program = self.evaluation.program
        return len(program.slots) + (len(program.outputs) if self.evaluation.work.is_residual else 0)

    def _of(self, arrays: Sequence[Any], run: Run[Any]) -> Derivative[Any]:
        slots = len(self.evaluation.program.slots)
        return Derivative(self.evaluation, arrays[:slots], run, tuple(arrays[slots : self._fixed]) or None)

    def _results(self, arrays: Sequence[Any], run: Run[Any]) -> list[Any]:
        raise NotImplementedError

    def computed(self, arrays: Sequence[Array]) -> Sequence[Array]:
        return self._results(arrays, together)

    def differential(
        self, arrays: Sequence[jax.Array], moves: Mapping[int, jax.Array]
    ) -> tuple[Sequence[jax.Array], Mapping[int, jax.Array]]:
        def of_moving(*moving: jax.Array) -> list[jax.Array]:
            moved = dict(zip(moves, moving, strict=True))
            return self._results([moved.get(n, array) for n, array in enumerate(arrays)], FOLLOWING.run_all)

        results, tangents = jax.jvp(of_moving, tuple(arrays[n] for n in moves), tuple(moves.values()))
        return results, dict(enumerate(tangents))


@dataclass(frozen=True)
class Tangent(_Derived):
    """The tangents of the real results, for tangents of slots."""

    moves: tuple[int, ...]
    """The slots whose tangents are given."""

    def _results(self, arrays: Sequence[Any], run: Run[Any]) -> list[Any]:
        found = self._of(arrays, run).jvp(dict(zip(self.moves, arrays[self._fixed :], strict=True)))
        return [found[n] for n in self.evaluation.program.real_outputs]

    def forms(self) -> list[Form]:
        forms = _forms(self.evaluation)
        return [forms[n] for n in self.evaluation.program.real_outputs]

    def wider(self, size: int) -> Tangent:
        return replace(self, evaluation=self.evaluation.wider((size,)))

    def transposed(
        self, cotangents: Mapping[int, jax.Array], arrays: Sequence[jax.Array], linear: Sequence[int]
    ) -> Sequence[jax.Array]:
        program = self.evaluation.program
        outputs = tuple(program.real_outputs[n] for n in cotangents)
        wrt = tuple(self.moves[n - self._fixed] for n in linear)
        shapes = tuple(arrays[n].shape for n in linear)
        pulled = Gradients(self.evaluation, outputs, wrt, shapes)
        return run(pulled, [*arrays[: self._fixed], *cotangents.values()])


@dataclass(frozen=True)
class Gradients(_Derived):
    """The gradients in slots, for cotangents of results."""

    outputs: tuple[int, ...]
    """The results whose cotangents are given."""
    wrt: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    """The shapes of the gradients: those of the slots' arrays, with the batch dimensions that `vmap` has made."""

    def _results(self, arrays: Sequence[Any], run: Run[Any]) -> list[Any]:
        cotangents = dict(zip(self.outputs, arrays[self._fixed :], strict=True))
        found = self._of(arrays, run).vjp(cotangents, self.wrt, dict(zip(self.wrt, self.shapes, strict=True)))
        return [found[slot] for slot in self.wrt]

    def forms(self) -> list[Form]:
        return [(shape, self.evaluation.work.dtype) for shape in self.shapes]

    def wider(self, size: int) -> Gradients:
        shapes = tuple((size, *shape) for shape in self.shapes)
        return replace(self, evaluation=self.evaluation.wider((size,)), shapes=shapes)

    def transposed(
        self, cotangents: Mapping[int, jax.Array], arrays: Sequence[jax.Array], linear: Sequence[int]
    ) -> Sequence[jax.Array]:
        moves = tuple(self.wrt[n] for n in cotangents)
        found = run(Tangent(self.evaluation, moves), [*arrays[: self._fixed], *cotangents.values()])
        by_number = dict(zip(self.evaluation.program.real_outputs, found, strict=True))
        batch = len(self.evaluation.work.region.batch)
        return [summed_to(arrays[n].shape, by_number[self.outputs[n - self._fixed]], batch) for n in linear]


def _forms(evaluation: Evaluation) -> list[Form]:
    """Shapes and dtypes of the results of an evaluation."""
    work = evaluation.work
    rows = (*work.region.batch, work.region.rows)
    return [((*rows, form.dim), "int64" if form.kind == INDEX else work.dtype) for form in work.program.outputs]
