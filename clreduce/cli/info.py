"""Show versions, OpenCL devices, caches and problems.

Lists the OpenCL devices with what was learned about each, those that are
passed over, the device in use and why, the caches, the environment variables
that matter, and problems of this installation with their cures.
"""

from __future__ import annotations

import argparse
import json

from clreduce.health.report import as_text, survey

SUMMARY = "show versions, OpenCL devices, caches, and problems with their cures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object (docs/command.md names its keys)")


def run(options: argparse.Namespace) -> int:
    """0 if there is a usable device, else 1."""
    report = survey()
    if options.json:
        print(json.dumps({key: value for key, value in report.items() if key != "text"}, indent=1))
    else:
        print(as_text(report))
    return 0 if report["devices"] else 1
