"""`Reduction`: a monoid written in IR. What a kernel keeps per row, how a column enters, how two parts merge.

The formulas below are over *state*: one `Expr` per slot. No schedule, lane or dtype appears here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    blocked: bool = False
    """Whether partial sums are flushed tile by tile, to keep rounding errors small."""
    tangent: Callable[[Column, Sequence[Expr], Sequence[Expr]], Expr] | None = None
    """``tangent(column, residuals, d_values)``: the term of column j in the differential of the first output."""
    residual: str = ""
    """The reduction of the same formulas whose outputs are the residuals of ``tangent``; "" if it reads none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return reduction_named, (self.name,)

    def __repr__(self) -> str:
        return f"<Reduction {self.name}>"


REDUCTIONS: dict[str, Reduction] = {}
"""Every reduction by the name that users give."""


def reduction_named(name: str) -> Reduction:
    """The reduction, for unpickling: each exists once."""
    return REDUCTIONS[name]


def register(reduction: Reduction) -> Reduction:
    """Enter a reduction in `REDUCTIONS`; a name is taken once."""
    if reduction.name in REDUCTIONS:
        raise ValueError(f"reduction {reduction.name!r} exists already")
    REDUCTIONS[reduction.name] = reduction
    return reduction
