"""The front end for dask arrays: lazy, chunk by chunk, on one machine or a cluster.

>>> import dask.array as da
>>> from clreduce.dask import Genred
>>> x, y = da.zeros((4, 3), chunks=(2, 3)), da.ones((6, 3), chunks=(2, 3))
>>> distances = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, y)
>>> distances.chunks
((2, 2), (1,))
>>> distances.compute().ravel()
array([18., 18., 18., 18.])
"""

from typing import TYPE_CHECKING, Any, ClassVar

try:
    import dask.array as _da
except ImportError as _error:
    raise ImportError(
        f"clreduce.dask needs dask with its arrays ({_error}): pip install 'clreduce[dask]'", name=_error.name
    ) from _error

from clreduce.adapters.adapter import Adapter
from clreduce.adapters.dask import DASK
from clreduce.call.generic import generic
from clreduce.call.genred import Genred as _Genred
from clreduce.call.routine import Routine as _Routine
from clreduce.dask.routine import GraphRoutine
from clreduce.dask.solving import GraphSolver
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.lazy.tensor import variables_of
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom
from clreduce.solve.solver import Solver as _Solver

if TYPE_CHECKING:
    _Array = Any
else:
    _Array = _da.Array


class Genred(GraphRoutine, _Genred[_Array]):
    __doc__ = _Genred.__doc__


class KernelSolve(GraphSolver, _KernelSolve[_Array]):
    __doc__ = _KernelSolve.__doc__


class LazyTensor(_LazyTensor[_Array]):
    __doc__ = _LazyTensor.__doc__
    library: ClassVar[Adapter] = DASK
    routine: ClassVar[type[_Routine]] = GraphRoutine
    solver: ClassVar[type[_Solver]] = GraphSolver
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
    """Vectors of i: a dask array of shape (M, D); or a symbolic variable, by its position and its length."""
    return variables_of(LazyTensor, x_or_ind, dim, 0)


def Vj(x_or_ind: Any, dim: Any = None) -> LazyTensor:
    """Vectors of j: a dask array of shape (N, D); or a symbolic variable, by its position and its length."""
    return variables_of(LazyTensor, x_or_ind, dim, 1)


def Pm(x_or_ind: Any, dim: Any = None) -> LazyTensor:
    """A parameter: a vector, a number or a list; or a symbolic variable, by its position and its length."""
    return variables_of(LazyTensor, x_or_ind, dim, 2)


__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "generic_argkmin",
    "generic_argmin", "generic_logsumexp", "generic_sum", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
