"""PyTorch's functions on a `LazyTensor`: ``torch.exp(K)``, ``torch.sum(K, dim=1)``, ``tensor * K`` and others.

What has a method or an operator of that meaning becomes a call of it; the rest is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from clreduce.errors import ShapeError
from clreduce.lazy.base import Recorded
from clreduce.lazy.protocols import METHODS, OPERATORS, Protocols

_OPERATORS = OPERATORS | {
    "sub": OPERATORS["subtract"], "mul": OPERATORS["multiply"], "div": OPERATORS["divide"],
    "pow": OPERATORS["power"], "eq": OPERATORS["equal"], "ne": OPERATORS["not_equal"], "lt": OPERATORS["less"],
    "le": OPERATORS["less_equal"], "gt": OPERATORS["greater"], "ge": OPERATORS["greater_equal"],
    "mm": OPERATORS["matmul"], "mv": OPERATORS["matmul"], "bmm": OPERATORS["matmul"],
    "__or__": OPERATORS["bitwise_or"], "__and__": OPERATORS["bitwise_and"],
    "__xor__": OPERATORS["bitwise_xor"],
    "__floordiv__": OPERATORS["floor_divide"],
}  # fmt: skip
_METHODS = METHODS | {
    "neg": "__neg__", "abs": "abs", "sgn": "sign", "conj_physical": "conj", "sigmoid": "sigmoid", "relu": "relu",
    "rsqrt": "rsqrt", "sign": "sign", "real": "real", "imag": "imag", "angle": "angle",
}  # fmt: skip


class TorchFunctions(Protocols[torch.Tensor]):
    """The protocol by which PyTorch's functions accept a `LazyTensor`."""

    __slots__ = ()

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., object], types: Iterable[type], args: tuple[Any, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Any:  # fmt: skip
        name = getattr(func, "__name__", "").removeprefix("special_")
        # Options that ask for nothing come from wrappers of PyTorch.
        options = {
            key: value
            for key, value in (kwargs or {}).items()
            if value is not None and not (key in ("inplace", "keepdim") and value is False)
        }
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](*args, **options)
        if name in _OPERATORS and len(args) == 2 and not options:
            straight, reflected = _OPERATORS[name]
            if isinstance(args[0], Recorded):
                return getattr(args[0], straight)(args[1])
            return getattr(args[1], reflected)(args[0])
        if name in _METHODS and not options:
            method = getattr(_lazy(*args)._from(args[0]), _METHODS[name], None)
            if method is not None:
                return method(*args[1:]) if callable(method) and not isinstance(method, Recorded) else method
        if all(issubclass(kind, (Recorded, torch.Tensor)) for kind in types):
            told = f", with {', '.join(options)}" if options else ""
            advice = _INSTEAD.get(name, "K.dense() makes a tensor of it")
            raise TypeError(f"torch.{name} of a LazyTensor{told} is not available; {advice}")
        return NotImplemented


_INSTEAD = {
    "linear": "a layer of a network on the vectors of K is Pm(weight.flatten()).matvecmult(K) + Pm(bias); "
    "K @ weight.T is a sum over j, for K of one number per pair",
}
"""Advice on functions of PyTorch that are not available, by their names, for error messages."""


def _lazy(*args: Any) -> Any:
    """The first `LazyTensor` among the arguments."""
    return next(arg for arg in args if isinstance(arg, Recorded))


def _reduction(name: str) -> Callable[..., Any]:
    """The method ``name`` with PyTorch's shapes; without ``dim`` it is over all axes."""

    def function(x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        x = x._as_shaped()
        result = getattr(x, name)(axis=dim, keepdims=False, **options)
        if isinstance(result, Recorded):
            return result._like(result.expr, result._leaves, vectors=True) if keepdim else result
        return _with_dims(x, result, dim) if keepdim else result

    return function


def _spread(name: str) -> Callable[..., Any]:
    """``torch.var`` or ``torch.std``: of a sample, unless ``correction`` says otherwise."""

    def function(
        x: Any, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, correction: float | None = None
    ) -> Any:
        if isinstance(dim, bool):  # torch.var(x, unbiased)
            dim, unbiased = None, dim
        ddof = (0 if unbiased is False else 1) if correction is None else correction
        return _reduction(name)(x, dim, keepdim, ddof=ddof)

    return function


def _with_dims(x: Any, result: torch.Tensor, dim: Any) -> torch.Tensor:
    """A result over ``dim`` with axes of length 1, if ``keepdim`` is True."""
    rank = x.ndim
    dims = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    for axis in sorted(each % rank for each in dims):
        result = result.unsqueeze(axis)
    return result


def _extreme(name: str, arg: str, elementwise: str) -> Callable[..., Any]:
    """``torch.min`` or ``torch.max``: of two tensors, of all entries, or with their indices along one axis."""

    def function(x: Any, other: Any = None, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        axis = other if dim is None else dim
        if axis is None:
            return _reduction(name)(x)
        if not isinstance(axis, int):
            return getattr(_lazy(x, other)._from(x), elementwise)(other)
        results = getattr(x, arg)(axis=axis, keepdims=False, **options)
        return tuple(_with_dims(x, each, axis) for each in results) if keepdim else results

    return function


def _where(condition: Any, x: Any, y: Any) -> Any:
    return _lazy(condition, x, y)._from(x).where(condition, y)


def _concatenated(tensors: Any, dim: int = 0) -> Any:
    if not all(isinstance(x, Recorded) and x._vectors for x in tensors):
        raise ShapeError(
            "torch.cat of LazyTensors joins their vectors, dim=-1; "
            "write torch.stack([K, L], dim=-1) to make vectors of numbers"
        )
    return type(_lazy(*tensors)).concatenate(tuple(tensors), dim)


def _stacked(tensors: Any, dim: int = 0) -> Any:
    first = _lazy(*tensors)
    if dim not in (-1, first.dim() - 1) or any(isinstance(x, Recorded) and x._vectors for x in tensors):
        raise ShapeError("torch.stack of LazyTensors makes vectors of tensors with a number for each pair, dim=-1")
    return type(first).concatenate(tuple(tensors))


def _clamped(x: Any, min: Any = None, max: Any = None) -> Any:
    lowest = float("-inf") if min is None else min
    return x.clamp(lowest, float("inf") if max is None else max)


def _largest(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return (x.Kmax_argKmax if largest else x.Kmin_argKmin)(k, axis=dim)


def _norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    if ord not in (None, 2, "fro") or (ord == 2 and dim is None and not x._vectors):
        raise TypeError("torch.linalg.norm of a LazyTensor is the Euclidean norm only: leave ord=None")
    if x._vectors and dim in (-1, x.dim() - 1):
        return x.norm2()
    return _reduction("sum")(x * x, dim, keepdim) ** 0.5


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _reduction(name) for name in ("sum", "mean", "prod", "any", "all", "argmin", "argmax", "logsumexp")},
    "var": _spread("var"), "std": _spread("std"), "amin": _reduction("min"), "amax": _reduction("max"),
    "min": _extreme("min", "min_argmin", "minimum"),
    "max": _extreme("max", "max_argmax", "maximum"), "where": _where, "cat": _concatenated, "concat": _concatenated,
    "concatenate": _concatenated, "stack": _stacked, "count_nonzero": _reduction("count"),
    "clamp": _clamped, "clip": _clamped, "topk": _largest, "linalg_norm": _norm,
    "linalg_vector_norm": _norm, "t": lambda x: x.T,
}  # fmt: skip
"""PyTorch's functions that are neither operators nor elementwise."""
