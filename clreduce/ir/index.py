"""Positions inside a vector: an ``int``, or an `Index` whose value is known only inside a loop of the kernel.

Rules that remap positions (``ops/shape.py``) are written once with ordinary arithmetic and work for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Index:
    """An integer of the kernel text with its inclusive range; arithmetic keeps both and folds what the range decides.

    >>> k = Index("k", 3, 5)
    >>> k - 3
    Index(text='(k - 3)', low=0, high=2)
    >>> k // 3, (k % 3).text
    (1, '(k - 3)')

    Multiples are seen through, so that one of every other component reads no division:

    >>> odd = k * 2 + 1
    >>> odd.text, (odd // 2).text, odd % 2
    ('((k * 2) + 1)', 'k', 1)
    """

    text: str
    low: int
    high: int
    form: tuple[str, int, int] | None = field(default=None, repr=False, compare=False)
    """(base, factor, shift) where the value is known as base * factor + shift."""

    def __add__(self, shift: int | Index) -> int | Index:
        if isinstance(shift, Index):
            return make_index(f"({self.text} + {shift.text})", self.low + shift.low, self.high + shift.high)
        return self._affine(1, shift)

    __radd__ = __add__

    def __sub__(self, shift: int) -> int | Index:
        return self + -shift

    def __mul__(self, factor: int) -> int | Index:
        return self._affine(factor, 0)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> int | Index:
        base, factor, shift = self._form
        low, high = self.low // divisor, self.high // divisor
        if factor % divisor == 0:
            return _written(base, factor // divisor, shift // divisor, low, high)
        return make_index(f"({self.text} / {divisor})", low, high)

    def __mod__(self, divisor: int) -> int | Index:
        quotient = self.low // divisor
        if quotient == self.high // divisor:
            return self - quotient * divisor
        _, factor, shift = self._form
        if factor % divisor == 0:
            return shift % divisor
        return Index(f"({self.text} % {divisor})", 0, divisor - 1)

    @property
    def _form(self) -> tuple[str, int, int]:
        return self.form or (self.text, 1, 0)

    def _affine(self, factor: int, shift: int) -> int | Index:
        """self * factor + shift, for a factor of 0 or more."""
        base, own, start = self._form
        return _written(
            base, own * factor, start * factor + shift, self.low * factor + shift, self.high * factor + shift
        )


Position = int | Index


def make_index(text: str, low: int, high: int) -> Position:
    """An `Index`, or the plain integer if its range holds only one."""
    return low if low == high else Index(text, low, high)


def _written(base: str, factor: int, shift: int, low: int, high: int) -> Position:
    if low == high:
        return low
    text = base if factor == 1 else f"({base} * {factor})"
    if shift:
        text = f"({text} {'+' if shift > 0 else '-'} {abs(shift)})"
    return Index(text, low, high, (base, factor, shift))


def bounds(position: Position) -> tuple[int, int]:
    """Smallest and largest value of a position."""
    return (position, position) if isinstance(position, int) else (position.low, position.high)


def text_of(position: Position) -> str:
    """The position as kernel text."""
    return str(position) if isinstance(position, int) else position.text
