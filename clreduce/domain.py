"""`Domain`: the indices on which a value depends, as two bits."""

from __future__ import annotations

from enum import IntFlag


class Domain(IntFlag):
    """The indices on which a value depends. The domain of a node is the OR of the domains of its arguments.

    The domain alone decides where a value is computed (once, per i, per j, per pair), and whether it has lanes.

    >>> Domain.I | Domain.J == Domain.IJ
    True
    >>> Domain.I.swapped().name
    'J'
    """

    P = 0
    I = 1
    J = 2
    IJ = 3

    # The operators of `IntFlag` take several times as long, and lowering calls them a thousand times per formula.
    def __and__(self, other: int) -> Domain:
        return _DOMAINS[int.__and__(self, other)]

    def __or__(self, other: int) -> Domain:
        return _DOMAINS[int.__or__(self, other)]

    def swapped(self) -> Domain:
        """The domain with the roles of i and j exchanged."""
        return Domain((self & Domain.I) << 1 | (self & Domain.J) >> 1)


_DOMAINS = (Domain.P, Domain.I, Domain.J, Domain.IJ)
