"""PyTorch's tensors: on the CPU in their own memory, on other devices through the host.

Between arguments and results stand tensors; `clreduce.torch.autograd` runs what is computed from them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import reduce
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn import Parameter

from clreduce.adapters import torch_standins as standins
from clreduce.adapters.adapter import Adapter
from clreduce.adapters.numpy import NUMPY, is_symbolic
from clreduce.errors import DeviceError, DtypeError
from clreduce.typing import Array
from clreduce.warning import warn

DTYPES = {
    name: getattr(torch, name)
    for name in ("float16", "bfloat16", "float32", "float64", "int64")
}  # fmt: skip
_PLAIN = (Tensor, Parameter)
transforms_active = torch._C._are_functorch_transforms_active


class Torch(Adapter[torch.Tensor, torch.Tensor]):
    """The adapter of PyTorch."""

    name = "torch"

    def __init__(self) -> None:
        self._names: dict[torch.dtype, str] = {}
        self._staged: set[str] = set()

    def accepts(self, value: object) -> TypeGuard[torch.Tensor]:
        """Whether ``value`` is a tensor, parameters of modules included."""
        return isinstance(value, torch.Tensor)

    def foreign(self, value: object) -> torch.Tensor | None:
        """NumPy arrays and everything that NumPy's front end reads, without a copy if PyTorch accepts their memory."""
        if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack_device__"):
            try:
                return torch.utils.dlpack.from_dlpack(value)
            except (TypeError, ValueError, RuntimeError, BufferError):
                return None
        array = value if NUMPY.accepts(value) else NUMPY.foreign(value)
        return None if array is None else _tensor_of(array)

    def advice(self, value: object) -> str:
        if is_symbolic(value) or isinstance(value, np.ma.MaskedArray) or type(value).__name__.endswith("Tracer"):
            return NUMPY.advice(value)
        if hasattr(value, "to_numpy"):
            return ", with columns that are no numbers; write torch.as_tensor(x[columns].to_numpy(float))"
        return "; write torch.as_tensor(x)" if isinstance(value, (list, tuple)) else ""

    def to_host(self, value: torch.Tensor) -> Array:
        """The values; without a copy for a contiguous tensor on the CPU."""
        host = self.on_host(value)
        return host if host.flags.c_contiguous else np.ascontiguousarray(host)

    def on_host(self, value: torch.Tensor) -> Array:
        """The values of a tensor as a NumPy array, with the strides of the tensor."""
        if transforms_active():
            with torch._C._DisableFuncTorch():
                return self._values(standins.unwrapped(value))
        return self._values(value)

    def _values(self, value: torch.Tensor) -> Array:
        if not value.is_cpu:
            self._look_at(value)
        if value.dtype is torch.bfloat16:
            value = value.float()
        (values,) = _numbers((value,))
        return values

    def all_on_host(self, arrays: Sequence[torch.Tensor]) -> list[Array]:
        """The values of tensors between arguments and results, all on one device. Kernels make them contiguous."""
        if not arrays or transforms_active() or not arrays[0].is_cpu:
            return list(map(self.on_host, arrays))
        return _numbers(arrays)

    def from_host(self, array: Array, like: torch.Tensor | None) -> torch.Tensor:
        (tensor,) = self.all_from_host((array,), like)
        return tensor

    def all_from_host(self, arrays: Iterable[Array], like: torch.Tensor | None) -> list[torch.Tensor]:
        """Tensors of several arrays."""
        tensors = list(map(torch.from_numpy, arrays))
        return tensors if like is None or like.is_cpu else [tensor.to(like.device) for tensor in tensors]

    def shape(self, value: torch.Tensor) -> tuple[int, ...]:
        standins.refuse_tracing()
        try:
            return tuple(value.shape)
        except RuntimeError:  # a nested one
            raise DtypeError(f"a {value.layout} tensor has no plain shape: pass its parts one by one") from None

    def dtype(self, name: str) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, name)
        return dtype

    def dtype_name(self, value: torch.Tensor) -> str:
        dtype = value.dtype
        name = self._names.get(dtype)
        if name is None:
            name = self._names[dtype] = str(dtype).removeprefix("torch.")
        return name if value.layout is torch.strided else f"{value.layout} of {name}"

    def place(self, value: torch.Tensor | None) -> torch.device | None:
        return None if value is None else value.device

    def promoted(self, names: Iterable[str]) -> str:
        """The dtype to which PyTorch promotes tensors: its default for integers, and float64 for plain numbers."""
        names = sorted(names)
        if not names:
            return "float64"
        try:
            dtype = reduce(torch.promote_types, (getattr(torch, name) for name in names))
        except RuntimeError:
            raise DtypeError(
                f"tensors of {', '.join(names)} have no dtype in common: convert them to one dtype"
            ) from None
        return str(dtype if dtype.is_floating_point else torch.get_default_dtype()).removeprefix("torch.")

    def copy_into(self, out: torch.Tensor, result: torch.Tensor | Array) -> torch.Tensor:
        if isinstance(result, torch.Tensor):
            return out.copy_(result)
        if np.may_share_memory(self.to_host(out), result):
            increment_version(out)
            return out
        return out.copy_(torch.from_numpy(result))

    def overlap(self, out: torch.Tensor, other: torch.Tensor) -> bool:
        return np.may_share_memory(self.to_host(out), self.on_host(other))

    def writable(self, out: torch.Tensor) -> bool:
        spread = all(stride or size < 2 for stride, size in zip(out.stride(), out.shape, strict=True))
        return spread or out.numel() == 0

    def forms(self, arguments: Sequence[object]) -> tuple[Hashable, ...] | None:
        forms: list[Hashable] = [torch.get_default_dtype()]
        for value in arguments:
            if (
                (type(value) is not Tensor and type(value) is not Parameter)
                or not value.is_cpu
                or value.layout is not torch.strided
                or value.is_nested
            ):
                return None
            forms += value.shape, value.dtype
        return tuple(forms)

    def arranged(self, value: torch.Tensor, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
        if value.is_complex():
            value = torch.view_as_real(value.resolve_conj())
        elif value.dtype is DTYPES[dtype] and value.shape == shape:
            return value
        if type(value) not in _PLAIN or 0 not in value.stride():
            return value.to(DTYPES[dtype]).reshape(shape)
        once = value  # of numbers that are repeated, one is converted
        for axis, stride in enumerate(value.stride()):
            once = once.narrow(axis, 0, 1) if stride == 0 and value.shape[axis] > 1 else once
        return once.to(DTYPES[dtype]).expand(value.shape).reshape(shape)

    def between(self, array: Array, like: torch.Tensor | None) -> torch.Tensor:
        return self.from_host(array, like)

    def zeros_like(self, array: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(array)

    def finished(self, array: torch.Tensor, dtype: str, like: torch.Tensor | None) -> torch.Tensor:
        return array if array.dtype is DTYPES[dtype] else array.to(DTYPES[dtype])

    def finished_complex(self, array: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
        return self.as_complex(array)

    def as_complex(self, result: torch.Tensor) -> torch.Tensor:
        if result.dtype not in (torch.float32, torch.float64):
            result = result.float()
        return torch.view_as_complex(result.reshape((*result.shape[:-1], -1, 2)).contiguous())

    def reduced(self, name: str, result: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        if name in ("prod", "any", "all", "argmin", "argmax"):  # those are over one axis at a time
            for axis in sorted(axes, reverse=True):
                result = getattr(result, name)(axis)
            return result
        if not axes:
            return result
        reduced: torch.Tensor = getattr(result, {"min": "amin", "max": "amax"}.get(name, name))(axes)
        return reduced

    def rows(self, array: torch.Tensor, chosen: Array) -> torch.Tensor:
        return array[self.from_host(chosen, array)]

    def entry(self, array: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return array[index]

    def swapped(self, array: torch.Tensor) -> torch.Tensor:
        return array.transpose(-1, -2)

    def permuted(self, array: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return array.permute(axes)

    def broadcast(self, array: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return array.expand(shape)

    def _look_at(self, value: torch.Tensor) -> None:
        """Raise `DeviceError` for a tensor without values; warn once for each other device that the host computes."""
        device = str(value.device)
        if value.device.type == "meta":
            raise DeviceError("tensors on the device meta have no numbers: pass tensors that hold data")
        if device not in self._staged:
            self._staged.add(device)
            warn(f"tensors on {device} are copied to the host for clreduce, and results back to {device}", UserWarning)


TORCH = Torch()


def _tensor_of(array: Array) -> torch.Tensor | None:
    """A tensor of a NumPy array, of its memory, or of a copy if PyTorch does not accept the memory."""
    if array.dtype.kind not in "biufc":
        return None
    if not array.flags.writeable:  # numbers that are repeated are copied once
        once = array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)].copy()
        tensor = _tensor_of(once)
        return None if tensor is None else tensor.expand(array.shape)
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(np.ascontiguousarray(array) if min(array.strides, default=0) < 0 else array)
    except TypeError:  # a dtype that PyTorch does not have
        return None


def _numbers(tensors: Sequence[torch.Tensor]) -> list[Array]:
    """The values of tensors: detached, and copied unless their memory is the host's and holds the values themselves."""
    try:
        return [tensor.numpy(force=True) for tensor in tensors]
    except RuntimeError as error:  # one that stands for another, such as in torch.export
        kinds = {type(tensor).__name__ for tensor in tensors}
        raise DeviceError(f"a {' or '.join(sorted(kinds))} has no numbers that the host can read: {error}") from None
