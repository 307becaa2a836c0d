"""Check each OpenCL device, in a process of its own.

Computes sums, gradients, LogSumExp, nearest neighbours, masks, functions,
long vectors, batches, block-sparse sums and calls with copied arrays on each
device, and compares them with NumPy. A driver that crashes or hangs ends its
own process only. What is learned about a device is kept, and used from then
on.

Exit status: 0 if there is a usable device and all usable devices pass, else 1.
A device that is passed over, for the reason shown, does not count as failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from clreduce.cli.arguments import positive_seconds
from clreduce.health.layout import table, wrapped
from clreduce.health.listing import list_in_child
from clreduce.health.records import DeviceEntry, DeviceResult, Listing, OutcomeEntry, SelftestReport
from clreduce.health.suite import (
    CHECKS_MODULE,
    FAILED,
    RIGHT,
    SECONDS,
    SKIPPED,
    WRONG,
    Outcome,
    check_names,
    passed,
    try_device,
)
from clreduce.runtime.drivers import DRIVER_TITLES

SUMMARY = "check that each device computes right"
_WORDS = {RIGHT: "ok", SKIPPED: ".", WRONG: "WRONG", FAILED: "FAIL"}
"""Words for states, the worst last."""
_DTYPES = {"float32": "f32", "float64": "f64"}
_BOTH = ("sum", "grad")
"""Checks that have a column for each dtype; the others' columns hold the worse of the two."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--device",
        metavar="SELECTOR",
        help="check this device only: its index in `clreduce info`, 'cpu', 'gpu', or words of its name or driver",
    )
    parser.add_argument("--quick", action="store_true", help="only sums, gradients and copied arrays")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=positive_seconds,
        default=SECONDS,
        help="the time for all checks of a device (default: %(default).0f)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object (docs/command.md names its keys)")
    parser.add_argument("--checks", metavar="MODULE", default=CHECKS_MODULE, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """0 if there is a usable device and all usable ones pass, else 1."""
    names = check_names(options.quick, options.checks)
    show_progress("listing the devices ...")
    listing = _tried_anew(options.device)
    devices = []
    for device in listing["devices"]:
        show_progress(f"checking {_title(device)} ...")
        devices.append(_result(device, try_device(device, options.quick, options.timeout, options.checks)))
    show_progress("")
    success = bool(devices) and all(device["passed"] for device in devices)
    passed_over = listing["passed_over"]
    report: SelftestReport = {"schema": 1, "passed": success, "devices": devices, "passed_over": passed_over}
    if listing["crash"]:
        report["crash"] = listing["crash"]
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print(as_text(report, names, listing["chosen"]["reason"]))
    return 0 if success else 1


def _tried_anew(selector: str | None) -> Listing:
    """The listing after a new trial of all devices, or of the one that is selected, which is then the only one."""
    listing = list_in_child(selector)
    if listing["selection_error"]:
        raise argparse.ArgumentTypeError(listing["selection_error"])
    if listing["crash"]:
        return listing
    show_progress("trying each driver ...")
    seconds = SECONDS * (1 + len(listing["devices"]) + len(listing["passed_over"]))  # of which each trial has its own
    if listing["selected"] is None:
        return list_in_child(fresh=None, seconds=seconds)
    device = listing["devices"][listing["selected"]]
    listing = list_in_child(fresh=[device["identity"]], seconds=seconds)
    listing["devices"] = [
        other
        for other in listing["devices"]
        if (other["identity"], other["twin"]) == (device["identity"], device["twin"])
    ]
    listing["passed_over"] = [line for line in listing["passed_over"] if line.startswith(device["title"])]
    return listing


def show_progress(text: str) -> None:
    """Redraw one line on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _result(device: DeviceEntry, outcomes: Sequence[Outcome]) -> DeviceResult:
    return {
        "index": device["index"],
        "name": device["name"],
        "platform": device["platform"],
        "driver": device["driver"],
        "driver_version": device["driver_version"],
        "kind": device["kind"],
        "learned": device["learned"],
        "changed_facts": device["changed_facts"],
        "passed": passed(outcomes),
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 2),
        "checks": [cast(OutcomeEntry, asdict(outcome)) for outcome in outcomes],
    }


def _title(device: DeviceEntry | DeviceResult) -> str:
    """A device in a few words."""
    driver = DRIVER_TITLES.get(device["driver"], device["platform"])
    version = re.match(r"\d+(\.\d+)?|", device["driver_version"])
    return f"{device['index']} {driver} {version[0] if version else ''}".strip()[:24]


def _title_of_line(line: str) -> str:
    """The subject of a line about something that is passed over, in a few words."""
    device = re.match(r"<Device '.*' \(([^,]+),", line)
    return (device[1] if device else re.split(r": | \(", line)[0].rpartition(os.sep)[2])[:24]


def as_text(report: SelftestReport, names: Sequence[str], reason: str = "") -> str:
    """The table, and below it what went wrong and what was learned."""
    devices = report["devices"]
    head = [["device"], [""]]
    for name in names:
        split = name in _BOTH
        head[0] += [name, ""] if split else [name]
        head[1] += list(_DTYPES.values()) if split else [""]
    rows = [[*head[0], "verdict", "s"], [*head[1], "", ""]]
    notes = []
    for device in devices:
        cells = [_title(device)]
        for name in names:
            states = {check["dtype"]: check["state"] for check in device["checks"] if check["check"] == name}
            if name in _BOTH:
                cells += [_WORDS[states[dtype]] if dtype in states else "-" for dtype in _DTYPES]
            else:
                cells.append(_WORDS[max(states.values(), key=list(_WORDS).index)])
        rows.append([*cells, "passed" if device["passed"] else "FAILED", f"{device['seconds']:.1f}"])
        notes += _notes(device)
    for line in report["passed_over"]:
        title = _title_of_line(line)
        rows.append([title[:24], *[""] * (len(rows[0]) - 3), "passed over", ""])
        notes.append(f"passed over: {line}")
    lines = [table(rows, right=[len(rows[0]) - 1])] if len(rows) > 2 else []
    lines += [""] if notes else []
    for note in notes:
        lines += wrapped(note, "", "  ")
    count, good = len(devices), sum(device["passed"] for device in devices)
    if "crash" in report:
        lines += ["", *wrapped(report["crash"], "", "  ")]
    elif count == 0:
        lines += ["", "There is no usable device.", reason]
    else:
        lines += ["", f"{good} of {count} device{'' if count == 1 else 's'} passed."]
    if not report["passed"]:
        lines.append("`clreduce info` shows what is wrong with this machine, where that can be told.")
    return "\n".join(lines)


def _notes(device: DeviceResult) -> list[str]:
    title = _title(device)
    notes = [f"{title}: {note}" for note in device["learned"]]
    for check in device["checks"]:
        what = f"{title}: {check['check']} in {check['dtype']}"
        if check["state"] == FAILED:
            notes.append(f"{what}: {check['message']}")
        elif check["state"] == WRONG:
            size = "infinite, or of another shape" if check["error"] is None else f"{check['error']:.0e}"
            notes.append(f"{what}: wrong numbers, relative error {size} (right: at most {check['bound']:.0e})")
    return notes
