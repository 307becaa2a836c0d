r"""
A cloud flows into another down the gradient of a transport cost
================================================================

A cloud of points flows into another one, down the gradient of the Sinkhorn divergence.

For clouds x and y of N points with masses 1 / N, and costs ``C_ij = |x_i - y_j|^2 / 2``, the regularised optimal
transport

::

    OT(x, y) = max over f, g of  mean_i f_i + mean_j g_j,  where each of them belongs to the other by Sinkhorn's step:
    f_i = -eps log( 1/N sum_j exp((g_j - C_ij) / eps) ),    and g_j likewise, with a sum over i,

takes x_i to a mean of several y_j. So its minimum is not at x = y. The minimum of the Sinkhorn divergence

::

    S(x, y) = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2

is: S is positive, and zero for equal clouds only. Each step is a LogSumExp over pairs that are never stored, for an eps
that starts as large as the clouds and is lowered until it is 0.03^2.

At the optimum, OT doesn't change when f or g do. So they are computed without autograd, and only the last step
f(x; y, g) is differentiated in x: its gradient is that of OT. The flow  dx/dt = -N grad S(x, y)  is followed for some
steps of Euler's method.

torch in float64, with the table C and autograd through all the steps, says how exact value and gradient are. If
clreduce differentiates all steps, too, both agree to rounding. With the last step alone, they differ a little, because
Sinkhorn's algorithm hasn't quite converged.

Run it::

    python examples/torch/sinkhorn_flow.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import log
from typing import Any

import helpers
import torch
from torch import Tensor

import clreduce
from clreduce.torch import Genred

EPS = [float(eps) for eps in torch.logspace(0.3, log(0.03**2, 10), 25)]
STEPS = 15  # with the last eps
FLOW, STEP = 12, 0.3

# -------------------------------------------------------------------------------------------------- with clreduce

log_sum_exp = Genred(
    "(g - SqDist(x, y) / 2) / eps", ["eps = Pm(1)", "x = Vi(2)", "y = Vj(2)", "g = Vj(1)"], "LogSumExp", axis=1
)


def potential(eps: float, x: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """f, given g; or g, given f, with x and y exchanged."""
    return -eps * (log_sum_exp(eps, x, y, g) - log(len(y)))


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_potential(eps: float, x: Tensor, y: Tensor, g: Tensor) -> Tensor:
    exponents = (g.T - ((x[:, None] - y) ** 2).sum(-1) / 2) / eps
    return -eps * (exponents.logsumexp(1, keepdim=True) - log(len(y)))


# -------------------------------------------------------------------------------------------------- the algorithm

Update = Callable[[float, Tensor, Tensor, Tensor], Tensor]


def potentials(x: Tensor, y: Tensor, update: Update, steps: int) -> tuple[Tensor, Tensor]:
    """f and g (N, 1) for the last eps; both are halfway between old and new in each step, which converges faster."""
    f, g = torch.zeros_like(x[:, :1]), torch.zeros_like(y[:, :1])
    for eps in EPS + EPS[-1:] * steps:
        f, g = (f + update(eps, x, y, g)) / 2, (g + update(eps, y, x, f)) / 2
    return f, g


def own_potential(x: Tensor, update: Update, steps: int) -> Tensor:
    """f = g of a cloud and itself."""
    f = torch.zeros_like(x[:, :1])
    for eps in EPS + EPS[-1:] * steps:
        f = (f + update(eps, x, x, f)) / 2
    return f


def divergence(
    x: Tensor, y: Tensor, update: Update = potential, steps: int = STEPS, through_all: bool = False
) -> Tensor:
    """S(x, y), with a gradient in x by the last step, or through all of them."""
    eps, fixed = EPS[-1], x if through_all else x.detach()
    with torch.set_grad_enabled(through_all):
        f, g = potentials(fixed, y, update, steps)
        own, other = own_potential(fixed, update, steps), own_potential(y, update, steps)
    to_y = update(eps, y, fixed, f) - update(eps, y, y, other)
    return (update(eps, x, y, g) - update(eps, x, fixed, own)).mean() + to_y.mean()


def value_and_gradient(x: Tensor, y: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    (x,) = helpers.leaves(x)
    value = divergence(x, y, **options)
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


# ------------------------------------------------------------------------------------------------------- the data


def disc(count: int, radius: float) -> Tensor:
    angle, part = 2 * torch.pi * torch.rand(count), torch.rand(count).sqrt()
    return radius * torch.stack((part * angle.cos(), part * angle.sin()), 1)


def clouds(count: int) -> tuple[Tensor, Tensor]:
    """A disc, and a spiral with a disc in it."""
    turn = 1.5 * torch.rand(count - count // 4).sqrt() + 0.35
    angle = 2 * torch.pi * turn
    spiral = 0.33 * turn[:, None] * torch.stack((angle.cos(), angle.sin()), 1) + disc(len(turn), 0.04)
    start = disc(count, 0.3) + torch.tensor([-1.1, 0.0])
    return start, torch.cat((spiral, disc(count // 4, 0.12))) + torch.tensor([0.7, 0.0])


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    precisions = helpers.precisions()
    torch.manual_seed(0)
    start, y = clouds(helpers.scaled(1000))
    limits = helpers.Limits()

    few = slice(0, None, max(1, len(y) // 100))
    few_x, few_y = start[few].double(), y[few].double()
    exact = value_and_gradient(few_x, few_y, update=dense_potential, through_all=True)
    table = helpers.Table((f"relative error, {len(few_x)} points", "data", "S", "its gradient"))
    for name, dtype, through_all, tolerances in (
        ("autograd through all steps", torch.float64, True, (1e-13, 1e-11)),
        ("autograd through all steps", torch.float32, True, (1e-6, 2e-4)),
        ("autograd through the last step", torch.float64, False, (1e-13, 3e-2)),  # as the potentials aren't optimal yet
        ("autograd through the last step", torch.float32, False, (1e-6, 3e-2)),
    ):
        if dtype not in precisions:
            continue
        found = value_and_gradient(few_x.to(dtype), few_y.to(dtype), through_all=through_all)
        errors = [helpers.norm_ratio(*pair) for pair in zip(found, exact, strict=True)]
        data = str(dtype).removeprefix("torch.")
        table.add(name, data, *(f"{error:.1e}" for error in errors))
        for what, error, tolerance in zip(("S", "its gradient"), errors, tolerances, strict=True):
            limits.expect(f"relative error of {what}, {name}, {data}", error, tolerance)
    print(f"\n{table}\n")

    x, values, stages = start, [], [start]
    for _ in range(FLOW):
        (value, gradient), seconds = helpers.timed(value_and_gradient, x, y, calls=1)
        values.append(value.item())
        x = x - STEP * len(x) * gradient
        stages.append(x)
    values.append(divergence(x, y).item())
    print(
        f"{len(x)} points, {FLOW} steps of the flow, each of {len(EPS) + STEPS} steps of Sinkhorn: "
        f"{helpers.milliseconds(seconds)} each; S {values[0]:.4f} -> {values[-1]:.6f}"
    )
    limits.expect("part of the divergence that is left", values[-1] / values[0], 3e-3)
    growth = max(after / before for before, after in pairwise(values))
    limits.expect("growth of the divergence", growth, 1)

    title = f"{len(x)} points flow down the gradient of the Sinkhorn divergence"
    with helpers.figure(folder / "torch_sinkhorn_flow.png", title, 1, 4, (15, 3.2)) as (axes,):
        colours = torch.atan2(start[:, 1], start[:, 0] + 1.1).numpy()
        for axis, at in zip(axes, (0, 2, 5, FLOW), strict=True):
            helpers.plane(axis, f"$t = {at * STEP:.1f}$,  $S = {values[at]:.4f}$")
            axis.scatter(*y.T.numpy(), s=9, color=helpers.FAINT)
            axis.scatter(*stages[at].T.numpy(), s=3, c=colours, cmap="viridis")
            axis.set(xlim=(-1.5, 1.45), ylim=(-0.85, 0.85), xticks=(-1, 0, 1), yticks=(-0.5, 0, 0.5))
    limits.check()


if __name__ == "__main__":
    main()
