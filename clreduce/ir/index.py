"""Positions inside a vector: an ``int``, or an `Index` whose value is known only inside a loop of the kernel.

Rules that remap positions (``ops/shape.py``) are written once with ordinary arithmetic and work for both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Index:
    """An integer of the kernel text with its inclusive range; arithmetic keeps both and folds what the range decides.

    >>> k = Index("k", 3, 5)
    >>> k - 3
    Index(text='(k - 3)', low=0, high=2)
    >>> k // 3, (k % 3).text
    (1, '(k - 3)')
    """

    text: str
    low: int
    high: int

    def __add__(self, shift: int | Index) -> int | Index:
        if isinstance(shift, Index):
            return make_index(f"({self.text} + {shift.text})", self.low + shift.low, self.high + shift.high)
        if shift == 0:
            return self
        sign = "+" if shift > 0 else "-"
        return make_index(f"({self.text} {sign} {abs(shift)})", self.low + shift, self.high + shift)

    __radd__ = __add__

    def __sub__(self, shift: int) -> int | Index:
        return self + -shift

    def __mul__(self, factor: int) -> int | Index:
        if factor == 1:
            return self
        return make_index(f"({self.text} * {factor})", self.low * factor, self.high * factor)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> int | Index:
        if divisor == 1:
            return self
        return make_index(f"({self.text} / {divisor})", self.low // divisor, self.high // divisor)

    def __mod__(self, divisor: int) -> int | Index:
        quotient = self.low // divisor
        if quotient == self.high // divisor:
            return self - quotient * divisor
        return Index(f"({self.text} % {divisor})", 0, divisor - 1)


Position = int | Index


def make_index(text: str, low: int, high: int) -> Position:
    """An `Index`, or the plain integer if its range holds only one."""
    return low if low == high else Index(text, low, high)


def bounds(position: Position) -> tuple[int, int]:
    """Smallest and largest value of a position."""
    return (position, position) if isinstance(position, int) else (position.low, position.high)


def text_of(position: Position) -> str:
    """The position as kernel text."""
    return str(position) if isinstance(position, int) else position.text
