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
from typing import Any

import numpy as np
import pytest

import clreduce
import clreduce.numpy
from clreduce.cache import VARIABLE
from clreduce.compat import stand_in
from clreduce.errors import DeviceError, DtypeError, FormulaError, StandInError
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
        value = getattr(module, public)
        for each in value.values() if isinstance(value, dict) else [value]:
            assert each.__module__.partition(".")[0] == "clreduce"
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
    with pytest.raises(DeviceError, match="no device fits"):
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

    from clreduce.runtime.plan_cache import PLANS

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


@pytest.mark.usefixtures("installed")
def test_switches_are_accepted_and_kept() -> None:
    import keopscore
    import keopscore.config.chunks
    import pykeops

    for module, name, value in (
        (keopscore, "auto_factorize", True), (keopscore, "debug_ops", True), (keopscore, "cuda_block_size", 64),
        (keopscore.config.chunks, "enable_chunk", False), (keopscore.config.chunks, "dimchunk", 32),
        (keopscore.config.config, "use_OpenMP", False), (pykeops.config, "disable_pragma_unrolls", False),
    ):  # fmt: skip
        assert getattr(module, name) != value
        setattr(module, name, value)
        assert getattr(module, name) == value
    with pytest.raises(AttributeError, match="has no setting 'auto_factorise'; it has auto_factorize, "):
        keopscore.auto_factorise = False


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_kernels_of_utils(dtype: str) -> None:
    from pykeops.numpy import utils

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)).astype(dtype), rng.normal(size=(4, 3)).astype(dtype)
    distances, s, h = ((x[:, None].astype(float) - y) ** 2).sum(-1), 1.7, 1e-6
    np.testing.assert_allclose(utils.squared_distances(x, y), distances, rtol=1e-5)
    np.testing.assert_array_equal(utils.differences(x, y), np.moveaxis(x[:, None] - y[None], -1, 0))
    values = {
        "gaussian": lambda d: np.exp(-d / s**2), "laplacian": lambda d: np.exp(-np.sqrt(d) / s),
        "cauchy": lambda d: 1 / (1 + d / s**2), "inverse_multiquadric": lambda d: 1 / np.sqrt(1 + d / s**2),
    }  # fmt: skip
    for name, value in values.items():
        np.testing.assert_allclose(utils.np_kernel(x, y, s, name), value(distances), rtol=1e-5)
        np.testing.assert_allclose(utils.log_np_kernel(x, y, s, name), np.log(value(distances)), rtol=1e-4)
        slope = (value(distances + h) - value(distances - h)) / (2 * h)
        found = utils.grad_np_kernel(x, y, s, name)
        np.testing.assert_allclose(found, slope, rtol=1e-4)
        q, p = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
        expected = np.einsum("id,ijk,ij,jd->ik", q, 2 * (x[:, None] - y), found, p)
        np.testing.assert_allclose(utils.chain_rules(q, x, y, found, p), expected, rtol=1e-3, atol=1e-5)
        if HAS_TORCH:
            import pykeops.torch.utils
            import torch

            tensors = torch.from_numpy(x), torch.from_numpy(y)
            found = pykeops.torch.utils.torch_kernel(*tensors, s=s, kernel=name)
            np.testing.assert_allclose(found, value(distances), rtol=1e-5)
            assert not pykeops.torch.utils.is_on_device(tensors[0])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert np.allclose(np.diag(utils.np_kernel_sphere(unit, unit, s, "gaussian_oriented")), 1)
    assert np.allclose(utils.np_kernel_sphere(unit, unit, s, "binet"), (unit @ unit.T) ** 2)
    table = np.array([[1000.0, 1000.0], [-1000.0, 0.0]])
    assert np.allclose(utils.log_sum_exp(table, 1), [1000 + np.log(2), 0])
    with pytest.raises(ValueError, match=r"unknown kernel 'gauss'; did you mean 'gaussian'.*; known are gaussian"):
        utils.np_kernel(x, y, s, "gauss")
    with pytest.raises(ValueError, match="unknown kernel"):
        utils.np_kernel_sphere(x, y, s, "gauss")


@pytest.mark.usefixtures("installed")
def test_common_modules_say_what_is_true_here(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    from pykeops.common import get_options, gpu_utils, parse_type, utils

    assert (utils.axis2cat(0), utils.cat2axis(1)) == (1, 0)
    for call in (utils.axis2cat, utils.cat2axis, utils.get_tools):
        with pytest.raises(ValueError, match="2"):
            call(2)
    assert utils.check_broadcasting((2, 1), (3,)) == (2, 3)
    assert utils.check_broadcasting(None, (3,)) == (3,)
    with pytest.raises(ValueError, match="do not broadcast"):
        utils.check_broadcasting((2,), (3,))
    assert parse_type.get_type("x = Vi(3)", 1) == ("x", 0, 3, 1)
    assert parse_type.get_type("Pm(2, 5)") == (None, 2, 5, 2)
    assert parse_type.get_type("Var(3,2,1)") == (None, 1, 2, 3)
    assert parse_type.get_sizes(["Vi(3)", "Vj(2)", "Pm(1)"], np.ones((7, 3)), np.ones((9, 2)), np.ones(1)) == (7, 9)
    assert parse_type.complete_aliases("Var(2,1,0) * x + Var(1, 3, 1)", ["x = Vi(3)"]) == [
        "x = Vi(3)", "Var(1,3,1)", "Var(2,1,0)",
    ]  # fmt: skip
    gpus = [one for one in devices() if one.facts.kind == "gpu"]
    assert gpu_utils.get_gpu_number() == len(gpus)
    assert get_options.get_tag_backend("auto", []) == (int(current_device().facts.kind == "gpu"), 0, 0)
    with pytest.raises(ValueError, match="unknown backend 'cuda'"):
        get_options.get_tag_backend("cuda", [])
    utils.WarmUpGpu("numpy")
    tools = utils.get_tools("numpy")
    assert tools.dtypename(tools.dtype(tools.zeros((2, 2), "float32"))) == "float32"
    assert tools.view(tools.eye(2), (4,)).tolist() == [1, 0, 0, 1]


def _bound(formula: str, aliases: list[str], lang: str = "numpy", dtype: str = "float64", **flags: object) -> Any:
    from pykeops.common.keops_io import keops_binder

    on_gpu = int(current_device().facts.kind == "gpu")
    binder = keops_binder["nvrtc" if on_gpu else "cpp"]
    return binder(on_gpu, 0, 0, False, -1, formula, aliases, len(aliases), dtype, lang, flags).import_module()


@pytest.mark.usefixtures("installed", "device", "plain_kernels")
def test_binders_compute_what_kernels_of_pykeops_give() -> None:
    from pykeops.common.parse_type import complete_aliases, get_optional_flags
    from pykeops.common.utils import axis2cat

    rng = np.random.default_rng(0)
    x, y, b = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 7, 3)), rng.normal(size=(2, 7, 2))
    distances = ((x[:, :, None] - y[:, None]) ** 2).sum(-1)
    order = distances.argsort(2)[..., :4]
    nearest = np.take_along_axis(distances, order, 2)
    kernel = np.exp(-distances)
    aliases = complete_aliases("Var(1, 3, 1)", ["x = Vi(3)"])
    F, B = "SqDist(x, Var(1,3,1))", "Var(2,2,1)"
    largest = distances.max(2)
    shifted = np.exp(distances - largest[..., None])
    cases = {
        f"Sum_Reduction(Exp(-{F})*{B},{axis2cat(1)})": np.einsum("bij,bjd->bid", kernel, b),
        f"Sum_Reduction(Exp(-{F})*{B},{axis2cat(0)})": kernel.sum(1)[..., None] * b,
        f"ArgMin_Reduction({F}+0*Sum({B}),0)": distances.argmin(2)[..., None],
        f"Min_ArgMin_Reduction({F}+0*{B},0)": np.stack([distances.min(2)] * 2 + [distances.argmin(2)] * 2, -1),
        f"KMin_Reduction({F}+0*Sum({B}),4,0)": nearest,
        f"KMin_ArgKMin_Reduction({F}+0*Sum({B}),4,0)": np.stack([nearest, order], -1).reshape(2, 5, 8),
        f"KMin_ArgKMin_Reduction({F}+0*{B},4,0)": np.stack(
            [nearest, nearest, order, order], -1
        ).reshape(2, 5, 16),
        f"Max_SumShiftExpWeight_Reduction({F},0,{B})": np.concatenate(
            [largest[..., None], np.einsum("bij,bjd->bid", shifted, b)], -1
        ),
    }  # fmt: skip
    for formula, expected in cases.items():
        name = formula.partition("_Reduction")[0]
        flags = get_optional_flags(name, "auto", False, "auto", True, True)
        routine = _bound(formula, [*aliases, B], **flags, multVar_highdim=0)
        assert (routine.dimout, routine.tagIJ) == (expected.shape[-1], int(expected.shape[1] == 7))
        found = routine.genred_numpy("cpu", None, 5, 7, 1, None, x, y, b)
        assert found.dtype == "float64"
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        out = np.empty(expected.shape)
        assert routine.genred_numpy("cpu", None, 5, 7, 1, out, x, y, b) is out
        np.testing.assert_array_equal(out, found)
        if HAS_TORCH:
            import torch

            tensors = [torch.from_numpy(array) for array in (x, y, b)]
            routine = _bound(formula, [*aliases, B], "torch", **flags)
            result = routine.genred_pytorch(torch.device("cpu"), None, 5, 7, 1, None, *tensors)
            np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.usefixtures("installed", "device", "plain_kernels")
def test_binders_take_options_and_refuse_what_they_cannot_read() -> None:
    from pykeops.common.keops_io import keops_binder

    from clreduce.runtime.plan_cache import PLANS

    x, y = np.zeros((1, 1), np.float32), np.array([[1], [1e-9], [-1]], np.float32)
    routine = _bound("Sum_Reduction(x + y,0)", ["x = Vi(1)", "y = Vj(1)"], dtype="float32", dtype_acc="float64")
    np.testing.assert_allclose(routine.genred(None, None, 1, 3, 0, None, x, y), [[1e-9]], rtol=1e-6)
    with pytest.raises(DtypeError, match="for arrays of float32; got an array of float64"):
        routine.genred(None, None, 1, 1, 0, None, x.astype(float), x.astype(float))
    for formula in (
        "Sum(x, 0)",
        "Sum_Reduction(x)",
        "Sum_Reduction(x,2)",
        "KMin_Reduction(x,-1,0)",
        "Sum_Reduction(x,0",
    ):
        with pytest.raises(FormulaError, match="a binder takes a text 'NAME_Reduction"):
            _bound(formula, ["x = Vi(1)"])
    with pytest.raises(FormulaError, match="'numpy' or 'torch'; got 'jax'"):
        _bound("Sum_Reduction(x,0)", ["x = Vi(1)"], "jax")
    keops_binder["cpp"].reset(new_save_folder=None)
    assert len(PLANS) == 0


@pytest.mark.usefixtures("installed")
def test_optional_flags() -> None:
    from pykeops.common.parse_type import get_optional_flags

    plain = {"dtype_acc": "auto", "use_fast_math": 1, "enable_chunks": 1}
    assert get_optional_flags("Sum", "auto", False, "auto", True, True) == {**plain, "sum_scheme": "block_sum"}
    assert get_optional_flags("KMin_ArgKMin") == {**plain, "sum_scheme": "direct_sum"}
    assert get_optional_flags("Max_SumShiftExpWeight", use_double_acc=True, enable_chunks=False) == {
        "dtype_acc": "float64", "use_fast_math": 1, "enable_chunks": 0, "sum_scheme": "block_sum",
    }  # fmt: skip
    for options in ({"use_double_acc": True}, {"sum_scheme": "block_sum"}, {"sum_scheme": "pairwise"}):
        with pytest.raises(ValueError, match=r"that adds up|sum_scheme must be one of"):
            get_optional_flags("ArgMin", **options)


@pytest.mark.usefixtures("installed")
def test_clients_tell_lazy_tensors_by_their_mark() -> None:
    from pykeops.numpy import Vi

    assert hasattr(Vi(np.ones((2, 1))), "__GenericLazyTensor__")
    assert not hasattr(np.ones(2), "__GenericLazyTensor__")


def test_an_unknown_backend_is_a_value_error() -> None:
    routine = clreduce.numpy.Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], axis=1)
    with pytest.raises(ValueError, match="unknown backend 'cuda'; known are auto"):
        routine(np.ones((1, 1)), np.ones((1, 1)), backend="cuda")
