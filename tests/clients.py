"""What tests/test_clients.py runs in processes of their own: packages that import pykeops, with the stand-in for it.

Each compares what a package computes with kernels of pairs with what it computes with stored matrices.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch

import clreduce.torch
from clreduce.runtime.plan import Plan

clreduce.torch.install_as_pykeops()
warnings.simplefilter("ignore")  # those of the packages: a test counts on numbers
torch.set_default_dtype(torch.float64)
close = torch.testing.assert_close
calls = 0
_launch = Plan.launch


def _counted(self: Plan, *args: Any, **options: Any) -> Any:
    global calls
    calls += 1
    return _launch(self, *args, **options)


Plan.launch = _counted


def calls_of(function: Any, *args: Any) -> tuple[int, Any]:
    """How many plans ran in a call, and its result."""
    before = calls
    result = function(*args)
    return calls - before, result


# ----------------------------------------------------------------------------------------------------------- GPyTorch


def gpytorch_trains() -> None:
    """The same losses, step by step, and the same predictions."""
    import gpytorch
    from gpytorch.kernels.keops.keops_kernel import LazyTensor

    assert LazyTensor is clreduce.torch.LazyTensor
    ours, (losses, *predictions) = calls_of(_trained, gpytorch, gpytorch.kernels.keops.RBFKernel)
    none, (right, *dense) = calls_of(_trained, gpytorch, gpytorch.kernels.RBFKernel)
    assert ours > 100
    assert none == 0
    assert right[-1] < right[0] - 0.1
    close(losses, right, rtol=1e-5, atol=1e-5)
    close(predictions, dense, rtol=1e-3, atol=1e-3)


def _trained(gpytorch: Any, kernel: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The losses of training a Gaussian process by conjugate gradients; means and variances of predictions."""
    torch.manual_seed(0)
    x, new = torch.rand(300, 2), torch.rand(20, 2)
    y = torch.sin(4 * x[:, 0]) * x[:, 1] + 0.1 * torch.randn(300)
    settings = gpytorch.settings

    class Model(gpytorch.models.ExactGP):
        def __init__(self) -> None:
            super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
            self.mean, self.covariance = gpytorch.means.ConstantMean(), gpytorch.kernels.ScaleKernel(kernel())

        def forward(self, inputs: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean(inputs), self.covariance(inputs))

    model = Model()
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    # A matrix of more than one row is solved with iteratively: only so do the kernels of pairs come into play.
    with (
        settings.max_cholesky_size(1), settings.deterministic_probes(True), settings.num_trace_samples(5),
        settings.cg_tolerance(1e-3), settings.eval_cg_tolerance(1e-4), settings.max_preconditioner_size(0),
    ):  # fmt: skip
        for _ in range(15):
            optimiser.zero_grad()
            loss = -objective(model(x), y)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        model.eval()
        with torch.no_grad():
            predicted = model.likelihood(model(new))
            return torch.stack(losses), predicted.mean, predicted.variance


def gpytorch_kernels() -> None:
    """Products of each kernel with a matrix, and their gradients in the inputs and the kernel's parameters."""
    import gpytorch

    x, y, v = (torch.rand(*size, generator=torch.Generator().manual_seed(k)) for k, size in enumerate(_SIZES))
    for name, options in (
        ("MaternKernel", {"nu": 0.5}), ("MaternKernel", {"nu": 2.5}), ("PeriodicKernel", {}),
        ("RBFKernel", {"ard_num_dims": 2}),
    ):  # fmt: skip
        results, counts = [], []
        for kernels in (gpytorch.kernels.keops, gpytorch.kernels):
            kernel, inputs = getattr(kernels, name)(**options), [x.clone().requires_grad_(), y.clone().requires_grad_()]
            with gpytorch.settings.max_cholesky_size(1):
                count, product = calls_of(lambda k, a, b: k(a, b) @ v, kernel, *inputs)
            counts.append(count)
            gradients = torch.autograd.grad((product**2).sum(), [*inputs, *kernel.parameters()])
            results.append((product, *gradients))
        assert counts == [1, 0]
        close(*results, rtol=1e-6, atol=1e-8)


_SIZES = (60, 2), (50, 2), (50, 3)


# ----------------------------------------------------------------------------------------------------------- GeomLoss


def geomloss_losses() -> None:
    """Values, gradients and second derivatives of losses between clouds of points."""
    from geomloss import SamplesLoss

    torch.manual_seed(0)
    x, y = torch.rand(100, 3), torch.rand(120, 3) * 0.8
    # Tables of distances are limited from below by 1e-4, which shows in the energy and Laplacian losses.
    for name, backend, rtol, options in (
        ("sinkhorn", "online", 1e-7, {"p": 2, "blur": 0.2}),
        ("gaussian", "online", 1e-9, {"blur": 0.2}),
        ("energy", "online", 1e-3, {}),
        ("laplacian", "online", 1e-3, {"blur": 0.2}),
        ("gaussian", "multiscale", 1e-9, {"blur": 0.2, "truncate": 9, "cluster_scale": 0.3}),
        ("sinkhorn", "multiscale", 0.1, {"p": 2, "blur": 0.2, "truncate": None, "cluster_scale": 0.1}),
    ):
        results, counts = [], []
        for method in (backend, "tensorized"):
            start = x.clone().requires_grad_()
            kept = {
                k: v for k, v in options.items() if method == "multiscale" or k not in ("truncate", "cluster_scale")
            }
            count, value = calls_of(SamplesLoss(name, backend=method, **kept), start, y)
            (slope,) = torch.autograd.grad(value, start, create_graph=True)
            counts.append(count)
            results.append([value, slope])
            if backend == "online" and name in ("gaussian", "energy"):
                results[-1] += torch.autograd.grad((slope**2).sum(), start)
        assert counts[0] >= 3
        assert counts[1] == 0
        for found, right in zip(*results, strict=True):
            close(found, right, rtol=0, atol=rtol * float(right.abs().max()))


def geomloss_solve_sample() -> None:
    """Its newer interface, of NumPy's arrays too: values, potentials, marginals, products with the plan, gradients."""
    import geomloss._backends as backends
    from geomloss import ot

    torch.manual_seed(0)
    x, y, a, b = torch.rand(60, 3), torch.rand(70, 3) * 0.8, torch.rand(60), torch.rand(70)
    arrays = [array.requires_grad_() for array in (x, y, a / a.sum(), b / b.sum())]
    for options in ({"reg": 0.1}, {"blur": 0.2, "reach": 0.7, "debias": True}):
        for library in ("torch", "numpy"):
            inputs = arrays if library == "torch" else [array.detach().numpy() for array in arrays]
            results, counts = [], []
            for lazy in (True, False):
                backends.keops_available = lazy  # False: its own dense tables
                count, solved = calls_of(partial(ot.solve_sample, max_iter=20, **options), *inputs)
                counts.append(count)
                results.append([
                    solved.value, solved.potential_a, solved.potential_b, solved.marginal_a, solved.marginal_b,
                    solved.plan_operator @ inputs[3],
                ])  # fmt: skip
                if library == "torch":
                    results[-1] += torch.autograd.grad(solved.value, arrays, retain_graph=True)
            assert counts[0] >= 40
            assert counts[1] == 0
            for found, right in zip(*results, strict=True):
                close(torch.as_tensor(found), torch.as_tensor(right), rtol=1e-9, atol=1e-12)
