"""Evaluations on tensors as nodes of autograd's graph.

Each is one node, `TrackedReduction`. Its derivatives are evaluations, too, so they have derivatives in turn, in both
modes and under ``torch.func``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.autograd import forward_ad

from clreduce.adapters import torch_standins as standins
from clreduce.adapters.torch import DTYPES, TORCH, transforms_active
from clreduce.call.derivative import Derivative, Run, Works
from clreduce.call.evaluation import Evaluation, together
from clreduce.call.runner import Runner
from clreduce.ir.expr import INDEX
from clreduce.typing import SomeArray

_unwrap_if_dead = torch._C._functorch.unwrap_if_dead


class Autograd(Runner[torch.Tensor]):
    """Runs evaluations on tensors, which autograd and the transforms of ``torch.func`` follow."""

    def tracks(self, arrays: Sequence[torch.Tensor]) -> bool:
        """Whether autograd or a transform of ``torch.func`` looks on."""
        if transforms_active() or forward_ad._current_level >= 0:
            return True
        if torch.is_grad_enabled():
            for array in arrays:
                if array.requires_grad:
                    return True
        return False

    def looks_on(self, arrays: Sequence[torch.Tensor]) -> bool:
        """Whether anything of PyTorch's may see what is computed from ``arrays``, a recorder of graphs included."""
        followed = torch.is_grad_enabled() or transforms_active() or forward_ad._current_level >= 0
        return followed or standins.are_recorded() or standins.are_batched(arrays)

    def run(
        self, evaluation: Evaluation, arrays: Sequence[torch.Tensor], like: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        if standins.are_batched(arrays):
            arrays, sizes, closed = standins.opened(arrays)
            return closed(self.run(evaluation.wider(sizes), arrays))
        if not self.tracks(arrays):
            return self.computed(evaluation, arrays, like)
        # What derivatives will read is computed along with the results, of which it has the first.
        apply = TrackedReduction.apply if transforms_active() else _apply
        results: tuple[torch.Tensor, ...] = apply(evaluation.with_residuals, *map(_unwrap_if_dead, arrays))
        return results[: len(evaluation.program.outputs)]

    def run_all(self, works: Works[torch.Tensor]) -> list[tuple[torch.Tensor, ...]]:
        return [self.run(evaluation, arrays) for evaluation, arrays in works]

    def computed(
        self, evaluation: Evaluation, arrays: Sequence[torch.Tensor], like: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The results, which autograd does not follow."""
        if standins.are_recorded():
            return standins.recorded(Kernels(evaluation.without_symbols()), arrays)
        return tuple(TORCH.all_from_host(evaluation(TORCH.all_on_host(arrays)), arrays[0] if arrays else like))


AUTOGRAD = Autograd()


@dataclass(frozen=True, slots=True)
class Kernels:
    """The results of an `Evaluation`, as a task."""

    evaluation: Evaluation

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return AUTOGRAD.computed(self.evaluation, tensors)

    def forms(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shapes and dtypes of the results."""
        work = self.evaluation.work
        rows, dtype = (*work.region.batch, work.region.rows), DTYPES[work.dtype]
        return [((*rows, form.dim), torch.int64 if form.kind == INDEX else dtype) for form in work.program.outputs]


class Context(Protocol):
    """A node of autograd's graph: what its derivatives read."""

    needs_input_grad: tuple[bool, ...]

    @property
    def saved_tensors(self) -> tuple[torch.Tensor, ...]: ...

    def save_for_backward(self, *tensors: torch.Tensor) -> None: ...
    def save_for_forward(self, *tensors: torch.Tensor) -> None: ...
    def mark_non_differentiable(self, *tensors: torch.Tensor) -> None: ...
    def set_materialize_grads(self, value: bool) -> None: ...


class ReductionContext(Context, Protocol):
    """A node that holds an evaluation."""

    evaluation: Evaluation


class BatchInfo(Protocol):
    """The batch that ``torch.vmap`` makes."""

    batch_size: int


class TrackedReduction(torch.autograd.Function):
    """The results of an `Evaluation` as a function of its arrays. A reduction that is its own residual keeps them."""

    @staticmethod
    def forward(evaluation: Evaluation, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return AUTOGRAD.computed(evaluation, arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        evaluation, arrays = inputs[0], inputs[1:]
        program = evaluation.program
        ctx.evaluation = evaluation
        ctx.set_materialize_grads(False)
        if len(program.real_outputs) < len(output):
            ctx.mark_non_differentiable(*(result for n, result in enumerate(output) if n not in program.real_outputs))
        saved = arrays + output if evaluation.work.is_residual else arrays
        ctx.save_for_backward(*saved)
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(*saved)

    @staticmethod
    def backward(ctx: ReductionContext, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        count = len(ctx.evaluation.program.slots)
        pulled_back = {n: cotangent for n, cotangent in enumerate(cotangents) if cotangent is not None}
        if not pulled_back:
            return (None,) * (count + 1)
        wrt = [n for n, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        saved = ctx.saved_tensors
        arrays = (*saved, *pulled_back.values())
        if AUTOGRAD.looks_on(arrays):
            by_slot = _derivative(ctx, saved, AUTOGRAD.run_all).vjp(pulled_back, wrt)
        else:  # the same on NumPy arrays, whose parts and shapes cost less
            hosts = TORCH.all_on_host(arrays)
            pulled = dict(zip(pulled_back, hosts[len(saved) :], strict=True))
            gradients = _derivative(ctx, tuple(hosts[: len(saved)]), together).vjp(pulled, wrt)
            by_slot = dict(zip(gradients, TORCH.all_from_host(gradients.values(), saved[0]), strict=True))
        return (None, *map(by_slot.get, range(count)))

    @staticmethod
    def jvp(ctx: ReductionContext, *tangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        derivative, program = _derivative(ctx, ctx.saved_tensors, AUTOGRAD.run_all), ctx.evaluation.program
        moving = {n: tangent for n, tangent in enumerate(tangents[1:]) if tangent is not None}
        by_output = derivative.jvp(moving) if moving and program.real_outputs else {}
        return tuple(by_output.get(n) for n in range(len(program.outputs)))

    @staticmethod
    def vmap(
        info: BatchInfo, in_dims: tuple[int | None, ...], evaluation: Evaluation, *arrays: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], tuple[int, ...]]:
        wide = evaluation.wider((info.batch_size,))
        moved = [
            array.unsqueeze(0) if dim is None else array.movedim(dim, 0)
            for array, dim in zip(arrays, in_dims[1:], strict=True)
        ]
        results: tuple[torch.Tensor, ...] = TrackedReduction.apply(wide, *moved)  # type: ignore[no-untyped-call]
        return results, (0,) * len(results)


_apply = super(torch.autograd.Function, TrackedReduction).apply  # type: ignore[misc]
"""`TrackedReduction.apply` where nothing transforms it: then the signature of its `forward` need not be looked at."""


def _derivative(ctx: ReductionContext, saved: tuple[SomeArray, ...], run: Run[SomeArray]) -> Derivative[SomeArray]:
    """The derivatives at the arrays that a node has kept, in the form that ``run`` takes."""
    count = len(ctx.evaluation.program.slots)
    return Derivative(ctx.evaluation, saved[:count], run, saved[count:] or None)
