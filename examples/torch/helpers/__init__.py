"""What the examples with tensors share: the tools of the other examples, `support`, and what tensors need beside them.

Nothing in here is needed to use clreduce.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

# Between their tasks, torch's threads wait by spinning, on cores that an OpenCL driver for the CPU needs. Read by torch
# when it is imported, so this comes before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

# Behind the installed packages: this folder's parent is named torch too.
sys.path.append(str(Path(__file__).resolve().parents[2]))

import support
from support import (
    COLOURS,
    FAINT,
    INK,
    LINE,
    MARKS,
    Limits,
    Panel,
    Table,
    figure,
    mesh,
    milliseconds,
    output_folder,
    plane,
    plot,
    scaled,
)

T = TypeVar("T")


def devices() -> list[torch.device]:
    """Where the tensors of an example are: on the CPU, then on a CUDA device if there is one."""
    return [torch.device(name) for name in ("cpu", "cuda") if name == "cpu" or torch.cuda.is_available()]


def precisions() -> tuple[torch.dtype, ...]:
    """`support.precisions` as dtypes of tensors."""
    return tuple(getattr(torch, name) for name in support.precisions())


def timed(function: Callable[..., T], *args: Any, calls: int = 10) -> tuple[T, float]:
    """`support.timed` for work that CUDA does behind the program's back."""

    def finished(*args: Any) -> T:
        result = function(*args)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return support.timed(finished, *args, calls=calls)


def numbers(tensor: Tensor) -> support.Array:
    """The values as a NumPy array."""
    return tensor.detach().cpu().numpy()


def norm_ratio(computed: Tensor, reference: Tensor) -> float:
    """The norm of the difference over that of ``reference``, taken in float64."""
    return support.norm_ratio(numbers(computed), numbers(reference))


def relative_error(computed: Tensor, exact: Tensor) -> float:
    """The largest relative error of any entry, taken in float64."""
    return support.relative_error(numbers(computed.double()), numbers(exact.double()))


def leaves(*tensors: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Copies, of another dtype if given, that autograd starts from."""
    return [tensor.detach().clone().to(dtype or tensor.dtype).requires_grad_() for tensor in tensors]


def pykeops_torch() -> ModuleType | None:
    """The module ``pykeops.torch``, for a comparison of times, where it is installed."""
    try:
        import pykeops.torch
    except ImportError:
        return None
    module: ModuleType = pykeops.torch
    return module


__all__ = [
    "COLOURS", "FAINT", "INK", "LINE", "MARKS", "Limits", "Panel", "Table", "devices", "figure", "leaves", "mesh",
    "milliseconds", "norm_ratio", "numbers", "output_folder", "plane", "plot", "precisions", "pykeops_torch",
    "relative_error", "scaled", "timed",
]  # fmt: skip
