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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))
from processes import on_full_disks

SECONDS = 180

_PAGE = """\
# What happens where something is broken

A broken driver, a full disk or a missing linker should cost you one clear message, and never a wrong number, a hang or
the process. We tried it: each fault below was provoked in a process of its own that saw one OpenCL driver only.
`python docs/make_reliability.py` repeats this on your machine. The table was made on {system}.

- *Right numbers* means: a Gaussian sum in float32 agrees with NumPy.
- The name of an error means: the call raised this error. Its message stands below the table.
- Where a machine has several drivers, clreduce passes over the one that fails and uses the next one. Here there was no
  other, so the call raised an error.
- *A test double* means: the fault was simulated between clreduce and a driver that works.

{table}

## The messages

Each message is shown for one driver. Lines are cut after 300 characters here.

{messages}"""

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
        first, *others = str(error).splitlines()
        causes = [line.strip() for line in others if "passed over" in line and "names the drivers to load" not in line]
        return f"{type(error).__name__}: {'; '.join([first.split('. ')[0].rstrip('.'), *causes]) if causes else first}"
"""

HOMES = ("HOME", "XDG_CACHE_HOME", "CLREDUCE_CACHE_FOLDER")


@dataclass(frozen=True)
class Fault:
    """Something that is broken, and the program that meets it: its last line is what happened."""

    title: str
    program: str = "print(tried(call))"
    variables: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], dict[str, str]] = lambda folder: {}
    """What is done to an empty folder beforehand, and the variables that name it."""
    damages: bool = False
    """Whether the program runs twice, and all that is kept on disk is cut in half in between."""
    fills: bool = False
    """Whether the disk of all folders that a driver, clreduce or Python may write to is full."""


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
    Fault("a home folder that does not exist and cannot be made", variables=dict.fromkeys(HOMES, "/dev/null/home")),
    Fault("the cache folder cannot be made", prepare=cache_is_a_file),
    Fault("half of each entry in the cache folder is lost", damages=True),
    Fault("the disk of the home folder, of all caches and of temporary files is full", fills=True),
    Fault(
        "no process may write a byte to any file",
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nprint(tried(call), flush=True)",
        {"PYTHONDONTWRITEBYTECODE": "1"},  # Python itself would leave halves of modules
    ),
    Fault(
        "an input of 12 TB, which is a view of one row",
        """
x, y, b = arrays(1, 5)
print(tried(lambda: routine(np.broadcast_to(x, (10**12, 3)), y, b)))
""",
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
    Fault(
        "the process ends while a daemon thread compiles",
        """
import threading
from clreduce.runtime import compiler
from clreduce.runtime.devices import current_device
print(tried(call), flush=True)
build, compiling = compiler._from_source, threading.Event()
compiler._from_source = lambda *given: (compiling.set(), build(*given))[1]
long = "__kernel void long_one(__global float* a) { %s }" % ("a[0] = sin(a[0]) + a[1]; " * 100_000)
threading.Thread(target=compiler.PROGRAMS.build, args=(long, current_device()), daemon=True).start()
compiling.wait()
""",
    ),
    Fault("the driver computes wrong numbers (a test double)", variables={"CLREDUCE_TEST_LIE": "always"}),
    Fault("the driver maps memory wrongly (a test double)", variables={"CLREDUCE_TEST_LIE": "mapped"}),
    Fault("the driver aborts on long vectors (a test double)", variables={"CLREDUCE_TEST_LIE": "abort"}),
    Fault("the driver hangs on long vectors (a test double)", variables={"CLREDUCE_TEST_LIE": "hang"}),
)
LYING = """
from clreduce.runtime import selftest
selftest.TRIALS = "lying_driver"
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {"HOME": "home", "CLREDUCE_CACHE_FOLDER": "cache", "TMPDIR": "temporary"}
        for made in (*own.values(), "prepared"):
            (folder / made).mkdir(mode=0o700)
        environment = {
            **os.environ,
            **{variable: str(folder / made) for variable, made in own.items()},
            "OCL_ICD_VENDORS": str(icd), "PYTHONPATH": os.pathsep.join((str(ROOT), str(TESTS))), **variables,
            **fault.variables,
        }  # fmt: skip
        for chosen in {"XDG_CACHE_HOME", "POCL_CACHE_DIR", "CLREDUCE_DEVICE"} - fault.variables.keys():
            environment.pop(chosen, None)
        environment |= fault.prepare(folder / "prepared")
        program = (LYING if "CLREDUCE_TEST_LIE" in environment else "") + PRELUDE + fault.program
        command = [sys.executable, "-c", program]
        if fault.fills:
            command = [*on_full_disks([folder / made for made in own.values()]), *command]
        if fault.damages:
            ran(command, environment, folder)
            for path in (folder / "cache").rglob("*"):
                if path.is_file():
                    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        line = ran(command, environment, folder)
        return shortened(line.replace(name, "FOLDER").replace(str(icd.parent), "FOLDER"))


def ran(command: list[str], environment: dict[str, str], folder: Path) -> str:
    """The last line that a program prints, or how else it ends."""
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return f"HANGS for more than {SECONDS} s"
    if done.returncode < 0:
        return f"THE PROCESS DIES of signal {-done.returncode}"
    if done.returncode > 0:
        return f"RAISES {(done.stderr.strip().splitlines() or ['nothing'])[-1]}"
    return done.stdout.strip().splitlines()[-1]


def shortened(text: str, most: int = 300) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "/").replace("<", "").replace(">", "")
    return text if len(text) <= most else f"{text[:most].rsplit(' ', 1)[0]} ..."


_ERROR = re.compile(r"(\w+Error): (.*)")


def page(titles: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """The text of docs/reliability.md: of each fault, what happened with the driver of each title."""
    lines = [f"| fault | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    messages = []
    for fault, row in rows.items():
        cells = [_ERROR.sub(r"`\1`", cell) for cell in row]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
        told = [(title, _ERROR.search(cell)) for title, cell in zip(titles, row, strict=True)]
        messages += [f"{fault[0].upper()}{fault[1:]} ({title}):\n\n> {error[0]}\n" for title, error in told if error][
            :1
        ]
    system = f"{platform.system()} {platform.machine()}"
    return _PAGE.format(system=system, table="\n".join(lines), messages="\n".join(messages))


def tried_on_all_drivers() -> tuple[list[str], dict[str, list[str]]]:
    """The titles of the drivers present, and what each fault does with each of them."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        present = list(drivers(Path(folder)))
        for fault in FAULTS:
            rows[fault.title] = [happens(fault, icd, variables) for _, icd, variables in present]
            print(fault.title, *rows[fault.title], sep="\n  ", flush=True)
    return [title for title, _, _ in present], rows


if __name__ == "__main__":
    if shutil.which("ld") is None:
        sys.exit("without a linker on PATH there is nothing to take away")
    (ROOT / "docs" / "reliability.md").write_text(page(*tried_on_all_drivers()), encoding="utf-8")
