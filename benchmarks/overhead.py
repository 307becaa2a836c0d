"""What a call costs beside the computing: a `LazyTensor` recorded anew each time, beside the same `Genred`.

    python benchmarks/overhead.py            # M = N = 100, a formula of 5 operations
    python benchmarks/overhead.py --size 1000 --rounds 3000 --peers
    python benchmarks/overhead.py --jax      # a value with its gradients, in functions that JAX compiles

The calls are interleaved, and low quantiles are shown: other programs on the machine make single calls longer, never
shorter. ``main thread`` is processor time of the calling thread, without the driver's threads and without waiting.
With ``--peers`` PyKeOps is measured too, if it is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from clreduce.numpy import Genred, LazyTensor

FORMULA = "Exp(-Sum(Square(x - y)) / 2)"
ALIASES = ["x = Vi(3)", "y = Vj(3)"]
Calls = dict[str, Callable[[], Any]]


def recorded(kind: Any, x: Any, y: Any) -> Any:
    """The formula, recorded."""
    x_i, y_j = kind(x[:, None, :]), kind(y[None, :, :])
    return (-((x_i - y_j) ** 2).sum(-1) / 2).exp()


def own_calls(x: Any, y: Any) -> Calls:
    routine = Genred(FORMULA, ALIASES, "Sum", axis=1)
    kept = recorded(LazyTensor, x, y)
    return {
        "Genred": lambda: routine(x, y),
        "LazyTensor": lambda: recorded(LazyTensor, x, y).sum(axis=1),
        "LazyTensor, new data": lambda: recorded(LazyTensor, x.copy(), y.copy()).sum(axis=1),
        "recording alone": lambda: recorded(LazyTensor, x, y),
        "reduction alone": lambda: kept.sum(axis=1),
    }


def peer_calls(x: Any, y: Any) -> Calls:
    try:
        from pykeops.numpy import Genred as PeerGenred
        from pykeops.numpy import LazyTensor as PeerTensor
    except ImportError:
        return {}
    routine = PeerGenred(FORMULA, ALIASES, reduction_op="Sum", axis=1)
    return {
        "pykeops Genred": lambda: routine(x, y),
        "pykeops LazyTensor": lambda: recorded(PeerTensor, x, y).sum(axis=1),
    }


def calls_of_jax(x: Any, y: Any) -> Calls:
    """The value and its gradients: for NumPy, in a compiled function of JAX, and there from the dense table."""
    import jax
    import jax.numpy as jnp

    import clreduce.jax

    routine, of_jax = (kind(FORMULA, ALIASES, "Sum", axis=1) for kind in (Genred, clreduce.jax.Genred))
    ones, arrays = np.ones((len(x), 1), x.dtype), (jnp.asarray(x), jnp.asarray(y))

    def dense(x: Any, y: Any) -> Any:
        return jnp.exp(-((x[:, None] - y) ** 2).sum(-1) / 2).sum(1)

    def differentiated(function: Any) -> Any:
        return jax.jit(jax.value_and_grad(lambda x, y: function(x, y).sum(), (0, 1)))

    followed, table, value = differentiated(of_jax), differentiated(dense), jax.jit(of_jax)
    return {
        "NumPy, value, gradients": lambda: (routine(x, y), routine.vjp(x, y, cotangent=ones)),
        "jit, value, gradients": lambda: jax.block_until_ready(followed(*arrays)),
        "jit, dense, the same": lambda: jax.block_until_ready(table(*arrays)),
        "jit, value": lambda: jax.block_until_ready(value(*arrays)),
    }


def measured(calls: Calls, rounds: int) -> dict[str, tuple[Any, Any]]:
    """For each call, microseconds in each round: by the clock, and of this thread's processor time."""
    found = {name: np.empty((2, rounds)) for name in calls}
    for call in calls.values():
        call()
    for n in range(rounds):
        for name, call in calls.items():
            cpu, wall = time.thread_time(), time.perf_counter()
            call()
            found[name][:, n] = 1e6 * (time.perf_counter() - wall), 1e6 * (time.thread_time() - cpu)
    return {name: (times[0], times[1]) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100, help="M and N")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--peers", action="store_true", help="PyKeOps too")
    parser.add_argument("--jax", action="store_true", help="calls of clreduce.jax too, beside dense JAX")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(options.size, 3)).astype(np.float32) for _ in range(2))
    calls = own_calls(x, y) | (peer_calls(x, y) if options.peers else {})
    calls |= calls_of_jax(x, y) if options.jax else {}
    found = measured(calls, options.rounds)
    print(f"microseconds per call, M = N = {options.size}, {options.rounds} rounds")
    print(f"{'':22} {'least':>7} {'5 %':>7} {'25 %':>7} {'median':>7}  {'main thread, 5 %':>16}")
    for name, (wall, cpu) in found.items():
        low = " ".join(f"{value:7.0f}" for value in np.quantile(wall, [0, 0.05, 0.25, 0.5]))
        print(f"{name:22} {low}  {np.quantile(cpu, 0.05):16.0f}")
    differences = [np.quantile(found[name][0], 0.05) for name in ("LazyTensor", "Genred")]
    print(f"a LazyTensor call costs {differences[0] - differences[1]:.0f} microseconds more than the same Genred call")


if __name__ == "__main__":
    main()
