"""What pykeops.numpy.utils, pykeops.torch.utils and pykeops.common offer beside kernels, for the stand-in.

Functions work on NumPy arrays and on PyTorch's tensors alike, by the names that the two libraries share.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clreduce.call.backend import device_for
from clreduce.domain import Domain
from clreduce.errors import FormulaError, ShapeError
from clreduce.language.aliases import parse_aliases
from clreduce.runtime.devices import devices
from clreduce.warning import warn

_VAR = re.compile(r"\s*Var\s*\(\s*(\d+)\s*,\s*(\d+)\s*,\s*([012])\s*\)\s*")
_CATEGORY = {Domain.I: 0, Domain.J: 1, Domain.P: 2}


def _library(array: Any) -> Any:
    """The module whose functions take this array: NumPy or PyTorch."""
    return np if isinstance(array, np.ndarray) else importlib.import_module("torch")


# ------------------------------------------------------------------------------------------------- dense references


def squared_distances(x: Any, y: Any) -> Any:
    """|x_i - y_j|^2 for arrays (M, D) and (N, D): an array (M, N)."""
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def differences(x: Any, y: Any) -> Any:
    """x_i - y_j by components: an array (D, M, N)."""
    return x.T[:, :, None] - y.T[:, None, :]


def _kernels(xp: Any) -> dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]]:
    """For each kernel its logarithm and its slope, by u = |x - y|^2 / s^2; the slope is that in u."""
    return {
        "gaussian": (lambda u: -u, lambda u: xp.exp(-u), lambda u: -xp.exp(-u)),
        "laplacian": (
            lambda u: -xp.sqrt(u), lambda u: xp.exp(-xp.sqrt(u)), lambda u: -xp.exp(-xp.sqrt(u)) / (2 * xp.sqrt(u))
        ),
        "cauchy": (lambda u: -xp.log(1 + u), lambda u: 1 / (1 + u), lambda u: -1 / (1 + u) ** 2),
        "inverse_multiquadric": (
            lambda u: -xp.log(1 + u) / 2, lambda u: (1 + u) ** -0.5, lambda u: -((1 + u) ** -1.5) / 2
        ),
    }  # fmt: skip


def _kernel(x: Any, y: Any, s: Any, kernel: str, which: int) -> Any:
    known = _kernels(_library(x))
    if kernel not in known:
        raise FormulaError(f"unknown kernel {kernel!r}; known are {', '.join(known)}")
    return known[kernel][which](squared_distances(x, y) / s**2)


def log_np_kernel(x: Any, y: Any, s: Any, kernel: str) -> Any:
    """The logarithm of `np_kernel`."""
    return _kernel(x, y, s, kernel, 0)


def np_kernel(x: Any, y: Any, s: Any, kernel: str) -> Any:
    """k(|x_i - y_j|^2 / s^2), an array (M, N), for "gaussian", "laplacian", "cauchy" or "inverse_multiquadric".

    >>> x = np.array([[0.0], [1.0]])
    >>> np_kernel(x, x, 1.0, "cauchy").tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    return _kernel(x, y, s, kernel, 1)


def grad_np_kernel(x: Any, y: Any, s: Any, kernel: str) -> Any:
    """The derivative of `np_kernel` in |x_i - y_j|^2."""
    return _kernel(x, y, s, kernel, 2) / s**2


def np_kernel_sphere(nalpha: Any, nbeta: Any, s: Any, kernel: str) -> Any:
    """Kernels of unit vectors, by their scalar products p: "binet" p^2, "linear" p, and Gaussians with a width s."""
    xp, p = _library(nalpha), nalpha @ nbeta.T
    known: dict[str, Callable[[], Any]] = {
        "binet": lambda: p**2,
        "linear": lambda: p,
        "gaussian_unoriented": lambda: xp.exp(2 * (p**2 - 1) / s**2),
        "gaussian_oriented": lambda: xp.exp(2 * (p - 1) / s**2),
    }
    if kernel not in known:
        raise FormulaError(f"unknown kernel {kernel!r}; known are {', '.join(known)}")
    return known[kernel]()


def log_sum_exp(mat: Any, axis: int = 0) -> Any:
    """The logarithm of the sum of exponentials over an axis, without overflow."""
    if not isinstance(mat, np.ndarray):
        return mat.logsumexp(axis)
    largest = mat.max(axis=axis, keepdims=True)
    return np.log(np.exp(mat - largest).sum(axis)) + largest.squeeze(axis)


def chain_rules(q: Any, ax: Any, by: Any, Aa: Any, p: Any) -> Any:
    """The gradient in x_i of sum_ij q_i k(|x_i - y_j|^2) p_j, an array like ``ax``; ``Aa`` holds the slopes of k."""
    weights = Aa * (q @ p.T)
    return 2 * (weights.sum(1)[:, None] * ax - weights @ by)


# ------------------------------------------------------------------------------------------------ devices, messages


def is_on_device(x: Any) -> bool:
    """Whether a tensor is in the memory of a GPU."""
    return bool(getattr(x, "is_cuda", False))


def get_gpu_number() -> int:
    """The number of GPUs that OpenCL has."""
    return sum(device.facts.kind == "gpu" for device in devices())


def IsGpuAvailable() -> bool:
    """Whether there is a GPU."""
    return get_gpu_number() > 0


def warm_up(lang: str = "numpy") -> None:
    """Run a small sum on the current device, so that its driver is loaded when time is taken."""
    get_tools(lang)
    one = np.ones((1, 1))
    importlib.import_module("clreduce.numpy").Genred("Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"], axis=1)(one, one)


def get_tag_backend(backend: str, variables: Sequence[Any], str: bool = False) -> tuple[int, int, int]:
    """The numbers of a backend: 1 for a GPU, 0 for the only scheme there is, 1 for arrays in the memory of a GPU."""
    gpu = device_for(backend).facts.kind == "gpu"
    return int(gpu), 0, int(gpu and len(variables) > 0 and all(map(is_on_device, variables)))


def _is_verbose() -> bool:
    import logging

    return logging.getLogger("clreduce").isEnabledFor(logging.INFO)


def pyKeOps_Print(message: Any, **kwargs: Any) -> None:
    """Print a message, if the library is verbose."""
    if _is_verbose():
        print(message, **kwargs)


def pyKeOps_Message(message: Any, use_tag: bool = True, **kwargs: Any) -> None:
    """Print a message with a tag, if the library is verbose."""
    pyKeOps_Print(f"[pyKeOps] {message}" if use_tag else message, **kwargs)


def pyKeOps_Warning(message: Any) -> None:
    """Warn, if the library is verbose."""
    if _is_verbose():
        warn(str(message), UserWarning)


# --------------------------------------------------------------------------------------------- variables and shapes


def axis2cat(axis: int) -> int:
    """The category of the result when this axis is reduced: 0 for i, 1 for j."""
    if axis not in (0, 1):
        raise ShapeError(f"axis is 0 or 1; got {axis!r}")
    return 1 - axis


def cat2axis(cat: int) -> int:
    """The axis that is reduced when the result has this category."""
    if cat not in (0, 1):
        raise ShapeError(f"the category is 0 (Vi) or 1 (Vj); got {cat!r}")
    return 1 - cat


def max_tuple(a: Sequence[Any], b: Sequence[Any]) -> tuple[Any, ...]:
    """The larger of each pair."""
    return tuple(map(max, a, b))


def check_broadcasting(dims_1: Sequence[int] | None, dims_2: Sequence[int] | None) -> Sequence[int] | None:
    """The common batch dimensions; None stands for those of a parameter."""
    if dims_1 is None or dims_2 is None:
        return dims_2 if dims_1 is None else dims_1
    try:
        return np.broadcast_shapes(tuple(dims_1), tuple(dims_2))
    except ValueError:
        raise ShapeError(f"batch dimensions that do not broadcast: {dims_1} and {dims_2}") from None


def get_type(type_str: str, position_in_list: int | None = None) -> tuple[str | None, int, int, int | None]:
    """Name, category, length and position of an alias or ``Var(position, dim, category)``.

    >>> get_type("x = Vi(3)", position_in_list=2), get_type("Var(4, 5, 1)")
    (('x', 0, 3, 2), (None, 1, 5, 4))
    """
    written = _VAR.fullmatch(type_str)
    if written:
        position, dim, category = map(int, written.groups())
        return None, category, dim, position
    (found,) = parse_aliases([type_str])
    own = "," in type_str
    return found.name, _CATEGORY[found.domain], found.dim, found.position if own else position_in_list


def get_sizes(aliases: Sequence[str], *args: Any) -> tuple[int, int]:
    """M and N, from the arrays of a call; 1 if no variable depends on the index."""
    sizes = {0: 1, 1: 1}
    for number, alias in reversed(list(enumerate(aliases))):
        _, category, _, position = get_type(alias, number)
        if category in sizes and position is not None:
            sizes[category] = args[position].shape[-2]
    return sizes[0], sizes[1]


def complete_aliases(formula: str, aliases: list[str]) -> list[str]:
    """``aliases`` with an entry ``Var(position, dim, category)`` for each such variable of the formula beyond them."""
    known = {tuple(map(int, found.groups())) for found in _VAR.finditer(formula)}
    more = sorted(entry for entry in known if entry[0] >= len(aliases))
    return [*aliases, *(f"Var({position},{dim},{category})" for position, dim, category in more)]


# ------------------------------------------------------------------------------------------------------------- tools


class _Tools:
    """Functions of an array library under common names."""

    @staticmethod
    def dtype(x: Any) -> Any:
        """The dtype of an array."""
        return getattr(x, "dtype", type(x))

    @staticmethod
    def view(x: Any, s: Any) -> Any:
        """The numbers of x in another shape."""
        return x.reshape(s)

    @staticmethod
    def transpose(x: Any) -> Any:
        """The transposed matrix."""
        return x.T

    @staticmethod
    def dtypename(dtype: Any) -> str:
        """The name of a dtype, such as ``"float32"``."""
        return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


class numpytools(_Tools):
    """The tools for NumPy's arrays."""

    norm, arraysum, exp, log = (
        staticmethod(np.linalg.norm),
        staticmethod(np.sum),
        staticmethod(np.exp),
        staticmethod(np.log),
    )
    copy, eq, tile, solve = (
        staticmethod(np.copy),
        staticmethod(np.equal),
        staticmethod(np.tile),
        staticmethod(np.linalg.solve),
    )
    contiguous, size, permute = staticmethod(np.ascontiguousarray), staticmethod(np.size), staticmethod(np.transpose)
    arraytype = np.ndarray

    @staticmethod
    def is_tensor(x: Any) -> bool:
        """Whether this is an array."""
        return isinstance(x, np.ndarray)

    @staticmethod
    def numpy(x: Any) -> Any:
        """The array itself."""
        return x

    @staticmethod
    def long(x: Any) -> Any:
        """x as int64."""
        return x.astype(np.int64)

    @staticmethod
    def rand(m: int, n: int, dtype: Any = "float32") -> Any:
        """Uniform numbers in [0, 1)."""
        return np.random.default_rng().random((m, n)).astype(dtype)

    @staticmethod
    def randn(m: int, n: int, dtype: Any = "float32") -> Any:
        """Normal numbers."""
        return np.random.default_rng().normal(size=(m, n)).astype(dtype)

    @staticmethod
    def zeros(shape: Any, dtype: Any = "float32", device: Any = None, requires_grad: Any = None) -> Any:
        """Zeros."""
        return np.zeros(shape, dtype)

    @staticmethod
    def eye(n: int, dtype: Any = "float32") -> Any:
        """The identity."""
        return np.eye(n, dtype=dtype)

    @staticmethod
    def array(x: Any, dtype: Any = "float32", device: Any = None) -> Any:
        """An array of numbers."""
        return np.array(x, dtype)

    @staticmethod
    def device(x: Any) -> str:
        """Where the array is."""
        return "cpu"


class torchtools(_Tools):
    """The tools for PyTorch's tensors; PyTorch is imported when one is used."""

    @staticmethod
    def exp(x: Any) -> Any:
        """The exponential."""
        return x.exp()

    @staticmethod
    def log(x: Any) -> Any:
        """The logarithm."""
        return x.log()

    @staticmethod
    def norm(x: Any) -> Any:
        """The Euclidean norm."""
        return x.norm()

    @staticmethod
    def copy(x: Any) -> Any:
        """A copy."""
        return x.clone()

    @staticmethod
    def arraysum(x: Any, axis: int | None = None) -> Any:
        """The sum of all numbers, or over an axis."""
        return x.sum() if axis is None else x.sum(axis)

    @staticmethod
    def is_tensor(x: Any) -> bool:
        """Whether this is a tensor."""
        return hasattr(x, "data_ptr")

    @staticmethod
    def contiguous(x: Any) -> Any:
        """In the order of the memory."""
        return x.contiguous()

    @staticmethod
    def numpy(x: Any) -> Any:
        """A NumPy array."""
        return x.detach().cpu().numpy()

    @staticmethod
    def long(x: Any) -> Any:
        """x as int64."""
        return x.long()

    @staticmethod
    def solve(A: Any, b: Any) -> Any:
        """The solution of a dense system."""
        return importlib.import_module("torch").linalg.solve(A, b)

    @staticmethod
    def device(x: Any) -> str:
        """Where the tensor is."""
        return str(x.device.type)


def get_tools(lang: str) -> _Tools:
    """The tools of ``"numpy"`` or ``"torch"``."""
    if lang not in ("numpy", "torch", "pytorch"):
        raise ShapeError(f"the array library is 'numpy' or 'torch'; got {lang!r}")
    return numpytools() if lang == "numpy" else torchtools()
