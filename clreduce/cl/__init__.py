"""The front end for pyopencl's arrays, which stay on their device.

Calls run in the context and on the queue of their arrays, and return arrays on that queue. They copy nothing to the
host and do not wait: results carry the event of their last kernel, as pyopencl's own arrays do. Calls that skip pairs
are the exception: they sort points on the host.

>>> import clreduce, numpy as np, pyopencl as cl, pyopencl.array
>>> from clreduce.cl import Genred
>>> context = cl.Context([clreduce.current_device().cl_device])
>>> queue = cl.CommandQueue(context)
>>> x = cl.array.to_device(queue, np.zeros((2, 3)))
>>> y = cl.array.to_device(queue, np.ones((4, 3)))
>>> Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, y)
cl.Array([[12.],
       [12.]])
"""

from pyopencl.array import Array as _Array

from clreduce.adapters.cl import CL_ARRAYS
from clreduce.binding import bind, generics, variables
from clreduce.call.genred import Genred as _Genred
from clreduce.call.placed import PLACED
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom


class Genred(_Genred[_Array]):
    pass


class KernelSolve(_KernelSolve[_Array]):
    pass


class LazyTensor(_LazyTensor[_Array]):
    __slots__ = ()


class ComplexLazyTensor(ComplexMethods[_Array], LazyTensor):
    __slots__ = ()


bind(CL_ARRAYS, Genred, KernelSolve, LazyTensor, ComplexLazyTensor, PLACED)
Vi, Vj, Pm = variables(LazyTensor)
generic_sum, generic_logsumexp, generic_argmin, generic_argkmin = generics(Genred)

__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "generic_argkmin",
    "generic_argmin", "generic_logsumexp", "generic_sum", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
