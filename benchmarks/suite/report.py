"""Text tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
from seed_examples import text_table

from suite.engines import CLASSES, OWN

Record = dict[str, Any]
INEXACT = {"float32": 1e-3, "float64": 1e-8}
"""Errors beyond these are marked: something other than rounding is at work."""
LARGE = 10**7  # pairs from which the fixed cost of a call is small against the rest
LONG = 0.05  # seconds from which the time of waking up threads is small against the rest

LEGEND = """\
Time per call: median in ms; in brackets the ratio to clreduce, above 1 if clreduce is faster. `-`: see the notes.
Error: |result - exact| / |exact| over some rows, exact by NumPy in float64; for neighbours the share that is missing.
`!`: a result with a larger error than rounding explains."""

ROOFLINE_LEGEND = """\
An operation is one lane of one vector instruction; a fused multiply-add counts as one. Per pair: subtract and
multiply-add for each component, 1 for the scale, 12 (float32) or 18 (float64) for exp (as a polynomial: where registers
serve as tables it takes fewer), and one multiply-add per column of b; for neighbours one comparison. The peak is that
of multiply-adds alone, measured on the same device. Its share is given by the clock, for the fastest call, and by
processor time, as if no other program had run and all cores had been busy."""


def entries(records: Sequence[Record]) -> Iterator[tuple[Record, dict[str, Record]]]:
    """Line by line: what is the same for all engines, and the engines that have a time."""
    lines: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        lines.setdefault((record["workload"], record["size"], record["dtype"]), []).append(record)
    for line in lines.values():
        yield line[0], {record["engine"]: record for record in line if "median" in record}


def engines_of(records: Sequence[Record]) -> list[str]:
    """Names of the engines that have a time, in the order of the tables."""
    found = {record["engine"] for record in records if "median" in record}
    return [name for name in CLASSES if name in found]


def comparison(records: Sequence[Record], left_out: Iterable[str]) -> str:
    """Two tables with a column per engine that was asked for: times and ratios, errors."""
    asked = {record["engine"] for record in records}.union(left_out)
    names = [name for name in CLASSES if name in asked]
    times, errors = [], []
    for line, found in entries(records):
        title = [line["workload"], line["size"], line["dtype"]]
        times.append(title + [time_cell(found, name) for name in names])
        errors.append(title + [error_cell(found, name) for name in names])
    header = ["workload", "size", "dtype", *names]
    return f"{LEGEND}\n\nTime\n\n{text_table(header, times)}\n\nError\n\n{text_table(header, errors)}"


def time_cell(found: dict[str, Record], name: str) -> str:
    if name not in found:
        return "-"
    cell = f"{1e3 * found[name]['median']:.2f}"
    if name != OWN and OWN in found:
        cell += f" ({found[name]['median'] / found[OWN]['median']:.2g}x)"
    return cell + mark(found[name])


def error_cell(found: dict[str, Record], name: str) -> str:
    if name not in found:
        return "-"
    error = found[name]["error"]
    return f"{error:.1e}{mark(found[name])}" if error else "0"


def mark(record: Record) -> str:
    return "" if exact_enough(record) else " !"


def exact_enough(record: Record) -> bool:
    """Whether rounding explains the error; a nan is no such error."""
    return bool(record["error"] <= INEXACT[record["dtype"]])


def roofline(results: dict[str, Any]) -> str:
    """The share of the device's peak that clreduce reaches, where operations were counted."""
    records, peaks, found_machine = results["records"], results["peaks"], results["machine"]
    rows = []
    for line, found in entries(records):
        if line["operations"] is None or OWN not in found:
            continue
        operations, peak = line["pairs"] * line["operations"], peaks[line["dtype"]]
        by_clock = operations / found[OWN]["min"]
        by_processor = operations * found_machine["cores"] / found[OWN]["cpu"]
        rows.append(
            [line["workload"], line["size"], line["dtype"], str(line["operations"]),
             f"{line['pairs'] / found[OWN]['min'] / 1e9:.3f}", f"{by_clock / 1e9:.1f}", f"{by_clock / peak:.0%}",
             f"{by_processor / peak:.0%}" if found_machine["kind"] == "cpu" else "-"]
        )  # fmt: skip
    if not rows:
        return ""
    measured = ", ".join(f"{peak / 1e9:.1f} G/s in {dtype}" for dtype, peak in peaks.items())
    header = [
        "workload",
        "size",
        "dtype",
        "operations/pair",
        "Gpairs/s",
        "Goperations/s",
        "of the peak",
        "by processor time",
    ]
    return f"{ROOFLINE_LEGEND}\nPeak: {measured}.\n\n{text_table(header, rows)}"


def scaling(records: Sequence[Record]) -> str:
    """Time per pair along each series, and the exponent with which time grows with the number of pairs."""
    series: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record["series"] and "median" in record:
            series.setdefault((record["workload"], record["dtype"], record["engine"]), []).append(record)
    rows = []
    for (workload, dtype, engine), found in series.items():
        costs = ", ".join(f"{1e9 * record['median'] / record['pairs']:.3g}" for record in found)
        rows.append([workload, dtype, engine, fitted_exponent(found), costs])
    if not rows:
        return ""
    header = ["series", "dtype", "engine", "exponent", "ns per pair, from the smallest size to the largest"]
    return (
        f"Exponent p of time = constant * pairs^p, fitted over calls of at least {LARGE:.0e} pairs; 1 is linear.\n\n"
        + text_table(header, rows)
    )


def fitted_exponent(found: Sequence[Record]) -> str:
    """The slope of log time over log pairs, or `-` if fewer than two sizes are large enough."""
    large = [record for record in found if record["pairs"] >= LARGE]
    if len(large) < 2:
        return "-"
    pairs, times = (np.log([record[name] for record in large]) for name in ("pairs", "median"))
    return f"{np.polyfit(pairs, times, 1)[0]:.3f}"


def busy_cores(records: Sequence[Record]) -> str:
    """Cores that each engine keeps busy: the median over its long calls."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.get("median", 0) >= LONG:
            found.setdefault(record["engine"], []).append(record["cpu"] / record["median"])
    return ", ".join(f"{name} {median(values):.1f}" for name, values in found.items())


def notes(records: Sequence[Record], left_out: dict[str, str]) -> str:
    """Why an engine has no number, each reason once."""
    places: dict[str, list[str]] = {}
    for record in records:
        if "reason" in record:
            place = f"{record['workload']} {record['size']} {record['dtype']}"
            places.setdefault(f"{record['engine']}: {record['reason']}", []).append(place)
    lines = [f"{name}: left out: {reason}" for name, reason in left_out.items()]
    for reason, where in places.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        lines.append(f"{reason} ({where[0]}{more})")
    return "\n".join(lines)


def machine(results: dict[str, Any]) -> str:
    """The head of a report."""
    found = results["machine"]
    lines = [
        f"{results['date']}, {found['processor']}, {found['cores']} cores, {found['system']}",
        f"device: {found['device']}",
        ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
    ]
    if found["load"] is not None:
        lines.append(f"load average at the start: {found['load']:.1f}")
    if results.get("threads"):
        counts = [
            f"{name} {count}" + ("" if count == found["cores"] else " (not all cores!)")
            for name, count in results["threads"].items()
        ]
        lines.append("threads: " + ", ".join(counts))
    return "\n".join(lines)


def report(results: dict[str, Any]) -> str:
    """All of the comparison on one device."""
    records = results["records"]
    head = machine(results)
    if busy := busy_cores(records):
        head += f"\nbusy cores in calls of more than {1e3 * LONG:.0f} ms: {busy}"
    tiny = [
        f"{name} {1e6 * record['median']:.0f}"
        for line, found in entries(records)
        if line["workload"] == "tiny" and line["dtype"] == "float32"
        for name, record in found.items()
    ]
    parts = [head, comparison(records, results["left_out"])]
    if tiny:
        parts.append(
            "Microseconds of a warm call that has next to nothing to compute (tiny, float32): " + ", ".join(tiny)
        )
    parts += [roofline(results), scaling(records), notes(records, results["left_out"])]
    return "\n\n".join(part for part in parts if part) + "\n"
