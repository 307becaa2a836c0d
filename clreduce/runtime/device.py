"""The OpenCL devices: which there are, which one is used, and its context and queues.

Importing this module touches no device and does not import pyopencl; the first call of `devices`,
`select` or `current_device` does both.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from clreduce.codegen.facts import DeviceFacts
from clreduce.errors import DeviceError
from clreduce.runtime.drivers import DRIVER_TITLES, NEWER, REMEDY, driver_of, leading_numbers, llvm_of, refusal

if TYPE_CHECKING:
    import pyopencl as cl

VARIABLE = "CLREDUCE_DEVICE"
"""Environment variable with the selector of the device to use when the program names none."""


class Device:
    """One OpenCL device, with a context and one in-order queue per thread, both made at first use.

    Devices come from `devices` and are compared by identity: each exists once in a process.
    """

    def __init__(self, cl_device: cl.Device) -> None:
        platform = cl_device.platform
        self.cl_device = cl_device
        self.name: str = cl_device.name.strip()
        self.platform_name: str = platform.name.strip()
        self.platform_version: str = " ".join(platform.version.split())
        self.driver_version: str = cl_device.driver_version.strip()
        self.facts: DeviceFacts = _read_facts(cl_device)
        # The device's version belongs to the identity: PoCL may say only there which processor it compiles for.
        self.identity: str = " | ".join(
            (self.platform_name, self.platform_version, self.name, cl_device.version.strip(), self.driver_version)
        )
        """Text that changes whenever a compiled program may no longer fit: a key for caches."""
        self._lock = threading.Lock()
        self._context: cl.Context | None = None
        self._pool: Any = None
        self._of_thread = threading.local()

    @property
    def context(self) -> cl.Context:
        """The device's context, shared by all threads; `DeviceError` if the driver refuses it, or after a fork."""
        _check_process()
        if self._context is None:
            import pyopencl as cl

            with self._lock:
                if self._context is None:
                    try:
                        self._context = cl.Context([self.cl_device])
                    except cl.Error as error:
                        raise DeviceError(f"{self!r} gives no context: {error}") from error
        return self._context

    @property
    def queue(self) -> cl.CommandQueue:
        """The calling thread's in-order queue; `DeviceError` if the driver refuses it, or after a fork."""
        _check_process()
        queue: cl.CommandQueue | None = getattr(self._of_thread, "queue", None)
        if queue is None:
            import pyopencl as cl

            context = self.context
            try:
                queue = self._of_thread.queue = cl.CommandQueue(context, self.cl_device)
            except cl.Error as error:
                raise DeviceError(f"{self!r} gives no command queue: {error}") from error
        return queue

    @property
    def pool(self) -> Any:
        """Memory for temporaries, handed out again when a call is over; shared by all threads."""
        if self._pool is None:
            from pyopencl.tools import ImmediateAllocator, MemoryPool

            queue = self.queue
            with self._lock:
                if self._pool is None:
                    self._pool = MemoryPool(ImmediateAllocator(queue))
        return self._pool

    def __repr__(self) -> str:
        facts = self.facts
        driver = DRIVER_TITLES.get(facts.driver, self.platform_name)
        version = ".".join(map(str, facts.driver_version[:2]))
        units = f"{facts.compute_units} unit{'' if facts.compute_units == 1 else 's'}"
        return f"<Device {self.name!r} ({f'{driver} {version}'.strip()}, {facts.kind}, {units})>"


# ------------------------------------------------------------------------------------------ reading a device


def _read_facts(cl_device: cl.Device) -> DeviceFacts:
    import pyopencl as cl

    def ask(name: str, default: int) -> int:
        """An optional property: drivers may refuse those that are deprecated or belong to an extension."""
        try:
            return int(getattr(cl_device, name))
        except (cl.Error, AttributeError):
            return default

    platform = cl_device.platform
    platform_text = f"{platform.name} {platform.vendor}"
    # The CPU bit decides, for simulators claim every type; an emulator runs on the host whatever it claims.
    is_cpu = bool(cl_device.type & cl.device_type.CPU) or "emulation" in platform_text.lower()
    has_double = bool(ask("double_fp_config", 0)) or "cl_khr_fp64" in cl_device.extensions.split()
    float_lanes = max(1, ask("native_vector_width_float", 1)) if is_cpu else 1
    double_lanes = max(1, ask("native_vector_width_double", 1)) if is_cpu else 1
    return DeviceFacts(
        kind="cpu" if is_cpu else "gpu",
        driver=driver_of(platform_text),
        driver_version=leading_numbers(cl_device.driver_version),
        llvm_version=llvm_of(platform.version),
        compute_units=cl_device.max_compute_units,
        native_float_lanes=float_lanes,
        native_double_lanes=double_lanes if has_double else 0,
        max_group=cl_device.max_work_group_size,
        local_memory=cl_device.local_mem_size,
        global_memory=cl_device.global_mem_size,
        max_allocation=cl_device.max_mem_alloc_size,
        has_double=has_double,
        shares_host_memory=bool(ask("host_unified_memory", int(is_cpu))),
        # A GPU may reach the host's memory by address too, but slowly.
        shares_addresses=is_cpu and bool(ask("svm_capabilities", 0) & cl.device_svm_capabilities.FINE_GRAIN_SYSTEM),
    )


def _preference(facts: DeviceFacts) -> tuple[tuple[int, int, int], str]:
    """Sort key (the smallest is used first) and the reason in words.

    GPUs and accelerators come first: those with their own memory, then those that share the host's; a vendor's
    driver before PoCL's for the same hardware. CPU drivers follow in the order of their measured speed on
    kernel sums: PoCL with LLVM 15 or newer, Intel, older PoCL, any other. A simulator is the last. Within a
    rank, more compute units come first.
    """
    units = -facts.compute_units
    if facts.driver == "oclgrind":
        return (3, 0, units), "a simulator for finding errors: used only when nothing else is there"
    if facts.kind != "cpu":
        memory = "shares the host's memory" if facts.shares_host_memory else "has its own memory"
        reason = f"a GPU or accelerator that {memory}, {facts.compute_units} compute units"
        return (int(facts.shares_host_memory), int(facts.driver == "pocl"), units), reason
    if facts.driver == "pocl":
        if facts.llvm_version is None:
            return (2, 2, units), "PoCL of unknown LLVM version: taken for an old one"
        if facts.llvm_version >= 15:
            return (2, 0, units), f"PoCL with LLVM {facts.llvm_version}: among the fastest CPU drivers"
        return (2, 2, units), f"PoCL with LLVM {facts.llvm_version}: slower code than with LLVM 15 or newer"
    if facts.driver == "intel":
        return (2, 1, units), "Intel's CPU driver: fast, after a recent PoCL"
    return (2, 3, units), "a CPU driver of unmeasured speed"


# --------------------------------------------------------------------------------------- listing the devices

_lock = threading.Lock()
_first_process: int | None = None  # the process that touched OpenCL first
_devices: tuple[Device, ...] = ()
_passed_over: tuple[str, ...] = ()  # one line for each platform or device that cannot be used


def _check_process() -> None:
    """Raise `DeviceError` in a child forked after OpenCL was touched; to be called before any lock is taken.

    Drivers keep threads, which a fork does not copy: a call in the child would wait for them forever. So might
    a lock of ours that another thread held while forking.
    """
    if _first_process is not None and _first_process != os.getpid():
        raise DeviceError(
            f"this process ({os.getpid()}) was forked from process {_first_process} after that one had used OpenCL: "
            "OpenCL drivers do not survive a fork and would hang. Start the workers with "
            "multiprocessing.get_context('spawn') or 'forkserver', or make the first use of clreduce after the fork."
        )


def devices() -> tuple[Device, ...]:
    """All usable devices, the preferred one first; listed once, never empty.

    `DeviceError` if pyopencl cannot be imported, if no driver offers a device, or in a child forked after
    OpenCL was used.
    """
    global _devices, _passed_over, _first_process
    _check_process()
    if _devices:
        return _devices
    try:
        import pyopencl as cl
    except ImportError as error:
        raise DeviceError(f"pyopencl cannot be imported: {error}. {REMEDY}") from error
    _first_process = os.getpid()
    with _lock:
        if not _devices:
            found, _passed_over = _survey(cl)
            if not found:
                causes = "".join(f"\n  passed over: {line}" for line in _passed_over)
                remedy = "" if any(NEWER in line for line in _passed_over) else f" {REMEDY}"
                raise DeviceError(f"no OpenCL device found.{remedy}{causes}")
            _devices = tuple(sorted(found, key=lambda device: _preference(device.facts)[0]))
    return _devices


def _survey(cl: Any) -> tuple[list[Device], tuple[str, ...]]:
    """The usable devices in the drivers' order, and a line on each platform or device that is not usable.

    One broken driver must not hide the others: whatever it raises becomes a line.
    """
    found: list[Device] = []
    passed_over: list[str] = []
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:  # PLATFORM_NOT_FOUND_KHR: no driver at all
        return [], (f"all platforms: {error}",)
    for platform in platforms:
        title = "a platform without a name"
        try:
            title = platform.name.strip()
            cl_devices = platform.get_devices()
            if not cl_devices:
                passed_over.append(f"{title}: has no device")
        except cl.Error as error:
            passed_over.append(f"{title}: {error}")
            continue
        for number, cl_device in enumerate(cl_devices):
            try:
                if not (cl_device.available and cl_device.compiler_available):
                    passed_over.append(f"{title}, device {number}: is not available, or has no compiler")
                elif why := refusal(cl_device):
                    passed_over.append(f"{title}, device {number}: {why}")
                else:
                    found.append(Device(cl_device))
            except cl.Error as error:
                passed_over.append(f"{title}, device {number}: {error}")
    return found, tuple(passed_over)


# --------------------------------------------------------------------------------------- choosing the device

_innermost: ContextVar[Device | None] = ContextVar("clreduce_device", default=None)
_default: Device | None = None
_last_selected: tuple[object, Device] | None = None  # the variable's last raw value, and what it selected

# Looking up an unset variable in os.environ costs more than all the rest of current_device(), for it raises and
# catches twice. CPython keeps the encoded pairs in a plain dict; elsewhere the public mapping serves.
_pairs: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_key: Any = VARIABLE if _pairs is os.environ else os.environ.encodekey(VARIABLE)


def select(selector: str | int | Device | None = None) -> Device:
    """The device that a selector names.

    - an int, or digits: index into `devices`;
    - ``"cpu"`` or ``"gpu"``: the first of that kind;
    - any other text: the first device of which every word occurs, in any case, in its platform's name and
      version, its own name, or its driver's name and version: ``"pocl 3.1"``, ``"nvidia"``. A word that is the
      driver's short name (`DeviceFacts.driver`), or begins its version, counts more than one that occurs elsewhere, and
      a version right after a driver's short name means that driver's;
    - a `Device`: itself;
    - None: what the environment variable ``CLREDUCE_DEVICE`` selects, or ``devices()[0]`` if unset or blank.

    `DeviceError`, with a list of the devices present, if nothing fits; TypeError for any other type.
    """
    if isinstance(selector, Device):
        return selector
    if selector is None:
        value = os.environ.get(VARIABLE, "")
        return _find(value, f"the environment variable {VARIABLE}={value}") if value.strip() else devices()[0]
    return _find(selector, f"the device selector {selector!r}")


def _find(selector: str | int, asker: str) -> Device:
    present = devices()
    words = selector.lower().split() if isinstance(selector, str) else [str(operator.index(selector))]
    if len(words) == 1 and re.fullmatch(r"-?[0-9]+", words[0]):
        fitting = [device for index, device in enumerate(present) if index == int(words[0])]
    elif words in (["cpu"], ["gpu"]):
        fitting = [device for device in present if device.facts.kind == words[0]]
    else:
        fitting = [device for device in present if words and all(word in _words_of(device) for word in words)]
        # "intel" means Intel's driver where there is one, not PoCL's on a processor with Intel in its name. "3.0" means
        # the driver's version, not that of OpenCL which almost every platform names.
        versions = [word for word in words if re.fullmatch(r"\d+(\.\d+)+([-+_]\S*)?", word)]
        for name, version in pairwise(words):
            if name in DRIVER_TITLES and version in versions:
                fitting = [device for device in fitting if _is_driver(device, name, version)]
        fitting.sort(
            key=lambda device: (
                device.facts.driver not in words,
                sum(not _begins_with(device.driver_version.lower(), version) for version in versions),
            )
        )
    if not fitting:
        listing = "".join(f"\n  {index}: {device!r}" for index, device in enumerate(present))
        listing += "".join(f"\n  passed over: {line}" for line in _passed_over)
        raise DeviceError(
            f"{asker} fits no device; give an index, 'cpu', 'gpu', or words of a device's name. Present:{listing}"
        )
    return fitting[0]


def _is_driver(device: Device, name: str, version: str) -> bool:
    return device.facts.driver == name and _begins_with(device.driver_version.lower(), version)


def _begins_with(version: str, start: str) -> bool:
    """Whether a version is the given one or one of its patches: 3.1+debian begins with 3.1, 3.10 does not."""
    return re.match(re.escape(start) + r"(?!\d)", version) is not None


def _words_of(device: Device) -> str:
    driver = f"{device.facts.driver} {device.driver_version}"
    return f"{device.platform_name} {device.platform_version} {device.name} {driver}".lower()


def _current() -> tuple[Device, str]:
    """The device to use now, and what chose it; on the path of every kernel call, so no work for the words here."""
    global _last_selected
    _check_process()
    scoped = _innermost.get()
    if scoped is not None:
        return scoped, "use_device"
    if _default is not None:
        return _default, "set_default_device"
    value = _pairs.get(_key)
    last = _last_selected  # read once: another thread may replace it
    if last is None or last[0] != value:
        last = _last_selected = (value, select(None))
    return last[1], VARIABLE


def current_device() -> Device:
    """The device that kernels run on now.

    That of the innermost `use_device`, else of `set_default_device`, else of the environment variable
    ``CLREDUCE_DEVICE`` (its value at this moment), else the first in order of preference. `DeviceError` if
    there is none, or in a child forked after OpenCL was used.
    """
    return _current()[0]


@contextlib.contextmanager
def use_device(selector: str | int | Device | None) -> Iterator[Device]:
    """``with use_device("gpu") as device:`` runs the block on that device; selectors are those of `select`.

    Holds for this thread or asynchronous task only: a thread started inside the block begins without it.
    """
    token = _innermost.set(select(selector))
    try:
        yield current_device()
    finally:
        _innermost.reset(token)


def set_default_device(selector: str | int | Device | None) -> None:
    """Use a device in the whole process, wherever no `use_device` says otherwise; None takes the default back."""
    global _default
    _default = None if selector is None else select(selector)


# ---------------------------------------------------------------------------------------------- explaining


def explain_devices() -> str:
    """Text for a person: each device with its index and facts, what was passed over, what is used now, and why.

    Where there is no device, or ``CLREDUCE_DEVICE`` fits none, the text says so; the only error raised is
    `DeviceError` in a child forked after OpenCL was used.
    """
    _check_process()
    try:
        present = devices()
    except DeviceError as error:
        return str(error)
    lines: list[str] = []
    for index, device in enumerate(present):
        facts = device.facts
        llvm = f", LLVM {facts.llvm_version}" if facts.llvm_version is not None else ""
        double = f"{facts.native_double_lanes} double lanes" if facts.has_double else "no double"
        place = "the host's memory" if facts.shares_host_memory else "its own memory"
        lines += [
            f"{index}: {device!r}",
            f"   platform:   {device.platform_name}, {device.platform_version}",
            f"   driver:     {facts.driver} {device.driver_version}{llvm}",
            f"   units:      {facts.compute_units}, {facts.native_float_lanes} float and {double}, "
            f"groups of up to {facts.max_group}",
            f"   memory:     {_bytes(facts.global_memory)} in {place}, {_bytes(facts.max_allocation)} in one buffer, "
            f"{_bytes(facts.local_memory)} local",
            f"   preference: {_preference(facts)[1]}",
        ]
    lines += [f"passed over: {line}" for line in _passed_over]
    try:
        chosen, chooser = _current()
    except DeviceError as error:
        return "\n".join([*lines, f"in use: none, because {error}"])
    value = os.environ.get(VARIABLE, "").strip()
    if chooser != VARIABLE:
        why = f"chosen by {chooser}"
    elif value:
        why = f"chosen because {VARIABLE}={value}"
    else:
        why = f"first in order of preference: {_preference(chosen.facts)[1]}"
    return "\n".join([*lines, f"in use: {present.index(chosen)}: {chosen.name!r}, {why}"])


def _bytes(count: int) -> str:
    """A number of bytes for a person: ``"512 KiB"``, ``"4.0 GiB"``."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**27 else f"{count / 2**10:.0f} KiB"
