"""Ridge regression with kernels, in memory linear in the number of points."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn import kernel_ridge
from sklearn.base import _fit_context
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_sample_weight, _num_samples, check_is_fitted

from clreduce.errors import ShapeError
from clreduce.sklearn.kernels import Kernel, KernelParams, PairKernel, check_not_negative, pair_kernel
from clreduce.sklearn.systems import KernelSystem, LowRank, solved
from clreduce.sklearn.validation import Array, Data, SparseMatrix, checked_data

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from typing_extensions import Self


class KernelRidge(kernel_ridge.KernelRidge):
    """Kernel ridge regression: by Cholesky for few points, else by conjugate gradients without the kernel matrix.

    Parameters are those of ``sklearn.kernel_ridge.KernelRidge``, and some more.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,)
        What is added to the diagonal, also for each target. It should be positive where the matrix is not stored.
    kernel : str or callable
        A name as in ``sklearn.metrics.pairwise``, ``"matern"``, ``"precomputed"``; a formula of ``x`` and ``y``, such
        as ``"Exp(-gamma * SqDist(x, y))"``; a function on LazyTensors ``kernel(x_i, y_j, **kernel_params)``; or a
        kernel of ``sklearn.gaussian_process.kernels``. See `clreduce.sklearn.kernels.pair_kernel`.
    gamma, degree, coef0, kernel_params
        Parameters of the kernel; formulas may use all of them by name.
    max_dense : int
        The most points for which scikit-learn stores and factorizes the kernel matrix.
    tol : float or None
        For more points, a target is solved once the norm of its residual is at most ``tol`` times the norm of the
        target. None for 1e-6, and 1e-4 for float32 data.
    max_iter : int or None
        The most products with the kernel matrix; None to go on as long as residuals fall.
    preconditioner_rank : int
        Columns of the kernel matrix that precondition conjugate gradients: more take more memory, and fewer products.

    Attributes
    ----------
    n_features_in_, feature_names_in_
        As in scikit-learn.
    dual_coef_ : array of shape (n_samples,) or (n_samples, n_targets)
        The weights of the points.
    X_fit_ : array of shape (n_samples, n_features)
        The points.
    n_iter_ : int
        Products with the kernel matrix; 1 where it was stored.

    Warns
    -----
    ConvergenceWarning
        A residual is larger than ``tol``.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import KernelRidge
    >>> X = np.linspace(0, 6, 200)[:, None]
    >>> ridge = KernelRidge(alpha=0.01, kernel="rbf", gamma=1.0, max_dense=0).fit(X, np.sin(X[:, 0]))
    >>> bool(np.allclose(ridge.predict(X), np.sin(X[:, 0]), atol=1e-2))
    True
    """

    _parameter_constraints = kernel_ridge.KernelRidge._parameter_constraints | {
        "kernel": [str, callable],
        "max_dense": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "preconditioner_rank": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self, alpha: ArrayLike = 1, *, kernel: Kernel = "linear", gamma: float | None = None, degree: float = 3,
        coef0: float = 1, kernel_params: KernelParams | None = None, max_dense: int = 2000, tol: float | None = None,
        max_iter: int | None = None, preconditioner_rank: int = 100,
    ) -> None:  # fmt: skip
        super().__init__(
            alpha, kernel=kernel, gamma=gamma, degree=degree, coef0=coef0, kernel_params=kernel_params
        )  # fmt: skip
        self.max_dense, self.tol, self.max_iter = max_dense, tol, max_iter
        self.preconditioner_rank = preconditioner_rank

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Data, y: Data, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the weights of the points.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points; with ``kernel="precomputed"`` the kernel matrix. Sparse only up to ``max_dense`` points.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.
        sample_weight : float or array-like of shape (n_samples,)
            Weights of the squared errors.

        Returns
        -------
        self
        """
        if self._is_stored(_num_samples(X)):
            super().fit(X, y, sample_weight)
            self.n_iter_ = 1
            return self
        X, y = checked_data(self, X, y, reset=True, multi_output=True, y_numeric=True)
        weights = None if sample_weight is None else np.sqrt(_check_sample_weight(sample_weight, X, dtype=np.float64))
        targets = y.reshape(len(y), -1).astype(float)
        alphas = np.atleast_1d(np.asarray(self.alpha, float))
        if len(alphas) not in (1, targets.shape[1]):
            raise ShapeError(
                f"alpha is a number, or one for each of {targets.shape[1]} targets; got {len(alphas)} numbers"
            )
        kernel, dual, products = self._pair_kernel(X), np.empty_like(targets), 1
        for alpha in np.unique(alphas):
            columns = np.broadcast_to(alphas == alpha, targets.shape[1:])
            system = KernelSystem(kernel, X, np.full(len(X), alpha), weights)
            near = LowRank(system, self.preconditioner_rank)
            right = targets[:, columns] if weights is None else targets[:, columns] * weights[:, None]
            dual[:, columns], count = solved(system, right, tol=self.tol, max_iter=self.max_iter, near=near)
            products = max(products, count)
        if weights is not None:
            dual *= weights[:, None]
        self.n_iter_ = products
        self.X_fit_: Array | SparseMatrix = X
        self.dual_coef_ = dual.reshape(y.shape).astype(X.dtype, copy=False)
        return self

    def predict(self, X: Data) -> Array:
        """The predictions at points.

        Parameters
        ----------
        X : array-like of shape (n_points, n_features)
            The points.

        Returns
        -------
        array of shape (n_points,) or (n_points, n_targets)
            The predictions.
        """
        check_is_fitted(self)
        if self._is_stored(max(_num_samples(X), _num_samples(self.X_fit_))):
            stored: Array = super().predict(X)
            return stored
        X = checked_data(self, X, reset=False)
        points: Any = self.X_fit_
        known = points.toarray() if issparse(points) else np.asarray(points, X.dtype)
        return self._pair_kernel(X).product(X, known, self.dual_coef_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._is_stored(1)
        return tags

    def _is_stored(self, n: int) -> bool:
        return n <= self.max_dense or (isinstance(self.kernel, str) and self.kernel == "precomputed")

    def _pair_kernel(self, X: Array) -> PairKernel:
        check_not_negative(self.kernel, X)
        return pair_kernel(
            self.kernel, X.shape[1], gamma=self.gamma, degree=self.degree, coef0=self.coef0,
            kernel_params=self.kernel_params,
        )  # fmt: skip

    def _get_kernel(self, X: Array, Y: Array | None = None) -> Array:
        """The kernel matrix, for scikit-learn."""
        if isinstance(self.kernel, str) and self.kernel in (*PAIRWISE_KERNEL_FUNCTIONS, "precomputed"):
            matrix: Array = super()._get_kernel(X, Y)
            return matrix
        if issparse(X) or issparse(Y):
            raise ShapeError(
                f"kernel={self.kernel!r} takes dense data; got a sparse matrix. "
                "Write X.toarray() if that fits into memory"
            )
        X = X if X.dtype == np.float32 else np.asarray(X, float)
        return self._pair_kernel(X).dense(X, X if Y is None else np.asarray(Y, X.dtype))
