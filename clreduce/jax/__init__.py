"""The front end for JAX: inside and outside of ``jit``, with derivatives of any order, and ``vmap`` as a batch.

>>> import jax
>>> import jax.numpy as jnp
>>> from clreduce.jax import Genred
>>> distances = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
>>> x, y = jnp.zeros((2, 3)), jnp.ones((4, 3))
>>> jax.jit(distances)(x, y).ravel()
Array([12., 12.], dtype=float32)
>>> jax.grad(lambda x: distances(x, y).sum())(x)
Array([[-8., -8., -8.],
       [-8., -8., -8.]], dtype=float32)
"""

from clreduce.extras import check_version, needed

try:
    import jax as _jax

    check_version("jax", _jax)
except ImportError as _error:
    raise needed("jax", _error) from _error

from clreduce.adapters.jax import JAX
from clreduce.binding import bind, generics, variables
from clreduce.call.genred import Genred as _Genred
from clreduce.jax import cluster
from clreduce.jax.following import FOLLOWING
from clreduce.jax.solving import FollowingSolver
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom


class Genred(_Genred[_jax.Array]):
    pass


class KernelSolve(FollowingSolver, _KernelSolve[_jax.Array]):
    pass


class LazyTensor(_LazyTensor[_jax.Array]):
    __slots__ = ()


class ComplexLazyTensor(ComplexMethods[_jax.Array], LazyTensor):
    __slots__ = ()


bind(JAX, Genred, KernelSolve, LazyTensor, ComplexLazyTensor, FOLLOWING, solver=FollowingSolver)
Vi, Vj, Pm = variables(LazyTensor)
generic_sum, generic_logsumexp, generic_argmin, generic_argkmin = generics(Genred)

__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "cluster",
    "generic_argkmin", "generic_argmin", "generic_logsumexp", "generic_sum", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
