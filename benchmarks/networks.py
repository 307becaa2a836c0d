"""Small networks on pairs, ``sum_j net(x_i - y_j)``: clreduce beside KeOps and dense PyTorch, and how layers add up.

    python benchmarks/networks.py
    python benchmarks/networks.py --rounds 31 --out RESULT.txt

Prints three tables: a network 16-48-48-1 and its gradients by each package; 1 to 6 layers of width 32 by clreduce; and
chains of products of 12 x 12 matrices. All calls of a table take turns, so that a slow moment of the machine meets each
of them. Times are medians in milliseconds: by the clock, and of processor time, all cores added up, which other
programs disturb less. KeOps is left out if it is not installed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

# Between their tasks, torch's threads wait by spinning, on cores that an OpenCL driver for the CPU needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

import clreduce
from clreduce.torch import Genred

POINTS = 200
LAYERS = range(1, 7)
CHAINS = (1, 3, 5)
ORDER = 12
HEADS = ("value", "+ in x", "+ in w")
Call = Callable[[], Any]


def formula(widths: Sequence[int]) -> tuple[str, list[str]]:
    """A network with ReLU between its layers, and its variables."""
    text, aliases = "(x - y)", [f"x = Vi({widths[0]})", f"y = Vj({widths[0]})"]
    for n, (columns, rows) in enumerate(pairwise(widths)):
        aliases.append(f"w{n} = Pm({rows * columns})")
        text = f"MatVecMult(w{n}, {text})" if n == 0 else f"MatVecMult(w{n}, ReLU({text}))"
    return text, aliases


def data(length: int, weights: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """[x, y, w0, w1, ...]: points with ``length`` components, and weights of these numbers of columns and rows."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(POINTS, length)) for _ in range(2)]
    arrays += [rng.normal(size=columns * rows) / np.sqrt(columns) for columns, rows in weights]
    return [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in arrays]


def dense(widths: Sequence[int]) -> Callable[..., torch.Tensor]:
    """The network by PyTorch alone, on the table of all pairs."""

    def run(x: torch.Tensor, y: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        h = x[:, None] - y[None]
        for n, (w, (columns, rows)) in enumerate(zip(weights, pairwise(widths), strict=True)):
            h = (torch.relu(h) if n else h) @ w.view(rows, columns).T
        return h.sum(1)

    return run


def chain(factors: int) -> tuple[str, list[str]]:
    """A product of so many matrices, the first one a difference of points, and its variables."""
    size = ORDER * ORDER
    text, aliases = "(x - y)", [f"x = Vi({size})", f"y = Vj({size})"]
    for n in range(factors):
        aliases.append(f"w{n} = Pm({size})")
        text = f"TensorDot({text}, w{n}, [{ORDER}, {ORDER}], [{ORDER}, {ORDER}], [1], [0])"
    return text, aliases


@dataclass(frozen=True)
class Times:
    """Medians in milliseconds."""

    clock: float
    processor: float


def medians(calls: Mapping[str, Call], rounds: int) -> dict[str, Times]:
    """The times of each call: one of each in turn, ``rounds`` times, after one that builds."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            clock, processor = time.perf_counter(), time.process_time()
            call()
            taken[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {name: Times(*(1e3 * median(part) for part in zip(*rows, strict=True))) for name, rows in taken.items()}


def calls(run: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> list[Call]:
    """Value; value and gradient in x; value and gradient in the weights."""
    constants = [tensor.detach() for tensor in tensors]
    in_x = [tensors[0], *constants[1:]]
    in_weights = [*constants[:2], *tensors[2:]]
    return [
        lambda: run(*constants),
        lambda: torch.autograd.grad(run(*in_x).sum(), in_x[:1]),
        lambda: torch.autograd.grad(run(*in_weights).sum(), in_weights[2:]),
    ]


def table(rows: Mapping[str, list[Call]], rounds: int) -> dict[str, list[Times]]:
    """The times of all calls, which take turns."""
    named = {f"{name}/{n}": call for name, row in rows.items() for n, call in enumerate(row)}
    times = medians(named, rounds)
    return {name: [times[f"{name}/{n}"] for n in range(len(row))] for name, row in rows.items()}


def line(name: str, *texts: str) -> str:
    """A line of a table."""
    return f"{name:16}" + "".join(f"{text:>18}" for text in texts)


def cells(row: Sequence[Times]) -> list[str]:
    """The clock's time, and processor time in brackets."""
    return [f"{times.clock:.2f} ({times.processor:.2f})" for times in row]


def packages(rounds: int) -> list[str]:
    """The network 16-48-48-1 by each package."""
    widths = (16, 48, 48, 1)
    text, aliases = formula(widths)
    engines: dict[str, Callable[..., torch.Tensor]] = {"clreduce": Genred(text, aliases, "Sum", axis=1)}
    lines = []
    try:
        from pykeops.torch import Genred as KeOps
    except ImportError:
        lines.append("pykeops is not installed")
    else:
        keops = KeOps(text, aliases, reduction_op="Sum", axis=1)
        engines["KeOps (CPU)"] = lambda *args: keops(*args, backend="CPU")
    engines["dense PyTorch"] = dense(widths)
    tensors = data(widths[0], list(pairwise(widths)))
    exact = dense(widths)(*(tensor.double() for tensor in tensors)).detach()
    times = table({name: calls(run, tensors) for name, run in engines.items()}, rounds)
    lines.append(line("-".join(map(str, widths)), *HEADS, "error"))
    for name, run in engines.items():
        error = float((run(*tensors).detach() - exact).abs().max() / exact.abs().max())
        lines.append(line(name, *cells(times[name]), f"{error:.0e}"))
    return lines


def layers(rounds: int) -> list[str]:
    """Networks of 1 to 6 layers by clreduce."""
    rows = {}
    for count in LAYERS:
        widths = (32,) * (count + 1)
        text, aliases = formula(widths)
        rows[str(count)] = calls(Genred(text, aliases, "Sum", axis=1), data(widths[0], list(pairwise(widths))))
    times = table(rows, rounds)
    lines = [line("layers of 32", *HEADS, "value per layer", "+ in w / value")]
    for name, row in times.items():
        value, _, in_w = (each.processor for each in row)
        lines.append(line(name, *cells(row), f"{value / int(name):.2f}", f"{in_w / value:.2f}"))
    return lines


def chains(rounds: int) -> list[str]:
    """Products of matrices by clreduce."""
    rows = {}
    for factors in CHAINS:
        text, aliases = chain(factors)
        rows[str(factors)] = calls(
            Genred(text, aliases, "Sum", axis=1), data(ORDER * ORDER, [(ORDER, ORDER)] * factors)
        )
    lines = [line(f"{ORDER} x {ORDER} products", *HEADS, "value per product")]
    for name, row in table(rows, rounds).items():
        lines.append(line(name, *cells(row), f"{row[0].processor / int(name):.2f}"))
    return lines


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, help="the result file")
    options = parser.parse_args()
    report = [
        f"python benchmarks/networks.py --rounds {options.rounds}, {datetime.date.today()}",
        f"{clreduce.current_device()}, {torch.get_num_threads()} threads of PyTorch; float32, {POINTS} x {POINTS}",
        "milliseconds by the clock (of processor time); ratios are of processor time",
    ]
    print("\n".join(report), flush=True)
    for part in (packages, layers, chains):
        lines = ["", *part(options.rounds)]
        print("\n".join(lines), flush=True)
        report += lines
    if options.out:
        options.out.write_text("\n".join(report) + "\n")


if __name__ == "__main__":
    main()
