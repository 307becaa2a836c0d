"""Rewrites on numbers from the whole range of floats: they change no result whose computation as written stays inside.

    python tests/extremes.py --programs 10000 --seed 1 --out RESULT.txt

A random formula is evaluated in the order in which it was written, or in which automatic differentiation wrote it, and
as the library rewrites it. The two must agree wherever every value of the first is normal: finite, not subnormal, and
`MARGIN` away from both ends of the range. Rewrites that assume parameters of moderate size get such.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, topological
from clreduce.ir.factors import Arranged, arrange_moderate_products, arrange_products
from clreduce.ir.op import constant, constant_value, variable
from clreduce.ir.rewrite import simplify
from clreduce.ops.arithmetic import square
from clreduce.ops.functions import absolute, exp, sqrt
from clreduce.ops.shape import concat, extract, repeated, summed

Array = np.ndarray[Any, Any]
MARGIN = 2.0**20
"""What the constants that rewrites move may amount to (`ir/rewrite.py`, `is_moderate`), twice."""
SAMPLES = 64
WIDER = {"float32": "float64", "float64": "longdouble"}
NUMBERS = (2, -1, 0.5, -3, 100, 1e9)
LENGTHS = (1, 1, 1, 3)
FOUND = 1e-2
"""A relative error that no rounding makes where the plain form is exact to `EXACT`."""
EXACT = 1e-4
Rewrite = Callable[[Sequence[Expr]], Arranged]


def rewritten(roots: Sequence[Expr]) -> Arranged:
    """What the library computes for a derivative."""
    return Arranged(arrange_products(simplify(roots)), (), 1.0)


def rewritten_for_moderate_parameters(roots: Sequence[Expr]) -> Arranged:
    """The same where parameters are of moderate size."""
    return arrange_moderate_products(simplify(roots))


@dataclass(frozen=True)
class Outcome:
    """What one formula showed: how many results could be compared, and which of them differ."""

    compared: int
    wrong: tuple[str, ...]


def formula(random: Random, depth: int, leaves: list[Expr], dim: int) -> Expr:
    """A random formula of length ``dim``; products are frequent."""
    if depth == 0:
        known = [leaf for leaf in leaves if leaf.dim == dim]
        if known and random.random() < 0.4:
            return random.choice(known)
        leaves.append(variable(("leaf", len(leaves)), dim, random.choice([Domain.I, Domain.J, Domain.P])))
        return leaves[-1]

    def part(length: int = dim) -> Expr:
        return formula(random, random.randint(0, depth - 1), leaves, length)

    kind = random.choice(["mul"] * 6 + ["scale", "div", "add", "sub", "square", "gauss", "exp", "sqrt", "sum", "pack"])
    if kind == "mul":
        return part() * part(random.choice([1, dim]))
    if kind == "scale":
        return constant(random.choice(NUMBERS)) * part()
    if kind in ("div", "add", "sub"):
        a, b = part(), part()
        return a / b if kind == "div" else a + b if kind == "add" else a - b
    if kind == "square":
        return square(part())
    if kind == "gauss":
        return repeated(exp(-part(1) * summed(square(part(3) - part(3)))), dim)
    if kind == "exp":
        return exp(-part())
    if kind == "sqrt":
        return sqrt(absolute(part()))
    if kind == "sum":
        return repeated(summed(part(3)), dim)
    return concat(*[part(1)] * dim) if dim > 1 else extract(part(3), random.randint(0, 2), 1)


def evaluated(roots: Sequence[Expr], data: dict[Expr, Array], dtype: str) -> tuple[dict[Expr, Array], Array]:
    """All values in ``dtype``, subnormal numbers as 0 as in kernels; and for which samples all of them are normal."""
    info = np.finfo(dtype)
    values: dict[Expr, Array] = {}
    normal = np.ones(SAMPLES, bool)
    with np.errstate(all="ignore"):
        for node in topological(roots):
            if node.op.name == "variable":
                value = data[node].astype(dtype)
            elif constant_value(node) is not None:
                values[node] = np.full((SAMPLES, 1), float(node.params[0]), dtype)
                continue
            else:
                value = node.op.numpy(*(values[arg] for arg in node.args), *node.params)
            if node.kind == REAL:
                value = value.astype(dtype)
                size = np.abs(value)
                value = np.where(size < info.tiny, np.zeros((), dtype), value)
                if not (node.op.linear and node.op.terms is None):  # zeros that pad a vector
                    normal &= ((size >= info.tiny * MARGIN) & (size <= info.max / MARGIN)).all(-1)
            values[node] = value
    return values, normal


def compare(plain: Sequence[Expr], other: Sequence[Expr], data: dict[Expr, Array], dtype: str, what: str) -> Outcome:
    """Whether ``other`` gives what ``plain`` gives, where that stays inside the range and is exact."""
    values, normal = evaluated(plain, data, dtype)
    exact, _ = evaluated(plain, data, WIDER[dtype])
    results, _ = evaluated(other, data, dtype)
    compared, wrong = 0, []
    with np.errstate(all="ignore"):
        for f, g in zip(plain, other, strict=True):
            size = np.abs(exact[f])
            counted = normal[:, None] & (np.abs(values[f] - exact[f]) <= EXACT * size)
            counted, expected, result = np.broadcast_arrays(counted, values[f], results[g])
            compared += int(counted.sum())
            differs = counted & ~(np.abs(result - expected) <= FOUND * np.abs(expected))
            if differs.any():
                wrong.append(f"{what}, {dtype}: {f} is {expected[differs][0]}, but {g} is {result[differs][0]}")
    return Outcome(compared, tuple(wrong))


def outcomes(random: Random, rewrite: Rewrite = rewritten) -> dict[tuple[str, str], Outcome]:
    """One random program: its formula, and its derivatives of first and second order, in both precisions."""
    leaves: list[Expr] = []
    dim = random.choice(LENGTHS)
    f = formula(random, random.choice([2, 3, 4]), leaves, dim)
    wrt = random.sample(leaves, min(len(leaves), 2))
    cotangent = variable("e", dim, Domain.I)
    first = [part for part in vjp({f: cotangent}, wrt) if part is not None]
    forms: dict[str, tuple[Sequence[Expr], Arranged]] = {"value": ([f], rewrite([f]))}
    extra = [cotangent]
    if first:
        forms["first derivative"] = first, rewrite(first)
        direction = variable("d", first[0].dim, Domain.J)
        extra.append(direction)
        second = vjp({first[0]: direction}, wrt)
        of_simplified = vjp({simplify(first)[0]: direction}, wrt)  # which is what programs of derivatives hold
        both = [pair for pair in zip(second, of_simplified, strict=True) if None not in pair]
        if both:
            plain, other = zip(*both, strict=True)
            forms["second derivative"] = plain, rewrite(other)
    found = {}
    rng = np.random.default_rng(random.randint(0, 2**32))
    for dtype in WIDER:
        reach = (np.log2(float(np.finfo(dtype).max)) - 20) * rng.uniform(0.1, 1.0)
        data = {
            leaf: 2.0 ** rng.uniform(-reach, reach, (SAMPLES, 1)) * rng.uniform(-2, 2, (SAMPLES, leaf.dim))
            for leaf in [*leaves, *extra]
        }  # fmt: skip
        data = {leaf: array.astype(dtype) for leaf, array in data.items()}
        for what, (plain, other) in forms.items():
            bits = np.log2(other.limit) if other.parameters else 0.0
            moderate = {
                leaf: (2.0 ** rng.uniform(-bits, bits, (SAMPLES, 1)) * rng.choice([-1, 1], (SAMPLES, 1))).astype(dtype)
                for leaf in other.parameters
            }
            found[what, dtype] = compare(plain, other.values, data | moderate, dtype, what)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moderate", action="store_true", help="as rewritten for parameters of moderate size")
    parser.add_argument("--out", type=Path, help="the result file")
    options = parser.parse_args()
    rewrite = rewritten_for_moderate_parameters if options.moderate else rewritten
    started = time.monotonic()
    compared, programs, wrong = Counter[tuple[str, str]](), Counter[tuple[str, str]](), []
    for number in range(options.programs):
        for key, outcome in outcomes(Random(f"{options.seed}/{number}"), rewrite).items():
            compared[key] += outcome.compared
            programs[key] += bool(outcome.compared)
            wrong += [f"program {number}: {line}" for line in outcome.wrong]
    lines = [
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC: "
        f"python tests/extremes.py --programs {options.programs} --seed {options.seed}"
        + " --moderate"
        * options.moderate,
        f"{options.programs} programs, {len(wrong)} differences, {time.monotonic() - started:.0f} s",
        "",
        "results compared (programs with at least one)",
        *(f"{what}, {dtype}: {compared[what, dtype]} ({programs[what, dtype]})" for what, dtype in sorted(compared)),
        "",
        "differences",
        *(wrong or ["none"]),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
