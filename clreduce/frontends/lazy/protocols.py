"""NumPy's functions on a `LazyTensor`: ``np.exp(K)``, ``np.sum(K, axis=1)``, ``np.where(mask, K, 0)`` and others.

Universal functions become methods, those of the registry included, so SciPy's serve too. What has no method is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clreduce.frontends.lazy.base import Recorded
from clreduce.frontends.lazy.functions import FunctionMethods, wanted
from clreduce.frontends.lazy.linear import LinearOperator

OPERATORS = {
    # NumPy's name: the operator, and what it is with exchanged operands
    "add": ("__add__", "__radd__"), "subtract": ("__sub__", "__rsub__"), "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"), "true_divide": ("__truediv__", "__rtruediv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"), "remainder": ("__mod__", "__rmod__"),
    "power": ("__pow__", "__rpow__"), "float_power": ("__pow__", "__rpow__"), "matmul": ("__matmul__", "__rmatmul__"),
    "equal": ("__eq__", "__eq__"), "not_equal": ("__ne__", "__ne__"), "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"), "greater": ("__gt__", "__lt__"), "greater_equal": ("__ge__", "__le__"),
    "bitwise_or": ("__or__", "__ror__"), "bitwise_and": ("__and__", "__rand__"), "logical_and": ("__and__", "__rand__"),
}  # fmt: skip
"""By the name of a universal function."""
METHODS = {
    # called otherwise than the method
    "negative": "__neg__", "positive": "__pos__", "invert": "__invert__", "logical_not": "__invert__",
    "absolute": "abs", "fabs": "abs", "conjugate": "conj", "reciprocal": "inv", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "expit": "sigmoid", "gammaln": "lgamma", "psi": "digamma", "exp": "exp", "log": "log", "sqrt": "sqrt",
    "square": "square",
} | {name: name for name in wanted()}  # fmt: skip
_REDUCED = {
    "add": "sum", "multiply": "prod", "minimum": "min", "fmin": "min", "maximum": "max", "fmax": "max",
    "logical_and": "all", "logical_or": "any",
}  # fmt: skip
"""What the method ``reduce`` of a universal function is."""


class Protocols(LinearOperator, FunctionMethods):
    """What NumPy asks a `LazyTensor` that is given to one of its functions."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__
        if method == "reduce" and name in _REDUCED and isinstance(inputs[0], Recorded):
            return _reduce(_REDUCED[name])(*inputs, **({"axis": 0} | options))
        if method != "__call__" or options:
            return NotImplemented
        if name in OPERATORS:
            straight, reflected = OPERATORS[name]
            if isinstance(inputs[0], Recorded):
                return getattr(inputs[0], straight)(inputs[1])
            return getattr(inputs[1], reflected)(inputs[0])
        first = self._from(inputs[0])
        found = getattr(first, METHODS.get(name, ""), None)
        return NotImplemented if found is None else found(*inputs[1:])

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        found = _FUNCTIONS.get(function)
        if found is None:
            return NotImplemented
        return found(*args, **options)


def _reduce(name: str) -> Callable[..., Any]:
    """NumPy's reduction of that name; without axis it is over all axes."""

    def function(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        unknown = [key for key, value in (options | {"dtype": dtype}).items() if value not in (None, False)]
        if unknown:
            raise TypeError(f"numpy.{name} of a LazyTensor takes axis and out, and not {', '.join(unknown)}")
        axis = tuple(range(x.dim())) if axis is None else axis
        return getattr(x, name)(axis=axis) if out is None else getattr(x, name)(axis=axis, out=out)

    return function


def _indices(name: str) -> Callable[..., Any]:
    def function(x: Any, axis: Any = None, out: Any = None) -> Any:
        return getattr(x, name)(axis=axis) if out is None else getattr(x, name)(axis=axis, out=out)

    return function


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        raise TypeError("numpy.where of a LazyTensor takes a condition and two values")
    first = next(one for one in (condition, x, y) if isinstance(one, Recorded))
    return first._from(x).where(condition, y)


def _concatenate(tensors: Any, axis: Any = 0) -> Any:
    cls = next(type(one) for one in tensors if isinstance(one, Recorded))
    return cls.concatenate(tuple(tensors), axis)  # type: ignore[attr-defined]


def _transpose(x: Any, axes: Any = None) -> Any:
    if axes is not None:
        raise TypeError("numpy.transpose of a LazyTensor takes no axes: it exchanges i and j, as K.T")
    return x.T


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2) or axis not in (-1, x.dim() - 1):
        raise TypeError("numpy.linalg.norm of a LazyTensor is the Euclidean norm of its vectors: axis=-1")
    return x.norm2()


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _reduce("sum"), np.mean: _reduce("mean"), np.prod: _reduce("prod"), np.min: _reduce("min"),
    np.max: _reduce("max"), np.amin: _reduce("min"), np.amax: _reduce("max"), np.any: _reduce("any"),
    np.all: _reduce("all"), np.var: _reduce("var"), np.argmin: _indices("argmin"), np.argmax: _indices("argmax"),
    np.concatenate: _concatenate, np.where: _where, np.clip: lambda x, a_min, a_max: x.clamp(a_min, a_max),
    np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.transpose: _transpose, np.dot: lambda a, b: a @ b,
    np.real: lambda x: x.real, np.imag: lambda x: x.imag, np.angle: lambda x: x.angle(), np.sinc: lambda x: x.sinc(),
    np.diagonal: lambda x: x.diagonal(), np.linalg.norm: _norm,
}  # fmt: skip
"""NumPy's functions that are not universal."""
