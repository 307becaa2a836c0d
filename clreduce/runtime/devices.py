"""The choice of the OpenCL device or devices that a program uses, by selectors.

Importing this module touches no device and does not import pyopencl; the first call of `select` or `current_device`
does both.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

from clreduce.errors import DeviceError, OptionError
from clreduce.runtime.device import Device
from clreduce.runtime.drivers import DRIVER_TITLES
from clreduce.runtime.process import check_process
from clreduce.runtime.survey import devices, passed_over, reason_against

VARIABLE = "CLREDUCE_DEVICE"
"""The environment variable with a selector of the device, used if the program selects none."""
SEVERAL = "CLREDUCE_DEVICES"
"""The environment variable with selectors of several devices, separated by commas. It overrides ``CLREDUCE_DEVICE``."""

Selector = str | int | Device
_innermost: ContextVar[tuple[Device, ...] | None] = ContextVar("clreduce_devices", default=None)
_default: tuple[Device, ...] | None = None
_last_selected: tuple[object, object, tuple[Device, ...]] | None = None  # raw values of the variables, what they select
_KINDS = ("all", "cpu", "gpu")
"""Selectors that select several devices in `select_all`."""

# A look-up of an unset variable in os.environ raises and catches twice, which costs more than the rest of
# current_device(). CPython has the encoded pairs in a plain dict; otherwise we use the public mapping.
_pairs: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_key, _key_of_several = [name if _pairs is os.environ else os.environ.encodekey(name) for name in (VARIABLE, SEVERAL)]


def select(selector: Selector | None = None) -> Device:
    """The device that a selector selects.

    - an int, or digits: index into `devices`;
    - ``"cpu"`` or ``"gpu"``: the first of that kind;
    - any other text, such as ``"pocl 3.1"`` or ``"nvidia"``: the first device whose description contains every word,
      in upper or lower case. The description consists of the names and versions of the platform, the device and the
      driver. A word that is the driver's short name (`DeviceFacts.driver`), or begins its version, counts more than
      other words. A version right after a driver's short name is the version of that driver;
    - a `Device`: itself;
    - None: the selector in the environment variable ``CLREDUCE_DEVICE``, or ``devices()[0]`` if it is unset or blank.

    Raises `DeviceError`, with a list of the devices present, if no device fits, and `OptionError` for any other type.
    """
    check_process()
    if isinstance(selector, Device):
        return _first_usable([selector], repr(selector))
    if selector is None:
        value = os.environ.get(VARIABLE, "")
        if not value.strip():
            return _preferred()
        selector, asker = value, f"the environment variable {VARIABLE}={value}"
    else:
        asker = f"the device selector {selector!r}"
    return _first_usable(_fitting(selector, asker), asker)


def _preferred() -> Device:
    """The first usable device in order of preference. A trial may change that order."""
    while True:
        first = devices()[0]
        if not reason_against(first) and devices()[0] is first:
            return first


def _first_usable(candidates: Sequence[Device], asker: str) -> Device:
    reasons = []
    for device in candidates:
        reason = reason_against(device)
        if not reason:
            return device
        reasons.append(f"\n  {device!r}: {reason}")
    raise DeviceError(f"{asker} names no device that works:{''.join(reasons)}")


def _fitting(selector: str | int, asker: str) -> list[Device]:
    """The devices that fit a selector, the best fit first; raises `DeviceError` if there is none."""
    present = devices()
    if isinstance(selector, str):
        words = selector.lower().split()
    elif isinstance(selector, bool) or not hasattr(selector, "__index__"):
        raise OptionError(
            f"a selector of devices is an index, 'cpu', 'gpu', words of a device's name, or a Device; got {selector!r}"
            f"{_advice(selector)}"
        )
    else:
        words = [str(operator.index(selector))]
    if len(words) == 1 and re.fullmatch(r"-?[0-9]+", words[0]):
        fitting = [device for index, device in enumerate(present) if index == int(words[0])]
    elif words in (["cpu"], ["gpu"]):
        fitting = [device for device in present if device.facts.kind == words[0]]
    else:
        fitting = [device for device in present if words and all(_has_word(device, word) for word in words)]
        # "intel" means Intel's driver if there is one, rather than PoCL on an Intel processor. "3.0" means the driver's
        # version rather than OpenCL's, which almost every platform states.
        versions = [word for word in words if re.fullmatch(r"\d+(\.\d+)+([-+_]\S*)?", word)]
        for name, version in pairwise(words):
            if name in DRIVER_TITLES and version in versions:
                fitting = [device for device in fitting if _is_driver(device, name, version)]
        fitting.sort(
            key=lambda device: (
                device.facts.driver not in words,
                sum(not _begins_with(device.driver_version.lower(), version) for version in versions),
            )
        )
    if not fitting:
        listing = "".join(f"\n  {index}: {device!r}" for index, device in enumerate(present))
        listing += "".join(f"\n  passed over: {line}" for line in passed_over())
        raise DeviceError(
            f"{asker} fits no device; give an index, 'cpu', 'gpu', or words of a device's name. Present:{listing}"
        )
    return fitting


def _advice(selector: object) -> str:
    """The remedy for an object of pyopencl as a selector, for the end of an error."""
    module = sys.modules.get("pyopencl")
    if module is None:
        return ""
    if isinstance(selector, (module.CommandQueue, module.Context)):
        return (
            ". Calls run on a queue of yours if their arrays are there: copy them by pyopencl.array.to_device(queue, x)"
            ". Calls with arrays of NumPy have their own"
        )
    return f"; name it by words: {selector.name.strip()!r}" if isinstance(selector, module.Device) else ""


def _is_driver(device: Device, name: str, version: str) -> bool:
    return device.facts.driver == name and _begins_with(device.driver_version.lower(), version)


def _begins_with(version: str, start: str) -> bool:
    """Whether ``version`` is ``start`` or a patch of it: 3.1+debian begins with 3.1, but 3.10 does not."""
    return re.match(re.escape(start) + r"(?!\d)", version) is not None


def _has_word(device: Device, word: str) -> bool:
    """Whether a word occurs in the description of a device.

    PoCL's version contains build options, such as "None+Asserts". They count as whole words only; else "none" would
    select PoCL.
    """
    words = device.platform_version.lower().split()
    built = [other.strip(",") for other in words if other.endswith(",") or other == words[-1]]
    others = [other for other in words if other.strip(",") not in built or any(map(str.isdigit, other))]
    driver = f"{device.facts.driver} {device.driver_version}"
    text = " ".join((device.platform_name, *others, device.name, driver)).lower()
    return word in text or word.strip(",") in built


def select_all(selectors: Selector | Iterable[Selector] | None = None) -> tuple[Device, ...]:
    """The devices that one or more selectors select: at least one, each once, in the order of the selectors.

    ``"all"`` selects all devices that pass their trial, ``"cpu"`` and ``"gpu"`` all of that kind. Any other selector
    selects one device, as in `select`. None stands for the environment variable ``CLREDUCE_DEVICES``, which has
    selectors separated by commas; if it is unset or blank, the device is ``select(None)``.

    Raises `DeviceError`, with a list of the devices present, if a selector fits no device.
    """
    check_process()
    asker = ""
    if selectors is None:
        value = os.environ.get(SEVERAL, "")
        if not value.strip():
            return (select(None),)
        asker = f"the environment variable {SEVERAL}={value}"
        selectors = [word.strip() for word in value.split(",") if word.strip()]
    elif isinstance(selectors, (str, Device)) or not isinstance(selectors, Iterable):
        selectors = [selectors]
    chosen = [device for selector in selectors for device in _all_of(selector, asker)]
    if not chosen:
        raise DeviceError(f"{asker or 'an empty list'} names no device; give selectors such as 'all', 'gpu' or [0, 1]")
    return tuple(dict.fromkeys(chosen))


def _all_of(selector: Selector, asker: str) -> list[Device]:
    """The devices that one selector selects."""
    asker = asker or f"the device selector {selector!r}"
    kind = selector.strip().lower() if isinstance(selector, str) else ""
    if kind not in _KINDS:
        return [select(selector) if isinstance(selector, Device) else _first_usable(_fitting(selector, asker), asker)]
    candidates = devices() if kind == "all" else _fitting(kind, asker)
    usable = [device for device in candidates if not reason_against(device)]
    return usable or [_first_usable(candidates, asker)]  # raises an error with the reasons


def chosen_devices() -> tuple[tuple[Device, ...], str]:
    """The devices to use now, and the name of the function or variable that chose them. It runs in every call."""
    global _last_selected
    check_process()
    scoped = _innermost.get()
    if scoped is not None:
        return scoped, "use_device" if len(scoped) == 1 else "use_devices"
    if _default is not None:
        return _default, "set_default_device" if len(_default) == 1 else "set_default_devices"
    value, several = _pairs.get(_key), _pairs.get(_key_of_several)
    last = _last_selected  # read once: another thread may replace it
    if last is None or last[0] != value or last[1] != several:
        last = _last_selected = (value, several, select_all(None))
    return last[2], SEVERAL if several else VARIABLE


def chosen_device() -> tuple[Device, str]:
    """The device to use now (the first of several), and the name of the function or variable that chose it."""
    chosen, chooser = chosen_devices()
    return chosen[0], chooser


def current_device() -> Device:
    """The device that kernels run on now; the first if there are several.

    The innermost `use_device` or `use_devices` decides, then `set_default_device` or `set_default_devices`, then the
    current values of the environment variables ``CLREDUCE_DEVICES`` and ``CLREDUCE_DEVICE``, then the order of
    preference.

    Returns
    -------
    Device
        The device, with its name and facts.

    Raises
    ------
    DeviceError
        There is no device, or the process is a child forked after OpenCL was used.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.current_device() in clreduce.devices()
    True
    """
    return chosen_devices()[0][0]


def current_devices() -> tuple[Device, ...]:
    """The devices that share calls now, `current_device` first. Usually there is one.

    Returns
    -------
    tuple of Device
        At least one device.

    Raises
    ------
    DeviceError
        As in `current_device`.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.current_devices()[0] is clreduce.current_device()
    True
    """
    return chosen_devices()[0]


@contextlib.contextmanager
def use_device(selector: str | int | Device | None) -> Iterator[Device]:
    """Run a block on a device: ``with use_device("gpu") as device:``.

    The choice holds for this thread or asynchronous task only; threads that start inside the block do not inherit it.

    Parameters
    ----------
    selector : str, int, Device or None
        An index into `devices`; ``"cpu"`` or ``"gpu"`` for the first of that kind; any other text, such as ``"pocl
        3.1"`` or ``"nvidia"``, for the first device whose names and versions contain each word; a `Device`; or None for
        the default.

    Yields
    ------
    Device
        The device.

    Raises
    ------
    DeviceError
        No device that works fits.

    Examples
    --------
    >>> import clreduce
    >>> with clreduce.use_device(0) as device:
    ...     device is clreduce.current_device()
    True
    """
    token = _innermost.set((select(selector),))
    try:
        yield current_device()
    finally:
        _innermost.reset(token)


@contextlib.contextmanager
def use_devices(selectors: Selector | Iterable[Selector] | None) -> Iterator[tuple[Device, ...]]:
    """Let several devices share the calls of a block: ``with use_devices("gpu"):``.

    The choice holds for this thread or asynchronous task only.

    Parameters
    ----------
    selectors : str, list or None
        ``"all"``, ``"gpu"`` or ``"cpu"``, or a list of selectors of `use_device` such as ``[0, 1]``.

    Yields
    ------
    tuple of Device
        The devices.

    Raises
    ------
    DeviceError
        A selector fits no device that works. In a call: some device lacks float64 that the call needs, or all devices
        have failed.

    Notes
    -----
    The devices share the rows of a result, the indices of a batch, or, if there are few rows, the columns, in
    proportion to their measured speeds. Each row has the bits that its device alone would give, so devices of one kind
    give the results of one device. Solves share each product. Calls of a few milliseconds run on the first device
    alone, as do `tune` and calls with a ``backend``. If a device fails in a call, the others compute its part, with a
    `RuntimeWarning`; it is not used again until `clreduce.clear_caches` is called.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce
    >>> from clreduce.numpy import Genred
    >>> distance = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1)
    >>> with clreduce.use_devices("all") as devices:
    ...     nearest = distance(np.zeros((10, 3)), np.ones((20, 3)))
    >>> nearest.shape
    (10, 1)
    """
    token = _innermost.set(select_all(selectors))
    try:
        yield current_devices()
    finally:
        _innermost.reset(token)


def set_default_device(selector: str | int | Device | None) -> None:
    """Use a device in the whole process, outside blocks of `use_device`.

    Parameters
    ----------
    selector : str, int, Device or None
        As in `use_device`; None restores the default.

    Raises
    ------
    DeviceError
        No device that works fits.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.set_default_device(0)
    >>> clreduce.set_default_device(None)
    """
    global _default
    _default = None if selector is None else (select(selector),)


def set_default_devices(selectors: Selector | Iterable[Selector] | None) -> None:
    """Let devices share the calls of the whole process, outside blocks of `use_devices` and `use_device`.

    Parameters
    ----------
    selectors : str, list or None
        As in `use_devices`; None restores the default.

    Raises
    ------
    DeviceError
        A selector fits no device that works.

    Examples
    --------
    >>> import clreduce
    >>> clreduce.set_default_devices("all")
    >>> clreduce.set_default_devices(None)
    """
    global _default
    _default = None if selectors is None else select_all(selectors)


__all__ = [
    "SEVERAL",
    "VARIABLE",
    "Selector",
    "chosen_device",
    "chosen_devices",
    "current_device",
    "current_devices",
    "devices",
    "passed_over",
    "select",
    "select_all",
    "set_default_device",
    "set_default_devices",
    "use_device",
    "use_devices",
]
