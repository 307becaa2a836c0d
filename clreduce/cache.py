"""The cache folder: built kernels, their sources and tuned schedules for later processes.

``CLREDUCE_CACHE_FOLDER`` names it (``~`` is the home folder); an empty value switches the cache off. Each kind of entry
has a sub-folder. An entry is a file with a header and a checksum. It is written under a temporary name and then
renamed, so processes never see an incomplete entry. The state of the disk never causes an exception: an unusable
folder, a full disk or a damaged entry only cost time, and the logger ``clreduce`` says so once at level DEBUG.

Built kernels are code. So the folder is used only if no other user can change its contents. Only files that clreduce
wrote are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VARIABLE = "CLREDUCE_CACHE_FOLDER"
"""The environment variable with the folder; an empty value switches the cache off."""
PROGRAMS, SOURCES, SCHEDULES = "programs", "sources", "schedules"
"""Kinds of entries. Any other lower-case word may be a kind, too."""
_MIB = 1 << 20
_MOST_BYTES = {PROGRAMS: 192 * _MIB, SOURCES: 32 * _MIB}
_MOST_BYTES_OF_OTHERS = 16 * _MIB
_LEAST_BYTES = 1 << 14
"""An entry counts as at least this many bytes. This limits the number of entries, and so the time to list them."""
_MAGIC = b"clreduce entry 1\n"
_HEADER = len(_MAGIC) + 32
_NAME = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = re.compile(r"\.new-[0-9a-z_]{8}")
_KIND = re.compile(r"[a-z]+")
_SECONDS_TO_WRITE = 3600.0
"""A temporary file that is older than this belongs to a process that was killed."""
_SECONDS_BETWEEN_MARKS = 600.0
_LOGGER = logging.getLogger("clreduce")
_logged: set[str] = set()
_written: dict[str, int] = {}
"""The bytes of each kind that this process has written since it last made room."""


def cache_folder() -> Path | None:
    """The cache folder, which need not exist; None if the cache is switched off or there is no home folder."""
    chosen = os.environ.get(VARIABLE)
    try:
        if chosen is not None:
            # A relative path is relative to the current folder of the process.
            return Path(os.path.abspath(Path(chosen).expanduser())) if chosen else None
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or "")
            base = base if base.is_absolute() else Path.home() / ".cache"
        if not base.is_absolute():
            raise RuntimeError("the name of the home folder is not absolute")
    except (RuntimeError, OSError) as error:  # no home folder; no current folder
        _log_once(f"nothing is kept on disk: {error}")
        return None
    return base / "clreduce"


def usable_folder(name: str) -> Path | None:
    """The sub-folder ``name``, made if necessary; None if it cannot be made, or if another user could write to it."""
    root = cache_folder()
    if root is None:
        return None
    folder = root / name
    try:
        why = _danger(folder)
        if not why:
            _make(folder)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
            why = "it cannot be written to"
    except OSError as error:
        why = error.strerror or str(error)
    _log_once(f"nothing is kept in {folder}: {why}")
    return None


def has_entries(kind: str) -> bool:
    """Whether there may be an entry of that kind, which is the case if its sub-folder exists."""
    root = cache_folder()
    return root is not None and os.path.isdir(root / kind)


def entry_name(*parts: str) -> str:
    """The file name of an entry, a hash of everything on which the entry depends."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def read_entry(name: str, kind: str = PROGRAMS) -> bytes | None:
    """The data of the entry ``name`` (from `entry_name`); None if there is none, or if it is damaged."""
    folder = _existing_folder(kind)
    if folder is None:
        return None
    path = folder / name
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            stored = file.read() if status.st_size <= _HEADER + _largest(kind) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        _log_once(f"the entry {path} is passed over: {error}")
        return None
    checksum, data = stored[len(_MAGIC) : _HEADER], stored[_HEADER:]
    if not stored.startswith(_MAGIC) or hashlib.sha256(data).digest() != checksum:
        _log_once(f"the entry {path} is passed over: it is damaged, or of another version")
        return None
    if time.time() - status.st_mtime > _SECONDS_BETWEEN_MARKS:
        with contextlib.suppress(OSError):
            os.utime(path)  # marks it as used: the least recently used entries are removed first
    return data


def write_entry(name: str, data: bytes, kind: str = PROGRAMS) -> None:
    """Store ``data`` under a ``name`` from `entry_name` if possible. Old entries are removed to make room."""
    if not (_NAME.fullmatch(name) and _KIND.fullmatch(kind)):
        raise ValueError(f"entries are named by entry_name, and kinds by a lower-case word; got {name!r}, {kind!r}")
    folder = usable_folder(kind) if len(data) <= _largest(kind) else None
    if folder is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(data).digest() + data)
            os.replace(temporary, folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        _log_once(f"nothing could be written to {folder}: {error}")
        return
    size = max(len(data), _LEAST_BYTES)
    if kind not in _written or _written[kind] + size > _limit(kind) // 16:
        _make_room(folder, _limit(kind))
        size = 0
    _written[kind] = _written.get(kind, 0) + size


# --------------------------------------------------------------------------------------- looking after the folder


def usage() -> list[tuple[str, int, int]]:
    """For each kind with entries: its name, the number of entries, and their bytes."""
    table = []
    for kind, folder in _folders():
        sizes = [entry.size for entry in _entries(folder) if _is_ours(entry.path)]
        if sizes:
            table.append((kind, len(sizes), sum(sizes)))
    return table


def clear(kind: str | None = None) -> tuple[int, int]:
    """Remove all entries, or those of one kind; returns their number and their bytes. Other files stay."""
    count = size = 0
    for name, folder in _folders():
        if kind in (None, name):
            dropped = _drop(list(_entries(folder)))
            count, size = count + dropped[0], size + dropped[1]
            _drop(_abandoned(folder, 0.0))
            with contextlib.suppress(OSError):
                folder.rmdir()
    return count, size


def prune(max_bytes: int) -> tuple[int, int]:
    """Remove the least recently used entries until ``max_bytes`` are left; returns their number and their bytes."""
    return _drop(_beyond([entry for _, folder in _folders() for entry in _entries(folder)], max_bytes, 0))


# ------------------------------------------------------------------------------------------------------- entries


class _Entry(NamedTuple):
    used: float
    """The time of its last use, in seconds since the epoch."""
    path: str
    size: int


def _limit(kind: str) -> int:
    return _MOST_BYTES.get(kind, _MOST_BYTES_OF_OTHERS)


def _largest(kind: str) -> int:
    """The most bytes of data in one entry. A single entry must not displace a large part of the others."""
    return _limit(kind) // 8


def _folders() -> list[tuple[str, Path]]:
    """The kinds with a usable sub-folder, and these folders."""
    root = cache_folder()
    try:
        names = sorted(name for name in os.listdir(root) if _KIND.fullmatch(name)) if root is not None else []
    except OSError:
        return []
    return [(name, folder) for name in names if (folder := _existing_folder(name)) is not None]


def _existing_folder(kind: str) -> Path | None:
    """The sub-folder of a kind; None if there is none, or if another user could write to it."""
    root = cache_folder()
    if root is None or not os.path.isdir(root / kind):
        return None
    try:
        why = _danger(root / kind)
    except OSError as error:
        why = str(error)
    if why:
        _log_once(f"nothing is read from {root / kind}: {why}")
        return None
    return root / kind


def _entries(folder: Path, names: re.Pattern[str] = _NAME) -> Iterator[_Entry]:
    """The files with names of entries. Other processes may remove them at any time."""
    with contextlib.suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if names.fullmatch(file.name):
                with contextlib.suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield _Entry(status.st_mtime, file.path, status.st_size)


def _is_ours(path: str) -> bool:
    """Whether a file begins with the header of clreduce's files, or with a part of it if writing was interrupted."""
    try:
        with open(path, "rb") as file:
            return _MAGIC.startswith(file.read(len(_MAGIC)))
    except OSError:
        return False


def _make_room(folder: Path, limit: int) -> None:
    """If there are more than ``limit`` bytes, remove the least recently used entries until 3/4 of that are left."""
    entries = list(_entries(folder))
    if _beyond(entries, limit, _LEAST_BYTES):
        _drop(_beyond(entries, limit * 3 // 4, _LEAST_BYTES))
    _drop(_abandoned(folder))


def _beyond(entries: list[_Entry], limit: int, least: int) -> list[_Entry]:
    """The least recently used entries whose removal leaves ``limit`` bytes; each counts as at least ``least`` bytes."""
    excess = sum(max(entry.size, least) for entry in entries) - limit
    beyond: list[_Entry] = []
    for entry in sorted(entries) if excess > 0 else ():
        if excess > 0:
            beyond.append(entry)
            excess -= max(entry.size, least)
    return beyond


def _abandoned(folder: Path, seconds: float = _SECONDS_TO_WRITE) -> list[_Entry]:
    """The unfinished files that are older than ``seconds``; their processes were killed."""
    now = time.time()
    return [entry for entry in _entries(folder, _TEMPORARY) if now - entry.used >= seconds]


def _drop(entries: list[_Entry]) -> tuple[int, int]:
    """Remove these entries if clreduce wrote them; returns the number of removed ones and their bytes."""
    count = size = 0
    for entry in entries:
        if _is_ours(entry.path):
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
                count, size = count + 1, size + entry.size
    return count, size


# ------------------------------------------------------------------------------------------------------- folders


def _make(folder: Path) -> None:
    """Make a folder and its missing parents, for this user alone."""
    if not os.path.isdir(folder):
        if folder.parent != folder:
            _make(folder.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def _danger(folder: Path) -> str:
    """The reason why another user could change the contents of a folder; "" if none can. It need not exist yet.

    The folder and all its parents must belong to this user or to root, and no other user may write to them. A parent
    may also be a folder such as /tmp, in which users can only remove their own files.
    """
    if not hasattr(os, "geteuid"):
        return ""
    trusted = (os.geteuid(), 0)
    for path in (folder, *folder.parents):  # the owner of a link decides where it leads
        status = _status(path, follow=False)
        if status is not None and stat.S_ISLNK(status.st_mode) and status.st_uid not in trusted:
            return f"the link {path} belongs to another user"
    resolved = Path(os.path.realpath(folder))
    for path in (resolved, *resolved.parents):
        status = _status(path)
        if status is None:
            continue
        if status.st_uid not in trusted:
            return f"{path} belongs to another user"
        others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_private(status))
        if others and (path == resolved or not status.st_mode & stat.S_ISVTX):
            return f"{path} can be written to by other users"
    return ""


def _status(path: Path, follow: bool = True) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        return None


def _is_private(status: os.stat_result) -> bool:
    """Whether the owner of a file is the only member of its group, as many systems set up users."""
    import grp
    import pwd

    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
    except KeyError:
        return False
    return group.gr_gid == owner.pw_gid and group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def _log_once(message: str) -> None:
    """Log at level DEBUG why the cache is not used; each reason once."""
    if message not in _logged and len(_logged) < 1000:
        _logged.add(message)
        _LOGGER.debug("%s", message)
