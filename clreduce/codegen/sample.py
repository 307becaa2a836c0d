"""A bound for sorted lists, from a pass over a sample of the columns.

A list that begins empty takes in K (1 + log(N / K)) of N terms in random order, most of them among the first columns,
and loses all but K of them. Where one block of columns in S was visited before, the n-th of its terms is a bound: the
list begins full of it, as if K terms came just after it, and takes in about K (1 + log(n S / K)) terms.

The bound is a guess. It holds if K terms come before it, so if the list has no place left that is at the bound once all
columns have been visited; otherwise they are visited once more, without it. Results never depend on the sample.
"""

from __future__ import annotations

from math import ceil, sqrt

from clreduce.codegen.emit import literal
from clreduce.codegen.kernel import Assign, Declare, Statement
from clreduce.ir.expr import exact

_DEVIATIONS = 4
"""Standard deviations by which the sample may have more of the K first terms than expected."""


def terms_kept(count: int, share: int) -> int:
    """Which term of a sample, of one column in ``share``, to take as a bound: so that it hardly ever is none."""
    expected = count / share
    return ceil(expected + _DEVIATIONS * sqrt(expected)) + 2


class Bound:
    """Names and statements of the bounds of the rows of a register tile; ``neutral`` is the state's value before any
    term, infinity if small terms come first."""

    def __init__(self, neutral: float, dtype: str) -> None:
        self.rising, self.neutral = neutral > 0, literal(exact(neutral), dtype)
        # More than the number's distance to the next one, which may not be subnormal: some drivers take those for 0.
        self.apart, self.least = (2.0**-22, 2.0**-126) if dtype == "float" else (2.0**-51, 2.0**-1022)
        self.dtype = dtype

    def name(self, r: int) -> str:
        return f"bound_{r}"

    def taken_from(self, last: str, r: int) -> tuple[Statement, ...]:
        """The bound just after the term ``last``; none if that is infinite."""
        apart, least = (literal(exact(value), self.dtype) for value in (self.apart, self.least))
        sign, name = "+" if self.rising else "-", self.name(r)
        text = f"{last} {sign} (fabs({last}) * {apart} + {least})"
        # From the infinity that comes before all terms it is nan, and then there is none.
        return (
            Declare("realv", name, text),
            Assign(name, f"{name} == {name} ? {name} : (realv)({self.neutral})"),
        )

    def broken(self, last: str, r: int) -> str:
        """The mask of lanes whose list has still a place at the bound."""
        before, after = ("<", ">=") if self.rising else (">", "<=")
        return f"(({self.name(r)} {before} (realv)({self.neutral})) & ({last} {after} {self.name(r)}))"

    def release(self, r: int) -> Statement:
        return Assign(self.name(r), f"(realv)({self.neutral})")
