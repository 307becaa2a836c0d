"""No kernel accesses memory outside of its buffers, reads what nobody wrote, or has a race: Oclgrind watches.

Programs of every template run in a process of their own, on that simulator of an OpenCL device. It reports on the
standard error, and its exit status says nothing. Where it is missing the tests are skipped with the reason, unless
``CLREDUCE_REQUIRE_OCLGRIND`` is set: then they fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from template_cases import CASES

DRIVER = Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so")
CHECKS = ("OCLGRIND_CHECK_API", "OCLGRIND_DATA_RACES", "OCLGRIND_UNINITIALIZED")
ROOT = Path(__file__).resolve().parents[1]
OPTIONAL_PROPERTY = (
    r"Oclgrind - OpenCL runtime error detected\s+Function: clGetDeviceInfo\s+Error: +CL_INVALID_VALUE\s+.*"
)
"""Drivers may refuse a question about a device that OpenCL 1.2 does not know."""


def on_oclgrind(tmp_path: Path, *command: str, checks: tuple[str, ...] = CHECKS) -> tuple[str, str]:
    """What a Python process prints with that driver alone, and what the driver reports."""
    if not DRIVER.exists() or shutil.which("oclgrind") is None:
        missing = f"Oclgrind is missing: no {DRIVER}, or no 'oclgrind' on PATH (Debian, Ubuntu: apt install oclgrind)"
        if os.environ.get("CLREDUCE_REQUIRE_OCLGRIND"):
            pytest.fail(missing)
        pytest.skip(missing)
    icd = tmp_path / "oclgrind.icd"
    icd.write_text(str(DRIVER), encoding="utf-8")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"OCL_ICD_VENDORS": str(icd), "PYTHONPATH": paths, "CLREDUCE_CACHE_FOLDER": "", "PYOPENCL_NO_CACHE": "1"}
    environment = {**os.environ, **own, **dict.fromkeys(checks, "1")}
    environment.pop("CLREDUCE_DEVICE", None)
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    reports = re.sub(OPTIONAL_PROPERTY, "", done.stderr).strip()
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{reports}"
    return done.stdout, reports


@pytest.mark.parametrize(
    ("dtype", "schedule"),
    [("float32", "direct"), ("float32", "split"), ("float32", "local"), ("float32", "local split"),
     ("float32", "gpu"),
     ("float64", "split"), ("float64", "gpu")],
)  # fmt: skip
def test_every_template(dtype: str, schedule: str, tmp_path: Path) -> None:
    out, reports = on_oclgrind(tmp_path, str(ROOT / "tests" / "oclgrind_programs.py"), dtype, schedule)
    assert f"{len(CASES)} programs ran" in out
    assert not reports, f"{out.splitlines()[-1]}\n{reports}"


def test_work_groups_of_conjugate_gradients(tmp_path: Path) -> None:
    """The layout for GPUs, with 16 items in a group that has several turns."""
    code = """if True:
        from dataclasses import replace
        import numpy as np, pyopencl as cl, pyopencl.array
        from clreduce.runtime import descent
        layout_of = descent.layout_of
        descent.layout_of = lambda facts, *rest: layout_of(replace(facts, kind="gpu", max_group=16), *rest)
        import clreduce, clreduce.cl
        context = cl.Context([clreduce.current_device().cl_device])
        queue = cl.CommandQueue(context)
        x = np.linspace(0, 3, 20).astype("f4")[:, None]
        coupled = "Concat(2 * Elem(b, 0) + Elem(b, 1), Elem(b, 0) + 2 * Elem(b, 1))"
        for columns, right in ((1, "b"), (4, "b"), (2, coupled)):
            aliases = ["x = Vi(1)", "y = Vj(1)", f"b = Vj({columns})"]
            solve = clreduce.cl.KernelSolve(f"Exp(-SqDist(x, y)) * {right}", aliases, "b", axis=1)
            b = np.cos(x * np.arange(1, columns + 1)).astype("f4")
            arrays = [cl.array.to_device(queue, np.ascontiguousarray(array)) for array in (x, x, b)]
            print(solve(*arrays, alpha=2.0, eps=1e-2, info=True, preconditioner="diagonal")[1].converged)
    """
    # The plugin for uninitialized values ends at an instruction that it does not know, LLVM's "freeze".
    out, reports = on_oclgrind(tmp_path, "-W", "ignore", "-c", code, checks=CHECKS[:2])
    assert out.split() == ["True"] * 3
    assert not reports, reports[:2000]


@pytest.mark.parametrize(("kernel", "size", "report"), [
    ("a[get_global_id(0)] = 1;", 3, "Invalid write of size 4"),
    ("int i = get_local_id(0); __local int l[4]; l[i] = 1; a[i] = l[3 - i];", 4, "race"),
    ("int l[2]; l[0] = 1; if (l[a[0]]) a[0] = 1; ", 4, "Uninitialized"),
])  # fmt: skip
def test_faults_are_reported(kernel: str, size: int, report: str, tmp_path: Path) -> None:
    """What the other test does not find would be found."""
    code = f"""if True:
        import numpy as np, pyopencl as cl
        context = cl.Context(cl.get_platforms()[0].get_devices())
        queue = cl.CommandQueue(context)
        program = cl.Program(context, "__kernel void f(__global int *a) {{ {kernel} }}").build(["-cl-opt-disable"])
        buffer = cl.Buffer(context, cl.mem_flags.COPY_HOST_PTR, hostbuf=np.ones({size}, np.int32))
        cl.Kernel(program, "f")(queue, (4,), (4,), buffer)
        queue.finish()
    """
    _, reports = on_oclgrind(tmp_path, "-c", code)
    assert report.lower() in reports.lower(), reports
