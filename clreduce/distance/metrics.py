"""Metrics: those of SciPy and scikit-learn by name, all others by a formula or by a function of two `LazyTensor`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from clreduce.distance.formulas import PairFunction, Parameters, Tensor, of_pairs, parameter
from clreduce.errors import FormulaError, OptionError, ShapeError
from clreduce.language.names import did_you_mean
from clreduce.typing import Array

Values = TypeVar("Values", Array, Tensor, float)
"""A number, numbers in an array, or a symbolic tensor."""


class Elementwise(Protocol):
    """An elementwise function of arrays and of symbolic tensors."""

    def __call__(self, values: Values, /) -> Values: ...


class Distance(NamedTuple):
    """The distance of points x_i and y_j as an increasing function of a cheaper term."""

    term: Tensor
    """The term: a number for each pair (i, j)."""
    of_term: Elementwise
    """The function from terms to distances, elementwise."""
    to_term: Elementwise
    """The inverse of ``of_term``."""

    @property
    def tensor(self) -> Tensor:
        """The distance itself, a number for each pair."""
        return self.of_term(self.term)


def _same(values: Values) -> Values:
    return values


def _own(term: Tensor) -> Distance:
    """A metric whose term is the distance."""
    return Distance(term, _same, _same)


def square_root(values: Values) -> Values:
    """The square root of each value."""
    numbers: Any = values
    roots: Values = np.sqrt(numbers)
    return roots


def _square(values: Values) -> Values:
    squares: Values = values**2
    return squares


def _root(term: Tensor) -> Distance:
    """A metric whose term is the square of the distance."""
    return Distance(term, square_root, _square)


def _power(values: Values, exponent: float) -> Values:
    powers: Values = values**exponent
    return powers


def _checked_weights(w: ArrayLike, x: Tensor) -> Array:
    """A weight for each coordinate of the points, checked."""
    weights, count = np.asarray(w, np.float64), x.shape[-1]
    if weights.shape != (count,):
        raise ShapeError(
            f"w must have a weight for each of the {count} coordinates; got an array of shape {weights.shape}"
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any()):
        raise OptionError(f"the weights w must be finite, 0 or more, and not all 0; got {weights}")
    return weights


def _weighted(values: Tensor, w: ArrayLike | None, x: Tensor) -> Tensor:
    """The values of the coordinates, multiplied by the weights ``w`` if these are given."""
    return values if w is None else parameter(_checked_weights(w, x), x) * values


# ------------------------------------------------------------------------------------------------ sums of coordinates


def _squares(x: Tensor, y: Tensor, w: ArrayLike | None) -> Tensor:
    return x.sqdist(y) if w is None else _weighted((x - y) ** 2, w, x).sum(-1)


def _euclidean(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    return _root(_squares(x, y, w))


def _sqeuclidean(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    return _own(_squares(x, y, w))


def _manhattan(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    return _own(_weighted((x - y).abs(), w, x).sum(-1))


def _chebyshev(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    # As in SciPy, weights only say which coordinates count.
    counted = None if w is None else (_checked_weights(w, x) > 0).astype(float)
    return _own(_weighted((x - y).abs(), counted, x).max(-1))


def _minkowski(x: Tensor, y: Tensor, p: float = 2, w: ArrayLike | None = None) -> Distance:
    if not isinstance(p, (int, float, np.integer, np.floating)) or not p > 0:
        raise OptionError(f"the exponent p of the metric 'minkowski' must be a number above 0; got {p!r}")
    if np.isinf(p):
        return _chebyshev(x, y, w)
    differences = (x - y).abs()
    powers = differences if p == 1 else differences**2 if p == 2 else differences ** float(p)
    total = _weighted(powers, w, x).sum(-1)
    if p == 1:
        return _own(total)
    p = float(p)
    return _root(total) if p == 2 else Distance(total, partial(_power, exponent=1 / p), partial(_power, exponent=p))


def _seuclidean(x: Tensor, y: Tensor, V: ArrayLike) -> Distance:
    return _root(((x - y) ** 2 / parameter(V, x)).sum(-1))


def _mahalanobis(x: Tensor, y: Tensor, V: ArrayLike | None = None, VI: ArrayLike | None = None) -> Distance:
    if V is None and VI is None:
        raise OptionError("the metric 'mahalanobis' needs V, a matrix of covariances, or VI, the inverse of one")
    inverse = np.asarray(np.linalg.inv(np.asarray(V)) if VI is None else VI, np.float64)
    values, vectors = np.linalg.eigh((inverse + inverse.T) / 2)
    if values[0] < -1e-7 * abs(values[-1]):
        raise OptionError(
            "the matrix VI of the metric 'mahalanobis' must have no negative eigenvalue; the smallest one is "
            f"{values[0]:.3g}"
        )
    # Euclidean after a linear map, which is computed once for each point and not for each pair.
    root = parameter(np.sqrt(np.maximum(values, 0))[:, None] * vectors.T, x)
    return _root(root.matvecmult(x).sqdist(root.matvecmult(y)))


def _nan_euclidean(x: Tensor, y: Tensor) -> Distance:
    present = (x == x) & (y == y)
    total, count = (x - y).where(present, 0).sqnorm2(), present.sum(-1)
    return _root(total * (x.shape[-1] / count))


# --------------------------------------------------------------------------------------------------------- directions


def _cosine(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    if w is not None:
        roots = np.sqrt(_checked_weights(w, x))
        x, y = _weighted(x, roots, x), _weighted(y, roots, x)
    return _own((1 - (x.normalize() | y.normalize())).relu())


def _correlation(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    if w is None:
        return _cosine(x - x.mean(-1), y - y.mean(-1))
    weights = _checked_weights(w, x)
    parts = weights / weights.sum()
    return _cosine(x - _weighted(x, parts, x).sum(-1), y - _weighted(y, parts, x).sum(-1), weights)


def _half_sine_squared(distance: Values) -> Values:
    half: Any = distance / 2
    term: Values = np.sin(half) ** 2
    return term


def _twice_arcsine(term: Values) -> Values:
    sine: Any = np.sqrt(term)
    distance: Values = 2 * np.arcsin(sine)
    return distance


def _haversine(x: Tensor, y: Tensor) -> Distance:
    if x.shape[-1] != 2:
        raise OptionError(
            "the metric 'haversine' needs points with 2 coordinates, latitude and longitude in radians; got points "
            f"with {x.shape[-1]}"
        )
    half = ((x - y) / 2).sin() ** 2
    term = half.elem(0) + x.elem(0).cos() * y.elem(0).cos() * half.elem(1)
    return Distance(term.clamp(0, 1), _twice_arcsine, _half_sine_squared)


# ------------------------------------------------------------------------------------------------- counts and ratios


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """``above / below``, and 0 where both are 0."""
    return (above / below).where(below != 0, 0)


def _canberra(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    return _own(_weighted(_ratio((x - y).abs(), x.abs() + y.abs()), w, x).sum(-1))


def _braycurtis(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    return _own(_ratio(_weighted((x - y).abs(), w, x).sum(-1), _weighted((x + y).abs(), w, x).sum(-1)))


def _jensenshannon(x: Tensor, y: Tensor, base: float | None = None) -> Distance:
    p, q = x / x.sum(-1), y / y.sum(-1)
    bits = (p.xlogx() + q.xlogx() - 2 * ((p + q) / 2).xlogx()).sum(-1)
    return _root(bits.relu() / (2 * (1.0 if base is None else float(np.log(base)))))


def _differ(x: Tensor, y: Tensor) -> Tensor:
    unequal: Tensor = x != y  # type checkers take comparisons for truth values
    return unequal


def _hamming(x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    unequal = _differ(x, y)
    return _own(unequal.mean(-1) if w is None else _weighted(unequal, w, x).sum(-1) / float(np.sum(w)))


class _Counts(NamedTuple):
    """The number, or weight, of the features that both points have (not 0), that one point has, and of all features."""

    both: Tensor
    only_x: Tensor
    only_y: Tensor
    features: float

    @property
    def unequal(self) -> Tensor:
        return self.only_x + self.only_y


def _counts(x: Tensor, y: Tensor, w: ArrayLike | None) -> _Counts:
    in_x, in_y = x != 0, y != 0
    both, only_x, only_y = (_weighted(each, w, x).sum(-1) for each in (in_x & in_y, in_x & ~in_y, ~in_x & in_y))
    return _Counts(both, only_x, only_y, x.shape[-1] if w is None else float(np.sum(w)))


def _jaccard(n: _Counts) -> Tensor:
    return _ratio(n.unequal, n.unequal + n.both)


def _dice(n: _Counts) -> Tensor:
    return _ratio(n.unequal, n.unequal + 2 * n.both)


def _rogerstanimoto(n: _Counts) -> Tensor:
    return _ratio(2 * n.unequal, n.unequal + n.features)


def _russellrao(n: _Counts) -> Tensor:
    return (n.features - n.both) / n.features


def _sokalsneath(n: _Counts) -> Tensor:
    return _ratio(2 * n.unequal, 2 * n.unequal + n.both)


def _yule(n: _Counts) -> Tensor:
    mixed = n.only_x * n.only_y
    return _ratio(2 * mixed, n.both * (n.features - n.both - n.unequal) + mixed)


def _of_counts(rule: Callable[[_Counts], Tensor], x: Tensor, y: Tensor, w: ArrayLike | None = None) -> Distance:
    return _own(rule(_counts(x, y, w)))


_SETS = (_jaccard, _dice, _rogerstanimoto, _russellrao, _sokalsneath, _yule)
METRICS: dict[str, Callable[..., Distance]] = {
    "euclidean": _euclidean, "l2": _euclidean, "sqeuclidean": _sqeuclidean,
    "manhattan": _manhattan, "cityblock": _manhattan, "l1": _manhattan,
    "chebyshev": _chebyshev, "infinity": _chebyshev, "minkowski": _minkowski, "p": _minkowski,
    "seuclidean": _seuclidean, "mahalanobis": _mahalanobis, "nan_euclidean": _nan_euclidean,
    "cosine": _cosine, "correlation": _correlation, "haversine": _haversine,
    "canberra": _canberra, "braycurtis": _braycurtis, "hamming": _hamming, "matching": _hamming,
    "jensenshannon": _jensenshannon,
    **{rule.__name__[1:]: partial(_of_counts, rule) for rule in _SETS},
}  # fmt: skip
"""All metrics, by their names in scikit-learn and SciPy: functions of x, y and the parameters of the metric."""


def distance(metric: str | PairFunction, x: Tensor, y: Tensor, parameters: Parameters | None = None) -> Distance:
    """The distance between all x_i and y_j.

    Parameters
    ----------
    metric:
        A name of `METRICS`; a formula in ``x``, ``y`` and the names of ``parameters``; or a function that takes x, y
        and ``parameters`` by name and gives a `LazyTensor` with a number for each pair.
    x, y:
        Points of i, shape (M, 1, D), and of j, shape (1, N, D).
    parameters:
        Such as ``p`` and ``w`` of 'minkowski', ``V`` of 'seuclidean'.

    Raises
    ------
    FormulaError
        A text that is neither a name nor a formula.
    OptionError
        A parameter that the metric does not have, or that has no meaning.
    ShapeError
        A formula or function that does not give a number for each pair.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import Vi, Vj
    >>> x, y = Vi(np.array([[0.0, 0.0]])), Vj(np.array([[3.0, 4.0], [1.0, 0.0]]))
    >>> distance("euclidean", x, y).tensor.dense()
    array([[5., 1.]])
    >>> distance("SqDist(x, y) / s", x, y, {"s": 5.0}).tensor.dense()
    array([[5. , 0.2]])
    >>> distance(lambda x, y: (x - y).abs().max(-1), x, y).tensor.dense()
    array([[4., 1.]])
    """
    if isinstance(metric, str) and metric in METRICS:
        try:
            return METRICS[metric](x, y, **(parameters or {}))
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise OptionError(_about_parameters(metric, parameters or {})) from error
    if isinstance(metric, str) and metric.isidentifier():
        raise FormulaError(
            f"unknown metric {metric!r}{did_you_mean(metric, METRICS)}. A metric is a name "
            f"({', '.join(sorted(METRICS))}), a formula in x and y such as 'Sum(Abs(x - y))', or a function of two "
            "LazyTensors"
        )
    if not (isinstance(metric, str) or callable(metric)):
        raise OptionError(f"a metric is a name, a formula in x and y, or a function of two LazyTensors; got {metric!r}")
    return _own(of_pairs(metric, x, y, parameters))


def _about_parameters(metric: str, parameters: Parameters) -> str:
    """The message about parameters that do not fit the metric of this name."""
    known = [each for each in signature(METRICS[metric]).parameters.values() if each.name not in ("x", "y")]
    names = [each.name for each in known]
    unknown = [name for name in parameters if name not in names]
    takes = f"takes {', '.join(names)}" if names else "takes no parameters"
    if unknown:
        return f"the metric {metric!r} has no parameter {unknown[0]!r}{did_you_mean(unknown[0], names)}; it {takes}"
    missing = [each.name for each in known if each.default is each.empty and each.name not in parameters]
    return f"the metric {metric!r} needs the parameter {missing[0]!r}: pass it" if missing else f"it {takes}"


def has_defaults(metric: object, parameters: Parameters) -> bool:
    """Whether no parameter of the metric is missing that `with_defaults` computes from the data."""
    needed = {"seuclidean": {"V"}, "mahalanobis": {"V", "VI"}}.get(metric) if isinstance(metric, str) else None
    return needed is None or not needed.isdisjoint(parameters)


def with_defaults(metric: object, parameters: Parameters, X: Array) -> dict[str, ArrayLike | None]:
    """``parameters``, with the variances of the points X if the metric needs them and they are missing.

    SciPy and scikit-learn compute the same ones.
    """
    if has_defaults(metric, parameters):
        return dict(parameters)
    if metric == "seuclidean":
        return {**parameters, "V": np.var(X, axis=0, ddof=1)}
    return {**parameters, "VI": np.linalg.inv(np.atleast_2d(np.cov(X.T)))}
