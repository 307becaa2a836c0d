"""The devices that the backend names of the reference interface mean."""

from __future__ import annotations

import numpy as np

from clreduce.call.executor import Executor, one_device, plain_executor
from clreduce.call.several import several_devices
from clreduce.errors import BackendError, DeviceError, OptionError
from clreduce.runtime.budget import bytes_of
from clreduce.runtime.determinism import is_deterministic
from clreduce.runtime.device import Device
from clreduce.runtime.device_report import explain_devices
from clreduce.runtime.devices import chosen_devices, current_device, current_devices, devices

_KIND = {
    "auto": None, "CPU": "cpu", "GPU": "gpu", "GPU_1D": "gpu", "GPU_1D_device": "gpu", "GPU_1D_host": "gpu",
    "GPU_2D": "gpu", "GPU_2D_device": "gpu", "GPU_2D_host": "gpu",
}  # fmt: skip


def executor_for(
    backend: str = "auto",
    device_id: int = -1,
    max_memory: int | str | None = None,
    deterministic: bool | None = None,
) -> Executor:
    """The executor of a call with these options. It uses the devices in use unless the options name a device."""
    if backend == "auto" and device_id == -1 and max_memory is None and deterministic is None:
        chosen = chosen_devices()[0]  # on the path of every call
        if len(chosen) == 1 and not is_deterministic():
            return plain_executor(chosen[0])
    limit, repeatable = checked_limits(max_memory, deterministic)
    if backend == "auto" and device_id == -1:
        chosen = current_devices()
        if len(chosen) > 1:
            return several_devices(chosen, limit, repeatable)
        return one_device(chosen[0], limit, repeatable)
    return one_device(device_for(backend, device_id), limit, repeatable)


def checked_limits(max_memory: int | str | None, deterministic: bool | None) -> tuple[int | None, bool]:
    """The checked options: bytes that a call may take (None: no limit of its own), and whether it is deterministic.

    Raises `OptionError` for anything else.
    """
    limit = None if max_memory is None else bytes_of(max_memory, "max_memory")
    if deterministic is not None and not isinstance(deterministic, (bool, np.bool_)):
        raise OptionError(f"deterministic must be True, False or None; got {deterministic!r}")
    return limit, is_deterministic() if deterministic is None else bool(deterministic)


def kind_of(backend: str, device_id: int) -> str | None:
    """The kind of device that ``backend`` names; None for any kind.

    Raises `BackendError` for an unknown name and `DeviceError` if ``device_id`` is no integer.
    """
    if not isinstance(backend, str) or backend not in _KIND:
        raise BackendError(f"unknown backend {backend!r}; known are {', '.join(_KIND)}")
    if isinstance(device_id, bool) or not hasattr(device_id, "__index__"):
        raise DeviceError(f"device_id must be the number of a device, or -1 for any device; got {device_id!r}")
    return _KIND[backend]


def device_for(backend: str = "auto", device_id: int = -1) -> Device:
    """The device that ``backend`` and ``device_id`` name; the current device by default.

    ``device_id`` counts the devices of that kind (all devices for ``"auto"``) from 0. -1 means the current device if it
    is of that kind, else the first one of that kind.
    """
    if backend == "auto" and device_id == -1:
        return current_device()
    kind = kind_of(backend, device_id)
    if device_id == -1 and current_device().facts.kind == kind:
        return current_device()
    fitting = [device for device in devices() if kind in (None, device.facts.kind)]
    number = max(device_id, 0)
    if device_id < -1 or number >= len(fitting):
        raise DeviceError(
            f"no device fits backend={backend!r}, device_id={device_id!r}. The devices of this machine:\n"
            f"{explain_devices()}"
        )
    return fitting[number]
