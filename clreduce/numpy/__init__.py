"""The front end for NumPy arrays.

>>> import numpy as np
>>> from clreduce.numpy import Genred
>>> x, y = np.zeros((2, 3)), np.ones((4, 3))
>>> Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, y)
array([[12.],
       [12.]])
"""

from typing import Any

import numpy as np

from clreduce.adapters.numpy import NUMPY
from clreduce.binding import bind, generics, variables
from clreduce.call.genred import Genred as _Genred
from clreduce.compat.stand_in import install_as_pykeops
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.numpy import cluster
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom

_Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Genred(_Genred[_Array]):
    pass


class KernelSolve(_KernelSolve[_Array]):
    pass


class LazyTensor(_LazyTensor[_Array]):
    __slots__ = ()


class ComplexLazyTensor(ComplexMethods[_Array], LazyTensor):
    __slots__ = ()


bind(NUMPY, Genred, KernelSolve, LazyTensor, ComplexLazyTensor)
Vi, Vj, Pm = variables(LazyTensor)
generic_sum, generic_logsumexp, generic_argmin, generic_argkmin = generics(Genred)

__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "cluster",
    "generic_argkmin", "generic_argmin", "generic_logsumexp", "generic_sum", "install_as_pykeops", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
