"""How devices share a call: which of them computes which block next, and the wait until all have done their part.

A call is so many *units*, as a rule work-groups of rows. A device that is free takes the next ones: a portion of its
share of what is left, so that blocks become shorter towards the end and all devices end at about the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue

from clreduce.errors import ClreduceError, CompileError, DeviceError
from clreduce.runtime.device import Device
from clreduce.runtime.device_thread import thread_of
from clreduce.runtime.progress import Progress, current, working_for

_PORTION = 0.5
"""Of its share of what is left, what a device takes at a time."""
_SHORTEST, _LONGEST = 0.005, 0.3
"""Seconds of a block."""
_POLL = 0.25
"""Seconds between looks for a signal, where waiting for another thread does not let it through."""

Units = tuple[int, int]
"""[start, stop)"""


class Sharing:
    """Which units of a call each device has taken, and which are left. Safe to use from several threads.

    >>> sharing = Sharing(1000, 10, [300.0, 100.0], [True, True])
    >>> sharing.take(0), sharing.take(1), sharing.take(0)
    ((0, 90), (90, 120), (120, 210))
    """

    def __init__(self, units: int, step: int, speeds: Sequence[float], measured: Sequence[bool]) -> None:
        """``speeds``: units per second of each device, ``measured`` or expected; ``step``: units that keep one busy."""
        self.speeds, self.measured = list(speeds), list(measured)
        self._units, self._step = units, step
        self._taken = self._finished = 0
        self._returned: list[Units] = []
        self._failed: set[int] = set()
        self._is_warm = list(measured)
        self._lock = threading.Lock()

    @property
    def is_finished(self) -> bool:
        """Whether all units are computed."""
        return self._finished == self._units

    def take(self, device: int) -> Units | None:
        """The units that a device computes next; None where the others are done sooner without it."""
        with self._lock:
            if self._returned:
                return self._returned.pop()
            left = self._units - self._taken
            if not left:
                return None
            speeds = [0.0 if n in self._failed else speed for n, speed in enumerate(self.speeds)]
            own = speeds[device]
            portion = _PORTION * left * own / sum(speeds)
            if self.measured[device]:
                wanted = min(max(portion, own * _SHORTEST), own * _LONGEST)
            else:  # a probe
                wanted = min(portion, own * _SHORTEST)
            size = min(left, max(1, round(wanted / self._step)) * self._step)
            if self.measured[device] and size / own > left / max(speeds):
                return None
            start = self._taken
            self._taken += size
            return start, start + size

    def note(self, device: int, units: Units, seconds: float) -> None:
        """A device has computed units in this time. That of its first ones also counts the building of kernels."""
        with self._lock:
            size = units[1] - units[0]
            self._finished += size
            if self._is_warm[device]:
                speed = size / max(seconds, 1e-6)
                self.speeds[device] = (self.speeds[device] + speed) / 2 if self.measured[device] else speed
                self.measured[device] = True
            self._is_warm[device] = True

    def give_back(self, device: int, units: Units) -> None:
        """A device has failed in these units, which others shall compute."""
        with self._lock:
            self._returned.append(units)
            self._failed.add(device)


class _EndedError(Exception):
    """The call has ended, and nobody wants to have the rest of a block."""


class _Watch(Progress):
    """Tells how far a block is, between two launches; there the block ends if the call does."""

    def __init__(self, run: SharedRun, told: Progress | None) -> None:
        super().__init__(0.0)
        self._run, self._told = run, told

    def advance(self, pairs: float) -> None:
        if self._run.is_closed:
            raise _EndedError
        if self._told is not None:
            self._told.advance(pairs)


class SharedRun:
    """A call that devices are working on."""

    def __init__(
        self, devices: Sequence[Device], computations: Sequence[Callable[[Units], None]], sharing: Sharing
    ) -> None:
        """``computations``: for each device what computes units there, in the device's thread."""
        self.failures: dict[int, ClreduceError] = {}
        """Why devices could not do their part, by their number."""
        self._devices, self._computations, self._sharing = devices, list(computations), sharing
        self._error: BaseException | None = None
        self.is_closed = False
        """Whether devices take no more units, and end the blocks that they have."""
        self._told = current()
        self._at_work = [False] * len(devices)
        # The caller holds no lock at any time: a signal's handler may share another call by the same threads.
        self._have_left: SimpleQueue[int] = SimpleQueue()

    def finish(self) -> None:
        """Have all units computed; the error of a device if all have failed.

        Whatever it raises, no device works on the call any more when that reaches the caller.
        """
        try:
            self._share()
        finally:
            self._close()

    def _share(self) -> None:
        while not self._sharing.is_finished:
            able = [n for n in range(len(self._devices)) if n not in self.failures]
            if not able:
                raise self.failures[min(self.failures)]
            for n in able:
                thread_of(self._devices[n]).submit(partial(copy_context().run, self._work, n))
            waiting = set(able)
            while waiting and not self._sharing.is_finished:
                try:
                    waiting.discard(self._have_left.get(timeout=_POLL))
                except Empty:
                    continue
                if self._error is not None:
                    raise self._error

    def _close(self) -> None:
        """Let devices take no more units, and wait for those at work, whatever signals arrive meanwhile."""
        while True:
            try:
                self.is_closed = True
                while any(self._at_work):
                    time.sleep(0.0005)
                self._computations.clear()  # threads that are busy with other calls hold this one for a while
                return
            except BaseException:  # the first interruption is on its way to the caller, and kernels still run
                continue

    def _work(self, device: int) -> None:
        """What the thread of a device does."""
        try:
            watch = _Watch(self, self._told)
            while True:
                self._at_work[device] = True
                units = None if self.is_closed else self._sharing.take(device)
                if units is None:
                    return
                start = time.perf_counter()
                try:
                    with working_for(watch):
                        self._computations[device](units)
                except (DeviceError, CompileError) as error:
                    self.failures[device] = error
                    self._sharing.give_back(device, units)
                    return
                self._sharing.note(device, units, time.perf_counter() - start)
        except BaseException as error:
            self._error = error
        finally:
            self._at_work[device] = False
            self._have_left.put(device)
