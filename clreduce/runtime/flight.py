"""What kernels on their way read and write, and who keeps it alive until the queue is done.

A call may end at any step, for a signal's handler may raise an exception between any two of them. The frames of the
call, and with them its arrays, are gone then, while kernels still write there. So memory belongs to the queue: it is
held from before the first launch until a wait for the queue is over.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from clreduce.runtime.device import Device

_NEVER_FREED: list[Any] = []
"""What a queue may still use that cannot be waited for."""


class Things:
    """Arrays and buffers of one owner, a `Memory`."""

    __slots__ = ("kept", "owner")

    def __init__(self, owner: Any) -> None:
        self.owner = weakref.ref(owner)
        self.kept: list[Any] = []


class Flight:
    """The queue of one thread, and what its commands may still use."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.wait: Any = queue.finish
        """Waits for the queue. It is no Python function: no signal is handled between its call and its end."""
        self.held: set[Things] = set()
        self._process = os.getpid()

    def finish(self, things: Things) -> None:
        """Wait for the queue, and let go of these things; and of those whose calls ended early, before now."""
        # Calls that have not ended may not have launched all that they hold things for: a signal's handler may call
        # this in the midst of another.
        abandoned = [other for other in list(self.held) if other.owner() is None] if len(self.held) > 1 else ()
        self.wait()
        self.held.discard(things)
        if abandoned:
            self.held.difference_update(abandoned)

    def __del__(self, getpid: Any = os.getpid, never_freed: list[Any] = _NEVER_FREED) -> None:
        """The thread ends."""
        if not self.held:
            return
        try:
            if getpid() == self._process:
                self.wait()
                return
        except Exception:  # the device is lost
            pass
        never_freed.append(self.held)  # after a fork, nobody is there who would run what is in the queue


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.flights: dict[Device, Flight] = {}


_OF_THREAD = _OfThread()


def in_flight(device: Device) -> Flight:
    """The calling thread's queue on a device, and what it uses; `DeviceError` after a fork."""
    queue = device.queue
    flights = _OF_THREAD.flights
    flight = flights.get(device)
    if flight is None or flight.queue is not queue:
        flight = flights[device] = Flight(queue)
    return flight
