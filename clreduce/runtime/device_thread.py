"""Threads for devices that share calls. Each keeps the queue and the kernel objects of its device between calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from clreduce.memo import Memo
from clreduce.runtime.device import Device


class DeviceThread:
    """Runs tasks one after the other. Tasks raise nothing: who submits them hears of errors from them."""

    def __init__(self, name: str) -> None:
        # SimpleQueue may be used by the handler of a signal that arrives while this thread's caller is using it.
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=_serve, args=(self._tasks,), name=name, daemon=True).start()

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` after those that were submitted before."""
        self._tasks.put(task)

    def __del__(self) -> None:
        self._tasks.put(None)


def _serve(tasks: SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        task = tasks.get()
        if task is None:
            return
        task()
        task = None  # what it refers to is not kept until the next one comes


_THREADS: Memo[Device, DeviceThread] = Memo()


def thread_of(device: Device) -> DeviceThread:
    """The thread of a device, started when it is first needed.

    It ends when caches are cleared, after the tasks that it was given.
    """
    return _THREADS.get(device) or _THREADS.fetch(device, lambda: DeviceThread(f"clreduce: {device.name}"))
