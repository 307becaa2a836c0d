"""Metrics: scikit-learn's by name, any other by a formula in x and y or by a function on `LazyTensor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from clreduce.distance.formulas import Tensor, of_pairs, parameter
from clreduce.errors import FormulaError, OptionError
from clreduce.language.names import did_you_mean
from clreduce.typing import Array

Function = Callable[[Any], Any]


class Distance(NamedTuple):
    """The distance of points x_i and y_j as an increasing function of a cheaper term."""

    term: Tensor
    """The term: a number for each pair (i, j)."""
    of_term: Function
    """The function from terms to distances, elementwise."""
    to_term: Function
    """The inverse of ``of_term``."""

    @property
    def tensor(self) -> Tensor:
        """The distance itself, a number for each pair."""
        distance: Tensor = self.of_term(self.term)
        return distance


def _same(values: Any) -> Any:
    return values


def _own(term: Tensor) -> Distance:
    """A metric whose term is the distance."""
    return Distance(term, _same, _same)


def _root(term: Tensor) -> Distance:
    """A metric whose term is the square of the distance."""
    return Distance(term, np.sqrt, np.square)


def _power(values: Any, exponent: float) -> Any:
    return values**exponent


# ------------------------------------------------------------------------------------------------ sums of coordinates


def _euclidean(x: Tensor, y: Tensor) -> Distance:
    return _root(x.sqdist(y))


def _sqeuclidean(x: Tensor, y: Tensor) -> Distance:
    return _own(x.sqdist(y))


def _manhattan(x: Tensor, y: Tensor) -> Distance:
    return _own((x - y).abs().sum(-1))


def _chebyshev(x: Tensor, y: Tensor) -> Distance:
    return _own((x - y).abs().max(-1))


def _minkowski(x: Tensor, y: Tensor, p: Any = 2, w: Any = None) -> Distance:
    if not isinstance(p, (int, float, np.integer, np.floating)) or not p > 0:
        raise OptionError(f"the metric 'minkowski' needs p > 0; got {p!r}")
    if np.isinf(p):
        return _chebyshev(x, y)
    differences = (x - y).abs()
    powers = differences if p == 1 else differences**2 if p == 2 else differences ** float(p)
    total = (powers if w is None else parameter(w, x) * powers).sum(-1)
    if p == 1:
        return _own(total)
    p = float(p)
    return _root(total) if p == 2 else Distance(total, partial(_power, exponent=1 / p), partial(_power, exponent=p))


def _seuclidean(x: Tensor, y: Tensor, V: Any) -> Distance:
    return _root(((x - y) ** 2 / parameter(V, x)).sum(-1))


def _mahalanobis(x: Tensor, y: Tensor, V: Any = None, VI: Any = None) -> Distance:
    inverse = np.asarray(np.linalg.inv(V) if VI is None else VI, np.float64)
    values, vectors = np.linalg.eigh((inverse + inverse.T) / 2)
    if values[0] < -1e-7 * abs(values[-1]):
        raise OptionError(f"VI of the metric 'mahalanobis' has to be positive; its smallest eigenvalue is {values[0]}")
    # Euclidean after a linear map, which is computed once for each point and not for each pair.
    root = parameter(np.sqrt(np.maximum(values, 0))[:, None] * vectors.T, x)
    return _root(root.matvecmult(x).sqdist(root.matvecmult(y)))


def _nan_euclidean(x: Tensor, y: Tensor) -> Distance:
    present = (x == x) & (y == y)
    total, count = (x - y).where(present, 0).sqnorm2(), present.sum(-1)
    return _root(total * (x.shape[-1] / count))


# --------------------------------------------------------------------------------------------------------- directions


def _cosine(x: Tensor, y: Tensor) -> Distance:
    return _own((1 - (x.normalize() | y.normalize())).relu())


def _correlation(x: Tensor, y: Tensor) -> Distance:
    return _cosine(x - x.mean(-1), y - y.mean(-1))


def _half_sine_squared(distance: Any) -> Any:
    return np.sin(distance / 2) ** 2


def _twice_arcsine(term: Any) -> Any:
    return 2 * np.arcsin(np.sqrt(term))


def _haversine(x: Tensor, y: Tensor) -> Distance:
    if x.shape[-1] != 2:
        raise OptionError(
            f"the metric 'haversine' is of points (latitude, longitude) in radians; got {x.shape[-1]} features"
        )
    half = ((x - y) / 2).sin() ** 2
    term = half.elem(0) + x.elem(0).cos() * y.elem(0).cos() * half.elem(1)
    return Distance(term.clamp(0, 1), _twice_arcsine, _half_sine_squared)


# ------------------------------------------------------------------------------------------------- counts and ratios


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """``above / below``, and 0 where both are 0."""
    return (above / below).where(below != 0, 0)


def _canberra(x: Tensor, y: Tensor) -> Distance:
    return _own(_ratio((x - y).abs(), x.abs() + y.abs()).sum(-1))


def _braycurtis(x: Tensor, y: Tensor) -> Distance:
    return _own(_ratio((x - y).abs().sum(-1), (x + y).abs().sum(-1)))


def _jensenshannon(x: Tensor, y: Tensor, base: float | None = None) -> Distance:
    p, q = x / x.sum(-1), y / y.sum(-1)
    bits = (p.xlogx() + q.xlogx() - 2 * ((p + q) / 2).xlogx()).sum(-1)
    return _root(bits.relu() / (2 * (1.0 if base is None else float(np.log(base)))))


def _hamming(x: Tensor, y: Tensor) -> Distance:
    return _own((x != y).mean(-1))


class _Counts(NamedTuple):
    """The numbers of features that both points have (not 0), that one point has, and that no point has."""

    both: Tensor
    only_x: Tensor
    only_y: Tensor
    features: int

    @property
    def unequal(self) -> Tensor:
        return self.only_x + self.only_y


def _counts(x: Tensor, y: Tensor) -> _Counts:
    in_x, in_y = x != 0, y != 0
    return _Counts((in_x & in_y).sum(-1), (in_x & ~in_y).sum(-1), (~in_x & in_y).sum(-1), x.shape[-1])


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


def _of_counts(rule: Callable[[_Counts], Tensor], x: Tensor, y: Tensor) -> Distance:
    return _own(rule(_counts(x, y)))


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


def distance(
    metric: str | Callable[..., Any], x: Tensor, y: Tensor, parameters: Mapping[str, Any] | None = None
) -> Distance:
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
            raise OptionError(f"parameters of the metric {metric!r}: {str(error).split('() ')[-1]}") from error
    if isinstance(metric, str) and metric.isidentifier():
        raise FormulaError(
            f"unknown metric {metric!r}{did_you_mean(metric, METRICS)}: the names are {', '.join(sorted(METRICS))}; "
            "else a metric is a formula in x and y, such as 'Sum(Abs(x - y))', or a function on LazyTensors"
        )
    if not (isinstance(metric, str) or callable(metric)):
        raise OptionError(f"a metric is a name, a formula in x and y, or a function on LazyTensors; got {metric!r}")
    return _own(of_pairs(metric, x, y, parameters))


def with_defaults(metric: Any, parameters: Mapping[str, Any], X: Array) -> dict[str, Any]:
    """``parameters``, and those that scikit-learn computes from the data if the caller leaves them out."""
    if metric == "seuclidean" and "V" not in parameters:
        return {**parameters, "V": np.var(X, axis=0, ddof=1)}
    if metric == "mahalanobis" and not {"V", "VI"} & parameters.keys():
        return {**parameters, "VI": np.linalg.inv(np.atleast_2d(np.cov(X.T)))}
    return dict(parameters)
