"""Which OpenCL devices there are: what all drivers offer, less what trials speak against.

Importing this module touches no device and does not import pyopencl; the first call of `devices` does both.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clreduce.errors import DeviceError
from clreduce.runtime.bindings import without_caches
from clreduce.runtime.device import Device, preference
from clreduce.runtime.drivers import NEWER, REMEDY, ROOM, refusal, why_no_device
from clreduce.runtime.loader import list_platforms
from clreduce.runtime.process import check_process, note_first_use
from clreduce.runtime.selftest import examine, kept_verdict

_LOGGER = logging.getLogger("clreduce.devices")

_lock = threading.Lock()
_devices: tuple[Device, ...] = ()
_passed_over: tuple[str, ...] = ()  # one line for each platform, driver or device that cannot be used
_reasons: dict[Device, str] = {}  # of the devices that were selected: why they are not usable, or ""


@dataclass(frozen=True)
class Survey:
    """What all OpenCL drivers offer."""

    devices: tuple[Device, ...]
    """In the drivers' order."""
    passed_over: tuple[str, ...]
    """A line on each platform, driver or device that is not usable."""


def devices() -> tuple[Device, ...]:
    """All devices, the preferred one first; listed once, never empty.

    Those that failed their trial, now or in an earlier process, are left out. One that was never used may still fail it
    when it is selected. `DeviceError` if pyopencl cannot be imported, if there is no device, or in a child forked after
    OpenCL was used.
    """
    global _devices, _passed_over
    check_process()
    if _devices:
        return _devices
    try:
        with without_caches():
            import pyopencl as cl
    except ImportError as error:
        raise DeviceError(f"pyopencl cannot be imported: {error}. {REMEDY}") from error
    note_first_use()
    with _lock:
        if not _devices:
            listed = survey(cl)
            _passed_over = listed.passed_over
            _devices = _judged(listed.devices)
            for device in _devices:
                _LOGGER.debug("%r: %s", device, preference(device.facts)[1])
            for line in _passed_over:
                _LOGGER.debug("passed over: %s", line)
            if not _devices:
                raise _no_device()
    return _devices


def passed_over() -> tuple[str, ...]:
    """A line on each platform, driver or device that cannot be used, as far as that is known by now."""
    return _passed_over


def _no_device() -> DeviceError:
    causes = "".join(f"\n  passed over: {line}" for line in _passed_over)
    has_cure = any(cure in line for line in _passed_over for cure in (NEWER, ROOM))
    remedy = "" if has_cure else f" {REMEDY}"
    return DeviceError(f"no OpenCL device found.{remedy}{causes}")


def survey(cl: Any) -> Survey:
    """What the drivers offer; ``cl`` is pyopencl.

    One broken driver must not hide the others: whatever it raises becomes a line.
    """
    listed: list[Device] = []
    try:
        platforms, notes = list_platforms(cl)
    except cl.Error as error:  # PLATFORM_NOT_FOUND_KHR: no driver at all
        return Survey((), (f"all platforms: {error}",))
    lines = list(notes)
    for platform in platforms:
        title = "a platform without a name"
        try:
            title = platform.name.strip()
            cl_devices = platform.get_devices()
            if not cl_devices:
                lines.append(f"{title}: has no device{why_no_device(title)}")
        except cl.Error as error:
            lines.append(f"{title}: {error}{why_no_device(title)}")
            continue
        for number, cl_device in enumerate(cl_devices):
            try:
                if not (cl_device.available and cl_device.compiler_available):
                    lines.append(f"{title}, device {number}: is not available, or has no compiler")
                elif why := refusal(cl_device):
                    lines.append(f"{title}, device {number}: {why}")
                else:
                    listed.append(Device(cl_device))
            except cl.Error as error:
                lines.append(f"{title}, device {number}: {error}")
    return Survey(tuple(listed), tuple(lines))


def _judged(listed: Sequence[Device]) -> tuple[Device, ...]:
    """The devices that no verdict speaks against, in order of preference, with what trials have shown of them."""
    global _passed_over
    usable = []
    for device in listed:
        verdict = kept_verdict(device)
        if verdict is not None:
            device.facts = verdict.applied(device.said)
        if verdict is None or verdict.usable:
            usable.append(device)
        else:
            _passed_over += (f"{device!r}: {verdict.reason}",)
    return tuple(sorted(usable, key=lambda device: preference(device.facts)[0]))


def reason_against(device: Device) -> str:
    """Try a device if that was never done, and say why it is not usable; "" if it is."""
    global _devices
    if device not in _reasons:
        verdict = examine(device)
        device.facts = verdict.applied(device.said)
        with _lock:
            _devices = _judged(_devices)
            _reasons[device] = verdict.reason
    return _reasons[device]
