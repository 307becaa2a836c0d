"""Kernel estimators give scikit-learn's results, without its kernel matrix."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy.sparse import csr_array
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import eigsh
from sklearn import cluster, gaussian_process, kernel_approximation, kernel_ridge, neighbors
from sklearn.datasets import load_diabetes, load_digits, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import kernels as sk
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, pairwise_kernels
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from clreduce.errors import ClreduceError, FormulaError, NotConverged, OptionError, ShapeError, SolveError
from clreduce.sklearn import (
    GaussianProcessRegressor,
    KernelDensity,
    KernelRidge,
    Nystroem,
    SpectralClustering,
    spectral,
    spectral_affinity,
)
from clreduce.sklearn.kernel_density import _log_integral
from clreduce.sklearn.kernels import pair_kernel
from clreduce.sklearn.process_kernels import ProcessKernel
from clreduce.sklearn.systems import KernelSystem, LowRank, Spectrum, solved

pytestmark = pytest.mark.usefixtures("plain_kernels")

X, TARGET = load_diabetes(return_X_y=True)
X = np.ascontiguousarray(X[:, :3] / X[:, :3].std(axis=0))
Y = (TARGET - TARGET.mean()) / TARGET.std()
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.random(len(X))


# ---------------------------------------------------------------------------------------------------------- kernels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(PAIRWISE_KERNEL_FUNCTIONS))
def test_a_kernel_by_name_is_that_of_scikit_learn(name: str, dtype: str) -> None:
    x, y = RANDOM.random((20, 3)), RANDOM.random((1, 3))
    x[0], y[0, 0] = 0, 0  # where chi2 and cosine divide by 0
    values = pair_kernel(name, 3).values(x.astype(dtype), y.astype(dtype))
    assert values.dtype == dtype
    np.testing.assert_allclose(
        values, pairwise_kernels(x, y, metric=name)[:, 0], rtol=1e-12 if dtype == "float64" else 2e-6
    )


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, np.inf])
def test_matern_by_name(nu: float) -> None:
    values = pair_kernel("matern", 3, kernel_params={"length_scale": 0.7, "nu": nu}).values(X, X[:1])
    np.testing.assert_allclose(values, sk.Matern(0.7, nu=nu)(X, X[:1])[:, 0], rtol=1e-12)


def test_kernels_by_formula_function_object_and_name_are_one() -> None:
    expected = pairwise_kernels(X, X[:5], metric="rbf", gamma=0.5)
    kernels = [
        pair_kernel("rbf", 3, gamma=0.5),
        pair_kernel("Exp(-gamma * SqDist(x, y))", 3, gamma=0.5),
        pair_kernel("Exp(-Sum(w * Square(x - y)))", 3, kernel_params={"w": [0.5, 0.5, 0.5]}),
        pair_kernel(lambda x, y, s: (-s * ((x - y) ** 2).sum(-1)).exp(), 3, kernel_params={"s": 0.5}),
        pair_kernel(sk.RBF(1.0), 3),
    ]
    for kernel in kernels:
        np.testing.assert_allclose(kernel.values(X, X[:1]), expected[:, 0], rtol=1e-12)
        assert kernel.values(X.astype("float32"), X[:1].astype("float32")).dtype == "float32"
    np.testing.assert_allclose(kernels[1].dense(X, X[:5]), expected, rtol=1e-12)
    v = RANDOM.normal(size=(5, 2))
    np.testing.assert_allclose(kernels[3].product(X, X[:5], v), expected @ v, rtol=1e-10, atol=1e-12)


PROCESS = (
    sk.ConstantKernel(2.0) * sk.RBF([0.5, 0.7, 0.9]) * sk.Matern(0.3, nu=2.5)
    + sk.RationalQuadratic(0.7, 0.4) ** 2
    + sk.ExpSineSquared(0.8, 1.3) * sk.DotProduct(0.6)
    + sk.WhiteKernel(0.1) * sk.ConstantKernel(0.3, "fixed")
    + sk.DotProduct(0.0, "fixed")
)


def test_kernel_objects_have_the_values_hyperparameters_and_slopes_of_scikit_learn() -> None:
    x, y = X[:30], X[30:31]
    process = ProcessKernel.of(PROCESS, 3)
    theta = process.values_of(PROCESS)
    np.testing.assert_array_equal(theta[list(process.free)], PROCESS.theta)
    np.testing.assert_allclose(process.at(theta).values(x, y), PROCESS(x, y)[:, 0], rtol=1e-12)
    np.testing.assert_allclose(process.diagonal(theta, x), PROCESS.diag(x), rtol=1e-12)
    np.testing.assert_allclose(process.excess(theta, x), 0.03, rtol=1e-12)
    left, right, diagonal = RANDOM.normal(size=(30, 4)), RANDOM.normal(size=(30, 4)), RANDOM.random(30)
    slopes = process.slopes(theta, x, left, right, diagonal)
    _, gradient = PROCESS(x, eval_gradient=True)
    expected = np.einsum("ie,ijk,je->k", left, gradient, right) + np.einsum("i,iik->k", diagonal, gradient)
    np.testing.assert_allclose(slopes, expected, rtol=1e-9, atol=1e-10)


def test_a_kernel_of_pairs_by_name_among_objects() -> None:
    kernel = sk.PairwiseKernel(gamma=0.5, metric="laplacian")
    np.testing.assert_allclose(pair_kernel(kernel, 3).values(X, X[:1]), kernel(X, X[:1])[:, 0], rtol=1e-12)


class Unknown(sk.RBF):
    """A kernel that may compute anything."""


@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        ("rbff", FormulaError, "did you mean 'rbf'"),
        ("Exp(-SqDist(x, z))", FormulaError, "unknown variable 'z'"),
        ("x - y", ShapeError, "a real number for each pair"),
        (lambda x, y: 1.0, OptionError, "must return a LazyTensor; it returned a value of the type float"),
        (sk.Matern(nu=0.7), FormulaError, "nu = 0.5, 1.5, 2.5 or inf"),
        (Unknown(), FormulaError, "Unknown has no formula here"),
        (sk.CompoundKernel([sk.RBF()]), FormulaError, "CompoundKernel has no formula"),
        (sk.RBF([1.0, 2.0]), ShapeError, "length_scale must have 1 number, or 3 for the features of the data; got 2"),
        (3, FormulaError, "kernel is a name, a formula"),
    ],
)  # fmt: skip
def test_a_kernel_that_is_none_is_one_clear_error(kernel: Any, error: type[ClreduceError], message: str) -> None:
    with pytest.raises(error, match=message):
        pair_kernel(kernel, 3)


def test_a_parameter_that_a_kernel_does_not_have_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"kernel_params has 'gama'.*'gamma'.*takes gamma"):
        pair_kernel("rbf", 3, kernel_params={"gama": 1.0})
    with pytest.raises(OptionError, match="takes none, because it has its own values"):
        pair_kernel(sk.RBF(), 3, kernel_params={"gamma": 1.0})


# ----------------------------------------------------------------------------------------------------------- densities


@pytest.mark.parametrize(
    ("kernel", "weighted"),
    [
        ("gaussian", True), ("tophat", False), ("epanechnikov", True),
        ("exponential", False), ("linear", True), ("cosine", False),
    ],
)  # fmt: skip
def test_densities_are_those_of_scikit_learn(kernel: str, weighted: bool) -> None:
    weights = WEIGHTS if weighted else None
    ours = KernelDensity(kernel=kernel, bandwidth=0.8).fit(X, sample_weight=weights)
    theirs = neighbors.KernelDensity(kernel=kernel, bandwidth=0.8).fit(X, sample_weight=weights)
    points = np.concatenate([X[:50] + 0.3, [[100.0, 0.0, 0.0]]])
    np.testing.assert_allclose(ours.score_samples(points), theirs.score_samples(points), rtol=1e-9)


def test_the_cosine_kernel_integrates_to_1_in_an_even_number_of_dimensions() -> None:
    """In the plane its integral is 2 pi (2 / pi - 4 / pi^2)."""
    assert _log_integral("cosine", 2) == pytest.approx(np.log(4 - 8 / np.pi))


@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_bandwidths_by_rules(rule: Any) -> None:
    ours, theirs = KernelDensity(bandwidth=rule).fit(X), neighbors.KernelDensity(bandwidth=rule).fit(X)
    assert ours.bandwidth_ == pytest.approx(theirs.bandwidth_, rel=1e-15)


@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_samples_of_a_density_are_those_of_scikit_learn(kernel: str, weights: Any) -> None:
    ours, theirs = KernelDensity(kernel=kernel), neighbors.KernelDensity(kernel=kernel)
    samples = [each.fit(X, sample_weight=weights).sample(7, random_state=3) for each in (ours, theirs)]
    np.testing.assert_allclose(*samples, rtol=1e-12)


def test_other_densities_have_no_samples() -> None:
    with pytest.raises(NotImplementedError, match="'gaussian' or 'tophat'"):
        KernelDensity(kernel="linear").fit(X).sample()


def test_densities_for_another_metric_and_in_single_precision() -> None:
    ours = KernelDensity(metric="manhattan", kernel="exponential").fit(X.astype("float32"))
    theirs = neighbors.KernelDensity(metric="manhattan", kernel="exponential").fit(X)
    logs = ours.score_samples(X[:20])  # float64 points meet float32 ones
    np.testing.assert_allclose(logs, theirs.score_samples(X[:20]), rtol=1e-5)
    assert ours.score_samples(X[:20].astype("float32")).dtype == "float32"


@pytest.mark.parametrize(
    ("bandwidth", "dtype"), [(1e-30, "float32"), (1e25, "float32"), (1e-200, float), (1e200, float)]
)
def test_squares_of_bandwidths_need_not_be_numbers(bandwidth: float, dtype: Any) -> None:
    ours, theirs = (
        each(bandwidth=bandwidth).fit(X[:50].astype(dtype)).score_samples(X[:50].astype(dtype))
        for each in (KernelDensity, neighbors.KernelDensity)
    )
    if bandwidth == 1e-200:  # where scikit-learn's are -inf
        theirs = -np.log(50) - 1.5 * np.log(2 * np.pi) - 3 * np.log(bandwidth)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_search_finds_the_bandwidth_that_scikit_learn_finds() -> None:
    grid = {"bandwidth": [0.1, 0.4, 1.6]}
    searches = [GridSearchCV(each(), grid, cv=3).fit(X[:150]) for each in (KernelDensity, neighbors.KernelDensity)]
    assert searches[0].best_params_ == searches[1].best_params_
    assert searches[0].best_score_ == pytest.approx(searches[1].best_score_, rel=1e-10)


# ----------------------------------------------------------------------------------------------------- ridge regression


@pytest.mark.parametrize("max_dense", [0, 2000])
def test_ridge_regression_is_that_of_scikit_learn(max_dense: int) -> None:
    targets = np.c_[Y, Y[::-1]]
    options: Any = {"kernel": "rbf", "gamma": 0.3, "alpha": [0.1, 0.5]}
    ours = KernelRidge(**options, max_dense=max_dense, tol=1e-10).fit(X, targets, sample_weight=WEIGHTS)
    theirs = kernel_ridge.KernelRidge(**options).fit(X, targets, sample_weight=WEIGHTS)
    np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(ours.predict(X[:40]), theirs.predict(X[:40]), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("kernel", "max_dense"), [("Exp(-gamma * SqDist(x, y))", 2000), (lambda x, y: (-0.3 * x.sqdist(y)).exp(), 0)]
)
def test_ridge_regression_takes_formulas_and_functions_with_and_without_a_matrix(kernel: Any, max_dense: int) -> None:
    expected = kernel_ridge.KernelRidge(kernel="rbf", gamma=0.3, alpha=0.1).fit(X, Y).predict(X[:40])
    ridge = KernelRidge(kernel=kernel, gamma=0.3, alpha=0.1, max_dense=max_dense, tol=1e-9).fit(X, Y)
    np.testing.assert_allclose(ridge.predict(X[:40]), expected, rtol=1e-6, atol=1e-7)


def test_ridge_regression_in_single_precision() -> None:
    ridge = KernelRidge(kernel="rbf", gamma=0.3, alpha=0.1, max_dense=0).fit(X.astype("float32"), Y)
    assert ridge.dual_coef_.dtype == ridge.predict(X[:5].astype("float32")).dtype == "float32"
    expected = kernel_ridge.KernelRidge(kernel="rbf", gamma=0.3, alpha=0.1).fit(X, Y).predict(X[:40])
    np.testing.assert_allclose(ridge.predict(X[:40]), expected, atol=1e-3)


def test_a_search_over_kernels_of_both_kinds() -> None:
    grid = {"kernel": ["rbf", "Exp(-gamma * SqDist(x, y))"], "alpha": [0.1, 10.0]}
    search = GridSearchCV(KernelRidge(gamma=0.3), grid, cv=2).fit(X[:100], Y[:100])
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores[::2], scores[1::2], rtol=1e-9)


def test_too_few_products_are_told() -> None:
    ridge = KernelRidge(kernel="rbf", alpha=1e-6, max_dense=0, max_iter=2, preconditioner_rank=5)
    with pytest.warns(ConvergenceWarning, match="after 2 products the residual is .* raise max_iter"):
        ridge.fit(X, Y)
    assert ridge.n_iter_ == 2


def test_a_ridge_of_0_where_the_preconditioner_is_the_kernel() -> None:
    points, targets = RANDOM.normal(size=(60, 3)), RANDOM.normal(size=60)
    ours, theirs = (
        each(kernel="rbf", gamma=3.0, alpha=0.0, **options).fit(points, targets).dual_coef_
        for each, options in ((KernelRidge, {"max_dense": 0}), (kernel_ridge.KernelRidge, {}))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_wrong_number_of_ridges_and_negative_histograms_are_errors() -> None:
    with pytest.raises(ShapeError, match="one for each of 1 targets; got 2"):
        KernelRidge(alpha=[1.0, 2.0], max_dense=0).fit(X, Y)
    with pytest.raises(ShapeError, match="needs data without negative values"):
        KernelRidge(kernel="chi2", max_dense=0).fit(X, Y)


# ------------------------------------------------------------------------------------------------- systems of equations


def system() -> tuple[KernelSystem, Any]:
    noise = 0.1 + WEIGHTS[:200]
    matrix = pairwise_kernels(X[:200], metric="rbf", gamma=0.3) + np.diag(noise)
    return KernelSystem(pair_kernel("rbf", 3, gamma=0.3), X[:200], noise), matrix


def test_the_preconditioner_knows_its_inverse_its_determinant_and_its_covariance() -> None:
    of_kernel, _ = system()
    near = LowRank(of_kernel, 20)
    matrix = near.factor @ near.factor.T + np.diag(near.d)
    np.testing.assert_allclose(near.solve(matrix), np.eye(200), atol=1e-10)
    assert near.log_determinant() == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
    samples = near.samples(np.random.RandomState(0), 20000)
    np.testing.assert_allclose(samples @ samples.T / 20000, matrix, atol=0.12)


def test_determinants_and_traces_are_within_their_noise() -> None:
    of_kernel, matrix = system()
    near, right = LowRank(of_kernel, 20), RANDOM.normal(size=(200, 1))
    spectrum = Spectrum(of_kernel, near, right, 15, np.random.RandomState(0), tol=1e-8, max_iter=None)
    np.testing.assert_allclose(spectrum.solution, np.linalg.solve(matrix, right), atol=1e-7)
    assert spectrum.log_determinant == pytest.approx(np.linalg.slogdet(matrix)[1], abs=0.5)
    other = pairwise_kernels(X[:200], metric="rbf", gamma=0.7)
    trace = (spectrum.left * (other @ spectrum.right)).sum() + spectrum.diagonal @ np.diag(other)
    assert trace == pytest.approx(np.trace(np.linalg.solve(matrix, other)), rel=0.02)


def test_what_does_not_converge_says_so() -> None:
    singular = KernelSystem(pair_kernel("rbf", 3, gamma=0.1), X[:200], np.full(200, 1e-9))
    with pytest.raises(NotConverged, match="no longer falls: raise alpha"):
        solved(singular, RANDOM.normal(size=(200, 1)), tol=1e-9, max_iter=None, near=LowRank(singular, 0))


def test_advice_about_a_kernel_names_parameters_that_an_estimator_has() -> None:
    ridge = KernelRidge(kernel="SqDist(x, y)", alpha=1e-3, max_dense=0, preconditioner_rank=0)
    with pytest.raises(SolveError, match=r"not positive definite.*Raise alpha, which is added") as caught:
        ridge.fit(X[:200], X[:200, 0])
    assert "solver=" not in str(caught.value)
    ridge = KernelRidge(kernel="Exp(-Square(Elem(x, 0) - 2 * Elem(y, 0)))", max_dense=0, preconditioner_rank=0)
    with pytest.raises(SolveError, match=r"not symmetric.*k\(x, y\) = k\(y, x\)") as caught:
        ridge.fit(X[:200], X[:200, 0])
    assert "solver=" not in str(caught.value)


# --------------------------------------------------------------------------------------------------- Gaussian processes

KERNEL = sk.ConstantKernel(1.0) * sk.RBF(1.0) + sk.WhiteKernel(0.5)


def processes(**options: Any) -> tuple[Any, Any]:
    ours = GaussianProcessRegressor(KERNEL, max_dense=0, tol=1e-9, random_state=0, **options).fit(X, Y)
    return ours, gaussian_process.GaussianProcessRegressor(KERNEL, **options).fit(X, Y)


def test_a_process_with_fixed_hyperparameters_is_that_of_scikit_learn() -> None:
    ours, theirs = processes(optimizer=None, alpha=WEIGHTS, normalize_y=True)
    np.testing.assert_allclose(ours.alpha_, theirs.alpha_, atol=1e-7)
    points = X[:20] + 0.1
    for options in ({"return_std": True}, {"return_cov": True}):
        for result, expected in zip(ours.predict(points, **options), theirs.predict(points, **options), strict=True):
            np.testing.assert_allclose(result, expected, atol=1e-7)
    likelihood, slopes = ours.log_marginal_likelihood(KERNEL.theta, eval_gradient=True)
    expected, expected_slopes = theirs.log_marginal_likelihood(KERNEL.theta, eval_gradient=True)
    assert likelihood == ours.log_marginal_likelihood_value_ == pytest.approx(expected, abs=0.5)
    np.testing.assert_allclose(slopes, expected_slopes, atol=0.5)


def test_the_likelihood_is_the_same_number_each_time_and_slopes_are_those_of_its_mean() -> None:
    ours = GaussianProcessRegressor(KERNEL, max_dense=0, optimizer=None, random_state=0).fit(X, np.c_[Y, Y[::-1]])
    theirs = gaussian_process.GaussianProcessRegressor(KERNEL, optimizer=None).fit(X, np.c_[Y, Y[::-1]])
    theta = KERNEL.theta + 0.1
    first, again = (ours.log_marginal_likelihood(theta) for _ in range(2))
    assert first == again == pytest.approx(theirs.log_marginal_likelihood(theta), abs=1.0)
    assert pickle.loads(pickle.dumps(ours)).log_marginal_likelihood(theta) == first
    assert ours.kernel_ == KERNEL  # a copy took theta


def test_hyperparameters_reach_the_likelihood_that_scikit_learn_reaches() -> None:
    ours = GaussianProcessRegressor(KERNEL, max_dense=0, random_state=0).fit(X[:200], Y[:200])
    theirs = gaussian_process.GaussianProcessRegressor(KERNEL).fit(X[:200], Y[:200])
    exact = theirs.log_marginal_likelihood(ours.kernel_.theta)
    assert exact > theirs.log_marginal_likelihood_value_ - 0.3
    np.testing.assert_allclose(ours.predict(X[:20]), theirs.predict(X[:20]), atol=0.1)


def test_a_process_without_data_is_scikit_learns_prior() -> None:
    mean, deviation = GaussianProcessRegressor(KERNEL, max_dense=0).predict(X[:3], return_std=True)
    np.testing.assert_allclose(mean, 0)
    np.testing.assert_allclose(deviation, np.sqrt(1.5))


# ------------------------------------------------------------------------------------------------ features and clusters


def test_nystroem_features_are_those_of_scikit_learn() -> None:
    digits = load_digits().data[:200]
    ours, theirs = (
        each(gamma=1e-3, n_components=50, random_state=0) for each in (Nystroem, kernel_approximation.Nystroem)
    )
    np.testing.assert_allclose(ours.fit_transform(digits), theirs.fit_transform(digits), atol=1e-9)
    np.testing.assert_array_equal(ours.component_indices_, theirs.component_indices_)
    pytest.importorskip("pandas")
    frame = ours.set_output(transform="pandas").transform(digits[:3])
    assert list(frame.columns) == [f"nystroem{k}" for k in range(50)]


def test_a_pipeline_with_nystroem_features_tells_moons_apart() -> None:
    points, labels = make_moons(200, noise=0.1, random_state=0)
    model = make_pipeline(
        Nystroem("Exp(-gamma * SqDist(x, y))", gamma=2.0, n_components=50, random_state=0), LogisticRegression(C=100)
    )
    assert model.fit(points, labels).score(points, labels) > 0.97


@pytest.mark.parametrize("dense", [0, 200])
@pytest.mark.parametrize(
    "options", [{}, {"eigen_solver": "lobpcg", "assign_labels": "cluster_qr"}, {"assign_labels": "discretize"}]
)
def test_clusters_of_moons_are_those_of_scikit_learn(options: Any, dense: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(spectral, "_DENSE", dense)
    points, _ = make_moons(200, noise=0.05, random_state=0)
    ours, theirs = (
        each(2, gamma=30.0, random_state=0, **options) for each in (SpectralClustering, cluster.SpectralClustering)
    )
    np.testing.assert_array_equal(ours.fit_predict(points), theirs.fit_predict(points))


def test_an_affinity_is_the_laplacian_of_the_kernel_as_an_operator() -> None:
    points, _ = make_moons(100, noise=0.05, random_state=0)
    kernel = pairwise_kernels(points, metric="rbf", gamma=30.0)
    expected, roots = laplacian(kernel, normed=True, return_diag=True)
    walk = pickle.loads(pickle.dumps(spectral_affinity(points, gamma=30.0)))
    np.testing.assert_allclose(np.eye(100) - walk @ np.eye(100), expected, atol=1e-12)
    np.testing.assert_allclose(walk.degree_roots, roots, rtol=1e-12)
    np.testing.assert_allclose(walk.H @ np.arange(100.0), walk @ np.arange(100.0))
    values = eigsh(walk, k=3, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(1 * np.eye(100) - expected)[-3:], atol=1e-9)
    np.testing.assert_allclose(walk.dense(), np.eye(100) - expected, atol=1e-12)
    whole = spectral_affinity(points, gamma=30.0, normalize=False)
    np.testing.assert_allclose(whole.dense(), kernel, atol=1e-12)
    np.testing.assert_allclose(whole @ np.eye(100), kernel, atol=1e-12)
    assert spectral_affinity(points.astype("float32")).matvec(np.ones(100)).dtype == "float32"


def test_affinities_that_are_matrices_are_left_to_scikit_learn() -> None:
    points, _ = make_moons(60, noise=0.05, random_state=0)
    ours, theirs = (
        each(2, affinity="nearest_neighbors", random_state=0)
        for each in (SpectralClustering, cluster.SpectralClustering)
    )
    np.testing.assert_array_equal(ours.fit_predict(points), theirs.fit_predict(points))


def test_clusters_that_hardly_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then eigenvalues are equal, here all of them, and iterations do not tell their vectors apart."""
    points = 1000 * RANDOM.normal(size=(60, 3))
    clustering = SpectralClustering(3, gamma=0.5, random_state=0)
    assert set(clustering.fit(points).labels_) == {0, 1, 2}
    monkeypatch.setattr(spectral, "_DENSE", 0)
    with pytest.raises(SolveError, match=r"ARPACK did not find 3 eigenvectors .*a smaller gamma"):
        clustering.fit(points)


def test_an_affinity_is_of_finite_dense_points() -> None:
    for points, told in ((csr_array(X), "dense data is required"), (X[:0], "minimum of 1"), (X * np.nan, "NaN")):
        with pytest.raises((TypeError, ValueError), match=told):
            spectral_affinity(points)


def test_an_affinity_below_0_is_an_error() -> None:
    with pytest.raises(ShapeError, match="row sums of 0 or more"):
        spectral_affinity(X - X.mean(axis=0), "linear")
