"""Terms up to a limit of their row: a formula that kernels of sorted lists recognise.

A list that begins empty takes in many terms that later ones push out again. Where it is known how large the K-th term
of a row may be, terms beyond that limit count as nothing, which a formula says:
``where(less_equal(term, limit), term, inf)``. A kernel of sorted lists computes the term alone. Its lists begin with
the limit in all places, so the test that every term passes anyway is the whole comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import constant, constant_value, integer
from clreduce.ops.compare import larger, less_equal, smaller, where
from clreduce.ops.shape import expand
from clreduce.program import MapReduce

_NUMBERS = {
    "float": (float(np.finfo(np.float32).max), 2.0**-22, 2.0**-126),
    "double": (float(np.finfo(np.float64).max), 2.0**-51, 2.0**-1022),
}
"""The largest number; more than the distance of a number to the next one, relative to it; the least normal number."""


class Threshold(NamedTuple):
    """A term, and the variable of i that it must not exceed."""

    term: Expr
    limit: Expr


def up_to(term: Expr, limit: Expr, rising: bool) -> Expr:
    """``term`` where it is at most ``limit``, else inf; with ``rising`` false: where it is at least that, else -inf.

    >>> from clreduce.ir.op import variable
    >>> term, limit = variable("v", 1, Domain.IJ), variable("limit", 1, Domain.I)
    >>> up_to(term, limit, True)
    Expr(where(less_equal(v, limit), v, inf))
    """
    within = less_equal(term, limit) if rising else less_equal(limit, term)
    return where(within, term, constant(math.inf if rising else -math.inf))


def threshold_of(program: MapReduce) -> Threshold | None:
    """The term and the limit of a program whose lists take in terms up to a limit only; None for all others."""
    if not program.reduction.keeps_terms or len(program.values) != 1:
        return None
    (value,) = program.values
    neutral = program.state_slots[0].neutral
    if value.op.name != "where" or value.dim != 1 or value.args[0].op.name != "less_equal":
        return None
    compared, term, other = value.args
    end = constant_value(other)
    rising = neutral > 0
    first, limit = compared.args if rising else reversed(compared.args)
    matches = first is term and limit.op.name == "variable" and limit.domain == Domain.I and limit.dim == 1
    return Threshold(term, limit) if matches and end is not None and float(end) == neutral else None


def start_of(limit: Expr, rising: bool, dtype: str) -> Expr:
    """A number just beyond a limit: terms that come before it are those up to the limit, and perhaps a few more."""
    largest, apart, least = _NUMBERS[dtype]
    # The number next to an infinity that comes before all terms is the largest one.
    finite = larger(limit, constant(-largest)) if rising else smaller(limit, constant(largest))
    # More than the distance to the next number, which may not be subnormal: some drivers take those for 0.
    step = larger(finite, -finite) * constant(apart) + constant(least)
    return finite + step if rising else finite - step


def within(lists: Sequence[Expr], limit: Expr, neutrals: Sequence[float], rising: bool) -> tuple[Expr, ...]:
    """Lists of terms and of what goes with them, without the terms beyond a limit and places that none has taken."""
    wide = expand(limit, 1, lists[0].dim, 1)
    mask = less_equal(lists[0], wide) if rising else less_equal(wide, lists[0])
    return tuple(
        where(mask, kept, integer(int(neutral)) if kept.kind == INDEX else constant(neutral))
        for kept, neutral in zip(lists, neutrals, strict=True)
    )


__all__ = ["Threshold", "start_of", "threshold_of", "up_to", "within"]
