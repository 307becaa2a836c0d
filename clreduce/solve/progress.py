"""The progress of an iterative solve, shown on stderr."""

from __future__ import annotations

import math
from types import TracebackType

from clreduce.runtime.progress import StatusLine

_PATIENCE = 1.0
"""Seconds that pass before a line is shown if the caller has not asked for one."""
_INTERVAL = 0.1


class SolveBar:
    """One line: the number of products, and the largest residual on a logarithmic scale from 1 to eps."""

    def __init__(self, eps: float, shown: bool | None) -> None:
        self._eps = max(eps, 1e-16)
        self._line = StatusLine("solve", shown, _PATIENCE, _INTERVAL)

    def __enter__(self) -> SolveBar:
        return self

    def show(self, iteration: int, residual: float) -> None:
        """Draw the line, but no more than several times a second."""
        portion = math.log(max(residual, self._eps)) / math.log(self._eps) if self._eps < 1 else 1.0
        self._line.show(portion, f"{iteration} products, residual {residual:.1e} |b|, {self._line.elapsed:.1f} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state if a line has been drawn, and end it."""
        self._line.close()
