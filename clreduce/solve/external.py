"""Solvers of other libraries: any function with the arguments of the solvers of ``scipy.sparse.linalg``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from clreduce.errors import ShapeError, SolveError
from clreduce.solve.iteration import Array, Iteration, SolveInfo, SystemTask, ratio


@dataclass
class FlatOperator:
    """alpha + K for all systems together, as a linear operator of SciPy on vectors of all their unknowns."""

    multiply: Callable[[Array], Array]
    multiply_transposed: Callable[[Array], Array]
    form: tuple[int, ...]
    """The shape of the unknowns: (batch.., n, E)."""
    count: int = 0
    """The number of products so far."""

    def __post_init__(self) -> None:
        self.shape = (prod(self.form),) * 2
        self.dtype = np.dtype(np.float64)

    def matvec(self, vector: Array) -> Array:
        """The product with a vector."""
        self.count += 1
        return self._applied(self.multiply, vector)

    def rmatvec(self, vector: Array) -> Array:
        """The product of the transpose with a vector."""
        self.count += 1
        return self._applied(self.multiply_transposed, vector)

    def __matmul__(self, vector: Array) -> Array:
        return self.matvec(vector)

    def _applied(self, multiply: Callable[[Array], Array], vector: Array) -> Array:
        product: Array = multiply(np.array(vector, np.float64).reshape(self.form)).reshape(np.shape(vector)).copy()
        return product


@dataclass
class _FlatPreconditioner(FlatOperator):
    """A preconditioner as a linear operator of SciPy, on vectors of all unknowns."""


class External(Iteration):
    """One call of the caller's function for all systems together; each right-hand side is scaled to norm 1."""

    def __init__(self, task: SystemTask, function: Callable[..., object], transposed: Callable[[Array], Array]) -> None:
        super().__init__(task)
        self.function, self._transposed = function, transposed

    def run(self, start: Array | None) -> tuple[Array, SolveInfo]:
        form = self.b.shape
        operator = FlatOperator(self.operator.product, self._transposed, form)
        unit = self.b * ratio(np.ones_like(self.scale), self.scale)
        options = self._options(form, start)
        answer: Any = self.function(operator, unit.ravel(), **options)
        flat = np.asarray(answer[0] if isinstance(answer, tuple) else answer, np.float64)
        if flat.size != self.b.size:
            raise ShapeError(
                f"the function solver(A, b) must return x or (x, info) with {self.b.size} numbers in x; got {flat.size}"
            )
        solution = flat.reshape(form) * self.scale
        if not np.isfinite(solution).all():
            raise SolveError("the function that was passed as solver returned nan or inf")
        residual = self.relative(self.b - self.product(solution))[..., 0, :]
        converged = bool((residual <= self.eps).all())
        return solution, SolveInfo(operator.count, residual, converged, "converged" if converged else "solver")

    def _options(self, form: tuple[int, ...], start: Array | None) -> dict[str, Any]:
        """The options of SciPy's solvers that the caller's function takes."""
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):
            parameters = inspect.signature(lambda A, b: None).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        systems = max(1, int((self.scale > 0).sum()))
        known: dict[str, Any] = {"rtol": self.eps / np.sqrt(systems), "atol": 0.0}
        if "rtol" not in parameters and "tol" in parameters:
            known["tol"] = known.pop("rtol")
        if start is not None:
            known["x0"] = (start * ratio(np.ones_like(self.scale), self.scale)).ravel()
        if self.task.patient:
            known["maxiter"] = self.task.maxiter
        if self.precondition is not None:
            known["M"] = _FlatPreconditioner(self.precondition, self.precondition, form)
        return {name: value for name, value in known.items() if takes_all or name in parameters}
