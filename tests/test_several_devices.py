"""Calls that several devices share = the call on one device of that kind, bit by bit; whatever fails or interrupts.

The devices are two objects for one OpenCL device, each with a context, a queue and a thread of its own.
"""

from __future__ import annotations

import _thread
import heapq
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import random_arrays
from test_cuts import CASES, program_of

import clreduce
from clreduce.call import several
from clreduce.call.backend import executor_for
from clreduce.call.executor import OneDevice, one_device
from clreduce.call.options import Options
from clreduce.call.several import SeveralDevices
from clreduce.call.sharing import Sharing
from clreduce.call.walk import Walk
from clreduce.call.work import Work
from clreduce.errors import DeviceError, OptionError, OutOfMemoryError
from clreduce.memo import Memo
from clreduce.numpy import Genred, KernelSolve
from clreduce.numpy.cluster import from_matrix
from clreduce.runtime import device_thread
from clreduce.runtime import devices as choosing
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan
from clreduce.runtime.profile import HostSpan
from clreduce.runtime.progress import current
from clreduce.runtime.region import Region

pytestmark = pytest.mark.usefixtures("plain_kernels")
ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1)
_pairs: dict[Device, tuple[Device, Device]] = {}


@pytest.fixture
def pair(device: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, Device]:
    """Two devices that share calls of any size."""
    made = _pairs.get(device)
    if made is None:  # kernels are built once for all tests
        made = _pairs[device] = Device(device.cl_device), Device(device.cl_device)
    for twin in made:
        monkeypatch.setattr(twin, "facts", device.facts)
    monkeypatch.setattr(several, "_WORTH_SHARING", 0.0)
    several._LEFT_OUT.clear()
    return made


@pytest.fixture
def both_take_part(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each device computes a block at least of each call that is shared, however late its thread wakes.

    The numbers of the devices that have taken part, once for each call.
    """
    taken: list[int] = []
    take = Sharing.take

    def patient(sharing: Any, device: int) -> Any:
        units = take(sharing, device)
        if not hasattr(sharing, "barrier"):
            sharing.__dict__.setdefault("barrier", threading.Barrier(2))
            sharing.__dict__.setdefault("present", set())
        if device not in sharing.present:
            sharing.present.add(device)
            taken.append(device)
            sharing.barrier.wait(timeout=30)
        return units

    monkeypatch.setattr(Sharing, "take", patient)
    return taken


def arrays(rows: int, columns: int, batch: tuple[int, ...] = (), dtype: str = "float32") -> list[Any]:
    numbers = np.random.default_rng(0)
    return [numbers.random((*batch, n, dim)).astype(dtype) for n, dim in ((rows, 2), (columns, 2), (columns, 1))]


def evaluate(executor: Any, work: Work, inputs: list[Any]) -> tuple[Any, ...]:
    found: tuple[Any, ...] = executor.run((work, Memo(), inputs))
    return found


def assert_equal_bits(found: Any, wanted: Any) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ------------------------------------------------------------------------------------------------------- equal numbers


@pytest.mark.parametrize(("name", "count", "dtype"), CASES)
def test_parts_of_j_of_every_reduction_are_merged_to_the_bits_of_one_device(pair, both_take_part, name, count, dtype):
    assert_shared_as_one(pair, program_of(name, count), 2, 9000, dtype)
    assert len(both_take_part) == 2


@pytest.mark.parametrize(("name", "count", "dtype"), CASES[::4])
def test_rows_have_the_bits_of_one_device(pair, both_take_part, name, count, dtype):
    assert_shared_as_one(pair, program_of(name, count), 90, 211, dtype)
    assert len(both_take_part) == 2


def assert_shared_as_one(pair: Any, program: Any, rows: int, columns: int, dtype: str) -> None:
    work = Work(program, Options(), Region(rows, columns), dtype)
    inputs = random_arrays(program, rows, columns, dtype, seed=3)
    assert_equal_bits(evaluate(SeveralDevices(pair), work, inputs), evaluate(one_device(pair[0]), work, inputs))


CALLS = {
    "Sum": Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1),
    "over i": Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=0),
    "LogSumExp": Genred("SqDist(x, y) + b", ALIASES, "LogSumExp", axis=1),
    "KMin": Genred("SqDist(x, y) + b", ALIASES, "KMin", axis=1, opt_arg=3),
}


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=8)
@given(
    rows=st.integers(0, 70), columns=st.integers(3, 60), batch=st.sampled_from([(), (2,), (1, 40)]),
    sparse=st.booleans(), data=st.data(),
)  # fmt: skip
def test_batches_ranges_and_derivatives_are_those_of_one_device(pair, name, rows, columns, batch, sparse, data):
    routine, inputs = CALLS[name], arrays(rows, columns, batch)
    options: dict[str, Any] = {}
    if sparse and rows:
        ends = sorted({data.draw(st.integers(1, rows)), rows})
        blocks = np.array(list(zip([0, *ends[:-1]], ends, strict=True)))
        middle = columns // 2
        options["ranges"] = from_matrix(
            blocks, np.array([[0, middle], [middle, columns]]), data.draw(_booleans((len(blocks), 2)))
        )
    inputs[0] = inputs[0][:1] if batch == (2,) and data.draw(st.booleans()) else inputs[0]
    results = []
    for chosen in (pair[:1], pair):
        with clreduce.use_devices(chosen):
            out = routine(*inputs, **options)
            ones = np.ones_like(out)
            results.append(
                [
                    out,
                    *routine.vjp(*inputs, cotangent=ones, **options),
                    routine.jvp(*inputs, tangents={"x": inputs[0], "b": inputs[2]}, **options),
                ]
            )
    assert_equal_bits(results[1], results[0])


def _booleans(shape: tuple[int, int]) -> Any:
    size = shape[0] * shape[1]
    return st.lists(st.booleans(), min_size=size, max_size=size).map(lambda bits: np.array(bits).reshape(shape))


def test_any_dtype_accumulator_and_limit_of_memory(pair, both_take_part):
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1, dtype_acc="float64")
    for dtype in ("float32", "float64"):
        inputs = arrays(3000, 300, dtype=dtype)
        with clreduce.use_devices(pair[:1]):
            alone = routine(*inputs)
        clreduce.set_max_memory("20KB")
        try:
            with clreduce.use_devices(pair):
                assert_equal_bits([routine(*inputs)], [alone])
        finally:
            clreduce.set_max_memory(None)
    assert sorted(both_take_part) == [0, 0, 1, 1]


@pytest.mark.parametrize(("rows", "columns"), [(100, 300), (2, 40000)])
def test_deterministic_calls_do_not_depend_on_the_number_of_devices(pair, both_take_part, rows, columns):
    inputs = arrays(rows, columns)
    with clreduce.use_devices(pair[:1]):
        alone = GAUSSIAN(*inputs, deterministic=True)
    with clreduce.use_devices(pair):
        assert_equal_bits([GAUSSIAN(*inputs, deterministic=True)], [alone])
    assert len(both_take_part) == 2


def test_results_are_written_where_the_caller_wants_them(pair, both_take_part):
    inputs = arrays(100, 30)
    with clreduce.use_devices(pair):
        target = np.zeros((100, 1), np.float32)
        assert GAUSSIAN(*inputs, out=target) is target
        np.testing.assert_array_equal(target, GAUSSIAN(*inputs))


def test_a_profile_counts_the_wait_for_the_threads_of_devices(pair, both_take_part):
    with clreduce.use_devices(pair), clreduce.profile() as p:
        GAUSSIAN(*arrays(90, 50))
    own = [record.what for record in p.records if isinstance(record, HostSpan) and record.thread == p.thread]
    assert "wait for the threads of devices" in own


def test_partial_states_are_shared(pair, both_take_part):
    inputs = arrays(100, 30)
    with clreduce.use_devices(pair[:1]):
        alone = GAUSSIAN.partial(*inputs)
    with clreduce.use_devices(pair):
        assert_equal_bits(GAUSSIAN.partial(*inputs).slots, alone.slots)
    assert len(both_take_part) == 2


def test_autograd_of_torch_is_shared(pair, both_take_part):
    torch = pytest.importorskip("torch")
    import clreduce.torch

    routine = clreduce.torch.Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1)
    slopes = []
    for chosen in (pair[:1], pair):
        with clreduce.use_devices(chosen):
            tensors = [torch.from_numpy(array).requires_grad_() for array in arrays(80, 90)]
            (first,) = torch.autograd.grad(routine(*tensors).square().sum(), tensors[0], create_graph=True)
            slopes.append([first.detach(), *torch.autograd.grad(first.square().sum(), tensors)])
    assert_equal_bits(slopes[1], slopes[0])
    assert len(both_take_part) > 2


def test_parts_of_one_processor_share_a_call(device, both_take_part, monkeypatch):
    import pyopencl as cl

    monkeypatch.setattr(several, "_WORTH_SHARING", 0.0)
    try:
        parts = device.cl_device.create_sub_devices([cl.device_partition_property.EQUALLY, 1])
    except cl.Error:
        pytest.skip("this driver has no parts of devices")
    if len(parts) < 2:
        pytest.skip("this device has one compute unit")
    chosen = [Device(part) for part in parts[:2]]
    inputs = arrays(100, 300)
    with clreduce.use_devices(chosen[:1]):
        alone = GAUSSIAN(*inputs)
    with clreduce.use_devices(chosen) as in_use:
        assert in_use == tuple(chosen)
        assert_equal_bits([GAUSSIAN(*inputs)], [alone])
    assert sorted(both_take_part) == [0, 1]


def test_a_row_has_the_bits_that_its_device_gives_it(both_take_part, monkeypatch):
    monkeypatch.setattr(several, "_WORTH_SHARING", 0.0)
    usable = [device for device in clreduce.devices() if device.facts.most_lanes == 16 and device.facts.has_double]
    if len(usable) < 2:
        pytest.skip("there is one driver only")
    inputs = arrays(100, 300)
    alone = []
    for device in usable[:2]:
        with clreduce.use_device(device):
            alone.append(GAUSSIAN(*inputs))
    with clreduce.use_devices(usable[:2]):
        shared = GAUSSIAN(*inputs)
    assert ((shared == alone[0]) | (shared == alone[1])).all()
    assert sorted(both_take_part) == [0, 1]


# ------------------------------------------------------------------------------------------------------------- failures


def failing(monkeypatch: pytest.MonkeyPatch, device: Device, block: int, error: Exception) -> list[int]:
    """A driver that fails from the ``block``-th block on; it notes the number of each block that it gets."""
    blocks: list[int] = []
    compute = Walk.compute

    def broken(walk: Walk, part: Region) -> None:
        if walk._ready.plan.device is device:
            blocks.append(len(blocks))
            if blocks[-1] >= block:
                raise error
        compute(walk, part)

    monkeypatch.setattr(Walk, "compute", broken)
    return blocks


@pytest.mark.parametrize("block", [0, 1])
def test_a_device_that_fails_leaves_its_part_to_the_others(pair, both_take_part, monkeypatch, block):
    monkeypatch.setattr("clreduce.call.sharing._PORTION", 0.1)
    monkeypatch.setattr("clreduce.call.sharing._SHORTEST", 1e-9)
    inputs = arrays(200, 300)
    with clreduce.use_devices(pair[:1]):
        alone = GAUSSIAN(*inputs)
    blocks = failing(monkeypatch, pair[1], block, DeviceError("the device is gone"))
    compute = Walk.compute

    def patient(walk: Walk, part: Region) -> None:  # the first device leaves blocks over until the other has failed
        if walk._ready.plan.device is pair[0]:
            assert is_gone.wait(30)
        try:
            compute(walk, part)
        except DeviceError:
            is_gone.set()
            raise

    is_gone = threading.Event()
    monkeypatch.setattr(Walk, "compute", patient)
    with clreduce.use_devices(pair):
        with pytest.warns(RuntimeWarning, match="failed in a call; it left its part.*the device is gone") as record:
            assert_equal_bits([GAUSSIAN(*inputs)], [alone])
        assert len(record) == 1
        assert len(blocks) == block + 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_equal_bits([GAUSSIAN(*inputs)], [alone])
        assert len(blocks) == block + 1, "it is not asked again"


def test_a_device_without_memory_is_asked_again(pair, both_take_part, monkeypatch):
    inputs = arrays(200, 300)
    blocks = failing(monkeypatch, pair[1], 0, OutOfMemoryError("no room"))
    with clreduce.use_devices(pair):
        for _ in range(2):
            with pytest.warns(RuntimeWarning, match="no room"):
                GAUSSIAN(*inputs)
    assert len(blocks) == 2


def test_columns_of_a_device_that_fails_are_computed_by_the_others(pair, both_take_part, monkeypatch):
    inputs = arrays(2, 20000)
    with clreduce.use_devices(pair[:1]):
        alone = GAUSSIAN(*inputs)
    compute = Plan.states_of_parts

    def broken(plan: Plan, *arguments: Any) -> None:
        if plan.device is pair[1]:
            raise DeviceError("the device is gone")
        compute(plan, *arguments)

    monkeypatch.setattr(Plan, "states_of_parts", broken)
    with clreduce.use_devices(pair), pytest.warns(RuntimeWarning, match="the device is gone"):
        assert_equal_bits([GAUSSIAN(*inputs)], [alone])


def test_the_error_where_all_devices_fail(pair, monkeypatch):
    def broken(walk: Walk, part: Region) -> None:
        raise DeviceError(f"{part.rows > 0}: nothing works")

    monkeypatch.setattr(Walk, "compute", broken)
    with clreduce.use_devices(pair), pytest.raises(DeviceError, match="True: nothing works"):
        GAUSSIAN(*arrays(200, 300))
    monkeypatch.undo()
    with clreduce.use_devices(pair), warnings.catch_warnings():
        warnings.simplefilter("error")
        GAUSSIAN(*arrays(200, 300))


def test_other_errors_end_the_call(pair, monkeypatch):
    def broken(walk: Walk, part: Region) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Walk, "compute", broken)
    with clreduce.use_devices(pair), pytest.raises(ZeroDivisionError):
        GAUSSIAN(*arrays(200, 300))


def test_devices_without_a_common_precision(pair, monkeypatch):
    monkeypatch.setattr(pair[1], "facts", replace(pair[1].facts, has_double=False))
    with clreduce.use_devices(pair):
        GAUSSIAN(*arrays(20, 30))
        with pytest.raises(DeviceError, match="needs float64, and of the 2 devices in use these have none: <Device"):
            GAUSSIAN(*arrays(20, 30, dtype="float64"))


# --------------------------------------------------------------------------------------------------------- interruption


def test_interruption_ends_a_call_when_no_kernel_runs(pair, both_take_part, monkeypatch):
    running: list[Region] = []
    compute = Walk.compute

    def interrupting(walk: Walk, part: Region) -> None:
        running.append(part)
        _thread.interrupt_main()
        threading.Event().wait(0.05)  # the caller hears of it while the block is computed
        try:
            compute(walk, part)
        finally:
            running.remove(part)

    inputs = arrays(200, 300)
    with clreduce.use_devices(pair):
        wanted = GAUSSIAN(*inputs)
        monkeypatch.setattr(Walk, "compute", interrupting)
        with pytest.raises(KeyboardInterrupt):
            GAUSSIAN(*inputs)
        assert not running
        monkeypatch.setattr(Walk, "compute", compute)
        assert_equal_bits([GAUSSIAN(*inputs)], [wanted])


def test_interruption_ends_long_blocks_between_two_launches(pair, monkeypatch):
    ended: list[bool] = []

    def endless(walk: Walk, part: Region) -> None:
        _thread.interrupt_main()
        call = current()
        assert call is not None
        try:
            for _ in range(3000):
                threading.Event().wait(0.01)
                call.advance(1.0)
        except Exception:
            ended.append(True)
            raise

    monkeypatch.setattr(Walk, "compute", endless)
    with clreduce.use_devices(pair), pytest.raises(KeyboardInterrupt):
        GAUSSIAN(*arrays(200, 300))
    assert ended


def test_threads_that_call_at_once_get_their_own_results(pair):
    inputs = [arrays(150, n) for n in (50, 60, 70, 80)]
    with clreduce.use_devices(pair[:1]):
        wanted = [GAUSSIAN(*one) for one in inputs]
    found: list[Any] = [None] * len(inputs)

    def call(number: int) -> None:
        with clreduce.use_devices(pair):
            for _ in range(5):
                found[number] = GAUSSIAN(*inputs[number])

    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_equal_bits(found, wanted)


def test_arrays_are_let_go_of_after_a_call(pair):
    import gc
    import weakref

    with clreduce.use_devices(pair):
        inputs = arrays(200, 300)
        watched = weakref.ref(inputs[0])
        GAUSSIAN(*inputs)
        del inputs
        done = threading.Event()
        for twin in pair:
            device_thread.thread_of(twin).submit(done.set)
            assert done.wait(10)
            done.clear()
        gc.collect()
        assert watched() is None


# -------------------------------------------------------------------------------------------------------- how it is cut


def test_small_calls_run_on_the_first_device_alone(device):
    twins = Device(device.cl_device), Device(device.cl_device)
    with clreduce.use_devices(twins):
        GAUSSIAN(*arrays(20, 30))
        GAUSSIAN.vjp(*arrays(20, 30), cotangent=np.ones((20, 1), np.float32))
    assert not set(twins) & set(device_thread._THREADS)


@given(
    units=st.integers(1, 5000), step=st.integers(1, 30), speeds=st.lists(st.floats(10, 1e5), min_size=1, max_size=4),
    failing=st.sets(st.integers(1, 3)), data=st.data(),
)  # fmt: skip
def test_each_unit_is_computed_once(units, step, speeds, failing, data):
    """Whatever the speeds, measured or only expected, and whoever fails; the first device never does."""
    expected = [speed * data.draw(st.sampled_from([0.1, 1.0, 10.0])) for speed in speeds]
    sharing = Sharing(units, step, expected, [data.draw(st.booleans()) for _ in speeds])
    computed: list[tuple[int, int]] = []
    _simulate(sharing, speeds, failing, computed)
    assert sharing.is_finished
    assert sorted(n for start, stop in computed for n in range(start, stop)) == list(range(units))


@pytest.mark.parametrize("speeds", [(1.0, 1.0), (1.0, 10.0), (3.0, 1.0, 2.0, 2.0), (1.0, 1.0, 1.0, 40.0)])
def test_devices_together_reach_nine_tenths_of_the_sum_of_their_speeds(speeds):
    """Of a call that takes half a second, of which no speed is known before; a block costs a device 0.3 ms."""
    units = round(0.5 * 10_000 * sum(speeds))
    speeds = [10_000 * speed for speed in speeds]
    sharing = Sharing(units, 4, [3.0 * speed for speed in speeds], [False] * len(speeds))
    end = _simulate(sharing, speeds, set(), [], overhead=3e-4)
    assert end <= units / sum(speeds) / 0.9


def _simulate(
    sharing: Sharing, speeds: Any, failing: Any, computed: list[tuple[int, int]], overhead: float = 0.0
) -> float:
    """When devices that compute at these speeds have ended, each at once asked again as by the caller."""
    end, failed = 0.0, set()
    while not sharing.is_finished:
        clock = [(end, n) for n in range(len(speeds)) if n not in failed]
        assert clock, "somebody is left"
        while clock:
            now, device = heapq.heappop(clock)
            units = sharing.take(device)
            if units is None:
                continue
            if device in failing:
                failed.add(device)
                sharing.give_back(device, units)
                continue
            seconds = (units[1] - units[0]) / speeds[device] + overhead
            sharing.note(device, units, seconds)
            computed.append(units)
            end = max(end, now + seconds)
            heapq.heappush(clock, (now + seconds, device))
    return end


# ---------------------------------------------------------------------------------------------------- choosing devices


def test_who_runs_a_call(pair):
    with clreduce.use_devices(pair) as chosen:
        assert chosen == pair == clreduce.current_devices()
        assert clreduce.current_device() is pair[0]
        executor = executor_for()
        assert isinstance(executor, SeveralDevices)
        assert executor.devices == pair
        assert executor is executor_for()
        with clreduce.use_device(pair[1]):
            assert executor_for() == OneDevice(pair[1])
        kind = pair[0].facts.kind.upper()
        assert executor_for(kind) == OneDevice(pair[0]), "a backend names one device"
        assert "chosen by use_devices" in clreduce.explain_devices()
    clreduce.set_default_devices(pair)
    with clreduce.use_devices("all"):
        assert clreduce.current_devices() != pair
    try:
        with clreduce.use_device(pair[0]):
            pass
    finally:
        clreduce.set_default_devices(None)


@pytest.fixture
def chosen_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Device, ...]]:
    """A function of environment variables that gives the devices which they choose."""
    monkeypatch.setattr(choosing, "_default", None)

    def chosen(**variables: str) -> tuple[Device, ...]:
        for name in ("CLREDUCE_DEVICE", "CLREDUCE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return clreduce.current_devices()

    return chosen


def test_selectors(chosen_by):
    present = chosen_by(CLREDUCE_DEVICES="all")
    assert set(present) <= set(clreduce.devices())
    assert "because CLREDUCE_DEVICES=all" in clreduce.explain_devices()
    assert chosen_by() == present[:1] == chosen_by(CLREDUCE_DEVICES=" ")
    assert chosen_by(CLREDUCE_DEVICES="0, 0") == present[:1]
    kind = present[0].facts.kind
    assert chosen_by(CLREDUCE_DEVICES=kind) == tuple(one for one in present if one.facts.kind == kind)
    last = str(clreduce.devices().index(present[-1]))
    assert chosen_by(CLREDUCE_DEVICES=f"{last},{kind}", CLREDUCE_DEVICE="0")[0] is present[-1]
    with pytest.raises(DeviceError, match="CLREDUCE_DEVICES=0,nobody fits no device"):
        chosen_by(CLREDUCE_DEVICES="0,nobody")
    chosen_by()
    with pytest.raises(DeviceError, match="an empty list names no device"), clreduce.use_devices([]):
        pass
    for wrong in ([1.5], [None], 2.5):
        with pytest.raises(OptionError, match="a selector of devices is an index"), clreduce.use_devices(wrong):
            pass


def test_the_choice_is_that_of_a_thread(pair):
    seen = []
    with clreduce.use_devices(pair):
        thread = threading.Thread(target=lambda: seen.append(clreduce.current_devices()))
        thread.start()
        thread.join()
    assert seen[0] != pair


# --------------------------------------------------------------------------------------------------------------- solves


def test_products_of_solves_are_shared(pair, both_take_part):
    """Those of the transposed operator and of gradients, too, with the bits of one device."""
    solver = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)
    x, _, b = arrays(300, 300)
    with clreduce.use_device(pair[0]):
        wanted = solver(x, x, b, alpha=1.0, eps=1e-4), *solver.vjp(x, x, b, cotangent=b, alpha=1.0, eps=1e-4)
    with clreduce.use_devices(pair):
        found = solver(x, x, b, alpha=1.0, eps=1e-4), *solver.vjp(x, x, b, cotangent=b, alpha=1.0, eps=1e-4)
    assert_equal_bits(found, wanted)
    assert len(both_take_part) > 10
    assert set(both_take_part) == {0, 1}


def test_small_solves_run_on_the_first_device(device):
    """Their launches are recorded once and repeated."""
    twins = Device(device.cl_device), Device(device.cl_device)
    solver = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)
    x, _, b = arrays(30, 30)
    arguments = solver._arguments((x, x, b), None)
    with clreduce.use_devices(twins):
        system = solver.system(arguments, solver.runner.executor("auto", -1, None, None), 1.0)
        system.product(np.ones(system.shape))
    assert system._repeated is not None
