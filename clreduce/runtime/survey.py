"""The list of OpenCL devices: those that all drivers offer, without those that failed a trial.

Importing this module touches no device and does not import pyopencl; the first call of `devices` does both.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

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
_reasons: dict[Device, str] = {}  # for devices that were selected: the reason why they are not usable, or ""


@dataclass(frozen=True)
class Survey:
    """The devices that all OpenCL drivers offer."""

    devices: tuple[Device, ...]
    """The devices in the order of their drivers."""
    passed_over: tuple[str, ...]
    """A line for each platform, driver or device that is not usable."""


def devices() -> tuple[Device, ...]:
    """All devices, the preferred one first. The list is made once and is never empty.

    Devices that have failed their trial, now or in an earlier process, are left out. A device that was never used may
    still fail its trial when it is selected.

    Returns
    -------
    tuple of Device
        At least one device.

    Raises
    ------
    DeviceError
        pyopencl cannot be imported, there is no device, or the process is a child forked after OpenCL was used.

    Examples
    --------
    >>> import clreduce
    >>> len(clreduce.devices()) > 0
    True
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
    """A line for each platform, driver or device that cannot be used, as far as this is known so far."""
    return _passed_over


def _no_device() -> DeviceError:
    causes = "".join(f"\n  passed over: {line}" for line in _passed_over)
    has_cure = any(cure in line for line in _passed_over for cure in (NEWER, ROOM))
    remedy = "" if has_cure else f" {REMEDY}"
    return DeviceError(f"no OpenCL device found.{remedy}{causes}")


def survey(cl: ModuleType) -> Survey:
    """The devices that the drivers offer; ``cl`` is pyopencl.

    A broken driver must not hide the others, so its errors become lines of ``passed_over``.
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
    """The devices without an unfavourable verdict, in order of preference, with the facts that trials have found."""
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
    """The reason why a device is not usable; "" if it is. A device that was never tried is tried now."""
    global _devices
    if device not in _reasons:
        verdict = examine(device)
        device.facts = verdict.applied(device.said)
        with _lock:
            _devices = _judged(_devices)
            _reasons[device] = verdict.reason
    return _reasons[device]
