"""A look at all columns of a tile before they are visited: at the first term, in a list's order, of each block of them.

A list that begins empty takes in K (1 + log(N / K)) of N terms in random order, and loses all but K of them; of terms
in falling order, all. But if K chunks of columns have a first term up to some limit, then so have the K first terms: no
other need enter, and a block whose first term lies beyond need not be visited. Computing terms of short formulas again,
in the few blocks that are left, costs less than what the lists would have taken in. The limit is searched among chunks
of several blocks, for there are fewer of those.

Once the lists have settled, columns in random order hold hardly a term that enters, and a look would cost more than
it saves: it is left out after a tile where few chunks begin with one. Where many terms enter all the same, as if they
are in falling order, the tile ends there, and the next one is looked at again.
"""

from __future__ import annotations

from typing import Any

from clreduce.codegen.schedule import PREVIEWED
from clreduce.codegen.tree import Assign, Binary, Expression, If, Name, Select, Statement, number, plus
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import variable

_WORTHWHILE = 2
"""Chunks per term of a list from which on a look is worth it: no more than half of them is needed then by a lane."""
_MANY = 2
"""Terms that enter in a tile, per term of a list, from which on a look would have been worth it."""
_PLENTY = 8
"""Chunks per term of a list that leave a limit few terms beyond those that are kept: of columns in random order, 7 in
100. Where the first terms stand side by side, as in ordered data, longer chunks have more that are not among them."""


class Limits:
    """Names and statements of the limits of the rows of a register tile."""

    stem = "limit"

    def __init__(self, neutral: float, count: int) -> None:
        self.rising, self.count = neutral > 0, count
        self._before = "<" if self.rising else ">"

    @classmethod
    def name(cls, r: int) -> Name:
        return Name(f"{cls.stem}_{r}", "realv")

    def stands_for(self, state: tuple[Expr, ...], version: int) -> tuple[Expr, ...]:
        """A state for the reduction's guard, which reads the last term of its list only: here the limit."""
        return variable((self.stem, version), state[0].dim, Domain.IJ, REAL), *state[1:]

    def lowered(self, last: Expression, r: int) -> Statement:
        """The limit after terms have entered a list: its ``last`` one, if that comes before."""
        return self._first_of_two(last, self.name(r))

    def entered(self, together: int, cols: int) -> Statement:
        """After up to ``together`` terms have entered a list, of a block of so many columns: too many for no look?"""
        most = -(-_MANY * self.count // together)
        entered = Name("entered", "int")
        ended = (
            Assign(Name("looks", "int"), number(1)),
            Assign(Name("tile_end", "long"), plus(Name("j", "long"), number(cols))),
        )
        counted = Assign(entered, plus(entered, number(1)))
        return If(
            Binary("==", Name("chunks", "int"), number(0)), (counted, If(Binary("==", entered, number(most)), ended))
        )

    def first_of(self, term: Expression, r: int) -> Statement:
        """A term of the block that is looked at; nan is passed over."""
        return self._first_of_two(term, Name(f"first_{r}", "realv"))

    def _first_of_two(self, term: Expression, first: Name) -> Statement:
        return Assign(first, Select(Binary(self._before, term, first), term, first))

    def sizes(self, blocks: int, cols: int) -> dict[str, Any]:
        """What the template needs to know of the look, for chunks of so many blocks of columns."""
        chunk = blocks * cols
        return {
            "chunk": chunk,
            "tile": chunk * PREVIEWED,
            "least": chunk * self.count * _WORTHWHILE,
            "count": self.count,
            "many": _MANY * self.count,
            "plenty": _PLENTY * self.count,
            "rising": self.rising,
        }
