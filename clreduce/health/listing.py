"""The OpenCL devices, the drivers that were passed over and the device in use, as plain values.

A driver may crash or hang while devices are listed. `list_in_child` lists them in a process of its own, so that the
command survives this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypedDict, cast

from clreduce.errors import ClreduceError, DeviceError
from clreduce.health.records import DeviceEntry, DriverFileEntry, FactsEntry, Listing
from clreduce.runtime.child import run_child
from clreduce.runtime.device import Device, preference
from clreduce.runtime.device_report import explain_choice, explain_devices
from clreduce.runtime.devices import chosen_device, devices, passed_over, select
from clreduce.runtime.loader import driver_files
from clreduce.runtime.selftest import examine, kept_verdict
from clreduce.runtime.survey import survey

SECONDS = 60.0
"""The longest time for listing the devices, and for the trial of each of them."""


class ListingTask(TypedDict):
    """The arguments of `list_in_child`, for the child."""

    selector: str | None
    fresh: list[str] | None


def list_devices(selector: str | None = None) -> Listing:
    """The devices that this process sees; ``selected`` is the index of the device that ``selector`` names."""
    listing = _nothing()
    try:
        present = devices()
        listing["chosen"] = {"index": None, "reason": ""}
        try:
            chosen, chooser = chosen_device()
            present = devices()  # a device that fails its first trial is no longer among them
            index = present.index(chosen) if chosen in present else None
            listing["chosen"] = {"index": index, "reason": explain_choice(chosen, chooser)}
        except DeviceError as error:
            listing["chosen"]["reason"] = str(error)
        if selector is not None:
            try:
                listing["selected"] = present.index(select(selector))
            except DeviceError as error:
                listing["selection_error"] = str(error)
        listing["devices"] = _described(devices())
    except ClreduceError as error:
        listing["chosen"]["reason"] = str(error)
    listing["passed_over"] = list(passed_over())
    try:
        listing["text"] = explain_devices()
    except DeviceError as error:
        listing["text"] = str(error)
    return listing


def _nothing() -> Listing:
    """A listing without devices."""
    files: list[DriverFileEntry] = []
    with contextlib.suppress(ImportError):  # without pyopencl
        files = [{"path": str(file.path), "origin": file.origin} for file in driver_files()]
    return {
        "devices": [],
        "passed_over": [],
        "chosen": {"index": None, "reason": ""},
        "driver_files": files,
        "text": "",
        "selected": None,
        "selection_error": "",
        "crash": "",
    }


def _described(present: Sequence[Device]) -> list[DeviceEntry]:
    return [_device(index, device, present[:index]) for index, device in enumerate(present)]


def _device(index: int, device: Device, before: Sequence[Device]) -> DeviceEntry:
    verdict = kept_verdict(device)
    return {
        "index": index,
        "name": device.name,
        "platform": device.platform_name,
        "platform_version": device.platform_version,
        "vendor": str(device.cl_device.platform.vendor).strip(),
        "driver": device.facts.driver,
        "driver_version": device.driver_version,
        "kind": device.facts.kind,
        "preference": preference(device.facts)[1],
        "tried": verdict is not None,
        "learned": list(verdict.notes) if verdict else [],
        "changed_facts": dict(verdict.facts) if verdict else {},
        "facts": cast(FactsEntry, asdict(device.facts) | {"driver_version": list(device.facts.driver_version)}),
        "identity": device.identity,
        "twin": sum(other.identity == device.identity for other in before),
        "title": repr(device),
    }


def list_in_child(selector: str | None = None, fresh: Sequence[str] | None = (), seconds: float = SECONDS) -> Listing:
    """The result of `list_devices` in a process of its own. ``crash`` is the way in which that failed, or "".

    ``fresh`` has the identities of the devices that are tried anew before, whatever earlier trials have found. None is
    for all devices.
    """
    argument: ListingTask = {"selector": selector, "fresh": None if fresh is None else list(fresh)}
    report = run_child(__name__, dict(argument), seconds, seconds, {})
    if report.lines:
        return cast(Listing, report.lines[-1])
    last = report.stderr.strip().splitlines()[-1:]
    crash = ": ".join([f"The process that listed the OpenCL devices {report.failure}", *last])
    return {**_nothing(), "crash": crash}


def main(argument: ListingTask, report: Callable[[Listing], None]) -> None:
    """The child's side of `list_in_child`."""
    fresh = argument["fresh"]
    if fresh is None or fresh:
        for device in surveyed():
            if fresh is None or device.identity in fresh:
                examine(device, fresh=True)
    report(list_devices(argument["selector"]))


def surveyed() -> tuple[Device, ...]:
    """All devices of all drivers, also those that failed in earlier trials."""
    try:
        import pyopencl as cl
    except ImportError:
        return ()
    return survey(cl).devices
