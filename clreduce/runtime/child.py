"""Runs code that may crash or hang in a separate process, which reports results as it goes and ends in time."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

_MARK = "clreduce reports: "
"""The beginning of each line of a report. Drivers print to the same stream."""
PYTHON_ERROR = "ended with status 1"
"""The failure of a child that raised an exception."""
_START = """
import json, sys
task = json.loads(sys.stdin.readline())
sys.path[:] = task["path"]
from clreduce.runtime import child
child.serve(task)
"""


class ChildTask(TypedDict):
    """The function that a child process calls, with what it needs to import it."""

    path: list[str]
    """The folders of ``sys.path``."""
    module: str
    argument: dict[str, object]


@dataclass(frozen=True)
class ChildReport:
    """The reports of a child process, and how it ended."""

    lines: tuple[dict[str, Any], ...]
    failure: str
    """The failure of the process, such as ``"was ended by SIGSEGV"``; empty if it succeeded."""
    stderr: str
    """The last 2000 characters that the process, or a driver in it, wrote to its standard error."""


def can_start_children() -> bool:
    """Whether ``sys.executable`` is a Python that can be started; it is not in a frozen or an embedding program.

    >>> can_start_children()
    True
    """
    name = os.path.basename(sys.executable or "").lower()
    return not getattr(sys, "frozen", False) and ("python" in name or "pypy" in name)


def run_child(
    module: str, argument: Mapping[str, object], silence: float, seconds: float, variables: dict[str, str]
) -> ChildReport:
    """Run ``module.main(argument, report)`` in a new process with additional environment ``variables``.

    ``report`` takes dictionaries that JSON can represent; a crash does not lose earlier reports. The process and its
    children are killed after ``silence`` seconds without a report, or after ``seconds`` in all. Raises `OSError` if no
    process can be started.
    """
    path = [folder or os.getcwd() for folder in sys.path]
    task: ChildTask = {"path": path, "module": module, "argument": dict(argument)}
    flags = ["-I", "-B"] if sys.dont_write_bytecode else ["-I"]  # -I hides PYTHONDONTWRITEBYTECODE from the child
    process = subprocess.Popen(
        [sys.executable, *flags, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | variables,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        output, errors = _StreamReader(process.stdout), _StreamReader(process.stderr)
        with contextlib.suppress(OSError):  # it has ended already
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.close()
        lines: list[dict[str, Any]] = []
        failure = ""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                line = output.lines.get(timeout=max(0.0, min(silence, left)))
            except queue.Empty:
                failure = f"did not end within {seconds:.0f} s" if left < silence else f"hung for {silence:.0f} s"
                break
            if line is None:
                break
            if line.startswith(_MARK):
                lines.append(json.loads(line[len(_MARK) :]))
        if not failure:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(silence)
    finally:
        _kill(process)
        process.wait()
    return ChildReport(tuple(lines), failure or _ending(process.returncode), errors.all_text()[-2000:])


class _StreamReader(threading.Thread):
    """A thread that reads a stream to its end, so that the process that writes to it never waits."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stream = stream
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream:
            for line in self._stream:
                self.lines.put(line)
        self.lines.put(None)

    def all_text(self) -> str:
        """The text that has not been taken from `lines` yet. It waits up to a second for the end of the stream."""
        self.join(1.0)
        text = []
        while not self.lines.empty():
            text.append(self.lines.get() or "")
        return "".join(text)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the process. Where process groups exist, the compilers and linkers of a driver are killed, too."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _ending(status: int) -> str:
    if status == 0:
        return ""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def serve(task: ChildTask) -> None:
    """The child's side of `run_child`."""
    import importlib

    with contextlib.suppress(ImportError, ValueError, OSError):  # no core files for crashes that we expect
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main: Callable[[dict[str, object], Callable[[dict[str, object]], None]], None]
    main = importlib.import_module(task["module"]).main
    main(task["argument"], lambda line: print(_MARK + json.dumps(line), flush=True))
    sys.stdout.flush()
    os._exit(0)  # the exit handlers of drivers are not part of the trial
