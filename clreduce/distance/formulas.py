"""Formulas for pairs of points, which define metrics and kernels: text, or functions on `LazyTensor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from clreduce.adapters.numpy import NUMPY
from clreduce.domain import Domain
from clreduce.errors import FormulaError, OptionError, ShapeError
from clreduce.ir.expr import substitute
from clreduce.language.formula import parse
from clreduce.lazy.base import Recorded
from clreduce.lazy.tensor import variables_of

if TYPE_CHECKING:
    from clreduce.lazy.tensor import LazyTensor

_KINDS = {Domain.I: "Vi", Domain.J: "Vj", Domain.P: "Pm"}

Tensor: TypeAlias = "LazyTensor[Any]"
"""A `LazyTensor` of any array library."""
PairFunction: TypeAlias = Callable[..., Tensor]
"""A function of two `LazyTensor` and further parameters by name, which returns a number for each pair."""
Parameters: TypeAlias = Mapping[str, ArrayLike | None]
"""Numbers, vectors and matrices by their names in a formula or a function; None stands for a default value."""


def parameter(value: ArrayLike | None, x: Tensor) -> Tensor:
    """A number, vector or matrix (row by row) as a parameter beside ``x``, in the precision of its data.

    For data that are truth values it is float64.
    """
    if x.library is NUMPY and x.dtype is not None:
        dtype = x.dtype if np.dtype(x.dtype).kind == "f" else np.float64
        return variables_of(type(x), np.ascontiguousarray(value, dtype=dtype).reshape(-1), None, 2)
    numbers: Tensor = type(x)._from(np.asarray(value, np.float64).reshape(-1).tolist())
    return numbers


def written(text: str, x: Tensor, y: Tensor, parameters: Parameters | None = None) -> Tensor:
    """The values, for each pair, of a formula in ``x``, ``y`` and the names of ``parameters``.

    ``x`` and ``y`` are data of i and of j; parameters are numbers or arrays. A mistake in the text raises
    `FormulaError`, with a caret under it.

    >>> import numpy as np
    >>> from clreduce.numpy import Vi, Vj
    >>> x, y = np.array([[0.0, 0.0]]), np.array([[1.0, 2.0], [3.0, 1.0]])
    >>> written("Sum(w * Abs(x - y))", Vi(x), Vj(y), {"w": [1.0, 10.0]}).dense()
    array([[21., 13.]])
    """
    tensors = {"x": x, "y": y}
    for name, value in (parameters or {}).items():
        if name in tensors:
            raise FormulaError(f"x and y are the names of the points: give the parameter {name!r} another name")
        tensors[name] = parameter(value, x)
    aliases = [f"{name} = {_KINDS[tensor.expr.domain]}({tensor.expr.dim})" for name, tensor in tensors.items()]
    parsed = parse(text, aliases)
    if len(parsed.variables) > len(tensors):
        raise FormulaError(
            f"the formula {text!r} may use {', '.join(tensors)}; it also has the variable {parsed.variables[-1]}. "
            "Pass its value as a parameter"
        )
    places = dict(zip((each.expr for each in parsed.variables), (t.expr for t in tensors.values()), strict=True))
    (expr,) = substitute([parsed.expr], places)
    return x._record(expr, *list(tensors.values())[1:], vectors=expr.dim > 1)


def of_pairs(function: str | PairFunction, x: Tensor, y: Tensor, parameters: Parameters | None = None) -> Tensor:
    """A number for each pair, computed by a formula, or by a function of x, y and ``parameters`` by name.

    Raises
    ------
    FormulaError
        A text that cannot be read.
    OptionError
        A function that does not give a `LazyTensor`.
    ShapeError
        A vector for each pair, or something that does not depend on both points.
    """
    if isinstance(function, str):
        pairs, source = written(function, x, y, parameters), f"the formula {function!r}"
    else:
        name = getattr(function, "__name__", type(function).__name__)
        pairs, source = function(x, y, **(parameters or {})), f"the function {name}"
        if not isinstance(pairs, Recorded):
            raise OptionError(
                f"{source} must return a LazyTensor; it returned a value of the type {type(pairs).__name__}. It is "
                "called once with all x and all y as two LazyTensors, and must reduce only the vectors: "
                "((x - y) ** 2).sum(-1), or np.sum(abs(x - y), axis=-1)"
            )
    if pairs.is_complex or pairs.expr.dim != 1:
        raise ShapeError(
            f"{source} must give a real number for each pair, for instance by .sum(-1) at its end; it gave "
            f"{'complex numbers' if pairs.is_complex else 'vectors'} of shape {pairs.shape}"
        )
    if pairs.expr.domain != Domain.IJ:
        raise ShapeError(f"{source} must depend on both x and y, the points of the two sides")
    return pairs if pairs._vectors is False else pairs.elem(0)
