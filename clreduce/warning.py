"""Warnings that point at the caller's line, from any depth inside the package."""

from __future__ import annotations

import sys
import warnings

_PACKAGE = __name__.split(".")[0]


def warn(message: str | Warning, category: type[Warning] | None = None) -> None:
    """Warn, with the innermost line outside this package as the place of the warning."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == _PACKAGE:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
