"""Traps of OpenCL installations: each is recognised where it is, not where it is not, and comes with a cure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import clreduce
from clreduce.health import machine, traps
from clreduce.health.traps import Problem, Scene, problems


def cpu(driver: str = "pocl", index: int = 0, units: int = 1) -> dict:
    """A device of a report, as far as traps read it."""
    return {
        "index": index, "driver": driver, "kind": "cpu", "name": "Processor", "platform": driver, "vendor": "",
        "facts": {"compute_units": units},
    }  # fmt: skip


def scene(tmp_path: Path, **parts) -> Scene:
    return Scene(**{"devices": [cpu()], "chosen": {"index": 0, "reason": ""}, "root": tmp_path, **parts})


def found(scene: Scene, name: str) -> Problem | None:
    """The problem of that name, or None."""
    named = [problem for problem in problems(scene) if problem.name == name]
    assert len(named) <= 1
    assert all(problem.what and problem.cure for problem in named)
    return named[0] if named else None


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """Nothing is wrong but what a test does."""
    for name in ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH", "OMP_WAIT_POLICY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path / "pocl"))
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path / "clreduce"))
    monkeypatch.setattr(traps.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(traps, "version_of", lambda name: None if name == "torch" else "1.0")


def test_nothing_is_wrong_on_a_good_machine(tmp_path):
    assert problems(scene(tmp_path)) == []


def test_errors_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(traps.shutil, "which", lambda name: None)
    severities = [p.severity for p in problems(scene(tmp_path, devices=[], passed_over=["rusticl: has no device"]))]
    assert severities == sorted(severities, key=["error", "warning", "hint"].index)
    assert severities[0] == "error"
    assert severities[-1] == "hint"


def test_pyopencl_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(traps, "version_of", lambda name: None)
    assert "pip install" in found(scene(tmp_path, devices=[]), "pyopencl").cure


def test_no_linker_for_pocl(tmp_path, monkeypatch):
    monkeypatch.setattr(traps.shutil, "which", lambda name: None)
    assert found(scene(tmp_path), "linker").severity == "warning"
    passed_over = ["<Device 'x' (PoCL 3.1, cpu, 2 units)>: it failed"]
    assert found(scene(tmp_path, devices=[], passed_over=passed_over), "linker").severity == "error"
    assert found(scene(tmp_path, devices=[cpu("intel")]), "linker") is None


def test_a_variable_that_hides_drivers(tmp_path, monkeypatch):
    vendors = tmp_path / "etc/OpenCL/vendors"
    vendors.mkdir(parents=True)
    (vendors / "pocl.icd").write_text("libpocl.so\n")
    (vendors / "nvidia.icd").write_text("libnvidia-opencl.so.1\n")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(vendors))
    assert found(scene(tmp_path), "vendors") is None
    monkeypatch.setenv("OCL_ICD_VENDORS", str(vendors / "pocl.icd"))
    problem = found(scene(tmp_path), "vendors")
    assert "nvidia.icd" in problem.what
    assert "vendors/pocl.icd." not in problem.what
    assert problem.severity == "hint"
    assert found(scene(tmp_path, devices=[]), "vendors").severity == "error"


def test_a_variable_that_names_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path / "such.icd"))
    assert "such.icd" in found(scene(tmp_path), "vendors_missing").what


def test_the_chosen_device_is_not_there(tmp_path):
    chosen = {"index": None, "reason": "CLREDUCE_DEVICE=x fits no device"}
    problem = found(scene(tmp_path, chosen=chosen), "device_choice")
    assert "fits no device" in problem.what


def test_rusticl_without_its_variable(tmp_path):
    assert "RUSTICL_ENABLE" in found(scene(tmp_path, passed_over=["rusticl: has no device"]), "rusticl").cure


def add_gpu(root: Path, vendor: str, kind: str = "0x030000") -> None:
    folder = root / "sys/bus/pci/devices/0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


@pytest.mark.parametrize(
    ("vendor", "title", "package"),
    [("0x10de", "NVIDIA", "nvidia-opencl-icd"), ("0x1002", "AMD", "rocm"), ("0x8086", "Intel", "intel-opencl-icd")],
)
def test_a_gpu_without_a_driver(tmp_path, vendor, title, package):
    assert found(scene(tmp_path), "gpu_without_driver") is None
    add_gpu(tmp_path, vendor, "0x030200")
    problem = found(scene(tmp_path), "gpu_without_driver")
    assert f"GPU of {title}" in problem.what
    assert package in problem.cure
    gpu = cpu("x", 1) | {"kind": "gpu", "platform": f"{title} platform"}
    assert found(scene(tmp_path, devices=[cpu(), gpu]), "gpu_without_driver") is None
    assert found(scene(tmp_path, passed_over=[f"{title}: it lied"]), "gpu_without_driver") is None


def test_other_pci_devices_are_no_gpus(tmp_path):
    add_gpu(tmp_path, "0x8086", "0x020000")  # a network card
    assert found(scene(tmp_path), "gpu_without_driver") is None


def test_a_container_that_was_not_given_its_gpu(tmp_path):
    add_gpu(tmp_path, "0x10de")
    assert "--gpus all" in found(scene(tmp_path), "gpu_without_driver").cure
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert "--gpus all" not in found(scene(tmp_path), "gpu_without_driver").cure
    library = tmp_path / "usr/lib/x86_64-linux-gnu/libnvidia-opencl.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    assert "echo libnvidia-opencl.so.1 >" in found(scene(tmp_path), "gpu_without_driver").cure


def test_a_gpu_that_this_user_may_not_open(tmp_path, monkeypatch):
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()
    assert found(scene(tmp_path), "gpu_permission") is None
    monkeypatch.setattr(traps.os, "access", lambda path, mode: "renderD" not in str(path))
    assert "render,video" in found(scene(tmp_path), "gpu_permission").cure


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("POCL_CACHE_DIR", "/dev/null/pocl")
    assert "the folder of POCL_CACHE_DIR" in found(scene(tmp_path), "pocl_cache").what
    assert found(scene(tmp_path, devices=[cpu("intel")]), "pocl_cache") is None
    monkeypatch.delenv("POCL_CACHE_DIR")
    monkeypatch.setenv("HOME", "/dev/null/home")
    assert "temporary folder" in found(scene(tmp_path), "pocl_cache").what
    assert "/dev/null/home" in found(scene(tmp_path), "home").what
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "/dev/null/clreduce")
    assert "builds its kernels anew" in found(scene(tmp_path), "cache_folder").what
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "")
    assert found(scene(tmp_path), "cache_folder") is None


def test_more_threads_than_a_container_may_use(tmp_path):
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text("max 100000\n")
    assert machine.processor_quota(folder) is None
    assert found(scene(tmp_path, devices=[cpu(units=1)]), "cpu_quota") is None
    (folder / "cpu.max").write_text("150000 100000\n")
    assert machine.processor_quota(folder) == 1.5
    problem = found(scene(tmp_path, devices=[cpu(units=64)]), "cpu_quota")
    assert "64 threads" in problem.what
    assert "POCL_MAX_PTHREAD_COUNT=1" in problem.cure


def test_threads_of_pytorch(tmp_path, monkeypatch):
    monkeypatch.setattr(traps, "version_of", lambda name: "1.0")
    assert "PASSIVE" in found(scene(tmp_path), "omp_wait_policy").cure
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert found(scene(tmp_path), "omp_wait_policy") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_health_in_a_forked_child_says_that_it_is_one():
    code = """if True:
        import io, os, clreduce
        clreduce.devices()
        child = os.fork()
        if child == 0:
            page = io.StringIO()
            clreduce.check_health(page)
            os._exit("error: This process was forked" not in page.getvalue())
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(clreduce.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=120).returncode == 0
