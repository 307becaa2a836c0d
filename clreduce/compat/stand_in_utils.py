"""Helpers of pykeops.numpy.utils, pykeops.torch.utils and pykeops.common, for the stand-in.

The functions take NumPy arrays and PyTorch's tensors alike: they use names that both libraries have.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from clreduce.call.backend import device_for
from clreduce.domain import Domain
from clreduce.errors import FormulaError, ShapeError
from clreduce.language.aliases import parse_aliases
from clreduce.language.names import did_you_mean
from clreduce.runtime.devices import devices
from clreduce.typing import Array
from clreduce.warning import warn

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

_VAR = re.compile(r"\s*Var\s*\(\s*(\d+)\s*,\s*(\d+)\s*,\s*([012])\s*\)\s*")
_CATEGORY = {Domain.I: 0, Domain.J: 1, Domain.P: 2}
ArrayType = TypeVar("ArrayType", Array, "Tensor")
"""An array of NumPy, or a tensor of PyTorch."""


class PrintOptions(TypedDict, total=False):
    """The options of ``print``."""

    sep: str | None
    end: str | None
    file: TextIO | None
    flush: bool


def _library(array: object) -> Any:
    """The module whose functions take this array: NumPy or PyTorch."""
    return np if isinstance(array, np.ndarray) else importlib.import_module("torch")


# ------------------------------------------------------------------------------------------------- dense references


def squared_distances(x: ArrayType, y: ArrayType) -> ArrayType:
    """|x_i - y_j|^2 for arrays (M, D) and (N, D): an array (M, N)."""
    squares: ArrayType = ((x[:, None] - y[None]) ** 2).sum(-1)
    return squares


def differences(x: ArrayType, y: ArrayType) -> ArrayType:
    """x_i - y_j, for arrays (M, D) and (N, D): an array (D, M, N)."""
    components: ArrayType = x.T[:, :, None] - y.T[:, None, :]
    return components


def _kernels(xp: Any) -> dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]]:
    """The logarithm, the value and the slope of each kernel, as functions of u = |x - y|^2 / s^2."""
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


def _kernel(x: ArrayType, y: ArrayType, s: float | ArrayType, kernel: str, which: int) -> ArrayType:
    known = _kernels(_library(x))
    if kernel not in known:
        raise FormulaError(f"unknown kernel {kernel!r}{did_you_mean(kernel, known)}; known are {', '.join(known)}")
    values: ArrayType = known[kernel][which](squared_distances(x, y) / s**2)
    return values


def log_np_kernel(x: ArrayType, y: ArrayType, s: float | ArrayType, kernel: str) -> ArrayType:
    """The logarithm of `np_kernel`."""
    return _kernel(x, y, s, kernel, 0)


def np_kernel(x: ArrayType, y: ArrayType, s: float | ArrayType, kernel: str) -> ArrayType:
    """The dense matrix k(|x_i - y_j|^2 / s^2), of shape (M, N).

    ``kernel`` is "gaussian", "laplacian", "cauchy" or "inverse_multiquadric".

    >>> x = np.array([[0.0], [1.0]])
    >>> np_kernel(x, x, 1.0, "cauchy").tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    return _kernel(x, y, s, kernel, 1)


def grad_np_kernel(x: ArrayType, y: ArrayType, s: float | ArrayType, kernel: str) -> ArrayType:
    """The derivative of `np_kernel` in |x_i - y_j|^2."""
    return _kernel(x, y, s, kernel, 2) / s**2


def np_kernel_sphere(nalpha: ArrayType, nbeta: ArrayType, s: float | ArrayType, kernel: str) -> ArrayType:
    """The dense matrix of a kernel of unit vectors, (M, D) and (N, D), as a function of their scalar products p.

    ``kernel`` is "binet" for p^2, "linear" for p, "gaussian_oriented" for exp(2 (p - 1) / s^2), or
    "gaussian_unoriented" for exp(2 (p^2 - 1) / s^2).
    """
    xp, p = _library(nalpha), nalpha @ nbeta.T
    known: dict[str, Callable[[], Any]] = {
        "binet": lambda: p**2,
        "linear": lambda: p,
        "gaussian_unoriented": lambda: xp.exp(2 * (p**2 - 1) / s**2),
        "gaussian_oriented": lambda: xp.exp(2 * (p - 1) / s**2),
    }
    if kernel not in known:
        raise FormulaError(f"unknown kernel {kernel!r}{did_you_mean(kernel, known)}; known are {', '.join(known)}")
    values: ArrayType = known[kernel]()
    return values


def log_sum_exp(mat: ArrayType, axis: int = 0) -> ArrayType:
    """The logarithm of the sum of exponentials over an axis, without overflow."""
    if not isinstance(mat, np.ndarray):
        return mat.logsumexp(axis)
    largest = mat.max(axis=axis, keepdims=True)
    logarithms: ArrayType = np.log(np.exp(mat - largest).sum(axis)) + largest.squeeze(axis)
    return logarithms


def chain_rules(q: ArrayType, ax: ArrayType, by: ArrayType, Aa: ArrayType, p: ArrayType) -> ArrayType:
    """The gradient of sum_ij <q_i, p_j> k(|x_i - y_j|^2) in x, of the shape (M, D) of ``ax``.

    ``ax`` and ``by`` hold the points; ``Aa``, of shape (M, N), holds the slopes of k.
    """
    weights = Aa * (q @ p.T)
    gradient: ArrayType = 2 * (weights.sum(1)[:, None] * ax - weights @ by)
    return gradient


# ------------------------------------------------------------------------------------------------ devices, messages


def is_on_device(x: object) -> bool:
    """Whether a tensor is in the memory of a GPU."""
    return bool(getattr(x, "is_cuda", False))


def get_gpu_number() -> int:
    """The number of GPUs among the OpenCL devices."""
    return sum(device.facts.kind == "gpu" for device in devices())


def IsGpuAvailable() -> bool:
    """Whether OpenCL offers a GPU."""
    return get_gpu_number() > 0


def warm_up(lang: str = "numpy") -> None:
    """Run a small sum on the current device, so that later timings do not include loading the driver."""
    get_tools(lang)
    one = np.ones((1, 1))
    importlib.import_module("clreduce.numpy").Genred("Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"], axis=1)(one, one)


def get_tag_backend(backend: str, variables: Sequence[object], str: bool = False) -> tuple[int, int, int]:
    """The numbers that pykeops has for a backend.

    The first is 1 for a GPU, the second is always 0, the third is 1 for arrays in the memory of a GPU; else 0.
    """
    gpu = device_for(backend).facts.kind == "gpu"
    return int(gpu), 0, int(gpu and len(variables) > 0 and all(map(is_on_device, variables)))


def _is_verbose() -> bool:
    import logging

    return logging.getLogger("clreduce").isEnabledFor(logging.INFO)


def pyKeOps_Print(message: object, **kwargs: Unpack[PrintOptions]) -> None:
    """Print a message if the library is verbose. The options are those of ``print``."""
    if _is_verbose():
        print(message, **kwargs)


def pyKeOps_Message(message: object, use_tag: bool = True, **kwargs: Unpack[PrintOptions]) -> None:
    """Print a message if the library is verbose, with the tag ``[pyKeOps]`` unless ``use_tag`` is false."""
    pyKeOps_Print(f"[pyKeOps] {message}" if use_tag else message, **kwargs)


def pyKeOps_Warning(message: object) -> None:
    """Issue a `UserWarning` if the library is verbose."""
    if _is_verbose():
        warn(str(message), UserWarning)


# --------------------------------------------------------------------------------------------- variables and shapes


def axis2cat(axis: int) -> int:
    """The category of the result of a reduction over ``axis``: 0 for i, 1 for j."""
    if axis not in (0, 1):
        raise ShapeError(f"axis must be 0 or 1; got {axis!r}")
    return 1 - axis


def cat2axis(cat: int) -> int:
    """The axis of a reduction whose result has the category ``cat``."""
    if cat not in (0, 1):
        raise ShapeError(f"cat must be 0 (Vi) or 1 (Vj); got {cat!r}")
    return 1 - cat


def max_tuple(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The larger entry at each position of two sequences."""
    return tuple(map(max, a, b))


def check_broadcasting(dims_1: Sequence[int] | None, dims_2: Sequence[int] | None) -> Sequence[int] | None:
    """The common batch dimensions of two arrays; None for an array without batch dimensions, such as a parameter."""
    if dims_1 is None or dims_2 is None:
        return dims_2 if dims_1 is None else dims_1
    try:
        return np.broadcast_shapes(tuple(dims_1), tuple(dims_2))
    except ValueError:
        raise ShapeError(
            f"the batch dimensions do not broadcast: {tuple(dims_1)} and {tuple(dims_2)}. They must be equal, or 1"
        ) from None


def get_type(type_str: str, position_in_list: int | None = None) -> tuple[str | None, int, int, int | None]:
    """The name, category, length and position of an alias or of a text ``Var(position, dim, category)``.

    >>> get_type("x = Vi(3)", position_in_list=2), get_type("Var(4, 5, 1)")
    (('x', 0, 3, 2), (None, 1, 5, 4))
    """
    written = _VAR.fullmatch(type_str)
    if written:
        position, dim, category = map(int, written.groups())
        return None, category, dim, position
    (alias,) = parse_aliases([type_str])
    has_position = "," in type_str
    return alias.name, _CATEGORY[alias.domain], alias.dim, alias.position if has_position else position_in_list


def get_sizes(aliases: Sequence[str], *args: Array | Tensor) -> tuple[int, int]:
    """M and N of the arrays of a call; 1 for an index on which no array depends."""
    sizes = {0: 1, 1: 1}
    for number, alias in reversed(list(enumerate(aliases))):
        _, category, _, position = get_type(alias, number)
        if category in sizes and position is not None:
            sizes[category] = args[position].shape[-2]
    return sizes[0], sizes[1]


def complete_aliases(formula: str, aliases: list[str]) -> list[str]:
    """``aliases``, followed by a text ``Var(position, dim, category)`` for each further variable of the formula."""
    known = {tuple(map(int, match.groups())) for match in _VAR.finditer(formula)}
    more = sorted(entry for entry in known if entry[0] >= len(aliases))
    return [*aliases, *(f"Var({position},{dim},{category})" for position, dim, category in more)]


# ------------------------------------------------------------------------------------------------------------- tools


class _Tools:
    """Functions of an array library under common names."""

    @staticmethod
    def dtype(x: object) -> object:
        """The dtype of an array; the type of anything else."""
        return getattr(x, "dtype", type(x))

    @staticmethod
    def view(x: ArrayType, s: tuple[int, ...]) -> ArrayType:
        """The entries of x in the shape ``s``."""
        return x.reshape(s)

    @staticmethod
    def transpose(x: ArrayType) -> ArrayType:
        """The transposed matrix."""
        transposed: ArrayType = x.T
        return transposed

    @staticmethod
    def dtypename(dtype: object) -> str:
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
    def is_tensor(x: object) -> bool:
        """Whether x is an array of NumPy."""
        return isinstance(x, np.ndarray)

    @staticmethod
    def numpy(x: Array) -> Array:
        """The array itself."""
        return x

    @staticmethod
    def long(x: Array) -> Array:
        """The entries of x as int64."""
        return x.astype(np.int64)

    @staticmethod
    def rand(m: int, n: int, dtype: DTypeLike = "float32") -> Array:
        """An array (m, n) of random numbers, uniform in [0, 1)."""
        return np.random.default_rng().random((m, n)).astype(dtype)

    @staticmethod
    def randn(m: int, n: int, dtype: DTypeLike = "float32") -> Array:
        """An array (m, n) of random numbers of the standard normal distribution."""
        return np.random.default_rng().normal(size=(m, n)).astype(dtype)

    @staticmethod
    def zeros(
        shape: int | tuple[int, ...], dtype: DTypeLike = "float32", device: object = None, requires_grad: object = None
    ) -> Array:
        """An array of zeros."""
        return np.zeros(shape, dtype)

    @staticmethod
    def eye(n: int, dtype: DTypeLike = "float32") -> Array:
        """The identity matrix (n, n)."""
        return np.eye(n, dtype=dtype)

    @staticmethod
    def array(x: ArrayLike, dtype: DTypeLike = "float32", device: object = None) -> Array:
        """An array with the entries of x."""
        return np.array(x, dtype)

    @staticmethod
    def device(x: object) -> str:
        """The place of the memory of an array: always ``"cpu"``."""
        return "cpu"


class torchtools(_Tools):
    """The tools for PyTorch's tensors. `solve` imports PyTorch; the other functions are methods of tensors."""

    @staticmethod
    def exp(x: Tensor) -> Tensor:
        """The exponential of each entry."""
        return x.exp()

    @staticmethod
    def log(x: Tensor) -> Tensor:
        """The logarithm of each entry."""
        return x.log()

    @staticmethod
    def norm(x: Tensor) -> Tensor:
        """The Euclidean norm of all entries."""
        norm: Tensor = x.norm()
        return norm

    @staticmethod
    def copy(x: Tensor) -> Tensor:
        """A copy of the tensor."""
        return x.clone()

    @staticmethod
    def arraysum(x: Tensor, axis: int | None = None) -> Tensor:
        """The sum over an axis; over all entries if ``axis`` is None."""
        return x.sum() if axis is None else x.sum(axis)

    @staticmethod
    def is_tensor(x: object) -> bool:
        """Whether x is a tensor."""
        return hasattr(x, "data_ptr")

    @staticmethod
    def contiguous(x: Tensor) -> Tensor:
        """The tensor with its entries in the order of the memory; a copy if necessary."""
        return x.contiguous()

    @staticmethod
    def numpy(x: Tensor) -> Array:
        """The entries as a NumPy array, without gradients."""
        array: Array = x.detach().cpu().numpy()
        return array

    @staticmethod
    def long(x: Tensor) -> Tensor:
        """The entries of x as int64."""
        return x.long()

    @staticmethod
    def solve(A: Tensor, b: Tensor) -> Tensor:
        """The solution x of the dense system A x = b."""
        solution: Tensor = importlib.import_module("torch").linalg.solve(A, b)
        return solution

    @staticmethod
    def device(x: Tensor) -> str:
        """The kind of the device that holds the tensor, such as ``"cpu"``."""
        return str(x.device.type)


def get_tools(lang: str) -> _Tools:
    """The tools of ``"numpy"``, or of ``"torch"``, also called ``"pytorch"``."""
    if lang not in ("numpy", "torch", "pytorch"):
        raise ShapeError(f"lang must be 'numpy', 'torch' or 'pytorch'; got {lang!r}")
    return numpytools() if lang == "numpy" else torchtools()
