"""Densities as sums of kernels over all points."""

from __future__ import annotations

from math import lgamma, log, pi
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import gammainc
from sklearn import neighbors
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from clreduce.distance.formulas import Tensor
from clreduce.distance.metrics import Distance, distance, square_root, with_defaults
from clreduce.numpy import Vi, Vj
from clreduce.sklearn.validation import Array, Data, RandomState, checked_data

if TYPE_CHECKING:
    from typing_extensions import Self


class KernelDensity(neighbors.KernelDensity):
    """Kernel density estimation over all pairs of points, without a tree.

    Parameters are those of ``sklearn.neighbors.KernelDensity``, with these differences. ``metric`` may also be a
    formula of ``x`` and ``y``, or a function on LazyTensors. Densities are exact, so ``algorithm``, ``atol``, ``rtol``,
    ``breadth_first`` and ``leaf_size`` have no effect. In an even number of dimensions, the ``"cosine"`` kernel of
    scikit-learn does not integrate to 1; this one does.

    Parameters
    ----------
    bandwidth : float or {"scott", "silverman"}
        The width of the kernel, in units of the data.
    kernel : {"gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"}
        The shape of the kernel.
    metric : str or callable
        The distance. The density integrates to 1 for the Euclidean one only.
    metric_params : dict
        Parameters of the metric.
    algorithm, atol, rtol, breadth_first, leaf_size
        Accepted, and without effect.

    Attributes
    ----------
    n_features_in_, feature_names_in_
        As in scikit-learn.
    bandwidth_ : float
        The bandwidth that was given or computed.
    X_fit_ : array of shape (n_samples, n_features)
        The points, in float32 if they came so, else in float64.
    sample_weight_ : array of shape (n_samples,) or None
        Their weights.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import KernelDensity
    >>> density = KernelDensity(bandwidth=0.5).fit(np.array([[0.0], [1.0]]))
    >>> density.score_samples([[0.0], [0.5], [10.0]]).round(3)
    array([  -0.792,   -0.726, -162.919])
    """

    _parameter_constraints = neighbors.KernelDensity._parameter_constraints | {
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"scott", "silverman"})],
        "metric": [str, callable],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Data, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Keep the points.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points.
        y : None
            Not used.
        sample_weight : array-like of shape (n_samples,)
            Weights of the points, 0 or more.

        Returns
        -------
        self
        """
        X = checked_data(self, X, reset=True)
        n, dim = X.shape
        rules = {"scott": n ** (-1 / (dim + 4)), "silverman": (n * (dim + 2) / 4) ** (-1 / (dim + 4))}
        self.bandwidth_ = float(rules[self.bandwidth] if isinstance(self.bandwidth, str) else self.bandwidth)
        self.X_fit_: Array = X
        self.sample_weight_: Array | None = None
        if sample_weight is not None:
            self.sample_weight_ = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return self

    def score_samples(self, X: Data) -> Array:
        """The logarithm of the density at points.

        Parameters
        ----------
        X : array-like of shape (n_points, n_features)
            The points.

        Returns
        -------
        array of shape (n_points,)
            Logarithms; -inf where the density is 0.
        """
        check_is_fitted(self)
        X = checked_data(self, X, reset=False)
        parameters = with_defaults(self.metric, self.metric_params or {}, self.X_fit_)
        between = distance(self.metric, Vi(X), Vj(self.X_fit_), parameters)
        weight = len(self.X_fit_) if self.sample_weight_ is None else self.sample_weight_.sum()
        logs = self._log_sums(between) - _log_integral(self.kernel, X.shape[1]) - np.log(weight)
        result: Array = (logs - X.shape[1] * log(self.bandwidth_)).astype(X.dtype, copy=False)
        return result

    def _log_sums(self, between: Distance) -> Array:
        """The logarithm of the sum of kernels at each point, of shape (M,)."""
        weights = self.sample_weight_
        if self.kernel in ("gaussian", "exponential"):  # these overflow nowhere, and are 0 nowhere
            exponent = _exponent(self.kernel, between, self.bandwidth_)
            if weights is not None:
                with np.errstate(divide="ignore"):
                    exponent = exponent + Vj(np.log(weights).astype(self.X_fit_.dtype)[:, None])
            logs: Array = exponent.logsumexp(axis=1)[:, 0]
            return logs
        values = _compact(self.kernel, between.tensor / self.bandwidth_)
        if weights is not None:
            values = values * Vj(weights.astype(self.X_fit_.dtype)[:, None])
        with np.errstate(divide="ignore"):
            logarithms: Array = np.log(values.sum(axis=1)[:, 0])
        return logarithms

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> Array:
        """Random points of this density, for "gaussian" and "tophat" kernels.

        Parameters
        ----------
        n_samples : int
            The number of points.
        random_state : int, RandomState or None
            As in scikit-learn, which gives the same points for the same state.

        Returns
        -------
        array of shape (n_samples, n_features)
            The points.
        """
        check_is_fitted(self)
        if self.kernel not in ("gaussian", "tophat"):
            raise NotImplementedError(
                f"sample() needs kernel='gaussian' or 'tophat'; this density has kernel={self.kernel!r}"
            )
        data, random = self.X_fit_, check_random_state(random_state)
        place = random.uniform(0, 1, size=n_samples)
        if self.sample_weight_ is None:
            chosen = data[(place * len(data)).astype(np.int64)]
        else:
            steps = np.cumsum(self.sample_weight_)
            chosen = data[np.searchsorted(steps, place * steps[-1])]
        if self.kernel == "gaussian":
            return np.atleast_2d(random.normal(chosen, self.bandwidth_)).astype(data.dtype, copy=False)
        # The radius of a normal vector, by its distribution function, is made one that is uniform in a ball.
        dim = data.shape[1]
        direction = random.normal(size=(n_samples, dim))
        squared = np.einsum("ij,ij->i", direction, direction)
        radius = gammainc(0.5 * dim, 0.5 * squared) ** (1.0 / dim) * self.bandwidth_
        samples: Array = (chosen + direction * (radius / np.sqrt(squared))[:, None]).astype(data.dtype, copy=False)
        return samples


def _exponent(kernel: str, between: Distance, bandwidth: float) -> Tensor:
    """The logarithm of a kernel that is positive everywhere."""
    if kernel == "exponential":
        return -between.tensor / bandwidth
    if not 1e-15 < bandwidth < 1e15:  # whose square leaves the range of float32
        return -0.5 * (between.tensor / bandwidth) ** 2
    squared = between.term if between.of_term is square_root else between.tensor**2
    return squared * (-0.5 / bandwidth**2)


def _compact(kernel: str, u: Tensor) -> Tensor:
    """A kernel that is 0 from one bandwidth on, of distances in units of it."""
    if kernel == "tophat":
        return (u < 1).where(u < 1, 0)
    values = {"epanechnikov": lambda: 1 - u**2, "linear": lambda: 1 - u, "cosine": lambda: (u * (pi / 2)).cos()}
    return values[kernel]().where(u < 1, 0)


def _log_integral(kernel: str, dim: int) -> float:
    """The logarithm of the integral of a kernel of bandwidth 1 over all space."""
    sphere = log(2) + 0.5 * dim * log(pi) - lgamma(0.5 * dim)  # the surface of the ball of radius 1
    if kernel == "gaussian":
        return 0.5 * dim * log(2 * pi)
    if kernel == "exponential":
        return sphere + lgamma(dim)
    if kernel == "cosine":
        return sphere + log(quad(lambda r: r ** (dim - 1) * np.cos(0.5 * pi * r), 0, 1, epsabs=0, limit=200)[0])
    return sphere - log({"tophat": dim, "epanechnikov": dim * (dim + 2) / 2, "linear": dim * (dim + 1)}[kernel])
