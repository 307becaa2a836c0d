"""Running code that may crash or hang in a process of its own, which reports as it goes and ends in time."""

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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MARK = "clreduce reports: "
"""What begins a line of a report: drivers print to the same stream."""
PYTHON_ERROR = "ended with status 1"
"""How a child ended that raised an exception."""
_START = """
import json, sys
task = json.loads(sys.stdin.readline())
sys.path[:] = task["path"]
from clreduce.runtime import child
child.serve(task)
"""


@dataclass(frozen=True)
class ChildReport:
    """What a child process reported, and how it ended."""

    lines: tuple[dict[str, Any], ...]
    failure: str
    """Empty if it ended well; else how it ended, in words: ``"was ended by SIGSEGV"``."""
    stderr: str
    """The end of what it, or a driver, wrote to its standard error."""


def can_start_children() -> bool:
    """Whether ``sys.executable`` is a Python that can be started: not so in a frozen or an embedding program.

    >>> can_start_children()
    True
    """
    name = os.path.basename(sys.executable or "").lower()
    return not getattr(sys, "frozen", False) and ("python" in name or "pypy" in name)


def run_child(
    module: str, argument: dict[str, Any], silence: float, seconds: float, variables: dict[str, str]
) -> ChildReport:
    """``module.main(argument, report)`` in a new process with more environment ``variables``.

    ``report`` takes dictionaries that JSON can hold; what was reported before a crash is not lost. After ``silence``
    seconds without a report, or after ``seconds`` in all, the process is killed, and so is what it started.
    `OSError` if there can be no new process.
    """
    task = {"path": [path or os.getcwd() for path in sys.path], "module": module, "argument": argument}
    flags = ["-I", "-B"] if sys.dont_write_bytecode else ["-I"]  # the first one hides what the environment says of that
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
        output, errors = _Reader(process.stdout), _Reader(process.stderr)
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


class _Reader(threading.Thread):
    """Reads a stream to its end, so that the process that writes to it never waits."""

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
        """What was written since `lines` was last asked, once the stream has ended."""
        self.join(1.0)
        text = []
        while not self.lines.empty():
            text.append(self.lines.get() or "")
        return "".join(text)


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process; where there are process groups, with the compilers and linkers that a driver started."""
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


def serve(task: dict[str, Any]) -> None:
    """The child's side of `run_child`."""
    import importlib

    with contextlib.suppress(ImportError, ValueError, OSError):  # a crash that we expect leaves no core file
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main: Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], None]
    main = importlib.import_module(task["module"]).main
    main(task["argument"], lambda line: print(_MARK + json.dumps(line), flush=True))
    sys.stdout.flush()
    os._exit(0)  # what drivers do at exit is no part of the trial
