"""The OpenCL device, or the several ones, that a program uses; and what a selector of devices means.

Importing this module touches no device and does not import pyopencl; the first call of `select` or `current_device`
does both.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
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
"""Environment variable with the selector of the device to use when the program names none."""
SEVERAL = "CLREDUCE_DEVICES"
"""Environment variable with the selectors of several devices, separated by commas; it comes before the other one."""

Selector = str | int | Device
_innermost: ContextVar[tuple[Device, ...] | None] = ContextVar("clreduce_devices", default=None)
_default: tuple[Device, ...] | None = None
_last_selected: tuple[object, object, tuple[Device, ...]] | None = None  # raw values of the variables, what they select
_KINDS = ("all", "cpu", "gpu")
"""Selectors that name many devices where several are asked for."""

# Looking up an unset variable in os.environ costs more than all the rest of current_device(), for it raises and
# catches twice. CPython keeps the encoded pairs in a plain dict; elsewhere the public mapping serves.
_pairs: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_key, _key_of_several = [name if _pairs is os.environ else os.environ.encodekey(name) for name in (VARIABLE, SEVERAL)]


def select(selector: Selector | None = None) -> Device:
    """The device that a selector names.

    - an int, or digits: index into `devices`;
    - ``"cpu"`` or ``"gpu"``: the first of that kind;
    - any other text: the first device of which every word occurs, in any case, in its platform's name and
      version, its own name, or its driver's name and version: ``"pocl 3.1"``, ``"nvidia"``. A word that is the
      driver's short name (`DeviceFacts.driver`), or begins its version, counts more than one that occurs elsewhere, and
      a version right after a driver's short name means that driver's;
    - a `Device`: itself;
    - None: what the environment variable ``CLREDUCE_DEVICE`` selects, or ``devices()[0]`` if unset or blank.

    `DeviceError`, with a list of the devices present, if nothing fits; `OptionError` for any other type.
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
    """The first device in order of preference, which a trial may change."""
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
    """The devices that a selector names, the one that it names best first; `DeviceError` if there is none."""
    present = devices()
    if isinstance(selector, str):
        words = selector.lower().split()
    elif isinstance(selector, bool) or not hasattr(selector, "__index__"):
        raise OptionError(
            f"a selector of devices is an index, 'cpu', 'gpu', words of a device's name, or a Device; got {selector!r}"
        )
    else:
        words = [str(operator.index(selector))]
    if len(words) == 1 and re.fullmatch(r"-?[0-9]+", words[0]):
        fitting = [device for index, device in enumerate(present) if index == int(words[0])]
    elif words in (["cpu"], ["gpu"]):
        fitting = [device for device in present if device.facts.kind == words[0]]
    else:
        fitting = [device for device in present if words and all(_has_word(device, word) for word in words)]
        # "intel" means Intel's driver where there is one, not PoCL's on a processor with Intel in its name. "3.0" means
        # the driver's version, not that of OpenCL which almost every platform names.
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


def _is_driver(device: Device, name: str, version: str) -> bool:
    return device.facts.driver == name and _begins_with(device.driver_version.lower(), version)


def _begins_with(version: str, start: str) -> bool:
    """Whether a version is the given one or one of its patches: 3.1+debian begins with 3.1, 3.10 does not."""
    return re.match(re.escape(start) + r"(?!\d)", version) is not None


def _has_word(device: Device, word: str) -> bool:
    """Whether a word occurs in what a device says of itself.

    PoCL also says how it was built, as in "None+Asserts": such a word counts as a whole only, or "none" would be PoCL.
    """
    words = device.platform_version.lower().split()
    built = [other.strip(",") for other in words if other.endswith(",") or other == words[-1]]
    others = [other for other in words if other.strip(",") not in built or any(map(str.isdigit, other))]
    driver = f"{device.facts.driver} {device.driver_version}"
    text = " ".join((device.platform_name, *others, device.name, driver)).lower()
    return word in text or word.strip(",") in built


def select_all(selectors: Selector | Iterable[Selector] | None = None) -> tuple[Device, ...]:
    """The devices that selectors name, each once and in this order, one at least.

    ``"all"``, ``"cpu"`` and ``"gpu"`` name all devices, or all of that kind, that pass their trial; any other selector
    names one, as in `select`. None: what the environment variable ``CLREDUCE_DEVICES`` names, selectors separated by
    commas; where that is unset or blank, the device that `select` gives for None.

    `DeviceError`, with a list of the devices present, where a selector fits none.
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
    """The devices that one of several selectors names."""
    asker = asker or f"the device selector {selector!r}"
    kind = selector.strip().lower() if isinstance(selector, str) else ""
    if kind not in _KINDS:
        return [select(selector) if isinstance(selector, Device) else _first_usable(_fitting(selector, asker), asker)]
    candidates = devices() if kind == "all" else _fitting(kind, asker)
    usable = [device for device in candidates if not reason_against(device)]
    return usable or [_first_usable(candidates, asker)]  # which says why none is


def chosen_devices() -> tuple[tuple[Device, ...], str]:
    """The devices to use now, and what chose them; on the path of every kernel call, so no work for the words here."""
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
    """The device to use now, the first of several, and what chose it."""
    chosen, chooser = chosen_devices()
    return chosen[0], chooser


def current_device() -> Device:
    """The device that kernels run on now; the first of several.

    That of the innermost `use_device` or `use_devices`, else of `set_default_device` or `set_default_devices`, else of
    the environment variables ``CLREDUCE_DEVICES`` and ``CLREDUCE_DEVICE`` (their values at this moment), else the first
    in order of preference. `DeviceError` if there is none, or in a child forked after OpenCL was used.
    """
    return chosen_devices()[0][0]


def current_devices() -> tuple[Device, ...]:
    """The devices that share calls now, `current_device` first; often it is the only one.

    >>> import clreduce
    >>> clreduce.current_devices()[0] is clreduce.current_device()
    True
    """
    return chosen_devices()[0]


@contextlib.contextmanager
def use_device(selector: str | int | Device | None) -> Iterator[Device]:
    """``with use_device("gpu") as device:`` runs the block on that device; selectors are those of `select`.

    Holds for this thread or asynchronous task only: a thread started inside the block begins without it.
    """
    token = _innermost.set((select(selector),))
    try:
        yield current_device()
    finally:
        _innermost.reset(token)


@contextlib.contextmanager
def use_devices(selectors: Selector | Iterable[Selector] | None) -> Iterator[tuple[Device, ...]]:
    """``with use_devices("gpu"):`` lets all GPUs share the calls of the block.

    ``selectors``: ``"all"``, ``"gpu"`` or ``"cpu"``, or a list of selectors as `use_device` takes them, such as
    ``[0, 1]``. Holds for this thread or asynchronous task only.

    Rows of a result, indices of a batch, or columns where rows are few, are shared by the speed that each device shows.
    A row has the bits that its device alone would give it: with devices of one kind, results are those of one device.
    Solves share each product. Calls of a few milliseconds run on the first device alone, as do `tune` and calls that
    name a ``backend``. A device that fails in a call leaves its part to the others, with a `RuntimeWarning`, and is not
    asked again until `clreduce.clear_caches` is called.

    >>> import numpy as np
    >>> import clreduce
    >>> from clreduce.numpy import Genred
    >>> distance = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1)
    >>> with clreduce.use_devices("all") as devices:
    ...     nearest = distance(np.zeros((10, 3)), np.ones((20, 3)))
    >>> nearest.shape
    (10, 1)

    Raises
    ------
    DeviceError
        A selector fits no device that works. In a call: float64 is asked for, and a device has none; or all devices
        have failed.
    """
    token = _innermost.set(select_all(selectors))
    try:
        yield current_devices()
    finally:
        _innermost.reset(token)


def set_default_device(selector: str | int | Device | None) -> None:
    """Use a device in the whole process, wherever no `use_device` says otherwise; None takes the default back."""
    global _default
    _default = None if selector is None else (select(selector),)


def set_default_devices(selectors: Selector | Iterable[Selector] | None) -> None:
    """Let devices share the calls of the whole process, wherever no `use_devices` or `use_device` says otherwise.

    ``selectors`` are those of `use_devices`; None takes the default back.

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
