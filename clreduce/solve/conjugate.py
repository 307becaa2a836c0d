"""Conjugate gradients, for symmetric positive definite operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from clreduce.solve.iteration import Array, Iteration, SystemTask, ratio


@dataclass
class ConjugateRecurrence:
    """The coefficients of a descent. They make the Lanczos matrix, whose eigenvalues approximate those of A.

    Each is of shape (batch.., 1, E), and 0 for a system that has stopped.
    """

    lengths: list[Array] = field(default_factory=list)
    """The length of each step along its direction."""
    turns: list[Array] = field(default_factory=list)
    """The factor of each direction in the next one."""

    def tridiagonals(self) -> Iterator[tuple[Array, Array]]:
        """For each system the diagonal, of length k, and the k - 1 numbers beside it, of the matrix after k steps.

        It is the projection of A (of M^1/2 A M^1/2 with a preconditioner M) onto the Krylov space of the residual at
        the start.
        """
        steps = len(self.lengths)
        lengths = np.array(self.lengths).reshape(steps, -1).T
        turns = np.array(self.turns).reshape(len(self.turns), lengths.shape[0]).T
        for length, turn in zip(lengths, turns, strict=True):
            k = int((np.append(length, 0.0) == 0).argmax())
            length, turn = length[:k], turn[: max(k - 1, 0)]
            diagonal = 1 / length
            diagonal[1:] += turn / length[:-1]
            yield diagonal, np.sqrt(turn) / length[:-1]


class ConjugateGradients(Iteration):
    """A system stops once its residual is at most ``eps`` times its part of b."""

    def __init__(self, task: SystemTask) -> None:
        super().__init__(task)
        self.recurrences: list[ConjugateRecurrence] = []
        """The coefficients of each descent; the first one begins with the residual of the start."""

    def descend(self, residual: Array, active: Array) -> None:
        recurrence = ConjugateRecurrence()
        self.recurrences.append(recurrence)
        r = residual
        z = r if self.precondition is None else self.precondition(r)
        p = np.where(active, z, 0.0)
        rz = self.dot(r, z)
        first: tuple[Array, Array] | None = None
        for step in range(self.task.maxiter - self.count):
            self.check_preconditioner(rz, active)
            q = self.product(p)
            self.count += 1
            pq = self.dot(p, q)
            failing = active & ~(pq > 0)
            if failing.any():
                self.check_definite(p, q, pq, failing)
                active = active & ~failing
            if step == 0:
                first = p.copy(), q
            elif first is not None:
                self.check_symmetric(*first, p, q, active)
                first = None
            length = ratio(rz, pq, active)
            recurrence.lengths.append(length)
            self.x += length * p
            r -= length * q
            squares = self.squares(r)
            residuals = self.relative(r, squares)
            going = self.noted(residuals, active)
            active = active & (residuals > self.eps)
            if not going or not active.any():
                return
            z = r if self.precondition is None else self.precondition(r)
            is_plain = z is r and self.task.metric is None  # then the inner product is known
            before, rz = rz, squares if is_plain else self.dot(r, z)
            turn = ratio(rz, before, active)
            recurrence.turns.append(turn)
            p *= turn
            p += np.where(active, z, 0.0)
