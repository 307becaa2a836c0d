"""Suggestions for mistyped words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_COMPARED = 40
"""The number of letters of a word that are compared with known words."""


def did_you_mean(name: str, known: Iterable[str], others: dict[str, str] | None = None) -> str:
    """``"; did you mean 'x'?"`` for the closest of the known words; "" if none is close.

    ``others`` maps words of other libraries to the known words with that meaning.
    """
    known = list(known)
    meant = (others or {}).get(name)
    if meant is None:
        same = [word for word in known if word.lower() == name.lower()]
        close = same or difflib.get_close_matches(name[:_COMPARED], known, n=1)
        meant = close[0] if close else None
    return f"; did you mean {meant!r}?" if meant else ""
