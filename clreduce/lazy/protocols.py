"""NumPy's functions on a `LazyTensor`: ``np.exp(K)``, ``np.sum(K, axis=1)``, ``np.where(mask, K, 0)`` and others.

Universal functions become methods, those of the registry included, so SciPy's serve too. What has no method is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clreduce.errors import ShapeError
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.functions import FunctionMethods, wanted
from clreduce.lazy.linear import LinearOperator
from clreduce.lazy.numpy_reductions import reduction

OPERATORS = {
    # NumPy's name: the operator, and what it is with exchanged operands
    "add": ("__add__", "__radd__"), "subtract": ("__sub__", "__rsub__"), "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"), "true_divide": ("__truediv__", "__rtruediv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"), "remainder": ("__mod__", "__rmod__"),
    "power": ("__pow__", "__rpow__"), "float_power": ("__pow__", "__rpow__"), "matmul": ("__matmul__", "__rmatmul__"),
    "equal": ("__eq__", "__eq__"), "not_equal": ("__ne__", "__ne__"), "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"), "greater": ("__gt__", "__lt__"), "greater_equal": ("__ge__", "__le__"),
    "bitwise_or": ("__or__", "__ror__"), "bitwise_and": ("__and__", "__rand__"), "bitwise_xor": ("__xor__", "__rxor__"),
    **{name: (name, name) for name in ("logical_and", "logical_or", "logical_xor")},
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
"""The reductions that the method ``reduce`` of universal functions calls, by the name of the function."""


class Protocols(LinearOperator[Array], FunctionMethods[Array]):
    """The protocols by which NumPy's functions accept a `LazyTensor`."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> Any:
        name = ufunc.__name__
        if method == "reduce" and name in _REDUCED and isinstance(inputs[0], Recorded):
            kind = _REDUCED[name]
            return reduction(kind, name in ("minimum", "maximum"))(*inputs, **({"axis": 0} | options))
        if method != "__call__" or options:
            return _refused(f"{name}{'' if method == '__call__' else '.' + method}", inputs, options)
        if name in OPERATORS:
            straight, reflected = OPERATORS[name]
            if isinstance(inputs[0], Recorded):
                return getattr(inputs[0], straight)(inputs[1])
            return getattr(inputs[1], reflected)(inputs[0])
        first = self._from(inputs[0])
        method_of_name = getattr(first, METHODS.get(name, ""), None)
        return _refused(name, inputs, {}) if method_of_name is None else method_of_name(*inputs[1:])

    def __array_function__(
        self, function: Callable[..., object], types: Iterable[type], args: Sequence[object],
        options: Mapping[str, object],
    ) -> Any:  # fmt: skip
        replacement = _FUNCTIONS.get(function)
        if replacement is None:
            return _refused(function.__name__, (), {})
        return replacement(*args, **options)


def _refused(name: str, inputs: Any, options: dict[str, Any]) -> Any:
    """An error for a function that symbolic tensors do not have; other libraries among the inputs are asked first."""
    known = (Recorded, np.ndarray, np.generic, int, float, complex, list, tuple)
    if not all(isinstance(value, known) for value in inputs):
        return NotImplemented
    told = f" with {', '.join(options)}" if options else ""
    raise TypeError(
        f"numpy.{name} of a LazyTensor{told} is not available; np.asarray(K) makes an array, K[:100, :100] a part of it"
    )


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        raise TypeError("numpy.where of a LazyTensor needs a condition and two values")
    first = next(value for value in (condition, x, y) if isinstance(value, Recorded))
    return first._from(x).where(condition, y)


def _concatenate(tensors: Any, axis: Any = 0) -> Any:
    first = next(each for each in tensors if isinstance(each, Recorded))
    if axis not in (-1, first.dim() - 1) or not all(isinstance(x, Recorded) and x._vectors for x in tensors):
        raise ShapeError(
            "numpy.concatenate of LazyTensors joins their vectors, axis=-1; "
            "write np.stack([K, L], axis=-1) to make vectors of numbers"
        )
    return type(first).concatenate(tuple(tensors))  # type: ignore[attr-defined]


def _stack(tensors: Any, axis: Any = 0) -> Any:
    first = next(each for each in tensors if isinstance(each, Recorded))
    if axis not in (-1, first.dim() - 1) or any(isinstance(x, Recorded) and x._vectors for x in tensors):
        raise ShapeError("numpy.stack of LazyTensors makes vectors of tensors with a number for each pair, axis=-1")
    return type(first).concatenate(tuple(tensors))  # type: ignore[attr-defined]


def _transpose(x: Any, axes: Any = None) -> Any:
    if axes is not None:
        raise TypeError("numpy.transpose of a LazyTensor takes no axes: it exchanges i and j, as K.T")
    return x.T


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and not x._vectors):
        raise TypeError("numpy.linalg.norm of a LazyTensor is the Euclidean norm only: leave ord=None")
    if x._vectors and axis in (-1, x.dim() - 1):
        return x.norm2()
    return reduction("sum")(x * x, axis, keepdims=keepdims) ** 0.5


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: reduction("sum"), np.mean: reduction("mean"), np.prod: reduction("prod"), np.var: reduction("var"),
    np.std: reduction("std"), np.any: reduction("any"), np.all: reduction("all"), np.count_nonzero: reduction("count"),
    np.min: reduction("min", True), np.max: reduction("max", True), np.amin: reduction("min", True),
    np.amax: reduction("max", True), np.argmin: reduction("argmin", True), np.argmax: reduction("argmax", True),
    np.nanmin: reduction("min"), np.nanmax: reduction("max"), np.nanargmin: reduction("argmin"),
    np.nanargmax: reduction("argmax"),
    np.concatenate: _concatenate, np.stack: _stack, np.where: _where,
    np.clip: lambda x, a_min, a_max: x.clamp(a_min, a_max), np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim,
    np.size: lambda x: math.prod(x.shape), np.transpose: _transpose, np.dot: lambda a, b: a @ b,
    np.real: lambda x: x.real, np.imag: lambda x: x.imag, np.angle: lambda x: x.angle(), np.sinc: lambda x: x.sinc(),
    np.diagonal: lambda x: x.diagonal(), np.trace: lambda x: x.diagonal().sum(-1), np.linalg.norm: _norm,
}  # fmt: skip
"""NumPy's functions that are not universal."""
