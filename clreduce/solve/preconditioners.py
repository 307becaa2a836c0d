"""Preconditioners: cheap approximations of the inverse of alpha + K."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from clreduce.errors import ShapeError, SolveError
from clreduce.solve.system import System
from clreduce.typing import Array, DType

Precondition = Callable[[Array], Array]


class Entries(Protocol):
    """A positive definite matrix alpha + K whose diagonal and columns can be computed."""

    @property
    def dtype(self) -> DType:
        """The precision of its entries."""

    @property
    def alpha(self) -> float | Array:
        """The number that is added to the diagonal, or one for each index of a batch, of shape (batch.., 1, 1)."""

    @property
    def metric(self) -> Array | None:
        """The weights, (batch.., n, 1 or E), of the inner product in which K is symmetric; None for 1."""

    def diagonal(self) -> Array:
        """The diagonal of K, of shape (batch.., n, E)."""

    def column(self, index: Array) -> Array:
        """Column ``index``, of shape batch, of K: an array of shape (batch.., n, E)."""


@dataclass(frozen=True)
class Nystrom:
    """A preconditioner from ``rank`` columns of K; made by `nystrom`."""

    rank: int
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Diagonal:
    """A preconditioner that divides by the diagonal of alpha + K."""

    inverse: Array
    """1 / the diagonal: (batch.., n, E)."""

    def __call__(self, residual: Array) -> Array:
        """The approximate solution for a residual."""
        product: Array = self.inverse * residual
        return product


def nystrom(rank: int, seed: int = 0) -> Nystrom:
    """A preconditioner for `KernelSolve`: a matrix of lower rank, made of some columns of K, in place of K.

    Parameters
    ----------
    rank : int
        The number of columns, 1 or more.
    seed : int, optional
        The seed of the random choice of columns.

    Returns
    -------
    Nystrom
        A value for the option ``preconditioner`` of a solve.

    Raises
    ------
    ShapeError
        ``rank`` is not a whole number from 1.

    Notes
    -----
    The columns are chosen at random, each in proportion to the diagonal of the part of K that the earlier ones do not
    explain (a partial Cholesky factorization with random pivots). This takes ``rank`` evaluations of one column and
    ``n * rank`` float64 numbers of memory. It pays if few eigenvalues of K are much larger than alpha, as for smooth
    kernels. The formula must act on each component of the unknown separately.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import Vi, Vj, nystrom
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> K = (-Vi(x).sqdist(Vj(x)) * 10).exp()
    >>> a = K.solve(np.sin(x), alpha=1e-3, preconditioner=nystrom(20))
    >>> a.shape
    (200, 1)
    """
    try:
        checked = 0 if isinstance(rank, (bool, np.bool_)) else operator.index(rank)
    except TypeError:
        checked = 0
    if checked < 1:
        raise ShapeError(f"the rank of nystrom(rank) must be a whole number, 1 or more; got {rank!r}")
    return Nystrom(checked, seed)


def preconditioner_of(choice: object, system: System) -> Precondition | None:
    """The function that maps a residual (batch.., n, E) to an approximate solution, for a user's ``preconditioner``."""
    if choice is None:
        return None
    if isinstance(choice, tuple) and len(choice) == 2 and choice[0] == "nystrom":
        choice = nystrom(choice[1])
    if isinstance(choice, str) and choice == "diagonal":
        return _diagonal(system)
    if isinstance(choice, Nystrom):
        return _low_rank(system, choice)
    if callable(choice):
        return _checked(choice)
    raise ShapeError(
        "preconditioner must be None, 'diagonal', ('nystrom', rank), nystrom(rank, seed), or a function of residuals "
        f"of shape (batch.., n, E); got {choice!r}"
    )


def _checked(function: Callable[[Array], ArrayLike]) -> Precondition:
    def apply(residual: Array) -> Array:
        solution: Array = np.asarray(function(residual), np.float64)
        if solution.shape != residual.shape:
            raise ShapeError(
                f"the preconditioner must return an array of its argument's shape, {residual.shape}; it returned "
                f"one of shape {solution.shape}"
            )
        return solution

    return apply


def _diagonal(system: System) -> Precondition:
    entries = system.diagonal() + system.alpha
    _check_diagonal(entries)
    return Diagonal(1 / entries)


def _check_diagonal(entries: Array) -> None:
    if not (entries > 0).all():
        raise SolveError(
            f"the operator is not positive definite: the smallest entry on its diagonal is {entries.min():.3g}. Raise "
            "alpha"
        )


def _low_rank(system: System, chosen: Nystrom) -> Precondition:
    """The inverse of F F^T + mu, where F F^T approximates K, and mu is alpha plus the least eigenvalue of F F^T."""
    if not system.independent:
        raise SolveError(
            "a Nystrom preconditioner needs a formula that acts on each component of the unknown separately. Use "
            "preconditioner='diagonal', which works for any formula"
        )
    factor = partial_cholesky(system, min(chosen.rank, system.size), chosen.seed)
    values, vectors = np.linalg.eigh(factor.swapaxes(-1, -2) @ factor)  # (batch.., 1 or E, r)
    values = np.maximum(values, 0.0)
    basis = factor @ vectors
    positive = np.where(values > 1e-14 * values[..., -1:], values, np.inf)
    shift = system.alpha + positive.min(axis=-1, keepdims=True)  # (batch.., 1 or E, 1)
    if not np.isfinite(shift).all() or not (shift > 0).all():
        raise SolveError(
            "a Nystrom preconditioner needs a kernel with a positive diagonal, and alpha of 0 or more: raise alpha, or "
            "use preconditioner='diagonal'"
        )
    damping = values + shift

    def each(residual: Array) -> Array:
        column = residual.swapaxes(-1, -2)[..., None]  # (batch.., E, n, 1)
        inner = (basis.swapaxes(-1, -2) @ column) / damping[..., None]
        solution: Array = ((column - basis @ inner) / shift[..., None])[..., 0].swapaxes(-1, -2)
        return solution

    def together(residual: Array) -> Array:
        vectors = basis[..., 0, :, :]  # (batch.., n, r)
        inner = (vectors.swapaxes(-1, -2) @ residual) / damping[..., 0, :, None]
        solution: Array = (residual - vectors @ inner) / shift[..., 0, :, None]
        return solution

    apply = together if basis.shape[-3] == 1 else each
    if system.metric is None:
        return apply
    root = np.sqrt(system.metric)
    return lambda residual: apply(residual * root) / root


def partial_cholesky(system: Entries, rank: int, seed: int) -> Array:
    """The factor F, (batch.., E, n, r), such that F F^T approximates K; E is 1 if all components have one K."""
    random = np.random.default_rng(seed)
    rest = system.diagonal()
    _check_diagonal(rest + np.maximum(system.alpha, 0.0))
    first = _symmetric_column(system, _pivots(rest, random))
    same = bool((first == first[..., :1]).all() and (rest == rest[..., :1]).all())
    rest = np.maximum(rest[..., :1] if same else rest, 0.0).swapaxes(-1, -2)  # (batch.., 1 or E, n)
    least = 4 * float(np.finfo(system.dtype).eps) * rest.max(axis=-1, keepdims=True)
    factor = np.zeros((*rest.shape, rank))
    for k in range(rank):
        pivot = _pivots(rest.swapaxes(-1, -2), random)
        column = _symmetric_column(system, pivot).swapaxes(-1, -2)[..., : rest.shape[-2], :]
        at = pivot[..., None, None]
        known = factor[..., :k]
        row = np.take_along_axis(known, at[..., None], axis=-2)  # (batch.., 1 or E, 1, k)
        column = column - (known @ row.swapaxes(-1, -2))[..., 0]
        head = np.take_along_axis(column, at, axis=-1)
        usable = head > least
        if not usable.any():
            return factor[..., : max(k, 1)]
        root = np.sqrt(np.where(usable, head, 1.0))
        factor[..., k] = np.where(usable, column / root, 0.0)
        rest = np.maximum(rest - factor[..., k] ** 2, 0.0)
        if (rest <= least).all():
            return factor[..., : k + 1]
    return factor


def _symmetric_column(system: Entries, pivot: Array) -> Array:
    """A column of diag(w)^1/2 K diag(w)^-1/2, which is symmetric if K is symmetric in the metric w."""
    column = system.column(pivot)
    if system.metric is None:
        return column
    root = np.sqrt(system.metric)
    symmetric: Array = column * root / np.take_along_axis(root, pivot.reshape((*pivot.shape, 1, 1)), axis=-2)
    return symmetric


def _pivots(rest: Array, random: np.random.Generator) -> Array:
    """Draw a row for each index of the batch, with probabilities proportional to ``rest``, (batch.., n, 1 or E)."""
    weights = np.cumsum(np.maximum(rest, 0.0).sum(-1), axis=-1)
    threshold = random.random((*weights.shape[:-1], 1)) * weights[..., -1:]
    pivots: Array = np.minimum((weights <= threshold).sum(-1), weights.shape[-1] - 1)
    return pivots
