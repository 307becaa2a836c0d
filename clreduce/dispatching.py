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
from clreduce.lazy.products import Block, Operator

if TYPE_CHECKING:
    import torch

    import clreduce.dask as of_dask
    import clreduce.jax as of_jax
    import clreduce.numpy as of_numpy
    import clreduce.torch as of_torch


class _OfJax(Protocol):
    """The attributes by which type checkers recognize an array of JAX, even if JAX is not installed."""

    @property
    def weak_type(self) -> Any: ...
    @property
    def addressable_shards(self) -> Any: ...


class _Chunked(Protocol):
    """The attributes by which type checkers recognize an array of Dask, even if Dask is not installed."""

    @property
    def chunks(self) -> Any: ...

    def persist(self) -> Any: ...


_FRONT_ENDS = (
    ("torch", "Tensor", "clreduce.torch"), ("jax", "Array", "clreduce.jax"), ("dask.array", "Array", "clreduce.dask"),
    ("pyopencl.array", "Array", "clreduce.cl"),
)  # fmt: skip
"""Array libraries, the names of their array classes, and the front ends for them."""


def front_end(*values: object) -> ModuleType:
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
def LazyTensor(x: object, axis: int | None = None, is_complex: bool = False) -> object:
    """A `LazyTensor` of the front end for ``x``: that of NumPy, PyTorch, JAX, Dask or pyopencl.

    Parameters
    ----------
    x, axis, is_complex
        As of `clreduce.numpy.LazyTensor`, with an array of any of these libraries.

    Returns
    -------
    LazyTensor
        Of the class of that front end.

    Examples
    --------
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
def Vi(x_or_ind: Any, dim: int | None = ...) -> of_numpy.LazyTensor: ...
def Vi(x_or_ind: object, dim: int | None = None) -> object:
    """Vectors x_i: a `LazyTensor` of an array of any library, whose rows belong to i.

    Parameters
    ----------
    x_or_ind : array or int
        An array of shape (M, D). With ``dim``, the position of a symbolic variable.
    dim : int, optional
        The length D of a symbolic variable.

    Returns
    -------
    LazyTensor
        Of shape (M, 1, D), of the front end for the array.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce as cr
    >>> cr.Vi(np.ones((5, 3))).shape
    (5, 1, 3)
    """
    return front_end(x_or_ind).Vi(x_or_ind, dim)


@overload
def Vj(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Vj(x_or_ind: _OfJax, dim: None = ...) -> of_jax.LazyTensor: ...
@overload
def Vj(x_or_ind: _Chunked, dim: None = ...) -> of_dask.LazyTensor: ...
@overload
def Vj(x_or_ind: Any, dim: int | None = ...) -> of_numpy.LazyTensor: ...
def Vj(x_or_ind: object, dim: int | None = None) -> object:
    """Vectors y_j: a `LazyTensor` of an array of any library, whose rows belong to j.

    Parameters
    ----------
    x_or_ind : array, Index or int
        An array of shape (N, D). With ``dim``, the position of a symbolic variable.
    dim : int, optional
        The length D of a symbolic variable.

    Returns
    -------
    LazyTensor
        Of shape (1, N, D), of the front end for the array.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce as cr
    >>> cr.Vj(np.ones((4, 3))).shape
    (1, 4, 3)
    """
    return front_end(x_or_ind).Vj(x_or_ind, dim)


@overload
def Pm(x_or_ind: torch.Tensor, dim: None = ...) -> of_torch.LazyTensor: ...
@overload
def Pm(x_or_ind: _OfJax, dim: None = ...) -> of_jax.LazyTensor: ...
@overload
def Pm(x_or_ind: _Chunked, dim: None = ...) -> of_dask.LazyTensor: ...
@overload
def Pm(x_or_ind: Any, dim: int | None = ...) -> of_numpy.LazyTensor: ...
def Pm(x_or_ind: object, dim: int | None = None) -> object:
    """A parameter: a `LazyTensor` of one vector that all pairs share.

    Parameters
    ----------
    x_or_ind : array, number, list of numbers or int
        A vector of shape (D,). With ``dim``, the position of a symbolic variable.
    dim : int, optional
        The length D of a symbolic variable.

    Returns
    -------
    LazyTensor
        Of shape (1, 1, D), of the front end for the array.

    Examples
    --------
    >>> import clreduce as cr
    >>> cr.Pm([1.0, 2.0]).shape
    (1, 1, 2)
    """
    return front_end(x_or_ind).Pm(x_or_ind, dim)


def block(rows: Sequence[Sequence[Operator | None]]) -> Block:
    """A linear operator of blocks, as ``numpy.block`` has arrays.

    Parameters
    ----------
    rows : list of lists
        The blocks, row by row: symbolic matrices, products of them, or blocks; None is a block of zeros.

    Returns
    -------
    Block
        An operator with ``@``, a transpose and SciPy's methods.

    Raises
    ------
    ShapeError
        The rows differ in length, or shapes of blocks do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce as cr
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[2.0]])
    >>> A, B, C = cr.Vi(x) | cr.Vj(x), cr.Vi(x) | cr.Vj(y), cr.Vi(y) | cr.Vj(y)
    >>> cr.block([[A, B], [B.T, C]]) @ np.ones(3)
    array([0., 3., 6.])
    """
    return Block(rows)


class Genred:
    """A reduction of a formula, as `clreduce.numpy.Genred`, for arrays of any library.

    Each call takes the front end of its arguments. All methods of a `Genred` are available.

    Parameters
    ----------
    formula, aliases, *args, **options
        As of `clreduce.numpy.Genred`.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce as cr
    >>> distances = cr.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1)
    >>> distances(np.zeros((2, 3)), np.ones((4, 3)))
    array([[3.],
           [3.]])
    """

    _kind = "Genred"

    def __init__(self, formula: str, aliases: Sequence[str], *args: object, **options: object) -> None:
        self._arguments = (formula, aliases, *args), options
        self._routines: dict[str, Any] = {}
        self._of(importlib.import_module("clreduce.numpy"))  # raises errors of the formula now

    def _of(self, module: ModuleType) -> Any:
        routine = self._routines.get(module.__name__)
        if routine is None:
            args, options = self._arguments
            routine = self._routines[module.__name__] = getattr(module, self._kind)(*args, **options)
        return routine

    def __call__(self, *args: object, **options: object) -> Any:
        """The reduction, an array of the library of the arguments.

        Parameters
        ----------
        *args, **options
            As in a call of `clreduce.numpy.Genred`.

        Returns
        -------
        array or tuple of two arrays
            As of a call of `clreduce.numpy.Genred`.

        Examples
        --------
        >>> import numpy as np
        >>> import clreduce as cr
        >>> cr.Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(np.ones((1, 1)), np.ones((3, 1)))
        array([[3.]])
        """
        return self._of(front_end(*args))(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self._of(importlib.import_module("clreduce.numpy")), name)
        return self._dispatched(name) if callable(attribute) else attribute

    def _dispatched(self, name: str) -> Callable[..., Any]:
        """The method ``name`` of the front end of the arrays with which it is called."""

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
    """The solution of a kernel system, as `clreduce.numpy.KernelSolve`, for arrays of any library.

    Each call takes the front end of its arguments. All methods of a `KernelSolve` are available.

    Parameters
    ----------
    formula, aliases, *args, **options
        As of `clreduce.numpy.KernelSolve`.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce as cr
    >>> solve = cr.KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
    >>> x = np.array([[0.0], [1.0]])
    >>> solve(x, x, np.ones((2, 1)), alpha=0.1).shape
    (2, 1)
    """

    _kind = "KernelSolve"
