"""`clreduce.profile`: host times add up, devices' times are on the host's clock, and nothing else is recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import subprocess
import sys
import threading
from collections import Counter
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import output_of

import clreduce
from clreduce.call.profile import CATEGORIES, Profile
from clreduce.errors import ClreduceError, ShapeError
from clreduce.numpy import Genred, KernelSolve, LazyTensor
from clreduce.runtime import profile as recording
from clreduce.runtime import slices
from clreduce.runtime.profile import DeviceCommand, HostSpan

pytestmark = pytest.mark.usefixtures("plain_kernels")
ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
FORMULA = "Exp(-SqDist(x, y)) * b"


def data(rows: int = 300, columns: int = 400) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, 2)), rng.normal(size=(columns, 2)), rng.normal(size=(columns, 1))


def gaussian() -> Genred:
    return Genred(FORMULA, ALIASES, "Sum", axis=1)


def commands(profile: Profile) -> list[DeviceCommand]:
    return [record for record in profile.records if isinstance(record, DeviceCommand)]


def clock_error(profile: Profile) -> float:
    """Seconds by which a device's clock, moved to the host's, may be off: as long as it takes to queue a command."""
    return 1e-3 + max(r.seconds for r in profile.records if isinstance(r, HostSpan) and r.category != "waiting")


def check(profile: Profile) -> None:
    """What holds for each profile."""
    spans = [record for record in profile.records if isinstance(record, HostSpan)]
    assert tuple(profile.host) == CATEGORIES
    assert sum(profile.host.values()) == pytest.approx(profile.wall, rel=1e-12)
    assert all(seconds >= 0 for seconds in profile.host.values()), "parts overlap"
    for thread in {span.thread for span in spans}:
        own = [span for span in spans if span.thread == thread]
        ends = np.array([(span.start, span.start + span.seconds) for span in own])
        assert ends.min() >= 0
        assert ends.max() <= profile.wall + 1e-9
        # The union of the spans, found in another way, is the sum of their own times.
        union, last = 0.0, 0.0
        for start, end in sorted(map(tuple, ends)):
            union += max(0.0, end - max(start, last))
            last = max(last, end)
        assert sum(span.own_seconds for span in own) == pytest.approx(union, abs=1e-9)
    error = clock_error(profile) if profile.records else 0.0
    for command in commands(profile):
        assert command.launched >= 0
        assert command.start >= command.launched - error
        assert command.seconds >= 0
        assert command.start + command.seconds <= profile.wall + error
    for busy in profile.busy.values():
        assert 0 < busy <= profile.wall + error


def test_kernels_of_calls_gradients_batches_ranges_and_solves(device: Any) -> None:
    x, y, b = data()
    routine = gaussian()
    solve = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)
    blocks = [np.array(part) for part in ([[0, 300]], [1], [[0, 100]], [[0, 400]], [1], [[0, 300]])]
    with clreduce.profile() as p:
        results = [routine(x, y, b) for _ in range(3)]
        routine.vjp(x, y, b, cotangent=np.ones((300, 1)))
        routine(np.stack([x, x]), y, b)
        routine(x, y, b, ranges=blocks)
        solve(x[:50], x[:50], np.ones((50, 1)), alpha=1.0)
        few = routine(x[:1], np.repeat(y, 20, 0), np.repeat(b, 20, 0))
    check(p)
    assert all(np.array_equal(result, results[0]) for result in results)
    assert np.isfinite(few).all()
    total = Counter[str]()
    for kernel in p.kernels:
        assert kernel.count > 0
        assert kernel.mean == kernel.seconds / kernel.count
        total[kernel.formula] += kernel.count if kernel.role in ("pair", "split") else 0
    assert total["Sum: Exp(-SqDist(x, y1)) * y2"] >= 6 + 2, "three calls, a batch, ranges, few rows, and some steps"
    assert sum(kernel.share for kernel in p.kernels) == pytest.approx(1)
    seen = {record.what for record in p.records if isinstance(record, HostSpan)}
    assert "launch pair" in seen
    assert seen & {"compiled from source", "taken from disk"}
    assert p.host["building"] > 0
    text = str(p)
    for part in (*CATEGORIES, device.name, "Sum: Exp(-SqDist(x, y1)) * y2", "busy for"):
        assert part in text


def test_parts_of_j_and_values_that_are_stored(device: Any) -> None:
    """Long j and few rows: split and merge kernels run one after the other, on the device's own clock."""
    x, y, b = data(1, 60_000)
    routine = Genred("Exp(-SqDist(x, y)) * Exp(b)", ALIASES, "Sum", axis=1)
    routine(x, y, b)
    with clreduce.profile() as p:
        routine(x, y, b)
    check(p)
    ran = [(command.role, command.start, command.start + command.seconds) for command in commands(p)]
    assert [role for role, _, _ in ran if role != "copy"] == ["stored", "split", "merge"]
    assert all(end <= start for (_, _, end), (_, start, _) in pairwise(ran))
    assert p.host["building"] == 0


def test_a_long_call_has_a_run_for_each_of_its_slices(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_FIRST", 1e-7)
    monkeypatch.setattr(slices, "_USUAL", 1e-4)
    monkeypatch.setattr(slices, "_WHOLE", 1e-4)
    x, y, b = data(2000, 2000)
    routine = Genred("Exp(-SqDist(x, y)) * b + 8", ALIASES, "Sum", axis=1)  # with a plan of its own
    with clreduce.profile() as p:
        sliced = routine(x, y, b)
    check(p)
    assert max(kernel.count for kernel in p.kernels) > 1
    assert np.array_equal(sliced, routine(x, y, b))


def test_copies_are_counted_in_bytes(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is said to have its own memory gets copies."""
    from dataclasses import replace

    apart = replace(device.facts, shares_host_memory=False, shares_addresses=False)
    monkeypatch.setattr(device, "facts", apart)
    x, y, b = data()
    with clreduce.profile() as p:
        gaussian()(x, y, b)
    check(p)
    copied = Counter[str]()
    for record in p.records:
        if isinstance(record, HostSpan) and record.category == "transfers":
            copied[record.what] += record.nbytes
    assert copied["copy to the device"] == x.nbytes + y.nbytes + b.nbytes
    (back,) = (command for command in commands(p) if command.role == "copy")
    assert (back.formula, back.nbytes) == ("copy to the host", 300 * 8)
    assert "4 copies of" in str(p)


def test_a_trace_has_complete_events_on_one_clock(device: Any, tmp_path: Path) -> None:
    x, y, b = data()
    with clreduce.profile() as p:
        gaussian()(x, y, b)
    p.trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    complete = [event for event in events if event["ph"] == "X"]
    assert {event["ph"] for event in events} == {"M", "X"}
    assert len(complete) == len(p.records) + 1
    for event in complete:
        assert (event["pid"], event["tid"]) in named, "a row without a name"
        assert isinstance(event["args"], dict)
        assert event["dur"] >= 0
        assert -1e6 * clock_error(p) <= event["ts"] <= 1e6 * (p.wall + clock_error(p))
    (pair,) = (event for event in complete if event["cat"] == "pair")
    (launch,) = (event for event in complete if event["name"] == "launch pair")
    assert pair["pid"] != launch["pid"]
    assert pair["ts"] >= launch["ts"] - 1e6 * clock_error(p)
    assert pair["args"]["launched"] >= launch["ts"]


def test_a_picture_has_a_row_for_the_host_and_one_for_the_device(device: Any, tmp_path: Path) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    x, y, b = data()
    with clreduce.profile() as p:
        gaussian()(x, y, b)
    axes = figures.Figure().add_subplot()
    assert p.plot(axes) is axes
    assert len(axes.get_yticklabels()) == 2
    assert len(axes.collections) >= 3
    p.plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")


def test_devices_of_one_name_have_titles_of_their_own() -> None:
    """Two equal GPUs, or here two devices of PoCL, are two rows of a profile, each with a clock of its own."""
    source = """
        from clreduce.runtime.devices import devices
        from clreduce.runtime.profile import device_title
        for device in devices():
            if device.facts.driver == "pocl":
                print(device_title(device))
    """
    titles = output_of(source, POCL_DEVICES="pthread pthread").splitlines()
    if not titles:
        pytest.skip("no PoCL here")
    assert len(set(titles)) == len(titles) >= 2


def test_nested_profiles_both_have_what_the_inner_one_covers(device: Any) -> None:
    x, y, b = data()
    routine = gaussian()
    with clreduce.profile() as outer:
        routine(x, y, b)
        with clreduce.profile() as inner:
            routine(x, y, b)
        routine(x, y, b)
    check(outer)
    check(inner)
    assert sum(kernel.count for kernel in outer.kernels) == 3 * sum(kernel.count for kernel in inner.kernels)
    routine(x, y, b)
    assert recording.RECORDER.get() is None


def test_threads_are_covered_by_profiles_of_their_own(device: Any) -> None:
    x, y, b = data()
    routine = gaussian()
    own: list[Profile] = []

    def work() -> None:
        with clreduce.use_device(device), clreduce.profile() as p:
            routine(x, y, b)
            routine(x, y, b)
        own.append(p)

    def plain() -> None:
        with clreduce.use_device(device):
            routine(x, y, b)

    routine(x, y, b)
    with clreduce.profile() as p:
        threads = [threading.Thread(target=target) for target in (work, plain)]
        for thread in threads:
            thread.start()
        routine(x, y, b)
        for thread in threads:
            thread.join()
    check(p)
    check(own[0])
    assert [kernel.count for kernel in p.kernels] == [1]
    assert [kernel.count for kernel in own[0].kernels] == [2]


def test_a_copied_context_is_covered_but_its_waits_are_not_the_blocks(device: Any) -> None:
    x, y, b = data()
    routine = gaussian()
    routine(x, y, b)
    with clreduce.profile() as p:
        thread = threading.Thread(target=copy_context().run, args=(routine, x, y, b))
        thread.start()
        thread.join()
    check(p)
    assert [kernel.count for kernel in p.kernels] == [1]
    assert p.host["waiting"] == 0


def test_a_task_is_profiled_without_the_others_of_its_thread(device: Any) -> None:
    x, y, b = data()
    routine = gaussian()
    counts: list[int] = []

    async def profiled() -> None:
        with clreduce.profile() as p:
            for _ in range(3):
                routine(x, y, b)
                await asyncio.sleep(0)
        check(p)
        counts.append(sum(kernel.count for kernel in p.kernels))

    async def both() -> None:
        await asyncio.gather(profiled(), other(), profiled())

    async def other() -> None:
        for _ in range(5):
            routine(x, y, b)
            await asyncio.sleep(0)

    asyncio.run(both())
    assert counts == [3, 3]


def test_an_error_ends_a_profile_as_the_end_of_its_block_does(device: Any) -> None:
    x, y, b = data()
    p = clreduce.profile()
    with contextlib.suppress(ShapeError), p:
        gaussian()(x, y, b)
        raise ShapeError
    check(p)
    assert [kernel.count for kernel in p.kernels] == [1]
    assert recording.RECORDER.get() is None


def test_a_driver_without_times_is_named_and_the_hosts_times_stay(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events raise CL_PROFILING_INFO_NOT_AVAILABLE: here those of a queue that was not asked to keep times."""
    import pyopencl as cl

    def plain(context: Any, cl_device: Any, properties: Any = 0) -> Any:
        if properties:
            raise cl.LogicError("clCreateCommandQueue", cl.status_code.INVALID_QUEUE_PROPERTIES, "")
        return kind(context, cl_device)

    kind = recording._recorded_queue()
    monkeypatch.setattr(recording, "_recorded_queue", lambda: plain)
    monkeypatch.setattr(recording, "_OF_THREAD", recording._RecordedQueues())
    x, y, b = data()
    with clreduce.profile() as p:
        gaussian()(x, y, b)
    assert sum(p.host.values()) == pytest.approx(p.wall, rel=1e-12)
    assert p.host["waiting"] > 0
    (kernel,) = p.kernels
    assert kernel.count == 1
    assert math.isnan(kernel.seconds)
    assert "times of kernels are not known" in str(p)


def test_few_events_wait_to_be_read(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_MOST_EVENTS", 4)
    x, y, b = data()
    routine = gaussian()
    with clreduce.profile() as p:
        for _ in range(20):
            routine(x, y, b)
            recorder = recording.current_recorder()
            assert recorder is not None
            assert len(recorder._unread) <= 5
    check(p)
    assert sum(kernel.count for kernel in p.kernels) == 20


def test_tasks_that_outlive_a_profile_are_not_recorded(device: Any) -> None:
    x, y, b = data()
    routine = gaussian()
    with clreduce.profile() as p:
        routine(x, y, b)
        context = copy_context()
    context.run(routine, x, y, b)
    assert sum(kernel.count for kernel in p.kernels) == 1


def test_a_matrix_made_before_a_profile_is_timed_in_it(device: Any) -> None:
    """What repeats a product for a solver keeps a queue: it takes the profile's, and after it another one."""
    pytest.importorskip("scipy")
    from scipy.sparse.linalg import aslinearoperator

    x, _, _ = data(40)
    matrix = aslinearoperator((-((LazyTensor(x[:, None]) - LazyTensor(x[None])) ** 2).sum(-1)).exp())
    before = matrix @ np.ones(40)
    with clreduce.profile() as p:
        inside = matrix @ np.ones(40)
    check(p)
    assert p.kernels
    assert np.array_equal(before, inside)
    assert np.array_equal(before, matrix @ np.ones(40))


def test_one_profile_covers_one_block() -> None:
    p = clreduce.profile()
    assert str(p) == "<a profile whose block has not ended>"
    with p:
        assert not p.records
    assert (p.records, p.kernels, p.busy) == ((), (), {})
    check(p)
    assert "wall" in str(p)
    with pytest.raises(ClreduceError, match="has recorded a block already"), p:
        pass


def test_tensors(device: Any) -> None:
    torch = pytest.importorskip("torch")
    from clreduce.torch import Genred as TensorGenred

    x, y, b = (torch.tensor(array, requires_grad=True) for array in data())
    routine = TensorGenred(FORMULA, ALIASES, "Sum", axis=1)
    with clreduce.profile() as p:
        routine(x, y, b).sum().backward()
    check(p)
    assert sum(kernel.count for kernel in p.kernels if kernel.role == "pair") == 3


# ------------------------------------------------------------------------------------------------------------ messages

SCRIPT = """
import logging, sys
{before}
import clreduce
{after}
import numpy as np
from clreduce.numpy import Genred
Genred("Exp(-SqDist(x, y))", ["x = Vi(2)", "y = Vj(2)"], "Sum", axis=1)(np.ones((4, 2)), np.ones((5, 2)))
"""


def messages(level: str, before: str = "", after: str = "") -> list[str]:
    """What a process writes to stderr whose environment asks for messages of a level."""
    import os

    environment = os.environ | {"CLREDUCE_LOG": level}
    code = SCRIPT.format(before=before, after=after)
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    return ran.stderr.splitlines()


def test_debug_shows_devices_schedules_builds_and_launches() -> None:
    lines = messages("debug", after="assert not logging.root.handlers")
    text = "\n".join(lines)
    assert "[clreduce.devices] <Device" in text
    assert "[clreduce.schedules] default schedule for Sum: Exp(-SqDist(x, y)) in float64: Schedule(" in text
    assert "[clreduce.builds]" in text
    assert "[clreduce.launches] pair kernel of Sum: Exp(-SqDist(x, y)): size" in text
    assert len(set(lines)) == len(lines), "a message was written twice"


def test_messages_go_to_the_programs_handlers_and_are_written_once() -> None:
    lines = messages("Debug", before="logging.basicConfig(format='mine: %(name)s')")
    assert "mine: clreduce.launches" in lines
    assert not [line for line in lines if not line.startswith("mine: ")]


def test_a_search_for_a_schedule_says_what_it_tried_and_chose(device: Any, caplog: pytest.LogCaptureFixture) -> None:
    x, y, b = data(64, 64)
    routine = Genred("Exp(-SqDist(x, y)) * b + 7", ALIASES, "Sum", axis=1)  # tuned by nobody else
    with caplog.at_level("DEBUG", "clreduce.schedules"):
        tuned = clreduce.tune(routine, x, y, b, seconds=2, progress=False)
    messages = [record.getMessage() for record in caplog.records if record.name == "clreduce.schedules"]
    assert sum("times as fast as the best so far" in message for message in messages) == tuned.tried
    assert sum(message.startswith("tuning: failed") for message in messages) == len(tuned.errors)
    (chosen,) = (record for record in caplog.records if record.levelname == "INFO")
    assert chosen.getMessage() == f"tuned Sum: Exp(-SqDist(x, y1)) * y2 + 7: {tuned!r}"
    with caplog.at_level("DEBUG", "clreduce.schedules"):
        routine(x, y, b)
    if tuned.tried:
        assert any(record.getMessage().startswith("tuned schedule for Sum") for record in caplog.records)


@pytest.mark.parametrize(("level", "shown"), [("", []), ("  ", []), ("error", []), ("WARNING", [])])
def test_other_levels_show_less(level: str, shown: list[str]) -> None:
    assert messages(level) == shown


def test_a_level_of_another_name_is_one_line_that_names_those_there_are() -> None:
    (line,) = messages("loud", before="import warnings; warnings.simplefilter('error')")
    assert "CLREDUCE_LOG=loud" in line
    assert "debug, info, warning, error or critical" in line


def test_verbose_ends_at_the_level_of_the_environment() -> None:
    level = "logging.getLogger('clreduce').level"
    after = f"clreduce.set_verbose(True); assert {level} == 20; clreduce.set_verbose(False); assert {level} == 40"
    assert messages("error", after=after) == []
