"""Programs in processes of their own: with other environment variables, with limits, and with full disks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import clreduce

PACKAGE = Path(clreduce.__file__).resolve().parent
_SECONDS = 300


def run_python(
    source: str,
    *,
    file: Path | None = None,
    preexec_fn: Callable[[], Any] | None = None,
    **variables: str | None,
) -> subprocess.CompletedProcess[str]:
    """``source``, which may be indented, in a fresh interpreter that imports the clreduce and the tests of this one.

    It has the environment of this process but for ``CLREDUCE_DEVICE`` and for ``variables``; None unsets one.
    ``file``: where to write the source, for processes that import their parent's. A hang is a failure, and ends what
    the process has started, too.
    """
    source = textwrap.dedent(source)
    if file is not None:
        file.write_text(source, encoding="utf-8")
    return run_words([sys.executable, *(["-c", source] if file is None else [str(file)])], variables, preexec_fn)


def output_of(source: str, **options: Any) -> str:
    """What `run_python` prints, of a program that must end well."""
    done = run_python(source, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_words(
    words: Sequence[str], variables: Mapping[str, str | None], preexec_fn: Callable[[], Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Any program, with the environment of `run_python`."""
    folders = os.pathsep.join((str(PACKAGE.parent), str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": folders, "CLREDUCE_DEVICE": None, **variables}
    process = subprocess.Popen(
        words,
        env={name: value for name, value in environment.items() if value is not None},
        preexec_fn=preexec_fn,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=_SECONDS)
    finally:
        if process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # the children too: they hold the pipes open
            process.kill()
    return subprocess.CompletedProcess(list(words), process.returncode, output, errors)


@cache
def _own_mounts() -> tuple[str, ...]:
    """The words that start a program which sees mounts of its own; none where this user may not have any."""
    unshare = shutil.which("unshare")
    for words in ([unshare, "--mount"], [unshare, "--mount", "--map-root-user"]) if unshare else ():
        test = [*map(str, words), "mount", "-t", "tmpfs", "none", "/mnt"]
        if subprocess.run(test, capture_output=True, check=False).returncode == 0:
            return tuple(map(str, words))
    return ()


def can_fill_disks() -> bool:
    """Whether `run_on_full_disks` works here: on Linux, as root or with namespaces for everybody."""
    return bool(_own_mounts())


def run_on_full_disks(
    source: str, folders: Sequence[Path], **variables: str | None
) -> subprocess.CompletedProcess[str]:
    """`run_python`, where each of the ``folders``, which exist, is a disk of its own with one file and no room."""
    return run_words([*on_full_disks(folders), sys.executable, "-c", textwrap.dedent(source)], variables)


def on_full_disks(folders: Sequence[Path]) -> list[str]:
    """The words before those of a program that is run so."""
    mounting = "".join(
        f"mount -t tmpfs -o size=16k none '{folder}'; (cat /dev/zero >'{folder}/filling' || true) 2>/dev/null; "
        for folder in folders
    )
    return [*_own_mounts(), "sh", "-ec", mounting + 'exec "$0" "$@"']
