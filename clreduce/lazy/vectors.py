"""Reductions over the components of each vector: one more step of the formula."""

from __future__ import annotations

from typing import Any

from clreduce.errors import ShapeError
from clreduce.lazy.base import Array
from clreduce.lazy.methods import Methods
from clreduce.ops.scan import product

_OF_VECTORS = ("Sum", "Min", "Max", "ArgMin", "ArgMax")
"""Reductions that are a function of the formula language."""
_MULTIPLIED_OUT = 32
"""The most components of a product that is written out as a tree; longer products are a loop."""


class VectorReductions(Methods[Array]):
    """Reductions over the vector axis, by their names."""

    __slots__ = ()

    def _over_vectors(self, name: str) -> Any:
        """A reduction over the components of each vector: a tensor of numbers."""
        if name in _OF_VECTORS:
            return self._call(name.lower(), name, vectors=False)
        if name == "Mean":
            return self._over_vectors("Sum") / self.expr.dim
        if name == "Var":
            return ((self - self._over_vectors("Mean")) ** 2)._over_vectors("Mean")
        if name == "Prod" and self.expr.dim > _MULTIPLIED_OUT:
            return self._apply("prod", product, ())
        if name == "Prod":
            parts = [self.elem(k) for k in range(self.expr.dim)]
            while len(parts) > 1:
                parts = [a * b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) & ~1 :]
            return parts[0]
        if name in ("Any", "All"):
            return self._mask()._over_vectors("Max" if name == "Any" else "Min")._mask()
        if name == "Count":
            return self._mask()._over_vectors("Sum")
        if name == "LogSumExp":
            largest = self._over_vectors("Max")
            shift = largest.where(largest.abs() < float("inf"), 0)
            return (self - shift).exp()._over_vectors("Sum").log() + shift
        raise ShapeError(f"{name} reduces over i or j; {self._axes_told()}")

    def _axes_told(self) -> str:
        batch = len(self._batch)
        vectors = f", {batch + 2} (or -1) the vectors" if self._vectors else ""
        return f"{batch} is i, {batch + 1} is j{vectors}"
