"""The largest and smallest component of a vector, and its position. nan is ignored; ties go to the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import INF, NAN, Array, Edge, Fold, Op, constant, iota, register, spell
from clreduce.ops.bounds.support import Rule
from clreduce.ops.bounds.vectors import extreme_component, place_of_component
from clreduce.ops.compare import equal, where
from clreduce.ops.shape import summed


def _infer(args: tuple[Expr, ...], params: tuple[Any, ...]) -> tuple[int, Domain, str]:
    return 1, args[0].domain, REAL


def _folded(
    name: str, numpy: Callable[[Array], Array], fold: Fold, differential: Callable[..., Expr], bounds: Rule
) -> Op:
    return register(
        Op(
            name, _infer, numpy, remap=lambda k, t, f: (0, t), terms=lambda f: f.dim,
            fold=fold, differential=differential, bounds=bounds,
        )
    )  # fmt: skip


def _no_slope(out: Expr, tangent: Expr, f: Expr) -> Expr:
    return constant(0)


def _declare(extreme: str, place: str, sign: str, neutral: float) -> tuple[Op, Op]:
    """The operations for one direction; ``sign`` compares a term with the best one before it."""

    def cleaned(f: Array) -> Array:
        return np.where(np.isnan(f), neutral, f)

    def best(f: Array) -> Array:
        best_component: Array = (np.max if neutral < 0 else np.min)(cleaned(f), -1, keepdims=True)
        return best_component

    def position(f: Array) -> Array:
        place_of_best: Array = (np.argmax if neutral < 0 else np.argmin)(cleaned(f), -1, keepdims=True).astype(f.dtype)
        return place_of_best

    def slope(out: Expr, tangent: Expr, f: Expr) -> Expr:
        return summed(where(equal(iota(f.dim), where_best(f)), tangent, constant(0)))

    def better(accumulator: int, new: str) -> str:
        return f"{{x}} {sign} {{{accumulator}}} ? {new} : "

    place_and_best = Fold((0.0, neutral), (better(1, "({R})({t})") + "{0}", better(1, "{x}") + "{1}"))
    where_best = _folded(place, position, place_and_best, _no_slope, place_of_component)
    extremes = extreme_component(1 if neutral < 0 else -1)
    return _folded(extreme, best, Fold((neutral,), (better(0, "{x}") + "{0}",)), slope, extremes), where_best


largest, arg_largest = _declare("largest", "arg_largest", ">", -INF)
smallest, arg_smallest = _declare("smallest", "arg_smallest", "<", INF)

spell(
    "Max", largest, "largest component; nan is passed over, the slope is 1 in the first of equals and else 0", "f",
    example=(6,), edges=(
        Edge(((1.0, 3.0, 3.0),), 3.0, ((0.0, 1.0, 0.0),)),
        Edge(((NAN, 1.0, -INF),), 1.0, ((0.0, 1.0, 0.0),)),
        Edge(((INF, 1.0, INF),), INF, ((1.0, 0.0, 0.0),)),
        Edge(((NAN, NAN),), -INF, ((1.0, 0.0),)),
    ),
)  # fmt: skip
spell(
    "Min", smallest, "smallest component; nan is passed over, the slope is 1 in the first of equals and else 0", "f",
    example=(6,), edges=(
        Edge(((1.0, 1.0, 3.0),), 1.0, ((1.0, 0.0, 0.0),)),
        Edge(((NAN, 1.0, INF),), 1.0, ((0.0, 1.0, 0.0),)),
        Edge(((-INF, 1.0, -INF),), -INF, ((1.0, 0.0, 0.0),)),
        Edge(((NAN, NAN),), INF, ((1.0, 0.0),)),
    ),
)  # fmt: skip
spell(
    "ArgMax", arg_largest, "place of the largest component, the first of equals, counted from 0; nan is passed over, "
    "slope 0 everywhere", "f", example=(6,), edges=(
        Edge(((1.0, 3.0, 3.0),), 1.0, ((0.0, 0.0, 0.0),)),
        Edge(((NAN, 1.0, -INF),), 1.0, ((0.0, 0.0, 0.0),)),
        Edge(((NAN, NAN),), 0.0, ((0.0, 0.0),)),
    ),
)  # fmt: skip
spell(
    "ArgMin", arg_smallest, "place of the smallest component, the first of equals, counted from 0; nan is passed over, "
    "slope 0 everywhere", "f", example=(6,), edges=(
        Edge(((3.0, 1.0, 1.0),), 1.0, ((0.0, 0.0, 0.0),)),
        Edge(((NAN, 1.0, INF),), 1.0, ((0.0, 0.0, 0.0),)),
        Edge(((NAN, NAN),), 0.0, ((0.0, 0.0),)),
    ),
)  # fmt: skip
