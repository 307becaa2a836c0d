"""A report on devices: which exist, which were passed over, which one is used, and why."""

from __future__ import annotations

import os

from clreduce.errors import DeviceError
from clreduce.runtime.device import Device, preference
from clreduce.runtime.devices import SEVERAL, VARIABLE, chosen_devices, devices, passed_over
from clreduce.runtime.loader import CHOSEN_BY_USER
from clreduce.runtime.process import check_process
from clreduce.runtime.selftest import kept_verdict


def explain_devices() -> str:
    """A text with the index and facts of each device, the devices passed over, the device in use, and the reasons.

    Returns
    -------
    str
        Several lines. If there is no device, or if ``CLREDUCE_DEVICE`` fits none, the text says so.

    Raises
    ------
    DeviceError
        The process is a child forked after OpenCL was used.

    Examples
    --------
    >>> import clreduce
    >>> "in use" in clreduce.explain_devices()
    True
    """
    check_process()
    try:
        chosen, chooser = chosen_devices()
    except DeviceError as error:
        in_use = f"in use: none, because {error}"
    else:
        in_use = f"in use: {' and '.join(map(_place, chosen))}, {explain_choice(chosen[0], chooser)}"
    try:
        present = devices()
    except DeviceError as error:
        return str(error)
    lines = [line for index, device in enumerate(present) for line in _lines_of(index, device)]
    lines += [f"passed over: {line}" for line in passed_over()]
    lines += [f"{name}={os.environ[name]} names the drivers" for name in CHOSEN_BY_USER if os.environ.get(name)]
    return "\n".join([*lines, in_use])


def _lines_of(index: int, device: Device) -> list[str]:
    facts = device.facts
    llvm = f", LLVM {facts.llvm_version}" if facts.llvm_version is not None else ""
    double = f"{facts.native_double_lanes} double lanes" if facts.has_double else "no double"
    place = "the host's memory" if facts.shares_host_memory else "its own memory"
    lines = [
        f"{index}: {device!r}",
        f"   platform:   {device.platform_name}, {device.platform_version}",
        f"   driver:     {facts.driver} {device.driver_version}{llvm}",
        f"   units:      {facts.compute_units}, {facts.native_float_lanes} float and {double}, "
        f"groups of up to {facts.max_group}",
        f"   memory:     {_bytes(facts.global_memory)} in {place}, {_bytes(facts.max_allocation)} in one buffer, "
        f"{_bytes(facts.local_memory)} local",
        f"   preference: {preference(facts)[1]}",
    ]
    verdict = kept_verdict(device)
    if verdict is None:
        return [*lines, "   trial:      none yet; it is tried before its first use"]
    if facts.native_functions:
        lines.append(f"   functions:  {', '.join(facts.native_functions)} of the hardware, in float32")
    return [*lines, *(f"   trial:      {note}" for note in verdict.notes or ("all checks passed",))]


def _place(device: Device) -> str:
    """The index and name of a device. A part of a device, or a device in the caller's context, has no index."""
    present = devices()
    return f"{present.index(device)}: {device.name!r}" if device in present else f"{device!r}, not in this list"


def explain_choice(device: Device, chooser: str) -> str:
    """The reason why a device is in use, in words; ``chooser`` is that of `chosen_device`."""
    value = os.environ.get(chooser, "").strip()
    if chooser not in (VARIABLE, SEVERAL):
        return f"chosen by {chooser}"
    if value:
        return f"chosen because {chooser}={value}"
    return f"first in order of preference: {preference(device.facts)[1]}"


def _bytes(count: int) -> str:
    """A number of bytes as text: ``"512 KiB"``, ``"4.0 GiB"``."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**27 else f"{count / 2**10:.0f} KiB"
