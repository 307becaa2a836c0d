"""A stand-in for pykeops: while it is installed, packages that import pykeops get clreduce instead.

It provides the modules of pykeops and keopscore that other packages import, and fills them with the names of clreduce.
A module is made when it is imported. So only programs that import ``pykeops.torch`` need PyTorch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from clreduce.call.backend import device_for
from clreduce.errors import DeviceError, StandInError
from clreduce.runtime.devices import current_device, set_default_device

_PACKAGES = ("pykeops", "keopscore")
_VERSION = "2.3"
"""The version whose names and behaviour the stand-in has."""
_GENERIC = "generic_argkmin generic_argmin generic_logsumexp generic_sum"
_LAZY = "ComplexLazyTensor LazyTensor Pm Vi Vj"
_CLUSTER = "cluster_centroids cluster_ranges cluster_ranges_centroids from_matrix grid_cluster sort_clusters swap_axes"
_UTILS = "clreduce.compat.stand_in_utils"
_BINDER = "clreduce.compat.binder"
_NUMPY_UTILS = (
    "IsGpuAvailable chain_rules differences grad_np_kernel log_np_kernel log_sum_exp np_kernel np_kernel_sphere "
    "numpytools squared_distances"
)
_COMMON_UTILS = (
    "axis2cat cat2axis check_broadcasting get_tools max_tuple pyKeOps_Message pyKeOps_Print pyKeOps_Warning "
    "warm_up:WarmUpGpu"
)
_FOLDER = "get_build_folder set_build_folder"
_HERE = __name__


def _bindings(library: str) -> dict[str, dict[str, str]]:
    """The modules of one array library."""
    ours, theirs = f"clreduce.{library}", f"pykeops.{library}"
    return {
        theirs: {ours: f"{_LAZY} {_GENERIC} Genred KernelSolve"},
        f"{theirs}.cluster": {f"{ours}.cluster": _CLUSTER},
        f"{theirs}.generic": {},
        f"{theirs}.generic.generic_ops": {ours: _GENERIC},
        f"{theirs}.generic.generic_red": {ours: "Genred"},
        f"{theirs}.lazytensor": {},
        f"{theirs}.lazytensor.LazyTensor": {ours: _LAZY},
        f"{theirs}.operations": {ours: "KernelSolve"},
        f"{theirs}.test_install": {"clreduce.health": f"test_{library}_bindings"},
    }


# Modules of clreduce are named here and imported on demand: most of them lie above this module.
_MODULES: dict[str, dict[str, str]] = {
    "pykeops": {
        "clreduce.config": f"{_FOLDER} set_verbose",
        "clreduce.health": "check_health test_numpy_bindings test_torch_bindings",
        _HERE: "clean_pykeops",
    },
    "pykeops.config": {"clreduce.config": _FOLDER},
    "pykeops.common": {},
    "pykeops.common.lazy_tensor": {
        "clreduce.lazy.tensor": "LazyTensor:GenericLazyTensor",
        "clreduce.lazy.complex": "ComplexMethods:ComplexGenericLazyTensor",
    },
    **_bindings("numpy"),
    "pykeops.common.utils": {_UTILS: _COMMON_UTILS},
    "pykeops.common.parse_type": {_UTILS: "complete_aliases get_sizes get_type", _BINDER: "get_optional_flags"},
    "pykeops.common.keops_io": {_BINDER: "keops_binder"},
    "pykeops.common.get_options": {_UTILS: "get_tag_backend"},
    "pykeops.common.gpu_utils": {_UTILS: "get_gpu_number"},
    "pykeops.numpy.utils": {_UTILS: f"{_NUMPY_UTILS} warm_up:WarmUpGpu"},
    "pykeops.torch.utils": {_UTILS: "is_on_device np_kernel:torch_kernel squared_distances torchtools"},
    **_bindings("torch"),
    "keopscore": {
        "clreduce.config": "set_build_folder",
        "clreduce.health": "check_health",
        _HERE: "clean_pykeops:clean_keops",
    },
    "keopscore.config": {},
    "keopscore.config.config": {"clreduce.config": _FOLDER},
    "keopscore.config.chunks": {},
}
"""The names that each module of the stand-in takes from modules of clreduce, as ``name`` or ``ours:theirs``."""


class _Module(ModuleType):
    """A module of the stand-in. Its submodules are attributes, even before a program imports them."""

    def __getattr__(self, name: str) -> Any:
        own = self.__name__
        if f"{own}.{name}" in _MODULES and _present(f"{own}.{name}"):
            return importlib.import_module(f"{own}.{name}")
        raise AttributeError(
            f"module {own!r} is clreduce's stand-in for the module of pykeops, and has no {name!r}; it has "
            + ", ".join(dir(self))
        )

    def __dir__(self) -> list[str]:
        names = {name for name in (*vars(self), *dir(type(self))) if not name.startswith("_")}
        below = [module.rpartition(".") for module in _MODULES if _present(module)]
        return sorted(names | {last for above, _, last in below if above == self.__name__})


_SWITCHES = {
    "keopscore": {
        "auto_factorize": False, "debug_ops": False, "debug_ops_at_exec": False, "show_cuda_status": False,
        "cuda_block_size": 192,
    },
    "keopscore.config.chunks": {
        "enable_chunk": True, "dimchunk": 64, "dim_treshold_chunk": 146, "enable_final_chunk": True,
        "dimfinalchunk": 64, "mult_var_highdim": False,
    },
    **{
        module: {"disable_pragma_unrolls": True, "cuda_block_size": 192, "use_OpenMP": True}
        for module in ("pykeops.config", "keopscore.config", "keopscore.config.config")
    },
}  # fmt: skip
"""Settings of pykeops' code generator, with its defaults. A program may set and read them; they change no result, in
pykeops as in clreduce."""


def _settings_of(module: _Module) -> set[str]:
    """The names of the settings of a module."""
    kind = type(module)
    written = {name for name in dir(kind) if getattr(getattr(kind, name), "fset", None) is not None}
    return written.union(_SWITCHES.get(module.__name__, ()))


class _Settings(_Module):
    """Modules with settings that a program may set. An unknown setting raises `AttributeError`."""

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__name__
        known = name.startswith("__") or name in dir(type(self)) or name in vars(self) or f"{own}.{name}" in _MODULES
        if not (known or name in _SWITCHES.get(own, ())):
            raise AttributeError(
                f"module {own!r} is clreduce's stand-in for the module of pykeops, and has no setting {name!r}; it "
                f"has {', '.join(sorted(_settings_of(self)))}"
            )
        super().__setattr__(name, value)

    @property
    def verbose(self) -> bool:
        return logging.getLogger("clreduce").isEnabledFor(logging.INFO)

    @verbose.setter
    def verbose(self, verbose: bool) -> None:
        _ours("clreduce.config").set_verbose(bool(verbose))


class _Devices(_Settings):
    """Settings of devices: whether a GPU exists, and whether calls without ``backend`` run on a GPU."""

    @property
    def gpu_available(self) -> bool:
        return bool(_ours("clreduce.config").gpu_available)

    @property
    def numpy_found(self) -> bool:
        return True

    @property
    def torch_found(self) -> bool:
        return _has_torch()

    @property
    def cuda_config(self) -> _Devices:
        return self

    pykeops_cuda = cuda_config

    @property
    def use_cuda(self) -> bool:
        return self.get_use_cuda()

    @use_cuda.setter
    def use_cuda(self, wanted: bool) -> None:
        kind = "gpu" if wanted else "cpu"
        if current_device().facts.kind != kind:
            set_default_device(kind)

    def get_use_cuda(self) -> bool:
        try:
            return current_device().facts.kind == "gpu"
        except DeviceError:
            return False


class _Numbered(_Settings):
    """The package pykeops, whose setting ``default_device_id`` is the GPU of calls that name no device."""

    @property
    def default_device_id(self) -> int:
        return int(vars(self).get("_default_device_id", 0))

    @default_device_id.setter
    def default_device_id(self, number: int) -> None:
        set_default_device(device_for("GPU", number))
        vars(self)["_default_device_id"] = number


_KINDS: dict[str, type[_Module]] = {
    "pykeops": _Numbered, "keopscore": _Settings, "pykeops.config": _Devices, "keopscore.config": _Devices,
    "keopscore.config.config": _Devices, "keopscore.config.chunks": _Settings,
}  # fmt: skip


def _ours(name: str) -> Any:
    return importlib.import_module(name)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _present(name: str) -> bool:
    """Whether the stand-in has this module. The modules for PyTorch exist only where PyTorch is installed."""
    return name in _MODULES and (not name.startswith("pykeops.torch") or _has_torch())


def clean_pykeops(recompile_jit_binaries: bool = True) -> None:
    """Forget all built kernels, in memory and on disk. The argument changes nothing: there are no other binaries."""
    _ours("clreduce").clear_caches()


class _Distribution(importlib.metadata.Distribution):
    """The metadata of pykeops and keopscore, which ``importlib.metadata`` reads."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {_VERSION}\nSummary: clreduce's stand-in\n"

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path(__file__).parent / path


class StandIn:
    """The installed stand-in. The end of a ``with`` block removes it, as `undo` does.

    The object is also the finder and the loader of the modules, for Python's import system.
    """

    def __init__(self) -> None:
        self._installed = False

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<clreduce's stand-in for pykeops {_VERSION}, {'installed' if self._installed else 'not installed'}>"

    def undo(self) -> None:
        """Remove the stand-in if this object installed it. Modules that were imported before keep working."""
        if self._installed:
            self._installed = False
            sys.meta_path.remove(self)
            for name, module in list(sys.modules.items()):
                if isinstance(module, _Module):
                    del sys.modules[name]

    def _install(self) -> None:
        present = [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]
        foreign = [name for name in present if not isinstance(sys.modules[name], _Module)]
        if foreign:
            raise StandInError(
                f"{foreign[0]} is imported already, from {getattr(sys.modules[foreign[0]], '__file__', 'elsewhere')}: "
                "call install_as_pykeops() first in the program, before anything imports pykeops"
            )
        sys.meta_path.insert(0, self)
        self._installed = True

    # ---------------------------------------------------------------------------- methods for the import system

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in _PACKAGES or not _present(name):
            return None
        is_package = any(other.startswith(f"{name}.") for other in _MODULES)
        spec = ModuleSpec(name, self, origin=__file__, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True  # so that errors of an import name this file
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _KINDS.get(spec.name, _Module)(spec.name, "clreduce's stand-in for the module of pykeops.")

    def exec_module(self, module: ModuleType) -> None:
        for source, names in _MODULES[module.__name__].items():
            ours = _ours(source)
            for name, _, theirs in (written.partition(":") for written in names.split()):
                vars(module)[theirs or name] = getattr(ours, name)
        if module.__name__ in _PACKAGES:
            vars(module)["__version__"] = _VERSION
        vars(module)["__all__"] = [name for name in vars(module) if not name.startswith("_")]
        vars(module).update(_SWITCHES.get(module.__name__, {}))

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context
    ) -> Iterator[importlib.metadata.Distribution]:
        if context.name in _PACKAGES:
            yield _Distribution(context.name)

    def invalidate_caches(self) -> None:
        """Do nothing: the finder keeps no cache."""


def install_as_pykeops() -> StandIn:
    """Make every later ``import pykeops`` of this process import clreduce, in all packages.

    Returns
    -------
    StandIn
        Its method ``undo()`` removes the stand-in, and so does the end of a ``with`` block. While the stand-in is
        installed, a second call and its ``undo()`` change nothing.

    Raises
    ------
    StandInError
        pykeops or keopscore is imported already.

    Examples
    --------
    >>> from clreduce.numpy import install_as_pykeops
    >>> with install_as_pykeops():
    ...     import pykeops
    ...     from pykeops.numpy import LazyTensor
    >>> LazyTensor
    <class 'clreduce.numpy.LazyTensor'>
    >>> pykeops.__version__
    '2.3'
    """
    handle = StandIn()
    if not any(isinstance(finder, StandIn) for finder in sys.meta_path):
        handle._install()
    return handle
