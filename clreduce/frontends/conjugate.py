"""Conjugate gradients for many systems that share their products: one for each column of b and index of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clreduce.errors import SolveError

Array = np.ndarray[Any, Any]
_ROUNDING = 16
"""Errors of a product, in units of the rounding error of the sum of the sizes of its terms: at most so many."""


class Operator(Protocol):
    """What the iteration asks of a symmetric positive definite operator."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision in which products are computed."""

    @property
    def groups(self) -> tuple[int, ...]:
        """For each component of the unknown the number of its system."""

    def product(self, vector: Array) -> Array:
        """The operator times a vector of shape (batch.., n, E) in float64, which it rounds to ``dtype`` in place."""


@dataclass(frozen=True)
class SolveInfo:
    """How a solve ended."""

    iterations: int
    """Products with the operator in the iteration, not counting those that check the result."""
    residuals: Array
    """``|b - A a| / |b|``, computed from the solution, for each component of b: of shape (batch.., E). Components whose
    equations are coupled have one system, and its residual. 0 where b is 0."""
    converged: bool
    """Whether all of them are at most ``eps``."""


def conjugate_gradients(
    operator: Operator,
    b: Array,  # (batch.., n, E), float64
    start: Array | None,
    eps: float,
    maxiter: int,
    precondition: Callable[[Array], Array] | None,
    report: Callable[[int, Array], None],
) -> tuple[Array, SolveInfo]:
    """Solve ``operator a = b``. A system stops once its residual is at most ``eps`` times its part of b.

    The residual of the recurrence departs from the true one by rounding. So when all are small, the true residuals are
    computed, and the iteration starts anew from those that are not, as long as that makes them smaller.
    """
    return _Iteration(operator, b, eps, precondition, report).run(start, maxiter)


class _Iteration:
    def __init__(
        self,
        operator: Operator,
        b: Array,
        eps: float,
        precondition: Callable[[Array], Array] | None,
        report: Callable[[int, Array], None],
    ) -> None:
        self.operator, self.b, self.eps, self.report = operator, b, eps, report
        self.precondition = precondition
        groups = np.array(operator.groups)
        self._joined = None if len(set(operator.groups)) == len(groups) else (groups[:, None] == groups).astype(float)
        self.unit = float(np.finfo(operator.dtype).eps)
        with np.errstate(over="ignore", invalid="ignore"):
            self.scale = np.sqrt(self.dot(b, b))
        if not np.isfinite(self.scale).all():
            raise SolveError("the right-hand side holds nan or inf, or its norm is too large")

    def dot(self, a: Array, b: Array) -> Array:
        """Scalar products, of shape (batch.., 1, E): those of a coupled group stand in all of its places."""
        sums: Array = (a * b).sum(axis=-2, keepdims=True)
        return sums if self._joined is None else sums @ self._joined

    def relative(self, residual: Array) -> Array:
        """Norms of residuals over those of b; 0 where b is 0, for there the solution is 0."""
        found = np.zeros_like(self.scale)
        np.divide(np.sqrt(self.dot(residual, residual)), self.scale, out=found, where=self.scale > 0)
        return found

    def product(self, vector: Array) -> Array:
        found = self.operator.product(vector)
        if not np.isfinite(found).all():
            raise SolveError("a product with the operator holds nan or inf: look at the data, and at alpha")
        return found

    def run(self, start: Array | None, maxiter: int) -> tuple[Array, SolveInfo]:
        zero = self.scale == 0
        self.x = np.zeros_like(self.b) if start is None else np.where(zero, 0.0, start)
        self.count = 0
        residual = self.b.copy() if start is None else self.b - self.product(self.x)
        found = self.relative(residual)
        best, least = self.x.copy(), found
        stuck = np.zeros_like(zero)
        while True:
            active = (found > self.eps) & ~stuck
            if not active.any() or self.count >= maxiter:
                break
            self._descend(residual, active, maxiter)
            residual = self.b - self.product(self.x)
            found = self.relative(residual)
            better = found < least
            # An iteration that has not halved a residual is at the limit of rounding.
            stuck |= active & ~(found <= 0.5 * least)
            best = np.where(better, self.x, best)
            least = np.where(better, found, least)
        least = least[..., 0, :]
        return best, SolveInfo(self.count, least, bool((least <= self.eps).all()))

    def _descend(self, r: Array, active: Array, maxiter: int) -> None:
        """Move ``x`` until the recurrence says that all systems are solved; ``r`` are their residuals."""
        z = r if self.precondition is None else self.precondition(r)
        p = np.where(active, z, 0.0)
        rz = self.dot(r, z)
        first: tuple[Array, Array] | None = None
        for step in range(maxiter - self.count):
            self._check_preconditioner(rz, active)
            q = self.product(p)
            self.count += 1
            pq = self.dot(p, q)
            failing = active & ~(pq > 0)
            if failing.any():
                self._check_definite(p, q, pq, failing)
                active = active & ~failing
            if step == 0:
                first = p.copy(), q
            elif first is not None:
                self._check_symmetric(*first, p, q, active)
                first = None
            length = np.divide(rz, pq, out=np.zeros_like(pq), where=active)
            self.x += length * p
            r -= length * q
            residuals = self.relative(r)
            self.report(self.count, residuals[..., 0, :])
            active = active & (residuals > self.eps)
            if not active.any():
                return
            z = r if self.precondition is None else self.precondition(r)
            before, rz = rz, self.dot(r, z)
            p *= np.divide(rz, before, out=np.zeros_like(rz), where=active)
            p += np.where(active, z, 0.0)

    # -------------------------------------------------------------------------------------------------------- checks

    def _noise(self, a: Array, b: Array) -> Array:
        """A bound for the rounding error of <a, A b>. It takes one more product."""
        sizes = np.abs(self.dot(np.abs(a), self.product(np.abs(b))))
        return _ROUNDING * self.unit * sizes

    def _check_definite(self, p: Array, q: Array, pq: Array, failing: Array) -> None:
        sizes = _ROUNDING * self.unit * np.sqrt(self.dot(p, p) * self.dot(q, q))
        failing = failing & (pq < -np.maximum(self._noise(p, p), sizes))
        if failing.any():
            value = float((pq / np.maximum(self.dot(p, p), np.finfo(float).tiny))[failing].min())
            raise SolveError(
                f"the operator is not positive definite: <p, (alpha + K) p> / <p, p> is {value:.3g} for some p. "
                "Conjugate gradients need a positive definite K, or a larger alpha"
            )

    def _check_symmetric(self, p: Array, q: Array, other: Array, product: Array, active: Array) -> None:
        """Compare <p, A p'> and <A p, p'>, for the first two directions of a descent."""
        one, two = self.dot(p, product), self.dot(q, other)
        size = np.sqrt(self.dot(p, p) * self.dot(product, product)) + np.sqrt(self.dot(q, q) * self.dot(other, other))
        wrong = active & (np.abs(one - two) > np.sqrt(self.unit) * size)
        if wrong.any():
            wrong = wrong & (np.abs(one - two) > self._noise(p, other))
        if wrong.any():
            raise SolveError(
                f"the operator is not symmetric: <u, K v> = {float(one[wrong][0]):.6g} and <K u, v> = "
                f"{float(two[wrong][0]):.6g} for some u, v. Are the vectors of i and of j the same points?"
            )

    def _check_preconditioner(self, rz: Array, active: Array) -> None:
        if not (rz[active] > 0).all():
            raise SolveError("the preconditioner is not positive definite: <r, M r> <= 0, or nan, for some residual r")
