r"""
Neighbours improve in a plane that is learnt
============================================

Classification by the K nearest neighbours, in a plane that is learnt by gradients.

The points x_i have D numbers. Two directions among them, hidden by a rotation, tell the class; the others are noise,
which is larger. So distances in R^D say little. The remedy is a projection z_i = A x_i with a matrix A (2, D), learnt
by neighbourhood components analysis. A point picks a neighbour at random, j with probability

::

    exp(-|z_i - z_j|^2) / sum_{k != i} exp(-|z_i - z_k|^2),

and A should make it likely that this neighbour has the same class. The logarithm of that probability is the difference
of two LogSumExp reductions, over the pairs of the same class and over all pairs, each without i = j::

    loss(A) = -mean_i ( log sum_{j != i, same class} exp(-|z_i - z_j|^2) - log sum_{j != i} exp(-|z_i - z_j|^2) ).

Adam minimises it with the gradients of autograd. A new point gets the class of most of its K nearest
neighbours, found by ArgKMin. No table of pairs is stored. To check the loss, its gradient and the neighbours, torch
stores the tables in float64.

Run it::

    python examples/torch/nearest_neighbours.py --output FOLDER
"""

from __future__ import annotations

import helpers
import torch
from torch import Tensor

import clreduce
from clreduce.torch import Vi, Vj

K, CLASSES, DIMENSION = 5, 3, 10
STEPS = 60
# The part of the neighbours that may differ: in float32, rounding decides between points that are almost equally near.
SWAPPED = {torch.float32: 1e-3, torch.float64: 0}
INFINITY = float("inf")

# -------------------------------------------------------------------------------------------------- with clreduce


def loss(A: Tensor, x: Tensor, classes: Tensor) -> Tensor:
    """Of neighbourhood components analysis, for points (N, D) and classes (N, 1)."""
    z = x @ A.T
    scores = -((Vi(z) - Vj(z)) ** 2).sum(-1)
    others = scores.where(scores.i != scores.j, -INFINITY)
    same = others.where(Vi(classes) == Vj(classes), -INFINITY)
    return (others.logsumexp(dim=1) - same.logsumexp(dim=1)).mean()


def neighbours(q: Tensor, x: Tensor, count: int = K) -> Tensor:
    """The rows of x that are nearest to each row of q: (M, count)."""
    return ((Vi(q) - Vj(x)) ** 2).sum(-1).argKmin(count, dim=1)


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_loss(A: Tensor, x: Tensor, classes: Tensor) -> Tensor:
    z = x @ A.T
    scores = -((z[:, None] - z) ** 2).sum(-1)
    others = scores.masked_fill(torch.eye(len(x), dtype=torch.bool), -INFINITY)
    same = others.masked_fill(classes != classes.T, -INFINITY)
    return (others.logsumexp(1) - same.logsumexp(1)).mean()


def dense_neighbours(q: Tensor, x: Tensor) -> Tensor:
    return ((q[:, None] - x) ** 2).sum(-1).topk(K, largest=False, sorted=True).indices


# ------------------------------------------------------------------------------------------------------- the data


def spirals(count: int, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Points (N, D), where the first two coordinates before the rotation wind up; and their classes (N, 1)."""
    classes = torch.randint(CLASSES, (count, 1))
    turn = torch.rand(count, 1)
    angle = 2 * torch.pi * (0.6 * turn + classes / CLASSES)
    plane = (0.2 + turn) * torch.cat((angle.cos(), angle.sin()), 1) + 0.04 * torch.randn(count, 2)
    noise = 1.5 * torch.randn(count, DIMENSION - 2)
    return torch.cat((plane, noise), 1) @ rotation, classes


def trained(start: Tensor, x: Tensor, classes: Tensor) -> tuple[Tensor, list[float]]:
    """A, and the loss at each step."""
    (A,) = helpers.leaves(start)
    optimizer = torch.optim.Adam([A], lr=0.3)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(A, x, classes)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return A.detach(), losses


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    best = helpers.precisions()[-1]
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION)).Q
    x, classes = spirals(500 + helpers.scaled(1000), rotation)
    test, truth = spirals(helpers.scaled(5000), rotation)
    start = 0.5 * torch.randn(2, DIMENSION)
    limits = helpers.Limits()

    few = slice(0, 500)
    results = []
    for function, dtype in ((loss, torch.float32), (dense_loss, torch.float64)):
        (A,) = helpers.leaves(start, dtype=dtype)
        value = function(A, x[few].to(dtype), classes[few])
        results.append((value, *torch.autograd.grad(value, A)))
    errors = [helpers.norm_ratio(*pair) for pair in zip(*results, strict=True)]
    print(f"relative errors with {len(x[few])} points: loss {errors[0]:.1e}, gradient {errors[1]:.1e}")
    limits.expect("relative error of the loss", errors[0], 1e-6)
    limits.expect("relative error of its gradient", errors[1], 1e-5)

    (A, losses), seconds = helpers.timed(trained, start, x, classes, calls=1)
    each = helpers.milliseconds(seconds / len(losses))
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.4f} in {STEPS} steps, {each} each")
    print(f"part of A that looks at noise: {torch.linalg.norm(A @ rotation.T[:, 2:]) / torch.linalg.norm(A):.1%}")
    limits.expect("loss after training, as part of that before", losses[-1] / losses[0], 0.2)

    spaces = {f"all {DIMENSION} numbers": (test, x), "the plane at the start": (test @ start.T, x @ start.T)}
    spaces["the learnt plane"] = (test @ A.T, x @ A.T)
    table = helpers.Table((f"{K} nearest of {len(x)}, in", "right", "clreduce, 1000 queries", "dense float64", "ratio"))
    right = {}
    for name, (q, points) in spaces.items():
        q, points = q.to(best), points.to(best)
        found, seconds = helpers.timed(neighbours, q, points, calls=3)
        some = q[:500]
        expected, dense_seconds = helpers.timed(dense_neighbours, some.double(), points.double(), calls=2)
        differing = (found[: len(some)] != expected).double().mean()
        limits.expect(f"part of the neighbours that differ in {name}", differing, SWAPPED[best])
        vote = classes[found, 0].mode(1, keepdim=True).values
        right[name] = (vote == truth).float().mean().item()
        seconds, dense_seconds = 1000 * seconds / len(q), 1000 * dense_seconds / len(some)
        times = helpers.milliseconds(seconds), helpers.milliseconds(dense_seconds)
        table.add(name, f"{right[name]:.1%}", *times, f"{dense_seconds / seconds:.1f}")
    print(table)
    limits.expect("wrong classes in the learnt plane", 1 - right["the learnt plane"], 0.1)

    title = f"Three classes of points in {DIMENSION} dimensions, by their {K} nearest neighbours"
    with helpers.figure(folder / "torch_nearest_neighbours.png", title, 1, 3, (14, 4.8)) as (axes,):
        from matplotlib.colors import ListedColormap

        colours = ListedColormap(helpers.COLOURS[:CLASSES])
        for axis, name in zip(axes, list(spaces)[1:], strict=False):
            q, _ = spaces[name]
            helpers.plane(axis, f"{name[0].upper()}{name[1:]}: {right[name]:.0%} right".replace("The the", "The"))
            axis.scatter(*q.T.numpy(), s=3, c=truth[:, 0].numpy(), cmap=colours)
        axes[2].plot(range(1, STEPS + 1), losses, color=helpers.LINE)
        axes[2].set(title="Loss", xlabel="step", ylim=(0, None))
    limits.check()


if __name__ == "__main__":
    main()
