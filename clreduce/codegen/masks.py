"""Masks whose values are known when a kernel is generated, because they compare positions of components.

Derivatives in all directions at once start from an identity matrix, a mask that compares a row with a column. If both
are known, the mask is decided here, and a sum over such a row is reduced to one term.
"""

from __future__ import annotations

from fractions import Fraction

from clreduce.ir.expr import Expr
from clreduce.ir.index import Index, Position, bounds, make_index
from clreduce.ir.op import constant_value

_TERM = "term"


def _seen_through(node: Expr, k: Position) -> tuple[Expr, Position]:
    """The component that component k of ``node`` reads through operations that only move components."""
    while node.op.remap is not None and node.op.terms is None:
        low, high = bounds(k)
        if node.op.breaks and any(low < edge <= high for edge in node.op.breaks(*node.args, *node.params)):
            break
        term = node.op.remap(0 if node.dim == 1 else k, *node.args, *node.params)
        if term is None:
            break
        node, k = node.args[term[0]], term[1]
    return node, 0 if node.dim == 1 else k


def _compared(mask: Expr, k: Position) -> tuple[Position, Position] | None:
    """The two positions (or integer constants) that component k of a mask compares for equality; else None."""
    mask, k = _seen_through(mask, k)
    if mask.op.name != "equal":
        return None
    sides: list[Position] = []
    for side in mask.args:
        leaf, at = _seen_through(side, 0 if side.dim == 1 else k)
        if leaf.op.name == "iota":
            sides.append(at)
        elif leaf.op.name == "constant" and isinstance(leaf.params[0], Fraction) and leaf.params[0].denominator == 1:
            sides.append(int(leaf.params[0]))
        else:
            return None
    return sides[0], sides[1]


def decided(mask: Expr, k: Position) -> bool | None:
    """Whether component k of a mask is true, if that is known when the kernel is generated; else None."""
    sides = _compared(mask, k)
    if sides is None:
        return None
    a, b = sides
    if a == b:
        return True
    (low_a, high_a), (low_b, high_b) = bounds(a), bounds(b)
    return False if high_a < low_b or high_b < low_a else None


def only_term(node: Expr, k: Position) -> Position | None:
    """The position of the only term of a sum that its mask lets through, if it is known; else None."""
    op = node.op
    if op.terms is None or op.fold is not None:
        return None
    terms = op.terms(*node.args, *node.params)

    def read(term: Position) -> Position:
        assert op.remap is not None
        component = op.remap(k, term, *node.args, *node.params)
        assert component is not None
        return component[1]

    any_term = make_index(_TERM, 0, terms - 1)
    chosen, at = _seen_through(node.args[0], read(any_term))
    if chosen.op.name != "where" or constant_value(chosen.args[2]) != 0:
        return None
    sides = _compared(chosen.args[0], at)
    for a, b in (sides, sides[::-1]) if sides else ():
        if a == any_term and not (isinstance(b, Index) and _TERM in b.names):
            low, high = bounds(b)
            if low >= 0 and high < terms:
                return read(b)
    return None
