"""Solvers that minimize the residual: MINRES for symmetric operators, definite or not, and GMRES for any operator."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from clreduce.solve.iteration import Array, Iteration, ratio

_RESTART = 50
"""The number of directions after which GMRES restarts."""


class Minres(Iteration):
    """MINRES: the Lanczos process, of which three vectors are kept."""

    def descend(self, residual: Array, active: Array) -> None:
        start = self.relative(residual)
        v_before, v = np.zeros_like(residual), np.where(active, residual, 0.0)
        z = self._preconditioned(v)
        size = self._size(v, z, active)
        size_before = np.ones_like(size)
        first_size = rest = size
        cos_before = cos = np.ones_like(size)
        sin_before = sin = np.zeros_like(size)
        w_before, w = np.zeros_like(v), np.zeros_like(v)
        first: tuple[Array, Array] | None = None
        for step in range(self.task.maxiter - self.count):
            z = z * ratio(np.ones_like(size), size)
            product = self.product(z)
            self.count += 1
            if step == 0:
                first = z.copy(), product
            elif first is not None:
                self.check_symmetric(*first, z, product, active)
                first = None
            diagonal = self.dot(product, z)
            v_next = product - ratio(diagonal, size) * v - ratio(size, size_before) * v_before
            z_next = self._preconditioned(v_next)
            size_next = self._size(v_next, z_next, active)
            # The two last rotations act on the column of the tridiagonal matrix; a third one makes it triangular.
            far, near = sin_before * size, sin * diagonal + cos_before * cos * size
            own = cos * diagonal - cos_before * sin * size
            length = np.hypot(own, size_next)
            cos_before, sin_before = cos, sin
            cos, sin = ratio(own, length), ratio(size_next, length)
            w_before, w = w, ratio(np.ones_like(length), length) * (z - far * w_before - near * w)
            self.x += cos * rest * w
            rest = -sin * rest
            residuals = start * np.abs(ratio(rest, first_size))
            going = self.noted(residuals, active)
            if not going or not (active & (residuals > self.eps)).any():
                return
            v_before, v, z = v, v_next, z_next
            size_before, size = size, size_next

    def _preconditioned(self, v: Array) -> Array:
        return v if self.precondition is None else self.precondition(v)

    def _size(self, v: Array, z: Array, active: Array) -> Array:
        squared = self.dot(v, z)
        if self.precondition is not None:
            nonzero = active & (self.dot(v, v) > 0)
            self.check_preconditioner(squared, nonzero)
        return np.sqrt(np.maximum(squared, 0.0))


class Gmres(Iteration):
    """GMRES with restarts and flexible preconditioning on the right."""

    least_gain: ClassVar[float] = 0.95

    def descend(self, residual: Array, active: Array) -> None:
        size = np.sqrt(self.dot(residual, residual))
        basis = [np.where(active, residual, 0.0) * ratio(np.ones_like(size), size)]
        directions: list[Array] = []
        columns: list[list[Array]] = []
        rotations: list[tuple[Array, Array]] = []
        rest = [np.where(active, size, 0.0)]
        for _ in range(min(_RESTART, self.task.maxiter - self.count)):
            v = basis[-1]
            z = v.copy() if self.precondition is None else self.precondition(v)
            product = self.product(z)
            self.count += 1
            directions.append(z)
            column, product = self._orthogonalised(product, basis)
            length = np.sqrt(self.dot(product, product))
            for n, (cos, sin) in enumerate(rotations):
                column[n], column[n + 1] = cos * column[n] + sin * column[n + 1], cos * column[n + 1] - sin * column[n]
            diagonal = np.hypot(column[-1], length)
            cos, sin = ratio(column[-1], diagonal), ratio(length, diagonal)
            column[-1] = diagonal
            rotations.append((cos, sin))
            columns.append(column)
            rest.append(-sin * rest[-1])
            rest[-2] = cos * rest[-2]
            residuals = ratio(np.abs(rest[-1]), self.scale)
            going = self.noted(residuals, active)
            if not going or not (active & (residuals > self.eps)).any():
                break
            basis.append(product * ratio(np.ones_like(length), length))
        self._move(columns, rest, directions)

    def _orthogonalised(self, product: Array, basis: list[Array]) -> tuple[list[Array], Array]:
        """The coefficients of a product along the basis, and the rest; projected twice, against rounding errors."""
        parts = [np.zeros_like(self.scale) for _ in basis]
        for _ in range(2):
            for n, v in enumerate(basis):
                part = self.dot(v, product)
                product = product - part * v
                parts[n] = parts[n] + part
        return parts, product

    def _move(self, columns: list[list[Array]], rest: list[Array], directions: list[Array]) -> None:
        """Solve the triangular systems by back substitution, and move the iterate along the directions."""
        lengths: list[Array] = [np.zeros_like(rest[0])] * len(columns)
        for n in reversed(range(len(columns))):
            left = rest[n] - sum(columns[m][n] * lengths[m] for m in range(n + 1, len(columns)))
            lengths[n] = ratio(left, columns[n][n])
        for length, z in zip(lengths, directions, strict=True):
            self.x += length * z
