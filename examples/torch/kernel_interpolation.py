r"""
Gradients through a linear system learn the widths of a kernel
==============================================================

Interpolation with a kernel whose widths and ridge are learnt: gradients through a linear system.

Given values b_i with noise at points x_i of the plane, kernel ridge regression is the function

::

    f(q) = sum_j k(q, x_j) a_j        with        (alpha I + K) a = b,    K_ij = k(x_i, x_j),

here with the kernel  k(x, y) = exp(-sqrt((x_1 - y_1)^2 / s_1^2 + (x_2 - y_2)^2 / s_2^2)).  The ridge alpha stands for
the noise, s_1 and s_2 for how fast the function changes in each direction. All three are learnt: they minimise the mean
squared error at other points, where values are known too.

`K.solve(b, alpha=..)` finds a by conjugate gradients, without a table K. It is a node of autograd's graph, and its
gradient is one more system with the same K: none of the steps of the iteration is kept. torch in float64, with the
table and `torch.linalg.solve`, computes the same errors and gradients on fewer points.

Run it::

    python examples/torch/kernel_interpolation.py --output FOLDER
"""

from __future__ import annotations

from collections.abc import Callable

import helpers
import torch
from torch import Tensor

import clreduce
from clreduce.torch import LazyTensor, Vi, Vj

STEPS = 8
RESIDUAL = {torch.float32: 1e-6, torch.float64: 1e-8}  # of solutions, relative
# In float32, rounding of 1e-7 is enlarged by the systems, whose matrices have eigenvalues from alpha to above 10.
LIMITS = {
    torch.float32: {"error": 1e-5, "gradient": 5e-5, "function": 5e-5},
    torch.float64: {"error": 1e-7, "gradient": 1e-6, "function": 1e-6},
}

# -------------------------------------------------------------------------------------------------- with clreduce


def kernel(x: Tensor, y: Tensor) -> LazyTensor:
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1).sqrt()).exp()


def fitted(x: Tensor, b: Tensor, q: Tensor, s: Tensor, alpha: Tensor) -> Tensor:
    """f at the points q (M, 2), from values b (N, 1) at the points x (N, 2), for widths s (2,)."""
    x, q = x / s, q / s
    a = kernel(x, x).solve(b, alpha=alpha, eps=RESIDUAL[x.dtype], preconditioner=("nystrom", 80))
    return kernel(q, x) @ a


# ----------------------------------------------------------------------------------------------- with dense torch


def dense_kernel(x: Tensor, y: Tensor) -> Tensor:
    squares = ((x[:, None] - y) ** 2).sum(-1)
    # The derivative of sqrt is infinite at 0, where that of the kernel in s is 0.
    return torch.where(squares > 0, torch.exp(-torch.where(squares > 0, squares, 1).sqrt()), 1)


def dense_fitted(x: Tensor, b: Tensor, q: Tensor, s: Tensor, alpha: Tensor) -> Tensor:
    x, q = x / s, q / s
    a = torch.linalg.solve(dense_kernel(x, x) + alpha * torch.eye(len(x), dtype=x.dtype), b)
    return dense_kernel(q, x) @ a


# ------------------------------------------------------------------------------------------------------- the data


def landscape(x: Tensor) -> Tensor:
    """Waves that are ten times longer in one direction, and an edge."""
    u, v = x[:, :1], x[:, 1:]
    return torch.sin(20 * u + 4 * torch.sin(2 * v)) + (u + 0.3 * v > 0.7)


def error(fit: Callable[..., Tensor], logarithms: Tensor, *data: Tensor) -> Tensor:
    """The mean squared error at the points that are held out, for the logarithms (3,) of s_1, s_2 and alpha."""
    x, b, q, c = data
    return ((fit(x, b, q, logarithms[:2].exp(), logarithms[2].exp()) - c) ** 2).mean()


def learnt(start: Tensor, *data: Tensor) -> tuple[Tensor, list[float]]:
    """The logarithms, and the error at each evaluation."""
    (logarithms,) = helpers.leaves(start)
    optimizer = torch.optim.LBFGS([logarithms], max_iter=STEPS, line_search_fn="strong_wolfe")
    errors: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = error(fitted, logarithms, *data)
        value.backward()
        errors.append(value.item())
        return value

    optimizer.step(closure)
    return logarithms.detach(), errors


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = helpers.precisions()[-1]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    limits = helpers.Limits()
    noise = 0.3
    x, q = (torch.rand(helpers.scaled(n) + 100, 2) for n in (900, 500))
    b, c = (landscape(points) + noise * torch.randn(len(points), 1) for points in (x, q))
    start = torch.tensor([0.1, 0.1, 0.02]).log()

    x, q, b, c, start = (one.to(dtype) for one in (x, q, b, c, start))

    few = [one[:300] for one in (x, b, q, c)]
    table = helpers.Table((f"{len(few[0])} points", "mean squared error", "its gradient", "time of both"))
    results = []
    for name, fit in (("dense", dense_fitted), ("clreduce", fitted)):

        def both(fit: Callable[..., Tensor] = fit) -> tuple[Tensor, Tensor]:
            at = torch.float64 if fit is dense_fitted else dtype
            (logarithms,) = helpers.leaves(start, dtype=at)
            value = error(fit, logarithms, *(one.to(at) for one in few))
            return value.detach(), torch.autograd.grad(value, logarithms)[0]

        found, seconds = helpers.timed(both, calls=3)
        results.append(found)
        gradient = ", ".join(f"{one:.6f}" for one in found[1].tolist())
        table.add(name, f"{found[0]:.6f}", gradient, helpers.milliseconds(seconds))
    wrong = [helpers.norm_ratio(*pair) for pair in zip(results[1], results[0], strict=True)]
    print(f"\n{table}\nrelative errors: {wrong[0]:.1e}, {wrong[1]:.1e}\n")
    limits.expect("relative error of the mean squared error", wrong[0], LIMITS[dtype]["error"])
    limits.expect("relative error of its gradient", wrong[1], LIMITS[dtype]["gradient"])

    (logarithms, errors), seconds = helpers.timed(learnt, start, x, b, q, c, calls=1)
    *s, alpha = logarithms.exp()
    print(
        f"{len(x)} points, {len(errors)} evaluations, {helpers.milliseconds(seconds / len(errors))} each: "
        f"error {errors[0]:.4f} -> {errors[-1]:.4f}, of which {noise**2:.4f} is noise\n"
        f"s = {s[0]:.3f}, {s[1]:.3f}; alpha = {alpha:.3f}"
    )
    limits.expect("error after learning, as part of that before", errors[-1] / errors[0], 0.9)

    grid = torch.tensor(helpers.mesh(0, 1, 70), dtype=dtype)
    truth = landscape(grid)
    surfaces = [fitted(x, b, grid, one[:2].exp(), one[2].exp()) for one in (start, logarithms)]
    exact = logarithms.double().exp()
    expected = dense_fitted(x.double(), b.double(), grid.double(), exact[:2], exact[2])
    wrong = [helpers.norm_ratio(surface, truth) for surface in surfaces]
    limits.expect(
        "error of the interpolated function", helpers.norm_ratio(surfaces[1], expected), LIMITS[dtype]["function"]
    )
    limits.expect("distance to the truth, as part of that before learning", wrong[1] / wrong[0], 0.9)

    title = f"Learnt widths bring the error of an interpolation from {wrong[0]:.0%} to {wrong[1]:.0%}"
    with helpers.figure(folder / "torch_kernel_interpolation.png", title, 1, 4, (16, 4.3)) as (axes,):
        colours = {"vmin": -1.5, "vmax": 2.5, "cmap": "viridis"}
        helpers.plane(axes[0], f"{len(x)} values $b$, with noise")
        axes[0].scatter(*x.T.numpy(), c=b.numpy(), s=5, **colours)
        for axis, name, surface in zip(
            axes[1:],
            (f"First: {wrong[0]:.0%} from the truth", f"Learnt: {wrong[1]:.0%} from the truth", "The truth"),
            (*surfaces, truth),
            strict=True,
        ):
            helpers.plane(axis, name)
            axis.imshow(surface.reshape(70, 70).numpy(), extent=(0, 1, 0, 1), origin="lower", **colours)
        for axis in axes:
            axis.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    limits.check()


if __name__ == "__main__":
    main()
