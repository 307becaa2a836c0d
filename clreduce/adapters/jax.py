"""JAX's arrays, and the tracers that stand for them inside transforms. Only `to_host` looks at numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import reduce
from typing import TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from clreduce.adapters.adapter import Adapter
from clreduce.adapters.numpy import NUMPY, is_symbolic
from clreduce.errors import DeviceError, OptionError, TraceError
from clreduce.runtime.sources import whole
from clreduce.typing import Array, DType


class Jax(Adapter[jax.Array, jax.Array]):
    """The adapter of JAX. Arrays of other libraries become JAX's as ``jnp.asarray`` makes them."""

    name = "jax"

    def accepts(self, value: object) -> TypeGuard[jax.Array]:
        """Whether ``value`` is an array, or a tracer of one."""
        return isinstance(value, jax.Array)

    def foreign(self, value: object) -> jax.Array | None:
        """Arrays of NumPy and what NumPy's front end reads; of 64 bits where JAX has them (``jax_enable_x64``)."""
        array = value if NUMPY.accepts(value) else NUMPY.foreign(value)
        return jnp.asarray(whole(array)) if array is not None and array.dtype.kind in "biufc" else None

    def advice(self, value: object) -> str:
        if is_symbolic(value) or isinstance(value, np.ma.MaskedArray):
            return NUMPY.advice(value)
        return "; write jnp.asarray(x)" if isinstance(value, (list, tuple)) else ""

    def to_host(self, value: jax.Array) -> Array:
        """The values of an array, in its own memory where that is the host's; `TraceError` for a tracer."""
        if isinstance(value, jax.core.Tracer):
            raise TraceError(
                "JAX traces this value, so it has no numbers yet. Ranges, clusters and an index need numbers: make "
                "them "
                "outside of jit, grad and vmap"
            )
        if isinstance(value, jax.Array) and len(value.sharding.device_set) > 1:
            raise spread_over_devices()
        array: Array = np.asarray(value)
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)

    def from_host(self, array: Array, like: jax.Array | None) -> jax.Array:
        """An array of JAX, where ``like`` is if that is committed to a device, and as uncommitted as others if not."""
        array = self.narrowed(array)
        if isinstance(like, jax.Array) and not isinstance(like, jax.core.Tracer) and like.committed:
            if len(like.sharding.device_set) > 1:
                raise spread_over_devices()
            return jax.device_put(array, like.sharding)
        return jnp.asarray(array)

    def narrowed(self, array: Array) -> Array:
        """``array``, in 32 bits if it has 64 and JAX has not (without ``jax_enable_x64``)."""
        if array.dtype.itemsize < 8 or _has_64_bits():
            return array
        return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))

    def shape(self, value: jax.Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = value.shape
        return shape

    def dtype_name(self, value: jax.Array) -> str:
        return str(value.dtype.name)

    def dtype(self, name: str) -> DType:
        """The dtype of this name; of 32 bits where JAX has no other (without ``jax_enable_x64``)."""
        return jax.dtypes.canonicalize_dtype(jnp.dtype(name))

    def is_weak(self, value: jax.Array) -> bool:
        return bool(getattr(value, "weak_type", False))  # keys of random numbers have none

    def promoted(self, names: Iterable[str]) -> str:
        """As JAX promotes arrays; integers alone give its default float."""
        dtypes = [jnp.dtype(name) for name in sorted(names)]
        dtype = reduce(jnp.promote_types, dtypes, dtypes[0]) if dtypes else jnp.dtype("int32")
        return str(dtype.name if jnp.issubdtype(dtype, jnp.floating) else self.dtype("float64").name)

    def writable(self, out: jax.Array) -> bool:
        raise OptionError("out= is not available, because arrays of JAX never change: use the result of the call")

    def forms(self, arguments: Sequence[object]) -> tuple[Hashable, ...] | None:
        forms: list[Hashable] = [_has_64_bits()]
        for value in arguments:
            if not isinstance(value, jax.Array):
                return None
            forms += value.shape, value.dtype, self.is_weak(value)
        return tuple(forms)

    # ------------------------------------------------------------------ arrays between the arguments and the results

    def arranged(self, value: jax.Array, dtype: str, shape: tuple[int, ...]) -> jax.Array:
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            value = jnp.stack([value.real, value.imag], axis=-1)
        own = self.dtype(dtype)
        value = value if value.dtype == own else value.astype(own)
        return value if value.shape == shape else value.reshape(shape)

    def on_host(self, array: jax.Array) -> Array:
        return self.to_host(array) if isinstance(array, jax.Array) else array

    def between(self, array: Array, like: jax.Array | None) -> jax.Array:
        return self.from_host(array, like)

    def zeros_like(self, array: jax.Array) -> jax.Array:
        return jnp.zeros_like(array)

    def finished(self, array: jax.Array, dtype: str, like: jax.Array | None) -> jax.Array:
        own = self.dtype(dtype)
        return array if array.dtype == own else array.astype(own)

    def finished_complex(self, array: jax.Array, like: jax.Array | None) -> jax.Array:
        return self.as_complex(array)

    # ------------------------------------------------------------------------------------------- results, as they are

    def as_complex(self, result: jax.Array) -> jax.Array:
        pairs = result.reshape((*result.shape[:-1], -1, 2))
        if result.dtype not in (jnp.float32, jnp.float64):
            pairs = pairs.astype(jnp.float32)
        return jax.lax.complex(pairs[..., 0], pairs[..., 1])

    def reduced(self, name: str, result: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        function = jax.scipy.special.logsumexp if name == "logsumexp" else getattr(jnp, name)
        return function(result, axis=axes[0] if name.startswith("arg") else axes)

    def rows(self, array: jax.Array, chosen: Array) -> jax.Array:
        return array[chosen]

    def entry(self, array: jax.Array, index: jax.Array) -> jax.Array:
        return array[index]

    def swapped(self, array: jax.Array) -> jax.Array:
        return array.swapaxes(-1, -2)

    def permuted(self, array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        return array.transpose(axes)

    def broadcast(self, array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.broadcast_to(array, shape)


def _has_64_bits() -> bool:
    return bool(jax.dtypes.canonicalize_dtype(np.float64) == np.float64)


def spread_over_devices() -> DeviceError:
    """The error for an array, or a computation, on several devices of JAX."""
    return DeviceError(
        "an array is spread over several devices of JAX, and kernels need a whole array: bring it to one device by "
        "jax.device_put(x, jax.devices()[0]), and write vmap instead of pmap and shard_map. clreduce.use_devices "
        "shares a call among OpenCL devices"
    )


JAX = Jax()
