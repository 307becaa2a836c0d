"""Kernel estimators never store the kernel matrix of many points."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.gaussian_process import kernels as sk

from clreduce.sklearn import GaussianProcessRegressor

RANDOM = np.random.default_rng(0)


def test_a_process_takes_memory_linear_in_the_number_of_points() -> None:
    """A matrix of 2500 x 2500 numbers would take 50 MB, and scikit-learn stores one for each hyper-parameter too."""
    x, kernel = RANDOM.random((2500, 3)), sk.ConstantKernel() * sk.RBF(0.3) + sk.WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, optimizer=None, preconditioner_rank=20, n_probes=7)
    tracemalloc.start()
    process.fit(x, np.sin(5 * x[:, 0]))
    process.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    np.testing.assert_allclose(process.predict(x[:5]), np.sin(5 * x[:5, 0]), atol=0.1)
