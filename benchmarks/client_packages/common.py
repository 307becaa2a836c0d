"""What the checks of all packages share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

EXACT = 1e-9
"""The limit where both results are sums of the same numbers in float64."""
SINGLE = 1e-5
"""The limit where a package computes in float32."""
Call = Callable[[], Any]
Checks = Iterator[tuple[str, Call, Call, float]]
"""What is compared, how it is computed by kernels of pairs and how densely, and the largest error that is right."""


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + 100 * sum(shape))
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def leaf(array: torch.Tensor) -> torch.Tensor:
    return array.detach().clone().requires_grad_()


def with_gradients(value: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The value, and the gradients of a sum of its squares with weights: that of unit vectors would be a constant."""
    weights = torch.linspace(1, 2, value.numel()).view(value.shape)
    return [value, *torch.autograd.grad((weights * value**2).sum(), inputs)]


def bare(*names: str) -> None:
    """Packages whose modules can be imported while their own ``__init__`` does not run."""
    for name in names:
        above, _, last = name.rpartition(".")
        module = ModuleType(name)
        if above:
            module.__path__ = [f"{path}/{last}" for path in sys.modules[above].__path__]
        else:
            spec = importlib.util.find_spec(name)
            module.__path__ = list(spec.submodule_search_locations or ()) if spec else []
        sys.modules[name] = module


def written(options: dict[str, Any]) -> str:
    """Options behind a name, as in `` p=2 blur=0.2``."""
    return "".join(f" {name}={value}" for name, value in options.items())
