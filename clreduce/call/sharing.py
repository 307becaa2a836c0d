"""Devices that share a call: `Sharing` assigns blocks to them, and `SharedRun` waits until all blocks are computed.

A call consists of *units*, usually work-groups of rows. A free device takes a portion of its share of the remaining
units. Blocks therefore become shorter towards the end, and all devices finish at about the same time.
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
from clreduce.runtime.profile import WAITING, span
from clreduce.runtime.progress import Progress, current, working_for

_PORTION = 0.5
"""The fraction of its share of the remaining units that a device takes at a time."""
_SHORTEST, _LONGEST = 0.005, 0.3
"""The shortest and the longest time of a block, in seconds."""
_POLL = 0.25
"""Seconds between checks for signals: on some systems, signals do not interrupt the wait for another thread."""

Units = tuple[int, int]
"""The units [start, stop)."""


class Sharing:
    """The assignment of the units of a call to devices. Safe to use from several threads.

    >>> sharing = Sharing(1000, 10, [300.0, 100.0], [True, True])
    >>> sharing.take(0), sharing.take(1), sharing.take(0)
    ((0, 90), (90, 120), (120, 210))
    """

    def __init__(self, units: int, step: int, speeds: Sequence[float], measured: Sequence[bool]) -> None:
        """``speeds`` are units per second of each device; ``measured`` says which are not merely expected.

        ``step`` is the number of units that keep a device busy.
        """
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
        """The units that a device computes next; None if the other devices finish earlier without its help."""
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
        """Record that a device has computed units. The time of its first ones is ignored: it includes building."""
        with self._lock:
            size = units[1] - units[0]
            self._finished += size
            if self._is_warm[device]:
                speed = size / max(seconds, 1e-6)
                self.speeds[device] = (self.speeds[device] + speed) / 2 if self.measured[device] else speed
                self.measured[device] = True
            self._is_warm[device] = True

    def give_back(self, device: int, units: Units) -> None:
        """Record that a device has failed. Another device will compute these units."""
        with self._lock:
            self._returned.append(units)
            self._failed.add(device)


class _EndedError(Exception):
    """Raised in a device's thread to abandon a block, because the call has ended."""


class _Watch(Progress):
    """Reports the progress of a block after each launch, and abandons the block if the call has ended."""

    def __init__(self, run: SharedRun, call: Progress | None) -> None:
        super().__init__(0.0)
        self._run, self._call = run, call

    def advance(self, pairs: float) -> None:
        if self._run.is_closed:
            raise _EndedError
        if self._call is not None:
            self._call.advance(pairs)


class SharedRun:
    """One shared call, from its first block to its last."""

    def __init__(
        self, devices: Sequence[Device], computations: Sequence[Callable[[Units], None]], sharing: Sharing
    ) -> None:
        """``computations`` has a function for each device. It computes units there, in the thread of the device."""
        self.failures: dict[int, ClreduceError] = {}
        """The errors of devices that have failed, by the position of the device."""
        self._devices, self._computations, self._sharing = devices, list(computations), sharing
        self._error: BaseException | None = None
        self.is_closed = False
        """Whether the call has ended: devices take no more units and abandon their blocks."""
        self._progress = current()
        self._at_work = [False] * len(devices)
        # The caller never holds a lock: a signal handler may share another call among the same threads.
        self._have_left: SimpleQueue[int] = SimpleQueue()

    def finish(self) -> None:
        """Compute all units. Raises the error of a device if all devices have failed.

        When this method returns or raises, no device works on the call any more.
        """
        with span(WAITING, "wait for the threads of devices"):
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
        """Stop devices from taking units and wait for those at work, even if signals arrive meanwhile."""
        while True:
            try:
                self.is_closed = True
                while any(self._at_work):
                    time.sleep(0.0005)
                self._computations.clear()  # threads that are busy with other calls keep a reference to this one
                return
            except BaseException:  # the first interruption will reach the caller; kernels still run
                continue

    def _work(self, device: int) -> None:
        """Take and compute units until none are left; runs in the thread of a device."""
        try:
            watch = _Watch(self, self._progress)
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
