"""One entry for all array libraries: ``clreduce.LazyTensor`` and its kin take the front end of the arrays they get.

Tensors of PyTorch go to `clreduce.torch`; everything else goes to `clreduce.numpy`, which also reads arrays of other
libraries that lie in the host's memory.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from clreduce.lazy.products import Block

if TYPE_CHECKING:
    import torch

    import clreduce.numpy as of_numpy
    import clreduce.torch as of_torch


def front_end(*values: Any) -> ModuleType:
    """`clreduce.torch` if one of the values is a tensor of PyTorch or of its front end, else `clreduce.numpy`."""
    library = sys.modules.get("torch")
    lazy = sys.modules.get("clreduce.torch")
    for value in values:
        if library is not None and isinstance(value, library.Tensor):
            return importlib.import_module("clreduce.torch")
        if lazy is not None and isinstance(value, lazy.LazyTensor):
            return lazy
    return importlib.import_module("clreduce.numpy")


@overload
def LazyTensor(x: torch.Tensor, axis: int | None = ..., is_complex: bool = ...) -> of_torch.LazyTensor: ...
@overload
def LazyTensor(x: Any, axis: int | None = ..., is_complex: bool = ...) -> of_numpy.LazyTensor: ...
def LazyTensor(x: Any, axis: int | None = None, is_complex: bool = False) -> Any:
    """A `clreduce.numpy.LazyTensor` or a `clreduce.torch.LazyTensor`, as ``x`` is an array or a tensor.

    >>> import numpy as np
    >>> import clreduce as cr
    >>> type(cr.LazyTensor(np.ones((5, 1, 3))))
    <class 'clreduce.numpy.LazyTensor'>
    """
    return front_end(x).LazyTensor(x, axis, is_complex)


@overload
def Vi(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Vi(x_or_ind: Any, dim: Any = ...) -> of_numpy.LazyTensor: ...
def Vi(x_or_ind: Any, dim: Any = None) -> Any:
    """Vectors of i: an array or a tensor of shape (M, D); or a symbolic variable, by its position and its length."""
    return front_end(x_or_ind).Vi(x_or_ind, dim)


@overload
def Vj(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Vj(x_or_ind: Any, dim: Any = ...) -> of_numpy.LazyTensor: ...
def Vj(x_or_ind: Any, dim: Any = None) -> Any:
    """Vectors of j: an array or a tensor of shape (N, D); or a symbolic variable, by its position and its length."""
    return front_end(x_or_ind).Vj(x_or_ind, dim)


@overload
def Pm(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
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
