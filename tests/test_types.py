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
    "solve(x, x, a, info=True)": "tuple[numpy.ndarray", "solve.jvp(x, x, a, tangents={'b': a})": "numpy.ndarray",
    "cdist_reduce(x, y)": "numpy.ndarray", "cdist_reduce(x, y, 'cosine', 'min_argmin')": "tuple[numpy.ndarray",
    "cdist_reduce(t, t, reduction='kmin', k=2)": "Tensor", "cdist_reduce(t, t, reduction='max_argmax')": "tuple[torch",
    "(1j * D).exp().conj()": "LazyTensor", "D.sqdist([1.0]).sumKmin(2, Vj(b), axis=1)": "numpy.ndarray",
    "K.sum()": "Any", "K.sum(keepdims=True)": "Any", "K.sum(dim=2)": "Any", "K.logsumexp()": "Any",
    "((Vi(x) - Vj(y)) ** 2).sum(dim=-1)": "LazyTensor", "K.logsumexp(-1)": "LazyTensor",
    "K.max(axis=None)": "numpy.ndarray", "K.sum(axis=b.ndim - 1)": "numpy.ndarray", "K[..., 0:1]": "LazyTensor",
    "K[1]": "Any", "D.solve(b, info=True)": "tuple[numpy.ndarray", "K @ K.T": "Product", "K @ K.T @ b": "numpy.ndarray",
    "b.T @ K": "Any", "K.weightedsqnorm([1.0]).T.H": "LazyTensor", "np.asarray(K)": "numpy.ndarray",
    "T.Kmin_argKmin(2, dim=1)": "tuple[", "T.solve(t)": "Tensor", "T @ T.t() @ t": "Tensor",
    "sum_of_torch(t, t)": "Tensor", "sum_of_torch.vjp(t, t, cotangent=t)": "tuple[torch",
    "Pm([1.0, 2.0])": "LazyTensor",
    "KernelSolveOfTorch('x * y', ['x = Vi(1)', 'y = Vj(1)'], 'y', axis=1)(t, t)": "Tensor",
    "D.solve(b, call=False)": "PendingSolve[numpy.ndarray", "D.solve(b, call=False)(b)": "numpy.ndarray",
    "K.variables": "tuple[numpy.ndarray", "K.memory_estimate(axis=1)": "MemoryEstimate",
    "LazyTensor(1.0)": "LazyTensor",
}  # fmt: skip
FAULTS = (
    "K.sum(axis=1, keepdim_=True)", "K.max(axis=1, out_=None)", "K + 'text'", "K.clamp('low', 1)", "K.elem('first')",
    "K.reduction('Sum', axis=1, fats='dot')", "gaussian_sum(x, y, b, rtoll=1e-3)", "Vi(x).sqdist(object())",
    "K.sum(axis='j')", "K.max(axis=1, ranges=3)", "K.Kmin(2, axis=1, keepdims=False)", "K.memory_estimate(axes=1)",
    "K.solve(b, epsilon=1e-3)", "K.solve(b, maxiter='many')", "K.explain('Sum', axis='j')", "K[object()]",
    "Vi(object())",
    "Vi(0, 3.5)", "LazyTensor('x')", "K @ 3", "K.matvec('b')", "D.grad(x, 1)", "D.grad(T, 1)",
    "LazyTensor.lookup([[1, 2]], x)", "sum_of_torch(t, t, rtoll=1e-3)",
)  # fmt: skip
"""Calls that type checkers refuse: misspelt options, and values of a kind that no method takes."""
PROGRAM = """
import numpy as np
import torch
import clreduce
from clreduce.numpy import Genred, KernelSolve, LazyTensor, Vi, Vj, cluster
from clreduce.numpy import Pm
from clreduce.distance import cdist_reduce
from clreduce.torch import Genred as GenredOfTorch, KernelSolve as KernelSolveOfTorch, Vi as ViOfTorch, Vj as VjOfTorch
x, y, b = np.random.rand(10, 3), np.random.rand(20, 3), np.random.rand(20, 1)
t = torch.rand(10, 3)
gaussian_sum = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
a = gaussian_sum(x, y, b)
solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "b", axis=1)
labels, blocks, near = np.zeros(10, int), np.array([[0, 10]]), np.ones((1, 1), bool)
K = (-Vi(x).sqdist(Vj(y))).exp()
D = Vi(x).sqdist(Vj(y))
T = ViOfTorch(t).sqdist(VjOfTorch(t))
sum_of_torch = GenredOfTorch("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
"""


def check(program: str, typed: dict[str, str], faults: tuple[str, ...], folder: Path) -> None:
    """Compare what mypy tells of a program's calls, and of its faults, each of which must be an error."""
    file = folder / "user.py"
    refused = "".join(f"{call}  # type: ignore\n" for call in faults)  # mypy tells of a comment that it does not need
    file.write_text(program + "".join(f"reveal_type({call})\n" for call in typed) + refused)
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
        command, capture_output=True, text=True, env=environment, check=False, timeout=600, cwd=folder
    )
    told = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(told) == len(typed), done.stdout + done.stderr
    assert [(call, kind) for call, kind in zip(typed, told, strict=True) if typed[call] not in kind] == []
    assert done.returncode == 0, done.stdout


def test_types_of_results(tmp_path: Path) -> None:
    check(PROGRAM, TYPED, FAULTS, tmp_path)


OF_LIBRARIES = {
    "jax": ("import jax\nx: jax.Array = jax.numpy.ones((5, 3))\n", "jax._src.basearray.Array"),
    "dask": ("import dask.array as da\nx: da.Array = da.ones((5, 3))\n", "dask.array.core.Array"),
}
"""Arrays of libraries that may be missing, and the names of their classes."""


@pytest.mark.parametrize("library", OF_LIBRARIES)
def test_types_of_results_of_other_libraries(library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    made, array = OF_LIBRARIES[library]
    aliases = "['x = Vi(3)', 'y = Vj(3)']"
    program = (
        f"import clreduce.{library} as front\n{made}"
        "D = front.Vi(x).sqdist(front.Vj(x))\n"
        f"distances = front.Genred('SqDist(x, y)', {aliases}, 'Sum', axis=1)\n"
        f"solve = front.KernelSolve('(x | y) * y', {aliases}, 'y', axis=1)\n"
    )
    typed = {
        "D": f"clreduce.{library}.LazyTensor", "D.sqrt().sum(axis=1)": array,
        "D.Kmin_argKmin(2, axis=0)": f"tuple[{array}",
        "distances(x, x)": array, "distances.vjp(x, x, cotangent=x)": f"tuple[{array}",
        "solve(x, x)": "Any" if library == "dask" else array,  # dask's shapes may hold nan
        "D.solve(x, info=True)": f"tuple[{array}", "D @ x": array, "D @ D.T @ x": array,
    }  # fmt: skip
    check(program, typed, ("distances(x, x, rtoll=1e-3)", "D.sum(axis='j')", "D + 'text'"), tmp_path)


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
