"""Conjugate gradients, for symmetric positive definite operators."""

from __future__ import annotations

import numpy as np

from clreduce.solve.iteration import Array, Iteration, ratio


class ConjugateGradients(Iteration):
    """A system stops once its residual is at most ``eps`` times its part of b."""

    def descend(self, residual: Array, active: Array) -> None:
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
            p *= ratio(rz, before, active)
            p += np.where(active, z, 0.0)
