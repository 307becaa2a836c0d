"""Calls under ``torch.compile``: one opaque operator, and one for its gradients, whose shapes the compiler knows.

The operator names its routine by the text that makes it. So compiled code that is kept on disk finds it in any process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import torch
from torch.autograd import forward_ad

from clreduce.adapters.torch import TORCH
from clreduce.call.genred import Genred
from clreduce.memo import memoised
from clreduce.torch.autograd import AUTOGRAD


class _Called(Genred[Any]):
    library, runner = TORCH, AUTOGRAD


def described(routine: Genred[torch.Tensor]) -> str:
    """Everything that determines a routine, as text."""
    return json.dumps(
        {
            "formula": routine.formula, "aliases": routine.aliases, "reduction_op": routine.reduction_op,
            "axis": routine.axis, "opt_arg": routine.program.reduction.count, "formula2": routine.formula2,
            "dtype_acc": routine.options.dtype_acc, "sum_scheme": routine.options.sum_scheme,
            "fast": routine.options.fast, "accuracy": routine.options.accuracy,
        }
    )  # fmt: skip


@memoised(1024)
def _routine(described: str) -> Genred[Any]:
    return _Called(**json.loads(described))


@torch.library.custom_op("clreduce::genred", mutates_args=())
def genred(
    routine: str, arrays: Sequence[torch.Tensor], ranges: Sequence[torch.Tensor], backend: str, device_id: int
) -> list[torch.Tensor]:
    """The results of a `Genred`."""
    results = _routine(routine)(*arrays, backend=backend, device_id=device_id, ranges=ranges or None)
    return list(results) if isinstance(results, tuple) else [results]


@genred.register_fake
def _(
    routine: str, arrays: Sequence[torch.Tensor], ranges: Sequence[torch.Tensor], backend: str, device_id: int
) -> list[torch.Tensor]:
    reducing = _routine(routine)
    forms = reducing._result_forms(reducing._arguments(arrays, None))
    return [arrays[0].new_empty(shape, dtype=getattr(torch, dtype)) for shape, dtype in forms]


@torch.library.custom_op("clreduce::genred_vjp", mutates_args=())
def genred_vjp(
    routine: str, arrays: Sequence[torch.Tensor], ranges: Sequence[torch.Tensor], backend: str, device_id: int,
    output: Sequence[torch.Tensor], cotangent: torch.Tensor, wrt: Sequence[int],
) -> list[torch.Tensor]:  # fmt: skip
    """The gradients in the arrays at the positions ``wrt``, for a cotangent of the first result."""
    gradients = _routine(routine).vjp(
        *arrays, cotangent=cotangent, wrt=list(wrt), output=tuple(output), backend=backend, device_id=device_id,
        ranges=ranges or None,
    )  # fmt: skip
    # Gradients of one kernel are parts of one result; those of an operator share no memory.
    return [
        torch.clone(gradient.to(arrays[at].dtype), memory_format=torch.contiguous_format)
        for gradient, at in zip(gradients, wrt, strict=True)
    ]


@genred_vjp.register_fake
def _(
    routine: str, arrays: Sequence[torch.Tensor], ranges: Sequence[torch.Tensor], backend: str, device_id: int,
    output: Sequence[torch.Tensor], cotangent: torch.Tensor, wrt: Sequence[int],
) -> list[torch.Tensor]:  # fmt: skip
    return [torch.empty_like(arrays[at], memory_format=torch.contiguous_format) for at in wrt]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[torch.Tensor]) -> None:
    ctx.routine, arrays, ranges, ctx.backend, ctx.device_id = inputs
    ctx.counts = len(arrays), len(ranges)
    ctx.save_for_backward(*arrays, *ranges, *output)


def _pull(ctx: Any, cotangents: list[torch.Tensor | None]) -> tuple[Any, ...]:
    count, blocks = ctx.counts
    saved = ctx.saved_tensors
    arrays, ranges, output = saved[:count], saved[count : count + blocks], saved[count + blocks :]
    by_argument: list[torch.Tensor | None] = [None] * count
    wrt = [at for at in range(count) if ctx.needs_input_grad[1][at]]
    if cotangents[0] is not None and wrt:
        gradients = torch.ops.clreduce.genred_vjp(
            ctx.routine, arrays, ranges, ctx.backend, ctx.device_id, output, cotangents[0], wrt
        )
        for at, gradient in zip(wrt, gradients, strict=True):
            by_argument[at] = gradient
    return None, by_argument, [None] * blocks, None, None


genred.register_autograd(_pull, setup_context=_keep)


def left_to_python(has_limits: bool) -> bool:
    """Whether derivatives or batches are taken in compiled code, or a call has options that say how it is run: the
    graph breaks, as an operator knows none of these."""
    if has_limits or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        leave_recording_out()
        return True
    return False


def call(
    routine: str, single: bool, args: Sequence[object], backend: str, device_id: int,
    ranges: Sequence[torch.Tensor] | None, out: torch.Tensor | Sequence[torch.Tensor] | None,
) -> torch.Tensor | tuple[torch.Tensor, ...]:  # fmt: skip
    """A call of the routine as the compiler sees it."""
    like = next((arg for arg in args if isinstance(arg, torch.Tensor)), None)
    arrays = [arg if isinstance(arg, torch.Tensor) else _vector(arg, like) for arg in args]
    results = torch.ops.clreduce.genred(routine, arrays, [] if ranges is None else list(ranges), backend, device_id)
    if out is not None:
        targets = [out] if isinstance(out, torch.Tensor) else list(out)
        results = [target.copy_(result) for target, result in zip(targets, results, strict=True)]
    return results[0] if single else tuple(results)


def _vector(numbers: object, like: torch.Tensor | None) -> torch.Tensor:
    """A parameter of plain numbers."""
    listed = list(numbers) if isinstance(numbers, (tuple, list)) else [numbers]
    if like is None or not (like.dtype.is_floating_point or like.dtype.is_complex):
        return torch.tensor(listed, dtype=torch.float64)
    return torch.tensor(listed, dtype=like.dtype, device=like.device)


def leave_recording_out() -> None:
    """Let the compiler of PyTorch run what makes formulas and computes as it is, instead of looking into it.

    Its graphs break there; without this they would be made anew for each tensor, and NumPy's calls be made PyTorch's.
    """
    from torch._dynamo import trace_rules

    package = __name__.split(".")[0]
    own, here = __name__.rpartition(".")[0], Path(__file__).parent
    inside = [f"{package}.{module.name}" for module in iter_modules([str(here.parent)])]
    beside = [f"{own}.{module.name}" for module in iter_modules([str(here)])]
    for name in {*inside, *beside, "mako", "pyopencl"} - {own, __name__} - _left_out:
        _left_out.add(name)
        trace_rules.add(name)


_left_out: set[str] = set()
leave_recording_out._dynamo_marked_constant = True  # type: ignore[attr-defined]  # called while the compiler looks on
