"""The front end for NumPy arrays.

>>> import numpy as np
>>> from clreduce.numpy import Genred
>>> x, y = np.zeros((2, 3)), np.ones((4, 3))
>>> Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, y)
array([[12.],
       [12.]])
"""

from typing import Any, ClassVar

import numpy as np

from clreduce.adapters.adapter import Adapter
from clreduce.adapters.numpy import NUMPY
from clreduce.call.generic import generic
from clreduce.call.genred import Genred as _Genred
from clreduce.call.routine import Routine as _Routine
from clreduce.compat.stand_in import install_as_pykeops
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.lazy.tensor import variables_of
from clreduce.numpy import cluster
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom
from clreduce.solve.solver import Solver as _Solver

_Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Genred(_Genred[_Array]):
    __doc__ = _Genred.__doc__
    library: ClassVar[Adapter] = NUMPY


class Routine(_Routine):
    library: ClassVar[Adapter] = NUMPY


class Solver(_Solver):
    library: ClassVar[Adapter] = NUMPY


class KernelSolve(_KernelSolve[_Array]):
    __doc__ = _KernelSolve.__doc__
    library: ClassVar[Adapter] = NUMPY


class LazyTensor(_LazyTensor[_Array]):
    __doc__ = _LazyTensor.__doc__
    library: ClassVar[Adapter] = NUMPY
    routine: ClassVar[type[_Routine]] = Routine
    solver: ClassVar[type[_Solver]] = Solver
    __slots__ = ()


class ComplexLazyTensor(ComplexMethods, LazyTensor):
    """A `LazyTensor` of complex numbers; reductions give complex arrays.

    `LazyTensor` makes one of complex data. What has no meaning for complex numbers raises one error.
    """

    __slots__ = ()
    counterpart = LazyTensor


LazyTensor.counterpart = ComplexLazyTensor

generic_sum = generic(Genred, "generic_sum")
generic_logsumexp = generic(Genred, "generic_logsumexp")
generic_argmin = generic(Genred, "generic_argmin")
generic_argkmin = generic(Genred, "generic_argkmin")


def Vi(x_or_ind: Any, dim: Any = None) -> LazyTensor:
    """Vectors of i: an array of shape (M, D); or a symbolic variable, by its position and its length."""
    return variables_of(LazyTensor, x_or_ind, dim, 0)


def Vj(x_or_ind: Any, dim: Any = None) -> LazyTensor:
    """Vectors of j: an array of shape (N, D); or a symbolic variable, by its position and its length."""
    return variables_of(LazyTensor, x_or_ind, dim, 1)


def Pm(x_or_ind: Any, dim: Any = None) -> LazyTensor:
    """A parameter: a vector, a number or a list; or a symbolic variable, by its position and its length."""
    return variables_of(LazyTensor, x_or_ind, dim, 2)


__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "cluster",
    "generic_argkmin", "generic_argmin", "generic_logsumexp", "generic_sum", "install_as_pykeops", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
