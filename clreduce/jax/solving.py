"""Solutions of linear systems as tasks of JAX.

The tangent of ``a = (alpha + K)^-1 b`` is the solution of one more system, with the same operator. A solution is linear
in b, and its transpose is that of the transposed operator. So none follows the iteration, and derivatives have any
order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from clreduce.call.derivative import summed_to
from clreduce.errors import TraceError
from clreduce.jax.following import Gradients, Tangent
from clreduce.jax.tasks import Form, HostTask, run
from clreduce.solve.followed import FollowedSolver, FollowedSystem
from clreduce.typing import Array


@dataclass(frozen=True, eq=False)
class SolutionTask(HostTask):
    """The solution of a system, from alpha, of shape (batch.., 1, 1), the arrays, and the start if there is one."""

    system: FollowedSystem

    def computed(self, arrays: Sequence[Array]) -> Sequence[Array]:
        count = 1 + len(self.system.solver.variables)
        start = arrays[count] if len(arrays) > count else None
        return [self.system.computed(arrays[0], arrays[1:count], start)]

    def forms(self) -> list[Form]:
        return [(self.system.shape, "float64")]

    def wider(self, size: int) -> SolutionTask:
        return SolutionTask(self.system.wider((size,)))

    def differential(
        self, arrays: Sequence[jax.Array], moves: Mapping[int, jax.Array]
    ) -> tuple[Sequence[jax.Array], Mapping[int, jax.Array]]:
        (solution,) = run(self, arrays)
        system, solver = self.system.quiet(), self.system.solver
        alpha, *data = arrays[: 1 + len(solver.variables)]
        right = jnp.broadcast_to(moves.get(1 + solver.unknown, jnp.zeros((), solution.dtype)), solution.shape)
        slots = {solver._slot_of(at): moves.get(1 + at) for at in range(len(data)) if at != solver.unknown}
        along = {slot: move for slot, move in slots.items() if slot is not None and move is not None}
        if along:
            right = right - self._product_along(solver._in_slots(system.with_right(data, solution)), along)
        if 0 in moves:
            right = right - (moves[0] * solution).astype(right.dtype)
        (tangent,) = run(SolutionTask(system), [alpha, *system.with_right(data, right)])
        return [solution], {0: tangent}

    def _product_along(self, arrays: Sequence[jax.Array], along: Mapping[int, jax.Array]) -> jax.Array:
        """The tangent of the product with the solution, which is one of the arrays, along tangents of slots."""
        evaluation, slot = self.system.evaluation, self.system.slot
        if not self.system.transposed:
            (found,) = run(Tangent(evaluation, tuple(along)), [*arrays, *along.values()])
            return found
        # K is linear: K^T a is its gradient, for the cotangent a
        product = Gradients(evaluation, (0,), (slot,), (arrays[slot].shape,))
        return product.differential([*arrays, arrays[slot]], along)[1][0]

    def transposed(
        self, cotangents: Mapping[int, jax.Array], arrays: Sequence[jax.Array], linear: Sequence[int]
    ) -> Sequence[jax.Array]:
        system, right = self.system.adjoint(), arrays[1 + self.system.solver.unknown]
        alpha, *data = arrays
        (found,) = run(SolutionTask(system), [alpha, *system.with_right(data, cotangents[0])])
        return [summed_to(right.shape, found, len(system.arguments.batch)).astype(right.dtype)]


class FollowingSolver(FollowedSolver):
    """A solver whose solutions JAX follows."""

    if not TYPE_CHECKING:  # type checkers read what `KernelSolve` says of calls

        def __call__(self, *args, info=False, **options):
            result, how = super().__call__(*args, info=True, **options)
            if info and how is None:
                raise TraceError(
                    "info=True needs a solve that runs at once, but JAX traces this one: solve outside of jit, grad "
                    "and vmap"
                )
            return (result, how) if info else result

        __call__.__doc__ = FollowedSolver.__call__.__doc__

    def _followed(self, system: FollowedSystem, alpha: jax.Array, arrays: list[jax.Array]) -> jax.Array:
        start = [] if system.start is None else [system.start]
        (solution,) = run(SolutionTask(replace(system, start=None)), [alpha, *arrays, *start])
        return solution
