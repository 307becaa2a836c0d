"""What editors and type checkers are told: types of results, completions, signatures and help of `LazyTensor`."""

from __future__ import annotations

import inspect
import os
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clreduce.numpy
import clreduce.torch

ROOT = Path(clreduce.__file__).resolve().parents[1]
TYPED = {
    # calls of the README, and the type that `reveal_type` tells
    "gaussian_sum(x, y, b)": "numpy.ndarray", "LazyTensor(x[:, None, :])": "LazyTensor", "Vi(x) - Vj(y)": "LazyTensor",
    "((Vi(x) - Vj(y)) ** 2).sum(-1)": "LazyTensor", "(-Vi(x).sqdist(Vj(y))).exp()": "LazyTensor", "K": "LazyTensor",
    "K @ b": "numpy.ndarray", "K.sum(axis=0)": "numpy.ndarray", "K.sum(axis=1)[:, 0]": "numpy.ndarray",
    "K.mean(axis=(0, 1))": "numpy.ndarray", "K.argKmin(3, axis=1)": "numpy.ndarray", "K.T": "LazyTensor",
    "K.min_argmin(axis=1)": "tuple[numpy.ndarray", "K.where(K.i < K.j)": "LazyTensor", "K[:5, :5]": "LazyTensor",
    "K[:5, :5].dense()": "numpy.ndarray", "K.logsumexp(axis=1)": "numpy.ndarray", "K.solve(b)": "numpy.ndarray",
    "(K > 0.5) | (K < 0.1)": "LazyTensor", "K.shape": "tuple[int", "T.sum(axis=1)": "Tensor", "T @ t": "Tensor",
    "T.exp()": "clreduce.torch.LazyTensor", "gaussian_sum.grad('x')(x, y, b, a)": "numpy.ndarray",
    "gaussian_sum.vjp(x, y, b, cotangent=a, wrt='x')": "tuple[numpy.ndarray", "K.std(axis=1, ddof=1)": "numpy.ndarray",
    "gaussian_sum.jvp(x, y, b, tangents={'b': b})": "numpy.ndarray", "solve(x, x, a)": "numpy.ndarray",
    "cluster.grid_cluster(x, 0.5)": "numpy.ndarray", "cluster.sort_clusters(x, labels)": "tuple[numpy.ndarray",
    "cluster.cluster_ranges_centroids(x, labels)": "tuple[numpy.ndarray",
    "cluster.from_matrix(blocks, blocks, near)": "tuple[numpy.ndarray", "K.radius(1.0)": "Within",
    "clreduce.Vi(x).sqdist(clreduce.Vj(y))": "clreduce.numpy.LazyTensor", "clreduce.Vi(t)": "clreduce.torch.LazyTensor",
    "clreduce.explain_devices()": "str", "gaussian_sum(x, y, b, rtol=1e-3, prune=True)": "numpy.ndarray",
    "K.sum(axis=1, keepdims=False, prune=False, max_memory='1GB')": "numpy.ndarray", "2 * K + 1.0": "LazyTensor",
    "K.clamp(0, Vj(b))": "LazyTensor", "K.Kmin_argKmin(2, axis=1)": "tuple[",
    "cdist_reduce(x, y)": "numpy.ndarray", "cdist_reduce(x, y, 'cosine', 'min_argmin')": "tuple[numpy.ndarray",
    "cdist_reduce(t, t, reduction='kmin', k=2)": "Tensor", "cdist_reduce(t, t, reduction='max_argmax')": "tuple[torch",
    "(1j * D).exp().conj()": "LazyTensor", "D.sqdist([1.0]).sumKmin(2, Vj(b), axis=1)": "numpy.ndarray",
    "K.sum()": "Any", "K.sum(keepdims=True)": "Any", "K.sum(dim=2)": "Any", "K.logsumexp()": "Any",
    "((Vi(x) - Vj(y)) ** 2).sum(dim=-1)": "LazyTensor", "K.logsumexp(-1)": "LazyTensor",
    "K.max(axis=None)": "numpy.ndarray", "K.sum(axis=b.ndim - 1)": "numpy.ndarray", "K[..., 0:1]": "LazyTensor",
    "K[1]": "Any", "D.solve(b, info=True)": "tuple[numpy.ndarray", "K @ K.T": "Product", "K @ K.T @ b": "numpy.ndarray",
    "b.T @ K": "Any", "K.weightedsqnorm([1.0]).T.H": "LazyTensor", "np.asarray(K)": "numpy.ndarray",
    "T.Kmin_argKmin(2, dim=1)": "tuple[", "T.solve(t)": "Tensor", "T @ T.t() @ t": "Tensor",
}  # fmt: skip
FAULTS = (
    "K.sum(axis=1, keepdim_=True)", "K.max(axis=1, out_=None)", "K + 'text'", "K.clamp('low', 1)", "K.elem('first')",
    "K.reduction('Sum', axis=1, fats='dot')", "gaussian_sum(x, y, b, rtoll=1e-3)", "Vi(x).sqdist(object())",
)  # fmt: skip
"""Calls that type checkers refuse: misspelt options, and values of a kind that no method takes."""
PROGRAM = """
import numpy as np
import torch
import clreduce
from clreduce.numpy import Genred, KernelSolve, LazyTensor, Vi, Vj, cluster
from clreduce.distance import cdist_reduce
from clreduce.torch import Vi as ViOfTorch, Vj as VjOfTorch
x, y, b = np.random.rand(10, 3), np.random.rand(20, 3), np.random.rand(20, 1)
t = torch.rand(10, 3)
gaussian_sum = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
a = gaussian_sum(x, y, b)
solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "b", axis=1)
labels, blocks, near = np.zeros(10, int), np.array([[0, 10]]), np.ones((1, 1), bool)
K = (-Vi(x).sqdist(Vj(y))).exp()
D = Vi(x).sqdist(Vj(y))
T = ViOfTorch(t).sqdist(VjOfTorch(t))
"""


def test_types_of_results(tmp_path: Path) -> None:
    file = tmp_path / "user.py"
    faults = "".join(f"{call}  # type: ignore\n" for call in FAULTS)  # each must be an error, or mypy tells of it
    file.write_text(PROGRAM + "".join(f"reveal_type({call})\n" for call in TYPED) + faults)
    options = (
        "--warn-unused-ignores",
        "--config-file=",
        "--follow-imports=silent",
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
    )
    command = [sys.executable, "-m", "mypy", *options, str(file)]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=600, cwd=tmp_path
    )
    told = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(told) == len(TYPED), done.stdout + done.stderr
    assert [call for call, kind in zip(TYPED, told, strict=True) if TYPED[call] not in kind] == []
    assert done.returncode == 0, done.stdout


def test_completion() -> None:
    """Of consoles, which ask ``dir()``."""
    names = set(dir(clreduce.numpy.Vi(0, 3)))
    assert set(OF_TENSORS) <= names
    assert "reshape" not in names


OF_TENSORS = ("sum", "exp", "sqdist", "argKmin", "solve", "dense", "shape")
COMPLETED = {
    # an expression, and names that follow it; jedi itself gives nothing after a minus sign, and truth values after <
    "Vi(x)": OF_TENSORS, "(Vi(x) - Vj(y))": OF_TENSORS, "((Vi(x) - Vj(y)) ** 2).sum(-1)": OF_TENSORS,
    "D": OF_TENSORS, "D.exp()": OF_TENSORS, "(D / 2).sqrt()": OF_TENSORS, "D.T": OF_TENSORS, "D[:5]": OF_TENSORS,
    "D.where(D.i < D.j)": OF_TENSORS, "T.exp()": OF_TENSORS, "D.sum(axis=1)": ("astype", "reshape"),
    "D.solve(b)": ("astype",), "gaussian_sum(x, y, b)": ("astype",), "D.radius(1.0)": ("counts", "offsets"),
}  # fmt: skip


@pytest.mark.parametrize("expression", COMPLETED)
def test_completion_after(expression: str) -> None:
    jedi = pytest.importorskip("jedi")
    project = jedi.Project(str(ROOT), added_sys_path=[str(ROOT)])
    script = jedi.Script(f"{PROGRAM}{expression}.", project=project)
    assert set(COMPLETED[expression]) <= {completion.name for completion in script.complete()}


@pytest.mark.parametrize("module", [clreduce.numpy, clreduce.torch])
def test_help_names_options_and_shows_a_call(module: object) -> None:
    cls = module.LazyTensor  # type: ignore[attr-defined]
    text = pydoc.plain(pydoc.render_doc(cls.sum))
    for words in ("axis", "dim", "keepdims", "(M, 1)", "out, backend", ">>> K.sum(axis=1)"):
        assert words in text
    names = [name for name in dir(cls) if not name.startswith("_")]
    public = [getattr(cls, name) for name in names if callable(getattr(cls, name, None))]
    assert [each for each in public if not inspect.getdoc(each)] == []
    assert [each for each in public if [*inspect.signature(each).parameters][:1] == "args"] == []
