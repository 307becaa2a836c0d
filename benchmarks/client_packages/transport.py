"""GPyTorch, GeomLoss and POT's back end GeomLoss."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

import torch

from client_packages.common import EXACT, Checks, leaf, random, with_gradients, written


def gpytorch() -> Checks:
    from gpytorch import kernels, settings

    x, y, v = random(60, 2), random(50, 2), random(50, 3)

    def product(kernel: Any) -> list[torch.Tensor]:
        inputs = leaf(x), leaf(y)
        with settings.max_cholesky_size(1):  # beyond it products are made of kernels of pairs
            return with_gradients(kernel(*inputs) @ v, *inputs, *kernel.parameters())

    for name, options in (
        ("RBFKernel", {"ard_num_dims": 2}), ("MaternKernel", {"nu": 0.5}), ("MaternKernel", {"nu": 2.5}),
        ("PeriodicKernel", {}),
    ):  # fmt: skip
        ours, dense = (getattr(module, name)(**options) for module in (kernels.keops, kernels))
        yield f"{name}{written(options)}, gradients", partial(product, ours), partial(product, dense), EXACT


CLOUDS = random(60, 3), random(70, 3) * 0.8
WEIGHTS = tuple(weights / weights.sum() for weights in (random(60), random(70)))


def geomloss() -> Checks:
    from geomloss import SamplesLoss

    def value(name: str, **options: Any) -> list[torch.Tensor]:
        x, y = map(leaf, CLOUDS)
        return with_gradients(SamplesLoss(name, **options)(x, y), x, y)

    coarse = {"truncate": 9, "cluster_scale": 0.3}
    for name, backend, options, extra, limit in (
        ("sinkhorn", "online", {"p": 2, "blur": 0.2}, {}, EXACT),
        ("sinkhorn", "online", {"p": 1, "blur": 0.2, "debias": False}, {}, EXACT),
        ("gaussian", "online", {"blur": 0.2}, {}, EXACT),
        ("gaussian", "multiscale", {"blur": 0.2}, coarse, EXACT),
        # Distances in its tables are limited from below by 1e-4.
        ("laplacian", "online", {"blur": 0.2}, {}, 1e-3),
        ("energy", "online", {}, {}, 1e-3),
    ):
        ours, dense = (
            partial(value, name, backend=method, **options, **more)
            for method, more in ((backend, extra), ("tensorized", {}))
        )
        yield f"SamplesLoss {name} {backend}{written(options)}, gradients", ours, dense, limit
    if importlib.util.find_spec("geomloss.ot"):
        yield from _solve_sample()


def _solve_sample() -> Checks:
    import geomloss._backends as backends
    from geomloss import ot

    def solved(library: str, lazy: bool, **options: Any) -> list[Any]:
        backends.keops_available = lazy  # False: its own dense tables
        arrays = [*map(leaf, (*CLOUDS, *WEIGHTS))]
        if library == "numpy":
            arrays = [array.detach().numpy() for array in arrays]
        x, y, a, b = arrays
        result = ot.solve_sample(x, y, a=a, b=b, max_iter=100, **options)
        values = [
            result.value, result.potential_a, result.potential_b, result.marginal_a, result.marginal_b,
            result.plan_operator @ b,
        ]  # fmt: skip
        return values if library == "numpy" else [*values, *torch.autograd.grad(result.value, (x, y, a, b))]

    for library in ("numpy", "torch"):
        for options in ({"reg": 0.1}, {"reg": 0.1, "debias": True}, {"blur": 0.2, "reach": 0.7, "debias": True}):
            ours, dense = (partial(solved, library, lazy, **options) for lazy in (True, False))
            yield (
                f"ot.solve_sample {library}{written(options)}{', gradients' * (library == 'torch')}",
                ours,
                dense,
                EXACT,
            )


def pot() -> Checks:
    import geomloss._backends as backends
    import ot

    def solved(library: str, lazy: bool) -> list[Any]:
        backends.keops_available = lazy
        arrays = [array.numpy() if library == "numpy" else array for array in (*CLOUDS, *WEIGHTS)]
        result = ot.solve_sample(*arrays, reg=0.1, method="geomloss", lazy=True, max_iter=100)
        values = [result.value, result.potential_a, result.potential_b]
        return [*values, result.lazy_plan @ arrays[3] if lazy else result.plan @ arrays[3]]

    def empirical(library: str, backend: str) -> list[Any]:
        arrays = [array.numpy() if library == "numpy" else array.clone() for array in (*CLOUDS, *WEIGHTS)]
        value, log = ot.bregman.empirical_sinkhorn2_geomloss(
            *arrays[:2], 0.1, *arrays[2:], backend=backend, log=True, scaling=0.9
        )
        return [value, log["f"], log["g"]]

    for library in ("numpy", "torch"):
        yield f"solve_sample geomloss {library}", partial(solved, library, True), partial(solved, library, False), EXACT
        name = f"empirical_sinkhorn2_geomloss {library}"
        dense = partial(empirical, library, "tensorized")
        yield f"{name} online, potentials", partial(empirical, library, "online"), dense, EXACT
        # A coarse-to-fine scheme takes other steps.
        yield f"{name} multiscale, potentials", partial(empirical, library, "multiscale"), dense, 1e-3
