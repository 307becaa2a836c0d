"""How far an iterative solve is, on stderr."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType

_WIDTH = 24
_PATIENCE = 1.0
"""Seconds that pass before a terminal shows a bar that nobody asked for."""
_INTERVAL = 0.1


class SolveBar:
    """One line: the number of products, and the largest residual on its way, in digits, from 1 to eps."""

    def __init__(self, eps: float, shown: bool | None) -> None:
        self._eps = max(eps, 1e-16)
        self._redrawn = sys.stderr.isatty()
        self._shown = self._redrawn if shown is None else shown
        self._start = time.perf_counter()
        self._next = self._start + (_PATIENCE if shown is None else 0.0)
        self._last = ""
        self._drawn = False

    def __enter__(self) -> SolveBar:
        return self

    def show(self, iteration: int, residual: float) -> None:
        """Draw the line, several times a second at most."""
        if not self._shown:
            return
        part = math.log(max(residual, self._eps)) / math.log(self._eps) if self._eps < 1 else 1.0
        full = math.floor(_WIDTH * min(1.0, max(0.0, part)))
        now = time.perf_counter()
        self._last = (
            f"solve [{'#' * full}{'.' * (_WIDTH - full)}] {iteration} products, residual {residual:.1e} |b|, "
            f"{now - self._start:.1f} s"
        )
        if now >= self._next:
            self._next = now + (_INTERVAL if self._redrawn else 1.0)
            self._draw()

    def _draw(self) -> None:
        text = f"\r{self._last}\x1b[K" if self._redrawn else self._last
        print(text, end="" if self._redrawn else "\n", file=sys.stderr, flush=True)
        self._drawn, self._last = True, ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state if a line has been drawn, and end it."""
        if self._drawn and self._last:
            self._draw()
        if self._drawn and self._redrawn:
            print(file=sys.stderr)
