"""Features of which scalar products are about the values of a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn import kernel_approximation
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from clreduce.errors import OptionError
from clreduce.sklearn.kernels import PairKernel, check_not_negative, pair_kernel
from clreduce.sklearn.validation import Array, Data, checked_data
from clreduce.warning import warn

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from typing_extensions import Self

_ROWS = 8192
"""Points that are transformed at once."""


class Nystroem(kernel_approximation.Nystroem):
    """A feature map for any kernel, from a random subset of the points.

    Parameters are those of ``sklearn.kernel_approximation.Nystroem``; ``n_jobs`` has no effect. For the same
    ``random_state`` it chooses the same points, and gives the same features up to rounding.

    Parameters
    ----------
    kernel : str or callable
        A name as in ``sklearn.metrics.pairwise``, ``"matern"``, ``"precomputed"``; a formula of ``x`` and ``y``; a
        function on LazyTensors; or a kernel of ``sklearn.gaussian_process.kernels``. See
        `clreduce.sklearn.kernels.pair_kernel`.
    gamma, coef0, degree, kernel_params
        Parameters of the kernel; formulas may use all of them by name.
    n_components : int
        Points that are chosen, and features.
    random_state
        Which ones.
    n_jobs
        Accepted, and without effect.

    Attributes
    ----------
    n_features_in_, feature_names_in_
        As in scikit-learn.
    components_ : array of shape (n_components, n_features)
        The points that were chosen.
    component_indices_ : array of shape (n_components,)
        Their places.
    normalization_ : array of shape (n_components, n_components)
        The inverse root of their kernel matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import Nystroem
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> features = Nystroem(gamma=1.0, n_components=10, random_state=0).fit_transform(X)
    >>> bool(np.allclose(features @ features.T, np.exp(-((X - X.T) ** 2)), atol=1e-6))
    True
    """

    _parameter_constraints = kernel_approximation.Nystroem._parameter_constraints | {"kernel": [str, callable]}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Data, y: object = None) -> Self:
        """Choose points, and compute the inverse root of their kernel matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points to choose from.
        y : None
            Not used.

        Returns
        -------
        self
        """
        if self._is_precomputed:
            super().fit(X, y)
            return self
        X = checked_data(self, X, reset=True)
        count = min(self.n_components, len(X))
        if count < self.n_components:
            warn(
                UserWarning(
                    f"n_components={self.n_components} is more than the number of points: all {count} points are used"
                )
            )
        self.component_indices_ = check_random_state(self.random_state).permutation(len(X))[:count]
        self.components_ = X[self.component_indices_]
        left, values, right = np.linalg.svd(self._pair_kernel(X).dense(self.components_, self.components_))
        self.normalization_ = (left / np.sqrt(np.maximum(values, 1e-12))) @ right
        self._n_features_out = count
        return self

    def transform(self, X: Data) -> Array:
        """The features of points.

        Parameters
        ----------
        X : array-like of shape (n_points, n_features)
            The points.

        Returns
        -------
        array of shape (n_points, n_components)
            Features in the precision of X.
        """
        check_is_fitted(self)
        if self._is_precomputed:
            features: Array = super().transform(X)
            return features
        X = checked_data(self, X, reset=False)
        kernel, components = self._pair_kernel(X), self.components_.astype(X.dtype, copy=False)
        normalization = self.normalization_.T.astype(X.dtype)
        features = np.empty((len(X), len(components)), X.dtype)
        for start in range(0, len(X), _ROWS):
            part = slice(start, start + _ROWS)
            np.matmul(kernel.dense(X[part], components), normalization, out=features[part])
        return features

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._is_precomputed
        return tags

    @property
    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _pair_kernel(self, X: Array) -> PairKernel:
        params = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        set_ = {name: value for name, value in params.items() if value is not None}
        if callable(self.kernel) and set_:
            raise OptionError(
                f"a kernel that is a function takes its parameters from kernel_params; got {', '.join(set_)}, too: set "
                "these to None"
            )
        check_not_negative(self.kernel, X)
        return pair_kernel(self.kernel, X.shape[1], kernel_params=self.kernel_params, **set_)
