"""Formulas for pairs of points, which define metrics and kernels: text, or functions on `LazyTensor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from clreduce.adapters.numpy import NUMPY
from clreduce.domain import Domain
from clreduce.errors import FormulaError, OptionError, ShapeError
from clreduce.ir.expr import substitute
from clreduce.language.formula import parse
from clreduce.lazy.base import Recorded
from clreduce.lazy.tensor import variables_of

_KINDS = {Domain.I: "Vi", Domain.J: "Vj", Domain.P: "Pm"}


Tensor: TypeAlias = Any
"""A `LazyTensor` of any array library."""


def parameter(value: Any, x: Tensor) -> Tensor:
    """A number, vector or matrix (row by row) as a parameter beside ``x``, in the precision of its data."""
    if x.library is NUMPY and x.dtype is not None:
        return variables_of(type(x), np.ascontiguousarray(value, dtype=x.dtype).reshape(-1), None, 2)
    return type(x)._from(np.asarray(value, np.float64).reshape(-1).tolist())


def written(text: str, x: Tensor, y: Tensor, parameters: Mapping[str, Any] | None = None) -> Tensor:
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
            raise FormulaError(f"x and y are the points; a parameter has another name than {name!r}")
        tensors[name] = parameter(value, x)
    aliases = [f"{name} = {_KINDS[tensor.expr.domain]}({tensor.expr.dim})" for name, tensor in tensors.items()]
    parsed = parse(text, aliases)
    if len(parsed.variables) > len(tensors):
        raise FormulaError(f"the variables of this formula are {', '.join(tensors)}; got {parsed.variables[-1]}")
    places = dict(zip((each.expr for each in parsed.variables), (t.expr for t in tensors.values()), strict=True))
    (expr,) = substitute([parsed.expr], places)
    return x._record(expr, *list(tensors.values())[1:], vectors=expr.dim > 1)


def of_pairs(
    function: str | Callable[..., Any], x: Tensor, y: Tensor, parameters: Mapping[str, Any] | None = None
) -> Tensor:
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
                f"{source} takes two LazyTensors, all x and all y at once, and gives one, by reducing the vectors "
                f"alone: ((x - y) ** 2).sum(-1), np.sum(abs(x - y), axis=-1); it gave a {type(pairs).__name__}"
            )
    if pairs.is_complex or pairs.expr.dim != 1:
        raise ShapeError(
            f"{source} has to give a real number for each pair, such as a .sum(-1); got shape {pairs.shape}"
        )
    if pairs.expr.domain != Domain.IJ:
        raise ShapeError(f"{source} has to depend on both x and y")
    return pairs if pairs._vectors is False else pairs.elem(0)
