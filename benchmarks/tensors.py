"""PyTorch's front end: the log-sum-exp example beside PyKeOps, what a call costs beside NumPy's, and its memory.

    python benchmarks/tensors.py                        # all three
    python benchmarks/tensors.py --only memory --driver "pocl 3.0" --save

``example``: value and gradient in y of ``log sum_j exp((p - a_j)^2 exp(x_i + y_j))``, 3000 x 5000 pairs, in float32, as
``torch.autograd.grad(c, y, e)``; engines take turns, with a pause between them, and errors are those against float64.
``overhead``: microseconds of a call at M = N = 100 beside the same of NumPy arrays: low quantiles, for other
programs make single calls longer, never shorter. The gradients are those in x, y and b.
``memory``: MiB that the process takes, after 10 and after 200 rounds of a value and its gradients at M = N = 20,000.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from seed_examples import PAUSE

import clreduce
import clreduce.numpy
import clreduce.torch

os.environ.setdefault("POCL_AFFINITY", "1")  # as in the suite, before the first OpenCL call
ROOT = Path(__file__).resolve().parent
Calls = dict[str, Callable[[], Any]]
GAUSS = "Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum"
LOGSUMEXP = "Square(p - a) * Exp(x + y)", ["p = Pm(1)", "a = Vj(1)", "x = Vi(1)", "y = Vj(1)"]


def interleaved(calls: Calls, rounds: int, pause: float = 0.0) -> dict[str, list[float]]:
    """Seconds of each call, in turns; ``pause``: before each, in which the threads of the last one come to rest."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            if pause:
                time.sleep(pause)
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return found


# --------------------------------------------------------------------------------------------- the log-sum-exp example


def example(rounds: int) -> str:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(1, generator=generator)
    a, y, x, e = (torch.randn(size, 1, generator=generator) for size in (5000, 5000, 3000, 3000))
    y.requires_grad_()

    def engine(kind: Any, **options: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
        routine = kind(*LOGSUMEXP, reduction_op="LogSumExp", axis=1)

        def value() -> Any:
            with torch.no_grad():
                return routine(p, a, x, y, **options)

        kept = routine(p, a, x, y, **options)
        return value, lambda: torch.autograd.grad(kept, y, e, retain_graph=True)[0]

    engines = {"clreduce": engine(clreduce.torch.Genred)}
    try:
        from pykeops.torch import Genred as Peer
    except ImportError:
        pass
    else:
        engines["pykeops (CPU)"] = engine(Peer, backend="CPU")
    exact_y = y.detach().double().requires_grad_()
    terms = (p.double() - a.double().T) ** 2 * torch.exp(x.double() + exact_y.T)
    exact = terms.logsumexp(1, keepdim=True)
    exacts = exact.detach(), torch.autograd.grad(exact, exact_y, e.double())[0]
    lines = [f"{'':<12}{'engine':<16}{'median ms':>10}{'ratio':>8}{'error':>10}"]
    for n, what in enumerate(("value", "gradient in y")):
        found = interleaved({name: calls[n] for name, calls in engines.items()}, rounds, PAUSE)
        for name, times in found.items():
            median = statistics.median(times)
            error = float((engines[name][n]() - exacts[n]).norm() / exacts[n].norm())
            ratio = median / statistics.median(found["clreduce"])
            lines.append(f"{what:<14}{name:<16}{1e3 * median:>8.2f}{ratio:>8.1f}{error:>10.1e}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------ overhead


def overhead(rounds: int) -> str:
    rng = np.random.default_rng(0)
    arrays = [rng.random((100, dim), np.float32) for dim in (3, 3, 1)]
    ones, by_numpy = np.ones((100, 1), np.float32), clreduce.numpy.Genred(*GAUSS, axis=1)
    tensors, by_torch = [torch.from_numpy(one.copy()) for one in arrays], clreduce.torch.Genred(*GAUSS, axis=1)
    followed, weights = [one.clone().requires_grad_() for one in tensors], torch.from_numpy(ones)

    def numpy_gradients() -> Any:
        return by_numpy.vjp(*arrays, cotangent=ones, output=by_numpy(*arrays))

    found = interleaved(
        {
            "NumPy: value": lambda: by_numpy(*arrays),
            "tensors: value": lambda: by_torch(*tensors),
            "tensors: value, followed": lambda: by_torch(*followed),
            "NumPy: value and gradients": numpy_gradients,
            "tensors: value and gradients": lambda: torch.autograd.grad(by_torch(*followed), followed, weights),
        },
        rounds,
    )
    lines = [f"{'microseconds':<30}{'least':>8}{'5 %':>8}{'median':>8}{'5 %, beyond NumPy':>20}"]
    low = {name: float(np.percentile(times, 5)) for name, times in found.items()}
    for name, times in found.items():
        own = "NumPy: value and gradients" if "gradients" in name else "NumPy: value"
        beyond = "" if name == own else f"{1e6 * (low[name] - low[own]):>20.0f}"
        figures = (min(times), low[name], statistics.median(times))
        lines.append(f"{name:<30}" + "".join(f"{1e6 * one:>8.0f}" for one in figures) + beyond)
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------------------- memory


def resident() -> float:
    """MiB of memory that this process takes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(rounds: int) -> str:
    x, y, b = (torch.rand(20_000, dim, requires_grad=True) for dim in (3, 3, 1))
    routine = clreduce.torch.Genred(*GAUSS, axis=1)
    taken = []
    for _ in range(rounds):
        routine(x, y, b).sum().backward()
        x.grad = y.grad = b.grad = None
        taken.append(resident())
    return (
        f"after 10 rounds {taken[9]:.1f} MiB, after {rounds} rounds {taken[-1]:.1f} MiB, the most {max(taken):.1f} MiB"
    )


def main() -> None:
    parts = {"example": (example, 15), "overhead": (overhead, 3000), "memory": (memory, 200)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=parts, nargs="+", default=list(parts))
    parser.add_argument("--driver", help="the OpenCL device, by words of its name")
    parser.add_argument("--save", action="store_true", help="write the tables to benchmarks/results as well")
    options = parser.parse_args()
    if options.driver:
        clreduce.set_default_device(options.driver)
    load = f"load average at the start {os.getloadavg()[0]:.1f}"
    text = f"{datetime.date.today()}, {clreduce.current_device()}, torch {torch.__version__}, {load}\n"
    for name in options.only:
        function, rounds = parts[name]
        text += f"\n{name}\n{function(rounds)}\n"
    print(text)
    if options.save:
        path = ROOT / "results" / f"tensors-{datetime.date.today()}-{clreduce.current_device().facts.driver}.txt"
        path.write_text(text, encoding="utf-8")
        print(f"written to {path}")


if __name__ == "__main__":
    main()
