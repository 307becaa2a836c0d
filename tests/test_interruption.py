"""Calls that end early, by Ctrl-C or any exception: kernels on their way keep the memory that they read and write."""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import clreduce
from clreduce.domain import Domain
from clreduce.numpy import Genred
from clreduce.runtime import flight
from clreduce.runtime.flight import in_flight
from clreduce.runtime.launch import Call
from clreduce.runtime.memory import Memory
from clreduce.runtime.region import Region
from clreduce.runtime.repeat import Repeated

pytestmark = pytest.mark.usefixtures("plain_kernels")
ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * Exp(b)", ALIASES, "Sum", axis=1)
WIDE = Genred("Exp(-SqDist(x, y)) * Exp(b)", ALIASES, "Sum", axis=1, dtype_acc="float64")
FOLDER = Path(clreduce.__file__).parent
MODULES = "runtime/flight runtime/launch runtime/memory runtime/plan runtime/ranges runtime/repeat " \
    "call/derivative call/evaluation call/executor runtime/region"  # fmt: skip
SOURCES = {str(FOLDER / f"{name}.py") for name in MODULES.split()}


class Interruption(BaseException):
    """What a signal's handler raises here."""


def arrays(rows: int = 5, columns: int = 9, batch: tuple[int, ...] = ()) -> list[Any]:
    numbers = np.random.default_rng(0)
    return [numbers.random((*batch, n, dim), np.float32) for n, dim in ((rows, 2), (columns, 2), (columns, 1))]


@pytest.fixture(params=["by address", "mapped", "copied"])
def way(request: pytest.FixtureRequest, device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The device, whose kernels get at arrays in one of the three ways."""
    if request.param == "by address" and not device.facts.shares_addresses:
        pytest.skip("kernels of this driver take no addresses")
    facts = replace(device.facts, shares_addresses=request.param == "by address", maps_memory=request.param == "mapped")
    monkeypatch.setattr(device, "facts", facts)
    return device


# --------------------------------------------------------------------------------------------- exceptions everywhere


class Recorder:
    """The launches and the waits of a queue, and the deaths of what kernels use, in their order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._watched: list[weakref.ref[Any]] = []

    def watch(self, thing: Any) -> None:
        self._watched.append(weakref.ref(thing, lambda _: self.events.append("death")))

    @property
    def running(self) -> bool:
        """Whether something was launched that nobody has waited for."""
        return self._last("launch") > self._last("wait")

    @property
    def living(self) -> int:
        return sum(watched() is not None for watched in self._watched)

    def check(self) -> None:
        """Nothing dies while kernels may use it."""
        running = False
        for n, event in enumerate(self.events):
            running = event == "launch" or (running and event != "wait")
            assert event != "death" or not running, self.events[: n + 1]

    def _last(self, name: str) -> int:
        return max((n for n, event in enumerate(self.events) if event == name), default=-1)


@pytest.fixture
def recorder(way: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    import pyopencl as cl

    recorder = Recorder()

    class Queue(cl.CommandQueue):  # type: ignore[misc]
        def finish(self) -> None:
            super().finish()
            recorder.events.append("wait")

    class Buffer(cl.Buffer):  # type: ignore[misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            recorder.watch(self)

    class Pool:
        managed_bytes = active_bytes = 0

        def allocate(self, size: int) -> Any:
            return Buffer(way.context, cl.mem_flags.READ_WRITE, size)

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def watching(memory: Memory, array: Any, *more: Any) -> Any:
            if way.facts.shares_addresses or way.facts.maps_memory:
                recorder.watch(array)  # kernels use the array itself, not a copy
            return method(memory, array, *more)

        return watching

    launch = Call._launch

    def launching(call: Call, *given: Any) -> None:
        recorder.events.append("launch")
        launch(call, *given)

    kept = way.queue
    monkeypatch.setattr(way._of_thread, "queue", Queue(way.context))
    monkeypatch.setattr(way, "_pool", Pool())
    monkeypatch.setattr(cl, "Buffer", Buffer)
    monkeypatch.setattr(Memory, "input", watched(Memory.input))
    monkeypatch.setattr(Memory, "output", watched(Memory.output))
    monkeypatch.setattr(Call, "_launch", launching)
    yield recorder
    way._of_thread.queue = kept


def concerns(frame: FrameType) -> bool:
    """Whether a frame may be interrupted: one of the modules under test, but for the cache of plans.

    A trace function can raise where no signal is handled, between the body of a ``with`` and the release of its lock.
    """
    return frame.f_code.co_filename in SOURCES and frame.f_code.co_name != "get"


def interrupted(call: Callable[[], Any], at: int, again: int = 0) -> bool:
    """Whether an exception was raised at the line with this number of all that ``call`` runs.

    ``again``: another one at that call of a function after it, in whatever handles the first.
    """
    lines = calls = 0

    def second(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call") and concerns(frame):
            calls += 1
            if calls == again:
                raise Interruption

    def in_frame(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at:
                if again:
                    sys.setprofile(second)
                raise Interruption
        return in_frame

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        return in_frame if concerns(frame) else None

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        call()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
        sys.setprofile(None)
    return False


def plain() -> None:
    GAUSSIAN(*arrays(5, 5000))  # j in parts: stored values, states, a merge


def in_double() -> None:
    WIDE(*arrays())


def in_batch() -> None:
    GAUSSIAN(*arrays(batch=(2,)), out=np.empty((2, 5, 1), np.float32))


def block_sparse() -> None:
    half = np.array([[0, 3], [3, 5]]), np.array([1, 2]), np.array([[0, 5], [4, 9]])
    GAUSSIAN(*arrays(), ranges=(*half, *(np.zeros(shape, int) for shape in ((0, 2), 0, (0, 2)))))


def gradients() -> None:
    GAUSSIAN.vjp(*arrays(), cotangent=np.ones((5, 1), np.float32))


def repeated() -> None:
    plan = GAUSSIAN.plan("float32")
    slot = next(n for n, one in enumerate(plan.program.slots) if one.domain == Domain.J and one.dim == 1)
    call = Repeated(plan, GAUSSIAN._in_slots(arrays()), slot, Region(5, 9))
    call(np.ones((9, 1)))
    call(np.zeros((9, 1)))


CALLS = [plain, in_double, in_batch, block_sparse, gradients, repeated]


@pytest.mark.parametrize("call", CALLS, ids=[call.__name__ for call in CALLS])
def test_an_exception_at_any_line(recorder: Recorder, call: Callable[[], None], device: Any) -> None:
    if call is in_double and not device.facts.has_double:
        pytest.skip("no float64")
    call()  # builds
    at = 1
    while interrupted(call, at):
        assert not recorder.running, f"kernels run on, line {at}"
        recorder.check()
        recorder.events.clear()
        at += 1
    assert at > 50
    gc.collect()
    assert not recorder.living


@pytest.mark.parametrize("call", [plain, gradients, repeated], ids=["plain", "gradients", "repeated"])
@pytest.mark.parametrize("again", [1, 2, 3])
def test_an_exception_while_another_is_handled(recorder: Recorder, call: Callable[[], None], again: int) -> None:
    call()
    at = 1
    while interrupted(call, at, again):
        recorder.check()
        recorder.events.clear()
        block_sparse()  # the next wait frees what the interrupted call has left
        assert not recorder.living
        recorder.check()
        recorder.events.clear()
        at += 2


def computes_in_between(call: Callable[[], Any], at: int) -> bool:
    """Whether ``call`` has a line with this number, at which another call ran, as in a signal's handler."""
    lines = 0

    def in_frame(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == at:
            sys.settrace(None)
            plain()
        return in_frame

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        return in_frame if concerns(frame) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines >= at


def test_a_handler_that_computes(recorder: Recorder) -> None:
    """The memory of the outer call is not let go by the wait of the inner one."""
    gradients()
    at = 1
    while computes_in_between(gradients, at):
        recorder.check()
        recorder.events.clear()
        at += 5
    assert at > 50


def test_the_end_of_a_thread_waits(recorder: Recorder, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Queue(type(way.queue)):  # type: ignore[misc]
        pass

    def launch() -> None:
        way._of_thread.queue = Queue(way.context)
        with clreduce.use_device(way):
            memory = Memory(way)
            plan = GAUSSIAN.plan("float32")
            plan.launch(GAUSSIAN._in_slots(arrays()), Region(5, 9), None, memory)

    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
    assert "launch" in recorder.events
    assert not recorder.running
    recorder.check()


def test_a_queue_that_cannot_be_waited_for_frees_nothing(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(flight.Flight.__del__, "__defaults__", (lambda: -1, left))  # as in a forked child
    thing = np.zeros(3)
    owner = Memory(device)
    broken = flight.Flight(device.queue)
    things = flight.HeldObjects(owner)
    things.objects.append(thing)
    broken.held.add(things)
    del broken
    assert left == [{things}]
    assert in_flight(device).queue is device.queue


# ------------------------------------------------------------------------------------------------------- real signals


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_signals_at_any_time(way: Any) -> None:
    """Kernels of interrupted calls write neither to memory that others have meanwhile, nor to ``out``."""
    rows = 400
    x, y, b = arrays(rows, 600)
    expected = GAUSSIAN(x, y, b)
    GAUSSIAN.vjp(x, y, b, cotangent=expected)
    chosen = random.Random(0)

    def raising(number: int, frame: Any) -> None:
        raise Interruption

    def timed(call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def derivatives() -> Any:
        return GAUSSIAN.vjp(x, y, b, cotangent=expected)

    out = np.empty((rows, 1), np.float32)
    calls = [lambda: GAUSSIAN(x, y, b), lambda: GAUSSIAN(x, y, b, out=out), derivatives]
    lengths = [min(timed(call) for _ in range(5)) for call in calls]
    bystanders: list[Any] = []
    count = 0
    before = signal.signal(signal.SIGALRM, raising)
    try:
        end = time.perf_counter() + 1.5
        while time.perf_counter() < end:
            number = chosen.randrange(3)
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + chosen.random() * 1.2 * lengths[number])
                calls[number]()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interruption:
                count += 1
                out[...] = 7
                bystanders = [np.full(size, 7, np.float32) for size in (rows, 600, 1200, rows, 600, 1200)]
                time.sleep(0.5 * lengths[number])
                assert all((array == 7).all() for array in (*bystanders, out))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 20
    np.testing.assert_array_equal(GAUSSIAN(x, y, b), expected)
