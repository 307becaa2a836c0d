"""Keeps the memory of launched kernels alive until the queue has finished.

A signal handler may raise an exception between any two steps of a call. The call's frames and arrays are then released
while kernels still write to them. The queue therefore owns this memory: it is held from before the first launch until a
wait for the queue has ended.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from clreduce.runtime.device import Device

if TYPE_CHECKING:
    import pyopencl as cl

_NEVER_FREED: list[set[HeldObjects]] = []
"""Memory that may still be in use by a queue that cannot be waited for."""


class HeldObjects:
    """The arrays and buffers of one owner, a `Memory`."""

    __slots__ = ("objects", "owner")

    def __init__(self, owner: object) -> None:
        self.owner = weakref.ref(owner)
        self.objects: list[object] = []


class Flight:
    """The queue of one thread, and the memory that its commands may still use."""

    def __init__(self, queue: cl.CommandQueue) -> None:
        self.queue = queue
        self.wait: Callable[[], None] = queue.finish
        """A function that waits for the queue. It is not written in Python, so no signal is handled while it runs."""
        self.held: set[HeldObjects] = set()
        self._process = os.getpid()

    def finish(self, held: HeldObjects) -> None:
        """Wait for the queue and release ``held``, and the objects of calls that have ended early."""
        # The objects of other calls stay: if a signal handler runs this, the interrupted call may launch more kernels.
        abandoned = [other for other in list(self.held) if other.owner() is None] if len(self.held) > 1 else ()
        self.wait()
        self.held.discard(held)
        if abandoned:
            self.held.difference_update(abandoned)

    def __del__(
        self, getpid: Callable[[], int] = os.getpid, never_freed: list[set[HeldObjects]] = _NEVER_FREED
    ) -> None:
        """Wait for the queue when its thread ends."""
        if not self.held:
            return
        try:
            if getpid() == self._process:
                self.wait()
                return
        except Exception:  # the device is lost
            pass
        never_freed.append(self.held)  # after a fork, no thread runs the commands of the queue


class _FlightsOfThread(threading.local):
    def __init__(self) -> None:
        self.flights: dict[Device, Flight] = {}


_OF_THREAD = _FlightsOfThread()


def in_flight(device: Device) -> Flight:
    """The calling thread's `Flight` on a device; raises `DeviceError` in a child forked after OpenCL was used."""
    queue = device.queue
    flights = _OF_THREAD.flights
    flight = flights.get(device)
    if flight is None or flight.queue is not queue:
        flight = flights[device] = Flight(queue)
    return flight
