"""Records of a profile as JSON in the "Trace Event Format" of chrome://tracing and Perfetto."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence

from clreduce.runtime.profile import DeviceCommand, HostSpan
from clreduce.typing import Json


def write_trace(records: Sequence[HostSpan | DeviceCommand], wall: float, path: str | os.PathLike[str]) -> None:
    """Write the file. The host is one process with a row per thread; the devices are another, with a row per device."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"traceEvents": trace_events(records, wall), "displayTimeUnit": "ms"}, file)


def trace_events(records: Sequence[HostSpan | DeviceCommand], wall: float) -> list[dict[str, Json]]:
    """Complete events (phase X) in microseconds, and names of processes and rows (phase M)."""
    host = os.getpid()
    devices = host + 1  # any number other than the host's will do
    rows: dict[tuple[int, str], int] = {}
    events = [_name("process_name", host, 0, "host"), _name("process_name", devices, 0, "devices")]

    def row(process: int, title: str) -> int:
        if (process, title) not in rows:
            rows[process, title] = len(rows) + 1
            events.append(_name("thread_name", process, rows[process, title], title))
        return rows[process, title]

    for record in records:
        if isinstance(record, HostSpan):
            place = {"pid": host, "tid": row(host, f"thread {record.thread}")}
            details: dict[str, Json] = {"bytes": record.nbytes} if record.nbytes else {}
            events.append(_complete(record.what, record.category, record.start, record.seconds, place, details))
        elif not math.isnan(record.start):
            place = {"pid": devices, "tid": row(devices, record.device)}
            details = {"role": record.role, "launched": 1e6 * record.launched, "bytes": record.nbytes}
            details |= {"size": [*record.size], "group": [*record.group]}
            events.append(_complete(record.formula, record.role, record.start, record.seconds, place, details))
    whole = {"pid": host, "tid": row(host, "profile")}
    return [*events, _complete("profile", "profile", 0.0, wall, whole, {})]


def _name(what: str, process: int, thread: int, name: str) -> dict[str, Json]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}


def _complete(
    name: str, category: str, start: float, seconds: float, place: dict[str, int], details: dict[str, Json]
) -> dict[str, Json]:
    times = {"ts": 1e6 * start, "dur": 1e6 * seconds}
    return {"name": name, "cat": category, "ph": "X", **times, **place, "args": details}
