"""Writes docs/reliability.md: what happens where the machine is broken, tried on each OpenCL driver present.

    python docs/make_reliability.py

Each fault is provoked in a process of its own, with one driver alone. It takes some minutes.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 180

PRELUDE = """
import numpy as np
from clreduce.errors import ClreduceError
from clreduce.numpy import Genred

routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)

def arrays(m, n):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in ((m, 3), (n, 3), (n, 1))]

def call():
    x, y, b = arrays(300, 400)
    dense = np.exp(-((x[:, None] - y) ** 2).sum(-1)) @ b
    return "right numbers" if np.allclose(routine(x, y, b), dense, rtol=1e-4, atol=1e-5) else "WRONG NUMBERS"

def tried(act):
    try:
        return act()
    except ClreduceError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
"""


@dataclass(frozen=True)
class Fault:
    """Something that is broken, and the program that meets it: its last line is what happened."""

    title: str
    program: str = "print(tried(call))"
    variables: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], dict[str, str]] = lambda folder: {}


def python_only(folder: Path) -> dict[str, str]:
    (folder / "python3").symlink_to(sys.executable)
    return {"PATH": str(folder)}


def failing_linker(folder: Path) -> dict[str, str]:
    for name in ("ld", "ld.lld"):
        path = folder / name
        path.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def cache_is_a_file(folder: Path) -> dict[str, str]:
    path = folder / "file"
    path.write_text("", encoding="utf-8")
    return {"CLREDUCE_CACHE_FOLDER": str(path / "cache"), "POCL_CACHE_DIR": str(folder)}


FAULTS = (
    Fault("nothing is broken"),
    Fault("no linker on PATH", prepare=python_only),
    Fault("a linker that fails", prepare=failing_linker),
    Fault("the cache folder cannot be made", prepare=cache_is_a_file),
    Fault(
        "no file can be written (a full disk)",
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nprint(tried(call), flush=True)",
    ),
    Fault(
        "an interrupt during a call, then another call",
        """
import _thread, threading
x, y, b = arrays(60_000, 60_000)
tried(call)
threading.Timer(0.3, _thread.interrupt_main).start()
try:
    routine(x, y, b)
    print("the call ended before")
except KeyboardInterrupt:
    print(f"KeyboardInterrupt, then {tried(call)}")
""",
    ),
    Fault(
        "a fork after the first call",
        """
import os
first, (read, write) = tried(call), os.pipe()
if os.fork() == 0:
    os.write(write, tried(call).encode())
    os._exit(0)
os.close(write)
print(f"parent: {first}; child: {os.read(read, 1000).decode()}")
""",
    ),
    Fault("the driver computes wrong numbers (a test double)", variables={"CLREDUCE_TEST_LIE": "always"}),
    Fault("the driver aborts on long vectors (a test double)", variables={"CLREDUCE_TEST_LIE": "abort"}),
)
LYING = """
import sys
sys.path.insert(0, {tests!r})
from clreduce.runtime import selftest
selftest.{name} = "lying_driver"
"""


def drivers(folder: Path) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Short titles, .icd files, and variables, of the drivers that are present."""
    for title, name, variables in (
        ("PoCL", "pocl.icd", {}),
        ("rusticl", "rusticl.icd", {"RUSTICL_ENABLE": "llvmpipe"}),
    ):
        path = Path("/etc/OpenCL/vendors", name)
        if path.exists():
            yield title, path, variables
    try:
        files = metadata.files("intel-opencl-rt") or ()
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == "libintelocl.so":
            icd = folder / "intel.icd"
            icd.write_text(str(Path(str(file.locate())).resolve()), encoding="utf-8")
            yield "Intel", icd, {}


def happens(fault: Fault, icd: Path, variables: dict[str, str]) -> str:
    """What happens, in a line."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "OCL_ICD_VENDORS": str(icd), "PYTHONPATH": str(ROOT), "CLREDUCE_CACHE_FOLDER": f"{folder}/cache",
            "POCL_CACHE_DIR": f"{folder}/pocl", **variables, **fault.variables,
        }  # fmt: skip
        Path(folder, "pocl").mkdir()
        prepared = Path(folder, "prepared")
        prepared.mkdir()
        environment |= fault.prepare(prepared)
        program = PRELUDE + fault.program
        if "CLREDUCE_TEST_LIE" in environment:
            program = lying() + program
        command = [sys.executable, "-c", program]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return f"HANGS for more than {SECONDS} s"
        lines = done.stdout.strip().splitlines()
        if done.returncode < 0:
            return f"THE PROCESS DIES of signal {-done.returncode}"
        if not lines:
            return f"RAISES {(done.stderr.strip().splitlines() or ['nothing'])[-1]}"
        return shortened(lines[-1].replace(folder, "FOLDER").replace(str(icd.parent), "FOLDER"))


def shortened(text: str, most: int = 200) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "/")
    return text if len(text) <= most else f"{text[:most].rsplit(' ', 1)[0]} ..."


def lying() -> str:
    return LYING.format(tests=str(ROOT / "tests"), name="TRIALS")


def page() -> str:
    with tempfile.TemporaryDirectory() as folder:
        present = list(drivers(Path(folder)))
        titles = [title for title, _, _ in present]
        lines = [f"| fault | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
        for fault in FAULTS:
            row = [happens(fault, icd, variables) for _, icd, variables in present]
            print(fault.title, *row, sep="\n  ", flush=True)
            lines.append(f"| {fault.title} | {' | '.join(row)} |")
    table = "\n".join(lines)
    return f"""# What happens where something is broken

Each fault was provoked in a process of its own, with one OpenCL driver alone; test doubles are named in the table.
Written by `python docs/make_reliability.py` on {platform.system()} {platform.machine()}.

{table}

A driver that is passed over is named with the reason; with more than one driver, the next one computes. "Right
numbers" are those of NumPy, of a Gaussian sum in float32.
"""


if __name__ == "__main__":
    if shutil.which("ld") is None:
        sys.exit("without a linker on PATH there is nothing to take away")
    (ROOT / "docs" / "reliability.md").write_text(page(), encoding="utf-8")
