"""`Reduction`: a monoid written in IR. What a kernel keeps per row, how a column enters, how two parts merge.

The formulas below are over *state*: one `Expr` per slot. No schedule, lane or dtype appears here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from clreduce.ir.expr import REAL, Expr

Array = np.ndarray[Any, Any]
State = tuple[Expr, ...]


@dataclass(frozen=True)
class Slot:
    """One vector that a row keeps while it is reduced; ``neutral`` is its value before any term."""

    dim: int
    neutral: float
    kind: str = REAL


@dataclass(frozen=True)
class Column:
    """What one column j brings to a row: the values of the formulas there, and j itself (a true integer)."""

    values: tuple[Expr, ...]
    index: Expr
    """Of length 1; as long as the values where a kept term comes back (`Reduction.keeps_terms`)."""


@dataclass(frozen=True, eq=False)
class Reduction:
    """One reduction over j, for every row i.

    ``update`` takes a *block* of columns at once, so that costs like the rescaling of a LogSumExp are paid per block.
    ``merge(a, b)`` joins the states of two ranges of columns, those of ``a`` before those of ``b``.
    ``finish(state, first)`` gives the outputs; ``first`` is the index of the row's first column, -1 if it has none.
    """

    name: str
    doc: str
    slots: Callable[[tuple[int, ...]], tuple[Slot, ...]]
    update: Callable[[State, Sequence[Column]], State]
    merge: Callable[[State, State], State]
    finish: Callable[[State, Expr], tuple[Expr, ...]]
    numpy: Callable[..., tuple[Array, ...]]
    """Meaning on arrays of values of shape (M, N, D): the outputs, of shape (M, D')."""
    formulas: int = 1
    """How many formulas it takes."""
    count: int | None = None
    """The number K of a reduction that takes one: it keeps K terms."""
    guard: Callable[[State, Sequence[Column]], Expr] | None = None
    """``guard(state, columns)``: a mask, false only where these columns leave the state as it is. Kernels test it first
    and skip an update that no lane needs."""
    keeps_terms: bool = False
    """Whether a state is a list of ``count`` terms: per slot their values, or their indices, one after the other. Parts
    are then merged by updating with each term, and ``update`` takes indices as long as the values. Component k of a
    slot's new value reads components of the state up to k only, so that long slots are updated in place."""
    blocked: bool = False
    """Whether partial sums are flushed tile by tile, to keep rounding errors small."""
    tangent: Callable[[Column, Sequence[Expr], Sequence[Expr]], Expr] | None = None
    """``tangent(column, residuals, d_values)``: the term of column j in the differential of the first output."""
    residual: str = ""
    """The reduction of the same formulas whose outputs are the residuals of ``tangent``; "" if it reads none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return reduction_named, (self.name, self.count)

    def __repr__(self) -> str:
        return f"<Reduction {self.name}{'' if self.count is None else f' K={self.count}'}>"


@dataclass(frozen=True)
class Family:
    """Reductions that differ in a number K, which users give: ``build(K)`` makes one."""

    name: str
    doc: str
    build: Callable[[int], Reduction]


REDUCTIONS: dict[str, Reduction] = {}
"""Every reduction that takes no number, by the name that users give."""
FAMILIES: dict[str, Family] = {}
"""Every family of reductions that take a number, by the name that users give."""


@cache
def reduction_named(name: str, count: int | None = None) -> Reduction:
    """The reduction of that name, for a number K if it takes one; the same object each time."""
    return REDUCTIONS[name] if count is None else FAMILIES[name].build(count)


def differentiable_names() -> list[str]:
    """The names of all reductions that have a derivative."""
    kinds = [*REDUCTIONS.values(), *(family.build(1) for family in FAMILIES.values())]
    return [kind.name for kind in kinds if kind.tangent is not None]


def register(entry: Reduction) -> Reduction:
    """Enter a reduction in `REDUCTIONS`; a name is taken once."""
    _check_name(entry.name)
    REDUCTIONS[entry.name] = entry
    return entry


def register_family(name: str, doc: str, build: Callable[[int], Reduction]) -> None:
    """Enter a family of reductions in `FAMILIES`; a name is taken once."""
    _check_name(name)
    FAMILIES[name] = Family(name, doc, build)


def _check_name(name: str) -> None:
    if name in REDUCTIONS or name in FAMILIES:
        raise ValueError(f"reduction {name!r} exists already")
