"""The stand-in for pykeops: what import statements find while it is installed, and that it leaves nothing behind."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import clreduce
import clreduce.numpy
from clreduce.cache import VARIABLE
from clreduce.errors import DeviceError, StandInError
from clreduce.frontends import stand_in
from clreduce.numpy import install_as_pykeops
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device, devices, set_default_device

HAS_TORCH = importlib.util.find_spec("torch") is not None
REAL = importlib.util.find_spec("pykeops") is not None
MODULES = [name for name in stand_in._MODULES if HAS_TORCH or not name.startswith("pykeops.torch")]


@pytest.fixture
def installed() -> Iterator[stand_in.StandIn]:
    with install_as_pykeops() as handle:
        yield handle


def in_child(code: str) -> str:
    """What a fresh interpreter prints; it must not fail."""
    environment = {**os.environ, "PYTHONPATH": str(Path(clreduce.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------------ imports


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_found_and_imported(name: str) -> None:
    found = importlib.util.find_spec(name)
    module = importlib.import_module(name)
    assert found is not None
    assert found == importlib.util.find_spec(name) == module.__spec__
    assert module.__name__ == name
    assert Path(module.__file__).name == "stand_in.py"
    for public in module.__all__:
        assert getattr(module, public).__module__.partition(".")[0] == "clreduce"
        assert public in dir(module)


@pytest.mark.usefixtures("installed")
def test_import_statements() -> None:
    names: dict[str, object] = {}
    for line in (
        "import pykeops",
        "import pykeops.numpy as pknp",
        "from pykeops.numpy import *",
        "from pykeops.numpy.cluster import grid_cluster, from_matrix",
        "from pykeops.numpy.generic.generic_red import Genred as InFull",
        "from pykeops.numpy.lazytensor.LazyTensor import LazyTensor as Lazy",
        "from pykeops.common.lazy_tensor import GenericLazyTensor, ComplexGenericLazyTensor",
        "import keopscore.config.config",
        "from pykeops import config",
    ):
        exec(line, names)
    ours = clreduce.numpy
    assert names["pknp"].LazyTensor is names["LazyTensor"] is names["Lazy"] is ours.LazyTensor
    assert names["Genred"] is names["InFull"] is ours.Genred
    assert names["from_matrix"] == ours.cluster.from_matrix
    assert issubclass(ours.LazyTensor, names["GenericLazyTensor"])
    assert issubclass(ours.ComplexLazyTensor, names["ComplexGenericLazyTensor"])
    assert not issubclass(ours.LazyTensor, names["ComplexGenericLazyTensor"])
    assert names["pykeops"].config is names["config"]


@pytest.mark.usefixtures("installed")
def test_submodules_need_no_import_of_their_own() -> None:
    import pykeops

    assert pykeops.numpy.cluster.sort_clusters == clreduce.numpy.cluster.sort_clusters
    assert pykeops.config.numpy_found
    assert pykeops.config.torch_found == HAS_TORCH == hasattr(pykeops, "torch")


@pytest.mark.usefixtures("installed")
def test_versions() -> None:
    import keopscore
    import pykeops

    for package in (pykeops, keopscore):
        assert package.__version__ == importlib.metadata.version(package.__name__) == "2.3"
    assert importlib.metadata.metadata("pykeops")["Summary"] == "clreduce's stand-in"
    assert not importlib.metadata.files("pykeops")
    listed = {one.metadata["Name"] for one in importlib.metadata.distributions()}
    assert ("pykeops" in listed) == REAL  # only who asks by name is told


@pytest.mark.usefixtures("installed")
def test_what_is_missing_says_so() -> None:
    import pykeops.numpy

    with pytest.raises(
        AttributeError, match=r"'pykeops.numpy' is clreduce's stand-in .* no 'Kernel'; it has Complex.*Vj"
    ):
        _ = pykeops.numpy.Kernel
    with pytest.raises(ImportError, match=r"cannot import name 'Kernel' from 'pykeops.numpy' \(.*stand_in.py\)"):
        from pykeops.numpy import Kernel  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"pykeops.numpy.convolutions"):
        importlib.import_module("pykeops.numpy.convolutions")
    assert importlib.util.find_spec("pykeops.tensorflow") is None
    assert importlib.util.find_spec("pykeopsx") is None
    assert [found.name for found in pkgutil.iter_modules(pykeops.__path__)] == []


# ----------------------------------------------------------------------------------------- installing and taking away


def test_it_leaves_nothing_behind() -> None:
    finders, modules = list(sys.meta_path), set(sys.modules)
    handle = install_as_pykeops()
    import pykeops.numpy

    kept = pykeops.numpy.LazyTensor
    again = install_as_pykeops()
    assert "not installed" in repr(again)
    again.undo()
    assert importlib.import_module("pykeops") is pykeops  # the first call installed it: it stays
    handle.undo()
    handle.undo()
    assert sys.meta_path == finders
    assert [name for name in set(sys.modules) - modules if name.partition(".")[0] in ("pykeops", "keopscore")] == []
    np.testing.assert_array_equal(kept(np.ones((2, 1, 1))).sum(axis=0), [[2]])  # what was imported keeps working
    assert kept is pickle.loads(pickle.dumps(kept))


def test_undone_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), install_as_pykeops():
        _ = 1 / 0
    assert not any(isinstance(finder, stand_in.StandIn) for finder in sys.meta_path)


@pytest.mark.parametrize("name", ["pykeops", "keopscore", "pykeops.torch"])
def test_refused_beside_what_is_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with pytest.raises(StandInError, match=rf"^{name} is imported already, from .*: call install_as_pykeops\(\) first"):
        install_as_pykeops()
    assert not any(isinstance(finder, stand_in.StandIn) for finder in sys.meta_path)


def test_import_loads_no_torch() -> None:
    code = "import clreduce.numpy as c, sys; c.install_as_pykeops(); import pykeops.numpy, keopscore.config.config;"
    assert in_child(code + "print('torch' in sys.modules, pykeops.config.torch_found)") == f"False {HAS_TORCH}\n"


@pytest.mark.skipif(not REAL, reason="pykeops is not installed")
def test_the_real_package_is_passed_over_and_comes_back() -> None:
    code = """if True:
        import clreduce.numpy, importlib.metadata, importlib.util, sys
        with clreduce.numpy.install_as_pykeops():
            import pykeops
            assert "clreduce" in pykeops.__file__ and importlib.metadata.version("pykeops") == "2.3"
        assert "clreduce" not in importlib.util.find_spec("pykeops").origin
        import keopscore.config  # the real one, without which no kernel is built
        try:
            clreduce.numpy.install_as_pykeops()
        except clreduce.StandInError as error:
            print(str(error).partition(" is ")[0])
    """
    assert in_child(code).splitlines()[-1].startswith("keopscore")


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.fixture
def default_device() -> Iterator[None]:
    yield
    set_default_device(None)


@pytest.mark.usefixtures("installed", "default_device")
def test_use_cuda_chooses_the_kind_of_device() -> None:
    import keopscore
    import pykeops

    kinds = {device.facts.kind for device in devices()}
    config = keopscore.config.config
    assert pykeops.config.gpu_available == ("gpu" in kinds)
    assert config.use_cuda == config.get_use_cuda() == (current_device().facts.kind == "gpu")
    assert config.use_cuda == pykeops.config.pykeops_cuda.get_use_cuda() == keopscore.config.cuda_config.get_use_cuda()
    for wanted, kind in ((False, "cpu"), (True, "gpu")):
        if kind in kinds:
            config.use_cuda = wanted
            assert current_device().facts.kind == kind
            assert config.use_cuda is wanted
        else:
            with pytest.raises(DeviceError, match=f"'{kind}' fits no device"):
                config.use_cuda = wanted


@pytest.mark.usefixtures("installed", "default_device")
def test_default_device_id() -> None:
    import pykeops

    assert pykeops.default_device_id == 0
    gpus = [device for device in devices() if device.facts.kind == "gpu"]
    with pytest.raises(DeviceError, match="there are"):
        pykeops.default_device_id = len(gpus)
    if gpus:
        pykeops.default_device_id = len(gpus) - 1
        assert current_device() is gpus[-1]
        assert pykeops.default_device_id == len(gpus) - 1


@pytest.mark.usefixtures("installed")
def test_settings_work_or_are_refused() -> None:
    import keopscore
    import pykeops

    logger = logging.getLogger("clreduce")
    for module in (pykeops, keopscore, pykeops.config):
        module.verbose = True
        assert logger.isEnabledFor(logging.INFO)
        assert keopscore.verbose
        pykeops.set_verbose(False)
        assert not module.verbose
    for module, name in ((pykeops.config, "build_type"), (keopscore.config.config, "gpu_available")):
        with pytest.raises(AttributeError):
            setattr(module, name, True)
    usual = pykeops.get_build_folder()
    pykeops.set_build_folder("kernels")
    assert Path(keopscore.config.config.get_build_folder()).name == Path(clreduce.get_build_folder()).name == "kernels"
    pykeops.set_build_folder(usual)
    assert pykeops.get_build_folder() == usual


@pytest.mark.usefixtures("installed")
def test_functions(
    device: Device, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keopscore
    import pykeops.numpy.utils

    from clreduce.runtime.plan import PLANS

    monkeypatch.setenv(VARIABLE, str(tmp_path))  # clean_pykeops empties it
    pykeops.clean_pykeops()
    assert len(PLANS) == 0
    pykeops.numpy.utils.WarmUpGpu()
    assert len(PLANS) > 0
    keopscore.clean_keops()
    pykeops.clean_pykeops(recompile_jit_binaries=False)
    assert len(PLANS) == 0
    pykeops.test_numpy_bindings()
    assert capsys.readouterr().out == "clreduce with numpy bindings is working!\n"
    if HAS_TORCH:
        pykeops.test_torch_bindings()
        assert capsys.readouterr().out == "clreduce with torch bindings is working!\n"
    pykeops.check_health()
    assert "clreduce" in capsys.readouterr().out
