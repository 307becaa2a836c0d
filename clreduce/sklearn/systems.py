"""Linear systems of kernel matrices, solved by conjugate gradients in memory linear in the number of points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh_tridiagonal, solve_triangular
from sklearn.exceptions import ConvergenceWarning

from clreduce.errors import NotConverged, SolveError
from clreduce.sklearn.kernels import WIDTH, PairKernel
from clreduce.solve.conjugate import ConjugateGradients
from clreduce.solve.iteration import Advice, SolveInfo, SystemTask
from clreduce.solve.preconditioners import partial_cholesky
from clreduce.typing import Array
from clreduce.warning import warn

_LEAST = 1e-12
"""The least part of the mean diagonal that `LowRank` adds to the columns of a kernel."""


_ADVICE = Advice(
    "Raise alpha, which is added to the diagonal of the kernel matrix, or use a positive definite kernel",
    "Use a symmetric kernel: k(x, y) = k(y, x)",
)
"""The advice for callers of estimators, who choose a kernel and no solver."""


def wide_product(product: Callable[[Array], Array], vectors: Array) -> Array:
    """``product`` of (n, E) vectors, which sees 1, 2, 4, 8 or 16 of them at once: so few kernels serve any E."""
    count = vectors.shape[1]
    width = min(1 << (count - 1).bit_length(), WIDTH)
    if width == count:
        return product(vectors)
    padded = np.zeros((len(vectors), -(-count // width) * width), vectors.dtype)
    padded[:, :count] = vectors
    blocks = [product(np.ascontiguousarray(padded[:, at : at + width])) for at in range(0, padded.shape[1], width)]
    return np.concatenate(blocks, axis=1)[:, :count]


class KernelSystem:
    """The matrix A = diag(scale) K(X, X) diag(scale) + diag(noise): symmetric, and positive definite as a rule."""

    metric = None

    def __init__(self, kernel: PairKernel, X: Array, noise: Array, scale: Array | None = None) -> None:
        """``noise`` is positive, of shape (n,); ``scale`` has the shape (n,), or is None for 1."""
        self.kernel, self.X, self.noise, self.scale = kernel, X, noise, scale
        self.dtype, self.size = X.dtype, len(X)
        self.alpha = float(noise.min())
        self.groups: tuple[int, ...] = (0,)

    def of_columns(self, count: int) -> KernelSystem:
        """This matrix for ``count`` right-hand sides."""
        system = KernelSystem(self.kernel, self.X, self.noise, self.scale)
        system.groups = tuple(range(count))
        return system

    def product(self, vectors: Array) -> Array:
        """A @ vectors, for (n, E) vectors in float64, which are rounded in place to the precision of the data."""
        if self.dtype != vectors.dtype:
            vectors[...] = vectors.astype(self.dtype)
        scaled = vectors if self.scale is None else vectors * self.scale[:, None]
        result = wide_product(lambda block: self.kernel.product(self.X, self.X, block), scaled).astype(float)
        if self.scale is not None:
            result *= self.scale[:, None]
        result += self.noise[:, None] * vectors
        return result

    def diagonal(self) -> Array:
        """The diagonal of A without the noise, of shape (n, 1)."""
        values = self.kernel.diagonal(self.X).astype(float)
        return (values if self.scale is None else values * self.scale**2)[:, None]

    def column(self, index: Array) -> Array:
        """Column ``index`` of A without the noise, of shape (n, 1)."""
        values = self.kernel.values(self.X, self.X[int(index)][None]).astype(float)
        return (values if self.scale is None else values * self.scale * self.scale[int(index)])[:, None]


class LowRank:
    """The matrix P = F F^T + diag(d) near that of a system; F has few columns. It is easy to invert."""

    def __init__(self, system: KernelSystem, rank: int, seed: int = 0) -> None:
        rank = min(rank, system.size)
        self.factor = partial_cholesky(system, rank, seed)[0] if rank else np.zeros((system.size, 0))
        diagonal = system.diagonal()[:, 0]
        rest = np.maximum(diagonal - (self.factor**2).sum(1), 0.0)
        # Without noise, columns that make all of the kernel leave nothing: rounding would decide over the sign of P^-1.
        self.d = system.noise + max(rest.mean(), _LEAST * diagonal.mean())
        if not (self.d > 0).all():
            raise SolveError(f"the kernel matrix with alpha is not positive definite. {_ADVICE.indefinite}")
        scaled = self.factor / self.d[:, None]
        root = np.linalg.cholesky(np.eye(self.factor.shape[1]) + self.factor.T @ scaled)
        self._log_determinant = float(2 * np.log(np.diag(root)).sum() + np.log(self.d).sum())
        # SciPy before 1.14 refuses a triangle without rows.
        self.inverse_factor: Array = solve_triangular(root, scaled.T, lower=True).T if rank else self.factor
        """W, of as many columns as F, so that P^-1 = diag(1 / d) - W W^T."""

    def solve(self, vectors: Array) -> Array:
        """P^-1 vectors, of shape (n, E)."""
        solution: Array = vectors / self.d[:, None]
        solution -= self.inverse_factor @ (self.inverse_factor.T @ vectors)
        return solution

    def log_determinant(self) -> float:
        """log det P."""
        return self._log_determinant

    def samples(self, random: np.random.RandomState, count: int) -> Array:
        """``count`` vectors of covariance P, of shape (n, count); they move little where P does."""
        inner, outer = (random.standard_normal((size, count)) for size in (self.factor.shape[1], len(self.d)))
        samples: Array = self.factor @ inner + np.sqrt(self.d)[:, None] * outer
        return samples


def solved(
    system: KernelSystem, right: Array, *, tol: float | None, max_iter: int | None, near: LowRank
) -> tuple[Array, int]:
    """A^-1 right, of shape (n, E), in float64; and how many products it took.

    Raises
    ------
    NotConverged
        Residuals no longer fall, far from the tolerance, and ``max_iter`` is None.
    SolveError
        A is not positive definite, or there is nan.

    Warns
    -----
    ConvergenceWarning
        The residual is larger than the tolerance after ``max_iter`` products, or rounding allows no less.
    """
    iteration = _iteration(system, right, tol, max_iter, near)
    solution, info = iteration.run(None)
    if info.reason == "stagnation":
        residual = float(info.residuals.max())
        raise NotConverged(_advice(system, near, info, residual, iteration.eps), residual, info.iterations, solution)
    _warn_of_residuals(system, near, info, info.residuals, iteration.eps)
    return solution, info.iterations


def _iteration(
    system: KernelSystem, right: Array, tol: float | None, max_iter: int | None, near: LowRank
) -> ConjugateGradients:
    operator, limit = system.of_columns(right.shape[1]), 10 * system.size if max_iter is None else max_iter
    exact = system.dtype == np.float64
    eps = tol if tol is not None else 1e-6 if exact else 1e-4
    task = SystemTask(
        operator, right.astype(float), eps, limit, near.solve, patient=max_iter is not None, advice=_ADVICE
    )
    return ConjugateGradients(task)


def _warn_of_residuals(
    system: KernelSystem, near: LowRank, info: SolveInfo, residuals: Array, tol: float
) -> None:  # fmt: skip
    largest = float(residuals.max(initial=0.0))
    if largest > tol:
        warn(ConvergenceWarning(_advice(system, near, info, largest, tol)))


def _advice(system: KernelSystem, near: LowRank, info: SolveInfo, residual: float, tol: float) -> str:
    why = {"stagnation": ", and no longer falls", "rounding": ", and rounding allows no less"}.get(info.reason, "")
    cures = ["raise max_iter"] if info.reason == "maxiter" else ["raise alpha (the noise)"]
    cures += ["use float64 data"] if system.dtype == np.float32 else []
    cures += [f"raise preconditioner_rank, which is {near.factor.shape[1]}"]
    cures += ["raise tol"] if info.reason == "rounding" else []
    return (
        f"after {info.iterations} products the residual is {residual:.2g} of the right-hand side, more than "
        f"tol={tol:.2g}{why}: {', or '.join(cures)}"
    )


class Spectrum:
    """Solutions of a system, and estimates of what depends on all of its eigenvalues, by random vectors.

    Parameters
    ----------
    system, near
        The matrix A, and the matrix P that preconditions it.
    right
        Right-hand sides, of shape (n, E).
    count
        How many random vectors there are: the error of the estimates falls with its square root.
    random
        Where their numbers come from.

    Attributes
    ----------
    solution
        A^-1 right.
    log_determinant
        About log det A: that of P exactly, and of P^-1 A by Lanczos quadrature.
    left, right, diagonal
        Of shape (n, E), (n, E) and (n,): tr(A^-1 B) is about sum(left * (B @ right)) + sum(diagonal * diag(B)), for any
        matrix B. That of P^-1 B is exact, and what A^-1 has beyond P^-1 is estimated.
    """

    def __init__(
        self, system: KernelSystem, near: LowRank, right: Array, count: int, random: np.random.RandomState,
        *, tol: float | None, max_iter: int | None,
    ) -> None:  # fmt: skip
        probes = near.samples(random, count)
        targets, n = right.shape[1], system.size
        iteration = _iteration(system, np.hstack([right, probes]), tol, max_iter, near)
        solution, self.info = iteration.run(None)
        _warn_of_residuals(system, near, self.info, self.info.residuals[:targets], iteration.eps)
        self.solution = solution[:, :targets]
        logs = [_first_entry_of_log(*matrix) for matrix in iteration.recurrences[0].tridiagonals()][targets:]
        self.log_determinant = near.log_determinant() + n * float(np.mean(logs))
        inverse, factor = near.solve(probes), near.inverse_factor
        # The direction of P^-1/2 probe is all that counts: with its length set to that of the mean, less is by chance.
        weights = n / (probes * inverse).sum(0) / count
        self.left = np.hstack([solution[:, targets:] - inverse, -factor])
        self.right, self.diagonal = np.hstack([inverse * weights, factor]), 1 / near.d


def _first_entry_of_log(diagonal: Array, beside: Array) -> float:
    """The first entry of the logarithm of a tridiagonal matrix."""
    values, vectors = eigh_tridiagonal(diagonal, beside)
    return float((vectors[0] ** 2) @ np.log(np.maximum(values, np.finfo(float).tiny)))
