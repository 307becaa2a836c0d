r"""
A network on pairs learns a law of forces from their sums
=========================================================

A network on the edges between particles, which learns the law of their forces and never sees a single force.

Particles with places x_i in the plane and charges q_i act on each other. The sum at each of them is observed,

::

    F_i = sum_j f(x_i - x_j, q_i, q_j),

and a perceptron with two hidden layers learns f. Its sum over all pairs is one reduction of a
formula. `matvecmult` multiplies matrices with vectors that belong to pairs, and the hidden vectors stay in registers or
private memory. Dense torch stores more than a hundred numbers for each pair. The weights are those of an ordinary
`torch.nn.Sequential`.

First, outputs and gradients in places, charges and all weights are compared with dense torch in float64. Then the
network is trained on random clouds of particles, new ones in each step. A copy of it takes the first steps with dense
torch. The picture shows the force between two particles beside the one that the network has learnt.

Run it::

    python examples/torch/edge_network.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import helpers
import torch
from torch import Tensor, nn

import clreduce
from clreduce.torch import LazyTensor

WIDTH = 32
BATCH, PARTICLES, TOGETHER = 16, 24, 10  # clouds in each training step, particles in each; steps with both
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-13}  # of relative errors

# -------------------------------------------------------------------------------------------------- with clreduce


def edge_sum(network: nn.Sequential, x: Tensor, q: Tensor) -> Tensor:
    """sum_j network(x_i - x_j, q_i, q_j), of shape (B, N, 2), for places (B, N, 2) and charges (B, N, 1)."""
    x_i, x_j = LazyTensor(x[:, :, None]), LazyTensor(x[:, None])
    q_i, q_j = LazyTensor(q[:, :, None]), LazyTensor(q[:, None])
    h = (x_i - x_j).concat(q_i).concat(q_j)
    for layer in network:
        if isinstance(layer, nn.Linear):
            weight, bias = (LazyTensor(tensor.reshape(1, 1, 1, -1)) for tensor in (layer.weight, layer.bias))
            h = weight.matvecmult(h) + bias
        else:
            h = h.tanh()
    return h.sum(2)


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_edge_sum(network: Callable[[Tensor], Tensor], x: Tensor, q: Tensor) -> Tensor:
    """The same from the table of all pairs."""
    count = x.shape[1]
    difference = x[:, :, None] - x[:, None]
    charges = torch.cat((q[:, :, None].expand(-1, -1, count, 1), q[:, None].expand(-1, count, -1, 1)), -1)
    return network(torch.cat((difference, charges), -1)).sum(2)


# ------------------------------------------------------------------------------------------------ the law, the data


def law(edges: Tensor) -> Tensor:
    """The true force for edges (.., 4): like charges repel, unlike ones attract, and a short-ranged swirl turns all."""
    d, product = edges[..., :2], edges[..., 2:3] * edges[..., 3:]
    squares = (d**2).sum(-1, keepdim=True)
    swirl = torch.stack((-d[..., 1], d[..., 0]), -1) * torch.exp(-3 * squares)
    return product * d / (squares + 0.2) + 2 * swirl


def perceptron() -> nn.Sequential:
    """A network whose forces are small in the beginning, as they are added up."""
    network = nn.Sequential(nn.Linear(4, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2))
    with torch.no_grad():
        network[-1].weight.mul_(0.1)
        network[-1].bias.zero_()
    return network


def clouds(batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Places in a square, and charges of 1 and -1."""
    return 2 * torch.rand(batch, count, 2) - 1, torch.randint(0, 2, (batch, count, 1)) * 2.0 - 1


EdgeSum = Callable[[nn.Sequential, Tensor, Tensor], Tensor]


def trained(network: nn.Sequential, edge_sum: EdgeSum, steps: int, of: int) -> list[float]:
    """The relative squared error in each of the first ``steps`` steps of a training that would take ``of`` steps."""
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, of)
    losses = []
    for _ in range(steps):
        x, q = clouds(BATCH, PARTICLES)
        forces = dense_edge_sum(law, x, q)
        loss = ((edge_sum(network, x, q) - forces) ** 2).mean() / (forces**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


# ------------------------------------------------------------------------------------------------- the comparison


def with_gradients(edge_sum: EdgeSum, network: nn.Sequential, x: Tensor, q: Tensor, e: Tensor) -> list[Tensor]:
    """The output, and the gradients of <output, e> in places, charges and all weights together."""
    x, q = helpers.leaves(x, q)
    found = edge_sum(network, x, q)
    in_x, in_q, *in_weights = torch.autograd.grad(found, [x, q, *network.parameters()], e)
    return [found.detach(), in_x, in_q, torch.cat([part.flatten() for part in in_weights])]


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    precisions = helpers.precisions()
    torch.manual_seed(0)
    limits = helpers.Limits()

    count = helpers.scaled(500)
    x, q = (tensor.double() for tensor in clouds(2, count))
    e, network = torch.randn(2, count, 2, dtype=torch.float64), perceptron().double()
    expected = with_gradients(dense_edge_sum, network, x, q, e)
    table = helpers.Table(
        ("relative errors", "output", "in x", "in q", "in weights", "with gradients: torch", "clreduce", "ratio")
    )
    for dtype in precisions:
        tensors = [tensor.to(dtype) for tensor in (x, q, e)]
        times = []
        for function in (dense_edge_sum, edge_sum):
            found, seconds = helpers.timed(with_gradients, function, network.to(dtype), *tensors, calls=5)
            times.append(seconds)
        errors = [helpers.norm_ratio(*pair) for pair in zip(found, expected, strict=True)]
        data = str(dtype).removeprefix("torch.")
        for what, error in zip(("output", "gradient in x", "in q", "in the weights"), errors, strict=True):
            limits.expect(f"relative error of the {what}, {data}", error, LIMITS[dtype])
        table.add(
            data, *(f"{error:.1e}" for error in errors), *map(helpers.milliseconds, times), f"{times[0] / times[1]:.1f}"
        )
    print(f"2 clouds of {count} particles\n\n{table}\n")

    torch.manual_seed(0)
    steps = 150 + helpers.scaled(650)
    network, twin = perceptron(), perceptron()
    twin.load_state_dict(network.state_dict())
    losses, seconds = helpers.timed(trained, network, edge_sum, steps, steps, calls=1)
    others = trained(twin, dense_edge_sum, TOGETHER, steps)
    end = sum(losses[-20:]) / 20
    apart = max(abs(one / other - 1) for one, other in zip(losses, others, strict=False))
    print(
        f"{steps} training steps, {helpers.milliseconds(seconds / steps)} each: error {losses[0]:.3f} -> {end:.4f}; "
        f"difference to dense torch in the first {TOGETHER}: {apart:.1e}"
    )
    limits.expect(f"relative difference of the errors in the first {TOGETHER} steps", apart, 1e-3)
    limits.expect("part of the error that is left after training", end / losses[0], 0.5)

    draw(folder / "torch_edge_network.png", network, steps, losses, others)
    limits.check()


def draw(path: Path, network: nn.Sequential, steps: int, losses: list[float], others: list[float]) -> None:
    """The force of a particle in the middle on another one, true and learnt, and the errors of the training."""
    places = torch.tensor(helpers.mesh(-1, 1, 17)).float()
    title = f"The force between two particles, learnt from sums over pairs in {steps} steps"
    with helpers.figure(path, title, 1, 5, (19, 4.2)) as (axes,):
        for axis, (name, force, product) in zip(
            axes,
            (
                ("Like charges, true", law, 1.0),
                ("Like charges, learnt", network, 1.0),
                ("Unlike charges, true", law, -1.0),
                ("Unlike charges, learnt", network, -1.0),
            ),
            strict=False,
        ):
            helpers.plane(axis, name)
            edges = torch.cat((places, torch.ones(len(places), 1), torch.full((len(places), 1), product)), -1)
            with torch.no_grad():
                arrows = force(edges)
            axis.quiver(
                *places.T.numpy(), *arrows.T.numpy(), arrows.norm(dim=1).numpy(),
                scale=22, width=0.006, cmap="viridis", clim=(0, 2),
            )  # fmt: skip
            axis.plot(0, 0, "o", color=helpers.MARKS, markersize=6)
            axis.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axes[4].plot(losses, color=helpers.LINE, linewidth=1, label="clreduce")
        axes[4].plot(others, "o", color=helpers.MARKS, markersize=4, fillstyle="none", label="dense torch")
        axes[4].set(title="Relative squared error", xlabel="training step", yscale="log")
        axes[4].legend()


if __name__ == "__main__":
    main()
