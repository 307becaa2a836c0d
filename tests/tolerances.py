"""Random calls with a tolerance, beside the exact results. ``python tests/tolerances.py 10000`` runs many of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from clreduce.call.pruning import running
from clreduce.numpy import Genred

Array = np.ndarray[Any, Any]
ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(2)", "s = Pm(1)"]
FORMULAS = {
    "Gaussian": "Exp(-s * SqDist(x, y))",
    "weighted Gaussian": "Exp(-s * SqDist(x, y)) * b",
    "Laplacian": "Exp(-s * Norm2(x - y)) * Elem(b, 0)",
    "rational": "b / (1 + s * SqDist(x, y))",
    "compact": "ReLU(1 - s * SqDist(x, y)) * b",
    "gradient": "(x - y) * Exp(-s * SqDist(x, y)) * Elem(b, 1)",
    "own": "IfElse(Elem(x, 0) - Elem(y, 0), Exp(-s * Sum(Abs(x - y))), Sin(Sum(x + y)) / 50)",
}
EXPONENTS = {"Gaussian": "-s * SqDist(x, y)", "bilinear": "s * (x | y)", "own": "Sin(Sum(x)) - s * Norm2(x - y)"}


@dataclass(frozen=True)
class Case:
    """A reduction of a formula, its data and a tolerance."""

    routine: Genred[Any]
    arrays: tuple[Array, ...]
    atol: float
    rtol: float
    axis: int


def points(rng: np.random.Generator, count: int) -> Array:
    """Points that are uniform, clustered, few, on a line, or apart from each other, by chance."""
    kind, scale = rng.integers(5), 10.0 ** rng.uniform(-1, 1)
    if kind == 0:
        cloud = rng.random((count, 2))
    elif kind == 1:
        cloud = rng.integers(0, 3, (count, 1)) + 0.05 * rng.normal(size=(count, 2))
    elif kind == 2:
        cloud = rng.random((5, 2))[rng.integers(0, 5, count)]
    elif kind == 3:
        cloud = np.linspace(-1, 1, count)[:, None] * np.ones(2)
    else:
        cloud = rng.normal(size=(count, 2)) * 10.0 ** rng.uniform(-2, 2, (count, 1))
    return np.ascontiguousarray(cloud * scale)


def random_case(rng: np.random.Generator, rows: int = 70, columns: int = 110) -> Case:
    """Rows and columns are of one number of points each, so that a run compiles few kernels."""
    reduction = str(rng.choice(["Sum", "Sum", "Mean", "LogSumExp", "SumSoftMaxWeight"]))
    adds = reduction in ("Sum", "Mean")
    text = str(rng.choice(list((FORMULAS if adds else EXPONENTS).values())))
    axis = int(rng.integers(2))
    second = "b" if reduction == "SumSoftMaxWeight" else None
    routine: Genred[Any] = Genred(text, ALIASES, reduction, axis=axis, formula2=second)
    arrays = (
        points(rng, rows), points(rng, columns), rng.normal(size=(columns, 2)) ** int(rng.choice([1, 2])),
        10.0 ** rng.uniform(-1, 4, 1),
    )  # fmt: skip
    tolerance = 10.0 ** rng.uniform(-10, -1)
    atol, rtol = [(tolerance, 0.0), (0.0, tolerance), (tolerance, tolerance), (0.0, 0.0)][int(rng.integers(4))]
    return Case(routine, arrays, atol, rtol, axis)


def excess(case: Case) -> tuple[float, float]:
    """By how much errors are beyond the tolerance, in parts of what rounding may add (at most 1 is right); and the part
    of the pairs that was visited."""
    result = case.routine(*case.arrays, atol=case.atol, rtol=case.rtol)
    exact = case.routine(*case.arrays, prune=False)
    told = running.LAST[case.routine.program]
    scale = np.abs(exact) + 1
    if case.routine.program.reduction.name in ("Sum", "Mean"):
        # What was added up, for terms may cancel.
        sizes: Genred[Any] = Genred(f"Abs({case.routine.formula})", ALIASES, case.routine.reduction_op, axis=case.axis)
        scale = sizes(*case.arrays) + 1e-290
    else:
        scale = scale + np.abs(case.arrays[2]).max()
    error = np.abs(result - exact) - case.atol - case.rtol * np.abs(exact)
    assert told.error <= (case.atol + case.rtol * np.abs(exact).max()) * (1 + 1e-9) + 1e-12
    return float((error / (1e-12 * scale)).max()), told.visited / told.pairs


def main(count: int) -> None:
    rng, worst, parts = np.random.default_rng(0), 0.0, []
    running.BLOCK = 8
    for number in range(count):
        case = random_case(rng)
        beyond, part = excess(case)
        assert beyond <= 1, (number, case, beyond)
        worst, _ = max(worst, beyond), parts.append(part)
    few = np.mean(np.array(parts) < 0.9)
    print(f"{count} cases within their tolerances, at worst {worst:.2g} of what rounding may add; {few:.0%} skip pairs")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
