"""Progress of long calls, as a bar, and of searches and iterations, as a status line.

The launches of a call report how many pairs they have visited. A bar appears when the first launches show that the
whole call takes longer than two seconds. Calls with a single launch show none.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from clreduce.errors import OptionError

VARIABLE = "CLREDUCE_PROGRESS"
"""The environment variable: 0 for no progress bars, 1 for bars everywhere."""
_LONG = 2.0
"""A call shows a bar if it is expected to take more seconds than this."""
_PATIENCE = 0.3
"""After this many seconds, the duration of a call can be estimated."""
_WIDTH = 24
"""The number of characters of the bar in a `StatusLine`."""

_chosen: bool | None = None


def set_progress(shown: bool | None) -> None:
    """Let long calls show a progress bar, or not.

    Parameters
    ----------
    shown : bool or None
        None, the default, shows bars on terminals and in notebooks only.

    Raises
    ------
    OptionError
        ``shown`` is neither True, False nor None.

    Notes
    -----
    Bars are those of ``tqdm.auto``, on stderr. The environment variable ``CLREDUCE_PROGRESS``, 0 or 1, has the same
    effect.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.set_progress(False)
    >>> clreduce.set_progress(None)
    """
    global _chosen
    if shown is not None and not isinstance(shown, bool):
        raise OptionError(f"set_progress takes True, False or None; got {shown!r}")
    _chosen = shown


def is_shown() -> bool:
    """Whether bars are shown here."""
    if _chosen is not None:
        return _chosen
    value = os.environ.get(VARIABLE, "").strip().lower()
    if value:
        return value not in ("0", "false", "no", "off")
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


class Progress:
    """The number of pairs, of ``total``, that a call has visited. Safe to use from several threads."""

    def __init__(self, total: float) -> None:
        self._total, self._visited, self._drawn = total, 0.0, 0.0
        self._start = time.perf_counter()
        self._bar: Any = None
        self._lock = threading.Lock()

    def advance(self, pairs: float) -> None:
        """Add visited pairs, and show a bar if the call is long."""
        with self._lock:
            self._visited = min(self._total, self._visited + pairs)
            seconds = time.perf_counter() - self._start
            if self._bar is None and seconds > _PATIENCE and seconds * self._total > _LONG * self._visited:
                self._bar = _new_bar(self._total)
            if self._bar is not None:
                self._bar.update(self._visited - self._drawn)
                self._drawn = self._visited

    def close(self) -> None:
        """Remove the bar at the end of the call."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()


class PartOfCall(Progress):
    """The progress of a part of a call. It advances the whole, by no more than the ``total`` of the part."""

    def __init__(self, whole: Progress, total: float) -> None:
        super().__init__(total)
        self._whole = whole

    def advance(self, pairs: float) -> None:
        before, self._visited = self._visited, min(self._total, self._visited + pairs)
        self._whole.advance(self._visited - before)

    def complete(self) -> None:
        """Count all pairs of the part as visited, even if launches did not report them."""
        self.advance(self._total)


class StatusLine:
    """A line on stderr with the progress of a search or an iteration. A terminal redraws it; other files repeat it.

    If ``shown`` is None, `set_progress` and the environment decide, and the line appears after ``patience`` seconds.
    ``interval`` is the shortest time between two drawings in seconds; off terminals it is at least 1, unless it is 0.
    """

    def __init__(self, title: str, shown: bool | None, patience: float = 0.0, interval: float = 0.0) -> None:
        self.title, self._shown = title, is_shown() if shown is None else shown
        self._redrawn = sys.stderr is not None and sys.stderr.isatty()
        self._interval = interval if self._redrawn or not interval else max(interval, 1.0)
        self._start = time.perf_counter()
        self._next = self._start + (patience if shown is None else 0.0)
        self._waiting, self._is_drawn = "", False

    @property
    def elapsed(self) -> float:
        """Seconds since the line was made."""
        return time.perf_counter() - self._start

    def show(self, portion: float, words: str) -> None:
        """Draw the line with a bar for ``portion``, between 0 and 1, and with ``words`` after it."""
        if not self._shown:
            return
        full = math.floor(_WIDTH * min(1.0, max(0.0, portion)))
        self._waiting = f"{self.title} [{'#' * full}{'.' * (_WIDTH - full)}] {words}"
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + self._interval
            self._draw()

    def close(self) -> None:
        """Draw the latest text if the line is visible, and end the line."""
        if self._is_drawn and self._waiting:
            self._draw()
        if self._is_drawn and self._redrawn:
            print(file=sys.stderr)

    def _draw(self) -> None:
        text = f"\r{self._waiting}\x1b[K" if self._redrawn else self._waiting
        print(text, end="" if self._redrawn else "\n", file=sys.stderr, flush=True)
        self._is_drawn, self._waiting = True, ""


def _new_bar(total: float) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="pair", unit_scale=True, desc="clreduce", leave=False, file=sys.stderr)


class _ProgressOfThread(threading.local):
    progress: Progress | None = None


_OF_THREAD = _ProgressOfThread()


def current() -> Progress | None:
    """The progress of the call that this thread works for; None if it is not shown."""
    return _OF_THREAD.progress


@contextlib.contextmanager
def working_for(progress: Progress | None) -> Iterator[None]:
    """Let this thread report its progress to ``progress`` in this block. Another thread may have started the call."""
    before, _OF_THREAD.progress = _OF_THREAD.progress, progress
    try:
        yield
    finally:
        _OF_THREAD.progress = before


@contextlib.contextmanager
def shown(pairs: float) -> Iterator[None]:
    """Show the progress of a call of ``pairs`` pairs inside this block. Inner calls are parts of it and have no bar."""
    if _OF_THREAD.progress is not None or not is_shown():
        yield
        return
    progress = Progress(pairs)
    try:
        with working_for(progress):
            yield
    finally:
        progress.close()
