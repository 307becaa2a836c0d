"""Derivatives of solutions of linear systems, from the equation A a = b that defines the solutions.

None follows the iteration: each is one more solve with the operator or its transpose, and a derivative of a product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.call.arguments import Arguments
from clreduce.call.derivative import Derivative, summed_to
from clreduce.call.evaluation import together
from clreduce.call.routine import Routine
from clreduce.runtime.resident import is_resident
from clreduce.solve.metric import weights_of
from clreduce.solve.options import SolveOptions
from clreduce.solve.system import System
from clreduce.typing import Array


def may_differ_from_transpose(routine: Routine, unknown: int, options: SolveOptions) -> bool:
    """Whether the transposed operator may differ from the operator; False if formula and options rule that out."""
    if options.is_general:
        return True
    slot = routine._slot_of(unknown)
    assert slot is not None, "the formula depends on the unknown"
    program = routine.program
    return options.solver != "cg" and weights_of(program.values[0], program.slots[slot]) is not None


@dataclass(frozen=True)
class SystemDerivative:
    """Derivatives of the solution of one system, on the host: vectors are of shape (batch.., n, E), in float64."""

    routine: Routine
    """The product K a."""
    unknown: int
    """The position of the argument that the vector a replaces."""
    system: System
    options: SolveOptions

    def adjoint(self, cotangent: Array) -> Array:
        """The solution of the transposed system for this right-hand side."""
        adjoint: Array = self.system.solved(self.options.run(self.system, cotangent, transposed=True)[0])
        return adjoint

    def gradients(self, solution: Array, adjoint: Array, positions: Sequence[int]) -> list[Array]:
        """The gradients in arguments; ``adjoint`` solves the transposed system with the cotangent on the right."""
        others = [at for at in positions if at != self.unknown]
        arguments, pulled = self._with_vector(solution), {0: (-adjoint).astype(self.system.dtype)}
        product = self._product(arguments)
        zeros = self.routine.library.zeros_like if is_resident(pulled[0]) else np.zeros_like
        computed = self.routine._by_position(others, arguments, zeros, lambda slots: product.vjp(pulled, slots))
        by_position = dict(zip(others, computed, strict=True))
        shape = self.system.arguments.arrays[self.unknown].shape
        in_b = summed_to(shape, adjoint.astype(self.system.dtype), len(self.system.batch))
        return [in_b if at == self.unknown else by_position[at] for at in positions]

    def tangent(
        self, solution: Array, moves: Mapping[int, Array | None], ridge: float, transposed: bool = False
    ) -> Array:
        """The derivative of ``solution`` where arguments move along ``moves`` and alpha by ``ridge``.

        It solves A da = db - (dK + dalpha) a. With ``transposed``, ``solution`` solves the transposed system.
        """
        system = self.system
        own = moves.get(self.unknown)
        right = system.zeros() if own is None else system.vector(own)
        along = self._by_slot(moves)
        if along:
            product = self._product(self._with_vector(solution))
            if transposed and may_differ_from_transpose(self.routine, self.unknown, self.options):
                # K is linear: K^T a is its gradient, for the cotangent a
                pulled = {0: solution.astype(system.dtype)}
                right -= system.vector(product.hvp(pulled, along, [system.slot])[system.slot])
            else:
                right -= system.vector(product.jvp(along)[0])
        right -= ridge * solution
        moved: Array = system.solved(self.options.run(system, right, transposed=transposed)[0])
        return moved

    def moved_gradients(
        self, solution: Array, adjoint: Array, moved: Array, moves: Mapping[int, Array | None],
        positions: Sequence[int],
    ) -> dict[int, Array]:  # fmt: skip
        """The derivatives of the gradients in arguments other than b, by position, for a fixed ``adjoint``.

        The arguments move along ``moves``, and the solution along ``moved``.
        """
        arguments, dtype = self._with_vector(solution), self.system.dtype
        along = {**self._by_slot(moves), self.system.slot: moved.astype(dtype)}
        pulled = {0: (-adjoint).astype(dtype)}
        others = [at for at in positions if at != self.unknown]
        product = self._product(arguments)
        zeros = self.routine.library.zeros_like if is_resident(pulled[0]) else np.zeros_like
        computed = self.routine._by_position(others, arguments, zeros, lambda slots: product.hvp(pulled, along, slots))
        return dict(zip(others, computed, strict=True))

    def _by_slot(self, moves: Mapping[int, Array | None]) -> dict[int, Any]:
        """The tangents of the arguments that the formula uses, without b, by their slots."""
        by_slot = {self.routine._slot_of(at): move for at, move in moves.items() if at != self.unknown}
        return {slot: move for slot, move in by_slot.items() if slot is not None and move is not None}

    def _product(self, arguments: Arguments) -> Derivative[Any]:
        """The derivatives of the product K a."""
        evaluation = self.routine._evaluation_of(arguments, self.system.executor)
        return Derivative(evaluation, self.routine._in_slots(arguments.arrays), together)

    def _with_vector(self, vector: Array) -> Arguments:
        """The arguments with a vector in the place of b."""
        arrays = list(self.system.arguments.arrays)
        rounded = vector.astype(self.system.dtype)
        arrays[self.unknown] = rounded if is_resident(rounded) else np.ascontiguousarray(rounded)
        return replace(self.system.arguments, arrays=tuple(arrays))
