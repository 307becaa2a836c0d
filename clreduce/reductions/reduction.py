"""`Reduction`: a monoid written in IR. What a kernel keeps per row, how a column enters, how two parts merge.

The formulas below are over *state*: one `Expr` per slot. No schedule, lane or dtype appears here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from clreduce.ir.expr import REAL, Expr
from clreduce.typing import Array

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


class Skips(Enum):
    """Which terms of a row a reduction may pass over: all that is needed to skip blocks of pairs by their bounds."""

    NONE = ""
    """None that bounds could tell."""
    ABOVE = "above"
    """Terms larger than the last one in the list."""
    BELOW = "below"
    """Terms smaller than the last one in the list."""
    ZEROS = "zeros"
    """Terms that are 0."""
    HOLDING = "holding"
    """Terms that are not 0."""
    SMALL = "small"
    """Terms whose sizes add up to less than the tolerance."""
    SMALL_EXPONENTIALS = "small exponentials"
    """Terms whose exponentials add up to less than the tolerance times the others."""

    def __bool__(self) -> bool:
        return self is not Skips.NONE

    @property
    def selects(self) -> bool:
        """Whether terms are selected by their size."""
        return self in (Skips.ABOVE, Skips.BELOW)

    @property
    def approximate(self) -> bool:
        """Whether results change by what is skipped, within a tolerance."""
        return self in (Skips.SMALL, Skips.SMALL_EXPONENTIALS)


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
    """Meaning on arrays of values of shape (M, N, D), one per formula: the outputs, of shape (M, D')."""
    formula2: str = ""
    """What the second formula gives, in a few words; "" if the reduction takes one formula only."""
    scalar: bool = False
    """Whether the first formula must have length 1."""
    with_formula2: str = ""
    """The reduction that is meant if users give a second formula to this one; "" if they must not."""
    count: int | None = None
    """The number K of a reduction that takes one: it keeps K terms."""
    lists: bool = False
    """Whether each output is a list of ``count`` terms: their values, or their indices, one after the other."""
    guard: Callable[[State, Sequence[Column]], Expr] | None = None
    """``guard(state, columns)``: a mask, false only where these columns leave the state as it is. Kernels test it first
    and skip an update that no lane needs."""
    keeps_terms: bool = False
    """Whether a state is a list of ``count`` terms, to which columns are added one by one: per slot their values, or
    their indices, one after the other. Parts are then merged by updating with each term, and ``update`` takes indices
    as long as the values. Component k of a slot's new value reads components up to k only, of the slots as they were:
    long slots are updated in place, those of the longest first. ``guard`` looks at the last place of the first slot
    only."""
    blocked: bool = False
    """Whether partial sums are flushed tile by tile, to keep rounding errors small."""
    tangent: Callable[[Column, Sequence[Expr], Sequence[Expr]], Expr] | None = None
    """``tangent(column, residuals, d_values)``: the term of column j in the differential of the real outputs, side by
    side if there are several."""
    residual: str = ""
    """The reduction of the same formulas whose outputs are the residuals of ``tangent``; "" if it reads none. Its first
    output is the first of this one, and it is its own residual: so derivatives of all orders exist if the first do."""
    skips: Skips = Skips.NONE
    """Which terms need not be visited."""

    @property
    def formulas(self) -> int:
        """How many formulas it takes."""
        return 2 if self.formula2 else 1

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
RESIDUALS: dict[str, Reduction | Family] = {}
"""What only derivatives ask for: reductions whose outputs are residuals of others."""
ALIASES: dict[str, str] = {}
"""Further names that users may give, and what they stand for."""


@cache
def reduction_named(name: str, count: int | None = None) -> Reduction:
    """The reduction of that name (or alias), for a number K if it takes one; the same object each time."""
    if name in ALIASES:
        return reduction_named(ALIASES[name], count)
    found = REDUCTIONS.get(name) or FAMILIES.get(name) or RESIDUALS[name]
    if isinstance(found, Reduction):
        assert count is None, f"{name} takes no number"
        return found
    assert count is not None, f"{name} takes a number"
    return found.build(count)


def differentiable_names() -> list[str]:
    """The names of all reductions that have a derivative."""
    kinds = [*REDUCTIONS.values(), *(family.build(1) for family in FAMILIES.values())]
    return [kind.name for kind in kinds if kind.tangent is not None]


def register(entry: Reduction, internal: bool = False) -> Reduction:
    """Enter a reduction in `REDUCTIONS`, or in `RESIDUALS` if it is ``internal``; a name is taken once."""
    _check_name(entry.name)
    (RESIDUALS if internal else REDUCTIONS)[entry.name] = entry
    return entry


def register_family(name: str, doc: str, build: Callable[[int], Reduction], internal: bool = False) -> None:
    """Enter a family of reductions in `FAMILIES`, or in `RESIDUALS` if it is ``internal``; a name is taken once."""
    _check_name(name)
    (RESIDUALS if internal else FAMILIES)[name] = Family(name, doc, build)


def alias(name: str, stands_for: str) -> None:
    """Let users write ``name`` for a reduction; a name is taken once."""
    _check_name(name)
    ALIASES[name] = stands_for


def _check_name(name: str) -> None:
    if any(name in registry for registry in (REDUCTIONS, FAMILIES, RESIDUALS, ALIASES)):
        raise ValueError(f"reduction {name!r} exists already")
