"""One entry for all array libraries: ``clreduce.LazyTensor`` and its kin take the front end of the arrays they get.

Tensors of PyTorch go to `clreduce.torch`, arrays of Dask to `clreduce.dask`, those of pyopencl to `clreduce.cl`. Where
arrays are of another library that follows the array API standard, so are results (`array_api`). Everything else goes to
`clreduce.numpy`, which also reads what lies in the host's memory.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from clreduce.adapters.foreign import is_foreign
from clreduce.call.pruning.index import Index
from clreduce.lazy.products import Block

if TYPE_CHECKING:
    import torch

    import clreduce.dask as of_dask
    import clreduce.jax as of_jax
    import clreduce.numpy as of_numpy
    import clreduce.torch as of_torch


class _OfJax(Protocol):
    """An array of JAX, as far as types tell it from others, with and without JAX."""

    @property
    def weak_type(self) -> Any: ...
    @property
    def addressable_shards(self) -> Any: ...


class _Chunked(Protocol):
    """A dask array, as far as types tell it from others, with and without dask."""

    @property
    def chunks(self) -> Any: ...

    def persist(self) -> Any: ...


_FRONT_ENDS = (
    ("torch", "Tensor", "clreduce.torch"), ("jax", "Array", "clreduce.jax"), ("dask.array", "Array", "clreduce.dask"),
    ("pyopencl.array", "Array", "clreduce.cl"),
)  # fmt: skip
"""Array libraries, the names of their arrays' classes, and the front ends for them."""


def front_end(*values: Any) -> ModuleType:
    """The front end of the first value that is an array of PyTorch, Dask or pyopencl, or a tensor of such arrays.

    Without one, that of the first array of another library; else `clreduce.numpy`. No array library is imported that
    the program has not imported.
    """
    values = tuple(value.points if isinstance(value, Index) else value for value in values)
    for library, kind, name in _FRONT_ENDS:
        arrays, lazy = sys.modules.get(library), sys.modules.get(name)
        for value in values:
            if arrays is not None and isinstance(value, getattr(arrays, kind)):
                return importlib.import_module(name)
            if lazy is not None and isinstance(value, lazy.LazyTensor):
                return lazy
    for value in values:
        if type(value) is not np.ndarray and is_foreign(value):
            made: ModuleType = importlib.import_module("clreduce.array_api").front_end_of(value)
            return made
    return importlib.import_module("clreduce.numpy")


@overload
def LazyTensor(x: torch.Tensor, axis: int | None = ..., is_complex: bool = ...) -> of_torch.LazyTensor: ...
@overload
def LazyTensor(x: _OfJax, axis: int | None = ..., is_complex: bool = ...) -> of_jax.LazyTensor: ...
@overload
def LazyTensor(x: _Chunked, axis: int | None = ..., is_complex: bool = ...) -> of_dask.LazyTensor: ...
@overload
def LazyTensor(x: Any, axis: int | None = ..., is_complex: bool = ...) -> of_numpy.LazyTensor: ...
def LazyTensor(x: Any, axis: int | None = None, is_complex: bool = False) -> Any:
    """A `LazyTensor` of the front end for ``x``: that of NumPy, of PyTorch or of Dask.

    >>> import numpy as np
    >>> import clreduce as cr
    >>> type(cr.LazyTensor(np.ones((5, 1, 3))))
    <class 'clreduce.numpy.LazyTensor'>
    """
    return front_end(x).LazyTensor(x, axis, is_complex)


@overload
def Vi(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Vi(x_or_ind: _OfJax, dim: None = ...) -> of_jax.LazyTensor: ...
@overload
def Vi(x_or_ind: _Chunked, dim: None = ...) -> of_dask.LazyTensor: ...
@overload
def Vi(x_or_ind: Any, dim: Any = ...) -> of_numpy.LazyTensor: ...
def Vi(x_or_ind: Any, dim: Any = None) -> Any:
    """Vectors of i: an array or a tensor of shape (M, D); or a symbolic variable, by its position and its length."""
    return front_end(x_or_ind).Vi(x_or_ind, dim)


@overload
def Vj(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Vj(x_or_ind: _OfJax, dim: None = ...) -> of_jax.LazyTensor: ...
@overload
def Vj(x_or_ind: _Chunked, dim: None = ...) -> of_dask.LazyTensor: ...
@overload
def Vj(x_or_ind: Any, dim: Any = ...) -> of_numpy.LazyTensor: ...
def Vj(x_or_ind: Any, dim: Any = None) -> Any:
    """Vectors of j: an array or a tensor of shape (N, D); or a symbolic variable, by its position and its length."""
    return front_end(x_or_ind).Vj(x_or_ind, dim)


@overload
def Pm(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Pm(x_or_ind: _OfJax, dim: None = ...) -> of_jax.LazyTensor: ...
@overload
def Pm(x_or_ind: _Chunked, dim: None = ...) -> of_dask.LazyTensor: ...
@overload
def Pm(x_or_ind: Any, dim: Any = ...) -> of_numpy.LazyTensor: ...
def Pm(x_or_ind: Any, dim: Any = None) -> Any:
    """A parameter: a vector, a number or a list; or a symbolic variable, by its position and its length."""
    return front_end(x_or_ind).Pm(x_or_ind, dim)


def block(rows: Any) -> Block:
    """A linear operator of others, by rows: ``block([[A, B], [C, D]]) @ v``; None is a block of zeros.

    Its blocks are symbolic matrices, products of them, or blocks. It has a transpose, and is an operator of SciPy.
    """
    return Block(rows)


class Genred:
    """A reduction of a formula, as `clreduce.numpy.Genred` describes it, for arrays of NumPy and tensors of PyTorch.

    Each call takes the front end of its arguments. All that a `Genred` has is here too.

    >>> import numpy as np
    >>> import clreduce as cr
    >>> distances = cr.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1)
    >>> distances(np.zeros((2, 3)), np.ones((4, 3)))
    array([[3.],
           [3.]])
    """

    _kind = "Genred"

    def __init__(self, formula: str, aliases: Sequence[str], *args: Any, **options: Any) -> None:
        self._arguments = (formula, aliases, *args), options
        self._routines: dict[str, Any] = {}
        self._of(importlib.import_module("clreduce.numpy"))  # errors of the formula come here

    def _of(self, module: ModuleType) -> Any:
        routine = self._routines.get(module.__name__)
        if routine is None:
            args, options = self._arguments
            routine = self._routines[module.__name__] = getattr(module, self._kind)(*args, **options)
        return routine

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The result, an array or a tensor as the arguments are."""
        return self._of(front_end(*args))(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self._of(importlib.import_module("clreduce.numpy")), name)
        return self._dispatched(name) if callable(attribute) else attribute

    def _dispatched(self, name: str) -> Callable[..., Any]:
        """The method of that name, by the arrays that it is called with."""

        def method(*args: Any, **options: Any) -> Any:
            result = getattr(self._of(front_end(*args)), name)
            if name != "grad":
                return result(*args, **options)
            return lambda *arrays, **more: getattr(self._of(front_end(*arrays)), name)(*args, **options)(
                *arrays, **more
            )

        return method

    def __repr__(self) -> str:
        return repr(self._of(importlib.import_module("clreduce.numpy")))


class KernelSolve(Genred):
    """The solution of a kernel system, as `clreduce.numpy.KernelSolve` describes it, for arrays and tensors."""

    _kind = "KernelSolve"
