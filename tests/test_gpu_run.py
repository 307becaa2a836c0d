"""`benchmarks/gpu_run.py`, made for machines that this one is not: its parts, and a run on a CPU that poses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import gpu_run


def test_drivers_that_the_loader_does_not_know_get_icd_files(tmp_path: Path) -> None:
    library = tmp_path / "lib" / "x86_64-linux-gnu" / gpu_run.DRIVERS["nvidia"]
    library.parent.mkdir(parents=True)
    library.touch()
    libraries = gpu_run.driver_libraries([str(tmp_path / "none"), str(tmp_path)])
    assert libraries == {"nvidia": library}
    vendors = tmp_path / "vendors"
    vendors.mkdir()
    assert set(gpu_run.write_icds(libraries, vendors).values()) == {str(vendors)}
    assert [(file.name, file.read_text().strip()) for file in vendors.iterdir()] == [("nvidia.icd", str(library))]


def results(**changes: Any) -> dict[str, Any]:
    record = {
        "workload": "gaussian-d3", "size": "9 x 9", "dtype": "float32", "engine": "clreduce", "median": 1e-3,
        "pairs": 132 * 128 * 10**6, "error": 1e-7,
    }  # fmt: skip
    every = {
        "device": "H", "date": "2026-01-01", "driver": "nvidia", "functions": ["exp2"], "compute_units": 132,
        "megahertz": 1000, "left_out": {"pykeops-cuda": "no CUDA"}, "posing": False, "tuned": [], "selftest": "passed",
        "records": [record, record | {"engine": "torch-cuda", "median": 4e-3}],
    }  # fmt: skip
    return every | changes


def test_the_report_tells_cycles_ratios_and_what_is_left_out(tmp_path: Path) -> None:
    path = gpu_run.write(results(), tmp_path)
    line = next(line for line in path.read_text().splitlines() if line.startswith("gaussian-d3"))
    # 10^6 cycles of 132 x 128 items in step: one for each pair.
    assert line.split()[5:] == ["1.000", "1.69e+13", "1.0", "1.0e-07", "4.000", "4.00"]
    assert "pykeops-cuda is left out: no CUDA" in path.read_text()
    assert json.loads(path.with_suffix(".json").read_text())["megahertz"] == 1000


def test_an_engine_that_fails_is_a_line_of_the_report() -> None:
    failed = results()["records"][0] | {"reason": "failed: out of memory"}
    del failed["median"]
    assert "failed: out of memory" in gpu_run.report(results(records=[failed]))


def test_a_cpu_poses_as_a_gpu(tmp_path: Path) -> None:
    """With its schedules; in a process of its own, as the script runs it."""
    path = tmp_path / "results.json"
    command = [sys.executable, gpu_run.__file__, "--pose", "--only", "tiny", "--tune"]
    done = subprocess.run([*command, "--child", str(path)], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    measured = json.loads(path.read_text())
    assert [record["dtype"] for record in measured["records"] if "median" in record][:1] == ["float32"]
    assert all(record["error"] < 1e-5 for record in measured["records"] if record["engine"] == "clreduce")
    assert "posing as a GPU" in gpu_run.report(measured)
