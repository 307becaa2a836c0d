"""The front end for PyTorch tensors: gradients of any order, in both modes, and under ``torch.func``.

>>> import torch
>>> from clreduce.torch import Genred
>>> x, y = torch.zeros(2, 3, requires_grad=True), torch.ones(4, 3)
>>> distances = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, y)
>>> distances.flatten()
tensor([12., 12.], grad_fn=<ViewBackward0>)
>>> distances.sum().backward()
>>> x.grad
tensor([[-8., -8., -8.],
        [-8., -8., -8.]])
"""

from functools import wraps
from typing import TYPE_CHECKING

from clreduce.extras import check_version, needed

try:
    import torch as _torch

    check_version("torch", _torch)
except ImportError as _error:
    raise needed("torch", _error) from _error

from torch import Tensor
from torch.compiler import is_compiling

from clreduce.adapters.torch import TORCH
from clreduce.adapters.torch_standins import refuse_tracing
from clreduce.binding import bind, generics, variables
from clreduce.call.genred import Genred as _Genred
from clreduce.compat.stand_in import install_as_pykeops
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor as _LazyTensor
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.kernel_solve import KernelSolve as _KernelSolve
from clreduce.solve.preconditioners import nystrom
from clreduce.torch import cluster, compiled
from clreduce.torch.autograd import AUTOGRAD
from clreduce.torch.functions import TorchFunctions
from clreduce.torch.solving import TrackedSolver

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.call.pruning.index import Index
    from clreduce.lazy.types import Value


class Genred(_Genred[Tensor]):
    if not TYPE_CHECKING:  # type checkers read what the base says of both

        @wraps(_Genred.__init__)
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            # Plain values, which the compiler of PyTorch reads as constants.
            self._described, self._single = compiled.described(self), len(self.program.outputs) == 1

        def __call__(
            self, *args: object, backend: str = "auto", device_id: int = -1, ranges: object = None, out: object = None,
            max_memory: int | str | None = None, deterministic: bool | None = None, prune: bool | str = "auto",
            atol: float | None = None, rtol: float | None = None, **unknown: object,
        ) -> Tensor:  # fmt: skip
            if is_compiling() and not compiled.left_to_python(max_memory is not None or deterministic is not None):
                return compiled.call(self._described, self._single, args, backend, device_id, ranges, out)
            return super().__call__(
                *args, backend=backend, device_id=device_id, ranges=ranges, out=out, max_memory=max_memory,
                deterministic=deterministic, prune=prune, atol=atol, rtol=rtol, **unknown,
            )  # fmt: skip

        __call__.__doc__ = _Genred.__call__.__doc__


class KernelSolve(TrackedSolver, _KernelSolve[Tensor]):
    pass


class LazyTensor(TorchFunctions, _LazyTensor[Tensor]):
    __slots__ = ()

    def __new__(cls, x: "Value | Index | None" = None, axis: int | None = None, is_complex: bool = False) -> "Self":
        if is_compiling():
            compiled.leave_recording_out()
        refuse_tracing()
        return super().__new__(cls, x, axis, is_complex)


class ComplexLazyTensor(ComplexMethods[Tensor], LazyTensor):
    __slots__ = ()


bind(TORCH, Genred, KernelSolve, LazyTensor, ComplexLazyTensor, AUTOGRAD, solver=TrackedSolver)
Vi, Vj, Pm = variables(LazyTensor)
generic_sum, generic_logsumexp, generic_argmin, generic_argkmin = generics(Genred)

__all__ = [
    "ComplexLazyTensor", "Genred", "KernelSolve", "LazyTensor", "Pm", "SolveInfo", "Vi", "Vj", "cluster",
    "generic_argkmin", "generic_argmin", "generic_logsumexp", "generic_sum", "install_as_pykeops", "nystrom",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted(__all__)
