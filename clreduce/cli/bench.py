"""Measure how fast a device is.

Measures what the device does at most (multiply-adds per second, and bytes per
second to and from memory) and three workloads on random points in three
dimensions, each once the kernels are built. The share is what a workload does
of the operations that the device could; "as expected" means that this is as
much as on healthy devices. It takes about 15 seconds.
"""

from __future__ import annotations

import argparse
import json

from clreduce.cli.arguments import chosen_device, positive_seconds
from clreduce.health.layout import table, wrapped
from clreduce.health.records import SpeedReport
from clreduce.health.speed import measure

SUMMARY = "measure how fast a device is, and whether that is as it should be"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--device",
        metavar="SELECTOR",
        help="its index in `clreduce info`, 'cpu', 'gpu', or words of its name or driver (default: the one in use)",
    )
    parser.add_argument(
        "--seconds",
        metavar="SECONDS",
        type=positive_seconds,
        default=10.0,
        help="about how long to measure; building kernels comes on top (default: %(default).0f)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object (docs/command.md names its keys)")


def run(options: argparse.Namespace) -> int:
    """0, at any speed."""
    device = chosen_device(options.device)
    report = measure(device, options.seconds)
    print(json.dumps(report, indent=1) if options.json else as_text(f"{device!r}", report))
    return 0


def as_text(device: str, report: SpeedReport) -> str:
    """The report for a person."""
    peaks = ", ".join(f"{peak['multiply_adds'] / 1e9:.3g} in {peak['dtype']}" for peak in report["peaks"])
    lines = [
        f"device:      {device}",
        f"peak:        {peaks} (10^9 multiply-adds per second)",
        f"memory:      {report['bytes_per_second'] / 1e9:.3g} GB per second",
        f"small call:  {report['small_call_microseconds']:.0f} us",
        "",
    ]
    rows = [["workload", "dtype", "points", "ms", "10^9 pairs/s", "share", "verdict"]]
    causes: dict[str, None] = {}
    for speed in report["workloads"]:
        verdict, _, cause = speed["verdict"].partition(": ")
        causes |= {cause: None} if cause else {}
        rows.append(
            [
                speed["workload"],
                speed["dtype"],
                f"{speed['rows']} x {speed['columns']}",
                f"{speed['milliseconds']:.3g}",
                f"{speed['pairs'] / 1e9:.3g}",
                f"{speed['roofline']:.0%}",
                verdict,
            ]
        )
    lines.append(table(rows, right=(2, 3, 4, 5)))
    remarks = [*report["remarks"], *(f"slow: {cause}" for cause in causes)]
    for remark in remarks:
        lines += ["", *wrapped(remark, "", "  ")]
    return "\n".join(lines)
