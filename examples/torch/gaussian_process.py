r"""
A Gaussian process learns its width, size and noise
===================================================

Gaussian process regression, with hyper-parameters learnt by gradients of the marginal likelihood.

Values y_i at points x_i on the line are those of a Gaussian process with noise: jointly normal, with the covariance

::

    A = K + noise^2 I,    K_ij = size^2 exp(-|x_i - x_j|^2 / (2 width^2)).

Width, size and noise maximise the likelihood of y; they minimise

::

    L = 1/2 y^T A^-1 y + 1/2 log det A + n/2 log(2 pi).

Neither A nor a factor of it is stored. The first term is a system, solved by conjugate gradients; autograd goes through
`KernelSolve`, noise included. The second one has the derivative 1/2 tr(A^-1 dA), and for random vectors z with entries
+1 and -1 the mean of z^T A^-1 dA z is that trace (Hutchinson). So a few systems A w = z give an unbiased estimate: the
gradient of  1/2 mean <w, A z>  where w counts as constant. With all the vectors sqrt(n) e_k in the place of random ones
it is exact, which is compared with torch's Cholesky factor in float64, and so are the final L and the predictions.

Run it::

    python examples/torch/gaussian_process.py --output FOLDER
"""

from __future__ import annotations

from math import log, pi, sqrt

import helpers
import torch
from torch import Tensor

import clreduce
from clreduce.torch import Genred, KernelSolve

PROBES, STEPS = 8, 40

# -------------------------------------------------------------------------------------------------- with clreduce

FORMULA = "s * Exp(-g * SqDist(x, y)) * b"
ALIASES = ["g = Pm(1)", "s = Pm(1)", "x = Vi(1)", "y = Vj(1)"]
EXACT = {torch.float32: 1e-6, torch.float64: 1e-9}  # residuals of solutions: to compare and to predict
ROUGH = 1e-4  # to learn
# In float32, systems enlarge rounding by their condition number; a deviation is the root of a difference.
LIMITS = {
    torch.float32: {"gradient": 1e-4, "means": 1e-4, "deviations": 1e-3},
    torch.float64: {"gradient": 1e-7, "means": 1e-7, "deviations": 1e-5},
}


def rates(logarithms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """g = 1 / (2 width^2), s = size^2, and noise^2, from the logarithms (3,) of width, size and noise."""
    squares = (2 * logarithms).exp()
    return 1 / (2 * squares[:1]), squares[1:2], squares[2]


def product(logarithms: Tensor, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """K b, for points x (M, 1) and y (N, 1) and columns b (N, P)."""
    g, s, _ = rates(logarithms)
    return Genred(FORMULA, [*ALIASES, f"b = Vj({b.shape[1]})"], axis=1)(g, s, x, y, b)


def solved(logarithms: Tensor, x: Tensor, b: Tensor, eps: float | None = None) -> Tensor:
    """A^-1 b."""
    g, s, noise = rates(logarithms)
    solve = KernelSolve(FORMULA, [*ALIASES, f"b = Vj({b.shape[1]})"], "b", axis=1)
    return solve(g, s, x, x, b, alpha=noise, eps=eps or EXACT[x.dtype])


def estimate(logarithms: Tensor, x: Tensor, y: Tensor, z: Tensor, eps: float | None = None) -> Tensor:
    """A number whose gradient is that of L, estimated with the columns of z; it is not L itself."""
    found = solved(logarithms, x, torch.cat((y, z), 1), eps)  # one system for y and for all of z
    w = found[:, 1:].detach()
    _, _, noise = rates(logarithms)
    trace = (w * (product(logarithms, x, x, z) + noise * z)).sum() / z.shape[1]
    return ((y * found[:, :1]).sum() + trace) / 2


def predicted(logarithms: Tensor, x: Tensor, y: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations (M, 1) of the process at points q."""
    unit = torch.eye(len(q), dtype=q.dtype)
    between = product(logarithms, x, q, unit)  # (N, M): few points q
    found = solved(logarithms, x, torch.cat((y, between), 1))
    _, s, _ = rates(logarithms)
    variance = s - (between * found[:, 1:]).sum(0)
    return between.T @ found[:, :1], variance[:, None].sqrt()


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_kernel(logarithms: Tensor, x: Tensor, y: Tensor) -> Tensor:
    g, s, _ = rates(logarithms)
    return s * torch.exp(-g * (x - y.T) ** 2)


def dense_factor(logarithms: Tensor, x: Tensor) -> Tensor:
    return torch.linalg.cholesky(dense_kernel(logarithms, x, x) + rates(logarithms)[2] * torch.eye(len(x)).to(x))


def dense_loss(logarithms: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """L."""
    factor = dense_factor(logarithms, x)
    fit = (y * torch.cholesky_solve(y, factor)).sum() / 2
    return fit + factor.diagonal().log().sum() + len(x) / 2 * log(2 * pi)


def dense_predicted(logarithms: Tensor, x: Tensor, y: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    factor, between = dense_factor(logarithms, x), dense_kernel(logarithms, x, q)
    variance = rates(logarithms)[1] - (between * torch.cholesky_solve(between, factor)).sum(0)
    return between.T @ torch.cholesky_solve(y, factor), variance[:, None].sqrt()


# ----------------------------------------------------------------------------------------------------- the learning


def learnt(start: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
    """The logarithms after each step of Adam, of which each draws other vectors z."""
    (logarithms,) = helpers.leaves(start)
    optimizer = torch.optim.Adam([logarithms], lr=0.1)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0.01)
    path = [start]
    for _ in range(STEPS):
        z = torch.randint(2, (len(x), PROBES)).to(x) * 2 - 1
        optimizer.zero_grad()
        estimate(logarithms, x, y, z, ROUGH).backward()
        optimizer.step()
        slower.step()
        path.append(logarithms.detach().clone())
    return path


def dense_optimum(start: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The logarithms with the least L."""
    (logarithms,) = helpers.leaves(start)
    optimizer = torch.optim.LBFGS([logarithms], max_iter=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = dense_loss(logarithms, x, y)
        value.backward()
        return value

    optimizer.step(closure)
    return logarithms.detach()


def signal(x: Tensor) -> Tensor:
    return torch.sin(2 * x) + 0.7 * torch.sin(3.1 * x + 1)


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = helpers.precisions()[-1]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    limits = helpers.Limits()
    x = 10 * torch.rand(helpers.scaled(600) + 100, 1)
    x = x[(x < 6) | (x > 7.5)][:, None]  # nothing is known in between
    q = torch.linspace(0, 10, 60)[:, None]
    y = signal(x) + 0.4 * torch.randn_like(x)
    start = torch.tensor([0.3, 1.0, 0.5]).log()

    x, q, y, start = (one.to(dtype) for one in (x, q, y, start))
    exact_x, exact_q, exact_y = (one.double() for one in (x, q, y))  # rounded to dtype here as well

    few = slice(0, 30)
    (logarithms,) = helpers.leaves(start)
    every = sqrt(len(x[few])) * torch.eye(len(x[few])).to(x)
    found = torch.autograd.grad(estimate(logarithms, x[few], y[few], every), logarithms)[0]
    expected = torch.autograd.grad(dense_loss(logarithms.double(), exact_x[few], exact_y[few]), logarithms)[0]
    error = helpers.norm_ratio(found, expected)
    print(f"relative error of the gradient with all vectors instead of random ones, {len(x[few])} points: {error:.1e}")
    limits.expect("relative error of the gradient", error, LIMITS[dtype]["gradient"])

    path, seconds = helpers.timed(learnt, start, x, y, calls=1)
    best = dense_optimum(start.double(), exact_x, exact_y)
    losses = [dense_loss(logarithms.double(), exact_x, exact_y).item() for logarithms in path[:: STEPS // 10]]
    least = dense_loss(best, exact_x, exact_y).item()
    table = helpers.Table((f"{len(x)} points", "width", "size", "noise", "L"))
    for name, logarithms, value in (
        ("start", start, losses[0]),
        (f"{STEPS} steps with {PROBES} vectors", path[-1], losses[-1]),
        ("least L, by Cholesky", best, least),
    ):
        table.add(name, *(f"{one:.4f}" for one in logarithms.exp().tolist()), f"{value:.2f}")
    print(f"\n{table}\n\na step: {helpers.milliseconds(seconds / STEPS)}")
    limits.expect("L, more than the least", losses[-1] - least, 1)  # the likelihood is at least 1 / e of the largest

    (mean, deviation), seconds = helpers.timed(predicted, path[-1], x, y, q, calls=1)
    expected_mean, expected_deviation = dense_predicted(path[-1].double(), exact_x, exact_y, exact_q)
    errors = helpers.norm_ratio(mean, expected_mean), helpers.norm_ratio(deviation, expected_deviation)
    print(
        f"{len(q)} predictions: {helpers.milliseconds(seconds)}; "
        f"relative errors: means {errors[0]:.1e}, deviations {errors[1]:.1e}"
    )
    limits.expect("relative error of the means", errors[0], LIMITS[dtype]["means"])
    limits.expect("relative error of the deviations", errors[1], LIMITS[dtype]["deviations"])

    title = f"A Gaussian process through {len(x)} values"
    with helpers.figure(folder / "torch_gaussian_process.png", title, 1, 2, (14, 4.8)) as (axes,):
        at, middle, wide = (one[:, 0].numpy() for one in (q, mean, 2 * deviation))
        axes[0].plot(x.numpy(), y.numpy(), ".", color=helpers.MARKS, markersize=2.5, alpha=0.6, label="$y$: with noise")
        axes[0].plot(at, signal(q).numpy(), "--", color=helpers.INK, linewidth=1.2, label="the signal")
        axes[0].fill_between(at, middle - wide, middle + wide, color=helpers.LINE, alpha=0.25, linewidth=0)
        axes[0].plot(at, middle, color=helpers.LINE, linewidth=2, label="mean, and two deviations")
        axes[0].set(title="After learning", xlabel="$x$", ylim=(-3.6, 3.9))
        axes[0].legend(loc="upper center", ncols=3, markerscale=3)
        axes[1].axhline(least, color=helpers.MARKS, linestyle="--", linewidth=1.2, label="least, by Cholesky")
        axes[1].plot(range(0, STEPS + 1, STEPS // 10), losses, "o-", color=helpers.LINE, label="by random vectors")
        axes[1].set(title="$L$", xlabel="step")
        axes[1].legend()
    limits.check()


if __name__ == "__main__":
    main()
