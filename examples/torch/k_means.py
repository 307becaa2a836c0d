r"""
Lloyd's algorithm is Newton's method, as autograd shows
=======================================================

Clusters of tensors by Lloyd's algorithm, k-means, which is Newton's method for a function that autograd knows.

Given points x_1 .. x_M and centres c_1 .. c_K, the inertia is the sum of squared distances to the nearest centre,

::

    f(c) = sum_i min_k |x_i - c_k|^2.

The minimum over k is a reduction with a gradient: that of the distance to the nearest centre. So `torch.autograd.grad`
of f is  df/dc_k = 2 n_k (c_k - mean of the n_k points that are nearest to c_k).  Its second derivative is 2 n_k, and

::

    c_k  <-  c_k - (df/dc_k) / (2 n_k)

is Newton's step. It puts each centre at the mean of its cluster, as Lloyd's algorithm does. Both run from the same
start, in float32: one with the labels of all points and `index_add`, the other with gradients alone. Some
steps are compared with torch in float64, with the table of distances.

Run it::

    python examples/torch/k_means.py --output FOLDER
"""

from __future__ import annotations

from itertools import pairwise

import helpers
import torch
from torch import Tensor

import clreduce
from clreduce.torch import LazyTensor

COUNT, STEPS = 40, 30


def distances(x: Tensor, c: Tensor) -> LazyTensor:
    """|x_i - c_k|^2 for all pairs; nothing is computed before a reduction asks for it."""
    x_i, c_k = LazyTensor(x[:, None, :]), LazyTensor(c[None, :, :])
    return ((x_i - c_k) ** 2).sum(-1)


# -------------------------------------------------------------------------------------------------- with clreduce


def lloyd(x: Tensor, c: Tensor) -> Tensor:
    """One step with labels."""
    labels = distances(x, c).argmin(dim=1).squeeze(-1)
    sizes = torch.bincount(labels, minlength=len(c))[:, None]
    sums = torch.zeros_like(c).index_add(0, labels, x)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), c)


def newton(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step with gradients, and the inertia before it."""
    c = c.clone().requires_grad_()
    inertia = distances(x, c).min(dim=1).sum()
    (gradient,) = torch.autograd.grad(inertia, c)
    sizes = torch.bincount(distances(x, c.detach()).argmin(dim=1).squeeze(-1), minlength=len(c))[:, None]
    return c.detach() - gradient / (2 * sizes.clamp(min=1)), inertia.detach()


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_distances(x: Tensor, c: Tensor) -> Tensor:
    return ((x.double()[:, None] - c.double()) ** 2).sum(-1)


def dense_step(x: Tensor, c: Tensor) -> Tensor:
    labels = dense_distances(x, c).argmin(1)
    means = [x[labels == k].double().mean(0) if (labels == k).any() else c_k for k, c_k in enumerate(c)]
    return torch.stack([mean.double() for mean in means])


# ----------------------------------------------------------------------------------------------- the two algorithms


def lake(count: int) -> Tensor:
    """Points that are dense near a ring and near the middle."""
    angle, which = 2 * torch.pi * torch.rand(count), torch.rand(count) < 0.6
    radius = torch.where(which, 0.8 + 0.08 * torch.randn(count), 0.3 * torch.randn(count).abs())
    return torch.stack((radius * angle.cos(), radius * angle.sin()), 1)


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    torch.manual_seed(1)
    x = lake(helpers.scaled(30_000))
    start = x[torch.randperm(len(x))[:COUNT]]
    limits = helpers.Limits()

    inertia, worst, c, d = [], 0.0, start, start
    for step in range(STEPS):
        after, f = newton(x, d)
        inertia.append(float(f))
        if step % 6 == 0:
            worst = max(worst, helpers.norm_ratio(after, dense_step(x, d)))  # from the same centres
        c, d = lloyd(x, c), after
    final = float(distances(x, c).min(dim=1).sum())
    print(f"{len(x)} points, {COUNT} clusters, {STEPS} steps, inertia {inertia[0]:.1f} -> {final:.1f}")
    limits.expect("relative error of a Newton step, at worst", worst, 1e-5)
    limits.expect("relative difference of Lloyd's and Newton's inertia", abs(inertia[-1] / final - 1), 1e-2)
    growth = max(after / before for before, after in pairwise(inertia)) - 1
    limits.expect("relative growth of the inertia in a step", growth, 1e-6)

    (c_start,) = helpers.leaves(start)
    f = distances(x, c_start).min(dim=1).sum()
    (gradient,) = torch.autograd.grad(f, c_start)
    (exact,) = helpers.leaves(start, dtype=torch.float64)
    f_dense = dense_distances(x, exact).amin(1).sum()
    (expected,) = torch.autograd.grad(f_dense, exact)
    errors = helpers.norm_ratio(f, f_dense), helpers.norm_ratio(gradient, expected)
    print(f"relative errors at the start: inertia {errors[0]:.1e}, gradient {errors[1]:.1e}; of a step {worst:.1e}")
    limits.expect("relative error of the inertia", errors[0], 1e-6)
    limits.expect("relative error of its gradient", errors[1], 1e-5)

    seconds = [helpers.timed(step, x, start)[1] for step in (lloyd, newton)]
    dense_seconds = helpers.timed(dense_step, x, start, calls=3)[1]
    print(
        f"a step: Lloyd {helpers.milliseconds(seconds[0])}, Newton {helpers.milliseconds(seconds[1])}, "
        f"dense float64 {helpers.milliseconds(dense_seconds)}"
    )

    title = f"k-means: {len(x)} points, {COUNT} clusters"
    with helpers.figure(folder / "torch_k_means.png", title, 1, 3, (14, 5)) as (axes,):
        shown = x[:10_000]
        for axis, name, centres in ((axes[0], "Before the first step", start), (axes[1], f"After {STEPS}", c)):
            helpers.plane(axis, name)
            labels = distances(shown, centres).argmin(dim=1).squeeze(-1)
            order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))  # of colours
            axis.scatter(*shown.T.numpy(), s=1.5, c=order[labels].numpy(), cmap="tab20")
            axis.scatter(*centres.T.numpy(), marker="X", s=60, color=helpers.INK, edgecolor="white", label="centres")
        axes[0].legend(loc="upper right", frameon=True, framealpha=0.9)
        axes[2].plot(range(STEPS), inertia, "o-", color=helpers.LINE, markersize=4, label="by gradients")
        axes[2].axhline(final, color=helpers.MARKS, linestyle="--", linewidth=1.2, label="Lloyd, at the end")
        axes[2].set(title="Inertia", xlabel="step")
        axes[2].legend()
    limits.check()


if __name__ == "__main__":
    main()
