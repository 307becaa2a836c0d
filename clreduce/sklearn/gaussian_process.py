"""Gaussian process regression, in memory linear in the number of points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral, Real
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from sklearn import gaussian_process
from sklearn.base import _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples

from clreduce.errors import ShapeError, SolveError
from clreduce.sklearn.kernels import WIDTH, PairKernel, SklearnKernel
from clreduce.sklearn.process_kernels import ProcessKernel
from clreduce.sklearn.systems import KernelSystem, LowRank, Spectrum, solved, wide_product
from clreduce.sklearn.validation import Array, Data, RandomState, checked_data
from clreduce.warning import warn

if TYPE_CHECKING:
    from typing_extensions import Self

_GAIN = 1e-6
"""A step of the search for hyper-parameters that gains less, relative to the likelihood, is the last one."""
Optimizer: TypeAlias = "str | Callable[..., tuple[Array, float]] | None"
"""The name of a search for hyper-parameters, a function, or None to keep the values of the kernel."""


class GaussianProcessRegressor(gaussian_process.GaussianProcessRegressor):
    """Gaussian process regression, by Cholesky for few points, else by products with a kernel that is never stored.

    Parameters are those of ``sklearn.gaussian_process.GaussianProcessRegressor``, and some more. For at most
    ``max_dense`` points, scikit-learn's own code computes all results. For more points

    - weights and variances are solutions of linear systems, by preconditioned conjugate gradients, to ``tol``;
    - the logarithm of the determinant and its slopes in the hyper-parameters are estimated with ``n_probes`` random
      vectors, by Lanczos quadrature. The vectors are the same for all hyper-parameters and follow ``random_state``, so
      the likelihood is a smooth function, up to steps where the preconditioner takes other columns;
    - time is that of some dozen products with the kernel matrix for each value of the likelihood, and of as many for
      each 16 points at which a standard deviation is asked for. ``return_cov=True`` stores the covariance.

    Parameters
    ----------
    kernel : kernel of ``sklearn.gaussian_process.kernels``
        For many points: RBF, Matern (nu 0.5, 1.5, 2.5, inf), RationalQuadratic, ExpSineSquared, DotProduct,
        ConstantKernel, WhiteKernel, PairwiseKernel, and sums, products and powers of them. None:
        ``ConstantKernel(1.0) * RBF(1.0)``, as a start for all hyper-parameters.
    alpha : float or array of shape (n_samples,)
        What is added to the diagonal. Without noise, there or in a WhiteKernel, conjugate gradients seldom converge.
    optimizer, n_restarts_optimizer, normalize_y, copy_X_train, n_targets, random_state
        As in scikit-learn.
    max_dense : int
        The most points for which the kernel matrix is stored.
    tol : float or None
        A system is solved once the norm of its residual is at most ``tol`` times the norm of its right-hand side. None
        for 1e-6, and 1e-4 for float32 data.
    max_iter : int or None
        The most products for each system; None to go on as long as residuals fall.
    n_probes : int
        Random vectors. The error of the determinant falls with the square root of their number; 15 and one target are
        as fast as one and 15.
    preconditioner_rank : int
        Columns of the kernel matrix that precondition: more take more memory, and fewer products.

    Attributes
    ----------
    n_features_in_, feature_names_in_, X_train_, y_train_, kernel_, alpha_, log_marginal_likelihood_value_
        As in scikit-learn.
    n_iter_ : int
        Products with the kernel matrix in the last solve; 1 where it was stored.
    L_ : array of shape (n_samples, n_samples)
        The Cholesky factor; up to ``max_dense`` points only.

    Warns
    -----
    ConvergenceWarning
        A residual is larger than ``tol``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    >>> from clreduce.sklearn import GaussianProcessRegressor
    >>> X = np.linspace(0, 6, 100)[:, None]
    >>> process = GaussianProcessRegressor(RBF() + WhiteKernel(0.01), optimizer=None, max_dense=0)
    >>> mean, deviation = process.fit(X, np.sin(X[:, 0])).predict(X[:5], return_std=True)
    >>> bool(np.allclose(mean, np.sin(X[:5, 0]), atol=0.05)), bool((deviation < 0.2).all())
    (True, True)
    """

    _parameter_constraints = gaussian_process.GaussianProcessRegressor._parameter_constraints | {
        "max_dense": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "n_probes": [Interval(Integral, 1, None, closed="left")],
        "preconditioner_rank": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self, kernel: SklearnKernel | None = None, *, alpha: ArrayLike = 1e-10, optimizer: Optimizer = "fmin_l_bfgs_b",
        n_restarts_optimizer: int = 0, normalize_y: bool = False, copy_X_train: bool = True,
        n_targets: int | None = None, random_state: RandomState = None, max_dense: int = 2000, tol: float | None = None,
        max_iter: int | None = None, n_probes: int = 15, preconditioner_rank: int = 100,
    ) -> None:  # fmt: skip
        super().__init__(
            kernel, alpha=alpha, optimizer=optimizer, n_restarts_optimizer=n_restarts_optimizer,
            normalize_y=normalize_y, copy_X_train=copy_X_train, n_targets=n_targets, random_state=random_state,
        )  # fmt: skip
        self.max_dense, self.tol, self.max_iter = max_dense, tol, max_iter
        self.n_probes, self.preconditioner_rank = n_probes, preconditioner_rank

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Data, y: Data) -> Self:
        """Fit hyper-parameters and weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points. More than ``max_dense`` of them are computed with in float32 if they come so, else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.

        Returns
        -------
        self
        """
        self._is_dense = _num_samples(X) <= self.max_dense
        if self._is_dense:
            super().fit(X, y)
            self.n_iter_ = 1
            return self
        self.kernel_ = ConstantKernel() * RBF() if self.kernel is None else clone(self.kernel)
        self._rng = check_random_state(self.random_state)
        self._seed = int(self._rng.randint(2**31 - 1))
        X, y = checked_data(self, X, y, reset=True, multi_output=True, y_numeric=True)
        if np.size(self.alpha) not in (1, len(X)):
            raise ShapeError(
                f"alpha is a number, or one for each of {len(X)} points; got {np.size(self.alpha)} numbers"
            )
        targets = y.shape[1] if y.ndim > 1 else 1
        if self.n_targets not in (None, targets):
            raise ShapeError(
                f"n_targets={self.n_targets} differs from the {targets} targets of y: set it to {targets}, or to None"
            )
        self._y_train_mean, self._y_train_std = np.zeros(y.shape[1:] or 1), np.ones(y.shape[1:] or 1)
        if self.normalize_y:
            deviation = np.std(y, axis=0)
            self._y_train_mean, self._y_train_std = np.mean(y, axis=0), np.where(deviation > 0, deviation, 1.0)
            y = (y - self._y_train_mean) / self._y_train_std
        self.X_train_: Array = np.copy(X) if self.copy_X_train else X
        self.y_train_: Array = np.copy(y) if self.copy_X_train else y
        if self.optimizer is None or self.kernel_.n_dims == 0:
            spectrum = self._spectrum(self.kernel_)
            self.log_marginal_likelihood_value_, weights = self._likelihood(spectrum), spectrum.solution
            self.n_iter_ = spectrum.info.iterations
        else:
            self.kernel_.theta, self.log_marginal_likelihood_value_ = self._best_theta()
            self.kernel_._check_bounds_params()
            system, near = self._system(self.kernel_)
            weights, self.n_iter_ = self._solved(system, near, self._targets)
        self.alpha_ = weights.reshape(y.shape)
        return self

    def _best_theta(self) -> tuple[Array, float]:
        """The hyper-parameters of the largest likelihood that was found, and that likelihood."""

        def descent(theta: Array, eval_gradient: bool = True) -> Any:
            result: Any = self.log_marginal_likelihood(theta, eval_gradient, clone_kernel=False)
            return (-result[0], -result[1]) if eval_gradient else -result

        bounds = self.kernel_.bounds
        optima = [self._constrained_optimization(descent, self.kernel_.theta, bounds)]
        if self.n_restarts_optimizer > 0 and not np.isfinite(bounds).all():
            raise ShapeError(
                f"n_restarts_optimizer={self.n_restarts_optimizer} needs finite bounds of all hyper-parameters; got "
                f"{np.exp(bounds).tolist()}: give the kernel finite bounds, or set n_restarts_optimizer=0"
            )
        for _ in range(self.n_restarts_optimizer):
            start = self._rng.uniform(bounds[:, 0], bounds[:, 1])
            optima.append(self._constrained_optimization(descent, start, bounds))
        theta, least = min(optima, key=itemgetter(1))
        return theta, -least

    def _constrained_optimization(self, obj_func: Callable[..., Any], initial_theta: Array, bounds: Array) -> Any:
        if self._is_dense or callable(self.optimizer):
            return super()._constrained_optimization(obj_func, initial_theta, bounds)
        # Slopes are estimates: the search ends where they no longer lead upward, which is no failure of it.
        options = {"ftol": _GAIN, "maxls": 8}
        found = minimize(obj_func, initial_theta, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
        if found.status == 1:
            warn(ConvergenceWarning(f"the search for hyper-parameters ended after {found.nit} steps: {found.message}"))
        return found.x, found.fun

    if TYPE_CHECKING:

        @overload
        def log_marginal_likelihood(
            self, theta: Array | None = ..., eval_gradient: Literal[False] = ..., clone_kernel: bool = ...
        ) -> float: ...
        @overload
        def log_marginal_likelihood(
            self, theta: Array, eval_gradient: Literal[True], clone_kernel: bool = ...
        ) -> tuple[float, Array]: ...
        @overload
        def log_marginal_likelihood(
            self, theta: Array | None = ..., eval_gradient: bool = ..., clone_kernel: bool = ...
        ) -> float | tuple[float, Array]: ...

    def log_marginal_likelihood(
        self, theta: Array | None = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> float | tuple[float, Array]:
        """The logarithm of the marginal likelihood of hyper-parameters, estimated for more than ``max_dense`` points.

        Parameters
        ----------
        theta : array of shape (n_kernel_params,)
            The logarithms of hyper-parameters; None for the fitted ones.
        eval_gradient : bool
            Whether to return the slopes too.
        clone_kernel : bool
            Whether ``kernel_`` stays as it is; without, it takes ``theta``.

        Returns
        -------
        likelihood : float
        slopes : array of shape (n_kernel_params,)
            If asked for.
        """
        if theta is None or getattr(self, "_is_dense", True):
            stored: float | tuple[float, Array] = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
            return stored
        kernel = self.kernel_.clone_with_theta(theta) if clone_kernel else self.kernel_
        kernel.theta = theta
        try:
            spectrum = self._spectrum(kernel)
        except SolveError:  # as where Cholesky's factorization fails
            return (-np.inf, np.zeros_like(theta)) if eval_gradient else -np.inf
        likelihood = self._likelihood(spectrum)
        return (likelihood, self._slopes(kernel, spectrum)) if eval_gradient else likelihood

    def _likelihood(self, spectrum: Spectrum) -> float:
        targets = self._targets
        by_determinant = spectrum.log_determinant + len(targets) * np.log(2 * np.pi)
        return float(-0.5 * ((targets * spectrum.solution).sum() + targets.shape[1] * by_determinant))

    def _slopes(self, kernel: SklearnKernel, spectrum: Spectrum) -> Array:
        """d likelihood / d theta = (sum of a^T dK a - E tr(A^-1 dK)) / 2, for the weights a of each target."""
        weights, count = spectrum.solution, self._targets.shape[1]
        left, right = np.hstack([weights, -count * spectrum.left]), np.hstack([weights, spectrum.right])
        process = self._process(kernel)
        diagonal = -count * spectrum.diagonal
        return 0.5 * process.slopes(process.values_of(kernel), self.X_train_, left, right, diagonal)

    @property
    def _targets(self) -> Array:
        """The targets, (n, n_targets), in float64."""
        return self.y_train_.reshape(len(self.y_train_), -1).astype(float)

    def _process(self, kernel: SklearnKernel) -> ProcessKernel:
        return ProcessKernel.of(kernel, self.X_train_.shape[1])

    def _system(self, kernel: SklearnKernel) -> tuple[KernelSystem, LowRank]:
        """The matrix K + noise of these hyper-parameters, and its preconditioner."""
        process = self._process(kernel)
        values = process.values_of(kernel)
        noise = process.excess(values, self.X_train_) + self.alpha
        system = KernelSystem(process.at(values), self.X_train_, noise)
        return system, LowRank(system, self.preconditioner_rank, self._seed)

    def _spectrum(self, kernel: SklearnKernel) -> Spectrum:
        system, near = self._system(kernel)
        random = np.random.RandomState(self._seed)
        return Spectrum(
            system, near, self._targets, self.n_probes, random, tol=self.tol, max_iter=self.max_iter
        )  # fmt: skip

    def _solved(self, system: KernelSystem, near: LowRank, right: Array) -> tuple[Array, int]:
        return solved(system, right, tol=self.tol, max_iter=self.max_iter, near=near)

    if TYPE_CHECKING:

        @overload
        def predict(self, X: Data, return_std: Literal[False] = ..., return_cov: Literal[False] = ...) -> Array: ...
        @overload
        def predict(
            self, X: Data, return_std: Literal[True], return_cov: Literal[False] = ...
        ) -> tuple[Array, Array]: ...
        @overload
        def predict(
            self, X: Data, return_std: Literal[False] = ..., *, return_cov: Literal[True]
        ) -> tuple[Array, Array]: ...
        @overload
        def predict(self, X: Data, return_std: bool = ..., return_cov: bool = ...) -> Array | tuple[Array, Array]: ...

    def predict(self, X: Data, return_std: bool = False, return_cov: bool = False) -> Array | tuple[Array, Array]:
        """The mean at points, and its standard deviation or covariance.

        Parameters
        ----------
        X : array-like of shape (n_points, n_features)
            The points.
        return_std : bool
            Whether to return the standard deviation.
        return_cov : bool
            Whether to return the covariance.

        Returns
        -------
        mean : array of shape (n_points,) or (n_points, n_targets)
            The mean.
        deviation : array of the same shape
            With ``return_std``.
        covariance : array of shape (n_points, n_points) or (n_points, n_points, n_targets)
            With ``return_cov``.
        """
        if not hasattr(self, "X_train_") or self._is_dense or (return_std and return_cov):
            stored: Array | tuple[Array, Array] = super().predict(X, return_std, return_cov)
            return stored
        X = checked_data(self, X, reset=False).astype(self.X_train_.dtype, copy=False)
        process = self._process(self.kernel_)
        values = process.values_of(self.kernel_)
        kernel = process.at(values)
        weights = self.alpha_.reshape(len(self.alpha_), -1)
        mean = wide_product(lambda block: kernel.product(X, self.X_train_, block), weights)
        mean = (mean * self._y_train_std + self._y_train_mean).reshape(len(X), -1)
        mean = mean[:, 0] if mean.shape[1] == 1 else mean
        if return_cov:
            covariance = np.diag(process.excess(values, X))
            for part, inverse in self._inverses(kernel, X):
                explained = wide_product(lambda block: kernel.product(X, self.X_train_, block), inverse)
                covariance[:, part] += kernel.dense(X, X[part]) - explained
            return mean, self._in_units_of_targets(covariance)
        if return_std:
            variance = process.diagonal(values, X)
            for part, inverse in self._inverses(kernel, X):
                variance[part] -= (inverse * kernel.dense(self.X_train_, X[part])).sum(0)
            if (variance < 0).any():
                warn(UserWarning("some predicted variances were below 0 because of rounding, and are set to 0"))
            return mean, np.sqrt(self._in_units_of_targets(np.maximum(variance, 0)))
        return mean

    def _inverses(self, kernel: PairKernel, X: Array) -> Iterator[tuple[slice, Array]]:
        """For slices of a few points x: (K + noise)^-1 k(X_train, x), of shape (n, points)."""
        system, near = self._system(self.kernel_)
        for start in range(0, len(X), WIDTH):
            part = slice(start, min(start + WIDTH, len(X)))
            cross = kernel.dense(self.X_train_, X[part])
            yield part, self._solved(system, near, cross)[0]

    def _in_units_of_targets(self, squares: Array) -> Array:
        """Variances or covariances for the deviation of each target, the last axis unless there is one."""
        scaled = squares[..., None] * self._y_train_std**2
        in_units: Array = scaled[..., 0] if scaled.shape[-1] == 1 else scaled
        return in_units
