r"""
One curve is shot onto another along a geodesic
===============================================

Matching of two curves by a geodesic of diffeomorphisms: Hamiltonian shooting, optimised by L-BFGS.

A curve of N points q moves with momenta p, one vector for each point, by Hamilton's equations

::

    dq/dt = dH/dp,    dp/dt = -dH/dq,      H(p, q) = 1/2 sum_ij k(q_i, q_j) <p_i, p_j>,    k Gaussian.

The velocity of any point of the plane is sum_j k(., q_j) p_j, so that the plane is deformed smoothly, without folds,
along the shortest way for this kernel. The way depends on the momenta p(0) only. They are chosen such that the curve
ends near a target. How near, the distance of currents says: a curve is a set of segments with middles c_k and vectors
n_k, with the product

::

    <curve, other> = sum_kl k'(c_k, c'_l) <n_k, n'_l>,      |curve - target|^2 has to be small.

This needs no correspondence of points. The right-hand sides of Hamilton's equations are gradients of a kernel sum by
`torch.autograd.grad(.., create_graph=True)`; the gradient of the loss goes through them, so it takes second derivatives
of that sum. torch in float64, with tables of all pairs, computes the same loss and gradient.

Run it::

    python examples/torch/shape_matching.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable

import helpers
import torch
from torch import Tensor

import clreduce
from clreduce.torch import Genred

STEPS = 10  # of the integration, by Heun's method
WIDTH, SEEN = 0.2, 0.15  # of the kernels k of the deformation and k' of the currents
WEIGHT = 0.002  # of H beside |curve - target|^2

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-11}  # of relative errors

Sum = Callable[[float, Tensor, Tensor, Tensor], Tensor]

# -------------------------------------------------------------------------------------------------- with clreduce

ALIASES = ["g = Pm(1)", "x = Vi(2)", "y = Vj(2)", "b = Vj(2)"]
_gaussian_sum = Genred("Exp(-g * SqDist(x, y)) * b", ALIASES, reduction_op="Sum", axis=1)


def gaussian_sum(width: float, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """sum_j exp(-|x_i - y_j|^2 / (2 width^2)) b_j."""
    return _gaussian_sum(1 / (2 * width**2), x, y, b)


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_gaussian_sum(width: float, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-((x[:, None] - y) ** 2).sum(-1) / (2 * width**2)) @ b


# ------------------------------------------------------------------------------------------------------ the geodesic


def hamiltonian(p: Tensor, q: Tensor, kernel: Sum) -> Tensor:
    return (p * kernel(WIDTH, q, q, p)).sum() / 2


def flow(p: Tensor, q: Tensor, kernel: Sum) -> tuple[Tensor, Tensor]:
    """dp/dt and dq/dt."""
    dp, dq = torch.autograd.grad(hamiltonian(p, q, kernel), (p, q), create_graph=True)
    return -dq, dp


def shoot(p: Tensor, q: Tensor, kernel: Sum) -> list[tuple[Tensor, Tensor]]:
    """Momenta and points at the times 0, 1 / STEPS, .. 1."""
    states, h = [(p, q)], 1 / STEPS
    for _ in range(STEPS):
        dp, dq = flow(p, q, kernel)
        dp_then, dq_then = flow(p + h * dp, q + h * dq, kernel)
        p, q = p + h / 2 * (dp + dp_then), q + h / 2 * (dq + dq_then)
        states.append((p, q))
    return states


def currents(x: Tensor, y: Tensor, kernel: Sum) -> Tensor:
    """|x - y|^2 of two closed curves."""

    def product(x: Tensor, y: Tensor) -> Tensor:
        (c, n), (d, m) = (((z + z.roll(-1, 0)) / 2, z.roll(-1, 0) - z) for z in (x, y))
        return (n * kernel(SEEN, c, d, m)).sum()

    return product(x, x) - 2 * product(x, y) + product(y, y)


def loss(p: Tensor, q: Tensor, target: Tensor, kernel: Sum) -> Tensor:
    (_, end) = shoot(p, q, kernel)[-1]
    return currents(end, target, kernel) + WEIGHT * hamiltonian(p, q, kernel)


def loss_and_gradient(p: Tensor, q: Tensor, target: Tensor, kernel: Sum) -> tuple[Tensor, Tensor]:
    value = loss(p, q, target, kernel)
    return value, torch.autograd.grad(value, p)[0]


def matched(q: Tensor, target: Tensor) -> tuple[Tensor, list[float]]:
    """The momenta to start with, and the loss at each evaluation."""
    p = torch.zeros_like(q, requires_grad=True)
    optimizer = torch.optim.LBFGS([p], max_iter=25, max_eval=35, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(p, q, target, gaussian_sum)
        value.backward()
        losses.append(value.item())
        return value

    optimizer.step(closure)
    return p.detach(), losses


# ------------------------------------------------------------------------------------------------------- the data


def curves(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A circle, and a flower with a different number of points, bent."""
    angle = 2 * torch.pi * torch.arange(count, dtype=torch.float64) / count
    circle = torch.stack((angle.cos(), angle.sin()), 1) * 0.55
    angle = 2 * torch.pi * torch.arange(count * 5 // 4, dtype=torch.float64) / (count * 5 // 4)
    radius = 0.6 + 0.17 * torch.cos(5 * angle)
    u, v = radius * angle.cos(), radius * angle.sin()
    return circle.to(dtype).requires_grad_(), torch.stack((u + 0.15, v + 0.3 * u**2 - 0.1), 1).to(dtype)


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = helpers.precisions()[-1]
    torch.manual_seed(0)
    q, target = curves(helpers.scaled(300), dtype)
    limits = helpers.Limits()

    few, few_target = curves(min(80, len(q)), dtype)
    table = helpers.Table((f"{len(few)} points", "error of the loss", "of its gradient", "time of both"))
    p = (0.1 * torch.randn_like(few, dtype=torch.float64)).to(dtype).requires_grad_()
    exact, dense_seconds = helpers.timed(
        loss_and_gradient,
        *helpers.leaves(p, few, dtype=torch.float64),
        few_target.double(),
        dense_gaussian_sum,
        calls=2,
    )
    found, seconds = helpers.timed(loss_and_gradient, p, few, few_target, gaussian_sum, calls=4)
    errors = [helpers.norm_ratio(*pair) for pair in zip(found, exact, strict=True)]
    table.add("clreduce", *(f"{error:.1e}" for error in errors), helpers.milliseconds(seconds))
    table.add("dense", "", "", helpers.milliseconds(dense_seconds))
    for what, error in zip(("loss", "gradient"), errors, strict=True):
        limits.expect(f"relative error of the {what}", error, LIMITS[dtype])
    print(f"\n{table}\n")

    p, losses = matched(q, target)
    states = shoot(p.requires_grad_(), q, gaussian_sum)
    end = states[-1][1]
    before, after = (currents(one, target, gaussian_sum).item() for one in (q, end))
    energies = [hamiltonian(*state, gaussian_sum).item() for state in states]
    print(f"{len(q)} points, {len(losses)} evaluations: loss {losses[0]:.4f} -> {losses[-1]:.5f}")
    print(
        f"|curve - target|^2: {before:.4f} -> {after:.5f}; H along the way: {min(energies):.4f} .. {max(energies):.4f}"
    )
    limits.expect("part of |curve - target|^2 that is left", after / before, 0.02)
    limits.expect("change of H along the way, which is an invariant", max(energies) / min(energies) - 1, 0.02)

    # The plane moves with the curve: a grid has the velocities that the momenta give it.
    grid = helpers.mesh(-1.1, 1.1, 23)
    lines = torch.tensor(grid, dtype=dtype)
    with torch.no_grad():
        for p_now, q_now in states[:-1]:
            lines = lines + gaussian_sum(WIDTH, lines, q_now, p_now) / STEPS

    title = "A flow of the plane takes a curve to its target"
    with helpers.figure(folder / "torch_shape_matching.png", title, 1, 3, (14.5, 4.8)) as (axes,):

        def closed(curve: Tensor) -> Tensor:
            return torch.cat((curve, curve[:1])).detach().T

        helpers.plane(axes[0], "The curve, the way it takes, and the target")
        for number, (_, curve) in enumerate(states):
            shade = 0.15 + 0.85 * number / STEPS
            axes[0].plot(*closed(curve).numpy(), color=helpers.LINE, linewidth=1 + (number in (0, STEPS)), alpha=shade)
        axes[0].plot(*closed(target).numpy(), "--", color=helpers.MARKS, linewidth=1.6)
        helpers.plane(axes[1], "The plane is deformed with it")
        for direction in (lines.reshape(23, 23, 2), lines.reshape(23, 23, 2).transpose(0, 1)):
            axes[1].plot(*direction.permute(2, 1, 0).numpy(), color=helpers.INK, linewidth=0.6, alpha=0.6)
        axes[1].plot(*closed(end).numpy(), color=helpers.LINE, linewidth=2)
        lowest = torch.tensor(losses).cummin(0).values
        axes[2].semilogy(range(1, len(losses) + 1), lowest.numpy(), color=helpers.LINE)
        axes[2].set(title="Loss, the lowest so far", xlabel="evaluation")
    limits.check()


if __name__ == "__main__":
    main()
