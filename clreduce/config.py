"""Settings of the process: messages, the folder of kept kernels; and whether there is a GPU.

``gpu_available`` says whether some OpenCL device is a GPU or an accelerator; asking lists the devices.

>>> from clreduce import config
>>> config.gpu_available in (True, False)
True
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from clreduce.cache import VARIABLE, cache_folder
from clreduce.errors import DeviceError

_LOGGER = logging.getLogger("clreduce")
_handler: logging.Handler | None = None


def set_verbose(verbose: bool) -> None:
    """Say on stderr, or no longer say, which kernels are being built and how long that takes.

    They are messages of level INFO of the logger ``"clreduce"``, which a program may treat in its own way instead.

    >>> set_verbose(True)
    >>> set_verbose(False)
    """
    global _handler
    if _handler is not None:
        _LOGGER.removeHandler(_handler)
        _handler = None
        _LOGGER.setLevel(logging.NOTSET)
    if verbose:
        _handler = logging.StreamHandler(sys.stderr)
        _handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
        _LOGGER.addHandler(_handler)
        _LOGGER.setLevel(logging.INFO)


def get_build_folder() -> str | None:
    """The folder in which built kernels and tuned schedules are kept; None if they are not.

    >>> usual = get_build_folder()
    >>> set_build_folder("kernels")
    >>> Path(get_build_folder()).name
    'kernels'
    >>> set_build_folder(usual)
    """
    folder = cache_folder()
    return None if folder is None else str(folder)


def set_build_folder(path: str | os.PathLike[str] | None = None) -> None:
    """Keep kernels in another folder, in this process and those that it starts; None means the system's usual one.

    It sets or removes the environment variable ``CLREDUCE_CACHE_FOLDER``. The folder is made when it is needed.
    Kernels in memory stay: see `clreduce.clear_caches`.
    """
    if path is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = str(Path(path).expanduser().absolute())


def __getattr__(name: str) -> Any:
    if name == "gpu_available":
        from clreduce.runtime.devices import devices

        try:
            return any(device.facts.kind == "gpu" for device in devices())
        except DeviceError:
            return False
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
