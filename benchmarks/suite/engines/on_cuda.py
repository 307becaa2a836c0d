"""Peers on NVIDIA's GPUs: KeOps' CUDA kernels and dense PyTorch, from arrays of the host and back."""

from __future__ import annotations

import numpy as np
import torch

from suite.engines.base import Array, Call
from suite.engines.dense_torch import Torch
from suite.engines.formulas import PyKeops
from suite.problems import Example, Problem


class TorchOnCuda(Torch):
    name = "torch-cuda"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        _need_cuda()
        torch.set_default_device("cuda")


class PyKeopsOnCuda(PyKeops):
    name = "pykeops-cuda"

    def __init__(self, threads: int) -> None:
        _need_cuda()
        super().__init__(threads)

    def prepare(self, problem: Problem, arrays: list[Array]) -> Call:
        if isinstance(problem, Example):
            return super().prepare(problem, arrays)
        compute = [
            self.genred(r.formula, list(r.aliases), r.reduction, axis=r.axis, opt_arg=r.count) for r in problem.routines
        ]
        return lambda: tuple(np.asarray(one(*arrays, backend="GPU")) for one in compute)


def _need_cuda() -> None:
    if not torch.cuda.is_available():
        raise ImportError("PyTorch finds no CUDA device")
