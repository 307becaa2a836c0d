"""Threads for devices that share calls. A thread keeps the queue and the kernel objects of its device between calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from clreduce.memo import Memo
from clreduce.runtime.device import Device


class DeviceThread:
    """A thread that runs tasks one after the other. Tasks must not raise; they report errors themselves."""

    def __init__(self, name: str) -> None:
        # SimpleQueue is reentrant: a signal handler may use it while its own thread is using it.
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=_serve, args=(self._tasks,), name=name, daemon=True).start()

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` after all tasks that were submitted before."""
        self._tasks.put(task)

    def __del__(self) -> None:
        self._tasks.put(None)


def _serve(tasks: SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        task = tasks.get()
        if task is None:
            return
        task()
        task = None  # do not keep its arrays alive until the next task arrives


_THREADS: Memo[Device, DeviceThread] = Memo()


def thread_of(device: Device) -> DeviceThread:
    """The thread of a device, started at its first use.

    When caches are cleared, the thread ends after the tasks that it has.
    """
    return _THREADS.get(device) or _THREADS.fetch(device, lambda: DeviceThread(f"clreduce: {device.name}"))
