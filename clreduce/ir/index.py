"""Positions inside a vector: an ``int``, or an `Index` whose value is known only inside a loop of the kernel.

Rules that remap positions (``ops/shape.py``) are written once with ordinary arithmetic and work for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import gcd


@dataclass(frozen=True)
class Index:
    """A non-negative integer of the kernel text with its inclusive range, or a sum ``factor * integer + ... + shift``.

    Arithmetic is simplified as far as the ranges allow. So a position that is composed and decomposed costs nothing:

    >>> row, column = Index("i", 0, 2), Index("k", 0, 4)
    >>> at = row * 5 + column
    >>> at.text, (at // 5).text, (at % 5).text
    ('(i * 5 + k)', 'i', 'k')
    >>> (at // 10).text, (at % 10).text
    ('(i / 2)', '((i % 2) * 5 + k)')
    >>> k = Index("k", 3, 5)
    >>> k - 3
    Index(text='(k - 3)', low=0, high=2)
    >>> k // 3, (k % 3).text
    (1, '(k - 3)')
    """

    text: str
    low: int
    high: int
    summands: tuple[tuple[Index, int], ...] = field(default=(), repr=False)
    """Other integers with their factors, if this is a sum of them."""
    shift: int = field(default=0, repr=False)
    source: Index | None = field(default=None, repr=False, compare=False)
    """The integer of which this one is a quotient, a remainder or a bounded value; else None."""

    @property
    def names(self) -> tuple[str, ...]:
        """The integers of the kernel text that this one is computed from.

        >>> (Index("i", 0, 2) * 5 + Index("k", 0, 9) % 3).names
        ('i', 'k')
        """
        if self.summands:
            return tuple(dict.fromkeys(name for part, _ in self.summands for name in part.names))
        return (self.text,) if self.source is None else self.source.names

    @property
    def terms(self) -> tuple[tuple[Index, int], ...]:
        """The summands of this integer, with their factors."""
        return self.summands or ((self, 1),)

    def __add__(self, other: int | Index) -> int | Index:
        if isinstance(other, int):
            return _sum(self.terms, self.shift + other)
        return _sum([*self.terms, *other.terms], self.shift + other.shift)

    __radd__ = __add__

    def __sub__(self, shift: int) -> int | Index:
        return self + -shift

    def __mul__(self, factor: int) -> int | Index:
        return _sum([(part, factor * own) for part, own in self.terms], factor * self.shift)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> int | Index:
        return self._divided(divisor)[0]

    def __mod__(self, divisor: int) -> int | Index:
        return self._divided(divisor)[1]

    def _divided(self, divisor: int) -> tuple[int | Index, int | Index]:
        """The quotient and the remainder."""
        whole = _sum([(part, factor // divisor) for part, factor in self.terms], self.shift // divisor)
        rest = _sum([(part, factor % divisor) for part, factor in self.terms], self.shift % divisor)
        low, high = bounds(rest)
        if low // divisor == high // divisor:
            return whole + low // divisor, rest + -(low // divisor) * divisor
        assert isinstance(rest, Index)
        quotient, remainder = rest._divided_in_steps(divisor)
        return whole + quotient, remainder

    def _divided_in_steps(self, divisor: int) -> tuple[int | Index, int | Index]:
        """The quotient and the remainder if all factors are less than the divisor.

        If the terms of large factors are multiples of a number g that divides the divisor, and the others stay below
        g, then ``(g * q + r) // (g * h) = q // h``.
        """
        falling = sorted(self.terms, key=lambda term: -term[1])
        step = divisor
        for n, (_, factor) in enumerate(falling, 1):
            step = gcd(step, factor)
            small = _sum(falling[n:], self.shift)
            low, high = bounds(small)
            if step > 1 and low // step == high // step:
                large = _sum([(part, factor // step) for part, factor in falling[:n]], low // step)
                assert isinstance(large, Index)
                quotient, remainder = large._divided(divisor // step)
                return quotient, remainder * step + (small + -(low // step) * step)
        quotient = make_index(f"({self.text} / {divisor})", self.low // divisor, self.high // divisor, self)
        return quotient, make_index(f"({self.text} % {divisor})", 0, divisor - 1, self)


Position = int | Index


def _sum(terms: Iterable[tuple[Index, int]], shift: int) -> Position:
    factors: dict[Index, int] = {}
    for part, factor in terms:
        factors[part] = factors.get(part, 0) + factor
    kept = tuple((part, factor) for part, factor in factors.items() if factor)
    if not kept:
        return shift
    if shift == 0 and len(kept) == 1 and kept[0][1] == 1:
        return kept[0][0]
    text = " + ".join(part.text if factor == 1 else f"{part.text} * {factor}" for part, factor in kept)
    if shift:
        text += f" {'+' if shift > 0 else '-'} {abs(shift)}"
    ends = [sorted((factor * part.low, factor * part.high)) for part, factor in kept]
    low, high = (shift + sum(end[side] for end in ends) for side in (0, 1))
    return Index(f"({text})", low, high, kept, shift)


def make_index(text: str, low: int, high: int, source: Index | None = None) -> Position:
    """An `Index`, or a plain integer if its range has only one; ``source`` is that of the `Index`."""
    return low if low == high else Index(text, low, high, source=source)


def at_most(position: Position, limit: int) -> Position:
    """The lesser of a position and ``limit``, which is in its range."""
    low, _ = bounds(position)
    source = position if isinstance(position, Index) else None
    return make_index(f"min({text_of(position)}, {limit})", low, limit, source)


def at_least(position: Position, limit: int) -> Position:
    """The greater of a position and ``limit``, which is in its range."""
    _, high = bounds(position)
    source = position if isinstance(position, Index) else None
    return make_index(f"max({text_of(position)}, {limit})", limit, high, source)


def bounds(position: Position) -> tuple[int, int]:
    """The smallest and the largest value of a position."""
    return (position, position) if isinstance(position, int) else (position.low, position.high)


def text_of(position: Position) -> str:
    """The position as kernel text."""
    return str(position) if isinstance(position, int) else position.text
