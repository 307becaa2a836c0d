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

from typing import Any as _Any

from clreduce.extras import check_version, needed

try:
    import dask as _dask
    import dask.array as _da

    check_version("dask", _dask)
except ImportError as _error:
    raise needed("dask", _error) from _error

from clreduce.adapters.dask import DASK
from clreduce.binding import bind, generics, variables
from clreduce.call.genred import Genred as _Genred
from clreduce.dask.boxes import compute_boxes
from clreduce.dask.graphs import GRAPHS
from clreduce.dask.routine import GraphRoutine
from clreduce.dask.solving import GraphSolver
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom


class Genred(GraphRoutine, _Genred[_da.Array]):
    pass


class KernelSolve(GraphSolver, _KernelSolve[_Any]):  # dask's shapes may hold nan, so its arrays are no `AnyArray`
    pass


class LazyTensor(_LazyTensor[_da.Array]):
    __slots__ = ()


class ComplexLazyTensor(ComplexMethods[_da.Array], LazyTensor):
    __slots__ = ()


bind(DASK, Genred, KernelSolve, LazyTensor, ComplexLazyTensor, GRAPHS, GraphRoutine, GraphSolver)
Vi, Vj, Pm = variables(LazyTensor)
generic_sum, generic_logsumexp, generic_argmin, generic_argkmin = generics(Genred)

__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "compute_boxes",
    "generic_argkmin", "generic_argmin", "generic_logsumexp", "generic_sum", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
