"""The base of iterative solvers. They solve many systems, one for each column of b and index of a batch, at once.

All systems share each product. A solver moves the iterate until its recurrence says that all systems are solved, and
then computes the true residuals. If these are too large, the solver starts anew from them, as long as that helps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from clreduce.errors import SolveError
from clreduce.typing import Array as Array
from clreduce.typing import DType

_ROUNDING = 16
"""A bound of the error of a product, in units of the rounding error of the sum of the absolute values of its terms."""
_FIRST_LOOKS = (500, 1000)
"""The fewest and the most products before the first check that residuals fall. Within these bounds, there are half as
many products as unknowns. The check is repeated whenever the number of products has doubled. Residuals of hard systems
may rise for hundreds of products first."""


class Operator(Protocol):
    """The operator of an iteration."""

    @property
    def dtype(self) -> DType:
        """The precision in which products are computed."""

    @property
    def groups(self) -> tuple[int, ...]:
        """The number of the system of each component of the unknown."""

    def product(self, vector: Array) -> Array:
        """The operator times a vector of shape (batch.., n, E) in float64, which it rounds to ``dtype`` in place."""


@dataclass(frozen=True)
class SolveInfo:
    """The outcome of a solve.

    Attributes
    ----------
    iterations : int
        Products with the operator in the iteration, without those that check the result.
    residuals : array
        ``|b - A a| / |b|``, computed from the solution, for each component of b: of shape (batch.., E). Components
        whose equations are coupled have one system, and its residual. 0 where b is 0.
    converged : bool
        Whether all residuals are at most ``eps``.
    reason : str
        Why the solve ended: "converged"; "maxiter"; "stagnation", where residuals no longer fell; "rounding", where the
        precision of the data allows no less; "solver", where a solver of the caller's has ended.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import Vi, Vj
    >>> x = np.array([[0.0], [1.0]])
    >>> a, info = (-Vi(x).sqdist(Vj(x))).exp().solve(np.ones(2), alpha=0.1, info=True)
    >>> info.converged, info.reason
    (True, 'converged')
    """

    iterations: int
    residuals: Array
    converged: bool
    reason: str = "converged"


class NotSymmetricError(SolveError):
    """The operator is not symmetric in the inner product of its task."""


@dataclass(frozen=True)
class Advice:
    """The end of an error about an operator that conjugate gradients cannot solve: the advice to the caller."""

    indefinite: str
    """The advice for an operator that is not positive definite."""
    asymmetric: str
    """The advice for an operator that is not symmetric."""


OF_SOLVES = Advice(
    "Conjugate gradients need a positive definite K, or a larger alpha. solver='minres' solves symmetric systems that "
    "are not definite",
    "Are the vectors of i and of j the same points? solver='gmres' solves systems that are not symmetric",
)
"""The advice for callers who choose a solver."""


@dataclass
class SystemTask:
    """A system of equations, and the options of its iteration."""

    operator: Operator
    b: Array
    """The right-hand sides, (batch.., n, E), in float64."""
    eps: float
    maxiter: int
    precondition: Callable[[Array], Array] | None = None
    report: Callable[[int, Array], None] = lambda iteration, residuals: None
    reports_each: bool = False
    """Whether ``report`` is called right after each product, and not later for a few products together."""
    metric: Array | None = None
    """Positive weights w, (batch.., n, 1 or E): the operator is symmetric in the inner product sum_i w_i u_i v_i."""
    patient: bool = True
    """Whether to go on until ``maxiter`` even if residuals hardly fall."""
    advice: Advice = OF_SOLVES
    """The advice of errors about the operator."""


class Iteration:
    """An iterative solver; subclasses implement `descend`."""

    least_gain: ClassVar[float] = 0.5
    """If a descent leaves more than this part of a residual, its system is not iterated any further."""

    def __init__(self, task: SystemTask) -> None:
        self.task, self.operator, self.b, self.eps = task, task.operator, task.b, task.eps
        self.report, self.precondition = task.report, task.precondition
        groups = np.array(self.operator.groups)
        self._joined = None if len(set(groups)) == len(groups) else (groups[:, None] == groups).astype(float)
        self.unit = float(np.finfo(self.operator.dtype).eps)
        with np.errstate(over="ignore", invalid="ignore"):
            self.scale = np.sqrt(self._by_system(self.b * self.b))
        if not np.isfinite(self.scale).all():
            raise SolveError(
                "the right-hand side holds nan or inf, or its norm overflows: look at np.isfinite(b).all()"
            )
        self.count = 0
        self.stagnates = False
        self._least = self._least_before = np.inf
        self._next_look = min(max(self.b.shape[-2] // 2, _FIRST_LOOKS[0]), _FIRST_LOOKS[1])

    def _by_system(self, terms: Array) -> Array:
        """Sums over rows, of shape (batch.., 1, E); components of one system all hold the sum over the system."""
        sums: Array = terms.sum(axis=-2, keepdims=True)
        return sums if self._joined is None else sums @ self._joined

    def dot(self, a: Array, b: Array) -> Array:
        """Inner products in the metric of the task, of shape (batch.., 1, E)."""
        metric = self.task.metric
        products = self._by_system(a * b if metric is None else a * metric * b)
        self._check_sums(a, products)
        return products

    def squares(self, residual: Array) -> Array:
        """Sums of squares, of shape (batch.., 1, E)."""
        return self._by_system(residual * residual)

    def relative(self, residual: Array, squares: Array | None = None) -> Array:
        """Norms of residuals relative to those of b; 0 where b is 0, since the solution is 0 there."""
        squares = self.squares(residual) if squares is None else squares
        self._check_sums(residual, squares)
        return self._norms(squares)

    def _norms(self, squares: Array) -> Array:
        """Norms relative to those of b, from sums of squares."""
        norms = np.zeros_like(self.scale)
        np.divide(np.sqrt(squares), self.scale, out=norms, where=self.scale > 0)
        return norms

    def product(self, vector: Array) -> Array:
        """The operator times a vector, which is rounded in place."""
        result: Any = self.operator.product(vector)
        if isinstance(result, np.ndarray):  # for vectors on a device, the first sum over the product shows it
            self._check_finite(result)
        product: Array = result
        return product

    def _check_sums(self, vector: Any, sums: Array) -> None:
        """Raise an error if sums over a vector on a device show that products held nan or inf."""
        if not isinstance(vector, np.ndarray):
            self._check_finite(sums)

    @staticmethod
    def _check_finite(numbers: Array) -> None:
        if not np.isfinite(numbers).all():
            raise SolveError("a product with the operator holds nan or inf: look at the data, and at alpha")

    def run(self, start: Array | None) -> tuple[Array, SolveInfo]:
        """The solution, and the outcome of the solve."""
        zero = self.scale == 0
        self.x = np.zeros_like(self.b) if start is None else np.where(zero, 0.0, start)
        residual, residuals = (self.b.copy(), np.where(zero, 0.0, 1.0)) if start is None else self.residual()
        best, least, stuck = self.x.copy(), residuals, np.zeros_like(zero)
        while True:
            active = (residuals > self.eps) & ~stuck
            if not active.any() or self.count >= self.task.maxiter or self.stagnates:
                break
            self.descend(residual, active)
            residual, residuals = self.residual()
            better = residuals < least
            # A residual that a descent from its true value has not made smaller is at the limit of rounding.
            stuck |= active & ~(residuals <= self.least_gain * least)
            best = np.where(better, self.x, best)
            least = np.where(better, residuals, least)
        least = least[..., 0, :]
        converged = bool((least <= self.eps).all())
        return best, SolveInfo(self.count, least, converged, self._reason(converged))

    def residual(self) -> tuple[Array, Array]:
        """The residual b - A x and its norms relative to those of b; ``x`` is rounded in place."""
        residual = self.b - self.product(self.x)
        return residual, self.relative(residual)

    def _reason(self, converged: bool) -> str:
        if converged:
            return "converged"
        if self.stagnates:
            return "stagnation"
        return "maxiter" if self.count >= self.task.maxiter else "rounding"

    def descend(self, residual: Array, active: Array) -> None:
        """Move ``x`` until the recurrence says that the active systems are solved. ``residual`` may be overwritten."""
        raise NotImplementedError

    def noted(self, residuals: Array, active: Array) -> bool:
        """Report residuals, (batch.., 1, E), to the caller; return whether they still fall, so that to go on helps."""
        self.report(self.count, residuals[..., 0, :].copy())
        if self.task.patient:
            return True
        self._least = min(self._least, float(residuals[active].max(initial=0.0)))
        if self.count >= self._next_look:
            self.stagnates = self._least > 0.5 * self._least_before
            self._least_before = self._least
            self._next_look = 2 * self.count
        return not self.stagnates

    # -------------------------------------------------------------------------------------------------------- checks

    def noise(self, a: Array, b: Array) -> Array:
        """A bound of the rounding error of <a, A b>, which takes one more product."""
        sizes = np.abs(self.dot(np.abs(a), self.product(np.abs(b))))
        return _ROUNDING * self.unit * sizes

    def check_symmetric(self, p: Array, q: Array, other: Array, product: Array, active: Array) -> None:
        """Compare <p, A p'> and <A p, p'>, for two directions p and p' with their products."""
        sums = [
            self.dot(*pair) for pair in ((p, product), (q, other), (p, p), (product, product), (q, q), (other, other))
        ]
        self.judge_symmetry(sums, lambda: self.noise(p, other), active)

    def judge_symmetry(self, sums: Sequence[Array], noise: Callable[[], Array], active: Array) -> None:
        """Raise an error where <u, A v> and <A u, v> differ by more than rounding.

        ``sums`` has these two, then <u, u>, <A v, A v>, <A u, A u> and <v, v>. ``noise`` bounds their rounding errors.
        """
        straight, turned = sums[:2]
        size = np.sqrt(sums[2] * sums[3]) + np.sqrt(sums[4] * sums[5])
        wrong = active & (np.abs(straight - turned) > np.sqrt(self.unit) * size)
        if wrong.any():
            wrong = wrong & (np.abs(straight - turned) > noise())
        if wrong.any():
            raise NotSymmetricError(
                f"the operator is not symmetric: <u, K v> = {float(straight[wrong][0]):.6g} and <K u, v> = "
                f"{float(turned[wrong][0]):.6g} for some u, v. {self.task.advice.asymmetric}"
            )

    def check_definite(self, p: Array, q: Array, pq: Array, failing: Array) -> None:
        """Raise an error where <p, A p> is negative by more than rounding."""
        sizes = _ROUNDING * self.unit * np.sqrt(self.dot(p, p) * self.dot(q, q))
        failing = failing & (pq < -np.maximum(self.noise(p, p), sizes))
        if failing.any():
            value = float((pq / np.maximum(self.dot(p, p), np.finfo(float).tiny))[failing].min())
            raise SolveError(
                f"the operator is not positive definite: <p, (alpha + K) p> / <p, p> is {value:.3g} for some p. "
                f"{self.task.advice.indefinite}"
            )

    def check_preconditioner(self, rz: Array, active: Array) -> None:
        """Raise an error unless <r, M r> is positive."""
        if not (rz[active] > 0).all():
            raise SolveError(
                "the preconditioner is not positive definite: <r, M r> is 0, negative or nan for some residual r. "
                "Pass another one, or preconditioner=None"
            )


def ratio(a: Array, b: Array, where: Array | None = None) -> Array:
    """a / b, and 0 where b is 0 or ``where`` is false."""
    usable = b != 0 if where is None else where & (b != 0)
    quotient: Array = np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=usable)
    return quotient
