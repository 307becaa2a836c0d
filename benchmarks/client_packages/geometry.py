"""densemaps, geomstats and gempy-engine: maps between shapes, distances of varifolds, geological models."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import torch

from client_packages.common import EXACT, Checks, leaf, random, with_gradients, written


def densemaps() -> Checks:
    from densemaps.torch import maps, nn_utils

    def pulled(kind: Any, batch: tuple[int, ...], f: torch.Tensor, **options: Any) -> list[torch.Tensor]:
        inputs = leaf(random(*batch, 50, 4)), leaf(random(*batch, 60, 4)), leaf(f)
        return with_gradients(kind(*inputs[:2], blur=0.3, **options).pull_back(inputs[2]), *inputs)

    for batch in ((), (2,)):
        for options in ({"dist_type": "sqdist"}, {"dist_type": "sqdist", "normalize": True}, {"dist_type": "inner"}):
            for f in (random(50), random(50, 3), random(2, 50, 3)):
                kinds = maps.KernelDistMap, maps.EmbKernelDenseDistMap
                ours, dense = (partial(pulled, kind, batch, f, **options) for kind in kinds)
                name = f"KernelDistMap{written(options)} batch={batch} f={tuple(f.shape)}, gradients"
                yield name, ours, dense, EXACT
        x, y = random(*batch, 50, 4), random(*batch, 60, 4)
        products = maps.KernelDistMap(x, y, dist_type="inner")
        yield (
            f"nearest points batch={batch}",
            lambda x=x, y=y, products=products: [nn_utils.nn_query_keops(x, y), products._inner_argmax()],
            lambda x=x, y=y: [nn_utils.nn_query_dense(x, y), (x @ y.mT).argmax(-2)],
            0.0,
        )


def geomstats() -> Checks:
    """Varifold distances of triangles; its dense form is written here."""
    if not hasattr(np, "trapz"):
        setattr(np, "trapz", np.trapezoid)  # noqa: B010  # geomstats imports a name that NumPy has dropped
    os.environ["GEOMSTATS_BACKEND"] = "pytorch"
    from geomstats import varifold
    from geomstats._mesh import Surface

    rng = np.random.default_rng(0)
    corners = torch.tensor(rng.normal(size=(20, 3)))
    moved = corners + 0.1 * torch.tensor(rng.normal(size=(20, 3)))
    faces = torch.tensor(rng.permuted(np.tile(np.arange(20), (30, 1)), axis=1)[:, :3])
    target = Surface(corners, faces)

    def squares(a: Any, b: Any) -> torch.Tensor:
        return ((a[:, None] - b[None]) ** 2).sum(-1)

    binet = varifold.BinetKernel(init_index=2), lambda u, v: (u @ v.T) ** 2
    for name, (place, dense_place), (normal, dense_normal) in (
        ("Gaussian, Binet", (varifold.GaussianKernel(0.7), lambda a, b: (-squares(a, b) / 0.49).exp()), binet),
        ("Cauchy, linear", (varifold.CauchyKernel(), lambda a, b: 1 / (1 + squares(a, b))),
         (varifold.LinearKernel(init_index=2), lambda u, v: u @ v.T)),
        ("Gaussian, on the sphere", (varifold.GaussianKernel(), lambda a, b: (-squares(a, b)).exp()),
         (varifold.RestrictedGaussianKernel(1.5, init_index=2),
          lambda u, v: (2 / 2.25 * ((u @ v.T) ** 2 - 1)).exp())),
    ):  # fmt: skip
        metric = varifold.VarifoldMetric(varifold.SurfacesKernel(place, normal))

        def product(a: Any, b: Any, place: Any = dense_place, normal: Any = dense_normal) -> torch.Tensor:
            table = place(a.face_centroids, b.face_centroids) * normal(a.face_normals, b.face_normals)
            return a.face_areas[:, 0] @ table @ b.face_areas[:, 0]

        def ours(metric: Any = metric) -> list[torch.Tensor]:
            vertices = leaf(moved)
            return with_gradients(metric.loss(target)(vertices), vertices)

        def dense(product: Any = product) -> list[torch.Tensor]:
            vertices = leaf(moved)
            surface = Surface(vertices, faces)
            value = product(target, target) - 2 * product(target, surface) + product(surface, surface)
            return with_gradients(value, vertices)

        yield f"varifold {name}, gradients", ours, dense, EXACT


def gempy_engine() -> Checks:
    from gempy_engine.API.interp_single._interp_scalar_field import _solve_interpolation
    from gempy_engine.config import AvailableBackends
    from gempy_engine.core.backend_tensor import BackendTensor
    from gempy_engine.core.data import TensorsStructure
    from gempy_engine.core.data.internal_structs import SolverInput
    from gempy_engine.core.data.kernel_classes.kernel_functions import AvailableKernelFunctions
    from gempy_engine.core.data.kernel_classes.orientations import Orientations
    from gempy_engine.core.data.kernel_classes.surface_points import SurfacePoints
    from gempy_engine.core.data.options import InterpolationOptions
    from gempy_engine.modules.data_preprocess._input_preparation import (
        orientations_preprocess,
        surface_points_preprocess,
    )
    from gempy_engine.modules.evaluator import generic_evaluator, symbolic_evaluator
    from gempy_engine.modules.kernel_constructor._kernels_assembler import create_cov_kernel
    from gempy_engine.modules.kernel_constructor._vectors_preparation import cov_vectors_preparation

    rng = np.random.default_rng(0)
    points, grid, values = rng.random((12, 3)), rng.random((90, 3)), rng.random((19, 2))
    points[:6, 2], points[6:, 2] = 0.3, 0.7
    places, slopes = np.array([[0.2, 0.3, 0.4], [0.6, 0.7, 0.5]]), np.array([[0.0, 0.1, 1.0], [0.1, 0.0, 0.9]])

    def model(backend: str) -> Any:
        BackendTensor._change_backend(AvailableBackends[backend], use_pykeops=True)
        array = BackendTensor.t.array
        structure = TensorsStructure(number_of_points_per_surface=np.array([6, 6]))
        surfaces = surface_points_preprocess(SurfacePoints(array(points), 1e-4), structure)
        inputs = SolverInput(surfaces, orientations_preprocess(Orientations(array(places), array(slopes), 1e-4)))
        inputs.xyz_to_interpolate = array(grid)
        return inputs

    def interpolation(kernel: str, gradient: bool) -> Any:
        function = AvailableKernelFunctions[kernel]
        options = InterpolationOptions.from_args(
            5.0, 5**2 / 14 / 3, uni_degree=1, number_dimensions=3, kernel_function=function
        )
        options.compute_scalar_gradient = gradient
        return options

    def fields(backend: str, options: Any, lazy: bool) -> list[Any]:
        inputs = model(backend)
        BackendTensor.pykeops_enabled = False
        weights = _solve_interpolation(inputs, options.kernel_options)
        BackendTensor.pykeops_enabled = lazy
        evaluate = symbolic_evaluator.symbolic_evaluator if lazy else generic_evaluator.generic_evaluator
        result = evaluate(inputs, weights, options)
        return [result._scalar_field, result._gx_field, result._gy_field, result._gz_field]

    def covariance(backend: str, options: Any, lazy: bool) -> list[Any]:
        inputs = model(backend)
        BackendTensor.pykeops_enabled = lazy
        vectors = cov_vectors_preparation(inputs, options)
        matrix = create_cov_kernel(vectors.upgrade_tensors() if lazy else vectors, options)
        return [matrix @ BackendTensor.t.array(values)]

    def stacked(scalar: bool, lazy: bool) -> list[Any]:
        """Two models at once, as blocks: the scalar fields, or the gradients."""
        options = interpolation("cubic", gradient=not scalar)
        options.evaluation_options.compute_scalar = scalar
        inputs = [model("PYTORCH") for _ in range(2)]
        inputs[1].xyz_to_interpolate = inputs[1].xyz_to_interpolate[:60]
        BackendTensor.pykeops_enabled = False
        weights = [factor * _solve_interpolation(inputs[0], options.kernel_options).reshape(-1) for factor in (1, 2)]
        if lazy:
            results = symbolic_evaluator.symbolic_evaluator_optimized_stacked(inputs, weights, [options] * 2)
        else:
            results = [
                generic_evaluator.generic_evaluator(*pair, options) for pair in zip(inputs, weights, strict=True)
            ]
        names = ["_scalar_field"] if scalar else ["_gx_field", "_gy_field", "_gz_field"]
        return [getattr(result, name) for result in results for name in names]

    for backend in ("numpy", "PYTORCH"):
        for kernel in ("cubic", "exponential", "matern_5_2"):
            options = interpolation(kernel, gradient=True)
            ours, dense = (partial(fields, backend, options, lazy) for lazy in (True, False))
            yield f"{backend} {kernel}: a field and its gradient", ours, dense, EXACT
            ours, dense = (partial(covariance, backend, options.kernel_options, lazy) for lazy in (True, False))
            yield f"{backend} {kernel}: products with the covariances", ours, dense, EXACT
    for name, scalar in (("scalar fields", True), ("gradients", False)):
        yield f"two models stacked: {name}", partial(stacked, scalar, True), partial(stacked, scalar, False), EXACT
