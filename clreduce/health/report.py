"""The report on a machine: a dictionary of plain values, and its text for a person."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from clreduce.cache import cache_folder
from clreduce.health import machine
from clreduce.health.layout import bytes_text, indented, wrapped
from clreduce.health.listing import list_devices, list_in_child
from clreduce.health.records import CacheEntry, MachineReport, ProblemEntry
from clreduce.health.traps import ERROR, Problem, Scene, problems
from clreduce.runtime.loader import is_writable, pocl_cache_folder


def survey(isolated: bool = True) -> MachineReport:
    """The report on this machine.

    If ``isolated``, a process of its own lists the OpenCL devices, so that a driver that crashes or hangs becomes a
    line of the report. Otherwise this process lists them, and can use them afterwards.
    """
    listing = list_in_child() if isolated else list_devices()
    files = listing["driver_files"]
    scene = Scene(
        devices=listing["devices"],
        passed_over=listing["passed_over"],
        driver_files=[file["path"] for file in files],
        chosen=listing["chosen"],
    )
    recognised = problems(scene)
    if listing["crash"]:
        cure = (
            "Let OCL_ICD_VENDORS name the .icd file of one driver at a time. So find the driver that fails, "
            "and remove or update it."
        )
        recognised = [Problem("listing", ERROR, listing["crash"], cure), *recognised]
    return {
        "schema": 1,
        "versions": machine.versions(),
        "machine": machine.describe(),
        "driver_files": files,
        "devices": listing["devices"],
        "passed_over": listing["passed_over"],
        "chosen": listing["chosen"],
        "caches": [_own_cache(), _folder("PoCL", pocl_cache_folder())],
        "environment": machine.environment(),
        "problems": [cast(ProblemEntry, asdict(problem)) for problem in recognised],
        "text": listing["text"],
    }


def _own_cache() -> CacheEntry:
    folder = cache_folder()
    if folder is None:
        return {"owner": "clreduce", "path": None, "writable": False, "files": 0, "bytes": 0}
    return _folder("clreduce", folder)


def _folder(owner: str, folder: Path) -> CacheEntry:
    files, size = 0, 0
    for parent, _, names in os.walk(folder):  # a folder that cannot be read counts as empty
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue
            files += 1
    return {"owner": owner, "path": str(folder), "writable": is_writable(folder), "files": files, "bytes": size}


def as_text(report: MachineReport) -> str:
    """The report for a person, in lines of up to 100 characters unless a name is longer."""
    sections = [_head(report), "\n".join(_folded(report["text"] or report["chosen"]["reason"]))]
    if report["driver_files"]:
        files = [f"{file['path']}  ({file['origin']})" for file in report["driver_files"]]
        sections.append("drivers of this Python environment:\n" + indented(files))
    sections.append("caches:\n" + indented([_cache_line(cache) for cache in report["caches"]]))
    if report["environment"]:
        lines = [f"{name}={value}" for name, value in report["environment"].items()]
        sections.append("environment:\n" + indented(lines))
    sections.append(problems_text(report["problems"]))
    return "\n\n".join(sections)


def _folded(text: str) -> Iterator[str]:
    """Lines of limited length. A long line continues on the next lines, with a larger indent."""
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        yield from wrapped(line.strip(), indent, f"{indent}    ") or [""]


def _head(report: MachineReport) -> str:
    versions, machine_ = dict(report["versions"]), report["machine"]
    own = versions.pop("clreduce") or "of unknown version"
    packages = ", ".join(f"{name} {version or '(not installed)'}" for name, version in versions.items())
    size = machine_["memory_bytes"]
    memory = f", {bytes_text(size)} of memory" if size else ""
    cores = f"{machine_['cores']} core{'' if machine_['cores'] == 1 else 's'}"
    return (
        f"clreduce {own}, Python {machine_['python']}, {packages}\n"
        f"machine:  {machine_['processor']}, {cores}{memory}\n"
        f"system:   {machine_['system']}, {machine_['architecture']}"
    )


def _cache_line(cache: CacheEntry) -> str:
    if cache["path"] is None:
        return f"{cache['owner']}: kernels are not stored"
    state = "" if cache["writable"] else ", cannot be written to"
    return f"{cache['owner']}: {cache['path']}, {bytes_text(cache['bytes'])} in {cache['files']} files{state}"


def problems_text(recognised: Sequence[ProblemEntry]) -> str:
    """Problems and their cures, in words."""
    if not recognised:
        return "problems: none"
    lines = []
    for problem in recognised:
        lines += wrapped(f"{problem['severity']}: {problem['what']}", "  ", "    ")
        lines += wrapped(f"-> {problem['cure']}", "    ", "       ")
    return "problems:\n" + "\n".join(lines)
