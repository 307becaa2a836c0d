"""Drivers that pip installed are found without a file made by hand, and the user's own choice is respected."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest
from processes import output_of

from clreduce.runtime import loader

UNCHOSEN: dict[str, str | None] = dict.fromkeys(loader.CHOSEN_BY_USER)
"""Environment variables of a user who names no driver."""


def has_intel() -> bool:
    try:
        return bool(metadata.version("intel-opencl-rt"))
    except metadata.PackageNotFoundError:
        return False


needs_intel = pytest.mark.skipif(not has_intel(), reason="pip has not installed Intel's driver")


@needs_intel
def test_intels_driver_is_found_beside_the_others() -> None:
    source = """
        import os
        import pyopencl
        before = dict(os.environ)
        import clreduce
        print([device.facts.driver for device in clreduce.devices()])
        assert dict(os.environ) == before
    """
    text = output_of(source, **UNCHOSEN)
    assert "'intel'" in text


@needs_intel
def test_what_the_user_names_is_all_there_is(tmp_path: Path) -> None:
    (intel,) = (driver for driver in loader.driver_files() if driver.origin == "pip's intel-opencl-rt")
    icd = tmp_path / "intel.icd"
    icd.write_text(str(intel.path))
    source = "import clreduce; print({device.facts.driver for device in clreduce.devices()})"
    assert output_of(source, **UNCHOSEN | {"OCL_ICD_VENDORS": str(icd)}).strip() == "{'intel'}"
    (tmp_path / "none").mkdir()
    source = "import clreduce; print(clreduce.explain_devices())"
    text = output_of(source, **UNCHOSEN | {"OCL_ICD_VENDORS": str(tmp_path / "none")})
    assert f"OCL_ICD_VENDORS={tmp_path / 'none'}" in text
    assert "names the drivers to load" in text


@needs_intel
def test_platforms_that_others_listed_before_us_are_explained() -> None:
    source = """
        import pyopencl
        try:
            pyopencl.get_platforms()
        except pyopencl.Error:
            pass
        import clreduce
        print(clreduce.explain_devices())
    """
    assert "had listed the OpenCL platforms before clreduce did" in output_of(source, **UNCHOSEN)


def test_libraries_that_icd_files_name(tmp_path: Path) -> None:
    """Of conda's packages: by name or by path; what does not exist, or is no text, is none."""
    vendors, libraries = tmp_path / "vendors", tmp_path / "lib"
    vendors.mkdir()
    libraries.mkdir()
    here, elsewhere = libraries / "libdriver.so", tmp_path / "other.so"
    here.touch()
    elsewhere.touch()
    for name, text in {
        "a": b"libdriver.so\n",
        "b": str(elsewhere).encode(),
        "c": b"/gone.so",
        "d": b"\xff\xfe",
    }.items():
        (vendors / f"{name}.icd").write_bytes(text)
    assert list(loader._libraries_of(vendors, libraries)) == [here, elsewhere]


def test_a_loader_without_pyopencls_patch_gets_the_systems_drivers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "vendors"
    system.mkdir()
    (system / "gpu.icd").write_text("libgpu.so.1\n")
    monkeypatch.setattr(loader, "_SYSTEM_VENDORS", system)
    monkeypatch.setattr(loader, "_variables_of_loader", lambda: frozenset({"OCL_ICD_VENDORS"}))
    monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
    driver = loader.DriverFile(tmp_path / "libcpu.so", "a test")
    with loader._found_by_loader((driver,)):
        folder = Path(os.environ["OCL_ICD_VENDORS"])
        assert sorted(icd.read_text().strip() for icd in folder.iterdir()) == [str(driver.path), "libgpu.so.1"]
    assert "OCL_ICD_VENDORS" not in os.environ
    assert not folder.exists()


def test_khronos_loader_gets_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_variables_of_loader", lambda: frozenset({"OCL_ICD_FILENAMES", "OCL_ICD_VENDORS"}))
    monkeypatch.setenv("OCL_ICD_FILENAMES", "of_the_user.so")
    driver = loader.DriverFile(tmp_path / "libcpu.so", "a test")
    with loader._found_by_loader((driver,)):
        assert os.environ["OCL_ICD_FILENAMES"].split(os.pathsep) == ["of_the_user.so", str(driver.path)]
    assert os.environ["OCL_ICD_FILENAMES"] == "of_the_user.so"


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_a_folder_that_pocl_cannot_write(named: bool, alone: bool) -> None:
    """One that PoCL would choose is replaced; one that the user names is named in the message."""
    source = """
        import clreduce
        print(clreduce.explain_devices())
    """
    icd = Path("/etc/OpenCL/vendors/pocl.icd")
    if "PoCL" not in output_of(source, **UNCHOSEN) or (alone and not icd.exists()):
        pytest.skip("no PoCL here, or none of the system's")
    variables = {"POCL_CACHE_DIR": "/dev/null/cache" if named else None}
    drivers = UNCHOSEN | ({"OCL_ICD_VENDORS": str(icd)} if alone else {})
    text = output_of(source, XDG_CACHE_HOME="/dev/null", HOME="/dev/null", **drivers | variables)
    if named:
        assert "in the folder /dev/null/cache, which cannot be written" in text
    else:
        assert "(PoCL" in text
