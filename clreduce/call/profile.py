"""`profile`: where a block of a program spends its time, as numbers, a table, a trace and a picture."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clreduce.errors import ClreduceError
from clreduce.runtime.profile import (
    BUILDING,
    LAUNCHING,
    TRANSFERS,
    WAITING,
    DeviceCommand,
    HostSpan,
    Recorder,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Self

PYTHON = "Python"
_DONE = ("compiled from source", "taken from disk")
CATEGORIES = (BUILDING, TRANSFERS, LAUNCHING, WAITING, PYTHON)


@dataclass(frozen=True)
class KernelTotal:
    """All runs of one kind of kernel on one device. Seconds are nan if the driver records no times."""

    formula: str
    role: str
    device: str
    count: int
    seconds: float
    share: float
    """The fraction of the time of all kernels on all devices."""

    @property
    def mean(self) -> float:
        """The average seconds of one run."""
        return self.seconds / self.count


class Profile:
    """The times of the block ``with clreduce.profile() as p:``, in seconds; `profile` makes it.

    A profile covers one block. It is empty until the block ends.
    """

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self.wall: float = 0.0
        """The seconds from the beginning of the block to its end."""
        self.records: tuple[HostSpan | DeviceCommand, ...] = ()
        """All spans of the host and all commands of devices, in order of time."""

    def __enter__(self) -> Self:
        if self._recorder is not None:
            raise ClreduceError(
                "this profile has recorded a block already: call clreduce.profile() once more for another block"
            )
        self._recorder = Recorder()
        self._recorder.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._recorder is not None
        self._recorder.stop()
        self.wall, self.records = self._recorder.wall, tuple(self._recorder.records())

    @property
    def host(self) -> dict[str, float]:
        """Seconds of the block's thread by category; they add up to `wall`.

        The categories are ``building`` kernels, ``transfers``, ``launching`` kernels (inside the driver), ``waiting``
        for devices, and ``Python`` for the rest.
        """
        parts = dict.fromkeys(CATEGORIES, 0.0)
        for span in self._host_spans():
            parts[span.category] += span.own_seconds
        parts[PYTHON] = self.wall - sum(parts.values())
        return parts

    @property
    def kernels(self) -> tuple[KernelTotal, ...]:
        """Totals of each kind of kernel; the longest total comes first."""
        runs: dict[tuple[str, str, str], list[float]] = {}
        for command in self._commands():
            if command.role != "copy":
                runs.setdefault((command.formula, command.role, command.device), []).append(command.seconds)
        every = math.fsum(seconds for times in runs.values() for seconds in times if not math.isnan(seconds))
        totals = [
            KernelTotal(*key, len(times), math.fsum(times), math.fsum(times) / every if every else math.nan)
            for key, times in runs.items()
        ]
        return tuple(sorted(totals, key=lambda total: -total.seconds if total.seconds == total.seconds else 0.0))

    @property
    def busy(self) -> dict[str, float]:
        """For each device, the seconds in which it ran kernels or copies; nan if its driver records no times."""
        by_device: dict[str, list[tuple[float, float]]] = {}
        for command in self._commands():
            by_device.setdefault(command.device, []).append((command.start, command.start + command.seconds))
        return {device: _covered(intervals) for device, intervals in by_device.items()}

    def trace(self, path: str | os.PathLike[str]) -> None:
        """Write the records as JSON for Perfetto (ui.perfetto.dev) or chrome://tracing.

        Each thread of the host and each device has a row. All times are on the host's clock.
        """
        from clreduce.call.profile_trace import write_trace

        write_trace(self.records, self.wall, path)

    def plot(self, path_or_axes: str | os.PathLike[str] | Axes) -> Axes:
        """Draw the records over time with Matplotlib, into axes or into a new file; returns the axes."""
        from clreduce.call.profile_plot import draw

        return draw(self, path_or_axes)

    def __str__(self) -> str:
        if self._recorder is None or self._recorder.is_on:
            return "<a profile whose block has not ended>"
        return "\n".join([*self._host_lines(), *self._device_lines()])

    def __repr__(self) -> str:
        return f"<Profile of {1e3 * self.wall:.3g} ms, {len(self.records)} records>"

    @property
    def thread(self) -> int | None:
        """The identifier of the block's thread; None before the block."""
        return None if self._recorder is None else self._recorder.thread

    def _host_spans(self) -> list[HostSpan]:
        return [record for record in self.records if isinstance(record, HostSpan) and record.thread == self.thread]

    def _commands(self) -> list[DeviceCommand]:
        return [record for record in self.records if isinstance(record, DeviceCommand)]

    def _host_lines(self) -> list[str]:
        lines = [f"{'host':<12}{'ms':>12}{'share':>8}"]
        for category, seconds in self.host.items():
            notes = self._notes(category)
            lines.append(f"{category:<12}{_ms(seconds)}{_percent(seconds, self.wall)}{'   ' if notes else ''}{notes}")
        lines.append(f"{'wall':<12}{_ms(self.wall)}{_percent(self.wall, self.wall)}")
        return lines

    def _notes(self, category: str) -> str:
        spans = [span for span in self._host_spans() if span.category == category]
        counts = Counter(span.what for span in spans)
        if category == TRANSFERS:
            copied = [span for span in spans if span.what.startswith("copy")]
            in_place = counts["buffer of an array in place"] + counts["map of an array in place"]
            notes = [f"{len(copied)} copies of {_bytes(sum(span.nbytes for span in copied))}"] if copied else []
            return ", ".join(notes + ([f"{in_place} uses in place"] if in_place else []))
        if category in (LAUNCHING, WAITING):
            return f"{len(spans)} times" if spans else ""
        return ", ".join(f"{count} {what}" for what, count in counts.items() if what in _DONE)

    def _device_lines(self) -> list[str]:
        kernels, lines = self.kernels, []
        for device, busy in self.busy.items():
            lines += ["", f"{device}: {self._busy_text(busy)}"]
            lines += _table([total for total in kernels if total.device == device])
        return lines

    def _busy_text(self, busy: float) -> str:
        if math.isnan(busy):
            return "times of kernels are not known (the driver, or this queue, keeps none): see 'waiting' above"
        return f"busy for {1e3 * busy:.3f} ms, {_percent(busy, self.wall).strip()} of the wall time"


def profile() -> Profile:
    """A context manager that measures where its block spends time: building, transfers, launching, waiting, Python.

    Returns
    -------
    Profile
        ``print(p)`` shows a table, ``p.trace("trace.json")`` writes a file for Perfetto or chrome://tracing, and
        ``p.plot("profile.png")`` draws with Matplotlib. `Profile.records` contains the individual records.

    Notes
    -----
    The profile covers the calling thread or asynchronous task. It also records contexts copied from it (as
    `asyncio.to_thread` does), but `Profile.host` counts the thread of the block only. It does not cover threads that
    start inside the block: profile each of them separately. Blocks may be nested; the outer profile has all records.
    Inside the block, commands go to a queue that records times; this costs about 20 us per launch. Some drivers finish
    compiling when a kernel first runs. That time counts as waiting, not as time of the device.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce
    >>> from clreduce.numpy import Genred
    >>> nearest = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "ArgMin", axis=1)
    >>> with clreduce.profile() as p:
    ...     indices = nearest(np.zeros((5, 2)), np.ones((7, 2)))
    >>> abs(sum(p.host.values()) - p.wall) < 1e-9
    True
    >>> [(total.formula, total.count) for total in p.kernels if total.role == "pair"]
    [('ArgMin: SqDist(x, y)', 1)]
    """
    return Profile()


def _covered(intervals: Sequence[tuple[float, float]]) -> float:
    """The length of the union of the intervals with known ends; nan if there is none."""
    known = sorted(interval for interval in intervals if not math.isnan(interval[0]))
    if not known:
        return math.nan
    covered, last = 0.0, -math.inf
    for start, end in known:
        covered += max(0.0, end - max(start, last))
        last = max(last, end)
    return covered


def _table(totals: Iterable[KernelTotal]) -> list[str]:
    rows = [
        (total.formula, total.role, str(total.count), _ms(total.seconds), _ms(total.mean), _percent(total.share, 1.0))
        for total in totals
    ]
    if not rows:
        return []
    width = max(len(row[0]) for row in rows)
    lines = [f"{'kernel':<{width}}  {'role':<7}{'count':>7}{'total ms':>12}{'mean ms':>12}{'share':>8}"]
    return lines + [f"{row[0]:<{width}}  {row[1]:<7}{row[2]:>7}{row[3]:>12}{row[4]:>12}{row[5]:>8}" for row in rows]


def _ms(seconds: float) -> str:
    return f"{'-' if math.isnan(seconds) else format(1e3 * seconds, '.3f'):>12}"


def _percent(part: float, whole: float) -> str:
    return f"{'-' if math.isnan(part) or not whole else format(100 * part / whole, '.1f') + ' %':>8}"


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.4g} GiB"
