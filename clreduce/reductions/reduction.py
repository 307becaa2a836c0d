"""`Reduction`: a monoid written in formulas: the state of a row, its update by columns, and the merge of two states.

The formulas are functions of the *state*, one `Expr` per slot. No schedule, lane or dtype appears here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from clreduce.ir.expr import REAL, Expr
from clreduce.typing import Array

State = tuple[Expr, ...]


@dataclass(frozen=True)
class Slot:
    """One vector of a row's state; ``neutral`` is its value before any term."""

    dim: int
    neutral: float
    kind: str = REAL


@dataclass(frozen=True)
class Column:
    """One column j of a row: the values of the formulas there, and the integer j."""

    values: tuple[Expr, ...]
    index: Expr
    """The integer j, of length 1; as long as the values if it is a term of a list (`Reduction.keeps_terms`)."""


class Skips(Enum):
    """The terms of a row that a reduction may skip. Pruning needs to know nothing else of a reduction."""

    NONE = ""
    """No terms that bounds could identify."""
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
        """Whether skipped terms change results, within a tolerance."""
        return self in (Skips.SMALL, Skips.SMALL_EXPONENTIALS)


@dataclass(frozen=True, eq=False)
class Reduction:
    """One reduction over j, for every row i.

    ``update`` takes a *block* of columns at once, so that costs such as the rescaling of a LogSumExp occur once per
    block. ``merge(a, b)`` joins the states of two ranges of columns; the columns of ``a`` come first.
    ``finish(state, first)`` gives the outputs; ``first`` is the index of the row's first column, -1 if there is none.
    """

    name: str
    doc: str
    slots: Callable[[tuple[int, ...]], tuple[Slot, ...]]
    update: Callable[[State, Sequence[Column]], State]
    merge: Callable[[State, State], State]
    finish: Callable[[State, Expr], tuple[Expr, ...]]
    numpy: Callable[..., tuple[Array, ...]]
    """The definition by NumPy: it maps arrays of values (M, N, D), one per formula, to the outputs (M, D')."""
    formula2: str = ""
    """A short description of the second formula; "" if the reduction takes one formula only."""
    scalar: bool = False
    """Whether the first formula must have length 1."""
    with_formula2: str = ""
    """The reduction that replaces this one if users give a second formula; "" if they must not."""
    count: int | None = None
    """The number K of terms that the reduction keeps; None if it takes no number."""
    lists: bool = False
    """Whether each output is a list of the values or of the indices of ``count`` terms."""
    guard: Callable[[State, Sequence[Column]], Expr] | None = None
    """``guard(state, columns)`` is a mask that is false only if these columns do not change the state. Kernels test it
    first, and skip an update that no lane needs."""
    keeps_terms: bool = False
    """Whether a state is a list of ``count`` terms, to which columns are added one by one. Each slot has their values
    or their indices. Parts are then merged by an update with each term, and ``update`` takes indices as long as the
    values. Component k of a slot's new value must read components up to k of the old slots only, because long slots are
    updated in place, the longest first. ``guard`` must read the last place of the first slot only."""
    blocked: bool = False
    """Whether partial sums are flushed tile by tile, to keep rounding errors small."""
    tangent: Callable[[Column, Sequence[Expr], Sequence[Expr]], Expr] | None = None
    """``tangent(column, residuals, d_values)`` is the term of column j in the differential of the real outputs, which
    are concatenated if there are several. None if there is no derivative."""
    residual: str = ""
    """The reduction of the same formulas whose outputs are the residuals of ``tangent``; "" if it reads none. Its first
    output is that of this reduction, and it is its own residual, so if the first derivatives exist, all orders do."""
    skips: Skips = Skips.NONE
    """The terms that need not be visited."""

    @property
    def formulas(self) -> int:
        """The number of formulas that the reduction takes, 1 or 2."""
        return 2 if self.formula2 else 1

    def __reduce__(self) -> tuple[object, ...]:
        return reduction_named, (self.name, self.count)

    def __repr__(self) -> str:
        return f"<Reduction {self.name}{'' if self.count is None else f' K={self.count}'}>"


@dataclass(frozen=True)
class Family:
    """Reductions that depend on a number K from the user; ``build(K)`` makes one."""

    name: str
    doc: str
    build: Callable[[int], Reduction]


REDUCTIONS: dict[str, Reduction] = {}
"""All reductions that take no number, by name."""
FAMILIES: dict[str, Family] = {}
"""All families of reductions that take a number, by name."""
RESIDUALS: dict[str, Reduction | Family] = {}
"""Reductions that only derivatives use: their outputs are residuals of others."""
ALIASES: dict[str, str] = {}
"""Alternative names of reductions, and the names for which they stand."""


@cache
def reduction_named(name: str, count: int | None = None) -> Reduction:
    """The reduction with this name or alias, for K = ``count`` if it takes a number. Equal calls return one object."""
    if name in ALIASES:
        return reduction_named(ALIASES[name], count)
    entry = REDUCTIONS.get(name) or FAMILIES.get(name) or RESIDUALS[name]
    if isinstance(entry, Reduction):
        assert count is None, f"{name} takes no number"
        return entry
    assert count is not None, f"{name} takes a number"
    return entry.build(count)


def differentiable_names() -> list[str]:
    """The names of all reductions that have a derivative."""
    kinds = [*REDUCTIONS.values(), *(family.build(1) for family in FAMILIES.values())]
    return [kind.name for kind in kinds if kind.tangent is not None]


def register(entry: Reduction, internal: bool = False) -> Reduction:
    """Enter a reduction in `REDUCTIONS`, or in `RESIDUALS` if it is ``internal``; ValueError if its name is taken."""
    _check_name(entry.name)
    (RESIDUALS if internal else REDUCTIONS)[entry.name] = entry
    return entry


def register_family(name: str, doc: str, build: Callable[[int], Reduction], internal: bool = False) -> None:
    """Enter a family in `FAMILIES`, or in `RESIDUALS` if it is ``internal``; ValueError if its name is taken."""
    _check_name(name)
    (RESIDUALS if internal else FAMILIES)[name] = Family(name, doc, build)


def alias(name: str, stands_for: str) -> None:
    """Let users write ``name`` for the reduction ``stands_for``; ValueError if the name is taken."""
    _check_name(name)
    ALIASES[name] = stands_for


def _check_name(name: str) -> None:
    if any(name in registry for registry in (REDUCTIONS, FAMILIES, RESIDUALS, ALIASES)):
        raise ValueError(f"reduction {name!r} exists already")
