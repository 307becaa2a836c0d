r"""
LogSumExp of tensors: its gradients survive where sums overflow
===============================================================

The logarithm of a sum of exponentials: safely, and in the way that overflows; with gradients by autograd.

::

    c_i = log sum_j exp(F_ij),    F_ij = (p - a_j)^2 exp(x_i + y_j)        all of them numbers, not vectors.

Unstable: sum up exp(F_ij) and take torch.log. In float32, exp(89) is infinite already.
Stable: the reduction LogSumExp. With m_i the largest F_ij, it computes m_i + log sum_j exp(F_ij - m_i), in one pass.

Both are nodes of autograd's graph, and `torch.autograd.grad(c, y, e)` gives the gradient of <c, e> in y,

::

    g_j = sum_i e_i exp(F_ij) / s_i  dF_ij/dy_j,    s_i = sum_j exp(F_ij),

the unstable one as that of the plain sum for the weights e_i / s_i, the stable one with exp(F_ij) / s_i =
exp(F_ij - c_i), which cannot overflow. If nothing overflows, the two agree to rounding. At the end x grows by 80. Then
only the stable one and its gradient stay finite.

torch in float64, with the table of all F_ij, tells how exact they are. If pykeops is installed, it is timed, too: on
the same tensors, in the same lines of code.

Run it::

    python examples/torch/log_sum_exp.py --output FOLDER
"""

from __future__ import annotations

from itertools import product
from typing import Any

import helpers
import torch
from torch import Tensor
from torch.autograd import grad

import clreduce
from clreduce.torch import Genred

# -------------------------------------------------------------------------------------------------- with clreduce

FORMULA = "Square(p - a) * Exp(x + y)"
ALIASES = ["p = Pm(1)", "a = Vj(1)", "x = Vi(1)", "y = Vj(1)"]  # Pm: a parameter; Vi: a row per i; Vj: a row per j

log_sum_exp = Genred(FORMULA, ALIASES, reduction_op="LogSumExp", axis=1)
sum_of_exp = Genred(f"Exp({FORMULA})", ALIASES, reduction_op="Sum", axis=1)


def stable(p: Tensor, a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return log_sum_exp(p, a, x, y)


def unstable(p: Tensor, a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.log(sum_of_exp(p, a, x, y))


# ----------------------------------------------------------------------------------------------- with dense torch


def dense(p: Tensor, a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """With the table of all F_ij."""
    return torch.logsumexp(torch.square(p - a.T) * torch.exp(x + y.T), dim=1, keepdim=True)


# ------------------------------------------------------------------------------------------------- the comparison

LIMITS = {torch.float32: 1e-6, torch.float64: 1e-13}  # of |stable - unstable| / |unstable|, and of errors of entries
SHIFT = 80
# x + y near 80 is rounded to a multiple of 2^-17 in float32, of 2^-46 in float64. exp makes half of that the relative
# error of F, which no way of adding up can take back. The limit is twice as much.
SHIFTED_LIMITS = {torch.float32: 2.0**-17, torch.float64: 2.0**-46}


def gradient(c: Tensor, y: Tensor, e: Tensor) -> Tensor:
    """Of <c, e> in y; autograd's graph is kept, to time more than one call."""
    (g,) = grad(c, y, e, retain_graph=True)
    return g


def peer_times(*inputs: Tensor, e: Tensor) -> tuple[float, float] | None:
    """Seconds of pykeops for the values and the gradient, where it is installed."""
    peer = helpers.pykeops_torch()
    if peer is None:
        return None
    routine: Any = peer.Genred(FORMULA, ALIASES, reduction_op="LogSumExp", axis=1)
    c, seconds = helpers.timed(routine, *inputs, calls=4)
    return seconds, helpers.timed(gradient, c, inputs[-1], e, calls=4)[1]


def main() -> None:
    folder = helpers.output_folder(__doc__)
    rows, columns = helpers.scaled(3000), helpers.scaled(5000)
    size = f"{rows} x {columns}"
    print(f"device: {clreduce.current_device()}\npairs:  {size}")
    precisions = helpers.precisions()
    print()
    torch.manual_seed(0)
    p, a, x, y, e = torch.tensor([0.25]), *(torch.rand(n, 1) for n in (columns, rows, columns, rows))

    agreement = helpers.Table(("|stable - unstable| / |unstable|", "values", "gradient"))
    table = helpers.Table(
        ("largest relative error, and time", "data", "error", "clreduce", "dense float64", "ratio", "pykeops", "ratio")
    )
    shifted = helpers.Table((f"x + {SHIFT}", "data", "c_0", "c_1", "error of c", "error of g"))
    limits = helpers.Limits()
    panels = []
    for place, dtype in product(helpers.devices(), precisions):
        limit = LIMITS[dtype]
        inputs = [one.to(place, dtype) for one in (p, a, x, y)]
        cotangent = e.to(place, dtype)
        inputs[-1].requires_grad_()
        exact = [one.detach().double() for one in inputs]  # rounded to dtype here as well
        exact[-1].requires_grad_()
        data = f"{str(dtype).removeprefix('torch.')}, {place}"

        # As a user writes it: c = log_sum_exp(p, a, x, y); (g,) = torch.autograd.grad(c, y, e)
        c, c_seconds = helpers.timed(stable, *inputs)
        g, g_seconds = helpers.timed(gradient, c, inputs[-1], cotangent)
        c_naive, c_naive_seconds = helpers.timed(unstable, *inputs)
        g_naive, g_naive_seconds = helpers.timed(gradient, c_naive, inputs[-1], cotangent)
        c_dense, c_dense_seconds = helpers.timed(dense, *exact, calls=2)
        g_dense, g_dense_seconds = helpers.timed(gradient, c_dense, exact[-1], cotangent.double(), calls=1)
        peer = peer_times(*inputs, e=cotangent)

        ratios = helpers.norm_ratio(c, c_naive), helpers.norm_ratio(g, g_naive)
        agreement.add(data, *(f"{ratio:.1e}" for ratio in ratios))
        for name, ratio in zip(("values", "gradients"), ratios, strict=True):
            limits.expect(f"|stable - unstable| / |unstable| of the {name}, {data}", ratio, limit)

        for name, result, seconds, expected, dense_seconds, at in (
            ("LogSumExp", c, c_seconds, c_dense, c_dense_seconds, 0),
            ("log of Sum", c_naive, c_naive_seconds, c_dense, c_dense_seconds, None),
            ("gradient of LogSumExp", g, g_seconds, g_dense, g_dense_seconds, 1),
            ("gradient of log of Sum", g_naive, g_naive_seconds, g_dense, g_dense_seconds, None),
        ):
            error = helpers.relative_error(result, expected)
            limits.expect(f"relative error of the {name}, {data}", error, limit)
            times = helpers.milliseconds(seconds), helpers.milliseconds(dense_seconds), f"{dense_seconds / seconds:.1f}"
            others = ("", "")
            if peer is not None and at is not None:
                others = helpers.milliseconds(peer[at]), f"{peer[at] / seconds:.1f}"
            table.add(name, data, f"{error:.1e}", *times, *others)
        if dtype == torch.float32 and place.type == "cpu":
            panels = [
                helpers.Panel("Values", "$i$", "$c_i$", helpers.numbers(c_naive), helpers.numbers(c)),
                helpers.Panel("Gradients in y", "$j$", "$g_j$", helpers.numbers(g_naive), helpers.numbers(g), log=True),
            ]

        moved = [*inputs[:2], inputs[2] + SHIFT, inputs[3]]
        exact = [one.detach().double() for one in moved]
        exact[-1].requires_grad_()
        c_dense = dense(*exact)
        g_dense = gradient(c_dense, exact[-1], cotangent.double())
        for name, function in (("LogSumExp", stable), ("log of Sum", unstable)):
            c = function(*moved)
            g = gradient(c, moved[-1], cotangent)
            errors = helpers.relative_error(c, c_dense), helpers.norm_ratio(g, g_dense)
            shown = (f"{value:.4g}" for value in c[:2, 0].tolist())
            shifted.add(name, data, *shown, *(f"{error:.1e}" for error in errors))
            if name == "LogSumExp":
                limits.expect(f"relative error of {name} for x + {SHIFT}, {data}", errors[0], SHIFTED_LIMITS[dtype])
            elif c.isfinite().any():
                limits.exceeded.append(f"the {name} for x + {SHIFT} in {data} should overflow, and did not")

    print(f"{agreement}\n\n{table}\n\n{shifted}\n")
    formula = r"$c_i = \log\, \sum_j\, \exp\left((p - a_j)^2\, \exp(x_i + y_j)\right)$"
    title = f"Log-sum-exp of tensors, over {size} pairs\n{formula}"
    names = ("unstable: torch.log of Sum", "stable: LogSumExp")
    helpers.plot(folder / "torch_log_sum_exp.png", title, names, panels)
    limits.check()


if __name__ == "__main__":
    main()
