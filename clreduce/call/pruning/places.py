"""The variables that hold the positions of points, so that near points have similar terms; the others are weights."""

from __future__ import annotations

from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, topological
from clreduce.memo import memoised
from clreduce.program import MapReduce

_LINEAR = ("mul", "neg", "reduce_sum", "expand", "extract", "pad", "concat", "permute", "add")
"""Operations below which a factor of i or of j alone is a weight of a term, not a place."""


@memoised(64)
def places_of(program: MapReduce) -> frozenset[Expr]:
    """The slots by which points are sorted into blocks: i and j meet in them in an operation other than a product.

    >>> from clreduce.ir.op import variable
    >>> from clreduce.ops.derived import squared_distance
    >>> from clreduce.ops.functions import exp
    >>> from clreduce.program import map_reduce
    >>> x, y, b = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("b", 1, Domain.J)
    >>> program, given = map_reduce([exp(-squared_distance(x, y)) * b], "Sum")
    >>> [leaf for leaf, slot in zip(given, program.slots) if slot in places_of(program)]
    [Expr(x), Expr(y)]
    """
    places: set[Expr] = set()
    for value in program.values:
        places |= _places_of(value)
    sorted_by: set[Expr] = set()
    for domain in (Domain.I, Domain.J):
        own = {slot for slot in program.slots if slot.domain == domain}
        numbers = {slot for slot in own & places if slot.kind == REAL}
        sorted_by |= numbers or own & places or own
    return frozenset(sorted_by)


def _places_of(value: Expr) -> set[Expr]:
    waiting, places = [value], set()
    seen: set[Expr] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        meeting = [arg for arg in node.args if arg.domain == Domain.IJ]
        if node.domain == Domain.IJ and node.op.name in _LINEAR and meeting:
            waiting += meeting
        else:
            places |= {leaf for leaf in topological([node]) if leaf.op.name == "variable" and leaf.domain != Domain.P}
    return places
