"""Arrays of libraries that have no front end of their own: told by the array API standard, and read by the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from clreduce.errors import DeviceError
from clreduce.typing import Array
from clreduce.warning import warn

if TYPE_CHECKING:
    from typing_extensions import CapsuleType

_HOST = (1, 3)
"""The numbers of the host's memory, and of memory that CUDA shares with it, among the devices of DLPack."""
_staged: set[tuple[str, str]] = set()


class DLPackArray(Protocol):
    """An array of a library that lends its memory by DLPack."""

    def __dlpack__(self, *, stream: None = None) -> CapsuleType: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


def has_dlpack(value: object) -> TypeGuard[DLPackArray]:
    """Whether the library of ``value`` lends its memory by DLPack."""
    return hasattr(value, "__dlpack_device__")


def is_foreign(value: object) -> bool:
    """Whether ``value`` is an array of a library without a front end of its own."""
    kind = type(value)
    if isinstance(value, (np.ndarray, np.generic)) or kind.__name__.endswith("Tracer"):
        return False
    follows = hasattr(kind, "__array_namespace__") and hasattr(kind, "__dlpack__")
    return follows or hasattr(kind, "__cuda_array_interface__")


def to_host(value: object) -> Array:
    """A NumPy array of the values: of the array's own memory if the host can read it, else a copy, with one warning.

    Raises `DeviceError` if the library gives no copy.
    """
    if has_dlpack(value) and value.__dlpack_device__()[0] in _HOST:
        try:
            return np.from_dlpack(value)
        except (TypeError, ValueError, RuntimeError, BufferError):  # a device that only looks like the host
            pass
    kind = type(value)
    library, device = kind.__module__.partition(".")[0], str(getattr(value, "device", "a GPU"))
    array = _copied(value)
    if (library, device) not in _staged:
        _staged.add((library, device))
        warn(
            f"arrays of {library} on {device} are copied to the host for clreduce, and results back to {device}: each "
            f"call moves all its arguments",
            UserWarning,
        )
    return array


def _copied(value: Any) -> Array:
    for name in ("get", "copy_to_host"):  # of CuPy; of Numba
        method = getattr(value, name, None)
        if callable(method):
            return np.asarray(method())
    try:
        library = value.__array_namespace__()
        default = library.__array_namespace_info__().default_device()
        return np.from_dlpack(value.to_device("cpu" if default is None else default))
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError) as error:
        raise DeviceError(
            f"a {type(value).__name__} on {getattr(value, 'device', 'a device')} cannot be copied to the host's memory "
            f"({error}): copy it there first"
        ) from None
