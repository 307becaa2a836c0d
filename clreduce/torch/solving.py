"""Solutions of linear systems as nodes of autograd's graph.

The derivatives of ``a = (alpha + K)^-1 b`` are those of the equation that defines it: solves with the same operator,
and derivatives of products with it. None follows the iteration, and they have derivatives in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from clreduce.adapters import torch_standins as standins
from clreduce.adapters.torch import TORCH
from clreduce.call.derivative import summed_to
from clreduce.solve.followed import FollowedSolver, FollowedSystem
from clreduce.torch.autograd import AUTOGRAD, BatchInfo, Context
from clreduce.torch.compiled import leave_recording_out

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False, slots=True)
class TrackedSystem(FollowedSystem):
    """A system of tensors."""

    def solved(self, alpha: torch.Tensor, arrays: Sequence[torch.Tensor]) -> torch.Tensor:
        """The solution, for the right-hand side that stands in the place of the unknown."""
        tensors = (alpha, *arrays)
        (solution,) = standins.recorded(self, tensors) if standins.are_recorded() else self(tensors)
        return solution

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The solution, by alpha and the arrays, all of which have values."""
        alpha, *arrays = map(TORCH.to_host, tensors)
        start = None if self.start is None else TORCH.to_host(self.start.detach())
        return (TORCH.from_host(self.computed(alpha, arrays, start), tensors[1]),)

    def forms(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of the solution."""
        return [(self.shape, torch.float64)]


class SystemContext(Context, Protocol):
    """A node that holds a system."""

    system: TrackedSystem


class Solution(torch.autograd.Function):
    """The solution of a `TrackedSystem`, by alpha, of shape (batch.., 1, 1), and the arrays."""

    @staticmethod
    def forward(system: TrackedSystem, alpha: torch.Tensor, *arrays: torch.Tensor) -> torch.Tensor:
        return system.solved(alpha, arrays)

    @staticmethod
    def setup_context(
        ctx: SystemContext, inputs: tuple[TrackedSystem, Unpack[tuple[torch.Tensor, ...]]], output: torch.Tensor
    ) -> None:
        system, *tensors = inputs
        ctx.system = system.quiet()
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: SystemContext, cotangent: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        system, (alpha, *arrays, solution) = ctx.system, ctx.saved_tensors
        solver, (_, by_alpha, *needed) = system.solver, ctx.needs_input_grad
        adjoint = solution_of(system.adjoint(), alpha, system.with_right(arrays, cotangent))
        gradients: list[torch.Tensor | None] = [None] * len(arrays)
        wrt = {at: solver._slot_of(at) for at, needs in enumerate(needed) if needs and at != solver.unknown}
        slots = [slot for slot in wrt.values() if slot is not None]
        if slots:
            right, left = (adjoint, solution) if system.transposed else (solution, adjoint)
            pulled = system.product(system.with_right(arrays, right)).vjp({0: -left}, slots)
            for at, slot in wrt.items():
                gradients[at] = None if slot is None else pulled[slot]
        if needed[solver.unknown]:
            gradients[solver.unknown] = summed_to(tuple(arrays[solver.unknown].shape), adjoint, adjoint.ndim - 2)
        in_alpha = -(adjoint * solution).sum_to_size(alpha.shape).to(alpha.dtype) if by_alpha else None
        return (None, in_alpha, *gradients)

    @staticmethod
    def jvp(ctx: SystemContext, *tangents: torch.Tensor | None) -> torch.Tensor:
        system, (alpha, *arrays, solution) = ctx.system, ctx.saved_tensors
        solver, (_, by_alpha, *moves) = system.solver, tangents
        move_of_right = moves[solver.unknown]
        right = torch.zeros_like(solution) if move_of_right is None else move_of_right
        slots = {
            solver._slot_of(at): move for at, move in enumerate(moves) if move is not None and at != solver.unknown
        }
        along = {slot: move for slot, move in slots.items() if slot is not None}
        if along:
            product = system.product(system.with_right(arrays, solution))
            if system.transposed:  # K is linear: K^T a is its gradient, for the cotangent a
                right = right - product.hvp({0: solution}, along, [system.slot])[system.slot]
            else:
                right = right - product.jvp(along)[0]
        if by_alpha is not None:
            right = right - (by_alpha * solution).to(right.dtype)
        return solution_of(system, alpha, system.with_right(arrays, right.expand(solution.shape)))

    @staticmethod
    def vmap(
        info: BatchInfo, in_dims: tuple[int | None, ...], system: TrackedSystem, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        alpha, *arrays = (
            tensor.unsqueeze(0) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        )
        return solution_of(system.wider((info.batch_size,)), alpha, arrays), 0


def solution_of(system: TrackedSystem, alpha: torch.Tensor, arrays: list[torch.Tensor]) -> torch.Tensor:
    """The solution, which autograd follows if it tracks a tensor."""
    if standins.are_batched([alpha, *arrays]):
        (alpha, *arrays), sizes, closed = standins.opened([alpha, *arrays])
        return closed([solution_of(system.wider(sizes), alpha, arrays)])[0]
    if not AUTOGRAD.tracks([alpha, *arrays]):
        return system.solved(alpha, arrays)
    solution: torch.Tensor = Solution.apply(system, alpha, *arrays)
    return solution


class TrackedSolver(FollowedSolver):
    """A solver whose solutions autograd follows."""

    followed = TrackedSystem

    if not TYPE_CHECKING:  # type checkers read what `KernelSolve` says of calls

        def __call__(self, *args, **options):
            if torch.compiler.is_compiling():
                leave_recording_out()
            return super().__call__(*args, **options)

        __call__.__doc__ = FollowedSolver.__call__.__doc__

    def _followed(self, system: Any, alpha: torch.Tensor, arrays: list[torch.Tensor]) -> torch.Tensor:
        return solution_of(system, alpha, arrays)
