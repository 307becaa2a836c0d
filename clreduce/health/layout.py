"""Plain text: wrapped lines, tables, sizes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 100


def bytes_text(count: int) -> str:
    """A number of bytes with a suitable unit.

    >>> [bytes_text(count) for count in (17, 20_000, 3_500_000, 25 * 10**9)]
    ['17 bytes', '20 KB', '3.5 MB', '25 GB']
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return f"{count} bytes"


def indented(lines: Iterable[str]) -> str:
    """A text of these lines, each with two spaces in front."""
    return "\n".join(f"  {line}" for line in lines)


def wrapped(text: str, first: str = "", other: str = "") -> list[str]:
    """Lines of at most `WIDTH` characters, unless a word is longer.

    ``first`` is the indent of the first line, ``other`` the indent of all others.
    """
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    )


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A text of aligned columns, two spaces apart. The columns with the numbers ``right`` are aligned at the right.

    >>> print(table([["device", "s"], ["one", "10.5"], ["another", "2"]], right=[1]))
    device      s
    one      10.5
    another     2
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    at_right = set(right)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if n in at_right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
