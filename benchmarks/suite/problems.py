"""What is computed: each problem with its data, its formula, and a judge that compares results with float64 NumPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from seed_examples import CASES, Case
from seed_examples import data as example_data

Array = np.ndarray[Any, Any]
Result = tuple[Array, ...]
Judge = Callable[[Result], float]

LOOKED_AT = 100  # rows of each result that are compared: all of them would take longer than what is measured
SMALLEST = 64  # rows and columns that scaling leaves: more than the neighbours of any problem

EXPONENTIAL = {"float32": 12, "float64": 18}
"""Operations of ``exp`` in ``templates/exponentials.cl.mako``: clamping 2, rounding 2, remainder 2, polynomial 5 or 11,
power of two 2. Where registers serve as tables it takes fewer; the formula's operations stay comparable."""


@dataclass(frozen=True)
class Routine:
    """One reduction in the formula language that clreduce and KeOps share."""

    formula: str
    aliases: tuple[str, ...]
    reduction: str = "Sum"
    axis: int = 1
    count: int | None = None
    """How many indices the reduction keeps, for ArgKMin."""


@dataclass(frozen=True)
class Problem(ABC):
    """Something to compute over ``rows`` x ``columns`` pairs of vectors of length ``dim``."""

    rows: int
    columns: int
    dim: int

    @property
    def pairs(self) -> int:
        return self.rows * self.columns

    @property
    def size(self) -> str:
        """For tables."""
        return f"{self.rows} x {self.columns}"

    def scaled(self, factor: float) -> Problem:
        """The same with other numbers of rows and columns, though no fewer than `SMALLEST` because of the factor."""

        def scale(count: int) -> int:
            return max(min(count, SMALLEST), round(count * factor))

        return replace(self, rows=scale(self.rows), columns=scale(self.columns))

    @property
    @abstractmethod
    def routines(self) -> tuple[Routine, ...]:
        """One for each array of the result, all of the same arguments."""

    @abstractmethod
    def arrays(self, dtype: str) -> list[Array]:
        """The arguments of the routines, the same in each run."""

    @abstractmethod
    def judge(self, arrays: list[Array]) -> Judge:
        """The function that gives the error of a result for these arguments."""

    def operations(self, dtype: str) -> int | None:
        """Lane-wide operations per pair, a fused multiply-add being one; None if they were not counted."""
        return None


# ------------------------------------------------------------------------------------------------------------ Gaussian

GAUSSIAN = "Exp(-g * SqDist(x, y)) * b"


@dataclass(frozen=True)
class Gaussian(Problem):
    """``out_i = sum_j exp(-g |x_i - y_j|^2) b_j`` of shape (rows, width), with b of shape (columns, width)."""

    width: int = 1

    @property
    def aliases(self) -> tuple[str, ...]:
        return ("g = Pm(1)", f"x = Vi({self.dim})", f"y = Vj({self.dim})", f"b = Vj({self.width})")

    @property
    def forward(self) -> Routine:
        """The sum itself, of which others are derivatives."""
        return Routine(GAUSSIAN, self.aliases)

    @property
    def routines(self) -> tuple[Routine, ...]:
        return (self.forward,)

    def arrays(self, dtype: str) -> list[Array]:
        """[g, x, y, b]: g = 1/2; squared distances around 2, whatever the dimension, so that no term vanishes."""
        rng = np.random.default_rng(0)
        x, y = (rng.normal(size=(count, self.dim)) / np.sqrt(self.dim) for count in (self.rows, self.columns))
        return [array.astype(dtype) for array in (np.array([0.5]), x, y, rng.normal(size=(self.columns, self.width)))]

    def judge(self, arrays: list[Array]) -> Judge:
        g, x, y, b = doubles(arrays)
        chosen = some(self.rows)
        return partial(norm_error, expected=[(chosen, np.stack([np.exp(-g * squared(x[i], y)) @ b for i in chosen]))])

    def operations(self, dtype: str) -> int | None:
        """Subtract and multiply-add per component, scale, exp, one multiply-add per column of b."""
        return 2 * self.dim + 1 + EXPONENTIAL[dtype] + self.width


@dataclass(frozen=True)
class GaussianBatches(Gaussian):
    """``batches`` independent Gaussian sums in one call: arrays of shape (batches, rows or columns, D)."""

    batches: int = 1

    @property
    def pairs(self) -> int:
        return self.batches * self.rows * self.columns

    @property
    def size(self) -> str:
        return f"{self.batches} x {self.rows} x {self.columns}"

    def scaled(self, factor: float) -> Problem:
        """Fewer or more batches of the same size."""
        return replace(self, batches=max(2, round(self.batches * factor)))

    def arrays(self, dtype: str) -> list[Array]:
        whole = replace(self, rows=self.batches * self.rows, columns=self.batches * self.columns)
        g, *others = Gaussian.arrays(whole, dtype)
        return [g, *(array.reshape(self.batches, -1, array.shape[1]) for array in others)]

    def judge(self, arrays: list[Array]) -> Judge:
        g, *others = arrays
        judges = [super(GaussianBatches, self).judge([g, *(array[k] for array in others)]) for k in (0, -1)]
        return lambda result: max(judge((result[0][k],)) for k, judge in zip((0, -1), judges, strict=True))


@dataclass(frozen=True)
class GaussianGradient(Gaussian):
    """The gradients of the Gaussian sum in ``wrt``, pulled back from a cotangent e of shape (rows, width)."""

    wrt: tuple[str, ...] = ("x",)

    @property
    def routines(self) -> tuple[Routine, ...]:
        aliases = (*self.aliases, f"e = Vi({self.width})")
        return tuple(Routine(f"Grad({GAUSSIAN}, {v}, e)", aliases, axis=1 if v == "x" else 0) for v in self.wrt)

    def arrays(self, dtype: str) -> list[Array]:
        """[g, x, y, b, e]."""
        cotangent = np.random.default_rng(1).normal(size=(self.rows, self.width))
        return [*super().arrays(dtype), cotangent.astype(dtype)]

    def judge(self, arrays: list[Array]) -> Judge:
        g, x, y, b, e = doubles(arrays)

        def in_points(point: Array, weight: Array, others: Array, weights: Array) -> Array:
            """The gradient in one point of either side: the sum is symmetric in (x, e) and (y, b)."""
            k = np.exp(-g * squared(point, others)) * (weights @ weight)
            result: Array = -2 * g * (k[:, None] * (point - others)).sum(0)
            return result

        exact: dict[str, Callable[[int], Array]] = {
            "x": lambda i: in_points(x[i], e[i], y, b),
            "y": lambda j: in_points(y[j], b[j], x, e),
            "b": lambda j: np.exp(-g * squared(y[j], x)) @ e,
        }
        expected = []
        for v in self.wrt:
            chosen = some(self.rows if v == "x" else self.columns)
            expected.append((chosen, np.stack([exact[v](n) for n in chosen])))
        return partial(norm_error, expected=expected)

    def operations(self, dtype: str) -> None:
        """Not counted: what can be shared between gradients is a matter of taste."""


@dataclass(frozen=True)
class LogSumExp(Problem):
    """``out_i = log sum_j exp(-|x_i - y_j|^2)``, of shape (rows, 1)."""

    @property
    def routines(self) -> tuple[Routine, ...]:
        return (Routine("-SqDist(x, y)", points(self.dim), "LogSumExp"),)

    def arrays(self, dtype: str) -> list[Array]:
        """[x, y]."""
        return Gaussian(self.rows, self.columns, self.dim).arrays(dtype)[1:3]

    def judge(self, arrays: list[Array]) -> Judge:
        x, y = doubles(arrays)
        chosen = some(self.rows)
        exact = np.log([[np.exp(-squared(x[i], y)).sum()] for i in chosen])  # squared distances are small: no underflow
        return partial(norm_error, expected=[(chosen, exact)])


# ---------------------------------------------------------------------------------------------------------- neighbours


@dataclass(frozen=True)
class Neighbours(Problem):
    """The indices of the ``count`` columns nearest to each row: int64 of shape (rows, count)."""

    count: int = 1
    in_order: bool = False
    """Whether points stand in the order of their first coordinates, so that near ones come after far ones."""

    @property
    def routines(self) -> tuple[Routine, ...]:
        return (Routine("SqDist(x, y)", points(self.dim), "ArgKMin", count=self.count),)

    def arrays(self, dtype: str) -> list[Array]:
        """[x, y]."""
        found = Gaussian(self.rows, self.columns, self.dim).arrays(dtype)[1:3]
        return [array[np.argsort(array[:, 0])] for array in found] if self.in_order else found

    def judge(self, arrays: list[Array]) -> Judge:
        """Share of neighbours that are missing; any of equal distance will do, up to rounding."""
        x, y = doubles(arrays)
        chosen = some(self.rows)
        farthest = [np.partition(squared(x[i], y), self.count - 1)[self.count - 1] for i in chosen]
        slack = 1 + 100 * np.finfo(arrays[0].dtype).eps

        def missing(result: Result) -> float:
            found = 0
            for i, bound in zip(chosen, farthest, strict=True):
                neighbours = np.unique(result[0][i])  # one found twice counts once
                neighbours = neighbours[neighbours >= 0]
                found += int((squared(x[i], y[neighbours]) <= bound * slack).sum())
            return 1 - found / (len(chosen) * self.count)

        return missing

    def operations(self, dtype: str) -> int:
        """Subtract and multiply-add per component, one comparison."""
        return 2 * self.dim + 1


@dataclass(frozen=True)
class Assignment(Neighbours):
    """The nearest column of each row, as k-means asks for it: int64 of shape (rows, 1)."""

    @property
    def routines(self) -> tuple[Routine, ...]:
        return (Routine("SqDist(x, y)", points(self.dim), "ArgMin"),)

    def scaled(self, factor: float) -> Problem:
        """Fewer or more points; the centres stay."""
        return replace(super().scaled(factor), columns=self.columns)


# ------------------------------------------------------------------------------------------------------------ examples


@dataclass(frozen=True)
class Example(Problem):
    """One of the formulas of the examples; see ``seed_examples.py``."""

    case: Case = CASES[0]

    @property
    def routines(self) -> tuple[Routine, ...]:
        """For documentation only: the engines of formulas are called as ``seed_examples.py`` does it."""
        return (Routine(self.case.formula, self.case.more_aliases, self.case.reduction, self.case.axis),)

    def arrays(self, dtype: str) -> list[Array]:
        """[p, a, x, y], for a gradient also its cotangent e, for that of LogSumExp also its value c."""
        return example_data(self.case, self.rows, self.columns, dtype)

    def judge(self, arrays: list[Array]) -> Judge:
        chosen = some(self.rows if self.case.axis == 1 else self.columns)
        exact = self.case.numpy(chosen, *doubles(arrays))
        return partial(norm_error, expected=[(chosen, exact)])


# ------------------------------------------------------------------------------------------------------------- helpers


def points(dim: int) -> tuple[str, str]:
    """Aliases of one vector per row and one per column."""
    return f"x = Vi({dim})", f"y = Vj({dim})"


def doubles(arrays: list[Array]) -> list[Array]:
    """The same numbers in float64: the reference computes with what the engines were given."""
    return [array.astype(np.float64) for array in arrays]


def some(count: int) -> Array:
    """Up to `LOOKED_AT` numbers below ``count``, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, LOOKED_AT).astype(int))


def squared(point: Array, others: Array) -> Array:
    """Squared distances from one point, of shape (D,), to others, of shape (count, D): shape (count,)."""
    result: Array = np.square(others - point).sum(1)
    return result


def norm_error(result: Result, expected: list[tuple[Array, Array]]) -> float:
    """``|result - exact| / |exact|`` over the chosen rows, the largest of all arrays of the result.

    ``expected`` has for each array of the result the numbers of the rows looked at, and these rows in float64.
    """
    errors = []
    for array, (chosen, exact) in zip(result, expected, strict=True):
        assert array[chosen].shape == exact.shape, f"got rows of shape {array[chosen].shape}, not {exact.shape}"
        errors.append(float(np.linalg.norm(array[chosen] - exact) / np.linalg.norm(exact)))
    return max(errors)
