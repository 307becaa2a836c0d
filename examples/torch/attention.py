r"""
Attention without the table of scores
=====================================

A small network with attention learns to interpolate.

For queries q_i, keys k_j and values v_j, attention is a softmax-weighted mean, for each head and each batch::

    out_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij),    s_ij = <q_i, k_j> / sqrt(D).

That is one reduction of a formula, `sumsoftmaxweight`: it is stable for large scores, stores no table of M x N scores,
and has gradients of every order. A causal mask, which lets i see j <= i only, is a condition on the indices in the
formula.

First, outputs and gradients are compared with torch's scaled_dot_product_attention in float64. Then a network with one
attention layer learns to interpolate in the plane: queries and keys are made of positions, values of the numbers that
are known at them. Each training step shows it new functions. The same network with torch's attention takes the same
training steps from the same start, for comparison.

Run it::

    python examples/torch/attention.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

import helpers
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, scaled_dot_product_attention

import clreduce
from clreduce.torch import LazyTensor

HEADS, DIMENSION = 4, 8
LIMITS = {torch.float32: 5e-6, torch.float64: 1e-13}  # of relative errors
BATCH, TOGETHER = 8, 10  # functions in each training step; steps with both kinds of attention

# -------------------------------------------------------------------------------------------------- with clreduce


def attention(q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
    """Of queries (.., M, D), keys (.., N, D) and values (.., N, E): (.., M, E)."""
    q_i, k_j, v_j = LazyTensor(q[..., :, None, :]), LazyTensor(k[..., None, :, :]), LazyTensor(v[..., None, :, :])
    scores = (q_i | k_j) / sqrt(q.shape[-1])
    if is_causal:
        scores = scores.where(scores.i >= scores.j, -float("inf"))
    return scores.sumsoftmaxweight(v_j, dim=q.ndim - 1)


# ------------------------------------------------------------------------------------------------------ the network


class Interpolator(nn.Module):
    """Predicts values at positions (B, M, 2) from values (B, N, 1) at positions (B, N, 2)."""

    def __init__(self, attention: Callable[..., Tensor] = attention, width: int = HEADS * DIMENSION) -> None:
        super().__init__()
        self.attention = attention
        self.position = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.query, self.key = nn.Linear(64, width), nn.Linear(64, width)
        self.value = nn.Linear(1, width)
        self.read = nn.Linear(width, 1)

    def forward(self, at: Tensor, x: Tensor, values: Tensor) -> Tensor:
        q, k = self.query(self.position(at)), self.key(self.position(x))
        heads = (one.unflatten(-1, (HEADS, DIMENSION)).transpose(1, 2) for one in (q, k, self.value(values)))
        found = self.attention(*heads).transpose(1, 2).flatten(2)
        return self.read(found)


def waves(batch: int) -> Callable[[Tensor], Tensor]:
    """Random smooth functions, one for each index of a batch."""
    directions, phases = 2.5 * torch.randn(batch, 1, 2, 6), 2 * torch.pi * torch.rand(batch, 1, 6)
    return lambda x: ((x.unsqueeze(-2) @ directions).squeeze(-2) + phases).cos().sum(-1, keepdim=True) / sqrt(3)


def trained(network: Interpolator, steps: int, count: int) -> list[float]:
    """The mean squared error of each step."""
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(steps):
        f, x, at = waves(BATCH), 2 * torch.rand(BATCH, count, 2) - 1, 2 * torch.rand(BATCH, count, 2) - 1
        loss = mse_loss(network(at, x, f(x)), f(at))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# ------------------------------------------------------------------------------------------------- the comparison


def with_gradients(function: Callable[..., Tensor], tensors: list[Tensor], e: Tensor, **options: Any) -> list[Tensor]:
    """The output, and the gradients of <output, e> in queries, keys and values."""
    found = function(*tensors, **options)
    return [found.detach(), *torch.autograd.grad(found, tensors, e)]


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    precisions = helpers.precisions()
    torch.manual_seed(0)
    limits = helpers.Limits()

    count = helpers.scaled(1000)
    shape = (2, HEADS, count, DIMENSION)
    table = helpers.Table(("relative errors", "data", "output", "in q", "in k", "in v", "torch", "clreduce", "ratio"))
    drawn = [2 * torch.randn(shape, dtype=torch.float64) for _ in range(4)]
    for is_causal in (False, True):
        name = "causal" if is_causal else "all pairs"
        *exact, e = drawn
        expected = with_gradients(scaled_dot_product_attention, helpers.leaves(*exact), e, is_causal=is_causal)
        for dtype in precisions:
            tolerance = LIMITS[dtype]
            tensors, cotangent = helpers.leaves(*exact, dtype=dtype), e.to(dtype)
            data = str(dtype).removeprefix("torch.")
            times = []
            for function in (scaled_dot_product_attention, attention):
                call = partial(with_gradients, function, is_causal=is_causal)
                found, seconds = helpers.timed(call, tensors, cotangent, calls=3)
                times.append(seconds)
            errors = [helpers.norm_ratio(*pair) for pair in zip(found, expected, strict=True)]
            for what, error in zip(("output", "gradient in q", "in k", "in v"), errors, strict=True):
                limits.expect(f"relative error of the {what}, {name}, {data}", error, tolerance)
            table.add(
                name, data, *(f"{error:.1e}" for error in errors), *map(helpers.milliseconds, times),
                f"{times[0] / times[1]:.1f}",
            )  # fmt: skip
    print(f"shape of the tensors: {shape}\n\n{table}\n")

    steps, known = 60 + helpers.scaled(250), 100
    network, twin = Interpolator(), Interpolator(scaled_dot_product_attention)
    twin.load_state_dict(network.state_dict())
    f, x, at = waves(1), 2 * torch.rand(1, known, 2) - 1, torch.tensor(helpers.mesh(-1, 1, 60)).float()[None]
    with torch.no_grad():
        before = network(at, x, f(x))
    losses, seconds = helpers.timed(trained, network, steps, known, calls=1)
    others = trained(twin, TOGETHER, known)
    with torch.no_grad():
        after = network(at, x, f(x))
    end = sum(losses[-20:]) / 20
    apart = max(abs(one / other - 1) for one, other in zip(losses, others, strict=False))
    print(
        f"{steps} training steps, {helpers.milliseconds(seconds / steps)} each: error {losses[0]:.3f} -> {end:.3f}; "
        f"difference to torch's attention in the first {TOGETHER}: {apart:.1e}"
    )
    limits.expect(f"relative difference of the errors in the first {TOGETHER} steps", apart, 1e-3)
    limits.expect("part of the error that is left after training", end / losses[0], 0.5)

    title = f"Attention that learns to interpolate from {known} values"
    with helpers.figure(folder / "torch_attention.png", title, 1, 4, (16, 4.2)) as (axes,):
        colours = {"vmin": -2, "vmax": 2, "cmap": "viridis"}
        images = {
            "The function, and where it is known": f(at),
            "Before training": before,
            f"After {steps} steps": after,
        }
        for axis, (name, image) in zip(axes, images.items(), strict=False):
            helpers.plane(axis, name)
            axis.imshow(image.reshape(60, 60).numpy(), extent=(-1, 1, -1, 1), origin="lower", **colours)
            axis.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axes[0].scatter(*x[0].T.numpy(), c=f(x).numpy(), s=14, edgecolor="white", linewidth=0.5, **colours)
        axes[3].plot(losses, color=helpers.LINE, label="clreduce")
        axes[3].plot(others, "o", color=helpers.MARKS, markersize=4, fillstyle="none", label="torch's attention")
        axes[3].set(title="Mean squared error", xlabel="training step", ylim=(0, None))
        axes[3].legend()
    limits.check()


if __name__ == "__main__":
    main()
