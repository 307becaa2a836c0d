"""Devices as the drivers of this machine offer them: listing, choosing, contexts and queues, forks, no driver."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import os
import re
import textwrap
import threading
import timeit
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from processes import output_of

from clreduce.codegen.facts import DeviceFacts
from clreduce.errors import ClreduceError, DeviceError, OptionError
from clreduce.runtime import device_report
from clreduce.runtime import devices as module
from clreduce.runtime import survey as listing
from clreduce.runtime.device import Device, preference
from clreduce.runtime.device_report import explain_devices
from clreduce.runtime.devices import current_device, devices, select, set_default_device, use_device
from clreduce.runtime.drivers import NEWER, driver_of, leading_numbers, llvm_of, refusal
from clreduce.runtime.survey import Survey

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts with no device chosen; what was chosen before it is put back afterwards."""
    monkeypatch.delenv("CLREDUCE_DEVICE", raising=False)
    monkeypatch.setattr(module, "_default", None)


@pytest.fixture
def other() -> Device:
    """A device that is not the preferred one: another that is present, or else a second object for the same one."""
    return devices()[1] if len(devices()) > 1 else Device(devices()[0].cl_device)


# ------------------------------------------------------------------------------------------------- listing


def test_listing_is_kept_and_in_order_of_preference() -> None:
    found = devices()
    assert found
    assert devices() is found
    keys = [preference(device.facts)[0] for device in found]
    assert keys == sorted(keys)


def test_facts_are_plausible_and_agree_with_the_driver(device: Device) -> None:
    facts, cl_device = device.facts, device.cl_device
    assert facts.kind in ("cpu", "gpu")
    assert facts.driver in ("pocl", "intel", "nvidia", "amd", "apple", "oclgrind", "other")
    assert facts.compute_units == cl_device.max_compute_units >= 1
    assert facts.max_group == cl_device.max_work_group_size
    assert facts.local_memory == cl_device.local_mem_size
    assert 0 < facts.max_allocation <= facts.global_memory == cl_device.global_mem_size
    assert facts.has_double == ("cl_khr_fp64" in cl_device.extensions.split())
    assert (facts.native_double_lanes > 0) == facts.has_double
    assert facts.native_float_lanes >= 1
    for field in dataclasses.fields(facts):
        value = getattr(facts, field.name)
        assert value is None or type(value) in (str, int, bool, tuple), f"{field.name} must be a plain value"
    if facts.driver == "pocl" and facts.kind == "cpu":
        assert facts.llvm_version is not None
        assert f"LLVM {facts.llvm_version}." in device.platform_version
        assert facts.shares_host_memory
        assert len(facts.driver_version) >= 2


def test_identity_and_repr(device: Device) -> None:
    for part in (device.platform_name, device.platform_version, device.name, device.driver_version):
        assert part in device.identity
    assert repr(device).startswith(f"<Device {device.name!r} (")
    assert f"{device.facts.kind}, {device.facts.compute_units} unit" in repr(device)
    if device.facts.driver == "pocl":
        assert "(PoCL " in repr(device)


def test_identities_tell_the_drivers_apart() -> None:
    drivers = {(device.platform_version, device.name) for device in devices()}
    assert len({device.identity for device in devices()}) >= len(drivers)


# ---------------------------------------------------------------------------------------------- preference

POCL_15 = DeviceFacts(driver="pocl", driver_version=(3, 1), llvm_version=15)
POCL_14 = DeviceFacts(driver="pocl", driver_version=(3, 0), llvm_version=14)
POCL_UNKNOWN = DeviceFacts(driver="pocl", llvm_version=None, compute_units=1)
INTEL = DeviceFacts(driver="intel", driver_version=(2026, 1))
APPLE_CPU = DeviceFacts(driver="apple", compute_units=64)
OCLGRIND = DeviceFacts(driver="oclgrind", compute_units=1000)
OCLGRIND_GPU = DeviceFacts(kind="gpu", driver="oclgrind", compute_units=999)
DEDICATED = DeviceFacts(kind="gpu", driver="nvidia", compute_units=80, shares_host_memory=False)
SMALL_DEDICATED = DeviceFacts(kind="gpu", driver="amd", compute_units=8, shares_host_memory=False)
POCL_DEDICATED = DeviceFacts(kind="gpu", driver="pocl", compute_units=80, shares_host_memory=False)
INTEGRATED = DeviceFacts(kind="gpu", driver="intel", compute_units=96, shares_host_memory=True)


def test_preference_follows_the_documented_rank() -> None:
    ranked = [
        DEDICATED,
        SMALL_DEDICATED,
        POCL_DEDICATED,
        INTEGRATED,
        dataclasses.replace(POCL_15, llvm_version=18, compute_units=4),
        POCL_15,
        INTEL,
        POCL_14,
        POCL_UNKNOWN,
        APPLE_CPU,
        OCLGRIND,
        OCLGRIND_GPU,
    ]
    assert sorted(reversed(ranked), key=lambda facts: preference(facts)[0]) == ranked


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (POCL_15, "LLVM 15"),
        (POCL_14, "LLVM 14"),
        (POCL_UNKNOWN, "unknown"),
        (INTEL, "Intel"),
        (OCLGRIND, "simulator"),
        (DEDICATED, "its own memory"),
        (INTEGRATED, "shares the host's memory"),
    ],
)
def test_preference_says_why(facts: DeviceFacts, word: str) -> None:
    assert word in preference(facts)[1]


@pytest.mark.parametrize(
    ("platform_text", "driver"),
    [
        ("Portable Computing Language The pocl project", "pocl"),
        ("Intel(R) OpenCL Intel(R) Corporation", "intel"),
        ("Intel(R) FPGA Emulation Platform for OpenCL(TM) Intel(R) Corporation", "other"),
        ("NVIDIA CUDA NVIDIA Corporation", "nvidia"),
        ("AMD Accelerated Parallel Processing Advanced Micro Devices, Inc.", "amd"),
        ("Apple Apple", "apple"),
        ("Oclgrind University of Bristol", "oclgrind"),
        ("rusticl Mesa/X.org", "other"),
    ],
)
def test_driver_names(platform_text: str, driver: str) -> None:
    assert driver_of(platform_text) == driver


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("3.1+debian", (3, 1)),
        ("3.0-rc2", (3, 0)),
        ("535.104.05", (535, 104, 5)),
        ("Oclgrind 21.10", (21, 10)),
        ("1.2(Aug 30 2024)", (1, 2)),
        ("unknown", ()),
    ],
)
def test_version_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert leading_numbers(version) == numbers


def test_llvm_version() -> None:
    assert llvm_of("OpenCL 3.0 PoCL 6.0  Linux, Release, RELOC, SPIR-V, LLVM 18.1.8, SLEEF") == 18
    assert llvm_of("OpenCL 3.0 CUDA 12.2.148") is None


# ----------------------------------------------------------------------------------------------- selecting


def test_select_by_index() -> None:
    for index, device in enumerate(devices()):
        assert select(index) is device
        assert select(np.int64(index)) is device
        assert select(f" {index} ") is device
        assert select(device) is device


def test_select_by_kind() -> None:
    for kind in ("cpu", "gpu"):
        of_kind = [device for device in devices() if device.facts.kind == kind]
        if of_kind:
            assert select(kind) is select(kind.upper()) is of_kind[0]
        else:
            with pytest.raises(DeviceError, match=f"'{kind}' fits no device"):
                select(kind)


def test_select_by_words(device: Device) -> None:
    everything = f"{device.driver_version} {device.name.upper()} {device.platform_version.lower()}"
    assert select(everything).identity == device.identity
    of_driver = [candidate for candidate in devices() if candidate.facts.driver == device.facts.driver]
    assert select(device.facts.driver) is of_driver[0]
    assert select(device.platform_name) is not None


def test_a_driver_name_outweighs_the_same_word_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pocl, intel = (Device(devices()[0].cl_device) for _ in range(2))
    pocl.name = "pthread-Intel(R) Xeon(R)"
    pocl.facts, intel.facts = POCL_15, INTEL
    monkeypatch.setattr(listing, "_devices", (pocl, intel))
    monkeypatch.setattr(module, "reason_against", lambda device: "")
    assert select("intel") is intel
    assert select("intel xeon") is pocl
    assert select("INTEL(R)") is pocl


def test_a_version_is_the_drivers_before_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    newer, older = (Device(devices()[0].cl_device) for _ in range(2))
    for device, version in ((newer, "3.1+debian"), (older, "3.0-rc2")):
        device.platform_version = f"OpenCL 3.0 PoCL {version} Linux, LLVM 15.0.6"
        device.driver_version = version
        device.facts = POCL_15
    monkeypatch.setattr(listing, "_devices", (newer, older))
    monkeypatch.setattr(module, "reason_against", lambda device: "")
    assert select("pocl 3.1") is newer
    assert select("pocl 3.0") is older
    assert select("3.0-rc2") is older
    assert select("15.0.6") is newer
    newer.driver_version = "3.10"
    older.driver_version = "3.1"
    assert select("pocl 3.1") is older
    older.driver_version = "3.2"
    with pytest.raises(DeviceError, match="fits no device"):
        select("pocl 3.0")  # only OpenCL has that version now
    assert select("opencl 3.0 pocl") is newer
    newer.name = "pthread-Intel(R) Xeon(R) @ 2.40GHz"
    assert select("intel 2.40ghz") is newer
    with pytest.raises(DeviceError, match="fits no device"):
        select("intel 3.10")


@pytest.mark.parametrize("selector", ["no such device", "pocl nonsense", "none", 99, "99", -1, "-1", "", "  "])
def test_a_bad_selector_lists_what_is_present(selector: str | int) -> None:
    with pytest.raises(DeviceError) as caught:
        select(selector)
    assert repr(selector) in str(caught.value)
    for index, device in enumerate(devices()):
        assert f"{index}: {device!r}" in str(caught.value)
    assert isinstance(caught.value, ClreduceError)
    assert isinstance(caught.value, RuntimeError)


def test_a_selector_of_another_type() -> None:
    for wrong in (1.5, True, [0]):
        with pytest.raises(OptionError, match="a selector of devices is an index"):
            select(wrong)  # type: ignore[arg-type]


def test_environment_variable_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    last = len(devices()) - 1
    for value, index in ((str(last), last), ("0", 0), (str(last), last), (" ", 0), ("", 0)):
        monkeypatch.setenv("CLREDUCE_DEVICE", value)
        assert select() is current_device() is devices()[index]
    monkeypatch.setenv("CLREDUCE_DEVICE", "nonsense")
    for choose in (select, current_device):
        with pytest.raises(DeviceError, match="CLREDUCE_DEVICE=nonsense fits no device"):
            choose()
    monkeypatch.delenv("CLREDUCE_DEVICE")
    assert select() is current_device() is devices()[0]


def test_environment_variable_without_the_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pairs", os.environ)
    monkeypatch.setattr(module, "_key", "CLREDUCE_DEVICE")
    monkeypatch.setattr(module, "_key_of_several", "CLREDUCE_DEVICES")
    test_environment_variable_is_read_at_each_call(monkeypatch)


def test_precedence(monkeypatch: pytest.MonkeyPatch, other: Device) -> None:
    first = devices()[0]
    monkeypatch.setenv("CLREDUCE_DEVICE", "nonsense")  # never looked at while something stronger holds
    set_default_device(other)
    assert current_device() is other
    with use_device(0) as device:
        assert device is current_device() is first
        with use_device(other):
            assert current_device() is other
        assert current_device() is first
    assert current_device() is other
    set_default_device(None)
    monkeypatch.delenv("CLREDUCE_DEVICE")
    assert current_device() is first


def test_use_device_ends_with_an_error_too(other: Device) -> None:
    with pytest.raises(ZeroDivisionError), use_device(other):
        raise ZeroDivisionError
    assert current_device() is devices()[0]
    with pytest.raises(DeviceError), use_device("nonsense"):
        pytest.fail("the block must not run")
    assert current_device() is devices()[0]


def in_thread(function: Callable[[], Any]) -> Any:
    """The function's value in a new thread, whose context is empty."""
    values: list[Any] = []
    thread = threading.Thread(target=lambda: values.append(contextvars.Context().run(function)))
    thread.start()
    thread.join()
    return values[0]


def test_use_device_holds_for_its_thread_only(other: Device) -> None:
    with use_device(other):
        assert in_thread(current_device) is devices()[0]
        assert current_device() is other
    set_default_device(other)
    assert in_thread(current_device) is other


def test_use_device_holds_for_its_task_only(other: Device) -> None:
    async def task(device: Device) -> None:
        with use_device(device):
            for _ in range(3):
                await asyncio.sleep(0)
                assert current_device() is device

    async def tasks() -> None:
        await asyncio.gather(task(other), task(devices()[0]), task(other))
        assert current_device() is devices()[0]

    asyncio.run(tasks())


@pytest.mark.parametrize("value", [None, "0"])
def test_current_device_is_cheap(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("CLREDUCE_DEVICE", value)
    seconds = min(timeit.repeat(current_device, number=1000, repeat=20)) / 1000
    assert seconds < 5e-6  # aim: 2 us; more is allowed for slow machines


# ---------------------------------------------------------------------------------------------- explaining


def test_explain_names_every_device_and_the_reason(monkeypatch: pytest.MonkeyPatch, other: Device) -> None:
    text = explain_devices()
    for index, device in enumerate(devices()):
        assert f"{index}: {device!r}" in text
        assert device.platform_version in text
        assert device.driver_version in text
    first = devices()[0]
    assert text.endswith(f"first in order of preference: {preference(first.facts)[1]}")
    monkeypatch.setenv("CLREDUCE_DEVICE", "0")
    assert explain_devices().endswith("chosen because CLREDUCE_DEVICE=0")
    set_default_device(0)
    assert explain_devices().endswith("chosen by set_default_device")
    with use_device(0):
        assert f"in use: 0: {first.name!r}, chosen by use_device" in explain_devices()
    set_default_device(None)
    monkeypatch.setenv("CLREDUCE_DEVICE", "nonsense")
    assert "in use: none, because" in explain_devices()
    assert repr(first) in explain_devices()


@pytest.mark.parametrize(
    ("count", "text"), [(32768, "32 KiB"), (524288, "512 KiB"), (2**27, "0.1 GiB"), (2**32, "4.0 GiB")]
)
def test_bytes_for_a_person(count: int, text: str) -> None:
    assert device_report._bytes(count) == text


# --------------------------------------------------------------------------------------- contexts and queues


def test_a_part_of_a_device_is_explained_too(device: Device) -> None:
    import pyopencl as cl

    partition = [cl.device_partition_property.BY_COUNTS, 1, cl.device_partition_property.BY_COUNTS_LIST_END]
    try:
        (part,) = device.cl_device.create_sub_devices(partition)
    except cl.Error as error:
        pytest.skip(f"the driver makes no sub-devices: {error}")
    with use_device(Device(part)) as used:
        assert used.facts.compute_units == 1
        assert f"in use: {used!r}, not in this list, chosen by use_device" in explain_devices()


def test_one_context_and_one_queue_per_thread(device: Device) -> None:
    import pyopencl as cl

    queue = device.queue
    assert device.queue is queue
    assert device.context is device.context
    assert queue.context == device.context
    assert queue.device == device.cl_device
    assert not queue.properties & cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
    context_there, queue_there, same = in_thread(
        lambda: (device.context, device.queue, device.queue is device.queue),
    )
    assert context_there is device.context
    assert queue_there is not queue
    assert same


def test_threads_that_start_together_share_one_context() -> None:
    device = Device(devices()[0].cl_device)
    barrier = threading.Barrier(8)
    seen: list[tuple[Any, Any]] = []

    def work() -> None:
        barrier.wait()
        seen.append((device.context, device.queue))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(context) for context, _ in seen}) == 1
    assert len({id(queue) for _, queue in seen}) == 8


def test_the_queue_works(device: Device) -> None:
    import pyopencl as cl

    given = np.arange(1000, dtype=np.float32)
    back = np.zeros_like(given)
    buffer = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, given.nbytes)
    cl.enqueue_copy(device.queue, buffer, given)
    cl.enqueue_copy(device.queue, back, buffer)
    assert (back == given).all()


# ---------------------------------------------------------------------------------------------- processes

FORK = """
    import os, signal
    from clreduce.runtime import device_report as module_report
    from clreduce.runtime import devices as module
    from clreduce.runtime import survey as listing

    def in_child(function):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # a child that hangs in the driver is killed, and the status shows it
            try:
                text = function()
            except BaseException as error:
                text = f"{type(error).__name__}: {error}"
            os.write(writing, str(text).encode())
            os._exit(0)
        os.close(writing)
        text = os.fdopen(reading).read()
        assert os.waitpid(child, 0)[1] == 0, "the child hung"
        return text
"""


@needs_fork
def test_a_forked_child_gets_an_error_and_does_not_hang() -> None:
    source = textwrap.dedent(FORK) + textwrap.dedent("""
        device = module.current_device()
        device.queue
        def enter():
            with module.use_device(device):
                return "in use"
        uses = {
            "devices": module.devices,
            "select": module.select,
            "current_device": module.current_device,
            "use_device": enter,
            "explain_devices": module_report.explain_devices,
            "context": lambda: device.context,
            "queue": lambda: device.queue,
        }
        for name, use in uses.items():
            print(name, in_child(use))
        print("grandchild", in_child(lambda: in_child(module.devices)))
        with listing._lock:  # as if another thread were listing the devices during the fork
            print("locked", in_child(module.devices))
        assert module.devices()[0].queue is not None
    """)
    lines = output_of(source).splitlines()
    assert len(lines) == 9
    for line in lines:
        for word in ("DeviceError", "spawn", "forkserver"):
            assert word in line


@needs_fork
def test_a_child_forked_while_another_thread_builds_a_formula_builds_its_own() -> None:
    source = textwrap.dedent(FORK) + textwrap.dedent("""
        from clreduce.domain import Domain
        from clreduce.ir import expr
        from clreduce.ir.op import variable
        with expr._lock:  # as if another thread were in the middle of it
            print(in_child(lambda: variable("of_the_child", 3, Domain.I)))
    """)
    assert "of_the_child" in output_of(source)


@needs_fork
def test_whether_there_is_a_gpu_is_no_question_for_a_forked_child() -> None:
    source = textwrap.dedent(FORK) + textwrap.dedent("""
        from clreduce import config
        module.devices()
        print(in_child(lambda: config.gpu_available))
    """)
    assert "DeviceError" in output_of(source)


@needs_fork
def test_a_child_of_an_untouched_parent_works() -> None:
    source = textwrap.dedent(FORK) + textwrap.dedent("""
        def use():
            device = module.current_device()
            device.queue.finish()
            return repr(device)
        print(in_child(use))
        print(in_child(use))
    """)
    assert output_of(source).splitlines() == [repr(devices()[0])] * 2


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(tmp_path: Path, method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    source = f"""
        import multiprocessing
        from clreduce.errors import DeviceError
        from clreduce.runtime.devices import current_device

        def use(_):
            try:
                device = current_device()
                device.queue.finish()
                return repr(device)
            except DeviceError as error:
                return str(error)

        if __name__ == "__main__":
            current_device().queue
            with multiprocessing.get_context("{method}").Pool(1) as pool:
                print(*pool.map_async(use, range(2)).get(timeout=60), sep="\\n")
    """
    lines = output_of(source, file=tmp_path / "script.py").splitlines()
    assert len(lines) == 2
    for line in lines:
        assert ("spawn" in line) if method == "fork" else (line == repr(devices()[0]))


# ------------------------------------------------------------------------------------ what may be missing


def test_import_touches_nothing() -> None:
    source = """
        import sys
        import clreduce.runtime.devices, clreduce.runtime.device_report
        print([name for name in sys.modules if name.startswith("pyopencl")])
    """
    assert output_of(source).strip() == "[]"


ASK = """
    from clreduce.errors import DeviceError
    from clreduce.runtime import device_report as module_report
    from clreduce.runtime import devices as module

    for ask in (module.devices, module.current_device, lambda: module.select("cpu"), lambda: module.select(0)):
        try:
            ask()
        except DeviceError as error:
            print(str(error).replace("\\n", " "))
    print(module_report.explain_devices().replace("\\n", " "))
"""


def test_no_driver(tmp_path: Path) -> None:
    # One .icd file that doesn't exist: a folder would leave the drivers bundled with the pyopencl wheel in place.
    missing = str(tmp_path / "missing.icd")
    lines = output_of(ASK, OCL_ICD_VENDORS=missing, OCL_ICD_FILENAMES=None).splitlines()
    assert len(lines) == 5
    for line in lines:
        assert "no OpenCL device found" in line
        assert "PLATFORM_NOT_FOUND_KHR" in line
        assert 'pip install "clreduce[cpu]"' in line
        assert "OCL_ICD_VENDORS" in line


def test_no_pyopencl() -> None:
    source = 'import sys\nsys.modules["pyopencl"] = None\n' + textwrap.dedent(ASK)
    lines = output_of(source).splitlines()
    assert len(lines) == 5
    for line in lines:
        assert "pyopencl cannot be imported" in line
        assert 'pip install "clreduce[cpu]"' in line


@pytest.mark.parametrize(
    ("target", "failure", "words"),
    [
        ("x86_64-generic", "", ""),
        ("x86_64-generic", "error: unknown target CPU 'generic'", "does not work on this processor"),
        ("aarch64-generic", "cannot write to the cache", "refuses an empty kernel: .*cannot write"),
        ("x86_64-znver3", "not to be asked", ""),
    ],
)
def test_refusal(monkeypatch: pytest.MonkeyPatch, target: str, failure: str, words: str) -> None:
    """Of a driver that none of our machines may have: what it says, and what of that is passed on."""
    import pyopencl as cl

    class Program:
        def __init__(self, context: Any, source: str) -> None:
            assert "__kernel" in source

        def build(self) -> None:
            if failure:
                raise cl.RuntimeError(failure)

    monkeypatch.setattr(cl, "Context", lambda devices: devices)
    monkeypatch.setattr(cl, "Program", Program)
    platform = SimpleNamespace(name="Portable Computing Language", vendor="The pocl project", version="LLVM 14.0.6")
    said = SimpleNamespace(platform=platform, version=f"OpenCL 3.0 PoCL HSTR: {target} ", driver_version="3.0-rc2")
    found = refusal(said)
    assert re.search(words, found) if words else found == ""
    if "processor" in words:
        assert "LLVM 14" in found
        assert "apt install" in found
    platform.name = platform.vendor = "Intel(R) OpenCL"
    assert refusal(said) == ""


def test_who_has_pocl_is_not_told_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_devices", ())
    monkeypatch.setattr(listing, "_passed_over", ())
    for causes, told in (((f"PoCL: too old. {NEWER}",), False), ((), True)):
        monkeypatch.setattr(listing, "survey", lambda cl, causes=causes: Survey((), causes))
        with pytest.raises(DeviceError, match="no OpenCL device found") as caught:
            devices()
        assert ("Install drivers for the CPU" in str(caught.value)) == told
        assert all(cause in str(caught.value) for cause in causes)


def test_a_compiler_older_than_the_processor_is_passed_over_with_a_word() -> None:
    import pyopencl as cl

    present = [one for platform in cl.get_platforms() for one in platform.get_devices()]
    refused = [one for one in present if refusal(one)]
    if not refused:
        pytest.skip("the compiler of every driver knows this processor")
    listed = [device.cl_device for device in devices()]
    for one in refused:
        assert one not in listed
        assert f"PoCL {one.driver_version} does not work on this processor" in explain_devices()
        with pytest.raises(DeviceError, match="does not work on this processor"):
            select(f"pocl {one.driver_version}")


def test_a_platform_without_devices_is_passed_over_with_a_word(tmp_path: Path) -> None:
    if not any(device.facts.driver == "pocl" for device in devices()):
        pytest.skip("no PoCL here")
    source = """
        from clreduce.runtime import device_report as module_report
        from clreduce.runtime import devices as module
        print(module_report.explain_devices())
    """
    text = output_of(source, POCL_DEVICES="nonsense")
    assert "passed over: Portable Computing Language: has no device" in text
    assert "(PoCL" not in text
