"""Settings of the process: messages and the cache folder; and whether there is a GPU.

``gpu_available`` says whether some OpenCL device is a GPU or an accelerator. Its first use lists the devices. In a
process that was forked after OpenCL was used, it raises `DeviceError`, as every use of a device does.

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
from clreduce.runtime.devices import devices as _devices
from clreduce.runtime.process import check_process as _check_process

LEVEL_VARIABLE = "CLREDUCE_LOG"
"""The environment variable with the lowest level of messages that are shown, read when clreduce is imported."""
_LOGGER = logging.getLogger("clreduce")
_shown_from: int | None = None


class _OnStderr(logging.Handler):
    """Writes messages to stderr, unless a handler of the user's program takes them."""

    def emit(self, record: logging.LogRecord) -> None:
        others = [handler for handler in _LOGGER.handlers if handler is not self]
        others += logging.root.handlers if _LOGGER.propagate else []
        if sys.stderr is not None and not any(record.levelno >= handler.level for handler in others):
            try:
                print(self.format(record), file=sys.stderr)
            except Exception:  # like handlers of `logging`: a message must not cause an error in the program
                self.handleError(record)


_HANDLER = _OnStderr()
_HANDLER.setFormatter(logging.Formatter("[%(name)s] %(message)s"))


def _show_from(level: int | None) -> None:
    """Show messages of ``level`` and above; None restores the logger to its original state."""
    global _shown_from
    if level == _shown_from:
        return
    if level is None:
        _LOGGER.removeHandler(_HANDLER)
        _LOGGER.setLevel(logging.NOTSET)
    else:
        _LOGGER.addHandler(_HANDLER)
        _LOGGER.setLevel(level)
    _shown_from = level


def _level_of_environment() -> int | None:
    """The level in ``CLREDUCE_LOG``; None if it is unset or blank, or, with a warning, if it is no level."""
    name = os.environ.get(LEVEL_VARIABLE, "").strip()
    if not name:
        return None
    level = logging.getLevelName(name.upper())
    if isinstance(level, int):
        return level or None
    _LOGGER.warning(
        "%s=%s names no level of messages: give debug, info, warning, error or critical. Nothing more is shown.",
        LEVEL_VARIABLE,
        name,
    )
    return None


_LEVEL_OF_ENVIRONMENT = _level_of_environment()
_show_from(_LEVEL_OF_ENVIRONMENT)


def set_verbose(verbose: bool) -> None:
    """Write messages about kernels that are being built to stderr, or stop doing so.

    Parameters
    ----------
    verbose : bool
        Whether messages are shown.

    Notes
    -----
    The messages have level INFO and go to the logger ``"clreduce"``. If the program has handlers for them (those of the
    root logger count), these get the messages, and nothing is written to stderr. ``CLREDUCE_LOG=debug`` in the
    environment shows more: devices, schedules, and each launch of a kernel.

    Examples
    --------
    >>> set_verbose(True)
    >>> set_verbose(False)
    """
    levels = [_LEVEL_OF_ENVIRONMENT] if _LEVEL_OF_ENVIRONMENT is not None else []
    levels += [logging.INFO] if verbose else []
    _show_from(min(levels, default=None))


def get_build_folder() -> str | None:
    """The folder that holds built kernels and tuned schedules.

    Returns
    -------
    str or None
        Its path; None if nothing is kept on disk.

    Examples
    --------
    >>> usual = get_build_folder()
    >>> set_build_folder("kernels")
    >>> Path(get_build_folder()).name
    'kernels'
    >>> set_build_folder(usual)
    """
    folder = cache_folder()
    return None if folder is None else str(folder)


def set_build_folder(path: str | os.PathLike[str] | None = None) -> None:
    """Keep built kernels in another folder, in this process and in those that it starts.

    Parameters
    ----------
    path : str, path or None, optional
        The folder, which is made when it is needed; None for the usual one of the system.

    Notes
    -----
    The function sets or removes the environment variable ``CLREDUCE_CACHE_FOLDER``. Kernels in memory stay; see
    `clreduce.clear_caches`.

    Examples
    --------
    >>> usual = get_build_folder()
    >>> set_build_folder("kernels")
    >>> set_build_folder(usual)
    """
    if path is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = str(Path(path).expanduser().absolute())


def __getattr__(name: str) -> Any:
    if name == "gpu_available":
        _check_process()  # in a forked child, the answer would be a wrong no
        try:
            return any(device.facts.kind == "gpu" for device in _devices())
        except DeviceError:
            return False
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
