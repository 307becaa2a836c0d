"""Parts of the code of clreduce's own functions in the templates: literals, polynomials, bits of numbers.

``T`` and ``I`` are OpenCL types of floats and of integers of the same width; ``dtype`` is ``"float"`` or ``"double"``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bits:
    """Facts about the representation of a dtype. The masks are integer literals of the same width."""

    bits: int
    mantissa: int
    sign: str
    magnitude: str
    upper: str
    """The mask that keeps the upper half of the bits of a mantissa."""

    @property
    def whole(self) -> str:
        """The literal of the number above which all numbers are integers."""
        return repr(2.0**self.mantissa) + ("f" if self.bits == 32 else "")


_FLOAT = Bits(32, 23, "0x80000000", "0x7fffffff", "0xfffff000")
_DOUBLE = Bits(64, 52, "0x8000000000000000UL", "0x7fffffffffffffffUL", "0xfffffffff8000000UL")


def bits(dtype: str) -> Bits:
    """Facts about the representation of ``dtype``."""
    return _FLOAT if dtype == "float" else _DOUBLE


def lit(value: float, dtype: str) -> str:
    """A number as a literal of ``dtype``."""
    return repr(float(value)) + ("f" if dtype == "float" else "")


def horner(coefficients: Iterable[float], variable: str, dtype: str) -> str:
    """The polynomial c0 + v * (c1 + v * (...)), with coefficients from c0 up.

    >>> horner([1, 2, 3], "x", "float")
    '(3.0f * x + 2.0f) * x + 1.0f'
    """
    last, *rest = reversed(list(coefficients))
    text = lit(last, dtype)
    for c in rest:
        text = f"({text} * {variable} + {lit(c, dtype)})"
    return text.removeprefix("(").removesuffix(")")


def magnitude(x: str, T: str, I: str, dtype: str) -> str:
    """The text of |x|, for a name x."""
    return f"as_{T}(as_u{I}({x}) & (u{I})({bits(dtype).magnitude}))"


def with_sign(y: str, x: str, T: str, I: str, dtype: str) -> str:
    """The text of y >= 0 with the sign of x."""
    return f"as_{T}(as_u{I}({y}) | (as_u{I}({x}) & (u{I})({bits(dtype).sign})))"


def upper(x: str, T: str, I: str, dtype: str) -> str:
    """The text of x cut to half of its bits. The product of two such numbers is exact."""
    return f"as_{T}(as_u{I}({x}) & (u{I})({bits(dtype).upper}))"


def pi(factor: float, dtype: str) -> tuple[str, str]:
    """The rounded product factor * pi, and its relative rounding error."""
    rest = {"float": -2.7827534e-8, "double": 3.8981718325193755e-17}[dtype]
    return lit(factor * 3.141592653589793, dtype), lit(rest, dtype)


def mantissas_of_roots(size: int, dtype: str) -> list[int]:
    """The integers that turn a shifted s into the bits of 2^(s / size) when they are added.

    s is shifted so that multiples of ``size``, a power of two, become exponents. There is a number for each s modulo
    ``size``.

    >>> s, bias = 37, 8 * 1023
    >>> bits = ((s + bias) << (52 - 3)) + mantissas_of_roots(8, "double")[s % 8]
    >>> float(np.int64(bits).view(np.float64)) == 2 ** (37 / 8)
    True
    """
    steps = np.arange(size)
    real, integer = (np.float32, np.int32) if dtype == "float" else (np.float64, np.int64)
    fractions = np.exp2(steps / size).astype(real).view(integer) - np.ones(1, real).view(integer)
    return [int(n) for n in fractions - steps * (2 ** bits(dtype).mantissa // size)]


ROOTS, COPIES = 64, 16
"""The number of roots of 2 in the table for exponentials in double precision on a GPU, and the number of their copies:
32 banks of local memory have 16 numbers of 8 bytes."""


def looked_up(table: list[int], index: str, dtype: str) -> str:
    """The text of a look-up in a table in registers, at the lowest bits of each lane of ``index``.

    The table has 32 integers for 16 float lanes (in two registers), 8 for 8 float lanes, or 8 for 8 double lanes.
    """
    entries = [", ".join(map(str, table[k : k + 16])) for k in range(0, len(table), 16)]
    if dtype == "double":
        return f"__builtin_ia32_permvardi512((long8)({entries[0]}), {index})"
    if len(table) == 8:
        return f"__builtin_ia32_permvarsi256((int8)({entries[0]}), {index})"
    return f"__builtin_ia32_vpermi2vard512((int16)({entries[0]}), {index}, (int16)({entries[1]}))"


def any_lane(mask: str, suffix: str, T: str) -> str:
    """The text of the condition that a mask is true in some lane, for a branch that is seldom taken."""
    return f"ANY({mask})" if suffix == "v" and T[-1].isdigit() else mask
