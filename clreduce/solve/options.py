"""The options of a solve of a linear system, and the iteration with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from clreduce.errors import ConvergenceWarning, NotConverged, OptionError, ShapeError, SolveError
from clreduce.language.names import did_you_mean
from clreduce.solve.conjugate import ConjugateGradients
from clreduce.solve.external import External
from clreduce.solve.iteration import Iteration, SolveInfo, SystemTask
from clreduce.solve.minimal_residual import Gmres, Minres
from clreduce.solve.preconditioners import preconditioner_of
from clreduce.solve.progress import SolveBar
from clreduce.solve.system import System
from clreduce.typing import Array
from clreduce.warning import warn

_SOLVERS: dict[str, type[Iteration]] = {
    "auto": ConjugateGradients, "cg": ConjugateGradients, "minres": Minres, "gmres": Gmres,
}  # fmt: skip
_KNOWN = (
    "alpha", "eps", "x0", "info", "maxiter", "solver", "preconditioner", "callback", "progress", "backend", "device_id",
    "ranges",
)  # fmt: skip
_MEANT = {
    **dict.fromkeys(("tol", "rtol", "atol", "tolerance", "epsilon", "precision"), "eps"),
    **dict.fromkeys(("max_iter", "max_iters", "max_iterations", "maxit", "n_iter", "niter", "iterations"), "maxiter"),
    **dict.fromkeys(("M", "precond", "P"), "preconditioner"),
    **dict.fromkeys(("ridge", "reg", "regularization", "lambda_", "lam", "nugget", "jitter", "damp", "shift"), "alpha"),
    **dict.fromkeys(("method", "algorithm"), "solver"),
    **dict.fromkeys(("verbose", "disp", "show"), "progress"),
    **dict.fromkeys(("guess", "initial_guess", "start", "init"), "x0"),
    **dict.fromkeys(("full_output", "return_info"), "info"),
}
"""The names of these options in other libraries."""
SolverChoice: TypeAlias = "str | Callable[..., object]"
"""The name of a solver, or a function with the arguments of the solvers of ``scipy.sparse.linalg``."""
Callback: TypeAlias = Callable[[int, Array], object]
"""A function of the iteration and its residuals."""


@dataclass(frozen=True)
class SolveOptions:
    """The checked options of a solve."""

    eps: float
    maxiter: int | None
    preconditioner: object
    """As the caller passed it; `preconditioner_of` checks it."""
    callback: Callback | None
    progress: bool | None
    solver: SolverChoice = "auto"
    """The name "auto", "cg", "minres" or "gmres", or a function with the arguments of SciPy's solvers."""

    def limit(self, problem: System) -> int:
        """The most products."""
        largest = max(problem.groups.count(group) for group in set(problem.groups))
        return 10 * problem.size * largest if self.maxiter is None else self.maxiter

    @property
    def needs_host(self) -> str | None:
        """The option that needs arrays on the host, in words; None if no option does."""
        if callable(self.solver):
            return "a solver of your own"
        if self.preconditioner is not None and self.preconditioner != "diagonal":
            return "this preconditioner"
        return None

    @property
    def is_general(self) -> bool:
        """Whether the operator need not be symmetric."""
        return self.solver == "gmres" or callable(self.solver)

    @classmethod
    def checked(
        cls,
        eps: object = 1e-6,
        maxiter: object = None,
        preconditioner: object = None,
        callback: object = None,
        progress: object = None,
        solver: object = "auto",
        **unknown: object,
    ) -> SolveOptions:
        """The options of a call, checked; one error for wrong ones."""
        for name in unknown:
            hint = did_you_mean(name, _KNOWN, _MEANT)
            raise OptionError(f"a solve has no option {name!r}{hint}; known are {', '.join(_KNOWN)}")
        if isinstance(eps, bool) or not isinstance(eps, (int, float, np.number)) or not 0 <= eps < np.inf:
            raise ShapeError(f"eps must be a finite number, 0 or more; got {eps!r}")
        if maxiter is not None and (
            isinstance(maxiter, bool) or not isinstance(maxiter, (int, np.integer)) or maxiter < 0
        ):
            raise ShapeError(f"maxiter must be None or a whole number, 0 or more; got {maxiter!r}")
        if callback is not None and not callable(callback):
            raise OptionError(
                f"callback must be None or a function of the iteration and its residuals; got {callback!r}"
            )
        if not callable(solver) and not (isinstance(solver, str) and solver in _SOLVERS):
            raise OptionError(
                f"solver must be one of {', '.join(map(repr, _SOLVERS))}, or a function with the arguments of "
                f"scipy.sparse.linalg.cg; got {solver!r}"
            )
        if callback is not None and callable(solver):
            raise OptionError(
                "a function as solver does not call callback: bind it to the function with functools.partial(solver, "
                "callback=...), and leave the option out"
            )
        limit = None if maxiter is None else int(maxiter)
        shown = None if progress is None else bool(progress)
        return cls(float(eps), limit, preconditioner, callback, shown, solver)

    def run(
        self, problem: System, right: Array, start: Array | None = None, transposed: bool = False
    ) -> tuple[Array, SolveInfo]:
        """The solution, rounded to the precision of the data, with the residual of the rounded solution.

        With ``transposed``, the system has the transposed operator. A residual larger than ``eps`` makes a warning, or
        raises `NotConverged` if it no longer falls.
        """
        if right.size == 0:
            empty = right.shape[:-2] + right.shape[-1:]
            return right.astype(problem.dtype), SolveInfo(0, np.zeros(empty), True)
        if self.preconditioner is not None and problem.partial:
            raise ShapeError(
                "a preconditioner needs all pairs (i, j), and ranges leave some out: leave ranges or preconditioner out"
            )
        if problem.precondition is None:
            problem.precondition = preconditioner_of(self.preconditioner, problem)
        with SolveBar(self.eps, self.progress) as bar:

            def report(iteration: int, residuals: Array) -> None:
                bar.show(iteration, float(residuals.max()))
                if self.callback is not None:
                    self.callback(iteration, residuals)

            task = SystemTask(
                problem, right, self.eps, self.limit(problem), problem.precondition, report, self.callback is not None,
                patient=self.maxiter is not None,
            )  # fmt: skip
            solution, how = self._solved(problem, task, start, transposed)
        solution = solution.astype(problem.dtype)
        if not how.converged:
            self._tell(how, problem, solution)
        return solution, how

    def _solved(
        self, problem: System, task: SystemTask, start: Array | None, transposed: bool
    ) -> tuple[Array, SolveInfo]:
        if self.is_general:
            straight, other = problem.product, problem.transposed_product
            if transposed:
                task.operator = problem.transposed(None)
                task.precondition = task.precondition if self.preconditioner == "diagonal" else None
                straight, other = other, straight
            if callable(self.solver):
                return External(task, self.solver, other).run(start)
            return Gmres(task).run(start)
        assert isinstance(self.solver, str), "functions are for general operators"
        solver = _SOLVERS[self.solver]
        metric = None if self.solver == "cg" else problem.metric
        if metric is None:
            return problem.iteration(solver, task).run(start)
        weighted = problem.weighted(task, metric, transposed)
        try:
            return problem.iteration(solver, weighted).run(start)
        except SolveError as error:  # the kernel with its factors may itself be symmetric
            try:
                return problem.iteration(solver, task).run(start)
            except SolveError:
                raise error from None

    def _tell(self, how: SolveInfo, problem: System, solution: Array) -> None:
        """Warn of a residual that is too large, or raise `NotConverged` if more products would not help."""
        useless = how.reason == "stagnation" or (how.reason == "maxiter" and self.maxiter is None)
        residual = float(how.residuals.max())
        help_ = ["raise maxiter"] if how.reason == "maxiter" and not useless else []
        help_ += ["raise alpha"] if not help_ or useless else []
        help_ += ["use a preconditioner, such as ('nystrom', 100)"] if self.preconditioner is None else []
        help_ += ["use float64 data"] if problem.dtype == np.float32 else []
        help_ += ["raise eps"] if how.reason != "maxiter" else []
        help_ += ["give maxiter to go on all the same"] if useless else []
        why = {
            "stagnation": ", and no longer falls", "rounding": ", and rounding allows no less",
            "solver": ", where the function that was passed as solver ended",
        }.get(how.reason, "")  # fmt: skip
        message = (
            f"after {how.iterations} products the residual is {residual:.2g} |b|, more than eps={self.eps:.2g}{why}: "
            f"{', or '.join(help_)}"
        )
        if useless:
            raise NotConverged(message, residual, how.iterations, solution)
        warn(ConvergenceWarning(message, residual, how.iterations))
