"""PyTorch on the CPU, with dense tables made in blocks of rows (see `base.TABLE`), as its users write it."""

from __future__ import annotations

from typing import ClassVar

import torch

from suite.engines.base import Array, Call, Engine, Makers, blocks
from suite.problems import (
    Assignment,
    Example,
    Gaussian,
    GaussianBatches,
    GaussianGradient,
    LogSumExp,
    Neighbours,
)

Tensor = torch.Tensor


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """The table |x_i|^2 + |y_j|^2 - 2 <x_i, y_j>, of shape (M, N): a matrix product, the fast way of dense engines."""
    table = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    return table.add_(x.square().sum(1, keepdim=True))


def gaussian_sum(g: Tensor, x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    parts = [squared_distances(x[rows], y).mul_(-g).exp_() @ b for rows in blocks(len(x), len(y))]
    return torch.cat(parts)


def gaussian(problem: Gaussian, arrays: list[Array]) -> Call:
    return lambda: (gaussian_sum(*tensors(arrays)).numpy(force=True),)


def gaussian_batches(problem: GaussianBatches, arrays: list[Array]) -> Call:
    def call() -> tuple[Array]:
        g, *others = tensors(arrays)
        return (torch.stack([gaussian_sum(g, *one) for one in zip(*others, strict=True)]).numpy(force=True),)

    return call


def gaussian_gradient(problem: GaussianGradient, arrays: list[Array]) -> Call:
    """Automatic differentiation, block by block, so that tables are freed."""

    def call() -> tuple[Array, ...]:
        g, x, y, b, e = tensors(arrays)
        inputs = {"y": y, "b": b}
        for name in problem.wrt:
            if name != "x":
                inputs[name].requires_grad_()
        totals = {name: torch.zeros_like(inputs[name]) for name in problem.wrt if name != "x"}
        in_x = []
        for rows in blocks(len(x), len(y)):
            x_block = x[rows].clone().requires_grad_("x" in problem.wrt)
            table = y.square().sum(1) + x_block.square().sum(1, keepdim=True) - 2 * (x_block @ y.T)
            result = torch.exp(-g * table) @ b
            wanted = {"x": x_block, **inputs}
            found = torch.autograd.grad(result, [wanted[name] for name in problem.wrt], e[rows])
            for name, gradient in zip(problem.wrt, found, strict=True):
                if name == "x":
                    in_x.append(gradient)
                else:
                    totals[name] += gradient
        return tuple(
            torch.cat(in_x).numpy(force=True) if name == "x" else totals[name].numpy(force=True) for name in problem.wrt
        )

    return call


def log_sum_exp(problem: LogSumExp, arrays: list[Array]) -> Call:
    def call() -> tuple[Array]:
        x, y = tensors(arrays)
        parts = [
            squared_distances(x[rows], y).neg_().logsumexp(1, keepdim=True) for rows in blocks(len(x), len(y))
        ]  # fmt: skip
        return (torch.cat(parts).numpy(force=True),)

    return call


def neighbours(problem: Neighbours, arrays: list[Array]) -> Call:
    def call() -> tuple[Array]:
        x, y = tensors(arrays)
        parts = [
            torch.cdist(x[rows], y).topk(problem.count, dim=1, largest=False).indices for rows in blocks(len(x), len(y))
        ]
        return (torch.cat(parts).numpy(force=True),)

    return call


def assignment(problem: Assignment, arrays: list[Array]) -> Call:
    def call() -> tuple[Array]:
        x, y = tensors(arrays)
        return (
            torch.cat([torch.cdist(x[rows], y).argmin(1, True) for rows in blocks(len(x), len(y))]).numpy(force=True),
        )

    return call


# The formulas of the examples, for a block of output rows. Tables have the shape (outputs, reduced, D).


def example_sum(p: Tensor, a: Tensor, x: Tensor, y: Tensor, rows: slice) -> Tensor:
    return ((p - a).square() * torch.exp(x[rows, None] + y)).sum(1)


def example_sum_gradient(p: Tensor, a: Tensor, x: Tensor, y: Tensor, e: Tensor, rows: slice) -> Tensor:
    return ((p - a[rows, None]).square() * torch.exp(x + y[rows, None]) * e).sum(1)


def example_logsumexp(p: Tensor, a: Tensor, x: Tensor, y: Tensor, rows: slice) -> Tensor:
    return ((p - a).square() * torch.exp(x[rows, None] + y)).logsumexp(1)


def example_logsumexp_gradient(
    p: Tensor, a: Tensor, x: Tensor, y: Tensor, e: Tensor, c: Tensor, rows: slice
) -> Tensor:  # fmt: skip
    f = (p - a[rows, None]).square() * torch.exp(x + y[rows, None])
    return (e * torch.exp(f - c) * f).sum(1)


EXAMPLES = {
    "sum": example_sum,
    "sum gradient": example_sum_gradient,
    "logsumexp": example_logsumexp,
    "logsumexp gradient": example_logsumexp_gradient,
}


def example(problem: Example, arrays: list[Array]) -> Call:
    compute = EXAMPLES[problem.case.name]
    outputs, reduced = (problem.rows, problem.columns) if problem.case.axis == 1 else (problem.columns, problem.rows)

    def call() -> tuple[Array]:
        given = tensors(arrays)
        return (
            torch.cat([compute(*given, rows) for rows in blocks(outputs, reduced * problem.dim)]).numpy(force=True),
        )

    return call


def tensors(arrays: list[Array]) -> list[Tensor]:
    """Tensors that share the arrays' memory, or copies of them on the default device."""
    return [torch.from_numpy(array).to(torch.get_default_device()) for array in arrays]


class Torch(Engine):
    name = "torch"
    package = "torch"
    makers: ClassVar[Makers] = {
        Gaussian: gaussian, GaussianBatches: gaussian_batches, GaussianGradient: gaussian_gradient,
        LogSumExp: log_sum_exp, Neighbours: neighbours, Assignment: assignment, Example: example,
    }  # fmt: skip

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def threads(self) -> int:
        return torch.get_num_threads()
