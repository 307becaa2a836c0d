"""Front ends for array libraries that follow the array API standard, such as CuPy or array-api-strict.

Arrays in the host's memory are read in place. Other arrays are copied there, with a single warning. Results are arrays
of the same library, on the same device.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

import clreduce.numpy as front
from clreduce.adapters.foreign import is_foreign, to_host
from clreduce.memo import Memo

_KEPT = ("__call__", "__matmul__", "__rmatmul__")
_FRONT_ENDS: Memo[str | None, SimpleNamespace] = Memo(32)


def front_end_of(value: object) -> SimpleNamespace:
    """The front end for arrays of the library and device of ``value``; it has the names of `clreduce.numpy`.

    An array without a namespace, which only has an address in a GPU's memory, gets results of NumPy.
    """
    if not hasattr(value, "__array_namespace__"):
        return _FRONT_ENDS.fetch(None, lambda: _front_end(__name__, lambda array: array))
    array: Any = value
    library, device = array.__array_namespace__(), array.device
    name = f"{__name__}[{library.__name__}, {device}]"
    make = functools.partial(_front_end, name, functools.partial(_array_of, library, device))
    return _FRONT_ENDS.fetch(name, make)


def _array_of(library: Any, device: Any, array: Any) -> Any:
    """A NumPy array as an array of ``library`` on ``device``."""
    return library.asarray(array, device=device)


# ------------------------------------------------------------------------------------------------------ front ends


class _Depth(threading.local):
    """The depth of nested methods in a thread. The outermost method converts results."""

    number = 0


_DEPTH = _Depth()


def _front_end(name: str, convert: Callable[[Any], Any]) -> SimpleNamespace:
    """A namespace with the names of `clreduce.numpy`; ``convert`` turns their results into arrays of a library."""

    def new(cls: type[Any], x: Any = None, axis: int | None = None, is_complex: bool = False) -> Any:
        return front.LazyTensor.__new__(cls, _given(x), axis, is_complex)

    lazy: Any = type("LazyTensor", (front.LazyTensor,), {"__slots__": (), "__module__": __name__, "__new__": new})
    complex_lazy: Any = type(
        "ComplexLazyTensor", (front.ComplexLazyTensor, lazy), {"__slots__": (), "__module__": __name__}
    )
    lazy.counterpart, complex_lazy.counterpart = complex_lazy, lazy
    genred = type("Genred", (front.Genred,), {"__module__": __name__})
    solve = type("KernelSolve", (front.KernelSolve,), {"__module__": __name__})
    for cls in (lazy, complex_lazy, genred, solve):
        for method in _methods(cls):
            setattr(cls, method, _wrapped(inspect.getattr_static(cls, method), convert))

    def made(maker: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(maker)
        def make(value: Any, dim: Any = None) -> Any:
            tensor = maker(_given(value), dim)
            return tensor._of_kind(lazy._kind(tensor.is_complex))

        return make

    return SimpleNamespace(
        __name__=name, Genred=genred, KernelSolve=solve, LazyTensor=lazy, ComplexLazyTensor=complex_lazy,
        Vi=made(front.Vi), Vj=made(front.Vj), Pm=made(front.Pm),
    )  # fmt: skip


def _methods(cls: type[Any]) -> Iterable[str]:
    """The names of methods that take or return arrays."""
    for name in dir(cls):
        static = inspect.getattr_static(cls, name)
        operator = name.startswith("__") and name.endswith("__")
        if not inspect.isfunction(static) or (name.startswith("_") and not operator):
            continue
        if operator and not (name in _KEPT or name in _OPERATORS):
            continue
        yield name


_OPERATORS = {
    f"__{side}{name}__"
    for name in ("add", "sub", "mul", "truediv", "pow", "or", "and", "xor")
    for side in ("", "r")
} | {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__init__", "__getitem__"}  # fmt: skip


def _given(value: Any) -> Any:
    """An argument with foreign arrays converted to NumPy arrays."""
    if is_foreign(value) and not hasattr(value, "__GenericLazyTensor__"):
        return to_host(value)
    if type(value) in (tuple, list):
        return type(value)(map(_given, value))
    return {key: _given(each) for key, each in value.items()} if type(value) is dict else value


def _wrapped(function: Callable[..., Any], convert: Callable[[Any], Any]) -> Callable[..., Any]:
    """A method that takes foreign arrays and returns arrays of the library."""

    @functools.wraps(function)
    def method(*args: Any, **options: Any) -> Any:
        if _DEPTH.number:
            return function(*args, **options)
        args, options = tuple(map(_given, args)), _given(options)
        _DEPTH.number += 1
        try:
            result = function(*args, **options)
        finally:
            _DEPTH.number -= 1
        return _given_back(result, convert)

    return method


def _given_back(result: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(result, (np.ndarray, np.generic)):
        return convert(np.asarray(result))
    if type(result) is tuple:
        return tuple(_given_back(each, convert) for each in result)
    if inspect.isfunction(result):  # of `grad`
        return _wrapped(result, convert)
    return result
