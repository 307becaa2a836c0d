"""Tensors that stand for others: batches of autograd's own `vmap`, and tensors whose operators PyTorch records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from clreduce.errors import DeviceError, TraceError

_is_batched = torch._C._functorch.is_legacy_batchedtensor
_PROXY = torch._C._TorchDispatchModeKey.PROXY


def are_batched(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether a tensor is a batch of autograd's own ``vmap``: for ``is_grads_batched`` or ``vectorize=True``."""
    torch._C._vmapmode_increment_nesting()
    return torch._C._vmapmode_decrement_nesting() > 0 and any(map(_is_batched, tensors))


def opened(
    tensors: Sequence[torch.Tensor],
) -> tuple[list[torch.Tensor], tuple[int, ...], Callable[[Sequence[torch.Tensor]], tuple[torch.Tensor, ...]]]:
    """The tensors behind batches of autograd's own ``vmap``, with the batch dimensions in front, and their sizes.

    A dimension has size 1 if the tensor is the same for the whole batch. The third result is a function that makes such
    batches again from tensors with these dimensions in front.
    """
    tensors, sizes, levels = list(tensors), [], []
    inner = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    for level in range(inner, 0, -1):
        # What is no batch of this level gets a dimension of size 1.
        tensors = [torch._remove_batch_dim(tensor, level, 1, 0) for tensor in tensors]
        found = {len(tensor) for tensor in tensors} - {1}
        if found:
            sizes.append(found.pop())
            levels.append(level)
        else:
            tensors = [tensor[0] for tensor in tensors]

    def closed(results: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        for level in reversed(levels):
            results = [torch._add_batch_dim(one, 0, level) for one in results]
        return tuple(results)

    return tensors, tuple(reversed(sizes)), closed


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor inside the wrappers of ``torch.func``, for arguments without derivatives such as ranges."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            raise DeviceError(
                "vmap maps over this tensor, so its numbers cannot be read here: ranges, clusters and an index must be "
                "the same for all indices of the batch"
            )
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def refuse_tracing() -> None:
    """Raise `TraceError` under ``torch.jit.trace``, which records results of other code as constants."""
    if torch._C._get_tracing_state() is not None:
        raise TraceError(
            "torch.jit.trace cannot record calls of clreduce. Use torch.compile, or trace only the code before and "
            "after these calls"
        )


class Task(Protocol):
    """A computation of the host on the values of tensors."""

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The results."""

    def forms(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shapes and dtypes of the results."""


def are_recorded() -> bool:
    """Whether PyTorch records a graph of operators: in ``torch.func.linearize`` and ``make_fx``."""
    return torch._C._get_dispatch_mode(_PROXY) is not None


def recorded(task: Task, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The results of a task as the results of an operator. Without it, the graph would contain them as constants."""
    number = _numbers.get(task)
    if number is None:
        number = _numbers[task] = len(_tasks)
        _tasks.append(task)
    return tuple(torch.ops.clreduce.task(number, list(tensors)))


_numbers: dict[Task, int] = {}
_tasks: list[Task] = []
"""The tasks that graphs name by their number, for as long as the process lasts."""


@torch.library.custom_op("clreduce::task", mutates_args=())
def task(number: int, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The results of a task."""
    return list(_tasks[number](tensors))


@task.register_fake
def _(number: int, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [tensors[0].new_empty(shape, dtype=dtype) for shape, dtype in _tasks[number].forms()]
