"""Compensated (Kahan) sums: a second slot for each sum has its rounding errors, which are added to the next term.

The error of a sum of N numbers is then about two units in the last place of the sum of their absolute values, for any
N. `compensated` derives such a reduction from the formulas of another one. A slot is a sum if its new value is the old
value, perhaps times a factor, plus terms that don't contain it, both in ``update`` and in ``merge``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, REAL, Expr, substitute, topological
from clreduce.ir.op import constant, variable
from clreduce.ops.arithmetic import difference
from clreduce.ops.compare import equal, where
from clreduce.reductions.reduction import Column, Reduction, Slot, State


@dataclass(frozen=True, eq=False)
class Compensated(Reduction):
    """A reduction whose state has the slots of ``base``, followed by a slot for the rounding errors of each sum."""

    base: Reduction | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return compensated, (self.base,)


@cache
def compensated(base: Reduction) -> Reduction | None:
    """``base`` with compensated sums; None if it has no sums."""
    count, sums = _sums(base)
    if not sums:
        return None

    def slots(dims: tuple[int, ...]) -> tuple[Slot, ...]:
        own = base.slots(dims)
        return *own, *(Slot(own[n].dim, 0.0) for n in sums)

    def update(state: State, columns: Sequence[Column]) -> State:
        own, lost = state[:count], state[count:]
        return _compensate(own, lost, base.update(own, columns), {})

    def merge(a: State, b: State) -> State:
        lost_of_b = {b[n]: lost for n, lost in zip(sums, b[count:], strict=True)}
        return _compensate(a[:count], a[count:], base.merge(a[:count], b[:count]), lost_of_b)

    def _compensate(own: State, lost: State, new: State, further: dict[Expr, Expr]) -> State:
        compensated_slots, errors = list(new), []
        for n, small in zip(sums, lost, strict=True):
            terms = _split(new[n], own[n])
            assert terms is not None, "a sum is one for vectors of any length"
            rest = [-term for other in terms[1:] for term in _of_lost(other, further)]
            total, error = _added(terms[0], _instead(terms[0], own[n], small), [*terms[1:], *rest])
            compensated_slots[n] = total
            errors.append(error)
        return *compensated_slots, *errors

    return Compensated(
        name=f"{base.name} with compensation",
        doc=base.doc,
        slots=slots,
        update=update,
        merge=merge,
        finish=lambda state, first: base.finish(state[:count], first),
        numpy=base.numpy,
        formula2=base.formula2,
        scalar=base.scalar,
        base=base,
    )


def _added(total: Expr, lost: Expr, terms: Sequence[Expr]) -> tuple[Expr, Expr]:
    """``total`` - ``lost`` + ``terms``, and the rounding error of this sum, which is exact or nearly exact."""
    for term in terms:
        corrected = difference(term, lost)
        new = total + corrected
        # An infinite sum has no rounding error: infinity - infinity would make it nan.
        finite = equal(difference(new, new), constant(0))
        lost = where(finite, difference(difference(new, total), corrected), constant(0))
        total = new
    return total, lost


def _split(new: Expr, old: Expr) -> list[Expr] | None:
    """``new`` as the old value (perhaps times a factor), and the added terms; None if ``new`` is no such sum."""
    terms: list[Expr] = []
    while new.op.name == "add":
        new, term = new.args
        terms.insert(0, term)
    scaled = new.op.name == "mul" and old in new.args and not all(_contains(arg, old) for arg in new.args)
    if not terms or not (new is old or scaled) or any(_contains(term, old) for term in terms):
        return None
    return [new, *terms]


def _of_lost(term: Expr, lost: dict[Expr, Expr]) -> list[Expr]:
    """The rounding errors of ``term`` if it is a sum of the second state, perhaps times a factor."""
    factors = term.args if term.op.name == "mul" else (term,)
    return [_instead(term, factor, lost[factor]) for factor in factors if factor in lost]


def _instead(f: Expr, old: Expr, new: Expr) -> Expr:
    return substitute([f], {old: new})[0]


def _contains(f: Expr, part: Expr) -> bool:
    return part in topological([f])


def _sums(base: Reduction) -> tuple[int, tuple[int, ...]]:
    """The number of slots of a state, and the numbers of those that are sums."""
    dims = (1,) * base.formulas
    slots = base.slots(dims)

    def state(name: str) -> State:
        return tuple(variable((name, n), slot.dim, Domain.IJ, slot.kind) for n, slot in enumerate(slots))

    a, b = state("a"), state("b")
    values = tuple(variable(("value", n), dim, Domain.IJ) for n, dim in enumerate(dims))
    updated = base.update(a, [Column(values, variable("column", 1, Domain.J, INDEX))])
    merged = base.merge(a, b)
    sums = (
        n
        for n, slot in enumerate(slots)
        if slot.kind == REAL and _split(updated[n], a[n]) is not None and _split(merged[n], a[n]) is not None
    )
    return len(slots), tuple(sums)
