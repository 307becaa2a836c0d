r"""
LogSumExp survives where the logarithm of a sum overflows
=========================================================

The logarithm of a sum of exponentials: safely, and in the way that overflows.

::

    c_i = log sum_j exp(F_ij),    F_ij = (p - a_j)^2 exp(x_i + y_j)        all of them numbers, not vectors.

Unstable: sum up exp(F_ij) and take the logarithm. In float32, exp(89) is infinite already.
Stable: the reduction LogSumExp. With m_i the largest F_ij, it computes m_i + log sum_j exp(F_ij - m_i), in one pass.

Both have a gradient in y, for numbers e_i that weigh the rows::

    d <c, e> / d y_j = sum_i e_i exp(F_ij) / s_i  dF_ij/dy_j,    s_i = sum_j exp(F_ij).

The unstable way applies the chain rule: it is the gradient of the plain sum for the weights e_i / s_i. The stable way
asks LogSumExp for its gradient, in which exp(F_ij) / s_i = exp(F_ij - c_i) cannot overflow.

Where nothing overflows the two agree to rounding. At last x grows by 80, and only one of them survives.

Run it::

    python examples/log_sum_exp.py --output FOLDER
"""

from __future__ import annotations

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import Genred

# -------------------------------------------------------------------------------------------------- with clreduce

FORMULA = "Square(p - a) * Exp(x + y)"
ALIASES = ["p = Pm(1)", "a = Vj(1)", "x = Vi(1)", "y = Vj(1)"]  # Pm: a parameter; Vi: a row per i; Vj: a row per j

log_sum_exp = Genred(FORMULA, ALIASES, "LogSumExp", axis=1)
log_sum_exp_gradient = log_sum_exp.grad("y")

sum_of_exp = Genred(f"Exp({FORMULA})", ALIASES, "Sum", axis=1)


def unstable(p: Array, a: Array, x: Array, y: Array) -> Array:
    return np.log(sum_of_exp(p, a, x, y))


def unstable_gradient(p: Array, a: Array, x: Array, y: Array, e: Array) -> Array:
    (gradient,) = sum_of_exp.vjp(p, a, x, y, cotangent=e / sum_of_exp(p, a, x, y), wrt=["y"])
    return gradient


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_log_sum_exp(p: Array, a: Array, x: Array, y: Array) -> Array:
    c = np.empty_like(x)
    for i, x_i in enumerate(x):
        f = np.square(p - a) * np.exp(x_i + y)
        c[i] = f.max() + np.log(np.exp(f - f.max()).sum())
    return c


def numpy_gradient(p: Array, a: Array, x: Array, y: Array, e: Array) -> Array:
    c, g = numpy_log_sum_exp(p, a, x, y), np.empty_like(y)
    for j, (a_j, y_j) in enumerate(zip(a, y, strict=True)):
        f = np.square(p - a_j) * np.exp(x + y_j)  # is its own derivative in y_j
        g[j] = (e * np.exp(f - c) * f).sum(0)
    return g


# ------------------------------------------------------------------------------------------------- the comparison

LIMITS = {"float32": 1e-6, "float64": 1e-13}  # of |stable - unstable| / |unstable|, and of every entry's relative error
SHIFT = 80
# x + y near 80 is rounded to a multiple of 2^-17 in float32, of 2^-46 in float64. exp makes half of that the relative
# error of F, which no way of adding up can take back. The limit is twice as much.
SHIFTED_LIMITS = {"float32": 2.0**-17, "float64": 2.0**-46}


def main() -> None:
    folder = support.output_folder(__doc__)
    device = clreduce.current_device()
    rows, columns = support.scaled(3000), support.scaled(5000)
    size = f"{rows} x {columns}"
    print(f"device: {device}\npairs:  {size}")
    precisions = support.precisions()
    print()
    rng = np.random.default_rng(0)
    p, a = np.array([0.25]), rng.random(size=(columns, 1))
    x, y, e = rng.random(size=(rows, 1)), rng.random(size=(columns, 1)), rng.random(size=(rows, 1))

    agreement = support.Table(("|stable - unstable| / |unstable|", "values", "gradient"))
    table = support.Table(("largest relative error, and time", "data", "error", "clreduce", "NumPy float64", "ratio"))
    shifted = support.Table(
        (f"x + {SHIFT}, as the first rows show", "data", "c_0", "c_1", "c_2", "largest relative error")
    )
    limits = support.Limits()
    panels = []
    for dtype in precisions:
        limit = LIMITS[dtype]
        *inputs, cotangent = (array.astype(dtype) for array in (p, a, x, y, e))
        exact = [array.astype("float64") for array in (*inputs, cotangent)]  # rounded to dtype here as well

        c, c_seconds = support.timed(log_sum_exp, *inputs)
        g, g_seconds = support.timed(log_sum_exp_gradient, *inputs, cotangent)
        c_naive, c_naive_seconds = support.timed(unstable, *inputs)
        g_naive, g_naive_seconds = support.timed(unstable_gradient, *inputs, cotangent)
        c_numpy, c_numpy_seconds = support.timed(numpy_log_sum_exp, *exact[:-1], calls=4)
        g_numpy, g_numpy_seconds = support.timed(numpy_gradient, *exact, calls=4)

        ratios = [support.norm_ratio(stable, naive) for stable, naive in ((c, c_naive), (g, g_naive))]
        agreement.add(dtype, *(f"{ratio:.1e}" for ratio in ratios))
        for name, ratio in zip(("values", "gradients"), ratios, strict=True):
            limits.expect(f"|stable - unstable| / |unstable| of the {name}, {dtype}", ratio, limit)

        for name, result, seconds, expected, numpy_seconds in (
            ("LogSumExp", c, c_seconds, c_numpy, c_numpy_seconds),
            ("log of Sum", c_naive, c_naive_seconds, c_numpy, c_numpy_seconds),
            ("gradient of LogSumExp", g, g_seconds, g_numpy, g_numpy_seconds),
            ("gradient of log of Sum", g_naive, g_naive_seconds, g_numpy, g_numpy_seconds),
        ):
            error = support.relative_error(result, expected)
            limits.expect(f"relative error of the {name}, {dtype}", error, limit)
            times = support.milliseconds(seconds), support.milliseconds(numpy_seconds)
            table.add(name, dtype, f"{error:.1e}", *times, f"{numpy_seconds / seconds:.1f}")
        if dtype == "float32":
            panels = [
                support.Panel("Values", "$i$", "$c_i$", c_naive, c),
                support.Panel("Gradients in y", "$j$", "$g_j$", g_naive, g, log=True),
            ]

        inputs[2] = inputs[2] + np.asarray(SHIFT, dtype)
        expected = numpy_log_sum_exp(*(array.astype("float64") for array in inputs))
        for name, result in (("LogSumExp", log_sum_exp(*inputs)), ("log of Sum", unstable(*inputs))):
            error = support.relative_error(result, expected)
            shifted.add(name, dtype, *(f"{value:.4g}" for value in result[:3, 0]), f"{error:.1e}")
            if name == "LogSumExp":
                limits.expect(f"relative error of {name} for x + {SHIFT}, {dtype}", error, SHIFTED_LIMITS[dtype])
            elif np.isfinite(result).any():
                limits.exceeded.append(f"the {name} for x + {SHIFT} in {dtype} should overflow, and did not")

    print(f"{agreement}\n\n{table}\n\n{shifted}\n")
    formula = r"$c_i = \log\, \sum_j\, \exp\left((p - a_j)^2\, \exp(x_i + y_j)\right)$"
    title = f"Log-sum-exp over {size} pairs\n{formula}"
    names = ("unstable: log of Sum", "stable: LogSumExp")
    support.plot(folder / "log_sum_exp.png", title, names, panels)
    limits.check()


if __name__ == "__main__":
    main()
