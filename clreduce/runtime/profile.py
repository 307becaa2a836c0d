"""The recording of a profile: spans of the host's time, and commands of devices with the times of their events.

A `Recorder` is on in one context (`contextvars`), where `RECORDER` contains it. `RECORDER` is None by default; then
nothing is measured. Importing this module does not import pyopencl.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from clreduce.domain import Domain
from clreduce.memo import memoised
from clreduce.typing import Array

if TYPE_CHECKING:
    from types import ModuleType

    import pyopencl as cl

    from clreduce.program import MapReduce
    from clreduce.runtime.bindings import KernelBuffer
    from clreduce.runtime.device import Device
    from clreduce.runtime.plan import Plan

LAUNCHES = logging.getLogger("clreduce.launches")
BUILDING, TRANSFERS, LAUNCHING, WAITING = "building", "transfers", "launching", "waiting"
_MOST_EVENTS = 10_000
"""The most events that have not been read yet; a driver keeps memory for each."""
_LONGEST_FORMULA = 48
_STEADY = 1e9
"""In this many nanoseconds, clocks drift apart by less than the accuracy with which their difference is known."""
Role: TypeAlias = "str | tuple[str, int]"
"""The role of a kernel in a call: ``"pair"``, ``"split"``, ``"merge"``, ``"join"``, or ``("stored", n)``."""
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class HostSpan:
    """A span of a thread's time. Times are in seconds; ``start`` counts from the beginning of the profile."""

    category: str
    """``"building"``, ``"transfers"``, ``"launching"`` or ``"waiting"``."""
    what: str
    start: float
    seconds: float
    own_seconds: float
    """The seconds without the spans inside this one. The own times of a thread are disjoint, so they can be added."""
    thread: int
    nbytes: int = 0
    """The bytes that were copied; 0 for an array that is used in place."""


@dataclass(frozen=True)
class DeviceCommand:
    """A kernel that ran on a device, or a copy. Times are in seconds since the beginning of the profile."""

    role: str
    """``"pair"`` (a reduction over all j), ``"split"`` (over parts of j), ``"merge"`` (of those parts), ``"stored"``
    (values that pair kernels read), or ``"copy"``."""
    formula: str
    """The reduction and its formula, abbreviated; for a copy, its direction."""
    device: str
    launched: float
    start: float
    """The start on the device; nan if the driver records no times."""
    seconds: float
    """The duration on the device; nan if the driver records no times."""
    thread: int
    size: tuple[int, ...] = ()
    group: tuple[int, ...] = ()
    nbytes: int = 0


@dataclass(slots=True)
class _Command:
    """A `DeviceCommand` that is being recorded, in nanoseconds on the clocks of the host and of the device."""

    role: str
    what: MapReduce | str
    device: str
    before: int
    after: int
    event: Any
    thread: int
    size: tuple[int, ...] = ()
    group: tuple[int, ...] = ()
    nbytes: int = 0
    queued: int = 0
    start: int = 0
    end: int = 0

    @property
    def has_times(self) -> bool:
        """Whether the driver has recorded plausible times. (Mesa's rusticl may return 0, 1, 2 and 3.)"""
        return 0 < self.queued <= self.start <= self.end

    def read_event(self) -> None:
        """Read the times of the event and release it."""
        import pyopencl as cl

        event, self.event = self.event, None
        if event is not None:
            try:
                times = event.profile
                self.queued, self.start, self.end = times.queued, times.start, times.end
            except cl.Error:  # CL_PROFILING_INFO_NOT_AVAILABLE, as for a queue that was made before the profile
                self.queued = self.start = self.end = 0


class Recorder:
    """The records between `start` and `stop`. Other threads of the same context may add records, too."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.is_on = False
        self._first = self._last = 0
        self._spans: list[tuple[str, str, int, int, int, int, int]] = []
        self._commands: list[_Command] = []
        self._unread: list[_Command] = []
        self._inner = threading.local()
        self._outer: Recorder | None = None
        self._token: Any = None

    @property
    def wall(self) -> float:
        """Seconds between `start` and `stop`."""
        return (self._last - self._first) * 1e-9

    def start(self) -> None:
        """Begin to record in this context."""
        self._outer = current_recorder()
        self._token = RECORDER.set(self)
        self.is_on = True
        self._first = time.perf_counter_ns()

    def stop(self) -> None:
        """Stop recording. An outer profile gets all of these records, too."""
        self._last = time.perf_counter_ns()
        self.is_on = False
        RECORDER.reset(self._token)
        self._read_events()
        if self._outer is not None:
            self._outer._spans += self._spans
            self._outer._commands += self._commands

    @contextmanager
    def span(self, category: str, what: str, nbytes: int = 0) -> Iterator[None]:
        """Record the time of a block; ``own_seconds`` excludes spans inside it."""
        stack = self._inner.__dict__.setdefault("stack", [])
        stack.append(0)
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            end = time.perf_counter_ns()
            inner = stack.pop()
            if stack:
                stack[-1] += end - start
            self._spans.append((category, what, start, end, end - start - inner, threading.get_ident(), nbytes))

    def command(
        self,
        category: str,
        command: Callable[[], cl.Event],
        role: str,
        what: MapReduce | str,
        device: str,
        size: tuple[int, ...] = (),
        group: tuple[int, ...] = (),
        nbytes: int = 0,
    ) -> cl.Event:
        """Run ``command``, which enqueues a command of a device; record and return its event."""
        with self.span(category, role if isinstance(what, str) else f"launch {role}", nbytes):
            before = time.perf_counter_ns()
            event = command()
            after = time.perf_counter_ns()
        known = _Command(role, what, device, before, after, event, threading.get_ident(), size, group, nbytes)
        self._commands.append(known)
        self._unread.append(known)
        return event

    def waited(self) -> None:
        """Note that a queue has finished, so that its events may be read."""
        if len(self._unread) > _MOST_EVENTS:
            self._read_events()

    def _read_events(self) -> None:
        unread, self._unread = self._unread, []
        for command in unread:
            command.read_event()

    def records(self) -> list[HostSpan | DeviceCommand]:
        """All records, in order of time."""
        records: list[HostSpan | DeviceCommand] = [
            HostSpan(category, what, self._since(start), (end - start) * 1e-9, own * 1e-9, thread, nbytes)
            for category, what, start, end, own, thread, nbytes in list(self._spans)
        ]
        by_device: dict[str, list[_Command]] = {}
        for command in list(self._commands):
            by_device.setdefault(command.device, []).append(command)
        for commands in by_device.values():
            offset = _clock_offset([command for command in commands if command.has_times])
            records += [self._aligned(command, offset) for command in commands]
        return sorted(
            records, key=lambda record: record.launched if isinstance(record, DeviceCommand) else record.start
        )

    def _since(self, nanoseconds: int) -> float:
        return (nanoseconds - self._first) * 1e-9

    def _aligned(self, command: _Command, offset: Callable[[int], int]) -> DeviceCommand:
        what = command.what if isinstance(command.what, str) else describe(command.what)
        start, seconds = math.nan, math.nan
        if command.has_times:
            start, seconds = self._since(command.start + offset(command.start)), (command.end - command.start) * 1e-9
        return DeviceCommand(
            command.role, what, command.device, self._since(command.before), start, seconds, command.thread,
            command.size, command.group, command.nbytes,
        )  # fmt: skip


RECORDER: ContextVar[Recorder | None] = ContextVar("clreduce_recorder", default=None)


def current_recorder() -> Recorder | None:
    """The recorder that is on in this context; None if there is none.

    A task that outlives its profile still has that profile's recorder in `RECORDER`, but it is off.
    """
    recorder = RECORDER.get()
    return recorder if recorder is not None and recorder.is_on else None


def span(category: str, what: str, nbytes: int = 0) -> AbstractContextManager[None]:
    """A context manager that records the time of a block if a recorder is on."""
    recorder = current_recorder()
    return nullcontext() if recorder is None else recorder.span(category, what, nbytes)


def building(what: str) -> Callable[[_F], _F]:
    """Decorate a function whose time counts as building kernels."""

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def timed(*args: object, **options: object) -> Any:
            with span(BUILDING, what):
                return function(*args, **options)

        return timed  # type: ignore[return-value]

    return decorate


def _clock_offset(commands: Sequence[_Command]) -> Callable[[int], int]:
    """The function that converts the device's clock to the host's: the nanoseconds to add at a time of the device.

    The host reads its clock before and after a command is enqueued; the device records the time in between. The median
    of the differences is the offset. Clocks drift apart by about 10 us per second, so in a long profile the offset is a
    line through the medians of the two halves.
    """
    import statistics  # on demand: it imports more than clreduce.devices does

    pairs = [(command.queued, (command.before + command.after) // 2 - command.queued) for command in commands]
    if not pairs:
        return lambda time: 0
    half = len(pairs) // 2
    first, second = (
        tuple(statistics.median(values) for values in zip(*part, strict=True))
        for part in (pairs[: half + 1], pairs[half:])
    )
    if second[0] - first[0] < _STEADY:
        usual = round(statistics.median(offset for _, offset in pairs))
        return lambda time: usual
    drift = (second[1] - first[1]) / (second[0] - first[0])
    return lambda time: round(first[1] + drift * (time - first[0]))


@memoised(256)
def describe(program: MapReduce) -> str:
    """A short text for a program. Variables of i are called x, variables of j are called y, and parameters p."""
    from clreduce.ir.show import show  # on demand: devices are listed without any formula

    letters = {Domain.I: "x", Domain.J: "y", Domain.P: "p"}
    by_letter: dict[str, list[Any]] = {}
    for slot in program.slots:
        by_letter.setdefault(letters[slot.domain], []).append(slot.params[0])
    names = {
        key: letter if len(keys) == 1 else f"{letter}{n}"
        for letter, keys in by_letter.items()
        for n, key in enumerate(keys, 1)
    }
    reduction = program.reduction
    count = "" if reduction.count is None else f" K={reduction.count}"
    return f"{reduction.name}{count}: {show(program.values[0], names, _LONGEST_FORMULA)}"


# ------------------------------------------------------------------------------- what takes the place of pyopencl's


class _RecordedQueues(threading.local):
    def __init__(self) -> None:
        self.queues: dict[Device, Any] = {}


_OF_THREAD = _RecordedQueues()


@functools.cache
def _recorded_queue() -> Any:
    import pyopencl as cl

    class RecordedQueue(cl.CommandQueue):
        """A queue that records its waits.

        Its `finish` is a Python function. A second signal may be handled before it runs, while the exception of a first
        signal ends a call. Only a plain queue is safe from that.
        """

        def finish(self) -> None:
            recorder = current_recorder()
            if recorder is None:
                super().finish()
                return
            with recorder.span(WAITING, "wait"):
                super().finish()
            recorder.waited()

    return RecordedQueue


def recorded_queue(device: Device) -> cl.CommandQueue:
    """The calling thread's queue whose events have times, if the driver records them."""
    queue = _OF_THREAD.queues.get(device)
    if queue is None:
        import pyopencl as cl

        context, kind = device.context, _recorded_queue()
        try:
            queue = kind(context, device.cl_device, cl.command_queue_properties.PROFILING_ENABLE)
        except cl.Error:  # the driver may have no such queues: then only the host's times are known
            queue = kind(context, device.cl_device)
        queue.title = device_title(device)
        _OF_THREAD.queues[device] = queue
    recorded: cl.CommandQueue = queue
    return recorded


@memoised(64)
def device_title(device: Device) -> str:
    """A short text for a device: its name, driver and version, and a number if the platform has several of one name."""
    title = f"{device.name} ({device.facts.driver} {'.'.join(map(str, device.facts.driver_version[:2]))})"
    equals = [each for each in device.cl_device.platform.get_devices() if each.name == device.cl_device.name]
    if len(equals) > 1 and device.cl_device in equals:
        return f"{title}, number {1 + equals.index(device.cl_device)}"
    return title


def watched(kernel: Callable[..., cl.Event], plan: Plan, role: Role) -> Callable[..., cl.Event]:
    """``kernel`` with launches that are logged and recorded."""
    name = role if isinstance(role, str) else role[0]

    def launch(
        queue: cl.CommandQueue, size: tuple[int, ...], group: tuple[int, ...], *arguments: object, **options: object
    ) -> cl.Event:
        if LAUNCHES.isEnabledFor(logging.DEBUG):
            LAUNCHES.debug("%s kernel of %s: size %s, group %s", name, describe(plan.program), size, group)
        recorder = current_recorder()
        if recorder is None:
            return kernel(queue, size, group, *arguments, **options)
        title = device_title(plan.device)
        return recorder.command(
            LAUNCHING, lambda: kernel(queue, size, group, *arguments, **options), name, plan.program, title, size, group
        )

    return launch


class RecordedCalls:
    """The module pyopencl, with copies and maps that are recorded."""

    def __init__(self, cl: ModuleType) -> None:
        self._cl = cl

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cl, name)

    def Buffer(self, context: cl.Context, flags: int, **options: object) -> cl.Buffer:
        array: Any = options.get("hostbuf")
        copies = array is not None and bool(flags & self._cl.mem_flags.COPY_HOST_PTR)
        what = "copy to the device" if copies else "buffer of an array in place" if array is not None else "buffer"
        with span(TRANSFERS, what, array.nbytes if copies else 0):
            buffer: cl.Buffer = self._cl.Buffer(context, flags, **options)
        return buffer

    def enqueue_copy(
        self, queue: cl.CommandQueue, target: Array | KernelBuffer, source: Array | KernelBuffer, **options: object
    ) -> cl.Event:
        recorder = current_recorder()
        if recorder is None:
            event: cl.Event = self._cl.enqueue_copy(queue, target, source, **options)
            return event
        array: Any = target if hasattr(target, "nbytes") else source
        what = "copy to the host" if array is target else "copy to the device"
        title = getattr(queue, "title", "a queue from before the profile")
        command = functools.partial(self._cl.enqueue_copy, queue, target, source, **options)
        return recorder.command(TRANSFERS, command, "copy", what, title, nbytes=array.nbytes)

    def enqueue_map_buffer(
        self, *arguments: object, is_blocking: bool = True, **options: object
    ) -> tuple[Array, cl.Event]:
        category = WAITING if is_blocking else TRANSFERS
        with span(category, "wait for a map" if is_blocking else "map of an array in place"):
            mapped: tuple[Array, cl.Event] = self._cl.enqueue_map_buffer(*arguments, is_blocking=is_blocking, **options)
        return mapped
