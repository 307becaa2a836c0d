"""Positions inside a vector: an ``int``, or an `Index` whose value is known only inside a loop of the kernel.

Rules that remap positions (``ops/shape.py``) are written once with ordinary arithmetic and work for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple


class Atom(NamedTuple):
    """An integer of the kernel text with its inclusive range."""

    text: str
    low: int
    high: int


@dataclass(frozen=True)
class Index:
    """``sum of factor * atom + shift``, atoms not negative; what the ranges decide is folded.

    So a position taken apart again after it was put together costs nothing in the kernel.

    >>> row, column = make_index("i", 0, 2), make_index("k", 0, 4)
    >>> at = row * 5 + column
    >>> at.text, (at // 5).text, (at % 5).text
    ('(i * 5 + k)', 'i', 'k')
    >>> (at // 10).text, (at % 10).text
    ('(i / 2)', '((i % 2) * 5 + k)')
    >>> k = make_index("k", 3, 5)
    >>> k // 3, (k % 3).text, (k % 3).high
    (1, '(k - 3)', 2)
    """

    terms: tuple[tuple[Atom, int], ...]
    """Each atom once, with its factor."""
    shift: int = 0

    @property
    def text(self) -> str:
        """Kernel text, in parentheses unless it is one word."""
        parts = [atom.text if factor == 1 else f"{atom.text} * {factor}" for atom, factor in self.terms]
        text = " + ".join(parts)
        if self.shift:
            text += f" {'+' if self.shift > 0 else '-'} {abs(self.shift)}"
        return text if text == self.terms[0][0].text else f"({text})"

    @property
    def low(self) -> int:
        """The smallest value."""
        return self.shift + sum(min(factor * atom.low, factor * atom.high) for atom, factor in self.terms)

    @property
    def high(self) -> int:
        """The largest value."""
        return self.shift + sum(max(factor * atom.low, factor * atom.high) for atom, factor in self.terms)

    def __add__(self, other: int | Index) -> int | Index:
        if isinstance(other, int):
            return Index(self.terms, self.shift + other)
        factors = dict(self.terms)
        for atom, factor in other.terms:
            factors[atom] = factors.get(atom, 0) + factor
        return _index(factors.items(), self.shift + other.shift)

    __radd__ = __add__

    def __sub__(self, shift: int) -> int | Index:
        return self + -shift

    def __mul__(self, factor: int) -> int | Index:
        return _index([(atom, factor * own) for atom, own in self.terms], factor * self.shift)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> int | Index:
        return self._divided(divisor)[0]

    def __mod__(self, divisor: int) -> int | Index:
        return self._divided(divisor)[1]

    def _divided(self, divisor: int) -> tuple[int | Index, int | Index]:
        """Quotient and remainder."""
        whole = _index([(atom, factor // divisor) for atom, factor in self.terms], self.shift // divisor)
        rest = _index([(atom, factor % divisor) for atom, factor in self.terms], self.shift % divisor)
        low, high = bounds(rest)
        if low // divisor == high // divisor:
            return whole + low // divisor, rest + -(low // divisor) * divisor
        assert isinstance(rest, Index)
        quotient, remainder = rest._divided_in_steps(divisor)
        return whole + quotient, remainder

    def _divided_in_steps(self, divisor: int) -> tuple[int | Index, int | Index]:
        """The same, all factors being less than the divisor.

        If the terms of large factors are multiples of a number g that divides the divisor, and the others stay below
        g, then ``(g * q + r) // (g * h) = q // h``.
        """
        falling = sorted(self.terms, key=lambda term: -term[1])
        step = divisor
        for n, (_, factor) in enumerate(falling, 1):
            step = gcd(step, factor)
            small = _index(falling[n:], self.shift)
            low, high = bounds(small)
            if 1 < step and low // step == high // step:
                large = _index([(atom, factor // step) for atom, factor in falling[:n]], low // step)
                small = small + -(low // step) * step
                assert isinstance(large, Index)
                quotient, remainder = large._divided(divisor // step)
                return quotient, remainder * step + small
        quotient = make_index(f"({self.text} / {divisor})", self.low // divisor, self.high // divisor)
        return quotient, make_index(f"({self.text} % {divisor})", 0, divisor - 1)


Position = int | Index


def _index(terms: Iterable[tuple[Atom, int]], shift: int) -> Position:
    kept = tuple((atom, factor) for atom, factor in terms if factor)
    return Index(kept, shift) if kept else shift


def make_index(text: str, low: int, high: int) -> Position:
    """An `Index` of one atom, or the plain integer if its range holds only one."""
    return low if low == high else Index(((Atom(text, low, high), 1),))


def bounds(position: Position) -> tuple[int, int]:
    """Smallest and largest value of a position."""
    return (position, position) if isinstance(position, int) else (position.low, position.high)


def text_of(position: Position) -> str:
    """The position as kernel text."""
    return str(position) if isinstance(position, int) else position.text
