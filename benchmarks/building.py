"""How long the first call of a formula takes: the time to build, for formulas that once took long.

    python benchmarks/building.py                      # all cases
    python benchmarks/building.py SoftDTW grad         # those whose name holds one of these words
    python benchmarks/building.py --longest=120        # seconds after which a case is ended

Each case runs in a process of its own, with empty caches of clreduce and PoCL. The device is tried, and a small
formula computed, before the clock starts. Seconds are those of: reading the formula (``Genred(...)``, and the
program of its gradient), our own lowering to OpenCL C, and the rest of the first call, which is the driver's compiler.
The last columns are the length of the text in thousands of characters and the peak of the process's memory. A case that
is refused shows its error.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from clreduce.domain import Domain

Case = tuple[str, list[str], str]
"""A formula, its aliases, and the variable to differentiate in ("" for the value)."""
XY = ["x = Vi(1)", "y = Vj(1)"]
SECONDS = 600.0


def soft_dtw(length: int, wrt: str = "") -> Case:
    """The soft dynamic time warping of two sequences."""
    return "SoftDTW_SqDist(x, y, g)", [f"x = Vi({length})", f"y = Vj({length})", "g = Pm(1)"], wrt


def nested_gradients(depth: int, inner: str, by_b: bool = True) -> Case:
    """``depth`` gradients, each of the one before, all in one direction or each in a new one."""
    text = inner
    for _ in range(depth):
        text = f"Grad({text}, x{', b' if by_b else ''})"
    return text, ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], ""


def deep(depth: int) -> Case:
    """A chain of functions."""
    text = "x - y"
    for _ in range(depth):
        text = f"Sin({text})"
    return text, XY, ""


CASES: dict[str, Callable[[], Case]] = {
    "SoftDTW 12": lambda: soft_dtw(12),
    "SoftDTW 24": lambda: soft_dtw(24),
    "SoftDTW 24, gradient": lambda: soft_dtw(24, "x"),
    "SoftDTW 50": lambda: soft_dtw(50),
    "SoftDTW 50, gradient": lambda: soft_dtw(50, "x"),
    "prod of 400 components": lambda: ("", ["x = Vi(400)", "y = Vj(400)"], ""),
    "product of 500 factors": lambda: (" * ".join(f"(x + {n}*y)" for n in range(500)), XY, ""),
    "product of 500 factors, gradient": lambda: (" * ".join(f"(x + {n}*y)" for n in range(500)), XY, "x"),
    "sum of 100 Exp(x*j)": lambda: (" + ".join(f"Exp(x*{n})" for n in range(1, 101)) + " + y", XY, ""),
    "sum of 300 Exp(x*j)": lambda: (" + ".join(f"Exp(x*{n})" for n in range(1, 301)) + " + y", XY, ""),
    "sum of 300 Exp(x*j), gradient": lambda: (" + ".join(f"Exp(x*{n})" for n in range(1, 301)) + " + y", XY, "x"),
    "sum of 300 Exp((x - y)*j)": lambda: (" + ".join(f"Exp((x - y)*{n})" for n in range(1, 301)), XY, ""),
    "Concat of 5000": lambda: (f"Concat({', '.join(['x', 'y'] * 2500)})", XY, ""),
    "chain of 200 Sin": lambda: deep(200),
    "chain of 900 Sin": lambda: deep(900),
    "Grad of Sin nested 20": lambda: nested_gradients(20, "Sin(x*y)"),
}  # fmt: skip
for depth in (4, 8, 12, 16, 20):
    CASES[f"Grad nested {depth}"] = partial(nested_gradients, depth, "Exp(-SqDist(x, y))")
for depth in (8, 16, 20):
    CASES[f"Grad nested {depth}, new directions"] = partial(nested_gradients, depth, "Exp(-SqDist(x, y))", False)


def lap(start: float) -> tuple[float, float]:
    """The time now, and the seconds since ``start``."""
    now = time.perf_counter()
    return now, now - start


def measure(name: str) -> dict[str, Any]:
    """The case in this process."""
    from clreduce.numpy import Genred, LazyTensor
    from clreduce.runtime.devices import current_device

    Genred("x*y + Exp(x - y)", XY, "Sum", axis=1)(np.ones((3, 1)), np.ones((4, 1)))
    text, aliases, wrt = CASES[name]()
    if "new directions" in name:
        aliases = aliases[:2]
    rng = np.random.default_rng(0)
    sizes = [int(alias.split("(")[1].rstrip(")")) for alias in aliases]
    rows = [{"Vi": 40, "Vj": 50, "Pm": None}[alias.split("= ")[1][:2]] for alias in aliases]
    arrays = [rng.random((size,) if row is None else (row, size)) for row, size in zip(rows, sizes, strict=True)]
    result: dict[str, Any] = {"device": str(current_device())}
    start = time.perf_counter()
    try:
        if not text:
            x_i, y_j = LazyTensor(arrays[0][:, None]), LazyTensor(arrays[1][None])
            (x_i + y_j).prod(-1).sum(axis=1)
            start, result["driver"] = lap(start)
            result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            return result
        routine: Any = Genred(text, aliases, "Sum", axis=1)
        arrays += [rng.random((50 if v.domain == Domain.J else 40, v.dim)) for v in routine.variables[len(arrays) :]]
        program, call = routine.program, routine
        if wrt:
            at = [alias.split(" =")[0] for alias in aliases].index(wrt)
            (gradient,) = program.vjp([at])
            program, call = gradient.program, routine.grad(wrt)
            arrays.append(np.ones((40, 1)))
        start, result["read"] = lap(start)
        result["text"] = len(routine._plan_of(program, "float64", current_device()).source) / 1000
        start, result["lowered"] = lap(start)
        call(*arrays)
        start, result["driver"] = lap(start)
    except Exception as error:
        result["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
        result["refused"] = time.perf_counter() - start
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def in_new_process(name: str, longest: float) -> dict[str, Any]:
    """The case in a new process, with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CLREDUCE_CACHE_FOLDER": f"{folder}/clreduce", "POCL_CACHE_DIR": f"{folder}/pocl"}
        try:
            done = subprocess.run(
                [sys.executable, __file__, f"--case={name}"],
                env=environment, capture_output=True, text=True, timeout=longest,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {longest:.0f} s"}
    if done.returncode:
        return {"error": f"the process ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str]) -> None:
    """A line for each case."""
    longest = SECONDS
    words = []
    for argument in arguments:
        if argument.startswith("--case="):
            print(json.dumps(measure(argument.removeprefix("--case="))))
            return
        if argument.startswith("--longest="):
            longest = float(argument.removeprefix("--longest="))
        else:
            words.append(argument)
    device = ""
    for name in CASES:
        if words and not any(word in name for word in words):
            continue
        result = in_new_process(name, longest)
        if not device and "device" in result:
            device = result["device"]
            print(f"{device}, float64; seconds\n")
            print(f"{'':36}{'read':>8}{'lowered':>9}{'driver':>8}{'total':>8}{'text':>9}{'MB':>7}")
        columns = [result.get(key, 0.0) for key in ("read", "lowered", "driver")]
        line = "".join(f"{value:{width}.2f}" for value, width in zip(columns, (8, 9, 8), strict=True))
        total = sum(columns) + result.get("refused", 0.0)
        line += f"{total:8.2f}{result.get('text', 0):9.1f}{result.get('memory', 0):7.0f}"
        print(f"{name:36}{line}" + (f"  {result['error']}" if "error" in result else ""), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
