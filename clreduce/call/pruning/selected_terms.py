"""Sums whose terms are 0 except at selected positions, as the derivatives of selections are.

The formula itself says where it is 0: ``where(j == index_i, f, 0)`` is 0 at all columns but one, and so are its
products with other factors. The indices of these columns are known when a call runs (`selected_visits.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, Expr, topological
from clreduce.ir.op import constant_value, position
from clreduce.memo import memoised
from clreduce.program import MapReduce
from clreduce.runtime.region import Region

Places = frozenset[Expr]
"""Formulas of indices: a term is 0 at each position that none of them names."""
_OF_ARGUMENT = ("neg", "reduce_sum", "expand", "extract", "pad", "permute")
_OF_ANY_ARGUMENT = ("mul", "logical_and")
_OF_ALL_ARGUMENTS = ("add", "sub", "concat", "logical_or")


@dataclass(frozen=True)
class Selected:
    """The pairs at which the terms of a sum may be other than 0."""

    index: Domain
    """The index whose position is selected: J, where rows select columns; I, where columns select rows."""
    places: tuple[Expr, ...]
    """The formulas of the positions, of the other index."""

    @property
    def count(self) -> int:
        """The number of positions that each row selects, or each column."""
        return sum(place.dim for place in self.places)

    def pairs(self, region: Region) -> int:
        """The largest number of pairs that a region may have."""
        return self.count * region.count * (region.rows if self.index == Domain.J else region.columns)


@memoised(1024)
def selected_of(program: MapReduce) -> Selected | None:
    """The pairs at which the terms of a sum may be other than 0; None if these may be any pairs, or if it is no sum.

    >>> from clreduce.ir.op import variable
    >>> from clreduce.ops.derived import squared_distance
    >>> from clreduce.program import map_reduce
    >>> x, y = variable("x", 3, Domain.I), variable("y", 3, Domain.J)
    >>> nearest = map_reduce([squared_distance(x, y)], "Min")[0]
    >>> gradient, _ = nearest.vjp([0, 1])
    >>> selected_of(gradient.program).index.name, selected_of(gradient.program).count
    ('J', 1)
    >>> selected_of(nearest) is None
    True
    """
    if program.reduction.name != "Sum" or all(slot.kind != INDEX for slot in program.slots):
        return None
    for index in (Domain.J, Domain.I):
        places = places_of_terms(program.values[0], index)
        if places is not None:
            return Selected(index, tuple(sorted(places, key=repr)))
    return None


def places_of_terms(value: Expr, index: Domain) -> Places | None:
    """The positions of an index at which a formula may be other than 0, or hold; None if it may be so anywhere.

    It counts as 0 wherever one of its factors is, also where another one is infinite or nan there.
    """
    places: dict[Expr, Places | None] = {}
    for node in topological([value]):
        places[node] = _places(node, index, places)
    return places[value]


def _places(node: Expr, index: Domain, places: Mapping[Expr, Places | None]) -> Places | None:
    name, args = node.op.name, [places[arg] for arg in node.args]
    if name == "constant" and constant_value(node) == 0:
        return frozenset()
    if name == "equal" and position(index) in node.args:
        (other,) = (arg for arg in node.args if arg is not position(index))
        return frozenset([other]) if other.domain in (index.swapped(), Domain.P) else None
    if name in _OF_ARGUMENT:
        return args[0]
    if name in _OF_ALL_ARGUMENTS:
        return _all(args)
    if name in _OF_ANY_ARGUMENT:
        return _any(args)
    if name == "where":
        return _all([_any(args[:2]), args[2]])
    if name == "less" and node.args[0].op.name == "constant" and constant_value(node.args[0]) == 0:
        return args[1]  # of 0 < f, which does not hold where f is 0
    return None


def _all(parts: Sequence[Places | None]) -> Places | None:
    """The places at which at least one of several formulas is other than 0."""
    known = [part for part in parts if part is not None]
    return frozenset(chain.from_iterable(known)) if len(known) == len(parts) else None


def _any(parts: Sequence[Places | None]) -> Places | None:
    """Places that include all at which several formulas are other than 0 together."""
    known = [part for part in parts if part is not None]
    return min(known, key=len) if known else None
