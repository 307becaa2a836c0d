"""Spectral clustering by the eigenvectors of an affinity that is never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh, lobpcg
from sklearn import cluster
from sklearn.base import _fit_context
from sklearn.cluster._spectral import cluster_qr, discretize
from sklearn.utils import check_array, check_random_state

from clreduce.errors import ShapeError, SolveError
from clreduce.sklearn.kernels import Kernel, KernelParams, PairKernel, check_not_negative, pair_kernel
from clreduce.sklearn.systems import wide_product
from clreduce.sklearn.validation import Data, checked_data
from clreduce.typing import Array
from clreduce.warning import warn

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from typing_extensions import Self

_STORED = ("nearest_neighbors", "precomputed", "precomputed_nearest_neighbors")
"""Affinities that are matrices, mostly sparse ones: scikit-learn's own code serves them."""
_DENSE = 500
"""The most points for which all eigenvectors are computed, for every solver: this takes a tenth of a second."""


class Affinity(LinearOperator):
    """The matrix D^-1/2 (K - diag K) D^-1/2 of a kernel K, or K itself; made by `spectral_affinity`.

    Attributes
    ----------
    shape, dtype
        (n, n), float32 or float64.
    degree_roots : array of shape (n,)
        The diagonal of D^1/2: roots of the row sums of K without its diagonal, 1 where there is none.
    """

    def __init__(self, kernel: PairKernel, X: Array, normalize: bool) -> None:
        super().__init__(X.dtype, (len(X), len(X)))
        self.kernel, self.X, self.normalize = kernel, X, normalize
        self.degree_roots = np.ones(len(X), X.dtype)
        if normalize:
            self._diagonal = kernel.diagonal(X)[:, None]
            degrees = self._off_diagonal(np.ones((len(X), 1), X.dtype))[:, 0]
            if degrees.min() < 0:
                raise ShapeError(
                    f"an affinity must have row sums of 0 or more; the smallest is {degrees.min():.3g}. Use a kernel "
                    "without negative values"
                )
            self.degree_roots[degrees > 0] = np.sqrt(degrees[degrees > 0])

    def _kernel_product(self, vectors: Array) -> Array:
        return wide_product(lambda block: self.kernel.product(self.X, self.X, block), vectors)

    def _off_diagonal(self, vectors: Array) -> Array:
        product: Array = self._kernel_product(vectors) - self._diagonal * vectors
        return product

    def _matmat(self, vectors: Array) -> Array:
        vectors = np.asarray(vectors).astype(self.dtype, copy=False)
        if not self.normalize:
            return self._kernel_product(vectors)
        roots = self.degree_roots[:, None]
        return self._off_diagonal(vectors / roots) / roots

    def dense(self) -> Array:
        """The matrix, of shape (n, n), in float64."""
        matrix = self.kernel.dense(self.X, self.X).astype(float)
        if self.normalize:
            np.fill_diagonal(matrix, 0)
            matrix /= self.degree_roots[:, None] * self.degree_roots
        return matrix

    def _matvec(self, vector: Array) -> Array:
        return self._matmat(np.reshape(vector, (-1, 1)))

    def _adjoint(self) -> Affinity:
        return self


def spectral_affinity(
    X: Data, affinity: Kernel = "rbf", *, gamma: float = 1.0, degree: float = 3, coef0: float = 1,
    kernel_params: KernelParams | None = None, normalize: bool = True,
) -> Affinity:  # fmt: skip
    """The affinity of points as a linear operator, for ``scipy.sparse.linalg``: it is multiplied and never stored.

    Parameters
    ----------
    X : array of shape (n, n_features)
        The points; float32 is kept.
    affinity : str or callable, optional
        The kernel, as in `clreduce.sklearn.kernels.pair_kernel`; symmetric, and not negative.
    gamma, degree, coef0, kernel_params
        Its parameters.
    normalize : bool, optional
        Whether the operator is that of a random walk, D^-1/2 (K - diag K) D^-1/2, with row sums D, whose largest
        eigenvalue is 1; else it is K.

    Returns
    -------
    Affinity
        An operator of shape (n, n), with ``@`` and the methods that SciPy's solvers call.

    Raises
    ------
    ShapeError
        X is not an array of shape (n, n_features).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import eigsh
    >>> from clreduce.sklearn import spectral_affinity
    >>> X = np.concatenate([np.arange(5.0), 20 + np.arange(5.0)])[:, None]
    >>> eigsh(spectral_affinity(X), k=2, which="LA", return_eigenvectors=False).round(6)
    array([1., 1.])
    """
    points: Array = check_array(X, dtype=[np.float64, np.float32], order="C")
    check_not_negative(affinity, points)
    kernel = pair_kernel(
        affinity, points.shape[1], gamma=gamma, degree=degree, coef0=coef0, kernel_params=kernel_params
    )  # fmt: skip
    return Affinity(kernel, points, normalize)


class _KernelOptions(TypedDict, total=False):
    """The parameters of a kernel."""

    gamma: float
    degree: float
    coef0: float
    kernel_params: KernelParams | None


class SpectralClustering(cluster.SpectralClustering):
    """Spectral clustering in memory linear in the number of points.

    Parameters are those of ``sklearn.cluster.SpectralClustering``. Affinities that are matrices (nearest neighbours,
    precomputed ones) are left to scikit-learn. Kernels are never stored, but up to 500 points, where all eigenvectors
    are computed, whatever the solver. ``eigen_solver="amg"`` needs a matrix: ARPACK takes its place, with a warning.

    Parameters
    ----------
    affinity : str or callable
        A name as in ``sklearn.metrics.pairwise``, ``"matern"``; a formula of ``x`` and ``y``; a function on
        LazyTensors; a kernel of ``sklearn.gaussian_process.kernels``; or one of scikit-learn's matrices. See
        `clreduce.sklearn.kernels.pair_kernel`.
    gamma, degree, coef0, kernel_params
        Parameters of the kernel; formulas may use all of them by name.
    n_clusters, n_components, eigen_solver, eigen_tol, assign_labels, n_init, random_state, n_neighbors, verbose
        As in scikit-learn.
    n_jobs
        Without effect on kernels.

    Attributes
    ----------
    n_features_in_, feature_names_in_
        As in scikit-learn.
    labels_ : array of shape (n_samples,)
        The cluster of each point.
    affinity_matrix_ : `Affinity`
        K as a linear operator; a matrix where the affinity is one.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.sklearn import SpectralClustering
    >>> X = np.concatenate([np.arange(5.0), 20 + np.arange(5.0)])[:, None]
    >>> labels = SpectralClustering(n_clusters=2, random_state=0).fit_predict(X)
    >>> bool((labels == labels[0]).tolist() == [True] * 5 + [False] * 5)
    True
    """

    _parameter_constraints = cluster.SpectralClustering._parameter_constraints | {"affinity": [str, callable]}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Data, y: object = None) -> Self:
        """Cluster the points.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The points, or a matrix if the affinity is precomputed.
        y : None
            Not used.

        Returns
        -------
        self
        """
        if self._has_matrix:
            super().fit(X, y)
            return self
        X = checked_data(self, X, reset=True, ensure_min_samples=2)
        options: _KernelOptions = {"kernel_params": self.kernel_params}
        if not callable(self.affinity):
            options |= {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        self.affinity_matrix_ = spectral_affinity(X, self.affinity, **options, normalize=False)
        random = check_random_state(self.random_state)
        maps = self._embedding(spectral_affinity(X, self.affinity, **options), random)
        if self.assign_labels == "kmeans":
            _, self.labels_, _ = cluster.k_means(
                maps, self.n_clusters, random_state=random, n_init=self.n_init, verbose=self.verbose
            )
        elif self.assign_labels == "cluster_qr":
            self.labels_ = cluster_qr(maps)
        else:
            self.labels_ = discretize(maps, random_state=random)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._has_matrix
        return tags

    @property
    def _has_matrix(self) -> bool:
        return isinstance(self.affinity, str) and self.affinity in _STORED

    def _embedding(self, walk: Affinity, random: np.random.RandomState) -> Array:
        """The first eigenvectors of the Laplacian 1 - walk, in units of the degrees, of shape (n, n_components)."""
        n, count = walk.shape[0], self.n_components or self.n_clusters
        solver = self.eigen_solver or "arpack"
        if solver == "amg":
            warn(RuntimeWarning("eigen_solver='amg' needs a stored matrix; SpectralClustering uses ARPACK instead"))
        # Drawn in any case, so that what follows draws the numbers that it draws for scikit-learn.
        start = random.standard_normal((n, count + 1)) if solver == "lobpcg" else random.uniform(-1, 1, n)
        start = start.astype(walk.dtype)
        if n <= max(5 * count, _DENSE):  # iterations need some more points than eigenvectors
            matrix = walk.dense()
            vectors = eigh((matrix + matrix.T) / 2)[1][:, ::-1]
        elif solver == "lobpcg":
            start[:, 0] = walk.degree_roots
            tol = None if self.eigen_tol == "auto" else self.eigen_tol
            vectors = lobpcg(walk, start, tol=tol, largest=True, maxiter=2000)[1]
        else:
            tol = 0 if self.eigen_tol == "auto" else self.eigen_tol
            try:
                vectors = eigsh(walk, k=count, which="LA", tol=tol, v0=start)[1][:, ::-1]
            except ArpackError as error:
                raise SolveError(
                    f"ARPACK did not find {count} eigenvectors of the affinity ({error}). If clusters hardly touch, "
                    "many eigenvalues are equal: widen the kernel (a smaller gamma), raise eigen_tol, or use "
                    "eigen_solver='lobpcg'"
                ) from error
        maps = vectors[:, :count] / walk.degree_roots[:, None]
        largest = np.abs(maps).argmax(0)
        signs = np.sign(maps[largest, np.arange(maps.shape[1])])
        embedding: Array = maps * signs
        return embedding
