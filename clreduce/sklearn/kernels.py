"""Kernels k(x_i, y_j) as formulas: by name, as text, by a function on LazyTensors, or one of scikit-learn's objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from clreduce.call.routine import Routine
from clreduce.distance.formulas import PairFunction, of_pairs
from clreduce.domain import Domain
from clreduce.errors import FormulaError, OptionError, ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, variables
from clreduce.ir.op import constant, variable
from clreduce.language.names import did_you_mean
from clreduce.numpy import LazyTensor, Vi, Vj
from clreduce.ops.arithmetic import raised, square
from clreduce.ops.compare import equal, where
from clreduce.ops.derived import scalar_product, squared_distance
from clreduce.ops.functions import absolute, exp, sqrt
from clreduce.ops.norms import normalized
from clreduce.ops.shape import summed
from clreduce.ops.trigonometry import tanh
from clreduce.typing import Array

Parameters: TypeAlias = "dict[Expr, float | tuple[float, ...] | Array]"
"""Variables of category P, each with its value: a number, a tuple of numbers or an array of shape (D,)."""
KernelParams: TypeAlias = Mapping[str, ArrayLike]
"""Further parameters of a kernel by name: numbers, or vectors."""


class SklearnKernel(Protocol):
    """A kernel of ``sklearn.gaussian_process.kernels``."""

    @property
    def hyperparameters(self) -> Sequence[object]: ...
    @property
    def theta(self) -> Array: ...


Kernel: TypeAlias = "str | PairFunction | SklearnKernel"
"""A name, a formula, a function of two `LazyTensor`, or a kernel of ``sklearn.gaussian_process.kernels``."""
WIDTH = 16
"""The most vectors of one product: more do not fit registers, and each number of vectors has a kernel."""


@dataclass(frozen=True)
class PairKernel:
    """A kernel function k(x_i, y_j) as a formula, and what is computed with it.

    The matrix K of its values is never stored, except by `dense`.

    Parameters
    ----------
    formula
        One number for each pair, over ``x``, ``y`` and the variables of ``parameters``.
    x, y
        The variables of i and of j, vectors of one length.
    parameters
        The values of the others.
    """

    formula: Expr
    x: Expr
    y: Expr
    parameters: Parameters

    def product(self, X: Array, Y: Array, vectors: Array) -> Array:
        """K(X, Y) @ vectors, for X of shape (M, D), Y of shape (N, D) and vectors of shape (N, E) or (N,)."""
        columns = vectors.reshape(len(vectors), -1).astype(X.dtype, copy=False)
        v = variable("vectors", columns.shape[1], Domain.J)
        result: Array = self._routine(self.formula * v, v)(X, Y, *self.parameters.values(), columns)
        return result.reshape(len(X), *vectors.shape[1:])

    def dense(self, X: Array, Y: Array) -> Array:
        """The matrix K(X, Y), of shape (M, N)."""
        # Each x_i is a batch of its own with one row, over which a reduction over i has one term.
        result: Array = self._routine(self.formula, axis=0)(X[:, None], Y[None], *self.parameters.values())
        return result.reshape(len(X), len(Y))

    def diagonal(self, X: Array) -> Array:
        """The values k(x_i, x_i), of shape (M,), by NumPy."""
        return self.values(X, X)

    def values(self, X: Array, Y: Array) -> Array:
        """The values k(x_i, y_i), of shape (M,), by NumPy; one row of X or Y goes with all of the other."""
        leaves = {self.x: X, self.y: Y, **numbers(self.parameters, X.dtype)}
        (result,) = evaluate([self.formula], leaves, X.dtype.name)
        return np.broadcast_to(result[..., 0], (max(len(X), len(Y)),))

    def _routine(self, value: Expr, *further: Expr, axis: int = 1) -> Routine:
        return LazyTensor.routine._of((value,), (self.x, self.y, *self.parameters, *further), "Sum", axis)


def numbers(parameters: Parameters, dtype: DTypeLike) -> dict[Expr, Array]:
    """The values of parameters as arrays of shape (1, D)."""
    return {name: np.asarray(value, dtype).reshape(1, -1) for name, value in parameters.items()}


# ----------------------------------------------------------------------------------------------------- kernels by name


def _rbf(x: Expr, y: Expr, gamma: Expr) -> Expr:
    return exp(-(gamma * squared_distance(x, y)))


def _laplacian(x: Expr, y: Expr, gamma: Expr) -> Expr:
    return exp(-(gamma * summed(absolute(x - y))))


def _sigmoid(x: Expr, y: Expr, gamma: Expr, coef0: Expr) -> Expr:
    return tanh(gamma * scalar_product(x, y) + coef0)


def _cosine(x: Expr, y: Expr) -> Expr:
    return scalar_product(normalized(x), normalized(y))


def _additive_chi2(x: Expr, y: Expr) -> Expr:
    size = x + y
    return -summed(where(equal(size, constant(0)), constant(0), square(x - y) / size))


def _chi2(x: Expr, y: Expr, gamma: Expr) -> Expr:
    return exp(gamma * _additive_chi2(x, y))


def _polynomial(x: Expr, y: Expr, gamma: Expr, degree: float, coef0: Expr) -> Expr:
    return raised(gamma * scalar_product(x, y) + coef0, constant(degree))


def matern(squared: Expr, nu: float) -> Expr:
    """The Matern kernel of a squared distance in units of the length scale, for nu = 0.5, 1.5, 2.5 or inf."""
    if nu == np.inf:
        return exp(-(squared / 2))
    if nu == 0.5:
        return exp(-sqrt(squared))
    if nu == 1.5:
        distance = sqrt(3 * squared)
        return (1 + distance) * exp(-distance)
    if nu == 2.5:
        distance = sqrt(5 * squared)
        return (1 + distance + square(distance) / 3) * exp(-distance)
    raise FormulaError(
        f"a Matern kernel needs nu = 0.5, 1.5, 2.5 or inf; got nu={nu}. Other values need Bessel functions"
    )


def _matern(x: Expr, y: Expr, length_scale: Expr, nu: float) -> Expr:
    return matern(squared_distance(x / length_scale, y / length_scale), nu)


@dataclass(frozen=True)
class _Named:
    """A kernel that has a name."""

    build: Callable[..., Expr]
    defaults: Mapping[str, float | None]
    """The default values of its parameters; None for 1 / the number of features."""
    fixed: tuple[str, ...] = ()
    """Parameters that are part of the formula: another value needs another kernel to be built."""


_POLYNOMIAL = _Named(_polynomial, {"gamma": None, "degree": 3, "coef0": 1}, fixed=("degree",))
_COSINE = _Named(_cosine, {})
NAMED: dict[str, _Named] = {
    "additive_chi2": _Named(_additive_chi2, {}),
    "chi2": _Named(_chi2, {"gamma": 1.0}),
    "cosine": _COSINE,
    "laplacian": _Named(_laplacian, {"gamma": None}),
    "linear": _Named(scalar_product, {}),
    "matern": _Named(_matern, {"length_scale": 1.0, "nu": 1.5}, fixed=("nu",)),
    "poly": _POLYNOMIAL,
    "polynomial": _POLYNOMIAL,
    "rbf": _Named(_rbf, {"gamma": None}),
    "sigmoid": _Named(_sigmoid, {"gamma": None, "coef0": 1}),
}
_NOT_NEGATIVE = ("additive_chi2", "chi2")
"""Kernels of histograms."""


def pair_kernel(
    kernel: Kernel,
    n_features: int,
    *,
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    kernel_params: KernelParams | None = None,
) -> PairKernel:
    """The kernel function that an estimator was given.

    Parameters
    ----------
    kernel
        A name: ``"rbf"``, ``"laplacian"``, ``"polynomial"`` (or ``"poly"``), ``"sigmoid"``, ``"cosine"``, ``"chi2"``,
        ``"additive_chi2"``, ``"linear"``, as in ``sklearn.metrics.pairwise``, or ``"matern"``, with ``length_scale``
        and ``nu`` in ``kernel_params``. Or a formula of ``x`` and ``y``, such as ``"Exp(-gamma * SqDist(x, y))"``, in
        which ``gamma``, ``degree``, ``coef0`` and the names of ``kernel_params`` stand for their values. Or a function
        on LazyTensors, called as ``kernel(x_i, y_j, **kernel_params)``. Or a kernel object of
        ``sklearn.gaussian_process.kernels``.
    n_features
        The length of the vectors.
    gamma, degree, coef0
        Parameters of kernels by name; ``gamma=None`` is 1 / n_features, for chi2 it is 1.
    kernel_params
        Further parameters: numbers, or vectors.

    Raises
    ------
    FormulaError
        The kernel is unknown, or the formula cannot be read.
    OptionError
        It has no parameter of a name in ``kernel_params``.
    ShapeError
        It does not give one number for each pair.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn.kernels import pair_kernel
    >>> x, y = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> pair_kernel("rbf", 2, gamma=1.0).product(x, y, np.ones(1)).round(4)
    array([0.3679, 0.3679])
    >>> pair_kernel("1 / (1 + scale * SqDist(x, y))", 2, kernel_params={"scale": 3.0}).dense(x, y)
    array([[0.25],
           [0.25]])
    >>> pair_kernel(lambda x_i, y_j: (x_i - y_j).abs().sum(-1), 2).dense(x, y)
    array([[1.],
           [1.]])
    """
    params = dict(kernel_params or {})
    x, y = variable("x", n_features, Domain.I), variable("y", n_features, Domain.J)
    if isinstance(kernel, str):
        offered = {"gamma": gamma, "degree": degree, "coef0": coef0, **params}
        if kernel in NAMED:
            _check_known(params, NAMED[kernel].defaults, kernel)
            return _by_name(kernel, x, y, offered)
        if kernel.isidentifier():
            raise FormulaError(f"unknown kernel {kernel!r}{did_you_mean(kernel, NAMED)}; known are {', '.join(NAMED)}")
        values = {name: 1 / n_features if value is None else value for name, value in offered.items()}
        return _of_pairs(kernel, n_features, values)
    if _is_object(kernel):
        from clreduce.sklearn.process_kernels import ProcessKernel

        _check_known(params, (), type(kernel).__name__)
        process = ProcessKernel.of(kernel, n_features)
        return process.at(process.values_of(kernel))
    if callable(kernel):
        return _of_pairs(kernel, n_features, params)
    raise FormulaError(
        "kernel is a name, a formula in x and y, a function of two LazyTensors, or a kernel of "
        f"sklearn.gaussian_process.kernels; got {kernel!r}"
    )


def _is_object(kernel: object) -> TypeGuard[SklearnKernel]:
    return hasattr(kernel, "hyperparameters")


def _check_known(params: KernelParams, known: Collection[str], name: str) -> None:
    for key in params:
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none, because it has its own values"
            raise OptionError(
                f"kernel_params has {key!r}, which is no parameter of the kernel {name}{did_you_mean(key, known)}; "
                f"the kernel {takes}"
            )


def check_not_negative(kernel: object, X: Array) -> None:
    """Refuse negative numbers where the kernel is one of histograms."""
    if kernel in _NOT_NEGATIVE and X.size and X.min() < 0:
        raise ShapeError(
            f"kernel={kernel!r} needs data without negative values; the smallest value of X is {X.min():.6g}"
        )


def named_kernel(name: str, x: Expr, y: Expr, values: Mapping[str, Expr | float]) -> Expr:
    """The formula of a kernel by name; parameters that may be variables are so where ``values`` says it."""
    return NAMED[name].build(x, y, **{key: values[key] for key in NAMED[name].defaults})


def _by_name(name: str, x: Expr, y: Expr, offered: Mapping[str, ArrayLike | None]) -> PairKernel:
    known = NAMED[name]
    values: dict[str, Expr | float] = {}
    parameters: Parameters = {}
    for key, default in known.defaults.items():
        value = default if offered.get(key) is None else offered[key]
        value = 1 / x.dim if value is None else value
        if key in known.fixed:
            values[key] = float(np.asarray(value).reshape(()))
            continue
        leaf = values[key] = variable(key, np.size(value), Domain.P)
        parameters[leaf] = _plain(value)
    return PairKernel(named_kernel(name, x, y, values), x, y, parameters)


def _plain(value: ArrayLike) -> float | tuple[float, ...]:
    """A number or a tuple of numbers, which have no precision of their own."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else tuple(map(float, array.ravel()))


def _of_pairs(function: str | PairFunction, n_features: int, parameters: KernelParams) -> PairKernel:
    """A kernel by its formula, or by a function on LazyTensors."""
    x, y = Vi(0, n_features), Vj(1, n_features)
    tensor = of_pairs(function, x, y, parameters)
    data = {leaf: each.array for leaf, each in tensor._leaves.items() if each.array is not None}
    used = [leaf for leaf in variables([tensor.expr]) if leaf in data]
    if any(leaf.domain != Domain.P for leaf in used):
        raise ShapeError(
            "a kernel function may use x, y and parameters only; this one also uses other arrays with rows for i or j"
        )
    return PairKernel(tensor.expr, x.expr, y.expr, {leaf: _plain(data[leaf]) for leaf in used})
