"""TorchDR and dire-rapids, which reduce dimensions, and alibi-detect, which detects drift."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

import clreduce.torch
from client_packages.common import EXACT, SINGLE, Checks, bare, leaf, random, with_gradients, written


def torchdr() -> Checks:
    import torchdr

    x, v = random(80, 4), random(80, 2)

    def affinity(name: str, backend: str | None, **options: Any) -> list[torch.Tensor]:
        kind = getattr(torchdr, name)(backend=backend, device="cpu", **options)
        found = kind(x)
        if name == "SymmetricEntropicAffinity":
            # Its matrix of pairs is recorded from the dual variables before their last step, which changes it.
            return [kind.eps_, kind.mu_]
        found = found[0] if isinstance(found, tuple) else found
        return [found.sum(1).reshape(-1), found @ v] if tuple(found.shape) == (80, 80) else [found]

    for name, options in (
        ("NormalizedGaussianAffinity", {}),
        ("NormalizedGaussianAffinity", {"metric": "manhattan", "normalization_dim": 1}),
        ("NormalizedStudentAffinity", {"metric": "euclidean"}),
        ("NormalizedGaussianAffinity", {"metric": "angular"}),
        ("SinkhornAffinity", {"eps": 0.1}),
        ("EntropicAffinity", {"perplexity": 10, "sparsity": False}),
        ("EntropicAffinity", {"perplexity": 10, "sparsity": True}),
        ("SymmetricEntropicAffinity", {"perplexity": 10, "max_iter": 50}),
        ("SelfTuningAffinity", {}),
        ("MAGICAffinity", {}),
        ("UMAPAffinity", {}),
        ("DoublyStochasticQuadraticAffinity", {}),
    ):
        yield (
            f"{name}{written(options)}",
            *(partial(affinity, name, kind, **options) for kind in ("keops", None)),
            EXACT,
        )

    def embedded(name: str, backend: str | None, **options: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        start = random(80, 2, seed=1).numpy()
        kind = getattr(torchdr, name)(backend=backend, device="cpu", max_iter=5, init=start, **options)
        return [torch.as_tensor(kind.fit_transform(x))]

    for name in ("SNE", "TSNE"):
        ours, dense = (partial(embedded, name, kind, perplexity=10) for kind in ("keops", None))
        yield f"{name}, 5 steps", ours, dense, EXACT


def dire_rapids() -> Checks:
    import loguru

    loguru.logger.remove()
    from dire_rapids import DiRePyTorch

    points = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)

    def neighbours(metric: str | None, backend: str) -> list[Any]:
        reducer = DiRePyTorch(
            n_neighbors=8, knn_backend=backend, metric=metric, verbose=False, max_iter_layout=20, random_state=0
        )
        embedding = reducer.fit_transform(points)
        return [reducer._knn_indices, reducer._knn_distances, embedding]

    for metric in (None, "(x - y).abs().sum(-1)"):
        name = f"neighbours by {metric or 'distances'}, embedding"
        yield name, *(partial(neighbours, metric, backend) for backend in ("pykeops", "pytorch")), SINGLE


def alibi_detect() -> Checks:
    parts = ("", ".cd", ".cd.keops", ".cd.pytorch", ".utils", ".utils.keops", ".utils.pytorch")
    bare(*(f"alibi_detect{part}" for part in parts))
    import alibi_detect.utils.pytorch as tools
    from alibi_detect.utils.pytorch import distance, misc
    from alibi_detect.utils.pytorch import kernels as dense_kernels

    for module in (distance, misc, dense_kernels):
        vars(tools).update({name: value for name, value in vars(module).items() if not name.startswith("_")})
    from alibi_detect.cd.keops.mmd import MMDDriftKeops
    from alibi_detect.cd.pytorch.mmd import MMDDriftTorch
    from alibi_detect.utils.keops import kernels

    x, y = random(40, 3), random(50, 3)

    def gaussian(module: Any, sigma: list[float]) -> list[torch.Tensor]:
        a, b = leaf(x), leaf(y)
        kernel = module.GaussianRBF(torch.tensor(sigma), trainable=True)
        return with_gradients(kernel(*_pairs(module, a, b)).sum(1).reshape(-1), a, b, kernel.log_sigma)

    def _pairs(module: Any, *clouds: torch.Tensor) -> list[Any]:
        if module is dense_kernels:
            return list(clouds)
        lazy = clreduce.torch.LazyTensor
        return [lazy(cloud[None] if n % 2 else cloud[:, None]) for n, cloud in enumerate(clouds)]

    def deep(module: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        project = torch.nn.Linear(3, 2, bias=False)
        widths = (module.GaussianRBF(torch.tensor([sigma]), trainable=True) for sigma in (0.5, 1.5))
        kernel = module.DeepKernel(project, *widths)
        clouds = (x, y) if module is dense_kernels else (project(x), project(y), x, y)
        table = kernel(*_pairs(module, *clouds))
        return with_gradients(table.sum(1).reshape(-1), *kernel.parameters())

    def inferred() -> torch.Tensor:
        kernel = kernels.GaussianRBF()
        kernel(*_pairs(kernels, x, x))
        return kernel.sigma.reshape(())

    for sigma in ([0.8], [0.7, 1.3]):
        ours, dense = (partial(gaussian, module, sigma) for module in (kernels, dense_kernels))
        yield f"GaussianRBF sigma={sigma}, gradients", ours, dense, EXACT
    yield "DeepKernel, gradients", partial(deep, kernels), partial(deep, dense_kernels), EXACT
    mean = (torch.cdist(x, x) ** 2).sum() / (40 * 39)
    yield "bandwidth from neighbours", lambda: [inferred()], lambda: [(mean / 2).sqrt()], EXACT

    def drift(kind: Any, **options: Any) -> list[Any]:
        detector = kind(
            x.numpy(), sigma=np.array([0.6]), n_permutations=40, configure_kernel_from_x_ref=False, device="cpu",
            **options,
        )  # fmt: skip
        return [torch.tensor(detector.score((y + 0.2).numpy())[1])]

    ours = partial(drift, MMDDriftKeops, batch_size_permutations=10)
    yield "MMDDrift, batches of permutations", ours, partial(drift, MMDDriftTorch), SINGLE
