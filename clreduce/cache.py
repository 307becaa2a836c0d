"""The folder where clreduce keeps built kernels and tuned schedules between processes.

``CLREDUCE_CACHE_FOLDER`` names it; set to nothing (``CLREDUCE_CACHE_FOLDER=``) it switches keeping off. Entries are
written to a temporary name and renamed, so that processes never see half of one; each carries a checksum, and one that
does not match is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "CLREDUCE_CACHE_FOLDER"
"""Environment variable with the folder; empty: nothing is kept."""
PROGRAMS, SCHEDULES = "programs", "schedules"
"""The kinds of entry; each has a folder of its own."""
_MOST_ENTRIES = 4096
_CHECKSUM = 32


def cache_folder() -> Path | None:
    """The folder, whether it exists yet or not; None if keeping is switched off or there is no home."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home folder
        return None
    return base / "clreduce"


def usable_folder(name: str) -> Path | None:
    """The sub-folder ``name``, made if need be; None if there can be none."""
    root = cache_folder()
    if root is None:
        return None
    try:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def entry_name(*parts: str) -> str:
    """A file name made from all that an entry depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_entry(name: str, kind: str = PROGRAMS) -> bytes | None:
    """The contents of an entry of that kind; None if there is none, or if it is damaged."""
    root = cache_folder()
    if root is None:
        return None
    try:
        stored = (root / kind / name).read_bytes()
    except OSError:
        return None
    checksum, data = stored[:_CHECKSUM], stored[_CHECKSUM:]
    return data if hashlib.sha256(data).digest() == checksum else None


def write_entry(name: str, data: bytes, kind: str = PROGRAMS) -> None:
    """Keep ``data``; a folder that cannot be written to is no error. The oldest entries make room beyond a bound."""
    folder = usable_folder(kind)
    if folder is None:
        return
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(temporary, folder / name)
        except OSError:
            os.unlink(temporary)
            raise
        _drop_oldest(folder)


def _drop_oldest(folder: Path) -> None:
    entries = list(os.scandir(folder))
    if len(entries) > _MOST_ENTRIES:
        entries.sort(key=lambda entry: entry.stat().st_mtime)
        for entry in entries[: len(entries) - _MOST_ENTRIES // 2]:
            os.unlink(entry.path)


def clear_folder() -> None:
    """Remove everything that clreduce keeps on disk. Other files in the folder stay."""
    root = cache_folder()
    if root is not None:
        for name in (PROGRAMS, SCHEDULES, "templates"):
            shutil.rmtree(root / name, ignore_errors=True)
