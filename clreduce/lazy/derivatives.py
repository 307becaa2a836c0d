"""Derivatives of the formula of a `LazyTensor` in one of its variables, as further formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, topological
from clreduce.language.vocabulary import DERIVATIVES
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.components import Components

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Value


TO_NUMBERS = frozenset({
    "Sum", "Max", "Min", "ArgMax", "ArgMin", "SqNorm2", "Norm2", "SqDist", "Det", "SoftDTW_SqDist", "Divergence",
    "Laplacian", "TraceOperator", "SumLinOperator",
})  # fmt: skip
"""Functions that reduce the vector axis: what they give is a number for each pair."""


Tensor = TypeVar("Tensor", bound="Derivatives[Any]")


class Derivatives(Components[Array]):
    """Methods that differentiate the formula."""

    __slots__ = ()

    def grad(self: Tensor, other: Recorded[Array], gradin: Value) -> Tensor:
        """Gradient in a variable of the formula: (d self / d other)^T gradin.

        Parameters
        ----------
        other : LazyTensor
            The variable: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``, a part of this tensor.
        gradin : LazyTensor, array, number or list
            Vectors as long as those of this tensor.

        Returns
        -------
        LazyTensor
            Vectors as long as the variable, one for each pair (i, j): nothing is summed over i or j.

        Raises
        ------
        ShapeError
            ``other`` is not a variable, or lengths do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.array([[1.0, 2.0]])), Vj(np.array([[0.0, 0.0]]))
        >>> x.sqdist(y).grad(x, 1).dense()
        array([[[2., 4.]]])
        """
        return self._derived("grad", "Grad", other, gradin)

    def diff(self: Tensor, other: Recorded[Array], diffin: Value) -> Tensor:
        """Derivative in a variable of the formula, in one direction: (d self / d other) diffin.

        Parameters
        ----------
        other : LazyTensor
            The variable: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``, a part of this tensor.
        diffin : LazyTensor, array, number or list
            The direction, vectors as long as the variable.

        Returns
        -------
        LazyTensor
            Vectors as long as those of this tensor.

        Raises
        ------
        ShapeError
            ``other`` is not a variable, or lengths do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.array([[1.0, 2.0]])), Vj(np.array([[0.0, 0.0]]))
        >>> x.sqdist(y).diff(x, [1.0, 1.0]).dense()
        array([[6.]])
        """
        return self._derived("diff", "Diff", other, diffin)

    def _derived(self, method: str, name: str, v: Any, *others: Any) -> Self:
        """A derivative in the variable v, by its name in the formula language."""
        leaf = self._from(v)
        if leaf.expr.op.name != "variable":
            raise ShapeError(f"{method} differentiates in a variable, Vi(x), Vj(y) or Pm(p); got {leaf.formula}")
        build = DERIVATIVES[name].build
        vectors = self._vectors if name == "Diff" else name not in TO_NUMBERS
        made = self._apply(method, _directional if name == "Diff" else build, (leaf, *others), vectors=vectors)
        data = made._leaves.get(leaf.expr)
        if data is not None and data.array is None and leaf.expr not in topological([made.expr]):
            made._leaves = {node: leaf_data for node, leaf_data in made._leaves.items() if node is not leaf.expr}
        return made


def _directional(f: Expr, v: Expr, u: Expr) -> Expr:
    return DERIVATIVES["Diff"].build(f, [v], [u])
