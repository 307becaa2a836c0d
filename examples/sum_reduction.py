r"""
A sum over all pairs and its gradient, without the table of terms
=================================================================

A sum over j of a formula, and its gradient.

Given are x with M rows and y with N rows, a number a_j for each row of y, and a parameter p::

    c_i = sum_j (p - a_j)^2 exp(x_i + y_j)        x_i and y_j are vectors of length 3, a_j and p are numbers,

so that c, like x, has M rows of length 3. The M x N table of terms is never stored.

For a table e of the shape of c, the gradient of <c, e> in y has N rows. Only the terms of column j depend on y_j, so
each of its rows is a sum as well, over i this time::

    g_j = sum_i (p - a_j)^2 exp(x_i + y_j) e_i    (products of vectors entry by entry).

It is computed in two ways: by writing `Grad(formula, y, e)` as a formula and reducing it over i (axis=0), and by asking
the first routine for its gradient. NumPy in float64 on the same numbers, row by row, tells how exact all of them are.

Run it::

    python examples/sum_reduction.py --output FOLDER
"""

from __future__ import annotations

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import Genred

# -------------------------------------------------------------------------------------------------- with clreduce

FORMULA = "Square(p - a) * Exp(x + y)"
ALIASES = ["p = Pm(1)", "a = Vj(1)", "x = Vi(3)", "y = Vj(3)"]  # Pm: a parameter; Vi: a row per i; Vj: a row per j

sum_over_j = Genred(FORMULA, ALIASES, "Sum", axis=1)
gradient_formula = Genred(f"Grad({FORMULA}, y, e)", [*ALIASES, "e = Vi(3)"], "Sum", axis=0)
gradient_routine = sum_over_j.grad("y")  # short for sum_over_j.vjp(p, a, x, y, cotangent=e, wrt=["y"])[0]

# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_sum(p: Array, a: Array, x: Array, y: Array) -> Array:
    return np.stack([(np.square(p - a) * np.exp(x_i + y)).sum(0) for x_i in x])


def numpy_gradient(p: Array, a: Array, x: Array, y: Array, e: Array) -> Array:
    return np.stack([(np.square(p - a_j) * np.exp(x + y_j) * e).sum(0) for a_j, y_j in zip(a, y, strict=True)])


# ------------------------------------------------------------------------------------------------- the comparison

LIMITS = {"float32": 2e-6, "float64": 1e-13}  # of the relative error of every single entry: all terms are positive


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    precisions = support.precisions()
    print()
    table = support.Table(("", "M x N", "data", "largest relative error", "clreduce", "NumPy float64", "ratio"))
    limits = support.Limits()
    panels = []
    rng = np.random.default_rng(0)
    for rows, columns in ((30, 50), (support.scaled(3000), support.scaled(5000))):
        size = f"{rows} x {columns}"
        p, a = rng.normal(size=1), rng.normal(size=(columns, 1))
        x, y = rng.normal(size=(rows, 3)), rng.normal(size=(columns, 3))
        e = rng.random(size=(rows, 3))
        for dtype in precisions:
            limit = LIMITS[dtype]
            *inputs, cotangent = (array.astype(dtype) for array in (p, a, x, y, e))
            exact = [array.astype("float64") for array in (*inputs, cotangent)]  # rounded to dtype here as well

            c, c_seconds = support.timed(sum_over_j, *inputs)
            g, g_seconds = support.timed(gradient_formula, *inputs, cotangent)
            h, h_seconds = support.timed(gradient_routine, *inputs, cotangent)
            c_numpy, c_numpy_seconds = support.timed(numpy_sum, *exact[:-1], calls=4)
            g_numpy, g_numpy_seconds = support.timed(numpy_gradient, *exact, calls=4)

            for name, result, seconds, expected, numpy_seconds in (
                ("sum", c, c_seconds, c_numpy, c_numpy_seconds),
                ("gradient, Grad(..)", g, g_seconds, g_numpy, g_numpy_seconds),
                ("gradient, .grad('y')", h, h_seconds, g_numpy, g_numpy_seconds),
            ):
                error = support.relative_error(result, expected)
                limits.expect(f"relative error of the {name}, {size}, {dtype}", error, limit)
                times = support.milliseconds(seconds), support.milliseconds(numpy_seconds)
                table.add(name, size, dtype, f"{error:.1e}", *times, f"{numpy_seconds / seconds:.1f}")
            if dtype == "float32":
                panels = [
                    support.Panel("Sum over j", "$i$", "$c_i$, first component", c_numpy[:, 0], c[:, 0], log=True),
                    support.Panel(
                        "Its gradient in y", "$j$", "$g_j$, first component", g_numpy[:, 0], g[:, 0], log=True
                    ),
                ]
    print(f"{table}\n")
    formula = r"$c_i = \sum_j\ (p - a_j)^2\, \exp(x_i + y_j)$"
    title = f"A sum over {size} pairs\n{formula}"
    support.plot(folder / "sum_reduction.png", title, ("NumPy in float64", "clreduce in float32"), panels)
    limits.check()


if __name__ == "__main__":
    main()
