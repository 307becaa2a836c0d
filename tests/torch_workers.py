"""What other processes run: module-level functions and classes, which they import by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from clreduce.torch import Genred, Vi, Vj

ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "p = Pm(1)"]
FORMULA = "Exp(-SqDist(x, y) * p) * b"


class Interpolation(nn.Module):
    """A sum of kernels at places that are learnt."""

    def __init__(self, places: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.kernel = Genred(FORMULA, ALIASES, "Sum", axis=1)
        self.places, self.weights = nn.Parameter(places.clone()), nn.Parameter(weights.clone())
        self.log_scale = nn.Parameter(torch.zeros(1, dtype=places.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel(x, self.places, self.weights, self.log_scale.exp())


class Distances(Dataset[Tensor]):
    """Its items are computed by kernels, in the workers of a loader."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, n: int) -> Tensor:
        return Vi(self.x[n : n + 1]).sqdist(Vj(self.y)).sum(axis=1)[0]


def gradients(module: Interpolation, x: Tensor, queue: Any) -> None:
    """Put the result of ``module`` and its gradients on a queue, as NumPy arrays."""
    found = module(x)
    found.sin().sum().backward()
    queue.put([found.detach().numpy(), *(parameter.grad.numpy() for parameter in module.parameters())])
