"""Words that a user has mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_COMPARED = 40
"""Letters of a word that are compared with those that are known."""


def did_you_mean(name: str, known: Iterable[str], others: dict[str, str] | None = None) -> str:
    """``"; did you mean 'x'?"`` for the closest of the known words; nothing if none is close.

    ``others`` are words of other libraries, and the known ones that stand for them.
    """
    known = list(known)
    meant = (others or {}).get(name)
    if meant is None:
        same = [word for word in known if word.lower() == name.lower()]
        close = same or difflib.get_close_matches(name[:_COMPARED], known, n=1)
        meant = close[0] if close else None
    return f"; did you mean {meant!r}?" if meant else ""
