"""Small networks on pairs, ``sum_j net(x_i - y_j)``: clreduce beside KeOps and dense PyTorch, and how layers add up.

    python benchmarks/networks.py

Prints two tables: the time of a network 16-48-48-1 and of its gradients for each package, and the time of 1 to 6 layers
of width 32 by clreduce. Times are the least of several runs, in milliseconds. KeOps is left out if it is not installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import clreduce
from clreduce.torch import Genred

POINTS, RUNS = 200, 15


def formula(widths: Sequence[int]) -> tuple[str, list[str]]:
    """A network with ReLU between its layers, and its variables."""
    text, aliases = "(x - y)", [f"x = Vi({widths[0]})", f"y = Vj({widths[0]})"]
    for n, (columns, rows) in enumerate(pairwise(widths)):
        aliases.append(f"w{n} = Pm({rows * columns})")
        text = f"MatVecMult(w{n}, {text})" if n == 0 else f"MatVecMult(w{n}, ReLU({text}))"
    return text, aliases


def data(widths: Sequence[int]) -> list[torch.Tensor]:
    """[x, y, w0, w1, ...]."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(POINTS, widths[0])) for _ in range(2)]
    arrays += [rng.normal(size=columns * rows) / np.sqrt(columns) for columns, rows in pairwise(widths)]
    return [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in arrays]


def dense(widths: Sequence[int]) -> Callable[..., torch.Tensor]:
    """The network by PyTorch alone, on the table of all pairs."""

    def run(x: torch.Tensor, y: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        h = x[:, None] - y[None]
        for n, (w, (columns, rows)) in enumerate(zip(weights, pairwise(widths), strict=True)):
            h = (torch.relu(h) if n else h) @ w.view(rows, columns).T
        return h.sum(1)

    return run


def least(call: Callable[[], Any]) -> float:
    """Milliseconds of the fastest run, after one that builds."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def timed(run: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> list[float]:
    """Value; value and gradient in x; value and gradient in the weights."""
    constants = [tensor.detach() for tensor in tensors]
    in_x = [tensors[0], *constants[1:]]
    in_weights = [*constants[:2], *tensors[2:]]
    return [
        least(lambda: run(*constants)),
        least(lambda: torch.autograd.grad(run(*in_x).sum(), in_x[:1])),
        least(lambda: torch.autograd.grad(run(*in_weights).sum(), in_weights[2:])),
    ]


def main() -> None:
    """Both tables."""
    widths = (16, 48, 48, 1)
    text, aliases = formula(widths)
    engines: dict[str, Callable[..., torch.Tensor]] = {"clreduce": Genred(text, aliases, "Sum", axis=1)}
    try:
        from pykeops.torch import Genred as KeOps
    except ImportError:
        print("pykeops is not installed")
    else:
        keops = KeOps(text, aliases, reduction_op="Sum", axis=1)
        engines["KeOps (CPU)"] = lambda *args: keops(*args, backend="CPU")
    engines["dense PyTorch"] = dense(widths)
    tensors = data(widths)
    exact = dense(widths)(*(tensor.double() for tensor in tensors))
    print(
        f"{clreduce.current_device()}, {torch.get_num_threads()} threads of PyTorch, float32, {POINTS} x {POINTS} pairs"
    )
    print(f"\n{'-'.join(map(str, widths)):16}{'value':>10}{'+ in x':>10}{'+ in w':>10}{'error':>10}   ms")
    for name, run in engines.items():
        error = float((run(*tensors).detach() - exact.detach()).abs().max() / exact.detach().abs().max())
        print(f"{name:16}" + "".join(f"{ms:10.2f}" for ms in timed(run, tensors)) + f"{error:10.0e}", flush=True)
    print(f"\n{'layers of 32':16}{'value':>10}{'+ in x':>10}{'+ in w':>10}{'value per layer':>18}   ms")
    for layers in range(1, 7):
        widths = (32,) * (layers + 1)
        text, aliases = formula(widths)
        times = timed(Genred(text, aliases, "Sum", axis=1), data(widths))
        print(f"{layers:<16}" + "".join(f"{ms:10.2f}" for ms in times) + f"{times[0] / layers:18.2f}", flush=True)


if __name__ == "__main__":
    main()
