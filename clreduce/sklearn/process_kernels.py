"""Kernels of scikit-learn's Gaussian processes as formulas, with their hyper-parameters as one variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from sklearn.gaussian_process import kernels as sk

from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.errors import FormulaError, ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import Expr, substitute
from clreduce.ir.op import constant, variable
from clreduce.numpy import LazyTensor
from clreduce.ops.arithmetic import raised, square
from clreduce.ops.derived import norm, scalar_product, squared_distance
from clreduce.ops.functions import exp, log1p
from clreduce.ops.shape import extract
from clreduce.ops.trigonometry import sin
from clreduce.sklearn.kernels import NAMED, WIDTH, PairKernel, SklearnKernel, matern, named_kernel, numbers
from clreduce.typing import Array

_Values = dict[str, Expr]
"""The hyper-parameters of a kernel by name: vectors of length 1, or of one number for each feature."""


@dataclass(frozen=True)
class ProcessKernel:
    """The formula of a kernel object, its values on the diagonal, and their derivatives in ``theta``.

    ``theta`` holds the natural logarithms of all hyper-parameters, as scikit-learn has them, and of the fixed ones too.
    """

    between: Expr
    """k(x_i, y_j), as between two sets of points."""
    same: Expr
    """k(x_i, x_i) of one set of points: white noise is there on the diagonal only."""
    x: Expr
    y: Expr
    theta: Expr
    free: tuple[int, ...]
    """The positions of the hyper-parameters that are not fixed, which scikit-learn's theta holds, among all."""

    @classmethod
    def of(cls, kernel: SklearnKernel, n_features: int) -> ProcessKernel:
        """The formulas of a kernel object of ``sklearn.gaussian_process.kernels``."""
        hyperparameters = list(_hyperparameters(kernel))
        places = [place for each in hyperparameters for place in [each.fixed] * each.n_elements]
        free = tuple(place for place, fixed in enumerate(places) if not fixed)
        x, y = variable("x", n_features, Domain.I), variable("y", n_features, Domain.J)
        theta = variable("theta", max(len(places), 1), Domain.P)
        between = _Translation(theta, noise=False).formula(kernel, x, y)
        same = _Translation(theta, noise=True).formula(kernel, x, x)
        return cls(between, same, x, y, theta, free)

    @staticmethod
    def values_of(kernel: SklearnKernel) -> Array:
        """``theta`` of a kernel object, with the fixed hyper-parameters."""
        parts = [np.ravel(value) for value in _hyperparameter_values(kernel)]
        with np.errstate(divide="ignore"):  # a fixed one may be 0
            theta: Array = np.log(np.concatenate(parts or [np.ones(1)]).astype(float))
        return theta

    def at(self, values: Array) -> PairKernel:
        """The kernel k(x_i, y_j) for these hyper-parameters."""
        return PairKernel(self.between, self.x, self.y, {self.theta: tuple(map(float, values))})

    def excess(self, values: Array, X: Array) -> Array:
        """The white noise, (n,): the diagonal of K(X) minus the values of the formula between points."""
        (result,) = evaluate([self._excess], self._leaves(values, X))
        return np.broadcast_to(result[..., 0], (len(X),)).astype(float)

    def diagonal(self, values: Array, X: Array) -> Array:
        """The diagonal of K(X), with white noise, of shape (n,)."""
        (result,) = evaluate([self.same], self._leaves(values, X))
        return np.broadcast_to(result[..., 0], (len(X),)).astype(float)

    def slopes(self, values: Array, X: Array, left: Array, right: Array, diagonal: Array) -> Array:
        """d/d theta of sum(left * (K(X) @ right)) + sum(diagonal * diag K(X)), for the free hyper-parameters.

        ``left`` and ``right`` are of shape (n, E), ``diagonal`` of (n,).
        """
        width = min(left.shape[1], WIDTH)
        v = variable("vectors", width, Domain.J)
        routine = LazyTensor.routine._of((self.between * v,), (self.x, self.y, self.theta, v), "Sum", 1)
        theta, slopes = values.astype(X.dtype), np.zeros(self.theta.dim)
        for start in range(0, left.shape[1], width):
            parts = [np.zeros((len(X), width), X.dtype) for _ in range(2)]
            for part, columns in zip(parts, (left, right), strict=True):
                block = columns[:, start : start + width]
                part[:, : block.shape[1]] = block
            slopes += routine.vjp(X, X, theta, parts[1], cotangent=parts[0], wrt=[2])[0]
        weights = {self._excess: (left * right).sum(1), self.same: diagonal}
        for formula, weight in weights.items():
            slopes += self._diagonal_slopes(formula, values, X, weight)
        return slopes[list(self.free)]

    def _diagonal_slopes(self, formula: Expr, values: Array, X: Array, weight: Array) -> Array:
        """d/d theta of the sum of weight_i f(x_i), for a formula of the diagonal, by NumPy."""
        e = variable("weight", 1, Domain.I)
        (slope,) = vjp({formula: e}, [self.theta])
        if slope is None:
            return np.zeros(self.theta.dim)
        (rows,) = evaluate([slope], {**self._leaves(values, X), e: weight[:, None]})
        total: Array = np.broadcast_to(rows, (len(X), self.theta.dim)).sum(0)
        return total

    @property
    def _excess(self) -> Expr:
        (between,) = substitute([self.between], {self.y: self.x})
        return self.same - between

    def _leaves(self, values: Array, X: Array) -> dict[Expr, Array]:
        return {self.x: X.astype(float), **numbers({self.theta: values}, float)}


# ----------------------------------------------------------------------------------------------- kernels by their class


def _constant(x: Expr, y: Expr, kernel: sk.ConstantKernel, values: _Values) -> Expr:
    return values["constant_value"]


def _rbf(x: Expr, y: Expr, kernel: sk.RBF, values: _Values) -> Expr:
    return exp(-(_scaled(x, y, values["length_scale"]) / 2))


def _matern(x: Expr, y: Expr, kernel: sk.Matern, values: _Values) -> Expr:
    return matern(_scaled(x, y, values["length_scale"]), kernel.nu)


def _rational_quadratic(x: Expr, y: Expr, kernel: sk.RationalQuadratic, values: _Values) -> Expr:
    scale, alpha = values["length_scale"], values["alpha"]
    return exp(-(alpha * log1p(squared_distance(x, y) / (2 * alpha * square(scale)))))


def _exp_sine_squared(x: Expr, y: Expr, kernel: sk.ExpSineSquared, values: _Values) -> Expr:
    phase = norm(x - y) * (constant(pi) / values["periodicity"])
    return exp(-(2 * square(sin(phase) / values["length_scale"])))


def _dot_product(x: Expr, y: Expr, kernel: sk.DotProduct, values: _Values) -> Expr:
    return scalar_product(x, y) + square(values["sigma_0"])


def _pairwise(x: Expr, y: Expr, kernel: sk.PairwiseKernel, values: _Values) -> Expr:
    known = NAMED.get(kernel.metric) if isinstance(kernel.metric, str) else None
    if known is None:
        raise FormulaError(f"the metric of a PairwiseKernel must be one of {', '.join(NAMED)}; got {kernel.metric!r}")
    further = {key: float(value) for key, value in (kernel.pairwise_kernels_kwargs or {}).items()}
    defaults = {key: value for key, value in known.defaults.items() if value is not None}
    return named_kernel(kernel.metric, x, y, {**defaults, **further, **values})


def _scaled(x: Expr, y: Expr, scale: Expr) -> Expr:
    """The squared distance in units of a length, or of one for each feature."""
    if scale.dim == 1:
        return squared_distance(x, y) / square(scale)
    if scale.dim != x.dim:
        raise ShapeError(f"length_scale must have 1 number, or {x.dim} for the features of the data; got {scale.dim}")
    return squared_distance(x / scale, y / scale)


_TRANSLATIONS: dict[type[Any], Callable[[Expr, Expr, Any, _Values], Expr]] = {
    sk.ConstantKernel: _constant,
    sk.DotProduct: _dot_product,
    sk.ExpSineSquared: _exp_sine_squared,
    sk.Matern: _matern,
    sk.PairwiseKernel: _pairwise,
    sk.RBF: _rbf,
    sk.RationalQuadratic: _rational_quadratic,
}


class _Translation:
    """One walk over a kernel object, which takes hyper-parameters in the order of scikit-learn's theta."""

    def __init__(self, theta: Expr, noise: bool) -> None:
        """With ``noise``, x_i and y_j are one point, so that white noise counts."""
        self._theta, self._noise, self._place = theta, noise, 0

    def formula(self, kernel: Any, x: Expr, y: Expr) -> Expr:
        """k(x, y)."""
        if isinstance(kernel, (sk.Sum, sk.Product)):
            left, right = self.formula(kernel.k1, x, y), self.formula(kernel.k2, x, y)
            return left + right if isinstance(kernel, sk.Sum) else left * right
        if isinstance(kernel, sk.Exponentiation):
            return raised(self.formula(kernel.kernel, x, y), constant(float(kernel.exponent)))
        values = self._values(kernel)
        if type(kernel) is sk.WhiteKernel:
            return values["noise_level"] if self._noise else constant(0)
        if type(kernel) not in _TRANSLATIONS:
            known = ", ".join(sorted(each.__name__ for each in (*_TRANSLATIONS, sk.WhiteKernel)))
            raise FormulaError(
                f"{type(kernel).__name__} has no formula here; known are {known}, and sums, products and powers of them"
            )
        return _TRANSLATIONS[type(kernel)](x, y, kernel, values)

    def _values(self, kernel: Any) -> _Values:
        values: _Values = {}
        for each in kernel.hyperparameters:
            values[each.name] = exp(extract(self._theta, self._place, each.n_elements))
            self._place += each.n_elements
        return values


def _parts(kernel: Any) -> Iterator[Any]:
    """The kernels that have hyper-parameters of their own, in the order of theta."""
    if isinstance(kernel, sk.KernelOperator):
        yield from _parts(kernel.k1)
        yield from _parts(kernel.k2)
    elif isinstance(kernel, sk.Exponentiation):
        yield from _parts(kernel.kernel)
    else:
        yield kernel


def _hyperparameters(kernel: Any) -> Iterator[Any]:
    for part in _parts(kernel):
        yield from part.hyperparameters


def _hyperparameter_values(kernel: Any) -> Iterator[Any]:
    for part in _parts(kernel):
        yield from (getattr(part, each.name) for each in part.hyperparameters)
