"""Estimators of scikit-learn whose pairs of points are visited by kernels on an OpenCL device.

They take the parameters of scikit-learn's estimators of the same name, have their attributes, and work in its pipelines
and searches. A metric is a name, a formula or a function on `LazyTensor`.

>>> import numpy as np
>>> from clreduce.sklearn import KNeighborsClassifier
>>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
>>> KNeighborsClassifier(n_neighbors=3).fit(X, y).predict([[1.1], [2.5]])
array([0, 1])
>>> KNeighborsClassifier(n_neighbors=3, metric="Sum(Abs(x - y))").fit(X, y).predict([[1.1], [2.5]])
array([0, 1])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clreduce.extras import check_version, needed

try:
    import sklearn as _sklearn

    check_version("sklearn", _sklearn)
except ImportError as _error:
    raise needed("sklearn", _error) from _error

if TYPE_CHECKING:
    from clreduce.sklearn.gaussian_process import GaussianProcessRegressor
    from clreduce.sklearn.kernel_density import KernelDensity
    from clreduce.sklearn.kernel_ridge import KernelRidge
    from clreduce.sklearn.kmeans import KMeans
    from clreduce.sklearn.neighbors import (
        KNeighborsClassifier,
        KNeighborsRegressor,
        KNeighborsTransformer,
        NearestNeighbors,
        RadiusNeighborsClassifier,
        RadiusNeighborsRegressor,
        RadiusNeighborsTransformer,
    )
    from clreduce.sklearn.nystroem import Nystroem
    from clreduce.sklearn.pairwise import pairwise_reduce
    from clreduce.sklearn.spectral import SpectralClustering, spectral_affinity

_MODULES = {
    "gaussian_process": ("GaussianProcessRegressor",),
    "kernel_density": ("KernelDensity",),
    "kernel_ridge": ("KernelRidge",),
    "kmeans": ("KMeans",),
    "neighbors": (
        "KNeighborsClassifier", "KNeighborsRegressor", "KNeighborsTransformer", "NearestNeighbors",
        "RadiusNeighborsClassifier", "RadiusNeighborsRegressor", "RadiusNeighborsTransformer",
    ),
    "nystroem": ("Nystroem",),
    "pairwise": ("pairwise_reduce",),
    "spectral": ("SpectralClustering", "spectral_affinity"),
}  # fmt: skip
"""Public names by their modules, each of which imports its part of scikit-learn when it is first used."""

__all__ = [
    "GaussianProcessRegressor", "KMeans", "KNeighborsClassifier", "KNeighborsRegressor", "KNeighborsTransformer",
    "KernelDensity", "KernelRidge", "NearestNeighbors", "Nystroem", "RadiusNeighborsClassifier",
    "RadiusNeighborsRegressor", "RadiusNeighborsTransformer", "SpectralClustering", "pairwise_reduce",
    "spectral_affinity",
]  # fmt: skip


def __getattr__(name: str) -> object:
    import importlib

    for module, names in _MODULES.items():
        if name in names:
            value: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
