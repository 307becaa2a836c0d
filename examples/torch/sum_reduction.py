r"""
A sum of tensors, and its gradient by autograd
==============================================

A sum over j of a formula of tensors, and its gradient by autograd.

Given are x with M rows and y with N rows, a number a_j for each row of y, and a parameter p::

    c_i = sum_j (p - a_j)^2 exp(x_i + y_j)        x_i and y_j are vectors of length 3, a_j and p are numbers,

so that c, like x, has M rows of length 3. The M x N table of terms is never stored.

`torch.autograd.grad(c, y, e)` gives the gradient of <c, e> in y, a sum over i::

    g_j = sum_i (p - a_j)^2 exp(x_i + y_j) e_i    (products of vectors entry by entry).

It is computed in a second way, by writing `Grad(formula, y, e)` as a formula and reducing it over i (axis=0). torch in
float64 on the same numbers, with the table, tells how exact all of them are.

Run it::

    python examples/torch/sum_reduction.py --output FOLDER
"""

from __future__ import annotations

from itertools import product

import helpers
import torch
from torch import Tensor
from torch.autograd import grad

import clreduce
from clreduce.torch import Genred

# -------------------------------------------------------------------------------------------------- with clreduce

FORMULA = "Square(p - a) * Exp(x + y)"
ALIASES = ["p = Pm(1)", "a = Vj(1)", "x = Vi(3)", "y = Vj(3)"]  # Pm: a parameter; Vi: a row per i; Vj: a row per j

sum_over_j = Genred(FORMULA, ALIASES, reduction_op="Sum", axis=1)
gradient_formula = Genred(f"Grad({FORMULA}, y, e)", [*ALIASES, "e = Vi(3)"], reduction_op="Sum", axis=0)

# ----------------------------------------------------------------------------------------------- with dense torch


def dense(p: Tensor, a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """With the table of all terms."""
    return (torch.square(p - a) * torch.exp(x[:, None] + y)).sum(1)


# ------------------------------------------------------------------------------------------------- the comparison

LIMITS = {torch.float32: 2e-6, torch.float64: 1e-13}  # of the relative error of every single entry: all are positive


def gradient(c: Tensor, y: Tensor, e: Tensor) -> Tensor:
    """Of <c, e> in y; autograd's graph is kept, to time more than one call."""
    (g,) = grad(c, y, e, retain_graph=True)
    return g


def main() -> None:
    folder = helpers.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    precisions = helpers.precisions()
    print()
    table = helpers.Table(("", "M x N", "data", "largest relative error", "clreduce", "dense float64", "ratio"))
    limits = helpers.Limits()
    panels = []
    torch.manual_seed(0)
    for rows, columns in ((30, 50), (helpers.scaled(3000), helpers.scaled(5000))):
        size = f"{rows} x {columns}"
        p, a, x, y = torch.randn(1), torch.randn(columns, 1), torch.randn(rows, 3), torch.randn(columns, 3)
        e = torch.rand(rows, 3)
        for place, dtype in product(helpers.devices(), precisions):
            limit = LIMITS[dtype]
            inputs = [one.to(place, dtype) for one in (p, a, x, y)]
            cotangent = e.to(place, dtype)
            inputs[-1].requires_grad_()
            exact = [one.detach().double() for one in inputs]  # rounded to dtype here as well
            exact[-1].requires_grad_()
            data = f"{str(dtype).removeprefix('torch.')}, {place}"

            # As a user writes it: c = sum_over_j(p, a, x, y); (g,) = torch.autograd.grad(c, y, e)
            c, c_seconds = helpers.timed(sum_over_j, *inputs)
            g, g_seconds = helpers.timed(gradient, c, inputs[-1], cotangent)
            h, h_seconds = helpers.timed(gradient_formula, *inputs, cotangent)
            c_dense, c_dense_seconds = helpers.timed(dense, *exact, calls=2)
            g_dense, g_dense_seconds = helpers.timed(gradient, c_dense, exact[-1], cotangent.double(), calls=1)

            for name, result, seconds, expected, dense_seconds in (
                ("sum", c, c_seconds, c_dense, c_dense_seconds),
                ("gradient, autograd", g, g_seconds, g_dense, g_dense_seconds),
                ("gradient, Grad(..)", h, h_seconds, g_dense, g_dense_seconds),
            ):
                error = helpers.relative_error(result, expected)
                limits.expect(f"relative error of the {name}, {size}, {data}", error, limit)
                times = helpers.milliseconds(seconds), helpers.milliseconds(dense_seconds)
                table.add(name, size, data, f"{error:.1e}", *times, f"{dense_seconds / seconds:.1f}")
            if dtype == torch.float32 and place.type == "cpu":
                panels = [
                    helpers.Panel(
                        title, f"${index}$", f"${name}_{index}$, first component",
                        *(helpers.numbers(one[:, 0]) for one in (expected, computed)), log=True,
                    )
                    for title, index, name, expected, computed in (
                        ("Sum over j", "i", "c", c_dense, c), ("Its gradient in y", "j", "g", g_dense, g)
                    )
                ]  # fmt: skip
    print(f"{table}\n")
    formula = r"$c_i = \sum_j\ (p - a_j)^2\, \exp(x_i + y_j)$"
    title = f"A sum of tensors over {size} pairs\n{formula}"
    names = ("torch, dense, in float64", "clreduce in float32")
    helpers.plot(folder / "torch_sum_reduction.png", title, names, panels)
    limits.check()


if __name__ == "__main__":
    main()
