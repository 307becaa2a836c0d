"""Solutions of linear systems as nodes of autograd's graph.

The derivatives of ``a = (alpha + K)^-1 b`` are those of the equation that defines it: solves with the same operator,
and derivatives of products with it. None follows the iteration, and they have derivatives in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from clreduce.adapters import torch_standins as standins
from clreduce.adapters.torch import TORCH
from clreduce.call.arguments import Arguments
from clreduce.call.derivative import Derivative, summed_to
from clreduce.call.executor import Executor
from clreduce.errors import DtypeError, ShapeError
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.options import SolveOptions
from clreduce.solve.solver import Solver
from clreduce.torch.autograd import AUTOGRAD
from clreduce.torch.compiled import leave_recording_out


@dataclass(frozen=True, eq=False, slots=True)
class TrackedSystem:
    """All of a solve but the numbers."""

    solver: TrackedSolver
    arguments: Arguments
    """Sizes, dtypes and ranges; without arrays, which each solve has its own of."""
    executor: Executor
    chosen: SolveOptions
    start: torch.Tensor | None
    """Where the iteration starts; None: at zero."""
    told: list[SolveInfo]
    """What is said of how a solve ended."""
    prepared: list[Any]
    """The preconditioner, once a solve has made it: that of all solves with this operator."""
    transposed: bool = False
    """Whether this is the system of the transposed operator."""

    def solved(self, alpha: torch.Tensor, arrays: Sequence[torch.Tensor]) -> torch.Tensor:
        """The solution, for the right-hand side that stands in the place of the unknown."""
        tensors = (alpha, *arrays)
        (solution,) = standins.recorded(self, tensors) if standins.are_recorded() else self(tensors)
        return solution

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The solution, by alpha and the arrays, all of which have values."""
        alpha, *arrays = tensors
        arguments = replace(self.arguments, arrays=tuple(map(TORCH.to_host, arrays)))
        ridge = TORCH.to_host(alpha).astype(np.float64)
        if not np.isfinite(ridge).all():
            raise ShapeError(f"alpha is a finite number; got {float(ridge.flat[0])}")
        problem = self.solver.system(arguments, self.executor, float(ridge.reshape(())) if ridge.size == 1 else ridge)
        start = None
        if self.start is not None:
            start = np.broadcast_to(TORCH.to_host(self.start).astype(np.float64), problem.shape)
        problem.precondition = self.prepared[0] if self.prepared else None
        solution, how = self.chosen.run(problem, self.solver.right_hand_side(problem), start, self.transposed)
        self.told.append(how)
        self.prepared[:] = [problem.precondition]
        return (TORCH.from_host(solution, arrays[0]),)

    def forms(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of the solution."""
        rows, solver = self.solver.sizes(self.arguments)[0], self.solver
        shape = (*self.arguments.batch, rows, solver.variables[solver.unknown].dim)
        return [(tuple(map(int, shape)), torch.float64)]

    def wider(self, sizes: tuple[int, ...]) -> TrackedSystem:
        """This system with these dimensions before the batch."""
        return replace(self, arguments=replace(self.arguments, batch=(*sizes, *self.arguments.batch)), prepared=[])

    def quiet(self) -> TrackedSystem:
        """This system for another right-hand side, without a report to the caller."""
        return replace(self, chosen=replace(self.chosen, callback=None), start=None, told=[])

    def adjoint(self) -> TrackedSystem:
        """The system of the transposed operator; this one where the operator is symmetric."""
        return replace(self, transposed=not self.transposed) if self.solver.transposes(self.chosen) else self

    def with_right(self, arrays: list[torch.Tensor], right: torch.Tensor) -> list[torch.Tensor]:
        """The arrays with another one in the place of the unknown."""
        at = self.solver.unknown
        return [*arrays[:at], right.to(arrays[at].dtype), *arrays[at + 1 :]]

    def product(self, arrays: list[torch.Tensor]) -> Derivative:
        """The derivatives of the product with what stands in the place of the unknown."""
        evaluation = self.solver.evaluation(self.arguments, self.executor)
        return Derivative(evaluation, self.solver.feeds(arrays), AUTOGRAD.run_all)


class Solution(torch.autograd.Function):
    """The solution of a `TrackedSystem`, by alpha, of shape (batch.., 1, 1), and the arrays."""

    @staticmethod
    def forward(system: TrackedSystem, alpha: torch.Tensor, *arrays: torch.Tensor) -> torch.Tensor:
        return system.solved(alpha, arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        system, *tensors = inputs
        ctx.system = system.quiet()
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        system, (alpha, *arrays, solution) = ctx.system, ctx.saved_tensors
        solver, (_, by_alpha, *needed) = system.solver, ctx.needs_input_grad
        adjoint = solution_of(system.adjoint(), alpha, system.with_right(arrays, cotangent))
        gradients: list[torch.Tensor | None] = [None] * len(arrays)
        wrt = {at: solver.slot_of(at) for at, needs in enumerate(needed) if needs and at != solver.unknown}
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
    def jvp(ctx: Any, *tangents: torch.Tensor | None) -> torch.Tensor:
        system, (alpha, *arrays, solution) = ctx.system, ctx.saved_tensors
        solver, (_, by_alpha, *moves) = system.solver, tangents
        right = torch.zeros_like(solution) if moves[solver.unknown] is None else moves[solver.unknown]
        slots = {solver.slot_of(at): move for at, move in enumerate(moves) if move is not None and at != solver.unknown}
        along = {slot: move for slot, move in slots.items() if slot is not None}
        if along:
            product = system.product(system.with_right(arrays, solution))
            if system.transposed:  # K is linear: K^T a is its gradient, for the cotangent a
                slot = solver.slot_of(solver.unknown)
                assert slot is not None, "the formula depends on the unknown"
                right = right - product.hvp({0: solution}, along, [slot])[slot]
            else:
                right = right - product.jvp(along)[0]
        if by_alpha is not None:
            right = right - (by_alpha * solution).to(right.dtype)
        return solution_of(system, alpha, system.with_right(arrays, right.expand(solution.shape)))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], system: TrackedSystem, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        alpha, *arrays = (
            tensor.unsqueeze(0) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        )
        return solution_of(system.wider((info.batch_size,)), alpha, arrays), 0


def solution_of(system: TrackedSystem, alpha: torch.Tensor, arrays: list[torch.Tensor]) -> torch.Tensor:
    """The solution, followed where that is asked for."""
    if standins.are_batched([alpha, *arrays]):
        (alpha, *arrays), sizes, closed = standins.opened([alpha, *arrays])
        return closed([solution_of(system.wider(sizes), alpha, arrays)])[0]
    if not AUTOGRAD.tracks([alpha, *arrays]):
        return system.solved(alpha, arrays)
    solution: torch.Tensor = Solution.apply(system, alpha, *arrays)
    return solution


class TrackedSolver(Solver):
    """A solver whose solutions autograd follows."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            leave_recording_out()
        return super().__call__(*args, **options)

    __call__.__doc__ = Solver.__call__.__doc__

    def _solution(
        self, arguments: Arguments, executor: Executor, alpha: Any, chosen: SolveOptions, x0: Any
    ) -> tuple[Any, SolveInfo]:
        ridges = [alpha] if TORCH.accepts(alpha) else []
        if not AUTOGRAD.tracks([*arguments.arrays, *ridges]):
            return super()._solution(arguments, executor, alpha, chosen, x0)
        if ridges and (alpha.numel() != 1 or alpha.is_complex()):
            raise DtypeError(f"alpha is a number, or a tensor of one number; got one of shape {tuple(alpha.shape)}")
        ridge = alpha if ridges else torch.tensor(self._ridge(alpha), dtype=torch.float64)
        shape = (*arguments.batch, self.sizes(arguments)[0], self.variables[self.unknown].dim)
        start = None if x0 is None else self._beside(shape, arguments.dtype, x0, "x0").detach()
        told: list[SolveInfo] = []
        sizes = replace(arguments, arrays=(), like=None)
        system = TrackedSystem(self, sizes, executor, chosen, start, told, [])
        solution = solution_of(system, ridge.reshape((1,) * len(shape)), list(arguments.arrays))
        return solution, told[-1]
