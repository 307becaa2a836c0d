"""Every estimator of `clreduce.sklearn` is one of scikit-learn: its own checks pass, and so do pipelines and searches.

A new estimator needs no line here: it is tested because `clreduce.sklearn` names it.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from processes import run_python

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.datasets import make_blobs  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils import all_estimators  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import clreduce.sklearn as kernels  # noqa: E402

ESTIMATORS = [getattr(kernels, name) for name in kernels.__all__ if isinstance(getattr(kernels, name), type)]
THEIRS = dict(all_estimators())


UNSTORED: dict[str, dict[str, Any]] = {
    "GaussianProcessRegressor": {"max_dense": 0, "alpha": 0.01, "optimizer": None, "n_probes": 3},
    "KernelRidge": {"max_dense": 0},
}
"""Parameters with which few points, too, are computed with as many are; by default scikit-learn's own code does it."""


NOT_THEIRS_EITHER = {
    # points that count twice change the numbers that seeding draws
    "KMeans": {"check_sample_weight_equivalence_on_dense_data": "seeding depends on the number of points"}
}
"""Checks that scikit-learn's estimator of the same name does not pass, and why."""


@parametrize_with_checks(
    [estimator(**UNSTORED.get(estimator.__name__, {})) for estimator in ESTIMATORS],
    expected_failed_checks=lambda estimator: NOT_THEIRS_EITHER.get(type(estimator).__name__, {}),
)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: each.__name__)
def test_parameters_are_those_of_scikit_learn(estimator: Any) -> None:
    """Their names and defaults; an estimator may have further ones."""
    theirs = THEIRS.get(estimator.__name__)
    if theirs is None:
        pytest.skip("scikit-learn has no estimator of this name")
    ours, expected = estimator().get_params(), theirs().get_params()
    assert {name: ours[name] for name in expected} == expected


def data() -> tuple[Any, Any]:
    X, y = make_blobs(60, 3, centers=3, random_state=0)
    return X.astype("float32"), y


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: each.__name__)
def test_a_pipeline_that_was_pickled_gives_equal_results(estimator: Any) -> None:
    X, y = data()
    fitted = make_pipeline(StandardScaler(), clone(estimator())).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    tried = 0
    for method in ("predict", "predict_proba", "transform", "score_samples", "decision_function"):
        if hasattr(fitted, method):
            tried += 1
            results = [getattr(each, method)(X[:10]) for each in (fitted, again)]
            dense = [each.toarray() if hasattr(each, "toarray") else np.asarray(each) for each in results]
            np.testing.assert_array_equal(*dense)
    if hasattr(fitted[-1], "labels_"):
        tried += 1
        np.testing.assert_array_equal(fitted[-1].labels_, again[-1].labels_)
    if not tried:
        np.testing.assert_array_equal(*(each[-1].kneighbors(X[:10])[1] for each in (fitted, again)))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: each.__name__)
def test_features_are_known_by_their_names(estimator: Any) -> None:
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    fitted = estimator().fit(frame, y)
    assert fitted.n_features_in_ == 3
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    method = "predict" if is_classifier(fitted) or is_regressor(fitted) else "transform"
    if hasattr(fitted, method):
        with pytest.raises(ValueError, match="feature names"):
            getattr(fitted, method)(frame.rename(columns={"a": "z"}))


def test_public_names_load_on_demand() -> None:
    code = "import sys, clreduce.sklearn as s; print('sklearn.neighbors' in sys.modules, dir(s) == sorted(s.__all__))"
    assert run_python(code).stdout == "False True\n"
    with pytest.raises(AttributeError, match="NoSuchEstimator"):
        kernels.NoSuchEstimator  # noqa: B018
