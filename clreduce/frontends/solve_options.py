"""How a linear system is solved: the options of a call, and the iteration with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clreduce.errors import ConvergenceWarning, ShapeError
from clreduce.frontends.conjugate import SolveInfo, conjugate_gradients
from clreduce.frontends.preconditioners import preconditioner_of
from clreduce.frontends.progress import SolveBar
from clreduce.frontends.system import System
from clreduce.frontends.warning import warn

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Solving:
    """How a system is solved: the options of a call."""

    eps: float
    maxiter: int | None
    preconditioner: Any
    callback: Callable[[int, Array], Any] | None
    progress: bool | None

    def limit(self, problem: System) -> int:
        """Products, at most."""
        largest = max(problem.groups.count(group) for group in set(problem.groups))
        return 10 * problem.size * largest if self.maxiter is None else self.maxiter

    @classmethod
    def checked(
        cls,
        eps: Any = 1e-6,
        maxiter: Any = None,
        preconditioner: Any = None,
        callback: Callable[[int, Array], Any] | None = None,
        progress: bool | None = None,
    ) -> Solving:
        """The options, or one error."""
        if isinstance(eps, bool) or not isinstance(eps, (int, float, np.number)) or not 0 <= eps < np.inf:
            raise ShapeError(f"eps is a number, 0 or more; got {eps!r}")
        if maxiter is not None and (
            isinstance(maxiter, bool) or not isinstance(maxiter, (int, np.integer)) or maxiter < 0
        ):
            raise ShapeError(f"maxiter is a whole number, 0 or more; got {maxiter!r}")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback is a function of the iteration and the residuals; got {callback!r}")
        return cls(float(eps), None if maxiter is None else int(maxiter), preconditioner, callback, progress)

    def run(self, problem: System, right: Array, start: Array | None = None) -> tuple[Array, SolveInfo]:
        """The solution, rounded to the data's precision, in which its residual has been computed.

        It warns if the residual is larger than ``eps``.
        """
        if right.size == 0:
            empty = right.shape[:-2] + right.shape[-1:]
            return right.astype(problem.dtype), SolveInfo(0, np.zeros(empty), True)
        if self.preconditioner is not None and problem.partial:
            raise ShapeError("preconditioners are for all pairs (i, j): leave ranges or preconditioner out")
        if problem.precondition is None:
            problem.precondition = preconditioner_of(self.preconditioner, problem)
        with SolveBar(self.eps, self.progress) as bar:

            def report(iteration: int, residuals: Array) -> None:
                bar.show(iteration, float(residuals.max()))
                if self.callback is not None:
                    self.callback(iteration, residuals)

            found, how = conjugate_gradients(
                problem, right, start, self.eps, self.limit(problem), problem.precondition, report
            )
        self._warn(how, problem)
        return found.astype(problem.dtype), how

    def _warn(self, how: SolveInfo, problem: System) -> None:
        if how.converged:
            return
        limited = how.iterations >= self.limit(problem)
        advice = "raise maxiter" if limited else "raise eps or alpha"
        advice += ", or use a preconditioner" if self.preconditioner is None else ""
        advice += ", or float64 data" if problem.dtype == np.float32 else ""
        warn(
            f"after {how.iterations} products the residual is {how.residuals.max():.2g} |b|, more than "
            f"eps={self.eps:.2g}{'' if limited else ', and rounding allows no less'}: {advice}",
            ConvergenceWarning,
        )
